/*
 * A WebSocket peer's compression, for tests: what it makes of a message, and what it reads out of a
 * payload with no larger window than was agreed on (RFC 7692 section 7.2).
 */
#ifndef SUPPORT_DEFLATE_PEER_H
#define SUPPORT_DEFLATE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

struct deflate_peer {
    uint8_t *bytes; /* of the last call; NULL when none had any */
    size_t size, capacity;

    /* private */
    z_stream out, in;
    bool out_takeover, in_takeover;
};

/* bits: of both windows, 9 to 15 (in: 8 to 15). */
void deflate_peer_open(struct deflate_peer *peer, int out_bits, bool out_takeover, int in_bits,
                       bool in_takeover);

/* The message as a payload. */
void deflate_peer_pack(struct deflate_peer *peer, const void *message, size_t size);

/* The payload as a message. False: it is no such payload, or refers back further than the window.
 */
bool deflate_peer_unpack(struct deflate_peer *peer, const void *payload, size_t size);

void deflate_peer_close(struct deflate_peer *peer);

/* Text that can be compressed, the same for the same seed. */
void deflate_peer_text(char *text, size_t size, unsigned seed);

#endif
