#include "loop/loop.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "loop/h2o.h"
#include "loop/timers.h"
#include "observe/counters.h"

/* Letters read a turn: what they queue for members must leave before the next ones are read, or a
   flood from another thread would overflow the queues of clients that read well. */
#define LETTERS_A_TURN 64

struct chain {
    struct mail *first, *last;
};

/* Letters from this loop to another, until the MAIL stage. */
struct outbox {
    struct loop *to;
    struct chain letters;
};

struct stage {
    struct loop_entry *first, *last;
};

/* Those who wait for BYTES when it begins anew, until all of them have written. */
struct round {
    unsigned waiting; /* in the stage, of this round and the next */
    unsigned size;    /* 0: none is under way */
    unsigned left;
    unsigned joined; /* times that one who waited asked again, since this one began */
    unsigned before; /* the same, before it began */
    uint64_t began;  /* microseconds */
    uint64_t pause;  /* until then no other begins; 0: no pause */
};

struct loop {
    h2o_loop_t *h2o;
    unsigned index;
    uint64_t turns;
    void *locals[LOOP_LOCALS];

    /* the clock */
    uint64_t now, skipped;
    bool now_is_fresh;

    /* the flush: an entry in a timeout of zero, so that it runs within h2o_evloop_run, behind the
     * sockets' callbacks */
    h2o_timeout_t at_once;
    h2o_timeout_entry_t flush, due;
    struct stage stages[LOOP_STAGES];
    struct round round;
    bool flushing;

    struct timers timers;

    /* mail */
    struct outbox outboxes[LOOPS_MAX];
    unsigned char dirty[LOOPS_MAX]; /* indexes of outboxes that hold letters */
    unsigned dirty_count;
    struct chain own; /* letters to itself */
    struct loop_entry own_entry;
    pthread_mutex_t lock;
    struct chain inbox;   /* under lock */
    atomic_bool has_mail; /* the inbox is not empty; set and cleared under lock */
    struct chain arrived; /* taken from the inbox, not read yet */
    unsigned portion;     /* letters that may still be read this turn */
    int wake_fd;
    h2o_socket_t *wake;
};

static _Thread_local struct loop *current;

/* --- the clock --- */

static uint64_t read_microseconds(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static uint64_t read_clock(void) { return read_microseconds() / 1000; }

uint64_t loop_now(struct loop *loop) {
    if (!loop->now_is_fresh) {
        loop->now = read_clock() + loop->skipped;
        loop->now_is_fresh = true;
    }
    return loop->now;
}

void loop_skip(struct loop *loop, uint64_t ms) {
    loop->skipped += ms;
    loop->now_is_fresh = false;
}

/* --- stages --- */

/* Links the entry so that it runs in the current or the next h2o_evloop_run. An entry that was
   linked before the system clock was set back would wait for it: loop_turn links it anew. */
static void run_soon(struct loop *loop, h2o_timeout_entry_t *entry) {
    if (!h2o_timeout_is_linked(entry))
        h2o_timeout_link(loop->h2o, &loop->at_once, entry);
}

static void arm_flush(struct loop *loop) {
    if (!loop->flushing)
        run_soon(loop, &loop->flush);
}

void loop_queue(struct loop *loop, enum loop_stage stage, struct loop_entry *entry) {
    assert(stage != LOOP_MAIL);
    if (entry->queued) {
        loop->round.joined += stage == LOOP_BYTES;
        return;
    }
    loop->round.waiting += stage == LOOP_BYTES;
    entry->queued = true;
    entry->next = NULL;
    struct stage *queue = &loop->stages[stage];
    if (queue->first == NULL)
        queue->first = entry;
    else
        queue->last->next = entry;
    queue->last = entry;
    arm_flush(loop);
}

static void take_back(struct stage *queue, struct loop_entry *entry) {
    struct loop_entry *before = NULL;
    for (struct loop_entry *at = queue->first; at != entry; at = at->next) {
        assert(at != NULL);
        before = at;
    }
    if (before == NULL)
        queue->first = entry->next;
    else
        before->next = entry->next;
    if (queue->last == entry)
        queue->last = before;
    entry->queued = false;
}

void loop_unqueue(struct loop *loop, enum loop_stage stage, struct loop_entry *entry) {
    if (!entry->queued)
        return;
    take_back(&loop->stages[stage], entry);
    if (stage == LOOP_BYTES)
        loop->round.waiting--;
}

static struct loop_entry *pop(struct stage *queue) {
    struct loop_entry *entry = queue->first;
    if (entry != NULL) {
        queue->first = entry->next;
        entry->queued = false;
    }
    return entry;
}

/* Runs those that are in the queue now, `most` of them; returns how many. Entries are popped one by
 * one, so that one may take back another. */
static unsigned run_present(struct stage *queue, unsigned most) {
    struct loop_entry end = {.queued = true};
    unsigned count = 0;
    if (queue->first == NULL)
        return 0;
    queue->last->next = &end;
    queue->last = &end;
    struct loop_entry *entry;
    while (count < most && (entry = pop(queue)) != &end) {
        entry->run(entry);
        count++;
    }
    if (count == most)
        take_back(queue, &end);
    if (queue->first == NULL)
        queue->last = NULL;
    return count;
}

/* --- mail --- */

static void append(struct chain *chain, struct chain more) {
    if (chain->first == NULL)
        chain->first = more.first;
    else
        chain->last->next = more.first;
    chain->last = more.last;
}

static bool put_in(struct loop *to, struct chain letters) {
    bool was_empty = to->inbox.first == NULL;
    append(&to->inbox, letters);
    atomic_store_explicit(&to->has_mail, true, memory_order_release);
    return was_empty;
}

static void wake(struct loop *loop) { eventfd_write(loop->wake_fd, 1); }

/* The loop may be freed as soon as the letter is read, so it is woken before that can be. */
static void post(struct loop *to, struct chain letters) {
    pthread_mutex_lock(&to->lock);
    if (put_in(to, letters))
        wake(to);
    pthread_mutex_unlock(&to->lock);
}

static void deliver_all(struct loop *loop, struct mail *letter) {
    while (letter != NULL) {
        struct mail *next = letter->next;
        letter->deliver(letter, loop);
        letter = next;
    }
}

static void deliver_own(struct loop_entry *entry) {
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, own_entry, entry);
    struct mail *letters = loop->own.first;
    loop->own = (struct chain){NULL, NULL};
    deliver_all(loop, letters);
}

