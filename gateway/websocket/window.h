/*
 * What one direction of a session has said last, where context takeover was agreed on: the next
 * message may refer back to it (RFC 7692 section 7.1.1). This is all that such a session keeps;
 * zlib's own state belongs to the thread. The session's thread.
 */
#ifndef SLUICE_WEBSOCKET_WINDOW_H
#define SLUICE_WEBSOCKET_WINDOW_H

#include <stddef.h>
#include <stdint.h>

struct window;

/* A compressed message was said: the last `most` bytes of all that was are kept. *window is NULL
   before the first. */
void window_append(struct window **window, size_t most, const uint8_t *data, size_t size);

/* NULL is an empty one. Borrowed until the next append. */
const uint8_t *window_bytes(const struct window *window, size_t *size);

void window_free(struct window *window); /* NULL is fine */

#endif
