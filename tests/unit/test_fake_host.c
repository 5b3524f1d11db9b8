/* The fake host keeps the contract, and catches who does not. The consumer under test is told by
   each test what to do. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/fake_host.h"

/* --- a consumer whose hooks are set by the tests --- */

static struct {
    int (*open)(sluice_route *route);
    void (*thread_start)(sluice_thread *thread);
    void (*connect)(sluice_conn *conn);
    void (*receive)(sluice_conn *conn, sluice_message message);
    void (*disconnect)(sluice_conn *conn, int code);
    void (*release)(sluice_conn *conn);
    void (*http)(sluice_conn *conn);
} hooks;

static char seen[256]; /* what happened, a word each */
static int result;     /* of the call that a test is about */

static void note(const char *word) {
    size_t at = strlen(seen);
    snprintf(seen + at, sizeof(seen) - at, "%s%s", at > 0 ? " " : "", word);
}

static int on_open(sluice_route *route, void **data) {
    *data = seen;
    return hooks.open ? hooks.open(route) : 0;
}

static void on_shut(sluice_route *route, void *data) {
    ck_assert_ptr_eq(data, seen);
    ck_assert_ptr_eq(sluice_route_data(route), seen);
    note("shut");
}

static int on_thread_start(sluice_thread *thread, sluice_route *route, void **data) {
    (void)route;
    *data = &hooks;
    if (hooks.thread_start)
        hooks.thread_start(thread);
    return 0;
}

static void on_thread_stop(sluice_thread *thread, void *data) {
    (void)thread;
    ck_assert_ptr_eq(data, &hooks);
    note("thread_stop");
}

static void on_connect(sluice_conn *conn) {
    if (hooks.connect)
        hooks.connect(conn);
    else
        sluice_accept(conn, NULL);
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    if (hooks.receive)
        hooks.receive(conn, message);
}

static void on_event(sluice_conn *conn, const char *group, sluice_message message) {
    char word[64];
    (void)conn;
    snprintf(word, sizeof(word), "event:%s:%.*s", group, (int)message.size,
             (const char *)message.data);
    note(word);
}

static void on_disconnect(sluice_conn *conn, int code) {
    char word[64];
    const char *reason = sluice_scope(conn, SLUICE_REASON, NULL);
    snprintf(word, sizeof(word), "disconnect:%d:%s", code, reason ? reason : "NULL");
    note(word);
    if (hooks.disconnect)
        hooks.disconnect(conn, code);
}

static void on_release(sluice_conn *conn) {
    note("release");
    if (hooks.release)
        hooks.release(conn);
}

static void on_drain(sluice_conn *conn, uint32_t ms_left) {
    (void)ms_left;
    note("drain");
    sluice_close(conn, 1001, "bye");
}

static void on_http(sluice_conn *conn) {
    if (hooks.http)
        hooks.http(conn);
}

SLUICE_CONSUMER("told", "1.0", .data_size = 20, .open = on_open, .shut = on_shut,
                .thread_start = on_thread_start, .thread_stop = on_thread_stop,
                .connect = on_connect, .receive = on_receive, .event = on_event,
                .disconnect = on_disconnect, .release = on_release, .drain = on_drain,
                .http = on_http)

static struct fake_host *host;
static sluice_route *route;

static void setup(void) {
    host = fake_host_create(sluice_consumer_entry);
    route = fake_open(host, NULL);
    ck_assert_ptr_nonnull(route);
}

static void teardown(void) { fake_host_free(host); }

static sluice_message text(const char *bytes) { return sluice_text(bytes, strlen(bytes)); }

/* --- answers --- */

static void do_nothing(sluice_conn *conn) { (void)conn; }

START_TEST(a_denial_reaches_the_client_and_is_released) {
    hooks.connect = do_nothing;
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(fake_answer(conn), 0);
    ck_assert_int_eq(sluice_add_header(conn, "X-Why", "a"), SLUICE_OK);
    ck_assert_int_eq(sluice_add_header(conn, "x-why", "b"), SLUICE_OK);
    ck_assert_int_eq(sluice_deny(conn, 401, "no", 2), SLUICE_OK);
    ck_assert_int_eq(sluice_accept(conn, NULL), SLUICE_STATE);
    ck_assert_int_eq(sluice_deny(conn, 403, NULL, 0), SLUICE_STATE);
    ck_assert_int_eq(sluice_add_header(conn, "x", "y"), SLUICE_STATE);
    ck_assert_int_eq(sluice_send(conn, text("x")), SLUICE_STATE);
    fake_turn(host);
    ck_assert_int_eq(fake_answer(conn), 401);
    ck_assert_str_eq(fake_answer_body(conn), "no");
    ck_assert_str_eq(fake_answer_header(conn, "X-WHY"), "a, b");
    ck_assert_ptr_null(fake_answer_header(conn, "other"));
    ck_assert_str_eq(seen, "release");
}
END_TEST

START_TEST(answers_out_of_range_are_invalid) {
    hooks.connect = do_nothing;
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(sluice_deny(conn, 399, NULL, 0), SLUICE_INVALID);
    ck_assert_int_eq(sluice_deny(conn, 600, NULL, 0), SLUICE_INVALID);
    ck_assert_int_eq(sluice_respond(conn, 200, NULL, 0), SLUICE_STATE);
    ck_assert_int_eq(sluice_accept(conn, "chat"), SLUICE_INVALID);
    ck_assert_int_eq(fake_answer(conn), 0);
}
END_TEST

