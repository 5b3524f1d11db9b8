/*
 * The word `publish`: who may send messages to which groups by HTTP below a path. Main thread.
 */
#ifndef SLUICE_CONFIG_PUBLISH_H
#define SLUICE_CONFIG_PUBLISH_H

#include "config/load.h"

/* Reads the mapping of a path; what is wrong is reported. */
void publish_read(struct load *load, h2o_pathconf_t *pathconf, yoml_t *node);

/* When all routes were read: gives each what they say of its namespace, and reports a namespace
   that no route has. */
void publish_settle(struct load *load);

#endif
