#include <check.h>
#include <stdlib.h>

#include "observe/nearest.h"

static const char *const words[] = {"listen",    "limits",      "file.dir",
                                    "file.file", "num-threads", "on"};

static struct nearest search(const char *word) {
    struct nearest nearest = nearest_to(word);
    for (size_t i = 0; i != sizeof(words) / sizeof(*words); i++)
        nearest_offer(&nearest, words[i]);
    return nearest;
}

struct pair {
    const char *wrong, *meant; /* NULL: nothing is near */
};

static const struct pair pairs[] = {
    {"lisen", "listen"},
    {"listne", "listen"},
    {"Listen", "listen"},
    {"file.dri", "file.dir"},
    {"filedir", "file.dir"},
    {"num-treads", "num-threads"},
    {"num_threads", "num-threads"},
    {"access-log", NULL},
    {"xy", NULL},
    {"", NULL},
    {"f", NULL},
};

START_TEST(near_word_is_offered) {
    struct nearest nearest = search(pairs[_i].wrong);
    if (pairs[_i].meant == NULL)
        ck_assert_msg(nearest.best == NULL, "%s for %s", nearest.best, pairs[_i].wrong);
    else
        ck_assert_str_eq(nearest.best, pairs[_i].meant);
}
END_TEST

START_TEST(distance_counts_edits) {
    ck_assert_uint_eq(nearest_distance("", ""), 0);
    ck_assert_uint_eq(nearest_distance("abc", ""), 3);
    ck_assert_uint_eq(nearest_distance("abc", "abc"), 0);
    ck_assert_uint_eq(nearest_distance("abc", "ABC"), 0);
    ck_assert_uint_eq(nearest_distance("abc", "acb"), 1);
    ck_assert_uint_eq(nearest_distance("abc", "abcd"), 1);
    ck_assert_uint_eq(nearest_distance("abc", "axc"), 1);
    ck_assert_uint_eq(nearest_distance("kitten", "sitting"), 3);
    ck_assert_uint_eq(nearest_distance("sitting", "kitten"), 3);
}
END_TEST

START_TEST(long_word_is_near_to_nothing) {
    char word[200];
    for (size_t i = 0; i != sizeof(word); i++)
        word[i] = i + 1 == sizeof(word) ? '\0' : 'a';
    ck_assert_ptr_null(search(word).best);
}
END_TEST

START_TEST(hint_is_a_question_or_nothing) {
    char buffer[128];
    struct nearest nearest = search("lisen");
    ck_assert_str_eq(nearest_hint(&nearest, buffer), "; did you mean `listen`?");
    nearest = search("xy");
    ck_assert_str_eq(nearest_hint(&nearest, buffer), "");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("nearest");
    TCase *all = tcase_create("words");
    tcase_add_loop_test(all, near_word_is_offered, 0, (int)(sizeof(pairs) / sizeof(*pairs)));
    tcase_add_test(all, distance_counts_edits);
    tcase_add_test(all, long_word_is_near_to_nothing);
    tcase_add_test(all, hint_is_a_question_or_nothing);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
