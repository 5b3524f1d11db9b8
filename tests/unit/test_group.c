#include <assert.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group/group.h"
#include "group/key.h"
#include "loop/loop.h"
#include "websocket/frame.h"
#include "websocket/session.h"
#include "websocket/transport.h"

#define THREADS 3
#define SPACE "default/chat"
#define PLENTY 1000

static struct loop *loops[THREADS];

static void setup(void) {
    for (unsigned at = 0; at < THREADS; at++)
        loops[at] = loop_create(at);
    groups_create_all(loops, THREADS);
    key_seed(1, 2); /* the same homes in each run */
}

static void teardown(void) {
    groups_free_all(loops, THREADS);
    for (unsigned at = 0; at < THREADS; at++)
        loop_free(loops[at]);
    loop_enter(NULL);
}

/* --- loops, driven by one thread so that every step is chosen --- */

static struct groups *on(unsigned thread) {
    loop_enter(loops[thread]);
    return groups_of(loops[thread]);
}

static void turn(unsigned thread) {
    loop_enter(loops[thread]);
    loop_turn(loops[thread], 0);
}

/* More rounds than the longest way that letters go: a tally's, over the home and back. */
static void settle(void) {
    for (int round = 0; round < 12; round++)
        for (unsigned thread = 0; thread < THREADS; thread++)
            turn(thread);
}

static void assert_nothing_is_held(void) {
    for (unsigned thread = 0; thread < THREADS; thread++) {
        struct group_counts counts = groups_count(on(thread));
        ck_assert_uint_eq(counts.memberships, 0);
        ck_assert_uint_eq(counts.views, 0);
        ck_assert_uint_eq(counts.homes, 0);
        ck_assert_uint_eq(counts.members, 0);
    }
}

/* A name whose home is that thread; another one for each number. */
static const char *name_at(unsigned home, unsigned number) {
    static char names[THREADS][4][16];
    char *name = names[home][number];
    for (unsigned tried = 0;; tried++) {
        snprintf(name, sizeof(names[0][0]), "room-%u", tried);
        struct group_key key = key_of(SPACE, name);
        if (key_home(&key, THREADS) == home && number-- == 0)
            return name;
    }
}

/* --- members that hear by events --- */

struct ear {
    struct member member;
    unsigned thread;
    char heard[200]; /* "one two " */
    void (*then)(struct ear *ear);
    struct ear *other;
    const char *group;
};

static void note(char *text, size_t size, struct frame *frame) {
    size_t payload_size, at = strlen(text);
    const uint8_t *payload = frame_payload(frame, &payload_size);
    ck_assert_uint_lt(at + payload_size + 1, size);
    memcpy(text + at, payload, payload_size);
    strcpy(text + at + payload_size, " ");
}

static void on_event(struct member *member, const char *group, struct frame *frame) {
    struct ear *ear = (struct ear *)member;
    ck_assert_ptr_eq(loop_current(), loops[ear->thread]);
    ck_assert_str_eq(group, ear->group);
    note(ear->heard, sizeof(ear->heard), frame);
    if (ear->then != NULL)
        ear->then(ear);
}

static const struct member_events ear_events = {on_event};

static struct ear make_ear(unsigned thread, const char *group) {
    static uint64_t ids;
    return (struct ear){
        .member = {.id = ++ids, .events = &ear_events}, .thread = thread, .group = group};
}

static void join(struct ear *ear) {
    ck_assert_int_eq(
        group_join(on(ear->thread), &ear->member, SPACE, ear->group, NULL, GROUP_EVENTS, PLENTY),
        GROUP_OK);
}

static void leave(struct ear *ear) {
    ck_assert_int_eq(group_leave(on(ear->thread), &ear->member, SPACE, ear->group), GROUP_OK);
}

static void end(struct ear *ear) { group_leave_all(on(ear->thread), &ear->member); }

static void say_with(unsigned thread, const char *group, const char *text, uint64_t except,
                     const struct group_tally *tally) {
    struct frame *frame = frame_create(OPCODE_TEXT, text, strlen(text));
    ck_assert_int_eq(group_send(on(thread), SPACE, group, frame, except, tally), GROUP_OK);
    frame_unref(frame);
}

static void say(unsigned thread, const char *group, const char *text) {
    say_with(thread, group, text, 0, NULL);
}

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
    struct ear ear = make_ear(0, name);
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    enum group_result expected = names[_i].valid ? GROUP_OK : GROUP_INVALID;
    ck_assert_int_eq(group_name_valid(name), names[_i].valid);
    ck_assert_int_eq(group_join(on(0), &ear.member, SPACE, name, NULL, GROUP_EVENTS, PLENTY),
                     expected);
    ck_assert_int_eq(group_send(on(0), SPACE, name, frame, 0, NULL), expected);
    ck_assert_int_eq(group_leave(on(0), &ear.member, SPACE, name), expected);
    ck_assert_int_eq(group_send_any(SPACE, name, frame, 0), expected);
    frame_unref(frame);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(names_and_infos_have_a_longest) {
    char text[GROUP_INFO_MAX + 2];
    struct ear ear = make_ear(0, text);
    memset(text, 'x', sizeof(text));
    text[GROUP_NAME_MAX] = '\0';
    ck_assert(group_name_valid(text));
    text[GROUP_NAME_MAX] = 'x';
    text[GROUP_NAME_MAX + 1] = '\0';
    ck_assert(!group_name_valid(text));
    memset(text, 'x', sizeof(text));
    text[GROUP_INFO_MAX] = '\0';
    ck_assert_int_eq(group_join(on(0), &ear.member, SPACE, "a", text, GROUP_EVENTS, PLENTY),
                     GROUP_OK);
    text[GROUP_INFO_MAX] = 'x';
    text[GROUP_INFO_MAX + 1] = '\0';
    ck_assert_int_eq(group_join(on(0), &ear.member, SPACE, "a", text, GROUP_EVENTS, PLENTY),
                     GROUP_INVALID);
    ck_assert_int_eq(group_join(on(0), &ear.member, SPACE, "a", "\xff", GROUP_EVENTS, PLENTY),
                     GROUP_INVALID);
    end(&ear);
    settle();
}
END_TEST

