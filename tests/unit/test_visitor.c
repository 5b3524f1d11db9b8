#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/visitor.h"
#include "loop/loop.h"
#include "observe/limits.h"

static struct loop *loop;

static void setup(void) {
    loop = loop_create(0);
    loop_enter(loop);
    visitors_create(64);
}

static void teardown(void) {
    visitors_free();
    loop_free(loop);
}

static const struct sockaddr *address(const char *text) {
    static struct sockaddr_in6 v6;
    static struct sockaddr_in v4;
    v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = 7};
    v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = 9};
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        return (const struct sockaddr *)&v6;
    ck_assert_int_eq(inet_pton(AF_INET, text, &v4.sin_addr), 1);
    return (const struct sockaddr *)&v4;
}

/* Addresses without number. */
static const struct sockaddr *numbered(unsigned number) {
    static _Thread_local struct sockaddr_in v4;
    v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(0x0a000000u + number)}};
    return (const struct sockaddr *)&v4;
}

static struct visit *come(const char *text, const void *scope, uint32_t most) {
    struct visit *visit;
    ck_assert(visit_begin(&visit, address(text), scope, most));
    ck_assert_ptr_nonnull(visit);
    return visit;
}

static bool is_refused(const char *text, const void *scope, uint32_t most) {
    struct visit *visit;
    bool is_welcome = visit_begin(&visit, address(text), scope, most);
    ck_assert(is_welcome == (visit != NULL));
    visit_end(visit);
    return !is_welcome;
}

START_TEST(an_address_has_so_many_connections_and_no_more) {
    struct visit *first = come("192.0.2.1", NULL, 2), *second = come("192.0.2.1", NULL, 2);
    ck_assert(is_refused("192.0.2.1", NULL, 2));
    ck_assert(!is_refused("192.0.2.2", NULL, 2));
    visit_end(first);
    ck_assert(!is_refused("192.0.2.1", NULL, 2));
    visit_end(second);
}
END_TEST

START_TEST(a_visit_lasts_until_its_last_holder_ends_it) {
    struct visit *visit = come("192.0.2.1", NULL, 1);
    ck_assert_ptr_eq(visit_share(visit), visit);
    visit_end(visit);
    ck_assert(is_refused("192.0.2.1", NULL, 1));
    visit_end(visit);
    ck_assert(!is_refused("192.0.2.1", NULL, 1));
}
END_TEST

START_TEST(scopes_count_apart) {
    int route;
    struct visit *server = come("192.0.2.1", NULL, 1), *one = come("192.0.2.1", &route, 1);
    ck_assert(is_refused("192.0.2.1", NULL, 1));
    ck_assert(is_refused("192.0.2.1", &route, 1));
    visit_end(one);
    ck_assert(is_refused("192.0.2.1", NULL, 1));
    ck_assert(!is_refused("192.0.2.1", &route, 1));
    visit_end(server);
}
END_TEST

START_TEST(an_ipv6_client_is_its_64) {
    struct visit *visit = come("2001:db8:1:2::1", NULL, 1);
    ck_assert(is_refused("2001:db8:1:2:ffff::9", NULL, 1));
    ck_assert(!is_refused("2001:db8:1:3::1", NULL, 1));
    visit_end(visit);
}
END_TEST

START_TEST(an_ipv4_client_is_the_same_by_an_ipv6_socket) {
    struct visit *visit = come("::ffff:192.0.2.1", NULL, 1);
    ck_assert(is_refused("192.0.2.1", NULL, 1));
    ck_assert(!is_refused("::ffff:192.0.2.2", NULL, 1));
    visit_end(visit);
}
END_TEST

START_TEST(who_has_no_address_is_not_counted) {
    struct sockaddr nobody = {.sa_family = AF_UNIX};
    struct visit *visit;
    const struct arrival_rates rates = {.an_address = 1};
    for (int i = 0; i < 3; i++) {
        ck_assert(visit_begin(&visit, &nobody, NULL, 1));
        ck_assert_ptr_null(visit);
        ck_assert_int_eq(visitors_arrive(&nobody, &rates, 5), ARRIVAL_WELCOME);
    }
}
END_TEST

/* 64 connections in two scopes each were asked for. */
START_TEST(as_many_as_it_was_made_for_are_all_counted) {
    static struct visit *visits[2][64];
    int route;
    uint64_t before = limits_hits(LIMIT_ADDRESSES_FULL);
    for (unsigned i = 0; i < 64; i++) {
        ck_assert(visit_begin(&visits[0][i], numbered(i), NULL, 1));
        ck_assert(visit_begin(&visits[1][i], numbered(i), &route, 1));
        ck_assert(visits[0][i] != NULL && visits[1][i] != NULL);
    }
    ck_assert_uint_eq(limits_hits(LIMIT_ADDRESSES_FULL), before);
    for (unsigned i = 0; i < 64; i++) {
        visit_end(visits[0][i]);
        visit_end(visits[1][i]);
    }
}
END_TEST

/* 16 times (64 * 4 / 16 + 256) places. */
#define PLACES 4352

