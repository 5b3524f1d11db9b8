#include "process/generation.h"

#include <stdlib.h>

#include "config/config.h"
#include "consumer/instance.h"
#include "loop/h2o.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "route/router.h"

struct generation {
    struct config *config;
    struct listener **listeners;
    struct connection_count *count;
    h2o_context_t **contexts; /* one a thread, made by it */
};

struct generation *generation_create(struct config *config, struct listener **listeners,
                                     struct connection_count *count) {
    struct generation *generation = calloc(1, sizeof(*generation));
    if (generation == NULL)
        abort();
    *generation = (struct generation){config, listeners, count, NULL};
    generation->contexts = calloc(config->num_threads, sizeof(*generation->contexts));
    if (generation->contexts == NULL)
        abort();
    return generation;
}

/* Calls fn with each consumer of each route, until it returns false. */
static bool each_consumer(const struct generation *generation, struct loop *loop,
                          bool (*fn)(sluice_route *consumer, struct loop *loop)) {
    for (size_t i = 0; i < generation->config->host_count; i++) {
        const struct router *router = generation->config->hosts[i].router;
        for (size_t j = 0; j < router_count(router); j++) {
            sluice_route *consumer = route_consumer(router_route(router, j));
            if (consumer != NULL && !fn(consumer, loop))
                return false;
        }
    }
    return true;
}

static bool start_consumer(sluice_route *consumer, struct loop *loop) {
    if (instance_start(consumer, loop))
        return true;
    log_line(LOG_AT_ERROR, "route %s: consumer %s refused to start on thread %u",
             instance_name(consumer), instance_consumer(consumer)->name, loop_index(loop));
    return false;
}

static bool stop_consumer(sluice_route *consumer, struct loop *loop) {
    instance_stop(consumer, loop);
    return true;
}

static bool shut_consumer(sluice_route *consumer, struct loop *loop) {
    (void)loop;
    if (instance_connections(consumer) == 0)
        instance_close(consumer);
    return true;
}

bool generation_start(struct generation *generation, struct loop *loop) {
    h2o_context_t *context = calloc(1, sizeof(*context));
    if (context == NULL)
        abort();
    h2o_context_init(context, loop_h2o(loop), &generation->config->h2o);
    generation->contexts[loop_index(loop)] = context;
    if (!each_consumer(generation, loop, start_consumer)) {
        generation_stop(generation, loop); /* those before it */
        return false;
    }
    for (size_t i = 0; i < generation->config->listener_count; i++) {
        struct listener *listener = generation->listeners[i];
        h2o_accept_ctx_t accept = {0};
        accept.ctx = context;
        accept.hosts = config_hosts_for_port(generation->config, listener_port(listener));
        listener_start(listener, loop, &accept, generation->count);
    }
    return true;
}

void generation_stop_accepting(struct generation *generation, struct loop *loop) {
    for (size_t i = 0; i < generation->config->listener_count; i++)
        listener_stop(generation->listeners[i], loop);
    h2o_context_request_shutdown(generation->contexts[loop_index(loop)]);
}

static int is_under_way(h2o_req_t *req, void *found) {
    if (req->input.method.base != NULL)
        *(bool *)found = true;
    return 0;
}

bool generation_busy(const struct generation *generation, const struct loop *loop) {
    bool found = false;
    h2o_context_t *context = generation->contexts[loop_index(loop)];
    context->globalconf->http1.callbacks.foreach_request(context, is_under_way, &found);
    return found;
}

void generation_stop(struct generation *generation, struct loop *loop) {
    each_consumer(generation, loop, stop_consumer);
}

void generation_shut(struct generation *generation) {
    each_consumer(generation, NULL, shut_consumer);
}
