/*
 * A store of small items of one size, each with a number that finds it. An item stays where it is,
 * and costs no more than its size: they stand in chunks. A chunk's memory is given back once it has
 * no item, but for one chunk, which is kept for what comes next. One thread's.
 */
#ifndef SLUICE_GROUP_SLAB_H
#define SLUICE_GROUP_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define SLAB_CHUNK 1024 /* items */
#define SLAB_NUMBER_BITS 28
#define SLAB_GENERATION_BITS 28
#define SLAB_NUMBER_MAX ((1u << SLAB_NUMBER_BITS) - 1)
#define SLAB_GENERATION_MAX ((1u << SLAB_GENERATION_BITS) - 1)

/* number: from 1. No two items ever have both in common: generations, from 1, tell apart those that
   have a number one after the other. */
struct slab_place {
    uint32_t number, generation;
};

struct slab_chunk {
    unsigned char *items; /* NULL: none, and none is free either */
    uint32_t generation;  /* the last that was given to an item here */
    uint32_t next_roomy;  /* chunk + 1; 0: none */
    uint16_t count, used; /* items; places that have ever been one since there is memory */
    uint16_t free;        /* place + 1, the first of a list; 0: none */
};

/* Zeroed but for the size it is empty. */
struct slab {
    size_t item_size; /* 4 at least */
    size_t count;     /* items */
    struct slab_chunk *chunks;
    uint32_t chunk_count, chunk_capacity;
    uint32_t roomy; /* chunk + 1, the first of a list of those that have room; 0: none */
    uint32_t spare; /* chunk + 1, without items but with memory; 0: none */
};

/* A zeroed item. Aborts when there is no memory, or no number, left. */
struct slab_place slab_take(struct slab *slab);
void slab_give(struct slab *slab, uint32_t number);

/* Any number may be asked for: what is no item is NULL, or is zero behind its first 4 bytes. */
void *slab_at(const struct slab *slab, uint32_t number);
/* No item has a higher number. */
uint32_t slab_last(const struct slab *slab);

/* Gives the memory of an empty slab back, and forgets the generations. */
void slab_clear(struct slab *slab);

#endif
