/*
 * A growing array of bytes: what a socket did not take yet, or a frame that is not whole yet. The
 * memory is one allocation; running out of it ends the program.
 */
#ifndef LOAD_BUFFER_H
#define LOAD_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

/* Makes room for `more` bytes behind what is there and returns the place; `size` stays. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *bytes, size_t size);

/* Takes `size` bytes, at most what is there, from the front. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Gives the memory back. The buffer is empty and may be used again. */
void buffer_free(struct buffer *buffer);

#endif
