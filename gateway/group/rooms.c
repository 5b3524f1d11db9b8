#include "group/rooms.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "group/home.h"
#include "group/store.h"
#include "websocket/frame.h"

#define ROOM_MEMORY 512       /* what a room costs beside its messages, by estimate */
#define ROOMS_TRIED 64        /* when memory is to be found */
#define TIMER_LEAST 1000      /* ms */
#define TIMER_MOST (3600000u) /* ms */

enum state { LOADING, OPEN, BROKEN };

/* A message that was taken in and waits for positions that are not reserved yet. */
struct applicant {
    struct applicant *next;
    uint64_t offset;
    room_settled_fn settled;
    void *arg;
};

struct room {
    struct shared_key *key;
    struct rooms *rooms;
    struct room *older, *newer;
    enum state state;
    struct past past;
    size_t counted;             /* of it in the rooms' memory */
    struct mail *first, **last; /* errands */
    size_t unsettled;           /* messages kept and neither heard nor lost */
    bool goes_on;               /* an errand is being done */
    struct timer expiry;
    struct store_room *stored;
    uint64_t reserved, reserving; /* offsets up to these */
    struct applicant *applicants, **last_applicant;
};

static uint64_t now_ms(const struct rooms *rooms) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + rooms->later_ms;
}

/* --- by use --- */

static void unlink_room(struct room *room) {
    struct rooms *rooms = room->rooms;
    if (room->older != NULL)
        room->older->newer = room->newer;
    else
        rooms->oldest = room->newer;
    if (room->newer != NULL)
        room->newer->older = room->older;
    else
        rooms->newest = room->older;
}

static void link_newest(struct room *room) {
    struct rooms *rooms = room->rooms;
    room->older = rooms->newest;
    room->newer = NULL;
    *(rooms->newest != NULL ? &rooms->newest->newer : &rooms->oldest) = room;
    rooms->newest = room;
}

static void use(struct room *room) {
    if (room->newer == NULL)
        return;
    unlink_room(room);
    link_newest(room);
}

/* --- memory --- */

static void forget(struct room *room) {
    struct rooms *rooms = room->rooms;
    assert(room->first == NULL && room->unsettled == 0 && room->applicants == NULL);
    if (room->stored != NULL)
        store_let_go(rooms->store, room->stored);
    loop_timer_clear(rooms->loop, &room->expiry);
    table_remove(&rooms->by_key, room->key->key.hash, room);
    unlink_room(room);
    past_clear(&room->past);
    rooms->memory -= room->counted;
    key_unref(room->key);
    free(room);
}

static void count_memory(struct room *room) {
    size_t memory = ROOM_MEMORY + room->past.memory;
    room->rooms->memory += memory - room->counted;
    room->counted = memory;
}

static bool is_idle(const struct room *room) {
    return room->state != LOADING && !room->goes_on && room->first == NULL &&
           room->unsettled == 0 && room->reserving <= room->reserved;
}

/* What a store has can be read again. Without one the oldest messages go, and the room when nobody
   is in it who has its epoch. */
static void shrink(struct room *room) {
    struct rooms *rooms = room->rooms;
    if (rooms->store != NULL) {
        if (is_idle(room))
            forget(room);
        else
            use(room);
        return;
    }
    while (rooms->memory > rooms->memory_max && past_trim_one(&room->past))
        count_memory(room);
    if (room->past.count == 0 && home_find(rooms->homes, &room->key->key) == NULL)
        forget(room);
    else
        use(room);
}

/* The newest is in use, and shrinks only when it is alone too much. */
static void find_memory(struct rooms *rooms) {
    struct room *newest = rooms->newest, *room = rooms->oldest;
    unsigned tried = 0;
    assert(newest != NULL);
    while (rooms->memory > rooms->memory_max && room != newest && tried++ < ROOMS_TRIED) {
        struct room *next = room->newer;
        shrink(room);
        room = next;
    }
    use(newest);
    while (rooms->store == NULL && rooms->memory > rooms->memory_max &&
           past_trim_one(&newest->past))
        count_memory(newest);
}

/* --- age --- */

static void watch_age(struct room *room) {
    struct rooms *rooms = room->rooms;
    if (room->past.heard == 0 || past_at(&room->past, 0)->expires_ms == UINT64_MAX)
        return;
    uint64_t at = past_at(&room->past, 0)->expires_ms, now = now_ms(rooms);
    uint64_t ms = at > now ? at - now : 0;
    ms = ms < TIMER_LEAST ? TIMER_LEAST : ms > TIMER_MOST ? TIMER_MOST : ms;
    loop_timer_set(rooms->loop, &room->expiry, ms);
}

