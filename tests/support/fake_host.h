/*
 * A host in memory: it runs a consumer's hooks in a unit test, without sockets, loops or waiting.
 * It keeps the contract of sluice/consumer.h as the server does and checks that the consumer keeps
 * its side; whoever breaks it gets a sentence on stderr and an abort. It goes with any test
 * framework, and needs nothing of the server but that header:
 *
 *     cc -D_GNU_SOURCE -I gateway/sdk -I tests/support -g -fsanitize=address test_chat.c chat.c \
 *        tests/support/fake_{host,table,conn,scope,options,group,past}.c \
 *        $(pkg-config --cflags --libs check)
 *
 * The consumer's own sources are built into the test, which hands their entry over:
 *
 *     struct fake_host *host = fake_host_create(sluice_consumer_entry);
 *     sluice_route *route = fake_open(host, (const char *const[]){"greeting", "hello", NULL});
 *     sluice_conn *conn = fake_connect(route, &(struct fake_scope){.query = "nick=Ann"});
 *     ck_assert_int_eq(fake_answer(conn), 101);
 *     ck_assert_str_eq(fake_text(conn, 0), "hello");
 *     fake_receive(conn, "hi");
 *     fake_leave(conn, 1001, "");
 *     fake_host_free(host);
 *
 * Memory that a consumer only borrows (messages, scope values) and its connection data are freed at
 * the very moment they stop being valid, so that AddressSanitizer shows every use behind it.
 *
 * Functions marked "ends with a turn" then do what the server does at the end of a loop's turn:
 * answers leave, events, reports, posts and done callbacks are delivered, closes are answered by
 * the client, until nothing is left. Everything runs on the test's thread, but the functions that
 * consumer.h marks [any] may be called from others.
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/consumer.h>

#define FAKE_CONNECT_MS 10000 /* an undecided handshake is a 504 after this */
#define FAKE_GROUPS_MAX 100   /* groups a connection */
#define FAKE_TIMERS_MAX 64    /* timers a connection, and of sluice_every a thread */

struct fake_host;

/* What a client brings. All may be left out. Lists are names and values in turn, ended by NULL.
   Borrowed during the call. */
struct fake_scope {
    const char *path;   /* decoded; "/" when left out */
    const char *query;  /* as sent, without the question mark */
    const char *method; /* GET when left out */
    const char *host;   /* example.test when left out */
    const char *scheme; /* http when left out */
    const char *peer;   /* 192.0.2.1:5000 when left out */
    const char *body;
    const char *offered;        /* subprotocols: "a, b" */
    const char *const *params;  /* the route's captures */
    const char *const *headers; /* cookies are in the header "cookie" */
};

/* --- life --- */

/* The consumer that is built into the test. */
__attribute__((visibility("default"))) const sluice_consumer *
sluice_consumer_entry(const struct sluice_host *host);

/* A host with this consumer. A process has one host at a time; aborts when there is another. */
struct fake_host *fake_host_create(sluice_entry_fn entry);
/* The same from a shared object, which is loaded by the plain loader and stays loaded. Aborts when
   it can't be. */
struct fake_host *fake_host_load(const char *path);
/* Ends what lives still, as a server's end does: connections are lost, waiting jobs are not run but
   done, then thread_stop and shut. NULL is fine. */
void fake_host_free(struct fake_host *host);

const sluice_consumer *fake_consumer(const struct fake_host *host);

/* Opens a route with options, keys and values in turn, ended by NULL, or NULL for none: a.b reaches
   into mappings. Runs open and thread_start. NULL when open refused, or when the server would
   refuse the options: fake_problem says why. */
sluice_route *fake_open(struct fake_host *host, const char *const *options);
/* The first problem of the last fake_open: a bad value, an option that the consumer reported, a key
   that it never asked for; "" when there was none. */
const char *fake_problem(const struct fake_host *host);

/* --- what clients do; each ends with a turn --- */

/* A handshake: runs connect. scope may be NULL. The connection may be read until fake_host_free. */
sluice_conn *fake_connect(sluice_route *route, const struct fake_scope *scope);
/* A request that is no handshake: runs http; without that hook the answer is 426. */
sluice_conn *fake_request(sluice_route *route, const struct fake_scope *scope);

