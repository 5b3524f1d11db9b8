#include "process/control.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/config.h"
#include "support/directory.h"

/* As control.c asks of the kernel. */
#define WAITING_MAX 17

static char directory[100], path[200];
static struct error error;
static int listening = -1;

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/control", directory);
}

static void tear_down(void) {
    if (listening != -1)
        close(listening);
    remove_test_directory(directory);
}

static int next_descriptor(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

static void begin(void) {
    listening = control_listen(path, &error);
    ck_assert_msg(listening != -1, "%s", error.text);
}

static void expect_refusal(const char *place, const char *why) {
    int before = next_descriptor();
    ck_assert_int_eq(control_listen(place, &error), -1);
    ck_assert_msg(strstr(error.text, why) != NULL, "'%s' is not in: %s", why, error.text);
    ck_assert_int_eq(next_descriptor(), before);
}

/* -1 with errno. */
static int try_connect(int flags) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    strcpy(where.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static int connect_client(void) {
    int fd = try_connect(0);
    ck_assert_int_ne(fd, -1);
    return fd;
}

/* --- the place --- */

static const struct {
    const char *control, *folder, *pid_file, *place;
} places[] = {
    {"/a/b", "/run/c", "/d/e.pid", "/a/b"},
    {NULL, "/run/c", "/d/e.pid", "/run/c/sluice.control"},
    {NULL, "/run/c:/run/d", NULL, "/run/c/sluice.control"},
    {NULL, "run/c", "/d/e.pid", "/d/e.control"},
    {NULL, "", "/d/e.pid", "/d/e.control"},
    {NULL, NULL, "/d/e", "/d/e.control"},
    {NULL, NULL, "/d.pid/e", "/d.pid/e.control"},
    {NULL, NULL, "/d/e.pid.old", "/d/e.pid.old.control"},
    {NULL, NULL, ".pid", ".pid.control"},
    {NULL, NULL, "e", "e.control"},
    {NULL, NULL, NULL, NULL},
};

START_TEST(the_place_is_named_or_follows_from_the_others) {
    struct config config = {.control = places[_i].control, .pid_file = places[_i].pid_file};
    unsetenv("RUNTIME_DIRECTORY");
    if (places[_i].folder != NULL)
        setenv("RUNTIME_DIRECTORY", places[_i].folder, 1);
    char *place = control_path(&config);
    if (places[_i].place == NULL)
        ck_assert_ptr_null(place);
    else
        ck_assert_str_eq(place, places[_i].place);
    free(place);
}
END_TEST

/* --- listening --- */

START_TEST(the_socket_is_its_owners_alone_whatever_the_umask) {
    static const mode_t masks[] = {0, 0277, 0777};
    struct stat status;
    umask(masks[_i]);
    begin();
    umask(0022);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert(S_ISSOCK(status.st_mode));
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    ck_assert_int_ne(fcntl(listening, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(listening, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(the_socket_of_one_that_died_is_replaced) {
    begin();
    close(listening);
    begin();
    close(connect_client());
}
END_TEST

START_TEST(the_socket_of_a_living_server_is_left_to_it) {
    begin();
    expect_refusal(path, "is another server's control socket");
    close(connect_client());
}
END_TEST

/* One whose queue is full accepts nothing at the moment, and lives. */
START_TEST(a_server_that_is_busy_has_not_died) {
    int clients[WAITING_MAX];
    begin();
    for (int i = 0; i < WAITING_MAX; i++)
        clients[i] = connect_client();
    ck_assert_int_eq(try_connect(SOCK_NONBLOCK), -1);
    ck_assert_int_eq(errno, EAGAIN);
    expect_refusal(path, "is another server's control socket");
    ck_assert_int_eq(access(path, F_OK), 0);
    for (int i = 0; i < WAITING_MAX; i++)
        close(clients[i]);
}
END_TEST

START_TEST(what_is_no_socket_is_kept) {
    char target[200];
    snprintf(target, sizeof(target), "%s/file", directory);
    close(open(target, O_CREAT | O_WRONLY, 0600));
    expect_refusal(target, "exists and is no socket");
    ck_assert_int_eq(access(target, F_OK), 0);
    ck_assert_int_eq(symlink(target, path), 0);
    expect_refusal(path, "exists and is no socket");
    ck_assert_int_eq(access(path, F_OK), 0);
    expect_refusal(directory, "exists and is no socket");
}
END_TEST

START_TEST(a_place_that_can_not_be_had_is_a_sentence) {
    char place[200];
    snprintf(place, sizeof(place), "%s/none/control", directory);
    expect_refusal(place, "can't be made: No such file or directory");
    memset(place, 'a', 108);
    place[108] = '\0';
    expect_refusal(place, "at most 107 bytes");
}
END_TEST

START_TEST(a_path_of_107_bytes_is_not_too_long) {
    size_t size = strlen(directory);
    memset(path + size, '/', 1);
    memset(path + size + 1, 'a', 107 - size - 1);
    path[107] = '\0';
    begin();
    close(connect_client());
}
END_TEST

/* --- who comes --- */

START_TEST(where_nobody_comes_nobody_is_waited_for) {
    begin();
    ck_assert_int_eq(control_accept(listening), -1);
}
END_TEST

START_TEST(a_client_is_neither_waited_for_nor_handed_on) {
    begin();
    int client = connect_client(), fd = control_accept(listening);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(client);
    close(fd);
}
END_TEST

/* The file's mode keeps strangers away; should it ever be wider, this does. */
START_TEST(a_stranger_is_not_heard) {
    if (geteuid() != 0)
        return; /* nobody to be */
    char byte;
    begin();
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(chmod(directory, 0755), 0);
    ck_assert_int_eq(seteuid(65534), 0);
    int client = connect_client();
    ck_assert_int_eq(seteuid(0), 0);
    int before = next_descriptor();
    ck_assert_int_eq(control_accept(listening), -1);
    ck_assert_int_eq(next_descriptor(), before);
    ck_assert_int_eq(recv(client, &byte, 1, 0), 0);
    close(client);
}
END_TEST

/* --- questions --- */

static int pair[2]; /* the server's, the client's */
static char question[CONTROL_QUESTION_MAX + 8];
static size_t used;

static void make_pair(void) {
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    memset(question, '#', sizeof(question));
    used = 0;
}

static void end_pair(void) {
    close(pair[0]);
    if (pair[1] != -1)
        close(pair[1]);
}

static int say(const char *bytes, size_t size) {
    ck_assert_int_eq(send(pair[1], bytes, size, 0), (ssize_t)size);
    return control_read(pair[0], question, &used);
}

static void expect_room_is_kept(void) {
    for (size_t i = CONTROL_QUESTION_MAX; i < sizeof(question); i++)
        ck_assert_int_eq(question[i], '#');
}

START_TEST(a_question_is_a_line_without_its_end) {
    ck_assert_int_eq(say("status json\nmore", 16), 1);
    ck_assert_str_eq(question, "status json");
}
END_TEST

/* It is for whoever answers. */
START_TEST(what_follows_a_question_is_left) {
    char rest[16] = "";
    ck_assert_int_eq(say("publish\n\0body\n", 14), 1);
    ck_assert_str_eq(question, "publish");
    ck_assert_int_eq(recv(pair[0], rest, sizeof(rest), MSG_DONTWAIT), 6);
    ck_assert_mem_eq(rest, "\0body\n", 6);
}
END_TEST

START_TEST(a_question_may_come_byte_by_byte) {
    ck_assert_int_eq(control_read(pair[0], question, &used), 0);
    ck_assert_uint_eq(used, 0);
    for (const char *at = "kick 7"; *at != '\0'; at++)
        ck_assert_int_eq(say(at, 1), 0);
    ck_assert_int_eq(control_read(pair[0], question, &used), 0);
    ck_assert_int_eq(say("\n", 1), 1);
    ck_assert_str_eq(question, "kick 7");
}
END_TEST

START_TEST(an_empty_line_is_a_question) {
    ck_assert_int_eq(say("\n", 1), 1);
    ck_assert_str_eq(question, "");
}
END_TEST

START_TEST(who_leaves_before_the_end_of_the_line_has_not_asked) {
    ck_assert_int_eq(say("stop", 4), 0);
    close(pair[1]);
    pair[1] = -1;
    ck_assert_int_eq(control_read(pair[0], question, &used), -1);
}
END_TEST

/* The longest one fits with its end of line; each size by pieces of its own. */
START_TEST(a_question_longer_than_the_room_is_refused) {
    static const size_t pieces[] = {1, 7, 100, 510, 511, 4000};
    char bytes[4000];
    memset(bytes, 'a', sizeof(bytes));
    int result = 0;
    for (size_t sent = 0; sent < 4000 && result == 0; sent += pieces[_i])
        result = say(bytes, pieces[_i]);
    ck_assert_int_eq(result, -1);
    ck_assert_uint_eq(used, CONTROL_QUESTION_MAX - 1);
    expect_room_is_kept();
}
END_TEST

START_TEST(the_longest_question_fits) {
    char bytes[CONTROL_QUESTION_MAX - 1];
    memset(bytes, 'a', sizeof(bytes));
    bytes[sizeof(bytes) - 1] = '\n';
    ck_assert_int_eq(say(bytes, 300), 0);
    ck_assert_int_eq(say(bytes + 300, sizeof(bytes) - 300), 1);
    ck_assert_uint_eq(strlen(question), CONTROL_QUESTION_MAX - 2);
    expect_room_is_kept();
}
END_TEST

START_TEST(a_question_with_a_nul_is_refused) {
    char bytes[CONTROL_QUESTION_MAX] = "stop\0\n";
    ck_assert_int_eq(say(bytes, 6), -1);
}
END_TEST

/* --- answers --- */

static void expect_answer(const char *wanted) {
    char text[200] = "";
    ck_assert_int_eq(recv(pair[1], text, sizeof(text) - 1, MSG_WAITALL), (ssize_t)strlen(wanted));
    ck_assert_str_eq(text, wanted);
}

START_TEST(an_answer_is_its_status_then_its_text_then_the_end) {
    control_answer(pair[0], EX_TEMPFAIL, "try again\n");
    expect_answer("75\ntry again\n");
    ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
    pair[0] = dup(0);
}
END_TEST

START_TEST(an_answer_to_one_that_has_gone_hurts_nobody) {
    close(pair[1]);
    pair[1] = -1;
    control_answer(pair[0], 0, "text");
    ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
    pair[0] = dup(0);
}
END_TEST

START_TEST(one_that_takes_no_answer_is_not_waited_for) {
    char byte = 'a';
    while (send(pair[0], &byte, 1, MSG_DONTWAIT) == 1)
        ;
    ck_assert_int_eq(fcntl(pair[0], F_SETFL, 0), 0); /* may wait, and does not */
    control_answer(pair[0], 0, "text");
    ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
    pair[0] = dup(0);
}
END_TEST

/* --- the command's side --- */

static const char *answer; /* NULL: none; the connection ends */
static char asked[CONTROL_QUESTION_MAX];

static void *serve(void *unused) {
    size_t size = 0;
    int fd, heard = 0;
    (void)unused;
    fcntl(listening, F_SETFL, 0);
    while ((fd = control_accept(listening)) == -1)
        ;
    fcntl(fd, F_SETFL, 0);
    while (heard == 0)
        heard = control_read(fd, asked, &size);
    if (answer != NULL)
        send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static char out[20000], err[2000];

static void read_back(int fd, char *text, size_t size) {
    ssize_t got = pread(fd, text, size - 1, 0);
    ck_assert_int_ge(got, 0);
    text[got] = '\0';
    close(fd);
}

/* control_ask, with what it prints. */
static int ask(const char *words) {
    const int numbers[] = {1, 2};
    int kept[2], files[2];
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        kept[i] = dup(numbers[i]);
        files[i] = memfd_create("printed", MFD_CLOEXEC);
        dup2(files[i], numbers[i]);
    }
    int status = control_ask(path, words, NULL, 0);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(kept[i], numbers[i]);
        close(kept[i]);
    }
    read_back(files[0], out, sizeof(out));
    read_back(files[1], err, sizeof(err));
    return status;
}

static int ask_server(const char *words) {
    pthread_t server;
    begin();
    int before = next_descriptor();
    ck_assert_int_eq(pthread_create(&server, NULL, serve, NULL), 0);
    int status = ask(words);
    ck_assert_int_eq(pthread_join(server, NULL), 0);
    ck_assert_int_eq(next_descriptor(), before);
    return status;
}

START_TEST(a_good_answer_is_printed) {
    static char text[12003] = "0\n";
    memset(text + 2, 'a', sizeof(text) - 3);
    answer = text;
    ck_assert_int_eq(ask_server("status json"), EX_OK);
    ck_assert_str_eq(asked, "status json");
    ck_assert_str_eq(out, text + 2);
    ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(a_bad_answer_is_an_error_with_its_status) {
    answer = "64\nno such command\n";
    ck_assert_int_eq(ask_server("nonsense"), EX_USAGE);
    ck_assert_str_eq(out, "");
    ck_assert_str_eq(err, "no such command\n");
}
END_TEST

START_TEST(a_server_that_ends_before_it_answers_is_none) {
    answer = NULL;
    ck_assert_int_eq(ask_server("status"), EX_UNAVAILABLE);
    ck_assert_str_eq(out, "");
    ck_assert_ptr_nonnull(strstr(err, "ended before it answered"));
}
END_TEST

START_TEST(where_no_server_is_that_is_said) {
    static const char *const wrong[] = {"No such file", "Connection refused"};
    if (_i == 1) {
        begin();
        close(listening);
        listening = -1;
    }
    int before = next_descriptor();
    ck_assert_int_eq(ask("status"), EX_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err, path));
    ck_assert_ptr_nonnull(strstr(err, wrong[_i]));
    ck_assert_int_eq(next_descriptor(), before);
}
END_TEST

START_TEST(a_path_too_long_for_a_socket_is_said) {
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(ask("status"), EX_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err, "too long"));
}
END_TEST

START_TEST(a_question_that_no_server_would_read_is_not_asked) {
    char words[CONTROL_QUESTION_MAX];
    memset(words, '7', sizeof(words));
    words[CONTROL_QUESTION_MAX - 1] = '\0';
    begin();
    ck_assert_int_eq(ask(words), EX_USAGE);
    ck_assert_ptr_nonnull(strstr(err, "longer than 510 bytes"));
    ck_assert_int_eq(control_accept(listening), -1);
}
END_TEST

START_TEST(the_longest_question_is_asked) {
    char words[CONTROL_QUESTION_MAX - 1];
    memset(words, '7', sizeof(words));
    words[sizeof(words) - 1] = '\0';
    answer = "1\nno\n";
    ck_assert_int_eq(ask_server(words), 1);
    ck_assert_str_eq(asked, words);
}
END_TEST

static void add_listening(TCase *cases) {
    tcase_add_loop_test(cases, the_socket_is_its_owners_alone_whatever_the_umask, 0, 3);
    tcase_add_test(cases, the_socket_of_one_that_died_is_replaced);
    tcase_add_test(cases, the_socket_of_a_living_server_is_left_to_it);
    tcase_add_test(cases, a_server_that_is_busy_has_not_died);
    tcase_add_test(cases, what_is_no_socket_is_kept);
    tcase_add_test(cases, a_place_that_can_not_be_had_is_a_sentence);
    tcase_add_test(cases, a_path_of_107_bytes_is_not_too_long);
    tcase_add_test(cases, where_nobody_comes_nobody_is_waited_for);
    tcase_add_test(cases, a_client_is_neither_waited_for_nor_handed_on);
    tcase_add_test(cases, a_stranger_is_not_heard);
}

static void add_asking(TCase *cases) {
    tcase_add_test(cases, a_good_answer_is_printed);
    tcase_add_test(cases, a_bad_answer_is_an_error_with_its_status);
    tcase_add_test(cases, a_server_that_ends_before_it_answers_is_none);
    tcase_add_loop_test(cases, where_no_server_is_that_is_said, 0, 2);
    tcase_add_test(cases, a_path_too_long_for_a_socket_is_said);
    tcase_add_test(cases, a_question_that_no_server_would_read_is_not_asked);
    tcase_add_test(cases, the_longest_question_is_asked);
}

static void add_questions(TCase *cases) {
    tcase_add_test(cases, a_question_is_a_line_without_its_end);
    tcase_add_test(cases, what_follows_a_question_is_left);
    tcase_add_test(cases, a_question_may_come_byte_by_byte);
    tcase_add_test(cases, an_empty_line_is_a_question);
    tcase_add_test(cases, who_leaves_before_the_end_of_the_line_has_not_asked);
    tcase_add_loop_test(cases, a_question_longer_than_the_room_is_refused, 0, 6);
    tcase_add_test(cases, the_longest_question_fits);
    tcase_add_test(cases, a_question_with_a_nul_is_refused);
    tcase_add_test(cases, an_answer_is_its_status_then_its_text_then_the_end);
    tcase_add_test(cases, an_answer_to_one_that_has_gone_hurts_nobody);
    tcase_add_test(cases, one_that_takes_no_answer_is_not_waited_for);
}

int main(void) {
    Suite *suite = suite_create("control");
    TCase *none = tcase_create("none"), *files = tcase_create("files"),
          *talk = tcase_create("talk");
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_loop_test(none, the_place_is_named_or_follows_from_the_others, 0,
                        sizeof(places) / sizeof(places[0]));
    add_listening(files);
    add_asking(files);
    tcase_add_checked_fixture(talk, make_pair, end_pair);
    add_questions(talk);
    suite_add_tcase(suite, none);
    suite_add_tcase(suite, files);
    suite_add_tcase(suite, talk);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
