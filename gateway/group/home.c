#include "group/home.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "group/serial.h"

/* There are as many of these as there are members, so each byte counts. They go by their numbers in
   the slab. */
struct record {
    union {
        uint64_t id;
        struct info *info; /* when has_info: the id is there */
    };
    uint64_t serial;
    uint32_t before;
    uint32_t after : 31;
    uint32_t has_info : 1;
};

_Static_assert(sizeof(struct record) == 24, "a record has grown");

struct info {
    uint64_t id;
    struct person *person; /* NULL: nobody */
    char text[];
};

static bool is_home(const void *item, const void *wanted) {
    const struct home *home = item;
    return key_equal(&home->key->key, wanted);
}

struct home *home_find(const struct homes *homes, const struct group_key *key) {
    return table_find(&homes->by_key, key->hash, is_home, key);
}

static struct record *record_at(const struct homes *homes, uint32_t number) {
    return slab_at(&homes->records, number);
}

static uint64_t serial_at(const void *records, uint32_t number) {
    const struct record *record = slab_at(records, number);
    return record->serial;
}

uint32_t home_record(const struct homes *homes, uint64_t serial) {
    return roll_find(&homes->away, serial);
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
    presence_free(home->presence);
    key_unref(home->key);
    free(home);
}

/* --- records --- */

static void append_record(const struct homes *homes, struct home *home, uint32_t number) {
    struct record *record = record_at(homes, number);
    record->before = home->last;
    if (home->last == 0)
        home->first = number;
    else
        record_at(homes, home->last)->after = number & SLAB_NUMBER_MAX;
    home->last = number;
    home->count++;
    home->on_thread[serial_thread(record->serial)]++;
}

static void unlink_record(const struct homes *homes, struct home *home,
                          const struct record *record) {
    if (record->before == 0)
        home->first = record->after;
    else
        record_at(homes, record->before)->after = record->after;
    if (record->after == 0)
        home->last = record->before;
    else
        record_at(homes, record->after)->before = record->before;
    home->count--;
    home->on_thread[serial_thread(record->serial)]--;
}

/* Known by letters: of another thread, or of this one in a group in which all waits. */
static bool is_away(const struct record *record) {
    return serial_place(record->serial).generation != 0;
}

static uint64_t id_of(const struct record *record) {
    return record->has_info ? record->info->id : record->id;
}

static void drop_info(struct record *record) {
    struct info *info = record->info;
    if (!record->has_info)
        return;
    record->id = info->id;
    record->has_info = false;
    free(info);
}

/* Nothing to say of a member costs nothing. */
static void put_info(struct record *record, const char *text, struct person *person) {
    size_t size = strlen(text) + 1;
    struct info *info = NULL;
    if (*text != '\0' || person != NULL) {
        info = malloc(sizeof(*info) + size);
        if (info == NULL)
            abort();
        *info = (struct info){id_of(record), person};
        memcpy(info->text, text, size);
    }
    drop_info(record);
    if (info == NULL)
        return;
    record->info = info;
    record->has_info = true;
}

static struct person *person_of(const struct record *record) {
    return record->has_info ? record->info->person : NULL;
}

void home_set_info(struct homes *homes, uint32_t number, const char *text) {
    struct record *record = record_at(homes, number);
    put_info(record, text, person_of(record));
}

static const char *info_of(const struct record *record) {
    return record->has_info ? record->info->text : "";
}

void home_set_person(struct homes *homes, uint32_t number, struct person *person) {
    struct record *record = record_at(homes, number);
    put_info(record, info_of(record), person);
}

struct person *home_person(const struct homes *homes, uint32_t number) {
    return person_of(record_at(homes, number));
}

uint32_t home_join(struct homes *homes, const struct group_key *key,
                   const struct home_member *member) {
    uint32_t number = slab_take(&homes->records).number;
    struct record *record = record_at(homes, number);
    record->serial = member->serial;
    record->id = member->id;
    append_record(homes, home_of(homes, key), number);
    if (is_away(record))
        roll_add(&homes->away, number);
    home_set_info(homes, number, member->info);
    return number;
}

static void remove_record(struct homes *homes, struct home *home, uint32_t number) {
    struct record *record = record_at(homes, number);
    if (is_away(record))
        roll_remove(&homes->away, number);
    unlink_record(homes, home, record);
    drop_info(record);
    slab_give(&homes->records, number);
    if (home->count == 0)
        forget_home(homes, home);
}

void home_leave(struct homes *homes, const struct group_key *key, uint32_t number) {
    assert(number != 0);
    remove_record(homes, home_find(homes, key), number);
}

/* --- listings --- */

/* Of the entries and the text behind them. */
static size_t listing_size(const struct homes *homes, uint32_t number, size_t count) {
    size_t size = sizeof(struct listing) + count * sizeof(struct group_listing_entry);
    for (; count > 0; count--) {
        const struct record *record = record_at(homes, number);
        size += strlen(info_of(record)) + 1;
        number = record->after;
    }
    return size;
}

struct listing *home_list(const struct homes *homes, const struct group_key *key, size_t most) {
    const struct home *home = home_find(homes, key);
    size_t total = home == NULL ? 0 : home->count;
    size_t count = total < most ? total : most;
    uint32_t number = home == NULL ? 0 : home->first;
    struct listing *listing = malloc(listing_size(homes, number, count));
    if (listing == NULL)
        abort();
    listing->count = count;
    listing->total = total;
    char *text = (char *)&listing->members[count];
    for (size_t at = 0; at < count; at++) {
        const struct record *record = record_at(homes, number);
        size_t size = strlen(info_of(record)) + 1;
        memcpy(text, info_of(record), size);
        listing->members[at] = (struct group_listing_entry){id_of(record), text};
        text += size;
        number = record->after;
    }
    return listing;
}

bool home_each(const struct homes *homes, bool (*fn)(void *arg, const struct home *home),
               void *arg) {
    const struct table *table = &homes->by_key;
    for (size_t slot = 0; slot < table->capacity; slot++)
        if (table->slots[slot].item != NULL && !fn(arg, table->slots[slot].item))
            return false;
    return true;
}

/* --- their life --- */

void home_init(struct homes *homes, unsigned threads) {
    *homes = (struct homes){.threads = threads,
                            .records = {.item_size = sizeof(struct record)},
                            .away = {.name = serial_at, .items = &homes->records}};
}

void home_clear(struct homes *homes) {
    struct home *home;
    while ((home = table_any(&homes->by_key)) != NULL)
        remove_record(homes, home, home->first);
    roll_clear(&homes->away);
    slab_clear(&homes->records);
    table_clear(&homes->by_key);
}
