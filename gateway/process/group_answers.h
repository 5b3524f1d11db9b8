/*
 * What a worker says of its groups to those who ask by the control socket, and what it sends to
 * them. Main thread.
 *
 * A question is fields with tabs between: groups, members, history or publish; a number (at most so
 * many; of publish: the bytes that follow the question); text or json; the namespace and the group,
 * of which `groups` needs neither.
 */
#ifndef SLUICE_PROCESS_GROUP_ANSWERS_H
#define SLUICE_PROCESS_GROUP_ANSWERS_H

#include <stdbool.h>
#include <stdio.h>

#include "process/answers.h"

/* Entries of one answer, whatever is asked for. */
#define GROUP_ANSWERS_MOST 10000

/* Whether the question is one of these. */
bool group_answers_know(const char *question);

/* Writes the answer; of: borrowed. fd: where a message to publish comes from. Returns the exit
   status for the command. */
int group_answers_give(const char *question, int fd, const struct answers_of *of, FILE *to);

#endif
