/*
 * sluice/consumer.h: everything that a Sluice consumer needs. ABI 1.
 *
 * A consumer is a shared object that exports one function, made by the SLUICE_CONSUMER macro at the
 * end of one of its source files. It links to nothing of Sluice: each call below goes through a
 * table that the host hands over when it loads the plugin. Build it with hidden visibility:
 *
 *     cc -shared -fPIC -fvisibility=hidden -I <where sluice/ is> relay.c -o relay.so
 *
 * The rules, which hold for every function unless its own text says otherwise:
 *   - Hooks of one connection run one at a time, in order, on the connection's thread, and never
 * re-enter: a send inside receive never calls receive.
 *   - Call functions on the connection's thread, from a hook or a callback. Those marked [any] may
 * be called on any thread, pool threads of sluice_offload included.
 *   - Pointers given to a hook are borrowed until it returns. The host copies what it is given.
 *   - Strings are UTF-8 and end in NUL. A result is SLUICE_OK or one of the negative codes below,
 * and is safe to ignore.
 *   - An asynchronous call that returned SLUICE_OK runs its callback exactly once; with a NULL
 * connection if the connection ended first.
 *   - Do not fork and do not touch signals. A hook that holds its thread longer than the budget is
 * logged by name.
 *   - A plugin whose file has the same content as one already loaded shares that one's static
 * variables.
 *
 * Changes of the ABI
 *   1.0  the first one
 *   1.1  kept messages: sluice_send_options from keep on, sluice_send_report from epoch on,
 *        sluice_group_join_with, sluice_group_history; sluice_set_user
 */
#ifndef SLUICE_CONSUMER_H
#define SLUICE_CONSUMER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ABI_MAJOR 1
#define SLUICE_ABI_MINOR 1
#define SLUICE_MAGIC 0x534c5543u /* "SLUC" */

/* An author who calls functions of a newer minor raises this before the include; older hosts then
 * refuse the plugin. */
#ifndef SLUICE_MINOR_NEEDED
#define SLUICE_MINOR_NEEDED 0
#endif

#if defined(__GNUC__)
#define SLUICE_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define SLUICE_PRINTF(format_at, first_at)
#endif

/* Opaque: one client's connection; one route of one generation; one loop thread as one route sees
 * it. */
typedef struct sluice_conn sluice_conn;
typedef struct sluice_route sluice_route;
typedef struct sluice_thread sluice_thread;

/* A connection's id: never reused while the process lives, 0 is none. It is what other threads
 * keep, never a pointer. */
typedef uint64_t sluice_id;

/* Results. */
enum {
    SLUICE_OK = 0,
    SLUICE_GONE = -1,    /* the connection has ended */
    SLUICE_FULL = -2,    /* a queue or a limit is reached; nothing was taken */
    SLUICE_TOO_BIG = -3, /* the message or the text is longer than its limit */
    SLUICE_INVALID = -4, /* an argument is out of its range, or not UTF-8 */
    SLUICE_STATE = -5    /* not now: before accept, after an answer, outside open */
};

/* A message's kind. */
enum { SLUICE_TEXT = 1, SLUICE_BINARY = 2 };

/* One message: size bytes at data, text (valid UTF-8) or binary. Frozen: it will never grow. */
typedef struct sluice_message {
    const void *data;
    uint32_t size;
    uint32_t kind;
} sluice_message;

/* One member of a group, with the info that it joined with ("" when none). Frozen: it will never
 * grow. */
typedef struct sluice_member {
    sluice_id id;
    const char *info;
} sluice_member;

/* A place among a group's kept messages. offset: the last one that was heard; they have growing
   numbers from 1, some of which may be left out. epoch: which count this is; 0 is no position at
   all. Another epoch is another count, of which nothing can be resumed. Frozen: it will never grow.
 */
typedef struct sluice_position {
    uint64_t epoch;
    uint64_t offset;
} sluice_position;

/* What became of a group send. */
enum {
    SLUICE_SENT = 0,     /* sent, not kept */
    SLUICE_KEPT = 1,     /* sent and kept */
    SLUICE_REPEATED = 2, /* a kept message has its key: nothing was sent again */
    SLUICE_NOT_KEPT = 3  /* it was to be kept and could not be: nobody heard it */
};

/* How a group send ended, over all threads: members it met, queued, and dropped for; its position
   in the group's order, from 1. On a route with history only kept messages are counted: the
   position is that of the message itself, of the one with its key, or of the last kept one. */
