#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/utf8.h"

struct text {
    const char *name, *bytes;
    size_t size;
};

#define TEXT(name, bytes)                                                                          \
    { name, bytes, sizeof(bytes) - 1 }

static const struct text valid[] = {
    TEXT("empty", ""),
    TEXT("ASCII", "Hello, world!"),
    TEXT("NUL", "a\0b"),
    TEXT("a control character", "\x7f\x1b"),
    TEXT("Greek", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
    TEXT("first of two bytes", "\xc2\x80"),
    TEXT("last of two bytes", "\xdf\xbf"),
    TEXT("first of three bytes", "\xe0\xa0\x80"),
    TEXT("last before the surrogates", "\xed\x9f\xbf"),
    TEXT("first behind the surrogates", "\xee\x80\x80"),
    TEXT("replacement character", "\xef\xbf\xbd"),
    TEXT("noncharacter U+FFFE", "\xef\xbf\xbe"),
    TEXT("last of three bytes", "\xef\xbf\xbf"),
    TEXT("first of four bytes", "\xf0\x90\x80\x80"),
    TEXT("an emoji", "\xf0\x9f\x98\x80"),
    TEXT("noncharacter U+10FFFE", "\xf4\x8f\xbf\xbe"),
    TEXT("last of all", "\xf4\x8f\xbf\xbf"),
    TEXT("byte order mark", "\xef\xbb\xbf"),
    TEXT("ASCII over several steps", "0123456789abcdef0123456789abcdef0123456789abcdef!"),
    TEXT("the end of a step inside a character", "0123456789abcde\xc3\xa9 0123456789abcdef"),
    TEXT("ASCII between characters",
         "\xf0\x9f\x98\x80 0123456789abcdef0123456789abcdef \xe2\x82\xac"),
};

/* Each is wrong whatever may follow; wrong_at: the first byte that can belong to nothing. */
static const struct {
    struct text text;
    size_t wrong_at;
} invalid[] = {
    {TEXT("a continuation alone", "\x80"), 0},
    {TEXT("the last continuation alone", "\xbf"), 0},
    {TEXT("a continuation too many", "\xc3\xa9\xa9"), 2},
    {TEXT("overlong slash in two", "\xc0\xaf"), 0},
    {TEXT("overlong in two, the largest", "\xc1\xbf"), 0},
    {TEXT("overlong slash in three", "\xe0\x80\xaf"), 1},
    {TEXT("overlong in three, the largest", "\xe0\x9f\xbf"), 1},
    {TEXT("overlong slash in four", "\xf0\x80\x80\xaf"), 1},
    {TEXT("overlong in four, the largest", "\xf0\x8f\xbf\xbf"), 1},
    {TEXT("overlong NUL", "\xc0\x80"), 0},
    {TEXT("the first surrogate", "\xed\xa0\x80"), 1},
    {TEXT("the last surrogate", "\xed\xbf\xbf"), 1},
    {TEXT("a pair of surrogates", "\xed\xa0\x80\xed\xb0\x80"), 1},
    {TEXT("above U+10FFFF", "\xf4\x90\x80\x80"), 1},
    {TEXT("F5", "\xf5\x80\x80\x80"), 0},
    {TEXT("five bytes", "\xf8\x88\x80\x80\x80"), 0},
    {TEXT("six bytes", "\xfc\x84\x80\x80\x80\x80"), 0},
    {TEXT("FE", "\xfe"), 0},
    {TEXT("FF", "\xff"), 0},
    {TEXT("two bytes cut short by ASCII", "\xc3 "), 1},
    {TEXT("three bytes cut short by ASCII", "\xe2\x82 "), 2},
    {TEXT("four bytes cut short by ASCII", "\xf0\x9f\x98 "), 3},
    {TEXT("cut short by another start", "\xe2\xc3\xa9"), 1},
    {TEXT("Latin 1", "caf\xe9!"), 4},
    {TEXT("behind ASCII of one step", "0123456789abcdef\xff"), 16},
    {TEXT("in the middle of a step", "0123456789abcdef01234567\x80"
                                     "9abcdef"),
     24},
    {TEXT("a character cut short by a step of ASCII", "\xe2\x82"
                                                      "0123456789abcdef0123456789abcdef"),
     2},
};

/* Exactly as long as the text, so that a sanitizer sees one byte too many. */
static uint8_t *copy(const char *bytes, size_t size) {
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    memcpy(exact, bytes, size);
    return exact;
}

START_TEST(valid_text_passes_in_any_two_pieces) {
    const struct text *text = &valid[_i];
    for (size_t split = 0; split <= text->size; split++) {
        struct utf8 state = {0};
        uint8_t *first = copy(text->bytes, split);
        uint8_t *second = copy(text->bytes + split, text->size - split);
        ck_assert_msg(utf8_check(&state, first, split), "%s before %zu", text->name, split);
        ck_assert_msg(utf8_check(&state, second, text->size - split), "%s behind %zu", text->name,
                      split);
        ck_assert_msg(utf8_complete(&state), "%s", text->name);
        free(first);
        free(second);
    }
    ck_assert(utf8_valid(text->bytes, text->size));
}
END_TEST

START_TEST(invalid_text_is_refused_at_its_first_wrong_byte) {
    const struct text *text = &invalid[_i].text;
    size_t right = invalid[_i].wrong_at;
    struct utf8 whole = {0}, bytewise = {0};
    uint8_t *bytes = copy(text->bytes, text->size);
    ck_assert_msg(!utf8_check(&whole, bytes, text->size), "%s", text->name);
    for (size_t i = 0; i < right; i++)
        ck_assert_msg(utf8_check(&bytewise, bytes + i, 1), "%s at %zu", text->name, i);
    ck_assert_msg(!utf8_check(&bytewise, bytes + right, 1), "%s", text->name);
    ck_assert(!utf8_valid(text->bytes, text->size));
    free(bytes);
}
END_TEST

START_TEST(text_that_ends_inside_a_character_is_not_complete) {
    static const char *const starts[] = {"\xc3", "\xe2",     "\xe2\x82",
                                         "\xf0", "\xf0\x9f", "a\xf0\x9f\x98"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct utf8 state = {0};
        ck_assert(utf8_check(&state, (const uint8_t *)starts[i], strlen(starts[i])));
        ck_assert(!utf8_complete(&state));
        ck_assert(!utf8_valid(starts[i], strlen(starts[i])));
    }
}
END_TEST

/* The definition, written another way: by value. */
static int decodes(const uint8_t *bytes, size_t size) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t value;
    size_t more;
    if (bytes[0] < 0x80)
        return size == 1;
    more = bytes[0] >= 0xf0 ? 3 : bytes[0] >= 0xe0 ? 2 : 1;
    if (bytes[0] < 0xc0 || bytes[0] >= 0xf8 || size != more + 1)
        return 0;
    value = bytes[0] & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    return value >= least[more] && value <= 0x10ffff && !(value >= 0xd800 && value <= 0xdfff);
}