START_TEST(the_table_never_grows_and_who_does_not_fit_is_let_in) {
    static struct visit *visits[PLACES * 2];
    uint64_t before = limits_hits(LIMIT_ADDRESSES_FULL);
    unsigned counted = 0;
    for (unsigned i = 0; i < PLACES * 2; i++) {
        ck_assert(visit_begin(&visits[i], numbered(i), NULL, 1));
        counted += visits[i] != NULL;
    }
    ck_assert_uint_le(counted, PLACES);
    ck_assert_uint_eq(limits_hits(LIMIT_ADDRESSES_FULL) - before, PLACES * 2 - counted);
    for (unsigned i = 0; i < PLACES * 2; i++)
        visit_end(visits[i]);
    ck_assert(!is_refused("192.0.2.1", NULL, 1));
}
END_TEST

START_TEST(addresses_whose_second_is_over_make_room) {
    const struct arrival_rates rates = {.an_address = 1};
    struct visit *visit = come("192.0.2.1", NULL, 1);
    uint64_t before = limits_hits(LIMIT_ADDRESSES_FULL);
    for (unsigned i = 0; i < PLACES * 20; i++)
        ck_assert_int_eq(visitors_arrive(numbered(i), &rates, 1 + i), ARRIVAL_WELCOME);
    ck_assert_uint_eq(limits_hits(LIMIT_ADDRESSES_FULL), before);
    ck_assert_msg(is_refused("192.0.2.1", NULL, 1), "a connection was forgotten");
    visit_end(visit);
}
END_TEST

START_TEST(an_address_may_come_so_often_in_a_second) {
    const struct arrival_rates rates = {.an_address = 2};
    ck_assert_int_eq(visitors_arrive(address("192.0.2.1"), &rates, 5000), ARRIVAL_WELCOME);
    ck_assert_int_eq(visitors_arrive(address("192.0.2.1"), &rates, 5000), ARRIVAL_WELCOME);
    ck_assert_int_eq(visitors_arrive(address("192.0.2.1"), &rates, 5000), ARRIVAL_TOO_OFTEN);
    ck_assert_int_eq(visitors_arrive(address("192.0.2.2"), &rates, 5000), ARRIVAL_WELCOME);
    ck_assert_int_eq(visitors_arrive(address("192.0.2.1"), &rates, 5499), ARRIVAL_TOO_OFTEN);
    ck_assert_int_eq(visitors_arrive(address("192.0.2.1"), &rates, 5500), ARRIVAL_WELCOME);
    ck_assert_int_eq(visitors_arrive(address("192.0.2.1"), &rates, 5500), ARRIVAL_TOO_OFTEN);
}
END_TEST

START_TEST(all_together_may_come_so_often_too) {
    const struct arrival_rates rates = {.all = 3, .an_address = 2};
    ck_assert_int_eq(visitors_arrive(numbered(1), &rates, 5000), ARRIVAL_WELCOME);
    ck_assert_int_eq(visitors_arrive(numbered(1), &rates, 5000), ARRIVAL_WELCOME);
    for (int i = 0; i < 10; i++) /* takes nothing of what all have */
        ck_assert_int_eq(visitors_arrive(numbered(1), &rates, 5000), ARRIVAL_TOO_OFTEN);
    ck_assert_int_eq(visitors_arrive(numbered(2), &rates, 5000), ARRIVAL_WELCOME);
    ck_assert_int_eq(visitors_arrive(numbered(3), &rates, 5000), ARRIVAL_TOO_MANY);
    ck_assert_int_eq(visitors_arrive(numbered(4), &rates, 6000), ARRIVAL_WELCOME);
}
END_TEST

/* --- several threads --- */

#define ROUNDS 20000

static atomic_uint most_at_once, at_once;

static void *come_and_go(void *arg) {
    struct loop *own = arg;
    struct visit *visit;
    loop_enter(own);
    for (int i = 0; i < ROUNDS; i++) {
        if (!visit_begin(&visit, numbered(1), NULL, 2))
            continue;
        unsigned now = atomic_fetch_add(&at_once, 1) + 1;
        if (now > atomic_load(&most_at_once))
            atomic_store(&most_at_once, now);
        atomic_fetch_sub(&at_once, 1);
        visit_end(visit);
    }
    return NULL;
}

START_TEST(the_limit_holds_over_all_threads) {
    pthread_t threads[4];
    struct loop *loops[4];
    for (unsigned i = 0; i < 4; i++) {
        loops[i] = loop_create(i + 1);
        pthread_create(&threads[i], NULL, come_and_go, loops[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        loop_free(loops[i]);
    }
    ck_assert_uint_le(most_at_once, 2);
    ck_assert(!is_refused("10.0.0.1", NULL, 1));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("visitor");
    TCase *tests = tcase_create("visitor");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, an_address_has_so_many_connections_and_no_more);
    tcase_add_test(tests, a_visit_lasts_until_its_last_holder_ends_it);
    tcase_add_test(tests, scopes_count_apart);
    tcase_add_test(tests, an_ipv6_client_is_its_64);
    tcase_add_test(tests, an_ipv4_client_is_the_same_by_an_ipv6_socket);
    tcase_add_test(tests, who_has_no_address_is_not_counted);
    tcase_add_test(tests, as_many_as_it_was_made_for_are_all_counted);
    tcase_add_test(tests, the_table_never_grows_and_who_does_not_fit_is_let_in);
    tcase_add_test(tests, addresses_whose_second_is_over_make_room);
    tcase_add_test(tests, an_address_may_come_so_often_in_a_second);
    tcase_add_test(tests, all_together_may_come_so_often_too);
    tcase_add_test(tests, the_limit_holds_over_all_threads);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
