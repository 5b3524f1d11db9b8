/* Groups with one order: every call takes effect at once. */
#include "fake_parts.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 200
#define INFO_BYTES_MAX 256

static bool is_plain_text(const char *text, size_t most) {
    size_t size = strlen(text);
    if (size > most || !fake_utf8_valid(text, size))
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f ||
            (text[i] == '\xc2' && (unsigned char)text[i + 1] < 0xa0))
            return false;
    return true;
}

bool fake_group_name_valid(const char *name) {
    return name && name[0] && is_plain_text(name, NAME_BYTES_MAX);
}

struct fake_group *fake_group_find(const struct fake_host *host, const char *name) {
    struct fake_group *group = host->groups;
    while (group && strcmp(group->name, name) != 0)
        group = group->next;
    return group;
}

struct fake_group *fake_group_make(struct fake_host *host, const char *name) {
    struct fake_group *group = fake_group_find(host, name);
    if (group)
        return group;
    group = fake_alloc(sizeof(*group));
    group->host = host;
    group->name = fake_copy(name);
    group->next = host->groups;
    host->groups = group;
    return group;
}

struct membership *fake_member_find(struct fake_group *group, const sluice_conn *conn) {
    for (size_t i = 0; group && i < group->count; i++)
        if (group->members[i].conn == conn)
            return &group->members[i];
    return NULL;
}

static size_t count_memberships(sluice_conn *conn) {
    size_t count = 0;
    for (struct fake_group *group = conn->host->groups; group; group = group->next)
        count += fake_member_find(group, conn) != NULL;
    return count;
}

int fake_group_join(sluice_conn *conn, const char *name, const char *info, unsigned flags) {
    if (!fake_group_name_valid(name) ||
        (info && (strlen(info) > INFO_BYTES_MAX || !fake_utf8_valid(info, strlen(info)))))
        return SLUICE_INVALID;
    struct fake_group *group = fake_group_make(conn->host, name);
    struct membership *member = fake_member_find(group, conn);
    if (!member && count_memberships(conn) == FAKE_GROUPS_MAX)
        return SLUICE_FULL;
    if (!member) {
        group->members = realloc(group->members, (group->count + 1) * sizeof(group->members[0]));
        if (!group->members)
            abort();
        member = &group->members[group->count++];
        *member = (struct membership){.conn = conn};
    }
    free(member->info);
    member->info = fake_copy(info ? info : "");
    member->flags = flags;
    return SLUICE_OK;
}

static void remove_member(struct fake_group *group, struct membership *member) {
    free(member->info);
    memmove(member, member + 1,
            (size_t)(group->members + --group->count - member) * sizeof(*member));
}

int fake_group_leave(sluice_conn *conn, const char *name) {
    if (!fake_group_name_valid(name))
        return SLUICE_INVALID;
    struct fake_group *group = fake_group_find(conn->host, name);
    struct membership *member = fake_member_find(group, conn);
    if (member)
        remove_member(group, member);
    return SLUICE_OK;
}

void fake_group_leave_all(sluice_conn *conn) {
    for (struct fake_group *group = conn->host->groups; group; group = group->next) {
        struct membership *member = fake_member_find(group, conn);
        if (member)
            remove_member(group, member);
    }
}

void fake_run_event(sluice_conn *conn, const char *group, const struct message *message) {
    if (conn->stopped || !conn->host->consumer.event)
        return;
    /* Exactly as long as it is, so that reading behind it is seen. */
    const char *data = fake_lend(conn->host, message->data, message->size);
    const char *name = fake_lend(conn->host, group, strlen(group));
    conn->host->consumer.event(conn, name, (sluice_message){data, message->size, message->kind});
    fake_end_loans(conn->host);
}

static void deliver_event(struct letter *letter, sluice_conn *conn) {
    if (conn)
        fake_run_event(conn, letter->group, &letter->message);
}

static void send_event(sluice_conn *conn, const char *group, const struct message *message) {
    struct letter *letter = fake_letter(conn, NULL);
    letter->deliver = deliver_event;
    letter->group = fake_copy(group);
    letter->message = fake_copy_message(message->data, message->size, message->kind);
    fake_post(&conn->host->mail, letter);
}

void fake_group_deliver(struct fake_host *host, const char *name, struct message *message,
                        const sluice_send_options *options, sluice_send_report *report) {
    struct fake_group *group = fake_group_make(host, name);
    sluice_id except = options ? options->except : 0;
    *report = (sluice_send_report){.size = sizeof(*report)};
    if (!fake_past_take(group, message, options, report))
        return;
    for (size_t i = 0; i < group->count; i++) {
        struct membership *member = &group->members[i];
        if (member->conn->id == except || member->conn->state != ACCEPTED)
            continue;
        report->matched++;
        if (member->late > 0)
            fake_hear_late(group, member, message);
        else if (member->flags & SLUICE_EVENTS)
            send_event(member->conn, name, message);
        else if (!fake_deliver(member->conn, message)) {
            report->dropped++;
            continue;
        }
        report->queued++;
    }
}

void fake_groups_free(struct fake_host *host) {
    for (struct fake_group *group = host->groups, *next; group; group = next) {
        next = group->next;
        for (size_t i = 0; i < group->count; i++)
            free(group->members[i].info);
        fake_past_free(group);
        free(group->members);
        free(group->name);
        free(group);
    }
}
