#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "person.h"
#include "ref.h"
#include "support/fake_host.h"

static struct fake_host *host;
static sluice_route *route;

static void setup(void) {
    host = fake_host_create(sluice_consumer_entry);
    route = fake_open(host, NULL);
    ck_assert_ptr_nonnull(route);
}

static void teardown(void) { fake_host_free(host); }

static sluice_conn *join_as(const char *group, const char *query, const char *offered) {
    const char *const params[] = {"group", group, NULL};
    sluice_conn *conn = fake_connect(
        route, &(struct fake_scope){.params = params, .query = query, .offered = offered});
    ck_assert_int_eq(fake_answer(conn), 101);
    return conn;
}

static sluice_conn *join(const char *query) { return join_as("lobby", query, "chat.v1"); }

/* A member of a message, a string or a number, as a text of the test's own; "" when absent. */
static const char *member(const char *text, const char *key) {
    static char copies[8][4096];
    static unsigned turn;
    char *copy = copies[turn++ % 8];
    json_t *root = json_loads(text ? text : "{}", 0, NULL);
    const json_t *value = json_object_get(root, key);
    ck_assert_msg(root != NULL, "no JSON: %s", text);
    if (json_is_integer(value))
        snprintf(copy, 4096, "%lld", (long long)json_integer_value(value));
    else
        snprintf(copy, 4096, "%s", json_is_string(value) ? json_string_value(value) : "");
    json_decref(root);
    return copy;
}

static const char *last(sluice_conn *conn, const char *key) {
    return member(fake_last_text(conn), key);
}

static const char *said(const char *rest) {
    static char text[256];
    snprintf(text, sizeof(text), "{\"type\":\"say\",%s}", rest);
    return text;
}

static void is_error(sluice_conn *conn, const char *code, const char *field) {
    ck_assert_str_eq(last(conn, "type"), "error");
    ck_assert_str_eq(last(conn, "code"), code);
    ck_assert_str_eq(last(conn, "field"), field);
    ck_assert_str_ne(last(conn, "message"), "");
}

START_TEST(chat_v1_is_chosen_when_it_is_offered) {
    ck_assert_str_eq(fake_subprotocol(join_as("a", NULL, "other, chat.v1")), "chat.v1");
    ck_assert_ptr_null(fake_subprotocol(join_as("a", NULL, "chat.v10, xchat.v1")));
}
END_TEST

START_TEST(the_welcome_tells_nick_room_and_limits) {
    route = fake_open(host, (const char *const[]){"greeting", "hi", "rate", "7", "text", "100",
                                                  "nick-max", "10", NULL});
    sluice_conn *ann = join("nick=+Ann+of+Green+Gables");
    const char *text = fake_text(ann, 0);
    ck_assert_str_eq(member(text, "type"), "welcome");
    ck_assert_str_eq(member(text, "nick"), "Ann of Gre");
    ck_assert_str_eq(member(text, "room"), "lobby");
    ck_assert_str_eq(member(text, "greeting"), "hi");
    ck_assert_uint_eq(strlen(member(text, "id")), 16);
    ck_assert_ptr_nonnull(
        strstr(text, "\"limits\":{\"nick\":10,\"text\":100,\"rate\":7,\"seconds\":10}"));
    ck_assert_str_eq(last(ann, "type"), "joined");
}
END_TEST

