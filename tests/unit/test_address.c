#include "net/address.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/directory.h"

#define SOCKETS_MAX 24

static char directory[100], path[150], port[16];
static struct error error;
static int sockets[SOCKETS_MAX];

static void make_directory(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
}

static void remove_directory(void) { remove_test_directory(directory); }

/* Like those of another process: of one port, listening. */
static void open_sockets(size_t count) {
    struct address *address = address_open("127.0.0.1", "0", (unsigned)count, &error);
    ck_assert_msg(address != NULL, "%s", error.text);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(address_take(address, i, &sockets[i]), 1);
    snprintf(port, sizeof(port), "%s", strrchr(address_text(address), ':') + 1);
    address_close(address);
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

static bool is_same(int a, int b) {
    struct stat first, second;
    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino;
}

static void close_sockets(size_t count) {
    for (size_t i = 0; i < count; i++)
        close(sockets[i]);
}

static struct address *adopt(size_t count, unsigned threads) {
    struct address *address = address_adopt(sockets, count, threads, &error);
    ck_assert_msg(address != NULL, "%s", error.text);
    return address;
}

/* --- taking sockets over --- */

/* Thread after thread: the place of each is told by what it was opened as. */
static const struct {
    size_t count;
    unsigned threads;
    size_t places, kept;
    int order[32];
} spreads[] = {
    {1, 1, 1, 1, {0}},
    {1, 3, 1, 1, {0, 0, 0}},
    {2, 2, 1, 2, {0, 1}},
    {4, 2, 2, 4, {0, 1, 2, 3}},
    {3, 2, 2, 3, {0, 1, 2, 0}},
    {5, 4, 2, 5, {0, 1, 2, 3, 4, 0, 1, 2}},
    {2, 5, 1, 2, {0, 1, 0, 1, 0}},
    {20, 2, 8, 16, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
};

START_TEST(sockets_are_spread_over_the_threads_and_none_is_left_without_one) {
    int known[SOCKETS_MAX], taken[ADDRESS_PLACES_MAX];
    size_t at = 0;
    open_sockets(spreads[_i].count);
    for (size_t i = 0; i < spreads[_i].count; i++)
        known[i] = fcntl(sockets[i], F_DUPFD_CLOEXEC, 100);
    struct address *address = adopt(spreads[_i].count, spreads[_i].threads);
    ck_assert_uint_eq(address_places(address), spreads[_i].places);
    for (size_t i = 0; i < spreads[_i].count; i++)
        ck_assert_int_eq(is_open(sockets[i]), i < spreads[_i].kept);
    for (unsigned thread = 0; thread < spreads[_i].threads; thread++) {
        ck_assert_uint_eq(address_take(address, thread, taken), spreads[_i].places);
        for (size_t i = 0; i < spreads[_i].places; i++) {
            ck_assert(is_same(taken[i], known[spreads[_i].order[at++]]));
            ck_assert_int_ne(fcntl(taken[i], F_GETFL) & O_NONBLOCK, 0);
            close(taken[i]);
        }
    }
    address_close(address);
    for (size_t i = 0; i < spreads[_i].count; i++)
        close(known[i]);
}
END_TEST

/* Those that no thread has taken are closed with it. */
START_TEST(what_was_taken_over_is_the_addresses) {
    int taken[ADDRESS_PLACES_MAX];
    open_sockets(3);
    ck_assert_int_eq(fcntl(sockets[2], F_SETFL, 0), 0); /* its opener may wait for connections */
    struct address *address = adopt(3, 3);
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%s", port);
    ck_assert_str_eq(address_text(address), text);
    ck_assert(!address_is_path(address));
    ck_assert_int_ne(fcntl(sockets[2], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_uint_eq(address_take(address, 1, taken), 1);
    address_own_path(address); /* of no path: nothing */
    address_close(address);
    ck_assert(!is_open(sockets[0]) && is_open(sockets[1]) && !is_open(sockets[2]));
    close(sockets[1]);
}
END_TEST

static int open_pipe(void) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[1]);
    return ends[0];
}

static int open_datagrams(void) { return socket(AF_INET, SOCK_DGRAM, 0); }

static int open_deaf(void) { return socket(AF_INET, SOCK_STREAM, 0); }

static int open_nothing(void) { return 999; }

static int (*const strangers[])(void) = {open_pipe, open_datagrams, open_deaf, open_nothing};

START_TEST(what_does_not_listen_is_refused_and_all_closed) {
    open_sockets(3);
    for (size_t place = 0; place < 3; place++) {
        int three[3];
        for (size_t i = 0; i < 3; i++)
            three[i] = i == place ? strangers[_i]() : dup(sockets[i]);
        ck_assert_ptr_null(address_adopt(three, 3, 2, &error));
        ck_assert_str_eq(error.text, "what was handed over are no listening sockets");
        for (size_t i = 0; i < 3; i++)
            ck_assert(!is_open(three[i]));
    }
    close_sockets(3);
}
END_TEST

START_TEST(no_socket_is_no_address) { ck_assert_ptr_null(address_adopt(sockets, 0, 2, &error)); }
END_TEST

START_TEST(without_descriptors_for_all_threads_it_fails_and_all_are_closed) {
    struct rlimit limit, none;
    open_sockets(2);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){(rlim_t)sockets[1] + 2, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_ptr_null(address_adopt(sockets, 2, 8, &error));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_ptr_nonnull(strstr(error.text, "Too many open files"));
    for (int fd = sockets[0]; fd < sockets[1] + 2; fd++)
        ck_assert(!is_open(fd));
}
END_TEST

/* --- paths --- */

static int listen_at(const char *name, size_t size) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(where.sun_path, name, size);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&where,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                     0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

START_TEST(the_path_of_another_program_stays_unless_it_is_owned) {
    for (int owned = 0; owned < 2; owned++) {
        sockets[0] = listen_at(path, strlen(path));
        struct address *address = adopt(1, 2);
        ck_assert(address_is_path(address));
        ck_assert_str_eq(address_text(address), path);
        if (owned)
            address_own_path(address);
        address_close(address);
        ck_assert_int_eq(access(path, F_OK), owned ? -1 : 0);
        unlink(path);
    }
}
END_TEST

START_TEST(an_owned_path_that_is_a_successors_by_now_stays) {
    sockets[0] = listen_at(path, strlen(path));
    struct address *address = adopt(1, 1);
    address_own_path(address);
    int kept = open(path, O_PATH | O_CLOEXEC); /* so that its inode is not given out again */
    ck_assert_int_eq(unlink(path), 0);
    int successor = listen_at(path, strlen(path));
    address_close(address);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(successor);
    close(kept);
}
END_TEST

/* 108 bytes fill sun_path: the kernel takes it without NUL. */
START_TEST(a_path_without_an_end_is_cut) {
    size_t size = strlen(path);
    memset(path + size, 'a', 108 - size);
    sockets[0] = listen_at(path, 108);
    path[107] = '\0';
    struct address *address = adopt(1, 1);
    ck_assert_str_eq(address_text(address), path);
    address_own_path(address);
    address_close(address);
}
END_TEST

START_TEST(an_abstract_name_is_a_path_without_a_file) {
    char name[64];
    snprintf(name, sizeof(name), "_sluice-test-%ld", (long)getpid());
    name[0] = '\0';
    sockets[0] = listen_at(name, 1 + strlen(name + 1));
    ck_assert(!address_matches(sockets[0], NULL, NULL, path));
    struct address *address = adopt(1, 1);
    ck_assert(address_is_path(address));
    address_own_path(address);
    address_close(address);
}
END_TEST

/* --- what a socket is bound to --- */

static int bind_to(int family, const char *host, bool v6_only) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), only = v6_only;
    bool is_v4 = family == AF_INET;
    ck_assert_int_eq(inet_pton(family, host, is_v4 ? (void *)&v4.sin_addr : &v6.sin6_addr), 1);
    if (!is_v4)
        ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)), 0);
    socklen_t size = is_v4 ? sizeof(v4) : sizeof(v6);
    struct sockaddr *where = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    ck_assert_int_eq(bind(fd, where, size), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, where, &size), 0);
    snprintf(port, sizeof(port), "%u", ntohs(is_v4 ? v4.sin_port : v6.sin6_port));
    return fd;
}

