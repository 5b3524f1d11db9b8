/*
 * Compressed payloads from anybody: what is inflated keeps to its limit, is UTF-8 where it is text,
 * and comes back the same when it is compressed and inflated again.
 *
 * The first byte says how; then come messages, each behind a byte that says how much of what
 * follows is its.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/deflater.h"
#include "websocket/frame.h"
#include "websocket/inflater.h"
#include "websocket/utf8.h"
#include "websocket/window.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition)
        abort();
}

/* Compressed here, it says what it said. */
static void check_round_trip(const uint8_t *message, size_t size, unsigned bits) {
    struct frame *frame = frame_create(OPCODE_BINARY, message, size);
    const struct frame *form = deflater_shared_form(frame, bits, 1 + bits % 9);
    if (form != frame) {
        struct inflater_input input = {.bytes_max = (uint32_t)size};
        const uint8_t *again, *payload = frame_payload(frame, &size);
        size_t again_size;
        input.data = frame_payload(form, &input.size);
        require(input.size < size);
        require(inflater_read(&input, &again, &again_size) == INFLATER_DONE);
        require(again_size == size && memcmp(again, payload, size) == 0);
    }
    frame_unref(frame);
}

/* False: no more of this stream is to be read. */
static bool inflate_one(struct inflater_input *input, const uint8_t *data, size_t size) {
    const uint8_t *message;
    size_t message_size, kept;
    uint8_t *exact = malloc(size + 1);
    memcpy(exact, data, size);
    input->data = exact;
    input->size = size;
    enum inflater_result result = inflater_read(input, &message, &message_size);
    free(exact);
    if (result != INFLATER_DONE)
        return false;
    require(message_size <= input->bytes_max);
    require(!input->is_text || utf8_valid(message, message_size));
    if (input->window != NULL) {
        window_bytes(*input->window, &kept);
        require(kept <= (size_t)1 << input->window_bits);
    }
    check_round_trip(message, message_size, 8 + size % 8);
    inflater_forget();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t limits[] = {0, 10, 4096, 200000};
    struct window *window = NULL;
    if (size == 0)
        return 0;
    struct inflater_input input = {.is_text = (data[0] & 1) != 0,
                                   .bytes_max = limits[data[0] >> 1 & 3],
                                   .window = data[0] & 8 ? &window : NULL,
                                   .window_bits = (uint8_t)(8 + (data[0] >> 4 & 7))};
    bool goes_on = true;
    for (size_t at = 1; goes_on && at < size;) {
        size_t piece = data[at++];
        if (piece == 255 || piece > size - at)
            piece = size - at;
        goes_on = inflate_one(&input, data + at, piece);
        at += piece;
    }
    window_free(window);
    return 0;
}