/* --- who hears; _i is the home, so that it is the member's thread, the sender's and a third --- */

START_TEST(all_members_hear_what_any_thread_says_and_nobody_else_does) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ears[] = {make_ear(0, group), make_ear(0, group), make_ear(1, group),
                         make_ear(2, group)};
    struct ear stranger = make_ear(0, name_at((unsigned)_i, 1));
    join(&stranger);
    for (int at = 0; at < 4; at++)
        join(&ears[at]);
    settle();
    for (unsigned thread = 0; thread < THREADS; thread++) {
        say(thread, group, thread == 0 ? "a" : thread == 1 ? "b" : "c");
        settle();
    }
    for (int at = 0; at < 4; at++)
        ck_assert_str_eq(ears[at].heard, "a b c ");
    ck_assert_str_eq(stranger.heard, "");
    for (int at = 0; at < 4; at++)
        end(&ears[at]);
    end(&stranger);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(a_group_of_another_namespace_is_another_group) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ear = make_ear(0, group);
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    join(&ear);
    settle();
    ck_assert_int_eq(group_send(on(0), "default/other", group, frame, 0, NULL), GROUP_OK);
    settle();
    ck_assert_str_eq(ear.heard, "");
    frame_unref(frame);
    end(&ear);
    settle();
}
END_TEST

START_TEST(calls_of_one_thread_take_effect_in_their_order) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ear = make_ear(0, group), other = make_ear(1, group);
    join(&other);
    settle();
    say(0, group, "before");
    join(&ear);
    say(0, group, "own");
    leave(&ear);
    say(0, group, "between");
    join(&ear);
    say(0, group, "again");
    leave(&ear);
    say(0, group, "after");
    settle();
    ck_assert_str_eq(ear.heard, "own again ");
    ck_assert_str_eq(other.heard, "before own between again after ");
    ck_assert_uint_eq(ear.member.count, 0);
    end(&ear);
    end(&other);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(an_excepted_member_does_not_hear) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear near = make_ear(0, group), far = make_ear(1, group);
    join(&near);
    join(&far);
    settle();
    say_with(0, group, "not-near", near.member.id, NULL);
    say_with(0, group, "not-far", far.member.id, NULL);
    say_with(0, group, "all", 0, NULL);
    settle();
    ck_assert_str_eq(near.heard, "not-far all ");
    ck_assert_str_eq(far.heard, "not-near all ");
    end(&near);
    end(&far);
    settle();
}
END_TEST

START_TEST(a_message_under_way_is_heard_by_who_leaves_but_not_by_who_ends) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear leaves = make_ear(0, group), ends = make_ear(0, group);
    join(&leaves);
    join(&ends);
    settle();
    say(0, group, "last");
    leave(&leaves);
    end(&ends);
    settle();
    ck_assert_str_eq(leaves.heard, "last ");
    ck_assert_str_eq(ends.heard, "");
    assert_nothing_is_held();
}
END_TEST

START_TEST(who_left_and_then_ends_hears_no_more) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear *ear = malloc(sizeof(*ear));
    *ear = make_ear(0, group);
    join(ear);
    settle();
    say(0, group, "last");
    leave(ear);
    end(ear);
    free(ear);
    settle();
    assert_nothing_is_held();
}
END_TEST

/* Ends a member after _i steps of what is under way for it: letters to join, to hear, to leave. */
START_TEST(a_member_may_end_at_any_moment) {
    const char *group = name_at(1, 0);
    struct ear *ear = malloc(sizeof(*ear)), witness = make_ear(2, group);
    char heard[sizeof(witness.heard)];
    *ear = make_ear(0, group);
    join(&witness);
    settle();
    for (int step = 0; step <= _i; step++) {
        if (step % 16 == 0)
            join(ear);
        if (step == 10 || step == 25)
            leave(ear);
        if (step % 4 == 2)
            say(step % 3 == 0 ? 0 : 2, group, "x");
        turn((unsigned)step % THREADS);
    }
    end(ear);
    strcpy(heard, ear->heard);
    say(2, group, "x");
    settle();
    ck_assert_str_eq(ear->heard, heard);
    ck_assert_uint_eq(groups_count(on(1)).members, 1);
    ck_assert_uint_eq(groups_count(on(0)).memberships, 0);
    free(ear);
    end(&witness);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(joining_again_before_the_leave_is_answered_makes_a_new_membership) {
    const char *group = name_at(1, 0);
    struct ear ear = make_ear(0, group);
    join(&ear);
    settle();
    leave(&ear);
    say(0, group, "missed");
    join(&ear);
    leave(&ear);
    say(0, group, "missed");
    join(&ear);
    ck_assert_uint_eq(ear.member.count, 1);
    ck_assert_uint_eq(groups_count(on(0)).memberships, 3);
    say(0, group, "heard");
    settle();
    ck_assert_str_eq(ear.heard, "heard ");
    ck_assert_uint_eq(groups_count(on(0)).memberships, 1);
    ck_assert_uint_eq(groups_count(on(1)).members, 1);
    end(&ear);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_that_joins_twice_hears_once) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ear = make_ear(0, group);
    join(&ear);
    join(&ear);
    settle();
    join(&ear);
    say(1, group, "once");
    settle();
    ck_assert_str_eq(ear.heard, "once ");
    ck_assert_uint_eq(ear.member.count, 1);
    leave(&ear);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_has_no_more_memberships_than_it_may) {
    struct ear ear = make_ear(0, NULL);
    for (unsigned at = 0; at < 3; at++)
        ck_assert_int_eq(
            group_join(on(0), &ear.member, SPACE, name_at((unsigned)_i, at), NULL, GROUP_EVENTS, 2),
            at < 2 ? GROUP_OK : GROUP_FULL);
    ck_assert_int_eq(
        group_join(on(0), &ear.member, SPACE, name_at((unsigned)_i, 1), "x", GROUP_EVENTS, 2),
        GROUP_OK);
    ck_assert_int_eq(group_leave(on(0), &ear.member, SPACE, name_at((unsigned)_i, 2)), GROUP_OK);
    ck_assert_int_eq(group_leave(on(0), &ear.member, SPACE, name_at((unsigned)_i, 0)), GROUP_OK);
    ck_assert_int_eq(
        group_join(on(0), &ear.member, SPACE, name_at((unsigned)_i, 2), NULL, GROUP_EVENTS, 2),
        GROUP_OK);
    end(&ear);
    ck_assert_uint_eq(ear.member.count, 0);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(many_members_come_and_go_and_nothing_stays) {
    enum { MANY = 500 };
    const char *group = name_at((unsigned)_i, 0);
    struct ear *ears = calloc(MANY, sizeof(*ears));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned at = 0; at < MANY; at++) {
            ears[at] = make_ear(at % THREADS, group);
            join(&ears[at]);
        }
        settle();
        ck_assert_uint_eq(groups_count(on((unsigned)_i)).members, MANY);
        for (unsigned at = 0; at < MANY; at += 2)
            leave(&ears[at]);
        settle();
        ck_assert_uint_eq(groups_count(on((unsigned)_i)).members, MANY / 2);
        say(0, group, "x");
        settle();
        for (unsigned at = 0; at < MANY; at++)
            ck_assert_str_eq(ears[at].heard, at % 2 == 0 ? "" : "x ");
        for (unsigned at = MANY; at-- > 0;)
            end(&ears[at]);
        settle();
        assert_nothing_is_held();
    }
    free(ears);
}
END_TEST

