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

static sluice_conn *join(const char *group) {
    const char *const params[] = {"group", group, NULL};
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.params = params});
    ck_assert_int_eq(fake_answer(conn), 101);
    return conn;
}

START_TEST(a_group_hears_what_one_member_says) {
    sluice_conn *ann = join("lobby"), *ben = join("lobby"), *cem = join("garden");
    fake_receive(ann, "hi");
    ck_assert_str_eq(fake_last_text(ann), "hi");
    ck_assert_str_eq(fake_last_text(ben), "hi");
    ck_assert_uint_eq(fake_count(cem), 0);
}
END_TEST

START_TEST(all_members_hear_one_order) {
    sluice_conn *ann = join("lobby"), *ben = join("lobby");
    fake_receive(ann, "1");
    fake_receive(ben, "2");
    fake_receive_message(ann, (sluice_message){"3", 1, SLUICE_BINARY});
    for (int i = 0; i < 3; i++) {
        sluice_message first = fake_message(ann, (size_t)i), second = fake_message(ben, (size_t)i);
        ck_assert_int_eq(*(const char *)first.data, '1' + i);
        ck_assert_mem_eq(first.data, second.data, 1);
        ck_assert_uint_eq(first.kind, i == 2 ? SLUICE_BINARY : SLUICE_TEXT);
        ck_assert_uint_eq(first.kind, second.kind);
    }
}
END_TEST

START_TEST(who_left_hears_no_more) {
    sluice_conn *ann = join("lobby"), *ben = join("lobby");
    fake_leave(ben, 1001, "");
    ck_assert_uint_eq(fake_group_size(host, "lobby"), 1);
    fake_receive(ann, "hi");
    ck_assert_uint_eq(fake_count(ben), 0);
    ck_assert_uint_eq(fake_releases(ben), 1);
}
END_TEST

START_TEST(without_the_capture_nobody_hears) {
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(fake_answer(conn), 101);
    fake_receive(conn, "hi");
    ck_assert_uint_eq(fake_count(conn), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("relay");
    TCase *relay = tcase_create("relay");
    tcase_add_checked_fixture(relay, setup, teardown);
    tcase_add_test(relay, a_group_hears_what_one_member_says);
    tcase_add_test(relay, all_members_hear_one_order);
    tcase_add_test(relay, who_left_hears_no_more);
    tcase_add_test(relay, without_the_capture_nobody_hears);
    suite_add_tcase(suite, relay);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
