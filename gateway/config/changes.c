#include "config/changes.h"

#include <string.h>

#include "config/config.h"
#include "consumer/instance.h"
#include "route/router.h"

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_layer(const struct layer_conf *a, const struct layer_conf *b) {
    return same_text(a->sqlite, b->sqlite) && a->full == b->full && a->at_once == b->at_once;
}

bool changes_possible(const struct config *from, const struct config *to, char *why, size_t size) {
    const struct {
        const char *word;
        bool same;
    } words[] = {
        {"num-threads", from->num_threads == to->num_threads},
        {"user", same_text(from->user, to->user)},
        {"pid-file", same_text(from->pid_file, to->pid_file)},
        {"control", same_text(from->control, to->control)},
        {"error-log", same_text(from->error_log, to->error_log)},
        {"io-uring", from->io == to->io},
        {"sandbox", from->sandbox == to->sandbox},
        {"layer", same_layer(&from->layer, &to->layer)},
        {"history-memory", from->history_memory == to->history_memory},
        {"offload",
         from->offload_threads == to->offload_threads && from->offload_queue == to->offload_queue},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].same)
            continue;
        snprintf(why, size, "`%s` has changed: that needs a restart\n", words[i].word);
        return false;
    }
    return true;
}

/* --- listeners --- */

static const struct config_listener *find_listener(const struct config *in, const char *key) {
    for (size_t i = 0; i < in->listener_count; i++)
        if (strcmp(in->listeners[i].key, key) == 0)
            return &in->listeners[i];
    return NULL;
}

static unsigned print_listeners(const struct config *of, const struct config *other,
                                const char *mark, FILE *file) {
    unsigned count = 0;
    for (size_t i = 0; i < of->listener_count; i++) {
        const char *key = of->listeners[i].key;
        if (find_listener(other, key) != NULL)
            continue;
        fprintf(file, "%s listener %s\n", mark, key);
        count++;
    }
    return count;
}

static unsigned print_tls(const struct config *from, const struct config *to, FILE *file) {
    unsigned count = 0;
    for (size_t i = 0; i < to->listener_count; i++) {
        const char *key = to->listeners[i].key;
        const struct config_listener *before = find_listener(from, key);
        if (before == NULL || (before->conf.tls == NULL) == (to->listeners[i].conf.tls == NULL))
            continue;
        fprintf(file, "~ listener %s %s TLS\n", key,
                to->listeners[i].conf.tls != NULL ? "now has" : "no longer has");
        count++;
    }
    return count;
}

/* --- routes --- */

static const struct route *find_route(const struct config *in, const char *host,
                                      const char *pattern) {
    for (size_t i = 0; i < in->host_count; i++) {
        const struct router *router = in->hosts[i].router;
        for (size_t j = 0; strcmp(in->hosts[i].name, host) == 0 && j < router_count(router); j++)
            if (strcmp(route_pattern(router_route(router, j)), pattern) == 0)
                return router_route(router, j);
    }
    return NULL;
}

static const sluice_consumer *consumer_of(const struct route *route) {
    const sluice_route *consumer = route_consumer(route);
    return consumer == NULL ? NULL : instance_consumer(consumer);
}

static void print_route(FILE *file, const char *mark, const char *host, const struct route *route) {
    const sluice_consumer *consumer = consumer_of(route);
    fprintf(file, "%s route %s %s (%s)\n", mark, host, route_pattern(route),
            consumer != NULL ? consumer->name : "H2O");
}

/* Routes of one that are not in the other; with `changed`, those that are, on another plugin. */
static unsigned print_routes(const struct config *of, const struct config *other, const char *mark,
                             bool changed, FILE *file) {
    unsigned count = 0;
    for (size_t i = 0; i < of->host_count; i++) {
        const struct router *router = of->hosts[i].router;
        for (size_t j = 0; j < router_count(router); j++) {
            const struct route *route = router_route(router, j);
            const struct route *twin = find_route(other, of->hosts[i].name, route_pattern(route));
            if (changed ? twin == NULL || consumer_of(twin) == consumer_of(route) : twin != NULL)
                continue;
            print_route(file, mark, of->hosts[i].name, route);
            count++;
        }
    }
    return count;
}

void changes_print(const struct config *from, const struct config *to, FILE *file) {
    unsigned count = print_listeners(to, from, "+", file);
    count += print_listeners(from, to, "-", file);
    count += print_tls(from, to, file);
    count += print_routes(to, from, "+", false, file);
    count += print_routes(from, to, "-", false, file);
    count += print_routes(to, from, "~", true, file);
    if (count == 0)
        fputs("no listener, route or plugin came, went or changed\n", file);
}
