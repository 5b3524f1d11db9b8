/*
 * Three loops that share groups, driven by one thread so that a test chooses every step, and
 * members that write down what they hear. For tests of groups.
 */
#ifndef SUPPORT_GROUP_THREADS_H
#define SUPPORT_GROUP_THREADS_H

#include <stdint.h>

#include "group/group.h"
#include "loop/loop.h"

#define THREADS 3
#define SPACE "default/chat"
#define PLENTY 1000 /* memberships */

extern struct loop *threads[THREADS];

/* Of all members. threads_open makes them ears' own: tests with other members put theirs in. */
extern struct member_events threads_events;

/* Checked fixtures. The same names have the same homes in each run. */
void threads_open(void);
void threads_close(void);

/* Makes the caller that thread. */
struct groups *threads_be(unsigned thread);
void threads_turn(unsigned thread);
/* Turns all until every letter and its answers have arrived. */
void threads_settle(void);
void threads_assert_nothing_is_held(void);
/* A name whose home is that thread; another one for each number from 0 to 3. Valid until the test
   ends. */
const char *threads_name_at(unsigned home, unsigned number);
/* Sends a text to the group from that thread. */
void threads_say(unsigned thread, const char *group, const char *text);
void threads_say_with(unsigned thread, const char *group, const char *text, uint64_t except,
                      const struct group_tally *tally);

/* A member that hears one group's messages by events. */
struct ear {
    struct member member;
    unsigned thread;
    const char *group;
    char heard[200];               /* "one two " */
    void (*then)(struct ear *ear); /* runs inside each event; may be NULL */
    struct ear *other;             /* for `then` */
};

/* Each gets another id. */
struct ear ear_make(unsigned thread, const char *group);
void ear_join(struct ear *ear);
void ear_leave(struct ear *ear);
void ear_end(struct ear *ear);
/* Writes the frame's payload and a space behind the text, in an array of size bytes. */
void ear_note(char *text, size_t size, struct frame *frame);

#endif
