#include "swarm.h"

#include "clock.h"
#include "upgrade.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS_A_TURN 512
#define MESSAGE_SIZE_MAX ((size_t)64 << 20)
#define CONNECTIONS_AN_ADDRESS 8000
#define FIRST_SOURCE 0x7f010001u /* 127.1.0.1 */

struct swarm {
    const struct options *options;
    const struct swarm_events *events;
    void *arg;
    int epoll;
    SSL_CTX *tls; /* NULL for ws */
    struct connection *connections;
    uint32_t size;
    uint32_t addresses;
    uint32_t open;      /* now */
    uint32_t under_way; /* connecting or in the handshake */
    uint64_t now_ns;
    struct swarm_counts counts;
};

static void note(struct swarm *swarm, const char *what) {
    if (swarm->counts.first_error[0] == '\0')
        snprintf(swarm->counts.first_error, sizeof(swarm->counts.first_error), "%s", what);
}

static void end(struct swarm *swarm, struct connection *connection) {
    if (connection->state == CONNECTION_OPEN) {
        swarm->open--;
        if (!connection->said_close)
            swarm->counts.closed_by_server++;
    } else {
        swarm->under_way--;
        swarm->counts.failed++;
        note(swarm, "the connection ended before the handshake was done");
    }
    connection_stop(connection);
    if (swarm->events->closed != NULL)
        swarm->events->closed(connection, swarm->arg);
}

static void arm(struct swarm *swarm, struct connection *connection) {
    uint32_t wanted = EPOLLIN;
    if (connection->state == CONNECTION_CONNECTING || connection->out.size != 0)
        wanted |= EPOLLOUT;
    if (wanted == connection->armed)
        return;
    struct epoll_event event = {.events = wanted, .data.u32 = connection->index};
    int how = connection->armed == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(swarm->epoll, how, connection->fd, &event) != 0) {
        perror("bench-load: epoll_ctl");
        abort();
    }
    connection->armed = wanted;
}

/* What is queued leaves; a broken connection ends; epoll is told what is awaited. */
static void settle(struct swarm *swarm, struct connection *connection) {
    connection_flush(connection);
    if (connection->failed)
        end(swarm, connection);
    else
        arm(swarm, connection);
}

static void break_off(struct swarm *swarm, struct connection *connection, const char *reason) {
    swarm->counts.broken++;
    note(swarm, reason);
    connection->failed = true;
}

static void on_close_frame(struct swarm *swarm, struct connection *connection,
                           const struct frame *frame) {
    connection->heard_close = true;
    if (connection->said_close) {
        connection->failed = true; /* both said it: no reason to wait for the server's FIN */
        return;
    }
    char text[64];
    swarm->counts.close_code =
        frame->length >= 2 ? (uint16_t)(frame->payload[0] << 8 | frame->payload[1]) : 1005;
    snprintf(text, sizeof(text), "the server closed with %u", swarm->counts.close_code);
    note(swarm, text);
    connection_send(connection, OPCODE_CLOSE, frame->payload, frame->length < 2 ? 0 : 2);
}

static void on_fragment(struct swarm *swarm, struct connection *connection,
                        const struct frame *frame) {
    struct buffer *whole = &connection->fragmented;
    if ((frame->opcode == OPCODE_CONTINUATION) != (connection->fragments != 0)) {
        break_off(swarm, connection, "a fragment stands where none may stand");
        return;
    }
    if (whole->size + frame->length > MESSAGE_SIZE_MAX) {
        break_off(swarm, connection, "a message is larger than 64 MiB");
        return;
    }
    if (connection->fragments == 0)
        connection->fragments = (uint8_t)frame->opcode;
    buffer_append(whole, frame->payload, frame->length);
    if (!frame->final)
        return;
    connection->fragments = 0;
    if (swarm->events->message != NULL)
        swarm->events->message(connection, whole->bytes, whole->size, swarm->arg);
    buffer_free(whole);
}

static void on_frame(struct swarm *swarm, struct connection *connection,
                     const struct frame *frame) {
    switch (frame->opcode) {
    case OPCODE_PING:
        swarm->counts.pings++;
        connection_send(connection, OPCODE_PONG, frame->payload, frame->length);
        return;
    case OPCODE_PONG:
        return;
    case OPCODE_CLOSE:
        on_close_frame(swarm, connection, frame);
        return;
    default:
        if (frame->opcode == OPCODE_CONTINUATION || !frame->final || connection->fragments != 0)
            on_fragment(swarm, connection, frame);
        else if (swarm->events->message != NULL)
            swarm->events->message(connection, frame->payload, frame->length, swarm->arg);
    }
}

