#include "route/router.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/instance.h"
#include "observe/counters.h"
#include "observe/log.h"
#include "route/handshake.h"
#include "route/pattern.h"

struct route {
    struct pattern *pattern;
    char *place;
    sluice_route *consumer;
    h2o_pathconf_t *pathconf;
    struct origins origins;
    atomic_bool exhausted; /* the match limit was hit: logged once */
};

struct router {
    struct route **routes;
    size_t count;
};

struct router_handler {
    h2o_handler_t super;
    struct router *router;
};

/* --- building --- */

struct router *router_create(void) {
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        abort();
    return router;
}

static void free_route(struct route *route) {
    pattern_free(route->pattern);
    free(route->place);
    for (size_t i = 0; i < route->origins.count; i++)
        free(route->origins.allowed[i]);
    free(route->origins.allowed);
    instance_close(route->consumer);
    if (route->pathconf != NULL) {
        h2o_config_dispose_pathconf(route->pathconf);
        free(route->pathconf);
    }
    free(route);
}

void router_free(struct router *router) {
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->count; i++)
        free_route(router->routes[i]);
    free(router->routes);
    free(router);
}

static void copy_origins(struct origins *to, const struct route_conf *conf) {
    to->count = conf->origin_count;
    to->allowed = calloc(conf->origin_count + 1, sizeof(*to->allowed));
    if (to->allowed == NULL)
        abort();
    for (size_t i = 0; i < conf->origin_count; i++) {
        to->allowed[i] = strdup(conf->origins[i]);
        h2o_strtolower(to->allowed[i], strlen(to->allowed[i]));
    }
}

struct route *router_add(struct router *router, const struct route_conf *conf, struct error *error,
                         long *offset) {
    struct pattern *pattern = pattern_create(conf->pattern, error, offset);
    if (pattern == NULL)
        return NULL;
    struct route *route = calloc(1, sizeof(*route));
    router->routes = realloc(router->routes, (router->count + 1) * sizeof(*router->routes));
    if (route == NULL || router->routes == NULL)
        abort();
    route->pattern = pattern;
    route->place = strdup(conf->place);
    route->consumer = conf->consumer;
    route->pathconf = conf->pathconf;
    if (conf->consumer != NULL)
        instance_set_captures(conf->consumer, pattern_names(pattern));
    copy_origins(&route->origins, conf);
    router->routes[router->count++] = route;
    return route;
}

bool router_check_pattern(const char *pattern, struct error *error, long *offset) {
    struct pattern *made = pattern_create(pattern, error, offset);
    pattern_free(made);
    return made != NULL;
}

static bool takes_all_examples(const struct route *earlier, const struct route *route) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    char path[512];
    unsigned examples = 0;
    for (unsigned variant = 0; variant < PATTERN_EXAMPLES; variant++) {
        if (!pattern_example(route->pattern, variant, path, sizeof(path)))
            continue;
        examples++;
        if (pattern_match(earlier->pattern, path, strlen(path), values) != PATTERN_MATCHED)
            return false;
    }
    return examples > 0;
}

const struct route *router_shadows(const struct router *router, const struct route *route) {
    for (size_t i = 0; i < router->count && router->routes[i] != route; i++) {
        const struct route *earlier = router->routes[i];
        if (strcmp(pattern_text(earlier->pattern), pattern_text(route->pattern)) == 0 ||
            takes_all_examples(earlier, route))
            return earlier;
    }
    return NULL;
}

/* --- matching --- */

static enum pattern_result find(const struct router *router, const char *path, size_t size,
                                struct route **found, h2o_iovec_t *values) {
    for (size_t i = 0; i < router->count; i++) {
        enum pattern_result result = pattern_match(router->routes[i]->pattern, path, size, values);
        *found = router->routes[i];
        if (result != PATTERN_MISSED)
            return result;
    }
    return PATTERN_MISSED;
}

const struct route *router_find(const struct router *router, const char *path, size_t size,
                                void (*captures)(void *arg, const char *name, const char *value,
                                                 size_t size),
                                void *arg) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    struct route *route;
    if (find(router, path, size, &route, values) != PATTERN_MATCHED)
        return NULL;
    const struct capture_names *names = pattern_names(route->pattern);
    for (size_t i = 1; captures != NULL && i < names->count; i++)
        if (values[i].base != NULL)
            captures(arg, names->names[i], values[i].base, values[i].len);
    return route;
}

/* --- serving --- */

/* A route without a consumer is a path of H2O's: its handlers in order, then 404. */
static void call_handlers(h2o_req_t *req, const h2o_pathconf_t *pathconf) {
    for (size_t i = 0; i < pathconf->handlers.size; i++) {
        h2o_handler_t *handler = pathconf->handlers.entries[i];
        if (handler->on_req != NULL && handler->on_req(handler, req) == 0)
            return;
    }
    h2o_send_error_404(req, "Not Found", "Not Found", 0);
}

static int serve(struct route *route, h2o_req_t *req, const h2o_iovec_t *values) {
    h2o_req_bind_conf(req, req->hostconf, route->pathconf);
    if (route->consumer == NULL) {
        call_handlers(req, route->pathconf);
        return 0;
    }
    handshake_begin(route->consumer, &route->origins, req, values);
    return 0;
}

static int refuse_exhausted(struct route *route, h2o_req_t *req) {
    if (!atomic_exchange(&route->exhausted, true))
        log_line(LOG_AT_WARNING,
                 "%s: pattern %s gave up on a path (match limit): such requests get 503",
                 route->place, pattern_text(route->pattern));
    counters_add(COUNTER_REFUSED_MATCH, 1);
    h2o_send_error_503(req, "Service Unavailable", "Service Unavailable", 0);
    return 0;
}

static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    const struct router *router = ((struct router_handler *)self)->router;
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    struct route *route;
    switch (find(router, req->path_normalized.base, req->path_normalized.len, &route, values)) {
    case PATTERN_MATCHED:
        return serve(route, req, values);
    case PATTERN_NOT_TEXT:
        counters_add(COUNTER_REFUSED_PATH, 1);
        h2o_send_error_400(req, "Bad Request", "the path is not UTF-8", 0);
        return 0;
    case PATTERN_EXHAUSTED:
        return refuse_exhausted(route, req);
    case PATTERN_MISSED:
    default:
        return -1;
    }
}

/* Routes' own paths are in no host's table: their handlers, filters and loggers are made known to
 * the context here. */
static void on_context_init(h2o_handler_t *self, h2o_context_t *context) {
    const struct router *router = ((struct router_handler *)self)->router;
    for (size_t i = 0; i < router->count; i++)
        h2o_context_init_pathconf_context(context, router->routes[i]->pathconf);
}

static void on_context_dispose(h2o_handler_t *self, h2o_context_t *context) {
    const struct router *router = ((struct router_handler *)self)->router;
    for (size_t i = 0; i < router->count; i++)
        h2o_context_dispose_pathconf_context(context, router->routes[i]->pathconf);
}

void router_register(h2o_pathconf_t *pathconf, struct router *router) {
    struct router_handler *handler = (void *)h2o_create_handler(pathconf, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->super.on_context_init = on_context_init;
    handler->super.on_context_dispose = on_context_dispose;
    handler->router = router;
}

/* --- listing --- */

size_t router_count(const struct router *router) { return router->count; }

const struct route *router_route(const struct router *router, size_t index) {
    return router->routes[index];
}

const char *route_pattern(const struct route *route) { return pattern_text(route->pattern); }

const char *route_place(const struct route *route) { return route->place; }

sluice_route *route_consumer(const struct route *route) { return route->consumer; }
