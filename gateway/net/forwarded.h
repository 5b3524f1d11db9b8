/*
 * Requests that a trusted proxy has forwarded: their peer is the client that X-Forwarded-For names,
 * for consumers, limits and logs alike. From anybody else the header means nothing.
 */
#ifndef SLUICE_NET_FORWARDED_H
#define SLUICE_NET_FORWARDED_H

#include "loop/h2o.h"

struct proxies;

/* Puts the handler at the end of the path's handlers: call it before any other is made. Shared.
   Main thread; the handler runs on the connection's thread. */
void forwarded_register(h2o_pathconf_t *pathconf, struct proxies *proxies);

#endif
