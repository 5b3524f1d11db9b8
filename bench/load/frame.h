/* WebSocket frames as a client writes and reads them (RFC 6455, section 5). */
#ifndef LOAD_FRAME_H
#define LOAD_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opcode {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
};

/* The longest head that frame_write makes: two bytes, a 64-bit length and a mask. */
#define FRAME_HEAD_MAX 14

struct frame {
    const uint8_t *payload; /* borrowed from the input */
    size_t length;
    size_t whole; /* head and payload */
    enum opcode opcode;
    bool final;
};

enum frame_state { FRAME_WHOLE, FRAME_PARTIAL, FRAME_BROKEN };

/* Writes a final frame masked with `mask` to `out`, which has room for FRAME_HEAD_MAX + length
 * bytes, with the shortest length that fits. Returns the bytes written. */
size_t frame_write(uint8_t *out, enum opcode opcode, const uint8_t *payload, size_t length,
                   uint32_t mask);

/* Reads the frame that `input` begins with. On FRAME_PARTIAL, `whole` is what it needs as far as
 * that is known. FRAME_BROKEN when a server may not send it: masked, reserved bits or opcodes, a
 * length not written as shortly as it can be, a control frame that is fragmented or over 125 bytes;
 * or when it is longer than `length_max`. `problem` then says which. */
enum frame_state frame_read(const uint8_t *input, size_t available, size_t length_max,
                            struct frame *frame, const char **problem);

#endif
