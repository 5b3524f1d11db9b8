#include "net/hygiene.h"

#include <stdio.h>

#include "support/h2o_server.h"

#define HOST "Host: example.org\r\n"

/* --- heads --- */

static const struct {
    const char *head;
    const char *wrong;
} bad_heads[] = {
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "both"},
    {"GET / HTTP/1.1\r\n" HOST "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", "both"},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
     "than one Content-Length"},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n",
     "than one Content-Length"},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n", "not a number"},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n", "not a number"},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\n", "not a number"},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", "not a number"},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "not chunked"},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", "not chunked"},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", "not chunked"},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     "than one Transfer"},
    {"GET / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", "in HTTP/1.0"},
    {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", "folded"},
    {"GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", "folded"},
    {"GET / HTTP/1.1\r\n " HOST "\r\n", "folded"},
    {"GET / HTTP/1.1\n" HOST "\r\n", "bare LF"},
    {"GET / HTTP/1.1\r\nHost: example.org\n\r\n", "bare LF"},
    {"GET / HTTP/1.1\r\n" HOST "\n", "bare LF"},
    {"\nGET / HTTP/1.1\r\n" HOST "\r\n", "bare LF"},
    {"GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", "control character"},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", "control character"},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", "control character"},
    {"GET / HTTP/1.1\r\nHost : example.org\r\n\r\n", "not a token"},
    {"GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", "not a token"},
    {"GET / HTTP/1.1\r\n" HOST "X(y): a\r\n\r\n", "not a token"},
    {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", "without a colon"},
    {"GET / HTTP/1.1\r\nX: y\r\n\r\n", "no Host"},
    {"GET / HTTP/1.1\r\n\r\n", "no Host"},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", "more than one Host"},
    {"GET / HTTP/1.0\r\n" HOST "host: b\r\n\r\n", "more than one Host"},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: [a/b]\r\n\r\n", "not a name"},
    {"GET / HTTP/1.1\r\nHost: \xc3\xbc.example\r\n\r\n", "not a name"},
    {" / HTTP/1.1\r\n" HOST "\r\n", "method"},
    {"GE(T / HTTP/1.1\r\n" HOST "\r\n", "method"},
    {"GET\r\n" HOST "\r\n", "method"},
    {"GET  HTTP/1.1\r\n" HOST "\r\n", "no target"},
    {"GET /\r\n" HOST "\r\n", "no target"},
    {"GET /a\tb HTTP/1.1\r\n" HOST "\r\n", "target"},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", "fragment"},
    {"GET /a b HTTP/1.1\r\n" HOST "\r\n", "version"},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", "version"},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", "version"},
    {"GET / HTTP/1.10\r\n" HOST "\r\n", "version"},
    {"GET / http/1.1\r\n" HOST "\r\n", "version"},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "method"},
    {"GET / HTTP/1.1\r\n" HOST, "does not end"},
    {"GET / HTTP/1.1\r\n" HOST "\r", "does not end"},
    {"", "does not end"},
};

START_TEST(head_that_libh2o_lets_through_is_refused) {
    const char *head = bad_heads[_i].head;
    const char *wrong = hygiene_check_head(head, strlen(head));
    ck_assert_msg(wrong != NULL, "passed: %s", head);
    ck_assert_msg(strstr(wrong, bad_heads[_i].wrong) != NULL, "\"%s\" for: %s", wrong, head);
}
END_TEST

static const char *const good_heads[] = {
    "GET / HTTP/1.1\r\n" HOST "\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\n" HOST "\r\n",
    "GET / HTTP/1.9\r\n" HOST "\r\n",
    "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
    "POST / HTTP/1.1\r\n" HOST "Content-Length: 5 \t\r\n\r\n\nbody\rwith\n\n",
    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:  Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nhost:example.org\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: example.org:8080 \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: example.org:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [fe80::1]\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a_b-c.~\r\n\r\n",
    "GET /\xc3\xbc?q=\xff HTTP/1.1\r\n" HOST "\r\n",
    "M-SEARCH * HTTP/1.1\r\n" HOST "\r\n",
    "GET / HTTP/1.1\r\n" HOST "X: a\tb \x80\xff\r\nY:\r\nZ: content-length: 5\r\n\r\n",
    "GET / HTTP/1.1\r\n" HOST "X-Host: a\r\nX-Content-Length: b\r\n\r\n",
};