static void take_inbox(struct loop *loop) {
    pthread_mutex_lock(&loop->lock);
    loop->arrived = loop->inbox;
    loop->inbox = (struct chain){NULL, NULL};
    atomic_store_explicit(&loop->has_mail, false, memory_order_relaxed);
    pthread_mutex_unlock(&loop->lock);
}

/* At most so many letters; false when more are left, for which the loop is woken again. */
static bool read_letters(struct loop *loop, unsigned *most) {
    for (;;) {
        if (loop->arrived.first == NULL) {
            if (!atomic_load_explicit(&loop->has_mail, memory_order_acquire))
                return true;
            take_inbox(loop);
        }
        if (*most == 0) {
            wake(loop);
            return false;
        }
        --*most;
        struct mail *letter = loop->arrived.first;
        loop->arrived.first = letter->next;
        letter->deliver(letter, loop);
    }
}

bool loop_catch_up(struct loop *loop) { return read_letters(loop, &loop->portion); }

void loop_catch_up_all(struct loop *loop) {
    unsigned most = UINT_MAX;
    read_letters(loop, &most);
}

static void on_wake(h2o_socket_t *socket, const char *error) {
    struct loop *loop = socket->data;
    eventfd_t count;
    (void)error;
    eventfd_read(loop->wake_fd, &count);
    loop_catch_up(loop);
}

/* Whoever reads one of these letters may at once cause another to a second reader, which must find
   the turn's letters there already: so all inboxes are held until all letters are in. Their order
   is that of the indexes, or two senders would wait for each other. */
static void send_mail(struct loop *loop) {
    bool was_empty[LOOPS_MAX];
    for (unsigned at = 0; at < loop->dirty_count; at++)
        pthread_mutex_lock(&loop->outboxes[loop->dirty[at]].to->lock);
    for (unsigned at = 0; at < loop->dirty_count; at++) {
        struct outbox *outbox = &loop->outboxes[loop->dirty[at]];
        was_empty[at] = put_in(outbox->to, outbox->letters);
        outbox->letters = (struct chain){NULL, NULL};
    }
    for (unsigned at = 0; at < loop->dirty_count; at++)
        pthread_mutex_unlock(&loop->outboxes[loop->dirty[at]].to->lock);
    for (unsigned at = 0; at < loop->dirty_count; at++)
        if (was_empty[at])
            wake(loop->outboxes[loop->dirty[at]].to);
    loop->dirty_count = 0;
}

