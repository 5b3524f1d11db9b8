/* What the load generator's results rest on: counting faults, percentiles, frames and payloads. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "histogram.h"
#include "ledger.h"
#include "payload.h"

struct deliveries {
    const char *numbers; /* a letter each: a is message 0 */
    uint32_t sent;
    struct ledger_counts counts;
};

static const struct deliveries all_deliveries[] = {
    {"", 0, {.lost = 0}},
    {"", 3, {.lost = 3}},
    {"abcde", 5, {.lost = 0}},
    {"abde", 5, {.lost = 1}},
    {"bcde", 5, {.lost = 1}},
    {"abcd", 5, {.lost = 1}},
    {"abbcde", 5, {.repeated = 1}},
    {"abcdeb", 5, {.repeated = 1}},
    {"abdce", 5, {.out_of_order = 1}},
    {"bacde", 5, {.out_of_order = 1}},
    {"edcba", 5, {.out_of_order = 4}},
    {"adcdb", 5, {.lost = 1, .repeated = 1, .out_of_order = 2}},
};

START_TEST(each_fault_is_counted_once) {
    const struct deliveries *deliveries = &all_deliveries[_i];
    struct ledger ledger = {0};
    struct ledger_counts counts = {0};
    for (const char *number = deliveries->numbers; *number != '\0'; number++)
        ledger_receive(&ledger, (uint32_t)(*number - 'a'), &counts);
    ledger_finish(&ledger, deliveries->sent, &counts);
    ck_assert_uint_eq(counts.lost, deliveries->counts.lost);
    ck_assert_uint_eq(counts.repeated, deliveries->counts.repeated);
    ck_assert_uint_eq(counts.out_of_order, deliveries->counts.out_of_order);
}
END_TEST

START_TEST(a_late_message_is_told_from_a_repeated_one_for_64_numbers) {
    for (uint32_t late = 1; late <= 70; late++) {
        struct ledger ledger = {0};
        struct ledger_counts counts = {0};
        for (uint32_t number = 1; number <= late; number++)
            ledger_receive(&ledger, number, &counts);
        ledger_receive(&ledger, 0, &counts);
        ck_assert_uint_eq(counts.out_of_order, 1);
        ledger_receive(&ledger, 0, &counts);
        ck_assert_uint_eq(counts.repeated, 1);
        ledger_finish(&ledger, late + 1, &counts);
        ck_assert_uint_eq(counts.lost, 0);
    }
}
END_TEST

START_TEST(percentiles_are_right_to_one_part_in_128) {
    static struct histogram histogram;
    memset(&histogram, 0, sizeof(histogram));
    for (uint64_t value = 1; value <= 100000; value++)
        histogram_add(&histogram, value * 1000);
    for (unsigned percent = 1; percent <= 100; percent++) {
        double exact = percent * 1000.0 * 1000.0;
        double told = (double)histogram_percentile_ns(&histogram, percent / 100.0);
        ck_assert_double_ge(told, exact);
        ck_assert_double_le(told, exact * (1 + 1.0 / 128));
    }
    ck_assert_uint_eq(histogram_percentile_ns(&histogram, 1), 100000000);
}
END_TEST

START_TEST(percentiles_of_nothing_and_of_extremes) {
    static struct histogram histogram;
    memset(&histogram, 0, sizeof(histogram));
    ck_assert_uint_eq(histogram_percentile_ns(&histogram, 0.99), 0);
    histogram_add(&histogram, 0);
    ck_assert_uint_eq(histogram_percentile_ns(&histogram, 0.99), 0);
    histogram_add(&histogram, UINT64_MAX);
    ck_assert_uint_eq(histogram_percentile_ns(&histogram, 1), UINT64_MAX);
}
END_TEST

