#include <assert.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group/group.h"
#include "support/group_threads.h"
#include "websocket/frame.h"

/* --- names --- */

static const struct {
    const char *name;
    bool valid;
} names[] = {
    {"a", true},
    {"Räume für alle", true},
    {"a b/c.d", true},
    {"\xf0\x9f\x98\x80", true},
    {"\xc2\xa0", true}, /* a space without break: the first one behind the controls */
    {NULL, false},
    {"", false},
    {"a\nb", false},
    {"\x1f", false},
    {"\x7f", false},
    {"a\xc2\x80", false}, /* the first control of the second kind */
    {"a\xc2\x9f", false},
    {"\xff", false},
    {"\xc3", false},
    {"\xc0\xaf", false},
    {"\xed\xa0\x80", false},
};

START_TEST(names_are_text_without_controls) {
    const char *name = names[_i].name;
    struct ear ear = ear_make(0, name);
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    enum group_result expected = names[_i].valid ? GROUP_OK : GROUP_INVALID;
    ck_assert_int_eq(group_name_valid(name), names[_i].valid);
    ck_assert_int_eq(
        group_join(threads_be(0), &ear.member, SPACE, name, NULL, GROUP_EVENTS, PLENTY), expected);
    ck_assert_int_eq(group_send(threads_be(0), SPACE, name, frame, 0, NULL), expected);
    ck_assert_int_eq(group_leave(threads_be(0), &ear.member, SPACE, name), expected);
    ck_assert_int_eq(group_send_any(SPACE, name, frame, 0), expected);
    frame_unref(frame);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(names_and_infos_have_a_longest) {
    char text[GROUP_INFO_MAX + 2];
    struct ear ear = ear_make(0, "a");
    memset(text, 'x', sizeof(text));
    text[GROUP_NAME_MAX] = '\0';
    ck_assert(group_name_valid(text));
    text[GROUP_NAME_MAX] = 'x';
    text[GROUP_NAME_MAX + 1] = '\0';
    ck_assert(!group_name_valid(text));
    memset(text, 'x', sizeof(text));
    text[GROUP_INFO_MAX] = '\0';
    ck_assert_int_eq(group_join(threads_be(0), &ear.member, SPACE, "a", text, GROUP_EVENTS, PLENTY),
                     GROUP_OK);
    text[GROUP_INFO_MAX] = 'x';
    text[GROUP_INFO_MAX + 1] = '\0';
    ck_assert_int_eq(group_join(threads_be(0), &ear.member, SPACE, "a", text, GROUP_EVENTS, PLENTY),
                     GROUP_INVALID);
    ck_assert_int_eq(
        group_join(threads_be(0), &ear.member, SPACE, "a", "\xff", GROUP_EVENTS, PLENTY),
        GROUP_INVALID);
    ear_end(&ear);
    threads_settle();
}
END_TEST

/* --- who hears; _i is the home, so that it is the member's thread, the sender's and a third --- */

START_TEST(all_members_hear_what_any_thread_says_and_nobody_else_does) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ears[] = {ear_make(0, group), ear_make(0, group), ear_make(1, group),
                         ear_make(2, group)};
    struct ear stranger = ear_make(0, threads_name_at((unsigned)_i, 1));
    ear_join(&stranger);
    for (int at = 0; at < 4; at++)
        ear_join(&ears[at]);
    threads_settle();
    for (unsigned thread = 0; thread < THREADS; thread++) {
        threads_say(thread, group, thread == 0 ? "a" : thread == 1 ? "b" : "c");
        threads_settle();
    }
    for (int at = 0; at < 4; at++)
        ck_assert_str_eq(ears[at].heard, "a b c ");
    ck_assert_str_eq(stranger.heard, "");
    for (int at = 0; at < 4; at++)
        ear_end(&ears[at]);
    ear_end(&stranger);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_group_of_another_namespace_is_another_group) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ear = ear_make(0, group);
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    ear_join(&ear);
    threads_settle();
    ck_assert_int_eq(group_send(threads_be(0), "default/other", group, frame, 0, NULL), GROUP_OK);
    threads_settle();
    ck_assert_str_eq(ear.heard, "");
    frame_unref(frame);
    ear_end(&ear);
    threads_settle();
}
END_TEST

