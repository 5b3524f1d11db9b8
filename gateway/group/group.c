#include "group/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "group/home.h"
#include "group/key.h"
#include "group/past.h"
#include "group/post.h"
#include "group/presence.h"
#include "group/rooms.h"
#include "group/serial.h"
#include "group/store.h"
#include "group/view.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "websocket/frame.h"
#include "websocket/utf8.h"

#define MEMORY_DEFAULT ((size_t)256 << 20)

struct groups {
    struct loop *loop;
    struct views views;
    struct homes homes;
    struct rooms rooms;
};

/* Written before the loops run, then only read. */
static struct group_layer layer;

/*
 * Letters. One that asks goes back as its own answer, so that whoever answers remembers nothing.
 * Threads are named by number, memberships by serial: what a letter speaks of may have ended when
 * it arrives.
 */

/* join: from the member's thread to the home and back. */
struct join_letter {
    struct errand errand;
    struct shared_key *key;
    struct home_member member;
    struct group_wish wish;
    struct attendance *attendance; /* NULL: it is nobody */
    struct room *room;             /* NULL: nothing is kept */
    struct replay *replay;         /* NULL: none is wanted */
    char info[];
};

/* leave: from the member's thread to the home and, unless the member has ended, back. */
struct leave_letter {
    struct errand errand;
    struct shared_key *key;
    uint64_t serial;
    bool answers;
};

/* Adds up what became of one message; travels with it to the home, stays there, goes back. */
struct tally {
    struct mail mail;
    struct group_tally asked;
    struct group_report sum;
    unsigned thread;  /* the one that asked */
    unsigned waiting; /* deliveries that have not reported */
};

/* A message at its home, or on its way there. */
struct send_letter {
    struct errand errand;
    struct shared_key *key;
    struct group_message message; /* its key is `name` */
    struct tally *tally; /* NULL: nobody asked. Touched at the home alone while it is there */
    struct room *room;   /* NULL: nothing is kept */
    enum group_outcome outcome;
    struct group_position repeats; /* when it is GROUP_REPEATED: the other's */
    bool is_taken;                 /* it is in the room's past, and will be heard or lost */
    char name[];
};

/* A message from the home to those who hear on another thread and, with a tally, back. */
struct delivery_letter {
    struct mail mail;
    struct shared_key *key;
    struct frame *frame;
    uint64_t except;
    struct tally *tally;
    struct group_report report;
};

/* list: from the thread that asks to the home and back. */
struct list_letter {
    struct errand errand;
    struct shared_key *key;
    size_t most;
    group_listing_fn fn;
    void *arg;
    unsigned thread; /* the one that asked */
    struct listing *listing;
};

/* history: the same way. */
struct read_letter {
    struct errand errand;
    struct shared_key *key;
    struct group_terms terms;
    struct group_position since;
    size_t most;
    group_history_fn fn;
    void *arg;
    unsigned thread; /* the one that asked */
    struct room *room;
    struct group_history history;
};

static void *new_letter(size_t size) {
    void *letter = calloc(1, size);
    if (letter == NULL)
        abort();
    return letter;
}

static unsigned home_of(const struct group_key *key) { return key_home(key, post_threads()); }

/* --- what waits for its turn in a room --- */

/* The room of a group that keeps messages, or kept some when it had other terms; else NULL. */
static struct room *room_for(struct groups *groups, const struct group_key *key,
                             const struct group_terms *terms) {
    if (terms->messages > 0)
        return rooms_open(&groups->rooms, key);
    return rooms_find(&groups->rooms, key);
}

/* Whether things happen at this call: this is the home, and nothing waits for the disk there. All
   others go by letter, also those to this thread itself, so that one way has one order. */
static bool is_here(const struct groups *groups, const struct group_key *key,
                    const struct group_terms *terms) {
    if (home_of(key) != loop_index(groups->loop))
        return false;
    return groups->rooms.store == NULL ||
           (terms->messages == 0 && rooms_find(&groups->rooms, key) == NULL);
}

static const struct group_terms no_terms;

/* A letter has come to the home: `deliver` does what it says, in its turn. */
static void take(struct errand *errand, struct room *room, struct loop *loop,
                 void (*deliver)(struct mail *, struct loop *)) {
    errand->mail.deliver = deliver;
    if (room == NULL)
        deliver(&errand->mail, loop);
    else
        rooms_do(room, errand);
}

