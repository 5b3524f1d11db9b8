/*
 * Walks a mapping of directives, H2O's and ours, as libh2o's own walk does (contexts, order of
 * commands, hooks of the configurators), but goes on after a fault, so that one run reports all of
 * them, and gives each its file, line and column. While a load runs, three functions of libh2o are
 * answered by this file's instead, since libh2o calls them through its symbol table:
 * h2o_configurator_errprintf, h2o_configurator_scanf and h2o_configurator_apply_commands. Main
 * thread.
 */
#ifndef SLUICE_CONFIG_DIRECTIVES_H
#define SLUICE_CONFIG_DIRECTIVES_H

#include "config/load.h"

#include <h2o/configurator.h>

/* A configurator of ours: its commands find the load here. */
struct word_set {
    h2o_configurator_t super;
    struct load *load;
};

/* Knows H2O's directives from here on, and reports libh2o's faults to this load until the end. One
 * load at a time. */
void directives_begin(struct load *load);
void directives_end(void);

/* Walks the mapping (NULL: an empty one) at a level: one of H2O_CONFIGURATOR_FLAG_GLOBAL, _HOST,
   _PATH, _EXTENSION. others: keys that the caller reads itself, ending with NULL, or NULL. */
void directives_walk(h2o_configurator_context_t *context, yoml_t *mapping, int level,
                     const char *const *others);

/* The context one level below; NULL for the first. Leaving hands the environment variables to the
 * path. */
h2o_configurator_context_t *directives_enter(h2o_globalconf_t *conf,
                                             h2o_configurator_context_t *parent);
void directives_leave(h2o_configurator_context_t *context);

#endif
