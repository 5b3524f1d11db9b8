#include "consumer/connection.h"

#include <check.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/host.h"
#include "consumer/instance.h"
#include "consumer/offload.h"
#include "consumer/plugin.h"
#include "support/fake_request.h"
#include "support/fake_transport.h"
#include "support/wire.h"

/* The functions of the public header work in this program as in a plugin. */
const struct sluice_host *sluice_host_table;

/* Long, so that no time that passes by itself can matter: cases skip ahead. */
#define CONNECT_MS 60000
#define CLOSE_MS 60000
#define DRAIN_MS 60000

/* What happened, in order, as words. */
static char seen[4000];

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...) {
    size_t used = strlen(seen);
    va_list arguments;
    va_start(arguments, format);
    if (used > 0)
        seen[used++] = ' ';
    int size = vsnprintf(seen + used, sizeof(seen) - used, format, arguments);
    va_end(arguments);
    ck_assert_uint_lt(used + (size_t)size, sizeof(seen));
}

/* --- the consumer: notes each hook, then does what the case says --- */

enum { CONNECT, RECEIVE, EVENT, DISCONNECT, RELEASE, DRAIN, HTTP, HOOKS };

static void (*does[HOOKS])(sluice_conn *conn);
static int depth; /* hooks and callbacks under way */

static void begin(int hook, sluice_conn *conn) {
    ck_assert_msg(depth++ == 0, "a hook inside another: %s", seen);
    if (does[hook] != NULL)
        does[hook](conn);
    depth--;
}

static void on_connect(sluice_conn *conn) {
    note("connect");
    begin(CONNECT, conn);
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    note("receive(%.*s)", (int)message.size, (const char *)message.data);
    begin(RECEIVE, conn);
}

static void on_event(sluice_conn *conn, const char *group, sluice_message message) {
    note("event(%s:%.*s)", group, (int)message.size, (const char *)message.data);
    begin(EVENT, conn);
}

static void on_dropped(sluice_conn *conn, uint64_t count) {
    (void)conn;
    note("dropped(%d)", (int)count);
}

static void on_disconnect(sluice_conn *conn, int code) {
    const char *reason = sluice_scope(conn, SLUICE_REASON, NULL);
    note("disconnect(%d%s%s)", code, *reason == '\0' ? "" : " ", reason);
    begin(DISCONNECT, conn);
}

static void on_release(sluice_conn *conn) {
    note("release");
    begin(RELEASE, conn);
}

static void on_drain(sluice_conn *conn, uint32_t ms_left) {
    note("drain(%u)", ms_left);
    begin(DRAIN, conn);
}

static void on_http(sluice_conn *conn) {
    note("http");
    begin(HTTP, conn);
}

static int on_thread_start(sluice_thread *thread, sluice_route *route, void **data) {
    (void)thread;
    (void)route;
    (void)data;
    return 0;
}

static const sluice_consumer hooks = {.thread_start = on_thread_start,
                                      .connect = on_connect,
                                      .receive = on_receive,
                                      .event = on_event,
                                      .dropped = on_dropped,
                                      .disconnect = on_disconnect,
                                      .release = on_release,
                                      .drain = on_drain,
                                      .http = on_http};

static const char *hooks_option(void *data, const char *key) {
    static char text[32];
    (void)data;
    ck_assert_str_eq(key, "hooks");
    snprintf(text, sizeof(text), "%llx", (unsigned long long)(uintptr_t)&hooks);
    return text;
}

static const struct option_source options = {.text = hooks_option};

/* --- the stage --- */

static struct loop *loop;
static sluice_route *route;
static struct offload *pool;
static struct instance_conf conf;

static const char *const capture_texts[] = {NULL, "group"};
static const struct capture_names captures = {capture_texts, 2};

static void open_route(void) {
    struct error error;
    conf.name = "/ws/";
    conf.space = "test";
    conf.options = &options;
    ck_assert_msg(
        plugin_load(TEST_PLUGINS "/puppet.so", -1, sluice_host_table, &conf.plugin, &error), "%s",
        error.text);
    route = instance_open(&conf, &error);
    ck_assert_ptr_nonnull(route);
    instance_set_captures(route, &captures);
    ck_assert(instance_start(route, loop));
}

static void setup(void) {
    sluice_host_table = host_table();
    seen[0] = '\0';
    memset(does, 0, sizeof(does));
    loop = loop_create(0);
    loop_enter(loop);
    connections_create(loop, 4);
    groups_create_all(&loop, 1, connection_member_events());
    host_set_loop(loop);
    pool = offload_create(1, 1);
    instances_set_offload(pool);
    conf = (struct instance_conf){
        .terms = {.message_bytes_max = 1000, .queue_bytes_max = 1000, .close_ms = CLOSE_MS},
        .connect_ms = CONNECT_MS,
        .groups_max = 4,
        .timers_max = 3,
        .headers_max = 100};
    open_route();
}

static void close_route(void) {
    instance_stop(route, loop);
    instance_close(route);
}

static void turn(void) { loop_turn(loop, 0); }

/* Nothing may be left, whatever the case did. */
static void teardown(void) {
    turn();
    ck_assert_uint_eq(connections_count(loop), 0);
    ck_assert_uint_eq(instance_users(route), 0);
    ck_assert_uint_eq(host_promises(loop), 0);
    offload_free(pool);
    close_route();
    groups_free_all(&loop, 1);
    connections_free(loop);
    loop_free(loop);
}

static void pass(uint64_t ms) {
    loop_skip(loop, ms);
    turn();
    turn();
}

/* --- a client: a request, the door, and a transport once the 101 has left --- */

struct client {
    struct fake_request request;
    sluice_conn *conn;
    struct fake_transport transport;
    bool holds; /* the 101 stays under way */
    bool upgrading;
};

static struct client client;

