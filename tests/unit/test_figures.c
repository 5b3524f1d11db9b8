#include "observe/figures.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/counters.h"
#include "observe/page.h"
#include "observe/text.h"

static struct text text;

static void expect(const char *wanted) {
    ck_assert_msg(strstr(text.bytes, wanted) != NULL, "no %s in %s", wanted, text.bytes);
}

static void tear_down(void) { text_free(&text); }

START_TEST(a_text_grows_as_it_is_written) {
    for (int i = 0; i < 10000; i++)
        text_add(&text, "%d,", i);
    ck_assert_uint_eq(text.size, 48890);
    ck_assert_uint_eq(strlen(text.bytes), text.size);
    ck_assert_str_eq(text.bytes + text.size - 10, "9998,9999,");
}
END_TEST

START_TEST(what_would_end_a_string_is_escaped) {
    text_add_label(&text, "a\"b\\c\nd\xc3\xa4\t");
    ck_assert_str_eq(text.bytes, "\"a\\\"b\\\\c\\nd\xc3\xa4\t\"");
    text_free(&text);
    text_add_json(&text, "a\"b\\c\nd\xc3\xa4\x01");
    ck_assert_str_eq(text.bytes, "\"a\\\"b\\\\c\\u000ad\xc3\xa4\\u0001\"");
}
END_TEST

static void count_all(void) {
    counters_enter(0);
    counters_add(COUNTER_CONNECTIONS_OPENED, 5);
    counters_add(COUNTER_CONNECTIONS_ENDED, 2);
    counters_add(COUNTER_REFUSED_PATH, 4);
    counters_handshake(403);
    counters_close(4001);
    struct counters_route *route = counters_of_route(counters_route("^a\"(?<b>\\w)$", "echo"));
    counters_raise(&route->hook_calls, 3);
    counters_raise(&route->hook_ns, 12004000000);
    counters_raise(&route->opened, 9);
    counters_raise(&route->ended, 1);
    struct page_life *life = &page_get()->life;
    atomic_store(&life->reloads, 6);
    atomic_store(&life->refusals, 7);
    atomic_store(&life->restarts, 8);
    atomic_store(&life->generation, 9);
    counters_set_transport("calls");
    figures_set_library("2.2.5");
}

START_TEST(prometheus_gets_what_was_counted) {
    count_all();
    figures_write_prometheus(&text);
    expect("# TYPE sluice_connections gauge\nsluice_connections 3\n");
    expect(
        "# TYPE sluice_connections_accepted_total counter\nsluice_connections_accepted_total 5\n");
    expect("\nsluice_refused_total{cause=\"path\"} 4\n");
    expect("\nsluice_handshakes_total{code=\"101\"} 0\nsluice_handshakes_total{code=\"403\"} 1\n");
    expect("\nsluice_closes_total{code=\"4000-4999\"} 1\n");
    expect("\nsluice_hook_calls_total{route=\"^a\\\"(?<b>\\\\w)$\",consumer=\"echo\"} 3\n");
    expect("\nsluice_hook_seconds_total{route=\"^a\\\"(?<b>\\\\w)$\",consumer=\"echo\"} "
           "12.004000000\n");
    expect("\nsluice_route_websockets{route=\"^a\\\"(?<b>\\\\w)$\",consumer=\"echo\"} 8\n");
    expect("\nsluice_reloads_total{result=\"accepted\"} "
           "6\nsluice_reloads_total{result=\"refused\"} 7\n");
    expect("\nsluice_restarts_total 8\n");
    expect("\nsluice_generation 9\n");
    expect("\nsluice_transport_info{io=\"calls\"} 1\n");
    expect("\nsluice_build_info{version=\"" SLUICE_VERSION "\",libh2o=\"2.2.5\"} 1\n");
    ck_assert(strstr(text.bytes, "others") == NULL);
    ck_assert_int_eq(text.bytes[text.size - 1], '\n');
}
END_TEST

START_TEST(json_gets_the_same) {
    count_all();
    figures_write_json(&text);
    expect("{\"connections\":3,\n\"connections_accepted\":5,");
    expect("\"path\":4,");
    expect("\n\"handshakes\":{\"403\":1},");
    expect("\"4000-4999\":1,");
    expect("{\"route\":\"^a\\\"(?<b>\\\\w)$\",\"consumer\":\"echo\",\"route_websockets\":8,"
           "\"hook_calls\":3,\"hook_seconds\":12.004000000,\"hooks_over_budget\":0}]");
    expect("\n\"reloads\":{\"accepted\":6,\"refused\":7},\n\"restarts\":8,\n\"generation\":9,");
    ck_assert_int_eq(text.bytes[text.size - 1], '}');
}
END_TEST

START_TEST(routes_without_a_place_are_told_together) {
    char name[16];
    for (unsigned i = 1; i < COUNTERS_ROUTES; i++) {
        snprintf(name, sizeof(name), "/%u", i);
        counters_route(name, "echo");
    }
    counters_raise(&counters_of_route(counters_route("/more", "echo"))->hook_calls, 2);
    figures_write_prometheus(&text);
    expect("\nsluice_hook_calls_total{route=\"others\",consumer=\"others\"} 2\n");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("figures");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, NULL, tear_down);
    tcase_add_test(all, a_text_grows_as_it_is_written);
    tcase_add_test(all, what_would_end_a_string_is_escaped);
    tcase_add_test(all, prometheus_gets_what_was_counted);
    tcase_add_test(all, json_gets_the_same);
    tcase_add_test(all, routes_without_a_place_are_told_together);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
