/*
 * What other threads know a membership by. It is never given twice in the process, so that a letter
 * which comes too late speaks of nobody:
 *
 *     bits 63 to 56   the member's thread
 *     bits 55 to 28   the membership's number in that thread's slab
 *     bits 27 to  0   its generation there
 */
#ifndef SLUICE_GROUP_SERIAL_H
#define SLUICE_GROUP_SERIAL_H

#include "group/slab.h"

#define SERIAL_THREAD_SHIFT (SLAB_NUMBER_BITS + SLAB_GENERATION_BITS)

static inline uint64_t serial_of(unsigned thread, struct slab_place place) {
    return (uint64_t)thread << SERIAL_THREAD_SHIFT |
           (uint64_t)place.number << SLAB_GENERATION_BITS | place.generation;
}

static inline unsigned serial_thread(uint64_t serial) {
    return (unsigned)(serial >> SERIAL_THREAD_SHIFT);
}

static inline struct slab_place serial_place(uint64_t serial) {
    uint32_t number = (uint32_t)(serial >> SLAB_GENERATION_BITS) & SLAB_NUMBER_MAX;
    return (struct slab_place){number, (uint32_t)serial & SLAB_GENERATION_MAX};
}

#endif
