#include "observe/counters.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ADDS 100000

static void *count(void *index) {
    counters_enter(*(unsigned *)index);
    for (int i = 0; i < ADDS; i++) {
        counters_add(COUNTER_MESSAGES_IN, 1);
        counters_add(COUNTER_BYTES_IN, 3);
    }
    counters_set(COUNTER_GROUPS, 5);
    counters_set(COUNTER_GROUPS, *(unsigned *)index);
    return NULL;
}

/* Reads while they write: a sum never falls. */
START_TEST(threads_count_apart_and_are_added_up) {
    unsigned indexes[] = {0, 1, 255};
    pthread_t threads[3];
    uint64_t last = 0;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, &indexes[i]), 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = COUNTERS_SUM_OF(values, COUNTER_MESSAGES_IN);
        ck_assert_uint_ge(now, last);
        last = now;
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(COUNTERS_SUM_OF(values, COUNTER_MESSAGES_IN), 3 * ADDS);
    ck_assert_uint_eq(COUNTERS_SUM_OF(values, COUNTER_BYTES_IN), 9 * ADDS);
    ck_assert_uint_eq(COUNTERS_SUM_OF(values, COUNTER_GROUPS), 256);
    ck_assert_uint_eq(COUNTERS_SUM_OF(values, COUNTER_NONE), 0);
    ck_assert_uint_eq(counters_threads(), 3);
    ck_assert_uint_gt(counters_started(), 1000000000);
}
END_TEST

START_TEST(a_block_is_its_loops_whichever_thread_has_entered_it) {
    unsigned index = 7;
    pthread_t thread;
    counters_add(COUNTER_MESSAGES_IN, 1); /* in no loop: counted all the same */
    ck_assert_int_eq(pthread_create(&thread, NULL, count, &index), 0);
    pthread_join(thread, NULL);
    counters_enter(7);
    counters_add(COUNTER_MESSAGES_IN, 1);
    ck_assert_uint_eq(counters_own->values[COUNTER_MESSAGES_IN], ADDS + 1);
    ck_assert_uint_eq(COUNTERS_SUM_OF(values, COUNTER_MESSAGES_IN), ADDS + 2);
    ck_assert_uint_eq(counters_threads(), 1);
}
END_TEST

static const struct {
    int code;
    unsigned place;
} closes[] = {{1000, 0},  {1006, 6},  {1015, 15}, {1016, 18}, {999, 18}, {2999, 18}, {3000, 16},
              {3999, 16}, {4000, 17}, {4999, 17}, {5000, 18}, {-1, 18},  {65535, 18}};

START_TEST(a_close_code_has_its_place) {
    counters_close(closes[_i].code);
    for (unsigned place = 0; place < COUNTERS_CLOSES; place++)
        ck_assert_uint_eq(COUNTERS_SUM_OF(closes, place), place == closes[_i].place);
}
END_TEST

START_TEST(statuses_out_of_range_are_left_out) {
    static const int wrong[] = {-1, 0, 99, 600, 65536};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        counters_response(wrong[i]);
        counters_handshake(wrong[i]);
    }
    counters_response(100);
    counters_response(599);
    counters_handshake(101);
    for (unsigned place = 0; place < COUNTERS_STATUSES; place++) {
        ck_assert_uint_eq(COUNTERS_SUM_OF(responses, place),
                          place == 0 || place == COUNTERS_STATUSES - 1);
        ck_assert_uint_eq(COUNTERS_SUM_OF(handshakes, place), place == 1);
    }
    ck_assert_uint_eq(counters_own->closes[0], 0); /* nothing was written beside */
}
END_TEST

START_TEST(a_route_has_one_place_with_each_consumer) {
    unsigned first = counters_route("/a/", "echo"), second = counters_route("/a/", "relay");
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_ne(first, second);
    ck_assert_uint_eq(counters_route("/a/", "echo"), first);
    ck_assert_str_eq(counters_route_name(second), "/a/");
    ck_assert_str_eq(counters_route_consumer(second), "relay");
}
END_TEST

START_TEST(too_many_routes_share_the_first_place) {
    char name[16];
    for (unsigned i = 1; i < COUNTERS_ROUTES; i++) {
        snprintf(name, sizeof(name), "/%u", i);
        ck_assert_uint_eq(counters_route(name, "echo"), i);
    }
    ck_assert_uint_eq(counters_route("/more", "echo"), 0);
    ck_assert_uint_eq(counters_route("/7", "echo"), 7);
    ck_assert_uint_eq(counters_route_count(), COUNTERS_ROUTES);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("counters");
    TCase *all = tcase_create("all");
    tcase_add_test(all, threads_count_apart_and_are_added_up);
    tcase_add_test(all, a_block_is_its_loops_whichever_thread_has_entered_it);
    tcase_add_loop_test(all, a_close_code_has_its_place, 0, sizeof(closes) / sizeof(*closes));
    tcase_add_test(all, statuses_out_of_range_are_left_out);
    tcase_add_test(all, a_route_has_one_place_with_each_consumer);
    tcase_add_test(all, too_many_routes_share_the_first_place);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
