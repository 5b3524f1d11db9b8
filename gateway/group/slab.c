#include "group/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS_MAX ((1u << SLAB_NUMBER_BITS) / SLAB_CHUNK - 1)
#define CHUNKS_LEAST 4

static unsigned char *item_of(const struct slab *slab, const struct slab_chunk *chunk,
                              uint32_t place) {
    return chunk->items + place * slab->item_size;
}

/* Where a free place says which one is free after it: place + 1. */
static uint32_t *next_free(const struct slab *slab, const struct slab_chunk *chunk,
                           uint32_t place) {
    return (uint32_t *)(void *)item_of(slab, chunk, place);
}

/* A chunk whose generations are used up is never taken from again. */
static bool has_room(const struct slab_chunk *chunk) {
    return chunk->count < SLAB_CHUNK && chunk->generation < SLAB_GENERATION_MAX;
}

static void add_chunk(struct slab *slab) {
    if (slab->chunk_count == CHUNKS_MAX)
        abort();
    if (slab->chunk_count == slab->chunk_capacity) {
        slab->chunk_capacity = slab->chunk_capacity == 0 ? CHUNKS_LEAST : slab->chunk_capacity * 2;
        slab->chunks = reallocarray(slab->chunks, slab->chunk_capacity, sizeof(*slab->chunks));
        if (slab->chunks == NULL)
            abort();
    }
    slab->chunks[slab->chunk_count++] = (struct slab_chunk){.next_roomy = slab->roomy};
    slab->roomy = slab->chunk_count;
}

static uint32_t take_place(struct slab *slab, struct slab_chunk *chunk) {
    if (chunk->items == NULL)
        chunk->items = calloc(SLAB_CHUNK, slab->item_size);
    if (chunk->items == NULL)
        abort();
    chunk->count++;
    if (chunk->free == 0)
        return chunk->used++;
    uint32_t place = chunk->free - 1u;
    uint32_t *next = next_free(slab, chunk, place);
    chunk->free = (uint16_t)*next;
    *next = 0;
    return place;
}

struct slab_place slab_take(struct slab *slab) {
    if (slab->roomy == 0)
        add_chunk(slab);
    uint32_t at = slab->roomy - 1;
    struct slab_chunk *chunk = &slab->chunks[at];
    uint32_t place = take_place(slab, chunk);
    chunk->generation++;
    slab->count++;
    if (slab->spare == at + 1)
        slab->spare = 0;
    if (!has_room(chunk))
        slab->roomy = chunk->next_roomy;
    return (struct slab_place){at * SLAB_CHUNK + place + 1, chunk->generation};
}

static void free_items(struct slab_chunk *chunk) {
    free(chunk->items);
    chunk->items = NULL;
    chunk->used = chunk->free = 0;
}

/* The one that was emptied last is kept, so that an item
   which comes and goes costs no allocation each time. */
static void on_emptied(struct slab *slab, uint32_t at) {
    if (!has_room(&slab->chunks[at])) {
        free_items(&slab->chunks[at]);
        return;
    }
    if (slab->spare != 0)
        free_items(&slab->chunks[slab->spare - 1]);
    slab->spare = at + 1;
}

void slab_give(struct slab *slab, uint32_t number) {
    uint32_t at = (number - 1) / SLAB_CHUNK, place = (number - 1) % SLAB_CHUNK;
    struct slab_chunk *chunk = &slab->chunks[at];
    assert(number != 0 && at < slab->chunk_count && chunk->count > 0);
    bool had_room = has_room(chunk);
    memset(item_of(slab, chunk, place), 0, slab->item_size);
    *next_free(slab, chunk, place) = chunk->free;
    chunk->free = (uint16_t)(place + 1);
    chunk->count--;
    slab->count--;
    if (!had_room && has_room(chunk)) {
        chunk->next_roomy = slab->roomy;
        slab->roomy = at + 1;
    }
    if (chunk->count == 0)
        on_emptied(slab, at);
}

void *slab_at(const struct slab *slab, uint32_t number) {
    uint32_t at = (number - 1) / SLAB_CHUNK, place = (number - 1) % SLAB_CHUNK;
    if (number == 0 || at >= slab->chunk_count || slab->chunks[at].items == NULL)
        return NULL;
    return item_of(slab, &slab->chunks[at], place);
}

uint32_t slab_last(const struct slab *slab) { return slab->chunk_count * SLAB_CHUNK; }

void slab_clear(struct slab *slab) {
    assert(slab->count == 0);
    for (uint32_t at = 0; at < slab->chunk_count; at++)
        free(slab->chunks[at].items);
    free(slab->chunks);
    *slab = (struct slab){.item_size = slab->item_size};
}
