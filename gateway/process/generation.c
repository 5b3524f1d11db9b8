#include "process/generation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/config.h"
#include "consumer/instance.h"
#include "loop/h2o.h"
#include "loop/loop.h"
#include "net/tls.h"
#include "observe/log.h"
#include "route/router.h"

/* Idle connections looked at after a turn. */
#define MOVES_A_TURN 128
/* Where more are left than that, they are looked at no more often than this. */
#define TEND_MS 10
#define CUT_MS 1000

enum phase { SERVING, RETIRING, ASKING, EMPTY };

/* What it has on one thread. */
struct part {
    h2o_context_t *context;
    struct crowd *crowd;
    struct reception *receptions; /* of the listeners */
    enum phase phase;
    uint64_t deadline, tended_at; /* loop's clock */
};

/* One of its consumers; NULL when it is gone. */
struct held_consumer {
    sluice_route *route;
    bool ends; /* nothing uses it any more */
};

struct generation {
    struct config *config;
    struct listener **listeners;
    size_t listener_count;
    struct connection_count *count;
    struct held_consumer *consumers;
    size_t consumer_count;
    struct part parts[];
};

static void *allocate(size_t count, size_t size) {
    void *bytes = calloc(count + 1, size);
    if (bytes == NULL)
        abort();
    return bytes;
}

static void collect_consumers(struct generation *generation) {
    const struct config *config = generation->config;
    size_t count = 0;
    for (size_t i = 0; i < config->host_count; i++)
        count += router_count(config->hosts[i].router);
    generation->consumers = allocate(count, sizeof(*generation->consumers));
    for (size_t i = 0; i < config->host_count; i++) {
        const struct router *router = config->hosts[i].router;
        for (size_t j = 0; j < router_count(router); j++) {
            sluice_route *consumer = route_consumer(router_route(router, j));
            if (consumer != NULL)
                generation->consumers[generation->consumer_count++].route =
                    instance_share(consumer);
        }
    }
}

struct generation *generation_create(struct config *config, struct listener **listeners,
                                     struct connection_count *count) {
    struct generation *generation =
        allocate(1, sizeof(*generation) + (config->num_threads + 1) * sizeof(struct part));
    generation->config = config;
    generation->listeners = listeners;
    generation->listener_count = config->listener_count;
    generation->count = count;
    collect_consumers(generation);
    return generation;
}

static struct part *part_of(struct generation *generation, const struct loop *loop) {
    return &generation->parts[loop_index(loop)];
}

/* --- opening --- */

static bool start_consumers(struct generation *generation, struct loop *loop) {
    for (size_t i = 0; i < generation->consumer_count; i++) {
        sluice_route *route = generation->consumers[i].route;
        if (instance_start(route, loop))
            continue;
        log_line(LOG_AT_ERROR, "route %s: consumer %s refused to start on thread %u",
                 instance_name(route), instance_consumer(route)->name, loop_index(loop));
        while (i-- > 0)
            instance_stop(generation->consumers[i].route, loop);
        return false;
    }
    return true;
}

static void make_context(struct generation *generation, struct loop *loop) {
    struct part *part = part_of(generation, loop);
    const struct config *config = generation->config;
    part->context = allocate(1, sizeof(*part->context));
    h2o_context_init(part->context, loop_h2o(loop), &generation->config->h2o);
    part->crowd = crowd_create(loop, &generation->count->stalled);
    crowd_hurry(part->crowd, config->limits.slowest_request);
    part->receptions = allocate(config->listener_count, sizeof(*part->receptions));
    for (size_t i = 0; i < config->listener_count; i++) {
        struct reception *reception = &part->receptions[i];
        const struct tls *tls = config->listeners[i].conf.tls;
        reception->crowd = part->crowd;
        reception->address_most = config->limits.address_connections;
        reception->proxies = config->proxies;
        reception->is_introduced = config->listeners[i].conf.is_introduced;
        reception->accept.ctx = part->context;
        reception->accept.ssl_ctx = tls != NULL ? tls_context(tls) : NULL;
        reception->accept.hosts =
            config_hosts_for_port(generation->config, listener_port(generation->listeners[i]));
    }
}

bool generation_prepare(struct generation *generation, struct loop *loop) {
    if (!start_consumers(generation, loop))
        return false;
    make_context(generation, loop);
    return true;
}

void generation_open(struct generation *generation, struct loop *loop) {
    struct part *part = part_of(generation, loop);
    for (size_t i = 0; i < generation->listener_count; i++)
        if (!listener_change(generation->listeners[i], loop, &part->receptions[i]))
            listener_start(generation->listeners[i], loop, &part->receptions[i], generation->count);
}

/* --- retiring --- */

void generation_retire(struct generation *generation, struct loop *loop, uint32_t ms) {
    struct part *part = part_of(generation, loop);
    part->phase = RETIRING;
    part->deadline = loop_now(loop) + ms;
    h2o_context_request_shutdown(part->context);
}

static bool is_without_timeouts(h2o_context_t *context) {
    h2o_timeout_t *const timeouts[] = {&context->zero_timeout,       &context->one_sec_timeout,
                                       &context->hundred_ms_timeout, &context->handshake_timeout,
                                       &context->http1.req_timeout,  &context->proxy.io_timeout};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++)
        if (!h2o_linklist_is_empty(&timeouts[i]->_entries))
            return false;
    return true;
}