START_TEST(calls_of_one_thread_take_effect_in_their_order) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ear = ear_make(0, group), other = ear_make(1, group);
    ear_join(&other);
    threads_settle();
    threads_say(0, group, "before");
    ear_join(&ear);
    threads_say(0, group, "own");
    ear_leave(&ear);
    threads_say(0, group, "between");
    ear_join(&ear);
    threads_say(0, group, "again");
    ear_leave(&ear);
    threads_say(0, group, "after");
    threads_settle();
    ck_assert_str_eq(ear.heard, "own again ");
    ck_assert_str_eq(other.heard, "before own between again after ");
    ck_assert_uint_eq(ear.member.count, 0);
    ear_end(&ear);
    ear_end(&other);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(an_excepted_member_does_not_hear) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear near = ear_make(0, group), far = ear_make(1, group);
    ear_join(&near);
    ear_join(&far);
    threads_settle();
    threads_say_with(0, group, "not-near", near.member.id, NULL);
    threads_say_with(0, group, "not-far", far.member.id, NULL);
    threads_say_with(0, group, "all", 0, NULL);
    threads_settle();
    ck_assert_str_eq(near.heard, "not-far all ");
    ck_assert_str_eq(far.heard, "not-near all ");
    ear_end(&near);
    ear_end(&far);
    threads_settle();
}
END_TEST

START_TEST(a_member_whose_id_is_nearly_the_excepted_one_hears) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear one = ear_make(0, group), two = ear_make(0, group);
    one.member.id = UINT64_C(7) << 56 | 501;
    two.member.id = UINT64_C(1) << 32 | 501;
    ear_join(&one);
    ear_join(&two);
    threads_settle();
    threads_say_with(1, group, "not-one", one.member.id, NULL);
    threads_say_with(1, group, "not-two", two.member.id, NULL);
    threads_say_with(1, group, "all", 501, NULL);
    threads_settle();
    ck_assert_str_eq(one.heard, "not-two all ");
    ck_assert_str_eq(two.heard, "not-one all ");
    ear_end(&one);
    ear_end(&two);
    threads_settle();
}
END_TEST

START_TEST(a_message_under_way_is_heard_by_who_leaves_but_not_by_who_ends) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear leaves = ear_make(0, group), ends = ear_make(0, group);
    ear_join(&leaves);
    ear_join(&ends);
    threads_settle();
    threads_say(0, group, "last");
    ear_leave(&leaves);
    ear_end(&ends);
    threads_settle();
    ck_assert_str_eq(leaves.heard, "last ");
    ck_assert_str_eq(ends.heard, "");
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(who_left_and_then_ends_hears_no_more) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear *ear = malloc(sizeof(*ear));
    *ear = ear_make(0, group);
    ear_join(ear);
    threads_settle();
    threads_say(0, group, "last");
    ear_leave(ear);
    ear_end(ear);
    free(ear);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

