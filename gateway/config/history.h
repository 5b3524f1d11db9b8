/*
 * The words of kept messages: a route's `history`, and the server's `layer`. Main thread.
 */
#ifndef SLUICE_CONFIG_HISTORY_H
#define SLUICE_CONFIG_HISTORY_H

#include "config/load.h"

struct group_terms;

/* Reads a route's `history` into terms, which keep nothing when node is NULL or OFF. False when it
   was wrong: reported. */
bool history_read(struct load *load, yoml_t *node, struct group_terms *terms);

/* Reads `layer`; what is wrong is reported. */
void history_read_layer(struct load *load, yoml_t *node);

#endif
