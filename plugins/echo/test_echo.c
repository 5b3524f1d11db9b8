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

START_TEST(text_comes_back_to_its_sender_alone) {
    sluice_conn *ann = fake_connect(route, NULL), *ben = fake_connect(route, NULL);
    ck_assert_int_eq(fake_answer(ann), 101);
    ck_assert(fake_receive(ann, "hi"));
    ck_assert(fake_receive(ann, ""));
    ck_assert_uint_eq(fake_count(ann), 2);
    ck_assert_str_eq(fake_text(ann, 0), "hi");
    ck_assert_str_eq(fake_text(ann, 1), "");
    ck_assert_uint_eq(fake_count(ben), 0);
}
END_TEST

START_TEST(binary_comes_back_as_binary) {
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert(fake_receive_message(conn, (sluice_message){"\x00\xff", 2, SLUICE_BINARY}));
    sluice_message back = fake_message(conn, 0);
    ck_assert_uint_eq(back.kind, SLUICE_BINARY);
    ck_assert_uint_eq(back.size, 2);
    ck_assert_mem_eq(back.data, "\x00\xff", 2);
}
END_TEST

START_TEST(an_option_is_refused) {
    ck_assert_ptr_null(fake_open(host, (const char *const[]){"greeting", "hello", NULL}));
    ck_assert_str_eq(fake_problem(host), "greeting: the consumer has no such option");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("echo");
    TCase *echo = tcase_create("echo");
    tcase_add_checked_fixture(echo, setup, teardown);
    tcase_add_test(echo, text_comes_back_to_its_sender_alone);
    tcase_add_test(echo, binary_comes_back_as_binary);
    tcase_add_test(echo, an_option_is_refused);
    suite_add_tcase(suite, echo);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
