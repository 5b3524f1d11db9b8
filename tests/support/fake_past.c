/* What the groups of a fake host keep, and the joins that hear it. As fake_group.c, at once; what
   is told of it comes with a turn. */
#include "fake_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 10000

struct kept {
    struct message message;
    char *key; /* NULL: none */
    uint64_t offset, time_ms;
};

void fake_keep(struct fake_host *host, size_t messages) { host->keeps = messages; }

void fake_refuse_keeping(struct fake_host *host, bool refuse) { host->keeps_nothing = refuse; }

static void free_kept(struct kept *kept) {
    free(kept->message.data);
    free(kept->key);
}

void fake_forget(struct fake_host *host, const char *group, size_t messages) {
    struct fake_group *found = fake_group_find(host, group);
    for (; found && messages > 0 && found->kept_count > 0; messages--) {
        found->gone = found->kept[0].offset;
        free_kept(&found->kept[0]);
        memmove(found->kept, found->kept + 1, --found->kept_count * sizeof(found->kept[0]));
    }
}

void fake_past_free(struct fake_group *group) {
    for (size_t i = 0; i < group->kept_count; i++)
        free_kept(&group->kept[i]);
    free(group->kept);
}

/* --- keeping --- */

static const struct kept *find_key(const struct fake_group *group, const char *key) {
    for (size_t i = 0; key && i < group->kept_count; i++)
        if (group->kept[i].key && strcmp(group->kept[i].key, key) == 0)
            return &group->kept[i];
    return NULL;
}

static void add_kept(struct fake_group *group, const struct message *message, const char *key) {
    group->kept = realloc(group->kept, (group->kept_count + 1) * sizeof(group->kept[0]));
    if (!group->kept)
        abort();
    group->kept[group->kept_count++] =
        (struct kept){fake_copy_message(message->data, message->size, message->kind),
                      fake_copy(key), group->position, group->host->now};
    if (group->kept_count > group->host->keeps)
        fake_forget(group->host, group->name, 1);
}

bool fake_stamp_fits(sluice_message message, size_t stamp) {
    static const char spaces[] = "                ";
    _Static_assert(sizeof(spaces) - 1 == SLUICE_STAMP_SIZE, "the spaces of a stamp");
    return stamp == 0 ||
           (message.size >= SLUICE_STAMP_SIZE && stamp <= message.size - SLUICE_STAMP_SIZE &&
            memcmp((const char *)message.data + stamp, spaces, SLUICE_STAMP_SIZE) == 0);
}

bool fake_past_take(struct fake_group *group, struct message *message,
                    const sluice_send_options *options, sluice_send_report *report) {
    struct fake_host *host = group->host;
    bool keep = host->keeps > 0 && options && options->keep;
    const struct kept *same = keep ? find_key(group, options->key) : NULL;
    report->epoch = host->keeps > 0 ? FAKE_EPOCH : 0;
    if (same) {
        report->outcome = SLUICE_REPEATED;
        report->position = same->offset;
        return false;
    }
    if (keep && host->keeps_nothing) {
        report->outcome = SLUICE_NOT_KEPT;
        report->position = group->position;
        return false;
    }
    if (keep || host->keeps == 0)
        group->position++;
    report->position = group->position;
    if (!keep)
        return true;
    if (options->stamp != 0) {
        char digits[24];
        snprintf(digits, sizeof(digits), "%*llu", SLUICE_STAMP_SIZE,
                 (unsigned long long)group->position);
        memcpy(message->data + options->stamp, digits, SLUICE_STAMP_SIZE);
    }
    report->outcome = SLUICE_KEPT;
    add_kept(group, message, options->key);
    return true;
}

/* --- reading --- */

struct part {
    size_t first, count;
    bool recovered;
};

static struct part find_part(const struct fake_group *group, sluice_position since, size_t last) {
    size_t count = group->kept_count, behind = 0;
    while (behind < count && group->kept[behind].offset <= since.offset)
        behind++;
    if (since.epoch == FAKE_EPOCH && since.offset >= group->gone && since.offset <= group->position)
        return (struct part){behind, count - behind, true};
    last = last < count ? last : count;
    return (struct part){count - last, last, false};
}

static sluice_position position_of(const struct fake_group *group) {
    sluice_position position = {0, 0};
    if (group->host->keeps > 0)
        position = (sluice_position){FAKE_EPOCH, group->position};
    return position;
}

