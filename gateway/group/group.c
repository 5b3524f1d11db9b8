#include "group/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "group/home.h"
#include "group/key.h"
#include "group/post.h"
#include "group/serial.h"
#include "group/view.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "websocket/frame.h"
#include "websocket/utf8.h"

struct groups {
    struct loop *loop;
    struct views views;
    struct homes homes;
};

/*
 * Letters. One that asks goes back as its own answer, so that whoever answers remembers nothing.
 * Threads are named by number, memberships by serial: what a letter speaks of may have ended when
 * it arrives.
 */

/* join: from the member's thread to the home and back. */
struct join_letter {
    struct mail mail;
    struct shared_key *key;
    struct home_member member;
    unsigned flags;
    char info[];
};

/* leave: from the member's thread to the home and, unless the member has ended, back. */
struct leave_letter {
    struct mail mail;
    struct shared_key *key;
    uint64_t serial;
};

/* Adds up what became of one message; travels with it to the home, stays there, goes back. */
struct tally {
    struct mail mail;
    struct group_tally asked;
    struct group_report sum;
    unsigned thread;  /* the one that asked */
    unsigned waiting; /* deliveries that have not reported */
};

/* A message: to the home to be ordered, or from the home to be heard and, with a tally, back. */
struct message_letter {
    struct mail mail;
    struct shared_key *key;
    struct frame *frame;
    uint64_t except;
    struct tally *tally; /* NULL: nobody asked. Touched at the home alone while it is there. */
    struct group_report report;
};

/* list: from the thread that asks to the home and back. */
struct list_letter {
    struct mail mail;
    struct shared_key *key;
    size_t most;
    group_listing_fn fn;
    void *arg;
    unsigned thread; /* the one that asked */
    struct listing *listing;
};

static void *new_letter(size_t size) {
    void *letter = calloc(1, size);
    if (letter == NULL)
        abort();
    return letter;
}

static unsigned home_of(const struct group_key *key) { return key_home(key, post_threads()); }

static bool is_home(const struct groups *groups, const struct group_key *key) {
    return home_of(key) == loop_index(groups->loop);
}

/* --- joining and leaving --- */

static void on_joined(struct mail *mail, struct loop *to) {
    struct join_letter *letter = (struct join_letter *)mail;
    struct views *views = &groups_of(to)->views;
    uint32_t membership = view_find(views, letter->member.serial);
    if (membership != 0)
        view_joined(views, membership, letter->flags);
    free(letter);
}

static void on_join(struct mail *mail, struct loop *to) {
    struct join_letter *letter = (struct join_letter *)mail;
    struct homes *homes = &groups_of(to)->homes;
    uint32_t record = home_record(homes, letter->member.serial);
    if (record == 0)
        home_join(homes, &letter->key->key, &letter->member);
    else
        home_set_info(homes, record, letter->member.info);
    key_unref(letter->key);
    post_letter(serial_thread(letter->member.serial), mail, on_joined);
}

static struct home_member presented(const struct views *views, uint32_t membership,
                                    const char *info) {
    return (struct home_member){view_serial(views, membership),
                                view_at(views, membership)->member->id, info};
}

static void post_join(struct groups *groups, uint32_t membership, const char *info,
                      unsigned flags) {
    size_t info_size = strlen(info) + 1;
    struct join_letter *letter = new_letter(sizeof(*letter) + info_size);
    letter->key = key_ref(view_key(view_at(&groups->views, membership)));
    letter->member = presented(&groups->views, membership, memcpy(letter->info, info, info_size));
    letter->flags = flags;
    post_letter(home_of(&letter->key->key), &letter->mail, on_join);
}

static void join_at_home(struct groups *groups, uint32_t membership, const char *info,
                         unsigned flags) {
    struct membership *joins = view_at(&groups->views, membership);
    struct home_member member = presented(&groups->views, membership, info);
    if (joins->record == 0)
        joins->record = home_join(&groups->homes, &view_key(joins)->key, &member);
    else
        home_set_info(&groups->homes, joins->record, info);
    view_joined(&groups->views, membership, flags);
}

