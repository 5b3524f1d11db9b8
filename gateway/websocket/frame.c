#include "websocket/frame.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"

/* One allocation: what is on the wire follows the struct. */
struct frame {
    atomic_uint references;
    uint32_t size;
    uint8_t opcode;
    uint8_t header_size;
    uint8_t bytes[];
};

/* The least of the three forms that holds the size (RFC 6455 section 5.2). */
static uint8_t header_size_for(size_t size) { return size < 126 ? 2 : size < 65536 ? 4 : 10; }

static void write_header(struct frame *frame, size_t size) {
    uint8_t *at = frame->bytes;
    *at++ = (uint8_t)(0x80 | frame->opcode);
    if (frame->header_size == 2) {
        *at = (uint8_t)size;
        return;
    }
    *at++ = frame->header_size == 4 ? 126 : 127;
    for (int left = frame->header_size - 3; left >= 0; left--)
        *at++ = (uint8_t)((uint64_t)size >> (8 * left));
}

/* With its header written and the payload still to be. */
static struct frame *prepare(enum opcode opcode, size_t size) {
    assert(size <= (opcode >= OPCODE_CLOSE ? 125 : FRAME_PAYLOAD_MAX));
    uint8_t header_size = header_size_for(size);
    struct frame *frame = h2o_mem_alloc(sizeof(*frame) + header_size + size);
    atomic_init(&frame->references, 1);
    frame->size = (uint32_t)(header_size + size);
    frame->opcode = (uint8_t)opcode;
    frame->header_size = header_size;
    write_header(frame, size);
    return frame;
}

struct frame *frame_create(enum opcode opcode, const void *payload, size_t size) {
    struct frame *frame = prepare(opcode, size);
    if (size > 0)
        memcpy(frame->bytes + frame->header_size, payload, size);
    return frame;
}

struct frame *frame_create_close(int code, const char *reason, size_t reason_size) {
    if (code == 0)
        return prepare(OPCODE_CLOSE, 0);
    assert(code >= 1000 && code <= 4999 && reason_size <= 123);
    struct frame *frame = prepare(OPCODE_CLOSE, 2 + reason_size);
    uint8_t *payload = frame->bytes + frame->header_size;
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    if (reason_size > 0)
        memcpy(payload + 2, reason, reason_size);
    return frame;
}

struct frame *frame_ref(struct frame *frame) {
    atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
    return frame;
}

void frame_unref(struct frame *frame) {
    if (frame == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        free(frame);
}

const uint8_t *frame_bytes(const struct frame *frame, size_t *size) {
    *size = frame->size;
    return frame->bytes;
}

const uint8_t *frame_payload(const struct frame *frame, size_t *size) {
    *size = frame->size - frame->header_size;
    return frame->bytes + frame->header_size;
}

enum opcode frame_opcode(const struct frame *frame) { return frame->opcode; }
