#include <assert.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "group/group.h"
#include "group/home.h"
#include "group/serial.h"
#include "support/group_threads.h"
#include "websocket/frame.h"

/*
 * A storm: members on all threads join, leave, end and send at random; then all diaries are
 * compared. Every message carries what its sender had heard before, so that "heard before it was
 * sent" can be checked against "ordered before it". Check's own macros are neither for many threads
 * nor for millions of checks: assert.
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

struct said {
    uint32_t sender, number;
};

/* What one member heard of one group. */
struct diary {
    struct diary *next;
    unsigned thread, group;
    bool inside, ended;
    uint32_t knew[SENDERS]; /* when it first joined */
    struct said *heard;
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
    assert(loop_current() == threads[asked->worker->thread]);
    assert(report->matched >= 1 && report->queued == report->matched && report->dropped == 0);
    assert(storm.position[asked->worker->thread][asked->number] == 0);
    storm.position[asked->worker->thread][asked->number] = report->position.offset;
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
    assert(loop_current() == threads[worker->thread]);
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
        if (draw(&worker->random, 4) == 0)
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
    assert(loop_current() == threads[worker->thread] && size == sizeof(word));
    memcpy(&word, payload, size);
    assert(strcmp(name, storm.names[word.group]) == 0);
    struct diary *diary = actor->diaries[word.group];
    assert(diary != NULL); /* else the message was for one who has ended */
    diary->heard =
        room_for(diary->heard, diary->heard_count, &diary->heard_capacity, sizeof(*diary->heard));
    diary->heard[diary->heard_count++] = (struct said){word.sender, word.number};
    for (unsigned sender = 0; sender < SENDERS; sender++)
        if (worker->knew[sender] < word.knew[sender])
            worker->knew[sender] = word.knew[sender];
    if (actor == &storm.witness)
        atomic_fetch_add(&storm.witnessed, 1);
    else if (worker->phase == ACTING && draw(&worker->random, 4) == 0)
        act(worker);
}

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
    loop_enter(threads[worker->thread]);
    while (worker->phase != DONE) {
        go_on(worker);
        loop_turn(threads[worker->thread], worker->phase == ACTING ? 0 : 1);
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
    actor->member = (struct member){.id = atomic_fetch_add(&storm.ids, 1) + 1};
}

static void prepare_storm(uint64_t seed, uint32_t sends, uint32_t pool_sends) {
    threads_events.event = on_storm_event;
    memset(&storm, 0, sizeof(storm));
    storm.total = THREADS * sends + pool_sends;
    for (unsigned group = 0; group < GROUPS; group++)
        strcpy(storm.names[group], threads_name_at(group % THREADS, group / THREADS));
    for (unsigned thread = 0; thread < THREADS; thread++) {
        struct worker *worker = &storm.workers[thread];
        worker->thread = thread;
        worker->groups = groups_of(threads[thread]);
        worker->random = (seed + 1) * 0x9e3779b97f4a7c15 + thread;
        worker->sends = sends;
        for (unsigned at = 0; at < ACTORS; at++)
            prepare_actor(&worker->actors[at], worker);
    }
    prepare_actor(&storm.witness, &storm.workers[0]);
    loop_enter(threads[0]);
    for (unsigned group = 0; group < GROUPS; group++)
        storm_join(&storm.witness, group);
    threads_settle();
}

/* --- the comparison --- */

/* Where in its group's order each message stands, from 1, as the witness heard it. */
static uint32_t place[SENDERS][SENDS_MAX + 1];

