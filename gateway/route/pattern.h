/*
 * A route's pattern: a PCRE2 expression that must match the whole path. A Django re_path pattern
 * works as it is: one ^ and one / at its start and one $ at its end are taken off first.
 */
#ifndef SLUICE_ROUTE_PATTERN_H
#define SLUICE_ROUTE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "consumer/scope.h"
#include "observe/error.h"

/* Captures of one pattern, the whole match included. */
#define PATTERN_CAPTURES_MAX 64

struct pattern;

enum pattern_result {
    PATTERN_MATCHED,
    PATTERN_MISSED,
    PATTERN_NOT_TEXT, /* the path is not UTF-8 */
    PATTERN_EXHAUSTED /* the match limit was hit */
};

/* NULL with the error set; *offset is where in the text, from 0, or -1. */
struct pattern *pattern_create(const char *text, struct error *error, long *offset);
void pattern_free(struct pattern *pattern);

const char *pattern_text(const struct pattern *pattern);
const struct capture_names *pattern_names(const struct pattern *pattern);

/* path: normalised, with its first slash. values: room for the pattern's names' count, set when it
 * matched. [any] */
enum pattern_result pattern_match(const struct pattern *pattern, const char *path, size_t size,
                                  h2o_iovec_t *values);

/* Writes a path that the pattern may match, with its first slash, as the variant-th choice goes (0
   to PATTERN_EXAMPLES - 1); false when the expression is beyond this simple reading or the example
   does not match. */
#define PATTERN_EXAMPLES 6
bool pattern_example(const struct pattern *pattern, unsigned variant, char *path, size_t room);

#endif
