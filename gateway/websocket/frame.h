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

/* A close frame. code 0: without a body. reason: up to 123 bytes. [any] */
struct frame *frame_create_close(int code, const char *reason, size_t reason_size);

struct frame *frame_ref(struct frame *frame);
void frame_unref(struct frame *frame); /* NULL is fine */

/* Header and payload together: what goes to the socket. Borrowed while the reference is held. */
const uint8_t *frame_bytes(const struct frame *frame, size_t *size);
const uint8_t *frame_payload(const struct frame *frame, size_t *size);
enum opcode frame_opcode(const struct frame *frame);

#endif