static void expire(struct room *room) {
    past_expire(&room->past, now_ms(room->rooms));
    count_memory(room);
    watch_age(room);
}

static void on_expiry(struct timer *timer) {
    expire((struct room *)((char *)timer - offsetof(struct room, expiry)));
}

/* --- rooms --- */

static bool is_room(const void *item, const void *wanted) {
    const struct room *room = item;
    return key_equal(&room->key->key, wanted);
}

struct room *rooms_find(const struct rooms *rooms, const struct group_key *key) {
    return table_find(&rooms->by_key, key->hash, is_room, key);
}

static void on_loaded(void *arg, struct store_loaded *loaded);

static struct room *make(struct rooms *rooms, const struct group_key *key) {
    struct room *room = calloc(1, sizeof(*room));
    if (room == NULL)
        abort();
    room->rooms = rooms;
    room->key = key_share(key);
    room->last = &room->first;
    room->last_applicant = &room->applicants;
    room->expiry.run = on_expiry;
    table_add(&rooms->by_key, key->hash, room);
    link_newest(room);
    count_memory(room);
    return room;
}

struct room *rooms_open(struct rooms *rooms, const struct group_key *key) {
    struct room *room = rooms_find(rooms, key);
    if (room != NULL) {
        use(room);
        return room;
    }
    room = make(rooms, key);
    if (rooms->store != NULL) {
        store_load(rooms->store, key, on_loaded, room);
    } else {
        room->state = OPEN;
        room->past.epoch = rooms->epochs++;
        if (rooms->epochs == 0)
            rooms->epochs = 1;
    }
    find_memory(rooms);
    return room;
}

struct past *room_past(struct room *room) {
    if (room->state != OPEN)
        return NULL;
    past_expire(&room->past, now_ms(room->rooms));
    count_memory(room);
    return &room->past;
}

bool rooms_each(const struct rooms *rooms, bool (*fn)(void *arg, struct room *room), void *arg) {
    const struct table *table = &rooms->by_key;
    for (size_t slot = 0; slot < table->capacity; slot++)
        if (table->slots[slot].item != NULL && !fn(arg, table->slots[slot].item))
            return false;
    return true;
}

const struct group_key *room_key(const struct room *room) { return &room->key->key; }

/* --- errands --- */

static struct errand *errand_of(struct mail *mail) { return (struct errand *)mail; }

void rooms_go_on(struct room *room) {
    struct loop *loop = room->rooms->loop;
    room->goes_on = true;
    while (room->first != NULL && !errand_of(room->first)->waits) {
        struct mail *mail = room->first;
        room->first = mail->next;
        if (room->first == NULL)
            room->last = &room->first;
        mail->deliver(mail, loop);
    }
    room->goes_on = false;
    if (room->state == BROKEN && room->first == NULL)
        forget(room); /* whoever comes next tries again */
}

void rooms_do(struct room *room, struct errand *errand) {
    if (room->state != LOADING && errand->prepare != NULL)
        errand->prepare(errand, room);
    errand->mail.next = NULL;
    *room->last = &errand->mail;
    room->last = &errand->mail.next;
    if (room->state != LOADING)
        rooms_go_on(room);
}

/* --- reading --- */

static void take_over(struct room *room, struct store_loaded *loaded) {
    room->stored = loaded->room;
    room->past.epoch = loaded->epoch;
    for (size_t at = 0; at < loaded->count; at++) {
        const struct stored_message *stored = &loaded->messages[at];
        past_add(&room->past,
                 &(struct past_message){.offset = stored->offset,
                                        .time_ms = stored->time_ms,
                                        .expires_ms = stored->expires_ms,
                                        .frame = stored->frame},
                 stored->key);
        past_hear(&room->past);
    }
    room->past.gone = loaded->gone;
    room->past.last = loaded->last;
    room->reserved = room->reserving = loaded->last;
}

static void on_loaded(void *arg, struct store_loaded *loaded) {
    struct room *room = arg;
    room->state = loaded->room == NULL ? BROKEN : OPEN;
    if (loaded->room != NULL)
        take_over(room, loaded);
    store_loaded_free(loaded);
    count_memory(room);
    watch_age(room);
    for (struct mail *mail = room->first; mail != NULL; mail = mail->next)
        if (errand_of(mail)->prepare != NULL)
            errand_of(mail)->prepare(errand_of(mail), room);
    use(room);
    find_memory(room->rooms);
    rooms_go_on(room);
}

/* --- keeping --- */

static bool write_message(struct room *room, const struct past_message *message, const char *key,
                          room_settled_fn settled, void *arg) {
    const struct store_message written = {.offset = message->offset,
                                          .time_ms = message->time_ms,
                                          .expires_ms = message->expires_ms,
                                          .gone = room->past.gone,
                                          .frame = message->frame,
                                          .key = key};
    return store_keep(room->rooms->store, room->stored, &written, settled, arg);
}

