/*
 * The workloads. Each makes its swarm, runs, prints the report, and returns whether the run was
 * whole: all connected, measured, and nothing lost, repeated, out of order or foreign.
 */
#ifndef LOAD_WORKLOAD_H
#define LOAD_WORKLOAD_H

#include "options.h"

#include <stdbool.h>

/* echo and fanout: messages flow and are accounted for (traffic.c). */
bool workload_traffic(const struct options *options);
bool workload_idle(const struct options *options);
bool workload_handshakes(const struct options *options);

#endif
