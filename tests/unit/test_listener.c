#include "net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/address.h"
#include "net/tls.h"
#include "observe/limits.h"
#include "observe/log.h"
#include "support/certificate.h"
#include "support/directory.h"
#include "support/h2o_server.h"
#include "websocket/progress.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define REQUEST_AND_STAY "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static char directory[128];
static struct server server;
static struct connection_count count;
static size_t body_size; /* of every answer */
static struct reception reception;
static struct tls *tls; /* of the reception; NULL: plain */
static char url[LISTENER_URL_MAX];

static void remove_directory(void) { remove_test_directory(directory); }

static void make_directory(void) { make_test_directory(directory, sizeof(directory)); }

static int answer(h2o_handler_t *self, h2o_req_t *req) {
    (void)self;
    static h2o_generator_t generator = {NULL, NULL};
    h2o_iovec_t body = {h2o_mem_alloc_pool(&req->pool, body_size), body_size};
    memset(body.base, 'x', body_size);
    req->res.status = 200;
    req->res.content_length = body_size;
    h2o_start_response(req, &generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static void begin_server(size_t connections_max) {
    body_size = 5;
    count.most = connections_max;
    server_configure(&server);
    h2o_create_handler(server.path, sizeof(h2o_handler_t))->on_req = answer;
    server_start(&server);
    reception.accept = server.accept;
    reception.crowd = crowd_create(server.loop, &count.stalled);
}

static struct listener *open_listener(const struct listener_conf *conf, unsigned threads) {
    struct error error = {"none"};
    struct listener *listener = listener_open(conf, threads, &error);
    ck_assert_msg(listener != NULL, "%s", error.text);
    return listener;
}

static struct listener *open_loopback(unsigned threads) {
    struct listener_conf conf = {.host = "127.0.0.1", .port = "0"};
    return open_listener(&conf, threads);
}

static const char *url_of(const struct listener *listener) {
    return listener_url(listener, reception.accept.ssl_ctx != NULL, url);
}

static const char *port_of(const struct listener *listener) {
    return strrchr(url_of(listener), ':') + 1;
}

static int connect_to(const char *port) {
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_port = htons((in_port_t)strtoul(port, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    return fd;
}

static void say(int fd, const char *text) {
    ck_assert_int_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void turn_until_open(size_t wanted) {
    for (int turn = 0; turn < TURNS_MAX && atomic_load(&count.open) != wanted; turn++)
        server_turn(&server);
    ck_assert_uint_eq(atomic_load(&count.open), wanted);
}

static void end_server(struct listener *listener) {
    listener_stop(listener, server.loop, false);
    turn_until_open(0);
    listener_close(listener);
    crowd_free(reception.crowd);
    tls_free(tls);
    server_end(&server);
}

/* --- accepting and counting --- */

START_TEST(connections_are_accepted_counted_and_answered) {
    char text[1024];
    begin_server(10);
    struct listener *listener = open_loopback(1);
    ck_assert_int_eq(strncmp(url_of(listener), "http://127.0.0.1:", 17), 0);
    ck_assert_uint_eq(listener_port(listener), strtoul(port_of(listener), NULL, 10));
    listener_start(listener, server.loop, &reception, &count);
    int first = connect_to(port_of(listener)), second = connect_to(port_of(listener));
    turn_until_open(2);
    say(first, REQUEST);
    read_to_end(&server, first, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    ck_assert_uint_eq(atomic_load(&count.open), 1);
    close(second);
    turn_until_open(0);
    close(first);
    end_server(listener);
}
END_TEST

/* Forty at once: more than one event accepts, so that the bound on accepts an event loses none. */
START_TEST(flood_is_accepted_whole) {
    int fds[40];
    begin_server(100);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    for (size_t i = 0; i < 40; i++)
        fds[i] = connect_to(port_of(listener));
    server_turn(&server);
    ck_assert_uint_le(atomic_load(&count.open), 16);
    turn_until_open(40);
    for (size_t i = 0; i < 40; i++)
        close(fds[i]);
    end_server(listener);
}
END_TEST

START_TEST(connection_over_the_limit_gets_503) {
    char text[1024];
    begin_server(2);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    int kept[] = {connect_to(port_of(listener)), connect_to(port_of(listener))};
    turn_until_open(2);
    int refused = connect_to(port_of(listener));
    say(refused, REQUEST);
    read_to_end(&server, refused, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 503 ", 13), 0);
    ck_assert_ptr_nonnull(strstr(text, "\r\nRetry-After: 5\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nConnection: close\r\n"));
    const char *body = strstr(text, "\r\n\r\n");
    ck_assert_ptr_nonnull(body);
    ck_assert_uint_eq(strlen(body + 4), strtoul(strstr(text, "Content-Length: ") + 16, NULL, 10));
    ck_assert_uint_eq(atomic_load(&count.refused), 1);
    /* A place that was given back is given out again. */
    close(kept[0]);
    turn_until_open(1);
    say(kept[1], REQUEST);
    read_to_end(&server, kept[1], text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(kept[1]);
    close(refused);
    end_server(listener);
}
END_TEST

/* --- TLS --- */

static struct tls *make_tls(void) {
    char certificate[256], key[256];
    write_pair(directory, "a", make_ec_key(), "DNS:a.example");
    snprintf(certificate, sizeof(certificate), "%s/a.pem", directory);
    snprintf(key, sizeof(key), "%s/a.key", directory);
    struct tls_certificate files = {certificate, key};
    struct tls_conf conf = {.certificates = &files, .count = 1, .minimum_version = TLS1_2_VERSION};
    struct error error;
    size_t which;
    bool is_key;
    tls = tls_create(&conf, &error, &which, &is_key);
    ck_assert_msg(tls != NULL, "%s", error.text);
    reception.accept.ssl_ctx = tls_context(tls);
    return tls;
}

static struct listener *open_tls(void) {
    struct listener_conf conf = {.host = "127.0.0.1", .port = "0", .tls = make_tls()};
    return open_listener(&conf, 1);
}

/* The whole answer to one request over TLS. */
static void ask_over_tls(int fd, char *text, int size) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    int used = 0, got = 0;
    bool asked = false;
    set_nonblocking(fd);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        if (!asked)
            asked = SSL_write(ssl, REQUEST, sizeof(REQUEST) - 1) > 0;
        got = SSL_read(ssl, text + used, size - 1 - used);
        if (got > 0)
            used += got;
        else if (SSL_get_error(ssl, got) == SSL_ERROR_WANT_READ)
            server_turn(&server);
        else
            break;
    }
    text[used] = '\0';
    ck_assert_int_eq(SSL_get_error(ssl, got), SSL_ERROR_ZERO_RETURN);
    SSL_free(ssl);
    SSL_CTX_free(context);
}

START_TEST(tls_listener_answers_over_tls) {
    char text[1024];
    begin_server(10);
    struct listener *listener = open_tls();
    ck_assert_int_eq(strncmp(url_of(listener), "https://127.0.0.1:", 18), 0);
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    ask_over_tls(fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(fd);
    end_server(listener);
}
END_TEST

START_TEST(failed_handshake_is_counted_down) {
    char text[1024];
    begin_server(10);
    struct listener *listener = open_tls();
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    turn_until_open(1);
    say(fd, REQUEST);
    read_to_end(&server, fd, text, sizeof(text));
    turn_until_open(0);
    close(fd);
    end_server(listener);
}
END_TEST

START_TEST(tls_connection_over_the_limit_is_closed) {
    char text[16];
    begin_server(0);
    struct listener *listener = open_tls();
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    ck_assert_uint_eq(read_to_end(&server, fd, text, sizeof(text)), 0);
    close(fd);
    end_server(listener);
}
END_TEST

/* The handshake began before the stop. */
START_TEST(handshake_survives_stop_and_close) {
    char text[1024];
    begin_server(10);
    struct listener *listener = open_tls();
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    turn_until_open(1);
    listener_stop(listener, server.loop, false);
    listener_close(listener);
    ask_over_tls(fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(fd);
    turn_until_open(0);
    crowd_free(reception.crowd);
    tls_free(tls);
    server_end(&server);
}
END_TEST

/* --- stopping --- */

START_TEST(stop_refuses_new_connections_and_keeps_old_ones) {
    char text[1024];
    begin_server(10);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    turn_until_open(1);
    struct sockaddr_storage where;
    socklen_t size = sizeof(where);
    ck_assert_int_eq(getpeername(fd, (struct sockaddr *)&where, &size), 0);
    listener_stop(listener, server.loop, false);
    listener_stop(listener, server.loop, false);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(late, (struct sockaddr *)&where, size), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    say(fd, REQUEST);
    read_to_end(&server, fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(late);
    close(fd);
    end_server(listener);
}
END_TEST

/* --- descriptors run out --- */

/* Fills the descriptor table but for free_ones; returns how many were opened, the first of them in
 * *first. */
static size_t fill_descriptors(int *opened, size_t most, size_t free_ones) {
    size_t filled = 0;
    while (filled < most && (opened[filled] = dup(0)) != -1)
        filled++;
    ck_assert_uint_lt(filled, most);
    ck_assert_int_eq(errno, EMFILE);
    for (; free_ones > 0; free_ones--)
        close(opened[--filled]);
    return filled;
}

static size_t read_log(int log, char *text, size_t size) {
    ssize_t got = pread(log, text, size - 1, 0);
    ck_assert_int_ge(got, 0);
    text[got] = '\0';
    return (size_t)got;
}

START_TEST(descriptor_exhaustion_pauses_accepting) {
    char text[2048];
    int opened[128];
    struct rlimit limit = {100, 100};
    begin_server(1000);
    char path[256];
    snprintf(path, sizeof(path), "%s/log", directory);
    int log = open(path, O_CREAT | O_RDWR, 0600);
    log_open(dup(log));
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    server_turn(&server);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    size_t filled = fill_descriptors(opened, 128, 1);
    int fd = connect_to(port_of(listener)); /* takes the last one */
    say(fd, REQUEST);
    server_turn(&server);
    size_t logged = read_log(log, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(text, "Too many open files"));
    /* Tried again and again, silently. */
    uint64_t before = 0;
    for (int i = 0; i < 5; i++) {
        loop_skip(server.loop, 500);
        before = loop_now(server.loop);
        server_turn(&server);
        server_turn(&server);
    }
    ck_assert_uint_eq(read_log(log, text, sizeof(text)), logged);
    ck_assert_uint_eq(atomic_load(&count.open), 0);
    /* Paused: what could be accepted now waits until the pause of 200 ms is over. */
    close(opened[--filled]);
    server_turn(&server);
    if (loop_now(server.loop) - before < 200)
        ck_assert_uint_eq(atomic_load(&count.open), 0);
    read_to_end(&server, fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(fd);
    end_server(listener);
}
END_TEST

/* --- clients that do not read --- */

/* A connection of which the server has more to write than the kernel takes. */
static int begin_stall(struct listener *listener, const char *request) {
    body_size = 48 << 20;
    int fd = connect_to(port_of(listener));
    say(fd, request);
    turn_until_open(1);
    for (int i = 0; i < 20; i++)
        server_turn(&server);
    return fd;
}

/* The loop's clock goes on by this many sweeps. */
static void let_pass(int sweeps) {
    for (int i = 0; i < sweeps; i++) {
        loop_skip(server.loop, 5000);
        server_turn(&server);
    }
}

START_TEST(client_that_does_not_read_is_reset) {
    char byte;
    begin_server(10);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    int fd = begin_stall(listener, REQUEST);
    let_pass(12);
    ck_assert_uint_eq(atomic_load(&count.open), 1);
    let_pass(2);
    turn_until_open(0);
    ck_assert_uint_eq(atomic_load(&count.stalled), 1);
    ssize_t got;
    while ((got = recv(fd, &byte, 1, 0)) == 1)
        continue;
    ck_assert_int_eq(got, -1);
    ck_assert_int_eq(errno, ECONNRESET);
    close(fd);
    end_server(listener);
}
END_TEST

START_TEST(tls_client_that_does_not_read_is_reset) {
    begin_server(10);
    struct listener *listener = open_tls();
    listener_start(listener, server.loop, &reception, &count);
    body_size = 16 << 20;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    int fd = connect_to(port_of(listener)), wrote = 0;
    set_nonblocking(fd);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    for (int turn = 0; turn < TURNS_MAX && wrote <= 0; turn++) {
        wrote = SSL_write(ssl, REQUEST, sizeof(REQUEST) - 1);
        server_turn(&server);
    }
    ck_assert_int_gt(wrote, 0);
    let_pass(14);
    turn_until_open(0);
    ck_assert_uint_eq(atomic_load(&count.stalled), 1);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    end_server(listener);
}
END_TEST

/* Reads a little between the sweeps, so that the peer's acknowledged bytes move. */
START_TEST(slow_reader_is_left_alone) {
    static char some[512 << 10];
    begin_server(10);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    int fd = begin_stall(listener, REQUEST);
    for (int i = 0; i < 24; i++) {
        for (size_t used = 0; used < sizeof(some);) {
            ssize_t got = recv(fd, some, sizeof(some) - used, MSG_DONTWAIT);
            ck_assert(got > 0 || (got == -1 && errno == EAGAIN));
            used += got > 0 ? (size_t)got : 0;
            server_turn(&server);
        }
        let_pass(1);
    }
    ck_assert_uint_eq(atomic_load(&count.stalled), 0);
    ck_assert_uint_eq(atomic_load(&count.open), 1);
    close(fd);
    end_server(listener);
}
END_TEST

START_TEST(idle_connection_is_left_alone) {
    char text[1024];
    begin_server(10);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    say(fd, REQUEST_AND_STAY);
    read_until(&server, fd, "xxxxx", text, sizeof(text));
    let_pass(30);
    ck_assert_uint_eq(atomic_load(&count.stalled), 0);
    ck_assert_uint_eq(atomic_load(&count.open), 1);
    close(fd);
    end_server(listener);
}
END_TEST

START_TEST(stalls_may_take_as_long_as_was_allowed) {
    begin_server(10);
    progress_allow_stall(10000);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    int fd = begin_stall(listener, REQUEST);
    let_pass(2);
    ck_assert_uint_eq(atomic_load(&count.open), 1);
    let_pass(2);
    turn_until_open(0);
    ck_assert_uint_eq(atomic_load(&count.stalled), 1);
    close(fd);
    end_server(listener);
}
END_TEST

/* --- requests that come too slowly --- */

#define SLOWEST 500

static struct listener *begin_slow(int *fd) {
    begin_server(10);
    crowd_hurry(reception.crowd, SLOWEST);
    struct listener *listener = open_loopback(1);
    listener_start(listener, server.loop, &reception, &count);
    *fd = connect_to(port_of(listener));
    return listener;
}

static void check_slow_is_refused(struct listener *listener, int fd, const char *piece) {
    char text[2048];
    uint64_t before = limits_hits(LIMIT_SLOW_REQUESTS);
    for (int i = 0; i < 10 && limits_hits(LIMIT_SLOW_REQUESTS) == before; i++) {
        let_pass(1);
        say(fd, piece);
        server_turn(&server);
    }
    ck_assert_uint_eq(limits_hits(LIMIT_SLOW_REQUESTS), before + 1);
    read_to_end(&server, fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 408 ", 13), 0);
    ck_assert_ptr_nonnull(strstr(text, "Connection: close\r\n"));
    turn_until_open(0);
    close(fd);
    end_server(listener);
}

START_TEST(head_that_trickles_gets_408) {
    int fd;
    struct listener *listener = begin_slow(&fd);
    say(fd, "GET / HTTP/1.1\r\n");
    server_turn(&server);
    check_slow_is_refused(listener, fd, "X-A: b\r\n");
}
END_TEST

START_TEST(body_that_trickles_gets_408) {
    int fd;
    struct listener *listener = begin_slow(&fd);
    say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    server_turn(&server);
    check_slow_is_refused(listener, fd, "ten bytes ");
}
END_TEST

START_TEST(body_that_comes_steadily_is_left_alone) {
    char text[1024], piece[SLOWEST * 6 + 1];
    int fd;
    struct listener *listener = begin_slow(&fd);
    memset(piece, 'x', sizeof(piece));
    piece[sizeof(piece) - 1] = '\0';
    snprintf(text, sizeof(text),
             "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
             (sizeof(piece) - 1) * 20);
    say(fd, text);
    for (int i = 0; i < 20; i++) {
        say(fd, piece);
        server_turn(&server);
        let_pass(1);
    }
    read_to_end(&server, fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(fd);
    end_server(listener);
}
END_TEST

/* Each look finds half a request, and each time it is another. */
START_TEST(many_requests_are_not_one_slow_one) {
    static const char half[] = "GET / HTTP/1.1\r\nHost: a\r\n";
    char text[4096];
    int fd;
    uint64_t before = limits_hits(LIMIT_SLOW_REQUESTS);
    struct listener *listener = begin_slow(&fd);
    say(fd, half);
    for (int i = 0; i < 8; i++) {
        server_turn(&server);
        let_pass(1);
        say(fd, "\r\n");
        read_until(&server, fd, "xxxxx", text, sizeof(text));
        say(fd, half);
    }
    ck_assert_uint_eq(limits_hits(LIMIT_SLOW_REQUESTS), before);
    ck_assert_uint_eq(atomic_load(&count.open), 1);
    close(fd);
    end_server(listener);
}
END_TEST

/* --- addresses that can't be had --- */

static void expect_no_listener(const struct listener_conf *conf, const char *sentence) {
    struct error error = {"none"};
    struct listener *listener = listener_open(conf, 2, &error);
    ck_assert_ptr_null(listener);
    ck_assert_msg(strstr(error.text, sentence) != NULL, "wanted: %s\ngot: %s", sentence,
                  error.text);
}

START_TEST(port_in_use_is_a_sentence) {
    char sentence[128];
    struct listener *listener = open_loopback(2);
    struct listener_conf same = {.host = "127.0.0.1", .port = port_of(listener)};
    snprintf(sentence, sizeof(sentence), "port %s of 127.0.0.1 is in use", same.port);
    expect_no_listener(&same, sentence);
    struct listener_conf all = {.port = same.port};
    snprintf(sentence, sizeof(sentence), "port %s of this machine is in use", same.port);
    expect_no_listener(&all, sentence);
    listener_close(listener);
}
END_TEST

START_TEST(address_of_another_machine_is_a_sentence) {
    struct listener_conf conf = {.host = "192.0.2.1", .port = "0"};
    expect_no_listener(&conf, "192.0.2.1 is not an address of this machine");
}
END_TEST

START_TEST(name_that_does_not_resolve_is_a_sentence) {
    struct listener_conf conf = {.host = "no host", .port = "0"};
    expect_no_listener(&conf, "no host port 0 is no address to listen on");
}
END_TEST

START_TEST(refusals_of_the_kernel_are_sentences) {
    struct error error;
    ck_assert(!address_explain(EACCES, "127.0.0.1", "80", &error));
    ck_assert_ptr_nonnull(
        strstr(error.text, "port 80 of 127.0.0.1 may not be opened by this user"));
    ck_assert_ptr_nonnull(strstr(error.text, "below 1024"));
    ck_assert(!address_explain(ENOBUFS, "127.0.0.1", "80", &error));
    ck_assert_ptr_nonnull(strstr(error.text, strerror(ENOBUFS)));
}
END_TEST

/* --- which address --- */

START_TEST(all_addresses_are_shown_as_loopback) {
    struct listener_conf conf = {.port = "0"};
    struct listener *listener = open_listener(&conf, 2);
    ck_assert_int_eq(strncmp(url_of(listener), "http://127.0.0.1:", 17), 0);
    close(connect_to(port_of(listener)));
    listener_close(listener);
}
END_TEST

static bool has_ipv6(void) {
    struct sockaddr_in6 where = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool bound = fd != -1 && bind(fd, (struct sockaddr *)&where, sizeof(where)) == 0;
    close(fd);
    return bound;
}

static bool reaches_ipv6(const char *port) {
    struct sockaddr_in6 where = {.sin6_family = AF_INET6,
                                 .sin6_port = htons((in_port_t)strtoul(port, NULL, 10)),
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool connected = fd != -1 && connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0;
    close(fd);
    return connected;
}

START_TEST(all_addresses_are_ipv6_and_ipv4_in_one_socket) {
    struct listener_conf all = {.port = "0"}, v6 = {.host = "::", .port = "0"};
    if (!has_ipv6())
        return;
    struct listener *listener = open_listener(&all, 1);
    ck_assert(reaches_ipv6(port_of(listener)));
    close(connect_to(port_of(listener)));
    listener_close(listener);
    listener = open_listener(&v6, 1);
    ck_assert_int_eq(strncmp(url_of(listener), "http://[::1]:", 13), 0);
    ck_assert(reaches_ipv6(port_of(listener)));
    /* Written out, [::] is IPv6 alone: the other half can be listened on apart. */
    struct listener_conf v4 = {.host = "0.0.0.0", .port = port_of(listener)};
    struct listener *other = open_listener(&v4, 1);
    listener_close(other);
    listener_close(listener);
}
END_TEST

START_TEST(name_stands_for_all_its_addresses) {
    struct listener_conf conf = {.host = "localhost", .port = "0"};
    begin_server(10);
    struct listener *listener = open_listener(&conf, 1);
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to(port_of(listener));
    turn_until_open(1);
    close(fd);
    turn_until_open(0);
    end_server(listener);
}
END_TEST

/* --- threads --- */

struct worker {
    struct listener *listener;
    unsigned index;
    atomic_bool *stop;
    atomic_size_t accepted;
    pthread_t thread;
};

static pthread_mutex_t setting_up = PTHREAD_MUTEX_INITIALIZER;

/* h2o's configuration is read by all contexts, made one after the other. */
static void *work(void *data) {
    struct worker *worker = data;
    h2o_context_t context;
    struct loop *loop = loop_create(worker->index);
    loop_enter(loop);
    pthread_mutex_lock(&setting_up);
    h2o_context_init(&context, loop_h2o(loop), &server.config);
    pthread_mutex_unlock(&setting_up);
    struct connection_count own = {.most = 1000};
    const struct reception here = {.accept = {.ctx = &context, .hosts = server.config.hosts},
                                   .crowd = crowd_create(loop, &own.stalled)};
    listener_start(worker->listener, loop, &here, &own);
    while (!atomic_load(worker->stop)) {
        loop_turn(loop, 10);
        atomic_store(&worker->accepted, atomic_load(&own.open));
    }
    listener_stop(worker->listener, loop, false);
    while (atomic_load(&own.open) != 0)
        loop_turn(loop, 10);
    crowd_free(here.crowd);
    pthread_mutex_lock(&setting_up);
    h2o_context_dispose(&context);
    pthread_mutex_unlock(&setting_up);
    return NULL;
}

/* The kernel's hash spreads them: 400 coins, and 120 heads or fewer is a 1 in 10^15 event. */
START_TEST(connections_spread_over_the_threads) {
    atomic_bool stop = false;
    int fds[400];
    server_configure(&server);
    struct listener *listener = open_loopback(2);
    struct worker workers[2];
    for (unsigned i = 0; i < 2; i++) {
        workers[i] = (struct worker){.listener = listener, .index = i, .stop = &stop};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 400; i++)
        fds[i] = connect_to(port_of(listener));
    size_t first = 0, second = 0;
    for (int i = 0; i < TURNS_MAX && first + second != 400; i++) {
        server_turn(&server);
        first = atomic_load(&workers[0].accepted);
        second = atomic_load(&workers[1].accepted);
    }
    ck_assert_uint_eq(first + second, 400);
    ck_assert_uint_gt(first, 120);
    ck_assert_uint_gt(second, 120);
    for (size_t i = 0; i < 400; i++)
        close(fds[i]);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(workers[i].thread, NULL);
    listener_close(listener);
}
END_TEST

/* --- paths --- */

static char socket_path[256];

static struct listener_conf path_conf(void) {
    snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
    return (struct listener_conf){.unix_path = socket_path, .unix_mode = 0620};
}

static struct listener *open_path(unsigned threads) {
    struct listener_conf conf = path_conf();
    return open_listener(&conf, threads);
}

static int connect_to_path(void) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(where.sun_path, socket_path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    return fd;
}

START_TEST(path_is_served_with_its_mode_and_removed) {
    char text[1024], wanted[512];
    struct stat status;
    begin_server(10);
    struct listener *listener = open_path(3);
    snprintf(wanted, sizeof(wanted), "http+unix:%s", socket_path);
    ck_assert_str_eq(url_of(listener), wanted);
    ck_assert_uint_eq(listener_port(listener), 0);
    ck_assert_int_eq(stat(socket_path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0620);
    listener_start(listener, server.loop, &reception, &count);
    int fd = connect_to_path();
    say(fd, REQUEST);
    read_to_end(&server, fd, text, sizeof(text));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    close(fd);
    end_server(listener);
    ck_assert_int_eq(stat(socket_path, &status), -1);
}
END_TEST

START_TEST(client_of_a_path_that_does_not_read_is_reset) {
    begin_server(10);
    struct listener *listener = open_path(1);
    listener_start(listener, server.loop, &reception, &count);
    body_size = 16 << 20;
    int fd = connect_to_path();
    say(fd, REQUEST);
    turn_until_open(1);
    let_pass(15);
    turn_until_open(0);
    ck_assert_uint_eq(atomic_load(&count.stalled), 1);
    close(fd);
    end_server(listener);
}
END_TEST

START_TEST(stale_socket_is_replaced) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    struct listener_conf conf = path_conf();
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(where.sun_path, socket_path);
    ck_assert_int_eq(bind(dead, (struct sockaddr *)&where, sizeof(where)), 0);
    close(dead);
    struct listener *listener = open_listener(&conf, 1);
    close(connect_to_path());
    listener_close(listener);
}
END_TEST

START_TEST(path_in_use_is_a_sentence) {
    struct listener *listener = open_path(1);
    struct listener_conf conf = path_conf();
    expect_no_listener(&conf, "socket is in use");
    close(connect_to_path());
    listener_close(listener);
}
END_TEST

START_TEST(file_at_the_path_is_kept) {
    struct listener_conf conf = path_conf();
    struct stat status;
    fclose(open_in(directory, "socket", "w"));
    expect_no_listener(&conf, "exists and is no socket");
    ck_assert_int_eq(stat(socket_path, &status), 0);
}
END_TEST

START_TEST(path_that_can_not_be_made_is_a_sentence) {
    struct listener_conf conf = {.unix_path = "/no/such/directory/socket", .unix_mode = 0600};
    expect_no_listener(&conf, "the socket /no/such/directory/socket can't be made");
    char longest[200];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    conf.unix_path = longest;
    expect_no_listener(&conf, "is longer than 107 bytes");
}
END_TEST

START_TEST(socket_of_a_successor_is_not_removed) {
    struct stat status;
    struct listener *listener = open_path(1);
    ck_assert_int_eq(unlink(socket_path), 0);
    struct listener *successor = open_path(1);
    listener_close(listener);
    ck_assert_int_eq(stat(socket_path, &status), 0);
    listener_close(successor);
}
END_TEST

static void add_accepting(TCase *cases) {
    tcase_add_test(cases, connections_are_accepted_counted_and_answered);
    tcase_add_test(cases, flood_is_accepted_whole);
    tcase_add_test(cases, connection_over_the_limit_gets_503);
    tcase_add_test(cases, tls_listener_answers_over_tls);
    tcase_add_test(cases, failed_handshake_is_counted_down);
    tcase_add_test(cases, tls_connection_over_the_limit_is_closed);
    tcase_add_test(cases, handshake_survives_stop_and_close);
    tcase_add_test(cases, stop_refuses_new_connections_and_keeps_old_ones);
    tcase_add_test(cases, descriptor_exhaustion_pauses_accepting);
    tcase_add_test(cases, connections_spread_over_the_threads);
}

static void add_stalls(TCase *cases) {
    tcase_add_test(cases, client_that_does_not_read_is_reset);
    tcase_add_test(cases, tls_client_that_does_not_read_is_reset);
    tcase_add_test(cases, client_of_a_path_that_does_not_read_is_reset);
    tcase_add_test(cases, slow_reader_is_left_alone);
    tcase_add_test(cases, idle_connection_is_left_alone);
    tcase_add_test(cases, stalls_may_take_as_long_as_was_allowed);
    tcase_add_test(cases, head_that_trickles_gets_408);
    tcase_add_test(cases, body_that_trickles_gets_408);
    tcase_add_test(cases, body_that_comes_steadily_is_left_alone);
    tcase_add_test(cases, many_requests_are_not_one_slow_one);
}

static void add_addresses(TCase *cases) {
    tcase_add_test(cases, port_in_use_is_a_sentence);
    tcase_add_test(cases, address_of_another_machine_is_a_sentence);
    tcase_add_test(cases, name_that_does_not_resolve_is_a_sentence);
    tcase_add_test(cases, refusals_of_the_kernel_are_sentences);
    tcase_add_test(cases, all_addresses_are_shown_as_loopback);
    tcase_add_test(cases, all_addresses_are_ipv6_and_ipv4_in_one_socket);
    tcase_add_test(cases, name_stands_for_all_its_addresses);
    tcase_add_test(cases, path_is_served_with_its_mode_and_removed);
    tcase_add_test(cases, stale_socket_is_replaced);
    tcase_add_test(cases, path_in_use_is_a_sentence);
    tcase_add_test(cases, file_at_the_path_is_kept);
    tcase_add_test(cases, path_that_can_not_be_made_is_a_sentence);
    tcase_add_test(cases, socket_of_a_successor_is_not_removed);
}

int main(void) {
    Suite *suite = suite_create("listener");
    TCase *accepting = tcase_create("accepting"), *stalls = tcase_create("stalls");
    TCase *addresses = tcase_create("addresses");
    TCase *const all[] = {accepting, stalls, addresses};
    for (size_t i = 0; i < 3; i++) {
        tcase_set_timeout(all[i], 40);
        tcase_add_checked_fixture(all[i], make_directory, remove_directory);
        suite_add_tcase(suite, all[i]);
    }
    add_accepting(accepting);
    add_stalls(stalls);
    add_addresses(addresses);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
