/*
 * The SQLite file of a store: its tables, and each thing that is done to them. Blocks on the disk.
 * One thread at a time, which may change. docs/history.md has the tables.
 */
#ifndef SLUICE_GROUP_STORE_FILE_H
#define SLUICE_GROUP_STORE_FILE_H

#include "group/store.h"

struct store_file;

struct store_room {
    uint64_t epoch;
    int64_t id;    /* the row's; 0: there is none yet */
    uint64_t gone; /* as written */
    struct shared_key *key;
};

/* NULL, with why in `error`: as store_connect. */
struct store_file *store_file_open(const struct store_options *options, char *error,
                                   size_t error_size);
/* As store_check. */
bool store_file_check(const struct store_options *options, char *error, size_t error_size);
/* Gives reserved positions back. NULL is fine. */
void store_file_close(struct store_file *file);

/* A transaction; one that only reads waits for nobody's writing. Each that returns false leaves
   store_file_error; what failed within one is to be rolled back with all of it. */
bool store_file_begin(struct store_file *file, bool writes);
bool store_file_commit(struct store_file *file);
void store_file_roll_back(struct store_file *file);
/* What the last failure was, with the file's name. Borrowed until the next call. */
const char *store_file_error(struct store_file *file);
/* Whether it was the fault of what was written, and not of the disk. */
bool store_file_blames_input(struct store_file *file);

/* Within a transaction. */
bool store_file_keep(struct store_file *file, struct store_room *room,
                     const struct store_message *message);
bool store_file_reserve(struct store_file *file, struct store_room *room, uint64_t to);
/* NULL when it failed; a room that the file does not have is made in memory. */
struct store_loaded *store_file_load(struct store_file *file, const struct group_key *key,
                                     uint64_t now_ms);
/* Removes some of what has expired; sets `more` when there may be more. */
bool store_file_expire(struct store_file *file, uint64_t now_ms, bool *more);

void store_room_free(struct store_room *room);

#endif
