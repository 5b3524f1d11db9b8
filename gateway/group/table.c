#include "group/table.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_LEAST 16

uint64_t table_hash(uint64_t number) {
    number = (number ^ number >> 33) * 0xff51afd7ed558ccd;
    number = (number ^ number >> 33) * 0xc4ceb9fe1a85ec53;
    return number ^ number >> 33;
}

static size_t next_slot(const struct table *table, size_t at) {
    return (at + 1) & (table->capacity - 1);
}

static size_t first_slot(const struct table *table, uint64_t hash) {
    return (size_t)hash & (table->capacity - 1);
}

static void put(struct table *table, uint64_t hash, void *item) {
    size_t at = first_slot(table, hash);
    while (table->slots[at].item != NULL)
        at = next_slot(table, at);
    table->slots[at] = (struct table_slot){hash, item};
}

static void resize(struct table *table, size_t capacity) {
    struct table old = *table;
    table->capacity = capacity;
    table->slots = calloc(capacity, sizeof(*table->slots));
    if (table->slots == NULL)
        abort();
    for (size_t at = 0; at < old.capacity; at++)
        if (old.slots[at].item != NULL)
            put(table, old.slots[at].hash, old.slots[at].item);
    free(old.slots);
}

void *table_find(const struct table *table, uint64_t hash, table_is_fn is, const void *wanted) {
    if (table->count == 0)
        return NULL;
    size_t at = first_slot(table, hash);
    for (; table->slots[at].item != NULL; at = next_slot(table, at))
        if (table->slots[at].hash == hash && is(table->slots[at].item, wanted))
            return table->slots[at].item;
    return NULL;
}

void table_add(struct table *table, uint64_t hash, void *item) {
    if (table->count + 1 > table->capacity / 4 * 3)
        resize(table, table->capacity == 0 ? CAPACITY_LEAST : table->capacity * 2);
    put(table, hash, item);
    table->count++;
}

/* Moves what was pushed past the freed slot back towards its first one, so that searches need no
   marks of what was removed. */
static void close_gap(struct table *table, size_t gap) {
    for (size_t at = next_slot(table, gap); table->slots[at].item != NULL;
         at = next_slot(table, at)) {
        size_t wanted = first_slot(table, table->slots[at].hash);
        size_t behind_wanted = (at - wanted) & (table->capacity - 1);
        size_t behind_gap = (at - gap) & (table->capacity - 1);
        if (behind_wanted < behind_gap)
            continue;
        table->slots[gap] = table->slots[at];
        gap = at;
    }
    table->slots[gap].item = NULL;
}

void table_remove(struct table *table, uint64_t hash, const void *item) {
    assert(table->count > 0);
    size_t at = first_slot(table, hash);
    while (table->slots[at].item != item) {
        assert(table->slots[at].item != NULL);
        at = next_slot(table, at);
    }
    close_gap(table, at);
    table->count--;
    if (table->capacity > CAPACITY_LEAST && table->count < table->capacity / 8)
        resize(table, table->capacity / 2);
}

void *table_any(const struct table *table) {
    if (table->count == 0)
        return NULL;
    size_t at = 0;
    while (table->slots[at].item == NULL)
        at++;
    return table->slots[at].item;
}

void table_clear(struct table *table) {
    assert(table->count == 0);
    free(table->slots);
    *table = (struct table){NULL, 0, 0};
}