/* Each message once; at the position that was reported; behind all that its sender knew. */
static void read_witness(const struct diary *witness) {
    uint32_t known[SENDERS] = {0};
    for (size_t at = 0; at < witness->heard_count; at++) {
        struct said name = witness->heard[at];
        const struct word *word = &storm.words[name.sender][name.number];
        uint64_t position = storm.position[name.sender][name.number];
        assert(word->group == witness->group);
        assert(place[name.sender][name.number] == 0);
        place[name.sender][name.number] = (uint32_t)at + 1;
        if (position != 0)
            assert(position == at + 1);
        assert(name.number > known[name.sender]);
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
        struct said name = diary->heard[at];
        uint32_t here = place[name.sender][name.number];
        assert(here > last);
        assert(name.number > diary->knew[name.sender]);
        pieces += at == 0 || here != last + 1;
        last = here;
    }
    assert(pieces <= diary->stay_count);
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
            assert(inside);
        else if (inside) /* whoever ends may miss what was under way */
            assert(diary->ended);
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
    /* Else the storm was none: the witness alone heard all. */
    assert(heard > storm.total + storm.total / 2);
    assert(stays > storm.total / 20);
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
    threads_assert_nothing_is_held();
    compare_diaries();
    free_diaries();
}

START_TEST(one_order_whatever_the_interleaving) {
    uint64_t random = (uint64_t)_i + 77;
    bool under_way = true;
    prepare_storm((uint64_t)_i, 300, 0);
    while (under_way) {
        struct worker *worker = &storm.workers[draw(&random, THREADS)];
        loop_enter(threads[worker->thread]);
        go_on(worker);
        loop_turn(threads[worker->thread], 0);
        under_way = false;
        for (unsigned thread = 0; thread < THREADS; thread++)
            under_way = under_way || storm.workers[thread].phase != DONE;
    }
    finish_storm();
}
END_TEST

START_TEST(one_order_on_three_threads) {
    pthread_t running[THREADS], pool;
    uint32_t pool_sends = SENDS_MAX / 4;
    prepare_storm((uint64_t)_i + 1000, SENDS_MAX, pool_sends);
    loop_enter(NULL);
    for (unsigned at = 0; at < THREADS; at++)
        ck_assert_int_eq(pthread_create(&running[at], NULL, run_worker, &storm.workers[at]), 0);
    ck_assert_int_eq(pthread_create(&pool, NULL, run_pool_sender, &pool_sends), 0);
    for (unsigned at = 0; at < THREADS; at++)
        pthread_join(running[at], NULL);
    pthread_join(pool, NULL);
    finish_storm();
}
END_TEST

/* --- a home by itself --- */

/* The roll's memory is for members of other threads alone. */
START_TEST(who_is_at_home_is_known_by_its_record_and_others_by_their_serial) {
    struct homes homes;
    struct group_key key = key_of(SPACE, "a");
    struct home_member here = {serial_of(1, (struct slab_place){7, 0}), 501, "Ada"};
    struct home_member away = {serial_of(2, (struct slab_place){7, 3}), 502, "Grace"};
    home_init(&homes, THREADS);
    uint32_t one = home_join(&homes, &key, &here), two = home_join(&homes, &key, &away);
    ck_assert_uint_eq(home_record(&homes, here.serial), 0);
    ck_assert_uint_eq(home_record(&homes, away.serial), two);
    ck_assert_uint_eq(homes.away.count, 1);
    const struct home *home = home_find(&homes, &key);
    ck_assert_uint_eq(home->on_thread[0], 0);
    ck_assert_uint_eq(home->on_thread[1], 1);
    ck_assert_uint_eq(home->on_thread[2], 1);
    home_leave(&homes, &key, one);
    home_set_info(&homes, two, "Grace H.");
    struct listing *listing = home_list(&homes, &key, 2);
    ck_assert_uint_eq(listing->total, 1);
    ck_assert_uint_eq(listing->members[0].id, 502);
    ck_assert_str_eq(listing->members[0].info, "Grace H.");
    free(listing);
    home_join(&homes, &key, &here);
    home_clear(&homes); /* with all that is in it */
    ck_assert_uint_eq(homes.records.count, 0);
    ck_assert_uint_eq(homes.away.count, 0);
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

int main(void) {
    Suite *suite = suite_create("home");
    TCase *tcase = add_case(suite, "order");
    tcase_add_loop_test(tcase, one_order_whatever_the_interleaving, 0, 20);
    tcase_add_loop_test(tcase, one_order_on_three_threads, 0, 3);
    tcase_add_test(add_case(suite, "by itself"),
                   who_is_at_home_is_known_by_its_record_and_others_by_their_serial);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