static const struct {
    const char *name, *value;
} bad_headers[] = {{"", "x"},
                   {"a b", "x"},
                   {"a:", "x"},
                   {"x", "a\r\nb"},
                   {"x", "a\x7f"},
                   {"upgrade", "x"},
                   {"Connection", "x"},
                   {"content-length", "1"},
                   {"Transfer-Encoding", "chunked"},
                   {"Sec-WebSocket-Accept", "x"},
                   {NULL, "x"},
                   {"x", NULL}};

START_TEST(a_header_that_would_break_the_answer_is_invalid) {
    hooks.connect = do_nothing;
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(sluice_add_header(conn, bad_headers[_i].name, bad_headers[_i].value),
                     SLUICE_INVALID);
}
END_TEST

START_TEST(headers_have_a_limit) {
    static char large[8192];
    hooks.connect = do_nothing;
    sluice_conn *conn = fake_connect(route, NULL);
    memset(large, 'x', sizeof(large) - 1);
    ck_assert_int_eq(sluice_add_header(conn, "ab", large), SLUICE_FULL);
    for (int i = 0; i < 32; i++)
        ck_assert_int_eq(sluice_add_header(conn, "a", "b"), SLUICE_OK);
    ck_assert_int_eq(sluice_add_header(conn, "a", "b"), SLUICE_FULL);
}
END_TEST

START_TEST(only_an_offered_subprotocol_can_be_chosen) {
    hooks.connect = do_nothing;
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.offered = "chat.v2, chat.v1"});
    ck_assert_int_eq(sluice_accept(conn, "chat"), SLUICE_INVALID);
    ck_assert_int_eq(sluice_accept(conn, ""), SLUICE_INVALID);
    ck_assert_int_eq(sluice_accept(conn, "chat.v1"), SLUICE_OK);
    ck_assert_str_eq(fake_subprotocol(conn), "chat.v1");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_SUBPROTOCOL, NULL), "chat.v1");
}
END_TEST

static void respond(sluice_conn *conn) {
    size_t size;
    const char *body = sluice_body(conn, &size);
    note(sluice_scope(conn, SLUICE_METHOD, NULL));
    result = sluice_accept(conn, NULL);
    sluice_respond(conn, 201, body, size);
}

START_TEST(a_request_is_answered_by_the_http_hook) {
    hooks.http = respond;
    sluice_conn *conn = fake_request(route, &(struct fake_scope){.method = "POST", .body = "data"});
    ck_assert_int_eq(result, SLUICE_STATE);
    ck_assert_int_eq(fake_answer(conn), 201);
    ck_assert_str_eq(fake_answer_body(conn), "data");
    ck_assert_str_eq(seen, "POST release");
}
END_TEST

START_TEST(an_undecided_handshake_ends_with_504) {
    hooks.connect = do_nothing;
    sluice_conn *conn = fake_connect(route, NULL);
    fake_advance(host, FAKE_CONNECT_MS);
    ck_assert_int_eq(fake_answer(conn), 504);
    ck_assert_str_eq(seen, "release");
}
END_TEST

/* --- the scope --- */

static void read_scope(sluice_conn *conn) {
    ck_assert_str_eq(sluice_scope(conn, SLUICE_PATH, NULL), "/ws/lobby");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_QUERY, NULL), "a=1&b=%C3%A4+x&c&b=2&d=%00&e=%zz");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_QUERY, "a"), "1");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_QUERY, "b"), "\xc3\xa4 x");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_QUERY, "c"), "");
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_QUERY, "d"));
    ck_assert_str_eq(sluice_scope(conn, SLUICE_QUERY, "e"), "%zz");
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_QUERY, "f"));
    ck_assert_str_eq(sluice_scope(conn, SLUICE_HEADER, "ACCEPT"), "x, y");
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_HEADER, "none"));
    ck_assert_str_eq(sluice_scope(conn, SLUICE_COOKIE, "two"), "2");
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_COOKIE, "three"));
    ck_assert_str_eq(sluice_scope(conn, SLUICE_HOST, NULL), "example.test");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_SCHEME, NULL), "https");
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_OFFERED, NULL));
    ck_assert_ptr_null(sluice_scope(conn, 99, NULL));
    ck_assert_str_eq(sluice_param(conn, "group"), "lobby");
    ck_assert_ptr_null(sluice_param(conn, "other"));
    sluice_accept(conn, NULL);
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_PATH, NULL));
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_QUERY, "a"));
    ck_assert_str_eq(sluice_scope(conn, SLUICE_PEER, NULL), "192.0.2.1:5000");
    ck_assert_str_eq(sluice_param(conn, "group"), "lobby");
    note("read");
}

START_TEST(the_scope_is_there_until_the_answer) {
    hooks.connect = read_scope;
    fake_connect(route, &(struct fake_scope){
                            .path = "/ws/lobby",
                            .query = "a=1&b=%C3%A4+x&c&b=2&d=%00&e=%zz",
                            .scheme = "https",
                            .params = (const char *const[]){"group", "lobby", NULL},
                            .headers = (const char *const[]){"Accept", "x", "cookie",
                                                             "one=1; two=2", "accept", "y", NULL},
                        });
    ck_assert_str_eq(seen, "read");
}
END_TEST

/* --- messages and ends --- */

START_TEST(what_cannot_be_sent_is_refused) {
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(sluice_send(conn, text("\xff")), SLUICE_INVALID);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){"x", 1, 3}), SLUICE_INVALID);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){NULL, 1, SLUICE_BINARY}), SLUICE_INVALID);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){"x", (16u << 20) + 1, SLUICE_BINARY}),
                     SLUICE_TOO_BIG);
    ck_assert_int_eq(sluice_group_send(conn, "", text("x")), SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_send(conn, "a\x01", text("x")), SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_send(conn, "a\xc2\x85", text("x")), SLUICE_INVALID);
    ck_assert_uint_eq(fake_count(conn), 0);
}
END_TEST

