#include "snapshot/sealed.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/directory.h"

static char directory[128], path[200];

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/file", directory);
}

static void tear_down(void) { remove_test_directory(directory); }

static void write_file(const char *text, size_t size) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    fclose(file);
}

static int copy(bool runs) {
    struct error error = {"none"};
    int fd = sealed_copy(path, runs, &error);
    ck_assert_msg(fd != -1, "%s", error.text);
    return fd;
}

static void expect_refusal(const char *why) {
    struct error error = {"none"};
    ck_assert_int_eq(sealed_copy(path, false, &error), -1);
    ck_assert_str_eq(error.text, why);
}

/* --- what is copied --- */

START_TEST(copy_is_what_the_file_was) {
    static char bytes[200000], read_back[sizeof(bytes) + 1];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 >> 3);
    write_file(bytes, sizeof(bytes));
    int fd = copy(false);
    write_file("other", 5);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(pread(fd, read_back, sizeof(read_back), 0), (ssize_t)sizeof(bytes));
    ck_assert_int_eq(memcmp(read_back, bytes, sizeof(bytes)), 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    close(fd);
}
END_TEST

START_TEST(empty_file_has_an_empty_copy) {
    struct stat status;
    write_file("", 0);
    int fd = copy(false);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_size, 0);
    ck_assert(sealed_is(fd));
    close(fd);
}
END_TEST

/* --- seals --- */

START_TEST(nobody_changes_a_copy) {
    write_file("abc", 3);
    int fd = copy(_i == 1);
    ck_assert(sealed_is(fd));
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(pwrite(fd, "x", 1, 3), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(fd, 1), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(fd, 100), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_eq(mmap(NULL, 3, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    close(fd);
}
END_TEST

START_TEST(code_may_be_mapped_as_such) {
    write_file("abc", 3);
    int fd = copy(true);
    void *mapped = mmap(NULL, 3, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(memcmp(mapped, "abc", 3), 0);
    munmap(mapped, 3);
    close(fd);
}
END_TEST

START_TEST(only_copies_are_sealed) {
    write_file("abc", 3);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int half = memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(file, 0);
    ck_assert_int_ge(half, 0);
    ck_assert_int_eq(fcntl(half, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    ck_assert(!sealed_is(file));
    ck_assert(!sealed_is(half)); /* more seals could still be added */
    ck_assert(!sealed_is(-1));
    close(file);
    close(half);
}
END_TEST

/* --- what is not copied --- */

START_TEST(what_is_no_file_is_refused) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    expect_refusal("cannot be opened: No such file or directory");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_refusal("is a pipe, not a file");
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    expect_refusal("is a directory, not a file");
    rmdir(path);
    ck_assert_int_eq(symlink("/dev/null", path), 0);
    expect_refusal("is a device, not a file");
    unlink(path);
    ck_assert_int_eq(symlink(path, path), 0);
    expect_refusal("cannot be opened: Too many levels of symbolic links");
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(where.sun_path, path, strlen(path) + 1 < sizeof(where.sun_path) ? strlen(path) + 1 : 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    expect_refusal("cannot be opened: No such device or address");
    close(fd);
}
END_TEST

/* Sparse: the file takes no space. */
START_TEST(too_large_a_file_is_refused) {
    write_file("", 0);
    ck_assert_int_eq(truncate(path, (off_t)SEALED_BYTES_MAX + 1), 0);
    expect_refusal("is larger than 512 MiB");
}
END_TEST

START_TEST(refusals_leave_no_descriptor) {
    struct error error;
    int before = dup(0);
    close(before);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(sealed_copy(path, false, &error), -1);
    int after = dup(0);
    close(after);
    ck_assert_int_eq(after, before);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sealed");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, copy_is_what_the_file_was);
    tcase_add_test(all, empty_file_has_an_empty_copy);
    tcase_add_loop_test(all, nobody_changes_a_copy, 0, 2);
    tcase_add_test(all, code_may_be_mapped_as_such);
    tcase_add_test(all, only_copies_are_sealed);
    tcase_add_test(all, what_is_no_file_is_refused);
    tcase_add_test(all, too_large_a_file_is_refused);
    tcase_add_test(all, refusals_leave_no_descriptor);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
