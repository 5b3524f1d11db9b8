#include "websocket/utf8.h"

#include <string.h>

/* How many of the first bytes are ASCII, in steps of 16: most text is, and these are as good as
 * free. */
static size_t skip_ascii(const uint8_t *data, size_t size) {
    size_t at = 0;
    while (size - at >= 16) {
        uint64_t words[2];
        memcpy(words, data + at, sizeof(words));
        if (((words[0] | words[1]) & UINT64_C(0x8080808080808080)) != 0)
            return at;
        at += 16;
    }
    return at;
}

/* A character's first byte: what may follow it is table 3-7 of the Unicode standard (RFC 3629
 * section 4). */
static bool begin_character(struct utf8 *state, uint8_t byte) {
    *state = (struct utf8){.needed = 1, .least = 0x80, .most = 0xbf};
    if (byte < 0xc2) /* a continuation, or an overlong form of ASCII */
        return false;
    if (byte < 0xe0)
        return true;
    if (byte < 0xf0) {
        state->needed = 2;
        if (byte == 0xe0)
            state->least = 0xa0; /* overlong below */
        if (byte == 0xed)
            state->most = 0x9f; /* surrogates above */
        return true;
    }
    state->needed = 3;
    if (byte == 0xf0)
        state->least = 0x90; /* overlong below */
    if (byte == 0xf4)
        state->most = 0x8f; /* above U+10FFFF */
    return byte <= 0xf4;
}

static bool continue_character(struct utf8 *state, uint8_t byte) {
    if (byte < state->least || byte > state->most)
        return false;
    *state = (struct utf8){.needed = (uint8_t)(state->needed - 1), .least = 0x80, .most = 0xbf};
    return true;
}

bool utf8_check(struct utf8 *state, const uint8_t *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        if (state->needed > 0) {
            if (!continue_character(state, data[at++]))
                return false;
        } else if (data[at] >= 0x80) {
            if (!begin_character(state, data[at++]))
                return false;
        } else {
            size_t skipped = skip_ascii(data + at, size - at);
            at += skipped == 0 ? 1 : skipped;
        }
    }
    return true;
}

bool utf8_complete(const struct utf8 *state) { return state->needed == 0; }

bool utf8_valid(const void *data, size_t size) {
    struct utf8 state = {0};
    return utf8_check(&state, data, size) && utf8_complete(&state);
}
