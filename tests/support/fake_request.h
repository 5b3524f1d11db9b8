/*
 * A request of h2o's without a server, for tests of what reads requests: headers, path and peer are
 * set by the test; nothing answers it.
 */
#ifndef SUPPORT_FAKE_REQUEST_H
#define SUPPORT_FAKE_REQUEST_H

#include <sys/socket.h>

#include "loop/h2o.h"

struct fake_request {
    h2o_conn_t conn; /* first: h2o hands it to the callbacks */
    struct sockaddr_storage peer;
    socklen_t peer_size; /* 0: h2o could not tell */
    h2o_req_t req;
};

/* target: path and query as a client sends them; the peer is 192.0.2.1:5000, the host a.example. */
void fake_request_init(struct fake_request *fake, const char *method, const char *target);
/* name in lower case; again: another header of that name. */
void fake_request_header(struct fake_request *fake, const char *name, const char *value);
/* An address and port of that family, or a unix socket. */
void fake_request_peer(struct fake_request *fake, int family, const char *address, int port);
/* What h2o frees when the request has been answered or its client is gone. */
void fake_request_dispose(struct fake_request *fake);

#endif
