#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loop/loop.h"

static struct loop *loop;
static char seen[64];

static void setup(void) {
    loop = loop_create(0);
    loop_enter(loop);
    seen[0] = '\0';
}

static void teardown(void) { loop_free(loop); }

struct step {
    struct loop_entry entry;
    char name;
    struct step *then;
    enum loop_stage stage;
};

static void note(char name) {
    size_t at = strlen(seen);
    ck_assert_uint_lt(at, sizeof(seen) - 1);
    seen[at] = name;
    seen[at + 1] = '\0';
}

static void run_step(struct loop_entry *entry) {
    struct step *step = (struct step *)entry;
    note(step->name);
    if (step->then != NULL)
        loop_queue(loop, step->then->stage, &step->then->entry);
}

static struct step make_step(char name, enum loop_stage stage, struct step *then) {
    return (struct step){{NULL, run_step, false}, name, then, stage};
}

START_TEST(stages_run_in_order_whatever_the_order_of_queueing) {
    struct step a = make_step('a', LOOP_ENDS, NULL), b = make_step('b', LOOP_BYTES, NULL),
                c = make_step('c', LOOP_ANSWERS, NULL), d = make_step('d', LOOP_CALLS, NULL);
    loop_queue(loop, LOOP_ENDS, &a.entry);
    loop_queue(loop, LOOP_BYTES, &b.entry);
    loop_queue(loop, LOOP_ANSWERS, &c.entry);
    loop_queue(loop, LOOP_CALLS, &d.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "dcba");
}
END_TEST

START_TEST(an_earlier_stage_queued_by_a_later_one_runs_in_the_same_turn) {
    struct step bytes = make_step('b', LOOP_BYTES, NULL);
    struct step ends = make_step('e', LOOP_ENDS, &bytes);
    loop_queue(loop, LOOP_ENDS, &ends.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "eb");
}
END_TEST

static unsigned writers_run;

static void run_writer(struct loop_entry *entry) {
    (void)entry;
    writers_run++;
}

START_TEST(more_writers_than_a_turn_takes_wait_in_order_and_hold_up_nothing_else) {
    enum { MANY = 2 * LOOP_BYTES_A_TURN + 10 };
    static struct loop_entry writers[MANY];
    struct step ends = make_step('e', LOOP_ENDS, NULL);
    struct step last = make_step('l', LOOP_BYTES, NULL);
    writers_run = 0;
    for (int i = 0; i < MANY; i++) {
        writers[i] = (struct loop_entry){.run = run_writer};
        loop_queue(loop, LOOP_BYTES, &writers[i]);
    }
    loop_queue(loop, LOOP_BYTES, &last.entry);
    loop_queue(loop, LOOP_ENDS, &ends.entry);
    loop_turn(loop, 1000);
    ck_assert_uint_eq(writers_run, LOOP_BYTES_A_TURN);
    ck_assert(!writers[LOOP_BYTES_A_TURN - 1].queued && writers[LOOP_BYTES_A_TURN].queued);
    ck_assert_str_eq(seen, "e");
    loop_unqueue(loop, LOOP_BYTES, &writers[MANY - 1]);
    loop_turn(loop, 1000); /* does not wait */
    loop_turn(loop, 1000);
    ck_assert_uint_eq(writers_run, MANY - 1);
    ck_assert_str_eq(seen, "el");
}
END_TEST

/* --- the pause behind a long round --- */

enum { CROWD = 200 };
static struct loop_entry crowd[CROWD];
static unsigned crowd_run;
static long slow_ns; /* that the first of a round takes */

static void wait_ns(long ns) {
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - began.tv_sec) * 1000000000 + now.tv_nsec - began.tv_nsec < ns);
}

static void run_one_of_many(struct loop_entry *entry) {
    if (entry == &crowd[0])
        wait_ns(slow_ns);
    crowd_run++;
}

/* All of them ask to write, each so many times. */
static void queue_crowd(int times) {
    crowd_run = 0;
    for (int time = 0; time < times; time++)
        for (int i = 0; i < CROWD; i++) {
            crowd[i].run = run_one_of_many;
            loop_queue(loop, LOOP_BYTES, &crowd[i]);
        }
}

