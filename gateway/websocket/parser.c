#include "websocket/parser.h"

#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"
#include "websocket/inflater.h"
#include "websocket/mask.h"
#include "websocket/window.h"

#define CONTROL_PAYLOAD_MAX 125
#define GATHERED_FIRST 256

/* RSV1: the message is compressed (RFC 7692 section 6). */
#define RESERVED 0x70
#define COMPRESSED 0x40

struct header {
    enum opcode opcode;
    bool final, compressed;
    uint8_t size; /* of the header itself; 0: it has not arrived whole */
    uint64_t length;
    uint8_t key[4];
};

static struct parsed failure(int code, const char *how) {
    return (struct parsed){
        .kind = PARSED_FAILURE, .code = code, .data = (const uint8_t *)how, .size = strlen(how)};
}

static const struct parsed nothing = {.kind = PARSED_NOTHING};

static bool is_control(enum opcode opcode) { return opcode >= OPCODE_CLOSE; }

/* --- headers (RFC 6455 section 5.2) --- */

/* Only a message's first frame says that it is compressed. */
static bool may_be_compressed(const struct parser *parser, enum opcode opcode) {
    return parser->window_bits != 0 && (opcode == OPCODE_TEXT || opcode == OPCODE_BINARY);
}

/* What the first byte alone can do wrong. NULL when it is right. */
static const char *check_first(const struct parser *parser, uint8_t byte) {
    enum opcode opcode = byte & 0x0f;
    bool final = (byte & 0x80) != 0;
    if ((byte & RESERVED) != 0 &&
        !((byte & RESERVED) == COMPRESSED && may_be_compressed(parser, opcode)))
        return "reserved bit set";
    if (opcode > OPCODE_PONG || (opcode > OPCODE_BINARY && opcode < OPCODE_CLOSE))
        return "unknown opcode";
    if (is_control(opcode))
        return final ? NULL : "fragmented control frame";
    if (opcode == OPCODE_CONTINUATION)
        return parser->message != 0 ? NULL : "continuation of nothing";
    return parser->message == 0 ? NULL : "message inside a message";
}

static const char *check_second(uint8_t first, uint8_t byte) {
    if ((byte & 0x80) == 0)
        return "unmasked frame";
    if (is_control(first & 0x0f) && (byte & 0x7f) > CONTROL_PAYLOAD_MAX)
        return "control frame too long";
    return NULL;
}

static uint64_t read_number(const uint8_t *data, size_t size) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++)
        number = number << 8 | data[i];
    return number;
}

static const char *check_length(uint64_t length, size_t number_size) {
    if (length >> 63 != 0)
        return "length above 63 bits";
    if (number_size > 0 && length < (number_size == 2 ? 126u : 65536u))
        return "length not in its shortest form";
    return NULL;
}

/* Reads a header as far as it has arrived. A message to fail with, or NULL. */
static const char *read_header(const struct parser *parser, const uint8_t *data, size_t size,
                               struct header *header) {
    const char *wrong;
    if (size >= 1 && (wrong = check_first(parser, data[0])) != NULL)
        return wrong;
    if (size < 2)
        return NULL;
    if ((wrong = check_second(data[0], data[1])) != NULL)
        return wrong;
    uint8_t length = data[1] & 0x7f;
    uint8_t number_size = length < 126 ? 0 : length == 126 ? 2 : 8;
    if (size < 2u + number_size)
        return NULL;
    header->length = number_size == 0 ? length : read_number(data + 2, number_size);
    if ((wrong = check_length(header->length, number_size)) != NULL)
        return wrong;
    header->opcode = data[0] & 0x0f;
    header->final = (data[0] & 0x80) != 0;
    header->compressed =
        header->opcode == OPCODE_CONTINUATION ? parser->compressed : (data[0] & COMPRESSED) != 0;
    if (size < 2u + number_size + sizeof(header->key))
        return NULL;
    memcpy(header->key, data + 2 + number_size, sizeof(header->key));
    header->size = (uint8_t)(2 + number_size + sizeof(header->key));
    return NULL;
}

