#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "support/certificate.h"
#include "support/deflate_peer.h"
#include "support/wire.h"
#include "websocket/h2o_transport.h"
#include "websocket/plain_transport.h"
#include "websocket/session.h"

/* Both transports. Each test runs over plain sockets with system calls, over TLS, and over plain
 * sockets with io_uring where the kernel allows it. */
#define IS_TLS (_i == 1)
#define HAS_RING (_i == 2)

/* Bounds every wait: turns of at most 10 ms. */
#define TURNS_MAX 2000

#define REQUEST "GET /ws/ HTTP/1.1\r\n\r\n"

static struct loop *loop;
static struct session_terms terms;
static struct agreement agreement; /* none, unless a case says so */
static struct session *session;    /* NULL once `closed` was told */
static h2o_socket_t *server;       /* NULL when it has left h2o */
static int server_fd;
static SSL_CTX *server_context, *client_context;

/* What the owner heard. */
static unsigned messages;
static size_t message_bytes, bytes_in_turn, input_size_most;
static uint32_t checksum;
static char first_message[64];
static int closed_code, closed_times, socket_closed_times, stalls;
static bool echoes;

/* The client: its socket, and what has arrived there. */
static int client;
static SSL *client_ssl;
static struct wire arrived;
static bool client_at_end, client_was_reset;
static int arrived_in_reads;

static uint32_t sum(uint32_t before, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        before = before * 31 + data[i];
    return before;
}

static void message(struct session *teller, enum opcode kind, const uint8_t *data, size_t size) {
    ck_assert_ptr_eq(teller, session);
    if (messages++ == 0)
        snprintf(first_message, sizeof(first_message), "%.*s", (int)(size < 60 ? size : 60),
                 (const char *)data);
    message_bytes += size;
    bytes_in_turn += size;
    checksum = sum(checksum, data, size);
    if (server != NULL && server->input->size > input_size_most)
        input_size_most = server->input->size;
    if (echoes) {
        struct frame *frame = frame_create(kind, data, size);
        ck_assert_int_eq(session_send(session, frame), SESSION_SENT);
        frame_unref(frame);
    }
}

static void unblocked(struct session *teller, uint64_t dropped) {
    ck_assert_ptr_eq(teller, session);
    (void)dropped;
}

static void closed(struct session *teller, int code, const char *reason, size_t reason_size) {
    ck_assert_ptr_eq(teller, session);
    (void)reason;
    (void)reason_size;
    closed_code = code;
    closed_times++;
    session = NULL;
}

static void released(struct session *gone) { free(gone); }

static const struct session_events events = {message, unblocked, closed, released};

static void on_socket_closed(void *data) {
    (void)data;
    socket_closed_times++;
}

static void on_taken(struct kept *kept) {
    (void)kept;
    ck_assert_int_eq(socket_closed_times, 0);
    server = NULL;
}

static void on_kept_closed(struct keeper *keeper) { on_socket_closed(keeper); }

static void on_stalled(struct keeper *keeper) {
    (void)keeper;
    stalls++;
}

static struct keeper keeper = {on_kept_closed, on_stalled};
static unsigned upgraded_times; /* its kept stays in use */

static void on_upgraded(struct kept *kept) {
    (void)kept;
    upgraded_times++;
}

static struct kept kept = {&keeper, on_taken, on_upgraded, NULL};

/* --- certificates --- */

static void sign(SSL_CTX *context) {
    const struct certificate_plan plan = {.key = make_ec_key(), .from = -60, .to = 3600};
    X509 *certificate = make_certificate(&plan);
    ck_assert_int_eq(SSL_CTX_use_certificate(context, certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, plan.key), 1);
    X509_free(certificate);
    EVP_PKEY_free(plan.key);
}

/* --- the two ends --- */

static void turn(void) {
    bytes_in_turn = 0;
    loop_turn(loop, 10);
}

static void connect_ends(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, size), 0);
    int accepted = accept(listener, NULL, NULL);
    ck_assert_int_ge(accepted, 0);
    close(listener);
    fcntl(client, F_SETFL, O_NONBLOCK);
    server =
        h2o_evloop_socket_create(loop_h2o(loop), accepted, H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    server_fd = accepted;
    server->on_close.cb = on_socket_closed;
    server->on_close.data = &kept;
}

