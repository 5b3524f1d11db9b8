#include "group/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "group/store_file.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "websocket/frame.h"

#define ITEMS_AT_ONCE 1000 /* in one transaction */
#define PATIENCE 50        /* tenths of a second that a first question waits for the file */
#define TIDY_SECONDS 10    /* between two looks for what has expired, and for a file */

enum kind { LOAD, KEEP, RESERVE, LET_GO };

/* A question, and then its answer's letter. */
struct item {
    struct mail mail;
    struct item *next;
    struct loop *loop;
    enum kind kind;
    bool done;
    size_t size; /* of memory */
    struct shared_key *key;
    struct store_room *room;
    bool makes_room; /* the room had no row before */
    uint64_t to;
    struct store_message message;
    struct store_loaded *loaded;
    union {
        store_loaded_fn loaded;
        store_kept_fn kept;
    } fn;
    void *arg;
    char name[];
};

struct store {
    struct store_options options;
    struct store_file *file; /* NULL: it could not be opened yet. The thread's once that runs */
    unsigned patience;       /* how often that is tried while questions wait */
    pthread_t thread;
    bool runs;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct item *first, **last;
    bool ending;

    atomic_size_t waiting; /* bytes */
    atomic_uint_fast64_t messages, commits, failures;
    atomic_bool failing;
};

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- answers: all of one batch for one loop in one letter, a chain --- */

static void answer(struct item *item) {
    if (item->kind == LOAD) {
        static struct store_loaded none; /* nobody frees or changes it: it has no messages */
        item->fn.loaded(item->arg, item->loaded != NULL ? item->loaded : &none);
    } else if (item->fn.kept != NULL) {
        item->fn.kept(item->arg, item->done);
    }
}

static void drop_loaded(struct item *item) {
    if (item->loaded != NULL)
        store_room_free(item->loaded->room);
    store_loaded_free(item->loaded);
    item->loaded = NULL;
}

static void free_item(struct item *item) {
    frame_unref(item->message.frame);
    if (item->key != NULL)
        key_unref(item->key);
    free(item);
}

static void on_answers(struct mail *mail, struct loop *to) {
    struct item *item = (struct item *)mail;
    (void)to;
    while (item != NULL) {
        struct item *next = item->next;
        answer(item);
        free_item(item);
        item = next;
    }
}

static bool is_answered(const struct item *item) {
    return item->kind == LOAD || item->fn.kept != NULL;
}

/* Takes the chain apart. */
static void post_answers(struct item *items) {
    struct item *firsts[LOOPS_MAX] = {NULL}, **lasts[LOOPS_MAX];
    for (struct item *item = items, *next; item != NULL; item = next) {
        next = item->next;
        item->next = NULL;
        if (!is_answered(item)) {
            free_item(item);
            continue;
        }
        unsigned loop = loop_index(item->loop);
        if (firsts[loop] == NULL)
            lasts[loop] = &firsts[loop];
        *lasts[loop] = item;
        lasts[loop] = &item->next;
    }
    for (unsigned loop = 0; loop < LOOPS_MAX; loop++) {
        if (firsts[loop] == NULL)
            continue;
        firsts[loop]->mail.deliver = on_answers;
        loop_mail(firsts[loop]->loop, &firsts[loop]->mail);
    }
}

/* --- the work --- */

static bool do_item(struct store *store, struct item *item) {
    struct store_file *file = store->file;
    switch (item->kind) {
    case LOAD:
        item->loaded = store_file_load(file, &item->key->key, now_ms());
        return item->loaded != NULL;
    case KEEP:
        item->makes_room |= item->room->id == 0;
        return store_file_keep(file, item->room, &item->message);
    case RESERVE:
        item->makes_room |= item->room->id == 0;
        return store_file_reserve(file, item->room, item->to);
    case LET_GO:
    default:
        return true;
    }
}

static void note_failure(struct store *store) {
    if (!atomic_exchange(&store->failing, true))
        log_line(LOG_AT_ERROR, "history: %s; what can't be kept is refused until it can",
                 store_file_error(store->file));
}

static void note_success(struct store *store) {
    if (atomic_exchange(&store->failing, false))
        log_line(LOG_AT_INFO, "history: %s: messages are kept again", store->options.path);
}

/* A row that was made in it is none any more, what it removed is there again, and what was read in
   it was perhaps never written. */
