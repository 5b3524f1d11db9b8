/*
 * Groups: who hears. A group is a named set of members in a namespace, spread over the threads. It
 * has a home thread (a hash of its name), which gives every message its place, so that all members
 * hear one order. A send goes to the home by mail, unless it is this thread; the home hands it to
 * each thread that has members, which queues one shared frame to their sessions.
 *
 * Each thread has one `groups`; calls are made on that thread unless marked [any].
 */
#ifndef SLUICE_GROUP_GROUP_H
#define SLUICE_GROUP_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct frame;
struct session;
struct groups;
struct member;
struct store;

#define GROUP_NAME_MAX 200
#define GROUP_INFO_MAX 256
#define GROUP_MEMBERS_MAX 10000
#define GROUP_KEY_MAX 100
#define GROUP_HISTORY_MAX 10000
#define GROUP_STAMP_SIZE 16

/* What members' owners do for groups; one table for all members of the process, on each one's
   thread. */
struct member_events {
    /* Tells the owner, in the CALLS stage, never inside a call of the owner's, of a message of a
       group joined with GROUP_EVENTS; group and frame are borrowed. Any call may be made inside,
       also one that ends this member. */
    void (*event)(struct member *member, const char *group, struct frame *frame);
    /* Asked, inside calls too, when a member that joined without GROUP_EVENTS begins to hear; it
       hears by this session from then on. Not NULL from such a join until group_leave_all. */
    struct session *(*session)(struct member *member);
};

enum { GROUP_EVENTS = 1 };

/* A connection as groups see it; embedded in its owner, zeroed, id (not 0) set before the first
   call. group_leave_all comes before it or its session is freed, in the session's `closed` at the
   latest. */
struct member {
    uint64_t id;

    /* private */
    uint32_t memberships; /* the first; 0: none */
    uint16_t count;       /* of memberships that it has not left */
};

enum group_result {
    GROUP_OK,
    GROUP_INVALID, /* a bad name, info, key or stamp; nothing was done */
    GROUP_FULL /* join: the member has as many memberships as it may have; send: a thread is too far
                  behind with its mail; nothing was taken */
};

/* How the messages of a namespace's groups are kept. */
struct group_terms {
    uint32_t messages; /* the last so many of a group, 1 to GROUP_HISTORY_MAX; 0: none are kept */
    uint32_t age_s;    /* for so many seconds; 0: for ever */
    uint32_t bytes;    /* so many together, of payload */
};

/* A place among a group's kept messages: the last one heard. epoch 0: none. */
struct group_position {
    uint64_t epoch, offset;
};

enum group_outcome {
    GROUP_SENT, /* not kept */
    GROUP_KEPT,
    GROUP_REPEATED, /* a kept message has its key; not sent again */
    GROUP_NOT_KEPT  /* it was to be and could not; not sent */
};

/* How a send ended, over all threads: members that it met, those whose queue took it, those whose
   queue dropped something for it or that are closing; matched is the sum of both. Without terms the
   position counts a group's messages from 1, and from 1 again once the group had no members, and
   its epoch is 0; with terms it is that of the last kept message, of this one, or of the one whose
   key it has. */
struct group_report {
    uint64_t matched, queued, dropped;
    struct group_position position;
    enum group_outcome outcome;
};

/* What is sent. The frame is lent, everything else copied. */
struct group_message {
    struct frame *frame;
    uint64_t except; /* a member's id, or 0 */
    const char
        *key; /* 1 to GROUP_KEY_MAX bytes of a kept message's own, no control characters; NULL */
    uint32_t stamp; /* where in the payload GROUP_STAMP_SIZE spaces become the offset, when the
                       group has terms; 0: nowhere */
    bool keep;      /* as the terms say */
    struct group_terms terms;
};

/* Who a membership stands for, and what the others are told of that. Frames are lent to a call. */
struct group_presence {
    const char *user;          /* valid as a group's name */
    struct frame *came, *went; /* NULL: nobody is told */
    struct frame *crowd;       /* NULL: nobody is told how many there are */
    uint32_t crowd_stamp;
    uint32_t most;     /* people of whom each is told; not 0 */
    uint32_t every_ms; /* between two counts; not 0 */
};

struct group_person {
    const char *user, *info;
    uint64_t memberships;
};

/* How a join that wants history stands; count kept messages follow. recovered: they are all that
   came after `since`. */
struct group_joined {
    struct group_position position; /* of the last kept message that is not live; epoch 0: none */
    size_t count;
    bool recovered;
    const struct group_person *people; /* the first of them, in order of coming; borrowed */
    size_t people_listed;
    uint64_t people_count;
};

/* What a join asks for. */
struct group_wish {
    const char *info; /* up to GROUP_INFO_MAX bytes of UTF-8; NULL: none */
    unsigned flags;
    unsigned most; /* memberships that this member may have, 65,535 whatever it says */
    struct group_terms terms;
    struct group_position since;           /* first come the kept messages behind this */
    uint32_t last;                         /* or, when that can't be resumed, so many of the last */
    const struct group_presence *presence; /* NULL: it is nobody */
    uint32_t people;                       /* how many are to be listed, up to GROUP_MEMBERS_MAX */
    size_t bytes; /* no more than this of payload, or it can't be resumed; 0: any */
    /* Told once, on this thread, later and before the first of these; with NULL when the member
       ended before. NULL: nobody is told. */
    void (*joined)(void *arg, const struct group_joined *joined);
    void *arg;
};

