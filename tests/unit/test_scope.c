#include "consumer/scope.h"

#include <check.h>
#include <sluice/consumer.h>
#include <stdlib.h>
#include <string.h>

#include "support/fake_request.h"

static struct fake_request fake;
static char packed[200]; /* as a connection keeps it */

static const char *const names[] = {NULL, "group", NULL, "user"};
static const struct capture_names capture_names = {names, 4};

static void open_scope(void) {
    const h2o_iovec_t values[] = {{H2O_STRLIT("ws/kitchen/7/")},
                                  {H2O_STRLIT("kitchen")},
                                  {H2O_STRLIT("")},
                                  {NULL, 0}}; /* took no part */
    size_t size;
    const char *made = scope_pack(&fake.req, &capture_names, values, &size);
    ck_assert_uint_le(size, sizeof(packed));
    memcpy(packed, made, size);
}

static void ask(const char *target) {
    fake_request_init(&fake, "GET", target);
    open_scope();
}

static void end(void) { fake_request_dispose(&fake); }

static void expect(const char *got, const char *wanted, const char *what) {
    ck_assert_msg((got == NULL) == (wanted == NULL) && (got == NULL || strcmp(got, wanted) == 0),
                  "%s: %s, not %s", what, got == NULL ? "(none)" : got,
                  wanted == NULL ? "(none)" : wanted);
}

static void expect_value(int what, const char *name, const char *wanted) {
    expect(scope_get(&fake.req, what, name), wanted, name == NULL ? "it" : name);
}

/* --- captures --- */

static const struct {
    const char *name, *value;
} params[] = {{"group", "kitchen"}, {"0", "ws/kitchen/7/"},
              {"1", "kitchen"},     {"2", ""},
              {"3", NULL},          {"user", NULL},
              {"4", NULL},          {"99999999999999999999999", NULL},
              {"-1", NULL},         {"+1", NULL},
              {" 1", NULL},         {"1 ", NULL},
              {"Group", NULL},      {"", NULL},
              {NULL, NULL}};

START_TEST(captures_are_found_by_name_and_number) {
    ask("/");
    expect(scope_param(packed, &capture_names, params[_i].name), params[_i].value,
           params[_i].name == NULL ? "NULL" : params[_i].name);
    end();
}
END_TEST

/* --- the query --- */

static const struct {
    const char *target, *name, *value;
} queries[] = {{"/p?a=1&b=2", "a", "1"},
               {"/p?a=%ff", "a", NULL}, /* no UTF-8 */
               {"/p?a=%e6%88%bf", "a", "\u623f"},
               {"/p?a=1&b=2", "b", "2"},
               {"/p?a=1&b=2", "c", NULL},
               {"/p?a=1&b=2", NULL, "a=1&b=2"},
               {"/p?a=1&a=2", "a", "1"},
               {"/p?aa=1&a=2", "a", "2"},
               {"/p?a", "a", ""},
               {"/p?a&b=1", "b", "1"},
               {"/p?a=", "a", ""},
               {"/p?a=b=c", "a", "b=c"},
               {"/p?a=x+y%20z%2B", "a", "x y z+"},
               {"/p?%61%20b=1", "a b", "1"},
               {"/p?a=%c3%a4%C3%84", "a", "\xc3\xa4\xc3\x84"},
               {"/p?a=%4", "a", "%4"},
               {"/p?a=%", "a", "%"},
               {"/p?a=%zz", "a", "%zz"},
               {"/p?a=%26b%3d1", "a", "&b=1"},
               {"/p?a=x%00y", "a", NULL},
               {"/p?a%00=1&a=2", "a", "2"},
               {"/p?&&a=1&", "a", "1"},
               {"/p?", "a", NULL},
               {"/p", "a", NULL},
               {"/p", NULL, NULL},
               {"/p?=x", "", "x"}};

START_TEST(a_parameter_is_decoded_once_and_the_first_of_a_name_counts) {
    ask(queries[_i].target);
    expect_value(SLUICE_QUERY, queries[_i].name, queries[_i].value);
    end();
}
END_TEST

