#include "group/past.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "group/key.h"
#include "websocket/frame.h"

#define CAPACITY_LEAST 8
/* What a message costs beside its bytes: its frame's head and compressed form's, its place. */
#define MESSAGE_MEMORY 256

/* --- the ring --- */

static struct past_message *place(const struct past *past, size_t at) {
    return &past->ring[(past->first + at) & (past->capacity - 1)];
}

const struct past_message *past_at(const struct past *past, size_t at) {
    assert(at < past->count);
    return place(past, at);
}

static void grow(struct past *past) {
    size_t capacity = past->capacity == 0 ? CAPACITY_LEAST : past->capacity * 2;
    struct past_message *ring = calloc(capacity, sizeof(*ring));
    if (ring == NULL)
        abort();
    for (size_t at = 0; at < past->count; at++)
        ring[at] = *place(past, at);
    free(past->ring);
    past->ring = ring;
    past->first = 0;
    past->capacity = capacity;
}

static size_t payload_of(const struct frame *frame) {
    size_t size;
    frame_payload(frame, &size);
    return size;
}

/* Twice the payload: members who compress have a form of their own, which is kept too. */
static size_t memory_of(const struct past_message *message) {
    size_t key = message->key == NULL ? 0 : sizeof(*message->key) + strlen(message->key->text);
    return MESSAGE_MEMORY + 2 * payload_of(message->frame) + key;
}

/* --- keys --- */

/* With the groups' secret: clients choose these too. */
static uint64_t hash_of(const char *key) { return key_of("", key).hash; }

static bool is_key(const void *item, const void *wanted) {
    const struct past_key *key = item;
    return strcmp(key->text, wanted) == 0;
}

static struct past_key *copy_key(const char *text, uint64_t offset) {
    size_t size = strlen(text) + 1;
    struct past_key *key = malloc(sizeof(*key) + size);
    if (key == NULL)
        abort();
    key->hash = hash_of(text);
    key->offset = offset;
    memcpy(key->text, text, size);
    return key;
}

/* How many messages have an offset up to this one. */
static size_t count_to(const struct past *past, uint64_t offset) {
    size_t low = 0, high = past->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (place(past, middle)->offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct past_message *past_find(const struct past *past, const char *text) {
    const struct past_key *key = table_find(&past->keys, hash_of(text), is_key, text);
    return key == NULL ? NULL : place(past, count_to(past, key->offset) - 1);
}

/* --- adding and removing --- */

void past_add(struct past *past, const struct past_message *message, const char *key) {
    assert(message->offset > past->last && message->key == NULL);
    if (past->count == past->capacity)
        grow(past);
    struct past_message *added = place(past, past->count++);
    *added = *message;
    frame_ref(added->frame);
    if (key != NULL) {
        added->key = copy_key(key, message->offset);
        table_add(&past->keys, added->key->hash, added->key);
    }
    past->last = message->offset;
    past->bytes += payload_of(added->frame);
    past->memory += memory_of(added);
}

static void release(struct past *past, const struct past_message *message) {
    past->bytes -= payload_of(message->frame);
    past->memory -= memory_of(message);
    if (message->key != NULL)
        table_remove(&past->keys, message->key->hash, message->key);
    free(message->key);
    frame_unref(message->frame);
}

void past_hear(struct past *past) {
    assert(past->heard < past->count);
    past->heard++;
}

void past_drop(struct past *past) {
    assert(past->heard < past->count);
    release(past, place(past, past->heard));
    past->count--;
    for (size_t at = past->heard; at < past->count; at++)
        *place(past, at) = *place(past, at + 1);
}

bool past_trim_one(struct past *past) {
    if (past->heard == 0)
        return false;
    past->gone = place(past, 0)->offset;
    release(past, place(past, 0));
    past->first++;
    past->count--;
    past->heard--;
    return true;
}

void past_trim(struct past *past, const struct group_terms *terms) {
    while (past->heard > 0 && (past->heard > terms->messages || past->bytes > terms->bytes))
        past_trim_one(past);
}

void past_expire(struct past *past, uint64_t now_ms) {
    while (past->heard > 0 && place(past, 0)->expires_ms <= now_ms)
        past_trim_one(past);
}

void past_clear(struct past *past) {
    for (size_t at = 0; at < past->count; at++)
        release(past, place(past, at));
    table_clear(&past->keys);
    free(past->ring);
    *past = (struct past){0};
}

/* --- reading --- */

bool past_is_heard(const struct past *past, const struct past_message *message) {
    return past->heard > 0 && message->offset <= place(past, past->heard - 1)->offset;
}

struct group_position past_position(const struct past *past) {
    uint64_t offset = past->heard > 0 ? place(past, past->heard - 1)->offset : past->gone;
    return (struct group_position){past->epoch, offset};
}

/* Whether everything kept behind that offset is here: it is that of a message here, or of the last
   that was removed. An offset in between was given to nobody who can be told the rest: what had it
   was lost in a crash, or never heard. */
static bool is_place(const struct past *past, struct group_position since) {
    if (since.epoch != past->epoch || since.epoch == 0)
        return false;
    size_t behind = count_to(past, since.offset);
    if (behind == 0)
        return since.offset == past->gone;
    return behind <= past->heard && place(past, behind - 1)->offset == since.offset;
}

/* How many of the newest, up to `count`, have at most so many bytes together; 0: any. */
static size_t fitting(const struct past *past, size_t count, size_t bytes) {
    size_t taken = 0, sum = 0;
    for (; taken < count && bytes != 0; taken++) {
        sum += payload_of(place(past, past->heard - taken - 1)->frame);
        if (sum > bytes)
            return taken;
    }
    return count;
}

struct past_part past_part(const struct past *past, struct group_position since, size_t last,
                           size_t most, size_t bytes) {
    size_t heard = past->heard;
    if (is_place(past, since)) {
        size_t count = heard - count_to(past, since.offset);
        if (count <= most && fitting(past, count, bytes) == count)
            return (struct past_part){heard - count, count, true};
    }
    size_t count = last < most ? last : most;
    count = fitting(past, count < heard ? count : heard, bytes);
    return (struct past_part){heard - count, count, false};
}