/* Ends a member after _i steps of what is under way for it: letters to join, to hear, to leave. */
START_TEST(a_member_may_end_at_any_moment) {
    const char *group = threads_name_at(1, 0);
    struct ear *ear = malloc(sizeof(*ear)), witness = ear_make(2, group);
    char heard[sizeof(witness.heard)];
    *ear = ear_make(0, group);
    ear_join(&witness);
    threads_settle();
    for (int step = 0; step <= _i; step++) {
        if (step % 16 == 0)
            ear_join(ear);
        if (step == 10 || step == 25)
            ear_leave(ear);
        if (step % 4 == 2)
            threads_say(step % 3 == 0 ? 0 : 2, group, "x");
        threads_turn((unsigned)step % THREADS);
    }
    ear_end(ear);
    strcpy(heard, ear->heard);
    threads_say(2, group, "x");
    threads_settle();
    ck_assert_str_eq(ear->heard, heard);
    ck_assert_uint_eq(groups_count(threads_be(1)).members, 1);
    ck_assert_uint_eq(groups_count(threads_be(0)).memberships, 0);
    free(ear);
    ear_end(&witness);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(joining_again_before_the_leave_is_answered_makes_a_new_membership) {
    const char *group = threads_name_at(1, 0);
    struct ear ear = ear_make(0, group);
    ear_join(&ear);
    threads_settle();
    ear_leave(&ear);
    threads_say(0, group, "missed");
    ear_join(&ear);
    ear_leave(&ear);
    threads_say(0, group, "missed");
    ear_join(&ear);
    ck_assert_uint_eq(ear.member.count, 1);
    ck_assert_uint_eq(groups_count(threads_be(0)).memberships, 3);
    threads_say(0, group, "heard");
    threads_settle();
    ck_assert_str_eq(ear.heard, "heard ");
    ck_assert_uint_eq(groups_count(threads_be(0)).memberships, 1);
    ck_assert_uint_eq(groups_count(threads_be(1)).members, 1);
    ear_end(&ear);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

/* The second one's membership is where the first one's was. */
START_TEST(an_answer_to_who_has_ended_is_not_for_who_came_after) {
    const char *group = threads_name_at(1, 0);
    struct ear ended = ear_make(0, group), next = ear_make(0, group), witness = ear_make(0, group);
    ear_join(&witness);
    threads_settle();
    ear_join(&ended);
    threads_turn(0);
    threads_turn(1); /* the answer is under way, and before the next join so is this message */
    threads_say(2, group, "early");
    threads_turn(2);
    threads_turn(1);
    ear_end(&ended);
    ear_join(&next);
    threads_settle();
    ck_assert_str_eq(witness.heard, "early ");
    threads_say(2, group, "late");
    threads_settle();
    ck_assert_str_eq(next.heard, "late ");
    ck_assert_str_eq(ended.heard, "");
    ear_end(&next);
    ear_end(&witness);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_that_joins_twice_hears_once) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ear = ear_make(0, group);
    ear_join(&ear);
    ear_join(&ear);
    threads_settle();
    ear_join(&ear);
    threads_say(1, group, "once");
    threads_settle();
    ck_assert_str_eq(ear.heard, "once ");
    ck_assert_uint_eq(ear.member.count, 1);
    ear_leave(&ear);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_has_no_more_memberships_than_it_may) {
    struct ear ear = ear_make(0, NULL);
    for (unsigned at = 0; at < 3; at++)
        ck_assert_int_eq(group_join(threads_be(0), &ear.member, SPACE,
                                    threads_name_at((unsigned)_i, at), NULL, GROUP_EVENTS, 2),
                         at < 2 ? GROUP_OK : GROUP_FULL);
    ck_assert_int_eq(group_join(threads_be(0), &ear.member, SPACE, threads_name_at((unsigned)_i, 1),
                                "x", GROUP_EVENTS, 2),
                     GROUP_OK);
    ck_assert_int_eq(
        group_leave(threads_be(0), &ear.member, SPACE, threads_name_at((unsigned)_i, 2)), GROUP_OK);
    ck_assert_int_eq(
        group_leave(threads_be(0), &ear.member, SPACE, threads_name_at((unsigned)_i, 0)), GROUP_OK);
    ck_assert_int_eq(group_join(threads_be(0), &ear.member, SPACE, threads_name_at((unsigned)_i, 2),
                                NULL, GROUP_EVENTS, 2),
                     GROUP_OK);
    ear_end(&ear);
    ck_assert_uint_eq(ear.member.count, 0);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(many_members_come_and_go_and_nothing_stays) {
    enum { MANY = 500 };
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear *ears = calloc(MANY, sizeof(*ears));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned at = 0; at < MANY; at++) {
            ears[at] = ear_make(at % THREADS, group);
            ear_join(&ears[at]);
        }
        threads_settle();
        ck_assert_uint_eq(groups_count(threads_be((unsigned)_i)).members, MANY);
        for (unsigned at = 0; at < MANY; at += 2)
            ear_leave(&ears[at]);
        threads_settle();
        ck_assert_uint_eq(groups_count(threads_be((unsigned)_i)).members, MANY / 2);
        threads_say(0, group, "x");
        threads_settle();
        for (unsigned at = 0; at < MANY; at++)
            ck_assert_str_eq(ears[at].heard, at % 2 == 0 ? "" : "x ");
        for (unsigned at = MANY; at-- > 0;)
            ear_end(&ears[at]);
        threads_settle();
        threads_assert_nothing_is_held();
    }
    free(ears);
}
END_TEST

/* --- answers --- */

