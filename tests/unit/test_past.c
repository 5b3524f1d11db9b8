#include "group/past.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group/key.h"
#include "websocket/frame.h"

#define EPOCH 77

static struct past past;

static void open_past(void) {
    key_seed(1, 2);
    past = (struct past){.epoch = EPOCH};
}

static void close_past(void) { past_clear(&past); }

static void take(uint64_t offset, const char *text, const char *key, uint64_t expires_ms) {
    struct frame *frame = frame_create(OPCODE_TEXT, text, strlen(text));
    past_add(&past,
             &(struct past_message){.offset = offset, .expires_ms = expires_ms, .frame = frame},
             key);
    frame_unref(frame);
}

static void say(uint64_t offset) {
    take(offset, "four", NULL, UINT64_MAX);
    past_hear(&past);
}

static const struct group_terms all = {.messages = 1000, .bytes = 1000000};

static struct past_part read_since(uint64_t epoch, uint64_t offset) {
    return past_part(&past, (struct group_position){epoch, offset}, 2, 1000, 0);
}

static void assert_part(struct past_part part, bool recovered, size_t first, size_t count) {
    ck_assert_int_eq(part.recovered, recovered);
    ck_assert_uint_eq(part.count, count);
    ck_assert_uint_eq(part.first, first);
}

START_TEST(a_position_is_where_the_rest_begins) {
    assert_part(read_since(EPOCH, 0), true, 0, 0);
    for (uint64_t offset = 1; offset <= 5; offset++)
        say(offset);
    assert_part(read_since(EPOCH, 0), true, 0, 5);
    assert_part(read_since(EPOCH, 3), true, 3, 2);
    assert_part(read_since(EPOCH, 5), true, 5, 0);
    ck_assert_uint_eq(past_position(&past).offset, 5);
    ck_assert_uint_eq(past_position(&past).epoch, EPOCH);
}
END_TEST

START_TEST(another_epoch_or_a_place_that_is_none_gives_the_last) {
    for (uint64_t offset = 1; offset <= 5; offset++)
        say(offset);
    assert_part(read_since(EPOCH + 1, 3), false, 3, 2);
    assert_part(read_since(0, 3), false, 3, 2);
    assert_part(read_since(EPOCH, 6), false, 3, 2);
    /* Skipped behind a crash: who has such a position heard what is lost. */
    say(1001);
    assert_part(read_since(EPOCH, 6), false, 4, 2);
    assert_part(read_since(EPOCH, 1000), false, 4, 2);
    assert_part(read_since(EPOCH, 5), true, 5, 1);
}
END_TEST

START_TEST(what_is_gone_can_be_resumed_from_its_end_alone) {
    const struct group_terms three = {.messages = 3, .bytes = 1000000};
    for (uint64_t offset = 1; offset <= 5; offset++)
        say(offset);
    past_trim(&past, &three);
    ck_assert_uint_eq(past.count, 3);
    ck_assert_uint_eq(past.gone, 2);
    assert_part(read_since(EPOCH, 2), true, 0, 3);
    assert_part(read_since(EPOCH, 1), false, 1, 2);
    assert_part(read_since(EPOCH, 0), false, 1, 2);
    while (past_trim_one(&past))
        ;
    ck_assert_uint_eq(past_position(&past).offset, 5);
    assert_part(read_since(EPOCH, 5), true, 0, 0);
    assert_part(read_since(EPOCH, 4), false, 0, 0);
}
END_TEST

START_TEST(bytes_and_age_are_limits_too) {
    const struct group_terms small = {.messages = 1000, .bytes = 9};
    for (uint64_t offset = 1; offset <= 5; offset++)
        say(offset);
    past_trim(&past, &small);
    ck_assert_uint_eq(past.count, 2);
    ck_assert_uint_eq(past.bytes, 8);
    take(6, "x", NULL, 100);
    past_hear(&past);
    past_trim_one(&past);
    past_trim_one(&past);
    past_expire(&past, 99);
    ck_assert_uint_eq(past.count, 1);
    past_expire(&past, 100);
    ck_assert_uint_eq(past.count, 0);
    ck_assert_uint_eq(past.bytes, 0);
    ck_assert_uint_eq(past.memory, 0);
}
END_TEST

