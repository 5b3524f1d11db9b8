#include "websocket/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "websocket/deflater.h"
#include "websocket/parser.h"
#include "websocket/send_queue.h"
#include "websocket/transport.h"
#include "websocket/window.h"

/* One write: enough to fill a socket, little enough that a TLS transport, which must copy it, stays
 * small. */
#define WRITE_BYTES_MAX (256 * 1024)

/* Messages of more bytes than this are not worth copying side by side. */
#define APPENDED_MAX 4096

enum state {
    OPEN,
    CLOSING,  /* our close frame is queued or sent, the peer's is awaited */
    ANSWERED, /* both have said it: ends when ours has left (RFC 6455 section 7.1.1: the server
                 closes first) */
    FAILED,   /* the peer broke the protocol: its input is ignored, ends when it has hung up */
    ENDED     /* `closed` is told in the next CALLS stage, or has been */
};

struct session {
    struct loop *loop;
    const struct session_limits *limits;
    const struct session_events *events; /* NULL once `closed` was told */
    void *owner;
    const struct transport *transport; /* NULL until attached */
    void *io;

    enum state state;
    bool pinged;          /* no input since the last ping */
    bool full;            /* the transport takes no more until session_writable */
    struct frame *ending; /* the close frame whose code and reason `closed` will tell; NULL: 1006 */

    struct loop_entry calls, bytes, ends;
    struct timer timer;
    uint64_t input_at, message_at, pinged_at;

    struct parser parser;
    struct send_queue queue;
    struct agreement agreement;
    struct window *said; /* what our compressed messages said, where the peer keeps it too */
    uint8_t *appended;   /* frames that the transport holds, before the queue; NULL mostly */
    size_t appended_size;
    struct frame *pong; /* the answer to the latest ping, until the next write: older ones are not
                           owed (section 5.5.3) */
    uint64_t dropped;   /* messages since `unblocked` was told */
};

static_assert(SESSION_REST_MAX == PARSER_REST_MAX, "what the header promises to transports");

/* --- the end --- */

/* Nothing more goes out or comes in; the owner hears of it in the next CALLS stage, so never inside
 * its own call. */
static void end(struct session *session) {
    if (session->state == ENDED)
        return;
    session->state = ENDED;
    loop_timer_clear(session->loop, &session->timer);
    loop_queue(session->loop, LOOP_CALLS, &session->calls);
}

static void end_as_lost(struct session *session) {
    if (session->state != ENDED) {
        frame_unref(session->ending);
        session->ending = NULL;
    }
    end(session);
}

static void tell_closed(struct session *session) {
    int code = 1006;
    const char *reason = "";
    size_t size = 0;
    if (session->ending != NULL) {
        const uint8_t *payload = frame_payload(session->ending, &size);
        code = size < 2 ? 1005 : payload[0] << 8 | payload[1];
        size = size < 2 ? 0 : size - 2;
        reason = size == 0 ? "" : (const char *)payload + 2;
    }
    const struct session_events *events = session->events;
    session->events = NULL;
    loop_queue(session->loop, LOOP_ENDS, &session->ends);
    events->closed(session->owner, code, reason, size);
}

static void on_ends(struct loop_entry *entry) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct session, ends, entry);
    if (session->transport != NULL)
        session->transport->close(session->io);
    loop_unqueue(session->loop, LOOP_CALLS, &session->calls);
    loop_unqueue(session->loop, LOOP_BYTES, &session->bytes);
    send_queue_clear(&session->queue);
    parser_dispose(&session->parser);
    window_free(session->said);
    frame_unref(session->pong);
    frame_unref(session->ending);
    free(session);
}

/* --- what is sent --- */

static void queue_bytes(struct session *session) {
    if (session->transport != NULL)
        loop_queue(session->loop, LOOP_BYTES, &session->bytes);
}

static bool all_has_left(const struct session *session) {
    return session->queue.count == 0 && session->appended == NULL;
}

/* All that was queued has left. */
static void on_flushed(struct session *session) {
    if (session->state == ANSWERED)
        end(session);
    if (session->state != FAILED)
        return;
    if (session->transport->shut == NULL)
        end(session);
    else
        session->transport->shut(session->io);
}

static void take_pong(struct session *session) {
    if (session->pong == NULL)
        return;
    send_queue_push_urgent(&session->queue, session->pong);
    frame_unref(session->pong);
    session->pong = NULL;
}

