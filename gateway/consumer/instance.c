#include "consumer/instance.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/connection.h"
#include "consumer/hook.h"
#include "consumer/plugin.h"
#include "consumer/scope.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "observe/limits.h"

#define EVERY_MAX 64

struct every {
    struct timer timer;
    struct every *next;
    sluice_thread *thread;
    uint64_t ms;
    sluice_every_fn fn;
    void *arg;
};

/* One loop thread, for one route. */
struct sluice_thread {
    struct loop *loop;
    sluice_route *route;
    void *data;
    struct every *every;
    unsigned every_count;
};

struct text {
    struct text *next;
    char bytes[];
};

struct sluice_route {
    struct instance_conf conf; /* name and space are its own copies */
    const sluice_consumer *consumer;
    void *data;
    struct text *texts;
    sluice_thread *threads[LOOPS_MAX]; /* each set and read by its own thread */
    struct capture_names captures;     /* its own copies */
    struct hook_owner owner;
    unsigned owners;
    atomic_size_t users;
    atomic_size_t connections; /* WebSockets; counted where there is a limit */
};

static struct offload *offload_pool;

void instances_set_offload(struct offload *pool) { offload_pool = pool; }
struct offload *instances_offload(void) {
    return offload_pool;
}

static void free_route(sluice_route *route) {
    for (struct text *text = route->texts, *next; text != NULL; text = next) {
        next = text->next;
        free(text);
    }
    for (size_t i = 0; i < route->captures.count; i++)
        free((char *)route->captures.names[i]);
    free((char **)route->captures.names);
    page_forget(route->owner.page_name);
    free((char *)route->conf.name);
    free((char *)route->conf.space);
    free(route);
}

static int run_open(sluice_route *route) {
    if (route->consumer->open == NULL)
        return 0;
    struct hook hook = hook_enter(&route->owner, HOOK_OPEN);
    int result = route->consumer->open(route, &route->data);
    hook_leave(&hook);
    return result;
}

sluice_route *instance_open(const struct instance_conf *conf, struct error *error) {
    sluice_route *route = calloc(1, sizeof(*route));
    if (route == NULL)
        abort();
    route->conf = *conf;
    route->conf.name = strdup(conf->name);
    route->conf.space = strdup(conf->space);
    route->conf.terms.events = connection_events();
    route->consumer = plugin_consumer(conf->plugin);
    route->owners = 1;
    route->owner = (struct hook_owner){
        route->conf.name, route->consumer->name,
        page_name(route->conf.name, route->consumer->name, plugin_path(conf->plugin)),
        counters_route(route->conf.name, route->consumer->name)};
    route->conf.terms.pace_at = connection_pace_at(route);
    int result = run_open(route);
    route->conf.options = NULL;
    if (result == 0)
        return route;
    error_set(error, "consumer %s refused to open (%d)", route->consumer->name, result);
    free_route(route);
    return NULL;
}

sluice_route *instance_share(sluice_route *route) {
    route->owners++;
    return route;
}

void instance_close(sluice_route *route) {
    if (route == NULL || --route->owners > 0)
        return;
    assert(instance_users(route) == 0);
    if (route->consumer->shut != NULL) {
        struct hook hook = hook_enter(&route->owner, HOOK_SHUT);
        route->consumer->shut(route, route->data);
        hook_leave(&hook);
    }
    free_route(route);
}

/* --- threads --- */

static void free_thread(sluice_thread *thread) {
    for (struct every *every = thread->every, *next; every != NULL; every = next) {
        next = every->next;
        loop_timer_clear(thread->loop, &every->timer);
        free(every);
    }
    thread->route->threads[loop_index(thread->loop)] = NULL;
    free(thread);
}

bool instance_start(sluice_route *route, struct loop *loop) {
    sluice_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        abort();
    thread->loop = loop;
    thread->route = route;
    route->threads[loop_index(loop)] = thread;
    if (route->consumer->thread_start == NULL)
        return true;
    struct hook hook = hook_enter(&route->owner, HOOK_THREAD_START);
    int result = route->consumer->thread_start(thread, route, &thread->data);
    hook_leave(&hook);
    if (result == 0)
        return true;
    free_thread(thread);
    return false;
}