static void finish_upgrade(struct client *of) {
    of->upgrading = false;
    fake_request_dispose(&of->request);
    struct session *session = of->conn == NULL ? NULL : connection_upgraded(of->conn);
    if (session == NULL)
        note("hangup");
    else
        fake_transport_attach(&of->transport, session, loop);
}

static void door_upgrade(void *door, const char *subprotocol) {
    struct client *of = door;
    note("upgrade%s%s", subprotocol == NULL ? "" : " ", subprotocol == NULL ? "" : subprotocol);
    of->upgrading = true;
    if (!of->holds)
        finish_upgrade(of);
}

static void door_answer(void *door, int status, const void *body, size_t size, bool chosen) {
    struct client *of = door;
    note("answer(%d%s%.*s%s)", status, size == 0 ? "" : " ", (int)size, (const char *)body,
         chosen ? "" : " host");
    fake_request_dispose(&of->request);
}

static void door_left(void *door) {
    struct client *of = door;
    note("left");
    of->conn = NULL;
    if (!of->upgrading)
        fake_request_dispose(&of->request);
}

static const struct connection_door door = {door_upgrade, door_answer, door_left};

static void arrive_at(struct client *of, bool is_handshake) {
    const h2o_iovec_t values[] = {{H2O_STRLIT("ws/kitchen/")}, {H2O_STRLIT("kitchen")}};
    fake_request_init(&of->request, "GET", "/ws/kitchen/?color=red");
    fake_request_header(&of->request, "sec-websocket-protocol", "one, two");
    struct connection_request request = {.req = &of->request.req,
                                         .captures = values,
                                         .door = &door,
                                         .door_data = of,
                                         .is_handshake = is_handshake};
    of->conn = connection_open(loop, route, &request);
    if (of->conn == NULL)
        fake_request_dispose(&of->request);
}

/* The client of most cases. */
static sluice_conn *arrive(bool is_handshake) {
    client = (struct client){.holds = client.holds};
    arrive_at(&client, is_handshake);
    return client.conn;
}

/* As h2o tells it: the request's memory goes with the client. */
static void client_leaves(void) {
    sluice_conn *conn = client.conn;
    client.conn = NULL;
    fake_request_dispose(&client.request);
    connection_gone(conn);
}

static void client_says(uint8_t first, const char *text) {
    struct wire wire = {0};
    wire_frame(&wire, first, text, strlen(text));
    fake_transport_feed(&client.transport, wire.data, wire.size);
    wire_free(&wire);
}

static void client_closes(int code, const char *reason) {
    struct wire wire = {0};
    wire_close(&wire, code, reason);
    fake_transport_feed(&client.transport, wire.data, wire.size);
    wire_free(&wire);
}

static void send_text(sluice_conn *conn, const char *text, int result) {
    ck_assert_int_eq(sluice_send(conn, sluice_text(text, strlen(text))), result);
}

/* --- what a consumer may do in a hook --- */

static void accepts(sluice_conn *conn) { ck_assert_int_eq(sluice_accept(conn, NULL), SLUICE_OK); }
static void denies(sluice_conn *conn) {
    ck_assert_int_eq(sluice_deny(conn, 403, "no", 2), SLUICE_OK);
}
static void responds(sluice_conn *conn) {
    ck_assert_int_eq(sluice_respond(conn, 200, "yes", 3), SLUICE_OK);
}
static void closes(sluice_conn *conn) {
    ck_assert_int_eq(sluice_close(conn, 4000, "enough"), SLUICE_OK);
}
static void stops(sluice_conn *conn) { ck_assert_int_eq(sluice_stop(conn), SLUICE_OK); }
static void accepts_and_closes(sluice_conn *conn) {
    accepts(conn);
    closes(conn);
}
static void accepts_and_stops(sluice_conn *conn) {
    accepts(conn);
    stops(conn);
}

/* --- every ending --- */

static void open_session(void) {
    does[CONNECT] = accepts;
    arrive(true);
    turn();
}

static void end_by_denial(void) {
    does[CONNECT] = denies;
    arrive(true);
    turn();
}

static void end_by_late_denial(void) {
    denies(arrive(true));
    turn();
}

static void end_at_the_connect_limit(void) {
    arrive(true);
    pass(CONNECT_MS);
}

static void end_while_deciding(void) {
    arrive(true);
    client_leaves();
}

static void end_between_accept_and_answer(void) {
    does[CONNECT] = accepts;
    arrive(true);
    client_leaves();
    turn();
}

static void end_between_denial_and_answer(void) {
    does[CONNECT] = denies;
    arrive(true);
    client_leaves();
    turn();
}

static void end_by_close_with_accept(void) {
    does[CONNECT] = accepts_and_closes;
    arrive(true);
    turn();
    client_closes(4000, "enough");
    turn();
}

static void end_by_stop_with_accept(void) {
    does[CONNECT] = accepts_and_stops;
    arrive(true);
    turn();
    client_closes(1000, "");
    turn();
}

static void end_with_the_answer_under_way(void) {
    client.holds = true;
    open_session();
    client_leaves();
    turn();
}

static void end_by_the_peers_close(void) {
    open_session();
    client_closes(1001, "going");
    turn();
    turn();
}

static void end_by_loss(void) {
    open_session();
    session_lost(client.transport.session);
    turn();
}

static void end_by_close(void) {
    does[RECEIVE] = closes;
    open_session();
    client_says(0x81, "hi");
    turn();
    client_closes(4000, "enough");
    turn();
}

static void end_by_close_unanswered(void) {
    does[RECEIVE] = closes;
    open_session();
    client_says(0x81, "hi");
    turn();
    pass(CLOSE_MS);
}

static void end_by_stop(void) {
    does[RECEIVE] = stops;
    open_session();
    client_says(0x81, "hi");
    client_says(0x81, "not heard");
    turn();
    client_closes(1000, "");
    turn();
}

static void end_by_stop_then_loss(void) {
    does[RECEIVE] = stops;
    open_session();
    client_says(0x81, "hi");
    session_lost(client.transport.session);
    turn();
}