struct answer {
    int count;
    struct group_report report;
    char text[200]; /* of a listing: "id=info " each, then the total */
};

static void on_report(void *arg, const struct group_report *report) {
    struct answer *answer = arg;
    answer->count++;
    answer->report = *report;
}

static void on_listing(void *arg, const struct group_listing_entry *members, size_t count,
                       size_t total) {
    struct answer *answer = arg;
    char *at = answer->text;
    answer->count++;
    for (size_t which = 0; which < count; which++)
        at += sprintf(at, "%d=%s ", (int)members[which].id, members[which].info);
    sprintf(at, "of %zu", total);
}

static void assert_report(const struct answer *answer, uint64_t matched, uint64_t queued,
                          uint64_t position) {
    ck_assert_int_eq(answer->count, 1);
    ck_assert_uint_eq(answer->report.matched, matched);
    ck_assert_uint_eq(answer->report.queued, queued);
    ck_assert_uint_eq(answer->report.dropped, matched - queued);
    ck_assert_uint_eq(answer->report.position.offset, position);
}

static void ask(unsigned thread, const char *group, uint64_t except, struct answer *answer) {
    *answer = (struct answer){0};
    threads_say_with(thread, group, "x", except, &(struct group_tally){on_report, answer});
    ck_assert_int_eq(answer->count, 0);
    threads_settle();
}

START_TEST(a_tally_counts_the_members_of_all_threads) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ears[5];
    struct answer answer;
    for (unsigned at = 0; at < 5; at++) {
        ears[at] = ear_make(at % THREADS, group);
        ear_join(&ears[at]);
    }
    threads_settle();
    ask(0, group, 0, &answer);
    assert_report(&answer, 5, 5, 1);
    ask(1, group, ears[0].member.id, &answer);
    assert_report(&answer, 4, 4, 2);
    ear_end(&ears[1]);
    ask(2, group, 0, &answer);
    assert_report(&answer, 4, 4, 3);
    for (unsigned at = 0; at < 5; at++)
        ear_end(&ears[at]);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_tally_of_a_group_without_members_is_told_too) {
    struct answer answer;
    ask(0, threads_name_at((unsigned)_i, 0), 0, &answer);
    assert_report(&answer, 0, 0, 1);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(positions_start_again_when_a_group_was_empty) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ear = ear_make(0, group);
    struct answer answer;
    for (int life = 0; life < 2; life++) {
        ear_join(&ear);
        ask(0, group, 0, &answer);
        assert_report(&answer, 1, 1, 1);
        ask(0, group, 0, &answer);
        assert_report(&answer, 1, 1, 2);
        ear_leave(&ear);
        threads_settle();
    }
}
END_TEST

static void list(unsigned thread, const char *group, size_t most, struct answer *answer) {
    *answer = (struct answer){0};
    ck_assert_int_eq(group_list(threads_be(thread), SPACE, group, most, on_listing, answer),
                     GROUP_OK);
    ck_assert_int_eq(answer->count, 0);
}

static void assert_listing(const struct answer *answer, const char *expected) {
    ck_assert_int_eq(answer->count, 1);
    ck_assert_str_eq(answer->text, expected);
}

static void join_as(struct ear *ear, uint64_t id, const char *info) {
    ear->member.id = id;
    ck_assert_int_eq(group_join(threads_be(ear->thread), &ear->member, SPACE, ear->group, info,
                                GROUP_EVENTS, PLENTY),
                     GROUP_OK);
    threads_settle();
}

START_TEST(a_listing_is_in_order_of_joining) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear one = ear_make(2, group), two = ear_make(0, group), three = ear_make(1, group);
    struct answer answer;
    list(0, group, 10, &answer);
    threads_settle();
    assert_listing(&answer, "of 0");
    join_as(&one, 501, "Ada");
    join_as(&two, 502, NULL);
    join_as(&three, 503, "Grace");
    list(0, group, 10, &answer);
    threads_settle();
    assert_listing(&answer, "501=Ada 502= 503=Grace of 3");
    join_as(&one, 501, "Ada L."); /* keeps its place */
    list(1, group, 2, &answer);
    threads_settle();
    assert_listing(&answer, "501=Ada L. 502= of 3");
    ear_leave(&one);
    join_as(&one, 501, NULL); /* a new place */
    list(2, group, 10, &answer);
    threads_settle();
    assert_listing(&answer, "502= 503=Grace 501= of 3");
    list(2, group, 0, &answer);
    threads_settle();
    assert_listing(&answer, "of 3");
    ear_end(&one);
    ear_end(&two);
    ear_end(&three);
    threads_settle();
}
END_TEST