START_TEST(what_one_says_all_hear_in_their_form) {
    sluice_conn *ann = join("nick=Ann"), *ben = join_as("lobby", "nick=Ben", NULL);
    sluice_conn *cem = join_as("garden", "nick=Cem", "chat.v1");
    size_t before = fake_count(cem);
    fake_receive(ann, "{\"type\":\"say\",\"text\":\"a \\\"b\\\" \\u202e<i>\"}");
    ck_assert_str_eq(fake_last_text(ben), "Ann: a \"b\" <i>");
    ck_assert_str_eq(last(ann, "type"), "said");
    ck_assert_str_eq(last(ann, "from"), "Ann");
    ck_assert_str_eq(last(ann, "text"), "a \"b\" <i>");
    const char *time = last(ann, "time");
    ck_assert_uint_eq(strlen(time), 24);
    ck_assert(time[10] == 'T' && time[19] == '.' && time[23] == 'Z');
    fake_receive(ben, "hello");
    ck_assert_str_eq(last(ann, "from"), "Ben");
    ck_assert_str_eq(last(ann, "text"), "hello");
    ck_assert_uint_eq(fake_count(cem), before);
    ck_assert_uint_eq(fake_count(ben), 2);
}
END_TEST

START_TEST(a_nick_that_is_taken_is_numbered_at_the_door) {
    join("nick=Ann");
    ck_assert_str_eq(member(fake_text(join("nick=ann"), 0), "nick"), "ann 2");
    ck_assert_str_eq(member(fake_text(join("nick=A%E2%80%8BNN"), 0), "nick"), "A\xe2\x80\x8bNN 3");
    ck_assert_str_eq(member(fake_text(join(NULL), 0), "nick"), "guest");
    ck_assert_str_eq(member(fake_text(join("nick=%E2%80%8B"), 0), "nick"), "guest 2");
    sluice_conn *plain = join_as("lobby", "nick=Ann", NULL), *ben = join("nick=Ben");
    fake_receive(plain, "x");
    ck_assert_str_eq(last(ben, "from"), "Ann 4");
}
END_TEST

START_TEST(numbers_go_on_behind_the_small_ones) {
    for (int i = 0; i < 30; i++) {
        sluice_conn *conn = join("nick=0123456789012345678901234567890123456789");
        const char *nick = member(fake_text(conn, 0), "nick");
        ck_assert_uint_le(strlen(nick), 40);
        ck_assert_uint_eq(fake_timers(conn), 0);
    }
}
END_TEST

START_TEST(a_nick_changes_for_all_or_is_refused) {
    sluice_conn *ann = join("nick=Ann"), *ben = join("nick=Ben");
    fake_receive(ann, "{\"type\":\"nick\",\"nick\":\" Anna \"}");
    ck_assert_str_eq(last(ben, "type"), "nick");
    ck_assert_str_eq(last(ben, "old"), "Ann");
    ck_assert_str_eq(last(ben, "new"), "Anna");
    fake_receive(ann, "{\"type\":\"nick\",\"nick\":\"BEN\"}");
    is_error(ann, "taken", "nick");
    fake_receive(ann, "{\"type\":\"say\",\"text\":\"x\"}");
    ck_assert_str_eq(last(ben, "from"), "Anna");
    ck_assert_str_eq(member(fake_text(join("nick=Ann"), 0), "nick"), "Ann");
}
END_TEST

START_TEST(windows_of_one_person_share_its_nick) {
    sluice_conn *one = join("nick=Ann&person=0123456789abcdef");
    sluice_conn *two = join("nick=Ann&person=0123456789abcdef");
    ck_assert_str_eq(member(fake_text(two, 0), "nick"), "Ann");
    ck_assert_str_eq(member(fake_text(two, 0), "id"), member(fake_text(one, 0), "id"));
    ck_assert_str_eq(last(one, "windows"), "2");
    join("nick=Ben");
    join_as("lobby", NULL, NULL);
    fake_receive(one, "{\"type\":\"who\"}");
    const char *who = fake_last_text(one);
    ck_assert_ptr_nonnull(strstr(who, "\"nick\":\"Ann\",\"windows\":2}"));
    ck_assert_ptr_nonnull(strstr(who, "\"nick\":\"Ben\",\"windows\":1}]"));
    ck_assert_str_eq(last(one, "unnamed"), "1");
    ck_assert_str_eq(last(one, "connections"), "4");
}
END_TEST

