/*
 * How much one may say in a second, over a burst: a leaky bucket that is kept as the moment at
 * which it will be empty, so that nothing runs while nobody is over. Pure functions. [any thread]
 */
#ifndef SLUICE_WEBSOCKET_PACE_H
#define SLUICE_WEBSOCKET_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 a second: no limit. */
struct pace_terms {
    uint32_t messages, bytes; /* a second */
    uint32_t burst_ms;        /* what may come at once: as much as in this time; at least 1000 */
    bool closes;              /* who is over is closed; else read more slowly */
};

/* Zeroed before first use. */
struct pace {
    uint64_t messages_due, bytes_due; /* nanoseconds of the caller's clock */
};

/* Counts what was said at this moment (milliseconds, never before the last). Returns 0 when that
   was within the terms, else how many milliseconds to wait until it will have been. */
uint32_t pace_count(struct pace *pace, const struct pace_terms *terms, uint64_t now,
                    unsigned messages, size_t bytes);

/* The same without counting: how long is still to be waited; 0: no longer. */
uint32_t pace_left(const struct pace *pace, const struct pace_terms *terms, uint64_t now);

#endif