START_TEST(a_listing_shows_the_callers_own_calls_before_it_and_none_after) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear one = ear_make(0, group), two = ear_make(0, group);
    struct answer before, between, after;
    one.member.id = 501;
    two.member.id = 502;
    list(0, group, 10, &before);
    ear_join(&one);
    list(0, group, 10, &between);
    ear_leave(&one);
    ear_join(&two);
    list(0, group, 10, &after);
    ear_end(&two);
    threads_settle();
    assert_listing(&before, "of 0");
    assert_listing(&between, "501= of 1");
    assert_listing(&after, "502= of 1");
    threads_assert_nothing_is_held();
}
END_TEST

static void on_big_listing(void *arg, const struct group_listing_entry *members, size_t count,
                           size_t total) {
    size_t *seen = arg;
    seen[0] = count;
    seen[1] = total;
    for (size_t at = 1; at < count; at++)
        ck_assert_uint_gt(members[at].id, 0);
}

/* A thread reads a portion of its letters a turn. */
static void settle_many(void) {
    for (int times = 0; times < 30; times++)
        threads_settle();
}

START_TEST(a_listing_has_no_more_than_its_ceiling) {
    const char *group = threads_name_at((unsigned)_i, 0);
    const unsigned many = GROUP_MEMBERS_MAX + 1;
    struct ear *ears = calloc(many, sizeof(*ears));
    size_t seen[2] = {0, 0};
    for (unsigned at = 0; at < many; at++) {
        ears[at] = ear_make(at % THREADS, group);
        ear_join(&ears[at]);
    }
    settle_many();
    ck_assert_int_eq(group_list(threads_be(0), SPACE, group, SIZE_MAX, on_big_listing, seen),
                     GROUP_OK);
    settle_many();
    ck_assert_uint_eq(seen[0], GROUP_MEMBERS_MAX);
    ck_assert_uint_eq(seen[1], many);
    for (unsigned at = 0; at < many; at++)
        ear_end(&ears[at]);
    settle_many();
    threads_assert_nothing_is_held();
    free(ears);
}
END_TEST

/* --- from other threads --- */

static void *say_from_a_pool_thread(void *group) {
    struct frame *frame = frame_create(OPCODE_TEXT, "pool", 4);
    assert(group_send_any(SPACE, group, frame, 0) == GROUP_OK);
    frame_unref(frame);
    return NULL;
}

START_TEST(any_thread_may_send) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ear = ear_make(0, group);
    struct frame *frame = frame_create(OPCODE_TEXT, "loop", 4);
    pthread_t thread;
    ear_join(&ear);
    threads_settle();
    ck_assert_int_eq(pthread_create(&thread, NULL, say_from_a_pool_thread, (void *)group), 0);
    pthread_join(thread, NULL);
    threads_settle();
    loop_enter(threads[2]);
    ck_assert_int_eq(group_send_any(SPACE, group, frame, 0), GROUP_OK);
    ck_assert_int_eq(group_send_any(SPACE, group, frame, ear.member.id), GROUP_OK);
    threads_settle();
    ck_assert_str_eq(ear.heard, "pool loop ");
    frame_unref(frame);
    ear_end(&ear);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

struct counter {
    struct member member;
    unsigned heard;
};

static void count_event(struct member *member, const char *group, struct frame *frame) {
    (void)group;
    (void)frame;
    ((struct counter *)member)->heard++;
}

