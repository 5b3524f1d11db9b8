#include "group/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "websocket/frame.h"

#define APPLICATION_ID 0x534c5543 /* "SLUC" */
#define BUSY_MS 5000
#define EXPIRED_AT_ONCE 500

/* Migrations: the one at place n makes version n + 1 of version n. */
static const char *const versions[] = {
    "CREATE TABLE rooms("
    " id INTEGER PRIMARY KEY, space TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " last INTEGER NOT NULL, reserved INTEGER NOT NULL, gone INTEGER NOT NULL,"
    " UNIQUE(space, name));"
    "CREATE TABLE messages("
    " room INTEGER NOT NULL REFERENCES rooms(id), offset INTEGER NOT NULL, time INTEGER NOT NULL,"
    " expires INTEGER, kind INTEGER NOT NULL, key TEXT, body BLOB NOT NULL,"
    " PRIMARY KEY(room, offset)) WITHOUT ROWID;"
    "CREATE INDEX messages_expires ON messages(expires) WHERE expires IS NOT NULL;"
    "CREATE TABLE state(boot TEXT NOT NULL, ended INTEGER NOT NULL);"
    "INSERT INTO state VALUES('', 1);",
};
#define VERSION ((int)(sizeof(versions) / sizeof(versions[0])))

enum statement {
    BEGIN,
    BEGIN_READING,
    COMMIT,
    FIND_ROOM,
    MAKE_ROOM,
    INSERT,
    ADVANCE,
    TRIM,
    RESERVE,
    LOAD,
    EXPIRED_IN,
    EXPIRED_TO,
    EXPIRE_ROOMS,
    EXPIRE,
    STATEMENTS
};

static const char *const statement_texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [BEGIN_READING] = "BEGIN DEFERRED",
    [COMMIT] = "COMMIT",
    [FIND_ROOM] = "SELECT id, epoch, last, gone FROM rooms WHERE space = ?1 AND name = ?2",
    [MAKE_ROOM] = "INSERT INTO rooms(space, name, epoch, last, reserved, gone)"
                  " VALUES(?1, ?2, ?3, 0, 0, 0)",
    [INSERT] = "INSERT INTO messages(room, offset, time, expires, kind, key, body)"
               " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [ADVANCE] = "UPDATE rooms SET last = ?2, gone = max(gone, ?3) WHERE id = ?1",
    [TRIM] = "DELETE FROM messages WHERE room = ?1 AND offset <= ?2",
    [RESERVE] = "UPDATE rooms SET reserved = max(reserved, ?2) WHERE id = ?1",
    [LOAD] = "SELECT offset, time, expires, kind, key, body FROM messages"
             " WHERE room = ?1 AND offset > ?2 AND (expires IS NULL OR expires > ?3)"
             " ORDER BY offset",
    [EXPIRED_IN] = "SELECT max(offset) FROM messages WHERE room = ?1 AND expires <= ?2",
    [EXPIRED_TO] = "SELECT expires FROM messages WHERE expires <= ?1 ORDER BY expires"
                   " LIMIT 1 OFFSET ?2",
    [EXPIRE_ROOMS] = "UPDATE rooms SET gone = max(gone, top) FROM"
                     " (SELECT room, max(offset) AS top FROM messages"
                     "  INDEXED BY messages_expires WHERE expires <= ?1 GROUP BY room)"
                     " WHERE id = room",
    [EXPIRE] = "DELETE FROM messages WHERE expires <= ?1",
};

struct store_file {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    char *path;
    int lock; /* the file again, with flock(2): no second server may write to it */
    int code; /* of the last failure */
    char error[512];
};

/* --- failures --- */

static const char *reason_of(int code, const char *said) {
    switch (code & 0xff) {
    case SQLITE_NOTADB:
        return "it is no SQLite database";
    case SQLITE_CORRUPT:
        return "the database is damaged; sqlite3's `.recover` may save what is in it";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another process holds it locked";
    case SQLITE_READONLY:
        return "it, or its folder, can't be written to";
    case SQLITE_FULL:
        return "the disk is full";
    default:
        return said;
    }
}