START_TEST(joins_and_leaves_are_told) {
    sluice_conn *ann = join("nick=Ann"), *ben = join("nick=Ben");
    ck_assert_str_eq(last(ann, "type"), "joined");
    ck_assert_str_eq(last(ann, "nick"), "Ben");
    fake_leave(ben, 1006, "");
    ck_assert_str_eq(last(ann, "type"), "left");
    ck_assert_str_eq(last(ann, "nick"), "Ben");
}
END_TEST

START_TEST(typing_is_shown_to_the_others_once_a_second) {
    sluice_conn *ann = join("nick=Ann"), *ben = join("nick=Ben");
    size_t anns = fake_count(ann), bens = fake_count(ben);
    fake_receive(ann, "{\"type\":\"typing\"}");
    fake_receive(ann, "{\"type\":\"typing\"}");
    ck_assert_uint_eq(fake_count(ann), anns);
    ck_assert_uint_eq(fake_count(ben), bens + 1);
    ck_assert_str_eq(last(ben, "type"), "typing");
    ck_assert_str_eq(last(ben, "from"), "Ann");
}
END_TEST

START_TEST(close_closes_with_1000) {
    sluice_conn *ann = join("nick=Ann");
    fake_receive(ann, "{\"type\":\"close\"}");
    ck_assert_int_eq(fake_closed(ann), 1000);
}
END_TEST

START_TEST(a_flood_is_stopped_and_told_and_ends_with_its_window) {
    route = fake_open(host, (const char *const[]){"rate", "2", NULL});
    sluice_conn *ann = join("nick=Ann"), *ben = join_as("lobby", NULL, NULL);
    for (int i = 0; i < 3; i++)
        fake_receive(ann, "{\"type\":\"say\",\"text\":\"x\"}");
    is_error(ann, "flood", "");
    ck_assert_int_gt(atoi(last(ann, "retry_ms")), 0);
    ck_assert_int_le(atoi(last(ann, "retry_ms")), 10000);
    ck_assert_uint_eq(fake_count(ben), 2);
    for (int i = 0; i < 3; i++)
        fake_receive(ben, "y");
    ck_assert_str_eq(fake_last_text(ben), "(too many messages: your last one was not sent)");
    fake_advance(host, 10000);
    fake_receive(ann, "{\"type\":\"say\",\"text\":\"again\"}");
    ck_assert_str_eq(fake_last_text(ben), "Ann: again");
}
END_TEST

/* Makes what a member shows look like another moment of its asking. */
static void show(sluice_conn *conn, const char *wanted, const char *nick) {
    char digest[DIGEST_TEXT] = "0000000000000000", info[PERSON_INFO_BYTES];
    if (wanted[0])
        person_nick_digest(wanted, digest);
    snprintf(info, sizeof(info), "fedcba9876543210 %s %s", digest, nick);
    ck_assert_int_eq(sluice_group_join(conn, "lobby", info, SLUICE_EVENTS), SLUICE_OK);
}

START_TEST(of_two_who_want_a_nick_the_later_gives_way) {
    show(join_as("lobby", NULL, NULL), "Ann", "");
    ck_assert_str_eq(member(fake_text(join("nick=Ann"), 0), "nick"), "Ann 2");
}
END_TEST

START_TEST(of_two_who_want_a_nick_the_earlier_waits_with_what_it_says) {
    sluice_conn *ann = join("nick=Ann"), *later = join_as("lobby", NULL, NULL);
    show(later, "Bea", "");
    size_t before = fake_count(ann);
    fake_receive(ann, "{\"type\":\"nick\",\"nick\":\"Bea\"}");
    fake_receive(ann, "{\"type\":\"say\",\"text\":\"x\"}");
    fake_advance(host, 100);
    ck_assert_uint_eq(fake_count(ann), before);
    show(later, _i ? "" : "Bea 2", _i ? "Bea" : "");
    fake_advance(host, 100);
    ck_assert_uint_eq(fake_count(ann), before + 2);
    ck_assert_str_eq(member(fake_text(ann, before), "type"), _i ? "error" : "nick");
    ck_assert_str_eq(last(ann, "from"), _i ? "Ann" : "Bea");
}
END_TEST