/* The bytes at which it makes a difference what stands there, and some between. */
static const uint8_t telling[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};

static void check_starts_with(unsigned first, unsigned second) {
    uint8_t bytes[4] = {(uint8_t)first, (uint8_t)second};
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    for (size_t i = 0; i < (size == 2 ? 1 : sizeof(telling)); i++) {
        for (size_t j = 0; j < (size == 4 ? sizeof(telling) : 1); j++) {
            bytes[2] = telling[i];
            bytes[3] = telling[j];
            int expected = first < 0x80 ? second < 0x80 : decodes(bytes, size);
            if (utf8_valid(bytes, size) != expected)
                ck_abort_msg("%02x %02x %02x %02x", first, second, bytes[2], bytes[3]);
        }
    }
}

START_TEST(every_start_agrees_with_the_definition) {
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            check_starts_with(first, second);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("utf8");
    TCase *tests = tcase_create("utf8");
    tcase_set_timeout(tests, 30);
    tcase_add_loop_test(tests, valid_text_passes_in_any_two_pieces, 0,
                        sizeof(valid) / sizeof(valid[0]));
    tcase_add_loop_test(tests, invalid_text_is_refused_at_its_first_wrong_byte, 0,
                        sizeof(invalid) / sizeof(invalid[0]));
    tcase_add_test(tests, text_that_ends_inside_a_character_is_not_complete);
    tcase_add_test(tests, every_start_agrees_with_the_definition);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
