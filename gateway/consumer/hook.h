/*
 * The moment in which a consumer's code runs: which route and hook a thread is in, and for how
 * long. A hook that holds its thread longer than the budget is counted, and logged by name.
 */
#ifndef SLUICE_CONSUMER_HOOK_H
#define SLUICE_CONSUMER_HOOK_H

#include <stdint.h>

#include "observe/page.h"

/* Whose hooks they are. */
struct hook_owner {
    const char *route;    /* its name */
    const char *consumer; /* the same */
    unsigned page_name;   /* its number in the page, or 0 */
    unsigned counted_as;  /* its place among the counters' routes */
};

struct hook {
    const struct hook_owner *owner;
    enum page_hook kind;
    unsigned was_at;
    uint64_t began_ns;
};

/* Around each call into a plugin, on the thread that makes it: counts it and its time, by the tick
   of the kernel's coarse clock, so that one short hook counts as nothing or as a tick, and many as
   what they took. owner: lent until hook_leave. */
struct hook hook_enter(const struct hook_owner *owner, enum page_hook kind);
void hook_leave(const struct hook *hook);

/* How long a hook may take, in milliseconds: 100 until called. Over it a line names route and hook;
   of a route and thread one in HOOK_QUIET_MS, which tells how many more there were since the last.
   [any thread] */
void hook_set_budget(uint32_t ms);
#define HOOK_QUIET_MS 10000

/* For tests: this thread's clock for those lines jumps forward by ms. */
void hook_skip(uint32_t ms);

#endif
