/*
 * The mail among the threads that share groups: who they are, and how much is under way to each.
 * Any thread, except opening and closing.
 */
#ifndef SLUICE_GROUP_POST_H
#define SLUICE_GROUP_POST_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/loop.h"

/* Messages under way to one thread, in bytes of memory. A thread that is behind by so much makes
   senders hear of it, before it costs the process its memory. */
#define POST_BYTES_MAX (64u << 20)

/* loops[i] has index i. Main thread, before the loops run, and when nothing runs any more. */
void post_open(struct loop **loops, unsigned count);
void post_close(void);

/* 0 while it is not open. */
unsigned post_threads(void);

/* deliver owns the letter, on that thread. */
void post_letter(unsigned thread, struct mail *mail, void (*deliver)(struct mail *, struct loop *));

/* So many bytes set out for the thread, or have arrived there. */
void post_sets_out(unsigned thread, size_t bytes);
void post_arrived(unsigned thread, size_t bytes);
/* Whether some thread is behind by POST_BYTES_MAX. */
bool post_is_full(void);

#endif
