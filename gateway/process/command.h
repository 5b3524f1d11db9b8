/*
 * The commands for a server that runs: `sluice reload -c FILE` and its like. Main thread.
 */
#ifndef SLUICE_PROCESS_COMMAND_H
#define SLUICE_PROCESS_COMMAND_H

#include <stdbool.h>

/* Whether the program's first argument is one of them. */
bool command_is(const char *word);

/* Asks the server and prints its answer. Returns the exit status: the server's; 64 when the command
   line is wrong, 69 when there is no server, 78 when the configuration names no control socket. */
int command_run(int count, char **values);

#endif