/* False when this thread was not run for so long that the pause was over. */
static bool sees_a_pause(void) {
    struct step call = make_step('c', LOOP_CALLS, NULL), end = make_step('e', LOOP_ENDS, NULL);
    seen[0] = '\0';
    queue_crowd(3);
    loop_turn(loop, 0);
    ck_assert_uint_eq(crowd_run, CROWD);
    queue_crowd(1);
    loop_queue(loop, LOOP_CALLS, &call.entry);
    loop_queue(loop, LOOP_ENDS, &end.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "ce"); /* nothing else waits */
    return crowd_run == 0;
}

START_TEST(after_a_long_round_of_many_with_much_to_write_writers_wait) {
    slow_ns = 20000000; /* so that the pause is the longest there is */
    for (int tries = 0; !sees_a_pause(); tries++)
        ck_assert_int_lt(tries, 50);
    loop_skip(loop, LOOP_PAUSE_MOST);
    loop_turn(loop, 0);
    ck_assert_uint_eq(crowd_run, CROWD);
    queue_crowd(1); /* that round was not worth a pause: each asked once */
    loop_turn(loop, 0);
    ck_assert_uint_eq(crowd_run, CROWD);
}
END_TEST

START_TEST(a_pause_ends_by_itself) {
    slow_ns = 20000000;
    queue_crowd(2);
    loop_turn(loop, 0);
    queue_crowd(1);
    for (int i = 0; i < 1000 && crowd_run == 0; i++)
        loop_turn(loop, 1000); /* would wait for a second, if it did not know of the pause */
    ck_assert_uint_eq(crowd_run, CROWD);
}
END_TEST

START_TEST(a_pause_may_be_asked_into_and_taken_back_from) {
    slow_ns = 20000000;
    queue_crowd(2);
    loop_turn(loop, 0);
    queue_crowd(1);
    for (int i = 0; i < CROWD; i++)
        loop_unqueue(loop, LOOP_BYTES, &crowd[i]);
    loop_skip(loop, LOOP_PAUSE_MOST);
    loop_turn(loop, 0);
    ck_assert_uint_eq(crowd_run, 0);
    queue_crowd(1);
    loop_turn(loop, 0);
    ck_assert_uint_eq(crowd_run, CROWD);
}
END_TEST

static const struct {
    int times;
    long ns;
} no_pause[] = {{1, 20000000}, {3, 0}};

START_TEST(a_round_that_was_short_or_wrote_little_is_followed_by_the_next) {
    slow_ns = no_pause[_i].ns;
    for (int round = 0; round < 3; round++) {
        queue_crowd(no_pause[_i].times);
        loop_turn(loop, 0);
        ck_assert_uint_eq(crowd_run, CROWD);
    }
}
END_TEST

START_TEST(a_call_that_asks_for_itself_runs_once_a_turn) {
    struct step again = make_step('x', LOOP_CALLS, NULL);
    again.then = &again;
    loop_queue(loop, LOOP_CALLS, &again.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "x");
    loop_turn(loop, 1000);
    ck_assert_str_eq(seen, "xx");
    again.then = NULL;
    loop_turn(loop, 0);
}
END_TEST

START_TEST(an_entry_queued_twice_runs_once_and_can_be_taken_back) {
    struct step a = make_step('a', LOOP_BYTES, NULL), b = make_step('b', LOOP_BYTES, NULL),
                c = make_step('c', LOOP_BYTES, NULL);
    loop_queue(loop, LOOP_BYTES, &a.entry);
    loop_queue(loop, LOOP_BYTES, &a.entry);
    loop_queue(loop, LOOP_BYTES, &b.entry);
    loop_queue(loop, LOOP_BYTES, &c.entry);
    loop_unqueue(loop, LOOP_BYTES, &b.entry);
    loop_unqueue(loop, LOOP_BYTES, &c.entry);
    loop_queue(loop, LOOP_BYTES, &b.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "ab");
}
END_TEST

static struct step taken, late, kept;