static void on_handshaken(h2o_socket_t *socket, const char *error) {
    ck_assert_msg(error == NULL, "%s", error);
    *(bool *)socket->data = true;
}

static void shake_hands(void) {
    bool done = false;
    int result = 0;
    server_context = SSL_CTX_new(TLS_server_method());
    client_context = SSL_CTX_new(TLS_client_method());
    sign(server_context);
    server->data = &done;
    h2o_socket_ssl_handshake(server, server_context, NULL, on_handshaken);
    client_ssl = SSL_new(client_context);
    SSL_set_fd(client_ssl, client);
    SSL_set_connect_state(client_ssl);
    for (int i = 0; (!done || result != 1) && i < TURNS_MAX; i++) {
        result = SSL_do_handshake(client_ssl);
        turn();
    }
    ck_assert(done && result == 1);
}

/* Sends what it can. */
static size_t client_send(const uint8_t *data, size_t size) {
    if (client_ssl == NULL) {
        ssize_t sent = send(client, data, size, MSG_NOSIGNAL);
        return sent < 0 ? 0 : (size_t)sent;
    }
    SSL_set_mode(client_ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int sent = SSL_write(client_ssl, data, (int)(size < 16384 ? size : 16384));
    return sent < 0 ? 0 : (size_t)sent;
}

static void client_receive(void) {
    static uint8_t buffer[65536];
    for (;;) {
        ssize_t size = client_ssl == NULL ? recv(client, buffer, sizeof(buffer), 0)
                                          : SSL_read(client_ssl, buffer, sizeof(buffer));
        if (size > 0) {
            wire_raw(&arrived, buffer, (size_t)size);
            arrived_in_reads++;
            continue;
        }
        int tls_error = client_ssl == NULL ? 0 : SSL_get_error(client_ssl, (int)size);
        if (errno == ECONNRESET)
            client_was_reset = true;
        if (client_ssl == NULL ? size == 0 || errno != EAGAIN : tls_error != SSL_ERROR_WANT_READ)
            client_at_end = true;
        return;
    }
}

static void send_all(const struct wire *wire) {
    size_t sent = 0;
    for (int i = 0; sent < wire->size && i < TURNS_MAX * 10; i++) {
        size_t now = client_send(wire->data + sent, wire->size - sent);
        sent += now;
        if (now == 0)
            turn();
    }
    ck_assert_uint_eq(sent, wire->size);
}

static void send_frame(uint8_t first, const void *payload, size_t size) {
    struct wire wire = {0};
    wire_frame(&wire, first, payload, size);
    send_all(&wire);
    wire_free(&wire);
}

static void send_text(const char *text) { send_frame(0x81, text, strlen(text)); }

/* Turns until the condition holds. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (int waited = 0; !(condition) && waited < TURNS_MAX; waited++)                         \
            turn();                                                                                \
        ck_assert_msg(condition, "waited in vain for " #condition);                                \
    } while (0)

static bool has_arrived(const char *bytes, size_t size) {
    client_receive();
    return arrived.size >= size && memcmp(arrived.data, bytes, size) == 0;
}

static bool is_at_end(void) {
    client_receive();
    return client_at_end;
}

/* What h2o does for an upgrade: reads the request, and stops. */
static void on_request(h2o_socket_t *socket, const char *error) {
    ck_assert_msg(error == NULL, "%s", error);
    if (socket->input->size >= strlen(REQUEST))
        h2o_socket_read_stop(socket);
}

/* Connected, the request read by h2o, the session attached. with_it: frames that the client sends
 * at once. */
static void open_session(int _i, const struct wire *with_it) {
    struct wire wire = {0};
    bool tls = IS_TLS;
    plain_transport_choose(HAS_RING ? BATCH_RING : BATCH_CALLS);
    connect_ends();
    if (tls)
        shake_hands();
    wire_raw(&wire, REQUEST, strlen(REQUEST));
    wire_raw(&wire, with_it->data, with_it->size);
    h2o_socket_read_start(server, on_request);
    send_all(&wire);
    WAIT_FOR(server->input->size >= wire.size);
    wire_free(&wire);
    session = malloc(sizeof(*session));
    ck_assert_ptr_nonnull(session);
    session_begin(session, &terms);
    session_agree(session, &agreement);
    if (tls)
        h2o_transport_attach(session, server, strlen(REQUEST));
    else
        plain_transport_attach(session, server, strlen(REQUEST));
    ck_assert(tls == (server != NULL));
    ck_assert_uint_eq(upgraded_times, tls);
}

static void open_plainly(int _i) {
    struct wire nothing = {0};
    open_session(_i, &nothing);
}

static void setup(void) {
    signal(SIGPIPE, SIG_IGN);
    loop = loop_create(0);
    loop_enter(loop);
    terms = (struct session_terms){.events = &events,
                                   .message_bytes_max = 2000000,
                                   .queue_bytes_max = 8000000,
                                   .close_ms = 5000};
}

static void teardown(void) {
    if (session != NULL)
        session_abort(session);
    WAIT_FOR(session == NULL && socket_closed_times == 1);
    ck_assert_int_eq(closed_times, 1);
    turn();
    SSL_free(client_ssl);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    close(client);
    wire_free(&arrived);
    plain_transport_free(loop);
    loop_free(loop);
}

/* --- input --- */

START_TEST(frames_that_came_with_the_handshake_are_read) {
    struct wire early = {0};
    wire_frame(&early, 0x81, "early", 5);
    open_session(_i, &early);
    ck_assert_uint_eq(messages, 0);
    WAIT_FOR(messages == 1);
    ck_assert_str_eq(first_message, "early");
    send_text("later");
    WAIT_FOR(messages == 2);
    wire_free(&early);
}
END_TEST

START_TEST(half_a_frame_with_the_handshake_is_joined_by_the_rest) {
    struct wire whole = {0}, early, rest;
    wire_frame(&whole, 0x81, "halved", 6);
    early = rest = whole;
    early.size = 4;
    rest.data += 4;
    rest.size -= 4;
    open_session(_i, &early);
    turn();
    if (server != NULL)
        ck_assert_uint_eq(server->input->size, 0);
    send_all(&rest);
    WAIT_FOR(messages == 1);
    ck_assert_str_eq(first_message, "halved");
    wire_free(&whole);
}
END_TEST

START_TEST(a_message_sent_byte_by_byte_arrives) {
    struct wire wire = {0};
    open_plainly(_i);
    wire_frame(&wire, 0x81, "drop by drop", 12);
    for (size_t i = 0; i < wire.size; i++) {
        const struct wire byte = {.data = wire.data + i, .size = 1};
        send_all(&byte);
        turn();
        if (server != NULL)
            ck_assert_uint_eq(server->input->size, 0);
    }
    WAIT_FOR(messages == 1);
    ck_assert_str_eq(first_message, "drop by drop");
    wire_free(&wire);
}
END_TEST

static uint8_t *pattern(size_t size) {
    uint8_t *bytes = malloc(size);
    uint32_t random = 7;
    for (size_t i = 0; i < size; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(random >> 24);
    }
    return bytes;
}

START_TEST(a_large_message_arrives_and_returns_whole) {
    const size_t size = 1500000;
    uint8_t *bytes = pattern(size);
    static const uint8_t header[] = {0x82, 127, 0, 0, 0, 0, 0, 0x16, 0xe3, 0x60};
    echoes = true;
    open_plainly(_i);
    send_frame(0x82, bytes, size);
    WAIT_FOR(messages == 1);
    ck_assert_uint_eq(message_bytes, size);
    ck_assert_uint_eq(checksum, sum(0, bytes, size));
    WAIT_FOR((client_receive(), arrived.size >= sizeof(header) + size));
    ck_assert_mem_eq(arrived.data, header, sizeof(header));
    ck_assert_int_eq(memcmp(arrived.data + sizeof(header), bytes, size), 0);
    free(bytes);
}
END_TEST

/* As fast as the socket takes them. */
enum { MANY = 8000 };

START_TEST(a_fast_peer_is_read_a_bounded_piece_a_turn) {
    struct wire wire = {0};
    char payload[1000];
    size_t sent = 0, most_in_turn = 0;
    memset(payload, 'x', sizeof(payload));
    for (int i = 0; i < MANY; i++)
        wire_frame(&wire, 0x82, payload, sizeof(payload));
    open_plainly(_i);
    for (int i = 0; messages < MANY && i < TURNS_MAX * 10; i++) {
        size_t now;
        while (sent < wire.size && (now = client_send(wire.data + sent, wire.size - sent)) > 0)
            sent += now;
        turn();
        if (bytes_in_turn > most_in_turn)
            most_in_turn = bytes_in_turn;
    }
    ck_assert_uint_eq(messages, MANY);
    /* A turn may hold one event and one call that continues the last. */
    ck_assert_uint_le(most_in_turn, 2 * 64 * 1024);
    ck_assert_uint_le(input_size_most, 512 * 1024);
    if (server != NULL)
        ck_assert_uint_eq(server->input->size, 0);
    wire_free(&wire);
}
END_TEST

/* A few bytes that say much hold the loop no longer than many bytes do. */
START_TEST(a_peer_whose_input_inflates_is_read_a_bounded_piece_a_turn) {
    static char zeros[60000];
    enum { BOMBS = 1000 };
    struct wire wire = {0};
    struct deflate_peer peer;
    size_t sent = 0, most_in_turn = 0;
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, zeros, sizeof(zeros));
    for (int i = 0; i < BOMBS; i++)
        wire_frame(&wire, 0xc2, peer.bytes, peer.size);
    agreement = (struct agreement){.send_bits = 15, .receive_bits = 15};
    open_plainly(_i);
    for (int i = 0; messages < BOMBS && i < TURNS_MAX; i++) {
        sent += client_send(wire.data + sent, wire.size - sent);
        turn();
        if (bytes_in_turn > most_in_turn)
            most_in_turn = bytes_in_turn;
    }
    ck_assert_uint_eq(messages, BOMBS);
    ck_assert_uint_eq(message_bytes, (size_t)BOMBS * sizeof(zeros));
    ck_assert_uint_le(most_in_turn, 2 * (512 * 1024 + sizeof(zeros)));
    deflate_peer_close(&peer);
    wire_free(&wire);
}
END_TEST