static void on_left(struct mail *mail, struct loop *to) {
    struct leave_letter *letter = (struct leave_letter *)mail;
    struct views *views = &groups_of(to)->views;
    uint32_t membership = view_find(views, letter->serial);
    if (membership != 0)
        view_left(views, membership);
    free(letter);
}

/* The join came before, on the same way. */
static void leave_home(struct homes *homes, struct leave_letter *letter) {
    home_leave(homes, &letter->key->key, home_record(homes, letter->serial));
    key_unref(letter->key);
}

static void on_leave(struct mail *mail, struct loop *to) {
    struct leave_letter *letter = (struct leave_letter *)mail;
    leave_home(&groups_of(to)->homes, letter);
    post_letter(serial_thread(letter->serial), mail, on_left);
}

static void on_end(struct mail *mail, struct loop *to) {
    struct leave_letter *letter = (struct leave_letter *)mail;
    leave_home(&groups_of(to)->homes, letter);
    free(letter);
}

static void post_leave(struct groups *groups, uint32_t membership,
                       void (*deliver)(struct mail *, struct loop *)) {
    struct leave_letter *letter = new_letter(sizeof(*letter));
    letter->key = key_ref(view_key(view_at(&groups->views, membership)));
    letter->serial = view_serial(&groups->views, membership);
    post_letter(home_of(&letter->key->key), &letter->mail, deliver);
}

static void leave_at_home(struct groups *groups, uint32_t membership) {
    const struct membership *leaves = view_at(&groups->views, membership);
    home_leave(&groups->homes, &view_key(leaves)->key, leaves->record);
}

/* --- sending --- */

static void on_report(struct mail *mail, struct loop *to) {
    struct tally *tally = (struct tally *)mail;
    (void)to;
    tally->asked.report(tally->asked.arg, &tally->sum);
    free(tally);
}

static void add_report(struct tally *tally, const struct group_report *report) {
    tally->sum.matched += report->matched;
    tally->sum.queued += report->queued;
    tally->sum.dropped += report->dropped;
    if (--tally->waiting == 0)
        post_letter(tally->thread, &tally->mail, on_report);
}

static struct tally *create_tally(const struct groups *groups, const struct group_tally *asked) {
    if (asked == NULL)
        return NULL;
    struct tally *tally = new_letter(sizeof(*tally));
    tally->asked = *asked;
    tally->thread = loop_index(groups->loop);
    return tally;
}

static struct message_letter *create_message(struct shared_key *key, struct frame *frame,
                                             uint64_t except, struct tally *tally) {
    struct message_letter *letter = new_letter(sizeof(*letter));
    letter->key = key;
    letter->frame = frame_ref(frame);
    letter->except = except;
    letter->tally = tally;
    return letter;
}

static void free_message(struct message_letter *letter) {
    key_unref(letter->key);
    frame_unref(letter->frame);
    free(letter);
}

/* A letter counts as under way until its thread has dealt with it. */
static size_t memory_of(const struct message_letter *letter) {
    size_t size;
    frame_bytes(letter->frame, &size);
    return sizeof(*letter) + size;
}

static void post_message(unsigned thread, struct message_letter *letter,
                         void (*deliver)(struct mail *, struct loop *)) {
    post_sets_out(thread, memory_of(letter));
    post_letter(thread, &letter->mail, deliver);
}

static void on_delivered(struct mail *mail, struct loop *to) {
    struct message_letter *letter = (struct message_letter *)mail;
    (void)to;
    add_report(letter->tally, &letter->report);
    free_message(letter);
}

static void on_delivery(struct mail *mail, struct loop *to) {
    struct message_letter *letter = (struct message_letter *)mail;
    const struct group_key *key = &letter->key->key;
    view_deliver(&groups_of(to)->views, key, letter->frame, letter->except, &letter->report);
    post_arrived(loop_index(to), memory_of(letter));
    if (letter->tally == NULL)
        free_message(letter);
    else
        post_letter(home_of(key), mail, on_delivered);
}

