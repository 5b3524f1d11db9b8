#include "websocket/budget.h"

#include <stdatomic.h>

#include "loop/loop.h"

static atomic_int_least64_t used, sessions;
static atomic_uint_least64_t most;

static _Thread_local int64_t unpublished;

void budget_limit(uint64_t bytes) { atomic_store_explicit(&most, bytes, memory_order_relaxed); }

/* Frames may be freed by another thread than made them: only the sum is never negative, and even
 * that only when all have published. */
static uint64_t at_least_0(int64_t bytes) { return bytes < 0 ? 0 : (uint64_t)bytes; }

uint64_t budget_used(void) { return at_least_0(atomic_load_explicit(&used, memory_order_relaxed)); }

void budget_change(ptrdiff_t bytes) {
    unpublished += bytes;
    if (unpublished < BUDGET_BATCH && unpublished > -BUDGET_BATCH && loop_current() != NULL)
        return;
    atomic_fetch_add_explicit(&used, unpublished, memory_order_relaxed);
    unpublished = 0;
}

bool budget_is_spent(void) {
    uint64_t limit = atomic_load_explicit(&most, memory_order_relaxed);
    return limit != 0 && budget_used() > limit;
}

void budget_count_session(int change) {
    atomic_fetch_add_explicit(&sessions, change, memory_order_relaxed);
}

uint64_t budget_share(void) {
    uint64_t count = at_least_0(atomic_load_explicit(&sessions, memory_order_relaxed));
    return atomic_load_explicit(&most, memory_order_relaxed) / (count == 0 ? 1 : count);
}
