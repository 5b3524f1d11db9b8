#include "group/presence.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group/key.h"
#include "group/table.h"
#include "websocket/frame.h"

/* Names are told again when so much of a crowd is left, in quarters of its least: who comes and
   goes at the edge does not change it each time. */
#define EDGE_QUARTERS 3

struct attendance {
    struct group_presence says; /* with references; its user is `text` */
    const char *info;           /* behind it */
    char text[];
};

struct person {
    struct person *before, *after; /* in order of coming */
    struct attendance *says;       /* as the first membership said it */
    char *info;
    uint64_t memberships;
    uint64_t hash;
};

struct presence {
    struct loop *loop;
    struct shared_key *key;
    presence_tell_fn tell;
    struct table people;
    struct person *first, *last;
    bool is_crowd;

    /* The count that is to be told; as the last to come wanted it. */
    struct timer due;
    struct frame *crowd; /* NULL: nobody is told */
    uint32_t crowd_stamp;
};

static void *made(size_t size) {
    void *block = calloc(1, size);
    if (block == NULL)
        abort();
    return block;
}

static struct frame *ref(struct frame *frame) { return frame == NULL ? NULL : frame_ref(frame); }

struct attendance *attendance_copy(const struct group_presence *presence, const char *info) {
    size_t user_size = strlen(presence->user) + 1, info_size = strlen(info) + 1;
    struct attendance *copy = made(sizeof(*copy) + user_size + info_size);
    copy->says = *presence;
    copy->says.user = memcpy(copy->text, presence->user, user_size);
    copy->info = memcpy(copy->text + user_size, info, info_size);
    ref(presence->came);
    ref(presence->went);
    ref(presence->crowd);
    return copy;
}

void attendance_free(struct attendance *attendance) {
    if (attendance == NULL)
        return;
    frame_unref(attendance->says.came);
    frame_unref(attendance->says.went);
    frame_unref(attendance->says.crowd);
    free(attendance);
}

/* --- the count of a crowd --- */

static void tell_count(struct presence *presence) {
    size_t size;
    char digits[24];
    if (presence->crowd == NULL)
        return;
    const uint8_t *text = frame_payload(presence->crowd, &size);
    struct frame *frame = frame_create(frame_opcode(presence->crowd), text, size);
    snprintf(digits, sizeof(digits), "%*zu", GROUP_STAMP_SIZE, presence->people.count);
    if (presence->crowd_stamp != 0)
        frame_write_over(frame, presence->crowd_stamp, digits, GROUP_STAMP_SIZE);
    presence->tell(presence->loop, &presence->key->key, frame);
    frame_unref(frame);
}

static void on_due(struct timer *timer) {
    tell_count((struct presence *)((char *)timer - offsetof(struct presence, due)));
}

/* Whether the others are told of this one by name. */
static bool tells_names(struct presence *presence, const struct group_presence *says) {
    size_t count = presence->people.count;
    if (count > says->most)
        presence->is_crowd = true;
    if (!presence->is_crowd)
        return true;
    if (presence->crowd != says->crowd) {
        frame_unref(presence->crowd);
        presence->crowd = ref(says->crowd);
        presence->crowd_stamp = says->crowd_stamp;
    }
    if (count > (uint64_t)says->most * EDGE_QUARTERS / 4) {
        if (presence->due.slot == 0)
            loop_timer_set(presence->loop, &presence->due, says->every_ms);
        return false;
    }
    presence->is_crowd = false;
    loop_timer_clear(presence->loop, &presence->due);
    tell_count(presence);
    return false; /* whoever asks now who is there is told of this one already */
}

/* --- people --- */

static bool is_person(const void *item, const void *wanted) {
    const struct person *person = item;
    return strcmp(person->says->says.user, wanted) == 0;
}

/* With the groups' secret: users may be what clients chose. */
static uint64_t hash_of(const char *user) { return key_of("", user).hash; }

static struct person *add(struct presence *presence, struct attendance *attendance) {
    struct person *person = made(sizeof(*person));
    person->says = attendance;
    person->hash = hash_of(attendance->says.user);
    person->before = presence->last;
    *(presence->last != NULL ? &presence->last->after : &presence->first) = person;
    presence->last = person;
    table_add(&presence->people, person->hash, person);
    return person;
}

/* What it said stays the caller's. */
static void take_out(struct presence *presence, struct person *person) {
    *(person->before != NULL ? &person->before->after : &presence->first) = person->after;
    *(person->after != NULL ? &person->after->before : &presence->last) = person->before;
    table_remove(&presence->people, person->hash, person);
    free(person->info);
    free(person);
}

void presence_set_info(struct person *person, const char *info) {
    free(person->info);
    person->info = *info == '\0' ? NULL : strdup(info);
}

struct person *presence_join(struct presence *presence, struct attendance *attendance) {
    const char *user = attendance->says.user;
    struct person *person = table_find(&presence->people, hash_of(user), is_person, user);
    bool is_new = person == NULL;
    if (is_new)
        person = add(presence, attendance);
    person->memberships++;
    if (*attendance->info != '\0')
        presence_set_info(person, attendance->info);
    if (!is_new)
        attendance_free(attendance);
    else if (tells_names(presence, &attendance->says) && attendance->says.came != NULL)
        presence->tell(presence->loop, &presence->key->key, attendance->says.came);
    return person;
}

struct frame *presence_leave(struct presence *presence, struct person *person) {
    if (--person->memberships > 0)
        return NULL;
    struct attendance *says = person->says;
    take_out(presence, person);
    struct frame *went = tells_names(presence, &says->says) ? ref(says->says.went) : NULL;
    attendance_free(says);
    return went;
}

size_t presence_count(const struct presence *presence) { return presence->people.count; }

struct group_person *presence_list(const struct presence *presence, size_t most, size_t *count) {
    size_t size = 0, listed = 0;
    const struct person *person = presence->first;
    for (; person != NULL && listed < most; person = person->after, listed++)
        size += strlen(person->says->says.user) + 1 +
                (person->info == NULL ? 0 : strlen(person->info)) + 1;
    *count = listed;
    if (listed == 0)
        return NULL;
    struct group_person *people = made(listed * sizeof(*people) + size);
    char *text = (char *)&people[listed];
    person = presence->first;
    for (size_t at = 0; at < listed; at++, person = person->after) {
        people[at].memberships = person->memberships;
        people[at].user = text;
        text = stpcpy(text, person->says->says.user) + 1;
        people[at].info = text;
        text = stpcpy(text, person->info == NULL ? "" : person->info) + 1;
    }
    return people;
}

/* --- its life --- */

struct presence *presence_create(struct loop *loop, struct shared_key *key, presence_tell_fn tell) {
    struct presence *presence = made(sizeof(*presence));
    presence->loop = loop;
    presence->key = key_ref(key);
    presence->tell = tell;
    presence->due.run = on_due;
    return presence;
}

void presence_free(struct presence *presence) {
    if (presence == NULL)
        return;
    while (presence->first != NULL) {
        attendance_free(presence->first->says);
        take_out(presence, presence->first);
    }
    loop_timer_clear(presence->loop, &presence->due);
    frame_unref(presence->crowd);
    table_clear(&presence->people);
    key_unref(presence->key);
    free(presence);
}
