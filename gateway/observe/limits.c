#include "observe/limits.h"

#include <assert.h>
#include <stdatomic.h>

static atomic_uint_least64_t hits[LIMITS_COUNTED];

static const char *const names[LIMITS_COUNTED] = {
    [LIMIT_RATE_SLOWED] = "rate-slowed",
    [LIMIT_RATE_CLOSED] = "rate-closed",
};

void limits_hit(enum limit limit) {
    assert(limit < LIMITS_COUNTED);
    atomic_fetch_add_explicit(&hits[limit], 1, memory_order_relaxed);
}

uint64_t limits_hits(enum limit limit) {
    assert(limit < LIMITS_COUNTED);
    return atomic_load_explicit(&hits[limit], memory_order_relaxed);
}

const char *limits_name(enum limit limit) { return names[limit]; }
