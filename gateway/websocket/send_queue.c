#include "websocket/send_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"
#include "websocket/frame.h"

static uint32_t capacity_of(const struct send_queue *queue) {
    return queue->ring == NULL ? SEND_QUEUE_FEW : queue->capacity;
}

/* Always a power of two, so that positions may run around it. */
static struct frame **slot(struct send_queue *queue, uint32_t position) {
    uint32_t at = (queue->head + position) & (capacity_of(queue) - 1);
    return queue->ring == NULL ? &queue->few[at] : &queue->ring[at];
}

static size_t size_of(const struct frame *frame) {
    size_t size;
    frame_bytes(frame, &size);
    return size;
}

static void grow(struct send_queue *queue) {
    uint32_t capacity = capacity_of(queue) * 2;
    assert(capacity != 0);
    struct frame **ring = h2o_mem_alloc(capacity * sizeof(struct frame *));
    for (uint32_t i = 0; i < queue->count; i++)
        ring[i] = *slot(queue, i);
    free(queue->ring);
    queue->ring = ring;
    queue->capacity = capacity;
    queue->head = 0;
}

static void release_ring(struct send_queue *queue) {
    free(queue->ring);
    *queue = (struct send_queue){0};
}

/* Frames at the front that can't be moved from their place any more. */
static uint32_t fixed(const struct send_queue *queue) {
    if (queue->busy > 0)
        return queue->busy;
    return queue->begun > 0 ? 1 : 0;
}

void send_queue_push(struct send_queue *queue, struct frame *frame) {
    if (queue->count == capacity_of(queue))
        grow(queue);
    *slot(queue, queue->count++) = frame_ref(frame);
    queue->bytes += size_of(frame);
}

void send_queue_push_urgent(struct send_queue *queue, struct frame *frame) {
    if (queue->count == capacity_of(queue))
        grow(queue);
    /* The few before it step back: everything behind it stays where it is. */
    queue->head = (queue->head - 1) & (capacity_of(queue) - 1);
    queue->count++;
    uint32_t place = fixed(queue);
    for (uint32_t i = 0; i < place; i++)
        *slot(queue, i) = *slot(queue, i + 1);
    *slot(queue, place) = frame_ref(frame);
    queue->bytes += size_of(frame);
}

/* The frame's first byte, which is none of the rest, counts as written. */
void send_queue_push_rest(struct send_queue *queue, const uint8_t *bytes, size_t size) {
    assert(queue->busy == 0 && queue->begun == 0);
    struct frame *rest = frame_create_rest(bytes, size);
    send_queue_push_urgent(queue, rest);
    frame_unref(rest);
    queue->begun = 1;
}

static void take_out(struct send_queue *queue, uint32_t position) {
    struct frame *frame = *slot(queue, position);
    for (uint32_t i = position; i > 0; i--)
        *slot(queue, i) = *slot(queue, i - 1);
    queue->head = (queue->head + 1) & (capacity_of(queue) - 1);
    queue->count--;
    queue->bytes -= size_of(frame);
    frame_unref(frame);
    if (queue->count == 0)
        release_ring(queue);
}

bool send_queue_drop_oldest(struct send_queue *queue) {
    for (uint32_t i = fixed(queue); i < queue->count; i++) {
        if (frame_opcode(*slot(queue, i)) >= OPCODE_CLOSE)
            continue;
        take_out(queue, i);
        return true;
    }
    return false;
}

size_t send_queue_fixed_bytes(struct send_queue *queue) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < fixed(queue); i++)
        bytes += size_of(*slot(queue, i));
    return bytes;
}

size_t send_queue_begin(struct send_queue *queue, struct iovec *parts, size_t most,
                        size_t bytes_most) {
    assert(queue->busy == 0 && bytes_most > 0);
    size_t skip = queue->begun;
    while (queue->busy < queue->count && queue->busy < most && queue->writing < bytes_most) {
        size_t size;
        const uint8_t *bytes = frame_bytes(*slot(queue, queue->busy), &size);
        size_t length = size - skip;
        if (length > bytes_most - queue->writing)
            length = bytes_most - queue->writing;
        /* struct iovec has no const: writing never changes it. */
        parts[queue->busy++] = (struct iovec){(void *)(uintptr_t)(bytes + skip), length};
        queue->writing += length;
        skip = 0;
    }
    return queue->busy;
}

void send_queue_written(struct send_queue *queue, size_t size) {
    assert(size <= queue->writing);
    size_t done = queue->begun + size;
    queue->busy = 0;
    queue->begun = 0;
    queue->writing = 0;
    while (queue->count > 0 && done >= size_of(*slot(queue, 0))) {
        done -= size_of(*slot(queue, 0));
        take_out(queue, 0);
    }
    queue->begun = done;
}

void send_queue_clear(struct send_queue *queue) {
    for (uint32_t i = 0; i < queue->count; i++)
        frame_unref(*slot(queue, i));
    release_ring(queue);
}