typedef struct sluice_send_report {
    size_t size;
    uint64_t matched;
    uint64_t queued;
    uint64_t dropped;
    uint64_t position;
    /* since 1.1 */
    uint64_t epoch; /* of the position; 0 on a route without history */
    int outcome;    /* SLUICE_SENT… */
} sluice_send_report;

/* Somebody who is in a group: the memberships of one user key together, with the info of the last
   one that said any. Frozen: it will never grow. */
typedef struct sluice_person {
    const char *user;
    const char *info; /* "" when none */
    uint64_t memberships;
} sluice_person;

/* How a join stands, once the group has it. */
typedef struct sluice_joined {
    size_t size;
    sluice_position position; /* of the last kept message before the live ones; epoch 0: none are
                                 kept here, or the layer could not be read */
    uint64_t count;           /* kept messages that come next, before any live one */
    int recovered; /* 1: what comes is all that was kept after `since`, without a gap. 0: `since`
                      can't be resumed: too old, of another epoch, or skipped; what comes are the
                      last ones. 0 too without `since`. */
    const sluice_person *people; /* the first that are here, in order of coming, oneself among them:
                                    as many as options->people asked for; borrowed */
    size_t people_listed;
    uint64_t people_count; /* all who are here by presence */
} sluice_joined;

/* One kept message. Frozen: it will never grow. */
typedef struct sluice_kept {
    uint64_t offset;
    uint64_t time_ms; /* since 1970, by the server's clock, when it was kept */
    sluice_message message;
} sluice_kept;

/* Kept messages, the oldest first. */
typedef struct sluice_history {
    size_t size;
    sluice_position position; /* of the last kept message; epoch 0: none are kept here, or the layer
                                 could not be read */
    const sluice_kept *messages;
    size_t count;
    int recovered; /* as in sluice_joined */
} sluice_history;

typedef void (*sluice_report_fn)(sluice_conn *conn, void *arg, const sluice_send_report *report);
typedef void (*sluice_members_fn)(sluice_conn *conn, void *arg, const sluice_member *members,
                                  size_t count, size_t total);
typedef void (*sluice_joined_fn)(sluice_conn *conn, void *arg, const sluice_joined *joined);
typedef void (*sluice_history_fn)(sluice_conn *conn, void *arg, const sluice_history *history);
typedef void (*sluice_work_fn)(void *arg);
typedef void (*sluice_done_fn)(sluice_conn *conn, void *arg);
typedef void (*sluice_every_fn)(sluice_thread *thread, void *arg);

/* Options of sluice_group_send_with; set size to sizeof. */
typedef struct sluice_send_options {
    size_t size;
    sluice_id except;        /* a member that does not get it, 0 for none */
    sluice_report_fn report; /* runs once, later, on the connection's thread; may be NULL */
    void *arg;
    /* since 1.1; zeroed: not kept */
    int keep; /* 1: it is kept as the route's history says; without history it is only sent */
    const char *key; /* with keep: its own name in the group, 1 to SLUICE_KEY_MAX bytes of UTF-8
                        without control characters. While a message with this key is kept, it is not
                        sent again: so a sender who does not know whether it arrived may say it once
                        more. NULL: none */
    size_t stamp;    /* where in the message SLUICE_STAMP_SIZE spaces stand, which become the
                        position's offset, decimal, with spaces before it: a JSON number for all who
                        hear it. Only on a route with history, else they stay. 0: nowhere */
} sluice_send_options;

#define SLUICE_KEY_MAX 100
#define SLUICE_STAMP_SIZE 16

/* With whom a membership is shown to the others, and how. Its messages go to the members as group
   sends do, in one order with all else; they are never kept. Set size to sizeof, zero the rest. */
typedef struct sluice_presence {
    size_t size;
    const char *user;     /* 1 to 200 bytes of UTF-8 without control characters: all memberships
                             of one user in a group are one person */
    sluice_message came;  /* to the others, when the person's first membership begins */
    sluice_message went;  /* to those who are left, when the last one has ended, however it did */
    uint32_t most;        /* with more people than this nobody hears of each: `crowd` tells how
                             many there are instead; 0: SLUICE_PEOPLE_DEFAULT */
    uint32_t every_ms;    /* at most once in this time, 100 to 60,000 ms; 0: a second */
    sluice_message crowd; /* a `data` of NULL: nothing is told then */
    size_t crowd_stamp;   /* where in it SLUICE_STAMP_SIZE spaces become the count; 0: nowhere. A
                             count of up to `most` tells that each is told of again, from here on:
                             who shows names asks who is there */
} sluice_presence;

