/*
 * The process that serves: opens what the configuration names, gives up the rights that it no
 * longer needs, starts the threads and ends them when a signal says so. It is the whole server
 * today; a supervisor will stand above it.
 */
#ifndef SLUICE_PROCESS_WORKER_H
#define SLUICE_PROCESS_WORKER_H

struct config;

/* Serves until SIGTERM or SIGINT; takes the configuration. Returns the exit status: 0 after a stop,
   1 when it could not serve (the log says why). Ends the process with 1 when a consumer's hook or
   offloaded work is not back 2 s behind the drain time. Main thread, once in a process. */
int worker_run(struct config *config);

#endif
