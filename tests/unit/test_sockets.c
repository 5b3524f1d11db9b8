#include "process/sockets.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/manifest.h"
#include "net/address.h"
#include "snapshot/snapshot.h"
#include "support/directory.h"

/* What is handed over has fixed numbers, which are Check's own here: so a case runs in a process
   that has nothing open, and ends it with what is wrong. */
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                             \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static char directory[100], first[150], second[150];
static struct error error;
static struct snapshot *to;
static struct manifest_listener listeners[4];
static struct manifest manifest = {.listeners = listeners};

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(first, sizeof(first), "%s/a:first", directory);
    snprintf(second, sizeof(second), "%s/second", directory);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    to = snapshot_create();
}

static void tear_down(void) {
    snapshot_free(to);
    remove_test_directory(directory);
}

static void run(void (*body)(void)) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ne(pid, -1);
    if (pid == 0) {
        NEED(close_range(3, ~0u, 0) == 0);
        body();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the process says why");
}

static void want_path(const char *path) {
    static char keys[4][200];
    char *key = keys[manifest.listener_count];
    snprintf(key, sizeof(keys[0]), "unix:%s", path);
    listeners[manifest.listener_count++] =
        (struct manifest_listener){.conf = {.unix_path = path, .unix_mode = 0600},
                                   .key = key,
                                   .place = {.file = "t.yaml", .line = 7}};
}

static void want_port(const char *port, const char *key) {
    listeners[manifest.listener_count++] =
        (struct manifest_listener){.conf = {.host = "127.0.0.1", .port = port},
                                   .key = key,
                                   .place = {.file = "t.yaml", .line = 8}};
}

static void add(struct sockets *sockets, unsigned threads, const struct snapshot *before) {
    if (sockets_add(sockets, &manifest, threads, before, to, &error))
        return;
    dprintf(2, "%s\n", error.text);
    _exit(1);
}

static size_t count_of(const struct snapshot *snapshot, const char *key) {
    size_t total, count = 0;
    const struct snapshot_entry *entries = snapshot_entries(snapshot, &total);
    for (size_t i = 0; i < total; i++)
        count += entries[i].kind == SNAPSHOT_SOCKET && strcmp(entries[i].name, key) == 0;
    return count;
}

static bool is_same(int a, int b) {
    struct stat one, other;
    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino;
}

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

static bool is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

static int fd_of(const struct snapshot *snapshot, const char *key) {
    const struct snapshot_entry *entry = snapshot_find(snapshot, SNAPSHOT_SOCKET, key);
    NEED(entry != NULL);
    return entry->fd;
}

/* --- opened here --- */

