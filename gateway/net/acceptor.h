/*
 * A thread's end of a listener: accepts for the newest generation and counts what it accepted. It
 * outlives generations. Everything here belongs to one loop and its thread.
 */
#ifndef SLUICE_NET_ACCEPTOR_H
#define SLUICE_NET_ACCEPTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "net/crowd.h"

struct keeper;
struct loop;
struct acceptor;

/* All connections of the process against max-connections, WebSockets included: the count is left in
   the socket's on_close, which also runs for an upgraded socket. A socket at the limit is answered
   with a 503 and Retry-After on plain listeners, and closed on TLS ones; one too many of its
   address with a 429. Shared by all threads; zero but for most. */
struct connection_count {
    atomic_size_t open;
    atomic_size_t most;
    atomic_size_t refused; /* at one of the limits */
    atomic_size_t stalled; /* reset because the client did not read */
};

struct acceptor_conf {
    const char *name;                  /* of the listener, for the log. Lent until acceptor_stop. */
    const struct reception *reception; /* lent until it is changed, and its crowd empty */
    struct connection_count *count;    /* lent until the last connection accepted here has ended */
};

/* Accepts from these listening sockets (taken) from now on. At descriptor exhaustion accepting
   pauses for a moment instead of spinning. */
struct acceptor *acceptor_create(struct loop *loop, const struct acceptor_conf *conf,
                                 const int *sockets, size_t count);

/* New connections are another generation's from now on. */
void acceptor_change(struct acceptor *acceptor, const struct reception *reception);

/* Where this keeper's acceptor receives now; NULL when it has been stopped. */
const struct reception *acceptor_reception(struct keeper *keeper);

/* Accepts no more and closes the listening sockets, and connections whose proxy has not said whose
   they are. is_shared: another process has them too and will serve whoever waits; else those are
   accepted first. Frees itself once its last connection has ended. */
void acceptor_stop(struct acceptor *acceptor, bool is_shared);

#endif
