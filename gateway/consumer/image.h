/*
 * The bytes of a shared object, read before the loader sees them: whether they are whole, built for
 * this machine, and what they say of themselves. Nothing of them runs. The loader trusts its input
 * and dies of a half-copied file, so whatever it would follow blindly is checked here. A pure
 * reader of memory: any thread.
 */
#ifndef SLUICE_CONSUMER_IMAGE_H
#define SLUICE_CONSUMER_IMAGE_H

#include <link.h>
#include <sluice/consumer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "observe/error.h"

#define IMAGE_SEGMENTS_MAX 64

struct image {
    const uint8_t *bytes;
    size_t size;
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[IMAGE_SEGMENTS_MAX];
    unsigned segment_count;
    uint64_t dynamic_at; /* offset of the dynamic section */
    size_t dynamic_count;
    uint64_t strings_at; /* offset of its strings */
    size_t strings_size;
};

/* Fills image from size bytes, which are lent to it. False when they are not a whole shared object
   for this machine: the error says what to do, without naming the file. */
bool image_open(struct image *image, const void *bytes, size_t size, struct error *error);

/* The ABI note that SLUICE_CONSUMER made. False when there is none, or one cut short. */
bool image_note(const struct image *image, struct sluice_note *note);

/* The index-th library that it needs (DT_NEEDED), from 0, or NULL. Borrowed from the bytes, as all
   names here. */
const char *image_needed(const struct image *image, size_t index);

/* Its RUNPATH or RPATH, or NULL. */
const char *image_runpath(const struct image *image);

/* How many functions and variables it exports besides the one called entry, and the first one's
   name. Left out: weak symbols (C++ makes them whatever its visibility) and names that linkers and
   sanitizers make. */
size_t image_exports(const struct image *image, const char *entry, const char **first);

#endif
