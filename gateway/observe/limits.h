/*
 * How often each limit was hit: one counter a cause, over all threads, for metrics and tests. Hits
 * are rare, so that each is one atomic addition. Everything may include it.
 */
#ifndef SLUICE_OBSERVE_LIMITS_H
#define SLUICE_OBSERVE_LIMITS_H

#include <stdint.h>

enum limit {
    LIMIT_RATE_SLOWED, /* a session said too much in a second: not read for a moment */
    LIMIT_RATE_CLOSED, /* the same: closed with 1008 */
    LIMITS_COUNTED
};

/* [any thread] */
void limits_hit(enum limit limit);
uint64_t limits_hits(enum limit limit);
/* As a metric's label: "rate-slowed". Lives for ever. [any thread] */
const char *limits_name(enum limit limit);

#endif
