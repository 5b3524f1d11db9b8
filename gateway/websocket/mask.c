#include "websocket/mask.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* Each of these takes the whole steps off the front, returns how many bytes that was, and adds the
   high bits it saw. The steps are multiples of four, so the key stays as it is. */

#if defined(__SSE2__)
static size_t remove_by_16(uint8_t *data, size_t size, const uint8_t key[4], uint8_t *high) {
    int word;
    memcpy(&word, key, sizeof(word));
    const __m128i keys = _mm_set1_epi32(word);
    __m128i seen = _mm_setzero_si128();
    size_t at = 0;
    for (; size - at >= 16; at += 16) {
        __m128i plain = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(data + at)), keys);
        _mm_storeu_si128((__m128i *)(data + at), plain);
        seen = _mm_or_si128(seen, plain);
    }
    if (_mm_movemask_epi8(seen) != 0)
        *high |= 0x80;
    return at;
}
#elif defined(__ARM_NEON)
/* Loads and stores by bytes keep their order in memory whatever the machine's endianness. */
static size_t remove_by_16(uint8_t *data, size_t size, const uint8_t key[4], uint8_t *high) {
    uint8_t repeated[16];
    for (size_t i = 0; i < 16; i++)
        repeated[i] = key[i % 4];
    const uint8x16_t keys = vld1q_u8(repeated);
    uint8x16_t seen = vdupq_n_u8(0);
    size_t at = 0;
    for (; size - at >= 16; at += 16) {
        uint8x16_t plain = veorq_u8(vld1q_u8(data + at), keys);
        vst1q_u8(data + at, plain);
        seen = vorrq_u8(seen, plain);
    }
    uint8x8_t half = vorr_u8(vget_low_u8(seen), vget_high_u8(seen));
    if ((vget_lane_u64(vreinterpret_u64_u8(half), 0) & UINT64_C(0x8080808080808080)) != 0)
        *high |= 0x80;
    return at;
}
#endif

static size_t remove_by_8(uint8_t *data, size_t size, const uint8_t key[4], uint8_t *high) {
    uint64_t keys, seen = 0;
    memcpy(&keys, key, 4);
    memcpy((uint8_t *)&keys + 4, key, 4);
    size_t at = 0;
    for (; size - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        word ^= keys;
        memcpy(data + at, &word, 8);
        seen |= word;
    }
    if ((seen & UINT64_C(0x8080808080808080)) != 0)
        *high |= 0x80;
    return at;
}

static void turn_key(uint8_t key[4], size_t by) {
    const uint8_t old[4] = {key[0], key[1], key[2], key[3]};
    for (size_t i = 0; i < 4; i++)
        key[i] = old[(i + by) % 4];
}

bool mask_remove(uint8_t *data, size_t size, uint8_t key[4]) {
    uint8_t high = 0;
    size_t at = 0;
#if defined(__SSE2__) || defined(__ARM_NEON)
    at += remove_by_16(data, size, key, &high);
#endif
    at += remove_by_8(data + at, size - at, key, &high);
    size_t tail = size - at;
    for (size_t i = 0; i < tail; i++) {
        data[at + i] ^= key[i % 4];
        high |= data[at + i];
    }
    turn_key(key, tail);
    return (high & 0x80) == 0;
}