void instance_stop(sluice_route *route, struct loop *loop) {
    sluice_thread *thread = route->threads[loop_index(loop)];
    if (thread == NULL)
        return;
    if (route->consumer->thread_stop != NULL) {
        struct hook hook = hook_enter(&route->owner, HOOK_THREAD_STOP);
        route->consumer->thread_stop(thread, thread->data);
        hook_leave(&hook);
    }
    free_thread(thread); /* last: the hook may have asked for another timer */
}

static void on_every(struct timer *timer) {
    struct every *every = (struct every *)timer;
    loop_timer_set(every->thread->loop, timer, every->ms);
    struct hook hook = hook_enter(&every->thread->route->owner, HOOK_EVERY);
    every->fn(every->thread, every->arg);
    hook_leave(&hook);
}

int instance_every(sluice_thread *thread, uint64_t ms, sluice_every_fn fn, void *arg) {
    if (ms == 0 || ms > INSTANCE_TIMER_MS_MAX || fn == NULL)
        return SLUICE_INVALID;
    if (thread->every_count == EVERY_MAX)
        return SLUICE_FULL;
    struct every *every = calloc(1, sizeof(*every));
    if (every == NULL)
        abort();
    *every = (struct every){{on_every, 0, 0}, thread->every, thread, ms, fn, arg};
    thread->every = every;
    thread->every_count++;
    loop_timer_set(thread->loop, &every->timer, ms);
    return SLUICE_OK;
}

/* --- what others read --- */

void instance_set_captures(sluice_route *route, const struct capture_names *captures) {
    const char **names = calloc(captures->count + 1, sizeof(*names));
    if (names == NULL)
        abort();
    for (size_t i = 0; i < captures->count; i++)
        if (captures->names[i] != NULL && (names[i] = strdup(captures->names[i])) == NULL)
            abort();
    route->captures = (struct capture_names){names, captures->count};
}

const struct capture_names *instance_captures(const sluice_route *route) {
    return &route->captures;
}

const struct hook_owner *instance_owner(const sluice_route *route) { return &route->owner; }

sluice_route *instance_of(const struct session_terms *terms) {
    return (sluice_route *)((uintptr_t)terms - offsetof(struct sluice_route, conf.terms));
}

const struct instance_conf *instance_conf(const sluice_route *route) { return &route->conf; }

const sluice_consumer *instance_consumer(const sluice_route *route) { return route->consumer; }

struct counters_route *instance_counters(const sluice_route *route) {
    return counters_of_route(route->owner.counted_as);
}

const char *instance_name(const sluice_route *route) { return route->conf.name; }

void *instance_data(const sluice_route *route) { return route->data; }

sluice_thread *instance_thread(const sluice_route *route, const struct loop *loop) {
    return route->threads[loop_index(loop)];
}

void *instance_thread_data(const sluice_route *route, const struct loop *loop) {
    const sluice_thread *thread = instance_thread(route, loop);
    return thread == NULL ? NULL : thread->data;
}

void instance_count(sluice_route *route, int change) {
    atomic_fetch_add_explicit(&route->users, (size_t)change, memory_order_relaxed);
}

/* Counting first and giving back keeps the limit exact with several threads. */
bool instance_enter(sluice_route *route) {
    size_t most = route->conf.connections_max;
    if (most == 0 || atomic_fetch_add_explicit(&route->connections, 1, memory_order_relaxed) < most)
        return true;
    atomic_fetch_sub_explicit(&route->connections, 1, memory_order_relaxed);
    limits_hit(LIMIT_ROUTE_CONNECTIONS);
    return false;
}

void instance_leave(sluice_route *route) {
    if (route->conf.connections_max != 0)
        atomic_fetch_sub_explicit(&route->connections, 1, memory_order_relaxed);
}

size_t instance_users(const sluice_route *route) {
    return atomic_load_explicit(&route->users, memory_order_relaxed);
}

const struct option_source *instance_options(const sluice_route *route) {
    return route->conf.options;
}

const char *instance_keep_text(sluice_route *route, const char *text) {
    size_t size = strlen(text) + 1;
    struct text *kept = malloc(sizeof(*kept) + size);
    if (kept == NULL)
        abort();
    memcpy(kept->bytes, text, size);
    kept->next = route->texts;
    route->texts = kept;
    return kept->bytes;
}
