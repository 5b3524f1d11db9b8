#include "process/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "consumer/connection.h"
#include "consumer/host.h"
#include "consumer/instance.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "observe/page.h"
#include "process/crash.h"
#include "process/gauges.h"
#include "process/generation.h"
#include "websocket/plain_transport.h"

#define TURN_MS 1000 /* the longest wait of a turn: the page's tick moves as often */
#define TENDING_TURN_MS                                                                            \
    20 /* while draining or tending, ended connections are looked for so often */
#define OLDER_MAX 64

enum call_state { CALL_WAITING, CALL_RUNNING, CALL_DONE };

/* What the main thread waits for; on its stack. */
struct call {
    thread_call_fn fn;
    void *arg;
    enum call_state state;
    bool result;
};

/* A generation that another one has taken over from. */
struct older {
    struct generation *generation;
    atomic_bool done;
    struct older *next;
};

struct thread {
    struct loop *loop;
    pthread_t id;

    pthread_mutex_t lock; /* of these three */
    pthread_cond_t changed;
    struct call *call; /* NULL: none */
    bool ended;

    /* its own; the main thread reads done while it waits */
    struct generation *generation;
    struct older *older;
    bool draining, timed_out, quiet;
    struct timer deadline;
};

/* Threads that still have something to end. The others go on turning for them: a group whose home
   is here, or a letter to here, may be what those wait for. */
static atomic_uint unquiet;

struct stop_mail {
    struct mail mail;
    struct thread *thread;
    struct thread_end end;
};

/* --- calls from the main thread --- */

static void run_call(struct thread *thread) {
    pthread_mutex_lock(&thread->lock);
    struct call *call = thread->call;
    if (call != NULL)
        call->state = CALL_RUNNING;
    pthread_mutex_unlock(&thread->lock);
    if (call == NULL)
        return;
    bool result = call->fn(thread->loop, call->arg);
    pthread_mutex_lock(&thread->lock);
    call->result = result;
    call->state = CALL_DONE;
    thread->call = NULL;
    pthread_cond_signal(&thread->changed);
    pthread_mutex_unlock(&thread->lock);
}

/* Only wakes: the call runs behind the turn. */
static void on_woken(struct mail *mail, struct loop *loop) {
    (void)loop;
    free(mail);
}

static void wake(const struct thread *thread) {
    struct mail *mail = calloc(1, sizeof(*mail));
    if (mail == NULL)
        abort();
    mail->deliver = on_woken;
    loop_mail(thread->loop, mail);
}

