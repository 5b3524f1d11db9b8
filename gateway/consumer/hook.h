/*
 * The moment in which a consumer's code runs: which route and hook a thread is in, and for how
 * long. A hook that holds its thread longer than the budget is logged by name.
 */
#ifndef SLUICE_CONSUMER_HOOK_H
#define SLUICE_CONSUMER_HOOK_H

#include <stdint.h>

#include "observe/page.h"

/* How long a hook may take, in milliseconds, before it is logged. */
#define HOOK_BUDGET_MS 100

/* Whose hooks they are. */
struct hook_owner {
    const char *route;   /* its name */
    unsigned page_name;  /* its number in the page, or 0 */
    unsigned counted_as; /* its place among the counters' routes */
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

#endif
