#include "group/view.h"

#include <assert.h>
#include <stdlib.h>

#include "group/serial.h"
#include "observe/counters.h"
#include "websocket/frame.h"
#include "websocket/session.h"

#define EVENTS_KEPT 64

_Static_assert(sizeof(struct membership) == 32, "a membership has grown");

/* One who hears, with all that a delivery reads of it, so that a walk over many stays in a few
   lines of cache. */
struct hearer {
    struct session *session; /* NULL: hears by events */
    uint32_t membership;
    uint32_t id; /* the member's low bits, in which few are alike */
};

struct view {
    struct shared_key *key;
    struct hearer *hearers;
    uint32_t count, capacity;
    uint32_t memberships; /* all that exist, those included that hear nothing yet or no more */
};

/* TELL: of the replay whose frames come next; HEAR: by the event hook; SHARE: by the session. */
enum event_kind { TELL, HEAR, SHARE };

struct event {
    union {
        struct frame *frame;
        struct replay *replay;
    };
    uint32_t membership;
    enum event_kind kind;
};

static void *resized(void *array, size_t count, size_t size) {
    void *grown = reallocarray(array, count, size);
    if (grown == NULL)
        abort();
    return grown;
}

/* --- look-ups --- */

static bool is_view(const void *item, const void *wanted) {
    const struct view *view = item;
    return key_equal(&view->key->key, wanted);
}

static struct view *find_view(const struct views *views, const struct group_key *key) {
    return table_find(&views->by_key, key->hash, is_view, key);
}

struct membership *view_at(const struct views *views, uint32_t number) {
    return slab_at(&views->memberships, number);
}

/* A number that is no membership's any more has no generation. */
uint32_t view_find(const struct views *views, uint64_t serial) {
    struct slab_place place = serial_place(serial);
    const struct membership *membership = view_at(views, place.number);
    if (membership == NULL || membership->at_home || membership->generation != place.generation)
        return 0;
    return place.number;
}

uint32_t view_membership(const struct views *views, const struct member *member,
                         const struct group_key *key) {
    uint32_t number = member->memberships;
    while (number != 0) {
        const struct membership *at = view_at(views, number);
        if (at->state == MEMBERSHIP_IN && key_equal(&at->view->key->key, key))
            return number;
        number = at->next;
    }
    return 0;
}

uint64_t view_serial(const struct views *views, uint32_t number) {
    const struct membership *membership = view_at(views, number);
    uint32_t generation = membership->at_home ? 0 : membership->generation;
    return serial_of(loop_index(views->loop), (struct slab_place){number, generation});
}

struct shared_key *view_key(const struct membership *membership) {
    return membership->view->key;
}

struct shared_key *view_share_key(const struct views *views, const struct group_key *key) {
    const struct view *view = find_view(views, key);
    return view != NULL ? key_ref(view->key) : key_share(key);
}

/* --- views --- */

static struct view *view_of(struct views *views, const struct group_key *key) {
    struct view *view = find_view(views, key);
    if (view != NULL)
        return view;
    view = calloc(1, sizeof(*view));
    if (view == NULL)
        abort();
    view->key = key_share(key);
    table_add(&views->by_key, key->hash, view);
    return view;
}

static void release_view(struct views *views, struct view *view) {
    if (--view->memberships > 0)
        return;
    table_remove(&views->by_key, view->key->key.hash, view);
    key_unref(view->key);
    free(view->hearers);
    free(view);
}

static void resize_hearers(struct view *view, uint32_t capacity) {
    view->hearers = resized(view->hearers, capacity, sizeof(*view->hearers));
    view->capacity = capacity;
}

/* By a quarter: what is spare costs each member. */
static void add_hearer(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    struct view *view = membership->view;
    if (view->count == view->capacity)
        resize_hearers(view, view->capacity + view->capacity / 4 + 1);
    view->hearers[view->count++] = (struct hearer){NULL, number, (uint32_t)membership->member->id};
    membership->place = view->count;
}

