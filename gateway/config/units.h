/*
 * Numbers as Sluice's own words write them: whole, with a unit where one belongs. Pure functions.
 * [any thread]
 */
#ifndef SLUICE_CONFIG_UNITS_H
#define SLUICE_CONFIG_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same numbers as SLUICE_COUNT, SLUICE_BYTES and SLUICE_MS. */
enum unit {
    UNIT_COUNT = 1, /* a bare number, a minus sign allowed */
    UNIT_BYTES,     /* k, m and g are powers of 1024; a bare number is bytes */
    UNIT_MS         /* ms, s, m, h, d; a bare number is refused, so that nobody takes seconds for
                       milliseconds */
};

/* The whole text as a number of bytes or milliseconds, exactly. On failure *why is the sentence's
   end, as in "`10x` "
   + "has an unknown unit; …", and lives for ever. */
bool units_read(const char *text, enum unit unit, int64_t *value, const char **why);

/* The shortest way to write the value so that units_read reads it back. buffer: 32 bytes. Returns
 * buffer. */
const char *units_write(int64_t value, enum unit unit, char buffer[32]);

#endif
