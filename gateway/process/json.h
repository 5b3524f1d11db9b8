/*
 * Strings of JSON (RFC 8259 section 7) for answers of commands, which end on terminals: what could
 * move a cursor is escaped. Any thread.
 */
#ifndef SLUICE_PROCESS_JSON_H
#define SLUICE_PROCESS_JSON_H

#include <stddef.h>
#include <stdio.h>

/* Prints size bytes of UTF-8 between quotes, with quotes, backslashes and all control characters
   (U+0000 to U+001F, U+007F to U+009F) escaped. */
void json_print(FILE *to, const char *text, size_t size);

#endif
