/*
 * Any bytes, in any pieces, with the owner's calls and time in between: a session must neither
 * crash nor outgrow its limits, and end exactly once.
 *
 * The input is a script: a byte says what happens, the low six bits how much of what follows
 * arrives.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "websocket/session.h"
#include "websocket/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE_MAX 300
#define QUEUE_MAX 600

static struct loop *loop;
static struct session *session; /* NULL once `closed` was told */
static struct session_terms terms;
static uint8_t rest[SESSION_REST_MAX];
static size_t rest_size;
static bool is_writing, is_appending, is_shut, is_closed;
static uint8_t appended[1024];
static size_t writing_size;

static void require(bool condition) {
    if (!condition)
        abort();
}

/* --- the owner --- */

static void message(struct session *teller, enum opcode kind, const uint8_t *data, size_t size) {
    require(teller == session && session != NULL && size <= MESSAGE_MAX);
    require(kind == OPCODE_TEXT || kind == OPCODE_BINARY);
    struct frame *frame = frame_create(kind, data, size);
    (void)!session_send(session, frame);
    frame_unref(frame);
    if (size == 3)
        session_close(session, 4000, "three", 5);
    if (size == 4)
        session_abort(session);
}

static void unblocked(struct session *teller, uint64_t dropped) {
    require(teller == session && session != NULL && dropped > 0);
}

static void closed(struct session *teller, int code, const char *reason, size_t reason_size) {
    require(teller == session && session != NULL && code >= 1000 && reason_size <= 123);
    require(reason != NULL);
    session = NULL;
}

static void released(struct session *gone) { free(gone); }

static const struct session_events events = {message, unblocked, closed, released};

/* --- the transport --- */

static ssize_t write_parts(struct session *attached, const struct iovec *parts, size_t count) {
    (void)attached;
    require(!is_writing && !is_closed && !is_shut && count > 0);
    require(count <= TRANSPORT_PARTS_MAX && parts[0].iov_len > 0);
    is_writing = true;
    writing_size = 0;
    for (size_t i = 0; i < count; i++)
        writing_size += parts[i].iov_len;
    return TRANSPORT_LATER;
}

static void *append_bytes(struct session *attached, size_t size) {
    (void)attached;
    require(!is_closed && !is_shut && is_writing == is_appending && size > 0);
    if (!is_appending)
        writing_size = 0;
    if (writing_size + size > sizeof(appended))
        return NULL;
    is_writing = is_appending = true;
    writing_size += size;
    return appended + writing_size - size;
}

static void read_input(struct session *attached, bool on) {
    (void)attached;
    (void)on;
}

static void close_transport(struct session *attached) {
    (void)attached;
    require(!is_closed);
    is_closed = true;
}

static void shut_transport(struct session *attached) {
    (void)attached;
    require(!is_closed && !is_shut && !is_writing);
    is_shut = true;
}

static const struct transport table = {.write = write_parts,
                                       .append = append_bytes,
                                       .read = read_input,
                                       .close = close_transport,
                                       .shut = shut_transport};

/* --- the script --- */

static void arrive(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(rest_size + size + 1);
    memcpy(exact, rest, rest_size);
    memcpy(exact + rest_size, data, size);
    size_t used = 0, before;
    do {
        before = used;
        used += session_input(session, exact + used, rest_size + size - used);
    } while (rest_size + size - used > sizeof(rest) && used > before);
    require(used <= rest_size + size && rest_size + size - used <= sizeof(rest));
    rest_size = rest_size + size - used;
    memcpy(rest, exact + used, rest_size);
    free(exact);
    require(session_queued(session) <= QUEUE_MAX + 3 * 131);
}

static void finish_write(bool ok) {
    if (!is_writing)
        return;
    is_writing = is_appending = false;
    if (ok)
        session_written(session, writing_size);
    else
        session_lost(session);
}

static void send_bytes(size_t size) {
    static const char bytes[QUEUE_MAX];
    if (size % 16 == 8) {
        (void)!session_send_bytes(session, OPCODE_BINARY, bytes, size);
        return;
    }
    struct frame *frame = frame_create(OPCODE_BINARY, bytes, size);
    (void)!session_send(session, frame);
    frame_unref(frame);
}

/* What the owner, the transport or time does: bytes from 0xc0 on. */
static void do_special(uint8_t what) {
    if (what == 0xff)
        session_close(session, 1001, NULL, 0);
    else if (what == 0xfe)
        session_abort(session);
    else if (what == 0xfd)
        loop_skip(loop, 60);
    else if (what == 0xfc)
        finish_write(false);
    else if (what == 0xfb)
        session_lost(session);
    else
        send_bytes((size_t)(what - 0xc0) * 8);
}

/* What the two high bits say, before the bytes arrive. */
static void act(uint8_t what) {
    if (what >> 6 == 1)
        finish_write(true);
    else if (what >> 6 == 2)
        loop_turn(loop, 0);
    else if (what >> 6 == 3)
        do_special(what);
}

static void begin(uint8_t how) {
    terms = (struct session_terms){.events = &events,
                                   .message_bytes_max = MESSAGE_MAX,
                                   .queue_bytes_max = QUEUE_MAX,
                                   .on_full = how % 3,
                                   .ping_ms = how & 4 ? 50 : 0,
                                   .pong_ms = how & 8 ? 100 : 0,
                                   .idle_ms = how & 16 ? 150 : 0,
                                   .close_ms = 100,
                                   .compression = {.level = 1, .threshold = 20}};
    rest_size = 0;
    is_writing = is_appending = is_shut = is_closed = false;
    session = malloc(sizeof(*session));
    require(session != NULL);
    session_begin(session, &terms);
    const bool takeover = (how & 64) != 0 && terms.on_full != ON_FULL_DROP_OLDEST;
    const struct agreement agreement = {10, 9, takeover, takeover};
    if (how & 32)
        session_agree(session, &agreement);
    session_attach(session, &table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (loop == NULL)
        loop = loop_create(0);
    loop_enter(loop);
    if (size == 0)
        return 0;
    begin(data[0]);
    for (size_t at = 1; at < size && session != NULL;) {
        uint8_t what = data[at++];
        act(what);
        size_t piece = what >> 6 == 3 ? 0 : what & 0x3f;
        if (piece > size - at)
            piece = size - at;
        if (piece > 0 && session != NULL && !is_closed)
            arrive(data + at, piece);
        at += piece;
    }
    if (session != NULL)
        session_abort(session);
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 0);
    require(session == NULL && is_closed);
    return 0;
}
