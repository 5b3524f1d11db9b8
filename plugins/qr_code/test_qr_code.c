#include <check.h>

#include "support/fake_host.h"

static struct fake_host *host;
static sluice_route *route;

static void setup(void) {
    host = fake_host_create(sluice_consumer_entry);
    route = fake_open(host, NULL);
    ck_assert_ptr_nonnull(route);
}

static void teardown(void) { fake_host_free(host); }

static sluice_conn *visit(const char *id, const char *seconds) {
    const char *const params[] = {"ID", id, "refreshTime", seconds, NULL};
    return fake_connect(route, &(struct fake_scope){.params = params});
}

START_TEST(captures_come_at_once_and_at_the_rate_asked_for) {
    sluice_conn *conn = visit("1", "5");
    ck_assert_int_eq(fake_answer(conn), 101);
    ck_assert_uint_eq(fake_count(conn), 1);
    ck_assert_str_eq(fake_text(conn, 0), "{\"ID\":1,\"refreshTime\":5}");
    fake_advance(host, 4999);
    ck_assert_uint_eq(fake_count(conn), 1);
    fake_advance(host, 1);
    ck_assert_uint_eq(fake_count(conn), 2);
    fake_advance(host, 15000);
    ck_assert_uint_eq(fake_count(conn), 5);
    ck_assert_str_eq(fake_last_text(conn), "{\"ID\":1,\"refreshTime\":5}");
}
END_TEST

START_TEST(each_page_has_its_own_rate) {
    sluice_conn *slow = visit("1", "10"), *fast = visit("2", "1");
    fake_advance(host, 10000);
    ck_assert_uint_eq(fake_count(slow), 2);
    ck_assert_uint_eq(fake_count(fast), 11);
}
END_TEST

START_TEST(a_page_that_left_gets_nothing_more) {
    sluice_conn *conn = visit("1", "5");
    fake_leave(conn, 1001, "");
    fake_advance(host, 60000);
    ck_assert_uint_eq(fake_count(conn), 1);
    ck_assert_uint_eq(fake_timers(conn), 0);
}
END_TEST

START_TEST(the_ends_of_the_ranges_are_taken) {
    ck_assert_str_eq(fake_last_text(visit("0", "1")), "{\"ID\":0,\"refreshTime\":1}");
    ck_assert_str_eq(fake_last_text(visit("999999999999999999", "86400")),
                     "{\"ID\":999999999999999999,\"refreshTime\":86400}");
}
END_TEST

static const char *const bad[][2] = {
    {"1", "0"},  {"1", "86401"},    {"1", "999999"}, {"1", ""},
    {"", "5"},   {"1", "5s"},       {"x", "5"},      {"1\"", "5"},
    {"-1", "5"}, {"1", "\xd9\xa5"}, {"1", "+5"},     {"1000000000000000000", "5"}};

START_TEST(other_captures_are_refused_with_404) {
    sluice_conn *conn = visit(bad[_i][0], bad[_i][1]);
    ck_assert_int_eq(fake_answer(conn), 404);
    ck_assert_uint_eq(fake_count(conn), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("qr_code");
    TCase *qr_code = tcase_create("qr_code");
    tcase_add_checked_fixture(qr_code, setup, teardown);
    tcase_add_test(qr_code, captures_come_at_once_and_at_the_rate_asked_for);
    tcase_add_test(qr_code, each_page_has_its_own_rate);
    tcase_add_test(qr_code, a_page_that_left_gets_nothing_more);
    tcase_add_test(qr_code, the_ends_of_the_ranges_are_taken);
    tcase_add_loop_test(qr_code, other_captures_are_refused_with_404, 0,
                        (int)(sizeof(bad) / sizeof(bad[0])));
    suite_add_tcase(suite, qr_code);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