START_TEST(plain_head_passes) {
    const char *wrong = hygiene_check_head(good_heads[_i], strlen(good_heads[_i]));
    ck_assert_msg(wrong == NULL, "%s: %s", wrong, good_heads[_i]);
}
END_TEST

START_TEST(nul_in_a_value_is_refused) {
    static const char head[] = "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n";
    ck_assert_ptr_nonnull(hygiene_check_head(head, sizeof(head) - 1));
}
END_TEST

/* Every cut of a good head is refused, and nothing behind the cut is read (ASan sees the copy's
 * end). */
START_TEST(cut_head_is_refused) {
    static const char head[] = "POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n";
    for (size_t size = 0; size < sizeof(head) - 1; size++) {
        char *copy = malloc(size == 0 ? 1 : size);
        memcpy(copy, head, size);
        ck_assert_ptr_nonnull(hygiene_check_head(copy, size));
        free(copy);
    }
    ck_assert_ptr_null(hygiene_check_head(head, sizeof(head) - 1));
}
END_TEST

/* --- paths --- */

static const struct {
    const char *path;
    size_t size;
    int status; /* 0: passes */
} paths[] = {
#define PATH(text, status)                                                                         \
    { text, sizeof(text) - 1, status }
    PATH("/", 0),
    PATH("", 0),
    PATH("/a.b/c..d/e.", 0),
    PATH("/.well-known/acme-challenge/x", 0),
    PATH("/.well-known/", 0),
    PATH("/\xc3\xbc/\xe2\x82\xac/\xf0\x9f\x98\x80", 0),
    PATH("/\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 0),
    PATH("/.git/config", 404),
    PATH("/a/.htaccess", 404),
    PATH("/.", 404),
    PATH("/..", 404),
    PATH("/.well-known", 404),
    PATH("/.well-knownx/", 404),
    PATH("/a/.well-known/x", 404),
    PATH("/.well-known/.x", 404),
    PATH("/.well-known/a/.x", 404),
    PATH("/a\0b", 400),
    PATH("/a\0.png", 400),
    PATH("/\n", 400),
    PATH("/\x1f", 400),
    PATH("/\x7f", 400),
    PATH("/\xc2\x80", 400),
    PATH("/\xc2\x9f", 400),
    PATH("/\xc2\xa0", 0),
    PATH("/\xff", 400),
    PATH("/\x80", 400),
    PATH("/\xc0\xaf", 400),
    PATH("/\xc1\xbf", 400),
    PATH("/\xe0\x80\xaf", 400),
    PATH("/\xe0\x9f\xbf", 400),
    PATH("/\xed\xa0\x80", 400),
    PATH("/\xf0\x80\x80\xaf", 400),
    PATH("/\xf0\x8f\xbf\xbf", 400),
    PATH("/\xf4\x90\x80\x80", 400),
    PATH("/\xf5\x80\x80\x80", 400),
    PATH("/\xc3", 400),
    PATH("/\xc3/", 400),
    PATH("/\xe2\x82", 400),
    PATH("/\xf0\x9f\x98", 400),
    PATH("/\xf0\x9f\x98/", 400),
    PATH("/.\xff", 400),
#undef PATH
};

START_TEST(path_is_judged) {
    int status = 0;
    char *copy = malloc(paths[_i].size + (paths[_i].size == 0));
    memcpy(copy, paths[_i].path, paths[_i].size);
    const char *wrong = hygiene_check_path(copy, paths[_i].size, &status);
    ck_assert_int_eq(status, paths[_i].status);
    ck_assert_int_eq(wrong != NULL, status != 0);
    free(copy);
}
END_TEST

/* --- the handler, in front of one that says what it was given --- */

static int describe(h2o_handler_t *self, h2o_req_t *req) {
    (void)self;
    ssize_t range = h2o_find_header(&req->headers, H2O_TOKEN_RANGE, -1);
    ssize_t value = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-value"), -1);
    h2o_iovec_t none = h2o_iovec_init(H2O_STRLIT("none"));
    h2o_iovec_t parts[] = {
        h2o_iovec_init(H2O_STRLIT("host <")),
        req->authority,
        h2o_iovec_init(H2O_STRLIT("> path <")),
        req->path,
        h2o_iovec_init(H2O_STRLIT("> range <")),
        range == -1 ? none : req->headers.entries[range].value,
        h2o_iovec_init(H2O_STRLIT("> value <")),
        value == -1 ? none : req->headers.entries[value].value,
        h2o_iovec_init(H2O_STRLIT("> body <")),
        req->entity,
        h2o_iovec_init(H2O_STRLIT(">")),
    };
    h2o_iovec_t text = {NULL, 0};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        text = h2o_concat(&req->pool, text, parts[i]);
    req->res.status = 200;
    req->res.content_length = text.len;
    h2o_send_inline(req, text.base, text.len);
    return 0;
}

/* Sends these bytes over a connection of its own and shuts the client's side down only after the
 * answer ended. */
static void exchange(const char *request, size_t size, char *answer, size_t answer_size) {
    struct server server;
    int ends[2];
    server_configure(&server);
    hygiene_register(server.path);
    h2o_create_handler(server.path, sizeof(h2o_handler_t))->on_req = describe;
    server_start(&server);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    h2o_accept(&server.accept, h2o_evloop_socket_create(loop_h2o(server.loop), ends[0],
                                                        H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION));
    ck_assert_int_eq(send(ends[1], request, size, 0), (ssize_t)size);
    read_to_end(&server, ends[1], answer, answer_size);
    close(ends[1]);
    server_end(&server);
}

#define END "Connection: close\r\n\r\n"

static const struct {
    const char *request;
    const char *wanted[4];
} answers[] = {
    /* A refusal closes the connection even where the client wanted to keep it. */
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n",
     {"HTTP/1.1 400 ", "Connection: close\r\n", "more than one Host"}},
    {"POST / HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
     {"HTTP/1.1 400 ", "Connection: close\r\n", "both Transfer-Encoding and Content-Length"}},
    {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", {"HTTP/1.1 400 ", "folded"}},
    {"GET / HTTP/1.1\nHost: a\n\n", {"HTTP/1.1 400 ", "bare LF"}},
    {"GET /a%00b HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 ", "control character"}},
    {"GET /%ff HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 400 ", "not UTF-8"}},
    {"GET /a/%2e%2e/.git HTTP/1.1\r\n" HOST END, {"HTTP/1.1 404 ", "\r\n\r\nnot found"}},
    {"GET /%2egit HTTP/1.1\r\n" HOST END, {"HTTP/1.1 404 "}},
    {"GET /a/%2e%2e/b HTTP/1.1\r\n" HOST END, {"HTTP/1.1 200 ", "host <example.org>"}},
    {"GET /.well-known/x HTTP/1.1\r\n" HOST END, {"HTTP/1.1 200 ", "path </.well-known/x>"}},
    /* Ranges. */
    {"GET / HTTP/1.1\r\n" HOST "Range: bytes=0-1\r\n" END, {"HTTP/1.1 200 ", "range <bytes=0-1>"}},
    {"GET / HTTP/1.1\r\n" HOST "Range: bytes=0-1,2-3\r\n" END, {"HTTP/1.1 200 ", "range <none>"}},
    {"GET / HTTP/1.1\r\n" HOST "Range: bytes=0-1\r\nA: b\r\nRange: bytes=2-3\r\n" END,
     {"HTTP/1.1 200 ", "range <none>"}},
    /* White space behind a value. */
    {"GET / HTTP/1.1\r\nHost: example.org \t\r\nX-Value: a b\t \r\n" END,
     {"200", "host <example.org>", "value <a b>"}},
    /* Targets. */
    {"GET http://example.net:81/a?b HTTP/1.1\r\n" HOST END,
     {"200", "host <example.net:81>", "path </a?b>"}},
    {"GET HTTPS://example.net HTTP/1.1\r\n" HOST END, {"200", "host <example.net>", "path </>"}},
    {"GET http://example.net?q HTTP/1.1\r\n" HOST END, {"200", "host <example.net>", "path </?q>"}},
    {"GET http://example.net/.git HTTP/1.1\r\n" HOST END, {"HTTP/1.1 404 "}},
    {"GET http://a@example.net/ HTTP/1.1\r\n" HOST END, {"HTTP/1.1 400 "}},
    {"GET http:///a HTTP/1.1\r\n" HOST END, {"HTTP/1.1 400 "}},
    {"GET ftp://example.net/ HTTP/1.1\r\n" HOST END, {"HTTP/1.1 400 "}},
    {"GET example.net:80 HTTP/1.1\r\n" HOST END, {"HTTP/1.1 400 "}},
    {"GET a HTTP/1.1\r\n" HOST END, {"HTTP/1.1 400 "}},
    {"GET * HTTP/1.1\r\n" HOST END, {"HTTP/1.1 400 "}},
    {"OPTIONS * HTTP/1.1\r\n" HOST END,
     {"HTTP/1.1 200 ", "Content-Length: 0\r\n", "allow: GET, HEAD"}},
    /* Methods. */
    {"CONNECT example.net:443 HTTP/1.1\r\n" HOST "\r\n",
     {"HTTP/1.1 405 ", "allow: GET, HEAD", "Connection: close\r\n"}},
    {"TRACE / HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 405 "}},
    {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n", {"HTTP/1.1 501 "}},
    {"PROPFIND / HTTP/1.1\r\n" HOST END, {"HTTP/1.1 200 "}},
    /* Bodies. */
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END "a\nb\rc",
     {"HTTP/1.1 200 ", "body <a\nb\rc>"}},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "5\r\nhello\r\n0\r\n\r\n",
     {"HTTP/1.1 200 ", "body <hello>"}},
};

