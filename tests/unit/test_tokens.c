#include "net/tokens.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "snapshot/sealed.h"
#include "snapshot/snapshot.h"
#include "support/directory.h"

#define ONE "0123456789abcdef"
#define TWO "another.token-of_this~file+/=="

static char directory[128], path[160];
static struct error error;

static void write_tokens(const char *text, size_t size, mode_t mode) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    fclose(file);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/tokens", directory);
}

static void tear_down(void) { remove_test_directory(directory); }

static struct tokens *read_text(const char *text) {
    write_tokens(text, strlen(text), 0600);
    error.text[0] = '\0';
    return tokens_read(path, &error);
}

static bool have(const struct tokens *tokens, const char *text) {
    return tokens_have(tokens, text, strlen(text));
}

START_TEST(each_line_is_a_token) {
    static const char *const texts[] = {
        ONE "\n" TWO "\n",
        ONE "\n" TWO,
        "# rotated in May\n\n" ONE "\n\t# and the next\n \t" TWO " \t\n\n",
        ONE "\r\n" TWO "\r\n",
        ONE "\n" ONE "\n" TWO "\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tokens *tokens = read_text(texts[i]);
        ck_assert_msg(tokens != NULL, "%s", error.text);
        ck_assert_uint_eq(tokens_count(tokens), i == 4 ? 3 : 2);
        ck_assert(have(tokens, ONE) && have(tokens, TWO));
        tokens_free(tokens);
    }
}
END_TEST

START_TEST(only_the_whole_token_is_known) {
    static const char *const others[] = {"",
                                         "0",
                                         ONE "0",
                                         " " ONE,
                                         ONE "\n",
                                         ONE "\n" TWO,
                                         "0123456789abcdeF",
                                         "another.token-of_this~file+/=",
                                         TWO "=",
                                         "#",
                                         "0123456789abcde"};
    struct tokens *tokens = read_text(ONE "\n" TWO "\n# " ONE ONE "\n");
    ck_assert_ptr_nonnull(tokens);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        ck_assert_msg(!have(tokens, others[i]), "%s", others[i]);
    ck_assert(!tokens_have(tokens, ONE "\0", sizeof(ONE)));
    ck_assert(!have(tokens, ONE ONE));
    tokens_free(tokens);
}
END_TEST

START_TEST(the_longest_and_the_shortest_token_are_read) {
    char text[2 * TOKEN_MOST + 10];
    memset(text, 'x', sizeof(text));
    text[TOKEN_MOST] = '\n';
    text[TOKEN_MOST + 1 + TOKEN_LEAST] = '\0';
    struct tokens *tokens = read_text(text);
    ck_assert_msg(tokens != NULL, "%s", error.text);
    ck_assert(tokens_have(tokens, text, TOKEN_MOST));
    ck_assert(tokens_have(tokens, text, TOKEN_LEAST));
    ck_assert(!tokens_have(tokens, text, TOKEN_LEAST + 1));
    tokens_free(tokens);
}
END_TEST

/* The sentence never repeats what may be a secret with a slip of the pen. */
START_TEST(line_without_a_token_is_named) {
    static const char *const lines[] = {"0123456789abcde",
                                        "0123456789abcdef with spaces",
                                        "0123456789abcd\xc3\xa9"
                                        "f",
                                        "0123456789abcdef\x7f",
                                        "0123456789abcdef\x01",
                                        "0123456789abcdef # my token"};
    char text[300], expected[300];
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(text, sizeof(text), "# tokens\n" TWO "\n%s\n", lines[i]);
        ck_assert_ptr_null(read_text(text));
        snprintf(expected, sizeof(expected), "%s:3: a token is 16 to 256", path);
        ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "%s", error.text);
        ck_assert_ptr_null(strstr(error.text, "0123456789"));
    }
    memset(text, 'x', TOKEN_MOST + 1);
    strcpy(text + TOKEN_MOST + 1, "\n");
    ck_assert_ptr_null(read_text(text));
    ck_assert_ptr_nonnull(strstr(error.text, ":1: a token is"));
}
END_TEST

START_TEST(file_without_a_token_is_refused) {
    static const char *const texts[] = {"", "\n", "# " ONE "\n\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_ptr_null(read_text(texts[i]));
        ck_assert_ptr_nonnull(strstr(error.text, "holds no token"));
    }
}
END_TEST

START_TEST(nul_is_no_part_of_a_token) {
    write_tokens(ONE "\0\n", sizeof(ONE) + 1, 0600);
    ck_assert_ptr_null(tokens_read(path, &error));
    ck_assert_ptr_nonnull(strstr(error.text, ":1: a token is"));
}
END_TEST