/* To each other thread that has members. */
static void post_deliveries(const struct groups *groups, const struct home *home,
                            const struct message_letter *message) {
    for (unsigned thread = 0; thread < post_threads(); thread++) {
        if (home->on_thread[thread] == 0 || thread == loop_index(groups->loop))
            continue;
        struct message_letter *letter =
            create_message(key_ref(home->key), message->frame, message->except, message->tally);
        post_message(thread, letter, on_delivery);
        if (message->tally != NULL)
            message->tally->waiting++;
    }
}

/* At the home: the message's place in the order is where this call stands among the others. */
static void order(struct groups *groups, const struct group_key *key,
                  const struct message_letter *message) {
    struct tally *tally = message->tally;
    struct home *home = home_find(&groups->homes, key);
    struct group_report here = {0};
    if (tally != NULL) {
        tally->sum.position = home == NULL ? 1 : home->position + 1;
        tally->waiting = 1; /* this thread's own */
    }
    counters_add(COUNTER_GROUP_MESSAGES, 1);
    if (home != NULL) {
        home->position++;
        view_deliver(&groups->views, key, message->frame, message->except, &here);
        post_deliveries(groups, home, message);
    }
    if (tally != NULL)
        add_report(tally, &here);
}

static void on_message(struct mail *mail, struct loop *to) {
    struct message_letter *letter = (struct message_letter *)mail;
    order(groups_of(to), &letter->key->key, letter);
    post_arrived(loop_index(to), memory_of(letter));
    free_message(letter);
}

/* --- listing --- */

static void on_listed(struct mail *mail, struct loop *to) {
    struct list_letter *letter = (struct list_letter *)mail;
    const struct listing *listing = letter->listing;
    (void)to;
    letter->fn(letter->arg, listing->members, listing->count, listing->total);
    free(letter->listing);
    free(letter);
}

/* At the home, which may be the thread that asks: its answer waits for the next stage then. */
static void answer_list(struct groups *groups, const struct group_key *key,
                        struct list_letter *letter) {
    letter->listing = home_list(&groups->homes, key, letter->most);
    post_letter(letter->thread, &letter->mail, on_listed);
}

static void on_list(struct mail *mail, struct loop *to) {
    struct list_letter *letter = (struct list_letter *)mail;
    struct shared_key *key = letter->key;
    answer_list(groups_of(to), &key->key, letter);
    key_unref(key);
}

/* --- their life --- */

static struct groups *create_groups(struct loop *loop, unsigned threads,
                                    const struct member_events *events) {
    struct groups *groups = new_letter(sizeof(*groups));
    groups->loop = loop;
    view_init(&groups->views, loop, events);
    home_init(&groups->homes, loop_index(loop), threads);
    return groups;
}

void groups_create_all(struct loop **loops, unsigned count, const struct member_events *events) {
    uint64_t seed[2];
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        abort();
    key_seed(seed[0], seed[1]);
    post_open(loops, count);
    for (unsigned at = 0; at < count; at++)
        loop_set_local(loops[at], LOOP_GROUPS, create_groups(loops[at], count, events));
}

void groups_free_all(struct loop **loops, unsigned count) {
    for (unsigned at = 0; at < count; at++) {
        struct groups *groups = groups_of(loops[at]);
        view_clear(&groups->views);
        home_clear(&groups->homes);
        loop_set_local(loops[at], LOOP_GROUPS, NULL);
        free(groups);
    }
    post_close();
}

struct groups *groups_of(const struct loop *loop) {
    return loop_local(loop, LOOP_GROUPS);
}

struct group_counts groups_count(const struct groups *groups) {
    return (struct group_counts){.memberships = groups->views.memberships.count,
                                 .views = groups->views.by_key.count,
                                 .homes = groups->homes.by_key.count,
                                 .members = groups->homes.records.count};
}

/* --- what may be said --- */

/* The controls of Unicode, U+0000 to U+001F and U+007F to U+009F; the latter are two bytes. */
static bool has_controls(const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    for (; *at != 0; at++)
        if (*at < 0x20 || *at == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0))
            return true;
    return false;
}

static bool is_text(const char *text, size_t size_max) {
    size_t size = strnlen(text, size_max + 1);
    return size <= size_max && utf8_valid(text, size);
}

bool group_name_valid(const char *name) {
    return name != NULL && *name != '\0' && is_text(name, GROUP_NAME_MAX) && !has_controls(name);
}

