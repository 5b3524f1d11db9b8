/*
 * The namespaces of groups, as the routes that use them say them. Main thread.
 */
#ifndef SLUICE_CONFIG_SPACES_H
#define SLUICE_CONFIG_SPACES_H

#include "config/load.h"

/* Notes what a route says of its namespace; a copy is made, its name lives as long as the load.
   Routes of one namespace keep its groups' messages in one way: false when an earlier route of this
   load keeps them in another, reported at space->place. */
bool spaces_add(struct load *load, const struct config_space *space);

/* NULL when no route uses it. */
const struct config_space *spaces_find(const struct config *config, const char *name);

/* The end of a sentence that knows no namespace of this name: "; did you mean `X`?", or which there
   are. buffer: 256 bytes. Returns buffer. */
const char *spaces_hint(const struct config *config, const char *name, char buffer[256]);

#endif