START_TEST(tokens_and_bytes_of_a_file_are_bounded) {
    char *text = malloc(TOKENS_FILE_MAX + 2);
    size_t used = 0;
    for (int i = 0; i < TOKENS_MAX; i++)
        used += (size_t)sprintf(text + used, "token-number-%04d\n", i);
    struct tokens *tokens = read_text(text);
    ck_assert_uint_eq(tokens_count(tokens), TOKENS_MAX);
    ck_assert(have(tokens, "token-number-0099"));
    tokens_free(tokens);
    strcpy(text + used, "token-number-0100\n");
    ck_assert_ptr_null(read_text(text));
    ck_assert_ptr_nonnull(strstr(error.text, ":101: more than 100 tokens"));
    memset(text, '#', TOKENS_FILE_MAX + 1);
    text[TOKENS_FILE_MAX + 1] = '\0';
    memcpy(text, ONE "\n", sizeof(ONE));
    ck_assert_ptr_null(read_text(text));
    ck_assert_ptr_nonnull(strstr(error.text, "is larger than 64 KiB"));
    text[TOKENS_FILE_MAX] = '\0';
    tokens = read_text(text);
    ck_assert_ptr_nonnull(tokens);
    tokens_free(tokens);
    free(text);
}
END_TEST

START_TEST(file_that_everybody_may_read_or_write_is_refused) {
    static const mode_t open[] = {0644, 0604, 0602, 0666}, closed[] = {0600, 0640, 0400, 0660};
    for (size_t i = 0; i < 4; i++) {
        write_tokens(ONE, strlen(ONE), open[i]);
        ck_assert(tokens_exposed(path));
        ck_assert_ptr_null(tokens_read(path, &error));
        ck_assert_ptr_nonnull(strstr(error.text, "everybody may read or write it"));
        ck_assert_int_eq(chmod(path, closed[i]), 0);
        ck_assert(!tokens_exposed(path));
        struct tokens *tokens = tokens_read(path, &error);
        ck_assert_ptr_nonnull(tokens);
        tokens_free(tokens);
    }
}
END_TEST

START_TEST(what_is_no_file_is_refused) {
    ck_assert(!tokens_exposed(path));
    ck_assert_ptr_null(tokens_read(path, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "can't be read: No such file"));
    ck_assert_ptr_null(tokens_read(directory, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "is no file"));
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_ptr_null(tokens_read(path, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "is no file"));
}
END_TEST

START_TEST(snapshot_is_read_whatever_the_disk_says) {
    struct snapshot *snapshot = snapshot_create();
    write_tokens(ONE, strlen(ONE), 0600);
    snapshot_add(snapshot, SNAPSHOT_CREDENTIAL, path, NULL, sealed_copy(path, false, &error));
    write_tokens(TWO, strlen(TWO), 0644);
    snapshot_use(snapshot);
    struct tokens *tokens = tokens_read(path, &error);
    snapshot_use(NULL);
    ck_assert_msg(tokens != NULL, "%s", error.text);
    ck_assert(have(tokens, ONE) && !have(tokens, TWO));
    tokens_free(tokens);
    snapshot_free(snapshot);
}
END_TEST

START_TEST(file_that_the_snapshot_bars_is_not_read) {
    struct snapshot *snapshot = snapshot_create();
    write_tokens(ONE, strlen(ONE), 0600);
    snapshot_add(snapshot, SNAPSHOT_BARRED, path, NULL, -1);
    snapshot_use(snapshot);
    struct tokens *tokens = tokens_read(path, &error);
    snapshot_use(NULL);
    ck_assert_ptr_null(tokens);
    ck_assert_ptr_nonnull(strstr(error.text, "everybody may read or write it"));
    snapshot_free(snapshot);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokens");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_test(files, each_line_is_a_token);
    tcase_add_test(files, only_the_whole_token_is_known);
    tcase_add_test(files, the_longest_and_the_shortest_token_are_read);
    tcase_add_test(files, line_without_a_token_is_named);
    tcase_add_test(files, file_without_a_token_is_refused);
    tcase_add_test(files, nul_is_no_part_of_a_token);
    tcase_add_test(files, tokens_and_bytes_of_a_file_are_bounded);
    tcase_add_test(files, file_that_everybody_may_read_or_write_is_refused);
    tcase_add_test(files, what_is_no_file_is_refused);
    tcase_add_test(files, snapshot_is_read_whatever_the_disk_says);
    tcase_add_test(files, file_that_the_snapshot_bars_is_not_read);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