START_TEST(what_waits_for_a_nick_is_bounded) {
    sluice_conn *ann = join("nick=Ann");
    show(join_as("lobby", NULL, NULL), "Bea", "");
    fake_receive(ann, "{\"type\":\"nick\",\"nick\":\"Bea\"}");
    for (int i = 0; i < 32; i++)
        fake_receive(ann, "{\"type\":\"who\"}");
    ck_assert_int_eq(fake_closed(ann), 0);
    fake_receive(ann, "{\"type\":\"who\"}");
    ck_assert_int_eq(fake_closed(ann), 1008);
}
END_TEST

#define FORTY "0123456789012345678901234567890123456789"

static const char *const refs[] = {"a", "Az09-_", FORTY};

START_TEST(a_ref_comes_back_in_the_one_text_for_all) {
    sluice_conn *ann = join("nick=Ann"), *ben = join("nick=Ben"),
                *pat = join_as("lobby", NULL, NULL);
    char rest[80];
    snprintf(rest, sizeof(rest), "\"ref\":\"%s\",\"text\":\"x\"", refs[_i]);
    fake_receive(ann, said(rest));
    ck_assert_str_eq(last(ann, "type"), "said");
    ck_assert_str_eq(last(ann, "ref"), refs[_i]);
    ck_assert_str_eq(fake_last_text(ben), fake_last_text(ann));
    ck_assert_str_eq(fake_last_text(pat), "Ann: x");
    fake_receive(ann, said("\"text\":\"y\""));
    ck_assert_str_eq(last(ben, "text"), "y");
    ck_assert_ptr_null(strstr(fake_last_text(ben), "\"ref\""));
}
END_TEST

START_TEST(an_error_brings_the_ref_of_what_it_refuses) {
    route = fake_open(host, (const char *const[]){"text", "16", "rate", "4", NULL});
    sluice_conn *ann = join("nick=Ann");
    fake_receive(ann, said("\"ref\":\"one\",\"text\":\"\""));
    is_error(ann, "empty", "text");
    ck_assert_str_eq(last(ann, "ref"), "one");
    fake_receive(ann, said("\"ref\":\"two\",\"text\":\"12345678901234567\""));
    is_error(ann, "too-long", "text");
    ck_assert_str_eq(last(ann, "ref"), "two");
    fake_receive(ann, said("\"ref\":\"three\",\"text\":3"));
    is_error(ann, "missing", "text");
    ck_assert_str_eq(last(ann, "ref"), "three");
    fake_receive(ann, said("\"text\":\"\""));
    is_error(ann, "empty", "text");
    ck_assert_ptr_null(strstr(fake_last_text(ann), "\"ref\""));
    fake_receive(ann, said("\"ref\":\"five\",\"text\":\"x\""));
    is_error(ann, "flood", "");
    ck_assert_str_eq(last(ann, "ref"), "five");
    ck_assert_int_gt(atoi(last(ann, "retry_ms")), 0);
    fake_receive(ann, said("\"ref\":\"s i x\",\"text\":\"x\""));
    is_error(ann, "flood", "");
    ck_assert_ptr_null(strstr(fake_last_text(ann), "\"ref\""));
}
END_TEST

static int send_to_nobody(sluice_conn *conn, const char *group, sluice_message message,
                          const sluice_send_options *options) {
    (void)conn, (void)group, (void)message, (void)options;
    return SLUICE_FULL;
}

START_TEST(a_busy_server_is_told_with_the_ref) {
    sluice_conn *ann = join("nick=Ann"), *ben = join("nick=Ben");
    const struct sluice_host *table = sluice_host_table;
    struct sluice_host full = *table;
    size_t before = fake_count(ben);
    full.group_send = send_to_nobody;
    sluice_host_table = &full;
    fake_receive(ann, said("\"ref\":\"a\",\"text\":\"x\""));
    sluice_host_table = table;
    is_error(ann, "busy", "");
    ck_assert_str_eq(last(ann, "ref"), "a");
    ck_assert_uint_eq(fake_count(ben), before);
}
END_TEST