#define SLUICE_PEOPLE_DEFAULT 200

/* Options of sluice_group_join_with; set size to sizeof, zero the rest. */
typedef struct sluice_join_options {
    size_t size;
    const char *info;
    unsigned flags;
    uint32_t last; /* how many of the last kept messages come first; those after `since` if that can
                      be resumed */
    sluice_position since;
    sluice_joined_fn joined; /* runs once, later, on the connection's thread, before the first of
                                the messages; may be NULL */
    void *arg;
    uint32_t people;                 /* how many `joined` lists, up to 10,000 */
    const sluice_presence *presence; /* NULL: nobody is told of this membership, and it is in no
                                        one's list */
} sluice_join_options;

/* Flags of sluice_group_join. */
enum { SLUICE_EVENTS = 1 /* messages of this group go to the event hook, not to the socket */ };

/* What sluice_scope can be asked for. */
enum {
    SLUICE_PATH = 1, /* the path, decoded and normalised, with its first slash */
    SLUICE_QUERY,    /* name NULL: the whole query string as sent; else the parameter of that name,
                        decoded */
    SLUICE_HEADER,   /* the header of that name; several of one name are joined with ", " */
    SLUICE_COOKIE,   /* the cookie of that name */
    SLUICE_METHOD,   /* GET, POST… */
    SLUICE_BODY,     /* the request's body (its size: sluice_body) */
    SLUICE_PEER, /* the peer's address and port, as 192.0.2.1:5000 or [2001:db8::1]:5000; lives on
                  */
    SLUICE_SUBPROTOCOL, /* the chosen subprotocol after accept; lives on */
    SLUICE_OFFERED,     /* the offered subprotocols, joined with ", " */
    SLUICE_REASON,      /* in disconnect: the reason that the peer gave */
    SLUICE_HOST,        /* the authority that the client asked for */
    SLUICE_SCHEME       /* http or https */
};

/* Units of sluice_option_number: how a value is written in the YAML, and what comes back. */
enum {
    SLUICE_COUNT = 1, /* a bare number */
    SLUICE_BYTES,     /* k, m, g or a bare number; bytes */
    SLUICE_MS         /* ms, s, m, h, d, and never a bare number; milliseconds */
};

enum { SLUICE_LOG_ERROR = 0, SLUICE_LOG_WARNING, SLUICE_LOG_INFO, SLUICE_LOG_DEBUG };

#ifdef __cplusplus
#define SLUICE_UNSET                                                                               \
    {} /* so that hooks left out draw no warning */
#else
#define SLUICE_UNSET
#endif

/*
 * The consumer's descriptor, filled by SLUICE_CONSUMER. Every hook is optional. It grows at its end
 * only.
 */
typedef struct sluice_consumer {
    uint32_t size;
    uint32_t magic;
    uint32_t abi_major;
    uint32_t abi_minor;    /* the header's */
    uint32_t minor_needed; /* the oldest host that will do */
    const char *name;
    const char *version;

    /* Zeroed, 16-aligned bytes for each connection, up to 1 MiB: sluice_data. */
    uint32_t data_size SLUICE_UNSET;

    /* Read options and prepare; also under -t, so no threads and no network. 0, or -1 after
       sluice_option_error or a log line. shut comes after the route's last connection, for each
       open that returned 0. */
    int (*open)(sluice_route *route, void **data) SLUICE_UNSET;
    void (*shut)(sluice_route *route, void *data) SLUICE_UNSET;

    /* On each loop thread, before its first connection and at the end. 0, or -1 to refuse to start.
     */
    int (*thread_start)(sluice_thread *thread, sluice_route *route, void **data) SLUICE_UNSET;
    void (*thread_stop)(sluice_thread *thread, void *data) SLUICE_UNSET;

    /* A WebSocket handshake: accept, deny, or return and do either later; undecided at the connect
       limit is a 504. Without the hook every handshake is accepted. */
    void (*connect)(sluice_conn *conn) SLUICE_UNSET;

    /* A whole message. */
    void (*receive)(sluice_conn *conn, sluice_message message) SLUICE_UNSET;

    /* A message of a group that was joined with SLUICE_EVENTS. */
    void (*event)(sluice_conn *conn, const char *group, sluice_message message) SLUICE_UNSET;

    /* The queue moves again after count messages were dropped. Routes with on-full: drop-oldest or
     * drop-newest need it. */
    void (*dropped)(sluice_conn *conn, uint64_t count) SLUICE_UNSET;

    /* Exactly once for each accepted connection, whatever ended it, but not after sluice_stop.
       Groups are left already. code: RFC 6455 section 7.4; 1005 when the peer sent none, 1006 when
       the connection was lost. */
    void (*disconnect)(sluice_conn *conn, int code) SLUICE_UNSET;

    /* The last hook, exactly once for each connect or http: accepted, denied, timed out, left or
     * stopped. */
    void (*release)(sluice_conn *conn) SLUICE_UNSET;

    /* The server is stopping; connections end in ms_left milliseconds at the latest. */
    void (*drain)(sluice_conn *conn, uint32_t ms_left) SLUICE_UNSET;

    /* A request that is no WebSocket handshake: answer with sluice_respond or sluice_deny, now or
       later. Without the hook such a request is a 426. */
    void (*http)(sluice_conn *conn) SLUICE_UNSET;
} sluice_consumer;

