/*
 * Kept messages in an SQLite file. One thread of its own writes and reads; all others only hand it
 * questions and hear by mail: a loop never waits for the disk. What waits together is committed
 * together. The file's tables: docs/history.md.
 *
 * Calls are made on any loop's thread unless they say otherwise; answers come as mail to that loop,
 * in the order of the questions about one room.
 */
#ifndef SLUICE_GROUP_STORE_H
#define SLUICE_GROUP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "group/key.h"

struct frame;
struct loop;
struct store;

/* What may wait to be written, in bytes of memory; documented in docs/limits.md. */
#define STORE_BYTES_MAX (64u << 20)
/* Positions that are reserved at a time. */
#define STORE_BLOCK 1000

struct store_options {
    const char *path; /* absolute; made with mode 0600 when it is not there */
    bool full;        /* synchronous=FULL, else NORMAL */
    const char *boot; /* for tests: what the machine calls its last start; NULL: as it does */
};

/* Of this file, which is not touched yet. Main thread, before loops run. */
struct store *store_create(const struct store_options *options);
/* Opens or makes the file, brings its tables up to date and takes in what the last process left:
 * rooms whose reserved positions were not given back go on behind them. False, with why in `error`
 * (naming the file): not there and can't be made, read-only, locked by another process (waits 5
 * seconds) or used by another server, no database or another program's, of a newer Sluice, damaged,
 * disk full. The store may be used all the same: it gives no rooms, and tries again each 10 seconds
 * once it is started. Main thread, before store_start. */
bool store_connect(struct store *store, char *error, size_t error_size);
/* Whether store_connect could work, without changing or making anything; for -t. */
bool store_check(const struct store_options *options, char *error, size_t error_size);
/* Starts the thread. Main thread, after all forks. */
void store_start(struct store *store);
/* Writes all that waits, gives reserved positions back, ends the thread and closes the file.
 * Answers still are mailed: the loops must be there, whether they run or not. Main thread. */
void store_close(struct store *store);

/* A group as the store knows it. Made by loading, lives until store_let_go. Its fields are the
 * store's. */
struct store_room;

struct stored_message {
    uint64_t offset, time_ms, expires_ms;
    struct frame *frame; /* one reference */
    char *key;           /* for free(); NULL: none */
};

/* What loading gives; for store_loaded_free. */
struct store_loaded {
    struct store_room *room; /* NULL: it could not be read, and `messages` is none */
    uint64_t epoch;          /* not 0; of a room that the file does not have: drawn at random, and
                                written with its first message */
    uint64_t last;           /* the highest offset ever given or skipped */
    uint64_t gone; /* the highest offset that was removed by age, count or bytes; 0: none */
    size_t count;
    struct stored_message *messages; /* oldest first; who takes a frame or a key sets it to NULL */
};
void store_loaded_free(struct store_loaded *loaded); /* not the room; NULL is fine */

/* Reads a room with its messages that have not expired. */
typedef void (*store_loaded_fn)(void *arg, struct store_loaded *loaded);
void store_load(struct store *store, const struct group_key *key, store_loaded_fn fn, void *arg);

struct store_message {
    uint64_t offset, time_ms, expires_ms; /* milliseconds since 1970 */
    uint64_t gone;       /* messages with offsets up to here are removed with this commit */
    struct frame *frame; /* a text or binary message; the store takes a reference */
    const char *key;     /* copied; NULL: none */
};

/* Writes a message. False when STORE_BYTES_MAX wait: nothing was taken. fn, which may be NULL: told
 * once whether it was committed. */
typedef void (*store_kept_fn)(void *arg, bool kept);
bool store_keep(struct store *store, struct store_room *room, const struct store_message *message,
                store_kept_fn fn, void *arg);
/* Writes that offsets up to `to` may be used without being asked for again, in case the process
 * ends before what got them is written. fn is told once whether it was committed. */
void store_reserve(struct store *store, struct store_room *room, uint64_t to, store_kept_fn fn,
                   void *arg);
/* The room is no longer used by its home; behind all that was asked before. */
void store_let_go(struct store *store, struct store_room *room);

/* Whether STORE_BYTES_MAX wait. */
bool store_is_full(const struct store *store);

/* What it did since it was opened. [any] */
struct store_figures {
    uint64_t messages, commits, failures; /* messages committed; messages that could not be */
    uint64_t waiting;                     /* bytes */
    bool failing;                         /* the last commit failed */
};
void store_figures(const struct store *store, struct store_figures *figures);

#endif
