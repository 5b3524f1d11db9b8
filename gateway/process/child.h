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

/* Starts one with this first argument, and descriptors of its page and, unless that is -1, of the
   memory for tickets. user may be NULL. False with errno. */
bool child_start(struct child *child, const char *role, const char *user, int page, int tickets);

/* Closes the channel; when it has ended. */
void child_forget(struct child *child);

#endif
