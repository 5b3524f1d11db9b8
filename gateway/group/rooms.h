/*
 * The groups of one home that keep messages: where their past is, what still waits for it, and how
 * much memory all of it takes. With a store a room is read before anything happens in it, and what
 * is to be kept waits until it is written; all that comes behind waits too, so that the order
 * holds. Without one nothing ever waits. One thread's.
 */
#ifndef SLUICE_GROUP_ROOMS_H
#define SLUICE_GROUP_ROOMS_H

#include <stdbool.h>

#include "group/key.h"
#include "group/past.h"
#include "group/table.h"
#include "loop/loop.h"

struct homes;
struct room;
struct store;

/* What is to be done in a room, in its order; first in what carries it. The mail's `deliver` does
 * it, as if it came then, and owns it. */
struct errand {
    struct mail mail;
    /* Before that, as soon as the room has been read and maybe long before its turn; NULL: nothing
     * to do. */
    void (*prepare)(struct errand *errand, struct room *room);
    bool waits; /* set by prepare: rooms_go_on takes it back */
};

struct rooms {
    struct loop *loop;
    const struct homes *homes; /* a room that has members stays, without a store */
    struct store *store;       /* NULL: in memory alone */
    bool at_once;              /* with a store: what is kept is heard before it is written */
    size_t memory_max;         /* of all pasts here, by estimate */
    uint64_t later_ms;         /* for tests: the clock is so much ahead */

    /* private */
    struct table by_key;
    struct room *oldest, *newest; /* by use */
    size_t memory;
    uint64_t epochs; /* the next room's, without a store */
};

/* The fields before `private` are set; the rest is zero. */
void rooms_init(struct rooms *rooms);
/* Nothing may wait any more. */
void rooms_clear(struct rooms *rooms);

/* The group's room; NULL: there is none. */
struct room *rooms_find(const struct rooms *rooms, const struct group_key *key);
/* Made when there is none. Valid until the turn ends, or while an errand waits in it. */
struct room *rooms_open(struct rooms *rooms, const struct group_key *key);

/* Tells of each room in memory, in no order, until fn says false; that is returned. fn makes and
   forgets none. */
bool rooms_each(const struct rooms *rooms, bool (*fn)(void *arg, struct room *room), void *arg);
/* Whose room it is. */
const struct group_key *room_key(const struct room *room);

/* Does the errand once its turn has come: at once, when nothing waits in the room. */
void rooms_do(struct room *room, struct errand *errand);
/* Does what waits until an errand that still waits itself. */
void rooms_go_on(struct room *room);

/* Its past as of now, without what has expired; NULL: the store could not read it. */
struct past *room_past(struct room *room);

/* Keeps a message. `settled` is told the result, in the order of the calls for a room, if this says
   KEEP_LATER; with KEEP_NOW it is in the past, and not heard yet. */
enum keep { KEEP_NOW, KEEP_LATER, KEEP_FULL };
typedef void (*room_settled_fn)(void *arg, bool kept);
enum keep room_keep(struct room *room, struct frame *frame, const char *key, uint32_t stamp,
                    const struct group_terms *terms, room_settled_fn settled, void *arg);

/* What was kept has been heard, or could not be kept: the first that was neither yet. */
void room_heard(struct room *room, const struct group_terms *terms);
void room_lost(struct room *room);

#endif