/* The host's side. Call it through the functions below. It grows at its end only. */
struct sluice_host {
    uint32_t size;
    uint32_t abi_major;
    uint32_t abi_minor;
    int (*accept)(sluice_conn *conn, const char *subprotocol);
    int (*deny)(sluice_conn *conn, int status, const void *body, size_t size);
    int (*respond)(sluice_conn *conn, int status, const void *body, size_t size);
    int (*add_header)(sluice_conn *conn, const char *name, const char *value);
    const char *(*param)(sluice_conn *conn, const char *name);
    const char *(*scope)(sluice_conn *conn, int what, const char *name);
    const void *(*body)(sluice_conn *conn, size_t *size);
    int (*send)(sluice_conn *conn, sluice_message message);
    int (*close)(sluice_conn *conn, int code, const char *reason);
    int (*stop)(sluice_conn *conn);
    size_t (*queued)(sluice_conn *conn);
    sluice_id (*conn_id)(sluice_conn *conn);
    void *(*data)(sluice_conn *conn);
    void *(*thread_data)(sluice_conn *conn);
    sluice_route *(*conn_route)(sluice_conn *conn);
    void *(*route_data)(sluice_route *route);
    int (*group_join)(sluice_conn *conn, const char *group, const char *info, unsigned flags);
    int (*group_discard)(sluice_conn *conn, const char *group);
    int (*group_send)(sluice_conn *conn, const char *group, sluice_message message,
                      const sluice_send_options *options);
    int (*group_members)(sluice_conn *conn, const char *group, size_t most, sluice_members_fn fn,
                         void *arg);
    int (*route_send)(sluice_route *route, const char *group, sluice_message message,
                      sluice_id except);
    int (*offload)(sluice_conn *conn, sluice_work_fn work, sluice_done_fn done, void *arg);
    int (*post)(sluice_id id, sluice_done_fn fn, void *arg);
    int (*timer)(sluice_conn *conn, uint64_t ms, sluice_done_fn fn, void *arg, sluice_id *timer);
    int (*timer_cancel)(sluice_conn *conn, sluice_id timer);
    int (*every)(sluice_thread *thread, uint64_t ms, sluice_every_fn fn, void *arg);
    int64_t (*option_number)(sluice_route *route, const char *key, int unit, int64_t least,
                             int64_t most, int64_t otherwise);
    const char *(*option_text)(sluice_route *route, const char *key, const char *otherwise);
    void (*option_error)(sluice_route *route, const char *key, const char *message);
    void (*log)(sluice_route *route, sluice_conn *conn, int level, const char *text);
    /* since 1.1 */
    int (*group_join_with)(sluice_conn *conn, const char *group,
                           const sluice_join_options *options);
    int (*group_history)(sluice_conn *conn, const char *group, sluice_position since, size_t most,
                         sluice_history_fn fn, void *arg);
    int (*set_user)(sluice_conn *conn, const char *user);
};

/* The plugin's one variable: hidden, set by the entry function before any hook runs. */
#if defined(__GNUC__)
__attribute__((visibility("hidden")))
#endif
extern const struct sluice_host *sluice_host_table;

