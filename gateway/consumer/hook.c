#include "consumer/hook.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "observe/counters.h"
#include "observe/log.h"

static atomic_uint budget_ms = 100;

/* Of each route: a consumer that is always slow must not fill the log. */
static _Thread_local struct {
    uint64_t until_ns; /* the next line may come then; 0: at once */
    uint32_t unsaid;   /* slow hooks since the last line */
} quiet[COUNTERS_ROUTES];

static _Thread_local uint64_t skipped_ns;

static uint64_t now_ns(void) {
    struct timespec at;
    /* Milliseconds are enough, and this clock costs a tenth of the exact one. */
    clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

void hook_set_budget(uint32_t ms) { atomic_store_explicit(&budget_ms, ms, memory_order_relaxed); }

void hook_skip(uint32_t ms) { skipped_ns += (uint64_t)ms * 1000000; }

static void complain(const struct hook *hook, uint64_t took_ms, unsigned most_ms) {
    unsigned place = hook->owner->counted_as;
    uint64_t now = now_ns() + skipped_ns;
    char more[64] = "";
    if (now < quiet[place].until_ns) {
        quiet[place].unsaid++;
        return;
    }
    if (quiet[place].unsaid > 0)
        snprintf(more, sizeof(more), "; %lu more since the last such line",
                 (unsigned long)quiet[place].unsaid);
    quiet[place].unsaid = 0;
    quiet[place].until_ns = now + HOOK_QUIET_MS * 1000000ull;
    log_line(LOG_AT_WARNING,
             "%s: %s of %s held its thread for %llu ms (hook-budget is %u ms): blocking work "
             "belongs in sluice_offload%s",
             hook->owner->route, page_hook_name(hook->kind), hook->owner->consumer,
             (unsigned long long)took_ms, most_ms, more);
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
    unsigned most_ms = atomic_load_explicit(&budget_ms, memory_order_relaxed);
    if (took_ms <= most_ms)
        return;
    counters_raise(&counters->hooks_over_budget, 1);
    complain(hook, took_ms, most_ms);
}
