#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/directives.h"
#include "config/hosts.h"
#include "config/load.h"
#include "config/publish.h"
#include "config/words.h"
#include "net/proxies.h"
#include "net/tls.h"
#include "observe/log.h"
#include "route/router.h"
#include "snapshot/snapshot.h"

/* The configuration with what it owns and others need not see. */
struct owned {
    struct config config;
    h2o_mem_pool_t pool; /* the tree, and every string of the configuration */
};

static struct owned *create(const char *path) {
    struct owned *owned = h2o_mem_alloc(sizeof(*owned));
    memset(owned, 0, sizeof(*owned));
    h2o_mem_init_pool(&owned->pool);
    owned->config.path = h2o_strdup(&owned->pool, path, SIZE_MAX).base;
    h2o_config_init(&owned->config.h2o);
    words_set_defaults(&owned->config);
    return owned;
}

static void walk(struct load *load, yoml_t *root) {
    directives_begin(load);
    words_define(load);
    h2o_configurator_context_t *context = directives_enter(&load->config->h2o, NULL);
    directives_walk(context, root, H2O_CONFIGURATOR_FLAG_GLOBAL, NULL);
    directives_leave(context);
    directives_end();
    /* Whatever the file says: see the table of threats that one client with HTTP/2 can carry out.
     */
    load->config->h2o.http1.upgrade_to_http2 = 0;
}

/* Those who speak for their clients should be known, wherever others can reach the listener. */
static void check_introduced(const struct load *load, const struct config_listener *listener) {
    const char *host = listener->conf.host;
    bool is_own = listener->conf.unix_path != NULL ||
                  (host != NULL && (strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
                                    strcmp(host, "localhost") == 0));
    if (listener->conf.is_introduced && !is_own && load->config->proxies == NULL)
        problems_warning(load->problems, listener->place,
                         "`proxy-protocol` without `trusted-proxies`: whoever reaches this "
                         "listener can say that it is any client");
}

static void check_whole(const struct load *load, const yoml_t *root) {
    struct place whole = {.file = load->config->path};
    if (root->type != YOML_TYPE_MAPPING)
        return;
    if (tree_get(root, "listen") == NULL)
        problems_error(load->problems, whole,
                       "there is no `listen`: the server needs an address, such as `listen: 8080`");
    if (tree_get(root, "hosts") == NULL)
        problems_error(load->problems, whole,
                       "there are no `hosts`: the server needs at least `default`");
}

struct config *config_load(const char *path, const char *const *plugin_dirs,
                           size_t plugin_dir_count, const struct sluice_host *host,
                           struct problems *problems) {
    struct owned *owned = create(path);
    struct load load = {.config = &owned->config,
                        .problems = problems,
                        .pool = &owned->pool,
                        .host = host,
                        .plugin_dirs = plugin_dirs,
                        .plugin_dir_count = plugin_dir_count,
                        .may_write = snapshot_used() == NULL};
    size_t before = problems_reports(problems);
    yoml_t *root = tree_load(path, &owned->pool, problems);
    if (root != NULL) {
        walk(&load, root);
        publish_settle(&load);
        check_whole(&load, root);
        for (size_t i = 0; i != owned->config.listener_count; i++)
            check_introduced(&load, &owned->config.listeners[i]);
    }
    if (problems_reports(problems) == before)
        return &owned->config;
    config_free(&owned->config);
    return NULL;
}

h2o_hostconf_t **config_hosts_for_port(struct config *config, unsigned port) {
    return hosts_for_port(config, &((struct owned *)config)->pool, port);
}

void config_note_log(struct config *config, const char *path, int fd) {
    config->logs = h2o_mem_realloc(config->logs, (config->log_count + 1) * sizeof(*config->logs));
    config->logs[config->log_count++] =
        (struct config_log){h2o_strdup(NULL, path, SIZE_MAX).base, fd};
}

bool config_reopen_logs(const struct config *config) {
    bool all = true;
    for (size_t i = 0; i != config->log_count; i++) {
        int fd = snapshot_open_log(config->logs[i].path);
        if (fd == -1 || dup3(fd, config->logs[i].fd, O_CLOEXEC) == -1) {
            log_line(LOG_AT_ERROR, "can't open %s again: %s", config->logs[i].path,
                     strerror(errno));
            all = false;
        }
        if (fd != -1)
            close(fd);
    }
    return all;
}

void config_free(struct config *config) {
    if (config == NULL)
        return;
    struct owned *owned = H2O_STRUCT_FROM_MEMBER(struct owned, config, config);
    /* The paths' handlers borrow the routers until they are disposed of; a consumer's shut runs
     * with its router. */
    h2o_config_dispose(&config->h2o);
    for (size_t i = 0; i != config->host_count; i++)
        router_free(config->hosts[i].router);
    free(config->hosts);
    for (size_t i = 0; i != config->listener_count; i++)
        tls_free(config->listeners[i].conf.tls);
    free(config->listeners);
    for (size_t i = 0; i != config->log_count; i++)
        free(config->logs[i].path);
    free(config->logs);
    proxies_free(config->proxies);
    /* Made by libh2o for its proxy, and for `status`, and never freed by it. */
    SSL_CTX_free(config->h2o.proxy.ssl_ctx);
    free(config->h2o.statuses.entries);
    h2o_mem_clear_pool(&owned->pool);
    free(owned);
}
