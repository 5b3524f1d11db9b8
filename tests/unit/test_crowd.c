#include "net/crowd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <h2o/http1.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "net/acceptor.h"
#include "support/certificate.h"
#include "support/h2o_server.h"
#include "support/wire.h"
#include "websocket/h2o_transport.h"
#include "websocket/session.h"

/* Cases that run with TLS too. */
#define IS_TLS (_i == 1)

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define BIG_BYTES (4u << 20)

/* A generation answers with its name. */
struct generation {
    const char *name;
    struct server server;
    struct reception reception;
    SSL_CTX *tls; /* NULL: plain */
};

struct named_handler {
    h2o_handler_t super;
    const char *name;
};

struct client {
    int fd;
    SSL *ssl;
    h2o_socket_t *server; /* as it was admitted; of a moved one not to be used */
};

static struct generation old, young;
static struct crowd *upgraded;
static atomic_size_t stalled;
static SSL_CTX *client_context;
static const struct reception *received_by; /* NULL: the listener has stopped */
static unsigned closed;                     /* connections that the keeper was told of */
static h2o_req_t *held;                     /* waits for the test's answer */
static struct sockaddr_in seen_peer;

static void on_closed(struct keeper *keeper) {
    (void)keeper;
    closed++;
}

static struct keeper keeper = {on_closed, NULL};

static const struct reception *where(struct keeper *asked) {
    ck_assert_ptr_eq(asked, &keeper);
    return received_by;
}

/* --- what is served --- */

