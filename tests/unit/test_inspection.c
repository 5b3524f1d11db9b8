#include "process/inspection.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define ODD TEST_PLUGINS "/odd/"

/* Far more than loading takes, far less than a test may. */
#define LIMIT_MS 20000

static char said[4096];

/* Inspects the file; what was written is in said, and must be on the right side. */
static int inspect(const char *path, int limit_ms) {
    FILE *out = tmpfile(), *err = tmpfile();
    ck_assert(out != NULL && err != NULL);
    int status = inspection_run(path, limit_ms, out, err);
    FILE *right = status == EX_OK ? out : err, *other = status == EX_OK ? err : out;
    rewind(right);
    said[fread(said, 1, sizeof(said) - 1, right)] = '\0';
    fseek(other, 0, SEEK_END);
    ck_assert_int_eq(ftell(other), 0);
    fclose(out);
    fclose(err);
    return status;
}

static void assert_says(const char *what) {
    ck_assert_msg(strstr(said, what) != NULL, "`%s` is not in: %s", what, said);
}

START_TEST(a_good_plugin_is_described) {
    ck_assert_int_eq(inspect(BUILT_PLUGINS "/group_chat.so", LIMIT_MS), EX_OK);
    assert_says("group_chat.so: accepted\n");
    assert_says("  consumer  group_chat ");
    assert_says("  ABI       1.1, needs 1.1; this server has 1.1\n");
    assert_says("  hooks     open, shut, connect, receive, event, disconnect, release\n");
    assert_says("libjansson.so.4");
}
END_TEST

START_TEST(a_plugin_that_a_server_would_refuse_is_refused_with_its_words) {
    ck_assert_int_eq(inspect(ODD "other_major.so", LIMIT_MS), EX_DATAERR);
    assert_says("other_major.so is built for ABI 2.1");
    ck_assert_int_eq(inspect("/dev/null", LIMIT_MS), EX_DATAERR);
    assert_says("/dev/null is a device");
}
END_TEST

START_TEST(code_that_crashes_ends_only_itself) {
    ck_assert_int_eq(inspect(ODD "crashing.so", LIMIT_MS), EX_DATAERR);
    assert_says("crashing.so crashes when it is loaded: Aborted\n");
}
END_TEST

START_TEST(code_that_exits_well_is_not_accepted) {
    ck_assert_int_eq(inspect(ODD "exiting.so", LIMIT_MS), EX_DATAERR);
    assert_says("exiting.so ends the process when it is loaded\n");
}
END_TEST

START_TEST(code_that_hangs_is_ended) {
    ck_assert_int_eq(inspect(ODD "hanging.so", 200), EX_DATAERR);
    assert_says("hanging.so does not come back from being loaded within 200 ms\n");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("inspection");
    TCase *tests = tcase_create("inspection");
    tcase_add_test(tests, a_good_plugin_is_described);
    tcase_add_test(tests, a_plugin_that_a_server_would_refuse_is_refused_with_its_words);
    tcase_add_test(tests, code_that_crashes_ends_only_itself);
    tcase_add_test(tests, code_that_exits_well_is_not_accepted);
    tcase_add_test(tests, code_that_hangs_is_ended);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
