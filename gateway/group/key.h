/*
 * What a group is found by: its namespace, its name and a hash of both. A `group_key` borrows its
 * text and is made for a look-up; a `shared_key` holds its own, never changes and is shared by
 * letters and threads. Any thread, except key_seed.
 */
#ifndef SLUICE_GROUP_KEY_H
#define SLUICE_GROUP_KEY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct group_key {
    const char *space, *name; /* both end in NUL */
    size_t space_size, name_size;
    uint64_t hash;
};

struct shared_key {
    struct group_key key; /* first, so that tables find by it */
    atomic_uint refs;
    char text[];
};

/* The hash's secret, so that clients who choose names can't make them collide. Main thread, before
   the first key is made. */
void key_seed(uint64_t first, uint64_t second);

struct group_key key_of(const char *space, const char *name);
bool key_equal(const struct group_key *one, const struct group_key *other);

/* Which of `threads` threads is the group's home, from 0. */
unsigned key_home(const struct group_key *key, unsigned threads);

/* A copy with one reference. */
struct shared_key *key_share(const struct group_key *key);
struct shared_key *key_ref(struct shared_key *key);
void key_unref(struct shared_key *key);

#endif
