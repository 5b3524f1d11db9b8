#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/deflate_peer.h"
#include "websocket/deflater.h"
#include "websocket/frame.h"
#include "websocket/window.h"

static struct deflate_peer peer;
static char *text;

static struct frame *make_frame(enum opcode opcode, size_t size, unsigned seed) {
    text = realloc(text, size + 1);
    deflate_peer_text(text, size, seed);
    return frame_create(opcode, text, size);
}

/* The peer reads in the form what the frame says. */
static void check_form(const struct frame *form, const struct frame *frame) {
    size_t size, wire_size, expected_size;
    const uint8_t *wire = frame_bytes(form, &wire_size), *payload = frame_payload(form, &size);
    const uint8_t *expected = frame_payload(frame, &expected_size);
    ck_assert_uint_eq(wire[0], 0xc0u | frame_opcode(frame));
    ck_assert_int_eq(frame_opcode(form), frame_opcode(frame));
    ck_assert_uint_lt(size, expected_size);
    ck_assert(deflate_peer_unpack(&peer, payload, size));
    ck_assert_uint_eq(peer.size, expected_size);
    ck_assert_int_eq(memcmp(peer.bytes, expected, expected_size), 0);
}

static void setup(void) { text = NULL; }

static void teardown(void) { free(text); }

static const size_t sizes[] = {100, 255, 256, 257, 512, 1000, 5000, 33000, 70000, 150000};

/* For each size, each window from 8 bits on: the peer has no larger one. */
START_TEST(the_peers_window_is_large_enough_for_every_form) {
    struct frame *frame = make_frame(OPCODE_TEXT, sizes[_i], 5);
    for (unsigned bits = 8; bits <= 15; bits++) {
        deflate_peer_open(&peer, 15, false, (int)bits, false);
        check_form(deflater_shared_form(frame, bits, 1), frame);
        deflate_peer_close(&peer);
    }
    frame_unref(frame);
}
END_TEST

START_TEST(every_level_can_be_read) {
    struct frame *frame = make_frame(OPCODE_BINARY, 20000, 6);
    deflate_peer_open(&peer, 15, false, 15, false);
    for (unsigned level = 1; level <= 9; level++)
        check_form(deflater_shared_form(frame, 15, level), frame);
    check_form(deflater_shared_form(frame, 9, 1), frame);
    deflate_peer_close(&peer);
    frame_unref(frame);
}
END_TEST

START_TEST(a_form_is_made_once) {
    struct frame *frame = make_frame(OPCODE_TEXT, 2000, 1);
    struct frame *form = deflater_shared_form(frame, 15, 1);
    ck_assert_ptr_ne(form, frame);
    ck_assert_ptr_eq(deflater_shared_form(frame, 15, 1), form);
    /* The message is shorter than these windows, so that one form serves them all. */
    ck_assert_ptr_eq(deflater_shared_form(frame, 11, 1), form);
    ck_assert_ptr_ne(deflater_shared_form(frame, 10, 1), form);
    ck_assert_ptr_ne(deflater_shared_form(frame, 15, 6), form);
    ck_assert_ptr_eq(deflater_shared_form(frame, 15, 1), form);
    frame_unref(frame);
}
END_TEST

START_TEST(a_form_outlives_its_frame_when_it_is_queued) {
    struct frame *frame = make_frame(OPCODE_TEXT, 2000, 1);
    struct frame *form = frame_ref(deflater_shared_form(frame, 15, 1));
    frame_unref(frame);
    frame = make_frame(OPCODE_TEXT, 2000, 1);
    deflate_peer_open(&peer, 15, false, 15, false);
    check_form(form, frame);
    deflate_peer_close(&peer);
    frame_unref(form);
    frame_unref(frame);
}
END_TEST

