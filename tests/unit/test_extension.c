#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/extension.h"

static const struct compression plain = {.on = true, .window_bits = 15, .level = 1};
static const struct compression small = {.on = true, .window_bits = 10, .level = 1};
static const struct compression keeps = {
    .on = true, .takeover = true, .window_bits = 15, .level = 1};
static const struct compression keeps_little = {
    .on = true, .takeover = true, .window_bits = 12, .level = 1};

#define DEFLATE "permessage-deflate"
#define S_NO "; server_no_context_takeover"
#define C_NO "; client_no_context_takeover"
#define S_BITS "; server_max_window_bits"
#define C_BITS "; client_max_window_bits"
#define DEFAULT_ANSWER DEFLATE S_NO C_NO

/* answer NULL: no offer is taken. Then: our bits, the client's, who takes over. */
static const struct {
    const struct compression *route;
    const char *field, *answer;
    struct agreement agreement;
} cases[] = {
    /* What clients say. */
    {&plain, DEFLATE, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain, DEFLATE C_BITS, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain, DEFLATE S_NO C_NO, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain, DEFLATE S_NO C_NO C_BITS, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain, DEFLATE S_BITS "=10", DEFAULT_ANSWER S_BITS "=10", {10, 15, false, false}},
    {&plain, DEFLATE S_BITS "=8", DEFAULT_ANSWER S_BITS "=8", {8, 15, false, false}},
    {&plain, DEFLATE S_BITS "=15", DEFAULT_ANSWER S_BITS "=15", {15, 15, false, false}},
    {&plain, DEFLATE C_BITS "=9", DEFAULT_ANSWER, {15, 15, false, false}},
    /* A route with a window of its own. */
    {&small, DEFLATE, DEFAULT_ANSWER, {10, 15, false, false}},
    {&small, DEFLATE S_BITS "=12" C_BITS, DEFAULT_ANSWER S_BITS "=10", {10, 15, false, false}},
    {&small, DEFLATE S_BITS "=9", DEFAULT_ANSWER S_BITS "=9", {9, 15, false, false}},
    /* A route that takes the context over. */
    {&keeps, DEFLATE, DEFLATE, {15, 15, true, true}},
    {&keeps, DEFLATE S_NO, DEFLATE S_NO, {15, 15, false, true}},
    {&keeps, DEFLATE C_NO, DEFLATE C_NO, {15, 15, true, false}},
    {&keeps, DEFLATE C_BITS, DEFLATE, {15, 15, true, true}},
    {&keeps, DEFLATE C_BITS "=8", DEFLATE C_BITS "=8", {15, 8, true, true}},
    {&keeps,
     DEFLATE S_BITS "=11" C_BITS "=11",
     DEFLATE S_BITS "=11" C_BITS "=11",
     {11, 11, true, true}},
    {&keeps_little, DEFLATE, DEFLATE C_NO, {12, 15, true, false}},
    {&keeps_little, DEFLATE C_BITS, DEFLATE C_BITS "=12", {12, 12, true, true}},
    {&keeps_little, DEFLATE C_BITS "=14", DEFLATE C_BITS "=12", {12, 12, true, true}},
    {&keeps_little, DEFLATE C_BITS "=10" S_NO, DEFLATE S_NO C_BITS "=10", {12, 10, false, true}},
    {&keeps_little, DEFLATE C_NO C_BITS "=10", DEFLATE C_NO, {12, 15, true, false}},
    /* How it may be written. */
    {&plain,
     DEFLATE "; server_max_window_bits=\"10\"",
     DEFAULT_ANSWER S_BITS "=10",
     {10, 15, false, false}},
    {&plain,
     DEFLATE "; server_max_window_bits=\"1\\0\"",
     DEFAULT_ANSWER S_BITS "=10",
     {10, 15, false, false}},
    {&plain,
     "\tpermessage-deflate\t;  server_max_window_bits = 10 ",
     DEFAULT_ANSWER S_BITS "=10",
     {10, 15, false, false}},
    {&plain,
     "PerMessage-Deflate;Server_No_Context_Takeover",
     DEFAULT_ANSWER,
     {15, 15, false, false}},
    /* Several offers: the first that can be met. */
    {&plain, DEFLATE S_BITS "=10, " DEFLATE, DEFAULT_ANSWER S_BITS "=10", {10, 15, false, false}},
    {&plain, DEFLATE S_BITS "=7," DEFLATE, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain, "x-webkit-deflate-frame, " DEFLATE, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain,
     "foo; a=\"b,c\"; d, " DEFLATE S_BITS "=9",
     DEFAULT_ANSWER S_BITS "=9",
     {9, 15, false, false}},
    {&plain, ", ,, " DEFLATE " ,", DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain, "@@, " DEFLATE, DEFAULT_ANSWER, {15, 15, false, false}},
    {&plain,
     DEFLATE "; ; , " DEFLATE S_BITS "=9",
     DEFAULT_ANSWER S_BITS "=9",
     {9, 15, false, false}},
    {&plain, "a=\"b, " DEFLATE ", " DEFLATE, NULL, {0}},
    {&plain,
     "a=\"b \\\", " DEFLATE "\", " DEFLATE S_BITS "=9",
     DEFAULT_ANSWER S_BITS "=9",
     {9, 15, false, false}},
    /* Declined. */
    {&plain, "", NULL, {0}},
    {&plain, " , ", NULL, {0}},
    {&plain, "permessage-bzip2", NULL, {0}},
    {&plain, "permessage-deflat", NULL, {0}},
    {&plain, "permessage-deflate-but-with-a-very-long-name", NULL, {0}},
    {&plain, DEFLATE "; unknown", NULL, {0}},
    {&plain, DEFLATE "; unknown=1", NULL, {0}},
    {&plain, DEFLATE S_NO "=1", NULL, {0}},
    {&plain, DEFLATE C_NO "=true", NULL, {0}},
    {&plain, DEFLATE S_NO S_NO, NULL, {0}},
    {&plain, DEFLATE C_BITS C_BITS "=10", NULL, {0}},
    {&plain, DEFLATE S_BITS, NULL, {0}},
    {&plain, DEFLATE S_BITS "=", NULL, {0}},
    {&plain, DEFLATE S_BITS "=\"\"", NULL, {0}},
    {&plain, DEFLATE S_BITS "=\"10", NULL, {0}},
    {&plain, DEFLATE S_BITS "=\"1 0\"", NULL, {0}},
    {&plain, DEFLATE S_BITS "=7", NULL, {0}},
    {&plain, DEFLATE S_BITS "=16", NULL, {0}},
    {&plain, DEFLATE S_BITS "=010", NULL, {0}},
    {&plain, DEFLATE S_BITS "=08", NULL, {0}},
    {&plain, DEFLATE S_BITS "=+9", NULL, {0}},
    {&plain, DEFLATE S_BITS "=-9", NULL, {0}},
    {&plain, DEFLATE S_BITS "=9.0", NULL, {0}},
    {&plain, DEFLATE S_BITS "=99999999999999999999999999999999999999999", NULL, {0}},
    {&plain, DEFLATE C_BITS "=7", NULL, {0}},
    {&plain, DEFLATE C_BITS "=16", NULL, {0}},
    {&plain, DEFLATE ";", NULL, {0}},
    {&plain, DEFLATE " " DEFLATE, NULL, {0}},
    {&plain, "\"permessage-deflate\"", NULL, {0}},
};

