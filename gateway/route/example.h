/*
 * Examples of what an expression matches, for finding routes that can never be reached. It reads
 * the part of the syntax that routes are written in: literals, escapes, classes, groups,
 * alternatives, quantifiers.
 */
#ifndef SLUICE_ROUTE_EXAMPLE_H
#define SLUICE_ROUTE_EXAMPLE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes an example, ended by NUL; another variant takes other alternatives, characters and counts.
   False when the expression holds what is not read here, or the room is too small. The caller
   checks that the example matches. */
bool example_write(const char *expression, unsigned variant, char *text, size_t room);

#endif
