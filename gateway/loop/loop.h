/*
 * One thread's loop: h2o's event loop and what every part on the thread shares: the clock, timers,
 * the mailbox and the flush at the end of a turn. Sessions, groups and connections live on one loop
 * for good and are touched by its thread alone. It knows nothing of them: it lies lowest, so that
 * all of them may stand on it.
 *
 * A turn: callbacks of sockets, mail and timers run and only queue what is to be written; then the
 * flush runs the stages below in order, until nothing is queued that may run. Mail therefore leaves
 * before bytes: whoever reacts to what he saw is ordered behind it.
 */
#ifndef SLUICE_LOOP_LOOP_H
#define SLUICE_LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Loops of a process: their index is a byte in letters' tables and in connections' ids. */
#define LOOPS_MAX 256

struct st_h2o_evloop_t;
struct loop;

/* CALLS: callbacks that must come later, never inside the call that asked for them; run once a
   turn, those added meanwhile wait for the next one. MAIL: is sent by the loop itself. ANSWERS:
   101s and refusals. BYTES: sessions write, LOOP_BYTES_A_TURN of them; the others wait for the next
   turn and write then what comes meanwhile too. When all have written who were there at first, and
   that took long and each had much to write, the next wait as long: whoever writes less often
   writes more at once, and that is what costs. SENDS: what they wrote goes to the kernel together.
   ENDS: what ended in this turn is freed. */
enum loop_stage {
    LOOP_CALLS,
    LOOP_MAIL,
    LOOP_ANSWERS,
    LOOP_BYTES,
    LOOP_SENDS,
    LOOP_ENDS,
    LOOP_STAGES
};
#define LOOP_BYTES_A_TURN 256
/* The longest of these waits, in milliseconds. */
#define LOOP_PAUSE_MOST 5

/* An entry in a stage's queue, embedded in its owner. Zeroed before first use. */
struct loop_entry {
    struct loop_entry *next;
    void (*run)(struct loop_entry *entry);
    bool queued;
};

/* A letter to a loop; embedded in whatever it carries. deliver runs on the receiver's thread and
 * owns the letter. */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail, struct loop *to);
};

/* A one-shot timer, embedded in its owner. Zeroed before first use. */
struct timer {
    void (*run)(struct timer *timer);
    uint64_t at : 40;   /* monotonic milliseconds: 34 years */
    uint64_t slot : 24; /* position in the heap, from 1; 0 when not set */
};

/* Timers that one loop may have set; who lets others set timers asks loop_has_timers first. */
#define LOOP_TIMERS_MAX 0xffffff

/* What sits in the loop for the layers above, one slot each: the thread's groups, its connections,
 * what its plain sockets share, what its sessions share. */
enum loop_local { LOOP_GROUPS, LOOP_CONNECTIONS, LOOP_PLAIN, LOOP_WORKS, LOOP_LOCALS };

/* A new loop with this number among its peers, 0 to 255. Never destroyed: threads live as long as
   the process. Tests may give it back with loop_free once nothing is left on it. */
struct loop *loop_create(unsigned index);
void loop_free(struct loop *loop);

/* Makes this thread the loop's: loop_current returns it, for any function that may be called on any
 * thread, and counters are its. */
void loop_enter(struct loop *loop);
struct loop *loop_current(void);

/* One turn: due timers, then h2o's sockets, mail and timeouts, then the flush. Waits at most
 * most_ms milliseconds. */
void loop_turn(struct loop *loop, int most_ms);

struct st_h2o_evloop_t *loop_h2o(const struct loop *loop);
unsigned loop_index(const struct loop *loop);

/* How many turns have begun. Loop's thread. */
uint64_t loop_turns(const struct loop *loop);

/* Milliseconds of CLOCK_MONOTONIC, read once a turn. */
uint64_t loop_now(struct loop *loop);
/* For tests: this loop's clock jumps forward by ms. */
void loop_skip(struct loop *loop, uint64_t ms);

void loop_set_local(struct loop *loop, enum loop_local which, void *value);
void *loop_local(const struct loop *loop, enum loop_local which);

/* Queues the entry for the stage of this turn's flush; nothing when it is queued already. Loop's
 * thread. */
void loop_queue(struct loop *loop, enum loop_stage stage, struct loop_entry *entry);
/* Takes a queued entry back; nothing when it is not queued. */
void loop_unqueue(struct loop *loop, enum loop_stage stage, struct loop_entry *entry);

/* Takes the letter. On a loop's thread letters wait for that loop's MAIL stage and go as one batch
   a receiver, one wake a turn; elsewhere they go at once. Letters from one thread to one loop
   arrive in order, and a letter sent before another was caused arrives before it. A letter to the
   own loop arrives in the CALLS stage. [any thread] */
void loop_mail(struct loop *to, struct mail *mail);

/* Reads the letters that have come, as far as this turn's portion goes; false when some are left. A
   transport calls it before it reads a socket, and leaves the socket for the next turn when it is
   false: publishers wait while mail is behind. Loop's thread, from a socket's callback. */
bool loop_catch_up(struct loop *loop);

/* Reads all of them. Called between reading a socket and acting on what was read: who wrote it may
   have seen bytes that left behind these letters, and is to be ordered behind them. The same
   caller. */
void loop_catch_up_all(struct loop *loop);

/* Runs the timer once, ms milliseconds from now (at least 1); set again, it moves. Loop's thread.
 */
void loop_timer_set(struct loop *loop, struct timer *timer, uint64_t ms);
void loop_timer_clear(struct loop *loop, struct timer *timer);
/* How many are set. */
size_t loop_timers(const struct loop *loop);
/* Whether less than half of LOOP_TIMERS_MAX are set. */
bool loop_has_timers(const struct loop *loop);

#endif
