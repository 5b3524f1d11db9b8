#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/connection.h"
#include "consumer/host.h"
#include "consumer/instance.h"
#include "consumer/plugin.h"
#include "route/handshake.h"
#include "support/h2o_server.h"

/* The functions of the public header work in this program as in a plugin. */
const struct sluice_host *sluice_host_table;

static bool key_valid(const char *key) {
    return handshake_key_valid(h2o_iovec_init(key, strlen(key)));
}

START_TEST(a_key_is_sixteen_bytes_in_base64) {
    ck_assert(key_valid("dGhlIHNhbXBsZSBub25jZQ=="));
    ck_assert(key_valid("AAAAAAAAAAAAAAAAAAAAAA=="));
    ck_assert(key_valid("/+zzzzzzzzzzzzzzzzzzzw=="));
}
END_TEST

START_TEST(other_keys_are_not) {
    static const char *const wrong[] = {"",
                                        "dGhlIHNhbXBsZSBub25jZQ=",
                                        "dGhlIHNhbXBsZSBub25jZQ===",
                                        "dGhlIHNhbXBsZSBub25jZR==", /* bits behind the end */
                                        "dGhlIHNhbXBsZSBub25jZQQQ",
                                        "dGhlIHNhbXBs SBub25jZQ==",
                                        "dGhlIHNhbXBsZSBub25jZQ=a",
                                        "dGhlIHNhbXBsZSBub25j===="};
    ck_assert(!key_valid(wrong[_i]));
}
END_TEST

static bool allowed(const char *rule, const char *origin, const char *authority) {
    char *rules[] = {(char *)rule};
    struct origins origins = {rules, 1};
    return origin_allowed(&origins, h2o_iovec_init(origin, strlen(origin)),
                          h2o_iovec_init(authority, strlen(authority)));
}

static const struct {
    const char *rule, *origin, *authority;
    bool passes;
} cases_of_origin[] = {
    {"same-host", "http://a.example", "a.example", true},
    {"same-host", "https://a.example", "a.example", true}, /* TLS ended before us */
    {"same-host", "http://A.example", "a.EXAMPLE", true},
    {"same-host", "http://a.example:8080", "a.example:8080", true},
    {"same-host", "http://a.example:80", "a.example", true},
    {"same-host", "https://a.example", "a.example:443", true},
    {"same-host", "https://a.example:8443", "a.example:8080", false},
    {"same-host", "http://a.example", "a.example:8080", false},
    {"same-host", "http://b.example", "a.example", false},
    {"same-host", "http://a.example.evil", "a.example", false},
    {"same-host", "http://evil/a.example", "a.example", false},
    {"same-host", "null", "a.example", false},
    {"same-host", "a.example", "a.example", false},
    {"same-host", "", "a.example", false},
    {"same-host", "http://[::1]:9", "[::1]:9", true},
    {"*", "http://b.example", "a.example", true},
    {"*", "null", "a.example", true},
    {"null", "null", "a.example", true},
    {"null", "http://a.example", "a.example", false},
    {"https://b.example", "https://b.example", "a.example", true},
    {"https://b.example", "https://B.example", "a.example", true},
    {"https://b.example", "http://b.example", "a.example", false},
    {"https://b.example", "https://b.example:8443", "a.example", false},
    {"https://b.example", "https://b.example.evil", "a.example", false},
};

START_TEST(origins_pass_as_their_rule_says) {
    ck_assert_msg(allowed(cases_of_origin[_i].rule, cases_of_origin[_i].origin,
                          cases_of_origin[_i].authority) == cases_of_origin[_i].passes,
                  "%s, %s on %s", cases_of_origin[_i].rule, cases_of_origin[_i].origin,
                  cases_of_origin[_i].authority);
}
END_TEST

START_TEST(any_of_several_rules_will_do_and_none_refuses) {
    char *rules[] = {"same-host", "https://b.example"};
    struct origins two = {rules, 2}, none = {rules, 0};
    h2o_iovec_t origin = h2o_iovec_init(H2O_STRLIT("https://b.example"));
    h2o_iovec_t authority = h2o_iovec_init(H2O_STRLIT("a.example"));
    ck_assert(origin_allowed(&two, origin, authority));
    ck_assert(!origin_allowed(&none, origin, authority));
}
END_TEST

