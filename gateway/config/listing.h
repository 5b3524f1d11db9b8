/*
 * A configuration's routes in words: for `sluice --routes` and `sluice --route PATH`. Main thread.
 */
#ifndef SLUICE_CONFIG_LISTING_H
#define SLUICE_CONFIG_LISTING_H

#include <stdbool.h>
#include <stdio.h>

struct config;

/* Every route in order: host, number, pattern, what answers it, where it stands in the file; then
 * the host's paths. */
void listing_print(const struct config *config, FILE *to);

/* Where a request goes: the route with its captures, else the path of H2O's, else that it is a 404.
   host: NULL for the default one. path: as in a URL; a query is left out. False for a 404. */
bool listing_print_way(const struct config *config, const char *host, const char *path, FILE *to);

#endif
