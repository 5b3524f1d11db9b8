/*
 * Connections that are opened, closed with a close frame that the server must answer, and opened
 * again. Latency is from connect() to the 101.
 */
#include "clock.h"
#include "report.h"
#include "swarm.h"
#include "usage.h"
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>

#define MILLISECOND_NS ((uint64_t)1000000)

struct handshakes {
    struct swarm *swarm;
    bool running, measuring;
    uint64_t measured;
    struct histogram latency;
};

static void on_open(struct connection *connection, void *arg) {
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};
    struct handshakes *handshakes = arg;
    if (handshakes->measuring) {
        handshakes->measured++;
        histogram_add(&handshakes->latency, clock_now_ns() - connection->started_ns);
    }
    connection_send(connection, OPCODE_CLOSE, normal, sizeof(normal));
    connection->said_close = true;
}

static void on_closed(struct connection *connection, void *arg) {
    struct handshakes *handshakes = arg;
    if (handshakes->running)
        swarm_connect(handshakes->swarm, connection);
}

/* False when a connection failed, which would only repeat itself. */
static bool run_for(struct handshakes *handshakes, long ms) {
    uint64_t until = clock_now_ns() + (uint64_t)ms * MILLISECOND_NS;
    while (clock_now_ns() < until) {
        if (swarm_counts(handshakes->swarm)->failed != 0) {
            fprintf(stderr, "bench-load: a handshake failed: %s\n",
                    swarm_counts(handshakes->swarm)->first_error);
            return false;
        }
        swarm_turn(handshakes->swarm, until);
    }
    return true;
}

static bool measure(const struct options *options, struct handshakes *handshakes,
                    struct cpu_usage *before, struct cpu_usage *after) {
    handshakes->running = true;
    for (uint32_t i = 0; i < (uint32_t)options->connections; i++)
        swarm_connect(handshakes->swarm, swarm_connection(handshakes->swarm, i));
    if (!run_for(handshakes, options->warmup_ms) ||
        !cpu_usage_read(options->pid, options->core, before))
        return false;
    handshakes->measuring = true;
    return run_for(handshakes, options->measure_ms) &&
           cpu_usage_read(options->pid, options->core, after);
}

bool workload_handshakes(const struct options *options) {
    static const struct swarm_events events = {.open = on_open, .closed = on_closed};
    struct cpu_usage before, after;
    struct handshakes *handshakes = calloc(1, sizeof(*handshakes));
    if (handshakes == NULL)
        abort();
    handshakes->swarm = swarm_new(options, &events, handshakes);
    bool good = handshakes->swarm != NULL && measure(options, handshakes, &before, &after);
    if (good) {
        report_begin(options);
        report_count("measured", handshakes->measured);
        report_number("per_second", (double)handshakes->measured / (after.at_s - before.at_s));
        report_latency(&handshakes->latency);
        report_cpu(options, &before, &after, handshakes->measured);
        report_connections(swarm_counts(handshakes->swarm));
        report_end();
        good = handshakes->measured != 0;
    }
    swarm_free(handshakes->swarm);
    free(handshakes);
    return good;
}
