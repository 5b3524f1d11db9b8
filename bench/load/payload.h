/* A message: who published it, its number and when it was due, in hexadecimal, and letters up to
 * the size of the run. All of it is UTF-8, so that it can be text, and is checked when it comes
 * back. */
#ifndef LOAD_PAYLOAD_H
#define LOAD_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_SIZE_MIN 32

struct stamp {
    uint32_t publisher;
    uint32_t number; /* from 0 for each publisher */
    uint64_t due_ns; /* CLOCK_MONOTONIC */
};

/* Makes the letters, of two bytes each where `unicode` is set and they fit. Returns `size` bytes,
 * at least PAYLOAD_SIZE_MIN, which the caller frees. */
uint8_t *payload_new(size_t size, bool unicode);

/* Writes the stamp over the first bytes. */
void payload_stamp(uint8_t *payload, const struct stamp *stamp);

/* Whether `data` is a payload of the same run as `model`: its length, its letters, and a stamp that
 * can be read, which is stored. */
bool payload_read(const uint8_t *model, size_t size, const uint8_t *data, size_t length,
                  struct stamp *stamp);

#endif