/* --- joining and leaving --- */

static struct group_report hand_out(struct groups *groups, const struct group_key *key,
                                    const struct home *home, const struct send_letter *sent);

/* Of people, to all who are members now. */
static void tell_all(struct loop *loop, const struct group_key *key, struct frame *frame) {
    struct groups *groups = groups_of(loop);
    const struct send_letter sent = {.message = {.frame = frame}};
    hand_out(groups, key, home_find(&groups->homes, key), &sent);
}

/* At the home; the member hears nothing yet. Takes the attendance. */
static uint32_t enter(struct groups *groups, const struct group_key *key,
                      const struct home_member *member, struct attendance *attendance) {
    struct homes *homes = &groups->homes;
    uint32_t record = home_join(homes, key, member);
    if (attendance == NULL)
        return record;
    struct home *home = home_find(homes, key);
    if (home->presence == NULL)
        home->presence = presence_create(groups->loop, home->key, tell_all);
    home_set_person(homes, record, presence_join(home->presence, attendance));
    return record;
}

/* Who is in already. */
static void change_info(struct homes *homes, uint32_t record, const char *info) {
    struct person *person = home_person(homes, record);
    home_set_info(homes, record, info);
    if (person != NULL)
        presence_set_info(person, info);
}

static void leave(struct groups *groups, const struct group_key *key, uint32_t record) {
    struct homes *homes = &groups->homes;
    struct person *person = home_person(homes, record);
    struct frame *went =
        person == NULL ? NULL : presence_leave(home_find(homes, key)->presence, person);
    home_leave(homes, key, record);
    if (went != NULL)
        tell_all(groups->loop, key, went);
    frame_unref(went);
}

static bool wants_replay(const struct group_wish *wish) {
    return wish->joined != NULL || wish->last > 0 || wish->since.epoch != 0;
}

static void list_people(const struct home *home, uint32_t most, struct group_joined *joined) {
    if (home == NULL || home->presence == NULL)
        return;
    most = most < GROUP_MEMBERS_MAX ? most : GROUP_MEMBERS_MAX;
    joined->people = presence_list(home->presence, most, &joined->people_listed);
    joined->people_count = presence_count(home->presence);
}

static struct replay *make_replay(const struct group_wish *wish, size_t count) {
    struct replay *replay = new_letter(sizeof(*replay) + count * sizeof(replay->frames[0]));
    replay->joined = wish->joined;
    replay->arg = wish->arg;
    replay->told.count = count;
    return replay;
}

/* What it hears before what is live from now on; room may be NULL, and is, for who is in already,
   looked at for its position alone. */
static struct replay *replay_for(struct room *room, const struct home *home,
                                 const struct group_wish *wish, bool is_new) {
    struct past *past = room == NULL ? NULL : room_past(room);
    struct past_part part = {0};
    if (!wants_replay(wish))
        return NULL;
    if (past != NULL && is_new)
        part = past_part(past, wish->since, wish->last, GROUP_HISTORY_MAX, wish->bytes);
    struct replay *replay = make_replay(wish, part.count);
    list_people(home, wish->people, &replay->told);
    if (past == NULL)
        return replay;
    replay->told.position = past_position(past);
    replay->told.recovered = part.recovered;
    for (size_t at = 0; at < part.count; at++)
        replay->frames[at] = frame_ref(past_at(past, part.first + at)->frame);
    return replay;
}

static void on_joined(struct mail *mail, struct loop *to) {
    struct join_letter *letter = (struct join_letter *)mail;
    struct views *views = &groups_of(to)->views;
    uint32_t membership = view_find(views, letter->member.serial);
    if (membership != 0)
        view_joined(views, membership, letter->wish.flags, letter->replay);
    else
        replay_end(letter->replay);
    free(letter);
}

/* To this thread without mail: it is on the way on which the messages come too. */
static void answer(unsigned thread, struct mail *mail, struct loop *from,
                   void (*deliver)(struct mail *, struct loop *)) {
    if (thread == loop_index(from))
        deliver(mail, from);
    else
        post_letter(thread, mail, deliver);
}

