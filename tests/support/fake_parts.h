/*
 * What the files of the fake host share: its structs, and the few steps that more than one of them
 * takes. Tests include fake_host.h alone.
 */
#ifndef FAKE_PARTS_H
#define FAKE_PARTS_H

#include "fake_host.h"

#include <pthread.h>

/* Copies of what a consumer is lent, freed when the loan ends. */
struct loan {
    struct loan *next;
    char bytes[];
};

struct pair {
    char *name, *value;
};

struct pairs {
    struct pair *items;
    size_t count;
};

struct message {
    char *data; /* a NUL behind it */
    uint32_t size, kind;
};

enum conn_state { DECIDING, ACCEPTED, CLOSING, ANSWERED, ENDED };

struct conn_timer {
    struct conn_timer *next;
    uint64_t at, serial;
    sluice_done_fn fn;
    void *arg;
};

struct sluice_conn {
    struct fake_host *host;
    sluice_route *route;
    sluice_id id;
    enum conn_state state;
    bool is_handshake, stopped, released;

    /* scope; the request's part goes with the answer */
    char *path, *query, *method, *authority, *scheme, *peer, *body, *offered, *subprotocol, *reason;
    struct pairs params, headers;

    /* the answer */
    int status;
    struct message answer_body;
    struct pairs answer_headers;
    size_t header_bytes;
    uint64_t deadline;

    /* what it got */
    struct message *got;
    size_t got_count, got_room;
    bool blocked;
    size_t queued, queue_max;
    uint64_t dropped;

    /* its end */
    int close_code;
    char *close_reason;
    unsigned disconnects, releases;

    struct conn_timer *timers;
    size_t timer_count;
    void *data;
};

struct every {
    struct every *next;
    uint64_t at, serial, ms;
    sluice_every_fn fn;
    void *arg;
};

struct sluice_thread {
    sluice_route *route;
    void *data;
    struct every *everies;
    size_t count;
    bool may_add; /* in thread_start or in a callback of its own */
};

struct option {
    char *key, *text;
    bool asked;
};

struct sluice_route {
    struct fake_host *host;
    sluice_route *next;
    struct option *options;
    size_t option_count;
    bool opening, threaded;
    void *data;
    sluice_thread thread;
};

struct membership {
    sluice_conn *conn;
    char *info;
    unsigned flags;
    size_t late; /* letters that it is to hear before anything else */
};

struct kept;

struct fake_group {
    struct fake_group *next;
    struct fake_host *host;
    char *name;
    uint64_t position;
    uint64_t gone; /* the last that was kept and is no more */
    struct kept *kept;
    size_t kept_count;
    struct membership *members;
    size_t count;
};

/* Something that comes later, with a turn. */
struct letter {
    struct letter *next;
    void (*deliver)(struct letter *letter, sluice_conn *conn); /* NULL when it has ended */
    struct fake_host *host;
    sluice_id id; /* 0: of no connection */
    union {
        sluice_work_fn work;
        sluice_report_fn report;
        sluice_members_fn members;
        sluice_joined_fn joined;
        sluice_history_fn history;
    } fn;
    sluice_done_fn done;
    void *arg;
    char *group;
    struct message message;
    sluice_id except;
    sluice_send_report report;
    sluice_member *members; /* with infos of its own */
    size_t count, total;
    sluice_position position;
    bool recovered, by_events;
    struct kept *kept; /* copies */
    size_t kept_count;
};

struct letters {
    struct letter *first, **last;
    size_t count;
};

struct log_line {
    struct log_line *next;
    int level;
    char text[];
};

struct fake_host {
    sluice_consumer consumer;
    pthread_t thread;
    sluice_route *routes;
    sluice_conn **conns;
    size_t conn_count;
    struct fake_group *groups;
    size_t keeps;       /* messages a group */
    bool keeps_nothing; /* though it should */
    uint64_t now, serial;
    struct loan *loans;
    char problem[256];
    struct letters jobs;
    size_t jobs_max;
    bool working; /* in the pool */
    bool ending;

    pthread_mutex_t lock; /* guards what follows */
    struct letters mail;
    struct log_line *log;
};