/* The first of a running stage: takes back one behind it and one that waits for the next run. */
static void take_back(struct loop_entry *entry) {
    run_step(entry);
    loop_unqueue(loop, LOOP_CALLS, &taken.entry);
    loop_queue(loop, LOOP_CALLS, &late.entry);
    loop_unqueue(loop, LOOP_CALLS, &late.entry);
    loop_queue(loop, LOOP_CALLS, &kept.entry);
}

START_TEST(entries_are_taken_back_while_their_stage_runs) {
    struct step first = make_step('f', LOOP_CALLS, NULL);
    first.entry.run = take_back;
    taken = make_step('t', LOOP_CALLS, NULL);
    late = make_step('l', LOOP_CALLS, NULL);
    kept = make_step('k', LOOP_CALLS, NULL);
    loop_queue(loop, LOOP_CALLS, &first.entry);
    loop_queue(loop, LOOP_CALLS, &taken.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "f");
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "fk");
    loop_queue(loop, LOOP_CALLS, &late.entry);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "fkl");
}
END_TEST

struct alarm_clock {
    struct timer timer;
    char name;
};

static void ring(struct timer *timer) { note(((struct alarm_clock *)timer)->name); }

START_TEST(timers_run_in_order_of_time_and_not_before) {
    struct alarm_clock clocks[40];
    for (int i = 0; i < 40; i++) {
        clocks[i] = (struct alarm_clock){{ring, 0, 0}, (char)('A' + (i * 7) % 40)};
        loop_timer_set(loop, &clocks[i].timer, (uint64_t)(1000 + ((i * 7) % 40) * 100));
    }
    loop_timer_clear(loop, &clocks[0].timer); /* 'A' */
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "");
    loop_skip(loop, 1250);
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "BC");
    loop_skip(loop, 10000);
    loop_turn(loop, 0);
    ck_assert_uint_eq(strlen(seen), 39);
    for (size_t i = 1; i < 39; i++)
        ck_assert_int_lt(seen[i - 1], seen[i]);
}
END_TEST

START_TEST(a_turn_waits_no_longer_than_the_first_timer) {
    struct alarm_clock clock = {{ring, 0, 0}, 't'};
    loop_timer_set(loop, &clock.timer, 5);
    for (int turns = 0; seen[0] == '\0'; turns++) {
        ck_assert_int_lt(turns, 4);
        loop_turn(loop, 60000);
    }
    ck_assert_str_eq(seen, "t");
}
END_TEST

struct letter {
    struct mail mail;
    char name;
};

static void read_letter(struct mail *mail, struct loop *to) {
    ck_assert_ptr_eq(to, loop);
    note(((struct letter *)mail)->name);
}

START_TEST(a_letter_to_the_own_loop_comes_later) {
    struct letter letter = {{NULL, read_letter}, 'l'};
    loop_mail(loop, &letter.mail);
    ck_assert_str_eq(seen, "");
    loop_turn(loop, 0);
    ck_assert_str_eq(seen, "l");
}
END_TEST

START_TEST(letters_leave_before_bytes_and_arrive_in_order) {
    struct loop *here = loop, *there = loop_create(1);
    struct letter one = {{NULL, read_letter}, '1'}, two = {{NULL, read_letter}, '2'};
    loop_mail(there, &one.mail);
    loop_mail(there, &two.mail);
    loop = there;
    loop_enter(there);
    loop_turn(there, 0);
    ck_assert_str_eq(seen, ""); /* not before the sender's flush */
    loop_enter(here);
    loop_turn(here, 0);
    loop_enter(there);
    loop_turn(there, 0);
    ck_assert_str_eq(seen, "12");
    loop_free(there);
    loop = here;
    loop_enter(here);
}
END_TEST

/* Queues a write with each letter: the write leaves before too many more are read. */
struct burst_letter {
    struct mail mail;
    struct loop_entry *write;
};
static int read_since_write, most_between_writes, written;

static void read_burst(struct mail *mail, struct loop *to) {
    if (++read_since_write > most_between_writes)
        most_between_writes = read_since_write;
    loop_queue(to, LOOP_BYTES, ((struct burst_letter *)mail)->write);
}

static void write_burst(struct loop_entry *entry) {
    (void)entry;
    written += read_since_write;
    read_since_write = 0;
}

