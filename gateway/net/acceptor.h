/*
 * A thread's end of a listener: accepts into the thread's h2o context, counts what it accepted, and
 * cuts off clients that don't read. Everything here belongs to one loop and its thread.
 */
#ifndef SLUICE_NET_ACCEPTOR_H
#define SLUICE_NET_ACCEPTOR_H

#include <stdatomic.h>
#include <stddef.h>

#include "loop/h2o.h"

struct loop;
struct tls;
struct acceptor;

/* All connections of the process against max-connections, WebSockets included: the count is left in
   the socket's on_close, which also runs for an upgraded socket. A socket at the limit is answered
   with a 503 and Retry-After on plain listeners, and closed on TLS ones. Shared by all threads;
   zero but for most. */
struct connection_count {
    atomic_size_t open;
    size_t most;
    atomic_size_t refused; /* at the limit */
    atomic_size_t stalled; /* reset because the client did not read */
};

struct acceptor_conf {
    const char *name;               /* of the listener, for the log. Lent until acceptor_stop. */
    const h2o_accept_ctx_t *accept; /* copied, but for ssl_ctx, which is tls's; the context and the
                                       hosts in it are lent */
    struct tls *tls;                /* NULL: plain. Shared. */
    struct connection_count *count; /* lent */
};

/* Accepts from these listening sockets (taken) from now on. What is lent is so until the last
   connection accepted here has ended, unless said otherwise. At descriptor exhaustion accepting
   pauses for a moment instead of spinning.

   A connection that has had something to write for 60 s while its client took no byte of it is
   reset: libh2o would wait for ever. That holds for upgraded ones too. */
struct acceptor *acceptor_create(struct loop *loop, const struct acceptor_conf *conf,
                                 const int *sockets, size_t count);

/* Accepts no more and closes the listening sockets. Frees itself once its last connection has
 * ended. */
void acceptor_stop(struct acceptor *acceptor);

#endif