START_TEST(what_follows_input_that_inflates_keeps_its_order) {
    static char zeros[60000];
    struct wire wire = {0};
    struct deflate_peer peer;
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, zeros, sizeof(zeros));
    for (int i = 0; i < 30; i++)
        wire_frame(&wire, 0xc2, peer.bytes, peer.size);
    agreement = (struct agreement){.send_bits = 15, .receive_bits = 15};
    open_plainly(_i);
    send_all(&wire);
    WAIT_FOR(messages > 0);
    ck_assert_int_lt(messages, 30); /* the others wait */
    wire_free(&wire);
    wire_close(&wire, 1000, "later");
    send_all(&wire);
    shutdown(client, SHUT_WR);
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(messages, 30);
    ck_assert_int_eq(closed_code, 1000);
    deflate_peer_close(&peer);
    wire_free(&wire);
}
END_TEST

/* --- two sessions --- */

static struct session *other; /* beside `session`, by a transport of the same kind */
static int other_client = -1;

static void other_message(struct session *teller, enum opcode kind, const uint8_t *data,
                          size_t size) {
    ck_assert_ptr_eq(teller, other);
    (void)kind;
    (void)data;
    (void)size;
}

static void other_closed(struct session *teller, int code, const char *reason, size_t size) {
    ck_assert_ptr_eq(teller, other);
    (void)code;
    (void)reason;
    (void)size;
}