static bool failed(struct store_file *file) {
    file->code = sqlite3_extended_errcode(file->db);
    snprintf(file->error, sizeof(file->error), "%s: %s", file->path,
             reason_of(file->code, sqlite3_errmsg(file->db)));
    return false;
}

const char *store_file_error(struct store_file *file) { return file->error; }

bool store_file_blames_input(struct store_file *file) {
    int code = file->code & 0xff;
    return code == SQLITE_CONSTRAINT || code == SQLITE_TOOBIG || code == SQLITE_MISMATCH;
}

static bool say(char *error, size_t size, const char *path, const char *why) {
    snprintf(error, size, "%s: %s", path, why);
    return false;
}

/* --- statements --- */

static sqlite3_stmt *ready(struct store_file *file, enum statement which) {
    return file->statements[which];
}

static void bind(sqlite3_stmt *statement, int at, uint64_t number) {
    sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text) {
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

/* Runs one that gives no rows. */
static bool run(struct store_file *file, enum statement which) {
    sqlite3_stmt *statement = ready(file, which);
    bool right = sqlite3_step(statement) == SQLITE_DONE;
    if (!right)
        failed(file);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return right;
}

/* Ends one that gives rows: `result` is the last step's. */
static bool end_rows(struct store_file *file, sqlite3_stmt *statement, int result) {
    bool right = result == SQLITE_DONE || result == SQLITE_ROW;
    if (!right)
        failed(file);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return right;
}

/* --- opening --- */

static bool execute(struct store_file *file, const char *sql) {
    return sqlite3_exec(file->db, sql, NULL, NULL, NULL) == SQLITE_OK || failed(file);
}

static bool read_number(struct store_file *file, const char *sql, int *number) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return failed(file);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *number = sqlite3_column_int(statement, 0);
    else
        failed(file);
    sqlite3_finalize(statement);
    return result == SQLITE_ROW;
}

/* Whether it is ours, or new, and not newer than this program. */
static bool check_version(struct store_file *file, int *version) {
    int id;
    if (!read_number(file, "PRAGMA application_id", &id) ||
        !read_number(file, "PRAGMA user_version", version))
        return false;
    if (*version > VERSION && id == APPLICATION_ID) {
        snprintf(file->error, sizeof(file->error),
                 "%s: its tables are of version %d, and this server knows those up to %d",
                 file->path, *version, VERSION);
        return false;
    }
    int tables = 0;
    if (!read_number(file, "SELECT count(*) FROM sqlite_schema", &tables))
        return false;
    if (id == APPLICATION_ID || tables == 0)
        return true;
    return say(file->error, sizeof(file->error), file->path, "it is another program's database");
}

static bool migrate(struct store_file *file, int version) {
    char pragma[64];
    if (version >= VERSION)
        return true;
    if (!execute(file, "BEGIN IMMEDIATE"))
        return false;
    for (; version < VERSION; version++)
        if (!execute(file, versions[version]))
            return false;
    snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", VERSION);
    if (!execute(file, pragma))
        return false;
    snprintf(pragma, sizeof(pragma), "PRAGMA application_id = %d", APPLICATION_ID);
    return execute(file, pragma) && execute(file, "COMMIT");
}

static bool prepare_all(struct store_file *file) {
    for (int at = 0; at < STATEMENTS; at++)
        if (sqlite3_prepare_v3(file->db, statement_texts[at], -1, SQLITE_PREPARE_PERSISTENT,
                               &file->statements[at], NULL) != SQLITE_OK)
            return failed(file);
    return true;
}

/* What the last process reserved and did not give back may have been heard. */
static bool take_in_reserved(struct store_file *file) {
    return execute(file, "UPDATE rooms SET last = reserved WHERE reserved > last");
}

static void read_boot(char *boot, size_t size) {
    FILE *source = fopen("/proc/sys/kernel/random/boot_id", "re");
    boot[0] = '\0';
    if (source != NULL && fgets(boot, (int)size, source) != NULL)
        boot[strcspn(boot, "\n")] = '\0';
    if (source != NULL)
        fclose(source);
}

