#include "group/roll.h"

#include <assert.h>
#include <stdlib.h>

#include "group/table.h"

#define CAPACITY_LEAST 16

static size_t next_slot(const struct roll *roll, size_t at) {
    return (at + 1) & (roll->capacity - 1);
}

static size_t first_slot(const struct roll *roll, uint64_t name) {
    return (size_t)table_hash(name) & (roll->capacity - 1);
}

static uint64_t name_of(const struct roll *roll, uint32_t number) {
    return roll->name(roll->items, number);
}

static void put(struct roll *roll, uint32_t number) {
    size_t at = first_slot(roll, name_of(roll, number));
    while (roll->slots[at] != 0)
        at = next_slot(roll, at);
    roll->slots[at] = number;
}

static void resize(struct roll *roll, size_t capacity) {
    struct roll old = *roll;
    roll->capacity = capacity;
    roll->slots = calloc(capacity, sizeof(*roll->slots));
    if (roll->slots == NULL)
        abort();
    for (size_t at = 0; at < old.capacity; at++)
        if (old.slots[at] != 0)
            put(roll, old.slots[at]);
    free(old.slots);
}

uint32_t roll_find(const struct roll *roll, uint64_t name) {
    if (roll->count == 0)
        return 0;
    size_t at = first_slot(roll, name);
    while (roll->slots[at] != 0 && name_of(roll, roll->slots[at]) != name)
        at = next_slot(roll, at);
    return roll->slots[at];
}

void roll_add(struct roll *roll, uint32_t number) {
    if (roll->count + 1 > roll->capacity / 4 * 3)
        resize(roll, roll->capacity == 0 ? CAPACITY_LEAST : roll->capacity * 2);
    put(roll, number);
    roll->count++;
}

/* Moves what was pushed past the freed slot back towards its first one, so that searches need no
   marks of what was removed. */
static void close_gap(struct roll *roll, size_t gap) {
    for (size_t at = next_slot(roll, gap); roll->slots[at] != 0; at = next_slot(roll, at)) {
        size_t wanted = first_slot(roll, name_of(roll, roll->slots[at]));
        size_t behind_wanted = (at - wanted) & (roll->capacity - 1);
        size_t behind_gap = (at - gap) & (roll->capacity - 1);
        if (behind_wanted < behind_gap)
            continue;
        roll->slots[gap] = roll->slots[at];
        gap = at;
    }
    roll->slots[gap] = 0;
}

void roll_remove(struct roll *roll, uint32_t number) {
    assert(roll->count > 0);
    size_t at = first_slot(roll, name_of(roll, number));
    while (roll->slots[at] != number) {
        assert(roll->slots[at] != 0);
        at = next_slot(roll, at);
    }
    close_gap(roll, at);
    roll->count--;
    if (roll->capacity > CAPACITY_LEAST && roll->count < roll->capacity / 8)
        resize(roll, roll->capacity / 2);
}

void roll_clear(struct roll *roll) {
    assert(roll->count == 0);
    free(roll->slots);
    roll->slots = NULL;
    roll->capacity = 0;
}