static void end_by_drain_while_deciding(void) {
    arrive(true);
    connections_drain(loop, DRAIN_MS, 1001, "stopping");
    turn();
}

static void end_by_drain(void) {
    open_session();
    connections_drain(loop, DRAIN_MS, 1001, "stopping");
    pass(1);
    client_closes(1001, "");
    turn();
}

static void end_by_drain_unanswered(void) {
    open_session();
    connections_drain(loop, 100, 1001, "stopping");
    pass(100);
}

static void end_by_drain_with_the_answer_under_way(void) {
    client.holds = true;
    open_session();
    connections_drain(loop, 100, 1001, "stopping");
    pass(100);
    finish_upgrade(&client);
}

static void accept_now(sluice_conn *conn, void *arg) {
    (void)arg;
    accepts(conn);
}

static void end_after_a_late_accept(void) {
    sluice_conn *conn = arrive(true);
    ck_assert_int_eq(sluice_timer(conn, 50, accept_now, NULL, NULL), SLUICE_OK);
    pass(50);
    session_lost(client.transport.session);
    turn();
}

static void end_by_stop_in_drain(void) {
    does[DRAIN] = stops;
    open_session();
    connections_drain(loop, DRAIN_MS, 1001, "stopping");
    turn();
    client_closes(1000, "");
    turn();
}

static void end_by_response(void) {
    does[HTTP] = responds;
    arrive(false);
    turn();
}

static void end_by_http_denial(void) {
    does[HTTP] = denies;
    arrive(false);
    turn();
}

static void end_of_http_at_the_limit(void) {
    arrive(false);
    pass(CONNECT_MS);
}

static void end_of_http_while_deciding(void) {
    arrive(false);
    client_leaves();
}

static void end_of_http_in_time_while_draining(void) {
    sluice_conn *conn = arrive(false);
    connections_drain(loop, DRAIN_MS, 1001, "stopping");
    turn();
    responds(conn);
    turn();
}

static void end_of_http_at_the_hard_end(void) {
    arrive(false);
    connections_drain(loop, 100, 1001, "stopping");
    pass(100);
}

static const struct {
    void (*end)(void);
    const char *seen;
} endings[] = {
    {end_by_denial, "connect answer(403 no) release"},
    {end_by_late_denial, "connect answer(403 no) release"},
    {end_at_the_connect_limit, "connect answer(504 host) release"},
    {end_while_deciding, "connect release"},
    {end_between_accept_and_answer, "connect disconnect(1006) release"},
    {end_between_denial_and_answer, "connect release"},
    {end_by_close_with_accept, "connect upgrade disconnect(4000 enough) release"},
    {end_by_stop_with_accept, "connect upgrade release"},
    {end_with_the_answer_under_way, "connect upgrade disconnect(1006) release"},
    {end_by_the_peers_close, "connect upgrade disconnect(1001 going) release"},
    {end_by_loss, "connect upgrade disconnect(1006) release"},
    {end_by_close, "connect upgrade receive(hi) disconnect(4000 enough) release"},
    {end_by_close_unanswered, "connect upgrade receive(hi) disconnect(4000 enough) release"},
    {end_by_stop, "connect upgrade receive(hi) release"},
    {end_by_stop_then_loss, "connect upgrade receive(hi) release"},
    {end_by_drain_while_deciding, "connect answer(503 host) release"},
    {end_by_drain, "connect upgrade drain(60000) disconnect(1001) release"},
    {end_by_drain_unanswered, "connect upgrade drain(100) disconnect(1006) release"},
    {end_by_drain_with_the_answer_under_way,
     "connect upgrade drain(100) disconnect(1006) left release hangup"},
    {end_after_a_late_accept, "connect upgrade disconnect(1006) release"},
    {end_by_stop_in_drain, "connect upgrade drain(60000) release"},
    {end_by_response, "http answer(200 yes) release"},
    {end_by_http_denial, "http answer(403 no) release"},
    {end_of_http_at_the_limit, "http answer(504 host) release"},
    {end_of_http_while_deciding, "http release"},
    {end_of_http_in_time_while_draining, "http answer(200 yes) release"},
    {end_of_http_at_the_hard_end, "http answer(503 host) release"},
};

START_TEST(each_ending_releases_once_and_disconnects_what_was_accepted) {
    endings[_i].end();
    turn();
    ck_assert_str_eq(seen, endings[_i].seen);
    ck_assert_uint_eq(connections_count(loop), 0);
    fake_transport_free(&client.transport);
}
END_TEST

/* --- what calls answer, by state --- */

static void expect_too_late(sluice_conn *conn) {
    ck_assert_int_eq(sluice_accept(conn, NULL), SLUICE_STATE);
    ck_assert_int_eq(sluice_deny(conn, 403, NULL, 0), SLUICE_STATE);
    ck_assert_int_eq(sluice_respond(conn, 200, NULL, 0), SLUICE_STATE);
    ck_assert_int_eq(sluice_add_header(conn, "x-a", "b"), SLUICE_STATE);
}

static void expect_no_session(sluice_conn *conn, int result) {
    send_text(conn, "x", result);
    ck_assert_int_eq(sluice_close(conn, 1000, NULL), result);
    ck_assert_int_eq(sluice_stop(conn), result);
    ck_assert_int_eq(sluice_group_add(conn, "g"), result);
    ck_assert_int_eq(sluice_group_discard(conn, "g"), result);
    ck_assert_uint_eq(sluice_queued(conn), 0);
}