/* A text message of size bytes at text. Borrows text. */
static inline sluice_message sluice_text(const char *text, size_t size) {
    sluice_message message;
    message.data = text;
    message.size =
        size > UINT32_MAX ? UINT32_MAX : (uint32_t)size; /* such a message is refused as too big */
    message.kind = SLUICE_TEXT;
    return message;
}

/* Accepts the handshake; the 101 leaves at the end of the turn, and sends and joins may follow at
   once. subprotocol: one of those offered (RFC 6455 section 4.2.2), or NULL for none. _STATE after
   an answer or in http, _INVALID when it was not offered. */
static inline int sluice_accept(sluice_conn *conn, const char *subprotocol) {
    return sluice_host_table->accept(conn, subprotocol);
}

/* Refuses the handshake or the request. status: 400 to 599. body: may be NULL; content-type is
   text/plain unless a header says otherwise. _STATE after an answer. */
static inline int sluice_deny(sluice_conn *conn, int status, const void *body, size_t size) {
    return sluice_host_table->deny(conn, status, body, size);
}

/* Answers an http request. status: 200 to 599. _STATE after an answer or in a handshake. */
static inline int sluice_respond(sluice_conn *conn, int status, const void *body, size_t size) {
    return sluice_host_table->respond(conn, status, body, size);
}

/* Adds a header to the 101, the refusal or the response. _STATE after an answer; _INVALID for a
   name that is no token (RFC 9110 section 5.1), a value with control characters, or one that the
   host sets itself (connection, upgrade, content-length, transfer-encoding, sec-websocket-*); _FULL
   after 32 headers or 8 KiB of them. */
static inline int sluice_add_header(sluice_conn *conn, const char *name, const char *value) {
    return sluice_host_table->add_header(conn, name, value);
}

/* The capture of that name in the route's pattern ("0": the whole match, "1"…: by number), or NULL.
   Lives as long as the connection. */
static inline const char *sluice_param(sluice_conn *conn, const char *name) {
    return sluice_host_table->param(conn, name);
}

/* What is known of the client, or NULL: see SLUICE_PATH and the others. Unless its line says that
   it lives on, a value is there until accept, deny or respond, and its memory until the hook
   returns. What the client sent that is not UTF-8 counts as absent: sluice_body has bytes. */
static inline const char *sluice_scope(sluice_conn *conn, int what, const char *name) {
    return sluice_host_table->scope(conn, what, name);
}

/* The request's body and its size in bytes, until the answer; NULL and 0 when there is none. */
static inline const void *sluice_body(sluice_conn *conn, size_t *size) {
    return sluice_host_table->body(conn, size);
}

/* Queues a message to the client. _FULL when the queue's policy refused it, _TOO_BIG over 16 MiB,
   _INVALID for text that is not UTF-8 or an unknown kind, _STATE before accept, _GONE after the end
   or close. */
static inline int sluice_send(sluice_conn *conn, sluice_message message) {
    return sluice_host_table->send(conn, message);
}

/* Begins the closing handshake (RFC 6455 section 7.1.2). code: 1000, 1001, 1007 to 1014, 3000 to
   4999; reason: up to 123 bytes, NULL for none. What was queued before leaves first. disconnect
   comes later, never inside the call. */
static inline int sluice_close(sluice_conn *conn, int code, const char *reason) {
    return sluice_host_table->close(conn, code, reason);
}

/* Closes with 1000 and without the disconnect hook; release still runs. */
static inline int sluice_stop(sluice_conn *conn) { return sluice_host_table->stop(conn); }

/* Bytes that wait to be sent to this client. */
static inline size_t sluice_queued(sluice_conn *conn) { return sluice_host_table->queued(conn); }

static inline sluice_id sluice_conn_id(sluice_conn *conn) {
    return sluice_host_table->conn_id(conn);
}

/* The connection's data_size bytes; what thread_start stored on this thread; the route; [any] what
 * open stored. */
static inline void *sluice_data(sluice_conn *conn) { return sluice_host_table->data(conn); }
static inline void *sluice_thread_data(sluice_conn *conn) {
    return sluice_host_table->thread_data(conn);
}
static inline sluice_route *sluice_conn_route(sluice_conn *conn) {
    return sluice_host_table->conn_route(conn);
}
static inline void *sluice_route_data(sluice_route *route) {
    return sluice_host_table->route_data(route);
}