static struct timespec from_now(uint32_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + (uint64_t)(ms % 1000) * 1000000;
    until.tv_sec += (time_t)(ms / 1000 + nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    return until;
}

bool thread_call(struct thread *thread, thread_call_fn fn, void *arg, uint32_t ms) {
    struct call call = {.fn = fn, .arg = arg};
    struct timespec until = from_now(ms);
    pthread_mutex_lock(&thread->lock);
    assert(thread->call == NULL);
    thread->call = &call;
    pthread_mutex_unlock(&thread->lock);
    wake(thread);
    pthread_mutex_lock(&thread->lock);
    while (call.state == CALL_WAITING && !thread->ended &&
           pthread_cond_timedwait(&thread->changed, &thread->lock, &until) == 0)
        ;
    while (call.state == CALL_RUNNING)
        pthread_cond_wait(&thread->changed, &thread->lock);
    if (call.state == CALL_WAITING)
        thread->call = NULL;
    pthread_mutex_unlock(&thread->lock);
    return call.state == CALL_DONE && call.result;
}

/* --- generations --- */

void thread_serve(struct thread *thread, struct generation *generation, uint32_t ms) {
    struct generation *before = thread->generation;
    thread->generation = generation;
    generation_open(generation, thread->loop);
    if (before == NULL)
        return;
    struct older *older = calloc(1, sizeof(*older));
    if (older == NULL)
        abort();
    older->generation = before;
    older->next = thread->older;
    thread->older = older;
    generation_retire(before, thread->loop, ms);
}

void thread_forget(struct thread *thread, const struct generation *generation) {
    struct older **at = &thread->older;
    while (*at != NULL && (*at)->generation != generation)
        at = &(*at)->next;
    struct older *older = *at;
    if (older == NULL)
        return;
    *at = older->next;
    free(older);
}

bool thread_is_done_with(const struct thread *thread, const struct generation *generation) {
    const struct older *older = thread->older;
    while (older != NULL && older->generation != generation)
        older = older->next;
    return older != NULL && atomic_load(&older->done);
}

static void tend(struct thread *thread) {
    if (thread->generation != NULL)
        generation_tidy(thread->generation, thread->loop);
    for (struct older *older = thread->older; older != NULL; older = older->next) {
        if (atomic_load_explicit(&older->done, memory_order_relaxed))
            continue;
        generation_tidy(older->generation, thread->loop);
        if (generation_tend(older->generation, thread->loop))
            atomic_store(&older->done, true);
    }
}

static bool is_tending(const struct thread *thread) {
    for (const struct older *older = thread->older; older != NULL; older = older->next)
        if (!atomic_load_explicit(&older->done, memory_order_relaxed))
            return true;
    return false;
}

/* --- the end --- */

static void on_deadline(struct timer *timer) {
    struct thread *thread = (struct thread *)((char *)timer - offsetof(struct thread, deadline));
    thread->timed_out = true;
}

static void on_stop(struct mail *mail, struct loop *loop) {
    struct stop_mail *stop = (struct stop_mail *)mail;
    struct thread *thread = stop->thread;
    const struct thread_end *end = &stop->end;
    if (!thread->draining) {
        thread->draining = true;
        if (thread->generation != NULL)
            generation_stop_accepting(thread->generation, loop, end->is_shared);
    }
    connections_retry(loop, end->retry_ms);
    connections_drain(loop, end->ms, end->code, "server is stopping");
    /* a little later than the sessions' own end, so that their last hooks run */
    loop_timer_set(loop, &thread->deadline, (uint64_t)end->ms + 200);
    free(stop);
}

static void become_quiet(struct thread *thread) {
    if (!thread->quiet)
        atomic_fetch_sub(&unquiet, 1);
    thread->quiet = true;
}

static bool is_busy(const struct thread *thread) {
    if (connections_count(thread->loop) > 0 || host_promises(thread->loop) > 0)
        return true;
    if (thread->generation != NULL && generation_busy(thread->generation, thread->loop))
        return true;
    for (const struct older *older = thread->older; older != NULL; older = older->next)
        if (generation_busy(older->generation, thread->loop))
            return true;
    return false;
}

static bool is_done(struct thread *thread) {
    if (!thread->draining)
        return false;
    if (thread->timed_out || !is_busy(thread))
        become_quiet(thread);
    return thread->timed_out || atomic_load(&unquiet) == 0;
}

static void tell_end(struct thread *thread) {
    pthread_mutex_lock(&thread->lock);
    thread->ended = true;
    pthread_cond_signal(&thread->changed);
    pthread_mutex_unlock(&thread->lock);
}

static void *run(void *arg) {
    struct thread *thread = arg;
    loop_enter(thread->loop);
    page_enter(loop_index(thread->loop));
    crash_enter();
    plain_transport_prepare(thread->loop);
    struct gauges *gauges =
        gauges_start(thread->loop, loop_index(thread->loop) == 0 ? instances_offload() : NULL);
    while (!is_done(thread)) {
        bool waits = !thread->draining && !is_tending(thread);
        loop_turn(thread->loop, waits ? TURN_MS : TENDING_TURN_MS);
        page_tick();
        run_call(thread);
        tend(thread);
    }
    if (thread->timed_out && connections_count(thread->loop) > 0)
        log_line(LOG_AT_WARNING, "thread %u: %zu connections were cut at the deadline",
                 loop_index(thread->loop), connections_count(thread->loop));
    loop_turn(thread->loop, 0); /* letters that another thread sent before it became quiet */
    gauges_stop(gauges);
    if (thread->generation != NULL)
        generation_stop_consumers(thread->generation, thread->loop, true);
    for (const struct older *older = thread->older; older != NULL; older = older->next)
        generation_stop_consumers(older->generation, thread->loop, true);
    tell_end(thread);
    return NULL;
}

/* --- its life --- */

/* The wall clock may be set while somebody waits. */
static void init_waiting(struct thread *thread) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&thread->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&thread->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct thread *thread_start(struct loop *loop) {
    struct thread *thread = calloc(1, sizeof(*thread));
    char name[16];
    if (thread == NULL)
        abort();
    thread->loop = loop;
    thread->deadline.run = on_deadline;
    init_waiting(thread);
    atomic_fetch_add(&unquiet, 1);
    if (pthread_create(&thread->id, NULL, run, thread) != 0)
        abort();
    snprintf(name, sizeof(name), "sluice-%u", loop_index(loop));
    pthread_setname_np(thread->id, name);
    return thread;
}

void thread_stop(struct thread *thread, const struct thread_end *end) {
    struct stop_mail *stop = malloc(sizeof(*stop));
    if (stop == NULL)
        abort();
    *stop = (struct stop_mail){{NULL, on_stop}, thread, *end};
    if (stop->end.ms == 0)
        stop->end.ms = 1;
    loop_mail(thread->loop, &stop->mail);
}

bool thread_join(struct thread *thread, uint32_t ms) {
    struct timespec until = from_now(ms);
    pthread_mutex_lock(&thread->lock);
    while (!thread->ended && pthread_cond_timedwait(&thread->changed, &thread->lock, &until) == 0)
        ;
    bool ended = thread->ended;
    pthread_mutex_unlock(&thread->lock);
    if (!ended)
        return false;
    pthread_join(thread->id, NULL);
    pthread_cond_destroy(&thread->changed);
    pthread_mutex_destroy(&thread->lock);
    while (thread->older != NULL) {
        struct older *older = thread->older;
        thread->older = older->next;
        free(older);
    }
    free(thread);
    return true;
}
