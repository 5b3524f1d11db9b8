#include "group/view.h"

#include <assert.h>
#include <stdlib.h>

#include "websocket/frame.h"
#include "websocket/session.h"

#define EVENTS_KEPT 64

/* One who hears, with all that a delivery reads of it, so that a walk over many stays in a few
   lines of cache. */
struct hearer {
    uint64_t id;
    struct session *session; /* NULL: hears by events */
    struct membership *membership;
};

struct view {
    struct shared_key *key;
    struct hearer *hearers;
    size_t count, capacity;
    size_t memberships; /* all that exist, those included that hear nothing yet or no more */
};

struct event {
    struct membership *membership;
    struct frame *frame;
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

static bool is_membership(const void *item, const void *wanted) {
    const struct membership *membership = item;
    const uint64_t *serial = wanted;
    return membership->serial == *serial;
}

static struct membership *find_membership(const struct views *views, uint64_t serial) {
    return table_find(&views->memberships, table_hash(serial), is_membership, &serial);
}

struct membership *view_membership(const struct member *member, const struct group_key *key) {
    struct membership *at = member->memberships;
    while (at != NULL && (at->state != MEMBERSHIP_IN || !key_equal(view_key(at), key)))
        at = at->next;
    return at;
}

const struct group_key *view_key(const struct membership *membership) {
    return &membership->view->key->key;
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

static void add_hearer(struct membership *membership) {
    struct view *view = membership->view;
    if (view->count == view->capacity) {
        view->capacity = view->capacity == 0 ? 4 : view->capacity * 2;
        view->hearers = resized(view->hearers, view->capacity, sizeof(*view->hearers));
    }
    view->hearers[view->count++] =
        (struct hearer){membership->member->id, membership->member->session, membership};
    membership->place = view->count;
}

/* The last one takes the place. No walk is under way: nothing that a walk calls comes back. */
static void remove_hearer(struct membership *membership) {
    struct view *view = membership->view;
    if (membership->place == 0)
        return;
    struct hearer *hole = &view->hearers[membership->place - 1];
    *hole = view->hearers[--view->count];
    hole->membership->place = membership->place;
    membership->place = 0;
    if (view->capacity > 16 && view->count < view->capacity / 4) {
        view->capacity /= 2;
        view->hearers = resized(view->hearers, view->capacity, sizeof(*view->hearers));
    }
}

/* --- memberships --- */

static void forget_member(struct membership *membership) {
    struct membership **link = &membership->member->memberships;
    while (*link != membership)
        link = &(*link)->next;
    *link = membership->next;
    membership->member = NULL;
}

static void drop(struct views *views, struct membership *membership) {
    if (--membership->holds > 0)
        return;
    if (membership->member != NULL)
        forget_member(membership);
    release_view(views, membership->view);
    free(membership);
}

struct membership *view_join(struct views *views, struct member *member,
                             const struct group_key *key) {
    struct membership *membership = calloc(1, sizeof(*membership));
    if (membership == NULL)
        abort();
    membership->member = member;
    membership->next = member->memberships;
    member->memberships = membership;
    member->count++;
    membership->view = view_of(views, key);
    membership->view->memberships++;
    membership->holds = 1;
    membership->serial = ++views->serials << 8 | loop_index(views->loop);
    table_add(&views->memberships, table_hash(membership->serial), membership);
    return membership;
}

void view_joined(struct views *views, uint64_t serial, unsigned flags) {
    struct membership *membership = find_membership(views, serial);
    if (membership == NULL)
        return;
    if (membership->place == 0)
        add_hearer(membership);
    struct hearer *hearer = &membership->view->hearers[membership->place - 1];
    hearer->session = (flags & GROUP_EVENTS) != 0 ? NULL : membership->member->session;
}

void view_leave(struct membership *membership) {
    assert(membership->state == MEMBERSHIP_IN);
    membership->state = MEMBERSHIP_LEAVING;
    membership->member->count--;
}

/* Letters with its serial mean nothing from here on. */
static void forget_serial(struct views *views, struct membership *membership) {
    table_remove(&views->memberships, table_hash(membership->serial), membership);
    remove_hearer(membership);
    membership->state = MEMBERSHIP_LEFT;
}

void view_left(struct views *views, uint64_t serial) {
    struct membership *membership = find_membership(views, serial);
    if (membership == NULL)
        return;
    forget_serial(views, membership);
    drop(views, membership);
}

void view_end(struct views *views, struct membership *membership) {
    if (membership->state == MEMBERSHIP_IN)
        view_leave(membership);
    forget_member(membership);
    if (membership->state == MEMBERSHIP_LEFT)
        return; /* its last event under way frees it */
    forget_serial(views, membership);
    drop(views, membership);
}

/* --- deliveries --- */

static void add_event(struct views *views, struct membership *membership, struct frame *frame) {
    if (views->event_count == views->event_capacity) {
        views->event_capacity =
            views->event_capacity == 0 ? EVENTS_KEPT : views->event_capacity * 2;
        views->events = resized(views->events, views->event_capacity, sizeof(*views->events));
    }
    membership->holds++;
    views->events[views->event_count++] = (struct event){membership, frame_ref(frame)};
    loop_queue(views->loop, LOOP_CALLS, &views->tell);
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
        struct membership *membership = events[at].membership;
        struct member *member = membership->member;
        if (member != NULL)
            member->events->event(member, view_key(membership)->name, events[at].frame);
        drop(views, membership);
        frame_unref(events[at].frame);
    }
    if (views->events != NULL || capacity > EVENTS_KEPT) {
        free(events);
        return;
    }
    views->events = events;
    views->event_capacity = capacity;
}

void view_deliver(struct views *views, const struct group_key *key, struct frame *frame,
                  uint64_t except, struct group_report *report) {
    const struct view *view = find_view(views, key);
    if (view == NULL)
        return;
    for (size_t at = 0; at < view->count; at++) {
        const struct hearer *hearer = &view->hearers[at];
        if (hearer->id == except)
            continue;
        report->matched++;
        if (hearer->session == NULL) {
            add_event(views, hearer->membership, frame);
            report->queued++;
        } else if (session_share(hearer->session, frame) == SESSION_SENT) {
            report->queued++;
        } else {
            report->dropped++;
        }
    }
}

/* --- its life --- */

void view_init(struct views *views, struct loop *loop) {
    *views = (struct views){.loop = loop, .tell = {.run = tell_events}};
}

void view_clear(struct views *views) {
    loop_unqueue(views->loop, LOOP_CALLS, &views->tell);
    for (size_t at = 0; at < views->event_count; at++) {
        drop(views, views->events[at].membership);
        frame_unref(views->events[at].frame);
    }
    free(views->events);
    struct membership *membership;
    while ((membership = table_any(&views->memberships)) != NULL)
        view_end(views, membership);
    table_clear(&views->memberships);
    table_clear(&views->by_key);
}
