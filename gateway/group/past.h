/*
 * The kept messages of one group, in the order in which they were said. The home's, and one
 * thread's as that is. A message is first taken in, which gives it its offset, and later heard or
 * dropped, in the same order: in between it may be written somewhere, and nobody is shown it.
 */
#ifndef SLUICE_GROUP_PAST_H
#define SLUICE_GROUP_PAST_H

#include "group/group.h"
#include "group/table.h"

/* The name of a message, by which it is known again. */
struct past_key {
    uint64_t hash, offset;
    char text[];
};

struct past_message {
    uint64_t offset, time_ms;
    uint64_t expires_ms; /* milliseconds since 1970; UINT64_MAX: never */
    struct frame *frame;
    struct past_key *key; /* NULL: none */
};

/* Zeroed, with an epoch, it is empty. */
struct past {
    uint64_t epoch;
    uint64_t last; /* the highest offset ever given or skipped */
    uint64_t gone; /* the highest offset that was removed; 0: none */
    size_t count;  /* messages, those included that are not heard */
    size_t heard;  /* how many of them were */
    size_t bytes;  /* their payload */
    size_t memory; /* what they cost, by estimate */

    /* private */
    struct past_message *ring;
    size_t first, capacity; /* capacity: 0 or a power of two */
    struct table keys;
};

void past_clear(struct past *past);

/* at: from 0, the oldest. Valid until the next call that changes the past. */
const struct past_message *past_at(const struct past *past, size_t at);
/* The message with that key, or NULL. */
const struct past_message *past_find(const struct past *past, const char *key);
/* Whether it has been heard. */
bool past_is_heard(const struct past *past, const struct past_message *message);
/* The place behind which everything is live. */
struct group_position past_position(const struct past *past);

/* Takes a message in; the past takes a reference of the frame and copies the key, which may be NULL
   and must not be known. offset: over `last`. */
void past_add(struct past *past, const struct past_message *message, const char *key);
/* The first that was not heard is from now on, or is removed. */
void past_hear(struct past *past);
void past_drop(struct past *past);

/* Removes the oldest heard ones until all is within the terms. */
void past_trim(struct past *past, const struct group_terms *terms);
/* Removes the heard ones that have expired then. */
void past_expire(struct past *past, uint64_t now_ms);
/* Removes the oldest; false when none is heard. */
bool past_trim_one(struct past *past);

/* Which heard messages a reader gets: count of them from `first` on. */
struct past_part {
    size_t first, count;
    bool recovered; /* they are all behind since, and nothing is missing */
};
/* Those behind `since`, if that is a place here and they are at most `most` with at most `bytes` of
   payload (0: any); else the newest `last` that fit. */
struct past_part past_part(const struct past *past, struct group_position since, size_t last,
                           size_t most, size_t bytes);

#endif