START_TEST(data_is_zeroed_and_aligned) {
    static const unsigned char zeros[20];
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_mem_eq(sluice_data(conn), zeros, sizeof(zeros));
    ck_assert_uint_eq((uintptr_t)sluice_data(conn) % 16, 0);
    ck_assert_ptr_eq(sluice_thread_data(conn), &hooks);
    ck_assert_ptr_eq(sluice_conn_route(conn), route);
}
END_TEST

static void close_at_message(sluice_conn *conn, sluice_message message) {
    (void)message;
    result = sluice_close(conn, 4000, "done");
    note("closed");
    ck_assert_int_eq(sluice_send(conn, text("x")), SLUICE_GONE);
    ck_assert_int_eq(sluice_close(conn, 1000, NULL), SLUICE_GONE);
}

START_TEST(close_is_followed_by_one_disconnect_and_one_release) {
    hooks.receive = close_at_message;
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert(fake_receive(conn, "x"));
    ck_assert_int_eq(result, SLUICE_OK);
    ck_assert_str_eq(seen, "closed disconnect:4000: release");
    ck_assert_int_eq(fake_closed(conn), 4000);
    ck_assert_str_eq(fake_close_reason(conn), "done");
    ck_assert(!fake_receive(conn, "x"));
    fake_leave(conn, 1000, "");
    ck_assert_uint_eq(fake_disconnects(conn), 1);
    ck_assert_uint_eq(fake_releases(conn), 1);
}
END_TEST

static const struct {
    int code, result;
} codes[] = {{1000, 0},  {1001, 0},  {1007, 0},  {1014, 0},  {3000, 0},
             {4999, 0},  {999, -4},  {1002, -4}, {1003, -4}, {1005, -4},
             {1006, -4}, {1015, -4}, {2999, -4}, {5000, -4}, {0, -4}};

START_TEST(only_some_codes_may_close) {
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(sluice_close(conn, codes[_i].code, NULL), codes[_i].result);
}
END_TEST

START_TEST(a_reason_has_up_to_123_bytes_of_utf8) {
    char reason[125];
    sluice_conn *conn = fake_connect(route, NULL);
    memset(reason, 'x', sizeof(reason));
    reason[124] = '\0';
    ck_assert_int_eq(sluice_close(conn, 1000, reason), SLUICE_TOO_BIG);
    ck_assert_int_eq(sluice_close(conn, 1000, "\xff"), SLUICE_INVALID);
    reason[123] = '\0';
    ck_assert_int_eq(sluice_close(conn, 1000, reason), SLUICE_OK);
}
END_TEST

static void stop_at_message(sluice_conn *conn, sluice_message message) {
    (void)message;
    sluice_stop(conn);
}

START_TEST(stop_leaves_disconnect_out) {
    hooks.receive = stop_at_message;
    sluice_conn *conn = fake_connect(route, NULL);
    fake_receive(conn, "x");
    ck_assert_str_eq(seen, "release");
    ck_assert_int_eq(fake_closed(conn), 1000);
    ck_assert_uint_eq(fake_disconnects(conn), 0);
}
END_TEST

START_TEST(a_client_that_leaves_tells_its_code_and_reason) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_leave(conn, 4001, "away");
    fake_leave(conn, 4002, "again");
    ck_assert_str_eq(seen, "disconnect:4001:away release");
    ck_assert_int_eq(fake_closed(conn), 4001);
}
END_TEST

START_TEST(a_client_that_leaves_undecided_is_only_released) {
    hooks.connect = do_nothing;
    fake_leave(fake_connect(route, NULL), 1006, "");
    ck_assert_str_eq(seen, "release");
}
END_TEST

static void be_in_no_group(sluice_conn *conn, int code) {
    (void)code;
    ck_assert(!fake_is_member(conn, "lobby"));
    ck_assert_int_eq(sluice_send(conn, text("x")), SLUICE_GONE);
}

START_TEST(groups_are_left_before_disconnect) {
    hooks.disconnect = be_in_no_group;
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(sluice_group_add(conn, "lobby"), SLUICE_OK);
    ck_assert(fake_is_member(conn, "lobby"));
    fake_leave(conn, 1000, "");
    ck_assert_uint_eq(fake_group_size(host, "lobby"), 0);
}
END_TEST

START_TEST(a_drain_refuses_the_undecided_and_tells_the_others) {
    fake_connect(route, NULL);
    hooks.connect = do_nothing;
    sluice_conn *undecided = fake_connect(route, NULL);
    fake_drain(host, 1000);
    ck_assert_int_eq(fake_answer(undecided), 503);
    ck_assert_str_eq(seen, "drain disconnect:1001: release release");
}
END_TEST

START_TEST(the_host_ends_all_that_lives) {
    fake_connect(route, NULL);
    hooks.connect = do_nothing;
    fake_connect(route, NULL);
    fake_host_free(host);
    host = NULL;
    ck_assert_str_eq(seen, "disconnect:1006: release release thread_stop shut");
}
END_TEST

START_TEST(a_full_queue_closes_with_1013_without_the_dropped_hook) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_block(conn, 4);
    ck_assert_int_eq(sluice_send(conn, text("1234")), SLUICE_OK);
    ck_assert_uint_eq(sluice_queued(conn), 4);
    ck_assert_int_eq(sluice_send(conn, text("5")), SLUICE_FULL);
    fake_turn(host);
    ck_assert_str_eq(seen, "disconnect:1013: release");
    ck_assert_uint_eq(fake_count(conn), 1);
}
END_TEST

/* --- groups --- */