static void reply(h2o_req_t *req, const char *text, size_t size) {
    static h2o_generator_t generator = {NULL, NULL};
    h2o_iovec_t body = {(char *)(uintptr_t)text, size};
    req->res.status = 200;
    req->res.content_length = size;
    h2o_start_response(req, &generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
}

static void message(struct session *session, enum opcode kind, const uint8_t *data, size_t size) {
    struct frame *frame = frame_create(kind, data, size);
    ck_assert_int_eq(session_send(session, frame), SESSION_SENT);
    frame_unref(frame);
}

static void unblocked(struct session *session, uint64_t dropped) {
    (void)session;
    (void)dropped;
}

static void session_closed(struct session *session, int code, const char *reason, size_t size) {
    (void)session;
    (void)code;
    (void)reason;
    (void)size;
}

static void released(struct session *session) { free(session); }

static const struct session_events events = {message, unblocked, session_closed, released};
static const struct session_terms terms = {
    .events = &events, .message_bytes_max = 1000, .queue_bytes_max = 10000, .close_ms = 5000};

static void on_upgraded(void *data, h2o_socket_t *socket, size_t reqsize) {
    (void)data;
    ck_assert_ptr_nonnull(socket);
    struct session *session = malloc(sizeof(*session));
    ck_assert_ptr_nonnull(session);
    session_begin(session, &terms);
    h2o_transport_attach(session, socket, reqsize);
}

static void upgrade(h2o_req_t *req) {
    req->res.status = 101;
    req->res.reason = "Switching Protocols";
    h2o_http1_upgrade(req, NULL, 0, on_upgraded, NULL);
}

static void reply_big(h2o_req_t *req) {
    char *body = h2o_mem_alloc_pool(&req->pool, BIG_BYTES);
    memset(body, 'x', BIG_BYTES);
    reply(req, body, BIG_BYTES);
}

static void look_at_peer(h2o_req_t *req) {
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    crowd_peer(req->conn->callbacks->get_socket(req->conn), &peer);
    memcpy(&seen_peer, &peer, sizeof(seen_peer));
}

static int answer(h2o_handler_t *self, h2o_req_t *req) {
    const char *name = ((struct named_handler *)self)->name;
    char text[128];
    look_at_peer(req);
    if (h2o_memis(req->path.base, req->path.len, H2O_STRLIT("/hold"))) {
        held = req;
    } else if (h2o_memis(req->path.base, req->path.len, H2O_STRLIT("/big"))) {
        reply_big(req);
    } else if (h2o_memis(req->path.base, req->path.len, H2O_STRLIT("/ws"))) {
        upgrade(req);
    } else {
        int size = snprintf(text, sizeof(text), "%s %.*s [%.*s]\n", name, (int)req->path.len,
                            req->path.base, (int)req->entity.len, req->entity.base);
        reply(req, h2o_strdup(&req->pool, text, (size_t)size).base, (size_t)size);
    }
    return 0;
}

/* --- generations --- */

static SSL_CTX *make_server_tls(void) {
    const struct certificate_plan plan = {.key = make_ec_key(), .from = -60, .to = 3600};
    X509 *certificate = make_certificate(&plan);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    ck_assert_int_eq(SSL_CTX_use_certificate(context, certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, plan.key), 1);
    X509_free(certificate);
    EVP_PKEY_free(plan.key);
    return context;
}

static void begin_generation(struct generation *generation, const char *name, bool tls) {
    h2o_handler_t *handler =
        h2o_create_handler(generation->server.path, sizeof(struct named_handler));
    handler->on_req = answer;
    ((struct named_handler *)handler)->name = name;
    server_start(&generation->server);
    generation->tls = tls ? make_server_tls() : NULL;
    generation->reception =
        (struct reception){.accept = generation->server.accept,
                           .crowd = crowd_create(generation->server.loop, &stalled)};
    generation->reception.accept.ssl_ctx = generation->tls;
}

static void begin_with(bool tls) {
    server_configure(&old.server);
    server_configure_beside(&young.server, old.server.loop);
    begin_generation(&old, "old", tls);
    begin_generation(&young, "young", tls);
    upgraded = crowd_create(old.server.loop, &stalled);
    client_context = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    received_by = &young.reception;
}

static void turn(void) { server_turn(&old.server); }

/* Turns until the condition holds. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (int waited = 0; !(condition) && waited < TURNS_MAX; waited++)                         \
            turn();                                                                                \
        ck_assert_msg(condition, "waited in vain for " #condition);                                \
    } while (0)

static size_t count_of(const struct generation *generation) {
    return crowd_count(generation->reception.crowd);
}

static void move_idle(void) {
    crowd_move_idle(old.reception.crowd, &old.server.context, where, SIZE_MAX);
}

static bool has_moved(size_t wanted) {
    move_idle();
    return count_of(&young) == wanted;
}

/* Nobody moves, however often it is tried. */
static void expect_to_stay(size_t wanted) {
    for (int i = 0; i < 5; i++) {
        move_idle();
        turn();
    }
    ck_assert_uint_eq(count_of(&old), wanted);
    ck_assert_uint_eq(count_of(&young), 0);
}

static void end_generation(struct generation *generation) {
    ck_assert_uint_eq(count_of(generation), 0);
    crowd_free(generation->reception.crowd);
    SSL_CTX_free(generation->tls);
}

static void end_all(void) {
    WAIT_FOR(count_of(&old) + count_of(&young) + crowd_count(upgraded) == 0);
    end_generation(&old);
    end_generation(&young);
    crowd_free(upgraded);
    SSL_CTX_free(client_context);
    server_dispose(&old.server);
    server_end(&young.server);
}

/* --- clients --- */

static h2o_socket_t *wrap(int fd) {
    return h2o_evloop_socket_create(loop_h2o(old.server.loop), fd,
                                    H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
}

/* Connected to the old generation; with TLS no byte of it has been sent. */
static struct client connect_client(void) {
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    struct client client = {.fd = ends[0], .server = wrap(ends[1])};
    crowd_admit(&old.reception, client.server, (struct newcomer){&keeper, upgraded, NULL, NULL});
    return client;
}

static void shake_hands(struct client *client) {
    int result = 0;
    client->ssl = SSL_new(client_context);
    SSL_set_fd(client->ssl, client->fd);
    SSL_set_connect_state(client->ssl);
    for (int i = 0; result != 1 && i < TURNS_MAX; i++) {
        result = SSL_do_handshake(client->ssl);
        turn();
    }
    ck_assert_int_eq(result, 1);
}

static struct client begin_client(void) {
    struct client client = connect_client();
    if (client_context != NULL)
        shake_hands(&client);
    return client;
}

static void say_bytes(const struct client *client, const void *bytes, size_t size) {
    ssize_t sent = client->ssl == NULL ? send(client->fd, bytes, size, 0)
                                       : SSL_write(client->ssl, bytes, (int)size);
    ck_assert_int_eq(sent, (ssize_t)size);
}

static void say(const struct client *client, const char *text) {
    say_bytes(client, text, strlen(text));
}

/* -1: nothing is there now; 0: the end. */
static int hear(const struct client *client, char *text, size_t room) {
    if (client->ssl == NULL) {
        ssize_t got = recv(client->fd, text, room, 0);
        return got == -1 && errno == ECONNRESET ? 0 : (int)got;
    }
    int got = SSL_read(client->ssl, text, (int)room);
    if (got > 0)
        return got;
    return SSL_get_error(client->ssl, got) == SSL_ERROR_WANT_READ ? -1 : 0;
}

/* Reads until the text that ends with it has come. */
static void expect(const struct client *client, const char *wanted) {
    char text[4096] = "";
    size_t used = 0;
    for (int i = 0; i < TURNS_MAX && strstr(text, wanted) == NULL; i++) {
        int got = hear(client, text + used, sizeof(text) - 1 - used);
        ck_assert_msg(got != 0, "the connection has ended behind: %s", text);
        used += got > 0 ? (size_t)got : 0;
        text[used] = '\0';
        if (got < 0)
            turn();
    }
    ck_assert_msg(strstr(text, wanted) != NULL, "no \"%s\" in: %s", wanted, text);
}

static void expect_end(const struct client *client) {
    char text[65536];
    int got = -1;
    for (int i = 0; i < TURNS_MAX && got != 0; i++) {
        got = hear(client, text, sizeof(text));
        if (got < 0)
            turn();
    }
    ck_assert_int_eq(got, 0);
}

static void ask(const struct client *client, const char *wanted) {
    say(client, GET);
    expect(client, wanted);
}

static void end_client(const struct client *client) {
    SSL_free(client->ssl);
    close(client->fd);
}

/* --- who moves --- */

START_TEST(connections_at_rest_move_and_serve_on) {
    begin_with(IS_TLS);
    struct client fresh = begin_client(), used = begin_client();
    ask(&used, "old / []\n");
    ck_assert_uint_eq(count_of(&old), 2);
    WAIT_FOR(has_moved(2));
    ck_assert_uint_eq(count_of(&old), 0);
    for (int i = 0; i < 2; i++) {
        ask(&fresh, "young / []\n");
        ask(&used, "young / []\n");
    }
    ck_assert_uint_eq(closed, 0);
    end_client(&fresh);
    end_client(&used);
    WAIT_FOR(closed == 2);
    end_all();
}
END_TEST

/* What is left of the old generation is gone while they are served. */
START_TEST(the_old_generation_may_go_when_all_have_moved) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    ask(&client, "old / []\n");
    WAIT_FOR(has_moved(1));
    end_generation(&old);
    server_dispose(&old.server);
    for (int i = 0; i < 3; i++)
        ask(&client, "young / []\n");
    end_client(&client);
    WAIT_FOR(closed == 1 && count_of(&young) == 0);
    end_generation(&young);
    crowd_free(upgraded);
    SSL_CTX_free(client_context);
    server_end(&young.server);
}
END_TEST

START_TEST(so_many_are_looked_at_and_the_others_later) {
    struct client clients[5];
    begin_with(false);
    for (size_t i = 0; i < 5; i++)
        clients[i] = begin_client();
    say(&clients[0], "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(held != NULL);
    crowd_move_idle(old.reception.crowd, &old.server.context, where, 2);
    ck_assert_uint_eq(count_of(&young), 1); /* the other one that was looked at waits */
    crowd_move_idle(old.reception.crowd, &old.server.context, where, 2);
    ck_assert_uint_eq(count_of(&young), 3);
    crowd_move_idle(old.reception.crowd, &old.server.context, where, 2);
    ck_assert_uint_eq(count_of(&young), 4);
    ck_assert_uint_eq(count_of(&old), 1);
    reply(held, "late", 4);
    expect(&clients[0], "late");
    for (size_t i = 0; i < 5; i++)
        end_client(&clients[i]);
    end_all();
}
END_TEST

START_TEST(nobody_moves_once_the_listener_has_stopped) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    ask(&client, "old / []\n");
    received_by = NULL;
    expect_to_stay(1);
    received_by = &old.reception; /* where it is already */
    expect_to_stay(1);
    ask(&client, "old / []\n");
    end_client(&client);
    end_all();
}
END_TEST

START_TEST(a_connection_keeps_its_peer) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(4711)};
    peer.sin_addr.s_addr = htonl(0xc0000207); /* 192.0.2.7, as a PROXY line says */
    struct sockaddr_in client_of_peer = {.sin_family = AF_INET}; /* as a request may say later */
    begin_with(false);
    struct client client = connect_client(), asked = connect_client();
    h2o_socket_setpeername(client.server, (struct sockaddr *)&peer, sizeof(peer));
    h2o_socket_setpeername(asked.server, (struct sockaddr *)&peer, sizeof(peer));
    ask(&asked, "old / []\n"); /* the crowd knows it then */
    ck_assert_mem_eq(&seen_peer, &peer, sizeof(peer));
    h2o_socket_setpeername(asked.server, (struct sockaddr *)&client_of_peer, sizeof(peer));
    WAIT_FOR(has_moved(2));
    memset(&seen_peer, 0, sizeof(seen_peer));
    ask(&client, "young / []\n");
    ck_assert_mem_eq(&seen_peer, &peer, sizeof(peer));
    memset(&seen_peer, 0, sizeof(seen_peer));
    ask(&asked, "young / []\n");
    ck_assert_mem_eq(&seen_peer, &peer, sizeof(peer));
    end_client(&client);
    end_client(&asked);
    end_all();
}
END_TEST

