#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config/units.h"

struct good {
    const char *text;
    enum unit unit;
    int64_t value;
};

static const struct good good[] = {
    {"0", UNIT_COUNT, 0},
    {"007", UNIT_COUNT, 7},
    {"-12", UNIT_COUNT, -12},
    {"9223372036854775807", UNIT_COUNT, INT64_MAX},
    {"-9223372036854775808", UNIT_COUNT, INT64_MIN},
    {"0", UNIT_BYTES, 0},
    {"17", UNIT_BYTES, 17},
    {"64k", UNIT_BYTES, 65536},
    {"3m", UNIT_BYTES, 3 << 20},
    {"2g", UNIT_BYTES, INT64_C(2) << 30},
    {"8589934591g", UNIT_BYTES, INT64_C(8589934591) << 30},
    {"0s", UNIT_MS, 0},
    {"1ms", UNIT_MS, 1},
    {"25s", UNIT_MS, 25000},
    {"5m", UNIT_MS, 300000},
    {"2h", UNIT_MS, 7200000},
    {"7d", UNIT_MS, 604800000},
};

START_TEST(right_number_is_exact) {
    int64_t value = -1;
    const char *why;
    ck_assert(units_read(good[_i].text, good[_i].unit, &value, &why));
    ck_assert_int_eq(value, good[_i].value);
}
END_TEST

struct bad {
    const char *text;
    enum unit unit;
    const char *why;
};

static const struct bad bad[] = {
    {"", UNIT_COUNT, "is not a number"},
    {"", UNIT_BYTES, "is not a size"},
    {"", UNIT_MS, "is not a time"},
    {"-", UNIT_COUNT, "is not a number"},
    {"--1", UNIT_COUNT, "is not a number"},
    {"+1", UNIT_COUNT, "is not a number"},
    {" 1", UNIT_COUNT, "is not a number"},
    {"1 ", UNIT_COUNT, "plain number"},
    {"1k", UNIT_COUNT, "plain number"},
    {"0x10", UNIT_COUNT, "plain number"},
    {"1.5", UNIT_COUNT, "no whole number"},
    {"9223372036854775808", UNIT_COUNT, "too large"},
    {"-9223372036854775809", UNIT_COUNT, "too large"},
    {"-1", UNIT_BYTES, "is not a size"},
    {"k", UNIT_BYTES, "is not a size"},
    {"1K", UNIT_BYTES, "unknown unit"},
    {"1kb", UNIT_BYTES, "unknown unit"},
    {"1 k", UNIT_BYTES, "unknown unit"},
    {"1.5m", UNIT_BYTES, "smaller unit"},
    {"8589934592g", UNIT_BYTES, "too large"},
    {"99999999999999999999", UNIT_BYTES, "too large"},
    {"10", UNIT_MS, "no unit"},
    {"10S", UNIT_MS, "unknown unit"},
    {"10sec", UNIT_MS, "unknown unit"},
    {"1m30s", UNIT_MS, "unknown unit"},
    {"-1s", UNIT_MS, "is not a time"},
    {"106751991168d", UNIT_MS, "too large"},
};

START_TEST(wrong_number_is_refused_and_says_why) {
    int64_t value = 42;
    const char *why = "";
    ck_assert(!units_read(bad[_i].text, bad[_i].unit, &value, &why));
    ck_assert_int_eq(value, 42);
    ck_assert_msg(strstr(why, bad[_i].why) != NULL, "%s: %s", bad[_i].text, why);
}
END_TEST

START_TEST(what_is_written_reads_back) {
    static const int64_t values[] = {0, 1, 999, 1000, 1024, 60000, 65536, 86400000, 1 << 30};
    char buffer[32];
    for (enum unit unit = UNIT_COUNT; unit <= UNIT_MS; unit++) {
        for (size_t i = 0; i != sizeof(values) / sizeof(*values); i++) {
            int64_t value;
            const char *why;
            ck_assert(units_read(units_write(values[i], unit, buffer), unit, &value, &why));
            ck_assert_int_eq(value, values[i]);
        }
    }
}
END_TEST

START_TEST(largest_unit_that_divides_is_written) {
    char buffer[32];
    ck_assert_str_eq(units_write(65536, UNIT_BYTES, buffer), "64k");
    ck_assert_str_eq(units_write(1025, UNIT_BYTES, buffer), "1025");
    ck_assert_str_eq(units_write(7 * 86400000, UNIT_MS, buffer), "7d");
    ck_assert_str_eq(units_write(90000, UNIT_MS, buffer), "90s");
    ck_assert_str_eq(units_write(-1, UNIT_COUNT, buffer), "-1");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("units");
    TCase *numbers = tcase_create("numbers");
    tcase_add_loop_test(numbers, right_number_is_exact, 0, (int)(sizeof(good) / sizeof(*good)));
    tcase_add_loop_test(numbers, wrong_number_is_refused_and_says_why, 0,
                        (int)(sizeof(bad) / sizeof(*bad)));
    tcase_add_test(numbers, what_is_written_reads_back);
    tcase_add_test(numbers, largest_unit_that_divides_is_written);
    suite_add_tcase(suite, numbers);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