static void do_join(struct mail *mail, struct loop *loop) {
    struct join_letter *letter = (struct join_letter *)mail;
    struct homes *homes = &groups_of(loop)->homes;
    const struct group_key *key = &letter->key->key;
    uint32_t record = home_record(homes, letter->member.serial);
    if (record == 0) {
        enter(groups_of(loop), key, &letter->member, letter->attendance);
    } else {
        change_info(homes, record, letter->member.info);
        attendance_free(letter->attendance);
    }
    letter->replay = replay_for(letter->room, home_find(homes, key), &letter->wish, record == 0);
    key_unref(letter->key);
    answer(serial_thread(letter->member.serial), mail, loop, on_joined);
}

static void on_join(struct mail *mail, struct loop *to) {
    struct join_letter *letter = (struct join_letter *)mail;
    letter->room = room_for(groups_of(to), &letter->key->key, &letter->wish.terms);
    take(&letter->errand, letter->room, to, do_join);
}

static struct home_member presented(const struct views *views, uint32_t membership,
                                    const char *info) {
    return (struct home_member){view_serial(views, membership),
                                view_at(views, membership)->member->id, info};
}

static const char *info_of(const struct group_wish *wish) {
    return wish->info == NULL ? "" : wish->info;
}

static struct attendance *attendance_of(const struct group_wish *wish) {
    return wish->presence == NULL ? NULL : attendance_copy(wish->presence, info_of(wish));
}

static void post_join(struct groups *groups, uint32_t membership, const struct group_wish *wish) {
    size_t info_size = strlen(info_of(wish)) + 1;
    struct join_letter *letter = new_letter(sizeof(*letter) + info_size);
    memcpy(letter->info, info_of(wish), info_size);
    letter->key = key_ref(view_key(view_at(&groups->views, membership)));
    letter->member = presented(&groups->views, membership, letter->info);
    letter->wish = *wish;
    letter->attendance = attendance_of(wish);
    post_letter(home_of(&letter->key->key), &letter->errand.mail, on_join);
}