/* --- events, and what is done inside them --- */

static void say_more(struct ear *ear) {
    ear->then = NULL;
    say(ear->thread, ear->group, "reply");
    say(ear->thread, ear->group, "more");
}

START_TEST(what_a_member_says_inside_its_event_comes_behind_for_all) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ears[] = {make_ear(0, group), make_ear(0, group), make_ear(0, group)};
    ears[1].then = say_more;
    for (int at = 0; at < 3; at++)
        join(&ears[at]);
    settle();
    say(0, group, "first");
    say(0, group, "second");
    settle();
    for (int at = 0; at < 3; at++)
        ck_assert_str_eq(ears[at].heard, "first second reply more ");
    for (int at = 0; at < 3; at++)
        end(&ears[at]);
    settle();
}
END_TEST

static void end_other(struct ear *ear) { end(ear->other); }

static void leave_and_rejoin(struct ear *ear) {
    ear->then = NULL;
    leave(ear);
    join(ear);
}

START_TEST(a_member_may_end_itself_or_another_inside_an_event) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear first = make_ear(0, group), second = make_ear(0, group), third = make_ear(0, group);
    first.then = end_other;
    first.other = &second;
    third.then = end_other;
    third.other = &third;
    join(&first);
    join(&second);
    join(&third);
    settle();
    say(0, group, "a");
    say(0, group, "b");
    settle();
    ck_assert_str_eq(first.heard, "a b ");
    ck_assert_str_eq(second.heard, "");
    ck_assert_str_eq(third.heard, "a ");
    end(&first);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_may_leave_and_join_inside_an_event) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ear = make_ear(0, group);
    ear.then = leave_and_rejoin;
    join(&ear);
    settle();
    say(0, group, "a");
    say(0, group, "b"); /* ordered before that leave */
    settle();
    say(0, group, "c");
    settle();
    ck_assert_str_eq(ear.heard, "a b c ");
    end(&ear);
    settle();
    assert_nothing_is_held();
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
    ck_assert_uint_eq(answer->report.position, position);
}

static void ask(unsigned thread, const char *group, uint64_t except, struct answer *answer) {
    *answer = (struct answer){0};
    say_with(thread, group, "x", except, &(struct group_tally){on_report, answer});
    ck_assert_int_eq(answer->count, 0);
    settle();
}

START_TEST(a_tally_counts_the_members_of_all_threads) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ears[5];
    struct answer answer;
    for (unsigned at = 0; at < 5; at++) {
        ears[at] = make_ear(at % THREADS, group);
        join(&ears[at]);
    }
    settle();
    ask(0, group, 0, &answer);
    assert_report(&answer, 5, 5, 1);
    ask(1, group, ears[0].member.id, &answer);
    assert_report(&answer, 4, 4, 2);
    end(&ears[1]);
    ask(2, group, 0, &answer);
    assert_report(&answer, 4, 4, 3);
    for (unsigned at = 0; at < 5; at++)
        end(&ears[at]);
    settle();
    assert_nothing_is_held();
}
END_TEST

START_TEST(a_tally_of_a_group_without_members_is_told_too) {
    struct answer answer;
    ask(0, name_at((unsigned)_i, 0), 0, &answer);
    assert_report(&answer, 0, 0, 1);
    assert_nothing_is_held();
}
END_TEST

START_TEST(positions_start_again_when_a_group_was_empty) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear ear = make_ear(0, group);
    struct answer answer;
    for (int life = 0; life < 2; life++) {
        join(&ear);
        ask(0, group, 0, &answer);
        assert_report(&answer, 1, 1, 1);
        ask(0, group, 0, &answer);
        assert_report(&answer, 1, 1, 2);
        leave(&ear);
        settle();
    }
}
END_TEST