/* Kept in ascending order. */
static void add_dirty(struct loop *loop, unsigned index) {
    unsigned at = loop->dirty_count++;
    for (; at > 0 && loop->dirty[at - 1] > index; at--)
        loop->dirty[at] = loop->dirty[at - 1];
    loop->dirty[at] = (unsigned char)index;
}

static void hold_until_flush(struct loop *from, struct loop *to, struct chain letter) {
    struct outbox *outbox = &from->outboxes[to->index];
    if (outbox->letters.first == NULL) {
        add_dirty(from, to->index);
        outbox->to = to;
    }
    append(&outbox->letters, letter);
    arm_flush(from);
}

void loop_mail(struct loop *to, struct mail *mail) {
    struct chain letter = {mail, mail};
    mail->next = NULL;
    if (current == NULL) {
        post(to, letter);
    } else if (current == to) {
        append(&to->own, letter);
        loop_queue(to, LOOP_CALLS, &to->own_entry);
    } else {
        hold_until_flush(current, to, letter);
    }
}

/* --- timers --- */

void loop_timer_set(struct loop *loop, struct timer *timer, uint64_t ms) {
    timer->at = (loop_now(loop) + (ms == 0 ? 1 : ms)) & (UINT64_MAX >> 24);
    timers_place(&loop->timers, timer);
}

void loop_timer_clear(struct loop *loop, struct timer *timer) {
    timers_remove(&loop->timers, timer);
}

size_t loop_timers(const struct loop *loop) { return loop->timers.count; }

bool loop_has_timers(const struct loop *loop) { return loop->timers.count < LOOP_TIMERS_MAX / 2; }

static void run_due(h2o_timeout_entry_t *entry) {
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, due, entry);
    uint64_t now = loop_now(loop);
    struct timer *timer;
    while ((timer = timers_first(&loop->timers)) != NULL && timer->at <= now) {
        timers_remove(&loop->timers, timer);
        timer->run(timer);
    }
}

/* --- the turn --- */

/* Fewer are no round: they are soon done. */
#define ROUND_LEAST 128
#define PAUSE_LEAST 500 /* microseconds */

static bool is_paused(struct loop *loop) {
    struct round *round = &loop->round;
    if (round->pause != 0 && read_microseconds() + loop->skipped * 1000 >= round->pause)
        round->pause = 0;
    return round->pause != 0;
}

static void begin_round(struct loop *loop) {
    struct round *round = &loop->round;
    round->size = round->left = round->waiting;
    round->before = round->joined;
    round->joined = 0;
    if (round->size >= ROUND_LEAST)
        round->began = read_microseconds();
}

/* The kernel has what they wrote only when SENDS is over, but all but the last turn's is in the
 * time. */
static void end_round(struct loop *loop) {
    struct round *round = &loop->round;
    bool is_worth = round->size >= ROUND_LEAST && round->before >= round->size;
    round->pause = 0;
    if (is_worth) {
        uint64_t now = read_microseconds(), took = now - round->began;
        if (took > LOOP_PAUSE_MOST * 1000)
            took = LOOP_PAUSE_MOST * 1000;
        if (took >= PAUSE_LEAST)
            round->pause = now + took + loop->skipped * 1000;
    }
    round->size = round->left = 0;
}

/* Runs some who write; returns how many, 0 when the others must wait. */
static unsigned run_writers(struct loop *loop, unsigned most) {
    struct round *round = &loop->round;
    if (round->size != 0 && round->left == 0)
        end_round(loop);
    if (round->size == 0 && is_paused(loop))
        return 0;
    if (round->size == 0)
        begin_round(loop);
    unsigned count =
        run_present(&loop->stages[LOOP_BYTES], most < round->left ? most : round->left);
    round->waiting -= count;
    round->left -= count;
    return count;
}

/* The stages in order; what a later one queues for an earlier one runs before the later goes on.
   CALLS run once, so that a callback that always asks for another can't hold the loop. */
