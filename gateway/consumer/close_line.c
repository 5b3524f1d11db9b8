#include "consumer/close_line.h"

#include <stdatomic.h>
#include <stdio.h>

#include "observe/log.h"
#include "websocket/session.h"

#define REASON_MAX 123
#define ESCAPED_MAX (4 * REASON_MAX + 1)

static atomic_bool is_off;

void close_line_choose(bool on) { atomic_store_explicit(&is_off, !on, memory_order_relaxed); }

/* So that no reason can end its quotes and go on as another field. The log escapes the rest. */
static void quote(char to[ESCAPED_MAX], const char *reason) {
    size_t used = 0;
    for (; *reason != '\0' && used + 5 <= ESCAPED_MAX; reason++) {
        if (*reason == '"' || *reason == '\\')
            used += (size_t)snprintf(to + used, ESCAPED_MAX - used, "\\x%02x", *reason);
        else
            to[used++] = *reason;
    }
    to[used] = '\0';
}

/* The route comes last, as it is: whatever a pattern holds, it ends with the line. */
void close_line_write(const struct close_line *line) {
    char reason[ESCAPED_MAX];
    const struct session_counts *counts = line->counts;
    if (atomic_load_explicit(&is_off, memory_order_relaxed) || !log_says(LOG_AT_INFO))
        return;
    quote(reason, line->reason);
    log_line(LOG_AT_INFO,
             "closed: peer=%s id=%llu code=%d reason=\"%s\" seconds=%lu messages-in=%lu "
             "bytes-in=%llu messages-out=%lu bytes-out=%llu queue-peak=%lu route=%s",
             line->peer, (unsigned long long)line->id, line->code, reason,
             (unsigned long)line->seconds, (unsigned long)counts->messages_in,
             (unsigned long long)counts->bytes_in, (unsigned long)counts->messages_out,
             (unsigned long long)counts->bytes_out, (unsigned long)counts->queue_peak, line->route);
}