/* A message from the client: runs receive. False when the connection is not open (any more):
   nothing ran then. */
bool fake_receive(sluice_conn *conn, const char *text);
bool fake_receive_message(sluice_conn *conn, sluice_message message);

/* The client goes: with a close frame of this code (1005: none) and reason, or lost with 1006.
   Undecided connections may go too. Nothing when it has ended. */
void fake_leave(sluice_conn *conn, int code, const char *reason);

/* The client stops reading: up to bytes wait, what is over that is dropped when the consumer has
   the dropped hook (policy drop-newest), and else closes the connection with 1013. */
void fake_block(sluice_conn *conn, size_t bytes);
/* It reads again: the dropped hook is told of what was dropped. */
void fake_unblock(sluice_conn *conn);

/* --- what else happens --- */

/* A message of somebody else to the group; false when its name or text is invalid. Ends with a
   turn. */
bool fake_group_send(sluice_route *route, const char *group, const char *text);
/* An event as if the connection were in the group. False when it is not open or there is no hook.
   Ends with a turn. */
bool fake_event(sluice_conn *conn, const char *group, const char *text);

/* Groups keep their last messages from now on, 0: none, as at first. Positions have FAKE_EPOCH. */
#define FAKE_EPOCH UINT64_C(0xfa4e)
void fake_keep(struct fake_host *host, size_t messages);
/* What is to be kept is not (SLUICE_NOT_KEPT), until told otherwise. */
void fake_refuse_keeping(struct fake_host *host, bool refuse);
/* So many of the oldest kept ones are gone. */
void fake_forget(struct fake_host *host, const char *group, size_t messages);

/* Time passes: timers run in their order, each with a turn behind it. */
void fake_advance(struct fake_host *host, uint64_t ms);

/* Runs the work that has waited longest in the pool, and nothing else: its done comes with the next
   turn. False when none waits. */
bool fake_work(struct fake_host *host);
/* How many jobs wait, and how many may (1,000 until told): more is SLUICE_FULL. */
size_t fake_jobs(const struct fake_host *host);
void fake_limit_jobs(struct fake_host *host, size_t most);

/* A turn: for posts from other threads, and after fake_work. */
void fake_turn(struct fake_host *host);

/* The server stops: undecided connections get 503, the others their drain hook. Ends with a
   turn. */
void fake_drain(struct fake_host *host, uint32_t ms_left);

/* --- what the consumer did --- */

/* 0 while undecided, 101, or the status of the refusal or response; 504 when it never came. */
int fake_answer(const sluice_conn *conn);
/* The body of the answer, NUL behind it. "" when there is none. */
const char *fake_answer_body(const sluice_conn *conn);
/* A header that the consumer added to its answer, or NULL; several of one name are joined by a
   comma and a blank. Borrowed until the next hook runs. */
const char *fake_answer_header(const sluice_conn *conn, const char *name);
const char *fake_subprotocol(const sluice_conn *conn);

/* The messages that it got, its own sends and those of groups, in order. Of fake_text: NULL when
   there is none, or it is binary. Both live as long as the host. */
size_t fake_count(const sluice_conn *conn);
sluice_message fake_message(const sluice_conn *conn, size_t index);
const char *fake_text(const sluice_conn *conn, size_t index);
/* The last text, or NULL. */
const char *fake_last_text(const sluice_conn *conn);

/* The code that the connection ended with: the consumer's, the client's or 1013; 0 while it is
   open. The reason is "" when there was none. */
int fake_closed(const sluice_conn *conn);
const char *fake_close_reason(const sluice_conn *conn);

/* How often its disconnect and release hooks were due: at most once each. They count without a
   hook, too. */
unsigned fake_disconnects(const sluice_conn *conn);
unsigned fake_releases(const sluice_conn *conn);

bool fake_is_member(const sluice_conn *conn, const char *group);
size_t fake_group_size(const struct fake_host *host, const char *group);
/* Timers that have not run yet. */
size_t fake_timers(const sluice_conn *conn);

/* Whether a log line of this level holds the text. */
bool fake_logged(const struct fake_host *host, int level, const char *text);

#endif
