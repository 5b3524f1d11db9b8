#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/frame.h"

static const struct {
    size_t payload;
    uint8_t header[10];
    size_t header_size;
} sizes[] = {
    {0, {0x82, 0}, 2},
    {1, {0x82, 1}, 2},
    {125, {0x82, 125}, 2},
    {126, {0x82, 126, 0, 126}, 4},
    {256, {0x82, 126, 1, 0}, 4},
    {65535, {0x82, 126, 0xff, 0xff}, 4},
    {65536, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 10},
    {70000, {0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}, 10},
    {FRAME_PAYLOAD_MAX, {0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0}, 10},
};

START_TEST(a_frame_has_the_shortest_header_that_fits) {
    size_t payload = sizes[_i].payload, header = sizes[_i].header_size, size;
    uint8_t *data = malloc(payload == 0 ? 1 : payload);
    memset(data, 'x', payload);
    if (payload > 0)
        data[payload - 1] = 'z';
    struct frame *frame = frame_create(OPCODE_BINARY, data, payload);
    const uint8_t *bytes = frame_bytes(frame, &size);
    ck_assert_uint_eq(size, header + payload);
    ck_assert_mem_eq(bytes, sizes[_i].header, header);
    ck_assert_int_eq(memcmp(bytes + header, data, payload), 0);
    ck_assert_ptr_eq(frame_payload(frame, &size), bytes + header);
    ck_assert_uint_eq(size, payload);
    frame_unref(frame);
    free(data);
}
END_TEST

START_TEST(every_opcode_is_written_as_a_final_frame) {
    static const enum opcode opcodes[] = {OPCODE_TEXT, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING,
                                          OPCODE_PONG};
    for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
        size_t size;
        struct frame *frame = frame_create(opcodes[i], "hi", 2);
        ck_assert_uint_eq(frame_bytes(frame, &size)[0], 0x80u | opcodes[i]);
        ck_assert_int_eq(frame_opcode(frame), opcodes[i]);
        frame_unref(frame);
    }
}
END_TEST

START_TEST(a_close_frame_holds_code_and_reason) {
    size_t size;
    struct frame *frame = frame_create_close(4001, "bye", 3);
    const uint8_t *bytes = frame_bytes(frame, &size);
    ck_assert_uint_eq(size, 7);
    ck_assert_mem_eq(bytes,
                     "\x88\x05\x0f\xa1"
                     "bye",
                     7);
    ck_assert_int_eq(frame_opcode(frame), OPCODE_CLOSE);
    frame_unref(frame);
}
END_TEST

START_TEST(a_close_frame_without_a_code_is_empty) {
    size_t size;
    struct frame *frame = frame_create_close(0, NULL, 0);
    ck_assert_mem_eq(frame_bytes(frame, &size), "\x88\0", 2);
    ck_assert_uint_eq(size, 2);
    frame_unref(frame);
}
END_TEST

START_TEST(the_longest_close_reason_fits) {
    char reason[123];
    size_t size;
    memset(reason, 'r', sizeof(reason));
    struct frame *frame = frame_create_close(1000, reason, sizeof(reason));
    ck_assert_uint_eq(frame_bytes(frame, &size)[1], 125);
    ck_assert_uint_eq(size, 127);
    frame_unref(frame);
}
END_TEST

START_TEST(a_control_frame_over_125_bytes_is_a_mistake) {
    char payload[126] = {0};
    frame_create(OPCODE_PING, payload, sizeof(payload));
}
END_TEST

START_TEST(the_bytes_live_until_the_last_reference_goes) {
    size_t size;
    struct frame *frame = frame_create(OPCODE_TEXT, "kept", 4);
    ck_assert_ptr_eq(frame_ref(frame), frame);
    frame_unref(frame);
    ck_assert_mem_eq(frame_payload(frame, &size), "kept", 4);
    frame_unref(frame);
    frame_unref(NULL);
}
END_TEST

enum { THREADS = 2, ROUNDS = 20000 };

static void *share_and_forget(void *arg) {
    for (int i = 0; i < ROUNDS; i++)
        frame_unref(frame_ref(arg));
    frame_unref(arg);
    return NULL;
}

START_TEST(references_are_counted_between_threads) {
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, share_and_forget, frame_ref(frame)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    size_t size;
    ck_assert_mem_eq(frame_payload(frame, &size), "x", 1);
    frame_unref(frame);
}
END_TEST

START_TEST(a_compressed_frame_says_so) {
    size_t size;
    struct frame *frame = frame_create_compressed(OPCODE_TEXT, "abc", 3);
    ck_assert_mem_eq(frame_bytes(frame, &size),
                     "\xc1\x03"
                     "abc",
                     5);
    ck_assert_uint_eq(size, 5);
    ck_assert_int_eq(frame_opcode(frame), OPCODE_TEXT);
    ck_assert_mem_eq(frame_payload(frame, &size), "abc", 3);
    frame_unref(frame);
}
END_TEST

START_TEST(a_frame_keeps_its_other_forms) {
    struct frame *frame = frame_create(OPCODE_TEXT, "abcabc", 6);
    struct frame *form = frame_create_compressed(OPCODE_TEXT, "3abc", 4);
    ck_assert_ptr_null(frame_form(frame, 1));
    ck_assert_ptr_eq(frame_keep_form(frame, 1, form), form);
    ck_assert_ptr_eq(frame_keep_form(frame, 2, NULL), frame);
    ck_assert_ptr_eq(frame_form(frame, 1), form);
    ck_assert_ptr_eq(frame_form(frame, 2), frame);
    ck_assert_ptr_null(frame_form(frame, 3));
    frame_unref(frame);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("frame");
    TCase *tests = tcase_create("frame");
    tcase_set_timeout(tests, 30);
    tcase_add_loop_test(tests, a_frame_has_the_shortest_header_that_fits, 0,
                        sizeof(sizes) / sizeof(sizes[0]));
    tcase_add_test(tests, every_opcode_is_written_as_a_final_frame);
    tcase_add_test(tests, a_close_frame_holds_code_and_reason);
    tcase_add_test(tests, a_close_frame_without_a_code_is_empty);
    tcase_add_test(tests, the_longest_close_reason_fits);
    tcase_add_test_raise_signal(tests, a_control_frame_over_125_bytes_is_a_mistake, 6);
    tcase_add_test(tests, the_bytes_live_until_the_last_reference_goes);
    tcase_add_test(tests, references_are_counted_between_threads);
    tcase_add_test(tests, a_compressed_frame_says_so);
    tcase_add_test(tests, a_frame_keeps_its_other_forms);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
