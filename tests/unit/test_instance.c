#include "consumer/instance.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/host.h"
#include "consumer/plugin.h"
#include "loop/loop.h"

/* The functions of the public header work in this program as in a plugin. */
const struct sluice_host *sluice_host_table;

static struct loop *loop;
static struct plugin *plugin;
static sluice_route *route;
static char seen[400];

static void note(const char *what) {
    ck_assert_uint_lt(strlen(seen) + strlen(what) + 2, sizeof(seen));
    strcat(strcat(seen, seen[0] == '\0' ? "" : " "), what);
}

/* --- options --- */

static const sluice_consumer *hooks;

static const char *read_text(void *data, const char *key) {
    static char text[64];
    (void)data;
    if (strcmp(key, "hooks") == 0)
        snprintf(text, sizeof(text), "%llx", (unsigned long long)(uintptr_t)hooks);
    else if (strcmp(key, "greeting") == 0)
        strcpy(text, "hello");
    else
        return NULL;
    return text;
}

static bool read_number(void *data, const char *key, int unit, int64_t least, int64_t most,
                        int64_t *value) {
    (void)data;
    *value = unit + least + most;
    return strcmp(key, "count") == 0;
}

static void take_error(void *data, const char *key, const char *message) {
    (void)data;
    note(key);
    note(message);
}

static const struct option_source options = {
    .text = read_text, .number = read_number, .error = take_error};

static bool open_with(const sluice_consumer *wanted, struct error *error) {
    struct instance_conf conf = {
        .name = "/ws/", .space = "test", .plugin = plugin, .options = &options};
    hooks = wanted;
    route = instance_open(&conf, error);
    return route != NULL;
}

static void setup(void) {
    struct error error;
    sluice_host_table = host_table();
    seen[0] = '\0';
    loop = loop_create(5);
    loop_enter(loop);
    ck_assert_msg(plugin_load(TEST_PLUGINS "/puppet.so", -1, sluice_host_table, &plugin, &error),
                  "%s", error.text);
}

static void teardown(void) { loop_free(loop); }

static void pass(uint64_t ms) {
    loop_skip(loop, ms);
    loop_turn(loop, 0);
}

/* --- open and shut --- */

static const char *kept;

static int read_options(sluice_route *of, void **data) {
    (void)data;
    kept = sluice_option_text(of, "greeting", "none");
    ck_assert_str_eq(sluice_option_text(of, "absent", "otherwise"), "otherwise");
    ck_assert_ptr_null(sluice_option_text(of, "absent", NULL));
    ck_assert_int_eq(sluice_option_number(of, "count", SLUICE_MS, 10, 100, -1), 110 + SLUICE_MS);
    ck_assert_int_eq(sluice_option_number(of, "absent", SLUICE_MS, 10, 100, -1), -1);
    sluice_option_error(of, "greeting", "too-warm");
    return 0;
}

static void note_shut(sluice_route *of, void *data) {
    ck_assert_ptr_eq(data, sluice_route_data(of));
    note("shut");
}

START_TEST(options_are_read_in_open_only_and_their_text_lives_on) {
    static const sluice_consumer with_options = {.open = read_options, .shut = note_shut};
    struct error error;
    ck_assert(open_with(&with_options, &error));
    ck_assert_str_eq(seen, "greeting too-warm");
    ck_assert_str_eq(kept, "hello"); /* not what the source has made of its buffer since */
    ck_assert_str_eq(sluice_option_text(route, "greeting", "late"), "late");
    ck_assert_int_eq(sluice_option_number(route, "count", SLUICE_MS, 10, 100, -1), -1);
    sluice_option_error(route, "greeting", "late");
    instance_close(route);
    ck_assert_str_eq(seen, "greeting too-warm shut");
}
END_TEST

static int refuse_open(sluice_route *of, void **data) {
    (void)of;
    (void)data;
    return -7;
}

START_TEST(a_refused_open_has_no_shut_and_says_who_refused) {
    static const sluice_consumer refusing = {.open = refuse_open, .shut = note_shut};
    struct error error;
    ck_assert(!open_with(&refusing, &error));
    ck_assert_str_eq(error.text, "consumer puppet refused to open (-7)");
    ck_assert_str_eq(seen, "");
}
END_TEST