/* --- who stays --- */

START_TEST(a_body_that_is_on_its_way_is_the_old_ones) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    say(&client, "POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    WAIT_FOR(client.server->input->size > 0);
    expect_to_stay(1);
    size_t head = client.server->input->size;
    say(&client, "01234");
    WAIT_FOR(client.server->input->size == head + 5);
    expect_to_stay(1);
    say(&client, "56789");
    expect(&client, "old /in [0123456789]\n");
    WAIT_FOR(has_moved(1));
    ask(&client, "young / []\n");
    end_client(&client);
    end_all();
}
END_TEST

START_TEST(a_body_in_chunks_is_the_old_ones) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    say(&client, "POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    WAIT_FOR(client.server->input->size > 0);
    expect_to_stay(1);
    say(&client, "5\r\n01234\r\n");
    expect_to_stay(1);
    say(&client, "5\r\n56789\r\n0\r\n\r\n");
    expect(&client, "old /in [0123456789]\n");
    end_client(&client);
    end_all();
}
END_TEST

START_TEST(half_a_head_is_the_old_ones) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    say(&client, "GE");
    WAIT_FOR(client.server->input->size == 2);
    expect_to_stay(1);
    say(&client, "T /half HT");
    WAIT_FOR(client.server->input->size == 12);
    expect_to_stay(1);
    say(&client, "TP/1.1\r\nHost: a\r\n\r\n");
    expect(&client, "old /half []\n");
    end_client(&client);
    end_all();
}
END_TEST

