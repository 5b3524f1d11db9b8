#include "process/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text, *json;
    size_t size;
} cases[] = {
    {"", "\"\"", 0},
    {"plain words, /slashes/", "\"plain words, /slashes/\"", 22},
    {"\"\\", "\"\\\"\\\\\"", 2},
    {"a\0b\n\t\x1f", "\"a\\u0000b\\u000a\\u0009\\u001f\"", 6},
    {"\x7f~", "\"\\u007f~\"", 2},
    /* U+0080, U+009F, U+00A0; U+00E9, U+4E16, U+1F600 */
    {"\xc2\x80\xc2\x9f\xc2\xa0", "\"\\u0080\\u009f\xc2\xa0\"", 6},
    {"\xc3\xa9\xe4\xb8\x96\xf0\x9f\x98\x80", "\"\xc3\xa9\xe4\xb8\x96\xf0\x9f\x98\x80\"", 9},
    /* cut within a character: nothing behind the end is read */
    {"a\xc2\x80", "\"a\xc2\"", 2},
};

START_TEST(string_is_escaped) {
    char *json = NULL;
    size_t size;
    FILE *to = open_memstream(&json, &size);
    json_print(to, cases[_i].text, cases[_i].size);
    fclose(to);
    ck_assert_str_eq(json, cases[_i].json);
    free(json);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json");
    TCase *tests = tcase_create("strings");
    tcase_add_loop_test(tests, string_is_escaped, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