START_TEST(request_over_a_socket_gets_its_answer) {
    char answer[4096];
    exchange(answers[_i].request, strlen(answers[_i].request), answer, sizeof(answer));
    for (size_t i = 0; i < 4 && answers[_i].wanted[i] != NULL; i++)
        ck_assert_msg(strstr(answer, answers[_i].wanted[i]) != NULL,
                      "no \"%s\" in the answer to\n%s\n%s", answers[_i].wanted[i],
                      answers[_i].request, answer);
}
END_TEST

/* What libh2o's own parser refuses must not start to pass with another version of it. */
START_TEST(head_that_libh2o_refuses_stays_refused) {
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",   "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",     "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    };
    char answer[4096];
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        exchange(requests[i], strlen(requests[i]), answer, sizeof(answer));
        ck_assert_msg(strncmp(answer, "HTTP/1.1 400 ", 13) == 0, "%s\n%s", requests[i], answer);
    }
}
END_TEST

/* The second head lies behind the first one's body in the same input. */
START_TEST(pipelined_request_is_checked_too) {
    static const char requests[] = "POST /one HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody"
                                   "GET /two HTTP/1.1\r\n" HOST "\r\n"
                                   "GET /three HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"
                                   "GET /four HTTP/1.1\r\n" HOST END;
    char answer[4096];
    exchange(requests, sizeof(requests) - 1, answer, sizeof(answer));
    ck_assert_ptr_nonnull(strstr(answer, "path </one> range <none> value <none> body <body>"));
    ck_assert_ptr_nonnull(strstr(answer, "path </two>"));
    ck_assert_ptr_nonnull(strstr(answer, "a folded header line"));
    ck_assert_ptr_null(strstr(answer, "/four"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hygiene");
    TCase *pure = tcase_create("heads and paths");
    tcase_add_loop_test(pure, head_that_libh2o_lets_through_is_refused, 0,
                        (int)(sizeof(bad_heads) / sizeof(bad_heads[0])));
    tcase_add_loop_test(pure, plain_head_passes, 0,
                        (int)(sizeof(good_heads) / sizeof(good_heads[0])));
    tcase_add_test(pure, nul_in_a_value_is_refused);
    tcase_add_test(pure, cut_head_is_refused);
    tcase_add_loop_test(pure, path_is_judged, 0, (int)(sizeof(paths) / sizeof(paths[0])));
    suite_add_tcase(suite, pure);
    TCase *handler = tcase_create("handler");
    tcase_set_timeout(handler, 30);
    tcase_add_loop_test(handler, request_over_a_socket_gets_its_answer, 0,
                        (int)(sizeof(answers) / sizeof(answers[0])));
    tcase_add_test(handler, head_that_libh2o_refuses_stays_refused);
    tcase_add_test(handler, pipelined_request_is_checked_too);
    suite_add_tcase(suite, handler);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
