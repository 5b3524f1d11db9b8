/*
 * The word `routes`: a host's ordered table of patterns and what answers them, with the consumers
 * opened. Main thread.
 */
#ifndef SLUICE_CONFIG_ROUTES_H
#define SLUICE_CONFIG_ROUTES_H

#include "config/directives.h"

/* Adds the sequence's routes to the router of the host that is being read. */
int routes_read(h2o_configurator_command_t *command, h2o_configurator_context_t *context,
                yoml_t *node);

#endif
