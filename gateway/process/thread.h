/*
 * One loop thread of the worker: it starts its share of the generation, turns until it is told to
 * stop, drains and ends.
 */
#ifndef SLUICE_PROCESS_THREAD_H
#define SLUICE_PROCESS_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct generation;
struct loop;
struct thread;

/* Starts it and waits until it serves. NULL when a consumer refused to start; the thread has ended
 * then. Main thread. */
struct thread *thread_start(struct loop *loop, struct generation *generation);

/* Tells it to stop within ms: no new connections, drain hooks, closes spread over the time, then
   the hard end. Again with 0: the hard end now. It ends when no thread has a connection, a request
   or a promised callback left, since each may wait for another's groups. Main thread. */
void thread_stop(struct thread *thread, uint32_t ms);

/* Waits for its end, at most ms. False when it still runs. Main thread. */
bool thread_join(struct thread *thread, uint32_t ms);

#endif
