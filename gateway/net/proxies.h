/*
 * Whose word about clients is taken: `trusted-proxies`. Behind them a client is known by the PROXY
 * protocol or by X-Forwarded-For; from anybody else both are ignored or refused. Made while a
 * configuration is loaded, immutable and shared from then on.
 */
#ifndef SLUICE_NET_PROXIES_H
#define SLUICE_NET_PROXIES_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/h2o.h"
#include "observe/error.h"

struct proxies;

/* With nobody in it. */
struct proxies *proxies_create(void);
/* Another owner. Any thread. */
struct proxies *proxies_share(struct proxies *proxies);
/* Any thread; NULL is accepted. */
void proxies_free(struct proxies *proxies);

/* Adds an address, a network (10.0.0.0/8, 2001:db8::/32) or `unix`, which stands for whoever
   connects to a socket with a path. False with a sentence. Before it is shared. */
bool proxies_add(struct proxies *proxies, const char *text, struct error *error);

/* Whether this is one of them; NULL: nobody is. Any thread. */
bool proxies_trust(const struct proxies *proxies, const struct sockaddr *peer);

/* The client that a list of addresses names, as X-Forwarded-For has them: the rightmost that is no
   trusted proxy, or the leftmost when all are; what stands left of something that is no address is
   not believed. Its size, or 0 when the list's last is no address. A pure function; any thread. */
socklen_t proxies_client(const struct proxies *proxies, const char *list, size_t size,
                         struct sockaddr_storage *client);

#endif
