/*
 * The word `listen`: a port, a mapping, or a sequence of them. Certificates are loaded, nothing is
 * bound. Main thread.
 */
#ifndef SLUICE_CONFIG_LISTEN_H
#define SLUICE_CONFIG_LISTEN_H

#include "config/directives.h"

/* Adds to the configuration's listeners what the node says. */
void listen_read(struct load *load, yoml_t *node);

/* The listener's key, told apart from those before it: the kernel may choose several ports. keys:
   of those, by their index. In the pool. */
const char *listen_key(h2o_mem_pool_t *pool, const struct listener_conf *conf,
                       const char *(*keys)(const void *list, size_t index), const void *list,
                       size_t count);

/* One listener's address alone; false when it is not right: reported. tls: whether it has `ssl`. */
bool listen_address(struct load *load, yoml_t *node, struct listener_conf *conf, bool *tls);

#endif
