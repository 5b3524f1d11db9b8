/*
 * A process of this program that the supervisor starts: a worker, or a trial of a configuration. It
 * runs as the configuration's user, in an address space of its own (executed anew, so that two
 * workers have nothing of their layout in common), with a channel and a page. Main thread.
 */
#ifndef SLUICE_PROCESS_CHILD_H
#define SLUICE_PROCESS_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct child {
    pid_t pid;   /* 0: none */
    int channel; /* -1: closed */
};

/* What a child's main is told by: "--worker" or "--trial" as the first argument, then these
 * numbers.
 */
#define CHILD_CHANNEL 3
#define CHILD_PAGE 4
#define CHILD_TICKETS 5 /* a worker's: memory for TLS ticket keys */

struct child_conf {
    const char *program; /* NULL: this one, whatever became of its file */
    const char *role;    /* the first argument */
    const char *user;    /* NULL: stays */
    int page, tickets;   /* descriptors; tickets -1: none */
};

/* Starts one. False with errno. */
bool child_start(struct child *child, const struct child_conf *conf);

/* Closes the channel; when it has ended. */
void child_forget(struct child *child);

#endif
