#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config/problems.h"

static char *print(const struct problems *problems) {
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    problems_print(problems, to);
    fclose(to);
    return text;
}

static struct place at(const char *file, size_t line, size_t column) {
    return (struct place){.file = file, .line = line, .column = column};
}

START_TEST(problems_stand_in_the_order_of_the_file) {
    struct problems *problems = problems_create();
    problems_error(problems, at("a.yaml", 10, 2), "fourth");
    problems_warning(problems, at("a.yaml", 2, 9), "third");
    problems_error(problems, at("a.yaml", 2, 1), "second %d", 2);
    problems_error(problems, at("a.yaml", 0, 0), "first");
    problems_error(problems, at("b.yaml", 1, 0), "fifth");
    char *text = print(problems);
    ck_assert_str_eq(text, "a.yaml: error: first\n"
                           "a.yaml:2:1: error: second 2\n"
                           "a.yaml:2:9: warning: third\n"
                           "a.yaml:10:2: error: fourth\n"
                           "b.yaml:1: error: fifth\n");
    ck_assert_uint_eq(problems_errors(problems), 4);
    free(text);
    problems_free(problems);
}
END_TEST

START_TEST(same_problem_counts_once) {
    struct problems *problems = problems_create();
    problems_error(problems, at("a.yaml", 1, 1), "same");
    problems_error(problems, at("a.yaml", 1, 1), "same");
    problems_error(problems, at("a.yaml", 1, 1), "other");
    problems_warning(problems, at("a.yaml", 1, 1), "same");
    char *text = print(problems);
    ck_assert_str_eq(text, "a.yaml:1:1: error: same\na.yaml:1:1: error: other\n"
                           "a.yaml:1:1: warning: same\n");
    ck_assert_uint_eq(problems_errors(problems), 2);
    ck_assert_uint_eq(problems_reports(problems), 3);
    free(text);
    problems_free(problems);
}
END_TEST

START_TEST(text_and_file_name_are_copied) {
    struct problems *problems = problems_create();
    char file[] = "a.yaml", word[] = "word";
    problems_error(problems, at(file, 3, 0), "%s", word);
    memset(file, 'x', sizeof(file) - 1);
    memset(word, 'x', sizeof(word) - 1);
    char *text = print(problems);
    ck_assert_str_eq(text, "a.yaml:3: error: word\n");
    free(text);
    problems_free(problems);
}
END_TEST

START_TEST(problem_is_one_line_whatever_it_quotes) {
    struct problems *problems = problems_create();
    problems_error(problems, at("a.yaml", 3, 4), "`%s`", "a\nb\tc\x1b[1mä");
    char *text = print(problems);
    ck_assert_str_eq(text, "a.yaml:3:4: error: `a\\nb\\x09c\\x1b[1mä`\n");
    free(text);
    problems_free(problems);
}
END_TEST

START_TEST(problem_without_a_file_is_printed) {
    struct problems *problems = problems_create();
    problems_error(problems, at(NULL, 0, 0), "lost");
    char *text = print(problems);
    ck_assert_str_eq(text, "error: lost\n");
    free(text);
    problems_free(problems);
}
END_TEST

START_TEST(nothing_is_printed_of_nothing) {
    struct problems *problems = problems_create();
    char *text = print(problems);
    ck_assert_str_eq(text, "");
    ck_assert_uint_eq(problems_errors(problems), 0);
    free(text);
    problems_free(problems);
    problems_free(NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("problems");
    TCase *all = tcase_create("problems");
    tcase_add_test(all, problems_stand_in_the_order_of_the_file);
    tcase_add_test(all, same_problem_counts_once);
    tcase_add_test(all, text_and_file_name_are_copied);
    tcase_add_test(all, problem_is_one_line_whatever_it_quotes);
    tcase_add_test(all, problem_without_a_file_is_printed);
    tcase_add_test(all, nothing_is_printed_of_nothing);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
