#include "config/listing.h"

#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "consumer/instance.h"
#include "route/router.h"

static const char *answerer(const struct route *route) {
    const sluice_route *consumer = route_consumer(route);
    return consumer == NULL ? "(H2O)" : instance_consumer(consumer)->name;
}

static const h2o_hostconf_t *h2o_host(const struct config *config, const struct config_host *host) {
    return config->h2o.hosts[host - config->hosts];
}

static void print_host(const struct config *config, const struct config_host *host, FILE *to) {
    const h2o_hostconf_t *paths = h2o_host(config, host);
    fprintf(to, "host %s\n", host->name);
    for (size_t i = 0; i < router_count(host->router); i++) {
        const struct route *route = router_route(host->router, i);
        fprintf(to, "  %zu  %-40s %-16s %s\n", i + 1, route_pattern(route), answerer(route),
                route_place(route));
    }
    for (size_t i = 0; i < paths->paths.size; i++)
        fprintf(to, "  -  %-40s path\n", paths->paths.entries[i].path.base);
}

void listing_print(const struct config *config, FILE *to) {
    for (size_t i = 0; i < config->host_count; i++)
        print_host(config, &config->hosts[i], to);
}

/* The host of that name, with or without its port; else the first, which is the default. */
static const struct config_host *find_host(const struct config *config, const char *name) {
    for (size_t i = 0; name != NULL && i < config->host_count; i++) {
        const char *key = config->hosts[i].name;
        size_t size = strcspn(key, ":");
        if (strcasecmp(key, name) == 0 ||
            (strlen(name) == size && strncasecmp(key, name, size) == 0))
            return &config->hosts[i];
    }
    return &config->hosts[0];
}

static void print_capture(void *to, const char *name, const char *value, size_t size) {
    fprintf(to, "  %s: %.*s\n", name == NULL ? "(unnamed)" : name, (int)size, value);
}

/* As h2o matches: the longest path comes first; one without a last slash also holds below it. */
static const h2o_pathconf_t *find_path(const h2o_hostconf_t *host, h2o_iovec_t path) {
    for (size_t i = 0; i < host->paths.size; i++) {
        h2o_iovec_t own = host->paths.entries[i].path;
        if (path.len >= own.len && memcmp(path.base, own.base, own.len) == 0 &&
            (own.base[own.len - 1] == '/' || path.len == own.len || path.base[own.len] == '/'))
            return &host->paths.entries[i];
    }
    return NULL;
}

bool listing_print_way(const struct config *config, const char *host, const char *path, FILE *to) {
    const struct config_host *chosen = find_host(config, host);
    h2o_mem_pool_t pool;
    size_t query_at, *indexes;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t normal = h2o_url_normalize_path(&pool, path, strlen(path), &query_at, &indexes);
    fprintf(to, "host %s, path %.*s\n", chosen->name, (int)normal.len, normal.base);
    const struct route *route = router_find(chosen->router, normal.base, normal.len, NULL, NULL);
    const h2o_pathconf_t *handled = NULL;
    if (route != NULL) {
        fprintf(to, "route %s -> %s (%s)\n", route_pattern(route), answerer(route),
                route_place(route));
        router_find(chosen->router, normal.base, normal.len, print_capture, to);
    } else {
        handled = find_path(h2o_host(config, chosen), normal);
        if (handled == NULL)
            fputs("no route and no path: 404\n", to);
        else
            fprintf(to, "path %s\n", handled->path.base);
    }
    h2o_mem_clear_pool(&pool);
    return route != NULL || handled != NULL;
}
