/*
 * What a worker tells those who ask it by the control socket: how it is, its connections, and the
 * end of one. Main thread.
 */
#ifndef SLUICE_PROCESS_ANSWERS_H
#define SLUICE_PROCESS_ANSWERS_H

struct thread;

/* Answers the question on the descriptor, which stays the caller's: a line with the exit status for
   the command, then the text. "status", "status json", "connections", "kick ID". A client that does
   not read for 5 s gets no more of it. */
void answers_give(const char *question, int fd, struct thread *const *threads, unsigned count);

#endif
