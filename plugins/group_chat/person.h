/*
 * One connection as the chat sees it, and what its membership tells others of it. All on the
 * connection's thread.
 */
#ifndef GROUP_CHAT_PERSON_H
#define GROUP_CHAT_PERSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/consumer.h>

#include "digest.h"

#define NICK_MAX 40               /* characters */
#define NICK_BYTES (NICK_MAX * 4) /* without NUL */
#define PERSON_INFO_BYTES 256     /* what a membership may hold, and NUL fits below it */

/* A route's options. */
struct chat {
    const char *greeting;
    size_t text_bytes_max;
    unsigned rate; /* messages a window */
    size_t nick_max;
    uint32_t last; /* messages that a newcomer hears */
};

/* A message that came while the nick was not decided. */
struct held {
    struct held *next;
    uint32_t size, kind;
    char data[];
};

struct person {
    char id[DIGEST_TEXT];               /* whose connection this is: shown to others */
    char nick[NICK_BYTES + 1];          /* "" for none yet */
    char old[NICK_BYTES + 1];           /* the nick that the others know */
    char wanted[NICK_BYTES + 1];        /* the nick that it asks for; "" when it asks for none */
    char base[NICK_BYTES + 1];          /* what wanted is numbered from */
    bool json;                          /* speaks chat.v1 */
    bool joined;                        /* the others have been told */
    bool has_key;                       /* came with ?person= */
    bool has_asked;                     /* to join */
    bool is_in;                         /* the group has answered that */
    bool keeps;                         /* what is said here is kept */
    bool asks;                          /* came with ?since= */
    sluice_position since;              /* epoch 0: none */
    void (*entered)(sluice_conn *conn); /* runs when is_in begins */
    bool numbers;                       /* takes "Ann 2" when Ann is taken, instead of giving up */
    void (*decided)(sluice_conn *conn, bool taken, size_t windows);
    struct held *held, **held_last;
    unsigned held_count;
    unsigned said; /* in this window of time */
    uint64_t window_start_ms, typed_ms;
};

struct chat *person_chat(sluice_conn *conn);

/* Makes the id: of the query's ?person= when there is one of 16 to 64 bytes, so that all windows
   of a person have the same; else of this connection alone. In connect. */
void person_identify(sluice_conn *conn, struct person *person);

/* Joins the room, or tells it what changed. As sluice_group_join. */
int person_join(sluice_conn *conn);

/* What another's membership tells. Borrows the info. */
struct profile {
    const char *id;     /* DIGEST_TEXT - 1 bytes */
    const char *wanted; /* the digest of the nick that it asks for, or 16 zeros */
    const char *nick;
};

/* False for a membership of something else than this chat. */
bool person_read_info(const char *info, struct profile *profile);

/* The digest by which nicks are compared. */
void person_nick_digest(const char *nick, char to[DIGEST_TEXT]);

/* Keeps a message for later; false when too many wait. */
bool person_hold(struct person *person, sluice_message message);
/* The oldest one, for free(), or NULL. */
struct held *person_next_held(struct person *person);
void person_drop_held(struct person *person);

#endif
