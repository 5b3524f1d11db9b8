/*
 * A generation: one accepted configuration, running. It holds what a reload changes: the
 * configuration, and on each thread a context of h2o and what is received by it. Threads, loops,
 * groups, listening sockets and WebSockets are not its: they outlive it. Its consumers live until
 * their last connection has ended.
 *
 * The order of its life: create (main thread); prepare on each thread; open on each; retire on
 * each; tend on each between any two turns until it says that nothing is left; close on each, from
 * the last thread to the first; settle (main thread) until nothing of it is left.
 */
#ifndef SLUICE_PROCESS_GENERATION_H
#define SLUICE_PROCESS_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "net/listener.h"

struct config;
struct generation;
struct loop;

/* Takes the configuration. listeners[i] belongs to config->listeners[i]; the array is taken, they
   are not. Main thread. */
struct generation *generation_create(struct config *config, struct listener **listeners,
                                     struct connection_count *count);

/* Makes the context and starts the consumers. False when a consumer refused to start: said in the
   log; what was made is gone again. The following run on the loop's thread, between two turns. */
bool generation_prepare(struct generation *generation, struct loop *loop);

/* Receives from now on what its listeners let in: those that are new start to listen. */
void generation_open(struct generation *generation, struct loop *loop);

/* Another one receives now. What is idle moves to it; requests under way are answered, within ms
   milliseconds. */
void generation_retire(struct generation *generation, struct loop *loop, uint32_t ms);

/* Whether nothing of it is left on this loop. */
bool generation_tend(struct generation *generation, struct loop *loop);

/* Frees the context; on the loop with index 0, called last, the configuration too. Also for one
   that was prepared and never opened. */
void generation_close(struct generation *generation, struct loop *loop);

/* Accepts no more on this loop; requests under way are answered with Connection: close. is_shared:
   see listener_stop. */
void generation_stop_accepting(struct generation *generation, struct loop *loop, bool is_shared);

/* Whether a request is being answered on this loop: idle keep-alive connections do not count. */
bool generation_busy(const struct generation *generation, const struct loop *loop);

/* Consumers that are left; *idle: those that nothing uses any more, and that wait for
   generation_stop_consumers on each loop and then generation_settle. Main thread, after
   generation_close. */
unsigned generation_consumers(struct generation *generation, unsigned *idle);

/* Runs thread_stop of the consumers that were found idle; of all when `all`. */
void generation_stop_consumers(struct generation *generation, struct loop *loop, bool all);

/* Runs shut of those that were found idle, of all that nothing uses when `all`; frees it and
   returns true when none is left, or `all`. Main thread, when all loops have stopped them. */
bool generation_settle(struct generation *generation, bool all);

/* Files that were opened for the turn's requests are looked for anew in the next. After each turn.
 */
void generation_tidy(struct generation *generation, const struct loop *loop);

/* NULL after generation_close on the first loop. */
struct config *generation_config(const struct generation *generation);
struct listener *const *generation_listeners(const struct generation *generation);

#endif
