#include "process/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "consumer/connection.h"
#include "consumer/host.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "process/generation.h"

#define TURN_MS 1000        /* the longest wait of a turn; nothing depends on it */
#define DRAINING_TURN_MS 20 /* while draining, ended connections are looked for this often */

enum phase { STARTING, SERVING, REFUSED, ENDED };

struct thread {
    struct loop *loop;
    struct generation *generation;
    pthread_t id;

    /* what the main thread waits for */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum phase phase;

    /* its own */
    bool draining, timed_out, quiet;
    struct timer deadline;
};

/* Threads that still have something to end. The others go on turning for them: a group whose home
   is here, or a letter to here, may be what those wait for. */
static atomic_uint unquiet;

struct stop_mail {
    struct mail mail;
    struct thread *thread;
    uint32_t ms;
};

static void tell(struct thread *thread, enum phase phase) {
    pthread_mutex_lock(&thread->lock);
    thread->phase = phase;
    pthread_cond_signal(&thread->changed);
    pthread_mutex_unlock(&thread->lock);
}

static void on_deadline(struct timer *timer) {
    struct thread *thread = (struct thread *)((char *)timer - offsetof(struct thread, deadline));
    thread->timed_out = true;
}

static void on_stop(struct mail *mail, struct loop *loop) {
    struct stop_mail *stop = (struct stop_mail *)mail;
    struct thread *thread = stop->thread;
    if (!thread->draining) {
        thread->draining = true;
        generation_stop_accepting(thread->generation, loop);
    }
    connections_drain(loop, stop->ms, 1001, "server is stopping");
    /* a little later than the sessions' own end, so that their last hooks run */
    loop_timer_set(loop, &thread->deadline, (uint64_t)stop->ms + 200);
    free(stop);
}

static void become_quiet(struct thread *thread) {
    if (!thread->quiet)
        atomic_fetch_sub(&unquiet, 1);
    thread->quiet = true;
}

static bool is_done(struct thread *thread) {
    if (!thread->draining)
        return false;
    if (thread->timed_out ||
        (connections_count(thread->loop) == 0 && host_promises(thread->loop) == 0 &&
         !generation_busy(thread->generation, thread->loop)))
        become_quiet(thread);
    return thread->timed_out || atomic_load(&unquiet) == 0;
}

static void *run(void *arg) {
    struct thread *thread = arg;
    loop_enter(thread->loop);
    bool started = generation_start(thread->generation, thread->loop);
    tell(thread, started ? SERVING : REFUSED);
    if (!started) {
        become_quiet(thread);
        return NULL;
    }
    while (!is_done(thread))
        loop_turn(thread->loop, thread->draining ? DRAINING_TURN_MS : TURN_MS);
    if (thread->timed_out && connections_count(thread->loop) > 0)
        log_line(LOG_AT_WARNING, "thread %u: %zu connections were cut at the deadline",
                 loop_index(thread->loop), connections_count(thread->loop));
    loop_turn(thread->loop, 0); /* letters that another thread sent before it became quiet */
    generation_stop(thread->generation, thread->loop);
    tell(thread, ENDED);
    return NULL;
}

static void free_thread(struct thread *thread) {
    pthread_join(thread->id, NULL);
    pthread_cond_destroy(&thread->changed);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

/* The wall clock may be set while somebody waits. */
static void init_waiting(struct thread *thread) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&thread->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&thread->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct thread *thread_start(struct loop *loop, struct generation *generation) {
    struct thread *thread = calloc(1, sizeof(*thread));
    char name[16];
    if (thread == NULL)
        abort();
    thread->loop = loop;
    thread->generation = generation;
    thread->deadline.run = on_deadline;
    init_waiting(thread);
    atomic_fetch_add(&unquiet, 1);
    if (pthread_create(&thread->id, NULL, run, thread) != 0)
        abort();
    snprintf(name, sizeof(name), "sluice-%u", loop_index(loop));
    pthread_setname_np(thread->id, name);
    pthread_mutex_lock(&thread->lock);
    while (thread->phase == STARTING)
        pthread_cond_wait(&thread->changed, &thread->lock);
    bool serves = thread->phase == SERVING;
    pthread_mutex_unlock(&thread->lock);
    if (serves)
        return thread;
    free_thread(thread);
    return NULL;
}

void thread_stop(struct thread *thread, uint32_t ms) {
    struct stop_mail *stop = malloc(sizeof(*stop));
    if (stop == NULL)
        abort();
    *stop = (struct stop_mail){{NULL, on_stop}, thread, ms == 0 ? 1 : ms};
    loop_mail(thread->loop, &stop->mail);
}

bool thread_join(struct thread *thread, uint32_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + (uint64_t)(ms % 1000) * 1000000;
    until.tv_sec += (time_t)(ms / 1000 + nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_mutex_lock(&thread->lock);
    while (thread->phase != ENDED &&
           pthread_cond_timedwait(&thread->changed, &thread->lock, &until) == 0)
        ;
    bool ended = thread->phase == ENDED;
    pthread_mutex_unlock(&thread->lock);
    if (ended)
        free_thread(thread);
    return ended;
}