static void other_released(struct session *gone) {
    free(gone);
    other = NULL;
}

static void open_other(void) {
    static const struct session_events other_events = {other_message, NULL, other_closed,
                                                       other_released};
    static struct session_terms other_terms;
    int ends[2];
    other_terms = terms;
    other_terms.events = &other_events;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    other_client = ends[1];
    other = malloc(sizeof(*other));
    ck_assert_ptr_nonnull(other);
    session_begin(other, &other_terms);
    plain_transport_attach(
        other, h2o_evloop_socket_create(loop_h2o(loop), ends[0], H2O_SOCKET_FLAG_DONT_READ), 0);
}

static void close_other(void) {
    session_abort(other);
    WAIT_FOR(other == NULL);
    close(other_client);
}

static void say(struct session *to, const char *text) {
    ck_assert_int_eq(session_send_bytes(to, OPCODE_TEXT, text, strlen(text)), SESSION_SENT);
}

static void check_other(const char *wanted) {
    char got[200];
    size_t size = 0;
    ssize_t more;
    turn();
    while ((more = recv(other_client, got + size, sizeof(got) - size, MSG_DONTWAIT)) > 0)
        size += (size_t)more;
    ck_assert_uint_eq(size, strlen(wanted));
    ck_assert_int_eq(memcmp(got, wanted, size), 0);
}

