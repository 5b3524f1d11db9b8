/*
 * The people of one group, as its home knows them: memberships of one user key are one person. The
 * others are told of each who comes and goes; in a crowd only of how many there are, and that at
 * most once in a while. The home's thread; called by the group's code.
 */
#ifndef SLUICE_GROUP_PRESENCE_H
#define SLUICE_GROUP_PRESENCE_H

#include "group/group.h"
#include "group/key.h"
#include "loop/loop.h"

struct person;
struct presence;

/* What a membership says of itself, on its way to the home: one block with references. */
struct attendance;
struct attendance *attendance_copy(const struct group_presence *presence, const char *info);
void attendance_free(struct attendance *attendance); /* NULL is fine */

/* Tells all members of the group; at the home, in its order. */
typedef void (*presence_tell_fn)(struct loop *loop, const struct group_key *key,
                                 struct frame *frame);

/* Of a group without people. The key is shared; loop and tell are lent. */
struct presence *presence_create(struct loop *loop, struct shared_key *key, presence_tell_fn tell);
void presence_free(struct presence *presence); /* nobody is told; NULL is fine */

/* A membership more; tells of it before it hears itself. Takes the attendance. */
struct person *presence_join(struct presence *presence, struct attendance *attendance);
/* Its info is another now. */
void presence_set_info(struct person *person, const char *info);
/* A membership less. The frame that those are told who are left, one reference; NULL: none. */
struct frame *presence_leave(struct presence *presence, struct person *person);

size_t presence_count(const struct presence *presence);
/* The first `most`, in order of coming, in one block; NULL when there are none. */
struct group_person *presence_list(const struct presence *presence, size_t most, size_t *count);

#endif