START_TEST(senders_are_told_when_a_thread_is_too_far_behind) {
    static const char payload[1 << 20];
    const char *group = threads_name_at(1, 0);
    struct counter far = {.member = {.id = 1}};
    struct frame *frame = frame_create(OPCODE_BINARY, payload, sizeof(payload));
    struct answer answer = {0};
    const struct group_tally tally = {on_report, &answer};
    unsigned sent = 0;
    threads_events.event = count_event;
    ck_assert_int_eq(
        group_join(threads_be(2), &far.member, SPACE, group, NULL, GROUP_EVENTS, PLENTY), GROUP_OK);
    threads_settle();
    while (group_send(threads_be(0), SPACE, group, frame, 0, NULL) == GROUP_OK)
        sent++;
    ck_assert_uint_eq(sent, 64);
    ck_assert_int_eq(group_send(threads_be(0), SPACE, group, frame, 0, &tally), GROUP_FULL);
    ck_assert_int_eq(group_send_any(SPACE, group, frame, 0), GROUP_FULL);
    threads_turn(0);
    threads_turn(1); /* now they are ordered and under way to the member */
    ck_assert_uint_eq(groups_count(threads_be(1)).members, 1);
    ck_assert_int_eq(group_send(threads_be(1), SPACE, group, frame, 0, NULL), GROUP_FULL);
    threads_settle();
    ck_assert_uint_eq(far.heard, sent);
    ck_assert_int_eq(group_send(threads_be(0), SPACE, group, frame, 0, NULL), GROUP_OK);
    threads_settle();
    ck_assert_uint_eq(far.heard, sent + 1);
    ck_assert_int_eq(answer.count, 0);
    frame_unref(frame);
    group_leave_all(threads_be(2), &far.member);
    threads_settle();
}
END_TEST

START_TEST(before_there_are_loops_a_message_is_for_nobody) {
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    threads_close();
    ck_assert_int_eq(group_send_any(SPACE, "room", frame, 0), GROUP_OK);
    ck_assert_int_eq(group_send_any(SPACE, "", frame, 0), GROUP_INVALID);
    frame_unref(frame);
    threads_open();
}
END_TEST

/* --- the suite --- */

static TCase *add_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, threads_open, threads_close);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_names(Suite *suite) {
    TCase *tcase = add_case(suite, "names");
    tcase_add_loop_test(tcase, names_are_text_without_controls, 0,
                        (int)(sizeof(names) / sizeof(names[0])));
    tcase_add_test(tcase, names_and_infos_have_a_longest);
}

static void add_hearing(Suite *suite) {
    const TTest *const tests[] = {
        all_members_hear_what_any_thread_says_and_nobody_else_does,
        a_group_of_another_namespace_is_another_group,
        calls_of_one_thread_take_effect_in_their_order,
        an_excepted_member_does_not_hear,
        a_member_whose_id_is_nearly_the_excepted_one_hears,
        a_message_under_way_is_heard_by_who_leaves_but_not_by_who_ends,
        who_left_and_then_ends_hears_no_more,
        a_member_that_joins_twice_hears_once,
        a_member_has_no_more_memberships_than_it_may,
        many_members_come_and_go_and_nothing_stays,
        any_thread_may_send,
    };
    TCase *tcase = add_case(suite, "hearing");
    for (size_t at = 0; at < sizeof(tests) / sizeof(tests[0]); at++)
        tcase_add_loop_test(tcase, tests[at], 0, THREADS);
    tcase_add_loop_test(tcase, a_member_may_end_at_any_moment, 0, 40);
    tcase_add_test(tcase, senders_are_told_when_a_thread_is_too_far_behind);
    tcase_add_test(tcase, before_there_are_loops_a_message_is_for_nobody);
    tcase_add_test(tcase, an_answer_to_who_has_ended_is_not_for_who_came_after);
    tcase_add_test(tcase, joining_again_before_the_leave_is_answered_makes_a_new_membership);
}

static void add_answers(Suite *suite) {
    const TTest *const tests[] = {
        a_tally_counts_the_members_of_all_threads,
        a_tally_of_a_group_without_members_is_told_too,
        positions_start_again_when_a_group_was_empty,
        a_listing_is_in_order_of_joining,
        a_listing_shows_the_callers_own_calls_before_it_and_none_after,
        a_listing_has_no_more_than_its_ceiling,
    };
    TCase *tcase = add_case(suite, "answers");
    for (size_t at = 0; at < sizeof(tests) / sizeof(tests[0]); at++)
        tcase_add_loop_test(tcase, tests[at], 0, THREADS);
}

int main(void) {
    Suite *suite = suite_create("group");
    add_names(suite);
    add_hearing(suite);
    add_answers(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
