/*
 * From a client's bytes to messages and control frames (RFC 6455 sections 5 and 8.1, RFC 7692
 * section 6), without a loop or a socket. It works in place: a message that arrives whole is handed
 * out where it lies; only one that arrives in pieces is gathered, in a buffer that never outgrows
 * the limit. Every byte is unmasked and checked once, as it arrives; a compressed message is
 * inflated and checked when it has come whole. The session's thread.
 */
#ifndef SLUICE_WEBSOCKET_PARSER_H
#define SLUICE_WEBSOCKET_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "websocket/frame.h"
#include "websocket/utf8.h"

/* Between two calls nothing but a started header or control frame stays with the caller: at most
 * this many bytes. */
#define PARSER_REST_MAX 131

enum parsed_kind {
    PARSED_NOTHING, /* all that could be used is used: more input is needed */
    PARSED_MESSAGE, /* opcode TEXT or BINARY, data */
    PARSED_PING,    /* data */
    PARSED_PONG,    /* data */
    PARSED_CLOSE,   /* code (1005: none was given), data is the reason */
    PARSED_FAILURE  /* the peer broke the protocol: code for the close frame, data says how */
};

struct parsed {
    enum parsed_kind kind;
    enum opcode opcode;
    int code;
    const uint8_t *data; /* borrowed until the thread's next call, for whichever parser */
    size_t size;
    size_t used; /* bytes of the input that are done with */
    bool inflated;
};

struct window;

/* Zeroed before first use; private but for what parser_inflate sets. */
struct parser {
    struct window *window; /* what compressed messages said, where the client refers back to it */
    uint8_t *gathered;     /* the message so far, when it came in pieces */
    uint32_t gathered_size, gathered_capacity;
    uint32_t frame_left; /* payload of the data frame under way that has not arrived */
    uint8_t key[4];      /* of that frame, turned to the next byte */
    uint8_t message;     /* opcode of the message under way, 0 between messages */
    uint8_t window_bits; /* 0: no compressed messages; of the client's window else */
    bool takeover;       /* compressed messages refer back to those before */
    bool compressed;     /* the message under way */
    bool in_frame, final, handed_out;
    bool ignores; /* for the caller to set: messages are told without what compressed ones say */
    struct utf8 utf8;
};

/* Compressed messages are allowed from here on, as they were agreed on (RFC 7692 section 7.1):
   bits of the client's window, 8 to 15, and whether it takes its context over. */
void parser_inflate(struct parser *parser, uint8_t window_bits, bool takeover);

/* Reads on until there is something to tell or the input is used up. data: the unread input, the
   caller's rest first; it is changed in place. message_bytes_max: a header that promises more is a
   failure 1009, and so is a compressed message that would become more. After a FAILURE or a CLOSE
   nothing more may be read. */
struct parsed parser_next(struct parser *parser, uint32_t message_bytes_max, uint8_t *data,
                          size_t size);

/* Whether it stands between two messages and remembers nothing of them; one that allows the same
   compression is as good. Never while a message that was handed out is still read. */
bool parser_rests(const struct parser *parser);

/* Frees what is kept. */
void parser_dispose(struct parser *parser);

#endif
