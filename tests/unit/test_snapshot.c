#include "snapshot/snapshot.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/sealed.h"
#include "support/directory.h"

static char directory[128], first[200], second[200], log_path[200];
static struct snapshot *snapshot;

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(first, sizeof(first), "%s/first", directory);
    snprintf(second, sizeof(second), "%s/second", directory);
    snprintf(log_path, sizeof(log_path), "%s/log", directory);
    write_file(first, "one");
    write_file(second, "two");
    snapshot = snapshot_create();
}

static void tear_down(void) {
    snapshot_use(NULL);
    snapshot_free(snapshot);
    remove_test_directory(directory);
}

/* What a new descriptor reads, which is closed; NULL: none. */
static const char *read_whole(int fd) {
    static char text[100];
    if (fd == -1)
        return NULL;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    ck_assert_int_ge(size, 0);
    text[size] = '\0';
    close(fd);
    return text;
}

static const char *read_path(const char *path) { return read_whole(snapshot_open(path)); }

static void say(int log, const char *text) {
    ck_assert_int_eq(write(log, text, strlen(text)), (ssize_t)strlen(text));
}

static int next_descriptor(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

static size_t count_of(const struct snapshot *of) {
    size_t count;
    snapshot_entries(of, &count);
    return count;
}

/* --- files --- */

START_TEST(what_was_recorded_is_read_whatever_became_of_it) {
    snapshot_record(snapshot, SNAPSHOT_FILE);
    ck_assert_str_eq(read_path(first), "one");
    ck_assert_str_eq(read_path(second), "two");
    write_file(first, "changed");
    ck_assert_int_eq(unlink(second), 0);
    ck_assert_str_eq(read_path(first), "one"); /* also while the recording goes on */
    snapshot_use(snapshot);
    ck_assert_str_eq(read_path(first), "one");
    ck_assert_str_eq(read_path(second), "two");
    ck_assert_uint_eq(count_of(snapshot), 2);
    snapshot_use(NULL);
    ck_assert_str_eq(read_path(first), "changed");
    ck_assert_ptr_null(read_path(second));
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(what_was_not_recorded_is_read_from_the_disk) {
    snapshot_record(snapshot, SNAPSHOT_FILE);
    ck_assert_str_eq(read_path(first), "one");
    snapshot_use(snapshot);
    ck_assert_str_eq(read_path(second), "two");
    ck_assert_uint_eq(count_of(snapshot), 1);
    ck_assert_ptr_null(snapshot_file(second));
}
END_TEST

START_TEST(each_reader_has_a_position_of_its_own) {
    char text[3];
    snapshot_record(snapshot, SNAPSHOT_FILE);
    int one = snapshot_open(first), other = snapshot_open(first);
    ck_assert_int_eq(read(one, text, 2), 2);
    ck_assert_int_eq(read(other, text, 3), 3);
    ck_assert_int_eq(memcmp(text, "one", 3), 0);
    ck_assert_int_eq(read(one, text, 3), 1);
    ck_assert_int_eq(write(one, "x", 1), -1);
    ck_assert_int_ne(fcntl(one, F_GETFD) & FD_CLOEXEC, 0);
    close(one);
    close(other);
    ck_assert_str_eq(read_path(first), "one");
}
END_TEST

START_TEST(credentials_are_files_of_their_own_kind) {
    snapshot_record(snapshot, SNAPSHOT_FILE);
    read_path(first);
    snapshot_record(snapshot, SNAPSHOT_CREDENTIAL);
    read_path(second);
    ck_assert_str_eq(read_path(first), "one"); /* there already: not a second time */
    ck_assert_uint_eq(count_of(snapshot), 2);
    ck_assert_int_eq(snapshot_file(first)->kind, SNAPSHOT_FILE);
    ck_assert_int_eq(snapshot_file(second)->kind, SNAPSHOT_CREDENTIAL);
    ck_assert(sealed_is(snapshot_file(second)->fd));
    ck_assert_ptr_null(snapshot_find(snapshot, SNAPSHOT_FILE, second));
}
END_TEST

START_TEST(what_cannot_be_recorded_is_left_out) {
    char pipe_path[200];
    snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", directory);
    ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
    snapshot_record(snapshot, SNAPSHOT_FILE);
    ck_assert_int_eq(snapshot_open(directory), -1);
    ck_assert_int_eq(snapshot_open(pipe_path), -1);
    ck_assert_int_eq(snapshot_open("/no/such/file"), -1);
    ck_assert_uint_eq(count_of(snapshot), 0);
}
END_TEST

/* --- logs --- */

START_TEST(a_log_is_opened_once_and_appended_to) {
    write_file(log_path, "before\n");
    snapshot_record(snapshot, SNAPSHOT_FILE);
    int one = snapshot_open_log(log_path);
    say(one, "one\n");
    close(one);
    char elsewhere[220];
    snprintf(elsewhere, sizeof(elsewhere), "%s.1", log_path);
    ck_assert_int_eq(rename(log_path, elsewhere), 0);
    snapshot_use(snapshot);
    int two = snapshot_open_log(log_path);
    say(two, "two\n");
    ck_assert_int_ne(fcntl(two, F_GETFL) & O_APPEND, 0);
    ck_assert_int_ne(fcntl(two, F_GETFD) & FD_CLOEXEC, 0);
    close(two);
    ck_assert_int_eq(access(log_path, F_OK), -1);
    ck_assert_str_eq(read_whole(open(elsewhere, O_RDONLY)), "before\none\ntwo\n");
    ck_assert_uint_eq(count_of(snapshot), 1);
}
END_TEST

START_TEST(a_log_that_was_not_recorded_is_made) {
    struct stat status;
    snapshot_use(snapshot);
    int fd = snapshot_open_log(log_path);
    say(fd, "line\n");
    close(fd);
    ck_assert_int_eq(stat(log_path, &status), 0);
    ck_assert_int_eq(status.st_mode & 0133, 0);
    ck_assert_uint_eq(count_of(snapshot), 0);
    ck_assert_int_eq(snapshot_open_log("/no/such/directory/log"), -1);
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(a_link_is_followed_where_nobody_else_may_put_one) {
    write_file(first, "");
    ck_assert_int_eq(symlink(first, log_path), 0);
    int fd = snapshot_open_log(log_path);
    say(fd, "line\n");
    close(fd);
    ck_assert_str_eq(read_whole(open(first, O_RDONLY)), "line\n");
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(chmod(directory, (mode_t[]){0777, 01777, 0720}[i]), 0);
        ck_assert_int_eq(snapshot_open_log(log_path), -1);
        ck_assert_int_eq(errno, ELOOP);
    }
    ck_assert_int_eq(unlink(log_path), 0);
    close(snapshot_open_log(log_path));
    ck_assert_int_eq(access(log_path, F_OK), 0);
    ck_assert_int_eq(chmod(directory, 0700), 0);
}
END_TEST

START_TEST(a_link_in_a_folder_of_somebody_else_is_not_followed) {
    if (geteuid() != 0)
        return; /* nobody else's folder can be made */
    ck_assert_int_eq(symlink(first, log_path), 0);
    ck_assert_int_eq(chown(directory, 65534, 65534), 0);
    ck_assert_int_eq(snapshot_open_log(log_path), -1);
    ck_assert_int_eq(errno, ELOOP);
    ck_assert_str_eq(read_whole(open(first, O_RDONLY)), "one");
}
END_TEST

START_TEST(a_recorded_log_is_in_the_snapshot_once) {
    snapshot_record(snapshot, SNAPSHOT_FILE);
    close(snapshot_open_log(log_path));
    close(snapshot_open_log(log_path));
    ck_assert_int_eq(snapshot_open_log("/no/such/directory/log"), -1);
    ck_assert_uint_eq(count_of(snapshot), 1);
    ck_assert_ptr_nonnull(snapshot_find(snapshot, SNAPSHOT_LOG, log_path));
}
END_TEST

/* --- entries --- */

START_TEST(entries_are_found_by_kind_and_name) {
    char name[] = "plugin", path[] = "/usr/lib/plugin.so";
    snapshot_add(snapshot, SNAPSHOT_PLUGIN, name, path, -1);
    memset(name, 'x', sizeof(name) - 1); /* they are copied */
    memset(path, 'x', sizeof(path) - 1);
    snapshot_add(snapshot, SNAPSHOT_BARRED, "plugin", NULL, -1);
    snapshot_add(snapshot, SNAPSHOT_PLUGIN, "plugin", "/later.so", -1);
    const struct snapshot_entry *entry = snapshot_find(snapshot, SNAPSHOT_PLUGIN, "plugin");
    ck_assert_ptr_nonnull(entry);
    ck_assert_str_eq(entry->path, "/usr/lib/plugin.so");
    ck_assert_ptr_null(snapshot_find(snapshot, SNAPSHOT_BARRED, "plugin")->path);
    ck_assert_ptr_null(snapshot_find(snapshot, SNAPSHOT_LOG, "plugin"));
    ck_assert_ptr_null(snapshot_find(snapshot, SNAPSHOT_PLUGIN, "plug"));
    ck_assert_ptr_null(snapshot_find(NULL, SNAPSHOT_PLUGIN, "plugin"));
}
END_TEST

static void add_numbered(size_t count) {
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%zu", i);
        snapshot_add(snapshot, i % 2 == 0 ? SNAPSHOT_LOG : SNAPSHOT_SOCKET, name, NULL, dup(0));
    }
}

START_TEST(a_kind_is_dropped_with_its_descriptors_and_the_order_stays) {
    size_t count;
    int before = next_descriptor();
    add_numbered(50);
    snapshot_drop(snapshot, SNAPSHOT_LOG);
    const struct snapshot_entry *entries = snapshot_entries(snapshot, &count);
    ck_assert_uint_eq(count, 25);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(atoi(entries[i].name), (int)i * 2 + 1);
        ck_assert_int_ge(fcntl(entries[i].fd, F_GETFD), 0);
    }
    ck_assert_int_eq(next_descriptor(), before);
    snapshot_drop(snapshot, SNAPSHOT_LOG);
    snapshot_drop(snapshot, SNAPSHOT_SOCKET);
    ck_assert_uint_eq(count_of(snapshot), 0);
    ck_assert_int_eq(fcntl(before + 1, F_GETFD), -1);
}
END_TEST

