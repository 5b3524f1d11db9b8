#include "config/units.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct suffix {
    const char *name;
    int64_t factor;
};

/* From large to small, as units_write tries them. */
static const struct suffix sizes[] = {
    {"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0}};
static const struct suffix times[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                      {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct suffix counts[] = {{"", 1}, {NULL, 0}};

static const struct suffix *suffixes_of(enum unit unit) {
    if (unit == UNIT_BYTES)
        return sizes;
    return unit == UNIT_MS ? times : counts;
}

static const char *wrong_suffix(const char *rest, enum unit unit) {
    if (*rest == '.')
        return unit == UNIT_COUNT ? "is no whole number"
                                  : "is no whole number; take a smaller unit";
    if (unit == UNIT_BYTES)
        return "has an unknown unit; sizes take k, m or g, or none for bytes";
    if (unit == UNIT_COUNT)
        return "is not a plain number";
    return *rest == '\0' ? "has no unit; times take ms, s, m, h or d"
                         : "has an unknown unit; times take ms, s, m, h or d";
}

/* Digits as a negative number: its range is the larger one. */
static bool read_digits(const char **text, int64_t *value) {
    *value = 0;
    for (; isdigit((unsigned char)**text); (*text)++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_sub_overflow(*value, **text - '0', value))
            return false;
    return true;
}

bool units_read(const char *text, enum unit unit, int64_t *value, const char **why) {
    const char *at = text;
    bool negative = unit == UNIT_COUNT && *at == '-';
    at += negative;
    if (!isdigit((unsigned char)*at)) {
        *why = unit == UNIT_COUNT   ? "is not a number"
               : unit == UNIT_BYTES ? "is not a size"
                                    : "is not a time";
        return false;
    }
    *why = "is too large";
    int64_t number;
    if (!read_digits(&at, &number))
        return false;
    const struct suffix *suffix = suffixes_of(unit);
    while (suffix->name != NULL && strcmp(suffix->name, at) != 0)
        suffix++;
    if (suffix->name == NULL) {
        *why = wrong_suffix(at, unit);
        return false;
    }
    if (__builtin_mul_overflow(number, suffix->factor, &number) ||
        (!negative && number == INT64_MIN))
        return false;
    *value = negative ? number : -number;
    return true;
}

const char *units_write(int64_t value, enum unit unit, char buffer[32]) {
    const struct suffix *suffix = suffixes_of(unit);
    while (suffix[1].name != NULL && (value == 0 || value % suffix->factor != 0))
        suffix++;
    snprintf(buffer, 32, "%" PRId64 "%s", value / suffix->factor, suffix->name);
    return buffer;
}