/* --- over a socket --- */

static struct server server;
static sluice_route *route;
static int client;
static char answer[4096], seen[200];

/* ?status=N answers with that, ?body=TEXT with a body; nothing of it: undecided. */
static void answer_as_asked(sluice_conn *conn) {
    const char *status = sluice_scope(conn, SLUICE_QUERY, "status");
    const char *body = sluice_scope(conn, SLUICE_QUERY, "body");
    const char *retry = sluice_scope(conn, SLUICE_QUERY, "retry");
    size_t size = body == NULL ? 0 : strlen(body);
    if (retry != NULL)
        sluice_add_header(conn, "Retry-After", retry);
    if (status == NULL)
        return;
    if (sluice_respond(conn, atoi(status), body, size) == SLUICE_STATE)
        sluice_deny(conn, atoi(status), body, size);
}

static void decide(sluice_conn *conn) {
    strcat(seen, "connect ");
    answer_as_asked(conn);
    const char *subprotocol = sluice_scope(conn, SLUICE_QUERY, "accept");
    if (subprotocol == NULL)
        return;
    sluice_add_header(conn, "X-Own", "yes");
    sluice_accept(conn, *subprotocol == '\0' ? NULL : subprotocol);
    sluice_send(conn, sluice_text("hi", 2));
}

static void no_message(sluice_conn *conn, sluice_message message) {
    (void)conn;
    (void)message;
    strcat(seen, "receive ");
}

static void note_disconnect(sluice_conn *conn, int code) {
    (void)conn;
    snprintf(seen + strlen(seen), 20, "disconnect(%d) ", code);
}

static void note_release(sluice_conn *conn) {
    (void)conn;
    strcat(seen, "release ");
}

static const sluice_consumer hooks = {.connect = decide,
                                      .receive = no_message,
                                      .disconnect = note_disconnect,
                                      .release = note_release,
                                      .http = answer_as_asked};

static const char *hooks_option(void *data, const char *key) {
    static char text[32];
    (void)data;
    (void)key;
    snprintf(text, sizeof(text), "%llx", (unsigned long long)(uintptr_t)&hooks);
    return text;
}

static const struct option_source options = {.text = hooks_option};

static int begin(h2o_handler_t *self, h2o_req_t *req) {
    static char *same_host[] = {"same-host"};
    static const struct origins origins = {same_host, 1};
    (void)self;
    handshake_begin(route, &origins, req, &req->path_normalized);
    return 0;
}

static void open_with(const char *plugin_path) {
    struct error error;
    struct instance_conf conf = {
        .name = "/",
        .space = "test",
        .options = &options,
        .terms = {.message_bytes_max = 1000, .queue_bytes_max = 1000, .close_ms = 1000},
        .connect_ms = 60000,
        .headers_max = 1000};
    sluice_host_table = host_table();
    ck_assert_msg(plugin_load(plugin_path, -1, sluice_host_table, &conf.plugin, &error), "%s",
                  error.text);
    static const char *const names[] = {NULL};
    static const struct capture_names whole = {names, 1};
    route = instance_open(&conf, &error);
    ck_assert_ptr_nonnull(route);
    instance_set_captures(route, &whole);
}

static void connect_client(void) {
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    h2o_accept(&server.accept, h2o_evloop_socket_create(loop_h2o(server.loop), ends[0],
                                                        H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION));
    client = ends[1];
}

static void serve(size_t connections) {
    seen[0] = '\0';
    server_configure(&server);
    connections_create(server.loop, connections);
    open_with(TEST_PLUGINS "/puppet.so");
    h2o_create_handler(server.path, sizeof(h2o_handler_t))->on_req = begin;
    server_start(&server);
    connect_client();
}

static void setup(void) { serve(10); }

static void teardown(void) {
    close(client);
    for (int i = 0; i < 3 || (i < TURNS_MAX && connections_count(server.loop) > 0); i++)
        server_turn(&server);
    ck_assert_uint_eq(connections_count(server.loop), 0);
    ck_assert_uint_eq(instance_users(route), 0);
    instance_close(route);
    connections_free(server.loop);
    server_end(&server);
}

