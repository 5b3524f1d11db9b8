/*
 * The word `listen`: a port, a mapping, or a sequence of them. Certificates are loaded, nothing is
 * bound. Main thread.
 */
#ifndef SLUICE_CONFIG_LISTEN_H
#define SLUICE_CONFIG_LISTEN_H

#include "config/directives.h"

/* Adds to the configuration's listeners what the node says. */
void listen_read(struct load *load, yoml_t *node);

#endif
