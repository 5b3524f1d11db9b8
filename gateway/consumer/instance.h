/*
 * A route's consumer: the plugin opened with the route's options, its limits and its namespace. It
 * is the sluice_route that hooks see. Made while a configuration is loaded; immutable from then on
 * but for its count of connections.
 */
#ifndef SLUICE_CONSUMER_INSTANCE_H
#define SLUICE_CONSUMER_INSTANCE_H

#include <sluice/consumer.h>
#include <stdbool.h>

#include "consumer/visitor.h"
#include "group/group.h"
#include "observe/error.h"
#include "websocket/session.h"

/* The longest that a consumer's timer may take: 30 days. */
#define INSTANCE_TIMER_MS_MAX (30ull * 24 * 3600 * 1000)

struct counters_route;
struct hook_owner;
struct plugin;
struct loop;
struct offload;
struct capture_names;

/* Where options come from: the configuration fills this table, since it lies above. key is dotted.
   Each asked key is marked as known. */
struct option_source {
    void *data;
    /* False when the key is absent or bad; a bad value has been reported then. unit: SLUICE_COUNT…
     */
    bool (*number)(void *data, const char *key, int unit, int64_t least, int64_t most,
                   int64_t *value);
    /* NULL when absent or bad. Borrowed until instance_open returns. */
    const char *(*text)(void *data, const char *key);
    void (*error)(void *data, const char *key, const char *message);
};

struct instance_conf {
    const char *name;  /* for logs: the route's pattern; copied */
    const char *space; /* namespace of its groups; copied */
    struct plugin *plugin;
    const struct option_source *options;
    struct session_terms terms;  /* its events and pace_at are the connections' */
    struct group_terms history;  /* of its groups */
    uint32_t connect_ms;         /* a handshake undecided this long is a 504 */
    uint32_t groups_max;         /* memberships a connection */
    uint32_t timers_max;         /* timers a connection */
    uint32_t headers_max;        /* bytes of header fields that a consumer may add to one answer */
    uint32_t connections_max;    /* at a time; 0: any number, here and below */
    uint32_t address_max;        /* of one client address */
    uint32_t server_address_max; /* of one client address, over all routes */
    struct arrival_rates handshakes; /* over all routes */
};

/* Opens it: runs the consumer's open hook. NULL when that returned other than 0: error says so,
   unless the option source was told more. Main thread. */
sluice_route *instance_open(const struct instance_conf *conf, struct error *error);
/* Another owner. Main thread. */
sluice_route *instance_share(sluice_route *route);
/* Gives an ownership up; the last one runs shut and frees it, when nothing uses it any more. Main
   thread. NULL is fine. */
void instance_close(sluice_route *route);

/* What its requests' captures are called; copied. Before the first connection. Main thread. */
void instance_set_captures(sluice_route *route, const struct capture_names *captures);

/* Runs thread_start on this loop's thread, and thread_stop at its end. False when thread_start
   refused: thread_stop does not come then, and instance_stop does nothing. */
bool instance_start(sluice_route *route, struct loop *loop);
void instance_stop(sluice_route *route, struct loop *loop);

/* The pool that sluice_offload uses, for all routes. Taken by nobody. Main thread, before the loops
 * run. */
void instances_set_offload(struct offload *pool);
struct offload *instances_offload(void);

/* Whose terms these are. [any] */
sluice_route *instance_of(const struct session_terms *terms);

/* Read by connections and the host's functions. [any] */
const struct instance_conf *instance_conf(const sluice_route *route);
const sluice_consumer *instance_consumer(const sluice_route *route);
const char *instance_name(const sluice_route *route);
const struct capture_names *instance_captures(const sluice_route *route);
void *instance_data(const sluice_route *route);
sluice_thread *instance_thread(const sluice_route *route, const struct loop *loop);
void *instance_thread_data(const sluice_route *route, const struct loop *loop);
/* Who its hooks belong to; lives as long as the route. */
const struct hook_owner *instance_owner(const sluice_route *route);
/* One more WebSocket; false when there are as many as there may be. [any loop] */
bool instance_enter(sluice_route *route);
void instance_leave(sluice_route *route);
/* What this thread counts for it. */
struct counters_route *instance_counters(const sluice_route *route);
/* Live connections, and callbacks owed to those that have ended, over all threads. */
void instance_count(sluice_route *route, int change);
size_t instance_users(const sluice_route *route);
/* The option source while open runs, else NULL. */
const struct option_source *instance_options(const sluice_route *route);
/* As sluice_option_text, but the text lives as long as the instance. */
const char *instance_keep_text(sluice_route *route, const char *text);
/* As sluice_every. */
int instance_every(sluice_thread *thread, uint64_t ms, sluice_every_fn fn, void *arg);

#endif