static void note_report(sluice_conn *conn, void *arg, const sluice_send_report *report) {
    char word[64];
    snprintf(word, sizeof(word), "%s:%s:%d/%d/%d@%d", (const char *)arg, conn ? "here" : "gone",
             (int)report->matched, (int)report->queued, (int)report->dropped,
             (int)report->position);
    note(word);
}

START_TEST(a_group_has_one_order_and_reports_positions) {
    sluice_conn *ann = fake_connect(route, NULL), *ben = fake_connect(route, NULL);
    sluice_send_options options = {.size = sizeof(options),
                                   .except = sluice_conn_id(ann),
                                   .report = note_report,
                                   .arg = (void *)(uintptr_t) "r"};
    sluice_group_add(ann, "lobby");
    sluice_group_send(ben, "lobby", text("1"));
    sluice_group_add(ben, "lobby");
    sluice_group_send(ann, "lobby", text("2"));
    sluice_group_send_with(ben, "lobby", text("3"), &options);
    ck_assert_str_eq(seen, "");
    fake_turn(host);
    ck_assert_str_eq(seen, "r:here:1/1/0@3");
    ck_assert_str_eq(fake_text(ann, 0), "1");
    ck_assert_str_eq(fake_text(ann, 1), "2");
    ck_assert_uint_eq(fake_count(ann), 2);
    ck_assert_str_eq(fake_text(ben, 0), "2");
    ck_assert_str_eq(fake_text(ben, 1), "3");
}
END_TEST

START_TEST(a_report_comes_with_null_when_the_sender_ended) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_send_options options = {
        .size = sizeof(options), .report = note_report, .arg = (void *)(uintptr_t) "r"};
    sluice_group_send_with(conn, "lobby", text("x"), &options);
    sluice_stop(conn);
    fake_leave(conn, 1006, "");
    ck_assert_str_eq(seen, "r:here:0/0/0@1 release");
    seen[0] = '\0';
    conn = fake_connect(route, NULL);
    hooks.connect = do_nothing;
    sluice_group_send_with(conn, "lobby", text("x"), &options);
    fake_host_free(host);
    host = NULL;
    ck_assert_str_eq(seen, "disconnect:1006: release r:gone:0/0/0@2 thread_stop shut");
}
END_TEST

START_TEST(events_come_to_the_hook_and_not_to_the_socket) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_group_join(conn, "news", NULL, SLUICE_EVENTS);
    ck_assert(fake_group_send(route, "news", "one"));
    ck_assert(fake_event(conn, "other", "two"));
    ck_assert_str_eq(seen, "event:news:one event:other:two");
    ck_assert_uint_eq(fake_count(conn), 0);
    sluice_group_join(conn, "news", NULL, 0);
    fake_group_send(route, "news", "three");
    ck_assert_str_eq(fake_text(conn, 0), "three");
    ck_assert(!fake_group_send(route, "", "x"));
}
END_TEST

static void note_members(sluice_conn *conn, void *arg, const sluice_member *members, size_t count,
                         size_t total) {
    char word[64];
    (void)conn;
    (void)arg;
    snprintf(word, sizeof(word), "%zu/%zu", count, total);
    note(word);
    for (size_t i = 0; i < count; i++)
        note(members[i].info);
}

