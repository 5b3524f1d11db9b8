#include "group/home.h"

#include <stdlib.h>
#include <string.h>

struct record {
    struct record *before, *after;
    struct home *home;
    uint64_t serial, id;
    unsigned thread; /* the member's */
    char *info;      /* NULL: none */
};

static bool is_home(const void *item, const void *wanted) {
    const struct home *home = item;
    return key_equal(&home->key->key, wanted);
}

struct home *home_find(const struct homes *homes, const struct group_key *key) {
    return table_find(&homes->by_key, key->hash, is_home, key);
}

static bool is_record(const void *item, const void *wanted) {
    const struct record *record = item;
    const uint64_t *serial = wanted;
    return record->serial == *serial;
}

static struct record *find_record(const struct homes *homes, uint64_t serial) {
    return table_find(&homes->records, table_hash(serial), is_record, &serial);
}

/* --- homes --- */

static struct home *home_of(struct homes *homes, const struct group_key *key) {
    struct home *home = home_find(homes, key);
    if (home != NULL)
        return home;
    home = calloc(1, sizeof(*home) + homes->threads * sizeof(home->on_thread[0]));
    if (home == NULL)
        abort();
    home->key = key_share(key);
    table_add(&homes->by_key, key->hash, home);
    return home;
}

static void forget_home(struct homes *homes, struct home *home) {
    table_remove(&homes->by_key, home->key->key.hash, home);
    key_unref(home->key);
    free(home);
}

/* --- records --- */

static void append_record(struct home *home, struct record *record) {
    record->before = home->last;
    if (home->last == NULL)
        home->first = record;
    else
        home->last->after = record;
    home->last = record;
    home->count++;
    home->on_thread[record->thread]++;
}

static void unlink_record(struct record *record) {
    struct home *home = record->home;
    if (record->before == NULL)
        home->first = record->after;
    else
        record->before->after = record->after;
    if (record->after == NULL)
        home->last = record->before;
    else
        record->after->before = record->before;
    home->count--;
    home->on_thread[record->thread]--;
}

static struct record *create_record(struct homes *homes, const struct group_key *key,
                                    const struct home_member *member) {
    struct record *record = calloc(1, sizeof(*record));
    if (record == NULL)
        abort();
    record->home = home_of(homes, key);
    record->serial = member->serial;
    record->id = member->id;
    record->thread = member->thread;
    append_record(record->home, record);
    table_add(&homes->records, table_hash(record->serial), record);
    return record;
}

static void set_info(struct record *record, const char *info) {
    free(record->info);
    record->info = NULL;
    if (info == NULL || *info == '\0')
        return;
    record->info = strdup(info);
    if (record->info == NULL)
        abort();
}

void home_join(struct homes *homes, const struct group_key *key, const struct home_member *member) {
    struct record *record = find_record(homes, member->serial);
    if (record == NULL)
        record = create_record(homes, key, member);
    set_info(record, member->info);
}

static void remove_record(struct homes *homes, struct record *record) {
    struct home *home = record->home;
    table_remove(&homes->records, table_hash(record->serial), record);
    unlink_record(record);
    free(record->info);
    free(record);
    if (home->count == 0)
        forget_home(homes, home);
}

void home_leave(struct homes *homes, uint64_t serial) {
    struct record *record = find_record(homes, serial);
    if (record != NULL)
        remove_record(homes, record);
}

/* --- listings --- */

static const char *info_of(const struct record *record) {
    return record->info == NULL ? "" : record->info;
}

/* Of the entries and the text behind them. */
static size_t listing_size(const struct record *record, size_t count) {
    size_t size = sizeof(struct listing) + count * sizeof(struct group_listing_entry);
    for (; count > 0; count--, record = record->after)
        size += strlen(info_of(record)) + 1;
    return size;
}

struct listing *home_list(const struct homes *homes, const struct group_key *key, size_t most) {
    const struct home *home = home_find(homes, key);
    size_t total = home == NULL ? 0 : home->count;
    size_t count = total < most ? total : most;
    const struct record *record = home == NULL ? NULL : home->first;
    struct listing *listing = malloc(listing_size(record, count));
    if (listing == NULL)
        abort();
    listing->count = count;
    listing->total = total;
    char *text = (char *)&listing->members[count];
    for (size_t at = 0; at < count; at++, record = record->after) {
        size_t size = strlen(info_of(record)) + 1;
        memcpy(text, info_of(record), size);
        listing->members[at] = (struct group_listing_entry){record->id, text};
        text += size;
    }
    return listing;
}

/* --- their life --- */

void home_init(struct homes *homes, unsigned threads) {
    *homes = (struct homes){.threads = threads};
}

void home_clear(struct homes *homes) {
    struct record *record;
    while ((record = table_any(&homes->records)) != NULL)
        remove_record(homes, record);
    table_clear(&homes->records);
    table_clear(&homes->by_key);
}