START_TEST(copies_have_descriptors_of_their_own) {
    struct snapshot *copy = snapshot_create();
    add_numbered(10);
    snapshot_add(snapshot, SNAPSHOT_PLUGIN, "p", "/p.so", -1);
    ck_assert_uint_eq(snapshot_copy(copy, snapshot, SNAPSHOT_SOCKET, NULL), 5);
    ck_assert_uint_eq(snapshot_copy(copy, snapshot, SNAPSHOT_LOG, "4"), 1);
    ck_assert_uint_eq(snapshot_copy(copy, snapshot, SNAPSHOT_LOG, "5"), 0);
    ck_assert_uint_eq(snapshot_copy(copy, snapshot, SNAPSHOT_PLUGIN, NULL), 1);
    ck_assert_uint_eq(count_of(copy), 7);
    ck_assert_str_eq(snapshot_find(copy, SNAPSHOT_PLUGIN, "p")->path, "/p.so");
    ck_assert_int_eq(snapshot_find(copy, SNAPSHOT_PLUGIN, "p")->fd, -1);
    int fd = snapshot_find(copy, SNAPSHOT_SOCKET, "1")->fd;
    ck_assert_int_ne(fd, snapshot_find(snapshot, SNAPSHOT_SOCKET, "1")->fd);
    snapshot_drop(snapshot, SNAPSHOT_SOCKET);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    snapshot_free(copy);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(only_the_one_in_use_says_that_it_was_accepted) {
    struct snapshot *other = snapshot_create();
    ck_assert(!snapshot_is_accepted());
    snapshot_accept(snapshot);
    ck_assert(!snapshot_is_accepted());
    snapshot_use(snapshot);
    ck_assert_ptr_eq(snapshot_used(), snapshot);
    ck_assert(snapshot_is_accepted());
    snapshot_use(other);
    ck_assert(!snapshot_is_accepted());
    snapshot_use(NULL);
    ck_assert(!snapshot_is_accepted());
    ck_assert_ptr_null(snapshot_used());
    snapshot_free(other);
    snapshot_free(NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("snapshot");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, what_was_recorded_is_read_whatever_became_of_it);
    tcase_add_test(all, what_was_not_recorded_is_read_from_the_disk);
    tcase_add_test(all, each_reader_has_a_position_of_its_own);
    tcase_add_test(all, credentials_are_files_of_their_own_kind);
    tcase_add_test(all, what_cannot_be_recorded_is_left_out);
    tcase_add_test(all, a_log_is_opened_once_and_appended_to);
    tcase_add_test(all, a_log_that_was_not_recorded_is_made);
    tcase_add_test(all, a_link_is_followed_where_nobody_else_may_put_one);
    tcase_add_test(all, a_link_in_a_folder_of_somebody_else_is_not_followed);
    tcase_add_test(all, a_recorded_log_is_in_the_snapshot_once);
    tcase_add_test(all, entries_are_found_by_kind_and_name);
    tcase_add_test(all, a_kind_is_dropped_with_its_descriptors_and_the_order_stays);
    tcase_add_test(all, copies_have_descriptors_of_their_own);
    tcase_add_test(all, only_the_one_in_use_says_that_it_was_accepted);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
