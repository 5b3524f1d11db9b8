#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_line.h"

static struct proxy_line line;

static void setup(void) { line = (struct proxy_line){.state = PROXY_LINE_GOES_ON}; }

static size_t feed(const void *bytes, size_t size) { return proxy_line_feed(&line, bytes, size); }

/* The client as text, or "" when there is none. */
static const char *client(void) {
    static char text[80];
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_storage address;
    socklen_t size = proxy_line_client(&line, &address);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    if (size == 0)
        return "";
    bool is_v4 = address.ss_family == AF_INET;
    ck_assert_uint_eq(size, is_v4 ? sizeof(*v4) : sizeof(*v6));
    inet_ntop(address.ss_family, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, host,
              sizeof(host));
    snprintf(text, sizeof(text), "%s %u", host, ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
    return text;
}

/* --- version 1 --- */

static const struct {
    const char *line, *client;
} right[] = {
    {"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n", "192.0.2.7 51000"},
    {"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", "2001:db8::7 1"},
    {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255 65535"},
    {"PROXY UNKNOWN\r\n", ""},
    {"PROXY UNKNOWN ffff:f:f:f:f:f:f:f whatever this is\r\n", ""},
};

START_TEST(lines_are_read) {
    char bytes[200];
    size_t size = strlen(right[_i].line);
    snprintf(bytes, sizeof(bytes), "%sGET / HTTP/1.1\r\n", right[_i].line);
    ck_assert_uint_eq(feed(bytes, strlen(bytes)), size);
    ck_assert_int_eq(line.state, PROXY_LINE_ENDS);
    ck_assert_str_eq(client(), right[_i].client);
    ck_assert_uint_eq(feed("more", 4), 0);
}
END_TEST

START_TEST(lines_are_read_byte_by_byte) {
    size_t size = strlen(right[_i].line);
    for (size_t i = 0; i < size; i++) {
        ck_assert_int_eq(line.state, PROXY_LINE_GOES_ON);
        ck_assert_uint_eq(feed(right[_i].line + i, 1), 1);
    }
    ck_assert_int_eq(line.state, PROXY_LINE_ENDS);
    ck_assert_str_eq(client(), right[_i].client);
}
END_TEST

static const char *const wrong[] = {
    "GET / HTTP/1.1\r\n",
    "\n",
    "P\n",
    "PROXX TCP4 192.0.2.7 198.51.100.1 51000 443\r\n",
    "proxy TCP4 192.0.2.7 198.51.100.1 51000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\n",
    "PROXY  TCP4 192.0.2.7 198.51.100.1 51000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 51000\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 51000 443 9\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 51000 443 \r\n",
    "PROXY TCP4 192.0.2.256 198.51.100.1 51000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100 51000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 5x 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.1 51000 \r\n",
    "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    "PROXY TCP6 192.0.2.7 198.51.100.1 51000 443\r\n",
    "PROXY UDP4 192.0.2.7 198.51.100.1 51000 443\r\n",
    "PROXY UNKNOWNS\r\n",
    "PROXY \r\n",
    "PROXY UNKNOWN "
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
    "2345678901\r\n",
};

START_TEST(wrong_lines_are_refused) {
    feed(wrong[_i], strlen(wrong[_i]));
    ck_assert_int_eq(line.state, PROXY_LINE_WRONG);
}
END_TEST

START_TEST(a_line_without_an_end_is_refused_in_time) {
    char bytes[PROXY_LINE_MAX + 1];
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, "PROXY UNKNOWN ", 14);
    ck_assert_uint_eq(feed(bytes, PROXY_LINE_MAX - 1), PROXY_LINE_MAX - 1);
    ck_assert_int_eq(line.state, PROXY_LINE_GOES_ON);
    feed(bytes, 2);
    ck_assert_int_eq(line.state, PROXY_LINE_WRONG);
}
END_TEST

/* --- version 2 --- */

static uint8_t second[16 + 65535 + 4];

/* Returns its size; 4 bytes of the client follow it. */
static size_t write_second(uint8_t command, uint8_t family, size_t size) {
    static const uint8_t v4[] = {192, 0, 2, 7, 198, 51, 100, 1, 0xc7, 0x38, 1, 187};
    memset(second, 0xee, sizeof(second));
    memcpy(second, "\r\n\r\n\0\r\nQUIT\n", 12);
    second[12] = command;
    second[13] = family;
    second[14] = (uint8_t)(size >> 8);
    second[15] = (uint8_t)size;
    if (family == 0x11)
        memcpy(second + 16, v4, size < sizeof(v4) ? size : sizeof(v4));
    else if (family == 0x21) {
        memset(second + 16, 0, 36);
        second[16] = 0x20, second[17] = 1, second[31] = 9, second[49] = 80;
    }
    return 16 + size;
}

static const struct {
    uint8_t command, family;
    size_t size;
    const char *client;
} seconds[] = {
    {0x21, 0x11, 12, "192.0.2.7 51000"},
    {0x21, 0x11, 12 + 300, "192.0.2.7 51000"},
    {0x21, 0x21, 36, "2001::9 80"},
    {0x21, 0x21, 65535, "2001::9 80"},
    {0x20, 0x00, 0, ""},
    {0x20, 0x11, 12, ""},
    {0x21, 0x31, 216, ""},
    {0x21, 0x00, 0, ""},
    {0x21, 0x12, 12, ""},
};

START_TEST(heads_of_version_2_are_read) {
    size_t size = write_second(seconds[_i].command, seconds[_i].family, seconds[_i].size);
    ck_assert_uint_eq(feed(second, size + 4), size);
    ck_assert_int_eq(line.state, PROXY_LINE_ENDS);
    ck_assert_str_eq(client(), seconds[_i].client);
}
END_TEST

START_TEST(and_byte_by_byte) {
    size_t size = write_second(seconds[_i].command, seconds[_i].family, seconds[_i].size);
    for (size_t i = 0; i < size; i++) {
        ck_assert_int_eq(line.state, PROXY_LINE_GOES_ON);
        ck_assert_uint_eq(feed(second + i, 1), 1);
    }
    ck_assert_int_eq(line.state, PROXY_LINE_ENDS);
    ck_assert_str_eq(client(), seconds[_i].client);
}
END_TEST

START_TEST(wrong_heads_of_version_2_are_refused) {
    static const struct {
        uint8_t command, family;
        size_t size;
    } heads[] = {{0x11, 0x11, 12}, {0x22, 0x11, 12}, {0x31, 0x11, 12},
                 {0x21, 0x11, 11}, {0x21, 0x21, 35}, {0x21, 0x11, 0}};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        setup();
        feed(second, write_second(heads[i].command, heads[i].family, heads[i].size));
        ck_assert_int_eq(line.state, PROXY_LINE_WRONG);
    }
}
END_TEST