static const struct {
    const char *bound, *wanted;
    bool matches;
} matches[] = {
    {"127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "127.0.0.2", false},
    {"127.0.0.1", NULL, false},
    {"0.0.0.0", NULL, true},
    {"0.0.0.0", "127.0.0.1", false},
    {"0.0.0.0", "0.0.0.0", true},
    {"::1", "::1", true},
    {"::1", "127.0.0.1", false},
    {"::", NULL, true},
    {"::", "::1", false},
    {"127.0.0.1", "localhost", true},
    {"127.0.0.1", "no address", false},
    {"127.0.0.1", "::ffff:127.0.0.1", false},
};

static bool has_ipv6(void) {
    struct sockaddr_in6 where = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd != -1 && bind(fd, (struct sockaddr *)&where, sizeof(where)) == 0;
    if (fd != -1)
        close(fd);
    return has;
}

START_TEST(a_socket_matches_what_would_be_bound_for_the_words) {
    char other[16];
    for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
        bool is_v6 = strchr(matches[i].bound, ':') != NULL;
        if (is_v6 && !has_ipv6())
            continue;
        int fd = bind_to(is_v6 ? AF_INET6 : AF_INET, matches[i].bound, true);
        snprintf(other, sizeof(other), "%ld", strtol(port, NULL, 10) ^ 1);
        ck_assert_msg(address_matches(fd, matches[i].wanted, port, NULL) == matches[i].matches,
                      "%s as %s", matches[i].bound, matches[i].wanted);
        ck_assert(!address_matches(fd, matches[i].wanted, other, NULL));
        ck_assert(!address_matches(fd, NULL, NULL, path));
        close(fd);
    }
}
END_TEST