/* Joins a group of the route's namespace. group: 1 to 200 bytes of UTF-8 without control
   characters; info: up to 256 bytes that members are shown, NULL for none. Left by itself at the
   end. Joining again changes info and flags. _STATE before accept, _FULL over the route's groups a
   connection, _INVALID for a bad name or info, or for SLUICE_EVENTS without the event hook. */
static inline int sluice_group_join(sluice_conn *conn, const char *group, const char *info,
                                    unsigned flags) {
    return sluice_host_table->group_join(conn, group, info, flags);
}
static inline int sluice_group_add(sluice_conn *conn, const char *group) {
    return sluice_host_table->group_join(conn, group, NULL, 0);
}
static inline int sluice_group_discard(sluice_conn *conn, const char *group) {
    return sluice_host_table->group_discard(conn, group);
}

/* Sends to every member of the group, the sender too when it is one. OK means taken: all members
   get it, in the same order as every other message of the group. Errors as sluice_send; no
   membership is needed. */
static inline int sluice_group_send(sluice_conn *conn, const char *group, sluice_message message) {
    return sluice_host_table->group_send(conn, group, message, NULL);
}
static inline int sluice_group_send_with(sluice_conn *conn, const char *group,
                                         sluice_message message,
                                         const sluice_send_options *options) {
    return sluice_host_table->group_send(conn, group, message, options);
}

/* 1.1. Joins so that nothing is missed: first come the kept messages after options->since, or the
   last options->last ones, then the live ones, none twice, none left out; to the event hook with
   SLUICE_EVENTS, else to the socket. Errors as sluice_group_join; _INVALID also for a size that is
   too small. For a member only info and flags change, and joined is told count 0: its user and
   its `went` stay as they were. */
static inline int sluice_group_join_with(sluice_conn *conn, const char *group,
                                         const sluice_join_options *options) {
    return sluice_host_table->group_join_with(conn, group, options);
}

/* 1.1. Reads kept messages: those after since when it has an epoch and can be resumed, else the
   last; at most most (1 to 10,000) of them, the newest. fn is called once, later; what it is given
   is borrowed. No membership is needed. */
static inline int sluice_group_history(sluice_conn *conn, const char *group, sluice_position since,
                                       size_t most, sluice_history_fn fn, void *arg) {
    return sluice_host_table->group_history(conn, group, since, most, fn, arg);
}

/* 1.1. Whose connection this is, once the consumer knows it for sure: a key by which an operator
   can end all connections of that user (sluice kick --user). user: 1 to 200 bytes of UTF-8 without
   control characters, copied; NULL for none again. _INVALID for another text. */
static inline int sluice_set_user(sluice_conn *conn, const char *user) {
    return sluice_host_table->set_user(conn, user);
}

/* Asks who is in the group: fn is called once, later, with the first members (at most most, 10,000)
   in order of joining and the total. */
static inline int sluice_group_members(sluice_conn *conn, const char *group, size_t most,
                                       sluice_members_fn fn, void *arg) {
    return sluice_host_table->group_members(conn, group, most, fn, arg);
}

/* [any] Sends to a group of the route's namespace without a connection, between open and shut.
 * except: one id, or 0. */
static inline int sluice_route_send(sluice_route *route, const char *group, sluice_message message,
                                    sluice_id except) {
    return sluice_host_table->route_send(route, group, message, except);
}

/* Runs work on a thread of a bounded pool, then done on the connection's thread (with NULL when it
   ended). work may call only functions marked [any]. _FULL when the pool's queue is full: nothing
   runs. */
static inline int sluice_offload(sluice_conn *conn, sluice_work_fn work, sluice_done_fn done,
                                 void *arg) {
    return sluice_host_table->offload(conn, work, done, arg);
}

/* [any] Runs fn on the connection's thread; with NULL when it has ended. _INVALID for 0 and for
   what can't be an id. */
static inline int sluice_post(sluice_id id, sluice_done_fn fn, void *arg) {
    return sluice_host_table->post(id, fn, arg);
}

/* Runs fn once after ms milliseconds (1 to 30 days), or with NULL when the connection ends first.
   timer: where its id is stored, may be NULL. _FULL over 64 timers a connection. timer_cancel: the
   callback will not run; _INVALID when it already did. */
