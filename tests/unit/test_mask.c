#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/mask.h"

/* The module once more without vector instructions, so that every machine tests that path too. */
bool remove_portably(uint8_t *data, size_t size, uint8_t key[4]);
#undef __SSE2__
#undef __ARM_NEON
#define mask_remove remove_portably
#include "websocket/mask.c"
#undef mask_remove

static bool (*const removers[])(uint8_t *, size_t, uint8_t[4]) = {mask_remove, remove_portably};

static const uint8_t fixed_key[4] = {0xa1, 0x02, 0xf3, 0x54};

/* The rule itself (RFC 6455 section 5.3), a byte at a time. */
static void mask_plainly(uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        data[i] ^= fixed_key[i % 4];
}

static uint8_t plain_byte(size_t i) { return (uint8_t)('a' + i % 26); }

/* Exactly as long as needed, so that a sanitizer sees one byte too many. */
static uint8_t *masked_text(size_t size) {
    uint8_t *data = malloc(size == 0 ? 1 : size);
    for (size_t i = 0; i < size; i++)
        data[i] = plain_byte(i);
    mask_plainly(data, size);
    return data;
}

static void check_plain(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i] != plain_byte(i))
            ck_abort_msg("byte %zu of %zu is %02x", i, size, data[i]);
}

START_TEST(every_size_is_unmasked) {
    for (size_t size = 0; size < 200; size++) {
        uint8_t key[4];
        uint8_t *data = masked_text(size);
        memcpy(key, fixed_key, 4);
        ck_assert(removers[_i](data, size, key));
        check_plain(data, size);
        free(data);
    }
}
END_TEST

START_TEST(the_key_goes_on_where_the_last_piece_ended) {
    for (size_t first = 0; first < 70; first++) {
        for (size_t second = 0; second < 40; second++) {
            uint8_t key[4];
            uint8_t *data = masked_text(100);
            memcpy(key, fixed_key, 4);
            removers[_i](data, first, key);
            removers[_i](data + first, second < 100 - first ? second : 100 - first, key);
            size_t done = first + second < 100 ? first + second : 100;
            removers[_i](data + done, 100 - done, key);
            check_plain(data, 100);
            free(data);
        }
    }
}
END_TEST

START_TEST(one_byte_above_ascii_anywhere_is_seen) {
    for (size_t size = 1; size < 60; size++) {
        for (size_t high = 0; high < size; high++) {
            uint8_t key[4];
            uint8_t *data = masked_text(size);
            memcpy(key, fixed_key, 4);
            data[high] ^= 0x80;
            if (removers[_i](data, size, key) || data[high] != (plain_byte(high) | 0x80))
                ck_abort_msg("byte %zu of %zu", high, size);
            free(data);
        }
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mask");
    TCase *tests = tcase_create("mask");
    tcase_set_timeout(tests, 30);
    tcase_add_loop_test(tests, every_size_is_unmasked, 0, 2);
    tcase_add_loop_test(tests, the_key_goes_on_where_the_last_piece_ended, 0, 2);
    tcase_add_loop_test(tests, one_byte_above_ascii_anywhere_is_seen, 0, 2);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