START_TEST(a_path_matches_itself_alone) {
    char longer[200];
    int fd = listen_at(path, strlen(path));
    snprintf(longer, sizeof(longer), "%ss", path);
    ck_assert(address_matches(fd, NULL, NULL, path));
    ck_assert(!address_matches(fd, NULL, NULL, longer));
    ck_assert(!address_matches(fd, NULL, NULL, ""));
    ck_assert(!address_matches(fd, NULL, "80", NULL));
    ck_assert(!address_matches(fd, "127.0.0.1", "80", NULL));
    close(fd);
}
END_TEST

START_TEST(what_does_not_listen_matches_nothing) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(where);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&where, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&where, &size), 0);
    snprintf(port, sizeof(port), "%u", ntohs(where.sin_port));
    ck_assert(!address_matches(fd, "127.0.0.1", port, NULL));
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert(address_matches(fd, "127.0.0.1", port, NULL));
    close(fd);
    ck_assert(!address_matches(fd, "127.0.0.1", port, NULL));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("address");
    TCase *cases = tcase_create("adopted"), *paths = tcase_create("paths");
    tcase_add_loop_test(cases, sockets_are_spread_over_the_threads_and_none_is_left_without_one, 0,
                        sizeof(spreads) / sizeof(spreads[0]));
    tcase_add_test(cases, what_was_taken_over_is_the_addresses);
    tcase_add_loop_test(cases, what_does_not_listen_is_refused_and_all_closed, 0, 4);
    tcase_add_test(cases, no_socket_is_no_address);
    tcase_add_test(cases, without_descriptors_for_all_threads_it_fails_and_all_are_closed);
    tcase_add_test(cases, what_does_not_listen_matches_nothing);
    tcase_add_checked_fixture(paths, make_directory, remove_directory);
    tcase_add_test(paths, the_path_of_another_program_stays_unless_it_is_owned);
    tcase_add_test(paths, an_owned_path_that_is_a_successors_by_now_stays);
    tcase_add_test(paths, a_path_without_an_end_is_cut);
    tcase_add_test(paths, an_abstract_name_is_a_path_without_a_file);
    tcase_add_test(paths, a_socket_matches_what_would_be_bound_for_the_words);
    tcase_add_test(paths, a_path_matches_itself_alone);
    suite_add_tcase(suite, cases);
    suite_add_tcase(suite, paths);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