/* --- control frames (section 5.5) --- */

/* Section 7.4: those that may stand in a frame. */
static bool is_close_code(int code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static struct parsed read_close(const uint8_t *payload, size_t size) {
    struct parsed close = {.kind = PARSED_CLOSE, .opcode = OPCODE_CLOSE, .code = 1005};
    if (size == 0)
        return close;
    if (size == 1)
        return failure(1002, "close code cut short");
    close.code = (int)read_number(payload, 2);
    close.data = payload + 2;
    close.size = size - 2;
    if (!is_close_code(close.code))
        return failure(1002, "invalid close code");
    if (!utf8_valid(close.data, close.size))
        return failure(1007, "close reason is not UTF-8");
    return close;
}

static struct parsed read_control(const struct header *header, uint8_t *payload) {
    uint8_t key[4];
    size_t size = (size_t)header->length;
    memcpy(key, header->key, sizeof(key));
    mask_remove(payload, size, key);
    if (header->opcode == OPCODE_CLOSE)
        return read_close(payload, size);
    return (struct parsed){.kind = header->opcode == OPCODE_PING ? PARSED_PING : PARSED_PONG,
                           .opcode = header->opcode,
                           .data = payload,
                           .size = size};
}

/* --- data frames (section 5.4) --- */

static void begin_frame(struct parser *parser, const struct header *header) {
    if (header->opcode != OPCODE_CONTINUATION)
        parser->message = (uint8_t)header->opcode;
    parser->compressed = header->compressed;
    parser->in_frame = true;
    parser->final = header->final;
    parser->frame_left = (uint32_t)header->length;
    memcpy(parser->key, header->key, sizeof(parser->key));
}

/* What a message's payloads may come to. Compression of what can't be compressed makes it larger:
   by a bit a byte at worst, for zlib's way to compress. */
static uint64_t payload_most(bool compressed, uint32_t message_bytes_max) {
    return compressed ? (uint64_t)message_bytes_max + message_bytes_max / 8 + 64
                      : message_bytes_max;
}

/* Room for size bytes more: doubled, but never beyond what the message may become. */
static void reserve(struct parser *parser, uint32_t size, uint32_t message_bytes_max) {
    uint64_t needed = (uint64_t)parser->gathered_size + size;
    if (needed <= parser->gathered_capacity)
        return;
    uint64_t most = parser->final ? needed + parser->frame_left
                                  : payload_most(parser->compressed, message_bytes_max);
    uint64_t capacity = (uint64_t)parser->gathered_capacity * 2;
    if (capacity < GATHERED_FIRST)
        capacity = GATHERED_FIRST;
    if (capacity < needed)
        capacity = needed;
    if (capacity > most)
        capacity = most;
    parser->gathered = h2o_mem_realloc(parser->gathered, (size_t)capacity);
    parser->gathered_capacity = (uint32_t)capacity;
}

static void gather(struct parser *parser, const uint8_t *data, uint32_t size,
                   uint32_t message_bytes_max) {
    if (size == 0)
        return;
    reserve(parser, size, message_bytes_max);
    memcpy(parser->gathered + parser->gathered_size, data, size);
    parser->gathered_size += size;
}

/* From the payload to what it says. */
static struct parsed inflate_message(struct parser *parser, uint32_t message_bytes_max,
                                     struct parsed message) {
    const struct inflater_input input = {.data = message.data,
                                         .size = message.size,
                                         .bytes_max = message_bytes_max,
                                         .is_text = message.opcode == OPCODE_TEXT,
                                         .window = parser->takeover ? &parser->window : NULL,
                                         .window_bits = parser->window_bits};
    if (parser->ignores)
        return message;
    switch (inflater_read(&input, &message.data, &message.size)) {
    case INFLATER_DONE:
        message.inflated = true;
        return message;
    case INFLATER_TOO_BIG:
        return failure(1009, "message too big");
    case INFLATER_NOT_UTF8:
        return failure(1007, "text is not UTF-8");
    case INFLATER_BROKEN:
    default:
        return failure(1007, "message is not compressed as agreed");
    }
}

static struct parsed end_message(struct parser *parser, uint32_t message_bytes_max,
                                 const uint8_t *data, size_t size) {
    struct parsed message = {
        .kind = PARSED_MESSAGE, .opcode = parser->message, .data = data, .size = size};
    if (parser->compressed)
        message = inflate_message(parser, message_bytes_max, message);
    else if (parser->message == OPCODE_TEXT && !utf8_complete(&parser->utf8))
        return failure(1007, "text is not UTF-8");
    parser->message = 0;
    parser->handed_out = true;
    return message;
}

/* The next piece of the frame under way: all of it that has arrived. */
static struct parsed read_payload(struct parser *parser, uint32_t message_bytes_max, uint8_t *data,
                                  size_t size) {
    uint32_t piece = size < parser->frame_left ? (uint32_t)size : parser->frame_left;
    bool is_ascii = mask_remove(data, piece, parser->key);
    if (parser->message == OPCODE_TEXT && !parser->compressed &&
        !(is_ascii && utf8_complete(&parser->utf8)) && !utf8_check(&parser->utf8, data, piece))
        return failure(1007, "text is not UTF-8");
    parser->frame_left -= piece;
    parser->in_frame = parser->frame_left > 0;
    bool ends = parser->final && !parser->in_frame;
    struct parsed read = nothing;
    if (ends && parser->gathered_size == 0) {
        read = end_message(parser, message_bytes_max, data, piece);
    } else {
        gather(parser, data, piece, message_bytes_max);
        if (ends)
            read = end_message(parser, message_bytes_max, parser->gathered, parser->gathered_size);
    }
    read.used = piece;
    return read;
}

/* --- the whole --- */

/* A header with what has arrived of its payload; a control frame whole. used stays 0 while these
 * have not arrived. */
static struct parsed read_start(struct parser *parser, uint32_t message_bytes_max, uint8_t *data,
                                size_t size) {
    struct header header = {.size = 0};
    const char *wrong = read_header(parser, data, size, &header);
    if (wrong != NULL)
        return failure(1002, wrong);
    /* The length stands before the key: too much is refused before the key has arrived. */
    if (!is_control(header.opcode) &&
        header.length > payload_most(header.compressed, message_bytes_max) - parser->gathered_size)
        return failure(1009, "message too big");
    if (header.size == 0)
        return nothing;
    struct parsed read;
    if (is_control(header.opcode)) {
        if (size - header.size < header.length)
            return nothing;
        read = read_control(&header, data + header.size);
        read.used = (size_t)header.length;
    } else {
        begin_frame(parser, &header);
        read = read_payload(parser, message_bytes_max, data + header.size, size - header.size);
    }
    read.used += header.size;
    return read;
}

static void free_gathered(struct parser *parser) {
    free(parser->gathered);
    parser->gathered = NULL;
    parser->gathered_size = 0;
    parser->gathered_capacity = 0;
}

/* What was handed out is done with when the next call comes. */
static void forget_message(struct parser *parser) {
    free_gathered(parser);
    if (parser->compressed && !parser->ignores)
        inflater_forget();
    parser->handed_out = false;
}

void parser_inflate(struct parser *parser, uint8_t window_bits, bool takeover) {
    parser->window_bits = window_bits;
    parser->takeover = takeover;
}

struct parsed parser_next(struct parser *parser, uint32_t message_bytes_max, uint8_t *data,
                          size_t size) {
    if (parser->handed_out)
        forget_message(parser);
    size_t used = 0;
    struct parsed read;
    do {
        read = parser->in_frame ? read_payload(parser, message_bytes_max, data + used, size - used)
                                : read_start(parser, message_bytes_max, data + used, size - used);
        used += read.used;
    } while (read.kind == PARSED_NOTHING && read.used > 0);
    read.used = used;
    return read;
}

bool parser_rests(const struct parser *parser) {
    return parser->message == 0 && !parser->handed_out && parser->window == NULL;
}

void parser_dispose(struct parser *parser) {
    free_gathered(parser);
    window_free(parser->window);
    parser->window = NULL;
}