START_TEST(what_does_not_become_smaller_stays_as_it_is) {
    static const char tiny[] = "abcdefghij";
    uint8_t noise[5000];
    unsigned seed = 9;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
    for (size_t size = 0; size <= strlen(tiny); size++) {
        struct frame *frame = frame_create(OPCODE_TEXT, tiny, size);
        ck_assert_ptr_eq(deflater_shared_form(frame, 15, 1), frame);
        ck_assert_ptr_eq(deflater_shared_form(frame, 15, 1), frame);
        ck_assert_ptr_null(deflater_own_form(frame, 15, 1, NULL));
        frame_unref(frame);
    }
    struct frame *frame = frame_create(OPCODE_BINARY, noise, sizeof(noise));
    ck_assert_ptr_eq(deflater_shared_form(frame, 15, 9), frame);
    frame_unref(frame);
    /* One byte less is enough. */
    frame = frame_create(OPCODE_TEXT, "aaaaaaa", 7);
    deflate_peer_open(&peer, 15, false, 15, false);
    check_form(deflater_shared_form(frame, 15, 1), frame);
    deflate_peer_close(&peer);
    frame_unref(frame);
}
END_TEST

START_TEST(a_very_large_message_stays_as_it_is) {
    struct frame *frame = make_frame(OPCODE_TEXT, DEFLATER_PAYLOAD_MAX + 1, 1);
    ck_assert_ptr_eq(deflater_shared_form(frame, 15, 1), frame);
    ck_assert_ptr_null(deflater_own_form(frame, 15, 1, NULL));
    frame_unref(frame);
}
END_TEST

/* --- context takeover --- */

static size_t send_own(struct window **window, unsigned bits, size_t size, unsigned seed) {
    size_t form_size;
    struct frame *frame = make_frame(OPCODE_TEXT, size, seed);
    struct frame *form = deflater_own_form(frame, bits, 1, *window);
    ck_assert_ptr_nonnull(form);
    check_form(form, frame);
    frame_payload(form, &form_size);
    window_append(window, (size_t)1 << bits, (const uint8_t *)text, size);
    frame_unref(form);
    frame_unref(frame);
    return form_size;
}

START_TEST(own_forms_refer_back_no_further_than_the_peers_window) {
    unsigned bits = (unsigned)_i;
    struct window *window = NULL;
    deflate_peer_open(&peer, 15, false, _i, true);
    for (unsigned round = 0; round < 150; round++)
        send_own(&window, bits, 60 + round * 37 % 900, round % 5);
    window_free(window);
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(what_was_said_before_makes_a_message_smaller) {
    struct window *window = NULL;
    deflate_peer_open(&peer, 15, false, 12, true);
    size_t first = send_own(&window, 12, 300, 1), again = send_own(&window, 12, 300, 1);
    ck_assert_uint_lt(again * 4, first);
    window_free(window);
    deflate_peer_close(&peer);
}
END_TEST

/* --- threads --- */

enum { THREADS = 4, FRAMES = 300 };

static struct frame *shared[FRAMES];
static struct frame *seen[THREADS][FRAMES];
static pthread_barrier_t start;

static void *ask_for_all(void *arg) {
    struct frame **mine = arg;
    pthread_barrier_wait(&start);
    for (int i = 0; i < FRAMES; i++)
        mine[i] = deflater_shared_form(shared[i], 15, 1);
    return NULL; /* a thread's memory goes with it, or a sanitizer tells */
}

START_TEST(threads_share_one_form) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (unsigned i = 0; i < FRAMES; i++)
        shared[i] = make_frame(OPCODE_TEXT, 500 + i, i);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_for_all, seen[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    deflate_peer_open(&peer, 15, false, 15, false);
    for (int i = 0; i < FRAMES; i++) {
        for (int thread = 1; thread < THREADS; thread++)
            if (seen[thread][i] != seen[0][i])
                ck_abort_msg("frame %d has two forms", i);
        check_form(seen[0][i], shared[i]);
        frame_unref(shared[i]);
    }
    deflate_peer_close(&peer);
    pthread_barrier_destroy(&start);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("deflater");
    TCase *tests = tcase_create("deflater");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, the_peers_window_is_large_enough_for_every_form, 0,
                        sizeof(sizes) / sizeof(sizes[0]));
    tcase_add_test(tests, every_level_can_be_read);
    tcase_add_test(tests, a_form_is_made_once);
    tcase_add_test(tests, a_form_outlives_its_frame_when_it_is_queued);
    tcase_add_test(tests, what_does_not_become_smaller_stays_as_it_is);
    tcase_add_test(tests, a_very_large_message_stays_as_it_is);
    tcase_add_loop_test(tests, own_forms_refer_back_no_further_than_the_peers_window, 8, 16);
    tcase_add_test(tests, what_was_said_before_makes_a_message_smaller);
    tcase_add_test(tests, threads_share_one_form);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
