#include "config/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "net/forwarded.h"
#include "net/health.h"
#include "net/hygiene.h"
#include "net/metrics.h"
#include "route/router.h"

/* libh2o's mark of a host without a port. */
#define NO_PORT 65535

static struct load *load_of(const h2o_configurator_command_t *command) {
    return ((struct word_set *)command->configurator)->load;
}

/* --- hosts --- */

static bool is_hostname(h2o_iovec_t name) {
    for (size_t i = 0; i != name.len; i++)
        if ((unsigned char)name.base[i] <= 0x20 || name.base[i] == 0x7f ||
            strchr("/?#@\\", name.base[i]) != NULL)
            return false;
    return name.len != 0;
}

static bool parse_key(struct load *load, const yoml_t *key, h2o_iovec_t *name, uint16_t *port) {
    const char *text = key->data.scalar,
               *end = h2o_url_parse_hostport(text, strlen(text), name, port);
    if (end == NULL || *end != '\0' || !is_hostname(*name)) {
        problems_error(load->problems, tree_place(key),
                       "`%s` is no host; write `name` or `name:port`", text);
        return false;
    }
    bool starts_wild = name->base[0] == '*';
    if ((starts_wild && name->len > 1 && name->base[1] != '.') ||
        memchr(name->base + 1, '*', name->len - 1) != NULL) {
        problems_error(load->problems, tree_place(key),
                       "`%s`: a `*` stands alone or at the begin, as in `*.example.com`", text);
        return false;
    }
    return true;
}

static struct config_host *add_host(struct load *load, const char *name) {
    struct config *config = load->config;
    config->hosts =
        h2o_mem_realloc(config->hosts, (config->host_count + 1) * sizeof(*config->hosts));
    config->hosts[config->host_count] =
        (struct config_host){.name = name, .router = router_create()};
    return &config->hosts[config->host_count++];
}

/* `paths` is what readies the fallback path: it runs for each host. */
static yoml_t *with_paths(struct load *load, yoml_t *host) {
    if (host->type != YOML_TYPE_MAPPING || tree_get(host, "paths") != NULL)
        return host;
    return tree_with(load->pool, host, "paths", tree_mapping(load->pool, host, 0));
}

static void read_host(struct load *load, h2o_configurator_context_t *parent, const yoml_t *key,
                      yoml_t *node) {
    h2o_iovec_t name;
    uint16_t port;
    if (!parse_key(load, key, &name, &port))
        return;
    h2o_hostconf_t *host = h2o_config_register_host(parent->globalconf, name, port);
    if (host == NULL) {
        problems_error(load->problems, tree_place(key), "the host `%s` stands here a second time",
                       key->data.scalar);
        return;
    }
    h2o_configurator_context_t *context = directives_enter(parent->globalconf, parent);
    context->hostconf = host;
    context->mimemap = &host->mimemap;
    load->current = add_host(load, key->data.scalar);
    directives_walk(context, with_paths(load, node), H2O_CONFIGURATOR_FLAG_HOST, NULL);
    load->current = NULL;
    directives_leave(context);
}

int hosts_read(h2o_configurator_command_t *command, h2o_configurator_context_t *context,
               yoml_t *node) {
    struct load *load = load_of(command);
    const struct yoml_pair *pairs = node->data.mapping.elements;
    if (node->data.mapping.size == 0)
        problems_error(load->problems, tree_place(node),
                       "`hosts` is empty; `default` is the host for any name");
    for (int pass = 0; pass != 2; pass++)
        for (size_t i = 0; i != node->data.mapping.size; i++)
            if ((strcmp(pairs[i].key->data.scalar, "default") == 0) == (pass == 0))
                read_host(load, context, pairs[i].key, pairs[i].value);
    return 0;
}

/* --- paths --- */

static void configure_path(struct load *load, h2o_configurator_context_t *parent,
                           h2o_pathconf_t *path, yoml_t *node) {
    metrics_count_responses(path);
    if (load->config->proxies != NULL)
        forwarded_register(path, load->config->proxies);
    hygiene_register(path);
    router_register(path, load->current->router);
    health_register(path);
    h2o_configurator_context_t *context = directives_enter(parent->globalconf, parent);
    context->pathconf = path;
    context->mimemap = &path->mimemap;
    directives_walk(context, node, H2O_CONFIGURATOR_FLAG_PATH, NULL);
    directives_leave(context);
}