static void on_bytes(struct loop_entry *entry) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct session, bytes, entry);
    if (session->state == ENDED || session->queue.busy > 0 || session->appended != NULL ||
        session->full)
        return;
    take_pong(session);
    struct iovec parts[TRANSPORT_PARTS_MAX];
    size_t count = send_queue_begin(&session->queue, parts, TRANSPORT_PARTS_MAX, WRITE_BYTES_MAX);
    if (count == 0)
        return;
    ssize_t size = session->transport->write(session->io, parts, count);
    if (size != TRANSPORT_LATER)
        session_written(session, (size_t)size);
}

static bool fits(const struct session *session, size_t size) {
    const struct session_limits *limits = session->limits;
    return session->queue.bytes + session->appended_size + size <= limits->queue_bytes_max &&
           session->queue.count < limits->queue_bytes_max / 32 + 16;
}

static bool moves_again(const struct session *session) {
    return session->dropped > 0 && session->state == OPEN &&
           session->queue.bytes <= session->limits->queue_bytes_max / 2;
}

static void tell_unblocked(struct session *session) {
    uint64_t dropped = session->dropped;
    session->dropped = 0;
    session->events->unblocked(session->owner, dropped);
}

/* --- closing --- */

/* Queues the close frame, the last that is sent, and gives the peer its time from now. Takes the
 * frame. */
static void send_close(struct session *session, enum state state, struct frame *frame) {
    session->state = state;
    session->ending = frame;
    send_queue_push(&session->queue, frame);
    queue_bytes(session);
    /* Without a transport the handshake's own time runs. */
    if (session->transport != NULL)
        loop_timer_set(session->loop, &session->timer, session->limits->close_ms);
}

static void fail(struct session *session, const struct parsed *how) {
    if (session->state == OPEN) {
        const char *reason = (const char *)how->data;
        send_close(session, FAILED, frame_create_close(how->code, reason, how->size));
        return;
    }
    /* It closes already: no second close frame. */
    session->state = FAILED;
    if (all_has_left(session))
        on_flushed(session);
}

static void on_peer_close(struct session *session, const struct parsed *close) {
    int code = close->code == 1005 ? 0 : close->code;
    struct frame *frame = frame_create_close(code, (const char *)close->data, close->size);
    if (session->state == OPEN) {
        send_close(session, ANSWERED, frame);
        return;
    }
    frame_unref(session->ending);
    session->ending = frame;
    session->state = ANSWERED;
    if (all_has_left(session))
        on_flushed(session);
}

/* --- what arrives --- */

static void answer_ping(struct session *session, const struct parsed *ping) {
    frame_unref(session->pong);
    session->pong = frame_create(OPCODE_PONG, ping->data, ping->size);
    queue_bytes(session);
}

static void on_parsed(struct session *session, const struct parsed *parsed) {
    if (parsed->kind == PARSED_CLOSE) {
        on_peer_close(session, parsed);
    } else if (parsed->kind == PARSED_FAILURE) {
        fail(session, parsed);
    } else if (session->state == OPEN && parsed->kind == PARSED_PING) {
        answer_ping(session, parsed);
    } else if (session->state == OPEN && parsed->kind == PARSED_MESSAGE) {
        session->message_at = session->input_at;
        session->events->message(session->owner, parsed->opcode, parsed->data, parsed->size);
    }
}

size_t session_input(struct session *session, uint8_t *data, size_t size) {
    size_t used = 0;
    session->input_at = loop_now(session->loop);
    session->pinged = false;
    while (session->state == OPEN || session->state == CLOSING) {
        struct parsed parsed = parser_next(&session->parser, session->limits->message_bytes_max,
                                           data + used, size - used);
        used += parsed.used;
        if (parsed.kind == PARSED_NOTHING)
            return used;
        on_parsed(session, &parsed);
    }
    return size;
}

/* --- time --- */

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void send_ping(struct session *session, uint64_t now) {
    struct frame *ping = frame_create(OPCODE_PING, NULL, 0);
    send_queue_push_urgent(&session->queue, ping);
    frame_unref(ping);
    queue_bytes(session);
    session->pinged = true;
    session->pinged_at = now;
}

/* Sends a ping when it is time to, ends the session when the last was not answered. Returns when to
 * look again. */
