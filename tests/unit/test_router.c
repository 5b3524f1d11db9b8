#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "route/router.h"

static struct router *router;

static void setup(void) { router = router_create(); }

static void teardown(void) { router_free(router); }

static const struct route *add(const char *pattern) {
    struct error error = {""};
    long offset;
    struct route_conf conf = {.pattern = pattern, .place = "test.yaml:7"};
    const struct route *route = router_add(router, &conf, &error, &offset);
    ck_assert_msg(route != NULL, "%s: %s", pattern, error.text);
    return route;
}

static const struct route *find(const char *path) {
    return router_find(router, path, strlen(path), NULL, NULL);
}

START_TEST(the_first_pattern_that_matches_wins) {
    const struct route *one = add("/ws/lobby/"), *two = add("/ws/(?P<group>\\w+)/");
    ck_assert_ptr_eq(find("/ws/lobby/"), one);
    ck_assert_ptr_eq(find("/ws/garden/"), two);
    ck_assert_ptr_null(find("/ws/"));
    ck_assert_ptr_null(find(""));
    ck_assert_uint_eq(router_count(router), 2);
    ck_assert_str_eq(route_pattern(two), "/ws/(?P<group>\\w+)/");
    ck_assert_str_eq(route_place(two), "test.yaml:7");
}
END_TEST

static void remember(void *arg, const char *name, const char *value, size_t size) {
    char *text = arg;
    strcat(strcat(text, name == NULL ? "-" : name), "=");
    strncat(text, value, size);
    strcat(text, ";");
}

START_TEST(captures_are_told_in_order) {
    char text[128] = "";
    add("/qr/ID=(?P<id>\\d+)/(x)?(y)");
    const char *path = "/qr/ID=5/y";
    ck_assert_ptr_nonnull(router_find(router, path, strlen(path), remember, text));
    ck_assert_str_eq(text, "id=5;-=y;");
}
END_TEST

static const struct {
    const char *earlier, *later;
    bool is_shadowed;
} pairs[] = {
    {"/ws/(?P<group>\\w+)/", "/ws/(?P<group>\\w+)/", true},
    {"/ws/(?P<group>\\w+)/", "^ws/lobby/$", true},
    {"/ws/.*", "/ws/(?P<group>\\w+)/", true},
    {"/ws/[^/]+/", "/ws/(a|b|c)/", true},
    {".*", "/anything/[0-9]{4}", true},
    {"/ws/lobby/", "/ws/(?P<group>\\w+)/", false},
    {"/ws/(a|b)/", "/ws/(a|b|c)/", false},
    {"/ws/\\d+/", "/ws/\\w+/", false},
    {"/ws/[a-m]+/", "/ws/[a-z]+/", false},
    {"/ws/\\w+", "/ws/\\w+/", false},
    {"/ws/x/", "/ws/x{1,3}/", false},
    {"/ws/\\w+/", "/ws/(?!no)\\w+/", false}, /* beyond the examples: no warning */
};

START_TEST(a_route_behind_one_that_takes_all_is_shadowed) {
    const struct route *earlier = add(pairs[_i].earlier);
    const struct route *later = add(pairs[_i].later);
    ck_assert_msg((router_shadows(router, later) == earlier) == pairs[_i].is_shadowed,
                  "%s before %s", pairs[_i].earlier, pairs[_i].later);
    ck_assert_ptr_null(router_shadows(router, earlier));
}
END_TEST

START_TEST(a_refused_route_leaves_the_table_as_it_was) {
    struct error error = {""};
    long offset;
    struct route_conf conf = {.pattern = "/ws/(", .place = "test.yaml:9"};
    add("/ws/");
    ck_assert_ptr_null(router_add(router, &conf, &error, &offset));
    ck_assert_int_eq(offset, 5);
    ck_assert_uint_eq(router_count(router), 1);
    ck_assert(!router_check_pattern("/ws/(", &error, &offset));
    ck_assert(router_check_pattern("/ws/()", &error, &offset));
}
END_TEST

int main(void) {
    TCase *cases = tcase_create("router");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, the_first_pattern_that_matches_wins);
    tcase_add_test(cases, captures_are_told_in_order);
    tcase_add_loop_test(cases, a_route_behind_one_that_takes_all_is_shadowed, 0,
                        (int)(sizeof(pairs) / sizeof(pairs[0])));
    tcase_add_test(cases, a_refused_route_leaves_the_table_as_it_was);
    Suite *suite = suite_create("router");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