static void list(unsigned thread, const char *group, size_t most, struct answer *answer) {
    *answer = (struct answer){0};
    ck_assert_int_eq(group_list(on(thread), SPACE, group, most, on_listing, answer), GROUP_OK);
    ck_assert_int_eq(answer->count, 0);
}

static void assert_listing(const struct answer *answer, const char *expected) {
    ck_assert_int_eq(answer->count, 1);
    ck_assert_str_eq(answer->text, expected);
}

static void join_as(struct ear *ear, uint64_t id, const char *info) {
    ear->member.id = id;
    ck_assert_int_eq(
        group_join(on(ear->thread), &ear->member, SPACE, ear->group, info, GROUP_EVENTS, PLENTY),
        GROUP_OK);
    settle();
}

START_TEST(a_listing_is_in_order_of_joining) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear one = make_ear(2, group), two = make_ear(0, group), three = make_ear(1, group);
    struct answer answer;
    list(0, group, 10, &answer);
    settle();
    assert_listing(&answer, "of 0");
    join_as(&one, 501, "Ada");
    join_as(&two, 502, NULL);
    join_as(&three, 503, "Grace");
    list(0, group, 10, &answer);
    settle();
    assert_listing(&answer, "501=Ada 502= 503=Grace of 3");
    join_as(&one, 501, "Ada L."); /* keeps its place */
    list(1, group, 2, &answer);
    settle();
    assert_listing(&answer, "501=Ada L. 502= of 3");
    leave(&one);
    join_as(&one, 501, NULL); /* a new place */
    list(2, group, 10, &answer);
    settle();
    assert_listing(&answer, "502= 503=Grace 501= of 3");
    list(2, group, 0, &answer);
    settle();
    assert_listing(&answer, "of 3");
    end(&one);
    end(&two);
    end(&three);
    settle();
}
END_TEST

