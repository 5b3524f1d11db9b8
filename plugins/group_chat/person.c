#include "person.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "past.h"
#include "text.h"

#define HELD_MAX 32
#define PERSON_KEY_MIN 16
#define PERSON_KEY_MAX 64
#define ID_SIZE (DIGEST_TEXT - 1)

static const char no_digest[] = "0000000000000000";

struct chat *person_chat(sluice_conn *conn) {
    return sluice_route_data(sluice_conn_route(conn));
}

void person_identify(sluice_conn *conn, struct person *person) {
    const char *key = sluice_scope(conn, SLUICE_QUERY, "person");
    size_t size = key ? strlen(key) : 0;
    sluice_id own = sluice_conn_id(conn);
    /* An id has 8 bytes, so that it never equals a key. */
    person->has_key = size >= PERSON_KEY_MIN && size <= PERSON_KEY_MAX &&
                      digest_write_lasting(key, size, person->id);
    if (person->has_key)
        sluice_set_user(conn, person->id);
    else
        digest_write(&own, sizeof(own), person->id);
}

void person_nick_digest(const char *nick, char to[DIGEST_TEXT]) {
    char bare[NICK_BYTES + 1];
    digest_write(bare, text_bare_name(nick, bare), to);
}

int person_join(sluice_conn *conn) {
    struct person *person = sluice_data(conn);
    unsigned flags = person->json ? 0 : SLUICE_EVENTS;
    char wanted[DIGEST_TEXT], info[PERSON_INFO_BYTES];
    memcpy(wanted, no_digest, sizeof(wanted));
    if (person->wanted[0])
        person_nick_digest(person->wanted, wanted);
    snprintf(info, sizeof(info), "%s %s %s", person->id, wanted, person->nick);
    if (person->has_asked)
        return sluice_group_join(conn, sluice_param(conn, "group"), info, flags);
    int result = past_join(conn, info, flags);
    person->has_asked = result == SLUICE_OK;
    return result;
}

bool person_read_info(const char *info, struct profile *profile) {
    size_t size = strlen(info);
    if (size < 2 * ID_SIZE + 2 || size > 2 * ID_SIZE + 2 + NICK_BYTES || info[ID_SIZE] != ' ' ||
        info[2 * ID_SIZE + 1] != ' ')
        return false;
    *profile = (struct profile){info, info + ID_SIZE + 1, info + 2 * ID_SIZE + 2};
    return true;
}

bool person_hold(struct person *person, sluice_message message) {
    struct held *held = person->held_count < HELD_MAX ? malloc(sizeof(*held) + message.size) : NULL;
    if (!held)
        return false;
    *held = (struct held){.size = message.size, .kind = message.kind};
    if (message.size > 0)
        memcpy(held->data, message.data, message.size);
    if (!person->held)
        person->held_last = &person->held;
    *person->held_last = held;
    person->held_last = &held->next;
    person->held_count++;
    return true;
}

struct held *person_next_held(struct person *person) {
    struct held *held = person->held;
    if (held) {
        person->held = held->next;
        person->held_count--;
    }
    return held;
}

void person_drop_held(struct person *person) {
    for (struct held *held; (held = person_next_held(person));)
        free(held);
}
