/*
 * The process that serves. It takes whole configurations, one after the other, gives each to its
 * threads as a generation, and ends when it is told to. Under a supervisor it hears of them by a
 * channel and has no rights but those that serving needs; alone it opens what the configuration
 * names itself.
 */
#ifndef SLUICE_PROCESS_WORKER_H
#define SLUICE_PROCESS_WORKER_H

#include <stddef.h>

#include "config/problems.h"

struct config;

/* Reads and checks a configuration: config_load with the program's plugin folders. */
typedef struct config *(*worker_load_fn)(const char *path, struct problems *problems);

/* Serves until SIGTERM or SIGINT; takes the configuration. Returns the exit status: 0 after a stop,
   1 when it could not serve (the log says why). Ends the process with 1 when a consumer's hook or
   offloaded work is not back 2 s behind the drain time. Main thread, once in a process. */
int worker_run_alone(struct config *config);

/* Serves what the channel says, until that says stop or has gone. Takes the channel. 78 when the
   first configuration was refused. The rest as above. */
int worker_run(int channel, worker_load_fn load);

/* Only loads what the channel says, and answers as worker_run would: the trial before a reload. */
int worker_try(int channel, worker_load_fn load);

#endif
