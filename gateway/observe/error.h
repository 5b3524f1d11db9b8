/*
 * What went wrong while setting something up: one sentence, written where it is known, shown once
 * by the caller that gives up. Any thread; the struct belongs to the caller.
 */
#ifndef SLUICE_OBSERVE_ERROR_H
#define SLUICE_OBSERVE_ERROR_H

#include <stdbool.h>

struct error {
    char text[1024];
};

/* Writes the sentence (cut at the struct's size) and returns false, so that a failure reads `return
 * error_set(…)`. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
