#include "process/channel.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

static int ends[2];
static struct channel_message got;

static void set_up(void) { ck_assert(channel_open(ends)); }

static void close_end(int which) {
    close(ends[which]);
    ends[which] = -1;
}

static void tear_down(void) {
    for (int i = 0; i < 2; i++)
        if (ends[i] != -1)
            close(ends[i]);
}

static int receive(void) {
    memset(&got, 'x', sizeof(got));
    return channel_receive(ends[1], false, &got);
}

static void expect(enum channel_kind kind, uint32_t number, const char *text) {
    ck_assert_int_eq(receive(), 1);
    ck_assert_int_eq(got.kind, kind);
    ck_assert_uint_eq(got.number, number);
    ck_assert_uint_eq(got.size, strlen(text));
    ck_assert_str_eq(got.text, text);
}

static void expect_nothing(void) {
    ck_assert_int_eq(receive(), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

static int next_descriptor(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

static int file_with(const char *text) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static void expect_content(int fd, const char *text) {
    char content[100] = "";
    ck_assert_int_eq(pread(fd, content, sizeof(content) - 1, 0), (ssize_t)strlen(text));
    ck_assert_str_eq(content, text);
}

/* --- messages --- */

START_TEST(messages_arrive_one_by_one_in_both_directions) {
    ck_assert(channel_send(ends[0], CHANNEL_BUILD, 1, "", -1));
    ck_assert(channel_send(ends[0], CHANNEL_STOP, UINT32_MAX, "5000 1001 0 0", -1));
    ck_assert(channel_send(ends[1], CHANNEL_SERVING, 0, "listening", -1));
    expect(CHANNEL_BUILD, 1, "");
    ck_assert_int_eq(got.fd, -1);
    expect(CHANNEL_STOP, UINT32_MAX, "5000 1001 0 0");
    ck_assert_int_eq(got.fd, -1);
    expect_nothing();
    ck_assert_int_eq(channel_receive(ends[0], true, &got), 1);
    ck_assert_str_eq(got.text, "listening");
}
END_TEST

START_TEST(a_descriptor_comes_along_and_stays_the_senders_too) {
    int fd = file_with("content");
    ck_assert(channel_send(ends[0], CHANNEL_ASK, 0, "status", fd));
    expect_content(fd, "content");
    close(fd);
    expect(CHANNEL_ASK, 0, "status");
    expect_content(got.fd, "content");
    ck_assert_int_ne(fcntl(got.fd, F_GETFD) & FD_CLOEXEC, 0);
    close(got.fd);
}
END_TEST

START_TEST(bytes_may_hold_any_byte) {
    ck_assert(channel_send_bytes(ends[0], CHANNEL_ENTRY, 2, "a\0b\0", 4, -1));
    ck_assert_int_eq(receive(), 1);
    ck_assert_uint_eq(got.size, 4);
    ck_assert_int_eq(memcmp(got.text, "a\0b\0", 5), 0); /* and one more behind them */
}
END_TEST

START_TEST(a_long_text_is_cut) {
    const size_t size = 1000000; /* more than a message of the kernel's may have */
    char *text = malloc(size + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', size);
    text[size] = '\0';
    ck_assert(channel_send(ends[0], CHANNEL_SERVING, 0, text, -1));
    ck_assert(channel_send(ends[0], CHANNEL_SERVING, 0, "next", -1));
    ck_assert_int_eq(receive(), 1);
    ck_assert_uint_eq(got.size, CHANNEL_TEXT_MAX);
    ck_assert_uint_eq(strspn(got.text, "a"), CHANNEL_TEXT_MAX);
    expect(CHANNEL_SERVING, 0, "next");
    free(text);
}
END_TEST

/* --- the other end --- */

START_TEST(what_was_sent_before_the_end_still_comes) {
    ck_assert(channel_send(ends[0], CHANNEL_REFUSED, 3, "why", -1));
    close_end(0);
    expect(CHANNEL_REFUSED, 3, "why");
    ck_assert_int_eq(receive(), 0);
    ck_assert_int_eq(channel_receive(ends[1], true, &got), 0);
}
END_TEST

START_TEST(nothing_is_sent_to_one_that_has_gone) {
    int fd = file_with("content");
    close_end(1);
    ck_assert(!channel_send(ends[0], CHANNEL_BUILD, 0, "", -1));
    ck_assert_int_eq(errno, EPIPE);
    ck_assert(!channel_send(ends[0], CHANNEL_ASK, 0, "", fd));
    expect_content(fd, "content"); /* still the sender's */
    close(fd);
}
END_TEST

/* Whoever hangs takes nothing: after channel_hurry the sender does not wait for him. */
START_TEST(one_that_takes_nothing_does_not_hold_up_who_hurries) {
    size_t sent = 0;
    channel_hurry(ends[0]);
    while (sent < 100000 && channel_send(ends[0], CHANNEL_SERVING, (uint32_t)sent, "text", -1))
        sent++;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_gt(sent, 0);
    for (size_t i = 0; i < sent; i++)
        expect(CHANNEL_SERVING, (uint32_t)i, "text");
    expect_nothing();
}
END_TEST

/* --- messages that none of us sent --- */

static void send_raw(const void *bytes, size_t size, const int *fds, size_t count) {
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count != 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    }
    ck_assert_int_eq(sendmsg(ends[0], &message, 0), (ssize_t)size);
}

START_TEST(of_many_descriptors_one_is_taken_and_the_others_are_closed) {
    static const uint32_t head[2] = {CHANNEL_ASK, 0};
    int fds[8];
    for (size_t i = 0; i < 8; i++)
        fds[i] = file_with("content");
    int before = next_descriptor();
    send_raw(head, sizeof(head), fds, 8);
    expect(CHANNEL_ASK, 0, "");
    ck_assert_int_eq(got.fd, before);
    ck_assert_int_eq(fcntl(before + 1, F_GETFD), -1);
    close(got.fd);
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
}
END_TEST

START_TEST(a_message_shorter_than_its_head_is_the_end) {
    int fd = file_with("content"), before = next_descriptor();
    send_raw("short", 5, NULL, 0);
    send_raw("short", 5, &fd, 1);
    ck_assert_int_eq(receive(), 0);
    ck_assert_int_eq(receive(), 0);
    ck_assert_int_eq(next_descriptor(), before); /* its descriptor went with it */
    close(fd);
}
END_TEST

START_TEST(a_message_longer_than_any_is_cut) {
    static char bytes[CHANNEL_TEXT_MAX + 1000];
    memset(bytes, 'a', sizeof(bytes));
    send_raw(bytes, sizeof(bytes), NULL, 0);
    ck_assert_int_eq(receive(), 1);
    ck_assert_uint_eq(got.size, CHANNEL_TEXT_MAX);
    ck_assert_uint_eq(strlen(got.text), CHANNEL_TEXT_MAX);
}
END_TEST

/* --- snapshots --- */

static struct snapshot *receive_snapshot(size_t count) {
    struct snapshot *snapshot = snapshot_create();
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(receive(), 1);
        ck_assert(channel_add_entry(snapshot, &got));
        ck_assert_int_eq(got.fd, -1); /* the snapshot's now */
    }
    expect_nothing();
    return snapshot;
}

static void expect_entry(const struct snapshot_entry *entry, enum snapshot_kind kind,
                         const char *name, const char *path) {
    ck_assert_int_eq(entry->kind, kind);
    ck_assert_str_eq(entry->name, name);
    if (path == NULL)
        ck_assert_ptr_null(entry->path);
    else
        ck_assert_str_eq(entry->path, path);
}

START_TEST(a_snapshot_arrives_whole) {
    size_t count;
    struct snapshot *from = snapshot_create();
    snapshot_add(from, SNAPSHOT_FILE, "/etc/sluice.yaml", NULL, file_with("listen: 80"));
    snapshot_add(from, SNAPSHOT_PLUGIN, "echo", "/usr/lib/echo.so", file_with("code"));
    snapshot_add(from, SNAPSHOT_BARRED, "bad plugin", NULL, -1);
    snapshot_add(from, SNAPSHOT_FILE, "", NULL, file_with(""));
    ck_assert(channel_send_snapshot(ends[0], from));
    snapshot_free(from);
    struct snapshot *to = receive_snapshot(4);
    const struct snapshot_entry *entries = snapshot_entries(to, &count);
    ck_assert_uint_eq(count, 4);
    expect_entry(&entries[0], SNAPSHOT_FILE, "/etc/sluice.yaml", NULL);
    expect_content(entries[0].fd, "listen: 80");
    expect_entry(&entries[1], SNAPSHOT_PLUGIN, "echo", "/usr/lib/echo.so");
    expect_content(entries[1].fd, "code");
    expect_entry(&entries[2], SNAPSHOT_BARRED, "bad plugin", NULL);
    ck_assert_int_eq(entries[2].fd, -1);
    expect_entry(&entries[3], SNAPSHOT_FILE, "", NULL);
    snapshot_free(to);
}
END_TEST

START_TEST(a_name_too_long_for_a_message_is_a_failure) {
    static char name[3 * SNAPSHOT_NAME_MAX];
    struct snapshot *from = snapshot_create();
    memset(name, 'n', sizeof(name) - 1);
    snapshot_add(from, SNAPSHOT_FILE, name, NULL, -1);
    ck_assert(!channel_send_snapshot(ends[0], from));
    expect_nothing();
    snapshot_free(from);
}
END_TEST

START_TEST(what_is_no_entry_is_refused_and_its_descriptor_left_to_the_receiver) {
    static const struct {
        enum channel_kind kind;
        uint32_t number;
    } wrong[] = {{CHANNEL_BUILD, 0},
                 {CHANNEL_ENTRY, SNAPSHOT_KINDS},
                 {CHANNEL_ENTRY, UINT32_MAX},
                 {(enum channel_kind)1000, 0}};
    size_t count;
    struct snapshot *to = snapshot_create();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int fd = file_with("content");
        ck_assert(channel_send(ends[0], wrong[i].kind, wrong[i].number, "name", fd));
        close(fd);
        ck_assert_int_eq(receive(), 1);
        ck_assert(!channel_add_entry(to, &got));
        expect_content(got.fd, "content");
        close(got.fd);
    }
    snapshot_entries(to, &count);
    ck_assert_uint_eq(count, 0);
    snapshot_free(to);
}
END_TEST

START_TEST(an_entry_without_a_path_has_none) {
    size_t count;
    struct snapshot *to = snapshot_create();
    ck_assert(channel_send_bytes(ends[0], CHANNEL_ENTRY, SNAPSHOT_LOG, "name", 4, -1));
    ck_assert(channel_send_bytes(ends[0], CHANNEL_ENTRY, SNAPSHOT_LOG, "a\0b\0c", 5, -1));
    ck_assert(channel_send_bytes(ends[0], CHANNEL_ENTRY, SNAPSHOT_LOG, "", 0, -1));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(receive(), 1);
        ck_assert(channel_add_entry(to, &got));
    }
    const struct snapshot_entry *entries = snapshot_entries(to, &count);
    expect_entry(&entries[0], SNAPSHOT_LOG, "name", NULL);
    expect_entry(&entries[1], SNAPSHOT_LOG, "a", "b");
    expect_entry(&entries[2], SNAPSHOT_LOG, "", NULL);
    snapshot_free(to);
}
END_TEST

static void add_all(TCase *cases) {
    tcase_add_test(cases, messages_arrive_one_by_one_in_both_directions);
    tcase_add_test(cases, a_descriptor_comes_along_and_stays_the_senders_too);
    tcase_add_test(cases, bytes_may_hold_any_byte);
    tcase_add_test(cases, a_long_text_is_cut);
    tcase_add_test(cases, what_was_sent_before_the_end_still_comes);
    tcase_add_test(cases, nothing_is_sent_to_one_that_has_gone);
    tcase_add_test(cases, one_that_takes_nothing_does_not_hold_up_who_hurries);
    tcase_add_test(cases, of_many_descriptors_one_is_taken_and_the_others_are_closed);
    tcase_add_test(cases, a_message_shorter_than_its_head_is_the_end);
    tcase_add_test(cases, a_message_longer_than_any_is_cut);
    tcase_add_test(cases, a_snapshot_arrives_whole);
    tcase_add_test(cases, a_name_too_long_for_a_message_is_a_failure);
    tcase_add_test(cases, what_is_no_entry_is_refused_and_its_descriptor_left_to_the_receiver);
    tcase_add_test(cases, an_entry_without_a_path_has_none);
}

int main(void) {
    Suite *suite = suite_create("channel");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    add_all(all);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