static void say(const char *text) {
    ck_assert_int_eq(send(client, text, strlen(text), 0), (ssize_t)strlen(text));
}

#define LAST " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define UPGRADE                                                                                    \
    " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                        \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* What the answer holds, and what it must not. */
static const struct {
    const char *request, *status, *holds, *without;
} answers[] = {
    {"GET /?status=200&body=yes" LAST, "200 OK", "\r\n\r\nyes", "transfer-encoding"},
    {"GET /?status=200&body=yes" LAST, "200 OK", "Content-Length: 3", "Upgrade"},
    {"GET /?status=200&body=yes" LAST, "200 OK", "content-type: text/plain; charset=utf-8", NULL},
    {"HEAD /?status=200&body=yes" LAST, "200 OK", "Content-Length: 3", "yes"},
    {"HEAD /?status=404&body=gone" LAST, "404 Not Found", "Content-Length: 4", "gone"},
    {"HEAD /?status=404" LAST, "404 Not Found", "Content-Length: 9", "\r\n\r\nNot"},
    {"GET /?status=200" LAST, "200 OK", "Content-Length: 0", NULL},
    {"GET /?status=204&body=x" LAST, "204 No Content", "\r\n\r\n", "ontent-"},
    {"GET /?status=304&body=x" LAST, "304 Not Modified", "\r\n\r\n", "\r\n\r\nx"},
    {"GET /?status=299&body=x" LAST, "299 OK", "x", NULL},
    {"GET /?status=499&body=x" LAST, "499 Refused", "x", NULL},
    {"GET /?status=403" LAST, "403 Forbidden", "\r\n\r\nForbidden", "retry-after"},
    {"GET /?status=503" LAST, "503 Service Unavailable", "retry-after: 5", NULL},
    {"GET /?status=503&retry=9" LAST, "503 Service Unavailable", "retry-after: 9",
     "retry-after: 5"},
    {"GET /?status=403&body=no" UPGRADE "\r\n", "403 Forbidden", "\r\n\r\nno", "websocket"},
    /* libh2o keeps a connection whose Connection header says so, or that has none */
    {"GET /?status=403&body=no" UPGRADE "\r\n", "403 Forbidden", "Connection: close", NULL},
    {"GET /" UPGRADE "Origin: http://b\r\n\r\n", "403 Forbidden", NULL, "websocket"},
    {"GET /" UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "400 Bad Request", NULL,
     "websocket"},
    {"GET /" UPGRADE "Sec-WebSocket-Version: 13\r\n\r\n", "426 Upgrade Required",
     "sec-websocket-version: 13", NULL},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Version: 8\r\n\r\n",
     "426 Upgrade Required", "sec-websocket-version: 13", NULL},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
     "400 Bad Request", NULL, NULL},
    {"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
     "Content-Length: 0\r\n\r\n",
     "405 Method Not Allowed", "allow: GET", NULL},
    {"GET /?accept=two" UPGRADE "Sec-WebSocket-Protocol: one, two\r\nOrigin: http://a\r\n\r\n",
     "101 Switching Protocols", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "ontent-"},
    {"GET /?accept=two" UPGRADE "Sec-WebSocket-Protocol: one, two\r\n\r\n",
     "101 Switching Protocols", "sec-websocket-protocol: two", NULL},
    {"GET /?accept=two" UPGRADE "Sec-WebSocket-Protocol: one, two\r\n\r\n",
     "101 Switching Protocols", "x-own: yes", NULL},
};

START_TEST(an_answer_says_what_http_asks_of_it) {
    char status[64];
    say(answers[_i].request);
    shutdown(client, SHUT_WR);
    read_until(&server, client, "\r\n\r\n", answer, sizeof(answer));
    for (int i = 0; i < 3; i++)
        server_turn(&server);
    ssize_t more = recv(client, answer + strlen(answer), 1000, MSG_DONTWAIT);
    (void)more; /* the memory is zeroed */
    snprintf(status, sizeof(status), "HTTP/1.1 %s\r\n", answers[_i].status);
    ck_assert_msg(strncmp(answer, status, strlen(status)) == 0, "%s: %s", answers[_i].request,
                  answer);
    ck_assert_msg(answers[_i].holds == NULL || strcasestr(answer, answers[_i].holds) != NULL,
                  "no %s in: %s", answers[_i].holds, answer);
    ck_assert_msg(answers[_i].without == NULL || strcasestr(answer, answers[_i].without) == NULL,
                  "%s in: %s", answers[_i].without, answer);
}
END_TEST