static void deliver_history(struct letter *letter, sluice_conn *conn) {
    sluice_kept *kept = fake_alloc((letter->kept_count + 1) * sizeof(*kept));
    for (size_t i = 0; i < letter->kept_count; i++) {
        const struct kept *one = &letter->kept[i];
        kept[i] = (sluice_kept){
            one->offset, one->time_ms, {one->message.data, one->message.size, one->message.kind}};
    }
    sluice_history history = {sizeof(history), letter->position, kept, letter->kept_count,
                              letter->recovered};
    letter->fn.history(conn, letter->arg, &history);
    free(kept);
}

/* Copies, since the group may forget meanwhile. */
static void copy_part(struct letter *letter, const struct fake_group *group, struct part part) {
    letter->position = position_of(group);
    letter->recovered = part.recovered;
    letter->kept_count = part.count;
    letter->kept = fake_alloc((part.count + 1) * sizeof(letter->kept[0]));
    for (size_t i = 0; i < part.count; i++) {
        const struct kept *one = &group->kept[part.first + i];
        letter->kept[i] = (struct kept){
            fake_copy_message(one->message.data, one->message.size, one->message.kind), NULL,
            one->offset, one->time_ms};
    }
}

void fake_past_free_letter(struct letter *letter) {
    for (size_t i = 0; i < letter->kept_count; i++)
        free_kept(&letter->kept[i]);
    free(letter->kept);
}

int fake_group_history(sluice_conn *conn, const char *name, sluice_position since, size_t most,
                       sluice_history_fn fn, void *arg) {
    if (!fn || most == 0 || most > MOST || !fake_group_name_valid(name))
        return SLUICE_INVALID;
    const struct fake_group *group = fake_group_make(conn->host, name);
    struct part part = find_part(group, since, most);
    if (part.count > most)
        part = (struct part){group->kept_count - most, most, false};
    struct letter *letter = fake_letter(conn, arg);
    letter->deliver = deliver_history;
    letter->fn.history = fn;
    copy_part(letter, group, part);
    fake_post(&conn->host->mail, letter);
    return SLUICE_OK;
}

/* --- joining --- */

static void hear(struct letter *letter, sluice_conn *conn, const struct message *message) {
    if (letter->by_events)
        fake_run_event(conn, letter->group, message);
    else
        fake_deliver(conn, message);
}

/* Behind the answer to the join: what came meanwhile. */
static void deliver_late(struct letter *letter, sluice_conn *conn) {
    struct membership *member =
        conn ? fake_member_find(fake_group_find(letter->host, letter->group), conn) : NULL;
    if (member)
        member->late--;
    if (conn && conn->state == ACCEPTED)
        hear(letter, conn, &letter->message);
}

void fake_hear_late(struct fake_group *group, struct membership *member,
                    const struct message *message) {
    struct letter *letter = fake_letter(member->conn, NULL);
    letter->deliver = deliver_late;
    letter->group = fake_copy(group->name);
    letter->by_events = (member->flags & SLUICE_EVENTS) != 0;
    letter->message = fake_copy_message(message->data, message->size, message->kind);
    member->late++;
    fake_post(&group->host->mail, letter);
}

static void deliver_joined(struct letter *letter, sluice_conn *conn) {
    sluice_joined joined = {.size = sizeof(joined),
                            .position = letter->position,
                            .count = letter->kept_count,
                            .recovered = letter->recovered};
    struct membership *member =
        conn ? fake_member_find(fake_group_find(letter->host, letter->group), conn) : NULL;
    if (member)
        member->late--;
    if (letter->fn.joined)
        letter->fn.joined(conn, letter->arg, &joined);
    for (size_t i = 0; i < letter->kept_count && conn && conn->state == ACCEPTED; i++)
        hear(letter, conn, &letter->kept[i].message);
}

int fake_group_join_with(sluice_conn *conn, const char *name, const sluice_join_options *options) {
    bool is_new = !fake_member_find(fake_group_find(conn->host, name), conn);
    int result = fake_group_join(conn, name, options->info, options->flags);
    if (result != SLUICE_OK)
        return result;
    struct fake_group *group = fake_group_find(conn->host, name);
    struct letter *letter = fake_letter(conn, options->arg);
    letter->deliver = deliver_joined;
    letter->fn.joined = options->joined;
    letter->group = fake_copy(name);
    letter->by_events = (options->flags & SLUICE_EVENTS) != 0;
    copy_part(letter, group,
              is_new ? find_part(group, options->since, options->last) : (struct part){0});
    fake_member_find(group, conn)->late++;
    fake_post(&conn->host->mail, letter);
    return SLUICE_OK;
}
