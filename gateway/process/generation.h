/*
 * A generation: one accepted configuration, running. It holds what a reload would change: the
 * configuration, a context of h2o for each thread, and how each listener accepts into it. Threads,
 * loops, groups and listening sockets are not its.
 */
#ifndef SLUICE_PROCESS_GENERATION_H
#define SLUICE_PROCESS_GENERATION_H

#include <stdbool.h>

#include "net/listener.h"

struct config;
struct generation;
struct loop;

/* Takes the configuration and its listeners (listeners[i] belongs to config->listeners[i]). Main
 * thread. */
struct generation *generation_create(struct config *config, struct listener **listeners,
                                     struct connection_count *count);

/* On each loop's thread: makes the context, starts the consumers, accepts. False when a consumer
 * refused to start. */
bool generation_start(struct generation *generation, struct loop *loop);

/* Accepts no more on this loop; requests under way are answered with Connection: close. Loop's
 * thread. */
void generation_stop_accepting(struct generation *generation, struct loop *loop);

/* Whether a request is being answered on this loop: idle keep-alive connections do not count.
 * Loop's thread. */
bool generation_busy(const struct generation *generation, const struct loop *loop);

/* Runs thread_stop of the consumers. Loop's thread, when no connection of it is left. */
void generation_stop(struct generation *generation, struct loop *loop);

/* Runs shut of the consumers that no connection is left of. Main thread, when all loops have ended.
 */
void generation_shut(struct generation *generation);

#endif
