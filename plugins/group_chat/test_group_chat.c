#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/fake_host.h"
#include "text.h"

static struct fake_host *host;
static sluice_route *route;

static void setup(void) {
    host = fake_host_create(sluice_consumer_entry);
    route = fake_open(host, NULL);
    ck_assert_ptr_nonnull(route);
}

static void teardown(void) { fake_host_free(host); }

static sluice_conn *join(const char *group, const char *query) {
    const char *const params[] = {"group", group, NULL};
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.params = params, .query = query});
    ck_assert_int_eq(fake_answer(conn), 101);
    return conn;
}

/* What the group hears when somebody who came with this query says so. */
static const char *heard(const char *query, const char *text) {
    sluice_conn *conn = join("lobby", query);
    fake_receive(conn, text);
    return fake_last_text(conn);
}

START_TEST(a_group_hears_what_one_says_and_other_groups_do_not) {
    sluice_conn *ann = join("lobby", NULL), *ben = join("lobby", NULL), *cem = join("garden", NULL);
    fake_receive(ann, "hello");
    ck_assert_str_eq(fake_last_text(ann), "hello");
    ck_assert_str_eq(fake_last_text(ben), "hello");
    ck_assert_uint_eq(fake_count(cem), 0);
}
END_TEST

START_TEST(the_nick_stands_in_front) {
    sluice_conn *ann = join("lobby", "nick=Ann"), *ben = join("lobby", "nick=Ben+B.");
    fake_receive(ann, "hello");
    fake_receive(ben, "");
    ck_assert_str_eq(fake_text(ben, 0), "Ann: hello");
    ck_assert_str_eq(fake_text(ann, 1), "Ben B.: ");
}
END_TEST

START_TEST(the_greeting_comes_first_and_to_one) {
    route = fake_open(host, (const char *const[]){"greeting", "welcome", NULL});
    sluice_conn *ann = join("lobby", NULL);
    sluice_conn *ben = join("lobby", NULL);
    fake_receive(ben, "hi");
    ck_assert_uint_eq(fake_count(ann), 2);
    ck_assert_str_eq(fake_text(ann, 0), "welcome");
    ck_assert_str_eq(fake_text(ben, 0), "welcome");
    ck_assert_str_eq(fake_text(ben, 1), "hi");
}
END_TEST

START_TEST(without_a_greeting_nothing_is_sent) {
    ck_assert_uint_eq(fake_count(join("lobby", NULL)), 0);
}
END_TEST

START_TEST(an_unknown_option_is_refused) {
    ck_assert_ptr_null(fake_open(host, (const char *const[]){"greting", "hi", NULL}));
    ck_assert_str_eq(fake_problem(host), "greting: the consumer has no such option");
}
END_TEST

START_TEST(the_text_close_closes_with_1000) {
    sluice_conn *ann = join("lobby", NULL), *ben = join("lobby", NULL);
    fake_receive(ann, "close");
    ck_assert_int_eq(fake_closed(ann), 1000);
    ck_assert_uint_eq(fake_disconnects(ann), 1);
    ck_assert_uint_eq(fake_releases(ann), 1);
    ck_assert_uint_eq(fake_count(ben), 0);
    fake_receive(ben, "closed");
    ck_assert_str_eq(fake_last_text(ben), "closed");
    ck_assert_int_eq(fake_closed(ben), 0);
}
END_TEST

START_TEST(binary_closes_with_1008) {
    sluice_conn *ann = join("lobby", NULL), *ben = join("lobby", NULL);
    fake_receive_message(ann, (sluice_message){"close", 5, SLUICE_BINARY});
    ck_assert_int_eq(fake_closed(ann), 1008);
    ck_assert_str_eq(fake_close_reason(ann), "this chat takes text only");
    ck_assert_uint_eq(fake_count(ben), 0);
}
END_TEST

START_TEST(a_route_without_the_capture_says_how_to_mend_it) {
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(fake_answer(conn), 500);
    ck_assert(fake_logged(host, SLUICE_LOG_ERROR, "put (?P<group>...) into the route's `match`"));
    ck_assert_uint_eq(fake_releases(conn), 1);
    ck_assert_uint_eq(fake_disconnects(conn), 0);
}
END_TEST

START_TEST(a_group_name_of_200_bytes_is_the_longest) {
    char name[202];
    memset(name, 'x', sizeof(name));
    name[201] = '\0';
    const char *const params[] = {"group", name, NULL};
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.params = params});
    ck_assert_int_eq(fake_answer(conn), 400);
    name[200] = '\0';
    conn = fake_connect(route, &(struct fake_scope){.params = params});
    ck_assert_int_eq(fake_answer(conn), 101);
    ck_assert(fake_is_member(conn, name));
    name[0] = '\0';
    ck_assert_int_eq(fake_answer(fake_connect(route, &(struct fake_scope){.params = params})), 400);
}
END_TEST

START_TEST(a_group_that_cannot_be_joined_closes_with_1008) {
    const char *const params[] = {"group", "a\nb", NULL};
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.params = params});
    ck_assert_int_eq(fake_answer(conn), 101);
    ck_assert_int_eq(fake_closed(conn), 1008);
    ck_assert_uint_eq(fake_releases(conn), 1);
}
END_TEST

#define FORTY "0123456789012345678901234567890123456789"