/* Bytes until the answer's end, which is as long as was said. */
static void expect_big(const struct client *client) {
    static char text[BIG_BYTES + 4096];
    size_t used = 0;
    const char *body = NULL;
    for (int i = 0; i < 100 * TURNS_MAX; i++) {
        int got = hear(client, text + used, sizeof(text) - 1 - used);
        ck_assert_int_ne(got, 0);
        used += got > 0 ? (size_t)got : 0;
        text[used] = '\0';
        body = body != NULL ? body : strstr(text, "\r\n\r\n");
        if (body != NULL && used - (size_t)(body + 4 - text) >= BIG_BYTES)
            break;
        if (got < 0)
            turn();
    }
    ck_assert_ptr_nonnull(body);
    ck_assert_uint_eq(strspn(body + 4, "x"), BIG_BYTES);
    ck_assert_uint_eq(used, (size_t)(body + 4 - text) + BIG_BYTES);
}

START_TEST(an_answer_that_is_on_its_way_comes_whole) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    say(&client, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(h2o_socket_is_writing(client.server));
    expect_to_stay(1);
    expect_big(&client);
    WAIT_FOR(has_moved(1));
    ask(&client, "young / []\n");
    end_client(&client);
    end_all();
}
END_TEST

START_TEST(a_request_behind_another_is_not_lost) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    say(&client, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(held != NULL);
    expect_to_stay(1);
    reply(held, "first\n", 6);
    move_idle();
    expect(&client, "old /second []\n");
    WAIT_FOR(has_moved(1));
    ask(&client, "young / []\n");
    end_client(&client);
    end_all();
}
END_TEST

/* The handshake is not finished: nobody has asked for it in libh2o's lists. */
START_TEST(a_handshake_of_tls_that_has_begun_is_the_old_ones) {
    begin_with(true);
    struct client client = connect_client();
    expect_to_stay(1);
    shake_hands(&client);
    WAIT_FOR(has_moved(1));
    ask(&client, "young / []\n");
    end_client(&client);
    end_all();
}
END_TEST

/* --- descriptors --- */

