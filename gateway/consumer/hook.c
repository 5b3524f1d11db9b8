#include "consumer/hook.h"

#include <time.h>

#include "observe/log.h"

static uint64_t now_ns(void) {
    struct timespec at;
    /* Milliseconds are enough, and this clock costs a tenth of the exact one. */
    clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

struct hook hook_enter(const struct hook_owner *owner, enum page_hook kind) {
    return (struct hook){owner->route, kind, page_go(owner->page_name, kind), now_ns()};
}

void hook_leave(const struct hook *hook) {
    page_back(hook->was_at);
    uint64_t took_ms = (now_ns() - hook->began_ns) / 1000000;
    if (took_ms > HOOK_BUDGET_MS)
        log_line(LOG_AT_WARNING,
                 "%s: %s held its thread for %llu ms (the budget is %d ms): blocking work belongs "
                 "in sluice_offload",
                 hook->route, page_hook_name(hook->kind), (unsigned long long)took_ms,
                 HOOK_BUDGET_MS);
}
