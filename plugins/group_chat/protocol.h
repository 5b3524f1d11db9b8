/*
 * chat.v1: JSON in and out. Nothing here sends; README.md has every message.
 */
#ifndef GROUP_CHAT_PROTOCOL_H
#define GROUP_CHAT_PROTOCOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "person.h"

#define PROTOCOL_NAME "chat.v1"

enum request_type {
    REQUEST_SAY,
    REQUEST_NICK,
    REQUEST_TYPING,
    REQUEST_WHO,
    REQUEST_CLOSE,
    REQUEST_RESUME
};

/* Why a client's words were refused. Constants. */
struct refusal {
    const char *code, *field, *message;
};

struct request {
    enum request_type type;
    const char *text;  /* of say and nick; lives as long as root, as ref does */
    const char *ref;   /* the client's own name for what it says, or NULL */
    const char *since; /* of resume, or NULL */
    size_t last;       /* of resume */
    json_t *root;      /* to be given to json_decref */
};

/* Reads a client's message. NULL, or why not. The ref is there whenever a say has a good one, so
   that the refusal can bring it back. */
const struct refusal *protocol_read(const char *data, size_t size, struct request *request);

/* Whether the subprotocol is among those offered ("a, b"; NULL for none). */
bool protocol_offered(const char *offered);

/* Each makes a text for free(). Strings are UTF-8; texts and nicks are clean; ref: NULL for none.
 */
char *protocol_welcome(const struct person *person, const struct chat *chat, const char *room);
/* stamp: where its offset is to be written, 0 for nowhere; it has no `at` when stamp is NULL. */
char *protocol_said(const struct person *person, const char *text, size_t size, const char *ref,
                    size_t *stamp);
/* Ahead of count messages, or with them as they were said. recovered: NULL when that was not asked
   for. */
char *protocol_history(sluice_position position, size_t count, const int *recovered);
char *protocol_past(sluice_position position, const sluice_kept *messages, size_t count,
                    const int *recovered);
/* The message of this ref is kept already. */
char *protocol_kept(const char *ref, uint64_t at);
char *protocol_joined(const struct person *person, size_t windows);
char *protocol_left(const struct person *person);
char *protocol_renamed(const struct person *person, const char *old);
char *protocol_typing(const struct person *person);
/* retry_ms: below 0 for none. */
char *protocol_error(const struct refusal *refusal, const char *ref, long long retry_ms);

/* Who is here: each person and nick once, with its windows; at most PROTOCOL_PEOPLE_MAX. */
#define PROTOCOL_PEOPLE_MAX 1000
char *protocol_who(const sluice_member *members, size_t count, size_t total);

/* A said as plain members hear it, "nick: text", for free(); NULL for all other messages. */
char *protocol_plain(const char *data, size_t size);

#endif
