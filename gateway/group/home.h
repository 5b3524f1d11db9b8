/*
 * What a group's home knows: who is in it, on which thread, in order of joining, and the position
 * of its last message. It has one writer, the home's thread, and that is what gives a group one
 * order without a lock. A group without members is forgotten. Called by the group's code.
 */
#ifndef SLUICE_GROUP_HOME_H
#define SLUICE_GROUP_HOME_H

#include "group/group.h"
#include "group/key.h"
#include "group/presence.h"
#include "group/roll.h"
#include "group/slab.h"
#include "group/table.h"

/* The groups whose home is one thread. */
struct homes {
    unsigned threads;
    struct table by_key;
    struct slab records; /* one for each member */
    struct roll away;    /* those that letters speak of, by the membership's serial */
};

struct home {
    struct shared_key *key;
    struct presence *presence; /* NULL: nobody in it is somebody */
    uint64_t position;         /* the last message's, from 1 */
    uint32_t first, last;      /* records */
    size_t count;
    uint32_t on_thread[]; /* members of each thread */
};

/* A member as its thread presents it; info is copied, "" for none. */
struct home_member {
    uint64_t serial, id;
    const char *info;
};

/* An answer to a question of who is in it: one block, given back with free(). */
struct listing {
    size_t count, total;
    struct group_listing_entry members[];
};

/* threads: how many there are. */
void home_init(struct homes *homes, unsigned threads);
void home_clear(struct homes *homes);

/* NULL when the group has no members. Valid until one leaves. */
struct home *home_find(const struct homes *homes, const struct group_key *key);

/* Adds the member behind all others. Its record, from 1, which whoever is at home remembers. */
uint32_t home_join(struct homes *homes, const struct group_key *key,
                   const struct home_member *member);
/* The record of a member that letters speak of, 0 when it is not known. */
uint32_t home_record(const struct homes *homes, uint64_t serial);
void home_set_info(struct homes *homes, uint32_t record, const char *info);
/* Whom it stands for; the presence's. NULL: nobody. */
void home_set_person(struct homes *homes, uint32_t record, struct person *person);
struct person *home_person(const struct homes *homes, uint32_t record);
/* The key is that of the record's group. Nobody is told of its person, who may be left without
   memberships only if the group is not: presence_leave comes first. */
void home_leave(struct homes *homes, const struct group_key *key, uint32_t record);

/* Tells of each group with members, in no order, until fn says false; that is returned. fn changes
   nothing here. */
bool home_each(const struct homes *homes, bool (*fn)(void *arg, const struct home *home),
               void *arg);

/* At most `most` members in order of joining. */
struct listing *home_list(const struct homes *homes, const struct group_key *key, size_t most);

#endif