START_TEST(members_are_listed_in_order_of_joining) {
    sluice_conn *ann = fake_connect(route, NULL), *ben = fake_connect(route, NULL),
                *cem = fake_connect(route, NULL);
    sluice_group_join(ben, "lobby", "Ben", 0);
    sluice_group_join(ann, "lobby", "Ann", 0);
    sluice_group_join(cem, "lobby", "Cem", 0);
    sluice_group_join(ben, "lobby", "Benjamin", 0);
    sluice_group_discard(cem, "lobby");
    sluice_group_join(cem, "lobby", "Cem", 0);
    ck_assert_int_eq(sluice_group_members(ann, "lobby", 2, note_members, NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_group_members(ann, "nobody", 2, note_members, NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_group_members(ann, "lobby", 2, NULL, NULL), SLUICE_INVALID);
    fake_turn(host);
    ck_assert_str_eq(seen, "2/3 Benjamin Ann 0/0");
}
END_TEST

START_TEST(memberships_have_a_limit_and_need_an_accept) {
    char name[16];
    sluice_conn *conn = fake_connect(route, NULL);
    for (int i = 0; i < FAKE_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "g%d", i);
        ck_assert_int_eq(sluice_group_add(conn, name), SLUICE_OK);
    }
    ck_assert_int_eq(sluice_group_add(conn, "one_more"), SLUICE_FULL);
    ck_assert_int_eq(sluice_group_add(conn, name), SLUICE_OK);
    ck_assert_int_eq(sluice_group_add(conn, NULL), SLUICE_INVALID);
    hooks.connect = do_nothing;
    ck_assert_int_eq(sluice_group_add(fake_connect(route, NULL), "lobby"), SLUICE_STATE);
}
END_TEST

/* --- what groups keep --- */

static void note_outcome(sluice_conn *conn, void *arg, const sluice_send_report *report) {
    char word[64];
    (void)conn;
    snprintf(word, sizeof(word), "%s:%d@%d%s", (const char *)arg, report->outcome,
             (int)report->position, report->epoch == FAKE_EPOCH ? "" : "?");
    note(word);
}

/* Sends it to the lobby to be kept; NULL for no key. */
static int keep(sluice_conn *conn, const char *bytes, const char *key, size_t stamp) {
    sluice_send_options options = {.size = sizeof(options),
                                   .report = note_outcome,
                                   .arg = (void *)(uintptr_t) "r",
                                   .keep = 1,
                                   .key = key,
                                   .stamp = stamp};
    return sluice_group_send_with(conn, "lobby", text(bytes), &options);
}

static void note_joined(sluice_conn *conn, void *arg, const sluice_joined *joined) {
    char word[64];
    (void)arg;
    snprintf(word, sizeof(word), "joined:%s:%d@%d%s%s", conn ? "here" : "gone", (int)joined->count,
             (int)joined->position.offset, joined->position.epoch == FAKE_EPOCH ? "" : "?",
             joined->recovered ? "+" : "");
    note(word);
}

static int join_since(sluice_conn *conn, uint64_t epoch, uint64_t offset, uint32_t last) {
    sluice_join_options options = {.size = sizeof(options),
                                   .flags = SLUICE_EVENTS,
                                   .last = last,
                                   .since = {epoch, offset},
                                   .joined = note_joined};
    return sluice_group_join_with(conn, "lobby", &options);
}

static void note_history(sluice_conn *conn, void *arg, const sluice_history *history) {
    char word[64];
    (void)conn;
    (void)arg;
    snprintf(word, sizeof(word), "history@%d%s%s", (int)history->position.offset,
             history->position.epoch == FAKE_EPOCH ? "" : "?", history->recovered ? "+" : "");
    note(word);
    for (size_t i = 0; i < history->count; i++) {
        snprintf(word, sizeof(word), "%d:%.*s", (int)history->messages[i].offset,
                 (int)history->messages[i].message.size,
                 (const char *)history->messages[i].message.data);
        note(word);
    }
}

/* Four kept messages, at 1 to 4; nothing of that is seen. */
static void keep_words(sluice_conn *conn) {
    static const char *const words[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++)
        keep(conn, words[i], NULL, 0);
    fake_turn(host);
    seen[0] = '\0';
}

START_TEST(a_send_is_told_whether_it_was_kept) {
    sluice_conn *conn = fake_connect(route, NULL);
    keep(conn, "1", "k", 0);
    fake_turn(host);
    fake_keep(host, 2);
    keep(conn, "2", "k", 0);
    keep(conn, "3", "k", 0);
    sluice_group_send(conn, "lobby", text("4"));
    keep(conn, "5", NULL, 0);
    fake_refuse_keeping(host, true);
    keep(conn, "6", NULL, 0);
    keep(conn, "7", "k", 0);
    ck_assert_str_eq(seen, "r:0@1?");
    fake_turn(host);
    ck_assert_str_eq(seen, "r:0@1? r:1@2 r:2@2 r:1@3 r:3@3 r:2@2");
}
END_TEST

START_TEST(a_key_holds_as_long_as_its_message) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_keep(host, 2);
    keep(conn, "1", "a", 0);
    keep(conn, "2", "b", 0);
    keep(conn, "3", "c", 0);
    keep(conn, "4", "a", 0);
    keep(conn, "5", "c", 0);
    fake_turn(host);
    ck_assert_str_eq(seen, "r:1@1 r:1@2 r:1@3 r:1@4 r:2@3");
}
END_TEST

START_TEST(a_stamp_becomes_the_offset_where_messages_are_kept) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_group_add(conn, "lobby");
    ck_assert_int_eq(keep(conn, "at:                .", NULL, 3), SLUICE_OK);
    ck_assert_str_eq(fake_last_text(conn), "at:                .");
    fake_keep(host, 2);
    ck_assert_int_eq(keep(conn, "at:                .", NULL, 3), SLUICE_OK);
    ck_assert_str_eq(fake_last_text(conn), "at:               2.");
    ck_assert_int_eq(keep(conn, "at:                .", NULL, 4), SLUICE_INVALID);
    ck_assert_int_eq(keep(conn, "at:                .", NULL, 2), SLUICE_INVALID);
    ck_assert_int_eq(keep(conn, "short", NULL, 1), SLUICE_INVALID);
}
END_TEST

START_TEST(a_bad_key_is_invalid) {
    char key[SLUICE_KEY_MAX + 2];
    sluice_conn *conn = fake_connect(route, NULL);
    memset(key, 'k', sizeof(key));
    key[SLUICE_KEY_MAX + 1] = '\0';
    ck_assert_int_eq(keep(conn, "x", key, 0), SLUICE_INVALID);
    ck_assert_int_eq(keep(conn, "x", key + 1, 0), SLUICE_OK);
    ck_assert_int_eq(keep(conn, "x", "", 0), SLUICE_INVALID);
    ck_assert_int_eq(keep(conn, "x", "a\n", 0), SLUICE_INVALID);
}
END_TEST

START_TEST(who_joins_is_told_first_then_hears_the_kept_then_the_live) {
    sluice_conn *ann = fake_connect(route, NULL), *ben = fake_connect(route, NULL);
    fake_keep(host, 10);
    keep_words(ann);
    ck_assert_int_eq(join_since(ben, 0, 0, 2), SLUICE_OK);
    sluice_group_send(ann, "lobby", text("live"));
    ck_assert_str_eq(seen, "");
    fake_turn(host);
    ck_assert_str_eq(seen, "joined:here:2@4 event:lobby:c event:lobby:d event:lobby:live");
    ck_assert_uint_eq(fake_count(ben), 0);
}
END_TEST

START_TEST(who_is_a_member_hears_nothing_again) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_keep(host, 10);
    sluice_group_add(conn, "lobby");
    keep(conn, "1", NULL, 0);
    fake_turn(host);
    seen[0] = '\0';
    ck_assert_int_eq(join_since(conn, FAKE_EPOCH, 0, 10), SLUICE_OK);
    fake_turn(host);
    ck_assert_str_eq(seen, "joined:here:0@1");
    ck_assert_uint_eq(fake_count(conn), 1);
}
END_TEST