/* --- headers and cookies --- */

static void ask_with_headers(void) {
    fake_request_init(&fake, "POST", "/a%20b/../c?x");
    fake_request_header(&fake, "x-one", "1");
    fake_request_header(&fake, "x-many", "a");
    fake_request_header(&fake, "x-other", "-");
    fake_request_header(&fake, "x-many", "b, c");
    fake_request_header(&fake, "x-many", "");
    fake_request_header(&fake, "cookie", "first=1; second = 2;third=;first=again;  name=a=b");
    fake_request_header(&fake, "cookie", "fourth=4; first=late");
    open_scope();
}

START_TEST(headers_of_one_name_are_joined) {
    ask_with_headers();
    expect_value(SLUICE_HEADER, "x-one", "1");
    expect_value(SLUICE_HEADER, "X-One", "1");
    expect_value(SLUICE_HEADER, "x-many", "a, b, c, ");
    expect_value(SLUICE_HEADER, "x-on", NULL);
    expect_value(SLUICE_HEADER, "x-none", NULL);
    expect_value(SLUICE_HEADER, "", NULL);
    expect_value(SLUICE_HEADER, NULL, NULL);
    expect_value(SLUICE_HEADER, "Host", "a.example");
    end();
}
END_TEST

START_TEST(a_request_without_a_host_has_none) {
    fake_request_init(&fake, "GET", "/");
    fake.req.input.authority = h2o_iovec_init(NULL, 0);
    open_scope();
    expect_value(SLUICE_HEADER, "host", NULL);
    expect_value(SLUICE_HOST, NULL, NULL);
    end();
}
END_TEST

static const struct {
    const char *name, *value;
} cookies[] = {{"first", "1"}, {"third", ""},  {"fourth", "4"}, {"name", "a=b"}, {"second", NULL},
               {"fir", NULL},  {"irst", NULL}, {"First", NULL}, {"", NULL},      {NULL, NULL}};

START_TEST(a_cookie_is_found_by_its_whole_name) {
    ask_with_headers();
    expect_value(SLUICE_COOKIE, cookies[_i].name, cookies[_i].value);
    end();
}
END_TEST

START_TEST(path_method_host_and_scheme_are_the_clients) {
    ask_with_headers();
    expect_value(SLUICE_PATH, NULL, "/c");
    expect_value(SLUICE_METHOD, NULL, "POST");
    expect_value(SLUICE_HOST, NULL, "a.example");
    expect_value(SLUICE_SCHEME, NULL, "http");
    expect_value(SLUICE_BODY, NULL, NULL);
    expect_value(0, NULL, NULL);
    expect_value(1000, NULL, NULL);
    end();
}
END_TEST

/* --- subprotocols --- */

static const struct {
    const char *sent, *more, *listed;
} offers[] = {{"one", NULL, "one"},
              {"one,two", NULL, "one, two"},
              {"  one ,\ttwo  ", "three", "one, two, three"},
              {"one,,two,", NULL, "one, two"},
              {",", NULL, ""},
              {NULL, NULL, NULL}};

START_TEST(offered_subprotocols_are_listed_in_one_form) {
    fake_request_init(&fake, "GET", "/");
    if (offers[_i].sent != NULL)
        fake_request_header(&fake, "sec-websocket-protocol", offers[_i].sent);
    if (offers[_i].more != NULL)
        fake_request_header(&fake, "sec-websocket-protocol", offers[_i].more);
    open_scope();
    expect_value(SLUICE_OFFERED, NULL, offers[_i].listed);
    end();
}
END_TEST

