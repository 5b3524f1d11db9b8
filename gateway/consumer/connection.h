/*
 * One client of a consumer, from handshake to release: the sluice_conn that hooks see. It says
 * nothing of WebSocket: it stands on a session once accepted, and answers through a door that the
 * route's handshake puts in. Lives on one thread; other threads know its id.
 */
#ifndef SLUICE_CONSUMER_CONNECTION_H
#define SLUICE_CONSUMER_CONNECTION_H

#include <sluice/consumer.h>
#include <stdbool.h>

#include "consumer/scope.h"
#include "group/group.h"
#include "websocket/extension.h"

struct loop;
struct session;
struct session_counts;

/* How an answer leaves. Each is called once at most, from the ANSWERS stage, never after
 * connection_gone. */
struct connection_door {
    /* Writes the 101 with the chosen subprotocol (or NULL), then calls connection_upgraded. */
    void (*upgrade)(void *door, const char *subprotocol);
    /* Writes the answer; body is lent until this returns. chosen: by the consumer, not by the host.
     */
    void (*answer)(void *door, int status, const void *body, size_t size, bool chosen);
    /* The connection is over: the door is no longer called. */
    void (*left)(void *door);
};

/* A connection among those of its address, on the server and on its route; NULL: not counted. */
struct visits {
    struct visit *server, *route;
};

struct connection_request {
    h2o_req_t *req;
    const h2o_iovec_t *captures; /* as many as the route's pattern has: instance_set_captures */
    const struct connection_door *door;
    void *door_data;
    bool is_handshake;          /* else an http request */
    struct agreement agreement; /* with the client, for when the handshake is accepted */
    struct visits visits;       /* of a handshake on a route that counts visits; taken */
};

/* The connections of each loop. Main thread, before the loops run. most: connections a loop, up to
 * 2^24 - 1. */
void connections_create(struct loop *loop, size_t most);
void connections_free(struct loop *loop);
size_t connections_count(const struct loop *loop);

/* Opens one: runs the connect or http hook at once; its answer leaves with this turn at the
   earliest. NULL when the thread or the route takes no more, or the thread drains and this is a
   handshake: nothing happened then, but that the visits have ended. */
sluice_conn *connection_open(struct loop *loop, sluice_route *route,
                             const struct connection_request *request);

/* From the door. The 101 has left: the session that is to be attached to a transport; NULL when the
   connection has ended meanwhile and the socket is to be closed. */
struct session *connection_upgraded(sluice_conn *conn);
/* The client went away before the answer left. The door is no longer called. */
void connection_gone(sluice_conn *conn);

/* The connection behind an id on this thread, or NULL when it has ended. */
sluice_conn *connection_find(const struct loop *loop, sluice_id id);
/* The thread's number in an id. */
unsigned connection_id_thread(sluice_id id);

/* Ends all connections of this thread within ms: tells drain hooks, refuses handshakes with 503,
   closes with the code spread over half of the time, aborts what is left at the end. Again: only
   the time changes. reason: lent for good. */
void connections_drain(struct loop *loop, uint32_t ms, int code, const char *reason);
/* The reason of those closes is `retry=<milliseconds>` instead, spread evenly from 0 to ms: so that
   not all clients come back in one moment. Before connections_drain. */
void connections_retry(struct loop *loop, uint32_t ms);

/* What the host's functions do; as sluice/consumer.h says. */
int connection_accept(sluice_conn *conn, const char *subprotocol);
int connection_answer(sluice_conn *conn, int status, const void *body, size_t size, bool is_denial);
int connection_add_header(sluice_conn *conn, const char *name, const char *value);
int connection_send(sluice_conn *conn, sluice_message message);
int connection_close(sluice_conn *conn, int code, const char *reason);
int connection_stop(sluice_conn *conn);
int connection_timer(sluice_conn *conn, uint64_t ms, sluice_done_fn fn, void *arg,
                     sluice_id *timer);
int connection_timer_cancel(sluice_conn *conn, sluice_id timer);
int connection_set_user(sluice_conn *conn, const char *user);
const char *connection_scope(sluice_conn *conn, int what, const char *name);
const void *connection_body(sluice_conn *conn, size_t *size);
const char *connection_param(const sluice_conn *conn, const char *name);
size_t connection_queued(const sluice_conn *conn);
/* The frame of a consumer's message, or why there can be none. [any] */
int connection_frame(sluice_message message, struct frame **frame);

/* What an operator is shown of an open WebSocket; borrowed during the call. */
struct connection_view {
    sluice_id id;
    const char *route, *peer;
    const char *user; /* NULL: nobody whom the consumer knows */
    uint64_t open_ms;
    const struct session_counts *counts;
    size_t queued;
};
/* Each WebSocket of this loop. Loop's thread. */
void connections_each(struct loop *loop, void (*fn)(void *arg, const struct connection_view *view),
                      void *arg);

/* Read by the host's other functions. */
sluice_route *connection_route(const sluice_conn *conn);
/* SLUICE_OK while there is a session to send on and to join with; else SLUICE_STATE before accept,
   SLUICE_GONE after the end. */
int connection_state(const sluice_conn *conn);
/* The member that groups know; joins only while the state is SLUICE_OK. */
struct member *connection_member(sluice_conn *conn);
/* What their sessions tell, and groups their members. [any] */
const struct session_events *connection_events(void);
const struct member_events *connection_member_events(void);
/* Whether connections of this route can be counted by their address. [any] */
bool connection_counts_visits(const sluice_route *route);
/* Where in the connections of this route their pace lies, from the session on; 0: they have none.
   [any] */
uint32_t connection_pace_at(const sluice_route *route);
sluice_id connection_id(const sluice_conn *conn);
void *connection_data(sluice_conn *conn);

#endif
