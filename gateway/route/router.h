/*
 * A host's ordered table of routes: patterns and what answers them. The first pattern that matches
 * the whole path wins. Built while a configuration is loaded; read by all threads from then on.
 */
#ifndef SLUICE_ROUTE_ROUTER_H
#define SLUICE_ROUTE_ROUTER_H

#include <h2o.h>
#include <sluice/consumer.h>

#include "observe/error.h"

struct router;
struct route;

struct route_conf {
    const char *pattern; /* as written; copied */
    const char *place;   /* file:line for warnings and logs; copied */
    sluice_route
        *consumer; /* NULL: its pathconf's handlers answer. Taken: closed with the router. */
    h2o_pathconf_t *pathconf;   /* the route's own, of h2o_config_init_pathconf; taken */
    const char *const *origins; /* "same-host", "*", "null" or scheme://host[:port]; copied */
    size_t origin_count;
};

struct router *router_create(void);
void router_free(struct router *router);

/* Compiles the pattern and adds the route at the end. NULL with the error set; *offset is then
   where in the pattern, from 0, or -1. On failure nothing is taken. */
struct route *router_add(struct router *router, const struct route_conf *conf, struct error *error,
                         long *offset);

/* Only compiles the pattern: for checking. */
bool router_check_pattern(const char *pattern, struct error *error, long *offset);

/* The earlier route that takes everything which this one could match, as far as examples made from
   its pattern show; NULL when there is none. */
const struct route *router_shadows(const struct router *router, const struct route *route);

/* Puts the router's handler at the end of the path's handlers: call it for every path and the
   fallback path of the host, before other handlers are made. Borrowed until the configuration is
   disposed of. */
void router_register(h2o_pathconf_t *pathconf, struct router *router);

/* For listings. Routes are numbered from 0 in order; borrowed. */
size_t router_count(const struct router *router);
const struct route *router_route(const struct router *router, size_t index);
const char *route_pattern(const struct route *route);
const char *route_place(const struct route *route);
sluice_route *route_consumer(const struct route *route);

/* The route that a path (decoded, normalised, with its first slash) goes to, or NULL. captures:
   called with each capture, may be NULL. For --route and tests. */
const struct route *router_find(const struct router *router, const char *path, size_t size,
                                void (*captures)(void *arg, const char *name, const char *value,
                                                 size_t size),
                                void *arg);

#endif