START_TEST(a_listing_shows_the_callers_own_calls_before_it_and_none_after) {
    const char *group = name_at((unsigned)_i, 0);
    struct ear one = make_ear(0, group), two = make_ear(0, group);
    struct answer before, between, after;
    one.member.id = 501;
    two.member.id = 502;
    list(0, group, 10, &before);
    join(&one);
    list(0, group, 10, &between);
    leave(&one);
    join(&two);
    list(0, group, 10, &after);
    end(&two);
    settle();
    assert_listing(&before, "of 0");
    assert_listing(&between, "501= of 1");
    assert_listing(&after, "502= of 1");
    assert_nothing_is_held();
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

START_TEST(a_listing_has_no_more_than_its_ceiling) {
    const char *group = name_at((unsigned)_i, 0);
    const unsigned many = GROUP_MEMBERS_MAX + 1;
    struct ear *ears = calloc(many, sizeof(*ears));
    size_t seen[2] = {0, 0};
    for (unsigned at = 0; at < many; at++) {
        ears[at] = make_ear(at % THREADS, group);
        join(&ears[at]);
    }
    settle();
    ck_assert_int_eq(group_list(on(0), SPACE, group, SIZE_MAX, on_big_listing, seen), GROUP_OK);
    settle();
    ck_assert_uint_eq(seen[0], GROUP_MEMBERS_MAX);
    ck_assert_uint_eq(seen[1], many);
    for (unsigned at = 0; at < many; at++)
        end(&ears[at]);
    settle();
    assert_nothing_is_held();
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
    const char *group = name_at((unsigned)_i, 0);
    struct ear ear = make_ear(0, group);
    struct frame *frame = frame_create(OPCODE_TEXT, "loop", 4);
    pthread_t thread;
    join(&ear);
    settle();
    ck_assert_int_eq(pthread_create(&thread, NULL, say_from_a_pool_thread, (void *)group), 0);
    pthread_join(thread, NULL);
    settle();
    loop_enter(loops[2]);
    ck_assert_int_eq(group_send_any(SPACE, group, frame, 0), GROUP_OK);
    ck_assert_int_eq(group_send_any(SPACE, group, frame, ear.member.id), GROUP_OK);
    settle();
    ck_assert_str_eq(ear.heard, "pool loop ");
    frame_unref(frame);
    end(&ear);
    settle();
    assert_nothing_is_held();
}
END_TEST

/* --- members that hear by a session --- */

struct client {
    struct member member;
    unsigned thread;
    struct session *session;
    const char *group;
    uint8_t wire[400];
    size_t size;
    bool writing;
    int code; /* of the close, 0 while open */
    char events[100];
};

static void fake_write(void *io, const struct iovec *parts, size_t count) {
    struct client *client = io;
    for (size_t at = 0; at < count; at++) {
        ck_assert_uint_le(client->size + parts[at].iov_len, sizeof(client->wire));
        memcpy(client->wire + client->size, parts[at].iov_base, parts[at].iov_len);
        client->size += parts[at].iov_len;
    }
    client->writing = true;
}

static void fake_read(void *io, bool wanted) {
    (void)io;
    (void)wanted;
}

static void fake_close(void *io) { (void)io; }

static const struct transport fake_transport = {fake_write, fake_read, fake_close, NULL};

static void on_message(void *owner, enum opcode kind, const uint8_t *data, size_t size) {
    (void)owner;
    (void)kind;
    (void)data;
    (void)size;
}

static void on_closed(void *owner, int code, const char *reason, size_t reason_size) {
    struct client *client = owner;
    (void)reason;
    (void)reason_size;
    client->code = code;
    group_leave_all(groups_of(loops[client->thread]), &client->member);
}

static void on_client_event(struct member *member, const char *group, struct frame *frame) {
    struct client *client = (struct client *)member;
    (void)group;
    note(client->events, sizeof(client->events), frame);
}

static const struct session_events session_events = {.message = on_message, .closed = on_closed};
static const struct member_events client_events = {on_client_event};
static const struct session_limits roomy = {.message_bytes_max = 1000, .queue_bytes_max = 1000};
static const struct session_limits tight_close = {
    .message_bytes_max = 1000, .queue_bytes_max = 10, .on_full = ON_FULL_CLOSE};
static const struct session_limits tight_drop = {
    .message_bytes_max = 1000, .queue_bytes_max = 10, .on_full = ON_FULL_DROP_NEWEST};

static void open_client(struct client *client, unsigned thread, const char *group,
                        const struct session_limits *limits) {
    static uint64_t ids = 10000;
    loop_enter(loops[thread]);
    *client = (struct client){.thread = thread, .group = group};
    client->session = session_create(loops[thread], limits, &session_events, client);
    client->member =
        (struct member){.id = ++ids, .session = client->session, .events = &client_events};
}

static void join_client(struct client *client, unsigned flags) {
    ck_assert_int_eq(
        group_join(on(client->thread), &client->member, SPACE, client->group, NULL, flags, PLENTY),
        GROUP_OK);
}

static void attach(struct client *client) {
    loop_enter(loops[client->thread]);
    session_attach(client->session, &fake_transport, client);
}

static void close_client(struct client *client) {
    loop_enter(loops[client->thread]);
    session_abort(client->session);
    settle();
    ck_assert_int_ne(client->code, 0);
}

/* What the client's browser has seen. */
static const char *seen_by(const struct client *client) {
    static char text[200];
    char *to = text;
    for (size_t at = 0; at < client->size; at += 2u + client->wire[at + 1]) {
        size_t size = client->wire[at + 1];
        ck_assert_uint_eq(client->wire[at], 0x81);
        to += sprintf(to, "%.*s ", (int)size, client->wire + at + 2);
    }
    *to = '\0';
    return text;
}

START_TEST(a_session_gets_the_groups_messages_in_order) {
    const char *group = name_at((unsigned)_i, 0);
    struct client client;
    open_client(&client, 0, group, &roomy);
    attach(&client);
    join_client(&client, 0);
    say(0, group, "a");
    say(0, group, "b");
    settle();
    ck_assert_str_eq(seen_by(&client), "a b ");
    close_client(&client);
    assert_nothing_is_held();
}
END_TEST

START_TEST(at_home_a_reply_does_not_overtake_a_group_message) {
    const char *group = name_at(0, 0);
    struct client client;
    struct frame *reply = frame_create(OPCODE_TEXT, "reply", 5);
    open_client(&client, 0, group, &roomy);
    attach(&client);
    join_client(&client, 0);
    say(0, group, "a");
    ck_assert_int_eq(session_send(client.session, reply), SESSION_SENT);
    say(0, group, "b");
    settle();
    ck_assert_str_eq(seen_by(&client), "a reply b ");
    frame_unref(reply);
    close_client(&client);
}
END_TEST

START_TEST(joining_again_with_other_flags_takes_effect_in_order) {
    const char *group = name_at((unsigned)_i, 0);
    struct client client;
    open_client(&client, 0, group, &roomy);
    attach(&client);
    join_client(&client, 0);
    say(0, group, "a");
    join_client(&client, GROUP_EVENTS);
    say(0, group, "b");
    join_client(&client, 0);
    say(0, group, "c");
    settle();
    ck_assert_str_eq(seen_by(&client), "a c ");
    ck_assert_str_eq(client.events, "b ");
    close_client(&client);
}
END_TEST

START_TEST(a_full_queue_is_counted_as_dropped) {
    const char *group = name_at((unsigned)_i, 0);
    struct client open, closes, drops;
    struct answer answer;
    open_client(&open, 0, group, &roomy);
    open_client(&closes, 1, group, &tight_close);
    open_client(&drops, 2, group, &tight_drop);
    join_client(&open, 0);
    join_client(&closes, 0);
    join_client(&drops, 0);
    settle();
    say(0, group, "12345678"); /* with its header all that fits */
    ask(0, group, 0, &answer);
    assert_report(&answer, 3, 1, 2);
    ask(0, group, 0, &answer);
    ck_assert_uint_eq(answer.report.queued, 1);
    ck_assert_uint_eq(answer.report.dropped, answer.report.matched - 1);
    close_client(&open);
    close_client(&closes);
    close_client(&drops);
    assert_nothing_is_held();
}
END_TEST

/*
 * --- a storm: members on all threads join, leave, end and send at random; then all diaries are
 * compared. Every message carries what its sender had heard before, so that "heard before it was
 * sent" can be checked against "ordered before it". Check's own macros are not for many threads:
 * assert.
 */

#define GROUPS 6
#define ACTORS 5
#define POOL THREADS /* the sender without a loop */
#define SENDERS (THREADS + 1)
#define SENDS_MAX 4000

/* What a message says: who sent it, as its which message (from 1), and the newest of each sender
   that he had heard or sent before. */
struct word {
    uint32_t sender, number, group;
    uint32_t knew[SENDERS];
};

/* From a join to a leave, in the numbers of the own thread's messages: those sent in between are
   to be heard. An end may take the last of them away. */
struct stay {
    uint32_t from, to;
};

struct names {
    uint32_t sender, number;
};

/* What one member heard of one group. */
struct diary {
    struct diary *next;
    unsigned thread, group;
    bool inside, ended;
    uint32_t knew[SENDERS]; /* when it first joined */
    struct names *heard;
    size_t heard_count, heard_capacity;
    struct stay *stays;
    size_t stay_count, stay_capacity;
};

struct worker;

struct actor {
    struct member member;
    struct worker *worker;
    struct diary *diaries[GROUPS];
};

enum phase { ACTING, WAITING, LEAVING, ASKING, RESTING, DONE };

struct worker {
    unsigned thread;
    struct groups *groups;
    uint64_t random;
    uint32_t sends; /* that it makes */
    uint32_t knew[SENDERS];
    enum phase phase;
    unsigned answers_awaited;
    struct actor actors[ACTORS];
    struct diary *diaries;
};

static struct {
    char names[GROUPS][16];
    struct worker workers[THREADS];
    struct actor witness; /* on thread 0, in all groups from the start to the end */
    struct word words[SENDERS][SENDS_MAX + 1];
    uint64_t position[SENDERS][SENDS_MAX + 1]; /* as reported, 0 when not asked */
    uint32_t total;
    atomic_uint witnessed, acted, rested;
    atomic_ullong ids;
} storm;

static uint32_t draw(uint64_t *random, uint32_t below) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)(*random >> 32) % below;
}

