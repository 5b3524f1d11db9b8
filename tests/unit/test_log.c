#include "observe/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2000

static int ends[2];
static char said[8192];

static void setup(void) {
    unsetenv("JOURNAL_STREAM");
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    log_open(dup(ends[1]));
}

static void teardown(void) {
    log_open(2); /* closes its copy of the pipe's end */
    close(ends[0]);
    close(ends[1]);
}

static size_t read_log(void) {
    ssize_t size = read(ends[0], said, sizeof(said) - 1);
    size = size < 0 ? 0 : size;
    said[size] = '\0';
    return (size_t)size;
}

/* What stands behind the time. */
static void expect_line(const char *wanted) {
    read_log();
    const char *at = strchr(said, ' ');
    ck_assert_ptr_nonnull(at);
    ck_assert_str_eq(at + 1, wanted);
}

START_TEST(a_line_has_its_time_in_utc_its_level_and_its_text) {
    log_line(LOG_AT_WARNING, "%s: %d", "count", 7);
    ck_assert_uint_gt(read_log(), 0);
    const char *form = "0000-00-00T00:00:00.000Z warning: count: 7\n";
    ck_assert_uint_eq(strlen(said), strlen(form));
    for (size_t i = 0; form[i] != '\0'; i++)
        ck_assert_msg(form[i] == '0' ? said[i] >= '0' && said[i] <= '9' : said[i] == form[i],
                      "at %zu: %s", i, said);
}
END_TEST

/* A line of so few bytes goes into a pipe whole or not at all: pipe(7). */
START_TEST(lines_that_could_not_be_written_are_counted_behind_the_next_one) {
    while (write(ends[1], "x", 1) == 1)
        ;
    log_line(LOG_AT_INFO, "lost");
    log_line(LOG_AT_INFO, "lost too");
    while (read_log() > 0)
        ck_assert_ptr_null(strstr(said, "lost"));
    log_line(LOG_AT_INFO, "again");
    log_line(LOG_AT_INFO, "and again");
    read_log();
    ck_assert_ptr_nonnull(strstr(said, " info: again\n"));
    ck_assert_ptr_nonnull(strstr(said, " warning: lines of this log that are lost: 2 ("));
    ck_assert_ptr_nonnull(strstr(said, ")\n"));
    ck_assert_ptr_null(strstr(strstr(said, "lost:") + 1, "lost:"));
}
END_TEST

START_TEST(control_characters_are_shown_so_that_none_can_forge_a_line) {
    log_line(LOG_AT_INFO, "%s", "a\nb\r\x1b[31mc\x7f\t\xc3\xa4");
    expect_line("info: a\\x0ab\\x0d\\x1b[31mc\\x7f\\x09\xc3\xa4\n");
    log_line(LOG_AT_INFO, "%s",
             "\xc2\x9b"
             "1m\xc2\xa9\xc2"); /* a CSI of one character, no other */
    expect_line("info: \\xc2\\x9b1m\xc2\xa9\xc2\n");
}
END_TEST

static const char fills[] = {'x', '\n'};

START_TEST(a_long_line_is_cut_and_still_ends) {
    char text[5001] = {0};
    memset(text, fills[_i], 5000);
    log_line(LOG_AT_ERROR, "%s", text);
    size_t size = read_log();
    ck_assert_uint_le(size, LINE_BYTES_MAX);
    ck_assert_uint_gt(size, LINE_BYTES_MAX - 20);
    ck_assert_int_eq(said[size - 1], '\n');
    ck_assert_ptr_eq(strchr(said, '\n'), said + size - 1);
}
END_TEST

START_TEST(lines_above_the_limit_are_left_out) {
    log_line(LOG_AT_DEBUG, "not said");
    ck_assert_uint_eq(read_log(), 0);
    log_limit(LOG_AT_DEBUG);
    log_line(LOG_AT_DEBUG, "said");
    expect_line("debug: said\n");
    log_limit(LOG_AT_ERROR);
    log_line(LOG_AT_WARNING, "not said");
    ck_assert_uint_eq(read_log(), 0);
    log_line(LOG_AT_ERROR, "said");
    expect_line("error: said\n");
}
END_TEST

/* What systemd says of the descriptor that it made. */
static void name_journal(int fd, ino_t beside) {
    struct stat is;
    char text[64];
    ck_assert_int_eq(fstat(fd, &is), 0);
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)is.st_dev,
             (unsigned long long)(is.st_ino + beside));
    setenv("JOURNAL_STREAM", text, 1);
    log_open(dup(fd));
}

START_TEST(in_the_journal_a_line_has_its_priority_and_no_time) {
    static const char *const wanted[] = {"<3>error: said\n", "<4>warning: said\n",
                                         "<6>info: said\n", "<7>debug: said\n"};
    log_limit(LOG_AT_DEBUG);
    name_journal(ends[1], 0);
    for (int level = LOG_AT_ERROR; level <= LOG_AT_DEBUG; level++) {
        log_line((enum log_level)level, "said");
        read_log();
        ck_assert_str_eq(said, wanted[level]);
    }
}
END_TEST

START_TEST(another_descriptor_than_the_journal_keeps_the_time) {
    name_journal(ends[1], 1);
    log_line(LOG_AT_INFO, "said");
    expect_line("info: said\n");
    ck_assert_int_eq(said[0], '2');
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_open(dup(ends[1]));
    log_line(LOG_AT_INFO, "said");
    expect_line("info: said\n");
    ck_assert_int_eq(said[0], '2');
}
END_TEST

START_TEST(a_log_that_cannot_be_written_disturbs_nothing) {
    char line[100] = {0};
    memset(line, 'x', sizeof(line) - 1);
    for (int i = 0; i < 2000; i++) { /* more than a pipe holds */
        errno = ERANGE;
        log_line(LOG_AT_ERROR, "%s", line);
        ck_assert_int_eq(errno, ERANGE);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("log");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, a_line_has_its_time_in_utc_its_level_and_its_text);
    tcase_add_test(all, control_characters_are_shown_so_that_none_can_forge_a_line);
    tcase_add_test(all, lines_that_could_not_be_written_are_counted_behind_the_next_one);
    tcase_add_loop_test(all, a_long_line_is_cut_and_still_ends, 0, 2);
    tcase_add_test(all, lines_above_the_limit_are_left_out);
    tcase_add_test(all, in_the_journal_a_line_has_its_priority_and_no_time);
    tcase_add_test(all, another_descriptor_than_the_journal_keeps_the_time);
    tcase_add_test(all, a_log_that_cannot_be_written_disturbs_nothing);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