static uint64_t keep_alive(struct session *session, uint64_t now) {
    const struct session_limits *limits = session->limits;
    if (limits->ping_ms == 0)
        return UINT64_MAX;
    if (session->pinged && limits->pong_ms > 0 && now >= session->pinged_at + limits->pong_ms) {
        end_as_lost(session);
        return UINT64_MAX;
    }
    uint64_t ping_due = later(session->input_at, session->pinged_at) + limits->ping_ms;
    bool waits = session->pinged && limits->pong_ms > 0;
    if (!waits && now < ping_due)
        return ping_due;
    if (!waits)
        send_ping(session, now);
    /* Input may come before the pong is due, and then the next ping is due. */
    uint64_t pong_due = limits->pong_ms == 0 ? UINT64_MAX : session->pinged_at + limits->pong_ms;
    return earlier(pong_due, now + limits->ping_ms);
}

static uint64_t check_idle(struct session *session, uint64_t now) {
    uint32_t idle_ms = session->limits->idle_ms;
    if (idle_ms == 0)
        return UINT64_MAX;
    if (now < session->message_at + idle_ms)
        return session->message_at + idle_ms;
    session_close(session, 1001, "idle timeout", strlen("idle timeout"));
    return UINT64_MAX;
}

/* Traffic only notes the time; the one timer finds out, when it runs, what is due and when the next
 * thing is. */
static void watch(struct session *session) {
    uint64_t now = loop_now(session->loop);
    uint64_t due = check_idle(session, now);
    if (session->state == OPEN)
        due = earlier(due, keep_alive(session, now));
    if (session->state == OPEN && due != UINT64_MAX)
        loop_timer_set(session->loop, &session->timer, due - now);
}

static void on_timer(struct timer *timer) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct session, timer, timer);
    if (session->state == OPEN)
        watch(session);
    else
        end(session); /* the time for closing is over */
}

/* --- calls that must come later --- */

static void on_calls(struct loop_entry *entry) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct session, calls, entry);
    if (session->state == ENDED && session->events != NULL)
        tell_closed(session);
    else if (session->state != ENDED)
        queue_bytes(session);
    if (moves_again(session))
        tell_unblocked(session);
}

/* --- for owners --- */

struct session *session_create(struct loop *loop, const struct session_limits *limits,
                               const struct session_events *events, void *owner) {
    struct session *session = h2o_mem_alloc(sizeof(*session));
    *session = (struct session){
        .loop = loop,
        .limits = limits,
        .events = events,
        .owner = owner,
        .state = OPEN,
        .calls = {.run = on_calls},
        .bytes = {.run = on_bytes},
        .ends = {.run = on_ends},
        .timer = {.run = on_timer},
        .message_at = loop_now(loop),
    };
    return session;
}

void session_agree(struct session *session, const struct agreement *agreement) {
    assert(!agreement->send_takeover || session->limits->on_full != ON_FULL_DROP_OLDEST);
    session->agreement = *agreement;
    if (agreement->send_bits != 0)
        parser_inflate(&session->parser, agreement->receive_bits, agreement->receive_takeover);
}

void session_attach(struct session *session, const struct transport *transport, void *io) {
    assert(session->transport == NULL && session->events != NULL);
    session->transport = transport;
    session->io = io;
    session->input_at = session->message_at = loop_now(session->loop);
    if (session->state == ENDED)
        return;
    queue_bytes(session);
    transport->read(io, true);
    if (session->state == OPEN)
        watch(session);
    else
        loop_timer_set(session->loop, &session->timer, session->limits->close_ms);
}

void session_abort(struct session *session) { end_as_lost(session); }

static enum session_result queue_message(struct session *session, struct frame *frame) {
    send_queue_push(&session->queue, frame);
    session->message_at = loop_now(session->loop);
    queue_bytes(session);
    return SESSION_SENT;
}

/* Drops the oldest until size bytes fit; nothing when that could never be. */
static bool make_room(struct session *session, size_t size) {
    if (send_queue_fixed_bytes(&session->queue) + size > session->limits->queue_bytes_max)
        return false;
    while (!fits(session, size)) {
        if (!send_queue_drop_oldest(&session->queue))
            return false;
        session->dropped++;
    }
    return true;
}

