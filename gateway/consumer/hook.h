/*
 * The moment in which a consumer's code runs: which route and hook a thread is in, and for how
 * long. A hook that holds its thread longer than the budget is logged by name.
 */
#ifndef SLUICE_CONSUMER_HOOK_H
#define SLUICE_CONSUMER_HOOK_H

#include <stdint.h>

/* How long a hook may take, in milliseconds, before it is logged. */
#define HOOK_BUDGET_MS 100

struct hook {
    const char *route;
    const char *name;
    uint64_t began_ns;
};

/* Around each call into a plugin, on the thread that makes it. route: its name, lent until
   hook_leave; name: the hook's, a string constant. */
struct hook hook_enter(const char *route, const char *name);
void hook_leave(const struct hook *hook);

#endif