/* Longer paths first: libh2o takes the first that is a prefix. */
static int compare_paths(const void *left, const void *right) {
    const struct yoml_pair *a = left, *b = right;
    size_t length_a = strlen(a->key->data.scalar), length_b = strlen(b->key->data.scalar);
    if (length_a != length_b)
        return length_a < length_b ? 1 : -1;
    return strcmp(a->key->data.scalar, b->key->data.scalar);
}

/* A sequence of mappings stands for one mapping with all their directives, in which one may stand
 * more than once. */
static yoml_t *path_directives(struct load *load, yoml_t *node) {
    if (node->type != YOML_TYPE_SEQUENCE)
        return node;
    yoml_t *joined = tree_join(load->pool, node);
    return joined != NULL ? joined : node;
}

static void read_path(struct load *load, h2o_configurator_context_t *context,
                      struct yoml_pair pair) {
    const char *path = pair.key->data.scalar;
    if (path[0] != '/') {
        problems_error(load->problems, tree_place(pair.key), "the path `%s` must begin with `/`",
                       path);
        return;
    }
    if (strpbrk(path, "?#") != NULL) {
        problems_error(load->problems, tree_place(pair.key),
                       "the path `%s` can't hold `?` or `#`: queries are not matched", path);
        return;
    }
    h2o_pathconf_t *pathconf = h2o_config_register_path(context->hostconf, path, 0);
    configure_path(load, context, pathconf, path_directives(load, pair.value));
}

int hosts_read_paths(h2o_configurator_command_t *command, h2o_configurator_context_t *context,
                     yoml_t *node) {
    struct load *load = load_of(command);
    size_t count = node->data.mapping.size;
    struct yoml_pair *sorted = h2o_mem_alloc((count + 1) * sizeof(*sorted));
    h2o_memcpy(sorted, node->data.mapping.elements, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_paths);
    for (size_t i = 0; i != count; i++)
        read_path(load, context, sorted[i]);
    free(sorted);
    configure_path(load, context, &context->hostconf->fallback_path, NULL);
    return 0;
}

/* --- ports --- */

/* Whether this port, of a host's key, is that of another listener. Else a client could reach a host
   that is meant for one listener, such as one of the loopback address, through any other by saying
   so in its Host header. A port that nobody here listens on may be what a proxy or a mapping hides.
 */
static bool is_elsewhere(const struct config *config, unsigned key_port, unsigned port) {
    for (size_t i = 0; key_port != port && i != config->listener_count; i++) {
        const char *listened = config->listeners[i].conf.port;
        if (listened != NULL && strtoul(listened, NULL, 10) == key_port)
            return true;
    }
    return false;
}

/*
 * libh2o compares the port of a request's Host header with the host's: one without a port matches
 * the scheme's default alone. So each such host stands in a listener's table twice, once with the
 * listener's port, once as it is, for a client that was sent here from the default port. The copies
 * are shallow. libh2o reads `authority`, `paths` and `fallback_path` of a table's entry: the paths
 * are shared by pointer, the fallback path is copied by value but its lists are shared, and all
 * that a context keeps hangs on the slots of the handlers in them. What libh2o frees and
 * initialises is globalconf.hosts, where no copy stands; internal redirects go by
 * `authority.hostport`, which stays that of the original and finds it there.
 */
h2o_hostconf_t **hosts_for_port(const struct config *config, h2o_mem_pool_t *pool, unsigned port) {
    const h2o_globalconf_t *conf = &config->h2o;
    size_t count = 0, at = 0;
    while (conf->hosts[count] != NULL)
        count++;
    h2o_hostconf_t **table = h2o_mem_alloc_pool(pool, (2 * count + 1) * sizeof(*table));
    for (size_t i = 0; i != count; i++) {
        unsigned key_port = conf->hosts[i]->authority.port;
        if (i != 0 && key_port != NO_PORT && is_elsewhere(config, key_port, port))
            continue;
        if (key_port == NO_PORT && port != 0) {
            table[at] = h2o_mem_alloc_pool(pool, sizeof(**table));
            *table[at] = *conf->hosts[i];
            table[at++]->authority.port = (uint16_t)port;
        }
        table[at++] = conf->hosts[i];
    }
    table[at] = NULL;
    return table;
}
