/*
 * A text that grows while it is written: for answers that are put together piece by piece. Its
 * owner's thread.
 */
#ifndef SLUICE_OBSERVE_TEXT_H
#define SLUICE_OBSERVE_TEXT_H

#include <stddef.h>

/* Zeroed before first use. */
struct text {
    char *bytes; /* ends with NUL once something was added */
    size_t size, capacity;
};

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Between quotes, with what must not stand there escaped: as in a label of Prometheus' text format
   0.0.4, and as in JSON (RFC 8259 section 7). value: UTF-8. */
void text_add_label(struct text *text, const char *value);
void text_add_json(struct text *text, const char *value);

void text_free(struct text *text);

#endif