static void *room_for(void *array, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    array = reallocarray(array, *capacity, size);
    assert(array != NULL);
    return array;
}

static struct diary *diary_of(struct actor *actor, unsigned group) {
    struct worker *worker = actor->worker;
    if (actor->diaries[group] != NULL)
        return actor->diaries[group];
    struct diary *diary = calloc(1, sizeof(*diary));
    assert(diary != NULL);
    diary->thread = worker->thread;
    diary->group = group;
    memcpy(diary->knew, worker->knew, sizeof(diary->knew));
    diary->next = worker->diaries;
    worker->diaries = diary;
    actor->diaries[group] = diary;
    return diary;
}

static void storm_join(struct actor *actor, unsigned group) {
    struct worker *worker = actor->worker;
    struct diary *diary = diary_of(actor, group);
    assert(group_join(worker->groups, &actor->member, SPACE, storm.names[group], "x", GROUP_EVENTS,
                      PLENTY) == GROUP_OK);
    if (diary->inside)
        return;
    diary->inside = true;
    diary->stays =
        room_for(diary->stays, diary->stay_count, &diary->stay_capacity, sizeof(*diary->stays));
    diary->stays[diary->stay_count++] = (struct stay){worker->knew[worker->thread], UINT32_MAX};
}

static void storm_leave(struct actor *actor, unsigned group) {
    struct diary *diary = actor->diaries[group];
    assert(group_leave(actor->worker->groups, &actor->member, SPACE, storm.names[group]) ==
           GROUP_OK);
    if (diary == NULL || !diary->inside)
        return;
    diary->inside = false;
    diary->stays[diary->stay_count - 1].to = actor->worker->knew[actor->worker->thread];
}

/* The same memory comes back as another member. */
static void storm_end(struct actor *actor) {
    struct worker *worker = actor->worker;
    group_leave_all(worker->groups, &actor->member);
    for (unsigned group = 0; group < GROUPS; group++) {
        struct diary *diary = actor->diaries[group];
        if (diary == NULL)
            continue;
        diary->ended = true;
        if (diary->inside)
            diary->stays[diary->stay_count - 1].to = worker->knew[worker->thread];
        diary->inside = false;
        actor->diaries[group] = NULL;
    }
    actor->member.id = atomic_fetch_add(&storm.ids, 1) + 1;
}

static struct frame *storm_frame(const struct word *word) {
    storm.words[word->sender][word->number] = *word;
    return frame_create(OPCODE_BINARY, word, sizeof(*word));
}

struct asked {
    struct worker *worker;
    uint32_t number;
};

static void on_storm_report(void *arg, const struct group_report *report) {
    struct asked *asked = arg;
    assert(loop_current() == loops[asked->worker->thread]);
    assert(report->matched >= 1 && report->queued == report->matched && report->dropped == 0);
    assert(storm.position[asked->worker->thread][asked->number] == 0);
    storm.position[asked->worker->thread][asked->number] = report->position;
    asked->worker->answers_awaited--;
    free(asked);
}

static void storm_send(struct worker *worker, unsigned group) {
    if (worker->knew[worker->thread] == worker->sends)
        return;
    struct word word = {worker->thread, ++worker->knew[worker->thread], group, {0}};
    struct group_tally tally = {on_storm_report, NULL};
    memcpy(word.knew, worker->knew, sizeof(word.knew));
    struct frame *frame = storm_frame(&word);
    bool ask_back = draw(&worker->random, 4) == 0;
    if (ask_back) {
        struct asked *asked = malloc(sizeof(*asked));
        assert(asked != NULL);
        *asked = (struct asked){worker, word.number};
        tally.arg = asked;
        worker->answers_awaited++;
    }
    assert(group_send(worker->groups, SPACE, storm.names[group], frame, 0,
                      ask_back ? &tally : NULL) == GROUP_OK);
    frame_unref(frame);
}

static void on_storm_listing(void *arg, const struct group_listing_entry *members, size_t count,
                             size_t total) {
    struct worker *worker = arg;
    assert(loop_current() == loops[worker->thread]);
    assert(count == (total < 3 ? total : 3));
    if (worker->phase == ACTING) /* the witness came first and is still there */
        assert(total >= 1 && members[0].id == storm.witness.member.id);
    for (size_t at = 0; at < count; at++)
        assert(strcmp(members[at].info, "x") == 0);
    worker->answers_awaited--;
}

static void storm_list(struct worker *worker, unsigned group) {
    worker->answers_awaited++;
    assert(group_list(worker->groups, SPACE, storm.names[group], 3, on_storm_listing, worker) ==
           GROUP_OK);
}

static void act(struct worker *worker) {
    struct actor *actor = &worker->actors[draw(&worker->random, ACTORS)];
    unsigned group = draw(&worker->random, GROUPS);
    switch (draw(&worker->random, 24)) {
    case 0:
        storm_end(actor);
        break;
    case 1:
        storm_list(worker, group);
        break;
    case 2:
    case 3:
    case 4:
        storm_leave(actor, group);
        break;
    case 5:
        storm_leave(actor, group);
        storm_join(actor, group);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        storm_join(actor, group);
        break;
    default:
        storm_send(worker, group);
    }
}

