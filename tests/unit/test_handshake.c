#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "route/handshake.h"

static bool key_valid(const char *key) {
    return handshake_key_valid(h2o_iovec_init(key, strlen(key)));
}

START_TEST(a_key_is_sixteen_bytes_in_base64) {
    ck_assert(key_valid("dGhlIHNhbXBsZSBub25jZQ=="));
    ck_assert(key_valid("AAAAAAAAAAAAAAAAAAAAAA=="));
    ck_assert(key_valid("/+zzzzzzzzzzzzzzzzzzzw=="));
}
END_TEST

START_TEST(other_keys_are_not) {
    static const char *const wrong[] = {"",
                                        "dGhlIHNhbXBsZSBub25jZQ=",
                                        "dGhlIHNhbXBsZSBub25jZQ===",
                                        "dGhlIHNhbXBsZSBub25jZR==", /* bits behind the end */
                                        "dGhlIHNhbXBsZSBub25jZQQQ",
                                        "dGhlIHNhbXBs SBub25jZQ==",
                                        "dGhlIHNhbXBsZSBub25jZQ=a",
                                        "dGhlIHNhbXBsZSBub25j===="};
    ck_assert(!key_valid(wrong[_i]));
}
END_TEST

static bool allowed(const char *rule, const char *origin, const char *authority) {
    char *rules[] = {(char *)rule};
    struct origins origins = {rules, 1};
    return origin_allowed(&origins, h2o_iovec_init(origin, strlen(origin)),
                          h2o_iovec_init(authority, strlen(authority)));
}

static const struct {
    const char *rule, *origin, *authority;
    bool passes;
} cases_of_origin[] = {
    {"same-host", "http://a.example", "a.example", true},
    {"same-host", "https://a.example", "a.example", true}, /* TLS ended before us */
    {"same-host", "http://A.example", "a.EXAMPLE", true},
    {"same-host", "http://a.example:8080", "a.example:8080", true},
    {"same-host", "http://a.example:80", "a.example", true},
    {"same-host", "https://a.example", "a.example:443", true},
    {"same-host", "https://a.example:8443", "a.example:8080", false},
    {"same-host", "http://a.example", "a.example:8080", false},
    {"same-host", "http://b.example", "a.example", false},
    {"same-host", "http://a.example.evil", "a.example", false},
    {"same-host", "http://evil/a.example", "a.example", false},
    {"same-host", "null", "a.example", false},
    {"same-host", "a.example", "a.example", false},
    {"same-host", "", "a.example", false},
    {"same-host", "http://[::1]:9", "[::1]:9", true},
    {"*", "http://b.example", "a.example", true},
    {"*", "null", "a.example", true},
    {"null", "null", "a.example", true},
    {"null", "http://a.example", "a.example", false},
    {"https://b.example", "https://b.example", "a.example", true},
    {"https://b.example", "https://B.example", "a.example", true},
    {"https://b.example", "http://b.example", "a.example", false},
    {"https://b.example", "https://b.example:8443", "a.example", false},
    {"https://b.example", "https://b.example.evil", "a.example", false},
};

START_TEST(origins_pass_as_their_rule_says) {
    ck_assert_msg(allowed(cases_of_origin[_i].rule, cases_of_origin[_i].origin,
                          cases_of_origin[_i].authority) == cases_of_origin[_i].passes,
                  "%s, %s on %s", cases_of_origin[_i].rule, cases_of_origin[_i].origin,
                  cases_of_origin[_i].authority);
}
END_TEST

START_TEST(any_of_several_rules_will_do_and_none_refuses) {
    char *rules[] = {"same-host", "https://b.example"};
    struct origins two = {rules, 2}, none = {rules, 0};
    h2o_iovec_t origin = h2o_iovec_init(H2O_STRLIT("https://b.example"));
    h2o_iovec_t authority = h2o_iovec_init(H2O_STRLIT("a.example"));
    ck_assert(origin_allowed(&two, origin, authority));
    ck_assert(!origin_allowed(&none, origin, authority));
}
END_TEST

int main(void) {
    TCase *cases = tcase_create("handshake");
    tcase_add_test(cases, a_key_is_sixteen_bytes_in_base64);
    tcase_add_loop_test(cases, other_keys_are_not, 0, 8);
    tcase_add_loop_test(cases, origins_pass_as_their_rule_says, 0,
                        (int)(sizeof(cases_of_origin) / sizeof(cases_of_origin[0])));
    tcase_add_test(cases, any_of_several_rules_will_do_and_none_refuses);
    Suite *suite = suite_create("handshake");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
