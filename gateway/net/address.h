/*
 * The listening sockets of one address: found, bound and listening, one for each thread and each
 * network address that a name stands for. Main thread, but for address_take.
 */
#ifndef SLUICE_NET_ADDRESS_H
#define SLUICE_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

/* A name stands for at most so many network addresses; those beyond it are left out. */
#define ADDRESS_PLACES_MAX 8

struct address;

/* Opens host:port for so many threads. host NULL: every address of the machine, IPv6 and IPv4 in
   one socket where there is IPv6. port "0": the kernel chooses one, the same for all threads.
   Addresses of a name that this machine does not have
   (::1 without IPv6) are left out while another is left. NULL on failure, with a sentence that says
   what to do. */
struct address *address_open(const char *host, const char *port, unsigned threads,
                             struct error *error);

/* Opens a socket at path with these permission bits. A socket that nobody listens on is replaced,
   anything else that stands there is an error. */
struct address *address_open_path(const char *path, unsigned mode, unsigned threads,
                                  struct error *error);

/* Sockets that listen already, from another process: thread after thread, as address_take gives
   them. When they were another number of threads', or come from somebody who knows of no threads,
   each of them is served by a thread at least. Taken, also on failure: NULL when they are no
   listening sockets of an address. */
struct address *address_adopt(const int *sockets, size_t count, unsigned threads,
                              struct error *error);

/* An adopted path's file is this address's too: address_close removes it. */
void address_own_path(struct address *address);

/* How many sockets each thread is given. */
size_t address_places(const struct address *address);

/* Closes the sockets not taken and removes the path, unless another program's socket has taken its
   place. NULL is accepted. */
void address_close(struct address *address);

/* Gives a thread its sockets, once: the caller closes them. Returns how many. Any thread. */
size_t address_take(struct address *address, unsigned thread, int sockets[ADDRESS_PLACES_MAX]);

/* Whether a listening socket is bound to what address_open or address_open_path would open. */
bool address_matches(int fd, const char *host, const char *port, const char *path);

/* 127.0.0.1:8080, [::1]:8080 (loopback where all addresses are served) or the path. Borrowed. */
const char *address_text(const struct address *address);
bool address_is_path(const struct address *address);

/* The sentence for an errno of bind(2) or listen(2); false, for the caller to return. */
bool address_explain(int number, const char *host, const char *port, struct error *error);

#endif
