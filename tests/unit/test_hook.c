#include "consumer/hook.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "observe/counters.h"
#include "observe/log.h"

#define BUDGET_MS 20

static int ends[2];
static struct hook_owner slow, other;

static void set_up(void) {
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    log_open(dup(ends[1]));
    slow = (struct hook_owner){"/slow/", "sleepy", 0, counters_route("/slow/", "sleepy")};
    other = (struct hook_owner){"/other/", "sleepy", 0, counters_route("/other/", "sleepy")};
    hook_set_budget(BUDGET_MS);
}

static void tear_down(void) {
    log_open(2);
    close(ends[0]);
    close(ends[1]);
}

/* What was said since the last time, behind the time stamp; NULL: nothing. */
static const char *said(void) {
    static char text[4096];
    ssize_t size = read(ends[0], text, sizeof(text) - 1);
    if (size <= 0)
        return NULL;
    text[size] = '\0';
    return strchr(text, ' ') + 1;
}

static uint64_t coarse_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

/* Holds the thread, as such a consumer does, by the same clock. */
static void run(const struct hook_owner *owner, enum page_hook kind, unsigned ms) {
    struct hook hook = hook_enter(owner, kind);
    for (uint64_t began = coarse_ms(); coarse_ms() - began < ms;)
        ;
    hook_leave(&hook);
}

static void expect_line(const char *begin, const char *end) {
    const char *line = said();
    ck_assert_ptr_nonnull(line);
    ck_assert_msg(strncmp(line, begin, strlen(begin)) == 0, "%s", line);
    ck_assert_msg(strcmp(line + strlen(line) - strlen(end), end) == 0, "%s", line);
}

START_TEST(a_hook_over_budget_is_named_with_its_route_and_consumer) {
    run(&slow, HOOK_RECEIVE, BUDGET_MS + 20);
    expect_line("warning: /slow/: receive of sleepy held its thread for ",
                " ms (hook-budget is 20 ms): blocking work belongs in sluice_offload\n");
}
END_TEST

START_TEST(one_within_its_budget_is_not) {
    hook_set_budget(60000);
    run(&slow, HOOK_RECEIVE, BUDGET_MS + 20);
    ck_assert_ptr_null(said());
    const struct counters_route *counters = counters_of_route(slow.counted_as);
    ck_assert_uint_eq(counters->hooks_over_budget, 0);
    ck_assert_uint_ge(counters->hook_ns, (BUDGET_MS + 20 - 1) * 1000000);
}
END_TEST

START_TEST(one_that_is_always_slow_says_so_once_in_a_while) {
    for (int i = 0; i < 4; i++)
        run(&slow, i % 2 == 0 ? HOOK_RECEIVE : HOOK_TIMER, BUDGET_MS + 20);
    expect_line("warning: /slow/: receive", "sluice_offload\n");
    ck_assert_ptr_null(said());
    run(&other, HOOK_RECEIVE, BUDGET_MS + 20);
    expect_line("warning: /other/: receive", "sluice_offload\n");
    hook_skip(HOOK_QUIET_MS);
    run(&slow, HOOK_TIMER, BUDGET_MS + 20);
    expect_line("warning: /slow/: timer", "sluice_offload; 3 more since the last such line\n");
    hook_skip(HOOK_QUIET_MS);
    run(&slow, HOOK_TIMER, BUDGET_MS + 20);
    expect_line("warning: /slow/: timer", "sluice_offload\n");
    ck_assert_uint_eq(counters_of_route(slow.counted_as)->hooks_over_budget, 6);
    ck_assert_uint_eq(counters_of_route(slow.counted_as)->hook_calls, 6);
}
END_TEST

/* A consumer's hook that sends to a group runs the hooks of that route's others within it. */
START_TEST(the_page_says_which_hook_runs_innermost) {
    page_enter(1);
    slow.page_name = page_name("/slow/", "sleepy", "/sleepy.so");
    other.page_name = page_name("/other/", "sleepy", "/sleepy.so");
    struct hook outer = hook_enter(&slow, HOOK_RECEIVE);
    ck_assert_uint_eq(page_at(), slow.page_name << 8 | HOOK_RECEIVE);
    struct hook inner = hook_enter(&other, HOOK_EVENT);
    ck_assert_uint_eq(page_at(), other.page_name << 8 | HOOK_EVENT);
    hook_leave(&inner);
    ck_assert_uint_eq(page_at(), slow.page_name << 8 | HOOK_RECEIVE);
    hook_leave(&outer);
    ck_assert_uint_eq(page_at(), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hook");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, a_hook_over_budget_is_named_with_its_route_and_consumer);
    tcase_add_test(all, one_within_its_budget_is_not);
    tcase_add_test(all, one_that_is_always_slow_says_so_once_in_a_while);
    tcase_add_test(all, the_page_says_which_hook_runs_innermost);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
