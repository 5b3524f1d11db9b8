/*
 * How often each limit was hit: one counter a cause, over all threads, for metrics and tests. Hits
 * are rare, so that each is one atomic addition. Everything may include it.
 */
#ifndef SLUICE_OBSERVE_LIMITS_H
#define SLUICE_OBSERVE_LIMITS_H

#include <stdint.h>

enum limit {
    LIMIT_CONNECTIONS,         /* max-connections: 503, or closed before a TLS handshake */
    LIMIT_ADDRESS_CONNECTIONS, /* of one address: 429, or the same */
    LIMIT_ROUTE_CONNECTIONS,   /* of one route: 503 */
    LIMIT_ROUTE_ADDRESS,       /* of one route and address: 429 */
    LIMIT_HANDSHAKES,          /* in a second: 503 */
    LIMIT_ADDRESS_HANDSHAKES,  /* in a second, of one address: 429 */
    LIMIT_ADDRESSES_FULL,      /* an address that could not be counted, and was not refused */
    LIMIT_INTRODUCTIONS,       /* a wrong or missing PROXY line: closed */
    LIMIT_QUEUES,              /* of all together: 1013 */
    LIMIT_QUEUE,               /* of one session, with its policy to close: 1013 */
    LIMIT_MESSAGE,             /* too big: 1009 */
    LIMIT_STALLED,             /* a client that took nothing for too long: reset */
    LIMIT_SLOW_REQUESTS,       /* one that came too slowly: 408 */
    LIMIT_DESCRIPTORS,         /* none was left for a connection: accepting paused */
    LIMIT_GROUPS,              /* of one connection: its consumer was told, here and below */
    LIMIT_TIMERS,              /* the same */
    LIMIT_OFFLOAD,             /* work that waits for the pool */
    LIMIT_RATE_SLOWED,         /* a session said too much in a second: not read for a moment */
    LIMIT_RATE_CLOSED,         /* the same: closed with 1008 */
    LIMIT_PUBLISHED,           /* by HTTP in a second, at one path: 429 */
    LIMITS_COUNTED
};

/* [any thread] */
void limits_hit(enum limit limit);
uint64_t limits_hits(enum limit limit);
/* As a metric's label: "rate-slowed". Lives for ever. [any thread] */
const char *limits_name(enum limit limit);

#endif
