/*
 * An open-addressing table from a hash to things that live elsewhere. It grows and shrinks with
 * what is in it. One thread's.
 */
#ifndef SLUICE_GROUP_TABLE_H
#define SLUICE_GROUP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};

/* Zeroed is empty. */
struct table {
    struct table_slot *slots;
    size_t count, capacity; /* capacity: 0 or a power of two */
};

/* Whether the item, whose hash is the wanted one's, is the wanted one. */
typedef bool (*table_is_fn)(const void *item, const void *wanted);

/* A hash for numbers that count up. */
uint64_t table_hash(uint64_t number);

void *table_find(const struct table *table, uint64_t hash, table_is_fn is, const void *wanted);
/* The item must not be in it. */
void table_add(struct table *table, uint64_t hash, void *item);
/* The item must be in it. */
void table_remove(struct table *table, uint64_t hash, const void *item);
/* Any item, NULL when there is none. */
void *table_any(const struct table *table);

/* Gives the memory of an empty table back. */
void table_clear(struct table *table);

#endif