/* Behind the end of a machine the last commits may be missing, unless each was synchronous, and so
   which offsets were given: nothing of before can be resumed. A life of synchronous commits counts
   as ended from its beginning on. A boot without a name may be any. */
static bool begin_life(struct store_file *file, const struct store_options *options) {
    static const char *const steps[] = {
        "UPDATE rooms SET epoch = random() | 1"
        " WHERE (SELECT ended = 0 AND (boot <> ?1 OR ?1 = '') FROM state)",
        "UPDATE state SET boot = ?1, ended = ?2",
    };
    char boot[64];
    bool right = true;
    read_boot(boot, sizeof(boot));
    for (size_t at = 0; at < 2 && right; at++) {
        sqlite3_stmt *statement;
        if (sqlite3_prepare_v2(file->db, steps[at], -1, &statement, NULL) != SQLITE_OK)
            return failed(file);
        bind_text(statement, 1, options->boot != NULL ? options->boot : boot);
        if (at == 1)
            bind(statement, 2, options->full);
        right = sqlite3_step(statement) == SQLITE_DONE || failed(file);
        sqlite3_finalize(statement);
    }
    return right;
}

/* That a life began, and was perhaps not ended, must be on the disk before any message of it is
   heard: whoever loses the messages must not lose this. */
static bool begin_life_on_disk(struct store_file *file, const struct store_options *options) {
    return execute(file, "PRAGMA synchronous = FULL") && execute(file, "BEGIN IMMEDIATE") &&
           begin_life(file, options) && take_in_reserved(file) && execute(file, "COMMIT") &&
           execute(file, "PRAGMA wal_checkpoint(PASSIVE)") &&
           (options->full || execute(file, "PRAGMA synchronous = NORMAL"));
}

static bool set_up(struct store_file *file, const struct store_options *options) {
    int version;
    sqlite3_busy_timeout(file->db, BUSY_MS);
    return check_version(file, &version) && execute(file, "PRAGMA journal_mode = WAL") &&
           migrate(file, version) && prepare_all(file) && begin_life_on_disk(file, options);
}

