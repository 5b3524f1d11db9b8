/*
 * Figures of now that only their own thread can read: how much waits to be sent, how many groups
 * and timers there are. Each loop tells its counters once a second, so that who asks waits for
 * nobody.
 */
#ifndef SLUICE_PROCESS_GAUGES_H
#define SLUICE_PROCESS_GAUGES_H

struct gauges;
struct loop;
struct offload;

/* pool: told by this loop too; NULL: another does, or there is none. Loop's thread. */
struct gauges *gauges_start(struct loop *loop, struct offload *pool);
void gauges_stop(struct gauges *gauges);

#endif
