/*
 * The transport over libh2o's TLS sockets: takes a connection over when its handshake's 101 has
 * left; h2o reads and decrypts, encrypts and writes. The session's thread, from its loop's
 * callbacks.
 */
#ifndef SLUICE_WEBSOCKET_H2O_TRANSPORT_H
#define SLUICE_WEBSOCKET_H2O_TRANSPORT_H

#include <stddef.h>

struct session;
struct st_h2o_socket_t;

/* Takes the socket that h2o_http1_upgrade gave to its callback, of whose input the first reqsize
   bytes were the request, and attaches the session to it; frames that came with the handshake are
   read in this turn's CALLS stage. The socket's on_close stays as it is and runs when the
   connection ends. Session and socket must belong to the thread's current loop. */
void h2o_transport_attach(struct session *session, struct st_h2o_socket_t *socket, size_t reqsize);

#endif
