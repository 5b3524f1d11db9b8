#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "route/pattern.h"

static struct pattern *make(const char *text) {
    struct error error = {""};
    long offset;
    struct pattern *pattern = pattern_create(text, &error, &offset);
    ck_assert_msg(pattern != NULL, "%s: %s", text, error.text);
    return pattern;
}

static bool matches(const char *text, const char *path) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    struct pattern *pattern = make(text);
    bool matched = pattern_match(pattern, path, strlen(path), values) == PATTERN_MATCHED;
    pattern_free(pattern);
    return matched;
}

START_TEST(slash_and_anchors_at_the_ends_are_optional) {
    static const char *const same[] = {"ws/a", "/ws/a", "^ws/a", "^/ws/a", "ws/a$", "^/ws/a$"};
    ck_assert(matches(same[_i], "/ws/a"));
    ck_assert(!matches(same[_i], "/ws/ab"));
    ck_assert(!matches(same[_i], "/x/ws/a"));
    ck_assert(!matches(same[_i], "/ws/a/"));
}
END_TEST

START_TEST(alternatives_are_anchored_at_both_ends) {
    ck_assert(matches("a|b", "/a"));
    ck_assert(matches("a|b", "/b"));
    ck_assert(!matches("a|b", "/ax"));
    ck_assert(!matches("a|b", "/xb"));
}
END_TEST

START_TEST(an_escaped_dollar_stays) {
    ck_assert(matches("price\\$", "/price$"));
    ck_assert(!matches("price\\$", "/price"));
    ck_assert(matches("back\\\\$", "/back\\"));
}
END_TEST

START_TEST(a_dollar_does_not_match_before_a_line_end) {
    ck_assert(!matches("ws/\\w+$", "/ws/a\n"));
}
END_TEST

START_TEST(words_are_unicode) {
    ck_assert(matches("ws/\\w+/", "/ws/房间/"));
    ck_assert(!matches("ws/\\w+/", "/ws/a b/"));
}
END_TEST

START_TEST(captures_are_named_and_counted) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    struct pattern *pattern = make("/qr/ID=(?P<id>\\d+)(?:/refresh=(?<refresh>\\d+))?/(x)?");
    const struct capture_names *names = pattern_names(pattern);
    ck_assert_uint_eq(names->count, 4);
    ck_assert_str_eq(names->names[1], "id");
    ck_assert_str_eq(names->names[2], "refresh");
    ck_assert_ptr_null(names->names[3]);
    const char *path = "/qr/ID=17/";
    ck_assert_int_eq(pattern_match(pattern, path, strlen(path), values), PATTERN_MATCHED);
    ck_assert_uint_eq(values[1].len, 2);
    ck_assert_int_eq(strncmp(values[1].base, "17", 2), 0);
    ck_assert_ptr_null(values[2].base);
    ck_assert_ptr_null(values[3].base);
    pattern_free(pattern);
}
END_TEST

static const struct {
    const char *text;
    long offset;
} broken[] = {{"ws/(", 4},    {"^/ws/[a", 7}, {"a)|(b", 1}, {"ws/(?P<g>a)(?P<g>b)", 17},
              {"ws/*+?x", 5}, {"ws/\\", 4},   {"a(?#", 4}};

START_TEST(a_broken_pattern_names_its_place) {
    struct error error = {""};
    long offset = -2;
    ck_assert_ptr_null(pattern_create(broken[_i].text, &error, &offset));
    ck_assert_ptr_nonnull(strstr(error.text, "not a valid pattern"));
    ck_assert_int_eq(offset, broken[_i].offset);
}
END_TEST

START_TEST(nothing_in_a_pattern_gets_out_of_its_anchors) {
    ck_assert(matches("ws/\\Qa.b", "/ws/a.b"));
    ck_assert(!matches("ws/\\Qa.b", "/ws/a.bc"));
    ck_assert(!matches("ws/a(*ACCEPT)b", "/ws/ax"));
    ck_assert(!matches("(?x) ws/a # comment", "/ws/ab"));
    ck_assert(matches("(?x) ws/a # comment", "/ws/a"));
    ck_assert(!matches("(*COMMIT)a", "/xa"));
}
END_TEST

