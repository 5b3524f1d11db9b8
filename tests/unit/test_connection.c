#include "consumer/connection.h"

#include <check.h>
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

#define CONNECT_MS 1000
#define CLOSE_MS 500
#define DRAIN_MS 2000

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

static void open_route(void) {
    struct error error;
    conf.name = "/ws/";
    conf.space = "test";
    conf.options = &options;
    ck_assert_msg(
        plugin_load(TEST_PLUGINS "/puppet.so", sluice_host_table, &conf.plugin, &error), "%s",
        error.text);
    route = instance_open(&conf, &error);
    ck_assert_ptr_nonnull(route);
    ck_assert(instance_start(route, loop));
}

static void setup(void) {
    sluice_host_table = host_table();
    seen[0] = '\0';
    memset(does, 0, sizeof(does));
    loop = loop_create(3);
    loop_enter(loop);
    connections_create(loop, 4);
    host_set_loop(loop);
    pool = offload_create(1, 1);
    instances_set_offload(pool);
    conf = (struct instance_conf){.limits = {.message_bytes_max = 1000,
                                             .queue_bytes_max = 1000,
                                             .close_ms = CLOSE_MS},
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
    ck_assert_uint_eq(instance_connections(route), 0);
    ck_assert_uint_eq(host_promises(loop), 0);
    offload_free(pool);
    close_route();
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
    static const char *const names[] = {NULL, "group"};
    static const struct capture_names captures = {names, 2};
    const h2o_iovec_t values[] = {{H2O_STRLIT("ws/kitchen/")}, {H2O_STRLIT("kitchen")}};
    fake_request_init(&of->request, "GET", "/ws/kitchen/?color=red");
    fake_request_header(&of->request, "sec-websocket-protocol", "one, two");
    struct connection_request request = {
        &of->request.req, {&captures, values}, &door, of, is_handshake};
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
static void denies(sluice_conn *conn) { ck_assert_int_eq(sluice_deny(conn, 403, "no", 2), SLUICE_OK); }
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

/* The hard end comes in the turn of the accept: its 101 has not left. */
static void accept_late(sluice_conn *conn, void *arg) {
    (void)arg;
    accepts(conn);
}

static void end_by_hard_end_before_the_answer(void) {
    sluice_conn *conn = arrive(true);
    ck_assert_int_eq(sluice_timer(conn, 50, accept_late, NULL, NULL), SLUICE_OK);
    loop_skip(loop, 50);
    turn(); /* due timers run first, the flush behind them */
    turn();
    client_closes(1000, "");
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
    {end_by_drain, "connect upgrade drain(2000) disconnect(1001) release"},
    {end_by_drain_unanswered, "connect upgrade drain(100) disconnect(1006) release"},
    {end_by_drain_with_the_answer_under_way,
     "connect upgrade drain(100) left disconnect(1006) release hangup"},
    {end_by_hard_end_before_the_answer, "connect upgrade disconnect(1000) release"},
    {end_by_stop_in_drain, "connect upgrade drain(2000) release"},
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

static Suite *make_suite(void) {
    Suite *suite = suite_create("connection");
    TCase *endings_case = tcase_create("endings");
    tcase_add_checked_fixture(endings_case, setup, teardown);
    tcase_add_loop_test(endings_case, each_ending_releases_once_and_disconnects_what_was_accepted,
                        0, sizeof(endings) / sizeof(endings[0]));
    suite_add_tcase(suite, endings_case);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(make_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