static void roll_back(struct store *store, struct item *items, const struct item *end) {
    store_file_roll_back(store->file);
    for (struct item *item = items; item != end; item = item->next) {
        drop_loaded(item);
        if (item->makes_room)
            item->room->id = 0;
        if (item->kind == KEEP)
            item->room->gone = 0;
        item->makes_room = false;
        item->done = false;
    }
}

static bool is_write(const struct item *item) {
    return item->kind == KEEP || item->kind == RESERVE;
}

static bool have_writes(const struct item *items, const struct item *end) {
    while (items != end && !is_write(items))
        items = items->next;
    return items != end;
}

/* From items to end in one transaction. */
static bool do_together(struct store *store, struct item *items, struct item *end) {
    bool writes = have_writes(items, end), right = store_file_begin(store->file, writes);
    for (struct item *item = items; right && item != end; item = item->next)
        right = item->done = do_item(store, item);
    if (right && store_file_commit(store->file)) {
        atomic_fetch_add(&store->commits, writes);
        return true;
    }
    roll_back(store, items, end);
    return false;
}

/* One by one, so that what is wrong with one harms none of the others. When the disk is at fault
   the first to fail stands for all that would be written. */
static void do_each(struct store *store, struct item *items) {
    bool disk_fails = false;
    for (struct item *item = items; item != NULL; item = item->next) {
        if (is_write(item) && disk_fails)
            continue;
        if (do_together(store, item, item->next))
            continue;
        if (is_write(item) && !store_file_blames_input(store->file))
            disk_fails = true;
        note_failure(store);
    }
}

static void count(struct store *store, const struct item *items) {
    size_t bytes = 0;
    bool kept = false;
    for (const struct item *item = items; item != NULL; item = item->next) {
        bytes += item->size;
        if (item->kind == KEEP)
            atomic_fetch_add(item->done ? &store->messages : &store->failures, 1);
        kept |= item->kind == KEEP && item->done;
    }
    if (kept)
        note_success(store);
    atomic_fetch_sub(&store->waiting, bytes);
}

/* A room may go once nothing asks for it any more. */
static void let_go(struct item *items) {
    for (struct item *item = items; item != NULL; item = item->next)
        if (item->kind == LET_GO)
            store_room_free(item->room);
}

static bool is_ending(struct store *store) {
    pthread_mutex_lock(&store->lock);
    bool ending = store->ending;
    pthread_mutex_unlock(&store->lock);
    return ending;
}

/* Whether there is a file now. A worker that was just started may wait for the end of the one
   before it: for that long questions wait too, once. */
static bool has_file(struct store *store) {
    const struct timespec pause = {0, 100000000};
    char error[512];
    while (store->file == NULL) {
        store->file = store_file_open(&store->options, error, sizeof(error));
        if (store->file != NULL)
            log_line(LOG_AT_INFO, "history: %s: could be opened now", store->options.path);
        else if (store->patience == 0 || is_ending(store))
            return false;
        else if (--store->patience == 0)
            log_line(LOG_AT_ERROR, "history: %s; nothing can be kept until it can be opened",
                     error);
        else
            nanosleep(&pause, NULL);
    }
    return true;
}

static void do_batch(struct store *store, struct item *items) {
    if (has_file(store) && !do_together(store, items, NULL))
        do_each(store, items);
    count(store, items);
    let_go(items);
    post_answers(items);
}

/* A portion: whether there is more. */
static bool tidy(struct store *store) {
    bool more;
    if (!has_file(store))
        return false;
    if (store_file_begin(store->file, true) && store_file_expire(store->file, now_ms(), &more) &&
        store_file_commit(store->file))
        return more;
    store_file_roll_back(store->file);
    note_failure(store);
    return false;
}

/* --- the thread --- */

/* What waits, up to a transaction's portion; NULL when nothing came in time. */
static struct item *take_batch(struct store *store, const struct timespec *until, bool *ends) {
    pthread_mutex_lock(&store->lock);
    while (store->first == NULL && !store->ending &&
           pthread_cond_timedwait(&store->changed, &store->lock, until) != ETIMEDOUT)
        ;
    struct item *items = store->first, **end = &store->first;
    for (int taken = 0; taken < ITEMS_AT_ONCE && *end != NULL; taken++)
        end = &(*end)->next;
    store->first = *end;
    if (store->first == NULL)
        store->last = &store->first;
    *end = NULL;
    *ends = items == NULL && store->ending;
    pthread_mutex_unlock(&store->lock);
    return items;
}