static bool is_left(const struct part *part) {
    return crowd_count(part->crowd) == 0 && h2o_linklist_is_empty(&part->context->http1._conns) &&
           is_without_timeouts(part->context);
}

static void on_address(h2o_hostinfo_getaddr_req_t *request, const char *error,
                       struct addrinfo *found, void *data) {
    struct part *part = data;
    (void)request;
    (void)error;
    (void)found;
    part->phase = EMPTY;
}

/* A look-up whose asker has gone may still be under way, and will write to the context. The
   resolver is one thread: when it answers this, it has done with all that came before. */
static void ask_resolver(struct part *part) {
    part->phase = ASKING;
    h2o_hostinfo_getaddr(&part->context->receivers.hostinfo_getaddr,
                         h2o_iovec_init(H2O_STRLIT("127.0.0.1")), h2o_iovec_init(H2O_STRLIT("1")),
                         AF_INET, SOCK_STREAM, IPPROTO_TCP, AI_NUMERICHOST | AI_NUMERICSERV,
                         on_address, part);
}

static void tend_crowd(struct part *part, struct loop *loop) {
    uint64_t now = loop_now(loop);
    if (crowd_count(part->crowd) > MOVES_A_TURN && now - part->tended_at < TEND_MS)
        return;
    part->tended_at = now;
    crowd_move_idle(part->crowd, part->context, acceptor_reception, MOVES_A_TURN);
    if (now < part->deadline)
        return;
    part->deadline = now + CUT_MS;
    crowd_cut(part->crowd, part->context);
}

bool generation_tend(struct generation *generation, struct loop *loop) {
    struct part *part = part_of(generation, loop);
    if (part->phase == RETIRING && crowd_count(part->crowd) > 0)
        tend_crowd(part, loop);
    if (part->phase == RETIRING && is_left(part))
        ask_resolver(part);
    return part->phase == EMPTY;
}

/* --- closing --- */

/* libh2o keeps this timer linked after h2o_context_request_shutdown, and aborts on it. */
static void unlink_shutdown(h2o_context_t *context) {
    if (h2o_timeout_is_linked(&context->http2._graceful_shutdown_timeout))
        h2o_timeout_unlink(&context->http2._graceful_shutdown_timeout);
}

void generation_close(struct generation *generation, struct loop *loop) {
    struct part *part = part_of(generation, loop);
    if (part->context != NULL) {
        unlink_shutdown(part->context);
        h2o_context_dispose(part->context);
        crowd_free(part->crowd);
        free(part->receptions);
        free(part->context);
        part->context = NULL;
    }
    if (loop_index(loop) != 0)
        return;
    config_free(generation->config); /* socket pools hang on the first loop */
    free(generation->listeners);
    generation->config = NULL;
    generation->listeners = NULL;
}

void generation_stop_accepting(struct generation *generation, struct loop *loop, bool is_shared) {
    for (size_t i = 0; i < generation->listener_count; i++)
        listener_stop(generation->listeners[i], loop, is_shared);
    h2o_context_request_shutdown(part_of(generation, loop)->context);
}

static int is_under_way(h2o_req_t *req, void *found) {
    if (req->input.method.base != NULL)
        *(bool *)found = true;
    return 0;
}

bool generation_busy(const struct generation *generation, const struct loop *loop) {
    bool found = false;
    h2o_context_t *context = generation->parts[loop_index(loop)].context;
    if (context != NULL)
        context->globalconf->http1.callbacks.foreach_request(context, is_under_way, &found);
    return found;
}

/* --- consumers --- */

unsigned generation_consumers(struct generation *generation, unsigned *idle) {
    unsigned count = 0;
    *idle = 0;
    for (size_t i = 0; i < generation->consumer_count; i++) {
        struct held_consumer *held = &generation->consumers[i];
        held->ends = held->route != NULL && instance_users(held->route) == 0;
        count += held->route != NULL;
        *idle += held->ends;
    }
    return count;
}

void generation_stop_consumers(struct generation *generation, struct loop *loop, bool all) {
    for (size_t i = 0; i < generation->consumer_count; i++)
        if (generation->consumers[i].route != NULL && (all || generation->consumers[i].ends))
            instance_stop(generation->consumers[i].route, loop);
}

bool generation_settle(struct generation *generation, bool all) {
    unsigned left = 0;
    for (size_t i = 0; i < generation->consumer_count; i++) {
        struct held_consumer *held = &generation->consumers[i];
        if (held->route != NULL && (all ? instance_users(held->route) == 0 : held->ends)) {
            instance_close(held->route);
            if (generation->config != NULL)
                instance_close(held->route); /* its share, which nobody gives up any more */
            held->route = NULL;
        }
        left += held->route != NULL;
    }
    if (all && generation->config != NULL)
        return true; /* contexts that had connections can't be disposed of: it stays reachable */
    if (left > 0 && !all)
        return false;
    free(generation->consumers);
    free(generation);
    return true;
}

void generation_tidy(struct generation *generation, const struct loop *loop) {
    const h2o_context_t *context = generation->parts[loop_index(loop)].context;
    if (context != NULL)
        h2o_filecache_clear(context->filecache);
}

struct config *generation_config(const struct generation *generation) {
    return generation->config;
}

struct listener *const *generation_listeners(const struct generation *generation) {
    return generation->listeners;
}
