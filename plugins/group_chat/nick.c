#include "nick.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define MEMBERS_MAX 10000
#define RETRY_MS 10
#define SMALL_NUMBERS 8

enum claim { FREE, TAKEN, UNDECIDED };

/* A list of members as one of them reads it. */
struct view {
    const struct person *self;
    sluice_id self_id;
    const sluice_member *members;
    size_t count;
};

static bool is_self(const struct view *view, const struct profile *other) {
    return memcmp(other->id, view->self->id, DIGEST_TEXT - 1) == 0;
}

/*
 * Whose the nick of this digest is. Another's settled nick is taken. Of two who want it, the one
 * that joined earlier goes first: the later one gives way at once, the earlier one waits until it
 * has, since the later one may have settled without seeing it. Waiting is only ever for later
 * members, so there is no circle.
 */
static enum claim judge(const struct view *view, const char *digest) {
    enum claim claim = FREE;
    bool behind = false;
    for (size_t i = 0; i < view->count; i++) {
        struct profile other;
        char settled[DIGEST_TEXT];
        if (view->members[i].id == view->self_id)
            behind = true;
        if (!person_read_info(view->members[i].info, &other) || is_self(view, &other))
            continue;
        person_nick_digest(other.nick, settled);
        if (other.nick[0] && strcmp(settled, digest) == 0)
            return TAKEN;
        if (memcmp(other.wanted, digest, DIGEST_TEXT - 1) != 0)
            continue;
        if (!behind)
            return TAKEN;
        claim = UNDECIDED;
    }
    return claim;
}

static size_t count_windows(const struct view *view) {
    size_t windows = 0;
    for (size_t i = 0; i < view->count; i++) {
        struct profile other;
        bool self = view->members[i].id == view->self_id;
        if (self || (person_read_info(view->members[i].info, &other) && is_self(view, &other) &&
                     other.nick[0]))
            windows++;
    }
    return windows > 0 ? windows : 1;
}

static void list(sluice_conn *conn);

static void on_retry(sluice_conn *conn, void *arg) {
    (void)arg;
    if (conn)
        list(conn);
}

static void settle(sluice_conn *conn, bool taken, size_t windows) {
    struct person *person = sluice_data(conn);
    if (!taken)
        memcpy(person->nick, person->wanted, sizeof(person->nick));
    person->wanted[0] = '\0';
    person_join(conn);
    person->decided(conn, taken, windows);
}

/* 2, 3… and later any, so that a thousand of one nick don't try a thousand numbers each. */
static unsigned next_number(sluice_id id, unsigned tries) {
    if (tries < SMALL_NUMBERS)
        return tries + 2;
    uint64_t seed[2] = {id, tries};
    char digest[DIGEST_TEXT];
    digest_write(seed, sizeof(seed), digest);
    return (unsigned)(strtoull(digest, NULL, 16) % 900000 + 100000);
}

/* The first number that the list shows free; whether it is, the next list tells. */
static void take_number(sluice_conn *conn, const struct view *view) {
    struct person *person = sluice_data(conn);
    char digest[DIGEST_TEXT];
    unsigned tries = 0;
    do {
        unsigned number = next_number(view->self_id, tries++);
        text_number_name(person->base, number, person_chat(conn)->nick_max, person->wanted);
        person_nick_digest(person->wanted, digest);
    } while (judge(view, digest) == TAKEN);
    person_join(conn);
    list(conn);
}

static void on_members(sluice_conn *conn, void *arg, const sluice_member *members, size_t count,
                       size_t total) {
    (void)arg;
    (void)total;
    if (!conn)
        return;
    struct person *person = sluice_data(conn);
    struct view view = {person, sluice_conn_id(conn), members, count};
    char digest[DIGEST_TEXT];
    person_nick_digest(person->wanted, digest);
    enum claim claim = judge(&view, digest);
    if (claim == UNDECIDED)
        sluice_timer(conn, RETRY_MS, on_retry, NULL, NULL);
    else if (claim == TAKEN && person->numbers)
        take_number(conn, &view);
    else
        settle(conn, claim == TAKEN, count_windows(&view));
}

static void list(sluice_conn *conn) {
    int result =
        sluice_group_members(conn, sluice_param(conn, "group"), MEMBERS_MAX, on_members, NULL);
    if (result == SLUICE_FULL)
        sluice_timer(conn, RETRY_MS, on_retry, NULL, NULL);
}

int nick_ask(sluice_conn *conn, const char *nick,
             void (*decided)(sluice_conn *conn, bool taken, size_t windows)) {
    struct person *person = sluice_data(conn);
    memmove(person->wanted, nick, strlen(nick) + 1);
    memcpy(person->base, person->wanted, sizeof(person->base));
    person->decided = decided;
    int result = person_join(conn);
    if (result == SLUICE_OK)
        list(conn);
    return result;
}
