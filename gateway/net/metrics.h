/*
 * Where the counters are read: `metrics: ON` of a path or route answers Prometheus' text, and JSON
 * below it at /json; H2O's own `status` has the same as a section `sluice`. It also counts answers.
 */
#ifndef SLUICE_NET_METRICS_H
#define SLUICE_NET_METRICS_H

#include <stdbool.h>

#include "loop/h2o.h"

/* Answers GET and HEAD at the path itself and at /json below it; at a route's, every path, with
   JSON when it ends with /json. It waits for no other thread. Main thread, as the next two. */
void metrics_register(h2o_pathconf_t *pathconf, bool is_route);

/* Counts the statuses of what is answered here: once for each path, route and fallback path. */
void metrics_count_responses(h2o_pathconf_t *pathconf);

/* The section of H2O's `status`: once a configuration, before any path. */
void metrics_add_to_status(h2o_globalconf_t *conf);

#endif