static const struct nick {
    const char *query, *line;
} nicks[] = {
    {"", "x"},
    {"nick", "x"},
    {"nick=", "x"},
    {"nick=++%20%09%0A", "x"},
    {"other=Ann", "x"},
    {"nick=+Ann+", "Ann: x"},
    {"nick=" FORTY, FORTY ": x"},
    {"nick=++" FORTY "1", FORTY ": x"},
    {"nick=012345678901234567890123456789012345678+9",
     "012345678901234567890123456789012345678: x"},
    {"nick=%E4%BD%A0%E5%A5%BD", "\xe4\xbd\xa0\xe5\xa5\xbd: x"},
    {"nick=A%0Ann", "A nn: x"},
    {"nick=A%1Bnn", "A nn: x"},
    {"nick=A%C2%85nn", "A nn: x"},
    {"nick=%E2%80%AEAnn", "Ann: x"},
    {"nick=%E2%80%AE", "x"},
    {"nick=A%FFn%C3", "An: x"},
    {"nick=%ED%A0%80Ann", "Ann: x"},
    {"nick=%00Ann", "x"},
};

START_TEST(a_nick_is_trimmed_cut_and_made_harmless) {
    ck_assert_str_eq(heard(nicks[_i].query, "x"), nicks[_i].line);
}
END_TEST

START_TEST(forty_characters_of_four_bytes_fit) {
    char query[5 + 41 * 12 + 1] = "nick=", expected[40 * 4 + 4] = "";
    for (int i = 0; i < 41; i++)
        strcat(query, "%F0%9F%8C%8A");
    for (int i = 0; i < 40; i++)
        strcat(expected, "\xf0\x9f\x8c\x8a");
    strcat(expected, ": x");
    ck_assert_str_eq(heard(query, "x"), expected);
}
END_TEST

static const struct nick texts[] = {
    {"a\tb\nc", "a\tb\nc"},
    {"a\x07"
     "b\x7f\r",
     "a b  "},
    {"a\xe2\x80\xae"
     "b\xe2\x81\xa6"
     "c\xd8\x9c",
     "abc"},
    {"a\xe2\x80\xa8"
     "b",
     "a b"},
    {"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
     "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb"},
    {"<script>", "<script>"},
};

START_TEST(a_text_keeps_its_lines_and_loses_what_misleads) {
    ck_assert_str_eq(heard(NULL, texts[_i].query), texts[_i].line);
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_left_out) {
    static const char *const broken[] = {
        "\x80",    "\xc3",         "\xe2\x82",         "\xc0\xaf",
        "\xf8",    "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80",
        "\xe2\x28"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char *exact = malloc(strlen(broken[i])), clean[8];
        memcpy(exact, broken[i], strlen(broken[i]));
        size_t size = text_clean(exact, strlen(broken[i]), clean);
        ck_assert_msg(size == (strchr(broken[i], '(') ? 1 : 0), "%zu: %zu", i, size);
        free(exact);
    }
}
END_TEST

START_TEST(a_message_over_the_hosts_limit_closes_with_1009) {
    size_t size = 16u << 20;
    char *text = malloc(size);
    memset(text, 'x', size);
    sluice_conn *ann = join("lobby", "nick=Ann");
    fake_receive_message(ann, (sluice_message){text, (uint32_t)size, SLUICE_TEXT});
    ck_assert_int_eq(fake_closed(ann), 1009);
    free(text);
}
END_TEST

START_TEST(a_client_that_does_not_read_disturbs_nobody) {
    sluice_conn *ann = join("lobby", NULL), *ben = join("lobby", NULL);
    fake_block(ben, 8);
    fake_receive(ann, "12345678");
    fake_receive(ann, "9");
    ck_assert_int_eq(fake_closed(ben), 1013);
    ck_assert_uint_eq(fake_count(ann), 2);
    ck_assert_uint_eq(fake_group_size(host, "lobby"), 1);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table[0])))

int main(void) {
    Suite *suite = suite_create("group_chat");
    TCase *chat = tcase_create("chat");
    tcase_set_timeout(chat, 30);
    tcase_add_checked_fixture(chat, setup, teardown);
    tcase_add_test(chat, a_group_hears_what_one_says_and_other_groups_do_not);
    tcase_add_test(chat, the_nick_stands_in_front);
    tcase_add_test(chat, the_greeting_comes_first_and_to_one);
    tcase_add_test(chat, without_a_greeting_nothing_is_sent);
    tcase_add_test(chat, an_unknown_option_is_refused);
    tcase_add_test(chat, the_text_close_closes_with_1000);
    tcase_add_test(chat, binary_closes_with_1008);
    tcase_add_test(chat, a_route_without_the_capture_says_how_to_mend_it);
    tcase_add_test(chat, a_group_name_of_200_bytes_is_the_longest);
    tcase_add_test(chat, a_group_that_cannot_be_joined_closes_with_1008);
    tcase_add_loop_test(chat, a_nick_is_trimmed_cut_and_made_harmless, 0, COUNT(nicks));
    tcase_add_test(chat, forty_characters_of_four_bytes_fit);
    tcase_add_loop_test(chat, a_text_keeps_its_lines_and_loses_what_misleads, 0, COUNT(texts));
    tcase_add_test(chat, bytes_that_are_no_utf8_are_left_out);
    tcase_add_test(chat, a_message_over_the_hosts_limit_closes_with_1009);
    tcase_add_test(chat, a_client_that_does_not_read_disturbs_nobody);
    suite_add_tcase(suite, chat);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
