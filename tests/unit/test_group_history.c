/* Kept messages among three threads, in memory: who joins hears all behind a position, once. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group/group.h"
#include "support/group_threads.h"
#include "websocket/frame.h"

static const struct group_terms terms = {.messages = 100, .age_s = 0, .bytes = 100000};

static const char *room; /* its home: the test's number */

static void say_with(unsigned thread, const struct group_message *as, const char *text,
                     const struct group_tally *tally) {
    struct group_message message = *as;
    message.frame = frame_create(OPCODE_TEXT, text, strlen(text));
    ck_assert_int_eq(group_send_with(threads_be(thread), SPACE, room, &message, tally), GROUP_OK);
    frame_unref(message.frame);
}

static void keep(unsigned thread, const char *text) {
    say_with(thread, &(struct group_message){.keep = true, .terms = terms}, text, NULL);
}

static void pass(unsigned thread, const char *text) {
    say_with(thread, &(struct group_message){.terms = terms}, text, NULL);
}

/* --- who hears --- */

struct reader {
    struct ear ear; /* first */
    struct group_joined joined;
    int told; /* how often; each puts "| " among what it hears */
    int gone;
};

static void on_joined(void *arg, const struct group_joined *joined) {
    struct reader *reader = arg;
    if (joined == NULL) {
        reader->gone++;
        return;
    }
    reader->joined = *joined;
    reader->told++;
    strcat(reader->ear.heard, "| ");
}

static void join(struct reader *reader, struct group_position since, uint32_t last) {
    const struct group_wish wish = {.flags = GROUP_EVENTS,
                                    .most = PLENTY,
                                    .terms = terms,
                                    .since = since,
                                    .last = last,
                                    .joined = on_joined,
                                    .arg = reader};
    ck_assert_int_eq(group_join_with(threads_be(reader->ear.thread), &reader->ear.member, SPACE,
                                     reader->ear.group, &wish),
                     GROUP_OK);
}

static struct reader make_reader(unsigned thread) {
    return (struct reader){.ear = ear_make(thread, room)};
}

static const struct group_position nowhere;

static void open_room(void) { threads_open(); }

static void end_reader(struct reader *reader) {
    ear_end(&reader->ear);
    threads_settle();
}

