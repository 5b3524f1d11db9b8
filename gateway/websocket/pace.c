#include "websocket/pace.h"

#define NANOSECONDS UINT64_C(1000000000)
#define NANOSECONDS_A_MS UINT64_C(1000000)

static void count(uint64_t *due, uint64_t now, uint32_t a_second, uint64_t amount) {
    if (a_second == 0)
        return;
    if (*due < now)
        *due = now;
    *due += amount * NANOSECONDS / a_second;
}

static uint64_t left_of(uint64_t due, uint64_t until) { return due > until ? due - until : 0; }

uint32_t pace_left(const struct pace *pace, const struct pace_terms *terms, uint64_t now) {
    uint64_t until = (now + terms->burst_ms) * NANOSECONDS_A_MS;
    uint64_t messages = left_of(pace->messages_due, until), bytes = left_of(pace->bytes_due, until);
    uint64_t left = messages > bytes ? messages : bytes;
    left = (left + NANOSECONDS_A_MS - 1) / NANOSECONDS_A_MS;
    return left < UINT32_MAX / 2 ? (uint32_t)left : UINT32_MAX / 2;
}

uint32_t pace_count(struct pace *pace, const struct pace_terms *terms, uint64_t now,
                    unsigned messages, size_t bytes) {
    count(&pace->messages_due, now * NANOSECONDS_A_MS, terms->messages, messages);
    count(&pace->bytes_due, now * NANOSECONDS_A_MS, terms->bytes, bytes);
    return pace_left(pace, terms, now);
}
