#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "websocket/batch.h"

/* Each test runs with system calls, and with io_uring where the kernel allows it. */
#define WAY (_i == 0 ? BATCH_CALLS : BATCH_RING)

enum { PAIRS = 40 };

static int near[PAIRS], far[PAIRS];
static struct batch *batch;

static void setup(void) {
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < PAIRS; i++) {
        int ends[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        near[i] = ends[0];
        far[i] = ends[1];
    }
}

static void teardown(void) {
    batch_free(batch);
    for (int i = 0; i < PAIRS; i++) {
        close(near[i]);
        close(far[i]);
    }
}

START_TEST(each_send_reaches_its_socket) {
    char text[PAIRS][8], got[8];
    batch = batch_create(WAY);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < PAIRS; i++) {
            snprintf(text[i], sizeof(text[i]), "%d.%d", i, round);
            batch_send(batch, near[i], text[i], strlen(text[i]));
        }
        ck_assert_uint_eq(batch_count(batch), PAIRS);
        const ssize_t *results = batch_run(batch);
        ck_assert_uint_eq(batch_count(batch), 0);
        for (int i = 0; i < PAIRS; i++) {
            ck_assert_int_eq(results[i], (ssize_t)strlen(text[i]));
            ssize_t size = recv(far[i], got, sizeof(got), MSG_DONTWAIT);
            ck_assert_int_eq(size, results[i]);
            ck_assert_mem_eq(got, text[i], (size_t)size);
        }
    }
}
END_TEST

START_TEST(each_receive_gets_what_its_socket_has) {
    char text[8], got[PAIRS][8];
    batch = batch_create(WAY);
    for (int i = 0; i < PAIRS; i++) {
        int size = snprintf(text, sizeof(text), "%d", i * 7);
        if (i % 3 != 0)
            ck_assert_int_eq(send(far[i], text, (size_t)size, 0), size);
        batch_receive(batch, near[i], got[i], sizeof(got[i]));
    }
    const ssize_t *results = batch_run(batch);
    for (int i = 0; i < PAIRS; i++) {
        int size = snprintf(text, sizeof(text), "%d", i * 7);
        ck_assert_int_eq(results[i], i % 3 != 0 ? size : -EAGAIN);
        if (i % 3 != 0)
            ck_assert_mem_eq(got[i], text, (size_t)size);
    }
}
END_TEST

START_TEST(an_end_of_stream_is_0_bytes) {
    char got[8];
    batch = batch_create(WAY);
    shutdown(far[0], SHUT_WR);
    batch_receive(batch, near[0], got, sizeof(got));
    ck_assert_int_eq(batch_run(batch)[0], 0);
}
END_TEST

/* One that is full, one that has room for a part, one whose peer has gone, one that takes all. */
START_TEST(what_a_socket_does_not_take_is_told) {
    static char block[4 << 20];
    ssize_t taken = 0, size;
    batch = batch_create(WAY);
    while ((size = send(near[0], block, sizeof(block), MSG_DONTWAIT)) > 0)
        taken += size;
    ck_assert_int_gt(taken, 0);
    close(far[2]);
    far[2] = -1;
    batch_send(batch, near[0], "x", 1);
    batch_send(batch, near[1], block, sizeof(block));
    batch_send(batch, near[2], "x", 1);
    batch_send(batch, near[3], "x", 1);
    const ssize_t *results = batch_run(batch);
    ck_assert_int_eq(results[0], -EAGAIN);
    ck_assert_int_gt(results[1], 0);
    ck_assert_int_lt(results[1], (ssize_t)sizeof(block));
    ck_assert_int_eq(results[2], -EPIPE);
    ck_assert_int_eq(results[3], 1);
    for (ssize_t left = results[1]; left > 0; left -= size) {
        size = recv(far[1], block, sizeof(block), MSG_DONTWAIT);
        ck_assert_int_gt(size, 0);
    }
    ck_assert_int_eq(recv(far[1], block, 1, MSG_DONTWAIT), -1);
}
END_TEST

START_TEST(a_full_batch_runs_whole) {
    static char got[PAIRS * BATCH_MAX];
    batch = batch_create(WAY);
    size_t expected = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BATCH_MAX; i++)
            batch_send(batch, near[i % PAIRS], "abc", 3);
        const ssize_t *results = batch_run(batch);
        for (int i = 0; i < BATCH_MAX; i++)
            expected += (size_t)results[i];
    }
    ck_assert_uint_eq(expected, 3 * 3 * BATCH_MAX);
    for (int i = 0; i < PAIRS; i++) {
        ssize_t size;
        while ((size = recv(far[i], got, sizeof(got), MSG_DONTWAIT)) > 0)
            expected -= (size_t)size;
    }
    ck_assert_uint_eq(expected, 0);
}
END_TEST