/* --- the calls --- */

enum group_result group_join(struct groups *groups, struct member *member, const char *space,
                             const char *name, const char *info, unsigned flags, unsigned most) {
    if (!group_name_valid(name) || (info != NULL && !is_text(info, GROUP_INFO_MAX)))
        return GROUP_INVALID;
    assert(member->id != 0);
    struct views *views = &groups->views;
    struct group_key key = key_of(space, name);
    uint32_t membership = view_membership(views, member, &key);
    if (membership == 0 && (member->count >= most || member->count == UINT16_MAX))
        return GROUP_FULL;
    if (membership == 0)
        membership = view_join(views, member, &key, is_home(groups, &key));
    if (view_at(views, membership)->at_home)
        join_at_home(groups, membership, info == NULL ? "" : info, flags);
    else
        post_join(groups, membership, info == NULL ? "" : info, flags);
    return GROUP_OK;
}

enum group_result group_leave(struct groups *groups, struct member *member, const char *space,
                              const char *name) {
    if (!group_name_valid(name))
        return GROUP_INVALID;
    struct views *views = &groups->views;
    struct group_key key = key_of(space, name);
    uint32_t membership = view_membership(views, member, &key);
    if (membership == 0)
        return GROUP_OK;
    view_leave(views, membership);
    if (view_at(views, membership)->at_home) {
        leave_at_home(groups, membership);
        view_left(views, membership);
    } else {
        post_leave(groups, membership, on_leave);
    }
    return GROUP_OK;
}

void group_leave_all(struct groups *groups, struct member *member) {
    uint32_t membership;
    while ((membership = member->memberships) != 0) {
        const struct membership *ends = view_at(&groups->views, membership);
        if (ends->state == MEMBERSHIP_IN && ends->at_home)
            leave_at_home(groups, membership);
        else if (ends->state == MEMBERSHIP_IN)
            post_leave(groups, membership, on_end);
        view_end(&groups->views, membership);
    }
}

enum group_result group_send(struct groups *groups, const char *space, const char *name,
                             struct frame *frame, uint64_t except,
                             const struct group_tally *tally) {
    if (!group_name_valid(name))
        return GROUP_INVALID;
    if (post_is_full())
        return GROUP_FULL;
    struct group_key key = key_of(space, name);
    if (is_home(groups, &key)) {
        struct message_letter message = {
            .frame = frame, .except = except, .tally = create_tally(groups, tally)};
        order(groups, &key, &message);
        return GROUP_OK;
    }
    struct message_letter *letter = create_message(view_share_key(&groups->views, &key), frame,
                                                   except, create_tally(groups, tally));
    post_message(home_of(&key), letter, on_message);
    return GROUP_OK;
}

enum group_result group_send_any(const char *space, const char *name, struct frame *frame,
                                 uint64_t except) {
    if (!group_name_valid(name))
        return GROUP_INVALID;
    if (post_threads() == 0)
        return GROUP_OK; /* no loop, so no member */
    if (loop_current() != NULL)
        return group_send(groups_of(loop_current()), space, name, frame, except, NULL);
    if (post_is_full())
        return GROUP_FULL;
    struct group_key key = key_of(space, name);
    struct message_letter *letter = create_message(key_share(&key), frame, except, NULL);
    post_message(home_of(&key), letter, on_message);
    return GROUP_OK;
}

enum group_result group_list(struct groups *groups, const char *space, const char *name,
                             size_t most, group_listing_fn fn, void *arg) {
    if (!group_name_valid(name))
        return GROUP_INVALID;
    struct group_key key = key_of(space, name);
    struct list_letter *letter = new_letter(sizeof(*letter));
    letter->most = most < GROUP_MEMBERS_MAX ? most : GROUP_MEMBERS_MAX;
    letter->fn = fn;
    letter->arg = arg;
    letter->thread = loop_index(groups->loop);
    if (is_home(groups, &key)) {
        answer_list(groups, &key, letter);
    } else {
        letter->key = view_share_key(&groups->views, &key);
        post_letter(home_of(&key), &letter->mail, on_list);
    }
    return GROUP_OK;
}
