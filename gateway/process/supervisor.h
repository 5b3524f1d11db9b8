/*
 * The process that stays: it takes snapshots, listens, starts a worker on the last snapshot that
 * was accepted, watches it, starts another in its place, has a new configuration tried before the
 * worker is given it, and hears signals and commands. It has one thread, loads no plugin and reads
 * no byte of a client.
 */
#ifndef SLUICE_PROCESS_SUPERVISOR_H
#define SLUICE_PROCESS_SUPERVISOR_H

#include <stddef.h>

struct supervisor_conf {
    const char *file;    /* the configuration */
    const char *program; /* what a restart executes: its path */
    char **arguments;    /* with these, as main's */
    const char *const *plugin_dirs;
    size_t plugin_dir_count;
};

/* Runs until it is stopped. Returns the exit status: 0 after a stop, 1 when it could not serve (the
   log says why), 70 after five short lives of a worker in a row, 78 when the configuration was
   refused at the start. Main thread, once in a process. */
int supervisor_run(const struct supervisor_conf *conf);

#endif
