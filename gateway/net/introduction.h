/*
 * Connections whose proxy is to say who its client is, before the client's first byte (PROXY
 * protocol): waits for that, each for a time, and hands the socket on with its peer set. It belongs
 * to one loop and its thread.
 */
#ifndef SLUICE_NET_INTRODUCTION_H
#define SLUICE_NET_INTRODUCTION_H

#include "loop/h2o.h"

struct loop;
struct introductions;

/* The socket, with the client's bytes still to be read; NULL: what came was wrong, or nothing came
 * in time, and the connection is closed. */
typedef void (*introduced_fn)(void *arg, h2o_socket_t *socket);

struct introductions *introductions_create(struct loop *loop, introduced_fn introduced, void *arg);
/* When nobody waits; NULL is accepted. */
void introductions_free(struct introductions *all);

/* Takes a socket that was just accepted; it is handed on within so many milliseconds. Never inside
 * this call. */
void introductions_add(struct introductions *all, h2o_socket_t *socket, uint64_t ms);
/* Closes all that wait, and says so for each. */
void introductions_end(struct introductions *all);

#endif
