/*
 * /healthz: what a load balancer asks. 200 while the server takes connections, 503 once it is
 * stopping. A route for the same path goes before it.
 */
#ifndef SLUICE_NET_HEALTH_H
#define SLUICE_NET_HEALTH_H

#include "loop/h2o.h"

/* Puts the handler at the end of the path's handlers: call it for every path, after the router's
   and before any other is made. */
void health_register(h2o_pathconf_t *pathconf);

#endif