/* Returns how many bytes are done with; *needed is what the frame that lacks bytes needs. */
static size_t read_frames(struct swarm *swarm, struct connection *connection, const uint8_t *bytes,
                          size_t size, size_t *needed) {
    size_t done = 0;
    *needed = 0;
    while (done < size && !connection->failed && !connection->heard_close) {
        struct frame frame;
        const char *reason;
        enum frame_state result =
            frame_read(bytes + done, size - done, MESSAGE_SIZE_MAX, &frame, &reason);
        if (result == FRAME_BROKEN)
            break_off(swarm, connection, reason);
        if (result == FRAME_PARTIAL)
            *needed = frame.whole;
        if (result != FRAME_WHOLE)
            break;
        on_frame(swarm, connection, &frame);
        done += frame.whole;
    }
    return done;
}

static size_t read_answer(struct swarm *swarm, struct connection *connection, const uint8_t *bytes,
                          size_t size, size_t *needed) {
    char reason[128];
    size_t head_size = 0;
    *needed = UPGRADE_HEAD_MAX;
    switch (upgrade_answer(bytes, size, &head_size, reason, sizeof(reason))) {
    case UPGRADE_PARTIAL:
        return 0;
    case UPGRADE_REFUSED:
        swarm->counts.refused++;
        note(swarm, reason);
        connection->failed = true;
        return 0;
    case UPGRADE_DONE:
        break;
    }
    connection->state = CONNECTION_OPEN;
    swarm->open++;
    swarm->under_way--;
    swarm->counts.opened++;
    if (swarm->events->open != NULL)
        swarm->events->open(connection, swarm->arg);
    return head_size + read_frames(swarm, connection, bytes + head_size, size - head_size, needed);
}

static void on_readable(struct swarm *swarm, struct connection *connection) {
    bool full = true;
    while (full && !connection->failed) {
        size_t size, needed;
        uint8_t *bytes = connection_read(connection, &size, &full);
        if (size == 0)
            break;
        swarm->now_ns = clock_now_ns();
        size_t done = connection->state == CONNECTION_UPGRADING
                          ? read_answer(swarm, connection, bytes, size, &needed)
                          : read_frames(swarm, connection, bytes, size, &needed);
        connection_keep(connection, done, size, needed);
    }
}

static uint32_t room_of(const struct swarm *swarm, uint32_t index) {
    const struct options *options = swarm->options;
    if (options->mode == MODE_FANOUT)
        return index / (uint32_t)options->members;
    return index % (uint32_t)options->rooms;
}

static void say_hello(struct swarm *swarm, struct connection *connection) {
    connection->state = CONNECTION_UPGRADING;
    upgrade_request(&connection->out, swarm->options, room_of(swarm, connection->index));
}