static inline int sluice_timer(sluice_conn *conn, uint64_t ms, sluice_done_fn fn, void *arg,
                               sluice_id *timer) {
    return sluice_host_table->timer(conn, ms, fn, arg, timer);
}
static inline int sluice_timer_cancel(sluice_conn *conn, sluice_id timer) {
    return sluice_host_table->timer_cancel(conn, timer);
}

/* Runs fn on this thread each ms milliseconds (at least 1) until thread_stop. From thread_start or
 * fn itself. */
static inline int sluice_every(sluice_thread *thread, uint64_t ms, sluice_every_fn fn, void *arg) {
    return sluice_host_table->every(thread, ms, fn, arg);
}

/* In open only: the route's options. a.b reaches into mappings. The host reports a bad value, and a
   key that nobody asked for, with its place in the file. Text lives as long as the route. */
static inline int64_t sluice_option_number(sluice_route *route, const char *key, int unit,
                                           int64_t least, int64_t most, int64_t otherwise) {
    return sluice_host_table->option_number(route, key, unit, least, most, otherwise);
}
static inline const char *sluice_option_text(sluice_route *route, const char *key,
                                             const char *otherwise) {
    return sluice_host_table->option_text(route, key, otherwise);
}
static inline void sluice_option_error(sluice_route *route, const char *key, const char *message) {
    sluice_host_table->option_error(route, key, message);
}

/* [any, with a NULL connection] Writes a line to the server's log, up to 1,000 bytes; control
 * characters are escaped. */
SLUICE_PRINTF(4, 5)
static inline void sluice_log(sluice_route *route, sluice_conn *conn, int level, const char *format,
                              ...) {
    char text[1001];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sluice_host_table->log(route, conn, level, text);
}

/* What the ELF note holds: read by the host before the loader runs anything. */
struct sluice_note {
    uint32_t name_size, body_size, type;
    char name[8];
    uint32_t magic, abi_major, abi_minor, minor_needed;
};

#define SLUICE_NOTE_TYPE 1

#ifdef __cplusplus
#define SLUICE_EXTERN_C_BEGIN extern "C" {
#define SLUICE_EXTERN_C_END }
#else
#define SLUICE_EXTERN_C_BEGIN
#define SLUICE_EXTERN_C_END
#endif

/* The one function that a plugin exports. Returns the descriptor, which lives as long as the
 * plugin. */
typedef const sluice_consumer *(*sluice_entry_fn)(const struct sluice_host *host);
#define SLUICE_ENTRY "sluice_consumer_entry"

/*
 * Makes the descriptor, the note and the entry. Once in a plugin, at the end of one of its files:
 *
 *     SLUICE_CONSUMER("relay", "1.0", .connect = on_connect, .receive = on_receive)
 *
 * In C++20 the hooks stand in the order of sluice_consumer.
 */
#define SLUICE_CONSUMER(name_, version_, ...)                                                      \
    SLUICE_EXTERN_C_BEGIN                                                                          \
    const struct sluice_host *sluice_host_table;                                                   \
    __attribute__((section(".note.sluice"), used,                                                  \
                   aligned(4))) static const struct sluice_note sluice_note_record = {             \
        7,                                                                                         \
        16,                                                                                        \
        SLUICE_NOTE_TYPE,                                                                          \
        "Sluice",                                                                                  \
        SLUICE_MAGIC,                                                                              \
        SLUICE_ABI_MAJOR,                                                                          \
        SLUICE_ABI_MINOR,                                                                          \
        SLUICE_MINOR_NEEDED};                                                                      \
    static const sluice_consumer sluice_consumer_record = {.size = sizeof(sluice_consumer),        \
                                                           .magic = SLUICE_MAGIC,                  \
                                                           .abi_major = SLUICE_ABI_MAJOR,          \
                                                           .abi_minor = SLUICE_ABI_MINOR,          \
                                                           .minor_needed = SLUICE_MINOR_NEEDED,    \
                                                           .name = name_,                          \
                                                           .version = version_,                    \
                                                           __VA_ARGS__};                           \
    __attribute__((visibility("default"))) const sluice_consumer *sluice_consumer_entry(           \
        const struct sluice_host *host);                                                           \
    __attribute__((visibility("default"))) const sluice_consumer *sluice_consumer_entry(           \
        const struct sluice_host *host) {                                                          \
        sluice_host_table = host;                                                                  \
        return &sluice_consumer_record;                                                            \
    }                                                                                              \
    SLUICE_EXTERN_C_END

#ifdef __cplusplus
}
#endif

#endif
