/*
 * One accepted WebSocket (RFC 6455): reads frames, answers pings, checks what must be checked,
 * queues what is sent, keeps the closing handshake and the timers. Embedded in its owner; begins
 * when the handshake is accepted, is attached to its transport when the 101 has left; until then
 * sends queue. At rest it is all there is: what it needs while something is under way (a queue, the
 * start of a message) it borrows. Everything runs on the session's thread.
 */
#ifndef SLUICE_WEBSOCKET_SESSION_H
#define SLUICE_WEBSOCKET_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "websocket/extension.h"
#include "websocket/frame.h"
#include "websocket/pace.h"

struct transport;
struct session;
struct work;

/* What becomes of a message that does not fit the queue. */
enum on_full { ON_FULL_CLOSE, ON_FULL_DROP_OLDEST, ON_FULL_DROP_NEWEST };

/* What a session is begun with; lent to it until `released`. */
struct session_terms {
    const struct session_events *events;
    /* A message that arrives; more is a close 1009. */
    uint32_t message_bytes_max;
    /* What waits to be sent, counted as frames on the wire. Since each frame costs memory of its
       own, no more of them may wait than one for each 32 of these bytes, and 16. */
    uint32_t queue_bytes_max;
    /* CLOSE: close 1013. */
    enum on_full on_full;
    /* A ping after this long without input; 0: never. */
    uint32_t ping_ms;
    /* Time for any input to come then, else the connection counts as lost (1006); 0: for ever. */
    uint32_t pong_ms;
    /* Close 1001 after this long without a message in either direction; 0: never. */
    uint32_t idle_ms;
    /* What goes to many may wait so long for more that leaves with it; 0: it leaves with its turn.
     */
    uint32_t flush_ms;
    /* Time for our close frame to leave and the peer's to come. */
    uint32_t close_ms;
    /* What the route wants of compression; takeover not with ON_FULL_DROP_OLDEST, since the peer
       would lack what was dropped. */
    struct compression compression;
    /* How much the peer may say: messages and control frames, and bytes on the wire, with those of
       compressed messages once more when they are inflated. Who is over is not read for a moment,
       so that TCP holds back his sender, or closed with 1008. */
    struct pace_terms pace;
    /* Where the owner has room for a struct pace, zeroed: so many bytes behind the session's start.
       0: there is no pace. */
    uint32_t pace_at;
};

/* What an operator asks of a connection when it is over. */
struct session_counts {
    uint64_t bytes_in, bytes_out; /* frames, as they are on the wire without TLS */
    uint32_t messages_in, messages_out;
    uint32_t queue_peak; /* bytes */
    uint32_t opened_at;  /* loop's clock, seconds */
};

/* What a transport keeps of its own. */
struct session_line {
    void *data;
    int fd;
    uint16_t keeper;
    bool reading : 1, full : 1, sending : 1;
};

struct session {
    const struct session_terms *terms;
    const struct transport *transport; /* NULL until attached */
    struct session_line line;
    struct session_counts counts; /* for all to read */

    /* private */
    struct work *work; /* NULL at rest */
    struct timer timer;
    uint32_t heard_at;   /* or pinged, while `pinged`; loop's clock, milliseconds */
    uint32_t message_at; /* the last one, either way */
    struct agreement agreement;
    uint8_t state;
    bool pinged : 1; /* no input since the last ping */
    bool full : 1;   /* the transport takes no more until session_writable */
    bool told : 1;   /* `closed` */
    bool slowed : 1; /* said too much: not read until the timer runs */
};

/* What a session tells its owner, each on the session's thread. No call comes inside a call of the
 * owner's. */
struct session_events {
    /* A whole message, valid UTF-8 when kind is OPCODE_TEXT. Borrowed. */
    void (*message)(struct session *session, enum opcode kind, const uint8_t *data, size_t size);
    /* The queue moves again, after `dropped` messages were dropped since the last time. Told once
       it has drained to half of its limit. Never when the policy is ON_FULL_CLOSE. */
    void (*unblocked)(struct session *session, uint64_t dropped);
    /* Exactly once, whatever ended it: code as RFC 6455 section 7.1.5 (1005: the peer gave none,
       1006: lost), the reason borrowed. Calls do nothing from here on. */
    void (*closed)(struct session *session, int code, const char *reason, size_t reason_size);
    /* Exactly once, in the ENDS stage of the turn in which `closed` was told: nothing touches the
       session any more, and its memory is the owner's again. */
    void (*released)(struct session *session);
};

/* What became of a frame. */
enum session_result {
    SESSION_SENT,    /* queued; ON_FULL_DROP_OLDEST may have dropped others for it */
    SESSION_DROPPED, /* the queue was full: the policy dropped this frame */
    SESSION_FULL,    /* the queue was full: the policy began to close the session; or all queues
                        together were, and this one had more than its share (budget.h) */
    SESSION_CLOSED   /* the session is closing or closed: nothing was queued */
};

/* Begins a session without a transport: sends queue, nothing is read. The memory, whatever is in
   it, stays the session's until `released`. */
void session_begin(struct session *session, const struct session_terms *terms);

/* What the handshake agreed on with the peer. Before the first send; not at all: nothing is
   compressed and what comes compressed is refused. */
void session_agree(struct session *session, const struct agreement *agreement);

/* The 101 has left, and the transport has filled its line. Queued frames leave with this turn. */
void session_attach(struct session *session, const struct transport *transport);

/* The 101 could not leave, or the owner is done with it: `closed` is told with 1006 in this turn's
   CALLS stage. Safe at any time and more than once. */
void session_abort(struct session *session);

/* Shares the frame, or its compressed form where one was agreed on: leaves at this turn's flush, in
   the order of calls. */
enum session_result session_send(struct session *session, struct frame *frame)
    __attribute__((warn_unused_result));

/* The same for one that goes to many: it may wait for flush_ms, or until something else leaves. */
enum session_result session_share(struct session *session, struct frame *frame)
    __attribute__((warn_unused_result));

/* As session_send, for a message of size bytes that nobody else is sent: small ones are copied to
   where they leave from. kind: OPCODE_TEXT or OPCODE_BINARY; size up to FRAME_PAYLOAD_MAX. */
enum session_result session_send_bytes(struct session *session, enum opcode kind, const void *data,
                                       size_t size) __attribute__((warn_unused_result));

/* Sends a close frame behind what is queued, then waits close_ms for the peer's. code 0: without a
   body. Nothing when it is closing already. */
void session_close(struct session *session, int code, const char *reason, size_t reason_size);

/* Bytes that wait to be sent, frame headers included. */
size_t session_queued(const struct session *session);

/* The same of all sessions of this loop. Loop's thread. */
uint64_t sessions_queued(const struct loop *loop);

/* --- for transports --- */

/* The most that session_input leaves with the transport. */
#define SESSION_REST_MAX 131

/* size bytes at data are the next that are unread, what was kept of the last call first; they are
   changed in place (unmasked). Returns how many are done with; the transport keeps the others and
   gives them again: SESSION_REST_MAX at most with what follows; more than that in the next turn,
   since they say so much, inflated, that they would hold the loop, or when it reads again. It
   should give no more than 64 KiB in one turn for the same reason. */
size_t session_input(struct session *session, uint8_t *data, size_t size);
/* The outstanding write is done: size of its bytes have left; fewer than all when the connection
   takes no more now. */
void session_written(struct session *session, size_t size);
/* A connection that took no more takes bytes again. */
void session_writable(struct session *session);
/* The peer is gone: end of stream, reset, TLS failure. */
void session_lost(struct session *session);

#endif
