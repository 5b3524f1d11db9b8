/*
 * What is known of a client at its handshake or request. Most of it is read from h2o's request
 * while that is alive; captures and peer live as long as the connection.
 */
#ifndef SLUICE_CONSUMER_SCOPE_H
#define SLUICE_CONSUMER_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/h2o.h"

/* A route's captures, by number from 0 (the whole match); name is NULL for those without one. Lent
 * by the route. */
struct capture_names {
    const char *const *names;
    size_t count;
};

/* What lives on is one piece of text: the captures, then the peer. */

/* The peer's address is shown in at most this many bytes, NUL included. */
#define SCOPE_PEER_MAX (NI_MAXHOST + 16)

/* Packs what lives on of the request into its pool: values[i] is capture i in the path, base NULL
   when the group took no part. size: of the text, to be copied. */
const char *scope_pack(h2o_req_t *req, const struct capture_names *names, const h2o_iovec_t *values,
                       size_t *size);
/* As sluice_param says, from a packed text. */
const char *scope_param(const char *packed, const struct capture_names *names, const char *name);
/* As SLUICE_PEER says. */
const char *scope_peer(const char *packed, const struct capture_names *names);

/* As sluice_scope says, for all that is read from the request; NULL when that is. */
const char *scope_get(h2o_req_t *req, int what, const char *name);

/* Whether the client offered this subprotocol (RFC 6455 section 11.3.4). req may be NULL. */
bool scope_offers(h2o_req_t *req, const char *subprotocol);

/* All values of the request's headers of this name (lower case), joined with ", ", in the request's
 * pool; or NULL. */
const char *scope_header(h2o_req_t *req, const char *name);

#endif
