/*
 * Finds items of a slab by a name of 64 bits: an open-addressing table of their numbers alone,
 * 5 to 11 bytes an item, since the items know their names. One thread's.
 */
#ifndef SLUICE_GROUP_ROLL_H
#define SLUICE_GROUP_ROLL_H

#include <stddef.h>
#include <stdint.h>

/* The name of the item with this number, which is on the roll or about to be. */
typedef uint64_t (*roll_name_fn)(const void *items, uint32_t number);

/* Zeroed but for the first two it is empty. */
struct roll {
    roll_name_fn name;
    const void *items;      /* for name */
    uint32_t *slots;        /* 0: free */
    size_t count, capacity; /* capacity: 0 or a power of two */
};

/* Its number, or 0. */
uint32_t roll_find(const struct roll *roll, uint64_t name);
/* No item on the roll may have this name. */
void roll_add(struct roll *roll, uint32_t number);
/* It must be on the roll. */
void roll_remove(struct roll *roll, uint32_t number);

/* Gives the memory of an empty roll back. */
void roll_clear(struct roll *roll);

#endif