START_TEST(a_refused_connection_serves_the_next_request) {
    say("GET /?status=403&body=first HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    read_until(&server, client, "first", answer, sizeof(answer));
    say("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
        "Upgrade: websocket\r\n\r\n");
    read_until(&server, client, "\r\n\r\nUpgrade Required", answer, sizeof(answer));
    say("GET /?status=204 HTTP/1.1\r\nHost: a\r\n\r\n");
    read_until(&server, client, "204 No Content", answer, sizeof(answer));
    say("GET /?accept" UPGRADE "\r\n");
    read_until(&server, client, "\x81\x02hi", answer, sizeof(answer));
    ck_assert_str_eq(seen, "connect release release connect ");
}
END_TEST

START_TEST(frames_sent_with_the_handshake_are_heard) {
    say("GET /?accept" UPGRADE "\r\n\x81\x81"
        "abcd"
        "!");
    read_until(&server, client, "\x81\x02hi", answer, sizeof(answer));
    for (int i = 0; i < TURNS_MAX && strstr(seen, "receive") == NULL; i++)
        server_turn(&server);
    ck_assert_str_eq(seen, "connect receive ");
}
END_TEST

START_TEST(a_thread_that_is_full_says_when_to_come_back) {
    teardown();
    serve(0);
    say("GET /?accept" UPGRADE "\r\n");
    read_until(&server, client, "\r\n\r\n", answer, sizeof(answer));
    ck_assert_ptr_nonnull(strstr(answer, "503 Service Unavailable"));
    ck_assert_ptr_nonnull(strstr(answer, "retry-after: 5"));
    ck_assert_str_eq(seen, "");
}
END_TEST

/* libh2o notices only at the write. */
START_TEST(a_client_that_left_while_it_was_decided_gets_one_release) {
    say("GET /" UPGRADE "\r\n");
    for (int i = 0; i < TURNS_MAX && seen[0] == '\0'; i++)
        server_turn(&server);
    close(client);
    connections_drain(server.loop, 1000, 1001, "stopping");
    for (int i = 0; i < TURNS_MAX && connections_count(server.loop) > 0; i++)
        server_turn(&server);
    ck_assert_str_eq(seen, "connect release ");
    connect_client();
}
END_TEST

START_TEST(without_an_http_hook_a_request_is_told_to_upgrade) {
    instance_close(route);
    open_with(TEST_PLUGINS "/plain.so");
    say("GET /" LAST);
    read_to_end(&server, client, answer, sizeof(answer));
    ck_assert_ptr_nonnull(strstr(answer, "426 Upgrade Required"));
    ck_assert_ptr_nonnull(strcasestr(answer, "upgrade: websocket"));
}
END_TEST

int main(void) {
    TCase *cases = tcase_create("handshake");
    tcase_add_test(cases, a_key_is_sixteen_bytes_in_base64);
    tcase_add_loop_test(cases, other_keys_are_not, 0, 8);
    tcase_add_loop_test(cases, origins_pass_as_their_rule_says, 0,
                        (int)(sizeof(cases_of_origin) / sizeof(cases_of_origin[0])));
    tcase_add_test(cases, any_of_several_rules_will_do_and_none_refuses);
    Suite *suite = suite_create("handshake");
    suite_add_tcase(suite, cases);
    TCase *served = tcase_create("served");
    tcase_add_checked_fixture(served, setup, teardown);
    tcase_add_loop_test(served, an_answer_says_what_http_asks_of_it, 0,
                        (int)(sizeof(answers) / sizeof(answers[0])));
    tcase_add_test(served, a_refused_connection_serves_the_next_request);
    tcase_add_test(served, frames_sent_with_the_handshake_are_heard);
    tcase_add_test(served, a_thread_that_is_full_says_when_to_come_back);
    tcase_add_test(served, a_client_that_left_while_it_was_decided_gets_one_release);
    tcase_add_test(served, without_an_http_hook_a_request_is_told_to_upgrade);
    suite_add_tcase(suite, served);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