START_TEST(who_has_left_meanwhile_is_answered_once) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_keep(host, 10);
    keep(conn, "1", NULL, 0);
    fake_turn(host);
    seen[0] = '\0';
    join_since(conn, 0, 0, 10);
    fake_leave(conn, 1006, "");
    ck_assert_str_eq(seen, "disconnect:1006: release joined:gone:1@1");
}
END_TEST

static const struct {
    sluice_position since;
    size_t most;
    const char *seen;
} readings[] = {
    {{0, 0}, 2, "history@4 3:c 4:d"},
    {{0, 0}, 9, "history@4 2:b 3:c 4:d"},
    {{FAKE_EPOCH, 4}, 9, "history@4+"},
    {{FAKE_EPOCH, 3}, 9, "history@4+ 4:d"},
    {{FAKE_EPOCH, 1}, 9, "history@4+ 2:b 3:c 4:d"},
    {{FAKE_EPOCH, 1}, 1, "history@4 4:d"},
    {{FAKE_EPOCH, 0}, 2, "history@4 3:c 4:d"},
    {{FAKE_EPOCH, 5}, 2, "history@4 3:c 4:d"},
    {{FAKE_EPOCH + 1, 3}, 2, "history@4 3:c 4:d"},
};

START_TEST(what_is_kept_can_be_read) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_keep(host, 10);
    keep_words(conn);
    fake_forget(host, "lobby", 1);
    ck_assert_int_eq(sluice_group_history(conn, "lobby", readings[_i].since, readings[_i].most,
                                          note_history, NULL),
                     SLUICE_OK);
    ck_assert_str_eq(seen, "");
    fake_turn(host);
    ck_assert_str_eq(seen, readings[_i].seen);
}
END_TEST