static const struct {
    const char *bytes;
    size_t size;
    const char *problem; /* NULL: only not whole */
} no_frames[] = {
    {"", 0, NULL},
    {"\x81", 1, NULL},
    {"\x81\x03"
     "ab",
     4, NULL},
    {"\x81\x7e\x00", 3, NULL},
    {"\x81\x7f\x00\x00\x00\x00\x00\x01\x00", 9, NULL},
    {"\xc1\x00", 2, "a reserved bit"},
    {"\x91\x00", 2, "a reserved bit"},
    {"\x83\x00", 2, "a reserved opcode"},
    {"\x8b\x00", 2, "a reserved opcode"},
    {"\x81\x80\x00\x00\x00\x00", 6, "masked"},
    {"\x08\x00", 2, "a control frame"},
    {"\x89\x7e\x00\x7e", 4, "a control frame"},
    {"\x81\x7e\x00\x7d", 4, "as shortly"},
    {"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10, "as shortly"},
    {"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10, "longer than any message"},
    {"\x81\x7e\x03\xe9", 4, "longer than any message"},
};

START_TEST(what_is_no_frame_is_told) {
    struct frame frame;
    const char *problem = NULL;
    enum frame_state state = frame_read((const uint8_t *)no_frames[_i].bytes, no_frames[_i].size,
                                        1000, &frame, &problem);
    if (no_frames[_i].problem == NULL) {
        ck_assert_int_eq(state, FRAME_PARTIAL);
        return;
    }
    ck_assert_int_eq(state, FRAME_BROKEN);
    ck_assert_ptr_nonnull(strstr(problem, no_frames[_i].problem));
}
END_TEST

static const size_t lengths[] = {0, 1, 7, 8, 125, 126, 127, 65535, 65536, 70001};

/* The frame of a client, unmasked by hand and its mask bit and key taken out, is a server's. */
START_TEST(a_written_frame_is_read_again) {
    size_t length = lengths[_i];
    uint8_t *payload = payload_new(length > PAYLOAD_SIZE_MIN ? length : PAYLOAD_SIZE_MIN, false);
    uint8_t *bytes = malloc(FRAME_HEAD_MAX + length);
    size_t whole = frame_write(bytes, OPCODE_BINARY, payload, length, 0x12345678);
    size_t head = whole - length;
    ck_assert_uint_eq(head, length < 126 ? 6 : length < 65536 ? 8 : 14);
    ck_assert_uint_eq(bytes[0], 0x82);
    ck_assert_uint_eq(bytes[1] & 0x80, 0x80);
    for (size_t place = 0; place < length; place++)
        bytes[head + place] ^= bytes[head - 4 + place % 4];
    bytes[1] &= 0x7f;
    memmove(bytes + head - 4, bytes + head, length);

    struct frame frame;
    const char *problem;
    for (size_t cut = 0; cut < whole - 4; cut += length < 200 ? 1 : 997)
        ck_assert_int_eq(frame_read(bytes, cut, 1 << 20, &frame, &problem), FRAME_PARTIAL);
    ck_assert_int_eq(frame_read(bytes, whole - 4, 1 << 20, &frame, &problem), FRAME_WHOLE);
    ck_assert_uint_eq(frame.whole, whole - 4);
    ck_assert_uint_eq(frame.length, length);
    ck_assert_int_eq(frame.opcode, OPCODE_BINARY);
    ck_assert(frame.final);
    ck_assert_mem_eq(frame.payload, payload, length);
    free(bytes);
    free(payload);
}
END_TEST

START_TEST(a_payload_is_known_again_and_no_other) {
    static const size_t size = 50;
    const struct stamp stamp = {0xfedcba98, 0x01234567, 0x0123456789abcdef};
    struct stamp read;
    uint8_t *model = payload_new(size, _i != 0);
    uint8_t *payload = payload_new(size, _i != 0);
    payload_stamp(payload, &stamp);
    ck_assert(payload_read(model, size, payload, size, &read));
    ck_assert_uint_eq(read.publisher, stamp.publisher);
    ck_assert_uint_eq(read.number, stamp.number);
    ck_assert_uint_eq(read.due_ns, stamp.due_ns);
    ck_assert(!payload_read(model, size, payload, size - 1, &read));
    for (size_t place = 0; place < size; place++) {
        payload[place] ^= 0x40; /* no digit and no letter of the alphabet that stands there */
        ck_assert(!payload_read(model, size, payload, size, &read));
        payload[place] ^= 0x40;
    }
    free(model);
    free(payload);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(void) {
    Suite *suite = suite_create("bench");
    TCase *cases = tcase_create("load");
    tcase_add_loop_test(cases, each_fault_is_counted_once, 0, COUNT(all_deliveries));
    tcase_add_test(cases, a_late_message_is_told_from_a_repeated_one_for_64_numbers);
    tcase_add_test(cases, percentiles_are_right_to_one_part_in_128);
    tcase_add_test(cases, percentiles_of_nothing_and_of_extremes);
    tcase_add_loop_test(cases, what_is_no_frame_is_told, 0, COUNT(no_frames));
    tcase_add_loop_test(cases, a_written_frame_is_read_again, 0, COUNT(lengths));
    tcase_add_loop_test(cases, a_payload_is_known_again_and_no_other, 0, 2);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