struct group_kept {
    uint64_t offset, time_ms;
    struct frame *frame;
};

/* Kept messages, the oldest first; borrowed. */
struct group_history {
    struct group_position position; /* of the last kept one; epoch 0: none are kept */
    size_t count;
    bool recovered;
    const struct group_kept *messages;
};
typedef void (*group_history_fn)(void *arg, const struct group_history *history);

/* Answers come once for each call that returned GROUP_OK, on the asking thread, never inside the
 * call. */
struct group_tally {
    void (*report)(void *arg, const struct group_report *report);
    void *arg;
};
struct group_listing_entry {
    uint64_t id;
    const char *info; /* "" when it joined without */
};

/* members is borrowed. */
typedef void (*group_listing_fn)(void *arg, const struct group_listing_entry *members, size_t count,
                                 size_t total);

/* What one thread holds. All are 0 again when its members, and those of its groups elsewhere, have
 * left. */
struct group_counts {
    size_t memberships; /* of this thread's members, those under way included */
    size_t views;       /* groups that these are in */
    size_t homes;       /* groups with members whose home is here */
    size_t members;     /* members of those, on any thread */
};

/* Where kept messages live. All are zero before the call: in memory, 256 MiB of it. */
struct group_layer {
    struct store *store; /* lent for good; NULL: in memory alone */
    bool at_once;        /* with a store: members hear before it is written */
    size_t memory;       /* what kept messages may take of it, over all threads */
};
/* Main thread, before groups_create_all. */
void groups_set_layer(const struct group_layer *layer);

/* The groups of each of count loops (1 to 256), which know each other; loops[i] has index i; events
   is lent until they are freed. One set a process. Main thread, before the loops run. */
void groups_create_all(struct loop **loops, unsigned count, const struct member_events *events);
/* For tests, when nothing runs any more and no letter is under way. */
void groups_free_all(struct loop **loops, unsigned count);
struct groups *groups_of(const struct loop *loop);
struct group_counts groups_count(const struct groups *groups);

/* Whether a name may be a group's: 1 to GROUP_NAME_MAX bytes of UTF-8 (RFC 3629) without control
   characters (U+0000 to U+001F, U+007F to U+009F); NULL may not. [any] */
bool group_name_valid(const char *name);

/* Joins; again: changes info and flags, in order. most: memberships that this member may have,
   65,535 whatever it says.
   Until the home has answered, the member hears nothing of the group; from its place in the order
   on, everything. info: up to GROUP_INFO_MAX bytes of UTF-8, copied, NULL for none. */
enum group_result group_join(struct groups *groups, struct member *member, const char *space,
                             const char *name, const char *info, unsigned flags, unsigned most);
enum group_result group_join_with(struct groups *groups, struct member *member, const char *space,
                                  const char *name, const struct group_wish *wish);
/* Leaves; messages ordered before the leave are still heard. GROUP_OK also when it is no member. */
enum group_result group_leave(struct groups *groups, struct member *member, const char *space,
                              const char *name);
/* The member ends: leaves everything at once and hears no more. It may be freed, or used anew,
 * right after. */
void group_leave_all(struct groups *groups, struct member *member);

/* Shares the frame with all members. except: a member's id, or 0. tally may be NULL, else it is
 * copied. */
enum group_result group_send(struct groups *groups, const char *space, const char *name,
                             struct frame *frame, uint64_t except, const struct group_tally *tally);

enum group_result group_send_with(struct groups *groups, const char *space, const char *name,
                                  const struct group_message *message,
                                  const struct group_tally *tally);

/* [any] The same from any thread, until the loops end. Before groups_create_all nobody hears it. */
enum group_result group_send_any(const char *space, const char *name, struct frame *frame,
                                 uint64_t except);

/* Who is in it, in order of joining: at most `most` (and GROUP_MEMBERS_MAX) of them and the total.
 */
enum group_result group_list(struct groups *groups, const char *space, const char *name,
                             size_t most, group_listing_fn fn, void *arg);

/* The same, behind the caller's joins to a group with these terms. */
enum group_result group_list_with(struct groups *groups, const char *space, const char *name,
                                  const struct group_terms *terms, size_t most, group_listing_fn fn,
                                  void *arg);

/* A group as its home has it; its names are borrowed. */
struct group_summary {
    const char *space, *name;
    size_t members, kept;           /* messages that can be read */
    struct group_position position; /* of the last kept one; epoch 0: none are kept */
};

/* Tells, in no order, of the groups whose home is this thread and that have members or kept
   messages in memory (with a store others may have some, too), until fn says false. fn makes no
   call here. */
void groups_each(struct groups *groups, bool (*fn)(void *arg, const struct group_summary *group),
                 void *arg);

/* Reads kept messages: those behind `since`, or when that can't be resumed the last ones; at most
 * `most` (and GROUP_HISTORY_MAX) of them, the newest. */
enum group_result group_read(struct groups *groups, const char *space, const char *name,
                             const struct group_terms *terms, struct group_position since,
                             size_t most, group_history_fn fn, void *arg);

#endif