static void flush(h2o_timeout_entry_t *entry) {
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, flush, entry);
    loop->flushing = true;
    unsigned writers = LOOP_BYTES_A_TURN;
    run_present(&loop->stages[LOOP_CALLS], UINT_MAX);
    int stage = LOOP_MAIL;
    while (stage < LOOP_STAGES) {
        send_mail(loop);
        unsigned ran = 0;
        if (stage == LOOP_BYTES && loop->stages[stage].first != NULL && writers > 0)
            ran = run_writers(loop, writers);
        else if (stage != LOOP_BYTES && loop->stages[stage].first != NULL)
            ran = run_present(&loop->stages[stage], UINT_MAX);
        if (stage == LOOP_BYTES)
            writers -= ran;
        stage = ran > 0 ? LOOP_MAIL : stage + 1;
    }
    if (loop->round.size != 0 && (loop->round.left == 0 || loop->stages[LOOP_BYTES].first == NULL))
        end_round(loop);
    loop->flushing = false;
}

static int sooner(int a, uint64_t b) { return b < (uint64_t)a ? (int)b : a; }

static int wait_ms(struct loop *loop, int most_ms) {
    const struct timer *first = timers_first(&loop->timers);
    uint64_t now = loop_now(loop);
    if (first != NULL)
        most_ms = sooner(most_ms, first->at <= now ? 0 : first->at - now);
    return most_ms;
}

/* Whether something waits for a stage; for writers in a pause it shortens the wait. */
static bool is_pending(struct loop *loop, int *wait) {
    bool pending = loop->stages[LOOP_CALLS].first != NULL || loop->dirty_count > 0;
    for (int stage = LOOP_MAIL; stage < LOOP_STAGES; stage++)
        if (stage != LOOP_BYTES)
            pending = pending || loop->stages[stage].first != NULL;
    if (pending || loop->stages[LOOP_BYTES].first == NULL)
        return pending;
    if (loop->round.size != 0 || !is_paused(loop))
        return true;
    uint64_t now = read_microseconds() + loop->skipped * 1000;
    uint64_t left = loop->round.pause > now ? loop->round.pause - now : 0;
    *wait = sooner(*wait, (left + 999) / 1000);
    return left == 0;
}

void loop_turn(struct loop *loop, int most_ms) {
    assert(current == loop);
    loop->turns++;
    loop->portion = LETTERS_A_TURN;
    loop->now_is_fresh = false;
    int wait = wait_ms(loop, most_ms);
    h2o_timeout_unlink(&loop->due);
    h2o_timeout_unlink(&loop->flush);
    if (wait == 0)
        run_soon(loop, &loop->due);
    if (is_pending(loop, &wait))
        run_soon(loop, &loop->flush);
    loop->now_is_fresh = false; /* the wait is in the next line */
    h2o_evloop_run(loop->h2o, wait);
}

/* --- its life --- */

struct loop *loop_create(unsigned index) {
    assert(index < LOOPS_MAX);
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        abort();
    loop->index = index;
    loop->h2o = h2o_evloop_create();
    h2o_timeout_init(loop->h2o, &loop->at_once, 0);
    loop->flush.cb = flush;
    loop->due.cb = run_due;
    loop->own_entry.run = deliver_own;
    pthread_mutex_init(&loop->lock, NULL);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd == -1)
        abort();
    loop->wake = h2o_evloop_socket_create(loop->h2o, loop->wake_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->wake->data = loop;
    h2o_socket_read_start(loop->wake, on_wake);
    return loop;
}

void loop_free(struct loop *loop) {
    if (loop == NULL)
        return;
    assert(loop->timers.count == 0 && loop->inbox.first == NULL && loop->arrived.first == NULL);
    h2o_socket_close(loop->wake);
    h2o_timeout_unlink(&loop->flush);
    h2o_timeout_unlink(&loop->due);
    h2o_evloop_run(loop->h2o, 0); /* closed sockets are freed in the next run */
    h2o_timeout_dispose(loop->h2o, &loop->at_once);
    h2o_evloop_destroy(loop->h2o);
    pthread_mutex_destroy(&loop->lock);
    free(loop->timers.heap);
    if (current == loop)
        current = NULL;
    free(loop);
}

void loop_enter(struct loop *loop) {
    current = loop;
    if (loop != NULL)
        counters_enter(loop->index);
}

struct loop *loop_current(void) {
    return current;
}

h2o_loop_t *loop_h2o(const struct loop *loop) { return loop->h2o; }

uint64_t loop_turns(const struct loop *loop) { return loop->turns; }

unsigned loop_index(const struct loop *loop) { return loop->index; }

void loop_set_local(struct loop *loop, enum loop_local which, void *value) {
    loop->locals[which] = value;
}

void *loop_local(const struct loop *loop, enum loop_local which) { return loop->locals[which]; }