static void open_threads(void) {
    size_t total;
    struct sockets *sockets = sockets_create();
    want_port("0", "127.0.0.1:0");
    want_path(first);
    add(sockets, 3, NULL);
    const struct snapshot_entry *entries = snapshot_entries(to, &total);
    NEED(total == 6);
    for (size_t i = 0; i < total; i++) {
        NEED(entries[i].kind == SNAPSHOT_SOCKET && entries[i].path == NULL);
        NEED(strcmp(entries[i].name, listeners[i / 3].key) == 0);
        NEED((fcntl(entries[i].fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    NEED(!is_same(entries[0].fd, entries[1].fd)); /* each thread's own */
    NEED(is_same(entries[3].fd, entries[5].fd));  /* a path has one */
    NEED(is_there(first));
    sockets_close(sockets);
    NEED(!is_there(first));
    NEED(is_open(entries[0].fd)); /* the snapshot's */
}

START_TEST(each_thread_has_a_socket_in_the_snapshot) { run(open_threads); }
END_TEST

static void keep_those_before(void) {
    struct sockets *sockets = sockets_create();
    want_path(first);
    want_port("0", "127.0.0.1:0");
    add(sockets, 2, NULL);
    struct snapshot *before = to;
    to = snapshot_create();
    manifest.listener_count = 0;
    want_port("0", "127.0.0.1:0");
    want_path(second);
    add(sockets, 2, before);
    NEED(count_of(to, "127.0.0.1:0") == 2);
    NEED(count_of(to, listeners[1].key) == 2);
    NEED(fd_of(to, "127.0.0.1:0") != fd_of(before, "127.0.0.1:0"));
    NEED(is_same(fd_of(to, "127.0.0.1:0"), fd_of(before, "127.0.0.1:0")));
    NEED(is_there(first) && is_there(second));
    sockets_settle(sockets, to);
    NEED(!is_there(first) && is_there(second));
    sockets_settle(sockets, to);
    NEED(is_there(second));
    sockets_close(sockets);
    NEED(!is_there(second));
}

START_TEST(sockets_before_are_kept_and_others_end_when_it_settles) { run(keep_those_before); }
END_TEST

static void refuse_the_second(void) {
    char port[16], wanted[64];
    struct address *busy = address_open("127.0.0.1", "0", 1, &error);
    NEED(busy != NULL);
    snprintf(port, sizeof(port), "%s", strrchr(address_text(busy), ':') + 1);
    struct sockets *sockets = sockets_create();
    struct snapshot *before = snapshot_create();
    want_path(first);
    want_port(port, "busy");
    want_path(second);
    NEED(!sockets_add(sockets, &manifest, 2, NULL, to, &error));
    snprintf(wanted, sizeof(wanted), "t.yaml:8: port %s of 127.0.0.1 is in use", port);
    NEED(strncmp(error.text, wanted, strlen(wanted)) == 0);
    NEED(is_there(first) && !is_there(second));
    sockets_settle(sockets, before);
    NEED(!is_there(first));
    sockets_close(sockets);
}

START_TEST(a_failure_has_its_place_and_what_was_opened_for_it_ends) { run(refuse_the_second); }
END_TEST

static void open_twice(void) {
    struct sockets *sockets = sockets_create();
    want_path(first);
    want_path(first);
    add(sockets, 2, NULL);
    NEED(count_of(to, listeners[0].key) == 2);
    sockets_close(sockets);
}

START_TEST(an_address_named_twice_is_opened_once) { run(open_twice); }
END_TEST

/* --- handed over --- */

/* Opens a path's socket with that number. */
static void place_path(const char *path, int number) {
    int fd[ADDRESS_PLACES_MAX];
    struct address *address = address_open_path(path, 0600, 1, &error);
    NEED(address != NULL && address_take(address, 0, fd) == 1);
    NEED(fd[0] == number || (dup2(fd[0], number) == number && close(fd[0]) == 0));
    NEED(fcntl(number, F_SETFD, 0) == 0); /* as whoever hands over leaves it */
}

static void hand_over(const char *count, const char *names) {
    char pid[16];
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
}

/* Without names of ours: as systemd does, whose files are its own. */
static void take_by_address(void) {
    static const char *const names[] = {NULL, "", "one:two:three", "x"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        place_path(first, 3);
        place_path(second, 4);
        NEED(dup2(4, 5) == 5); /* of one address the first is enough */
        int known = fcntl(4, F_DUPFD_CLOEXEC, 50);
        hand_over("3", names[i]);
        struct sockets *sockets = sockets_create();
        NEED(getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL &&
             getenv("LISTEN_FDNAMES") == NULL);
        NEED((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(4, F_GETFD) & FD_CLOEXEC) != 0);
        NEED(sockets_unused(sockets) == 3);
        manifest.listener_count = 0;
        want_path(second);
        add(sockets, 2, NULL);
        NEED(count_of(to, listeners[0].key) == 2);
        NEED(is_same(fd_of(to, listeners[0].key), known));
        NEED(sockets_unused(sockets) == 2 && is_open(3) && is_open(5));
        sockets_close_unused(sockets);
        NEED(sockets_unused(sockets) == 0 && !is_open(3) && !is_open(5));
        sockets_close(sockets);
        NEED(is_there(second));
        snapshot_drop(to, SNAPSHOT_SOCKET);
        NEED(close(known) == 0 && unlink(first) == 0 && unlink(second) == 0);
    }
}

START_TEST(what_is_handed_over_is_found_by_its_address) { run(take_by_address); }
END_TEST

/* Colons part the names, so ours have none. The other one is right by its address alone. */
static void take_by_name(void) {
    char name[200], names[300];
    snprintf(name, sizeof(name), "unix;%s", first);
    for (char *at = name; (at = strchr(at, ':')) != NULL;)
        *at = ';';
    for (int named = 3; named <= 4; named++) {
        place_path(named == 3 ? second : first, 3);
        place_path(named == 3 ? first : second, 4);
        int known = fcntl(named, F_DUPFD_CLOEXEC, 50);
        snprintf(names, sizeof(names), named == 3 ? "%s:other" : "other:%s", name);
        hand_over("2", names);
        struct sockets *sockets = sockets_create();
        manifest.listener_count = 0;
        want_path(first);
        add(sockets, 1, NULL);
        NEED(count_of(to, listeners[0].key) == 1);
        NEED(is_same(fd_of(to, listeners[0].key), known));
        NEED(sockets_unused(sockets) == 1);
        sockets_close(sockets);
        NEED(!is_open(named ^ 7));
        snapshot_drop(to, SNAPSHOT_SOCKET);
        NEED(close(known) == 0 && unlink(first) == 0); /* the other was removed as ours */
    }
}

START_TEST(what_is_handed_over_is_found_by_its_name_first) { run(take_by_name); }
END_TEST

static void take_nothing(void) {
    static const char *const counts[] = {"0", "", "none", "-1"};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        place_path(second, 3);
        hand_over(counts[i], NULL);
        struct sockets *sockets = sockets_create();
        NEED(sockets_unused(sockets) == 0);
        sockets_close(sockets);
        NEED(is_open(3));
        NEED(close(3) == 0 && unlink(second) == 0);
    }
    hand_over("1", NULL);
    setenv("LISTEN_PID", "1", 1);
    place_path(second, 3);
    struct sockets *sockets = sockets_create();
    NEED(sockets_unused(sockets) == 0 && getenv("LISTEN_FDS") != NULL);
    sockets_close(sockets);
    NEED(is_open(3));
}

START_TEST(what_is_for_another_process_or_no_number_is_left_alone) { run(take_nothing); }
END_TEST

/* Those beyond the last one that is open are descriptors of this program's own, sooner or later. */
static void take_what_is_there(void) {
    place_path(second, 3);
    hand_over("5000", NULL);
    struct sockets *sockets = sockets_create();
    NEED(sockets_unused(sockets) == 1);
    int own = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sockets_close_unused(sockets);
    NEED(!is_open(3) && is_open(own));
    sockets_close(sockets);
}

START_TEST(a_number_too_high_takes_nothing_that_is_not_there) { run(take_what_is_there); }
END_TEST

static void take_a_file(void) {
    char name[200];
    snprintf(name, sizeof(name), "unix;%s", second);
    NEED(open("/dev/null", O_RDONLY) == 3);
    hand_over("1", name);
    struct sockets *sockets = sockets_create();
    want_path(second);
    NEED(!sockets_add(sockets, &manifest, 1, NULL, to, &error));
    NEED(strcmp(error.text, "t.yaml:7: what was handed over are no listening sockets") == 0);
    NEED(!is_open(3));
    sockets_close(sockets);
}

START_TEST(a_file_with_the_name_of_a_listener_is_refused) { run(take_a_file); }
END_TEST

/* --- and on --- */

/* The snapshot holds the numbers that are to be handed over, in another order; and so does extra.
 */
static void go_round(void) {
    enum { EXTRA = 5, COUNT = 4 };
    static const int numbers[COUNT] = {6, 4, 3, 7};
    int known[COUNT], extra = open("/dev/null", O_RDONLY | O_CLOEXEC);
    NEED(dup2(extra, EXTRA) == EXTRA && close(extra) == 0);
    place_path(first, numbers[0]);
    NEED(dup2(numbers[0], numbers[1]) == numbers[1]);
    place_path(second, numbers[2]);
    NEED(dup2(numbers[2], numbers[3]) == numbers[3]);
    want_path(first);
    want_path(second);
    for (int i = 0; i < COUNT; i++) {
        known[i] = fcntl(numbers[i], F_DUPFD_CLOEXEC, 50);
        snapshot_add(to, SNAPSHOT_SOCKET, listeners[i / 2].key, NULL, numbers[i]);
        snapshot_add(to, SNAPSHOT_LOG, "log", NULL, -1); /* is not handed over */
    }
    extra = sockets_hand_over(to, EXTRA);
    NEED(extra > 6 && (fcntl(extra, F_GETFD) & FD_CLOEXEC) == 0);
    NEED(lseek(extra, 0, SEEK_SET) == 0); /* no socket */
    NEED(strcmp(getenv("LISTEN_FDS"), "4") == 0);
    NEED(strtol(getenv("LISTEN_PID"), NULL, 10) == (long)getpid());
    for (int i = 0; i < COUNT; i++)
        NEED((fcntl(3 + i, F_GETFD) & FD_CLOEXEC) == 0 && is_same(3 + i, known[i]));
    /* as the program that is executed now */
    to = snapshot_create();
    struct sockets *sockets = sockets_create();
    NEED(sockets_unused(sockets) == COUNT);
    add(sockets, 2, NULL);
    NEED(sockets_unused(sockets) == 0);
    for (int i = 0; i < COUNT; i++)
        NEED(is_same(fd_of(to, listeners[i / 2].key), known[i]));
    NEED(is_there(first) && is_there(second));
    sockets_close(sockets);
    NEED(!is_there(first) && !is_there(second)); /* ours, by their names */
}

START_TEST(what_is_handed_over_to_itself_is_the_same_and_its_own) { run(go_round); }
END_TEST

static void hand_over_nothing(void) {
    NEED(sockets_hand_over(to, -1) == -1);
    NEED(strcmp(getenv("LISTEN_FDS"), "0") == 0);
    struct sockets *sockets = sockets_create();
    NEED(sockets_unused(sockets) == 0);
    sockets_close(sockets);
    sockets_close(NULL);
}

START_TEST(nothing_can_be_handed_over_too) { run(hand_over_nothing); }
END_TEST

int main(void) {
    Suite *suite = suite_create("sockets");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, each_thread_has_a_socket_in_the_snapshot);
    tcase_add_test(all, sockets_before_are_kept_and_others_end_when_it_settles);
    tcase_add_test(all, a_failure_has_its_place_and_what_was_opened_for_it_ends);
    tcase_add_test(all, an_address_named_twice_is_opened_once);
    tcase_add_test(all, what_is_handed_over_is_found_by_its_address);
    tcase_add_test(all, what_is_handed_over_is_found_by_its_name_first);
    tcase_add_test(all, what_is_for_another_process_or_no_number_is_left_alone);
    tcase_add_test(all, a_number_too_high_takes_nothing_that_is_not_there);
    tcase_add_test(all, a_file_with_the_name_of_a_listener_is_refused);
    tcase_add_test(all, what_is_handed_over_to_itself_is_the_same_and_its_own);
    tcase_add_test(all, nothing_can_be_handed_over_too);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