/* The last one takes the place. No walk is under way: nothing that a walk calls comes back. */
static void remove_hearer(struct views *views, struct membership *membership) {
    struct view *view = membership->view;
    if (membership->place == 0)
        return;
    struct hearer *hole = &view->hearers[membership->place - 1];
    *hole = view->hearers[--view->count];
    view_at(views, hole->membership)->place = membership->place;
    membership->place = 0;
    if (view->capacity > 16 && view->count < view->capacity / 2)
        resize_hearers(view, view->capacity / 4 * 3);
}

/* --- memberships --- */

static void forget_member(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    uint32_t *link = &membership->member->memberships;
    while (*link != number)
        link = &view_at(views, *link)->next;
    *link = membership->next;
    membership->member = NULL;
}

static void drop(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    if (--membership->holds > 0)
        return;
    if (membership->member != NULL)
        forget_member(views, number);
    release_view(views, membership->view);
    slab_give(&views->memberships, number);
}

uint32_t view_join(struct views *views, struct member *member, const struct group_key *key,
                   bool at_home) {
    struct slab_place place = slab_take(&views->memberships);
    struct membership *membership = view_at(views, place.number);
    membership->member = member;
    membership->view = view_of(views, key);
    membership->view->memberships++;
    membership->holds = 1;
    membership->at_home = at_home;
    if (!at_home)
        membership->generation = place.generation;
    membership->next = member->memberships;
    member->memberships = place.number;
    member->count++;
    return place.number;
}

/* A hearer without a session hears by events, which go one behind the other. */
static void choose_way(struct views *views, const struct membership *membership) {
    struct hearer *hearer = &membership->view->hearers[membership->place - 1];
    bool in_line = membership->by_events || membership->catches_up;
    hearer->session = in_line ? NULL : views->members->session(membership->member);
    assert(in_line || hearer->session != NULL);
}

static struct event *add_event(struct views *views, uint32_t number);

static void play(struct views *views, uint32_t number, struct replay *replay) {
    enum event_kind kind = view_at(views, number)->by_events ? HEAR : SHARE;
    *add_event(views, number) = (struct event){{.replay = replay}, number, TELL};
    for (size_t at = 0; at < replay->told.count; at++)
        *add_event(views, number) = (struct event){{replay->frames[at]}, number, kind};
}

void view_joined(struct views *views, uint32_t number, unsigned flags, struct replay *replay) {
    struct membership *membership = view_at(views, number);
    if (membership->place == 0)
        add_hearer(views, number);
    membership->by_events = (flags & GROUP_EVENTS) != 0;
    if (replay != NULL)
        play(views, number, replay);
    if (membership->holds > 1)
        membership->catches_up = true;
    choose_way(views, membership);
}

static void free_replay(struct replay *replay) {
    free((struct group_person *)(uintptr_t)replay->told.people);
    free(replay);
}

void replay_end(struct replay *replay) {
    if (replay == NULL)
        return;
    for (size_t at = 0; at < replay->told.count; at++)
        frame_unref(replay->frames[at]);
    if (replay->joined != NULL)
        replay->joined(replay->arg, NULL);
    free_replay(replay);
}

void view_leave(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    assert(membership->state == MEMBERSHIP_IN);
    membership->state = MEMBERSHIP_LEAVING;
    membership->member->count--;
}

void view_left(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    remove_hearer(views, membership);
    membership->generation = 0;
    membership->state = MEMBERSHIP_LEFT;
    drop(views, number);
}

void view_end(struct views *views, uint32_t number) {
    const struct membership *membership = view_at(views, number);
    if (membership->state == MEMBERSHIP_IN)
        view_leave(views, number);
    forget_member(views, number);
    if (membership->state != MEMBERSHIP_LEFT) /* else its last event under way frees it */
        view_left(views, number);
}

/* --- deliveries --- */

/* Its place; the caller fills it. */
static struct event *add_event(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    if (views->event_count == views->event_capacity) {
        views->event_capacity =
            views->event_capacity == 0 ? EVENTS_KEPT : views->event_capacity * 2;
        views->events = resized(views->events, views->event_capacity, sizeof(*views->events));
    }
    assert(membership->holds < MEMBERSHIP_HOLDS_MAX);
    membership->holds++;
    loop_queue(views->loop, LOOP_CALLS, &views->tell);
    return &views->events[views->event_count++];
}

