/*
 * The words `hosts` and `paths`: which host and which path answers a request. Main thread.
 */
#ifndef SLUICE_CONFIG_HOSTS_H
#define SLUICE_CONFIG_HOSTS_H

#include "config/directives.h"

/* Reads the mapping of hosts; `default` becomes the first, which is where libh2o sends what no
 * host's name matches. */
int hosts_read(h2o_configurator_command_t *command, h2o_configurator_context_t *context,
               yoml_t *node);

/* Reads a host's mapping of paths, then readies its fallback path. */
int hosts_read_paths(h2o_configurator_command_t *command, h2o_configurator_context_t *context,
                     yoml_t *node);

/* The table of hosts for a port, ending with NULL: see config_hosts_for_port. In the pool. */
h2o_hostconf_t **hosts_for_port(const struct config *config, h2o_mem_pool_t *pool, unsigned port);

#endif