START_TEST(an_offer_is_answered_as_the_table_says) {
    struct extension made = {.answer = "as it was"};
    const char *field = cases[_i].field;
    bool taken = extension_negotiate(cases[_i].route, field, strlen(field), &made);
    ck_assert_msg(taken == (cases[_i].answer != NULL), "%s", field);
    ck_assert_str_eq(made.answer, taken ? cases[_i].answer : "as it was");
    const struct agreement *expected = &cases[_i].agreement;
    ck_assert_uint_eq(made.agreement.send_bits, expected->send_bits);
    ck_assert_uint_eq(made.agreement.receive_bits, expected->receive_bits);
    ck_assert(made.agreement.send_takeover == expected->send_takeover);
    ck_assert(made.agreement.receive_takeover == expected->receive_takeover);
}
END_TEST

START_TEST(a_route_without_compression_takes_no_offer) {
    const struct compression off = {.on = false, .window_bits = 15, .level = 1};
    struct extension made = {0};
    ck_assert(!extension_negotiate(&off, DEFLATE, strlen(DEFLATE), &made));
    ck_assert_uint_eq(made.agreement.send_bits, 0);
}
END_TEST

/* The field has no end mark: what stands behind it is not read. A sanitizer sees more. */
START_TEST(a_field_may_be_cut_anywhere) {
    static const char whole[] = "foo; a=\"b\\\"c\", " DEFLATE S_BITS "=\"10\"" C_NO;
    for (size_t size = 0; size <= strlen(whole); size++) {
        struct extension made = {0};
        char *cut = strndup(whole, size);
        char *exact = realloc(cut, size == 0 ? 1 : size);
        extension_negotiate(&plain, exact, size, &made);
        free(exact);
        ck_assert(made.agreement.send_bits == 0 || made.agreement.send_bits == 10 ||
                  made.agreement.send_bits == 15);
    }
}
END_TEST

START_TEST(the_longest_answer_fits) {
    struct extension made = {0};
    const char *field = DEFLATE S_NO C_BITS "=10" S_BITS "=12";
    ck_assert(extension_negotiate(&keeps, field, strlen(field), &made));
    ck_assert_str_eq(made.answer, DEFLATE S_NO S_BITS "=12" C_BITS "=10");
    ck_assert_uint_lt(strlen(DEFLATE S_NO C_NO S_BITS "=12" C_BITS "=10"), sizeof(made.answer));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("extension");
    TCase *tests = tcase_create("extension");
    tcase_add_loop_test(tests, an_offer_is_answered_as_the_table_says, 0,
                        sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, a_route_without_compression_takes_no_offer);
    tcase_add_test(tests, a_field_may_be_cut_anywhere);
    tcase_add_test(tests, the_longest_answer_fits);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