/* The frames behind it have events of their own. */
static void tell_joined(struct replay *replay, const struct member *member) {
    if (replay->joined != NULL)
        replay->joined(replay->arg, member == NULL ? NULL : &replay->told);
    free_replay(replay);
}

static void tell_frame(struct views *views, const struct event *event) {
    const struct membership *membership = view_at(views, event->membership);
    struct member *member = membership->member;
    if (member != NULL && event->kind == HEAR)
        views->members->event(member, view_key(membership)->key.name, event->frame);
    else if (member != NULL &&
             session_share(views->members->session(member), event->frame) != SESSION_SENT)
        counters_add(COUNTER_GROUP_MISSED, 1);
    frame_unref(event->frame);
}

/* Behind its last event a membership that has caught up hears directly. */
static void end_event(struct views *views, uint32_t number) {
    struct membership *membership = view_at(views, number);
    if (membership->holds == 2 && membership->catches_up && membership->place != 0) {
        membership->catches_up = false;
        choose_way(views, membership);
    }
    drop(views, number);
}

/* What the callbacks cause is added to a new array and waits for the next turn. Within a callback
   any membership may end; the hold keeps this one and the key's text. */
static void tell_events(struct loop_entry *entry) {
    struct views *views = (struct views *)((char *)entry - offsetof(struct views, tell));
    struct event *events = views->events;
    size_t count = views->event_count, capacity = views->event_capacity;
    views->events = NULL;
    views->event_count = views->event_capacity = 0;
    for (size_t at = 0; at < count; at++) {
        uint32_t number = events[at].membership;
        if (events[at].kind == TELL)
            tell_joined(events[at].replay, view_at(views, number)->member);
        else
            tell_frame(views, &events[at]);
        end_event(views, number);
    }
    if (views->events != NULL || capacity > EVENTS_KEPT) {
        free(events);
        return;
    }
    views->events = events;
    views->event_capacity = capacity;
}

static bool is_member(const struct views *views, const struct hearer *hearer, uint64_t id) {
    return hearer->id == (uint32_t)id && view_at(views, hearer->membership)->member->id == id;
}

void view_deliver(struct views *views, const struct group_key *key, struct frame *frame,
                  uint64_t except, struct group_report *report) {
    const struct view *view = find_view(views, key);
    if (view == NULL)
        return;
    const struct hearer *hearer = view->hearers;
    struct group_report before = *report;
    uint32_t events = 0;
    for (uint32_t left = view->count; left > 0; left--, hearer++) {
        if (is_member(views, hearer, except))
            continue;
        report->matched++;
        if (hearer->session == NULL) {
            bool hears = view_at(views, hearer->membership)->by_events;
            *add_event(views, hearer->membership) =
                (struct event){{frame_ref(frame)}, hearer->membership, hears ? HEAR : SHARE};
            events++;
            report->queued++;
        } else if (session_share(hearer->session, frame) == SESSION_SENT) {
            report->queued++;
        } else {
            report->dropped++;
        }
    }
    counters_add(COUNTER_GROUP_EVENTS, events);
    counters_add(COUNTER_MESSAGES_DELIVERED, report->queued - before.queued - events);
    counters_add(COUNTER_GROUP_MISSED, report->dropped - before.dropped);
}

/* --- its life --- */

void view_init(struct views *views, struct loop *loop, const struct member_events *members) {
    *views = (struct views){.loop = loop,
                            .members = members,
                            .memberships = {.item_size = sizeof(struct membership)},
                            .tell = {.run = tell_events}};
}

void view_clear(struct views *views) {
    loop_unqueue(views->loop, LOOP_CALLS, &views->tell);
    for (size_t at = 0; at < views->event_count; at++) {
        drop(views, views->events[at].membership);
        if (views->events[at].kind == TELL)
            free_replay(views->events[at].replay);
        else
            frame_unref(views->events[at].frame);
    }
    free(views->events);
    for (uint32_t number = slab_last(&views->memberships); number > 0; number--) {
        const struct membership *membership = view_at(views, number);
        if (membership != NULL && membership->view != NULL)
            view_end(views, number);
    }
    slab_clear(&views->memberships);
    table_clear(&views->by_key);
}