/* What is said by turns to two of them in one turn of the loop reaches each alone and in order. */
START_TEST(answers_to_two_by_turns_do_not_mix) {
    open_plainly(_i);
    open_other();
    turn();
    say(session, "one");
    say(other, "SECRET");
    say(session, "two");
    say(other, "SAUCE");
    say(session, "three");
    WAIT_FOR(has_arrived("\x81\x03one\x81\x03two\x81\x05three", 17));
    check_other("\x81\x06SECRET\x81\x05SAUCE");
    ck_assert_uint_eq(session->counts.bytes_out, 17);
    close_other();
}
END_TEST

/* --- output --- */

static void queue_texts(int count) {
    for (int i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%06d", i);
        struct frame *frame = frame_create(OPCODE_TEXT, text, 6);
        if (session_send(session, frame) != SESSION_SENT)
            ck_abort_msg("message %d was not taken", i);
        frame_unref(frame);
    }
}

static void check_texts(int count) {
    WAIT_FOR((client_receive(), arrived.size >= (size_t)count * 8));
    ck_assert_uint_eq(arrived.size, (size_t)count * 8);
    for (int i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "\x81\x06%06d", i);
        if (memcmp(arrived.data + i * 8, text, 8) != 0)
            ck_abort_msg("message %d is another", i);
    }
}

START_TEST(messages_of_one_turn_arrive_together) {
    open_plainly(_i);
    queue_texts(60);
    turn();
    arrived_in_reads = 0;
    check_texts(60);
    ck_assert_int_eq(arrived_in_reads, 1); /* one record, when it is TLS */
}
END_TEST

START_TEST(small_and_large_messages_keep_their_order) {
    struct wire expected = {0};
    static const size_t sizes[] = {5, 20000, 5, 5, 16000, 300, 40000, 1, 70000, 2};
    open_plainly(_i);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *bytes = pattern(sizes[i]);
        size_t size;
        struct frame *frame = frame_create(OPCODE_BINARY, bytes, sizes[i]);
        const uint8_t *on_wire = frame_bytes(frame, &size);
        wire_raw(&expected, on_wire, size);
        ck_assert_int_eq(session_send(session, frame), SESSION_SENT);
        frame_unref(frame);
        free(bytes);
    }
    WAIT_FOR((client_receive(), arrived.size >= expected.size));
    ck_assert_uint_eq(arrived.size, expected.size);
    ck_assert_int_eq(memcmp(arrived.data, expected.data, expected.size), 0);
    wire_free(&expected);
}
END_TEST

START_TEST(a_peer_that_reads_late_gets_everything) {
    open_plainly(_i);
    queue_texts(100000);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 0);
    check_texts(100000);
    WAIT_FOR(session_queued(session) == 0);
}
END_TEST

