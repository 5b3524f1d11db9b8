/*
 * A request that reached a route with a consumer: the WebSocket handshake (RFC 6455 section 4.2)
 * with its refusals, and plain requests for consumers with an http hook. It opens the connection
 * and carries its answer back to h2o.
 */
#ifndef SLUICE_ROUTE_HANDSHAKE_H
#define SLUICE_ROUTE_HANDSHAKE_H

#include <sluice/consumer.h>
#include <stdbool.h>
#include <stddef.h>

#include "consumer/scope.h"

/* Who may open a WebSocket from a page; a request without an Origin header passes. */
struct origins {
    char **allowed; /* "same-host", "*", "null" or scheme://host[:port] in lower case */
    size_t count;
};

/* Takes the request over: it is answered now or later. captures: as many as the consumer's pattern
 * has. Loop's thread. */
void handshake_begin(sluice_route *consumer, const struct origins *origins, h2o_req_t *req,
                     const h2o_iovec_t *captures);

/* Whether the origin may open a WebSocket on this authority (the Host header). [any] */
bool origin_allowed(const struct origins *origins, h2o_iovec_t origin, h2o_iovec_t authority);

/* Whether a Sec-WebSocket-Key is the base64 of 16 bytes. [any] */
bool handshake_key_valid(h2o_iovec_t key);

#endif
