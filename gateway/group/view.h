/*
 * What one thread knows of groups: a view is the part of a group that hears on this thread, a
 * membership one member's place in it. The order of messages, joins and leaves is the home's; a
 * view does as it is told, in the order in which it is told. Called by the group's code, on the
 * thread.
 */
#ifndef SLUICE_GROUP_VIEW_H
#define SLUICE_GROUP_VIEW_H

#include "group/group.h"
#include "group/key.h"
#include "group/slab.h"
#include "group/table.h"
#include "loop/loop.h"

struct view;
struct event;

struct views {
    struct loop *loop;
    const struct member_events *members;
    struct table by_key;
    struct slab memberships;

    /* What is to be told to members who joined with GROUP_EVENTS, first come first told. */
    struct loop_entry tell;
    struct event *events;
    size_t event_count, event_capacity;
};

enum membership_state {
    MEMBERSHIP_IN,      /* joins or has joined */
    MEMBERSHIP_LEAVING, /* hears until its place in the order */
    MEMBERSHIP_LEFT     /* waits for its last events to be told */
};

#define MEMBERSHIP_HOLDS_MAX ((1u << 27) - 1)

/* What a member hears before all that is live: one block, of which view_joined becomes the owner.
   It may have no frames and only tell. */
struct replay {
    void (*joined)(void *arg, const struct group_joined *joined); /* NULL: nobody is told */
    void *arg;
    struct group_joined told;
    struct frame *frames[]; /* told.count references */
};
/* Tells that the member has ended, and frees it; NULL is fine. */
void replay_end(struct replay *replay);

/* There are as many of these as the thread has members, so each byte counts. They go by their
   numbers in the slab. */
struct membership {
    struct member *member; /* NULL: it has ended */
    struct view *view;
    uint32_t next;  /* the member's others; 0: none */
    uint32_t place; /* among the view's hearers, from 1; 0: it hears nothing */
    union {
        uint32_t generation; /* of its serial; 0: letters with it mean nothing any more */
        uint32_t record;     /* the home's. This is the home: no letter speaks of it */
    };
    unsigned holds : 27; /* whether it may hear counts 1, each event under way 1 */
    unsigned state : 2;
    unsigned at_home : 1;    /* its group's home is this thread, and no letter speaks of it */
    unsigned catches_up : 1; /* what it hears comes behind its replay */
    unsigned by_events : 1;
};

void view_init(struct views *views, struct loop *loop, const struct member_events *members);
/* Ends all memberships without telling anybody and frees everything. */
void view_clear(struct views *views);

/* Valid until it ends; number is not 0. */
struct membership *view_at(const struct views *views, uint32_t number);
/* The membership that letters know by the serial; 0 when it has ended. */
uint32_t view_find(const struct views *views, uint64_t serial);
/* The member's membership in the group that is not leaving, or 0. */
uint32_t view_membership(const struct views *views, const struct member *member,
                         const struct group_key *key);
/* Its thread's number is right also for one at home, though no letter carries that. */
uint64_t view_serial(const struct views *views, uint32_t number);

/* A membership that hears nothing yet. At home its record is the caller's to set. */
uint32_t view_join(struct views *views, struct member *member, const struct group_key *key,
                   bool at_home);
/* From here on it hears, in the way that its flags say, and before that the replay, which may be
   NULL; again: only the flags change. */
void view_joined(struct views *views, uint32_t number, unsigned flags, struct replay *replay);
/* It is no longer counted, but hears on. */
void view_leave(struct views *views, uint32_t number);
/* It hears no more, except events that are under way. */
void view_left(struct views *views, uint32_t number);
/* The member hears no more at all. */
void view_end(struct views *views, uint32_t number);

/* Hands the frame to all who hear but the member `except`, and adds to the report's counts. */
void view_deliver(struct views *views, const struct group_key *key, struct frame *frame,
                  uint64_t except, struct group_report *report);

struct shared_key *view_key(const struct membership *membership);
/* A reference to the key, shared with the view when there is one. */
struct shared_key *view_share_key(const struct views *views, const struct group_key *key);

#endif
