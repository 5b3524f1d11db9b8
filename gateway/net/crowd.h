/*
 * The connections that h2o serves for one generation on one thread: from accept until they end,
 * become a WebSocket or move to the next generation. Cuts off clients that don't read. Everything
 * here belongs to one loop and its thread; moving, cutting and freeing happen between two turns.
 */
#ifndef SLUICE_NET_CROWD_H
#define SLUICE_NET_CROWD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "loop/h2o.h"

struct crowd;
struct keeper;
struct loop;
struct peer;
struct proxies;
struct visit;

/* What a generation does on one thread with those whom a listener lets in. h2o reads accept until
   the crowd is empty. */
struct reception {
    h2o_accept_ctx_t accept; /* ssl_ctx NULL: plain */
    struct crowd *crowd;
    uint32_t address_most; /* connections of one client address; 0: any number */
    /* Their connections are many clients', so that their address is not counted; NULL: nobody's. */
    const struct proxies *proxies;
    /* Each connection begins with a PROXY line, and only those proxies may connect, where there are
       any. */
    bool is_introduced;
};

/* What a connection brings along. */
struct newcomer {
    struct keeper *keeper; /* whom its end is told, also when it has become a WebSocket */
    struct crowd *after;   /* where it goes then, when its socket stays in h2o; outlives it */
    struct visit *visit;   /* among those of its address; taken; NULL: not counted */
    struct peer *peer;     /* what crowd_peer has found out before; taken; NULL: nothing */
};

/* stalled: counts clients that were cut off; lent. */
struct crowd *crowd_create(struct loop *loop, atomic_size_t *stalled);
/* When it is empty. NULL is fine. */
void crowd_free(struct crowd *crowd);

/* Hands the socket to h2o. A connection that has had
   something to write for as long as progress.h says, while its client took no byte of it, is reset:
   libh2o would wait for ever. */
void crowd_admit(const struct reception *reception, h2o_socket_t *socket, struct newcomer newcomer);

/* Who connected to a guest's socket, whatever its last request said of its client: as the PROXY
   line says, or the system. Returns the size. */
socklen_t crowd_peer(h2o_socket_t *socket, struct sockaddr_storage *peer);

/* A request has to come with so many bytes a second once some time has passed, or gets 408 and the
   connection ends; 0: it may be as slow as it likes, as before the first call. */
void crowd_hurry(struct crowd *crowd, uint32_t slowest_request);

size_t crowd_count(const struct crowd *crowd);

/* Where a keeper's connections are received now, or NULL when no more. */
typedef const struct reception *(*crowd_reception_fn)(struct keeper *keeper);

/* Moves those between two requests to where their keeper receives now: the peer sees nothing, and
   its next request is the newer generation's. At most `most` are looked at; the others' turn comes
   with the next call. */
void crowd_move_idle(struct crowd *crowd, h2o_context_t *context, crowd_reception_fn reception,
                     size_t most);

/* The deadline has come: ends what is left. Called again while some are left: what could not end by
   itself is ended then. */
void crowd_cut(struct crowd *crowd, h2o_context_t *context);

#endif
