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
#include "group/table.h"
#include "loop/loop.h"

struct view;
struct event;

struct views {
    struct loop *loop;
    struct table by_key;
    struct table memberships; /* by serial */
    uint64_t serials;         /* given out so far */

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

struct membership {
    struct membership *next; /* the member's others */
    struct member *member;   /* NULL: it has ended */
    struct view *view;
    uint64_t serial; /* never given twice in the process; what other threads know it by */
    size_t place;    /* among the view's hearers, from 1; 0: it hears nothing */
    unsigned holds;  /* being known by its serial counts 1, each event under way 1 */
    enum membership_state state;
};

void view_init(struct views *views, struct loop *loop);
/* Ends all memberships without telling anybody and frees everything. */
void view_clear(struct views *views);

/* The member's membership in the group that is not leaving, or NULL. */
struct membership *view_membership(const struct member *member, const struct group_key *key);

/* A membership that hears nothing yet. */
struct membership *view_join(struct views *views, struct member *member,
                             const struct group_key *key);
/* From here on it hears, in the way that its flags say; again: only the flags change. Nothing when
   the membership has ended. */
void view_joined(struct views *views, uint64_t serial, unsigned flags);
/* It is no longer counted, but hears on. */
void view_leave(struct membership *membership);
/* It hears no more, except events that are under way. Nothing when it has ended. */
void view_left(struct views *views, uint64_t serial);
/* The member hears no more at all. */
void view_end(struct views *views, struct membership *membership);

/* Hands the frame to all who hear but the member `except`, and adds to the report's counts. */
void view_deliver(struct views *views, const struct group_key *key, struct frame *frame,
                  uint64_t except, struct group_report *report);

const struct group_key *view_key(const struct membership *membership);
/* A reference to the key, shared with the view when there is one. */
struct shared_key *view_share_key(const struct views *views, const struct group_key *key);

#endif
