#include "frame.h"

#include <string.h>

static size_t write_length(uint8_t *out, size_t length) {
    if (length < 126) {
        out[0] = (uint8_t)(0x80 | length);
        return 1;
    }
    size_t octets = length <= 0xffff ? 2 : 8;
    out[0] = octets == 2 ? 0x80 | 126 : 0x80 | 127;
    for (size_t place = 0; place < octets; place++)
        out[1 + place] = (uint8_t)(length >> (8 * (octets - 1 - place)));
    return 1 + octets;
}

size_t frame_write(uint8_t *out, enum opcode opcode, const uint8_t *payload, size_t length,
                   uint32_t mask) {
    out[0] = (uint8_t)(0x80u | (unsigned)opcode);
    size_t head = 1 + write_length(out + 1, length);
    uint8_t key[8];
    memcpy(key, &mask, 4);
    memcpy(key + 4, &mask, 4);
    memcpy(out + head, &mask, 4);
    head += 4;

    uint64_t wide;
    memcpy(&wide, key, 8);
    size_t place = 0;
    for (; place + 8 <= length; place += 8) {
        uint64_t word;
        memcpy(&word, payload + place, 8);
        word ^= wide;
        memcpy(out + head + place, &word, 8);
    }
    for (; place < length; place++)
        out[head + place] = payload[place] ^ key[place & 3];
    return head + length;
}

/* Reads a length of two or eight octets; false when a shorter form would have done. */
static bool read_long(const uint8_t *in, size_t octets, uint64_t *length) {
    uint64_t value = 0;
    for (size_t place = 0; place < octets; place++)
        value = value << 8 | in[place];
    *length = value;
    return value >= (octets == 2 ? 126u : 65536u);
}

static const char *problem_of_head(const uint8_t *input) {
    unsigned opcode = input[0] & 15u;
    if ((input[0] & 0x70) != 0)
        return "a reserved bit is set";
    if ((opcode > OPCODE_BINARY && opcode < OPCODE_CLOSE) || opcode > OPCODE_PONG)
        return "a reserved opcode";
    if ((input[1] & 0x80) != 0)
        return "a server's frame is masked";
    if (opcode >= OPCODE_CLOSE && ((input[0] & 0x80) == 0 || input[1] > 125))
        return "a control frame is fragmented or longer than 125 bytes";
    return NULL;
}

enum frame_state frame_read(const uint8_t *input, size_t available, size_t length_max,
                            struct frame *frame, const char **problem) {
    frame->whole = 2;
    if (available < 2)
        return FRAME_PARTIAL;
    *problem = problem_of_head(input);
    if (*problem != NULL)
        return FRAME_BROKEN;

    uint64_t length = input[1];
    size_t octets = length == 126 ? 2 : length == 127 ? 8 : 0;
    frame->whole = 2 + octets;
    if (available < 2 + octets)
        return FRAME_PARTIAL;
    if (octets > 0 && !read_long(input + 2, octets, &length)) {
        *problem = "a length is not written as shortly as it can be";
        return FRAME_BROKEN;
    }
    if (length > length_max) {
        *problem = "a frame is longer than any message of this run";
        return FRAME_BROKEN;
    }
    frame->opcode = (enum opcode)(input[0] & 15);
    frame->final = (input[0] & 0x80) != 0;
    frame->payload = input + 2 + octets;
    frame->length = (size_t)length;
    frame->whole = 2 + octets + (size_t)length;
    return available < frame->whole ? FRAME_PARTIAL : FRAME_WHOLE;
}