static void set_tidy(struct timespec *until) {
    clock_gettime(CLOCK_MONOTONIC, until);
    until->tv_sec += TIDY_SECONDS;
}

static bool is_past(const struct timespec *until) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > until->tv_sec ||
           (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec);
}

static void *work(void *arg) {
    struct store *store = arg;
    struct timespec until;
    bool ends = false;
    pthread_setname_np(pthread_self(), "sluice-store");
    set_tidy(&until);
    while (!ends) {
        struct item *items = take_batch(store, &until, &ends);
        if (items != NULL)
            do_batch(store, items);
        if (is_past(&until) && !tidy(store))
            set_tidy(&until);
    }
    return NULL;
}

/* --- its life --- */

struct store *store_create(const struct store_options *options) {
    struct store *store = calloc(1, sizeof(*store));
    pthread_condattr_t attributes;
    char *path = strdup(options->path);
    if (store == NULL || path == NULL)
        abort();
    store->options = *options;
    store->options.path = path;
    store->last = &store->first;
    store->patience = PATIENCE;
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&store->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return store;
}

bool store_connect(struct store *store, char *error, size_t error_size) {
    store->file = store_file_open(&store->options, error, error_size);
    return store->file != NULL;
}

bool store_check(const struct store_options *options, char *error, size_t error_size) {
    return store_file_check(options, error, error_size);
}

void store_start(struct store *store) {
    if (pthread_create(&store->thread, NULL, work, store) != 0)
        abort();
    store->runs = true;
}

void store_close(struct store *store) {
    if (store == NULL)
        return;
    pthread_mutex_lock(&store->lock);
    store->ending = true;
    pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->lock);
    if (store->runs)
        pthread_join(store->thread, NULL);
    store_file_close(store->file);
    pthread_cond_destroy(&store->changed);
    pthread_mutex_destroy(&store->lock);
    free((char *)(uintptr_t)store->options.path);
    free(store);
}

/* --- questions --- */

static struct item *make_item(enum kind kind, size_t more) {
    struct item *item = calloc(1, sizeof(*item) + more);
    if (item == NULL)
        abort();
    item->kind = kind;
    item->loop = loop_current();
    item->size = sizeof(*item) + more;
    return item;
}

static void ask(struct store *store, struct item *item) {
    atomic_fetch_add(&store->waiting, item->size);
    pthread_mutex_lock(&store->lock);
    bool was_empty = store->first == NULL;
    *store->last = item;
    store->last = &item->next;
    if (was_empty)
        pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

void store_load(struct store *store, const struct group_key *key, store_loaded_fn fn, void *arg) {
    struct item *item = make_item(LOAD, 0);
    item->key = key_share(key);
    item->fn.loaded = fn;
    item->arg = arg;
    ask(store, item);
}

bool store_keep(struct store *store, struct store_room *room, const struct store_message *message,
                store_kept_fn fn, void *arg) {
    size_t name_size = message->key == NULL ? 0 : strlen(message->key) + 1, size;
    if (store_is_full(store))
        return false;
    frame_bytes(message->frame, &size);
    struct item *item = make_item(KEEP, name_size);
    item->size += size;
    item->room = room;
    item->message = *message;
    item->message.key = name_size == 0 ? NULL : memcpy(item->name, message->key, name_size);
    frame_ref(item->message.frame);
    item->fn.kept = fn;
    item->arg = arg;
    ask(store, item);
    return true;
}

void store_reserve(struct store *store, struct store_room *room, uint64_t to, store_kept_fn fn,
                   void *arg) {
    struct item *item = make_item(RESERVE, 0);
    item->room = room;
    item->to = to;
    item->fn.kept = fn;
    item->arg = arg;
    ask(store, item);
}

void store_let_go(struct store *store, struct store_room *room) {
    struct item *item = make_item(LET_GO, 0);
    item->room = room;
    ask(store, item);
}

bool store_is_full(const struct store *store) {
    return atomic_load_explicit(&store->waiting, memory_order_relaxed) > STORE_BYTES_MAX;
}

void store_figures(const struct store *store, struct store_figures *figures) {
    *figures = (struct store_figures){.messages = atomic_load(&store->messages),
                                      .commits = atomic_load(&store->commits),
                                      .failures = atomic_load(&store->failures),
                                      .waiting = atomic_load(&store->waiting),
                                      .failing = atomic_load(&store->failing)};
}