static void join_at_home(struct groups *groups, uint32_t membership,
                         const struct group_wish *wish) {
    struct membership *joins = view_at(&groups->views, membership);
    const struct group_key *key = &view_key(joins)->key;
    struct home_member member = presented(&groups->views, membership, info_of(wish));
    struct room *room = room_for(groups, key, &wish->terms);
    bool is_new = joins->record == 0;
    if (is_new)
        joins->record = enter(groups, key, &member, attendance_of(wish));
    else
        change_info(&groups->homes, joins->record, info_of(wish));
    struct replay *replay = replay_for(room, home_find(&groups->homes, key), wish, is_new);
    view_joined(&groups->views, membership, wish->flags, replay);
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
static void do_leave(struct mail *mail, struct loop *loop) {
    struct leave_letter *letter = (struct leave_letter *)mail;
    const struct homes *homes = &groups_of(loop)->homes;
    leave(groups_of(loop), &letter->key->key, home_record(homes, letter->serial));
    key_unref(letter->key);
    if (letter->answers)
        answer(serial_thread(letter->serial), mail, loop, on_left);
    else
        free(letter);
}

static void on_leave(struct mail *mail, struct loop *to) {
    struct leave_letter *letter = (struct leave_letter *)mail;
    take(&letter->errand, room_for(groups_of(to), &letter->key->key, &no_terms), to, do_leave);
}

static void post_leave(struct groups *groups, uint32_t membership, bool answers) {
    struct leave_letter *letter = new_letter(sizeof(*letter));
    letter->key = key_ref(view_key(view_at(&groups->views, membership)));
    letter->serial = view_serial(&groups->views, membership);
    letter->answers = answers;
    post_letter(home_of(&letter->key->key), &letter->errand.mail, on_leave);
}

static void leave_at_home(struct groups *groups, uint32_t membership) {
    const struct membership *leaves = view_at(&groups->views, membership);
    leave(groups, &view_key(leaves)->key, leaves->record);
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

static struct delivery_letter *create_delivery(const struct home *home,
                                               const struct send_letter *sent) {
    struct delivery_letter *letter = new_letter(sizeof(*letter));
    letter->key = key_ref(home->key);
    letter->frame = frame_ref(sent->message.frame);
    letter->except = sent->message.except;
    letter->tally = sent->tally;
    return letter;
}

static void free_delivery(struct delivery_letter *letter) {
    key_unref(letter->key);
    frame_unref(letter->frame);
    free(letter);
}

/* A letter counts as under way until its thread has dealt with it. */
static size_t memory_of(size_t letter_size, const struct frame *frame) {
    size_t size;
    frame_bytes(frame, &size);
    return letter_size + size;
}

static void on_delivered(struct mail *mail, struct loop *to) {
    struct delivery_letter *letter = (struct delivery_letter *)mail;
    (void)to;
    add_report(letter->tally, &letter->report);
    free_delivery(letter);
}

static void on_delivery(struct mail *mail, struct loop *to) {
    struct delivery_letter *letter = (struct delivery_letter *)mail;
    const struct group_key *key = &letter->key->key;
    view_deliver(&groups_of(to)->views, key, letter->frame, letter->except, &letter->report);
    post_arrived(loop_index(to), memory_of(sizeof(*letter), letter->frame));
    if (letter->tally == NULL)
        free_delivery(letter);
    else
        post_letter(home_of(key), mail, on_delivered);
}

/* To each other thread that has members. */
static void post_deliveries(const struct groups *groups, const struct home *home,
                            const struct send_letter *sent) {
    for (unsigned thread = 0; thread < post_threads(); thread++) {
        if (home->on_thread[thread] == 0 || thread == loop_index(groups->loop))
            continue;
        struct delivery_letter *letter = create_delivery(home, sent);
        post_sets_out(thread, memory_of(sizeof(*letter), letter->frame));
        post_letter(thread, &letter->mail, on_delivery);
        if (sent->tally != NULL)
            sent->tally->waiting++;
    }
}

/* Here and elsewhere: what became of it here. */
static struct group_report hand_out(struct groups *groups, const struct group_key *key,
                                    const struct home *home, const struct send_letter *sent) {
    struct group_report here = {0};
    counters_add(COUNTER_GROUP_MESSAGES, 1);
    if (home != NULL) {
        view_deliver(&groups->views, key, sent->message.frame, sent->message.except, &here);
        post_deliveries(groups, home, sent);
    }
    return here;
}

static void on_settled(void *arg, bool kept) {
    struct send_letter *sent = arg;
    if (!kept)
        sent->outcome = GROUP_NOT_KEPT;
    sent->errand.waits = false;
    rooms_go_on(sent->room);
}

static void keep(struct send_letter *sent, struct room *room) {
    const struct group_message *message = &sent->message;
    enum keep kept = room_keep(room, message->frame, message->key, message->stamp, &message->terms,
                               on_settled, sent);
    sent->outcome = kept == KEEP_FULL ? GROUP_NOT_KEPT : GROUP_KEPT;
    sent->is_taken = kept != KEEP_FULL;
    sent->errand.waits = kept == KEEP_LATER;
}

/* What is to be kept gets its offset here, before its turn. */
static void prepare_send(struct errand *errand, struct room *room) {
    struct send_letter *sent = (struct send_letter *)errand;
    const struct past_message *same = NULL;
    sent->room = room;
    if (!sent->message.keep || sent->message.terms.messages == 0)
        return;
    const struct past *past = room_past(room);
    if (past == NULL) {
        sent->outcome = GROUP_NOT_KEPT;
        return;
    }
    if (sent->message.key != NULL)
        same = past_find(past, sent->message.key);
    if (same == NULL) {
        keep(sent, room);
        return;
    }
    sent->outcome = GROUP_REPEATED;
    sent->repeats = (struct group_position){past->epoch, same->offset};
}

/* Its turn has come: what it repeats has been heard, or was lost. */
static void settle(struct send_letter *sent) {
    if (sent->is_taken && sent->outcome == GROUP_KEPT)
        room_heard(sent->room, &sent->message.terms);
    else if (sent->is_taken)
        room_lost(sent->room);
    else if (sent->outcome == GROUP_REPEATED &&
             past_find(room_past(sent->room), sent->message.key) == NULL)
        sent->outcome = GROUP_NOT_KEPT;
}

/* The message's place, as reports say it. */
static struct group_position position_of(const struct send_letter *sent, const struct home *home) {
    const struct past *past = sent->room == NULL ? NULL : room_past(sent->room);
    if (sent->outcome == GROUP_REPEATED)
        return sent->repeats;
    if (past != NULL)
        return past_position(past);
    return (struct group_position){0, home == NULL ? 1 : home->position};
}

/* At the home: the message's place in the order is where this call stands among the others. */
static void order(struct groups *groups, const struct group_key *key, struct send_letter *sent) {
    struct home *home = home_find(&groups->homes, key);
    struct group_report here = {0};
    settle(sent);
    if (home != NULL && sent->room == NULL)
        home->position++;
    if (sent->tally != NULL) {
        sent->tally->sum.position = position_of(sent, home);
        sent->tally->sum.outcome = sent->outcome;
        sent->tally->waiting = 1; /* this thread's own */
    }
    if (sent->outcome == GROUP_SENT || sent->outcome == GROUP_KEPT)
        here = hand_out(groups, key, home, sent);
    if (sent->tally != NULL)
        add_report(sent->tally, &here);
}

static size_t send_memory(const struct send_letter *letter) {
    return memory_of(sizeof(*letter), letter->message.frame);
}

static void do_send(struct mail *mail, struct loop *loop) {
    struct send_letter *letter = (struct send_letter *)mail;
    order(groups_of(loop), &letter->key->key, letter);
    post_arrived(loop_index(loop), send_memory(letter));
    key_unref(letter->key);
    frame_unref(letter->message.frame);
    free(letter);
}

static void on_send(struct mail *mail, struct loop *to) {
    struct send_letter *letter = (struct send_letter *)mail;
    letter->errand.prepare = prepare_send;
    take(&letter->errand, room_for(groups_of(to), &letter->key->key, &letter->message.terms), to,
         do_send);
}

/* Takes the key and the tally. */
static void post_send(struct shared_key *key, const struct group_message *message,
                      struct tally *tally) {
    size_t name_size = message->key == NULL ? 0 : strlen(message->key) + 1;
    struct send_letter *letter = new_letter(sizeof(*letter) + name_size);
    letter->key = key;
    letter->message = *message;
    if (name_size > 0)
        letter->message.key = memcpy(letter->name, message->key, name_size);
    frame_ref(letter->message.frame);
    letter->tally = tally;
    post_sets_out(home_of(&key->key), send_memory(letter));
    post_letter(home_of(&key->key), &letter->errand.mail, on_send);
}

static void send_here(struct groups *groups, const struct group_key *key,
                      const struct group_message *message, struct tally *tally) {
    struct send_letter sent = {.message = *message, .tally = tally};
    struct room *room = room_for(groups, key, &message->terms);
    if (room != NULL)
        prepare_send(&sent.errand, room);
    order(groups, key, &sent);
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
    post_letter(letter->thread, &letter->errand.mail, on_listed);
}

static void do_list(struct mail *mail, struct loop *loop) {
    struct list_letter *letter = (struct list_letter *)mail;
    struct shared_key *key = letter->key;
    answer_list(groups_of(loop), &key->key, letter);
    key_unref(key);
}

static void on_list(struct mail *mail, struct loop *to) {
    struct list_letter *letter = (struct list_letter *)mail;
    take(&letter->errand, room_for(groups_of(to), &letter->key->key, &no_terms), to, do_list);
}

/* --- history --- */

static void on_read_back(struct mail *mail, struct loop *to) {
    struct read_letter *letter = (struct read_letter *)mail;
    struct group_kept *messages = (struct group_kept *)(uintptr_t)letter->history.messages;
    (void)to;
    letter->fn(letter->arg, &letter->history);
    for (size_t at = 0; at < letter->history.count; at++)
        frame_unref(messages[at].frame);
    free(messages);
    free(letter);
}

static void answer_read(struct read_letter *letter, struct room *room) {
    struct past *past = room == NULL ? NULL : room_past(room);
    if (past != NULL) {
        struct past_part part = past_part(past, letter->since, letter->most, letter->most, 0);
        struct group_kept *messages = new_letter((part.count + 1) * sizeof(*messages));
        for (size_t at = 0; at < part.count; at++) {
            const struct past_message *kept = past_at(past, part.first + at);
            messages[at] = (struct group_kept){kept->offset, kept->time_ms, frame_ref(kept->frame)};
        }
        letter->history =
            (struct group_history){past_position(past), part.count, part.recovered, messages};
    }
    post_letter(letter->thread, &letter->errand.mail, on_read_back);
}

static void do_read(struct mail *mail, struct loop *loop) {
    struct read_letter *letter = (struct read_letter *)mail;
    (void)loop;
    key_unref(letter->key);
    answer_read(letter, letter->room);
}

static void on_read(struct mail *mail, struct loop *to) {
    struct read_letter *letter = (struct read_letter *)mail;
    letter->room = room_for(groups_of(to), &letter->key->key, &letter->terms);
    take(&letter->errand, letter->room, to, do_read);
}

/* --- all of them --- */

struct walk {
    struct groups *groups;
    bool (*fn)(void *arg, const struct group_summary *group);
    void *arg;
};

static bool tell(const struct walk *walk, const struct group_key *key, size_t members,
                 struct room *room) {
    const struct past *past = room == NULL ? NULL : room_past(room);
    struct group_summary summary = {.space = key->space, .name = key->name, .members = members};
    if (past != NULL) {
        summary.kept = past->heard;
        summary.position = past_position(past);
    }
    return walk->fn(walk->arg, &summary);
}

static bool tell_home(void *arg, const struct home *home) {
    const struct walk *walk = arg;
    const struct group_key *key = &home->key->key;
    return tell(walk, key, home->count, rooms_find(&walk->groups->rooms, key));
}

static bool tell_room(void *arg, struct room *room) {
    const struct walk *walk = arg;
    const struct past *past = room_past(room);
    bool is_told = home_find(&walk->groups->homes, room_key(room)) != NULL;
    if (is_told || past == NULL || past->heard == 0)
        return true;
    return tell(walk, room_key(room), 0, room);
}

void groups_each(struct groups *groups, bool (*fn)(void *arg, const struct group_summary *group),
                 void *arg) {
    struct walk walk = {groups, fn, arg};
    if (home_each(&groups->homes, tell_home, &walk))
        rooms_each(&groups->rooms, tell_room, &walk);
}

/* --- their life --- */

static struct groups *create_groups(struct loop *loop, unsigned threads,
                                    const struct member_events *events) {
    struct groups *groups = new_letter(sizeof(*groups));
    groups->loop = loop;
    view_init(&groups->views, loop, events);
    home_init(&groups->homes, threads);
    groups->rooms.loop = loop;
    groups->rooms.homes = &groups->homes;
    groups->rooms.store = layer.store;
    groups->rooms.at_once = layer.at_once;
    groups->rooms.memory_max = (layer.memory == 0 ? MEMORY_DEFAULT : layer.memory) / threads;
    rooms_init(&groups->rooms);
    return groups;
}

void groups_set_layer(const struct group_layer *chosen) { layer = *chosen; }

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
        rooms_clear(&groups->rooms);
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

static bool is_name(const char *text, size_t size_max) {
    return *text != '\0' && is_text(text, size_max) && !has_controls(text);
}

bool group_name_valid(const char *name) { return name != NULL && is_name(name, GROUP_NAME_MAX); }

/* The stamp's place holds spaces. */
static bool is_stampable(const struct frame *frame, uint32_t stamp) {
    size_t size;
    const uint8_t *payload = frame_payload(frame, &size);
    if (stamp == 0)
        return true;
    if (size < GROUP_STAMP_SIZE || stamp > size - GROUP_STAMP_SIZE)
        return false;
    for (size_t at = 0; at < GROUP_STAMP_SIZE; at++)
        if (payload[stamp + at] != ' ')
            return false;
    return true;
}

static bool is_presence(const struct group_presence *presence) {
    return presence == NULL ||
           (group_name_valid(presence->user) && presence->most > 0 && presence->every_ms > 0 &&
            (presence->crowd == NULL || is_stampable(presence->crowd, presence->crowd_stamp)));
}

/* --- the calls --- */

enum group_result group_join_with(struct groups *groups, struct member *member, const char *space,
                                  const char *name, const struct group_wish *wish) {
    if (!group_name_valid(name) || !is_presence(wish->presence) ||
        (wish->info != NULL && !is_text(wish->info, GROUP_INFO_MAX)))
        return GROUP_INVALID;
    assert(member->id != 0);
    struct views *views = &groups->views;
    struct group_key key = key_of(space, name);
    uint32_t membership = view_membership(views, member, &key);
    if (membership == 0 && (member->count >= wish->most || member->count == UINT16_MAX))
        return GROUP_FULL;
    if (membership == 0)
        membership = view_join(views, member, &key, is_here(groups, &key, &wish->terms));
    if (view_at(views, membership)->at_home)
        join_at_home(groups, membership, wish);
    else
        post_join(groups, membership, wish);
    return GROUP_OK;
}

enum group_result group_join(struct groups *groups, struct member *member, const char *space,
                             const char *name, const char *info, unsigned flags, unsigned most) {
    const struct group_wish wish = {.info = info, .flags = flags, .most = most};
    return group_join_with(groups, member, space, name, &wish);
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
        post_leave(groups, membership, true);
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
            post_leave(groups, membership, false);
        view_end(&groups->views, membership);
    }
}

static enum group_result check_message(const char *name, const struct group_message *message) {
    if (!group_name_valid(name) || !is_stampable(message->frame, message->stamp) ||
        (message->key != NULL && !is_name(message->key, GROUP_KEY_MAX)))
        return GROUP_INVALID;
    if (post_is_full())
        return GROUP_FULL;
    if (message->keep && message->terms.messages > 0 && layer.store != NULL &&
        store_is_full(layer.store))
        return GROUP_FULL;
    return GROUP_OK;
}

enum group_result group_send_with(struct groups *groups, const char *space, const char *name,
                                  const struct group_message *message,
                                  const struct group_tally *tally) {
    enum group_result result = check_message(name, message);
    if (result != GROUP_OK)
        return result;
    struct group_key key = key_of(space, name);
    if (is_here(groups, &key, &message->terms))
        send_here(groups, &key, message, create_tally(groups, tally));
    else
        post_send(view_share_key(&groups->views, &key), message, create_tally(groups, tally));
    return GROUP_OK;
}

enum group_result group_send(struct groups *groups, const char *space, const char *name,
                             struct frame *frame, uint64_t except,
                             const struct group_tally *tally) {
    const struct group_message message = {.frame = frame, .except = except};
    return group_send_with(groups, space, name, &message, tally);
}

enum group_result group_send_any(const char *space, const char *name, struct frame *frame,
                                 uint64_t except) {
    const struct group_message message = {.frame = frame, .except = except};
    if (!group_name_valid(name))
        return GROUP_INVALID;
    if (post_threads() == 0)
        return GROUP_OK; /* no loop, so no member */
    if (loop_current() != NULL)
        return group_send_with(groups_of(loop_current()), space, name, &message, NULL);
    if (post_is_full())
        return GROUP_FULL;
    struct group_key key = key_of(space, name);
    post_send(key_share(&key), &message, NULL);
    return GROUP_OK;
}

enum group_result group_list(struct groups *groups, const char *space, const char *name,
                             size_t most, group_listing_fn fn, void *arg) {
    return group_list_with(groups, space, name, &no_terms, most, fn, arg);
}

enum group_result group_list_with(struct groups *groups, const char *space, const char *name,
                                  const struct group_terms *terms, size_t most, group_listing_fn fn,
                                  void *arg) {
    if (!group_name_valid(name))
        return GROUP_INVALID;
    struct group_key key = key_of(space, name);
    struct list_letter *letter = new_letter(sizeof(*letter));
    letter->most = most < GROUP_MEMBERS_MAX ? most : GROUP_MEMBERS_MAX;
    letter->fn = fn;
    letter->arg = arg;
    letter->thread = loop_index(groups->loop);
    if (is_here(groups, &key, terms)) {
        answer_list(groups, &key, letter);
    } else {
        letter->key = view_share_key(&groups->views, &key);
        post_letter(home_of(&key), &letter->errand.mail, on_list);
    }
    return GROUP_OK;
}

enum group_result group_read(struct groups *groups, const char *space, const char *name,
                             const struct group_terms *terms, struct group_position since,
                             size_t most, group_history_fn fn, void *arg) {
    if (!group_name_valid(name))
        return GROUP_INVALID;
    struct group_key key = key_of(space, name);
    struct read_letter *letter = new_letter(sizeof(*letter));
    letter->terms = *terms;
    letter->since = since;
    letter->most = most < GROUP_HISTORY_MAX ? most : GROUP_HISTORY_MAX;
    letter->fn = fn;
    letter->arg = arg;
    letter->thread = loop_index(groups->loop);
    if (is_here(groups, &key, terms)) {
        answer_read(letter, room_for(groups, &key, terms));
    } else {
        letter->key = view_share_key(&groups->views, &key);
        post_letter(home_of(&key), &letter->errand.mail, on_read);
    }
    return GROUP_OK;
}
