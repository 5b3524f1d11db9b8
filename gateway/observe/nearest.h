/*
 * "Did you mean": the known word that is nearest to a wrong one, by letters added, left out,
 * changed or swapped. Pure functions. [any thread]
 */
#ifndef SLUICE_OBSERVE_NEAREST_H
#define SLUICE_OBSERVE_NEAREST_H

#include <stddef.h>

/* Offer each known word; best is then the nearest, or NULL when none is near enough to be meant.
 * Words are borrowed. */
struct nearest {
    const char *word, *best;
    size_t distance;
};

struct nearest nearest_to(const char *word);
void nearest_offer(struct nearest *nearest, const char *known);

/* The sentence's end: "; did you mean `X`?", or nothing. buffer: 128 bytes. Returns buffer. */
const char *nearest_hint(const struct nearest *nearest, char buffer[128]);

/* Edits between two words of up to 63 bytes (more: the difference counts as large). */
size_t nearest_distance(const char *a, const char *b);

#endif
