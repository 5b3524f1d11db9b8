/*
 * One loop thread of the worker: turns its loop for the life of the process, does what the main
 * thread asks between two turns, tends older generations, and at the end drains.
 */
#ifndef SLUICE_PROCESS_THREAD_H
#define SLUICE_PROCESS_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct generation;
struct loop;
struct thread;

/* Starts it; it turns, and serves nothing yet. Main thread. */
struct thread *thread_start(struct loop *loop);

/* Runs fn between two turns and waits for it: its result. False when the thread did not come to it
   within ms milliseconds, since a consumer holds it: fn will not run then. Once begun, fn is waited
   for. Main thread. */
typedef bool (*thread_call_fn)(struct loop *loop, void *arg);
bool thread_call(struct thread *thread, thread_call_fn fn, void *arg, uint32_t ms);

/* From within such a call: what the thread serves from now on. An older one is retired within ms,
   and tended from now on. */
void thread_serve(struct thread *thread, struct generation *generation, uint32_t ms);
/* From within such a call: the older one is gone, with its consumers. */
void thread_forget(struct thread *thread, const struct generation *generation);
/* Whether nothing of an older generation is left on this thread. Any thread. */
bool thread_is_done_with(const struct thread *thread, const struct generation *generation);

/* How a worker ends. */
struct thread_end {
    uint32_t ms;       /* within this */
    int code;          /* of the closes */
    uint32_t retry_ms; /* not 0: clients are told to come back within this, spread evenly */
    bool is_shared;    /* another worker has the listening sockets too */
};

/* Tells it to stop: no new connections, drain hooks, closes spread over the time, then the hard
   end. Again with 0 ms: the hard end now. It ends when no thread has a connection, a request or a
   promised callback left, since each may wait for another's groups. Main thread. */
void thread_stop(struct thread *thread, const struct thread_end *end);

/* Waits for its end, at most ms. False when it still runs. Main thread. */
bool thread_join(struct thread *thread, uint32_t ms);

#endif