START_TEST(a_newcomer_hears_the_last_and_then_what_is_live) {
    room = threads_name_at((unsigned)_i, 0);
    struct reader reader = make_reader(0);
    keep(0, "a");
    threads_settle();
    keep(1, "b");
    threads_settle();
    pass(1, "typing");
    keep(1, "c");
    threads_settle();
    join(&reader, nowhere, 2);
    keep(0, "d");
    pass(0, "e");
    ck_assert_str_eq(reader.ear.heard, "");
    threads_settle();
    keep(2, "f");
    threads_settle();
    ck_assert_str_eq(reader.ear.heard, "| b c d e f ");
    ck_assert_int_eq(reader.told, 1);
    ck_assert_uint_eq(reader.joined.count, 2);
    ck_assert_uint_eq(reader.joined.position.offset, 3);
    ck_assert_uint_ne(reader.joined.position.epoch, 0);
    ck_assert(!reader.joined.recovered);
    end_reader(&reader);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(who_comes_back_hears_what_was_missed) {
    room = threads_name_at((unsigned)_i, 0);
    struct reader first = make_reader(0), again = make_reader(1), late = make_reader(2);
    join(&first, nowhere, 0);
    keep(0, "a");
    threads_settle();
    ck_assert_str_eq(first.ear.heard, "| a ");
    struct group_position left = {first.joined.position.epoch, 1};
    end_reader(&first);
    keep(0, "b");
    keep(0, "c");
    threads_settle();
    join(&again, left, 1);
    join(&late, (struct group_position){left.epoch + 1, 1}, 1);
    threads_settle();
    ck_assert_str_eq(again.ear.heard, "| b c ");
    ck_assert(again.joined.recovered);
    ck_assert_str_eq(late.ear.heard, "| c ");
    ck_assert(!late.joined.recovered);
    end_reader(&again);
    end_reader(&late);
}
END_TEST

START_TEST(an_empty_room_has_a_position_too) {
    room = threads_name_at((unsigned)_i, 0);
    struct reader first = make_reader(0), again = make_reader(0);
    join(&first, nowhere, 10);
    threads_settle();
    ck_assert_str_eq(first.ear.heard, "| ");
    ck_assert_uint_eq(first.joined.position.offset, 0);
    end_reader(&first);
    keep(1, "a");
    threads_settle();
    join(&again, first.joined.position, 0);
    threads_settle();
    ck_assert_str_eq(again.ear.heard, "| a ");
    ck_assert(again.joined.recovered);
    end_reader(&again);
}
END_TEST

START_TEST(who_ends_first_is_told_once_that_it_has) {
    room = threads_name_at((unsigned)_i, 0);
    struct reader reader = make_reader(0);
    keep(0, "a");
    threads_settle();
    join(&reader, nowhere, 5);
    end_reader(&reader);
    ck_assert_int_eq(reader.told, 0);
    ck_assert_int_eq(reader.gone, 1);
    ck_assert_str_eq(reader.ear.heard, "");
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_that_joins_again_hears_nothing_twice) {
    room = threads_name_at((unsigned)_i, 0);
    struct reader reader = make_reader(0);
    keep(0, "a");
    threads_settle();
    join(&reader, nowhere, 5);
    join(&reader, nowhere, 5);
    keep(0, "b");
    threads_settle();
    join(&reader, nowhere, 5);
    keep(0, "c");
    threads_settle();
    ck_assert_str_eq(reader.ear.heard, "| a | b | c ");
    end_reader(&reader);
}
END_TEST

/* --- reports --- */

struct told {
    struct group_report report;
    int times;
};

static void on_report(void *arg, const struct group_report *report) {
    struct told *told = arg;
    told->report = *report;
    told->times++;
}

static void assert_told(const struct told *told, enum group_outcome outcome, uint64_t offset) {
    ck_assert_int_eq(told->times, 1);
    ck_assert_int_eq(told->report.outcome, outcome);
    ck_assert_uint_eq(told->report.position.offset, offset);
    ck_assert_uint_ne(told->report.position.epoch, 0);
}

START_TEST(reports_say_where_a_message_is) {
    room = threads_name_at((unsigned)_i, 0);
    struct told told[3] = {{.times = 0}};
    struct group_message kept = {.keep = true, .terms = terms}, plain = {.terms = terms};
    say_with(0, &kept, "a", &(struct group_tally){on_report, &told[0]});
    say_with(0, &kept, "b", &(struct group_tally){on_report, &told[1]});
    say_with(0, &plain, "c", &(struct group_tally){on_report, &told[2]});
    threads_settle();
    assert_told(&told[0], GROUP_KEPT, 1);
    assert_told(&told[1], GROUP_KEPT, 2);
    assert_told(&told[2], GROUP_SENT, 2);
}
END_TEST

START_TEST(a_key_is_said_once) {
    room = threads_name_at((unsigned)_i, 0);
    struct told told[3] = {{.times = 0}};
    struct group_message one = {.keep = true, .terms = terms, .key = "ann:1"};
    struct reader reader = make_reader(1);
    join(&reader, nowhere, 0);
    threads_settle();
    say_with(0, &one, "a", &(struct group_tally){on_report, &told[0]});
    say_with(0, &one, "a", &(struct group_tally){on_report, &told[1]});
    threads_settle();
    keep(0, "b");
    say_with(2, &one, "a", &(struct group_tally){on_report, &told[2]});
    threads_settle();
    assert_told(&told[0], GROUP_KEPT, 1);
    assert_told(&told[1], GROUP_REPEATED, 1);
    assert_told(&told[2], GROUP_REPEATED, 1);
    ck_assert_uint_eq(told[2].report.matched, 0);
    ck_assert_str_eq(reader.ear.heard, "| a b ");
    end_reader(&reader);
}
END_TEST

START_TEST(a_stamp_is_the_offset) {
    room = threads_name_at((unsigned)_i, 0);
    struct group_message stamped = {.keep = true, .terms = terms, .stamp = 1};
    struct reader reader = make_reader(1);
    keep(0, "a");
    threads_settle();
    join(&reader, nowhere, 0);
    threads_settle();
    say_with(2, &stamped, "[                ]", NULL);
    threads_settle();
    ck_assert_str_eq(reader.ear.heard, "| [               2] ");
    end_reader(&reader);
}
END_TEST

START_TEST(a_bad_stamp_or_key_is_refused) {
    static const struct {
        uint32_t stamp;
        const char *key, *text;
    } bad[] = {
        {1, NULL, "[               ]"},
        {2, NULL, "[                ]"},
        {UINT32_MAX, NULL, "[         "},
        {1, NULL, "[       x        ]"},
        {0, "", "a"},
        {0, "a\nb", "a"},
        {0, "\xff", "a"},
        {1, NULL, ""},
    };
    room = threads_name_at(0, 0);
    struct group_message message = {.keep = true, .terms = terms};
    message.stamp = bad[_i].stamp;
    message.key = bad[_i].key;
    message.frame = frame_create(OPCODE_TEXT, bad[_i].text, strlen(bad[_i].text));
    ck_assert_int_eq(group_send_with(threads_be(0), SPACE, room, &message, NULL), GROUP_INVALID);
    frame_unref(message.frame);
}
END_TEST

/* --- reading --- */

static void on_history(void *arg, const struct group_history *history) {
    char *text = arg;
    sprintf(text, "%s%d: ", history->recovered ? "all " : "", (int)history->position.offset);
    for (size_t at = 0; at < history->count; at++)
        ear_note(text, 200, history->messages[at].frame);
}

static void read_history(unsigned thread, struct group_position since, size_t most, char *text) {
    ck_assert_int_eq(
        group_read(threads_be(thread), SPACE, room, &terms, since, most, on_history, text),
        GROUP_OK);
}

START_TEST(history_is_read_without_joining) {
    char text[3][200] = {""};
    struct told told = {.times = 0};
    room = threads_name_at((unsigned)_i, 0);
    say_with(0, &(struct group_message){.keep = true, .terms = terms}, "a",
             &(struct group_tally){on_report, &told});
    keep(0, "b");
    keep(0, "c");
    threads_settle();
    struct group_position first = {told.report.position.epoch, 1};
    read_history(0, first, 10, text[0]);
    read_history(1, first, 1, text[1]);
    read_history(2, nowhere, 2, text[2]);
    ck_assert_str_eq(text[0], "");
    threads_settle();
    ck_assert_str_eq(text[0], "all 3: b c ");
    ck_assert_str_eq(text[1], "3: c ");
    ck_assert_str_eq(text[2], "3: b c ");
}
END_TEST

START_TEST(a_group_that_keeps_nothing_says_so) {
    char text[200] = "";
    struct told told = {.times = 0};
    struct reader reader = make_reader(0);
    room = threads_name_at(1, 0);
    reader.ear.group = room;
    const struct group_wish wish = {
        .flags = GROUP_EVENTS, .most = PLENTY, .last = 5, .joined = on_joined, .arg = &reader};
    say_with(0, &(struct group_message){.keep = true}, "a", NULL);
    ck_assert_int_eq(group_join_with(threads_be(0), &reader.ear.member, SPACE, room, &wish),
                     GROUP_OK);
    say_with(0, &(struct group_message){.keep = true}, "b",
             &(struct group_tally){on_report, &told});
    threads_settle();
    ck_assert_str_eq(reader.ear.heard, "| b ");
    ck_assert_uint_eq(reader.joined.position.epoch, 0);
    ck_assert_int_eq(told.report.outcome, GROUP_SENT);
    ck_assert_uint_eq(told.report.position.epoch, 0);
    ck_assert_int_eq(group_read(threads_be(0), SPACE, room, &(struct group_terms){0}, nowhere, 5,
                                on_history, text),
                     GROUP_OK);
    threads_settle();
    ck_assert_str_eq(text, "0: ");
    end_reader(&reader);
    threads_assert_nothing_is_held();
}
END_TEST

/* --- chance --- */

#define READERS 12
#define STEPS 1500

/* What one has heard so far of the room, over all its connections. */
struct witness {
    struct reader reader;
    struct group_position at; /* of the last that it heard */
    bool is_in, told_of_gap;
};

static uint32_t chance_state;

static unsigned chance(unsigned among) {
    chance_state = chance_state * 1664525u + 1013904223u;
    return (chance_state >> 8) % among;
}

/* Each text is its own number, which is its offset too: nothing is lost, repeated or out of order
   when each is one more than the one before. */
static void hear(struct ear *ear) {
    struct witness *witness = (struct witness *)ear;
    const char *last = strrchr(ear->heard, '|');
    uint64_t number = strtoull(last == NULL ? ear->heard : last + 1, NULL, 10);
    if (!witness->told_of_gap)
        ck_assert_uint_eq(number, witness->at.offset + 1);
    witness->told_of_gap = false;
    witness->at.offset = number;
    ear->heard[0] = '\0';
}

static void on_back(void *arg, const struct group_joined *joined) {
    struct witness *witness = arg;
    if (joined == NULL)
        return;
    if (!joined->recovered)
        witness->told_of_gap = joined->count > 0;
    if (!joined->recovered && joined->count == 0)
        witness->at.offset = joined->position.offset;
    witness->at.epoch = joined->position.epoch;
}

static void come_or_go(struct witness *witness) {
    if (witness->is_in) {
        ear_end(&witness->reader.ear);
    } else {
        const struct group_wish wish = {.flags = GROUP_EVENTS,
                                        .most = PLENTY,
                                        .terms = terms,
                                        .since = witness->at,
                                        .last = 3,
                                        .joined = on_back,
                                        .arg = witness};
        witness->reader.ear.member.id++;
        ck_assert_int_eq(group_join_with(threads_be(witness->reader.ear.thread),
                                         &witness->reader.ear.member, SPACE, room, &wish),
                         GROUP_OK);
    }
    witness->is_in = !witness->is_in;
}

START_TEST(by_chance_nobody_misses_anything) {
    static struct witness witnesses[READERS];
    unsigned said = 0;
    chance_state = (uint32_t)_i;
    room = threads_name_at((unsigned)_i % THREADS, 0);
    memset(witnesses, 0, sizeof(witnesses));
    for (unsigned i = 0; i < READERS; i++) {
        witnesses[i].reader.ear = ear_make(i % THREADS, room);
        witnesses[i].reader.ear.then = hear;
        witnesses[i].reader.ear.member.id = (i + 1) << 20;
    }
    for (int step = 0; step < STEPS; step++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", said + 1);
        switch (chance(6)) {
        case 0:
        case 1: /* all from one thread: their numbers are in its order */
            keep(2, text);
            said++;
            break;
        case 2:
            come_or_go(&witnesses[chance(READERS)]);
            break;
        default:
            threads_turn(chance(THREADS));
        }
    }
    threads_settle();
    for (unsigned i = 0; i < READERS; i++) {
        if (!witnesses[i].is_in)
            come_or_go(&witnesses[i]);
        threads_settle();
        ck_assert_uint_eq(witnesses[i].at.offset, said);
        ear_end(&witnesses[i].reader.ear);
    }
    threads_settle();
    threads_assert_nothing_is_held();
}

/* --- all groups --- */

struct seen {
    struct group_summary groups[8];
    char names[8][32];
    size_t count, most;
};

static bool see(void *arg, const struct group_summary *group) {
    struct seen *seen = arg;
    ck_assert_uint_lt(seen->count, 8);
    ck_assert_str_eq(group->space, SPACE);
    snprintf(seen->names[seen->count], sizeof(seen->names[0]), "%s", group->name);
    seen->groups[seen->count++] = *group;
    return seen->count < seen->most;
}

static struct seen look_at(unsigned thread, size_t most) {
    struct seen seen = {.most = most};
    groups_each(threads_be(thread), see, &seen);
    return seen;
}

static void expect_seen(const struct seen *seen, const char *name, size_t members, size_t kept) {
    size_t at = 0;
    while (at < seen->count && strcmp(seen->names[at], name) != 0)
        at++;
    ck_assert_msg(at < seen->count, "%s was not told of", name);
    ck_assert_uint_eq(seen->groups[at].members, members);
    ck_assert_uint_eq(seen->groups[at].kept, kept);
    ck_assert_uint_eq(seen->groups[at].position.offset, kept);
    ck_assert((seen->groups[at].position.epoch != 0) == (kept > 0));
}

START_TEST(each_group_is_told_of_once_at_its_home) {
    const char *kept = threads_name_at(1, 0), *both = threads_name_at(1, 1);
    const char *lively = threads_name_at(1, 2), *elsewhere = threads_name_at(2, 0);
    struct ear one = ear_make(0, lively), two = ear_make(2, lively);
    struct reader reader = {.ear = ear_make(0, both)};
    ear_join(&one);
    ear_join(&two);
    join(&reader, nowhere, 0);
    room = kept;
    keep(0, "a");
    keep(0, "b");
    room = both;
    keep(0, "c");
    room = elsewhere;
    keep(0, "d");
    pass(0, "nothing of it is kept");
    threads_settle();
    struct seen seen = look_at(1, 8);
    ck_assert_uint_eq(seen.count, 3);
    expect_seen(&seen, kept, 0, 2);
    expect_seen(&seen, both, 1, 1);
    expect_seen(&seen, lively, 2, 0);
    seen = look_at(2, 8);
    ck_assert_uint_eq(seen.count, 1);
    expect_seen(&seen, elsewhere, 0, 1);
    ck_assert_uint_eq(look_at(0, 8).count, 0);
    for (size_t most = 1; most <= 3; most++)
        ck_assert_uint_eq(look_at(1, most).count, most);
    ear_end(&one);
    ear_end(&two);
    end_reader(&reader);
    ck_assert_uint_eq(look_at(1, 8).count, 2);
}
END_TEST

END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("group_history");
    TCase *tests = tcase_create("history");
    tcase_add_checked_fixture(tests, open_room, threads_close);
    tcase_add_loop_test(tests, a_newcomer_hears_the_last_and_then_what_is_live, 0, THREADS);
    tcase_add_loop_test(tests, who_comes_back_hears_what_was_missed, 0, THREADS);
    tcase_add_loop_test(tests, an_empty_room_has_a_position_too, 0, THREADS);
    tcase_add_loop_test(tests, who_ends_first_is_told_once_that_it_has, 0, THREADS);
    tcase_add_loop_test(tests, a_member_that_joins_again_hears_nothing_twice, 0, THREADS);
    tcase_add_loop_test(tests, reports_say_where_a_message_is, 0, THREADS);
    tcase_add_loop_test(tests, a_key_is_said_once, 0, THREADS);
    tcase_add_loop_test(tests, a_stamp_is_the_offset, 0, THREADS);
    tcase_add_loop_test(tests, a_bad_stamp_or_key_is_refused, 0, 8);
    tcase_add_loop_test(tests, history_is_read_without_joining, 0, THREADS);
    tcase_add_test(tests, a_group_that_keeps_nothing_says_so);
    tcase_add_test(tests, each_group_is_told_of_once_at_its_home);
    tcase_add_loop_test(tests, by_chance_nobody_misses_anything, 0, 8);
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