START_TEST(what_cannot_be_read_is_invalid) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_position start = {0, 0};
    ck_assert_int_eq(sluice_group_history(conn, "lobby", start, 0, note_history, NULL),
                     SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_history(conn, "lobby", start, 10001, note_history, NULL),
                     SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_history(conn, "", start, 1, note_history, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_history(conn, "lobby", start, 1, NULL, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_history(conn, "lobby", start, 1, note_history, NULL), SLUICE_OK);
    fake_turn(host);
    ck_assert_str_eq(seen, "history@0?");
}
END_TEST

START_TEST(a_user_has_1_to_200_bytes) {
    sluice_conn *conn = fake_connect(route, NULL);
    ck_assert_int_eq(sluice_set_user(conn, "ann"), SLUICE_OK);
    ck_assert_int_eq(sluice_set_user(conn, NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_set_user(conn, ""), SLUICE_INVALID);
    ck_assert_int_eq(sluice_set_user(conn, "a\tb"), SLUICE_INVALID);
}
END_TEST

/* --- time, posts, jobs --- */

static void note_done(sluice_conn *conn, void *arg) {
    char word[64];
    snprintf(word, sizeof(word), "%s:%s", (const char *)arg, conn ? "here" : "gone");
    note(word);
}

static void *word(const char *name) { return (void *)(uintptr_t)name; }

START_TEST(timers_run_in_the_order_of_their_time) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_id cancelled;
    ck_assert_int_eq(sluice_timer(conn, 20, note_done, word("b"), NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(conn, 10, note_done, word("a"), NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(conn, 20, note_done, word("c"), NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(conn, 15, note_done, word("x"), &cancelled), SLUICE_OK);
    ck_assert_int_eq(sluice_timer_cancel(conn, cancelled), SLUICE_OK);
    ck_assert_int_eq(sluice_timer_cancel(conn, cancelled), SLUICE_INVALID);
    ck_assert_int_eq(sluice_timer(conn, 0, note_done, NULL, NULL), SLUICE_INVALID);
    fake_advance(host, 9);
    ck_assert_str_eq(seen, "");
    fake_advance(host, 11);
    ck_assert_str_eq(seen, "a:here b:here c:here");
    ck_assert_uint_eq(fake_timers(conn), 0);
}
END_TEST

START_TEST(a_timer_of_an_ended_connection_runs_with_null) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_timer(conn, 10, note_done, word("t"), NULL);
    fake_leave(conn, 1000, "");
    ck_assert_str_eq(seen, "disconnect:1000: t:gone release");
    fake_advance(host, 20);
    ck_assert_str_eq(seen, "disconnect:1000: t:gone release");
}
END_TEST

START_TEST(a_connection_has_64_timers) {
    sluice_conn *conn = fake_connect(route, NULL);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(sluice_timer(conn, 10, note_done, word("t"), NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(conn, 10, note_done, word("t"), NULL), SLUICE_FULL);
}
END_TEST

static void tick(sluice_thread *thread, void *arg) {
    (void)thread;
    (void)arg;
    note("tick");
}

static void start_ticking(sluice_thread *thread) { sluice_every(thread, 100, tick, NULL); }

START_TEST(every_runs_until_the_thread_stops) {
    hooks.thread_start = start_ticking;
    ck_assert_ptr_nonnull(fake_open(host, NULL));
    fake_advance(host, 350);
    ck_assert_str_eq(seen, "tick tick tick");
}
END_TEST

START_TEST(a_post_finds_the_connection_or_nothing) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_id id = sluice_conn_id(conn);
    ck_assert_int_eq(sluice_post(id, note_done, word("p")), SLUICE_OK);
    ck_assert_int_eq(sluice_post(0, note_done, word("p")), SLUICE_INVALID);
    ck_assert_int_eq(sluice_post(id + 1, note_done, word("p")), SLUICE_INVALID);
    fake_turn(host);
    sluice_stop(conn);
    fake_turn(host);
    sluice_post(id, note_done, word("q"));
    fake_turn(host);
    ck_assert_str_eq(seen, "p:here release q:gone");
}
END_TEST

static void *post_from_a_thread(void *id) {
    for (int i = 0; i < 100; i++) {
        sluice_post(*(sluice_id *)id, note_done, word("p"));
        sluice_route_send(route, "lobby", text("x"), 0);
        sluice_log(NULL, NULL, SLUICE_LOG_WARNING, "from a thread");
    }
    return NULL;
}

START_TEST(functions_marked_any_may_be_called_from_other_threads) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_id id = sluice_conn_id(conn);
    pthread_t thread;
    sluice_group_add(conn, "lobby");
    ck_assert_int_eq(pthread_create(&thread, NULL, post_from_a_thread, &id), 0);
    for (int i = 0; i < 100; i++) {
        fake_turn(host);
        fake_connect(route, NULL);
    }
    pthread_join(thread, NULL);
    fake_turn(host);
    ck_assert_uint_eq(fake_count(conn), 100);
    ck_assert(fake_logged(host, SLUICE_LOG_WARNING, "from a thread"));
    ck_assert(!fake_logged(host, SLUICE_LOG_ERROR, "from a thread"));
}
END_TEST

static void work(void *arg) { note(arg); }

START_TEST(jobs_run_when_told_and_done_comes_with_the_turn) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_limit_jobs(host, 2);
    ck_assert_int_eq(sluice_offload(conn, work, note_done, word("a")), SLUICE_OK);
    ck_assert_int_eq(sluice_offload(conn, work, note_done, word("b")), SLUICE_OK);
    ck_assert_int_eq(sluice_offload(conn, work, note_done, word("c")), SLUICE_FULL);
    ck_assert_uint_eq(fake_jobs(host), 2);
    ck_assert(fake_work(host));
    ck_assert_str_eq(seen, "a");
    fake_turn(host);
    ck_assert_str_eq(seen, "a a:here");
    fake_host_free(host);
    host = NULL;
    ck_assert_str_eq(seen, "a a:here disconnect:1006: release b:gone thread_stop shut");
}
END_TEST

/* --- options --- */

static int64_t number;

static int read_options(sluice_route *opened) {
    number = sluice_option_number(opened, "count", SLUICE_COUNT, 1, 10, 5);
    number += sluice_option_number(opened, "size", SLUICE_BYTES, 0, 1 << 30, 0);
    number += sluice_option_number(opened, "deep.time", SLUICE_MS, 0, 86400000, 0);
    if (strcmp(sluice_option_text(opened, "mode", "good"), "good") != 0) {
        sluice_option_error(opened, "mode", "must be good");
        return -1;
    }
    return 0;
}

static const struct {
    const char *key, *value, *problem;
    int64_t number;
} options[] = {
    {"count", "7", "", 7},
    {"size", "2k", "", 2053},
    {"size", "3", "", 8},
    {"deep.time", "2s", "", 2005},
    {"mode", "good", "", 5},
    {"count", "11", "count: is out of range: 1 to 10", 5},
    {"count", "0", "count: is out of range: 1 to 10", 5},
    {"count", "7k", "count: is no number with the right unit: 7k", 5},
    {"count", "", "count: is no number with the right unit: ", 5},
    {"count", " 7", "count: is no number with the right unit:  7", 5},
    {"deep.time", "2", "deep.time: is no number with the right unit: 2", 5},
    {"size", "9223372036854775807g", "size: is no number with the right unit: 9223372036854775807g",
     5},
    {"mode", "bad", "mode: must be good", 5},
    {"cuont", "7", "cuont: the consumer has no such option", 5},
};

START_TEST(options_are_read_and_checked) {
    hooks.open = read_options;
    sluice_route *opened =
        fake_open(host, (const char *const[]){options[_i].key, options[_i].value, NULL});
    ck_assert_str_eq(fake_problem(host), options[_i].problem);
    ck_assert((opened != NULL) == (options[_i].problem[0] == '\0'));
    ck_assert_int_eq(number, options[_i].number);
}
END_TEST

static int refuse_silently(sluice_route *opened) {
    (void)opened;
    return -1;
}

START_TEST(an_open_that_refuses_without_a_word_is_named) {
    hooks.open = refuse_silently;
    ck_assert_ptr_null(fake_open(host, NULL));
    ck_assert_str_eq(fake_problem(host), "open returned -1");
}
END_TEST

/* --- who breaks the contract is stopped; each of these aborts --- */

START_TEST(a_call_after_release_aborts) {
    sluice_conn *conn = fake_connect(route, NULL);
    fake_leave(conn, 1000, "");
    sluice_send(conn, text("x"));
}
END_TEST

static void send_in_the_pool(void *arg) { sluice_send(arg, text("x")); }

START_TEST(a_call_from_a_pool_thread_aborts) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_offload(conn, send_in_the_pool, note_done, conn);
    fake_work(host);
}
END_TEST

static void *send_from_a_thread(void *conn) {
    sluice_send(conn, text("x"));
    return NULL;
}

START_TEST(a_call_from_another_thread_aborts) {
    pthread_t thread;
    pthread_create(&thread, NULL, send_from_a_thread, fake_connect(route, NULL));
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_null_connection_aborts) { sluice_send(NULL, text("x")); }
END_TEST

START_TEST(an_option_outside_of_open_aborts) { sluice_option_text(route, "greeting", ""); }
END_TEST

START_TEST(options_of_a_send_without_their_size_abort) {
    sluice_send_options forgotten = {.report = note_report};
    sluice_group_send_with(fake_connect(route, NULL), "lobby", text("x"), &forgotten);
}
END_TEST

START_TEST(options_of_a_join_without_their_size_abort) {
    sluice_join_options forgotten = {.joined = note_joined};
    sluice_group_join_with(fake_connect(route, NULL), "lobby", &forgotten);
}
END_TEST

