/*
 * What is wrong with a configuration: every fault and warning of one load, each with its place,
 * printed together in the order of the file. Main thread.
 */
#ifndef SLUICE_CONFIG_PROBLEMS_H
#define SLUICE_CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* line and column from 1; 0: unknown. file may be NULL. */
struct place {
    const char *file;
    size_t line, column;
};

struct problems;

struct problems *problems_create(void);
void problems_free(struct problems *problems);

/* One fault or warning. The text is one sentence or two: what was found, what would be right. The
   text and the file name are copied. */
void problems_error(struct problems *problems, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problems_warning(struct problems *problems, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Different errors; the same one at the same place counts once, since an alias is read wherever it
 * is used. */
size_t problems_errors(const struct problems *problems);
/* Errors as they were reported: to see whether a call reported any. */
size_t problems_reports(const struct problems *problems);

/* file:line:column: error: text, a line each, sorted by place.
 */
void problems_print(const struct problems *problems, FILE *to);

#endif