START_TEST(only_what_the_client_listed_is_offered) {
    fake_request_init(&fake, "GET", "/");
    open_scope();
    ck_assert(!scope_offers(&fake.req, "one"));
    end();
    fake_request_init(&fake, "GET", "/");
    fake_request_header(&fake, "sec-websocket-protocol", "one,two");
    fake_request_header(&fake, "sec-websocket-protocol", "three");
    open_scope();
    ck_assert(!scope_offers(&fake.req, "on"));
    ck_assert(!scope_offers(&fake.req, "One"));
    ck_assert(!scope_offers(&fake.req, "one,two"));
    ck_assert(!scope_offers(&fake.req, ""));
    ck_assert(!scope_offers(NULL, "two"));
    ck_assert(scope_offers(&fake.req, "two"));
    ck_assert(scope_offers(&fake.req, "three"));
    end();
}
END_TEST

/* --- the peer --- */

static const struct {
    int family;
    const char *address;
    int port;
    const char *shown;
} peers[] = {{AF_INET, "192.0.2.7", 443, "192.0.2.7:443"},
             {AF_INET6, "2001:db8::1", 65535, "[2001:db8::1]:65535"},
             {AF_INET6, "::ffff:192.0.2.7", 1, "[::ffff:192.0.2.7]:1"},
             {AF_UNIX, NULL, 0, "unix"}};

START_TEST(a_peer_is_shown_as_address_and_port) {
    fake_request_init(&fake, "GET", "/");
    fake_request_peer(&fake, peers[_i].family, peers[_i].address, peers[_i].port);
    open_scope();
    expect(scope_peer(packed, &capture_names), peers[_i].shown, "peer");
    end();
}
END_TEST

START_TEST(a_peer_that_is_not_known_is_no_fault) {
    fake_request_init(&fake, "GET", "/");
    fake.peer_size = 0;
    open_scope();
    expect(scope_peer(packed, &capture_names), "unix", "peer");
    end();
}
END_TEST

/* --- what lives on --- */

START_TEST(captures_and_peer_outlive_the_request) {
    ask("/p?a=1");
    fake_request_dispose(&fake);
    for (int what = SLUICE_PATH; what <= SLUICE_SCHEME; what++)
        ck_assert_ptr_null(scope_get(NULL, what, "a"));
    expect(scope_param(packed, &capture_names, "group"), "kitchen", "group");
    expect(scope_peer(packed, &capture_names), "192.0.2.1:5000", "peer");
}
END_TEST

START_TEST(a_capture_ends_at_a_nul) {
    const h2o_iovec_t values[] = {{H2O_STRLIT("a\0b")}, {H2O_STRLIT("\0")}, {NULL, 0}, {NULL, 0}};
    size_t size;
    fake_request_init(&fake, "GET", "/");
    const char *made = scope_pack(&fake.req, &capture_names, values, &size);
    expect(scope_param(made, &capture_names, "0"), "a", "0");
    expect(scope_param(made, &capture_names, "group"), "", "group");
    expect(scope_param(made, &capture_names, "2"), NULL, "2");
    expect(scope_peer(made, &capture_names), "192.0.2.1:5000", "peer");
    end();
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void) {
    Suite *suite = suite_create("scope");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, captures_are_found_by_name_and_number, 0, COUNT(params));
    tcase_add_loop_test(all, a_parameter_is_decoded_once_and_the_first_of_a_name_counts, 0,
                        COUNT(queries));
    tcase_add_test(all, headers_of_one_name_are_joined);
    tcase_add_test(all, a_request_without_a_host_has_none);
    tcase_add_loop_test(all, a_cookie_is_found_by_its_whole_name, 0, COUNT(cookies));
    tcase_add_test(all, path_method_host_and_scheme_are_the_clients);
    tcase_add_loop_test(all, offered_subprotocols_are_listed_in_one_form, 0, COUNT(offers));
    tcase_add_test(all, only_what_the_client_listed_is_offered);
    tcase_add_loop_test(all, a_peer_is_shown_as_address_and_port, 0, COUNT(peers));
    tcase_add_test(all, a_peer_that_is_not_known_is_no_fault);
    tcase_add_test(all, captures_and_peer_outlive_the_request);
    tcase_add_test(all, a_capture_ends_at_a_nul);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