START_TEST(a_wrong_signature_is_refused_at_its_first_wrong_byte) {
    for (size_t at = 1; at < 12; at++) {
        setup();
        write_second(0x21, 0x11, 12);
        second[at] ^= 1;
        ck_assert_uint_eq(feed(second, 28), at + 1);
        ck_assert_int_eq(line.state, PROXY_LINE_WRONG);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("proxy_line");
    TCase *tests = tcase_create("proxy_line");
    tcase_add_checked_fixture(tests, setup, NULL);
    int rights = sizeof(right) / sizeof(right[0]), of_2 = sizeof(seconds) / sizeof(seconds[0]);
    tcase_add_loop_test(tests, lines_are_read, 0, rights);
    tcase_add_loop_test(tests, lines_are_read_byte_by_byte, 0, rights);
    tcase_add_loop_test(tests, wrong_lines_are_refused, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tests, a_line_without_an_end_is_refused_in_time);
    tcase_add_loop_test(tests, heads_of_version_2_are_read, 0, of_2);
    tcase_add_loop_test(tests, and_byte_by_byte, 0, of_2);
    tcase_add_test(tests, wrong_heads_of_version_2_are_refused);
    tcase_add_test(tests, a_wrong_signature_is_refused_at_its_first_wrong_byte);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