START_TEST(what_is_not_heard_yet_is_shown_to_nobody_and_stays) {
    const struct group_terms none = {.messages = 1, .bytes = 1};
    say(1);
    take(2, "b", NULL, 0);
    take(3, "c", NULL, 0);
    assert_part(read_since(EPOCH, 0), true, 0, 1);
    assert_part(read_since(EPOCH, 2), false, 0, 1);
    past_trim(&past, &none);
    past_expire(&past, 1000);
    ck_assert_uint_eq(past.count, 2);
    past_drop(&past);
    ck_assert_uint_eq(past.count, 1);
    past_hear(&past);
    ck_assert_uint_eq(past_at(&past, 0)->offset, 3);
    assert_part(read_since(EPOCH, 1), true, 0, 1);
}
END_TEST

START_TEST(a_key_finds_its_message_while_it_is_kept) {
    char key[16];
    for (uint64_t offset = 1; offset <= 40; offset++) {
        snprintf(key, sizeof(key), "key-%d", (int)offset);
        take(offset, "text", key, UINT64_MAX);
        past_hear(&past);
    }
    ck_assert_uint_eq(past_find(&past, "key-17")->offset, 17);
    ck_assert_ptr_null(past_find(&past, "key-41"));
    past_trim(&past, &(struct group_terms){.messages = 10, .bytes = 1000000});
    ck_assert_ptr_null(past_find(&past, "key-17"));
    ck_assert_uint_eq(past_find(&past, "key-31")->offset, 31);
    ck_assert(past_is_heard(&past, past_find(&past, "key-31")));
    take(41, "text", "key-17", UINT64_MAX);
    ck_assert(!past_is_heard(&past, past_find(&past, "key-17")));
    past_drop(&past);
    ck_assert_ptr_null(past_find(&past, "key-17"));
}
END_TEST

START_TEST(a_reader_gets_no_more_than_fits) {
    for (uint64_t offset = 1; offset <= 5; offset++)
        say(offset);
    struct group_position first = {EPOCH, 1};
    assert_part(past_part(&past, first, 3, 4, 16), true, 1, 4);
    assert_part(past_part(&past, first, 3, 4, 15), false, 2, 3);
    assert_part(past_part(&past, first, 3, 3, 0), false, 2, 3);
    assert_part(past_part(&past, first, 9, 9, 8), false, 3, 2);
    assert_part(past_part(&past, first, 9, 9, 3), false, 5, 0);
    assert_part(past_part(&past, first, 0, 9, 3), false, 5, 0);
}
END_TEST

START_TEST(the_ring_goes_round) {
    for (uint64_t offset = 1; offset <= 1000; offset++) {
        say(offset);
        past_trim(&past,
                  &(struct group_terms){.messages = (uint32_t)(offset % 13 + 1), .bytes = 1000000});
        ck_assert_uint_eq(past_at(&past, past.count - 1)->offset, offset);
        ck_assert_uint_eq(past_at(&past, 0)->offset, past.gone + 1);
    }
    ck_assert_uint_le(past.capacity, 16);
    past_trim(&past, &all);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("past");
    TCase *tests = tcase_create("past");
    tcase_add_checked_fixture(tests, open_past, close_past);
    tcase_add_test(tests, a_position_is_where_the_rest_begins);
    tcase_add_test(tests, another_epoch_or_a_place_that_is_none_gives_the_last);
    tcase_add_test(tests, what_is_gone_can_be_resumed_from_its_end_alone);
    tcase_add_test(tests, bytes_and_age_are_limits_too);
    tcase_add_test(tests, what_is_not_heard_yet_is_shown_to_nobody_and_stays);
    tcase_add_test(tests, a_key_finds_its_message_while_it_is_kept);
    tcase_add_test(tests, a_reader_gets_no_more_than_fits);
    tcase_add_test(tests, the_ring_goes_round);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
