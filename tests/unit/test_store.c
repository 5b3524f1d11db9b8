#include "group/store.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "websocket/frame.h"

static char folder[64], path[96], error[512];
static struct loop *loop;
static struct store *store;

static struct store_options options_of(bool full) {
    return (struct store_options){.path = path, .full = full};
}

static void open_store_as(const struct store_options *options) {
    store = store_create(options);
    ck_assert_msg(store_connect(store, error, sizeof(error)), "%s", error);
    store_start(store);
}

static void open_store(void) {
    struct store_options options = options_of(false);
    open_store_as(&options);
}

static void close_store(void) {
    store_close(store);
    store = NULL;
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 0);
}

static void setup(void) {
    strcpy(folder, "/tmp/sluice-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/history.db", folder);
    key_seed(1, 2);
    loop = loop_create(0);
    loop_enter(loop);
}

static void teardown(void) {
    char command[96];
    close_store();
    loop_free(loop);
    loop_enter(NULL);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* --- questions and answers --- */

static int answers;

static void wait_for(const int *count, int wanted) {
    for (int turns = 0; *count < wanted && turns < 2000; turns++)
        loop_turn(loop, 10);
    ck_assert_int_eq(*count, wanted);
}

/* What was loaded stays valid only in the call: copies of the numbers, and the room. */
static struct store_loaded last_loaded;
static char texts[4096];

static void on_loaded(void *arg, struct store_loaded *loaded) {
    (void)arg;
    last_loaded = *loaded;
    texts[0] = '\0';
    for (size_t i = 0; i < loaded->count; i++) {
        size_t size, at = strlen(texts);
        const uint8_t *payload = frame_payload(loaded->messages[i].frame, &size);
        snprintf(texts + at, sizeof(texts) - at, "%d:%.*s%s%s ", (int)loaded->messages[i].offset,
                 (int)size, (const char *)payload, loaded->messages[i].key ? "/" : "",
                 loaded->messages[i].key ? loaded->messages[i].key : "");
    }
    if (loaded->room != NULL)
        store_loaded_free(loaded);
    answers++;
}

static struct store_room *load(const char *name) {
    struct group_key key = key_of("space", name);
    answers = 0;
    store_load(store, &key, on_loaded, NULL);
    wait_for(&answers, 1);
    return last_loaded.room;
}

static char outcomes[4096];
static int settled;

static void on_kept(void *arg, bool kept) {
    size_t at = strlen(outcomes);
    if (at + 16 < sizeof(outcomes))
        snprintf(outcomes + at, sizeof(outcomes) - at, "%s%.8s ", kept ? "" : "!",
                 (const char *)arg);
    settled++;
}

static bool keep_until(struct store_room *room, uint64_t offset, const char *text, const char *key,
                       uint64_t expires_ms, uint64_t gone) {
    struct frame *frame = frame_create(OPCODE_TEXT, text, strlen(text));
    const struct store_message message = {.offset = offset,
                                          .time_ms = 1,
                                          .expires_ms = expires_ms,
                                          .gone = gone,
                                          .frame = frame,
                                          .key = key};
    bool right = store_keep(store, room, &message, on_kept, (void *)(uintptr_t)text);
    frame_unref(frame);
    return right;
}

static void keep(struct store_room *room, uint64_t offset, const char *text) {
    ck_assert(keep_until(room, offset, text, NULL, UINT64_MAX, 0));
}

static void begin(void) {
    outcomes[0] = '\0';
    settled = 0;
}

START_TEST(what_is_kept_is_there_again) {
    open_store();
    struct store_room *room = load("a");
    uint64_t epoch = last_loaded.epoch;
    ck_assert_uint_ne(epoch, 0);
    ck_assert_uint_eq(last_loaded.count, 0);
    begin();
    keep(room, 1, "one");
    ck_assert(keep_until(room, 2, "two", "k", UINT64_MAX, 0));
    ck_assert(keep_until(room, 3, "three", NULL, UINT64_MAX, 1));
    wait_for(&settled, 3);
    ck_assert_str_eq(outcomes, "one two three ");
    store_let_go(store, room);
    close_store();
    open_store();
    room = load("a");
    ck_assert_uint_eq(last_loaded.epoch, epoch);
    ck_assert_uint_eq(last_loaded.last, 3);
    ck_assert_uint_eq(last_loaded.gone, 1);
    ck_assert_str_eq(texts, "2:two/k 3:three ");
    store_let_go(store, room);
    room = load("b");
    ck_assert_uint_ne(last_loaded.epoch, epoch);
    ck_assert_str_eq(texts, "");
    store_let_go(store, room);
}
END_TEST

static int count_rows(const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return count;
}

START_TEST(a_room_that_is_asked_for_makes_no_row) {
    open_store();
    store_let_go(store, load("a"));
    close_store();
    ck_assert_int_eq(count_rows("SELECT count(*) FROM rooms"), 0);
}
END_TEST

START_TEST(what_waits_together_is_committed_together) {
    struct store_figures figures;
    open_store();
    struct store_room *room = load("a");
    begin();
    for (uint64_t offset = 1; offset <= 3000; offset++)
        keep(room, offset, "x");
    wait_for(&settled, 3000);
    store_figures(store, &figures);
    ck_assert_uint_eq(figures.messages, 3000);
    ck_assert_uint_le(figures.commits, 600);
    ck_assert_uint_eq(figures.failures, 0);
    ck_assert_uint_eq(figures.waiting, 0);
    store_let_go(store, room);
}
END_TEST

START_TEST(one_that_is_wrong_harms_no_other) {
    open_store();
    struct store_room *room = load("a"), *other = load("b");
    begin();
    keep(room, 1, "one");
    keep(room, 1, "again");
    keep(other, 1, "other");
    keep(room, 2, "two");
    wait_for(&settled, 4);
    ck_assert_str_eq(outcomes, "one !again other two ");
    store_let_go(store, room);
    store_let_go(store, other);
    room = load("a");
    ck_assert_str_eq(texts, "1:one 2:two ");
    store_let_go(store, room);
}
END_TEST

START_TEST(what_has_expired_is_not_there) {
    open_store();
    struct store_room *room = load("a");
    begin();
    ck_assert(keep_until(room, 1, "old", NULL, 1000, 0));
    keep(room, 2, "new");
    wait_for(&settled, 2);
    store_let_go(store, room);
    room = load("a");
    ck_assert_str_eq(texts, "2:new ");
    ck_assert_uint_eq(last_loaded.gone, 1); /* the thread has not removed it yet */
    store_let_go(store, room);
}
END_TEST

/* It may be, where `age` was made shorter. */
START_TEST(what_is_before_an_expired_one_is_gone_too) {
    open_store();
    struct store_room *room = load("a");
    begin();
    keep(room, 1, "long");
    ck_assert(keep_until(room, 2, "short", NULL, 1000, 0));
    keep(room, 3, "new");
    wait_for(&settled, 3);
    store_let_go(store, room);
    store_let_go(store, load("a"));
    ck_assert_str_eq(texts, "3:new ");
    ck_assert_uint_eq(last_loaded.gone, 2);
}
END_TEST

START_TEST(what_was_to_go_goes_behind_a_roll_back) {
    open_store();
    struct store_room *room = load("a"), *other = load("b");
    begin();
    keep(room, 1, "one");
    wait_for(&settled, 1);
    begin();
    for (uint64_t offset = 1; offset <= 200; offset++)
        keep(other, offset, "other");
    ck_assert(keep_until(room, 2, "two", NULL, UINT64_MAX, 1));
    keep(other, 1, "again");
    wait_for(&settled, 202);
    store_let_go(store, room);
    store_let_go(store, other);
    close_store();
    ck_assert_int_eq(count_rows("SELECT count(*) FROM messages WHERE offset = 1"), 1);
}
END_TEST

/* It is read again, and given once. */
START_TEST(a_room_can_be_read_beside_what_is_wrong) {
    open_store();
    struct store_room *room = load("a");
    struct group_key key = key_of("space", "b");
    begin();
    keep(room, 1, "one");
    for (int i = 0; i < 20; i++) {
        answers = 0;
        store_load(store, &key, on_loaded, NULL);
        keep(room, 1, "again");
        wait_for(&answers, 1);
        ck_assert_ptr_nonnull(last_loaded.room);
        store_let_go(store, last_loaded.room);
    }
    wait_for(&settled, 21);
    store_let_go(store, room);
}
END_TEST

START_TEST(rooms_are_read_while_another_program_writes) {
    sqlite3 *db;
    open_store();
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store_room *room = load("a");
    ck_assert_ptr_nonnull(room);
    store_let_go(store, room);
    sqlite3_close(db);
}
END_TEST

/* --- positions that were reserved --- */

static void keep_and_reserve(void) {
    struct store_room *room = load("a");
    begin();
    store_reserve(store, room, 1000, on_kept, (void *)(uintptr_t) "reserved");
    keep(room, 1, "one");
    wait_for(&settled, 2);
    store_let_go(store, room);
}

static void load_and_reserve(void) {
    struct store_room *room = load("a");
    begin();
    store_reserve(store, room, 2000, on_kept, (void *)(uintptr_t) "reserved");
    wait_for(&settled, 1);
    store_let_go(store, room);
}

/* Runs fn in a process that is killed behind it. */
static void in_a_process_that_dies(bool full, void (*fn)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        struct store_options options = options_of(full);
        open_store_as(&options);
        fn();
        raise(SIGKILL);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(what_was_reserved_is_skipped_behind_a_crash_alone) {
    in_a_process_that_dies(false, keep_and_reserve);
    open_store();
    store_let_go(store, load("a"));
    ck_assert_uint_eq(last_loaded.last, 1000);
    ck_assert_str_eq(texts, "1:one ");
    close_store();
    unlink(path);
    open_store();
    keep_and_reserve();
    close_store();
    open_store();
    store_let_go(store, load("a"));
    ck_assert_uint_eq(last_loaded.last, 1);
}
END_TEST

static uint64_t epoch_as(const struct store_options *options) {
    open_store_as(options);
    store_let_go(store, load("a"));
    close_store();
    return last_loaded.epoch;
}

/* An end of the machine takes what was not synchronous: with what the last life had, not this. */
START_TEST(behind_an_end_of_the_machine_there_is_another_epoch) {
    bool was_full = (_i & 1) != 0;
    const struct store_options here = options_of(false);
    struct store_options there = options_of((_i & 2) != 0);
    there.boot = "another";
    in_a_process_that_dies(was_full, keep_and_reserve);
    uint64_t epoch = epoch_as(&here);
    ck_assert_uint_eq(epoch_as(&there), epoch); /* it was closed */
    unlink(path);
    in_a_process_that_dies(was_full, keep_and_reserve);
    epoch = (uint64_t)count_rows("SELECT epoch & 0x7fffffff FROM rooms");
    ck_assert_int_eq((epoch_as(&there) & 0x7fffffff) == epoch, was_full);
}
END_TEST

/* As much of the file as the system may have lost: all that was not brought to the disk. */
START_TEST(an_end_of_the_machine_does_not_take_that_it_was_running) {
    const struct store_options here = options_of(false);
    struct store_options there = here;
    char log[112];
    there.boot = "another";
    open_store();
    keep_and_reserve();
    close_store();
    uint64_t epoch = epoch_as(&here);
    in_a_process_that_dies(false, load_and_reserve);
    snprintf(log, sizeof(log), "%s-wal", path);
    ck_assert_int_eq(unlink(log), 0);
    ck_assert_uint_ne(epoch_as(&there), epoch);
}
END_TEST

/* --- kills --- */

static int told; /* a pipe */

static void on_kept_tell(void *arg, bool kept) {
    uint64_t offset = (uint64_t)(uintptr_t)arg;
    if (kept && write(told, &offset, sizeof(offset)) != (ssize_t)sizeof(offset))
        abort();
}

static void keep_for_ever(uint64_t from) {
    struct group_key key = key_of("space", "a");
    struct frame *frame = frame_create(OPCODE_TEXT, "text", 4);
    open_store();
    answers = 0;
    store_load(store, &key, on_loaded, NULL);
    wait_for(&answers, 1);
    for (uint64_t offset = from;; offset++) {
        const struct store_message message = {
            .offset = offset, .expires_ms = UINT64_MAX, .frame = frame, .gone = from - 1};
        store_keep(store, last_loaded.room, &message, on_kept_tell, (void *)(uintptr_t)offset);
        if (offset % 8 == 0)
            loop_turn(loop, 0);
    }
}

static uint64_t kill_at(unsigned us, uint64_t from) {
    int ends[2];
    uint64_t offset, last = 0;
    ck_assert_int_eq(pipe(ends), 0);
    told = ends[1];
    pid_t pid = fork();
    if (pid == 0)
        keep_for_ever(from);
    close(ends[1]);
    struct pollfd answered = {.fd = ends[0], .events = POLLIN};
    poll(&answered, 1, 5000);
    usleep(us); /* the moment is chance */
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    while (read(ends[0], &offset, sizeof(offset)) == (ssize_t)sizeof(offset))
        last = offset;
    close(ends[0]);
    return last;
}

/* SLUICE_KILLS: how many. */
START_TEST(a_kill_loses_nothing_that_was_answered) {
    const char *wanted = getenv("SLUICE_KILLS");
    int kills = wanted == NULL ? 10 : atoi(wanted), heard = 0;
    uint64_t from = 1;
    srandom((unsigned)getpid());
    for (int at = 0; at < kills; at++) {
        uint64_t last = kill_at((unsigned)random() % 10000, from);
        open_store();
        store_let_go(store, load("a"));
        ck_assert_uint_ge(last_loaded.last, last);
        if (last > 0) {
            ck_assert_uint_eq(last_loaded.count, last_loaded.last - from + 1);
            heard++;
        }
        from = last_loaded.last + 1;
        close_store();
    }
    ck_assert_int_eq(count_rows("SELECT count(*) FROM pragma_integrity_check() WHERE "
                                "integrity_check = 'ok'"),
                     1);
    printf("%d kills, %d while messages were written, %d messages\n", kills, heard, (int)from - 1);
    ck_assert_int_gt(heard, kills / 2);
}
END_TEST

/* --- what goes wrong --- */

static void assert_refused(const char *why) {
    struct store_options options = options_of(false);
    store = store_create(&options);
    ck_assert(!store_connect(store, error, sizeof(error)));
    ck_assert_msg(strncmp(error, path, strlen(path)) == 0, "%s", error);
    ck_assert_msg(strstr(error, why) != NULL, "%s", error);
    store_close(store);
    store = NULL;
}

static void write_file(const char *text, size_t size) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static void run_sql(const char *sql) {
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

START_TEST(a_file_that_is_no_store_is_refused_and_left_alone) {
    char text[4096];
    struct store_options options = options_of(false);
    memset(text, 'x', sizeof(text));
    write_file(text, sizeof(text));
    assert_refused("no SQLite database");
    ck_assert(!store_check(&options, error, sizeof(error)));
    unlink(path);
    run_sql("CREATE TABLE others(id INTEGER)");
    assert_refused("another program's database");
    ck_assert(!store_check(&options, error, sizeof(error)));
    unlink(path);
    open_store();
    close_store();
    ck_assert(store_check(&options, error, sizeof(error)));
    run_sql("PRAGMA user_version = 99");
    assert_refused("of version 99");
    snprintf(path, sizeof(path), "%s/none/history.db", folder);
    assert_refused("No such file or directory");
}
END_TEST

START_TEST(two_servers_do_not_share_a_file) {
    open_store();
    struct store *first = store;
    assert_refused("another server uses it");
    store = first;
}
END_TEST

START_TEST(a_file_that_comes_later_is_used_then) {
    struct store_options options = options_of(false);
    open_store();
    struct store *first = store;
    store = store_create(&options);
    ck_assert(!store_connect(store, error, sizeof(error)));
    store_start(store);
    struct store *second = store;
    store = first;
    struct group_key key = key_of("space", "a");
    answers = 0;
    store_load(second, &key, on_loaded, NULL); /* waits for the file */
    close_store();
    store = second;
    wait_for(&answers, 1);
    ck_assert_ptr_nonnull(last_loaded.room);
    store_let_go(store, last_loaded.room);
}
END_TEST

/* Nothing may grow in this process. */
static void fill_the_disk(void) {
    static char big[200000];
    struct rlimit limit = {1 << 20, 1 << 20};
    struct store_room *room = load("a");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    memset(big, 'b', sizeof(big) - 1);
    begin();
    keep(room, 1, "small");
    wait_for(&settled, 1);
    for (uint64_t offset = 2; offset < 12; offset++)
        keep(room, offset, big);
    wait_for(&settled, 11);
    ck_assert_ptr_nonnull(strstr(outcomes, "!b"));
    store_let_go(store, room);
    room = load("a");
    ck_assert_int_eq(strncmp(texts, "1:small ", 8), 0);
    exit(0);
}

START_TEST(a_full_disk_refuses_and_harms_nothing) {
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        open_store();
        fill_the_disk();
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    open_store();
    struct store_room *room = load("a");
    ck_assert_int_eq(strncmp(texts, "1:small ", 8), 0);
    begin();
    keep(room, last_loaded.last + 1, "again");
    wait_for(&settled, 1);
    ck_assert_str_eq(outcomes, "again ");
    store_let_go(store, room);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("store");
    TCase *tests = tcase_create("store");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, what_is_kept_is_there_again);
    tcase_add_test(tests, a_room_that_is_asked_for_makes_no_row);
    tcase_add_test(tests, what_waits_together_is_committed_together);
    tcase_add_test(tests, one_that_is_wrong_harms_no_other);
    tcase_add_test(tests, what_has_expired_is_not_there);
    tcase_add_test(tests, what_is_before_an_expired_one_is_gone_too);
    tcase_add_test(tests, what_was_to_go_goes_behind_a_roll_back);
    tcase_add_test(tests, a_room_can_be_read_beside_what_is_wrong);
    tcase_add_test(tests, rooms_are_read_while_another_program_writes);
    tcase_add_test(tests, what_was_reserved_is_skipped_behind_a_crash_alone);
    tcase_add_loop_test(tests, behind_an_end_of_the_machine_there_is_another_epoch, 0, 4);
    tcase_add_test(tests, an_end_of_the_machine_does_not_take_that_it_was_running);
    tcase_add_test(tests, a_kill_loses_nothing_that_was_answered);
    tcase_add_test(tests, a_file_that_is_no_store_is_refused_and_left_alone);
    tcase_add_test(tests, two_servers_do_not_share_a_file);
    tcase_add_test(tests, a_file_that_comes_later_is_used_then);
    tcase_add_test(tests, a_full_disk_refuses_and_harms_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