static void take_in(struct room *room, const struct past_message *message, const char *key) {
    past_add(&room->past, message, key);
    room->unsettled++;
    count_memory(room);
}

/* Only now is it written: what could not be kept must not be found later. */
static void settle(struct room *room, const struct applicant *applicant, bool reserved) {
    const struct past *past = &room->past;
    size_t at = past->count;
    while (past_at(past, at - 1)->offset != applicant->offset)
        at--;
    const struct past_message *message = past_at(past, at - 1);
    const char *key = message->key == NULL ? NULL : message->key->text;
    applicant->settled(applicant->arg, reserved && write_message(room, message, key, NULL, NULL));
}

static void on_reserved(void *arg, bool reserved) {
    struct room *room = arg;
    struct applicant *applicant = room->applicants;
    if (reserved)
        room->reserved = room->reserving;
    else
        room->reserving = room->reserved;
    room->applicants = NULL;
    room->last_applicant = &room->applicants;
    while (applicant != NULL) {
        struct applicant *next = applicant->next;
        settle(room, applicant, reserved);
        free(applicant);
        applicant = next;
    }
}

static void reserve(struct room *room, uint64_t offset) {
    if (room->reserving > room->reserved || offset + STORE_BLOCK / 2 <= room->reserved)
        return;
    room->reserving = offset + STORE_BLOCK;
    store_reserve(room->rooms->store, room->stored, room->reserving, on_reserved, room);
}

static void apply_for(struct room *room, uint64_t offset, room_settled_fn settled, void *arg) {
    struct applicant *applicant = calloc(1, sizeof(*applicant));
    if (applicant == NULL)
        abort();
    *applicant = (struct applicant){.offset = offset, .settled = settled, .arg = arg};
    *room->last_applicant = applicant;
    room->last_applicant = &applicant->next;
}

static enum keep keep_at_once(struct room *room, const struct past_message *message,
                              const char *key, room_settled_fn settled, void *arg) {
    reserve(room, message->offset);
    if (message->offset > room->reserved) {
        take_in(room, message, key);
        apply_for(room, message->offset, settled, arg);
        return KEEP_LATER;
    }
    if (!write_message(room, message, key, NULL, NULL))
        return KEEP_FULL;
    take_in(room, message, key);
    return KEEP_NOW;
}

static void stamp_frame(struct frame *frame, uint32_t stamp, uint64_t offset) {
    char digits[24];
    if (stamp == 0)
        return;
    int size =
        snprintf(digits, sizeof(digits), "%*llu", GROUP_STAMP_SIZE, (unsigned long long)offset);
    if (size == GROUP_STAMP_SIZE)
        frame_write_over(frame, stamp, digits, GROUP_STAMP_SIZE);
}

enum keep room_keep(struct room *room, struct frame *frame, const char *key, uint32_t stamp,
                    const struct group_terms *terms, room_settled_fn settled, void *arg) {
    const struct rooms *rooms = room->rooms;
    uint64_t now = now_ms(rooms);
    struct past_message message = {.offset = room->past.last + 1,
                                   .time_ms = now,
                                   .expires_ms = terms->age_s == 0 ? UINT64_MAX
                                                                   : now + terms->age_s * 1000ull,
                                   .frame = frame};
    stamp_frame(frame, stamp, message.offset);
    if (rooms->store == NULL) {
        take_in(room, &message, key);
        return KEEP_NOW;
    }
    if (rooms->at_once)
        return keep_at_once(room, &message, key, settled, arg);
    if (!write_message(room, &message, key, settled, arg))
        return KEEP_FULL;
    take_in(room, &message, key);
    return KEEP_LATER;
}

void room_heard(struct room *room, const struct group_terms *terms) {
    room->unsettled--;
    past_hear(&room->past);
    past_trim(&room->past, terms);
    if (room->expiry.slot == 0)
        watch_age(room);
    count_memory(room);
    find_memory(room->rooms);
}

void room_lost(struct room *room) {
    room->unsettled--;
    past_drop(&room->past);
    count_memory(room);
}

/* --- their life --- */

void rooms_init(struct rooms *rooms) {
    if (getrandom(&rooms->epochs, sizeof(rooms->epochs), 0) != (ssize_t)sizeof(rooms->epochs))
        abort();
    rooms->epochs += rooms->epochs == 0;
}

void rooms_clear(struct rooms *rooms) {
    for (struct room *room = rooms->oldest, *next; room != NULL; room = next) {
        next = room->newer;
        forget(room);
    }
    table_clear(&rooms->by_key);
}