static enum session_result send_when_full(struct session *session, struct frame *frame,
                                          size_t size) {
    if (session->limits->on_full == ON_FULL_CLOSE) {
        session_close(session, 1013, "send queue full", strlen("send queue full"));
        return SESSION_FULL;
    }
    if (session->limits->on_full == ON_FULL_DROP_OLDEST && make_room(session, size))
        return queue_message(session, frame);
    session->dropped++;
    /* There may be no write under way whose end would tell. */
    if (moves_again(session))
        loop_queue(session->loop, LOOP_CALLS, &session->calls);
    return SESSION_DROPPED;
}

static enum session_result send_form(struct session *session, struct frame *form) {
    size_t size;
    frame_bytes(form, &size);
    if (!fits(session, size))
        return send_when_full(session, form, size);
    return queue_message(session, form);
}

/* Only what has been queued is in the peer's window when the next message comes. */
static enum session_result send_own_form(struct session *session, struct frame *frame) {
    size_t size;
    uint8_t bits = session->agreement.send_bits;
    const uint8_t *payload = frame_payload(frame, &size);
    struct frame *form =
        deflater_own_form(frame, bits, session->limits->compression.level, session->said);
    if (form == NULL)
        return send_form(session, frame);
    enum session_result result = send_form(session, form);
    if (result == SESSION_SENT)
        window_append(&session->said, (size_t)1 << bits, payload, size);
    frame_unref(form);
    return result;
}

static bool compresses(const struct session *session, size_t size) {
    return session->agreement.send_bits != 0 && size >= session->limits->compression.threshold;
}

enum session_result session_send(struct session *session, struct frame *frame) {
    const struct compression *compression = &session->limits->compression;
    size_t size;
    if (session->state != OPEN)
        return SESSION_CLOSED;
    frame_payload(frame, &size);
    if (!compresses(session, size))
        return send_form(session, frame);
    if (session->agreement.send_takeover)
        return send_own_form(session, frame);
    return send_form(session,
                     deflater_shared_form(frame, session->agreement.send_bits, compression->level));
}

/* Copies the message to where the transport will send it from; false when it must be queued. */
static bool append(struct session *session, enum opcode kind, const void *data, size_t size) {
    const struct transport *transport = session->transport;
    if (size > APPENDED_MAX || transport == NULL || transport->append == NULL || session->full ||
        session->queue.count > 0 || compresses(session, size) || !fits(session, frame_size(size)))
        return false;
    uint8_t *place = transport->append(session->io, frame_size(size));
    if (place == NULL)
        return false;
    if (session->appended == NULL)
        session->appended = place;
    session->appended_size += frame_write(place, kind, data, size);
    session->message_at = loop_now(session->loop);
    return true;
}

enum session_result session_send_bytes(struct session *session, enum opcode kind, const void *data,
                                       size_t size) {
    if (session->state != OPEN)
        return SESSION_CLOSED;
    if (append(session, kind, data, size))
        return SESSION_SENT;
    struct frame *frame = frame_create(kind, data, size);
    enum session_result result = session_send(session, frame);
    frame_unref(frame);
    return result;
}

void session_close(struct session *session, int code, const char *reason, size_t reason_size) {
    if (session->state == OPEN)
        send_close(session, CLOSING, frame_create_close(code, reason, reason_size));
}

size_t session_queued(const struct session *session) {
    return session->queue.bytes - session->queue.begun + session->appended_size;
}

/* --- for transports --- */

/* What the connection did not take of the appended frames goes before the queue. */
static void keep_appended(struct session *session, size_t size) {
    if (session->full)
        send_queue_push_rest(&session->queue, session->appended + size,
                             session->appended_size - size);
    session->appended = NULL;
    session->appended_size = 0;
}

/* The owner is told later, and a long queue goes on in the next turn: one that is read as fast as
   it is written must not hold the loop. */
void session_written(struct session *session, size_t size) {
    if (session->appended != NULL) {
        session->full = size < session->appended_size;
        keep_appended(session, size);
    } else {
        session->full = size < session->queue.writing;
        send_queue_written(&session->queue, size);
    }
    if (session->state == ENDED)
        return;
    bool more = session->queue.count > 0 || session->pong != NULL;
    if (!more)
        on_flushed(session);
    if ((more && !session->full) || moves_again(session))
        loop_queue(session->loop, LOOP_CALLS, &session->calls);
}

void session_writable(struct session *session) {
    session->full = false;
    queue_bytes(session);
}

void session_lost(struct session *session) { end(session); }
