/*
 * The transport over plain sockets: takes a connection out of h2o when its handshake's 101 has
 * left, and serves all of a thread's together. They have an epoll set of their own, nested in the
 * loop; what is ready is received at once into memory that they share, and what a turn writes
 * leaves at once (batch.h). An idle connection holds no buffer. The session's thread, from its
 * loop's callbacks.
 */
#ifndef SLUICE_WEBSOCKET_PLAIN_TRANSPORT_H
#define SLUICE_WEBSOCKET_PLAIN_TRANSPORT_H

#include <stddef.h>

#include "websocket/batch.h"

struct loop;
struct session;
struct st_h2o_socket_t;
struct visit;

/* Who counts connections. */
struct keeper {
    /* The transport has closed a connection that it had taken. */
    void (*closed)(struct keeper *keeper);
    /* A client that took nothing for so long was cut off; `closed` follows. */
    void (*stalled)(struct keeper *keeper);
};

/* What a socket's on_close.data points to, when that is not NULL. */
struct kept {
    struct keeper *keeper;
    /* The socket has left h2o: on_close is not called, and kept is not used any more. */
    void (*taken)(struct kept *kept);
    /* The socket stays in h2o, but h2o serves it no more; on_close is still called. */
    void (*upgraded)(struct kept *kept);
    struct visit *visit; /* the connection's among those of its address; NULL: not counted */
};

/* The way for threads that start to serve from here on; BATCH_AUTO before. Main thread. */
void plain_transport_choose(enum batch_way way);

/* Makes now what the loop's connections share, rings among it, instead of with the first one. The
   loop's thread. */
void plain_transport_prepare(struct loop *loop);

/* Takes the socket that h2o_http1_upgrade gave to its callback, of whose input the first reqsize
   bytes were the request, and attaches the session to it; frames that came with the handshake are
   read in this turn's CALLS stage. Session and socket must belong to the thread's current loop, and
   the socket has no TLS. */
void plain_transport_attach(struct session *session, struct st_h2o_socket_t *socket,
                            size_t reqsize);

/* Gives back what the loop's connections shared, when none is left. For tests. */
void plain_transport_free(struct loop *loop);

#endif
