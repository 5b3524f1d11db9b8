#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/window.h"

static void check_bytes(const struct window *window, const char *expected) {
    size_t size;
    const uint8_t *bytes = window_bytes(window, &size);
    ck_assert_uint_eq(size, strlen(expected));
    ck_assert_int_eq(memcmp(bytes, expected, size), 0);
}

static void append(struct window **window, size_t most, const char *text) {
    window_append(window, most, (const uint8_t *)text, strlen(text));
}

START_TEST(an_empty_window_takes_no_memory) {
    struct window *window = NULL;
    size_t size = 1;
    window_bytes(window, &size);
    ck_assert_uint_eq(size, 0);
    append(&window, 256, "");
    ck_assert_ptr_null(window);
    window_free(window);
}
END_TEST

START_TEST(what_was_said_last_is_kept) {
    struct window *window = NULL;
    append(&window, 8, "abc");
    check_bytes(window, "abc");
    append(&window, 8, "defgh");
    check_bytes(window, "abcdefgh");
    append(&window, 8, "i");
    check_bytes(window, "bcdefghi");
    append(&window, 8, "");
    check_bytes(window, "bcdefghi");
    append(&window, 8, "0123456789");
    check_bytes(window, "23456789");
    append(&window, 8, "ABCDEFGH");
    check_bytes(window, "ABCDEFGH");
    window_free(window);
}
END_TEST

/* Against a plain copy of everything, over the sizes at which its memory grows. */
START_TEST(a_window_grows_to_its_limit) {
    enum { MOST = 2048, ALL = 6000 };
    struct window *window = NULL;
    uint8_t all[ALL];
    size_t said = 0;
    for (size_t i = 0; i < ALL; i++)
        all[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t piece = 1; said + piece <= ALL; piece = piece * 3 % 401) {
        window_append(&window, MOST, all + said, piece);
        said += piece;
        size_t size, expected = said < MOST ? said : MOST;
        const uint8_t *bytes = window_bytes(window, &size);
        ck_assert_uint_eq(size, expected);
        ck_assert_int_eq(memcmp(bytes, all + said - size, size), 0);
    }
    ck_assert_uint_gt(said, (size_t)MOST);
    window_free(window);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("window");
    TCase *tests = tcase_create("window");
    tcase_add_test(tests, an_empty_window_takes_no_memory);
    tcase_add_test(tests, what_was_said_last_is_kept);
    tcase_add_test(tests, a_window_grows_to_its_limit);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