START_TEST(a_flood_of_letters_is_read_in_portions_with_writes_between) {
    static struct burst_letter letters[1000];
    struct loop_entry write = {NULL, write_burst, false};
    loop_enter(NULL); /* letters go at once */
    for (int i = 0; i < 1000; i++) {
        letters[i] = (struct burst_letter){{NULL, read_burst}, &write};
        loop_mail(loop, &letters[i].mail);
    }
    loop_enter(loop);
    for (int turns = 0; written < 1000 && turns < 1000; turns++)
        loop_turn(loop, 1000);
    ck_assert_int_eq(written, 1000);
    ck_assert_int_le(most_between_writes, 64);
}
END_TEST

START_TEST(catching_up_reads_this_turns_portion_or_all) {
    static struct letter letters[30];
    loop_enter(NULL);
    for (int i = 0; i < 30; i++) {
        letters[i] = (struct letter){{NULL, read_letter}, 'l'};
        loop_mail(loop, &letters[i].mail);
    }
    loop_enter(loop);
    ck_assert(!loop_catch_up(loop)); /* no turn has begun: there is no portion yet */
    ck_assert_str_eq(seen, "");
    loop_catch_up_all(loop);
    ck_assert_uint_eq(strlen(seen), 30);
    ck_assert(loop_catch_up(loop));
    loop_turn(loop, 0);
    ck_assert_uint_eq(strlen(seen), 30);
}
END_TEST

#define SENDERS 4
#define EACH 2000

struct count_letter {
    struct mail mail;
    int sender, number;
};
static int last[SENDERS];
static int arrived;

static void count_letter(struct mail *mail, struct loop *to) {
    struct count_letter *letter = (struct count_letter *)mail;
    (void)to;
    ck_assert_int_eq(letter->number, last[letter->sender]);
    last[letter->sender]++;
    arrived++;
    free(letter);
}

static void *send_many(void *arg) {
    for (int i = 0; i < EACH; i++) {
        struct count_letter *letter = calloc(1, sizeof(*letter));
        letter->mail.deliver = count_letter;
        letter->sender = *(int *)arg;
        letter->number = i;
        loop_mail(loop, &letter->mail);
    }
    return NULL;
}

START_TEST(letters_from_other_threads_arrive_once_and_in_order) {
    pthread_t threads[SENDERS];
    int numbers[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, send_many, &numbers[i]);
    }
    for (int turns = 0; arrived < SENDERS * EACH && turns < 100000; turns++)
        loop_turn(loop, 100);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(arrived, SENDERS * EACH);
}
END_TEST

int main(void) {
    TCase *cases = tcase_create("loop");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, stages_run_in_order_whatever_the_order_of_queueing);
    tcase_add_test(cases, an_earlier_stage_queued_by_a_later_one_runs_in_the_same_turn);
    tcase_add_test(cases, more_writers_than_a_turn_takes_wait_in_order_and_hold_up_nothing_else);
    tcase_add_test(cases, after_a_long_round_of_many_with_much_to_write_writers_wait);
    tcase_add_test(cases, a_pause_ends_by_itself);
    tcase_add_test(cases, a_pause_may_be_asked_into_and_taken_back_from);
    tcase_add_loop_test(cases, a_round_that_was_short_or_wrote_little_is_followed_by_the_next, 0,
                        2);
    tcase_add_test(cases, a_call_that_asks_for_itself_runs_once_a_turn);
    tcase_add_test(cases, an_entry_queued_twice_runs_once_and_can_be_taken_back);
    tcase_add_test(cases, entries_are_taken_back_while_their_stage_runs);
    tcase_add_test(cases, timers_run_in_order_of_time_and_not_before);
    tcase_add_test(cases, a_turn_waits_no_longer_than_the_first_timer);
    tcase_add_test(cases, a_letter_to_the_own_loop_comes_later);
    tcase_add_test(cases, letters_leave_before_bytes_and_arrive_in_order);
    tcase_add_test(cases, letters_from_other_threads_arrive_once_and_in_order);
    tcase_add_test(cases, catching_up_reads_this_turns_portion_or_all);
    tcase_add_test(cases, a_flood_of_letters_is_read_in_portions_with_writes_between);
    Suite *suite = suite_create("loop");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
