#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "observe/limits.h"
#include "support/fake_transport.h"
#include "support/wire.h"
#include "websocket/session.h"

/* --- a session with room for its pace, and its peer --- */

#define SECONDS 1000

static struct loop *loop;
static struct session_terms terms;
static struct fake_transport fake;
static unsigned heard;  /* messages told */
static int closed_with; /* 0: not yet */

static struct paced {
    struct session session;
    struct pace pace;
} paced;

static void message(struct session *session, enum opcode kind, const uint8_t *data, size_t size) {
    (void)session, (void)kind, (void)data, (void)size;
    heard++;
}

static void unblocked(struct session *session, uint64_t dropped) { (void)session, (void)dropped; }

static void closed(struct session *session, int code, const char *reason, size_t reason_size) {
    (void)session, (void)reason, (void)reason_size;
    closed_with = code;
}

static void released(struct session *session) { (void)session; }

static const struct session_events events = {message, unblocked, closed, released};

static void setup(void) {
    terms = (struct session_terms){.events = &events,
                                   .message_bytes_max = 100000,
                                   .queue_bytes_max = 1000000,
                                   .close_ms = 1000 * SECONDS,
                                   .pace = {.messages = 1, .burst_ms = 100 * SECONDS},
                                   .pace_at = offsetof(struct paced, pace)};
    heard = 0;
    closed_with = 0;
    fake = (struct fake_transport){.holds = false};
    paced = (struct paced){.pace = {0}};
    loop = loop_create(0);
    loop_enter(loop);
    session_begin(&paced.session, &terms);
}

static void turns(int count) {
    while (count-- > 0)
        loop_turn(loop, 0);
}

static void pass(uint64_t seconds) {
    loop_skip(loop, seconds * 1000);
    turns(4);
}

static void teardown(void) {
    if (closed_with == 0)
        session_abort(&paced.session);
    turns(4);
    ck_assert_int_ne(closed_with, 0);
    fake_transport_free(&fake);
    loop_free(loop);
}

static void attach(void) {
    fake_transport_attach(&fake, &paced.session, loop);
    turns(1);
}

/* In one piece. */
static void receive(uint8_t first, const void *payload, size_t size, int times) {
    struct wire wire = {0};
    for (int i = 0; i < times; i++)
        wire_frame(&wire, first, payload, size);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
}

static void say(int times) { receive(0x81, "words of some length", 20, times); }

/* What was left unread comes again. */
static void go_on(void) { fake_transport_feed(&fake, (const uint8_t *)"", 0); }

/* As many as fit what a transport may keep may come at once beside the burst. */
static void check_heard(unsigned least) {
    ck_assert_uint_ge(heard, least);
    ck_assert_uint_le(heard, least + SESSION_REST_MAX / 26 + 1);
}

/* --- slow --- */

START_TEST(within_the_burst_nothing_happens) {
    attach();
    say(100);
    ck_assert_uint_eq(heard, 100);
    ck_assert(fake.reading);
    ck_assert_uint_eq(paced.session.timer.slot, 0);
}
END_TEST

START_TEST(who_says_too_much_is_not_read_until_it_was_right) {
    uint64_t before = limits_hits(LIMIT_RATE_SLOWED);
    attach();
    say(300);
    check_heard(101);
    ck_assert(!fake.reading);
    ck_assert_uint_eq(limits_hits(LIMIT_RATE_SLOWED), before + 1);
    unsigned first = heard;
    pass(first - 100 - 1);
    ck_assert_msg(!fake.reading, "read before its time");
    pass(2);
    ck_assert(fake.reading);
    go_on();
    ck_assert_uint_gt(heard, first);
    check_heard(first + 1);
    ck_assert(!fake.reading);
}
END_TEST

START_TEST(all_is_heard_in_the_end_and_the_rate_kept) {
    attach();
    say(150);
    for (int i = 0; i < 60 && heard < 150; i++) {
        pass(6);
        if (fake.reading)
            go_on();
    }
    ck_assert_uint_eq(heard, 150);
    ck_assert_int_eq(closed_with, 0);
}
END_TEST

START_TEST(control_frames_count) {
    attach();
    receive(0x89, "a ping of some length", 21, 60);
    receive(0x8a, "a pong of some length", 21, 60);
    ck_assert(!fake.reading);
}
END_TEST

