/*
 * The pool that runs consumers' blocking work: a fixed number of threads and a bounded queue.
 * Created by the main thread before the loops run; jobs are handed in by loop threads and their
 * done letters go back to the loop they came from. Its threads inherit the creator's signal mask.
 */
#ifndef SLUICE_CONSUMER_OFFLOAD_H
#define SLUICE_CONSUMER_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct offload;

/* threads: 1 to 256; queue: jobs that may wait, 1 to 1,000,000. Aborts when threads can't be
   made. */
struct offload *offload_create(unsigned threads, size_t queue);

/* Runs work(arg) on a pool thread, then done(arg) on loop's thread, from its mail. False when the
   queue is full or the pool ends: nothing runs then. [any thread] */
bool offload_run(struct offload *pool, struct loop *loop, void (*work)(void *arg),
                 void (*done)(void *arg), void *arg);

/* Jobs that no thread has taken yet. [any thread] */
size_t offload_waiting(struct offload *pool);

/* Waits for running work. What waits in the queue is not run, but its done is: those letters are in
   the loops' mail now, so turn each loop once more. Main thread. NULL is fine. */
void offload_free(struct offload *pool);

#endif
