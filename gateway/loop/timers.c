#include "loop/timers.h"

#include <assert.h>
#include <stdlib.h>

#include "loop/loop.h"

static void put(struct timers *timers, size_t slot, struct timer *timer) {
    timers->heap[slot] = timer;
    timer->slot = slot & LOOP_TIMERS_MAX;
}

static size_t rise(struct timers *timers, size_t slot, uint64_t at) {
    while (slot > 1 && timers->heap[slot / 2]->at > at) {
        put(timers, slot, timers->heap[slot / 2]);
        slot /= 2;
    }
    return slot;
}

static size_t sink(struct timers *timers, size_t slot, uint64_t at) {
    for (;;) {
        size_t child = slot * 2;
        if (child > timers->count)
            return slot;
        if (child < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at)
            child++;
        if (timers->heap[child]->at >= at)
            return slot;
        put(timers, slot, timers->heap[child]);
        slot = child;
    }
}

static void settle(struct timers *timers, size_t slot, struct timer *timer) {
    slot = rise(timers, slot, timer->at);
    put(timers, sink(timers, slot, timer->at), timer);
}

static void grow(struct timers *timers) {
    timers->capacity = timers->capacity == 0 ? 64 : timers->capacity * 2;
    timers->heap = realloc(timers->heap, (timers->capacity + 1) * sizeof(struct timer *));
    if (timers->heap == NULL)
        abort();
}

void timers_place(struct timers *timers, struct timer *timer) {
    if (timer->slot == 0) {
        if (timers->count == timers->capacity)
            grow(timers);
        assert(timers->count < LOOP_TIMERS_MAX);
        timer->slot = ++timers->count & LOOP_TIMERS_MAX;
    }
    settle(timers, timer->slot, timer);
}

void timers_remove(struct timers *timers, struct timer *timer) {
    if (timer->slot == 0)
        return;
    size_t slot = timer->slot;
    struct timer *last = timers->heap[timers->count--];
    timer->slot = 0;
    if (last != timer)
        settle(timers, slot, last);
}

struct timer *timers_first(const struct timers *timers) {
    return timers->count == 0 ? NULL : timers->heap[1];
}