static void expect_deciding(sluice_conn *conn) {
    expect_no_session(conn, SLUICE_STATE);
    ck_assert_int_eq(sluice_respond(conn, 200, NULL, 0), SLUICE_STATE);
    ck_assert_int_eq(sluice_deny(conn, 399, NULL, 0), SLUICE_INVALID);
    ck_assert_int_eq(sluice_deny(conn, 600, NULL, 0), SLUICE_INVALID);
    ck_assert_int_eq(sluice_accept(conn, "three"), SLUICE_INVALID);
    ck_assert_int_eq(sluice_accept(conn, "on"), SLUICE_INVALID);
    ck_assert_int_eq(sluice_accept(conn, ""), SLUICE_INVALID);
    ck_assert_int_eq(sluice_accept(conn, "two"), SLUICE_OK);
    expect_too_late(conn);
    ck_assert_str_eq(sluice_scope(conn, SLUICE_SUBPROTOCOL, NULL), "two");
}

static void expect_ended(sluice_conn *conn) {
    expect_too_late(conn);
    expect_no_session(conn, SLUICE_GONE);
    ck_assert_int_eq(sluice_timer(conn, 1, accept_now, NULL, NULL), SLUICE_GONE);
    ck_assert_str_eq(sluice_param(conn, "group"), "kitchen");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_PEER, NULL), "192.0.2.1:5000");
    ck_assert_str_eq(sluice_scope(conn, SLUICE_SUBPROTOCOL, NULL), "two");
    ck_assert_ptr_null(sluice_scope(conn, SLUICE_PATH, NULL));
}

START_TEST(calls_say_what_is_possible_in_each_state) {
    does[CONNECT] = expect_deciding;
    does[DISCONNECT] = does[RELEASE] = expect_ended;
    arrive(true);
    turn();
    client_closes(1000, "");
    turn(); /* our close frame leaves, */
    turn(); /* is written, */
    turn(); /* and the end is told */
    ck_assert_str_eq(seen, "connect upgrade two disconnect(1000) release");
    fake_transport_free(&client.transport);
}
END_TEST

static void expect_refused(sluice_conn *conn) {
    denies(conn);
    expect_too_late(conn);
    expect_no_session(conn, SLUICE_STATE);
    ck_assert_str_eq(sluice_scope(conn, SLUICE_QUERY, "color"), "red");
}

START_TEST(a_second_answer_is_refused_and_changes_nothing) {
    does[CONNECT] = expect_refused;
    does[RELEASE] = expect_too_late;
    arrive(true);
    turn();
    ck_assert_str_eq(seen, "connect answer(403 no) release");
}
END_TEST

static void expect_http(sluice_conn *conn) {
    ck_assert_int_eq(sluice_accept(conn, NULL), SLUICE_STATE);
    ck_assert_int_eq(sluice_respond(conn, 199, NULL, 0), SLUICE_INVALID);
    ck_assert_int_eq(sluice_respond(conn, 600, NULL, 0), SLUICE_INVALID);
    expect_no_session(conn, SLUICE_STATE);
    ck_assert_int_eq(sluice_respond(conn, 204, NULL, 0), SLUICE_OK);
}

START_TEST(a_request_is_no_handshake) {
    does[HTTP] = expect_http;
    arrive(false);
    turn();
    ck_assert_str_eq(seen, "http answer(204) release");
}
END_TEST

START_TEST(nothing_leaves_before_the_flush) {
    does[CONNECT] = accepts_and_closes;
    arrive(true);
    ck_assert_str_eq(seen, "connect");
    turn();
    ck_assert_str_eq(seen, "connect upgrade");
    session_lost(client.transport.session);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

/* --- headers --- */

static void expect_header(sluice_conn *conn, const char *name, const char *value, int result) {
    int got = sluice_add_header(conn, name, value);
    ck_assert_msg(got == result, "%s: %s gives %d", name, value, got);
}

START_TEST(headers_that_could_break_an_answer_are_refused) {
    static const char *const names[] = {"",
                                        "a b",
                                        "a:",
                                        "a\r\nb",
                                        "h\xc3\xa4",
                                        "Date",
                                        "Connection",
                                        "UPGRADE",
                                        "content-length",
                                        "Transfer-Encoding",
                                        "Sec-WebSocket-Accept"};
    sluice_conn *conn = arrive(true);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        expect_header(conn, names[i], "v", SLUICE_INVALID);
    expect_header(conn, "x-a", "a\r\nset-cookie: b", SLUICE_INVALID);
    expect_header(conn, "x-a", "a\x7f", SLUICE_INVALID);
    expect_header(conn, NULL, "v", SLUICE_INVALID);
    expect_header(conn, "x-a", NULL, SLUICE_INVALID);
    ck_assert_uint_eq(client.request.req.res.headers.size, 0);
    expect_header(conn, "X-A", "a\tb", SLUICE_OK);
    const h2o_header_t *header = client.request.req.res.headers.entries;
    ck_assert(h2o_memis(header->name->base, header->name->len, H2O_STRLIT("x-a")));
    ck_assert(h2o_memis(header->value.base, header->value.len, H2O_STRLIT("a\tb")));
    client_leaves();
}
END_TEST

START_TEST(headers_are_bounded_in_number_and_bytes) {
    sluice_conn *conn = arrive(true);
    for (int i = 0; i < 32; i++)
        expect_header(conn, "a", "b", SLUICE_OK);
    expect_header(conn, "a", "b", SLUICE_FULL);
    client_leaves();
    char value[101] = {0};
    conn = arrive(true);
    memset(value, 'v', 99);
    expect_header(conn, "ab", value, SLUICE_FULL);
    expect_header(conn, "a", value, SLUICE_OK);
    expect_header(conn, "a", "", SLUICE_FULL);
    client_leaves();
}
END_TEST

/* --- messages --- */

START_TEST(messages_sent_with_the_accept_leave_behind_the_101_in_order) {
    does[CONNECT] = accepts;
    sluice_conn *conn = arrive(true);
    send_text(conn, "one", SLUICE_OK);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){"\xff", 1, SLUICE_BINARY}), SLUICE_OK);
    ck_assert_uint_eq(sluice_queued(conn), 5 + 3);
    ck_assert_int_eq(sluice_close(conn, 1000, "bye"), SLUICE_OK);
    send_text(conn, "late", SLUICE_GONE);
    turn();
    ck_assert_str_eq(fake_transport_sent(&client.transport),
                     "text(one) binary(\xff) close 1000(bye)");
    session_lost(client.transport.session);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(what_is_no_message_is_refused) {
    open_session();
    sluice_conn *conn = client.conn;
    send_text(conn, "\xff", SLUICE_INVALID);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){"x", 1, 3}), SLUICE_INVALID);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){NULL, 1, SLUICE_BINARY}), SLUICE_INVALID);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){NULL, UINT32_MAX, SLUICE_TEXT}),
                     SLUICE_TOO_BIG);
    ck_assert_int_eq(sluice_send(conn, (sluice_message){NULL, 0, SLUICE_TEXT}), SLUICE_OK);
    turn();
    ck_assert_str_eq(fake_transport_sent(&client.transport), "text()");
    session_lost(client.transport.session);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