static void on_storm_event(struct member *member, const char *name, struct frame *frame) {
    struct actor *actor = (struct actor *)member;
    struct worker *worker = actor->worker;
    struct word word;
    size_t size;
    const uint8_t *payload = frame_payload(frame, &size);
    assert(loop_current() == loops[worker->thread] && size == sizeof(word));
    memcpy(&word, payload, size);
    assert(strcmp(name, storm.names[word.group]) == 0);
    struct diary *diary = actor->diaries[word.group];
    assert(diary != NULL); /* else the message was for one who has ended */
    diary->heard =
        room_for(diary->heard, diary->heard_count, &diary->heard_capacity, sizeof(*diary->heard));
    diary->heard[diary->heard_count++] = (struct names){word.sender, word.number};
    for (unsigned sender = 0; sender < SENDERS; sender++)
        if (worker->knew[sender] < word.knew[sender])
            worker->knew[sender] = word.knew[sender];
    if (actor == &storm.witness)
        atomic_fetch_add(&storm.witnessed, 1);
    else if (worker->phase == ACTING && draw(&worker->random, 4) == 0)
        act(worker);
}

static const struct member_events storm_events = {on_storm_event};

/* --- the phases; each ends when what it waits for is there --- */

static void leave_everything(struct worker *worker) {
    if (worker->thread == 0)
        for (unsigned group = 0; group < GROUPS; group++)
            storm_leave(&storm.witness, group);
    for (unsigned at = 0; at < ACTORS; at++) {
        if (at % 2 == 0)
            for (unsigned group = 0; group < GROUPS; group++)
                storm_leave(&worker->actors[at], group);
        else
            storm_end(&worker->actors[at]);
    }
}

/* Answers come behind all that was under way to a home or from it: then this thread is done with.
 */
static void ask_all_homes(struct worker *worker) {
    for (unsigned group = 0; group < GROUPS; group++)
        storm_list(worker, group);
}

static void go_on(struct worker *worker) {
    switch (worker->phase) {
    case ACTING:
        for (uint32_t left = draw(&worker->random, 6); left > 0; left--)
            act(worker);
        if (worker->knew[worker->thread] < worker->sends)
            return;
        atomic_fetch_add(&storm.acted, 1);
        break;
    case WAITING:
        if (atomic_load(&storm.acted) < THREADS || atomic_load(&storm.witnessed) < storm.total ||
            worker->answers_awaited > 0)
            return;
        leave_everything(worker);
        break;
    case LEAVING:
        if (groups_count(worker->groups).memberships > 0)
            return;
        ask_all_homes(worker);
        break;
    case ASKING:
        if (worker->answers_awaited > 0)
            return;
        atomic_fetch_add(&storm.rested, 1);
        break;
    case RESTING:
        if (atomic_load(&storm.rested) < THREADS)
            return;
        break;
    case DONE:
        return;
    }
    worker->phase++;
}

static void *run_worker(void *arg) {
    struct worker *worker = arg;
    loop_enter(loops[worker->thread]);
    while (worker->phase != DONE) {
        go_on(worker);
        loop_turn(loops[worker->thread], worker->phase == ACTING ? 0 : 1);
    }
    return NULL;
}

/* A sender that has heard nothing. */
static void *run_pool_sender(void *arg) {
    uint64_t random = 0x9e3779b97f4a7c15;
    for (uint32_t number = 1; number <= *(const uint32_t *)arg; number++) {
        struct word word = {POOL, number, draw(&random, GROUPS), {0}};
        word.knew[POOL] = number;
        struct frame *frame = storm_frame(&word);
        assert(group_send_any(SPACE, storm.names[word.group], frame, 0) == GROUP_OK);
        frame_unref(frame);
    }
    return NULL;
}

static void prepare_actor(struct actor *actor, struct worker *worker) {
    actor->worker = worker;
    actor->member =
        (struct member){.id = atomic_fetch_add(&storm.ids, 1) + 1, .events = &storm_events};
}

static void prepare_storm(uint64_t seed, uint32_t sends, uint32_t pool_sends) {
    memset(&storm, 0, sizeof(storm));
    storm.total = THREADS * sends + pool_sends;
    for (unsigned group = 0; group < GROUPS; group++)
        strcpy(storm.names[group], name_at(group % THREADS, group / THREADS));
    for (unsigned thread = 0; thread < THREADS; thread++) {
        struct worker *worker = &storm.workers[thread];
        worker->thread = thread;
        worker->groups = groups_of(loops[thread]);
        worker->random = (seed + 1) * 0x9e3779b97f4a7c15 + thread;
        worker->sends = sends;
        for (unsigned at = 0; at < ACTORS; at++)
            prepare_actor(&worker->actors[at], worker);
    }
    prepare_actor(&storm.witness, &storm.workers[0]);
    loop_enter(loops[0]);
    for (unsigned group = 0; group < GROUPS; group++)
        storm_join(&storm.witness, group);
    settle();
}

/* --- the comparison --- */

/* Where in its group's order each message stands, from 1, as the witness heard it. */
static uint32_t place[SENDERS][SENDS_MAX + 1];

/* Each message once; at the position that was reported; behind all that its sender knew. */
static void read_witness(const struct diary *witness) {
    uint32_t known[SENDERS] = {0};
    for (size_t at = 0; at < witness->heard_count; at++) {
        struct names name = witness->heard[at];
        const struct word *word = &storm.words[name.sender][name.number];
        uint64_t position = storm.position[name.sender][name.number];
        ck_assert_uint_eq(word->group, witness->group);
        ck_assert_uint_eq(place[name.sender][name.number], 0);
        place[name.sender][name.number] = (uint32_t)at + 1;
        if (position != 0)
            ck_assert_uint_eq(position, at + 1);
        ck_assert_uint_gt(name.number, known[name.sender]);
        for (unsigned sender = 0; sender < SENDERS; sender++)
            if (known[sender] < word->knew[sender])
                known[sender] = word->knew[sender];
    }
}

