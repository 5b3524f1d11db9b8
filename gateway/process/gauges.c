#include "process/gauges.h"

#include <stdlib.h>

#include "consumer/offload.h"
#include "group/group.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "websocket/session.h"

#define EVERY_MS 1000

struct gauges {
    struct timer timer; /* the first field */
    struct loop *loop;
    struct offload *pool;
};

static void tell(struct timer *timer) {
    struct gauges *gauges = (struct gauges *)timer;
    struct group_counts groups = groups_count(groups_of(gauges->loop));
    counters_set(COUNTER_QUEUED_BYTES, sessions_queued(gauges->loop));
    counters_set(COUNTER_GROUPS, groups.homes);
    counters_set(COUNTER_MEMBERSHIPS, groups.members);
    counters_set(COUNTER_TIMERS, loop_timers(gauges->loop));
    if (gauges->pool != NULL)
        counters_set(COUNTER_OFFLOAD_WAITING, offload_waiting(gauges->pool));
    loop_timer_set(gauges->loop, timer, EVERY_MS);
}

struct gauges *gauges_start(struct loop *loop, struct offload *pool) {
    struct gauges *gauges = calloc(1, sizeof(*gauges));
    if (gauges == NULL)
        abort();
    *gauges = (struct gauges){.timer = {.run = tell}, .loop = loop, .pool = pool};
    loop_timer_set(loop, &gauges->timer, EVERY_MS);
    return gauges;
}

void gauges_stop(struct gauges *gauges) {
    loop_timer_clear(gauges->loop, &gauges->timer);
    free(gauges);
}