START_TEST(a_ref_of_what_is_not_said_is_ignored) {
    sluice_conn *ann = join("nick=Ann");
    fake_receive(ann, "{\"type\":\"who\",\"ref\":7}");
    ck_assert_str_eq(last(ann, "type"), "who");
    fake_receive(ann, "{\"type\":\"nick\",\"ref\":\"a\"}");
    is_error(ann, "missing", "nick");
    ck_assert_ptr_null(strstr(fake_last_text(ann), "\"ref\""));
}
END_TEST

/* What is refused unread finds the ref as a reader of the JSON would. */
static const struct unread {
    const char *text, *ref;
} unread[] = {
    {"{\"type\":\"say\",\"text\":\"x\",\"ref\":\"r-1\"}", "r-1"},
    {" { \"ref\" : \"r_1\" , \"text\":\"x\",\n\"type\" :\t\"say\" } ", "r_1"},
    {"{\"ref\":\"" FORTY "\",\"type\":\"say\"}", FORTY},
    {"{\"ref\":\"" FORTY "1\",\"type\":\"say\"}", ""},
    {"{\"ref\":\"\",\"type\":\"say\"}", ""},
    {"{\"ref\":\"a b\",\"type\":\"say\"}", ""},
    {"{\"ref\":7,\"type\":\"say\"}", ""},
    {"{\"ref\":[\"r\"],\"type\":\"say\"}", ""},
    {"{\"ref\":{\"ref\":\"r\"},\"type\":\"say\"}", ""},
    {"{\"type\":\"nick\",\"ref\":\"r\"}", ""},
    {"{\"type\":\"say\",\"x\":{\"ref\":\"no\",\"type\":\"who\"},\"ref\":\"r\"}", "r"},
    {"{\"type\":\"say\",\"x\":[[],{}],\"ref\":\"r\"}", "r"},
    {"{\"type\":\"say\",\"text\":\"\\\",\\\"ref\\\":\\\"no\",\"x\":\"ref\"}", ""},
    {"{\"type\":\"say\",\"text\":\"\\\\\",\"ref\":\"r\"}", "r"},
    {"{\"type\":\"say\",\"ref\":\"a\\u0062\"}", ""},
    {"{\"type\":\"say\",\"refs\":\"r\"}", ""},
    {"[\"type\",\"say\",\"ref\",\"r\"]", ""},
    {"{\"type\":\"say\",\"text\":\"\\\\\\\"\",\"ref\":\"r\"}", "r"},
    {"{\"type\":\"say\",\"re\":\"r\"}", ""},
    {"{\"type\":\"sa\",\"ref\":\"r\"}", ""},
    {"{\"ref\":\"r\",\"type\":\"s\\", ""},
    {"\"ref\":\"r\",\"type\":\"say\"", ""},
    {"}{\"type\":\"say\",\"ref\":\"r\"}", "r"},
    {"{\"type\":\"say\",\"ref\":\"r", "r"},
    {"{\"type\":\"say\",\"ref\":\"r\\", ""},
    {"{\"type\":\"say\",\"ref\":\"", ""},
    {"", ""},
};

START_TEST(a_ref_is_found_without_reading_the_rest) {
    size_t size = strlen(unread[_i].text);
    char *exact = malloc(size + (size == 0)), ref[REF_MAX + 1];
    memcpy(exact, unread[_i].text, size);
    ref_find(exact, size, ref);
    ck_assert_str_eq(ref, unread[_i].ref);
    free(exact);
}
END_TEST

