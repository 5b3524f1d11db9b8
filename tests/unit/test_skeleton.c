#include "process/skeleton.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/directory.h"

static char folder[256];
static struct error error;

static void setup(void) {
    make_test_directory(folder, sizeof(folder));
    ck_assert_int_eq(chdir(folder), 0);
    error.text[0] = '\0';
}

static void teardown(void) {
    ck_assert_int_eq(chdir("/"), 0);
    remove_test_directory(folder);
}

static const char *text_of(const char *path) {
    static char text[8192];
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s is not there", path);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void assert_says(const char *what) {
    ck_assert_msg(strstr(error.text, what) != NULL, "`%s` is not in: %s", what, error.text);
}

START_TEST(its_files_carry_the_name) {
    static const char *const names[] = {"greeter/greeter.c",  "greeter/test_greeter.c",
                                        "greeter/README.md",  "greeter/CMakeLists.txt",
                                        "greeter/.gitignore", "greeter/sluice.yaml"};
    ck_assert_msg(skeleton_write("greeter", &error), "%s", error.text);
    ck_assert_uint_eq(skeleton_file_count, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ck_assert_ptr_null(strstr(text_of(names[i]), "@NAME@"));
    ck_assert_ptr_nonnull(strstr(text_of("greeter/greeter.c"), "SLUICE_CONSUMER(\"greeter\", "));
    /* What C would read as an escape comes as it was written. */
    ck_assert_ptr_nonnull(strstr(text_of("greeter/sluice.yaml"), "/greeter/(?P<group>\\w+)/\n"));
    ck_assert_ptr_nonnull(strstr(text_of("greeter/test_greeter.c"), "not so: %s\\n\""));
}
END_TEST

START_TEST(what_is_there_stays) {
    ck_assert_int_eq(mkdir("greeter", 0700), 0);
    ck_assert(!skeleton_write("greeter", &error));
    assert_says("greeter is there already");
    ck_assert_int_eq(rmdir("greeter"), 0); /* as empty as it was */
}
END_TEST

START_TEST(a_folder_that_can_not_be_made_is_said) {
    ck_assert(!skeleton_write("none/greeter", &error));
    assert_says("none/greeter can't be made: No such file or directory");
}
END_TEST

START_TEST(good_names_are_taken) {
    char longest[SKELETON_NAME_MAX + 1];
    memset(longest, 'a', SKELETON_NAME_MAX);
    longest[SKELETON_NAME_MAX] = '\0';
    ck_assert(skeleton_name_is_good("a", &error));
    ck_assert(skeleton_name_is_good("group_chat2", &error));
    ck_assert(skeleton_name_is_good(longest, &error));
}
END_TEST

static const char *const bad[] = {
    "",     "2",   "_x",       "A",    "a-b",     "a.b",
    "../a", "a/b", "\xc3\xa4", "test", "install", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 33 */};

START_TEST(a_bad_name_is_refused) {
    ck_assert_msg(!skeleton_name_is_good(bad[_i], &error), "`%s` is taken", bad[_i]);
    assert_says("can't be called `");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("skeleton");
    TCase *tests = tcase_create("skeleton");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, its_files_carry_the_name);
    tcase_add_test(tests, what_is_there_stays);
    tcase_add_test(tests, a_folder_that_can_not_be_made_is_said);
    tcase_add_test(tests, good_names_are_taken);
    tcase_add_loop_test(tests, a_bad_name_is_refused, 0, sizeof(bad) / sizeof(bad[0]));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
