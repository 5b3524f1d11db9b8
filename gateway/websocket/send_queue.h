/*
 * What one session still has to send: references to frames, in order, with the write that is under
 * way at its front. It knows no limit and no policy, only how to keep the order whole. The
 * session's thread.
 */
#ifndef SLUICE_WEBSOCKET_SEND_QUEUE_H
#define SLUICE_WEBSOCKET_SEND_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct frame;

/* A few frames have their place in the queue itself, so that to write them takes no memory. */
#define SEND_QUEUE_FEW 4

/* Zeroed before first use; read only outside. */
struct send_queue {
    struct frame **ring; /* more than a few, until nothing waits; else NULL */
    struct frame *few[SEND_QUEUE_FEW];
    uint32_t capacity, head, count; /* capacity: of the ring */
    uint32_t busy;                  /* frames at the front that the write under way touches */
    size_t begun;                   /* bytes of the first frame that are written */
    size_t writing;                 /* bytes of the write under way */
    size_t bytes;                   /* of all frames; what is written of the first still counts */
};

/* Shares the frame, behind all others. */
void send_queue_push(struct send_queue *queue, struct frame *frame);

/* Shares the frame, before all whose bytes have not begun to leave: for control frames, which must
   not wait behind a long queue. */
void send_queue_push_urgent(struct send_queue *queue, struct frame *frame);

/* Copies what is left of frames that were written without this queue: it goes before all others and
   can't be moved from there. Never while a write is under way or a frame has begun. */
void send_queue_push_rest(struct send_queue *queue, const uint8_t *bytes, size_t size);

/* Forgets the oldest message that has not begun to leave; control frames stay. False when there is
 * none. */
bool send_queue_drop_oldest(struct send_queue *queue);

/* Bytes of the frames that have begun to leave. */
size_t send_queue_fixed_bytes(struct send_queue *queue);

/* Fills parts with what is to be written next, at most `most` parts and `bytes_most` bytes (1 at
   least), and holds it until send_queue_written. Returns the count of parts. Never while a write is
   under way. */
size_t send_queue_begin(struct send_queue *queue, struct iovec *parts, size_t most,
                        size_t bytes_most);

/* The write under way is done: the first size bytes of it have left. */
void send_queue_written(struct send_queue *queue, size_t size);

/* Forgets everything, a write under way included. */
void send_queue_clear(struct send_queue *queue);

#endif
