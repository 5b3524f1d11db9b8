#include "net/introduction.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"

#define MS 500
#define LINE "PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"
#define ASKED "GET / HTTP/1.1\r\n"

static struct loop *loop;
static struct introductions *all;
static int proxy; /* its end of the connection */
static unsigned told, refused;
static h2o_socket_t *introduced; /* the last one */

static void on_introduced(void *arg, h2o_socket_t *socket) {
    ck_assert_ptr_eq(arg, &told);
    told++;
    refused += socket == NULL;
    introduced = socket;
}

static void turn(void) {
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 0);
}

/* A connection that has just been accepted; the client's end. */
static int arrive(void) {
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    h2o_socket_t *socket =
        h2o_evloop_socket_create(loop_h2o(loop), ends[0], H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    introductions_add(all, socket, MS);
    return ends[1];
}

static void set_up(void) {
    loop = loop_create(0);
    loop_enter(loop);
    all = introductions_create(loop, on_introduced, &told);
    proxy = arrive();
}

static void tear_down(void) {
    if (introduced != NULL)
        h2o_socket_close(introduced);
    introductions_end(all);
    turn();
    ck_assert_uint_eq(loop_timers(loop), 0);
    introductions_free(all);
    if (proxy != -1)
        close(proxy);
    loop_free(loop);
}

static void say(const void *bytes, size_t size) {
    ck_assert_int_eq(send(proxy, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    turn();
}

/* Handed on, and the client's bytes are all there, unread. */
static void expect_client(const char *rest) {
    char text[100] = "";
    ck_assert_uint_eq(told, 1);
    ck_assert_ptr_nonnull(introduced);
    ck_assert_uint_eq(introduced->input->size, 0);
    ssize_t size = recv(h2o_socket_get_fd(introduced), text, sizeof(text) - 1, MSG_DONTWAIT);
    ck_assert_int_eq(size, rest[0] == '\0' ? -1 : (ssize_t)strlen(rest));
    ck_assert_str_eq(text, rest);
}

static void expect_peer(const char *address, unsigned port) {
    char text[INET_ADDRSTRLEN];
    struct sockaddr_storage peer;
    socklen_t size = h2o_socket_getpeername(introduced, (struct sockaddr *)&peer);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
    ck_assert_uint_eq(size, sizeof(*v4));
    ck_assert_int_eq(v4->sin_family, AF_INET);
    ck_assert_str_eq(inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)), address);
    ck_assert_uint_eq(ntohs(v4->sin_port), port);
}

/* Closed: the proxy sees the end, or a reset where it has said more than was read. */
static void expect_end(void) {
    char byte;
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(refused, 1);
    ck_assert_int_le(recv(proxy, &byte, 1, MSG_DONTWAIT), 0);
    ck_assert_int_eq(send(proxy, "a", 1, MSG_NOSIGNAL), -1);
}

/* --- what is right --- */

START_TEST(a_client_is_handed_on_with_his_address_and_all_his_bytes) {
    say(LINE ASKED, strlen(LINE ASKED));
    expect_client(ASKED);
    expect_peer("192.0.2.7", 51000);
}
END_TEST

START_TEST(a_line_may_come_byte_by_byte) {
    for (const char *at = LINE; *at != '\0'; at++) {
        ck_assert_uint_eq(told, 0);
        say(at, 1);
    }
    expect_client("");
    expect_peer("192.0.2.7", 51000);
}
END_TEST

START_TEST(a_client_may_speak_later) {
    say(LINE, strlen(LINE));
    say(ASKED, strlen(ASKED)); /* nobody reads before who was told does */
    expect_client(ASKED);
}
END_TEST

/* Version 2 with more behind the addresses than one read takes; what is skipped is nobody's. */
START_TEST(a_long_line_is_skipped_to_its_end) {
    enum { EXTRA = 5000 };
    static uint8_t bytes[16 + 12 + EXTRA] = "\r\n\r\n\0\r\nQUIT\n\x21\x11";
    static const uint8_t addresses[12] = {203, 0, 113, 9, 127, 0, 0, 1, 0x1f, 0x90, 1, 0xbb};
    bytes[14] = (12 + EXTRA) >> 8;
    bytes[15] = (12 + EXTRA) & 0xff;
    memcpy(bytes + 16, addresses, sizeof(addresses));
    memset(bytes + 28, 0x04, EXTRA);
    say(bytes, sizeof(bytes) - 1);
    for (int i = 0; i < 10; i++)
        turn();
    ck_assert_uint_eq(told, 0);
    say(bytes + sizeof(bytes) - 1, 1);
    say(ASKED, strlen(ASKED));
    expect_client(ASKED);
    expect_peer("203.0.113.9", 8080);
}
END_TEST

START_TEST(without_a_client_the_address_stays_the_proxys) {
    struct sockaddr_storage peer;
    say("PROXY UNKNOWN\r\n" ASKED, strlen("PROXY UNKNOWN\r\n" ASKED));
    expect_client(ASKED);
    ck_assert_uint_gt(h2o_socket_getpeername(introduced, (struct sockaddr *)&peer), 0);
    ck_assert_int_eq(peer.ss_family, AF_UNIX);
}
END_TEST

/* Who adds one counts on being told later. */
START_TEST(nobody_is_told_inside_the_call) {
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    ck_assert_int_eq(send(ends[1], "nonsense", 8, 0), 8);
    introductions_add(all, h2o_evloop_socket_create(loop_h2o(loop), ends[0], 0), MS);
    ck_assert_uint_eq(told, 0);
    turn();
    ck_assert_uint_eq(told, 1);
    close(ends[1]);
}
END_TEST

/* --- what is not --- */

static const char *const wrong[] = {ASKED, "\x16\x03\x01\x02\x00\x01",
                                    "PROXY TCP4 192.0.2.7 198.51.100.1 51000 44300000\r\n",
                                    "PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\n", "proxy"};

START_TEST(what_is_no_line_is_the_end) {
    say(wrong[_i], strlen(wrong[_i]));
    expect_end();
}
END_TEST

START_TEST(a_line_without_an_end_is_wrong_at_its_longest) {
    say("PROXY UNKNOWN ", 14);
    for (int i = 14; i < 107 && told == 0; i++)
        say("a", 1);
    expect_end();
}
END_TEST

START_TEST(a_proxy_that_leaves_is_the_end) {
    for (int half = 0; half < 2; half++) {
        if (half)
            proxy = arrive();
        else
            say("PROXY ", 6);
        close(proxy);
        proxy = -1;
        turn();
        ck_assert_uint_eq(told, (unsigned)half + 1);
        ck_assert_uint_eq(refused, (unsigned)half + 1);
    }
}
END_TEST

START_TEST(the_time_is_for_the_whole_line_whatever_trickles) {
    for (int i = 0; i < 4; i++) {
        loop_skip(loop, MS / 5);
        say(LINE + i, 1);
    }
    ck_assert_uint_eq(told, 0);
    loop_skip(loop, MS / 4);
    turn();
    expect_end();
}
END_TEST

START_TEST(a_deadline_that_was_met_does_not_come) {
    say(LINE, strlen(LINE));
    loop_skip(loop, 2 * MS);
    turn();
    expect_client("");
}
END_TEST

START_TEST(the_end_of_all_is_told_for_each) {
    char byte;
    int others[2] = {arrive(), arrive()};
    say("PROXY", 5);
    introductions_end(all);
    ck_assert_uint_eq(told, 3);
    ck_assert_uint_eq(refused, 3);
    ck_assert_uint_eq(loop_timers(loop), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(recv(others[i], &byte, 1, MSG_DONTWAIT), 0);
        close(others[i]);
    }
    introductions_end(all);
    ck_assert_uint_eq(told, 3);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("introduction");
    TCase *cases = tcase_create("all");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_client_is_handed_on_with_his_address_and_all_his_bytes);
    tcase_add_test(cases, a_line_may_come_byte_by_byte);
    tcase_add_test(cases, a_client_may_speak_later);
    tcase_add_test(cases, a_long_line_is_skipped_to_its_end);
    tcase_add_test(cases, without_a_client_the_address_stays_the_proxys);
    tcase_add_test(cases, nobody_is_told_inside_the_call);
    tcase_add_loop_test(cases, what_is_no_line_is_the_end, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(cases, a_line_without_an_end_is_wrong_at_its_longest);
    tcase_add_test(cases, a_proxy_that_leaves_is_the_end);
    tcase_add_test(cases, the_time_is_for_the_whole_line_whatever_trickles);
    tcase_add_test(cases, a_deadline_that_was_met_does_not_come);
    tcase_add_test(cases, the_end_of_all_is_told_for_each);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
