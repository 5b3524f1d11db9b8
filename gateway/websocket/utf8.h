/*
 * UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. Text is
 * checked piece by piece as it arrives, and the first byte that can't belong to any character ends
 * it. Any thread.
 */
#ifndef SLUICE_WEBSOCKET_UTF8_H
#define SLUICE_WEBSOCKET_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a text stands: how many bytes its last character still needs, and from where to where the
   next may be. All zero before the first piece and between characters. */
struct utf8 {
    uint8_t needed, least, most;
};

/* Goes on with the next size bytes of a text. False at the first byte that is wrong: the state is
 * of no use then. */
bool utf8_check(struct utf8 *state, const uint8_t *data, size_t size);

/* Whether the text may end here: the last character is whole. */
bool utf8_complete(const struct utf8 *state);

/* Whether these bytes are a whole text. */
bool utf8_valid(const void *data, size_t size);

#endif
