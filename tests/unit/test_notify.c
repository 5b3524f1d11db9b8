#include "process/notify.h"

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "support/directory.h"

static char directory[100], path[200];
static int manager = -1; /* systemd's end */
static char got[200];

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/notify", directory);
    unsetenv("NOTIFY_SOCKET");
}

static void tear_down(void) {
    if (manager != -1)
        close(manager);
    remove_test_directory(directory);
}

static int next_descriptor(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

/* name: as in NOTIFY_SOCKET, whose first byte @ stands for NUL. */
static void listen_at(const char *name) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    memcpy(where.sun_path, name, strlen(name));
    if (name[0] == '@')
        where.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&where,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
}

static void expect(const char *state) {
    memset(got, 0, sizeof(got));
    ck_assert_int_eq(recv(manager, got, sizeof(got) - 1, 0), (ssize_t)strlen(state));
    ck_assert_str_eq(got, state);
}

static void expect_nothing(void) {
    ck_assert_int_eq(recv(manager, got, sizeof(got), 0), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

START_TEST(a_state_is_one_datagram) {
    listen_at(path);
    int before = next_descriptor();
    notify("READY=1");
    notify("STATUS=a\nSTOPPING=1");
    ck_assert_int_eq(next_descriptor(), before);
    expect("READY=1");
    expect("STATUS=a\nSTOPPING=1");
    expect_nothing();
}
END_TEST

START_TEST(a_name_may_be_abstract) {
    char name[100];
    snprintf(name, sizeof(name), "@sluice-test-%ld", (long)getpid());
    listen_at(name);
    notify("READY=1");
    expect("READY=1");
}
END_TEST

START_TEST(a_path_may_have_107_bytes) {
    size_t size = strlen(path);
    memset(path + size, 'a', 107 - size);
    path[107] = '\0';
    listen_at(path);
    notify("READY=1");
    expect("READY=1");
}
END_TEST

/* A path with one byte more than a socket's may have would else be cut, and be another's. */
START_TEST(a_path_that_is_too_long_is_nobodys) {
    char longer[110];
    size_t size = strlen(path);
    memset(path + size, 'a', 107 - size);
    path[107] = '\0';
    listen_at(path);
    snprintf(longer, sizeof(longer), "%sb", path);
    setenv("NOTIFY_SOCKET", longer, 1);
    notify("READY=1");
    expect_nothing();
}
END_TEST

START_TEST(a_relative_path_is_nobodys) {
    listen_at(path);
    ck_assert_int_eq(chdir(directory), 0);
    setenv("NOTIFY_SOCKET", "notify", 1);
    notify("READY=1");
    ck_assert_int_eq(chdir("/"), 0);
    expect_nothing();
}
END_TEST

START_TEST(where_nobody_listens_nothing_is_told) {
    static const char *const names[] = {"", "/", "/nonexistent/notify", "@", "vsock:2:1234"};
    int before = next_descriptor();
    notify("READY=1");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify("READY=1");
    }
    listen_at(path);
    close(manager);
    manager = -1;
    notify("READY=1");
    ck_assert_int_eq(next_descriptor(), before);
}
END_TEST

/* Nobody empties the queue: without MSG_DONTWAIT this would never end. */
START_TEST(a_manager_that_hears_nothing_is_not_waited_for) {
    listen_at(path);
    for (int i = 0; i < 2000; i++)
        notify("READY=1");
    expect("READY=1");
}
END_TEST

static unsigned long long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
}

START_TEST(reloading_is_told_with_the_time_of_now) {
    unsigned long long before = now_us(), told = 0;
    char more;
    listen_at(path);
    notify_reloading();
    ck_assert_int_gt(recv(manager, got, sizeof(got) - 1, 0), 0);
    ck_assert_int_eq(sscanf(got, "RELOADING=1\nMONOTONIC_USEC=%llu%c", &told, &more), 1);
    ck_assert_uint_ge(told, before);
    ck_assert_uint_le(told, now_us());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("notify");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, a_state_is_one_datagram);
    tcase_add_test(all, a_name_may_be_abstract);
    tcase_add_test(all, a_path_may_have_107_bytes);
    tcase_add_test(all, a_path_that_is_too_long_is_nobodys);
    tcase_add_test(all, a_relative_path_is_nobodys);
    tcase_add_test(all, where_nobody_listens_nothing_is_told);
    tcase_add_test(all, a_manager_that_hears_nothing_is_not_waited_for);
    tcase_add_test(all, reloading_is_told_with_the_time_of_now);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
