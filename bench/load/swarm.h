/*
 * All clients of a run and the loop that serves them, on one thread: connects them a few at a time,
 * does their handshakes, answers pings and closes, and hands messages to the workload.
 */
#ifndef LOAD_SWARM_H
#define LOAD_SWARM_H

#include "connection.h"
#include "options.h"

#include <stdbool.h>
#include <stdint.h>

struct swarm;

/* What a workload is told. Each may be NULL. `arg` is what swarm_new was given. */
struct swarm_events {
    /* The handshake is done; nothing was read behind it yet. */
    void (*open)(struct connection *connection, void *arg);
    /* A whole text or binary message; the bytes are borrowed. */
    void (*message)(struct connection *connection, const uint8_t *payload, size_t size, void *arg);
    /* The connection has ended, whoever wished it; swarm_connect may be called for it. */
    void (*closed)(struct connection *connection, void *arg);
};

struct swarm_counts {
    uint64_t opened;
    uint64_t refused;          /* the handshake was answered with something else than 101 */
    uint64_t failed;           /* ended before the handshake was done */
    uint64_t closed_by_server; /* ended after it, not wished by us */
    uint64_t broken;           /* of these, for a frame that is against RFC 6455 */
    uint64_t pings;
    const char *tls_version; /* of the last TLS handshake; NULL: none */
    const char *tls_cipher;
    uint16_t close_code; /* of the last close frame that came unasked; 1005: without one; 0: none */
    char first_error[160]; /* what the first refused, failed, closed or broken one ended with */
};

/* Makes a swarm of options_connections() closed connections. Writes to stderr what failed and
   returns NULL when it can't. */
struct swarm *swarm_new(const struct options *options, const struct swarm_events *events,
                        void *arg);
void swarm_free(struct swarm *swarm);

struct connection *swarm_connection(struct swarm *swarm, uint32_t index);
const struct swarm_counts *swarm_counts(const struct swarm *swarm);

/* Nanoseconds on CLOCK_MONOTONIC, read again before each message's callback batch. */
uint64_t swarm_now(const struct swarm *swarm);

/* Starts to connect one that is closed. A failure is counted; `closed` is called only for one that
   began to connect. */
void swarm_connect(struct swarm *swarm, struct connection *connection);

/* Runs until the first `count` connections are open. False when one failed or was closed, or when
   nothing opened for `patience_ms`: stderr says which. */
bool swarm_open(struct swarm *swarm, uint32_t count);

/* Serves what is ready, waiting until `until_ns` at most for the first event. */
void swarm_turn(struct swarm *swarm, uint64_t until_ns);

/* Writes what connection_send queued outside of the swarm's own callbacks. */
void swarm_flush(struct swarm *swarm, struct connection *connection);

#endif