START_TEST(too_many_captures_are_refused) {
    char text[64 * 3 + 1] = "";
    struct error error;
    long offset;
    for (int i = 0; i < 64; i++)
        strcat(text, "(a)");
    ck_assert_ptr_null(pattern_create(text, &error, &offset));
    ck_assert_ptr_nonnull(strstr(error.text, "64 captures"));
    text[63 * 3] = '\0';
    pattern_free(make(text));
}
END_TEST

START_TEST(a_runaway_pattern_is_exhausted_not_endless) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    struct pattern *pattern = make("(a+)+b");
    char path[64] = "/";
    memset(path + 1, 'a', 60);
    strcpy(path + 59, "cb");
    ck_assert_int_eq(pattern_match(pattern, path, strlen(path), values), PATTERN_EXHAUSTED);
    pattern_free(pattern);
}
END_TEST

START_TEST(a_path_that_is_not_utf8_is_told_apart) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    struct pattern *pattern = make("ws/.+");
    ck_assert_int_eq(pattern_match(pattern, "/ws/\xff\xfe", 6, values), PATTERN_NOT_TEXT);
    pattern_free(pattern);
}
END_TEST

START_TEST(examples_match_their_pattern) {
    static const char *const readable[] = {"ws/(?P<group>\\w+)/", "a|b|c", "x{2,3}y?",
                                           "[a-f0-9]{8}",         "[^/]+", "n/(\\d+)(?:/p(\\d+))?",
                                           "a\\.b\\-c",           ".*",    "u/\\D\\W*"};
    char path[256];
    unsigned written = 0;
    struct pattern *pattern = make(readable[_i]);
    for (unsigned variant = 0; variant < PATTERN_EXAMPLES; variant++)
        written += pattern_example(pattern, variant, path, sizeof(path));
    ck_assert_uint_eq(written, PATTERN_EXAMPLES);
    pattern_free(pattern);
}
END_TEST

START_TEST(what_is_not_read_gives_no_example) {
    static const char *const others[] = {"(?=x)x", "a(?<!b)c",     "(a)\\1",
                                         "(?i)a",  "[[:alpha:]]+", "\\bA"};
    char path[256];
    struct pattern *pattern = make(others[_i]);
    for (unsigned variant = 0; variant < PATTERN_EXAMPLES; variant++)
        ck_assert(!pattern_example(pattern, variant, path, sizeof(path)));
    ck_assert(!pattern_example(pattern, 0, path, 2));
    pattern_free(pattern);
}
END_TEST

int main(void) {
    TCase *cases = tcase_create("pattern");
    tcase_add_loop_test(cases, slash_and_anchors_at_the_ends_are_optional, 0, 6);
    tcase_add_test(cases, alternatives_are_anchored_at_both_ends);
    tcase_add_test(cases, an_escaped_dollar_stays);
    tcase_add_test(cases, a_dollar_does_not_match_before_a_line_end);
    tcase_add_test(cases, words_are_unicode);
    tcase_add_test(cases, captures_are_named_and_counted);
    tcase_add_loop_test(cases, a_broken_pattern_names_its_place, 0, 7);
    tcase_add_test(cases, nothing_in_a_pattern_gets_out_of_its_anchors);
    tcase_add_test(cases, too_many_captures_are_refused);
    tcase_add_test(cases, a_runaway_pattern_is_exhausted_not_endless);
    tcase_add_test(cases, a_path_that_is_not_utf8_is_told_apart);
    tcase_add_loop_test(cases, examples_match_their_pattern, 0, 9);
    tcase_add_loop_test(cases, what_is_not_read_gives_no_example, 0, 6);
    Suite *suite = suite_create("pattern");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