START_TEST(bytes_count_as_they_arrive) {
    terms.pace = (struct pace_terms){.bytes = 100, .burst_ms = 100 * SECONDS};
    static const char much[20000];
    struct wire wire = {0};
    attach();
    wire_frame(&wire, 0x82, much, sizeof(much));
    fake_transport_feed(&fake, wire.data, 9900);
    ck_assert(fake.reading);
    fake_transport_feed(&fake, wire.data + 9900, 1100);
    ck_assert_msg(!fake.reading, "an unfinished message does not count");
    ck_assert_uint_eq(heard, 0);
    wire_free(&wire);
}
END_TEST

START_TEST(no_ping_is_due_while_its_answer_would_not_be_read) {
    terms.ping_ms = 10 * SECONDS;
    terms.pong_ms = 5 * SECONDS;
    attach();
    receive(0x82, "", 0, 1);
    say(2000); /* more than it may in half an hour, if all was read */
    paced.pace.messages_due += UINT64_C(1000) * 1000000000;
    for (int i = 0; i < 50; i++)
        pass(10);
    ck_assert_str_eq(fake_transport_sent(&fake), "");
    ck_assert_int_eq(closed_with, 0);
    pass(700);
    ck_assert(fake.reading);
    ck_assert_int_eq(closed_with, 0);
    pass(11);
    ck_assert_str_eq(fake_transport_sent(&fake), "ping()");
}
END_TEST

START_TEST(a_close_is_heard_from_one_who_is_slowed) {
    struct wire wire = {0};
    attach();
    say(300);
    ck_assert(!fake.reading);
    session_close(&paced.session, 1000, "bye", 3);
    ck_assert(fake.reading);
    turns(2);
    wire_close(&wire, 1000, "bye");
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
    turns(3);
    ck_assert_int_eq(closed_with, 1000);
}
END_TEST

/* --- close --- */

START_TEST(close_ends_it_with_1008_and_drops_what_is_over) {
    uint64_t before = limits_hits(LIMIT_RATE_CLOSED);
    terms.pace.closes = true;
    attach();
    say(300);
    ck_assert_uint_eq(heard, 100);
    turns(2);
    ck_assert_str_eq(fake_transport_sent(&fake), "close 1008(too much in a second)");
    ck_assert_uint_eq(limits_hits(LIMIT_RATE_CLOSED), before + 1);
    ck_assert(fake.reading);
}
END_TEST

START_TEST(pings_that_are_over_are_not_answered_but_closed) {
    terms.pace.closes = true;
    attach();
    for (int i = 0; i < 101; i++)
        receive(0x89, "", 0, 1);
    turns(2);
    ck_assert_str_eq(fake_transport_sent(&fake), "pong() close 1008(too much in a second)");
}
END_TEST

START_TEST(a_close_frame_never_counts) {
    struct wire wire = {0};
    terms.pace.closes = true;
    attach();
    say(100);
    wire_close(&wire, 1000, "");
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
    turns(3);
    ck_assert_int_eq(closed_with, 1000);
}
END_TEST

START_TEST(causes_have_names) {
    for (int i = 0; i < LIMITS_COUNTED; i++)
        ck_assert_ptr_nonnull(limits_name((enum limit)i));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("session's pace");
    TCase *tests = tcase_create("pace");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, within_the_burst_nothing_happens);
    tcase_add_test(tests, who_says_too_much_is_not_read_until_it_was_right);
    tcase_add_test(tests, all_is_heard_in_the_end_and_the_rate_kept);
    tcase_add_test(tests, control_frames_count);
    tcase_add_test(tests, bytes_count_as_they_arrive);
    tcase_add_test(tests, no_ping_is_due_while_its_answer_would_not_be_read);
    tcase_add_test(tests, a_close_is_heard_from_one_who_is_slowed);
    tcase_add_test(tests, close_ends_it_with_1008_and_drops_what_is_over);
    tcase_add_test(tests, pings_that_are_over_are_not_answered_but_closed);
    tcase_add_test(tests, a_close_frame_never_counts);
    tcase_add_test(tests, causes_have_names);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
