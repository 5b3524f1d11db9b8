/*
 * What is known of a client at its handshake or request. Most of it is read from h2o's request
 * while that is alive; captures, peer and chosen subprotocol are copied into one block and live as
 * long as the connection.
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

/* One request's captures: values[i] in the path; base NULL when the group took no part. */
struct captures {
    const struct capture_names *names;
    const h2o_iovec_t *values;
};

struct scope {
    h2o_req_t *req; /* NULL once answered or gone */
    const struct capture_names *names;
    char **captures; /* the block: pointers, then their strings; NULL where a group took no part */
    char *peer;      /* in the block */
    char *subprotocol;
};

/* Copies what lives on. */
void scope_init(struct scope *scope, h2o_req_t *req, const struct captures *captures);
void scope_dispose(struct scope *scope);
/* The request is answered or gone: only what lives on is left. */
void scope_forget_request(struct scope *scope);

/* As sluice_param and sluice_scope say. */
const char *scope_param(const struct scope *scope, const char *name);
const char *scope_get(const struct scope *scope, int what, const char *name);

/* Whether the client offered this subprotocol (RFC 6455 section 11.3.4); choosing copies it. */
bool scope_choose_subprotocol(struct scope *scope, const char *name);

/* All values of the request's headers of this name (lower case), joined with ", ", in the request's
 * pool; or NULL. */
const char *scope_header(h2o_req_t *req, const char *name);

#endif