/* A say of so many bytes, its ref at the end. */
static const char *filled(size_t size) {
    static const char begin[] = "{\"type\":\"say\",\"text\":\"", end[] = "\",\"ref\":\"r\"}";
    static char text[4096];
    size_t rest = size - strlen(begin) - strlen(end);
    snprintf(text, sizeof(text), "%s%*s%s", begin, (int)rest, "x", end);
    return text;
}

START_TEST(a_whole_message_that_is_too_long_is_refused_with_its_ref) {
    route = fake_open(host, (const char *const[]){"text", "16", NULL});
    sluice_conn *ann = join("nick=Ann");
    for (size_t size = 6 * 16 + 1024; size <= 6 * 16 + 1025; size++) {
        fake_receive(ann, filled(size));
        is_error(ann, "too-long", "text");
        ck_assert_str_eq(last(ann, "ref"), "r");
    }
    show(join_as("lobby", NULL, NULL), "Bea", "");
    fake_receive(ann, "{\"type\":\"nick\",\"nick\":\"Bea\"}");
    size_t before = fake_count(ann);
    fake_receive(ann, filled(4000));
    ck_assert_uint_eq(fake_count(ann), before + 1);
    is_error(ann, "too-long", "text");
    ck_assert_str_eq(last(ann, "ref"), "r");
}
END_TEST

START_TEST(a_binary_flood_has_no_ref) {
    static const char bytes[] = "{\"type\":\"say\",\"ref\":\"r\"}";
    route = fake_open(host, (const char *const[]){"rate", "1", NULL});
    sluice_conn *ann = join("nick=Ann");
    for (int i = 0; i < 2; i++) {
        fake_receive_message(ann, (sluice_message){bytes, sizeof(bytes) - 1, SLUICE_BINARY});
        is_error(ann, i ? "flood" : "binary", "");
        ck_assert_ptr_null(strstr(fake_last_text(ann), "\"ref\""));
    }
}
END_TEST

static const struct fault {
    const char *text, *code, *field;
} faults[] = {
    {"", "json", ""},
    {"close", "json", ""},
    {"[]", "json", ""},
    {"{\"type\":\"say\",\"text\":\"a\",\"text\":\"b\"}", "json", ""},
    {"{\"type\":\"say\",\"text\":\"\\u0000\"}", "json", ""},
    {"{\"type\":\"say\",\"text\":\"\\ud800\"}", "json", ""},
    {"{}", "missing", "type"},
    {"{\"type\":1}", "missing", "type"},
    {"{\"type\":\"shout\"}", "unknown", "type"},
    {"{\"type\":\"say\"}", "missing", "text"},
    {"{\"type\":\"say\",\"text\":[]}", "missing", "text"},
    {"{\"type\":\"say\",\"text\":\"\"}", "empty", "text"},
    {"{\"type\":\"say\",\"text\":\" \\t\\n\\u3000\"}", "empty", "text"},
    {"{\"type\":\"say\",\"text\":\"\\u200b\\u2060\\ufe0f\\u2800\"}", "empty", "text"},
    {"{\"type\":\"say\",\"text\":\"\\u202e\"}", "empty", "text"},
    {"{\"type\":\"say\",\"ref\":\"\",\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":\"a b\",\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":\"\u00e9\",\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":\"a.\",\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":7,\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":null,\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":[\"a\"],\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":\"" FORTY "1\",\"text\":\"x\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"ref\":\"a b\"}", "invalid", "ref"},
    {"{\"type\":\"say\",\"text\":\"12345678901234567\"}", "too-long", "text"},
    {"{\"type\":\"nick\"}", "missing", "nick"},
    {"{\"type\":\"nick\",\"nick\":\" \\u200b\"}", "empty", "nick"},
    {"{\"type\":\"nick\",\"nick\":\"123456789\"}", "too-long", "nick"},
};

START_TEST(an_error_names_the_field_and_others_hear_nothing) {
    route = fake_open(host, (const char *const[]){"text", "16", "nick-max", "8", NULL});
    sluice_conn *ann = join("nick=Ann"), *ben = join("nick=Ben");
    size_t before = fake_count(ben);
    fake_receive(ann, faults[_i].text);
    is_error(ann, faults[_i].code, faults[_i].field);
    ck_assert_uint_eq(fake_count(ben), before);
    ck_assert_int_eq(fake_closed(ann), 0);
}
END_TEST

START_TEST(binary_and_giants_are_refused_and_told) {
    sluice_conn *ann = join("nick=Ann");
    fake_receive_message(ann, (sluice_message){"{}", 2, SLUICE_BINARY});
    is_error(ann, "binary", "");
    size_t size = 1u << 20;
    char *giant = malloc(size);
    memset(giant, '[', size);
    fake_receive_message(ann, (sluice_message){giant, (uint32_t)size, SLUICE_TEXT});
    is_error(ann, "too-long", "text");
    free(giant);
}
END_TEST

START_TEST(plain_members_are_spared_what_is_not_said) {
    sluice_conn *plain = join_as("lobby", NULL, NULL);
    static const char *const others[] = {"no JSON", "{}", "[]", "{\"type\":\"said\"}",
                                         "{\"type\":\"left\",\"from\":\"a\",\"text\":\"b\"}"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        fake_event(plain, "lobby", others[i]);
    fake_leave(join("nick=Ann"), 1000, "");
    ck_assert_uint_eq(fake_count(plain), 0);
    fake_event(plain, "lobby", "{\"type\":\"said\",\"from\":\"a\",\"text\":\"b\"}");
    ck_assert_str_eq(fake_last_text(plain), "a: b");
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table[0])))