/* More than the sockets between hold. */
static void block_output(void) {
    uint8_t *bytes = pattern(7000000);
    struct frame *frame = frame_create(OPCODE_BINARY, bytes, 7000000);
    free(bytes);
    for (int i = 0; i < 3; i++) {
        int size = 8192;
        setsockopt(client, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        setsockopt(server_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    ck_assert_int_eq(session_send(session, frame), SESSION_SENT);
    frame_unref(frame);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 0);
    if (server != NULL)
        ck_assert(h2o_socket_is_writing(server));
    ck_assert_uint_gt(session_queued(session), 1000000);
}

START_TEST(an_abort_with_a_blocked_write_ends_the_connection) {
    open_plainly(_i);
    block_output();
    session_abort(session);
    WAIT_FOR(socket_closed_times == 1);
    ck_assert_int_eq(closed_code, 1006);
}
END_TEST

START_TEST(a_peer_that_leaves_a_blocked_write_is_lost) {
    open_plainly(_i);
    block_output();
    close(client);
    client = -1;
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(closed_code, 1006);
}
END_TEST

START_TEST(a_closing_peer_that_does_not_read_is_cut_in_time) {
    terms.close_ms = 50;
    open_plainly(_i);
    block_output();
    session_close(session, 1001, "", 0);
    WAIT_FOR(socket_closed_times == 1);
    ck_assert_int_eq(closed_code, 1001);
}
END_TEST

/* Of TLS sockets the acceptor takes care. */
START_TEST(a_peer_that_takes_nothing_for_a_minute_is_cut_off) {
    open_plainly(_i);
    block_output();
    for (int i = 0; i < 14; i++) {
        ck_assert_int_eq(stalls, i < 12 ? 0 : stalls);
        loop_skip(loop, 5000);
        turn();
    }
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(stalls, 1);
    ck_assert_int_eq(closed_code, 1006);
}
END_TEST

START_TEST(a_peer_that_takes_little_is_not_cut_off) {
    static uint8_t some[200000];
    open_plainly(_i);
    block_output();
    for (int i = 0; i < 30; i++) {
        ssize_t size = 0;
        WAIT_FOR(size > 0 || (size = recv(client, some, sizeof(some), MSG_DONTWAIT)) > 0);
        turn();
        loop_skip(loop, 5000);
        turn();
    }
    ck_assert_int_eq(stalls, 0);
    ck_assert_int_eq(closed_times, 0);
}
END_TEST

/* --- ends --- */

START_TEST(the_peers_end_of_stream_is_1006) {
    open_plainly(_i);
    turn();
    shutdown(client, SHUT_WR);
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(closed_code, 1006);
}
END_TEST

START_TEST(an_end_of_stream_right_behind_a_message_is_seen) {
    struct wire wire = {0};
    open_plainly(_i);
    wire_frame(&wire, 0x81, "last", 4);
    send_all(&wire); /* both are there when the server looks */
    shutdown(client, SHUT_WR);
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(messages, 1);
    ck_assert_int_eq(closed_code, 1006);
    wire_free(&wire);
}
END_TEST

START_TEST(a_reset_is_1006) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    open_plainly(_i);
    turn();
    setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(client);
    client = -1;
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(closed_code, 1006);
}
END_TEST

START_TEST(bytes_that_are_not_tls_end_the_connection) {
    open_plainly(1);
    turn();
    ck_assert_int_eq(send(client, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    WAIT_FOR(closed_times == 1);
    ck_assert_int_eq(closed_code, 1006);
}
END_TEST

START_TEST(the_server_hangs_up_first_when_both_have_closed) {
    struct wire wire = {0};
    open_plainly(_i);
    wire_close(&wire, 1000, "bye");
    send_all(&wire);
    WAIT_FOR(has_arrived("\x88\x05\x03\xe8"
                         "bye",
                         7));
    WAIT_FOR(is_at_end());
    ck_assert(!client_was_reset);
    ck_assert_int_eq(closed_code, 1000);
    wire_free(&wire);
}
END_TEST

START_TEST(our_close_is_answered_and_the_connection_ends) {
    struct wire wire = {0};
    open_plainly(_i);
    session_close(session, 4000, "", 0);
    WAIT_FOR(has_arrived("\x88\x02\x0f\xa0", 4));
    ck_assert_int_eq(closed_times, 0);
    wire_close(&wire, 4000, "");
    send_all(&wire);
    WAIT_FOR(is_at_end());
    ck_assert_int_eq(closed_code, 4000);
    wire_free(&wire);
}
END_TEST

/* A peer in the midst of sending is told why, and no reset destroys what it was told. */
START_TEST(a_broken_peer_that_still_sends_can_read_why) {
    static const char why[] = "\x88\x10\x03\xea"
                              "unknown opcode";
    uint8_t *bytes = pattern(300000);
    open_plainly(_i);
    send_frame(0x83, "", 0);
    for (int i = 0; i < 10; i++) {
        const struct wire more = {.data = bytes, .size = 300000};
        send_all(&more);
        turn();
    }
    if (!IS_TLS)
        WAIT_FOR(is_at_end()); /* the server has said that it writes no more */
    WAIT_FOR(has_arrived(why, sizeof(why) - 1));
    ck_assert(!client_was_reset);
    ck_assert_uint_eq(arrived.size, sizeof(why) - 1);
    shutdown(client, SHUT_WR);
    WAIT_FOR(socket_closed_times == 1);
    ck_assert_int_eq(closed_code, 1002);
    free(bytes);
}
END_TEST

/* --- mail goes first --- */

#define LETTERS 200 /* more than a turn's portion */

static struct mail letters[LETTERS];
static unsigned letters_read, messages_at_last_letter;

static void read_letter(struct mail *mail, struct loop *to) {
    (void)mail;
    (void)to;
    letters_read++;
    messages_at_last_letter = messages;
}

/* As from another thread: they are in the inbox at once. */
static void post_letters(unsigned count) {
    loop_enter(NULL);
    for (unsigned at = 0; at < count; at++) {
        letters[at] = (struct mail){NULL, read_letter};
        loop_mail(loop, &letters[at]);
    }
    loop_enter(loop);
}

static void post_one(h2o_socket_t *socket, const char *error) {
    (void)error;
    h2o_socket_read_stop(socket);
    post_letters(1);
}

/* h2o calls back accepted sockets last: when another posts a letter in the same turn, the loop's
   own look at its mail is over. */
START_TEST(a_letter_of_this_turn_is_read_before_input) {
    int event = eventfd(1, EFD_NONBLOCK);
    open_plainly(_i);
    turn();
    h2o_socket_t *poster =
        h2o_evloop_socket_create(loop_h2o(loop), event, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(poster, post_one);
    send_text("caused by the letter");
    WAIT_FOR(messages == 1);
    ck_assert_uint_eq(letters_read, 1);
    ck_assert_uint_eq(messages_at_last_letter, 0);
    h2o_socket_close(poster);
}
END_TEST

START_TEST(input_waits_for_more_letters_than_a_turn_reads) {
    open_plainly(_i);
    turn();
    post_letters(LETTERS);
    send_text("caused by the last");
    turn();
    ck_assert_uint_lt(letters_read, LETTERS);
    WAIT_FOR(messages == 1);
    ck_assert_uint_eq(letters_read, LETTERS);
    ck_assert_uint_eq(messages_at_last_letter, 0);
}
END_TEST

/* --- */

static void add(TCase *tests, const TTest *test) {
    tcase_add_loop_test(tests, test, 0, batch_probe() ? 3 : 2);
}

int main(void) {
    Suite *suite = suite_create("plain_transport");
    TCase *tests = tcase_create("plain_transport");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 30);
    add(tests, frames_that_came_with_the_handshake_are_read);
    add(tests, half_a_frame_with_the_handshake_is_joined_by_the_rest);
    add(tests, a_message_sent_byte_by_byte_arrives);
    add(tests, a_large_message_arrives_and_returns_whole);
    add(tests, a_fast_peer_is_read_a_bounded_piece_a_turn);
    add(tests, a_peer_whose_input_inflates_is_read_a_bounded_piece_a_turn);
    add(tests, what_follows_input_that_inflates_keeps_its_order);
    add(tests, answers_to_two_by_turns_do_not_mix);
    add(tests, messages_of_one_turn_arrive_together);
    add(tests, small_and_large_messages_keep_their_order);
    add(tests, a_peer_that_reads_late_gets_everything);
    add(tests, an_abort_with_a_blocked_write_ends_the_connection);
    add(tests, a_peer_that_leaves_a_blocked_write_is_lost);
    add(tests, a_closing_peer_that_does_not_read_is_cut_in_time);
    add(tests, the_peers_end_of_stream_is_1006);
    add(tests, an_end_of_stream_right_behind_a_message_is_seen);
    add(tests, a_reset_is_1006);
    tcase_add_test(tests, bytes_that_are_not_tls_end_the_connection);
    tcase_add_test(tests, a_peer_that_takes_nothing_for_a_minute_is_cut_off);
    tcase_add_test(tests, a_peer_that_takes_little_is_not_cut_off);
    add(tests, the_server_hangs_up_first_when_both_have_closed);
    add(tests, our_close_is_answered_and_the_connection_ends);
    add(tests, a_broken_peer_that_still_sends_can_read_why);
    add(tests, a_letter_of_this_turn_is_read_before_input);
    add(tests, input_waits_for_more_letters_than_a_turn_reads);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
