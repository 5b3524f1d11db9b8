#include "websocket/h2o_transport.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "websocket/plain_transport.h"
#include "websocket/session.h"
#include "websocket/transport.h"

/* What one connection may hand over in a turn, so that a fast peer can't hold the loop. */
#define INPUT_MAX (64 * 1024)
/* The largest TLS record's payload. */
#define RECORD_MAX (16 * 1024)

/* The receive buffer of a TLS socket: h2o reads and decrypts all that has arrived before anybody is
   asked, so this bounds what that can be. (A clamped window would be opened again by the kernel.)
 */
#define TLS_RECEIVE_BYTES (128 * 1024)
/* h2o waits without a timer to send a TLS connection's close_notify. */
#define TLS_FAREWELL_MS 10000

/* h2o holds some KiB for a write until its callback, at the turn's end: of many sockets so many
   write in a turn, and the others in the next ones, with the same memory, which the cache still
   holds. */
#define WRITES_A_TURN 32

struct h2o_transport {
    struct session *session;
    struct loop *loop;
    h2o_socket_t *socket;
    struct loop_entry resume; /* input waits in socket->input */
    h2o_linklist_t turn;      /* among those whose writes wait; else alone */
    bool reading;
    size_t writing; /* bytes of the write under way */
    uint8_t *rest;  /* the start of a frame; NULL mostly */
    size_t rest_size;
};

/* The rest of the last time and new input, side by side; or what is written as one TLS record each.
   Both are used within one call only. */
static _Thread_local uint8_t scratch[SESSION_REST_MAX + INPUT_MAX];

/* --- input --- */

static void keep_rest(struct h2o_transport *transport, const uint8_t *rest, size_t size) {
    free(transport->rest);
    transport->rest = NULL;
    transport->rest_size = size;
    if (size == 0)
        return;
    transport->rest = h2o_mem_alloc(size);
    memcpy(transport->rest, rest, size);
}

/* Where new input goes: behind the rest, in the scratch. */
static uint8_t *place_rest(struct h2o_transport *transport) {
    if (transport->rest_size > 0)
        memcpy(scratch, transport->rest, transport->rest_size);
    return scratch + transport->rest_size;
}

/* Hands over what lies in the scratch, size bytes of it new. Returns how many of these are to be
   given again in the next turn. */
static size_t hand_over(struct h2o_transport *transport, size_t size) {
    size += transport->rest_size;
    size_t used = session_input(transport->session, scratch, size), left = size - used;
    bool has_enough = left > SESSION_REST_MAX;
    keep_rest(transport, scratch + used, has_enough ? 0 : left);
    return has_enough ? left : 0;
}

static void on_gone(struct h2o_transport *transport) {
    h2o_socket_read_stop(transport->socket);
    session_lost(transport->session);
}

/* Hands over input that h2o has buffered. */
static void drain(struct h2o_transport *transport) {
    h2o_socket_t *socket = transport->socket;
    size_t size = socket->input->size < INPUT_MAX ? socket->input->size : INPUT_MAX;
    if (size == 0)
        return;
    memcpy(place_rest(transport), socket->input->bytes, size);
    loop_catch_up_all(transport->loop);
    h2o_buffer_consume(&socket->input, size - hand_over(transport, size));
}

static void read_next_turn(struct h2o_transport *transport) {
    h2o_socket_read_stop(transport->socket);
    loop_queue(transport->loop, LOOP_CALLS, &transport->resume);
}

/* A TLS socket has decrypted input, or none, when no record was whole. */
static void on_decrypted(h2o_socket_t *socket, const char *error) {
    struct h2o_transport *transport = socket->data;
    if (error == NULL && !loop_catch_up(transport->loop)) {
        read_next_turn(transport);
        return;
    }
    drain(transport);
    if (error != NULL)
        on_gone(transport);
    else if (socket->input->size > 0 && transport->reading)
        read_next_turn(transport);
}

/* What h2o has buffered comes first, never inside the session's call. */
static void start_reading(struct h2o_transport *transport) {
    h2o_socket_t *socket = transport->socket;
    if (socket->input->size > 0)
        loop_queue(transport->loop, LOOP_CALLS, &transport->resume);
    else
        h2o_socket_read_start(socket, on_decrypted);
}

static void on_resume(struct loop_entry *entry) {
    struct h2o_transport *transport = H2O_STRUCT_FROM_MEMBER(struct h2o_transport, resume, entry);
    if (!loop_catch_up(transport->loop)) {
        loop_queue(transport->loop, LOOP_CALLS, &transport->resume);
        return;
    }
    drain(transport);
    if (transport->reading)
        start_reading(transport);
}

static void read_input(struct session *session, bool on) {
    struct h2o_transport *transport = session->line.data;
    if (transport->reading == on)
        return;
    transport->reading = on;
    if (on) {
        start_reading(transport);
        return;
    }
    h2o_socket_read_stop(transport->socket);
    loop_unqueue(transport->loop, LOOP_CALLS, &transport->resume);
}

