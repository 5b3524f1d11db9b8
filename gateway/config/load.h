/*
 * What is known while one configuration is being loaded; every file of this folder is handed it.
 * Lives on config_load's stack. Main thread.
 */
#ifndef SLUICE_CONFIG_LOAD_H
#define SLUICE_CONFIG_LOAD_H

#include "loop/h2o.h"

#include "config/config.h"
#include "config/problems.h"
#include "config/tree.h"

struct publish_draft;

struct load {
    struct config *config;
    struct problems *problems;
    h2o_mem_pool_t *pool; /* lives as long as the configuration */
    const struct sluice_host *host;
    const char *const *plugin_dirs;
    size_t plugin_dir_count;
    bool may_write;                  /* runs with the rights of the start */
    bool only_reads;                 /* no log is opened, which would make it */
    struct config_host *current;     /* the host whose paths and routes are being read, or NULL */
    struct publish_draft *publishes; /* that wait for their namespaces */
    bool lacks_spaces;               /* a route that was left out may have one more */
};

#endif
