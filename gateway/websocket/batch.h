/*
 * Many sends or receives at once: in one system call where the kernel allows io_uring (one-shot
 * requests that never wait, so that everything happens inside batch_run), else one after another.
 * The ring is restricted by the kernel to sending and receiving, for good.
 * One thread's.
 */
#ifndef SLUICE_WEBSOCKET_BATCH_H
#define SLUICE_WEBSOCKET_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Requests of one batch. */
#define BATCH_MAX 256

/* Which way: io_uring where it is allowed and pays, never, or always. */
enum batch_way { BATCH_AUTO, BATCH_CALLS, BATCH_RING };

struct batch;

/* Whether this kernel allows io_uring here and knows all that is needed; errno when not. What it
   allowed once is not asked again: the process may have given up the making of rings. [any] */
bool batch_probe(void);

/* For the calling thread. One whose ring is refused goes on with calls. */
struct batch *batch_create(enum batch_way way);
void batch_free(struct batch *batch); /* NULL is fine */

/* Adds a request; the bytes are lent until batch_run. Never more than BATCH_MAX, never two for one
   socket, all of one kind. tag: the request's number in the batch, from 0 in order. */
void batch_send(struct batch *batch, int fd, const void *data, size_t size);
void batch_receive(struct batch *batch, int fd, void *data, size_t size);
/* The last request, a send, has size bytes more, right behind. */
void batch_grow(struct batch *batch, size_t size);
size_t batch_count(const struct batch *batch);

/* Runs the requests and empties the batch. Returns their results in order, each a count of bytes or
   -errno (-EAGAIN: it would have waited); a send is short only when the socket takes no more. Lent
   until the next request is added. */
const ssize_t *batch_run(struct batch *batch);

#endif
