/*
 * A message's bytes on the wire (RFC 6455 section 5.2): header and payload of one unmasked server
 * frame, built once, immutable, and shared by reference among all sessions and threads that send
 * it.
 */
#ifndef SLUICE_WEBSOCKET_FRAME_H
#define SLUICE_WEBSOCKET_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum opcode {
    OPCODE_CONTINUATION = 0x0,
    OPCODE_TEXT = 0x1,
    OPCODE_BINARY = 0x2,
    OPCODE_CLOSE = 0x8,
    OPCODE_PING = 0x9,
    OPCODE_PONG = 0xa
};

#define FRAME_PAYLOAD_MAX (16u << 20)

struct frame;

/* A final frame with a copy of size bytes (0 to FRAME_PAYLOAD_MAX; control frames to 125) and one
 * reference. [any] */
struct frame *frame_create(enum opcode opcode, const void *payload, size_t size);

/* The same for a text or binary message whose payload is compressed (RFC 7692 section 6): RSV1 is
   set. */
struct frame *frame_create_compressed(enum opcode opcode, const void *payload, size_t size);

/* A close frame. code 0: without a body. reason: up to 123 bytes. [any] */
struct frame *frame_create_close(int code, const char *reason, size_t reason_size);

/* The same as bytes at `to`, which has room for FRAME_HEADER_MAX more than the payload. Returns how
 * many. [any] */
#define FRAME_HEADER_MAX 10
size_t frame_write(uint8_t *to, enum opcode opcode, const void *payload, size_t size);
/* How many bytes a frame with so much payload has. [any] */
size_t frame_size(size_t payload_size);

/* Bytes of which nobody knows any more which frames they are, behind one byte that is not to be
   sent. [any] */
struct frame *frame_create_rest(const void *bytes, size_t size);

/* Writes over size bytes of the payload from `at` on, which lie within it. Before the frame is
   shared with who reads it. */
void frame_write_over(struct frame *frame, size_t at, const void *bytes, size_t size);

struct frame *frame_ref(struct frame *frame);
void frame_unref(struct frame *frame); /* NULL is fine */

/* Header and payload together: what goes to the socket. Borrowed while the reference is held. */
const uint8_t *frame_bytes(const struct frame *frame, size_t *size);
const uint8_t *frame_payload(const struct frame *frame, size_t *size);
enum opcode frame_opcode(const struct frame *frame);

/* Other forms of the same message, each under a key of its maker's that is not 0. NULL: none was
   kept under this one. Borrowed: a form lives as long as its frame. [any] */
struct frame *frame_form(const struct frame *frame, unsigned key);
/* Takes the form; NULL: the frame itself serves. Returns what frame_form does from now on. Never by
   two threads at a time for one frame. */
struct frame *frame_keep_form(struct frame *frame, unsigned key, struct frame *form);

#endif