/* As the witness heard it, without a gap from each join on to the leave. */
static void compare_order(const struct diary *diary) {
    size_t pieces = 0;
    uint32_t last = 0;
    for (size_t at = 0; at < diary->heard_count; at++) {
        struct names name = diary->heard[at];
        uint32_t here = place[name.sender][name.number];
        ck_assert_uint_gt(here, last);
        ck_assert_uint_gt(name.number, diary->knew[name.sender]);
        pieces += at == 0 || here != last + 1;
        last = here;
    }
    ck_assert_uint_le(pieces, diary->stay_count);
}

static bool was_inside(const struct diary *diary, uint32_t number) {
    for (size_t at = 0; at < diary->stay_count; at++)
        if (number > diary->stays[at].from && number <= diary->stays[at].to)
            return true;
    return false;
}

/* What its own thread sent shows the ends of each stay exactly. */
static void compare_own(const struct diary *diary) {
    static bool heard[SENDS_MAX + 1];
    memset(heard, 0, sizeof(heard));
    for (size_t at = 0; at < diary->heard_count; at++)
        if (diary->heard[at].sender == diary->thread)
            heard[diary->heard[at].number] = true;
    for (uint32_t number = 1; number <= storm.workers[diary->thread].sends; number++) {
        if (storm.words[diary->thread][number].group != diary->group)
            continue;
        bool inside = was_inside(diary, number);
        if (heard[number])
            ck_assert(inside);
        else if (inside) /* whoever ends may miss what was under way */
            ck_assert(diary->ended);
    }
}

static void compare_diaries(void) {
    size_t heard = 0, stays = 0;
    memset(place, 0, sizeof(place));
    for (unsigned group = 0; group < GROUPS; group++)
        read_witness(storm.witness.diaries[group]);
    for (unsigned thread = 0; thread < THREADS; thread++)
        for (struct diary *diary = storm.workers[thread].diaries; diary; diary = diary->next) {
            compare_order(diary);
            compare_own(diary);
            heard += diary->heard_count;
            stays += diary->stay_count;
        }
    ck_assert_uint_gt(heard, 3 * storm.total);
    ck_assert_uint_gt(stays, storm.total / 20);
}

static void free_diaries(void) {
    for (unsigned thread = 0; thread < THREADS; thread++) {
        struct diary *diary;
        while ((diary = storm.workers[thread].diaries) != NULL) {
            storm.workers[thread].diaries = diary->next;
            free(diary->heard);
            free(diary->stays);
            free(diary);
        }
    }
}

static void finish_storm(void) {
    ck_assert_uint_eq(atomic_load(&storm.witnessed), storm.total);
    assert_nothing_is_held();
    compare_diaries();
    free_diaries();
}

START_TEST(one_order_whatever_the_interleaving) {
    uint64_t random = (uint64_t)_i + 77;
    bool under_way = true;
    prepare_storm((uint64_t)_i, 300, 0);
    while (under_way) {
        struct worker *worker = &storm.workers[draw(&random, THREADS)];
        loop_enter(loops[worker->thread]);
        go_on(worker);
        loop_turn(loops[worker->thread], 0);
        under_way = false;
        for (unsigned thread = 0; thread < THREADS; thread++)
            under_way = under_way || storm.workers[thread].phase != DONE;
    }
    finish_storm();
}
END_TEST

START_TEST(one_order_on_three_threads) {
    pthread_t threads[THREADS], pool;
    uint32_t pool_sends = SENDS_MAX / 4;
    prepare_storm((uint64_t)_i + 1000, SENDS_MAX, pool_sends);
    loop_enter(NULL);
    for (unsigned at = 0; at < THREADS; at++)
        ck_assert_int_eq(pthread_create(&threads[at], NULL, run_worker, &storm.workers[at]), 0);
    ck_assert_int_eq(pthread_create(&pool, NULL, run_pool_sender, &pool_sends), 0);
    for (unsigned at = 0; at < THREADS; at++)
        pthread_join(threads[at], NULL);
    pthread_join(pool, NULL);
    finish_storm();
}
END_TEST

/* --- --- */

static TCase *add_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, setup, teardown);
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
        a_message_under_way_is_heard_by_who_leaves_but_not_by_who_ends,
        who_left_and_then_ends_hears_no_more,
        a_member_that_joins_twice_hears_once,
        a_member_has_no_more_memberships_than_it_may,
        many_members_come_and_go_and_nothing_stays,
        what_a_member_says_inside_its_event_comes_behind_for_all,
        a_member_may_end_itself_or_another_inside_an_event,
        a_member_may_leave_and_join_inside_an_event,
        any_thread_may_send,
        a_session_gets_the_groups_messages_in_order,
        joining_again_with_other_flags_takes_effect_in_order,
        a_full_queue_is_counted_as_dropped,
    };
    TCase *tcase = add_case(suite, "hearing");
    for (size_t at = 0; at < sizeof(tests) / sizeof(tests[0]); at++)
        tcase_add_loop_test(tcase, tests[at], 0, THREADS);
    tcase_add_loop_test(tcase, a_member_may_end_at_any_moment, 0, 40);
    tcase_add_test(tcase, joining_again_before_the_leave_is_answered_makes_a_new_membership);
    tcase_add_test(tcase, at_home_a_reply_does_not_overtake_a_group_message);
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
    TCase *order = add_case(suite, "order");
    tcase_add_loop_test(order, one_order_whatever_the_interleaving, 0, 20);
    tcase_add_loop_test(order, one_order_on_three_threads, 0, 3);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
