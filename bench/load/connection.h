/*
 * One client of the server: its socket, TLS, handshake (RFC 6455 section 4.1), and frames in and
 * out. Made and driven by a swarm; workloads send with the calls below.
 */
#ifndef LOAD_CONNECTION_H
#define LOAD_CONNECTION_H

#include "buffer.h"
#include "frame.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_SECURING,
    CONNECTION_UPGRADING,
    CONNECTION_OPEN,
};

struct connection {
    uint32_t index; /* in the swarm, from 0 */
    int fd;
    SSL *ssl; /* NULL without TLS */
    enum connection_state state;
    bool said_close;          /* our close frame is sent */
    bool heard_close;         /* the server's close frame came */
    bool failed;              /* the socket is of no use any more */
    uint8_t fragments;        /* opcode of the message whose fragments come; 0: none */
    uint32_t armed;           /* the epoll events that are asked for */
    uint64_t started_ns;      /* when connecting began */
    struct buffer in;         /* the start of a frame or of a head that is not whole yet */
    struct buffer fragmented; /* fragments so far */
    struct buffer out;        /* what the socket did not take yet */
};

/* Queues a message; it leaves with connection_flush, or at the end of the event that is handled. */
void connection_send(struct connection *connection, enum opcode opcode, const uint8_t *payload,
                     size_t size);

/* Writes what is queued as far as the socket takes it. Sets `failed` when it is broken. */
void connection_flush(struct connection *connection);

/* Below: for the swarm. */

/* Starts to connect from `source` (0: the system chooses). False with errno set on failure. */
struct options;
bool connection_start(struct connection *connection, const struct options *options, uint32_t source,
                      SSL_CTX *tls);

/* Goes on with TLS; true when it stands. On a failure `failed` is set. */
bool connection_secure(struct connection *connection);

/* Reads once. Returns the bytes, borrowed until the next read of any connection, and their count in
 * size (0: nothing came); sets `failed` at an end or error, and *full when more may be there. */
uint8_t *connection_read(struct connection *connection, size_t *size, bool *full);

/* Of the `size` bytes that connection_read returned the first `done` are done with: keeps the
   others for the next read. A frame or head that lacks bytes needs at least `needed`. */
void connection_keep(struct connection *connection, size_t done, size_t size, size_t needed);

/* Resets the TCP connection, so that no address is kept busy, and frees what belongs to it. */
void connection_stop(struct connection *connection);

#endif
