/*
 * The line in the error log that says how a WebSocket was: whose, why it ended, and what went each
 * way. An access log has only its handshake, since libh2o does not know it from then on.
 */
#ifndef SLUICE_CONSUMER_CLOSE_LINE_H
#define SLUICE_CONSUMER_CLOSE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session_counts;

struct close_line {
    const char *route, *peer;
    uint64_t id;
    int code;           /* as RFC 6455 section 7.1.5 */
    const char *reason; /* of either side: anything in UTF-8 */
    uint32_t seconds;   /* that it was open */
    const struct session_counts *counts;
};

/* Whether such lines are written; they are until told otherwise. [any thread] */
void close_line_choose(bool on);

/* One line at info. All is borrowed. [any thread] */
void close_line_write(const struct close_line *line);

#endif
