/*
 * What a worker tells those who ask it by the control socket: how it is, its connections and its
 * groups, and what it does for them. Main thread.
 */
#ifndef SLUICE_PROCESS_ANSWERS_H
#define SLUICE_PROCESS_ANSWERS_H

struct config;
struct thread;

/* Whom answers are about. */
struct answers_of {
    struct thread *const *threads;
    unsigned thread_count;
    const struct config *config; /* the one that is served */
};

/* Answers the question on the descriptor, which stays the caller's: a line with the exit status for
   the command, then the text. "status", "status json", "connections", "kick ID", "kick user KEY",
   and those of process/group_answers.h. A client that does not read for 5 s gets no more of it. */
void answers_give(const char *question, int fd, const struct answers_of *of);

#endif