/* The descriptor of the one ring that this process has. */
static int descriptor_of_ring(void) {
    for (int fd = 3; fd < 1024; fd++) {
        char path[64], name[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t size = readlink(path, name, sizeof(name) - 1);
        name[size < 0 ? 0 : size] = '\0';
        if (strcmp(name, "anon_inode:[io_uring]") == 0)
            return fd;
    }
    return -1;
}

/* The batch's ring, as somebody would use it who has found its descriptor; where things lie in it
   is seen from another of its size. */
static void take_over(struct io_uring *ring) {
    struct io_uring_params parameters = {0};
    struct io_uring other;
    int fd = descriptor_of_ring();
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(io_uring_queue_init_params(BATCH_MAX, &other, &parameters), 0);
    memset(ring, 0, sizeof(*ring));
    ck_assert_int_eq(io_uring_queue_mmap(fd, &parameters, ring), 0);
    io_uring_queue_exit(&other);
}

/* Returns the ring's answer. */
static int submit(struct io_uring *ring) {
    struct io_uring_cqe *cqe;
    ck_assert_int_eq(io_uring_submit(ring), 1);
    ck_assert_int_eq(io_uring_peek_cqe(ring, &cqe), 0);
    int result = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return result;
}

static void prepare_open(struct io_uring_sqe *sqe) {
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}

static void prepare_nothing(struct io_uring_sqe *sqe) { io_uring_prep_nop(sqe); }

static void prepare_connect(struct io_uring_sqe *sqe) {
    static struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
    io_uring_prep_connect(sqe, near[0], (struct sockaddr *)&nowhere, sizeof(nowhere));
}

static void prepare_message(struct io_uring_sqe *sqe) {
    static struct msghdr message;
    io_uring_prep_sendmsg(sqe, near[0], &message, 0);
}

static void prepare_read(struct io_uring_sqe *sqe) {
    static char byte;
    io_uring_prep_read(sqe, near[0], &byte, 1, 0);
}

/* What it sends may not be bound to what comes next, nor be drained before it. */
static void prepare_linked_send(struct io_uring_sqe *sqe) {
    io_uring_prep_send(sqe, near[0], "x", 1, 0);
    sqe->flags |= IOSQE_IO_LINK;
}

static void (*const refused[])(struct io_uring_sqe *) = {prepare_open,    prepare_nothing,
                                                         prepare_connect, prepare_message,
                                                         prepare_read,    prepare_linked_send};

START_TEST(the_ring_does_nothing_else) {
    struct io_uring ring;
    batch = batch_create(BATCH_RING);
    take_over(&ring);
    refused[_i](io_uring_get_sqe(&ring));
    ck_assert_int_eq(submit(&ring), -EACCES);
    io_uring_queue_exit(&ring);
}
END_TEST

START_TEST(the_ring_sends_for_who_has_it) {
    struct io_uring ring;
    batch = batch_create(BATCH_RING);
    take_over(&ring);
    io_uring_prep_send(io_uring_get_sqe(&ring), near[0], "x", 1, 0);
    ck_assert_int_eq(submit(&ring), 1);
    io_uring_queue_exit(&ring);
}
END_TEST

START_TEST(nothing_can_be_registered_with_the_ring) {
    int files[1] = {near[0]};
    struct io_uring_restriction any = {.opcode = IORING_RESTRICTION_SQE_OP,
                                       .sqe_op = IORING_OP_OPENAT};
    batch = batch_create(BATCH_RING);
    int fd = descriptor_of_ring();
    ck_assert_int_eq(syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, files, 1), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, &any, 1), -1);
    ck_assert_int_eq(errno, EACCES);
}
END_TEST

START_TEST(a_kernel_that_restricts_none_gives_no_ring) {
    char byte;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    ck_assert_int_eq(
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(io_uring_register), 0), 0);
    ck_assert_int_eq(seccomp_load(filter), 0);
    seccomp_release(filter);
    batch = batch_create(BATCH_RING);
    ck_assert_int_eq(descriptor_of_ring(), -1);
    batch_send(batch, near[0], "x", 1);
    ck_assert_int_eq(batch_run(batch)[0], 1);
    ck_assert_int_eq(recv(far[0], &byte, 1, 0), 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("batch");
    TCase *tests = tcase_create("batch");
    int ways = batch_probe() ? 2 : 1;
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, each_send_reaches_its_socket, 0, ways);
    tcase_add_loop_test(tests, each_receive_gets_what_its_socket_has, 0, ways);
    tcase_add_loop_test(tests, an_end_of_stream_is_0_bytes, 0, ways);
    tcase_add_loop_test(tests, what_a_socket_does_not_take_is_told, 0, ways);
    tcase_add_loop_test(tests, a_full_batch_runs_whole, 0, ways);
    if (batch_probe()) {
        tcase_add_loop_test(tests, the_ring_does_nothing_else, 0,
                            (int)(sizeof(refused) / sizeof(refused[0])));
        tcase_add_test(tests, the_ring_sends_for_who_has_it);
        tcase_add_test(tests, nothing_can_be_registered_with_the_ring);
        tcase_add_test(tests, a_kernel_that_restricts_none_gives_no_ring);
    }
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
