#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "net/proxies.h"

static struct proxies *proxies;
static struct error error;

static void setup(void) { proxies = proxies_create(); }
static void teardown(void) { proxies_free(proxies); }

static void trust(const char *text) {
    ck_assert_msg(proxies_add(proxies, text, &error), "%s", error.text);
}

static bool trusts(const char *text) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return proxies_trust(proxies, (struct sockaddr *)&v4);
    ck_assert_int_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return proxies_trust(proxies, (struct sockaddr *)&v6);
}

START_TEST(nobody_is_trusted_before_he_is_named) {
    ck_assert(!trusts("127.0.0.1"));
    ck_assert(!trusts("::"));
    struct sockaddr_in peer = {.sin_family = AF_INET};
    ck_assert(!proxies_trust(NULL, (struct sockaddr *)&peer));
}
END_TEST

START_TEST(an_address_is_itself_alone) {
    trust("192.0.2.7");
    trust("2001:db8::7");
    ck_assert(trusts("192.0.2.7"));
    ck_assert(trusts("::ffff:192.0.2.7"));
    ck_assert(!trusts("192.0.2.6"));
    ck_assert(trusts("2001:db8::7"));
    ck_assert(!trusts("2001:db8::8"));
}
END_TEST

START_TEST(a_network_is_all_in_it) {
    trust("10.0.0.0/8");
    trust("172.16.0.0/12");
    trust("2001:db8:8000::/33");
    ck_assert(trusts("10.255.0.1") && trusts("172.31.255.255") && trusts("2001:db8:ffff::1"));
    ck_assert(!trusts("11.0.0.0") && !trusts("172.32.0.0") && !trusts("2001:db8:7fff::1"));
    ck_assert(!trusts("::10.0.0.1"));
}
END_TEST

START_TEST(networks_of_all_sizes) {
    trust("0.0.0.0/0");
    ck_assert(trusts("203.0.113.1") && !trusts("2001:db8::1"));
    trust("::/0");
    ck_assert(trusts("2001:db8::1"));
}
END_TEST

START_TEST(a_path_has_its_own_word) {
    const struct sockaddr_un peer = {.sun_family = AF_UNIX};
    ck_assert(!proxies_trust(proxies, (const struct sockaddr *)&peer));
    trust("unix");
    ck_assert(proxies_trust(proxies, (const struct sockaddr *)&peer));
    ck_assert(!trusts("127.0.0.1"));
}
END_TEST

static const char *const bad[] = {"",           "10.0.0.0/33",  "10.0.0.0/",      "10.0.0.0/x",
                                  "10.0.0.1/8", "10.0.0.0/8/8", "2001:db8::/129", "2001:db8::1/64",
                                  "localhost",  "10.0.0",       "[::1]",          "1.2.3.4:80"};

START_TEST(what_is_no_network_is_refused) {
    ck_assert(!proxies_add(proxies, bad[_i], &error));
    ck_assert_str_ne(error.text, "");
}
END_TEST

/* --- X-Forwarded-For --- */

static const char *client_of(const char *list) {
    static char text[INET6_ADDRSTRLEN];
    struct sockaddr_storage client;
    socklen_t size = proxies_client(proxies, list, strlen(list), &client);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&client;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&client;
    if (size == 0)
        return "none";
    bool is_v4 = client.ss_family == AF_INET;
    ck_assert_uint_eq(size, is_v4 ? sizeof(*v4) : sizeof(*v6));
    return inet_ntop(client.ss_family, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, text,
                     sizeof(text));
}

static const struct {
    const char *list, *client;
} lists[] = {
    {"203.0.113.9", "203.0.113.9"},
    {"203.0.113.9, 10.0.0.4", "203.0.113.9"},
    {"198.51.100.1, 203.0.113.9, 10.0.0.4, 10.9.9.9", "203.0.113.9"},
    {"127.0.0.1,203.0.113.9", "203.0.113.9"},
    {" \t203.0.113.9\t ,\t10.0.0.4 ", "203.0.113.9"},
    {"2001:db8::9", "2001:db8::9"},
    {"[2001:db8::9]:4711", "2001:db8::9"},
    {"[2001:db8::9]", "2001:db8::9"},
    {"203.0.113.9:4711", "203.0.113.9"},
    {"10.0.0.1, 10.0.0.2", "10.0.0.1"},
    {"nonsense, 10.0.0.2", "10.0.0.2"},
    {"198.51.100.1, nonsense", "none"},
    {"198.51.100.1, ", "none"},
    {"198.51.100.1,, 10.0.0.2", "10.0.0.2"},
    {"unknown", "none"},
    {"", "none"},
    {"[2001:db8::9", "none"},
    {"[2001:db8::9]x", "none"},
    {"203.0.113.9 10.0.0.1", "none"},
    {"0123456789012345678901234567890123456789012345678901234567890123456789", "none"},
};

START_TEST(the_rightmost_that_is_not_trusted_is_the_client) {
    trust("10.0.0.0/8");
    ck_assert_str_eq(client_of(lists[_i].list), lists[_i].client);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("proxies");
    TCase *tests = tcase_create("proxies");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nobody_is_trusted_before_he_is_named);
    tcase_add_test(tests, an_address_is_itself_alone);
    tcase_add_test(tests, a_network_is_all_in_it);
    tcase_add_test(tests, networks_of_all_sizes);
    tcase_add_test(tests, a_path_has_its_own_word);
    tcase_add_loop_test(tests, what_is_no_network_is_refused, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_loop_test(tests, the_rightmost_that_is_not_trusted_is_the_client, 0,
                        sizeof(lists) / sizeof(lists[0]));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
