/*
 * From the payload of a compressed message to the message (RFC 7692 section 7.2.2). zlib's state
 * and the memory for what it makes belong to the thread and serve all of its sessions, so that a
 * message is inflated in one call, when it has come whole. [any thread]
 */
#ifndef SLUICE_WEBSOCKET_INFLATER_H
#define SLUICE_WEBSOCKET_INFLATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window;

enum inflater_result {
    INFLATER_DONE,
    INFLATER_TOO_BIG, /* more than bytes_max; no more than that and a byte was ever held */
    INFLATER_BROKEN,  /* no DEFLATE data (RFC 1951), or cut short */
    INFLATER_NOT_UTF8
};

struct inflater_input {
    const uint8_t *data; /* the payloads of the message's frames */
    size_t size;
    uint32_t bytes_max; /* of the message */
    bool is_text;
    /* What the client said before, kept up to date here; NULL: each message stands alone. */
    struct window **window;
    uint8_t window_bits; /* of the client, 8 to 15 */
};

/* On INFLATER_DONE *size bytes at *message, borrowed until inflater_forget or the next call on this
   thread. */
enum inflater_result inflater_read(const struct inflater_input *input, const uint8_t **message,
                                   size_t *size);

/* The last message is done with: gives back memory that only a large one needed. */
void inflater_forget(void);

#endif
