/*
 * What is different between two configurations, in words for whoever reloads. Main thread.
 */
#ifndef SLUICE_CONFIG_CHANGES_H
#define SLUICE_CONFIG_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct config;

/* False when a running server can't change so: why names the word and says that it needs a restart.
 */
bool changes_possible(const struct config *from, const struct config *to, char *why, size_t size);

/* A line for each listener and route that came, went, or has another plugin; one line that says so
   when there is none. */
void changes_print(const struct config *from, const struct config *to, FILE *file);

#endif