/* --- output --- */

/* A thread's sockets that wait for their turn to write, first come first served. */
static _Thread_local struct {
    h2o_linklist_t waiting;
    struct loop_entry wake;
    uint64_t turn;
    unsigned writes; /* in that turn */
} output;

static void wake_writers(struct loop_entry *entry) {
    (void)entry;
    for (int i = 0; i < WRITES_A_TURN && !h2o_linklist_is_empty(&output.waiting); i++) {
        struct h2o_transport *next =
            H2O_STRUCT_FROM_MEMBER(struct h2o_transport, turn, output.waiting.next);
        h2o_linklist_unlink(&next->turn);
        session_writable(next->session);
    }
    if (!h2o_linklist_is_empty(&output.waiting))
        loop_queue(loop_current(), LOOP_CALLS, &output.wake);
}

/* Whether it may write now; else it is told when. */
static bool may_write(struct h2o_transport *transport) {
    if (output.turn != loop_turns(transport->loop)) {
        output.turn = loop_turns(transport->loop);
        output.writes = 0;
    }
    if (output.writes++ < WRITES_A_TURN)
        return true;
    if (output.waiting.next == NULL)
        h2o_linklist_init_anchor(&output.waiting);
    h2o_linklist_insert(&output.waiting, &transport->turn);
    output.wake.run = wake_writers;
    loop_queue(transport->loop, LOOP_CALLS, &output.wake);
    return false;
}

static void on_written(h2o_socket_t *socket, const char *error) {
    struct h2o_transport *transport = socket->data;
    if (error == NULL)
        session_written(transport->session, transport->writing);
    else
        session_lost(transport->session);
}

/* h2o encrypts each part by itself: small ones are copied together, so that a turn's messages share
   records. h2o copies all of it at once. Returns the count of buffers. */
static size_t join(const struct iovec *parts, size_t count, h2o_iovec_t *buffers) {
    size_t joined = 0, filled = 0;
    bool open = false; /* the last buffer ends in the scratch and may grow */
    for (size_t i = 0; i < count; i++) {
        size_t size = parts[i].iov_len;
        if (size >= RECORD_MAX || filled + size > sizeof(scratch)) {
            buffers[joined++] = (h2o_iovec_t){parts[i].iov_base, size};
            open = false;
            continue;
        }
        memcpy(scratch + filled, parts[i].iov_base, size);
        if (!open || buffers[joined - 1].len + size > RECORD_MAX)
            buffers[joined++] = (h2o_iovec_t){(char *)scratch + filled, 0};
        buffers[joined - 1].len += size;
        filled += size;
        open = true;
    }
    return joined;
}

static ssize_t write_output(struct session *session, const struct iovec *parts, size_t count) {
    struct h2o_transport *transport = session->line.data;
    h2o_iovec_t buffers[TRANSPORT_PARTS_MAX];
    assert(count <= TRANSPORT_PARTS_MAX);
    if (!may_write(transport))
        return 0;
    transport->writing = 0;
    for (size_t i = 0; i < count; i++)
        transport->writing += parts[i].iov_len;
    size_t filled = join(parts, count, buffers);
    h2o_socket_write(transport->socket, buffers, filled, on_written);
    return TRANSPORT_LATER;
}

/* --- the end --- */

/* h2o can send its close_notify only when it closes both ways. */
static void shut_output(struct session *session) {
    struct h2o_transport *transport = session->line.data;
    shutdown(h2o_socket_get_fd(transport->socket), SHUT_WR);
}

static void end_connection(struct session *session) {
    struct h2o_transport *transport = session->line.data;
    h2o_socket_t *socket = transport->socket;
    const unsigned farewell_ms = TLS_FAREWELL_MS;
    setsockopt(h2o_socket_get_fd(socket), IPPROTO_TCP, TCP_USER_TIMEOUT, &farewell_ms,
               sizeof(farewell_ms));
    loop_unqueue(transport->loop, LOOP_CALLS, &transport->resume);
    if (h2o_linklist_is_linked(&transport->turn))
        h2o_linklist_unlink(&transport->turn);
    free(transport->rest);
    free(transport);
    h2o_socket_close(socket);
}

static const struct transport over_h2o = {
    .write = write_output,
    .read = read_input,
    .close = end_connection,
    .shut = shut_output,
};

void h2o_transport_attach(struct session *session, h2o_socket_t *socket, size_t reqsize) {
    struct h2o_transport *transport = h2o_mem_alloc(sizeof(*transport));
    struct kept *kept = socket->on_close.data;
    *transport = (struct h2o_transport){
        .session = session, .loop = loop_current(), .socket = socket, .resume = {.run = on_resume}};
    session->line = (struct session_line){.data = transport};
    socket->data = transport;
    h2o_buffer_consume(&socket->input, reqsize);
    const int size = TLS_RECEIVE_BYTES;
    setsockopt(h2o_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (kept != NULL)
        kept->upgraded(kept);
    session_attach(session, &over_h2o);
}