static bool lock_file(struct store_file *file) {
    if (flock(file->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    return say(file->error, sizeof(file->error), file->path,
               errno == EWOULDBLOCK ? "another server uses it" : strerror(errno));
}

static bool open_file(struct store_file *file, int flags) {
    file->lock = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file->lock < 0)
        return say(file->error, sizeof(file->error), file->path, strerror(errno));
    if (!lock_file(file))
        return false;
    return sqlite3_open_v2(file->path, &file->db, flags, NULL) == SQLITE_OK || failed(file);
}

static struct store_file *create(const struct store_options *options) {
    struct store_file *file = calloc(1, sizeof(*file));
    char *path = strdup(options->path);
    if (file == NULL || path == NULL)
        abort();
    file->path = path;
    file->lock = -1;
    return file;
}

/* The lock goes last: closing any descriptor of the file ends SQLite's own locks on it. */
static void destroy(struct store_file *file) {
    for (int at = 0; at < STATEMENTS; at++)
        sqlite3_finalize(file->statements[at]);
    sqlite3_close(file->db);
    if (file->lock >= 0)
        close(file->lock);
    free(file->path);
    free(file);
}

struct store_file *store_file_open(const struct store_options *options, char *error,
                                   size_t error_size) {
    struct store_file *file = create(options);
    if (open_file(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX) && set_up(file, options))
        return file;
    snprintf(error, error_size, "%s", file->error);
    destroy(file);
    return NULL;
}

bool store_file_check(const struct store_options *options, char *error, size_t error_size) {
    struct stat status;
    int version;
    if (stat(options->path, &status) != 0)
        return errno == ENOENT || say(error, error_size, options->path, strerror(errno));
    if (status.st_size == 0)
        return true;
    struct store_file *file = create(options);
    bool right = (sqlite3_open_v2(file->path, &file->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                                  NULL) == SQLITE_OK ||
                  failed(file)) &&
                 check_version(file, &version);
    if (!right)
        snprintf(error, error_size, "%s", file->error);
    destroy(file);
    return right;
}

void store_file_close(struct store_file *file) {
    if (file == NULL)
        return;
    if (execute(file, "UPDATE rooms SET reserved = last WHERE reserved > last"))
        execute(file, "UPDATE state SET ended = 1");
    sqlite3_wal_checkpoint_v2(file->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    destroy(file);
}

/* --- transactions --- */

bool store_file_begin(struct store_file *file, bool writes) {
    return run(file, writes ? BEGIN : BEGIN_READING);
}

bool store_file_commit(struct store_file *file) { return run(file, COMMIT); }

/* SQLite may have done so itself. */
void store_file_roll_back(struct store_file *file) {
    if (!sqlite3_get_autocommit(file->db))
        sqlite3_exec(file->db, "ROLLBACK", NULL, NULL, NULL);
}

/* --- writing --- */

/* A room has a row from its first message on: strangers may ask for any name. */
static bool make_row(struct store_file *file, struct store_room *room) {
    sqlite3_stmt *statement = ready(file, MAKE_ROOM);
    if (room->id != 0)
        return true;
    bind_text(statement, 1, room->key->key.space);
    bind_text(statement, 2, room->key->key.name);
    bind(statement, 3, room->epoch);
    if (!run(file, MAKE_ROOM))
        return false;
    room->id = sqlite3_last_insert_rowid(file->db);
    return true;
}

static bool insert(struct store_file *file, const struct store_room *room,
                   const struct store_message *message) {
    sqlite3_stmt *statement = ready(file, INSERT);
    size_t size;
    const uint8_t *body = frame_payload(message->frame, &size);
    bind(statement, 1, (uint64_t)room->id);
    bind(statement, 2, message->offset);
    bind(statement, 3, message->time_ms);
    if (message->expires_ms <= INT64_MAX)
        bind(statement, 4, message->expires_ms);
    bind(statement, 5, frame_opcode(message->frame));
    if (message->key != NULL)
        bind_text(statement, 6, message->key);
    sqlite3_bind_blob64(statement, 7, body, size, SQLITE_STATIC);
    return run(file, INSERT);
}

bool store_file_keep(struct store_file *file, struct store_room *room,
                     const struct store_message *message) {
    if (!make_row(file, room) || !insert(file, room, message))
        return false;
    sqlite3_stmt *advance = ready(file, ADVANCE), *trim = ready(file, TRIM);
    bind(advance, 1, (uint64_t)room->id);
    bind(advance, 2, message->offset);
    bind(advance, 3, message->gone);
    if (!run(file, ADVANCE))
        return false;
    if (message->gone == room->gone)
        return true;
    bind(trim, 1, (uint64_t)room->id);
    bind(trim, 2, message->gone);
    if (!run(file, TRIM))
        return false;
    room->gone = message->gone;
    return true;
}

bool store_file_reserve(struct store_file *file, struct store_room *room, uint64_t to) {
    if (!make_row(file, room))
        return false;
    sqlite3_stmt *statement = ready(file, RESERVE);
    bind(statement, 1, (uint64_t)room->id);
    bind(statement, 2, to);
    return run(file, RESERVE);
}

/* In portions: up to the moment at which so many had expired. */
bool store_file_expire(struct store_file *file, uint64_t now_ms, bool *more) {
    sqlite3_stmt *to = ready(file, EXPIRED_TO);
    bind(to, 1, now_ms);
    bind(to, 2, EXPIRED_AT_ONCE);
    int result = sqlite3_step(to);
    *more = result == SQLITE_ROW;
    if (*more)
        now_ms = (uint64_t)sqlite3_column_int64(to, 0);
    if (!end_rows(file, to, result))
        return false;
    bind(ready(file, EXPIRE_ROOMS), 1, now_ms);
    bind(ready(file, EXPIRE), 1, now_ms);
    return run(file, EXPIRE_ROOMS) && run(file, EXPIRE);
}

/* --- reading --- */

static uint64_t draw_epoch(void) {
    uint64_t epoch;
    do {
        if (getrandom(&epoch, sizeof(epoch), 0) != (ssize_t)sizeof(epoch))
            abort();
    } while (epoch == 0);
    return epoch;
}

static bool find_room(struct store_file *file, struct store_loaded *loaded) {
    struct store_room *room = loaded->room;
    sqlite3_stmt *statement = ready(file, FIND_ROOM);
    bind_text(statement, 1, room->key->key.space);
    bind_text(statement, 2, room->key->key.name);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        room->id = sqlite3_column_int64(statement, 0);
        loaded->epoch = (uint64_t)sqlite3_column_int64(statement, 1);
        loaded->last = (uint64_t)sqlite3_column_int64(statement, 2);
        loaded->gone = (uint64_t)sqlite3_column_int64(statement, 3);
    } else {
        loaded->epoch = draw_epoch();
    }
    room->epoch = loaded->epoch;
    room->gone = loaded->gone;
    return end_rows(file, statement, result);
}

/* What has expired is gone, also where nobody has removed it yet. */
static bool find_expired(struct store_file *file, struct store_loaded *loaded, uint64_t now_ms) {
    sqlite3_stmt *statement = ready(file, EXPIRED_IN);
    bind(statement, 1, (uint64_t)loaded->room->id);
    bind(statement, 2, now_ms);
    int result = sqlite3_step(statement);
    uint64_t offset = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    if (offset > loaded->gone)
        loaded->gone = offset;
    return end_rows(file, statement, result);
}

static struct stored_message *next_message(struct store_loaded *loaded) {
    size_t count = loaded->count++;
    if ((count & (count - 1)) == 0) /* 0 or a power of two: double */
        loaded->messages =
            reallocarray(loaded->messages, count == 0 ? 1 : count * 2, sizeof(*loaded->messages));
    if (loaded->messages == NULL)
        abort();
    return &loaded->messages[count];
}

static void read_message(sqlite3_stmt *row, struct stored_message *to) {
    const char *key = (const char *)sqlite3_column_text(row, 4);
    const void *body = sqlite3_column_blob(row, 5);
    size_t size = (size_t)sqlite3_column_bytes(row, 5);
    bool is_binary = sqlite3_column_int(row, 3) == OPCODE_BINARY;
    bool expires = sqlite3_column_type(row, 2) != SQLITE_NULL;
    *to = (struct stored_message){
        .offset = (uint64_t)sqlite3_column_int64(row, 0),
        .time_ms = (uint64_t)sqlite3_column_int64(row, 1),
        .expires_ms = expires ? (uint64_t)sqlite3_column_int64(row, 2) : UINT64_MAX,
        .frame = frame_create(is_binary ? OPCODE_BINARY : OPCODE_TEXT, body, size),
        .key = key == NULL ? NULL : strdup(key)};
}

static bool read_messages(struct store_file *file, struct store_loaded *loaded, uint64_t now_ms) {
    sqlite3_stmt *statement = ready(file, LOAD);
    int result;
    bind(statement, 1, (uint64_t)loaded->room->id);
    bind(statement, 2, loaded->gone);
    bind(statement, 3, now_ms);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW)
        if (sqlite3_column_bytes(statement, 5) <= (int)FRAME_PAYLOAD_MAX)
            read_message(statement, next_message(loaded));
    return end_rows(file, statement, result);
}

struct store_loaded *store_file_load(struct store_file *file, const struct group_key *key,
                                     uint64_t now_ms) {
    struct store_loaded *loaded = calloc(1, sizeof(*loaded));
    struct store_room *room = calloc(1, sizeof(*room));
    if (loaded == NULL || room == NULL)
        abort();
    room->key = key_share(key);
    loaded->room = room;
    if (find_room(file, loaded) && (room->id == 0 || (find_expired(file, loaded, now_ms) &&
                                                      read_messages(file, loaded, now_ms))))
        return loaded;
    store_room_free(room);
    store_loaded_free(loaded);
    return NULL;
}

void store_room_free(struct store_room *room) {
    key_unref(room->key);
    free(room);
}

void store_loaded_free(struct store_loaded *loaded) {
    if (loaded == NULL)
        return;
    for (size_t at = 0; at < loaded->count; at++) {
        frame_unref(loaded->messages[at].frame);
        free(loaded->messages[at].key);
    }
    free(loaded->messages);
    free(loaded);
}
