/*
 * An address served: one listening socket a thread (SO_REUSEPORT), so that connections spread and
 * no thread waits for another; one shared socket where the address is a path. It outlives
 * generations. Opened by the main thread, started and stopped by each loop's own.
 */
#ifndef SLUICE_NET_LISTENER_H
#define SLUICE_NET_LISTENER_H

#include <stdbool.h>

#include "net/acceptor.h"
#include "observe/error.h"

struct address;
struct loop;
struct tls;
struct listener;

struct listener_conf {
    const char *host; /* an address or name (then all its addresses); NULL: all, IPv6 and IPv4 */
    const char *port; /* 0 to 65535; "0": one the kernel chooses; NULL with a unix path */
    const char *unix_path; /* NULL, or where the socket is made; a stale one there is replaced */
    unsigned unix_mode;    /* permission bits of the socket's file */
    struct tls *tls;       /* NULL: plain */
    bool is_introduced;    /* as a reception's */
};

/* The address as it was asked for: "unix:/path", "*:8080", "localhost:8443". */
#define LISTENER_KEY_MAX 512
const char *listener_key(const struct listener_conf *conf, char key[LISTENER_KEY_MAX]);

/* Resolves and binds and listens, threads (1 to 256) sockets an address. NULL on failure, with a
   plain sentence: in use, port below 1024 without the right, no such address. Main thread. */
struct listener *listener_open(const struct listener_conf *conf, unsigned threads,
                               struct error *error);
/* Of an address that is open already. Taken. Main thread. */
struct listener *listener_create(struct address *address, unsigned threads);
/* Closes what was never started, and removes the socket's file. Every loop that was started has
   stopped by now; their connections may live on. Main thread; NULL is accepted. */
void listener_close(struct listener *listener);

/* http://127.0.0.1:8080, https://[::1]:8443 or http+unix:/path; with the real port, and the
   loopback address where all are served. */
#define LISTENER_URL_MAX 160
const char *listener_url(const struct listener *listener, bool tls, char url[LISTENER_URL_MAX]);
/* The real port, or 0 for a unix path. */
unsigned listener_port(const struct listener *listener);

/* Accepts on this loop, once a loop; the loop's index is below the number of threads. For reception
   and count see acceptor_create. Loop's thread. */
void listener_start(struct listener *listener, struct loop *loop, const struct reception *reception,
                    struct connection_count *count);
/* New connections are received so from now on; false where it was not started. Loop's thread. */
bool listener_change(struct listener *listener, struct loop *loop,
                     const struct reception *reception);
/* Accepts no more on this loop and closes this loop's sockets; connections live on. is_shared: see
   acceptor_stop. Loop's thread. */
void listener_stop(struct listener *listener, struct loop *loop, bool is_shared);

#endif
