/*
 * What a WebSocket client puts on the wire, right or wrong, for tests: bytes that grow, and client
 * frames in them.
 */
#ifndef SUPPORT_WIRE_H
#define SUPPORT_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed before first use. */
struct wire {
    uint8_t *data;
    size_t size, capacity;
};

void wire_raw(struct wire *wire, const void *data, size_t size);

/* A masked client frame in its shortest form. first: its first byte, so 0x81 is a whole text. */
void wire_frame(struct wire *wire, uint8_t first, const void *payload, size_t size);

/* A frame's header with any length in any form (number_size 0, 2 or 8 bytes behind the second
   byte), masked with a fixed key or not; the payload is the caller's to add. */
void wire_header(struct wire *wire, uint8_t first, int number_size, uint64_t length, int masked);

/* Payload, masked with that key from its first byte. */
void wire_masked(struct wire *wire, const void *payload, size_t size);

/* A close frame; code 0: an empty one. */
void wire_close(struct wire *wire, int code, const char *reason);

void wire_free(struct wire *wire);

#endif