/* The consumer broke the contract: says how and aborts. */
_Noreturn void fake_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

void *fake_alloc(size_t size);
char *fake_copy(const char *text); /* NULL stays NULL */
struct message fake_copy_message(const void *data, size_t size, uint32_t kind);

/* Ends all loans: the hook has returned. */
void fake_end_loans(struct fake_host *host);
const char *fake_lend(struct fake_host *host, const char *text, size_t size);

/* The functions that plugins call, and the host that they work on, or NULL: one a process. */
const struct sluice_host *fake_functions(void);
void fake_set_current(struct fake_host *host);

/* scope */
void fake_scope_set(sluice_conn *conn, const struct fake_scope *scope);
void fake_scope_forget_request(sluice_conn *conn);
void fake_scope_free(sluice_conn *conn);
const char *fake_scope_get(sluice_conn *conn, int what, const char *name);
const char *fake_scope_param(const sluice_conn *conn, const char *name);
bool fake_scope_choose(sluice_conn *conn, const char *subprotocol);
void fake_pairs_add(struct pairs *pairs, const char *name, const char *value);
/* All values of the name, whatever its case, joined with ", ", to free; or NULL. */
char *fake_pairs_join(const struct pairs *pairs, const char *name);
void fake_pairs_free(struct pairs *pairs);

/* options */
void fake_options_set(sluice_route *route, const char *const *options);
/* Notes a key that nobody asked for. */
void fake_options_check(sluice_route *route);
void fake_options_free(sluice_route *route);
int64_t fake_option_number(sluice_route *route, const char *key, int unit, int64_t least,
                           int64_t most, int64_t otherwise);
const char *fake_option_text(sluice_route *route, const char *key, const char *otherwise);
void fake_option_error(sluice_route *route, const char *key, const char *message);

/* groups; at once, in the order of the calls */
struct fake_group *fake_group_find(const struct fake_host *host, const char *name);
bool fake_group_name_valid(const char *name);
struct fake_group *fake_group_make(struct fake_host *host, const char *name);
struct membership *fake_member_find(struct fake_group *group, const sluice_conn *conn);
int fake_group_join(sluice_conn *conn, const char *name, const char *info, unsigned flags);
int fake_group_leave(sluice_conn *conn, const char *name);
void fake_group_leave_all(sluice_conn *conn);
/* options: NULL for none. The message may be stamped. */
void fake_group_deliver(struct fake_host *host, const char *name, struct message *message,
                        const sluice_send_options *options, sluice_send_report *report);
/* Runs the event hook, if the connection still wants it. */
void fake_run_event(sluice_conn *conn, const char *group, const struct message *message);
void fake_groups_free(struct fake_host *host);

/* what groups keep */
bool fake_stamp_fits(sluice_message message, size_t stamp);
/* Gives the message its place; false when it is not to be heard. Fills the report's outcome. */
bool fake_past_take(struct fake_group *group, struct message *message,
                    const sluice_send_options *options, sluice_send_report *report);
/* A member that has not heard all that was before hears it behind that. */
void fake_hear_late(struct fake_group *group, struct membership *member,
                    const struct message *message);
int fake_group_join_with(sluice_conn *conn, const char *name, const sluice_join_options *options);
int fake_group_history(sluice_conn *conn, const char *name, sluice_position since, size_t most,
                       sluice_history_fn fn, void *arg);
void fake_past_free(struct fake_group *group);
void fake_past_free_letter(struct letter *letter);

/* connections */
bool fake_utf8_valid(const void *data, size_t size);
int fake_message_check(sluice_message message);
/* As the session would: queues, drops or closes. False when it did not take it. */
bool fake_deliver(sluice_conn *conn, const struct message *message);
int fake_set_answer(sluice_conn *conn, int status, const void *body, size_t size);
int fake_accept_conn(sluice_conn *conn, const char *subprotocol);
void fake_begin_close(sluice_conn *conn, int code, const char *reason);

/* To the connection. */
struct letter *fake_letter(sluice_conn *conn, void *arg);
/* Puts the letter behind the others. [any thread] */
void fake_post(struct letters *to, struct letter *letter);

#endif
