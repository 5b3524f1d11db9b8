/*
 * What Sec-WebSocket-Extensions settles (RFC 6455 section 9.1): permessage-deflate with its four
 * parameters (RFC 7692 section 7.1), the only extension there is. The handshake reads the client's
 * offers with it; the session keeps what was agreed on. Pure functions. [any thread]
 */
#ifndef SLUICE_WEBSOCKET_EXTENSION_H
#define SLUICE_WEBSOCKET_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPRESSION_THRESHOLD_MAX (1u << 20)

/* What a route says of compression. All zero: off. */
struct compression {
    bool on;
    /* Each session keeps what was said last, up to 2^window_bits bytes each way, and a message may
       refer back to it. Else each message stands alone, and a session keeps nothing. */
    bool takeover;
    uint8_t window_bits; /* 9 to 15: how far back a message may refer */
    uint8_t level;       /* 1 (fast) to 9 */
    /* A payload smaller than this is sent as it is; to COMPRESSION_THRESHOLD_MAX. */
    uint32_t threshold;
};

/* What was agreed on with one client. All zero: no extension. */
struct agreement {
    uint8_t send_bits;    /* our window, 8 to 15 */
    uint8_t receive_bits; /* the client's */
    bool send_takeover, receive_takeover;
};

struct extension {
    struct agreement agreement;
    char answer[160]; /* the value of the answer's Sec-WebSocket-Extensions */
};

/* Reads one field's value and takes the first offer that can be met; several fields are one list,
   to be read in order until one is taken. An offer that the RFC does not know, or that breaks the
   grammar, is declined as an extension nobody knows would be: the handshake goes on without it.
   False: none was taken, extension is left as it was. */
bool extension_negotiate(const struct compression *compression, const char *field, size_t size,
                         struct extension *extension);

#endif