static void on_event(struct swarm *swarm, struct connection *connection, uint32_t events) {
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (connection->state == CONNECTION_CONNECTING) {
        if ((events & (EPOLLERR | EPOLLHUP)) != 0)
            connection->failed = true;
        else if (connection->ssl != NULL)
            connection->state = CONNECTION_SECURING;
        else
            say_hello(swarm, connection);
    }
    if (connection->state == CONNECTION_SECURING && !connection->failed &&
        connection_secure(connection)) {
        swarm->counts.tls_version = SSL_get_version(connection->ssl);
        swarm->counts.tls_cipher = SSL_get_cipher_name(connection->ssl);
        say_hello(swarm, connection);
    }
    if (connection->state >= CONNECTION_UPGRADING && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        on_readable(swarm, connection);
    settle(swarm, connection);
}

void swarm_connect(struct swarm *swarm, struct connection *connection) {
    uint32_t source = FIRST_SOURCE + connection->index % swarm->addresses;
    swarm->under_way++;
    if (!connection_start(connection, swarm->options, source, swarm->tls)) {
        char text[160];
        snprintf(text, sizeof(text), "connecting: %s", strerror(errno));
        note(swarm, text);
        swarm->under_way--;
        swarm->counts.failed++;
        return;
    }
    connection->started_ns = clock_now_ns();
    arm(swarm, connection);
}

void swarm_flush(struct swarm *swarm, struct connection *connection) {
    if (connection->state == CONNECTION_OPEN)
        settle(swarm, connection);
}

void swarm_turn(struct swarm *swarm, uint64_t until_ns) {
    struct epoll_event events[EVENTS_A_TURN];
    uint64_t now = clock_now_ns();
    uint64_t wait = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
    int count = epoll_pwait2(swarm->epoll, events, EVENTS_A_TURN, &timeout, NULL);
    if (count < 0 && errno != EINTR) {
        perror("bench-load: epoll_pwait2");
        abort();
    }
    swarm->now_ns = clock_now_ns();
    for (int i = 0; i < count; i++)
        on_event(swarm, &swarm->connections[events[i].data.u32], events[i].events);
}

static bool give_up(const struct swarm *swarm, const char *why) {
    fprintf(stderr, "bench-load: %u of %u connections are open: %s%s%s\n", swarm->open, swarm->size,
            why, swarm->counts.first_error[0] != '\0' ? ": " : "", swarm->counts.first_error);
    return false;
}

bool swarm_open(struct swarm *swarm, uint32_t count) {
    uint64_t patience_ns = (uint64_t)swarm->options->patience_ms * 1000000u;
    uint64_t give_up_ns = clock_now_ns() + patience_ns;
    uint32_t next = swarm->open;
    while (swarm->open < count) {
        uint32_t open_before = swarm->open;
        while (next < count && swarm->under_way < (uint32_t)swarm->options->burst &&
               swarm->counts.failed == 0)
            swarm_connect(swarm, &swarm->connections[next++]);
        swarm_turn(swarm, give_up_ns);
        if (swarm->counts.failed != 0 || swarm->counts.closed_by_server != 0)
            return give_up(swarm, "one ended");
        if (swarm->open > open_before)
            give_up_ns = clock_now_ns() + patience_ns;
        else if (clock_now_ns() >= give_up_ns)
            return give_up(swarm, "nothing came for --patience-ms");
    }
    return true;
}

static SSL_CTX *make_tls(const struct options *options) {
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || (options->ciphersuites[0] != '\0' &&
                        SSL_CTX_set_ciphersuites(tls, options->ciphersuites) != 1)) {
        fprintf(stderr, "bench-load: '%s' names no TLS 1.3 suite\n", options->ciphersuites);
        SSL_CTX_free(tls);
        return NULL;
    }
    /* The server is on this machine and its certificate signed by itself. */
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    return tls;
}

static bool raise_descriptors(uint32_t connections) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (connections + 16 <= limit.rlim_cur)
        return true;
    fprintf(stderr, "bench-load: %u connections need %u descriptors, and %llu are allowed\n",
            connections, connections + 16, (unsigned long long)limit.rlim_cur);
    return false;
}

struct swarm *swarm_new(const struct options *options, const struct swarm_events *events,
                        void *arg) {
    uint32_t size = (uint32_t)options_connections(options);
    if (!raise_descriptors(size))
        return NULL;
    struct swarm *swarm = calloc(1, sizeof(*swarm));
    struct connection *connections = calloc(size, sizeof(*connections));
    if (swarm == NULL || connections == NULL)
        abort();
    for (uint32_t i = 0; i < size; i++)
        connections[i].index = i;
    *swarm = (struct swarm){.options = options,
                            .events = events,
                            .arg = arg,
                            .epoll = epoll_create1(EPOLL_CLOEXEC),
                            .connections = connections,
                            .size = size,
                            .addresses = (uint32_t)options->addresses};
    if (swarm->addresses == 0)
        swarm->addresses = 1 + size / CONNECTIONS_AN_ADDRESS;
    if (options->tls && (swarm->tls = make_tls(options)) == NULL) {
        swarm_free(swarm);
        return NULL;
    }
    return swarm;
}

void swarm_free(struct swarm *swarm) {
    if (swarm == NULL)
        return;
    for (uint32_t i = 0; i < swarm->size; i++)
        connection_stop(&swarm->connections[i]);
    SSL_CTX_free(swarm->tls);
    close(swarm->epoll);
    free(swarm->connections);
    free(swarm);
}

struct connection *swarm_connection(struct swarm *swarm, uint32_t index) {
    return &swarm->connections[index];
}

const struct swarm_counts *swarm_counts(const struct swarm *swarm) { return &swarm->counts; }

uint64_t swarm_now(const struct swarm *swarm) { return swarm->now_ns; }
