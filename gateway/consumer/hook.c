#include "consumer/hook.h"

#include <time.h>

#include "observe/counters.h"
#include "observe/log.h"

static uint64_t now_ns(void) {
    struct timespec at;
    /* Milliseconds are enough, and this clock costs a tenth of the exact one. */
    clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

struct hook hook_enter(const struct hook_owner *owner, enum page_hook kind) {
    return (struct hook){owner, kind, page_go(owner->page_name, kind), now_ns()};
}

void hook_leave(const struct hook *hook) {
    page_back(hook->was_at);
    struct counters_route *counters = counters_of_route(hook->owner->counted_as);
    uint64_t took_ns = now_ns() - hook->began_ns, took_ms = took_ns / 1000000;
    counters_raise(&counters->hook_calls, 1);
    if (took_ns == 0)
        return;
    counters_raise(&counters->hook_ns, took_ns);
    if (took_ms <= HOOK_BUDGET_MS)
        return;
    counters_raise(&counters->hooks_over_budget, 1);
    log_line(LOG_AT_WARNING,
             "%s: %s held its thread for %llu ms (the budget is %d ms): blocking work belongs "
             "in sluice_offload",
             hook->owner->route, page_hook_name(hook->kind), (unsigned long long)took_ms,
             HOOK_BUDGET_MS);
}
