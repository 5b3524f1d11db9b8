#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "support/deflate_peer.h"
#include "websocket/inflater.h"
#include "websocket/window.h"

#define BYTES(text) ((const uint8_t *)(text)), sizeof(text) - 1

static enum inflater_result result;
static const uint8_t *message;
static size_t message_size;

static void inflate_payload(const uint8_t *data, size_t size, uint32_t bytes_max, bool is_text) {
    /* Exactly as much memory as there is payload, so that a sanitizer sees one byte too many. */
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    memcpy(exact, data, size);
    const struct inflater_input input = {
        .data = exact, .size = size, .bytes_max = bytes_max, .is_text = is_text};
    result = inflater_read(&input, &message, &message_size);
    free(exact);
}

static void check_message(const void *expected, size_t size) {
    ck_assert_int_eq(result, INFLATER_DONE);
    ck_assert_uint_eq(message_size, size);
    ck_assert_ptr_nonnull(message);
    ck_assert_int_eq(memcmp(message, expected, size), 0);
}

/* --- what RFC 7692 section 7.2.3 gives as examples, and other forms of "Hello" --- */

static const struct {
    const char *what;
    const uint8_t *payload;
    size_t size;
    const char *message;
} forms[] = {
    {"one block", BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
    {"a stored block", BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello"},
    {"a last block", BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"},
    {"a last block and nothing behind it", BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
    {"two blocks", BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"},
    {"two last blocks", BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
     "HelloHello"},
    {"empty blocks", BYTES("\x00\x00\x00\xff\xff\x00\x00\x00\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00"),
     "Hello"},
    {"an empty message", BYTES("\x00"), ""},
    {"an empty message in a fixed block", BYTES("\x02\x00"), ""},
    {"an empty last block", BYTES("\x03\x00\x00"), ""},
    {"no payload at all", BYTES(""), ""},
};

START_TEST(every_form_of_a_message_is_read) {
    inflate_payload(forms[_i].payload, forms[_i].size, 100, true);
    ck_assert_msg(result == INFLATER_DONE, "%s", forms[_i].what);
    check_message(forms[_i].message, strlen(forms[_i].message));
}
END_TEST

/* The second block refers back to the first, which said that it was the last. */
START_TEST(a_block_may_refer_back_over_a_last_block) {
    inflate_payload(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x02\x13\x00\x00"), 100, true);
    ck_assert_int_eq(result, INFLATER_DONE);
    ck_assert_int_eq(memcmp(message, "Hello", 5), 0);
    ck_assert_uint_gt(message_size, 5);
    ck_assert_int_eq(memcmp(message + 5, "HelloHello", message_size - 5), 0);
}
END_TEST

static const struct {
    const char *what;
    const uint8_t *payload;
    size_t size;
} broken[] = {
    {"an unknown kind of block", BYTES("\x06")},
    {"an unknown kind of block behind a message", BYTES("\xf2\x48\xcd\xc9\xc9\x07\x06\x00")},
    {"a stored block whose lengths differ", BYTES("\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00")},
    {"a stored block cut short", BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c")},
    {"a reference to before the start", BYTES("\x02\x13\x00\x00")},
    {"a block cut short", BYTES("\xf2\x48\xcd\xc9")},
    {"too many codes", BYTES("\xfc\xff\xff\xff\xff")},
    {"codes without an end", BYTES("\x04\xc0\x81\x08\x00\x00\x00\x00\x20\x7f\xeb\x0b\x00\x00")},
    {"random bytes", BYTES("\xde\xad\xbe\xef\x00\x11\x22\x33\x44\x55\x66\x77")},
    {"plain text", BYTES("Hello, this is not compressed at all")},
    {"the tail, not taken off", BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff")},
};

START_TEST(what_is_no_compressed_message_is_refused) {
    inflate_payload(broken[_i].payload, broken[_i].size, 1000, false);
    ck_assert_msg(result == INFLATER_BROKEN, "%s: %d", broken[_i].what, result);
    /* The thread's next message is not touched by it. */
    inflate_payload(BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), 100, true);
    check_message("Hello", 5);
}
END_TEST

START_TEST(a_message_cut_at_any_place_is_refused) {
    struct deflate_peer peer;
    char text[3000];
    deflate_peer_text(text, sizeof(text), 1);
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, text, sizeof(text));
    ck_assert_uint_gt(peer.size, 200);
    /* The last byte may hold no more than the begin of the tail's block. */
    for (size_t size = 1; size + 1 < peer.size; size++) {
        inflate_payload(peer.bytes, size, 10000, true);
        if (result != INFLATER_BROKEN)
            ck_abort_msg("cut at %zu of %zu: %d", size, peer.size, result);
    }
    inflate_payload(peer.bytes, peer.size, 10000, true);
    check_message(text, sizeof(text));
    deflate_peer_close(&peer);
}
END_TEST

static const size_t sizes[] = {0,     1,     2,     100,   4095,  4096,   4097,   8192,
                               16384, 65535, 65536, 65537, 70000, 300000, 1000000};

START_TEST(messages_of_all_sizes_come_back) {
    size_t size = sizes[_i];
    char *text = malloc(size + 1);
    struct deflate_peer peer;
    deflate_peer_text(text, size, 7);
    for (int bits = 9; bits <= 15; bits += 3) {
        deflate_peer_open(&peer, bits, false, 15, false);
        deflate_peer_pack(&peer, text, size);
        inflate_payload(peer.bytes, peer.size, (uint32_t)size, true);
        check_message(text, size);
        inflater_forget();
        deflate_peer_close(&peer);
    }
    free(text);
}
END_TEST

START_TEST(a_message_of_noise_comes_back) {
    enum { SIZE = 100000 };
    static uint8_t noise[SIZE];
    struct deflate_peer peer;
    unsigned seed = 3;
    for (size_t i = 0; i < SIZE; i++)
        noise[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, noise, SIZE);
    inflate_payload(peer.bytes, peer.size, SIZE, false);
    check_message(noise, SIZE);
    deflate_peer_close(&peer);
}
END_TEST

/* --- limits --- */

START_TEST(a_message_may_be_as_large_as_the_limit_and_no_larger) {
    static const uint32_t limits[] = {1, 2, 1000, 4096, 65535, 65536, 65537, 1000000};
    uint32_t limit = limits[_i];
    char *zeros = calloc(limit + 1, 1);
    struct deflate_peer peer;
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, zeros, limit);
    inflate_payload(peer.bytes, peer.size, limit, false);
    check_message(zeros, limit);
    deflate_peer_pack(&peer, zeros, limit + 1);
    inflate_payload(peer.bytes, peer.size, limit, false);
    ck_assert_int_eq(result, INFLATER_TOO_BIG);
    deflate_peer_close(&peer);
    free(zeros);
}
END_TEST

static long peak_kb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* A few hundred kilobytes say 200 MB: not much more memory than the limit is ever used. */
START_TEST(a_bomb_is_refused_within_the_limit) {
    enum { PIECE = 1 << 20, PIECES = 200 };
    char *zeros = calloc(PIECE, 1);
    struct deflate_peer peer;
    uint8_t *bomb = NULL;
    size_t size = 0;
    deflate_peer_open(&peer, 15, true, 15, false);
    for (int i = 0; i < PIECES; i++) {
        deflate_peer_pack(&peer, zeros, PIECE);
        bomb = realloc(bomb, size + peer.size + 4);
        memcpy(bomb + size, peer.bytes, peer.size);
        memcpy(bomb + size + peer.size, "\0\0\xff\xff", 4);
        size += peer.size + 4;
    }
    deflate_peer_close(&peer);
    free(zeros);
    long before_kb = peak_kb();
    for (uint32_t limit = 1; limit <= 1 << 20; limit *= 16) {
        inflate_payload(bomb, size - 4, limit, false);
        ck_assert_int_eq(result, INFLATER_TOO_BIG);
        inflate_payload(bomb, size - 4, limit, true);
        ck_assert_int_eq(result, INFLATER_TOO_BIG);
    }
    ck_assert_int_lt(peak_kb() - before_kb, 64 * 1024); /* a sanitizer keeps what was freed */
    free(bomb);
}
END_TEST

/* --- text --- */

START_TEST(text_is_checked_and_binary_is_not) {
    static const char *const wrong[] = {"\xff", "abc\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                        "cut \xe2\x82"};
    struct deflate_peer peer;
    size_t size = strlen(wrong[_i]);
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, wrong[_i], size);
    inflate_payload(peer.bytes, peer.size, 100, true);
    ck_assert_int_eq(result, INFLATER_NOT_UTF8);
    inflate_payload(peer.bytes, peer.size, 100, false);
    check_message(wrong[_i], size);
    deflate_peer_close(&peer);
}
END_TEST

/* Characters stand across every place where the memory for the message grows. */
START_TEST(long_text_of_many_bytes_a_character_is_text) {
    enum { CHARACTERS = 50000 };
    char *text = malloc(3 * CHARACTERS + 1);
    struct deflate_peer peer;
    for (size_t i = 0; i < CHARACTERS; i++)
        memcpy(text + 3 * i, "\xe2\x82\xac", 3);
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, text, 3 * CHARACTERS);
    inflate_payload(peer.bytes, peer.size, 3 * CHARACTERS, true);
    check_message(text, 3 * CHARACTERS);
    deflate_peer_close(&peer);
    free(text);
}
END_TEST

/* The first fault ends it: what follows is never inflated, so that it is not found too big. */
START_TEST(text_is_refused_as_soon_as_it_is_wrong) {
    enum { SIZE = 1 << 20 };
    char *text = calloc(SIZE, 1);
    struct deflate_peer peer;
    text[10] = (char)0xff;
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, text, SIZE);
    inflate_payload(peer.bytes, peer.size, 600000, true);
    ck_assert_int_eq(result, INFLATER_NOT_UTF8);
    deflate_peer_close(&peer);
    free(text);
}
END_TEST

/* --- context takeover --- */

static void inflate_next(const struct deflate_peer *peer, struct window **window, int bits) {
    const struct inflater_input input = {.data = peer->bytes,
                                         .size = peer->size,
                                         .bytes_max = 100000,
                                         .window = window,
                                         .window_bits = (uint8_t)bits};
    result = inflater_read(&input, &message, &message_size);
}

/* Two sessions take turns on the thread: each goes on with its own context. */
START_TEST(messages_refer_back_to_those_before) {
    int bits = _i;
    struct deflate_peer peers[2];
    struct window *windows[2] = {NULL, NULL};
    size_t said = 0, kept, most = (size_t)1 << bits;
    char text[900];
    deflate_peer_open(&peers[0], bits, true, 15, false);
    deflate_peer_open(&peers[1], bits, true, 15, false);
    for (unsigned round = 0; round < 120; round++) {
        unsigned who = round & 1;
        size_t size = 5 + round * 37 % (sizeof(text) - 5);
        deflate_peer_text(text, size, round % 7);
        deflate_peer_pack(&peers[who], text, size);
        inflate_next(&peers[who], &windows[who], bits);
        check_message(text, size);
        said += who == 0 ? size : 0;
    }
    window_bytes(windows[0], &kept);
    ck_assert_uint_eq(kept, said < most ? said : most);
    for (int who = 0; who < 2; who++) {
        window_free(windows[who]);
        deflate_peer_close(&peers[who]);
    }
}
END_TEST

START_TEST(without_takeover_nothing_can_be_referred_to) {
    struct deflate_peer peer;
    char text[300];
    deflate_peer_text(text, sizeof(text), 3);
    deflate_peer_open(&peer, 15, true, 15, false);
    deflate_peer_pack(&peer, text, sizeof(text));
    inflate_payload(peer.bytes, peer.size, 1000, true);
    check_message(text, sizeof(text));
    deflate_peer_pack(&peer, text, sizeof(text));
    inflate_payload(peer.bytes, peer.size, 1000, true);
    ck_assert_int_eq(result, INFLATER_BROKEN);
    deflate_peer_close(&peer);
}
END_TEST

/* --- threads --- */

static void *read_some(void *arg) {
    const struct deflate_peer *peer = arg;
    for (int i = 0; i < 50; i++) {
        const struct inflater_input input = {
            .data = peer->bytes, .size = peer->size, .bytes_max = 300000, .is_text = true};
        const uint8_t *text;
        size_t size;
        if (inflater_read(&input, &text, &size) != INFLATER_DONE || size != 200000)
            return arg;
    }
    return NULL; /* a thread's memory goes with it, or a sanitizer tells */
}

START_TEST(threads_inflate_side_by_side) {
    enum { SIZE = 200000, THREADS = 2 };
    char *text = malloc(SIZE);
    struct deflate_peer peer;
    pthread_t threads[THREADS];
    deflate_peer_text(text, SIZE, 4);
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, text, SIZE);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_some, &peer), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    deflate_peer_close(&peer);
    free(text);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("inflater");
    TCase *tests = tcase_create("inflater");
    tcase_add_loop_test(tests, every_form_of_a_message_is_read, 0,
                        sizeof(forms) / sizeof(forms[0]));
    tcase_add_test(tests, a_block_may_refer_back_over_a_last_block);
    tcase_add_loop_test(tests, what_is_no_compressed_message_is_refused, 0,
                        sizeof(broken) / sizeof(broken[0]));
    tcase_add_test(tests, a_message_cut_at_any_place_is_refused);
    tcase_add_loop_test(tests, messages_of_all_sizes_come_back, 0,
                        sizeof(sizes) / sizeof(sizes[0]));
    tcase_add_test(tests, a_message_of_noise_comes_back);
    tcase_add_loop_test(tests, a_message_may_be_as_large_as_the_limit_and_no_larger, 0, 8);
    tcase_add_test(tests, a_bomb_is_refused_within_the_limit);
    tcase_add_loop_test(tests, text_is_checked_and_binary_is_not, 0, 5);
    tcase_add_test(tests, long_text_of_many_bytes_a_character_is_text);
    tcase_add_test(tests, text_is_refused_as_soon_as_it_is_wrong);
    tcase_add_loop_test(tests, messages_refer_back_to_those_before, 9, 16);
    tcase_add_test(tests, without_takeover_nothing_can_be_referred_to);
    tcase_add_test(tests, threads_inflate_side_by_side);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
