/*
 * An address served: one listening socket a thread (SO_REUSEPORT), so that connections spread and
 * no thread waits for another; one shared socket where the address is a path. Opened by the main
 * thread, started and stopped by each loop's own.
 */
#ifndef SLUICE_NET_LISTENER_H
#define SLUICE_NET_LISTENER_H

#include <stdbool.h>

#include "net/acceptor.h"
#include "observe/error.h"

struct loop;
struct tls;
struct listener;

struct listener_conf {
    const char *host; /* an address or name (then all its addresses); NULL: all, IPv6 and IPv4 */
    const char *port; /* 0 to 65535; "0": one the kernel chooses; NULL with a unix path */
    const char *unix_path; /* NULL, or where the socket is made; a stale one there is replaced */
    unsigned unix_mode;    /* permission bits of the socket's file */
    struct tls *tls;       /* NULL: plain. Taken, also on failure. */
};

/* Resolves and binds and listens, threads (1 to 256) sockets an address. NULL on failure, with a
   plain sentence: in use, port below 1024 without the right, no such address. Main thread. */
struct listener *listener_open(const struct listener_conf *conf, unsigned threads,
                               struct error *error);
/* Closes what was never started, and removes the socket's file. Every loop that was started has
   stopped by now; their connections may live on. Main thread; NULL is accepted. */
void listener_close(struct listener *listener);

/* http://127.0.0.1:8080, https://[::1]:8443 or http+unix:/path; with the real port, and the
   loopback address where all are served. Borrowed. */
const char *listener_url(const struct listener *listener);
/* The real port, or 0 for a unix path. */
unsigned listener_port(const struct listener *listener);
bool listener_is_tls(const struct listener *listener);
/* The TLS contexts, or NULL. Borrowed. */
struct tls *listener_tls(const struct listener *listener);

/* Accepts on this loop into the h2o context, once a loop; the loop's index is below the number of
   threads. For accept and count see acceptor_create; the listener's tls is set in the copy. Loop's
   thread. */
void listener_start(struct listener *listener, struct loop *loop, const h2o_accept_ctx_t *accept,
                    struct connection_count *count);
/* Accepts no more on this loop and closes this loop's sockets; connections live on. Loop's thread.
 */
void listener_stop(struct listener *listener, struct loop *loop);

#endif