START_TEST(a_shared_one_is_shut_by_its_last_owner) {
    static const sluice_consumer shared = {.shut = note_shut};
    struct error error;
    ck_assert(open_with(&shared, &error));
    ck_assert_ptr_eq(instance_share(route), route);
    ck_assert_ptr_eq(instance_share(route), route);
    instance_close(route);
    instance_close(route);
    ck_assert_str_eq(seen, "");
    ck_assert_str_eq(instance_name(route), "/ws/");
    instance_close(route);
    ck_assert_str_eq(seen, "shut");
    instance_close(NULL);
}
END_TEST

/* --- threads --- */

static int refuse_thread(sluice_thread *thread, sluice_route *of, void **data) {
    (void)thread;
    (void)of;
    (void)data;
    note("refuse");
    return -1;
}

static void note_stop(sluice_thread *thread, void *data) {
    (void)thread;
    (void)data;
    note("stop");
}

START_TEST(a_refused_thread_has_no_stop) {
    static const sluice_consumer refusing = {.thread_start = refuse_thread,
                                             .thread_stop = note_stop};
    struct error error;
    ck_assert(open_with(&refusing, &error));
    ck_assert(!instance_start(route, loop));
    ck_assert_ptr_null(instance_thread(route, loop));
    instance_stop(route, loop);
    ck_assert_str_eq(seen, "refuse");
    instance_close(route);
}
END_TEST

static void note_every(sluice_thread *thread, void *arg) {
    (void)thread;
    note(arg);
}

static int start_timers(sluice_thread *thread, sluice_route *of, void **data) {
    const uint64_t thirty_days = 30ull * 24 * 3600 * 1000;
    (void)of;
    (void)data;
    ck_assert_int_eq(sluice_every(thread, 0, note_every, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_every(thread, thirty_days + 1, note_every, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_every(thread, 1, NULL, NULL), SLUICE_INVALID);
    ck_assert_int_eq(sluice_every(thread, 10000, note_every, (void *)"ten"), SLUICE_OK);
    ck_assert_int_eq(sluice_every(thread, 25000, note_every, (void *)"more"), SLUICE_OK);
    return 0;
}

static void start_one_more(sluice_thread *thread, void *data) {
    note_stop(thread, data);
    ck_assert_int_eq(sluice_every(thread, 1, note_every, (void *)"late"), SLUICE_OK);
}

START_TEST(a_threads_timers_run_again_and_again_until_its_stop) {
    static const sluice_consumer with_timers = {.thread_start = start_timers,
                                                .thread_stop = start_one_more};
    struct error error;
    ck_assert(open_with(&with_timers, &error));
    ck_assert(instance_start(route, loop));
    for (int i = 0; i < 3; i++)
        pass(10000);
    instance_stop(route, loop);
    pass(100000);
    ck_assert_str_eq(seen, "ten ten more ten stop");
    instance_close(route);
}
END_TEST

static int start_many(sluice_thread *thread, sluice_route *of, void **data) {
    int result = SLUICE_OK;
    (void)of;
    (void)data;
    for (int count = 0; count < 64 && result == SLUICE_OK; count++)
        result = sluice_every(thread, 1000, note_every, NULL);
    ck_assert_int_eq(result, SLUICE_OK);
    ck_assert_int_eq(sluice_every(thread, 1000, note_every, NULL), SLUICE_FULL);
    return 0;
}

START_TEST(a_threads_timers_are_bounded) {
    static const sluice_consumer with_many = {.thread_start = start_many};
    struct error error;
    ck_assert(open_with(&with_many, &error));
    ck_assert(instance_start(route, loop));
    instance_stop(route, loop);
    instance_close(route);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("instance");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, options_are_read_in_open_only_and_their_text_lives_on);
    tcase_add_test(all, a_refused_open_has_no_shut_and_says_who_refused);
    tcase_add_test(all, a_shared_one_is_shut_by_its_last_owner);
    tcase_add_test(all, a_refused_thread_has_no_stop);
    tcase_add_test(all, a_threads_timers_run_again_and_again_until_its_stop);
    tcase_add_test(all, a_threads_timers_are_bounded);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
