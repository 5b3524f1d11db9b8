#include "websocket/frame.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"
#include "websocket/budget.h"

/* The same message in another form. */
struct form {
    struct form *next;
    struct frame *frame; /* NULL: the frame that it belongs to serves */
    unsigned key;
};

/* One allocation: what is on the wire follows the struct. */
struct frame {
    struct form *_Atomic forms; /* grows at its front, is freed with the frame */
    atomic_uint references;
    uint32_t size;
    uint8_t opcode;
    uint8_t header_size;
    uint8_t bytes[];
};

/* The least of the three forms that holds the size (RFC 6455 section 5.2). */
static uint8_t header_size_for(size_t size) { return size < 126 ? 2 : size < 65536 ? 4 : 10; }

static uint8_t write_header(uint8_t *at, enum opcode opcode, size_t size) {
    uint8_t header_size = header_size_for(size);
    *at++ = (uint8_t)(0x80 | opcode);
    if (header_size == 2) {
        *at = (uint8_t)size;
        return header_size;
    }
    *at++ = header_size == 4 ? 126 : 127;
    for (int left = header_size - 3; left >= 0; left--)
        *at++ = (uint8_t)((uint64_t)size >> (8 * left));
    return header_size;
}

size_t frame_size(size_t payload_size) { return header_size_for(payload_size) + payload_size; }

size_t frame_write(uint8_t *to, enum opcode opcode, const void *payload, size_t size) {
    size_t header_size = write_header(to, opcode, size);
    if (size > 0)
        memcpy(to + header_size, payload, size);
    return header_size + size;
}

/* Of so many bytes on the wire. */
static struct frame *make(size_t size) {
    struct frame *frame = h2o_mem_alloc(sizeof(*frame) + size);
    budget_change((ptrdiff_t)(sizeof(*frame) + size));
    atomic_init(&frame->forms, NULL);
    atomic_init(&frame->references, 1);
    frame->size = (uint32_t)size;
    return frame;
}

/* With its header written and the payload still to be. */
static struct frame *prepare(enum opcode opcode, size_t size) {
    assert(size <= (opcode >= OPCODE_CLOSE ? 125 : FRAME_PAYLOAD_MAX));
    uint8_t header_size = header_size_for(size);
    struct frame *frame = make(header_size + size);
    frame->opcode = (uint8_t)opcode;
    frame->header_size = header_size;
    write_header(frame->bytes, opcode, size);
    return frame;
}

struct frame *frame_create_rest(const void *bytes, size_t size) {
    struct frame *frame = make(1 + size);
    frame->opcode = OPCODE_CONTINUATION;
    frame->header_size = 0;
    frame->bytes[0] = 0;
    memcpy(frame->bytes + 1, bytes, size);
    return frame;
}

struct frame *frame_create(enum opcode opcode, const void *payload, size_t size) {
    struct frame *frame = prepare(opcode, size);
    if (size > 0)
        memcpy(frame->bytes + frame->header_size, payload, size);
    return frame;
}

struct frame *frame_create_compressed(enum opcode opcode, const void *payload, size_t size) {
    assert(opcode == OPCODE_TEXT || opcode == OPCODE_BINARY);
    struct frame *frame = frame_create(opcode, payload, size);
    frame->bytes[0] |= 0x40;
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

void frame_write_over(struct frame *frame, size_t at, const void *bytes, size_t size) {
    assert(frame->header_size + at + size <= frame->size);
    memcpy(frame->bytes + frame->header_size + at, bytes, size);
}

struct frame *frame_ref(struct frame *frame) {
    atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
    return frame;
}

static void free_forms(struct frame *frame) {
    struct form *form = atomic_load_explicit(&frame->forms, memory_order_relaxed);
    while (form != NULL) {
        struct form *next = form->next;
        frame_unref(form->frame);
        free(form);
        form = next;
    }
}

void frame_unref(struct frame *frame) {
    if (frame == NULL)
        return;
    /* Who holds the only reference need not count it down. */
    if (atomic_load_explicit(&frame->references, memory_order_acquire) != 1 &&
        atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel) != 1)
        return;
    free_forms(frame);
    budget_change(-(ptrdiff_t)(sizeof(*frame) + frame->size));
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

static struct frame *serving(const struct frame *frame, const struct form *form) {
    return form->frame != NULL ? form->frame : (struct frame *)(uintptr_t)frame;
}

struct frame *frame_form(const struct frame *frame, unsigned key) {
    const struct form *form = atomic_load_explicit(&frame->forms, memory_order_acquire);
    while (form != NULL && form->key != key)
        form = form->next;
    return form == NULL ? NULL : serving(frame, form);
}

struct frame *frame_keep_form(struct frame *frame, unsigned key, struct frame *form) {
    struct form *kept = h2o_mem_alloc(sizeof(*kept));
    *kept = (struct form){atomic_load_explicit(&frame->forms, memory_order_relaxed), form, key};
    atomic_store_explicit(&frame->forms, kept, memory_order_release);
    return serving(frame, kept);
}
