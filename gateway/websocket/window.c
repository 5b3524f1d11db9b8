#include "websocket/window.h"

#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"

#define CAPACITY_FIRST 256

struct window {
    size_t size, capacity;
    uint8_t bytes[];
};

/* Room for so many bytes; what is there stays. */
static void reserve(struct window **window, size_t size, size_t most) {
    size_t capacity = *window == NULL ? CAPACITY_FIRST : (*window)->capacity;
    while (capacity < size)
        capacity *= 2;
    if (capacity > most)
        capacity = most;
    if (*window != NULL && (*window)->capacity >= size)
        return;
    size_t kept = *window == NULL ? 0 : (*window)->size;
    *window = h2o_mem_realloc(*window, sizeof(**window) + capacity);
    (*window)->size = kept;
    (*window)->capacity = capacity;
}

void window_append(struct window **window, size_t most, const uint8_t *data, size_t size) {
    if (size > most) {
        data += size - most;
        size = most;
    }
    if (size == 0)
        return;
    size_t before = *window == NULL ? 0 : (*window)->size;
    size_t kept = before + size > most ? most - size : before;
    reserve(window, kept + size, most);
    memmove((*window)->bytes, (*window)->bytes + before - kept, kept);
    memcpy((*window)->bytes + kept, data, size);
    (*window)->size = kept + size;
}

const uint8_t *window_bytes(const struct window *window, size_t *size) {
    *size = window == NULL ? 0 : window->size;
    return window == NULL ? NULL : window->bytes;
}

void window_free(struct window *window) { free(window); }
