#include "observe/limits.h"

#include <assert.h>
#include <stdatomic.h>

static atomic_uint_least64_t hits[LIMITS_COUNTED];

static const char *const names[LIMITS_COUNTED] = {
    [LIMIT_CONNECTIONS] = "connections",
    [LIMIT_ADDRESS_CONNECTIONS] = "connections-an-address",
    [LIMIT_ROUTE_CONNECTIONS] = "route-connections",
    [LIMIT_ROUTE_ADDRESS] = "route-connections-an-address",
    [LIMIT_HANDSHAKES] = "handshakes",
    [LIMIT_ADDRESS_HANDSHAKES] = "handshakes-an-address",
    [LIMIT_ADDRESSES_FULL] = "addresses-full",
    [LIMIT_INTRODUCTIONS] = "introductions",
    [LIMIT_QUEUES] = "queues",
    [LIMIT_QUEUE] = "queue",
    [LIMIT_MESSAGE] = "message",
    [LIMIT_STALLED] = "stalled",
    [LIMIT_SLOW_REQUESTS] = "slow-requests",
    [LIMIT_DESCRIPTORS] = "descriptors",
    [LIMIT_GROUPS] = "groups",
    [LIMIT_TIMERS] = "timers",
    [LIMIT_OFFLOAD] = "offload",
    [LIMIT_RATE_SLOWED] = "rate-slowed",
    [LIMIT_RATE_CLOSED] = "rate-closed",
    [LIMIT_PUBLISHED] = "published",
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