static void post_again(sluice_conn *conn, void *arg) {
    sluice_post(sluice_conn_id(conn), post_again, arg);
}

START_TEST(a_consumer_that_never_rests_aborts) {
    sluice_conn *conn = fake_connect(route, NULL);
    sluice_post(sluice_conn_id(conn), post_again, NULL);
    fake_turn(host);
}
END_TEST

START_TEST(a_second_host_aborts) { fake_host_create(sluice_consumer_entry); }
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table[0])))

static TCase *add_case(Suite *suite, const char *name) {
    TCase *added = tcase_create(name);
    tcase_set_timeout(added, 30);
    tcase_add_checked_fixture(added, setup, teardown);
    suite_add_tcase(suite, added);
    return added;
}

static void add_answers(TCase *answers) {
    tcase_add_test(answers, a_denial_reaches_the_client_and_is_released);
    tcase_add_test(answers, answers_out_of_range_are_invalid);
    tcase_add_loop_test(answers, a_header_that_would_break_the_answer_is_invalid, 0,
                        COUNT(bad_headers));
    tcase_add_test(answers, headers_have_a_limit);
    tcase_add_test(answers, only_an_offered_subprotocol_can_be_chosen);
    tcase_add_test(answers, a_request_is_answered_by_the_http_hook);
    tcase_add_test(answers, an_undecided_handshake_ends_with_504);
    tcase_add_test(answers, the_scope_is_there_until_the_answer);
    tcase_add_loop_test(answers, options_are_read_and_checked, 0, COUNT(options));
    tcase_add_test(answers, an_open_that_refuses_without_a_word_is_named);
}

static void add_messages(TCase *messages) {
    tcase_add_test(messages, what_cannot_be_sent_is_refused);
    tcase_add_test(messages, data_is_zeroed_and_aligned);
    tcase_add_test(messages, close_is_followed_by_one_disconnect_and_one_release);
    tcase_add_loop_test(messages, only_some_codes_may_close, 0, COUNT(codes));
    tcase_add_test(messages, a_reason_has_up_to_123_bytes_of_utf8);
    tcase_add_test(messages, stop_leaves_disconnect_out);
    tcase_add_test(messages, a_client_that_leaves_tells_its_code_and_reason);
    tcase_add_test(messages, a_client_that_leaves_undecided_is_only_released);
    tcase_add_test(messages, groups_are_left_before_disconnect);
    tcase_add_test(messages, a_drain_refuses_the_undecided_and_tells_the_others);
    tcase_add_test(messages, the_host_ends_all_that_lives);
    tcase_add_test(messages, a_full_queue_closes_with_1013_without_the_dropped_hook);
}

static void add_kept(TCase *kept) {
    tcase_add_test(kept, a_send_is_told_whether_it_was_kept);
    tcase_add_test(kept, a_key_holds_as_long_as_its_message);
    tcase_add_test(kept, a_stamp_becomes_the_offset_where_messages_are_kept);
    tcase_add_test(kept, a_bad_key_is_invalid);
    tcase_add_test(kept, who_joins_is_told_first_then_hears_the_kept_then_the_live);
    tcase_add_test(kept, who_is_a_member_hears_nothing_again);
    tcase_add_test(kept, who_has_left_meanwhile_is_answered_once);
    tcase_add_loop_test(kept, what_is_kept_can_be_read, 0, COUNT(readings));
    tcase_add_test(kept, what_cannot_be_read_is_invalid);
    tcase_add_test(kept, a_user_has_1_to_200_bytes);
}

static void add_later(TCase *later) {
    tcase_add_test(later, a_group_has_one_order_and_reports_positions);
    tcase_add_test(later, a_report_comes_with_null_when_the_sender_ended);
    tcase_add_test(later, events_come_to_the_hook_and_not_to_the_socket);
    tcase_add_test(later, members_are_listed_in_order_of_joining);
    tcase_add_test(later, memberships_have_a_limit_and_need_an_accept);
    tcase_add_test(later, timers_run_in_the_order_of_their_time);
    tcase_add_test(later, a_timer_of_an_ended_connection_runs_with_null);
    tcase_add_test(later, a_connection_has_64_timers);
    tcase_add_test(later, every_runs_until_the_thread_stops);
    tcase_add_test(later, a_post_finds_the_connection_or_nothing);
    tcase_add_test(later, functions_marked_any_may_be_called_from_other_threads);
    tcase_add_test(later, jobs_run_when_told_and_done_comes_with_the_turn);
}

static void add_faults(TCase *faults) {
    tcase_add_test_raise_signal(faults, a_call_after_release_aborts, SIGABRT);
    tcase_add_test_raise_signal(faults, a_call_from_a_pool_thread_aborts, SIGABRT);
    tcase_add_test_raise_signal(faults, a_call_from_another_thread_aborts, SIGABRT);
    tcase_add_test_raise_signal(faults, a_null_connection_aborts, SIGABRT);
    tcase_add_test_raise_signal(faults, an_option_outside_of_open_aborts, SIGABRT);
    tcase_add_test_raise_signal(faults, options_of_a_send_without_their_size_abort, SIGABRT);
    tcase_add_test_raise_signal(faults, options_of_a_join_without_their_size_abort, SIGABRT);
    tcase_add_test_raise_signal(faults, a_consumer_that_never_rests_aborts, SIGABRT);
    tcase_add_test_raise_signal(faults, a_second_host_aborts, SIGABRT);
}

int main(void) {
    Suite *suite = suite_create("fake_host");
    add_answers(add_case(suite, "answers"));
    add_messages(add_case(suite, "messages"));
    add_later(add_case(suite, "later"));
    add_kept(add_case(suite, "kept"));
    add_faults(add_case(suite, "faults"));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
