#include <check.h>
#include <stdlib.h>

#include "websocket/pace.h"

static struct pace pace;
static struct pace_terms terms;

static void setup(void) {
    pace = (struct pace){0};
    terms = (struct pace_terms){.messages = 10, .burst_ms = 1000};
}

static uint32_t say(uint64_t now, unsigned messages, size_t bytes) {
    return pace_count(&pace, &terms, now, messages, bytes);
}

START_TEST(a_burst_may_come_at_once_and_one_more_waits_its_turn) {
    for (int i = 0; i < 10; i++)
        ck_assert_uint_eq(say(5000, 1, 0), 0);
    ck_assert_uint_eq(say(5000, 1, 0), 100);
    ck_assert_uint_eq(pace_left(&pace, &terms, 5040), 60);
    ck_assert_uint_eq(pace_left(&pace, &terms, 5100), 0);
}
END_TEST

START_TEST(who_keeps_the_rate_never_waits) {
    for (uint64_t i = 0; i < 10000; i++)
        ck_assert_uint_eq(say(77 + i * 100, 1, 0), 0);
}
END_TEST

START_TEST(silence_saves_up_no_more_than_the_burst) {
    say(0, 1, 0);
    for (int i = 0; i < 10; i++)
        ck_assert_uint_eq(say(1000000, 1, 0), 0);
    ck_assert_uint_eq(say(1000000, 1, 0), 100);
}
END_TEST

START_TEST(a_longer_burst_lets_more_come_at_once) {
    terms.burst_ms = 3000;
    for (int i = 0; i < 30; i++)
        ck_assert_uint_eq(say(9000, 1, 0), 0);
    ck_assert_uint_eq(say(9000, 1, 0), 100);
}
END_TEST

START_TEST(bytes_count_by_themselves) {
    terms = (struct pace_terms){.bytes = 1024, .burst_ms = 2000};
    ck_assert_uint_eq(say(1, 1000000, 2048), 0);
    ck_assert_uint_eq(say(1, 1000000, 512), 500);
    ck_assert_uint_eq(pace_left(&pace, &terms, 501), 0);
}
END_TEST

START_TEST(the_longer_of_both_waits_counts) {
    terms.bytes = 1024;
    ck_assert_uint_eq(say(0, 11, 1024 + 512), 500);
    ck_assert_uint_eq(say(0, 10, 0), 1100);
}
END_TEST

START_TEST(small_amounts_at_high_rates_are_not_rounded_away) {
    terms = (struct pace_terms){.bytes = 1u << 30, .burst_ms = 1000};
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(say(0, 1, 1 << 20), 0);
    ck_assert_uint_eq(say(0, 1, 100 << 20), 75);
    terms = (struct pace_terms){.messages = 1000000, .burst_ms = 1000};
    pace = (struct pace){0};
    for (int i = 0; i < 1000000; i++)
        ck_assert_uint_eq(say(0, 1, 0), 0);
    ck_assert_uint_eq(say(0, 1, 0), 1);
}
END_TEST

START_TEST(the_largest_amounts_do_not_run_over) {
    terms = (struct pace_terms){.bytes = 1024, .burst_ms = 1000};
    ck_assert_uint_eq(say(UINT64_C(1) << 40, 1, 34u << 20), (34u << 10) * 1000 - 1000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pace");
    TCase *tests = tcase_create("pace");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, a_burst_may_come_at_once_and_one_more_waits_its_turn);
    tcase_add_test(tests, who_keeps_the_rate_never_waits);
    tcase_add_test(tests, silence_saves_up_no_more_than_the_burst);
    tcase_add_test(tests, a_longer_burst_lets_more_come_at_once);
    tcase_add_test(tests, bytes_count_by_themselves);
    tcase_add_test(tests, the_longer_of_both_waits_counts);
    tcase_add_test(tests, small_amounts_at_high_rates_are_not_rounded_away);
    tcase_add_test(tests, the_largest_amounts_do_not_run_over);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