static const struct {
    int code, result;
} close_codes[] = {{999, SLUICE_INVALID},  {1000, SLUICE_OK},      {1001, SLUICE_OK},
                   {1002, SLUICE_INVALID}, {1005, SLUICE_INVALID}, {1006, SLUICE_INVALID},
                   {1007, SLUICE_OK},      {1014, SLUICE_OK},      {1015, SLUICE_INVALID},
                   {2999, SLUICE_INVALID}, {3000, SLUICE_OK},      {4999, SLUICE_OK},
                   {5000, SLUICE_INVALID}};

START_TEST(only_close_codes_that_a_server_may_send_are_taken) {
    open_session();
    ck_assert_int_eq(sluice_close(client.conn, close_codes[_i].code, NULL), close_codes[_i].result);
    session_lost(client.transport.session);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(a_close_reason_is_short_text) {
    char reason[125] = {0};
    open_session();
    ck_assert_int_eq(sluice_close(client.conn, 1000, "\xc3"), SLUICE_INVALID);
    memset(reason, 'r', 124);
    ck_assert_int_eq(sluice_close(client.conn, 1000, reason), SLUICE_TOO_BIG);
    reason[123] = '\0';
    ck_assert_int_eq(sluice_close(client.conn, 1000, reason), SLUICE_OK);
    turn();
    pass(CLOSE_MS);
    ck_assert_ptr_nonnull(strstr(seen, reason));
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(a_message_that_does_not_fit_is_told_by_its_policy) {
    static const int results[] = {[ON_FULL_CLOSE] = SLUICE_FULL,
                                  [ON_FULL_DROP_OLDEST] = SLUICE_OK,
                                  [ON_FULL_DROP_NEWEST] = SLUICE_FULL};
    char text[601] = {0};
    close_route();
    conf.terms.on_full = (enum on_full)_i;
    open_route();
    memset(text, 't', 600);
    client.transport.holds = true;
    open_session();
    send_text(client.conn, text, SLUICE_OK);
    send_text(client.conn, text, results[_i]);
    if (_i == ON_FULL_DROP_OLDEST) { /* one that could never fit is dropped itself */
        char longer[1200] = {0};
        memset(longer, 'l', 1100);
        send_text(client.conn, longer, SLUICE_FULL);
    }
    session_lost(client.transport.session);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

/* --- what a connection has --- */

static void mark_data(sluice_conn *conn) {
    static const unsigned char zeros[40];
    ck_assert_uint_eq((uintptr_t)sluice_data(conn) % 16, 0);
    ck_assert_mem_eq(sluice_data(conn), zeros, sizeof(zeros));
    memset(sluice_data(conn), 0xab, sizeof(zeros));
    accepts(conn);
}

START_TEST(data_is_zeroed_and_aligned_for_each_connection) {
    does[CONNECT] = mark_data;
    for (int i = 0; i < 3; i++) {
        arrive(true);
        turn();
        session_lost(client.transport.session);
        turn();
        fake_transport_free(&client.transport);
    }
}
END_TEST

START_TEST(ids_name_their_thread_and_are_never_used_again) {
    sluice_id ids[100];
    for (int i = 0; i < 100; i++) {
        sluice_conn *conn = arrive(true);
        ids[i] = sluice_conn_id(conn);
        ck_assert_uint_ne(ids[i], 0);
        ck_assert_uint_eq(connection_id_thread(ids[i]), 0);
        ck_assert_ptr_eq(connection_find(loop, ids[i]), conn);
        client_leaves();
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
    }
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_null(connection_find(loop, ids[i]));
    ck_assert_uint_eq(connection_id_thread((sluice_id)200 << 56 | ids[0]), 200);
    ck_assert_ptr_null(connection_find(loop, (sluice_id)200 << 56 | ids[99]));
    ck_assert_ptr_null(connection_find(loop, UINT64_MAX));
    ck_assert_ptr_null(connection_find(loop, 0));
}
END_TEST

START_TEST(a_thread_takes_no_more_than_its_most) {
    static struct client clients[5];
    for (int i = 0; i < 5; i++) {
        memset(&clients[i], 0, sizeof(clients[i]));
        arrive_at(&clients[i], true);
        ck_assert((clients[i].conn == NULL) == (i == 4));
    }
    ck_assert_str_eq(seen, "connect connect connect connect");
    for (int i = 0; i < 4; i++)
        denies(clients[i].conn);
    turn();
    ck_assert_uint_eq(connections_count(loop), 0);
}
END_TEST

/* --- callbacks --- */

static void on_done(sluice_conn *conn, void *arg) {
    ck_assert_int_eq(depth++, 0);
    note("%s(%s)", (const char *)arg, conn == NULL ? "none" : "conn");
    depth--;
}

START_TEST(timers_run_in_their_order_and_once) {
    sluice_id second;
    open_session();
    ck_assert_int_eq(sluice_timer(client.conn, 20000, on_done, (void *)"b", &second), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(client.conn, 10000, on_done, (void *)"a", NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(client.conn, 30000, on_done, (void *)"c", NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(client.conn, 40, on_done, (void *)"d", NULL), SLUICE_FULL);
    pass(10000);
    ck_assert_int_eq(sluice_timer_cancel(client.conn, second), SLUICE_OK);
    ck_assert_int_eq(sluice_timer_cancel(client.conn, second), SLUICE_INVALID);
    pass(100000);
    session_lost(client.transport.session);
    turn();
    ck_assert_str_eq(seen, "connect upgrade a(conn) c(conn) disconnect(1006) release");
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(timers_out_of_range_are_refused) {
    sluice_conn *conn = arrive(true);
    const uint64_t thirty_days = 30ull * 24 * 3600 * 1000;
    ck_assert_int_eq(sluice_timer(conn, 0, on_done, (void *)"x", NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_timer(conn, thirty_days + 1, on_done, (void *)"x", NULL),
                     SLUICE_INVALID);
    ck_assert_int_eq(sluice_timer(conn, 1, NULL, "x", NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_timer(conn, thirty_days, on_done, (void *)"x", NULL), SLUICE_OK);
    client_leaves();
    ck_assert_str_eq(seen, "connect x(none) release");
}
END_TEST

static sluice_id kept_timer;

static void cancel_kept(sluice_conn *conn) {
    ck_assert_int_eq(sluice_timer_cancel(conn, kept_timer), SLUICE_OK);
}

START_TEST(timers_left_at_the_end_are_told_before_release_unless_cancelled_in_disconnect) {
    does[DISCONNECT] = cancel_kept;
    open_session();
    ck_assert_int_eq(sluice_timer(client.conn, 10000, on_done, (void *)"kept", NULL), SLUICE_OK);
    ck_assert_int_eq(sluice_timer(client.conn, 10000, on_done, (void *)"off", &kept_timer),
                     SLUICE_OK);
    session_lost(client.transport.session);
    turn();
    ck_assert_str_eq(seen, "connect upgrade disconnect(1006) kept(none) release");
    fake_transport_free(&client.transport);
}
END_TEST

static void no_work(void *arg) { (void)arg; }

static void turn_until(const char *word) {
    for (int i = 0; i < 1000 && strstr(seen, word) == NULL; i++)
        loop_turn(loop, 10);
    ck_assert_msg(strstr(seen, word) != NULL, "no %s in: %s", word, seen);
}

START_TEST(offloaded_work_comes_back_to_its_connection) {
    sluice_conn *conn = arrive(true);
    ck_assert_int_eq(sluice_offload(conn, NULL, on_done, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_offload(conn, no_work, NULL, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_offload(conn, no_work, on_done, (void *)"done"), SLUICE_OK);
    ck_assert_uint_eq(host_promises(loop), 1);
    turn_until("done(conn)");
    client_leaves();
    ck_assert_str_eq(seen, "connect done(conn) release");
}
END_TEST

START_TEST(offloaded_work_of_an_ended_connection_comes_back_without_it) {
    sluice_conn *conn = arrive(true);
    ck_assert_int_eq(sluice_offload(conn, no_work, on_done, (void *)"done"), SLUICE_OK);
    client_leaves();
    arrive(true); /* takes the slot: it must not be mistaken for the first */
    turn_until("done(none)");
    client_leaves();
    ck_assert_str_eq(seen, "connect release connect done(none) release");
}
END_TEST

static void offload_last(sluice_conn *conn) {
    ck_assert_int_eq(sluice_offload(conn, no_work, on_done, (void *)"last"), SLUICE_OK);
    ck_assert_int_eq(sluice_post(sluice_conn_id(conn), on_done, (void *)"post"), SLUICE_OK);
}

START_TEST(what_release_asks_for_is_answered_without_the_connection) {
    does[RELEASE] = offload_last;
    arrive(true);
    client_leaves();
    turn_until("last(none)");
    turn_until("post(none)");
}
END_TEST

START_TEST(a_post_never_runs_inside_the_call_and_finds_only_its_own) {
    sluice_conn *conn = arrive(true);
    sluice_id id = sluice_conn_id(conn);
    ck_assert_int_eq(sluice_post(id, on_done, (void *)"first"), SLUICE_OK);
    ck_assert_str_eq(seen, "connect");
    turn();
    ck_assert_str_eq(seen, "connect first(conn)");
    client_leaves();
    arrive(true);
    ck_assert_int_eq(sluice_post(id, on_done, (void *)"second"), SLUICE_OK);
    turn();
    client_leaves();
    ck_assert_str_eq(seen, "connect first(conn) release connect second(none) release");
}
END_TEST

START_TEST(a_post_to_nobody_is_refused) {
    ck_assert_int_eq(sluice_post(0, on_done, (void *)"x"), SLUICE_INVALID);
    ck_assert_int_eq(sluice_post((sluice_id)200 << 56 | 1 << 24, on_done, (void *)"x"),
                     SLUICE_INVALID);
    sluice_conn *conn = arrive(true);
    ck_assert_int_eq(sluice_post(sluice_conn_id(conn), NULL, "x"), SLUICE_INVALID);
    client_leaves();
}
END_TEST

/* --- groups --- */

static void join_kitchen(sluice_conn *conn) {
    accepts(conn);
    ck_assert_int_eq(sluice_group_add(conn, "kitchen"), SLUICE_OK);
}

static void join_with_events(sluice_conn *conn) {
    accepts(conn);
    ck_assert_int_eq(sluice_group_join(conn, "kitchen", "me", SLUICE_EVENTS), SLUICE_OK);
}

static void send_to_kitchen(sluice_conn *conn) {
    ck_assert_int_eq(sluice_group_send(conn, "kitchen", sluice_text("x", 1)), SLUICE_OK);
}

START_TEST(a_member_hears_its_own_message_and_none_after_its_end) {
    does[CONNECT] = join_kitchen;
    does[RECEIVE] = does[DISCONNECT] = send_to_kitchen;
    arrive(true);
    turn();
    client_says(0x81, "hi");
    turn();
    ck_assert_str_eq(fake_transport_sent(&client.transport), "text(x)");
    session_lost(client.transport.session);
    turn();
    ck_assert_uint_eq(groups_count(groups_of(loop)).memberships, 0);
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(events_come_to_the_hook_never_inside_the_send) {
    does[CONNECT] = join_with_events;
    does[RECEIVE] = send_to_kitchen;
    arrive(true);
    turn();
    client_says(0x81, "hi");
    turn();
    turn();
    session_lost(client.transport.session);
    turn();
    ck_assert_str_eq(seen, "connect upgrade receive(hi) event(kitchen:x) disconnect(1006) release");
    ck_assert_str_eq(fake_transport_sent(&client.transport), "");
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(a_stopped_connection_hears_no_more_events) {
    does[CONNECT] = join_with_events;
    does[RECEIVE] = stops;
    arrive(true);
    turn();
    client_says(0x81, "hi");
    ck_assert_int_eq(sluice_route_send(route, "kitchen", sluice_text("x", 1), 0), SLUICE_OK);
    turn();
    turn();
    connections_drain(loop, DRAIN_MS, 1001, "stopping");
    session_lost(client.transport.session);
    turn();
    ck_assert_str_eq(seen, "connect upgrade receive(hi) release");
    fake_transport_free(&client.transport);
}
END_TEST

static void on_report(sluice_conn *conn, void *arg, const sluice_send_report *report) {
    ck_assert_uint_eq(report->size, sizeof(*report));
    note("%s(%s %d/%d)", (const char *)arg, conn == NULL ? "none" : "conn", (int)report->queued,
         (int)report->matched);
}

static void on_members(sluice_conn *conn, void *arg, const sluice_member *members, size_t count,
                       size_t total) {
    note("%s(%s %s %d/%d)", (const char *)arg, conn == NULL ? "none" : "conn",
         count > 0 ? members[0].info : "-", (int)count, (int)total);
}

static void ask(sluice_conn *conn) {
    sluice_send_options asked = {
        .size = sizeof(asked), .report = on_report, .arg = (void *)"report"};
    ck_assert_int_eq(sluice_group_send_with(conn, "kitchen", sluice_text("x", 1), &asked),
                     SLUICE_OK);
    ck_assert_int_eq(sluice_group_members(conn, "kitchen", 10, on_members, (void *)"members"),
                     SLUICE_OK);
}

static void ask_wrongly(sluice_conn *conn) {
    sluice_send_options asked = {
        .size = sizeof(asked), .report = on_report, .arg = (void *)"report"};
    ck_assert_int_eq(sluice_group_send_with(conn, "", sluice_text("x", 1), &asked), SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_send_with(conn, "g", sluice_text("\xff", 1), &asked),
                     SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_members(conn, "", 10, on_members, (void *)"members"),
                     SLUICE_INVALID);
    ck_assert_int_eq(sluice_group_members(conn, "g", 10, NULL, NULL), SLUICE_INVALID);
}

START_TEST(reports_and_members_come_once_behind_the_call) {
    does[CONNECT] = join_with_events;
    does[RECEIVE] = ask;
    arrive(true);
    turn();
    client_says(0x81, "hi");
    ck_assert_uint_eq(host_promises(loop), 2);
    turn();
    ck_assert_ptr_nonnull(strstr(seen, "report(conn 1/1)"));
    ck_assert_ptr_nonnull(strstr(seen, "members(conn me 1/1)"));
    session_lost(client.transport.session);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(reports_and_members_of_an_ended_connection_come_without_it) {
    does[RELEASE] = ask;
    arrive(true);
    client_leaves();
    turn();
    turn();
    ck_assert_str_eq(seen, "connect release report(none 0/0) members(none - 0/0)");
}
END_TEST

START_TEST(refused_questions_are_never_answered) {
    does[CONNECT] = ask_wrongly;
    arrive(true);
    client_leaves();
    turn();
    ck_assert_str_eq(seen, "connect release");
}
END_TEST

/* --- draining --- */

START_TEST(a_second_drain_shortens_the_time_and_tells_no_hook_again) {
    open_session();
    connections_drain(loop, 60000, 1001, "stopping");
    connections_drain(loop, 100, 1001, "stopping");
    pass(100);
    ck_assert_str_eq(seen, "connect upgrade drain(60000) disconnect(1006) release");
    fake_transport_free(&client.transport);
}
END_TEST

START_TEST(while_draining_no_handshake_is_taken_but_requests_are) {
    connections_drain(loop, DRAIN_MS, 1001, "stopping");
    ck_assert_ptr_null(arrive(true));
    does[HTTP] = responds;
    ck_assert_ptr_nonnull(arrive(false));
    turn();
    ck_assert_str_eq(seen, "http answer(200 yes) release");
}
END_TEST

/* How long each of three is told to stay away. */
static void drain_three(uint32_t retry_ms, unsigned told[3]) {
    static struct client clients[3];
    does[CONNECT] = accepts;
    for (size_t i = 0; i < 3; i++) {
        clients[i] = (struct client){.conn = NULL};
        arrive_at(&clients[i], true);
    }
    turn();
    connections_retry(loop, retry_ms);
    connections_drain(loop, DRAIN_MS, 1012, "stopping");
    pass(10);
    for (size_t i = 0; i < 3; i++) {
        const char *sent = fake_transport_sent(&clients[i].transport);
        told[i] = UINT_MAX;
        if (sscanf(sent, "close 1012(retry=%u)", &told[i]) != 1)
            ck_assert_str_eq(sent, "close 1012(stopping)");
        session_lost(clients[i].transport.session);
    }
    turn();
    for (size_t i = 0; i < 3; i++)
        fake_transport_free(&clients[i].transport);
}

START_TEST(who_is_to_come_back_is_told_when_each_at_another_time) {
    static const uint32_t spans[] = {1, 900, 86400000, UINT32_MAX};
    unsigned told[3];
    drain_three(spans[_i], told);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_le(told[i], spans[_i]);
    for (size_t i = 0; spans[_i] > 1 && i < 3; i++) {
        unsigned one = told[i], other = told[(i + 1) % 3];
        ck_assert_uint_gt(one > other ? one - other : other - one, spans[_i] / 5);
    }
}
END_TEST

START_TEST(who_is_not_to_come_back_is_told_why) {
    unsigned told[3];
    drain_three(0, told);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(told[i], UINT_MAX);
}
END_TEST

/* --- what an operator reads --- */

static struct connection_view viewed;
static struct session_counts counted;
static unsigned views;

static void take_view(void *arg, const struct connection_view *view) {
    ck_assert_ptr_eq(arg, &views);
    views++;
    viewed = *view;
    counted = *view->counts;
}

START_TEST(each_websocket_is_seen_and_no_handshake_or_request) {
    struct client waiting = {.conn = NULL};
    open_session();
    sluice_id id = connection_id(client.conn);
    does[CONNECT] = NULL;
    arrive_at(&waiting, true);
    client_says(0x81, "hello");
    pass(5000);
    connections_each(loop, take_view, &views);
    ck_assert_uint_eq(views, 1);
    ck_assert_uint_eq(viewed.id, id);
    ck_assert_str_eq(viewed.route, "/ws/");
    ck_assert_uint_eq(counted.messages_in, 1);
    ck_assert_uint_eq(counted.bytes_in, 5 + 6); /* with its head and mask */
    ck_assert_uint_ge(viewed.open_ms, 5000);
    ck_assert_uint_lt(viewed.open_ms, 60000);
    ck_assert_uint_eq(viewed.queued, 0);
    session_lost(client.transport.session);
    turn();
    connections_each(loop, take_view, &views);
    ck_assert_uint_eq(views, 1);
    ck_assert_int_eq(sluice_deny(waiting.conn, 403, "", 0), SLUICE_OK);
    turn();
    fake_transport_free(&client.transport);
}
END_TEST

static Suite *make_suite(void) {
    Suite *suite = suite_create("connection");
    TCase *endings_case = tcase_create("endings");
    tcase_add_checked_fixture(endings_case, setup, teardown);
    tcase_add_loop_test(endings_case, each_ending_releases_once_and_disconnects_what_was_accepted,
                        0, sizeof(endings) / sizeof(endings[0]));
    suite_add_tcase(suite, endings_case);
    TCase *calls = tcase_create("calls");
    tcase_add_checked_fixture(calls, setup, teardown);
    tcase_add_test(calls, calls_say_what_is_possible_in_each_state);
    tcase_add_test(calls, a_second_answer_is_refused_and_changes_nothing);
    tcase_add_test(calls, a_request_is_no_handshake);
    tcase_add_test(calls, nothing_leaves_before_the_flush);
    tcase_add_test(calls, headers_that_could_break_an_answer_are_refused);
    tcase_add_test(calls, headers_are_bounded_in_number_and_bytes);
    tcase_add_test(calls, messages_sent_with_the_accept_leave_behind_the_101_in_order);
    tcase_add_test(calls, what_is_no_message_is_refused);
    tcase_add_loop_test(calls, only_close_codes_that_a_server_may_send_are_taken, 0,
                        sizeof(close_codes) / sizeof(close_codes[0]));
    tcase_add_test(calls, a_close_reason_is_short_text);
    tcase_add_loop_test(calls, a_message_that_does_not_fit_is_told_by_its_policy, 0, 3);
    tcase_add_test(calls, data_is_zeroed_and_aligned_for_each_connection);
    tcase_add_test(calls, ids_name_their_thread_and_are_never_used_again);
    tcase_add_test(calls, a_thread_takes_no_more_than_its_most);
    suite_add_tcase(suite, calls);
    TCase *callbacks = tcase_create("callbacks");
    tcase_add_checked_fixture(callbacks, setup, teardown);
    tcase_add_test(callbacks, timers_run_in_their_order_and_once);
    tcase_add_test(callbacks, timers_out_of_range_are_refused);
    tcase_add_test(callbacks,
                   timers_left_at_the_end_are_told_before_release_unless_cancelled_in_disconnect);
    tcase_add_test(callbacks, offloaded_work_comes_back_to_its_connection);
    tcase_add_test(callbacks, offloaded_work_of_an_ended_connection_comes_back_without_it);
    tcase_add_test(callbacks, what_release_asks_for_is_answered_without_the_connection);
    tcase_add_test(callbacks, a_post_never_runs_inside_the_call_and_finds_only_its_own);
    tcase_add_test(callbacks, a_post_to_nobody_is_refused);
    tcase_add_test(callbacks, a_member_hears_its_own_message_and_none_after_its_end);
    tcase_add_test(callbacks, events_come_to_the_hook_never_inside_the_send);
    tcase_add_test(callbacks, a_stopped_connection_hears_no_more_events);
    tcase_add_test(callbacks, reports_and_members_come_once_behind_the_call);
    tcase_add_test(callbacks, reports_and_members_of_an_ended_connection_come_without_it);
    tcase_add_test(callbacks, refused_questions_are_never_answered);
    suite_add_tcase(suite, callbacks);
    TCase *draining = tcase_create("draining");
    tcase_add_checked_fixture(draining, setup, teardown);
    tcase_add_test(draining, a_second_drain_shortens_the_time_and_tells_no_hook_again);
    tcase_add_test(draining, while_draining_no_handshake_is_taken_but_requests_are);
    tcase_add_loop_test(draining, who_is_to_come_back_is_told_when_each_at_another_time, 0, 4);
    tcase_add_test(draining, who_is_not_to_come_back_is_told_why);
    tcase_add_test(draining, each_websocket_is_seen_and_no_handshake_or_request);
    suite_add_tcase(suite, draining);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(make_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