static size_t count_descriptors(void) {
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void move_from_to(struct generation *from, struct generation *to) {
    received_by = &to->reception;
    crowd_move_idle(from->reception.crowd, &from->server.context, where, SIZE_MAX);
    ck_assert_uint_eq(count_of(from), 0);
    ck_assert_uint_eq(count_of(to), 1);
    turn(); /* libh2o frees the old socket behind its turn */
}

START_TEST(moving_costs_no_descriptor) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    ask(&client, "old / []\n");
    turn();
    size_t before = count_descriptors();
    for (int i = 0; i < 100; i++) {
        move_from_to(&old, &young);
        move_from_to(&young, &old);
    }
    ck_assert_uint_eq(count_descriptors(), before);
    ask(&client, "old / []\n");
    end_client(&client);
    end_all();
}
END_TEST

START_TEST(without_a_descriptor_they_stay_and_are_served) {
    struct rlimit before, none;
    begin_with(IS_TLS);
    struct client client = begin_client();
    ask(&client, "old / []\n");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){3, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    expect_to_stay(1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ask(&client, "old / []\n");
    WAIT_FOR(has_moved(1));
    ask(&client, "young / []\n");
    end_client(&client);
    end_all();
}
END_TEST

/* --- the deadline --- */

static void cut(void) { crowd_cut(old.reception.crowd, &old.server.context); }

static void cut_until_empty(void) {
    for (int i = 0; i < TURNS_MAX && count_of(&old) != 0; i++) {
        cut();
        turn();
    }
    ck_assert_uint_eq(count_of(&old), 0);
}

/* A client that sends "", half a head, half a body, or asks for more than it reads or than it is
   told. */
static const char *const unfinished[] = {
    "",
    "GET /half HT",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234",
    "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
};

#define UNFINISHED (sizeof(unfinished) / sizeof(unfinished[0]))

START_TEST(the_deadline_ends_all_that_are_left) {
    struct client clients[UNFINISHED], silent;
    begin_with(IS_TLS);
    for (size_t i = 0; i < UNFINISHED; i++) {
        clients[i] = begin_client();
        if (unfinished[i][0] != '\0')
            say(&clients[i], unfinished[i]);
    }
    silent = connect_client(); /* with TLS it never shakes hands */
    WAIT_FOR(held != NULL && h2o_socket_is_writing(clients[3].server));
    ck_assert_uint_eq(count_of(&old), UNFINISHED + 1);
    cut_until_empty();
    ck_assert_uint_eq(closed, UNFINISHED + 1);
    for (size_t i = 0; i < UNFINISHED; i++) {
        expect_end(&clients[i]);
        end_client(&clients[i]);
    }
    expect_end(&silent);
    end_client(&silent);
    end_all();
}
END_TEST

START_TEST(who_waits_for_a_handler_is_ended_by_the_second_cut) {
    begin_with(IS_TLS);
    struct client client = begin_client();
    say(&client, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(held != NULL);
    cut();
    for (int i = 0; i < 5; i++)
        turn();
    ck_assert_uint_eq(count_of(&old), 1);
    cut();
    WAIT_FOR(count_of(&old) == 0); /* TLS still says goodbye */
    expect_end(&client);
    end_client(&client);
    end_all();
}
END_TEST

START_TEST(an_empty_crowd_is_cut_without_harm) {
    begin_with(false);
    size_t before = count_descriptors();
    cut();
    cut();
    cut();
    turn();
    ck_assert_uint_eq(count_descriptors(), before);
    end_all();
}
END_TEST

/* --- WebSockets --- */

#define UPGRADE                                                                                    \
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                 \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void expect_echo(const struct client *client, const char *text) {
    struct wire wire = {0};
    wire_frame(&wire, 0x81, text, strlen(text));
    say_bytes(client, wire.data, wire.size);
    wire_free(&wire);
    expect(client, text);
}

START_TEST(a_websocket_over_tls_outlives_its_generation) {
    begin_with(true);
    struct client client = begin_client();
    say(&client, UPGRADE);
    expect(&client, "\r\n\r\n");
    WAIT_FOR(crowd_count(upgraded) == 1);
    ck_assert_uint_eq(count_of(&old), 0);
    expect_echo(&client, "before");
    move_idle();
    cut();
    cut();
    ck_assert_uint_eq(crowd_count(upgraded), 1);
    end_generation(&old);
    server_dispose(&old.server);
    expect_echo(&client, "after");
    ck_assert_uint_eq(closed, 0);
    end_client(&client);
    WAIT_FOR(closed == 1 && crowd_count(upgraded) == 0);
    end_generation(&young);
    crowd_free(upgraded);
    SSL_CTX_free(client_context);
    server_end(&young.server);
}
END_TEST

/* --- with an acceptor --- */

static int listen_on(struct sockaddr_in *address) {
    socklen_t size = sizeof(*address);
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)address, size), 0);
    ck_assert_int_eq(listen(fd, 10), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

static struct client connect_to(const struct sockaddr_in *address) {
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ck_assert_int_eq(connect(client.fd, (const struct sockaddr *)address, sizeof(*address)), 0);
    set_nonblocking(client.fd);
    return client;
}

static void move_accepted(void) {
    crowd_move_idle(old.reception.crowd, &old.server.context, acceptor_reception, SIZE_MAX);
}

START_TEST(an_acceptors_connections_move_until_it_stops) {
    struct sockaddr_in address;
    struct connection_count count = {.most = 10};
    begin_with(false);
    int listening = listen_on(&address);
    const struct acceptor_conf conf = {"test", &old.reception, &count};
    struct acceptor *acceptor = acceptor_create(old.server.loop, &conf, &listening, 1);
    struct client first = connect_to(&address), second = connect_to(&address);
    ask(&first, "old / []\n");
    ask(&second, "old / []\n");
    say(&second, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(held != NULL);
    acceptor_change(acceptor, &young.reception);
    move_accepted();
    ck_assert_uint_eq(count_of(&young), 1);
    ask(&first, "young / []\n");
    struct client third = connect_to(&address);
    ask(&third, "young / []\n");
    acceptor_stop(acceptor, false);
    reply(held, "late", 4);
    expect(&second, "late");
    for (int i = 0; i < 5; i++) {
        move_accepted();
        turn();
    }
    ck_assert_uint_eq(count_of(&old), 1);
    ck_assert_uint_eq(atomic_load(&count.open), 3);
    end_client(&first);
    end_client(&second);
    end_client(&third);
    WAIT_FOR(atomic_load(&count.open) == 0);
    end_all();
}
END_TEST

static void add_moving(TCase *cases) {
    tcase_add_loop_test(cases, connections_at_rest_move_and_serve_on, 0, 2);
    tcase_add_loop_test(cases, the_old_generation_may_go_when_all_have_moved, 0, 2);
    tcase_add_test(cases, so_many_are_looked_at_and_the_others_later);
    tcase_add_loop_test(cases, nobody_moves_once_the_listener_has_stopped, 0, 2);
    tcase_add_test(cases, a_connection_keeps_its_peer);
    tcase_add_loop_test(cases, moving_costs_no_descriptor, 0, 2);
    tcase_add_loop_test(cases, without_a_descriptor_they_stay_and_are_served, 0, 2);
    tcase_add_test(cases, an_acceptors_connections_move_until_it_stops);
}

static void add_staying(TCase *cases) {
    tcase_add_loop_test(cases, a_body_that_is_on_its_way_is_the_old_ones, 0, 2);
    tcase_add_loop_test(cases, a_body_in_chunks_is_the_old_ones, 0, 2);
    tcase_add_loop_test(cases, half_a_head_is_the_old_ones, 0, 2);
    tcase_add_loop_test(cases, an_answer_that_is_on_its_way_comes_whole, 0, 2);
    tcase_add_loop_test(cases, a_request_behind_another_is_not_lost, 0, 2);
    tcase_add_test(cases, a_handshake_of_tls_that_has_begun_is_the_old_ones);
}

static void add_deadline(TCase *cases) {
    tcase_add_loop_test(cases, the_deadline_ends_all_that_are_left, 0, 2);
    tcase_add_loop_test(cases, who_waits_for_a_handler_is_ended_by_the_second_cut, 0, 2);
    tcase_add_test(cases, an_empty_crowd_is_cut_without_harm);
    tcase_add_test(cases, a_websocket_over_tls_outlives_its_generation);
}

int main(void) {
    Suite *suite = suite_create("crowd");
    TCase *moving = tcase_create("moving"), *staying = tcase_create("staying");
    TCase *deadline = tcase_create("deadline");
    add_moving(moving);
    add_staying(staying);
    add_deadline(deadline);
    suite_add_tcase(suite, moving);
    suite_add_tcase(suite, staying);
    suite_add_tcase(suite, deadline);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