int main(void) {
    Suite *suite = suite_create("chat_v1");
    TCase *chat = tcase_create("chat.v1");
    tcase_set_timeout(chat, 30);
    tcase_add_checked_fixture(chat, setup, teardown);
    tcase_add_test(chat, chat_v1_is_chosen_when_it_is_offered);
    tcase_add_test(chat, the_welcome_tells_nick_room_and_limits);
    tcase_add_test(chat, what_one_says_all_hear_in_their_form);
    tcase_add_test(chat, a_nick_that_is_taken_is_numbered_at_the_door);
    tcase_add_test(chat, numbers_go_on_behind_the_small_ones);
    tcase_add_test(chat, a_nick_changes_for_all_or_is_refused);
    tcase_add_test(chat, of_two_who_want_a_nick_the_later_gives_way);
    tcase_add_loop_test(chat, of_two_who_want_a_nick_the_earlier_waits_with_what_it_says, 0, 2);
    tcase_add_test(chat, what_waits_for_a_nick_is_bounded);
    tcase_add_test(chat, windows_of_one_person_share_its_nick);
    tcase_add_test(chat, joins_and_leaves_are_told);
    tcase_add_test(chat, typing_is_shown_to_the_others_once_a_second);
    tcase_add_test(chat, close_closes_with_1000);
    tcase_add_test(chat, a_flood_is_stopped_and_told_and_ends_with_its_window);
    tcase_add_loop_test(chat, an_error_names_the_field_and_others_hear_nothing, 0, COUNT(faults));
    tcase_add_loop_test(chat, a_ref_comes_back_in_the_one_text_for_all, 0, COUNT(refs));
    tcase_add_test(chat, an_error_brings_the_ref_of_what_it_refuses);
    tcase_add_loop_test(chat, a_ref_is_found_without_reading_the_rest, 0, COUNT(unread));
    tcase_add_test(chat, a_whole_message_that_is_too_long_is_refused_with_its_ref);
    tcase_add_test(chat, a_binary_flood_has_no_ref);
    tcase_add_test(chat, a_busy_server_is_told_with_the_ref);
    tcase_add_test(chat, a_ref_of_what_is_not_said_is_ignored);
    tcase_add_test(chat, binary_and_giants_are_refused_and_told);
    tcase_add_test(chat, plain_members_are_spared_what_is_not_said);
    suite_add_tcase(suite, chat);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
