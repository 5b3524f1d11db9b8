/* A consumer that decides in a pool thread: every order in which answer, client, pool and time can
   come. */
#include <check.h>

#include "support/fake_host.h"

static struct fake_host *host;
static sluice_route *route;

static void setup(void) {
    host = fake_host_load(TEST_PLUGINS "/async_auth.so");
    route = fake_open(host, NULL);
    ck_assert_ptr_nonnull(route);
}

static void teardown(void) { fake_host_free(host); }

static sluice_conn *knock(const char *query) {
    return fake_connect(route, &(struct fake_scope){.query = query});
}

static void answer(void) {
    ck_assert(fake_work(host));
    fake_turn(host);
}

START_TEST(a_right_token_is_accepted_when_the_pool_answers) {
    sluice_conn *conn = knock("token=letmein");
    ck_assert_int_eq(fake_answer(conn), 0);
    ck_assert_uint_eq(fake_jobs(host), 1);
    answer();
    ck_assert_int_eq(fake_answer(conn), 101);
    ck_assert_str_eq(fake_text(conn, 0), "welcome");
    fake_receive(conn, "hi");
    ck_assert_str_eq(fake_text(conn, 1), "hi");
    fake_leave(conn, 1000, "");
    ck_assert_uint_eq(fake_disconnects(conn), 1);
    ck_assert_uint_eq(fake_releases(conn), 1);
    ck_assert(fake_logged(host, SLUICE_LOG_INFO, "disconnected with 1000"));
}
END_TEST

START_TEST(a_wrong_token_is_refused) {
    sluice_conn *conn = knock("token=wrong"), *other = knock(NULL);
    answer();
    answer();
    ck_assert_int_eq(fake_answer(conn), 403);
    ck_assert_int_eq(fake_answer(other), 403);
    ck_assert_str_eq(fake_answer_body(conn), "this token opens nothing\n");
    ck_assert_uint_eq(fake_releases(conn), 1);
    ck_assert_uint_eq(fake_disconnects(conn), 0);
}
END_TEST

START_TEST(a_client_that_left_before_the_work_is_released_once) {
    sluice_conn *conn = knock("token=letmein");
    fake_leave(conn, 1006, "");
    ck_assert_uint_eq(fake_releases(conn), 1);
    answer();
    ck_assert(fake_logged(host, SLUICE_LOG_INFO, "answered too late"));
    ck_assert_int_eq(fake_answer(conn), 0);
    ck_assert_uint_eq(fake_releases(conn), 1);
    ck_assert_uint_eq(fake_disconnects(conn), 0);
}
END_TEST

START_TEST(a_client_that_left_between_work_and_answer_is_released_once) {
    sluice_conn *conn = knock("token=letmein");
    ck_assert(fake_work(host));
    fake_leave(conn, 1006, "");
    ck_assert(fake_logged(host, SLUICE_LOG_INFO, "answered too late"));
    ck_assert_uint_eq(fake_releases(conn), 1);
    ck_assert_uint_eq(fake_disconnects(conn), 0);
}
END_TEST

START_TEST(a_full_pool_tells_to_come_back) {
    fake_limit_jobs(host, 1);
    sluice_conn *first = knock("token=letmein"), *second = knock("token=letmein");
    ck_assert_int_eq(fake_answer(first), 0);
    ck_assert_int_eq(fake_answer(second), 503);
    ck_assert_str_eq(fake_answer_header(second, "Retry-After"), "1");
    ck_assert_uint_eq(fake_releases(second), 1);
    answer();
    ck_assert_int_eq(fake_answer(first), 101);
}
END_TEST

START_TEST(an_answer_behind_the_connect_limit_is_too_late) {
    sluice_conn *conn = knock("token=letmein");
    fake_advance(host, FAKE_CONNECT_MS - 1);
    ck_assert_int_eq(fake_answer(conn), 0);
    fake_advance(host, 1);
    ck_assert_int_eq(fake_answer(conn), 504);
    ck_assert_uint_eq(fake_releases(conn), 1);
    answer();
    ck_assert_int_eq(fake_answer(conn), 504);
    ck_assert_uint_eq(fake_releases(conn), 1);
}
END_TEST

START_TEST(the_end_of_the_server_keeps_every_promise) {
    sluice_conn *waiting = knock("token=letmein"), *open = knock("token=letmein");
    answer(); /* the first one's */
    ck_assert_int_eq(fake_answer(waiting), 101);
    ck_assert_int_eq(fake_answer(open), 0);
    fake_drain(host, 1000);
    ck_assert_int_eq(fake_answer(open), 503);
    ck_assert_uint_eq(fake_jobs(host), 1); /* teardown ends it; a leak would be seen */
}
END_TEST

int main(void) {
    Suite *suite = suite_create("async_auth");
    TCase *auth = tcase_create("auth");
    tcase_add_checked_fixture(auth, setup, teardown);
    tcase_add_test(auth, a_right_token_is_accepted_when_the_pool_answers);
    tcase_add_test(auth, a_wrong_token_is_refused);
    tcase_add_test(auth, a_client_that_left_before_the_work_is_released_once);
    tcase_add_test(auth, a_client_that_left_between_work_and_answer_is_released_once);
    tcase_add_test(auth, a_full_pool_tells_to_come_back);
    tcase_add_test(auth, an_answer_behind_the_connect_limit_is_too_late);
    tcase_add_test(auth, the_end_of_the_server_keeps_every_promise);
    suite_add_tcase(suite, auth);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
