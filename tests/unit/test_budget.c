#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "observe/limits.h"
#include "support/fake_transport.h"
#include "websocket/budget.h"
#include "websocket/frame.h"
#include "websocket/session.h"

#define MIB (1024 * 1024)
#define PIECE (128 * 1024) /* what is sent at a time */

static struct loop *loop;

static void setup(void) {
    loop = loop_create(0);
    loop_enter(loop);
}

static void teardown(void) {
    budget_limit(0);
    loop_free(loop);
}

/* --- the sums --- */

START_TEST(small_changes_stay_with_their_thread) {
    uint64_t before = budget_used();
    budget_change(BUDGET_BATCH - 1);
    ck_assert_uint_eq(budget_used(), before);
    budget_change(1);
    ck_assert_uint_eq(budget_used(), before + BUDGET_BATCH);
    budget_change(-BUDGET_BATCH);
    ck_assert_uint_eq(budget_used(), before);
}
END_TEST

static void *make_and_leave(void *arg) {
    (void)arg;
    budget_change(1000);
    return NULL;
}

START_TEST(a_thread_without_a_loop_loses_nothing_when_it_ends) {
    pthread_t thread;
    uint64_t before = budget_used();
    ck_assert_int_eq(pthread_create(&thread, NULL, make_and_leave, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(budget_used(), before + 1000);
    budget_change(-1000);
}
END_TEST

START_TEST(it_is_spent_until_enough_was_given_back) {
    budget_limit(MIB);
    budget_change(MIB);
    ck_assert(!budget_is_spent());
    budget_change(BUDGET_BATCH);
    ck_assert(budget_is_spent());
    budget_change(-2 * BUDGET_BATCH);
    ck_assert(!budget_is_spent());
    budget_change(BUDGET_BATCH - MIB);
}
END_TEST

static void *give_back(void *arg) {
    budget_change(*(ptrdiff_t *)arg);
    return NULL;
}

START_TEST(what_another_thread_gives_back_is_seen) {
    pthread_t thread;
    ptrdiff_t change = -MIB;
    budget_limit(MIB);
    budget_change(MIB + BUDGET_BATCH);
    ck_assert(budget_is_spent());
    ck_assert_int_eq(pthread_create(&thread, NULL, give_back, &change), 0);
    pthread_join(thread, NULL);
    ck_assert(!budget_is_spent());
    budget_change(-BUDGET_BATCH);
}
END_TEST

static void *take(void *arg) {
    budget_change(*(ptrdiff_t *)arg);
    return NULL;
}

START_TEST(what_another_thread_takes_is_seen_by_one_that_takes_nothing) {
    pthread_t thread;
    ptrdiff_t bytes = 2 * MIB;
    budget_limit(MIB);
    ck_assert(!budget_is_spent());
    ck_assert_int_eq(pthread_create(&thread, NULL, take, &bytes), 0);
    pthread_join(thread, NULL);
    ck_assert(budget_is_spent());
    budget_change(-2 * MIB);
}
END_TEST

START_TEST(frames_count_once_and_only_while_they_live) {
    static const char payload[MIB];
    uint64_t before = budget_used();
    struct frame *frame = frame_create(OPCODE_BINARY, payload, sizeof(payload));
    ck_assert_uint_ge(budget_used(), before + MIB);
    ck_assert_uint_lt(budget_used(), before + MIB + 200);
    frame_ref(frame);
    ck_assert_uint_lt(budget_used(), before + MIB + 200);
    frame_unref(frame);
    ck_assert_uint_ge(budget_used(), before + MIB);
    frame_unref(frame);
    ck_assert_uint_lt(budget_used(), before + 200);
}
END_TEST

/* --- sessions at the limit --- */

static int closed_with;

static void message(struct session *session, enum opcode kind, const uint8_t *data, size_t size) {
    (void)session, (void)kind, (void)data, (void)size;
}
static void unblocked(struct session *session, uint64_t dropped) { (void)session, (void)dropped; }
static void closed(struct session *session, int code, const char *reason, size_t reason_size) {
    (void)session, (void)reason, (void)reason_size;
    closed_with = code;
}
static void released(struct session *session) { (void)session; }

static const struct session_events events = {message, unblocked, closed, released};

/* Of two sessions one takes nothing. */
static struct pair {
    struct session_terms terms;
    struct session stuck, quick;
    struct fake_transport stuck_line, quick_line;
} pair;

static void begin_pair(enum on_full on_full) {
    pair = (struct pair){.terms = {.events = &events,
                                   .queue_bytes_max = 100 * MIB,
                                   .on_full = on_full,
                                   .close_ms = 1000000},
                         .stuck_line = {.holds = true}};
    session_begin(&pair.stuck, &pair.terms);
    session_begin(&pair.quick, &pair.terms);
    fake_transport_attach(&pair.stuck_line, &pair.stuck, loop);
    fake_transport_attach(&pair.quick_line, &pair.quick, loop);
    loop_turn(loop, 0);
}

static void end_pair(void) {
    session_abort(&pair.stuck);
    session_abort(&pair.quick);
    for (int i = 0; i < 4; i++)
        loop_turn(loop, 0);
    fake_transport_free(&pair.stuck_line);
    fake_transport_free(&pair.quick_line);
}

/* To both, as a group does; a piece each. Returns what became of it for the one that is stuck. */
static enum session_result send_both(void) {
    static const char payload[PIECE];
    struct frame *frame = frame_create(OPCODE_BINARY, payload, sizeof(payload));
    enum session_result stuck = session_send(&pair.stuck, frame);
    ck_assert_int_eq(session_send(&pair.quick, frame), SESSION_SENT);
    frame_unref(frame);
    for (int i = 0; i < 12; i++)
        loop_turn(loop, 0);
    return stuck;
}

static void check_stuck_is_closed(enum on_full on_full) {
    uint64_t before = limits_hits(LIMIT_QUEUES);
    int sent = 0;
    begin_pair(on_full);
    budget_limit(8 * PIECE);
    enum session_result result;
    while ((result = send_both()) == SESSION_SENT && sent < 50)
        sent++;
    ck_assert_int_eq(result, SESSION_FULL);
    ck_assert_int_ge(sent, 7);
    ck_assert_int_le(sent, 8);
    ck_assert_uint_eq(limits_hits(LIMIT_QUEUES), before + 1);
    /* What waited is forgotten but for the write under way and the close frame. */
    ck_assert_uint_le(session_queued(&pair.stuck), PIECE + 100);
    ck_assert(!budget_is_spent());
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(send_both(), SESSION_CLOSED);
    end_pair();
}

START_TEST(at_the_limit_who_is_stuck_is_closed_with_1013) { check_stuck_is_closed(ON_FULL_CLOSE); }
END_TEST

START_TEST(whatever_its_policy) { check_stuck_is_closed(ON_FULL_DROP_OLDEST); }
END_TEST

START_TEST(the_close_frame_says_so) {
    begin_pair(ON_FULL_CLOSE);
    budget_limit(2 * PIECE);
    while (send_both() == SESSION_SENT)
        ;
    for (int i = 0; i < 20; i++) {
        if (pair.stuck_line.writing)
            fake_transport_complete(&pair.stuck_line, true);
        loop_turn(loop, 0);
    }
    ck_assert_ptr_nonnull(
        strstr(fake_transport_sent(&pair.stuck_line), "close 1013(the server's queues are full)"));
    end_pair();
}
END_TEST

START_TEST(who_has_less_than_its_share_stays) {
    static const char little[1000];
    begin_pair(ON_FULL_CLOSE);
    budget_limit(8 * MIB);
    struct frame *frame = frame_create(OPCODE_BINARY, little, sizeof(little));
    ck_assert_int_eq(session_send(&pair.stuck, frame), SESSION_SENT);
    budget_change(9 * MIB);
    ck_assert_int_eq(session_send(&pair.stuck, frame), SESSION_SENT);
    budget_change(-9 * MIB);
    frame_unref(frame);
    end_pair();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("budget");
    TCase *tests = tcase_create("budget");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, small_changes_stay_with_their_thread);
    tcase_add_test(tests, a_thread_without_a_loop_loses_nothing_when_it_ends);
    tcase_add_test(tests, it_is_spent_until_enough_was_given_back);
    tcase_add_test(tests, what_another_thread_gives_back_is_seen);
    tcase_add_test(tests, what_another_thread_takes_is_seen_by_one_that_takes_nothing);
    tcase_add_test(tests, frames_count_once_and_only_while_they_live);
    tcase_add_test(tests, at_the_limit_who_is_stuck_is_closed_with_1013);
    tcase_add_test(tests, whatever_its_policy);
    tcase_add_test(tests, the_close_frame_says_so);
    tcase_add_test(tests, who_has_less_than_its_share_stays);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
