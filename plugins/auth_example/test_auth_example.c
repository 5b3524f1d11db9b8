#include <check.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "support/fake_host.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define OTHER_SECRET "fedcba9876543210fedcba9876543210"
#define WRONG "Bearer error=\"invalid_token\""
#define DAY_S (24l * 3600)

static struct fake_host *host;
static sluice_route *route;
static char folder[64], file[128];

static void write_secrets(const char *text, size_t size) {
    FILE *to = fopen(file, "w");
    ck_assert_ptr_nonnull(to);
    ck_assert_uint_eq(fwrite(text, 1, size, to), size);
    fclose(to);
}

static void setup(void) {
    strcpy(folder, "/tmp/sluice-auth-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/secret", folder);
    write_secrets(SECRET "\n", strlen(SECRET) + 1);
    host = fake_host_create(sluice_consumer_entry);
    route = fake_open(host, (const char *const[]){"secret-file", file, NULL});
    ck_assert_msg(route != NULL, "%s", fake_problem(host));
}

static void teardown(void) {
    fake_host_free(host);
    unlink(file);
    rmdir(folder);
}

/* --- tokens --- */

/* Appends base64url. */
static void encode(const void *data, size_t size, char *to) {
    char *at = to + strlen(to);
    EVP_EncodeBlock((unsigned char *)at, data, (int)size);
    for (; *at; at++)
        if (*at == '+' || *at == '/')
            *at = *at == '+' ? '-' : '_';
        else if (*at == '=')
            *at-- = '\0';
}

/* A claim with the signature of this secret. */
static const char *sign(const char *claim, const char *secret) {
    static char token[1000];
    unsigned char signature[32];
    ck_assert_ptr_nonnull(HMAC(EVP_sha256(), secret, (int)strlen(secret),
                               (const unsigned char *)claim, strlen(claim), signature, NULL));
    snprintf(token, 900, "%s.", claim);
    encode(signature, sizeof(signature), token);
    return token;
}

/* A token that holds for so long. */
static const char *token_by(const char *user, long seconds, const char *secret) {
    char claim[500] = "";
    encode(user, strlen(user), claim);
    snprintf(claim + strlen(claim), 30, ".%ld", (long)time(NULL) + seconds);
    return sign(claim, secret);
}

static const char *token(const char *user, long seconds) { return token_by(user, seconds, SECRET); }

/* --- clients --- */

static sluice_conn *offer(const char *text) {
    char offered[1100];
    snprintf(offered, sizeof(offered), "auth.v1, bearer.%s", text);
    return fake_connect(route, &(struct fake_scope){.params = (const char *[]){"group", "g", NULL},
                                                    .offered = offered});
}

static sluice_conn *bring_cookie(const char *name, const char *text, const char *offered) {
    char cookies[1100];
    snprintf(cookies, sizeof(cookies), "theme=dark; %s=%s", name, text);
    return fake_connect(route,
                        &(struct fake_scope){.params = (const char *[]){"group", "g", NULL},
                                             .headers = (const char *[]){"cookie", cookies, NULL},
                                             .offered = offered});
}

static sluice_conn *join(const char *user, long seconds) {
    sluice_conn *conn = offer(token(user, seconds));
    ck_assert_int_eq(fake_answer(conn), 101);
    return conn;
}

static void renew(sluice_conn *conn, const char *text) {
    char message[1100];
    snprintf(message, sizeof(message), "renew %s", text);
    ck_assert(fake_receive(conn, message));
}

static void assert_refused(const sluice_conn *conn, const char *challenge, const char *why) {
    ck_assert_int_eq(fake_answer(conn), 401);
    ck_assert_str_eq(fake_answer_header(conn, "www-authenticate"), challenge);
    ck_assert_str_eq(fake_answer_body(conn), why);
    ck_assert_uint_eq(fake_group_size(host, "g"), 0);
}

/* --- coming in --- */

START_TEST(a_bearer_lets_in_and_is_not_the_subprotocol) {
    sluice_conn *ann = offer(token("Ann", 60));
    ck_assert_int_eq(fake_answer(ann), 101);
    ck_assert_str_eq(fake_subprotocol(ann), "auth.v1");
    ck_assert(fake_is_member(ann, "g"));
}
END_TEST

START_TEST(a_bearer_may_stand_anywhere_in_the_list) {
    char offered[1100];
    snprintf(offered, sizeof(offered), "bear, chat.v1,bearer.%s, auth.v1", token("Ann", 60));
    sluice_conn *ann = fake_connect(route, &(struct fake_scope){.offered = offered});
    ck_assert_int_eq(fake_answer(ann), 101);
    ck_assert_str_eq(fake_subprotocol(ann), "auth.v1");
}
END_TEST

START_TEST(a_cookie_lets_in) {
    sluice_conn *ann = bring_cookie("session", token("Ann", 60), NULL);
    ck_assert_int_eq(fake_answer(ann), 101);
    ck_assert_ptr_null(fake_subprotocol(ann));
    sluice_conn *ben = bring_cookie("session", token("Ben", 60), "auth.v1");
    ck_assert_int_eq(fake_answer(ben), 101);
    ck_assert_str_eq(fake_subprotocol(ben), "auth.v1");
}
END_TEST

START_TEST(the_name_of_the_cookie_is_an_option) {
    route = fake_open(host, (const char *const[]){"secret-file", file, "cookie", "pass", NULL});
    assert_refused(bring_cookie("session", token("Ann", 60), NULL), "Bearer", "bring a token\n");
    ck_assert_int_eq(fake_answer(bring_cookie("pass", token("Ann", 60), NULL)), 101);
}
END_TEST

START_TEST(with_an_empty_name_no_cookie_counts) {
    route = fake_open(host, (const char *const[]){"secret-file", file, "cookie", "", NULL});
    assert_refused(bring_cookie("session", token("Ann", 60), NULL), "Bearer", "bring a token\n");
    assert_refused(bring_cookie("", token("Ann", 60), NULL), "Bearer", "bring a token\n");
    ck_assert_int_eq(fake_answer(offer(token("Ann", 60))), 101);
}
END_TEST

START_TEST(a_wrong_bearer_is_not_mended_by_a_cookie) {
    assert_refused(bring_cookie("session", token("Ann", 60), "auth.v1, bearer.x"), WRONG,
                   "this token is wrong\n");
}
END_TEST

START_TEST(without_a_token_nobody_comes_in) {
    assert_refused(fake_connect(route, NULL), "Bearer", "bring a token\n");
    assert_refused(fake_connect(route, &(struct fake_scope){.offered = "auth.v1"}), "Bearer",
                   "bring a token\n");
}
END_TEST

START_TEST(an_expired_token_is_refused) {
    assert_refused(offer(token("Ann", -1)), WRONG, "this token has expired\n");
    assert_refused(offer(token("Ann", 0)), WRONG, "this token has expired\n");
    assert_refused(bring_cookie("session", token("Ann", -DAY_S), NULL), WRONG,
                   "this token has expired\n");
}
END_TEST

/* --- tokens that nobody should take --- */

START_TEST(the_form_of_a_token_is_the_documented_one) {
    /* By another program; it holds until 2100. */
    const char *known = "QW5uIOeOiw.4102444800.qDHLcUk4baAkH3E-bv3uFDq3Vv1VmE6_mI1xbDhaikg";
    sluice_conn *ann = offer(known);
    ck_assert_int_eq(fake_answer(ann), 101);
    fake_receive(ann, "hi");
    ck_assert_str_eq(fake_last_text(ann), "Ann 王: hi");
}
END_TEST

/* Each byte of a good token is changed to another of the same alphabet. */
START_TEST(a_token_with_one_other_byte_is_wrong) {
    char good[1000];
    strcpy(good, token("Ann", 60));
    for (char *at = good; *at; at++) {
        char was = *at;
        *at = was == 'A' || was == '1' ? '2' : was == '.' ? 'A' : '1';
        assert_refused(offer(good), WRONG, "this token is wrong\n");
        *at = was;
    }
    ck_assert_int_eq(fake_answer(offer(good)), 101);
}
END_TEST

START_TEST(the_last_bits_of_a_signature_are_looked_at) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char good[1000];
    strcpy(good, token("Ann", 60));
    char *last = good + strlen(good) - 1;
    /* Two bits of the last digit are no part of the 32 bytes, and are zero. */
    const char *right = strchr(digits, *last);
    *last = right[1];
    assert_refused(offer(good), WRONG, "this token is wrong\n");
    /* The others are in its last byte. */
    *last = digits[(right - digits) ^ 4];
    assert_refused(offer(good), WRONG, "this token is wrong\n");
    *last = *right;
    ck_assert_int_eq(fake_answer(offer(good)), 101);
}
END_TEST

static const char *const shapes[] = {"",
                                     ".",
                                     "..",
                                     "...",
                                     "x",
                                     "QW5u",
                                     "QW5u.4102444800",
                                     "QW5u.4102444800.",
                                     ".4102444800.AAAA",
                                     "QW5u.4102444800.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                     "QW5u.4102444800.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                     "QW5u.4102444800.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};

START_TEST(what_is_no_token_is_wrong) {
    assert_refused(offer(shapes[_i]), WRONG, "this token is wrong\n");
}
END_TEST

/* Signed, but not as the form has it: users "", A:B, A\n, A\0B, padded, of 1 and 5 digits; and
   expiries. */
static const char *const claims[] = {".4102444800",
                                     "QTpC.4102444800",
                                     "QQo.4102444800",
                                     "QQBC.4102444800",
                                     "QQ==.4102444800",
                                     "Q.4102444800",
                                     "QUFBQ.4102444800",
                                     "QR.4102444800",
                                     "QW5u",
                                     "QW5u.",
                                     "QW5u.-1",
                                     "QW5u.+4102444800",
                                     "QW5u. 4102444800",
                                     "QW5u.4102444800 ",
                                     "QW5u.0x7fffffff",
                                     "QW5u.4102444800.1",
                                     "QW5u.410244480000",
                                     "QW5u.99999999999999999999"};

START_TEST(a_signed_claim_of_another_form_is_wrong) {
    char text[1000], message[1100];
    strcpy(text, sign(claims[_i], SECRET));
    assert_refused(bring_cookie("session", text, NULL), WRONG, "this token is wrong\n");
    sluice_conn *ann = join("Ann", 60);
    snprintf(message, sizeof(message), "renew %s", text);
    fake_receive(ann, message);
    ck_assert_str_eq(fake_last_text(ann), "not renewed");
}
END_TEST

START_TEST(a_user_has_at_most_64_bytes) {
    char user[66] = "";
    memset(user, 'u', 64);
    sluice_conn *conn = join(user, 60);
    fake_receive(conn, "hi");
    ck_assert_uint_eq(strlen(fake_last_text(conn)), 64 + 4);
    fake_leave(conn, 1001, "");
    strcat(user, "u");
    assert_refused(offer(token(user, 60)), WRONG, "this token is wrong\n");
}
END_TEST

START_TEST(a_user_that_is_not_utf_8_joins_nothing) {
    sluice_conn *conn = join("A\xff", 60);
    ck_assert_int_eq(fake_closed(conn), 1008);
    ck_assert_uint_eq(fake_group_size(host, "g"), 0);
}
END_TEST

START_TEST(without_the_capture_there_is_nothing_to_join) {
    char offered[1100];
    snprintf(offered, sizeof(offered), "auth.v1, bearer.%s", token("Ann", 60));
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.offered = offered});
    ck_assert_int_eq(fake_closed(conn), 1008);
}
END_TEST

/* --- secrets --- */

static void reopen_with(const char *text, size_t size) {
    write_secrets(text, size);
    route = fake_open(host, (const char *const[]){"secret-file", file, NULL});
}

START_TEST(every_secret_verifies) {
    static const char text[] = "\n" OTHER_SECRET "\n\n" SECRET;
    reopen_with(text, sizeof(text) - 1);
    ck_assert_ptr_nonnull(route);
    ck_assert_int_eq(fake_answer(offer(token_by("Ann", 60, SECRET))), 101);
    ck_assert_int_eq(fake_answer(offer(token_by("Ben", 60, OTHER_SECRET))), 101);
}
END_TEST

START_TEST(another_secret_verifies_nothing) {
    assert_refused(offer(token_by("Ann", 60, OTHER_SECRET)), WRONG, "this token is wrong\n");
    assert_refused(offer(token_by("Ann", 60, "")), WRONG, "this token is wrong\n");
    assert_refused(offer(token_by("Ann", 60, SECRET "\n")), WRONG, "this token is wrong\n");
}
END_TEST

static const struct {
    const char *text, *fault;
} bad_files[] = {{"", "holds no secret"},
                 {"\n\n", "holds no secret"},
                 {"0123456789abcdef0123456789abcde", "holds a line shorter than 32 bytes"},
                 {SECRET "\nshort\n", "holds a line shorter than 32 bytes"},
                 {SECRET "\n" SECRET "\n" SECRET "\n" SECRET "\n" SECRET "\n" SECRET "\n" SECRET
                         "\n" SECRET "\n" SECRET "\n",
                  "holds more than 8 secrets"}};

START_TEST(a_bad_file_is_refused_with_the_reason) {
    char fault[500];
    reopen_with(bad_files[_i].text, strlen(bad_files[_i].text));
    ck_assert_ptr_null(route);
    snprintf(fault, sizeof(fault),
             "secret-file: %s: %s; it takes secrets of at least 32 bytes, one a line", file,
             bad_files[_i].fault);
    ck_assert_str_eq(fake_problem(host), fault);
}
END_TEST

START_TEST(a_large_file_is_refused) {
    char text[4097];
    memset(text, 's', sizeof(text));
    reopen_with(text, 4096);
    ck_assert_ptr_nonnull(route);
    reopen_with(text, 4097);
    ck_assert_ptr_null(route);
    ck_assert_ptr_nonnull(strstr(fake_problem(host), "is larger than 4 KiB"));
}
END_TEST

static void assert_refused_file(const char *path, const char *fault) {
    ck_assert_ptr_null(fake_open(host, (const char *const[]){"secret-file", path, NULL}));
    ck_assert_ptr_nonnull(strstr(fake_problem(host), fault));
}

START_TEST(a_file_that_cannot_be_read_is_refused) {
    char fifo[160];
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    assert_refused_file(fifo, "No such file or directory");
    assert_refused_file(folder, "Is a directory");
    /* Nobody writes to it: no wait. */
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    assert_refused_file(fifo, "holds no secret");
    unlink(fifo);
}
END_TEST

START_TEST(the_file_must_be_named_by_an_absolute_path) {
    assert_refused_file("secret", "takes an absolute path");
    ck_assert_ptr_null(fake_open(host, NULL));
    ck_assert_str_eq(fake_problem(host), "secret-file: name the file with the secrets that tokens "
                                         "are signed with");
}
END_TEST

/* --- what is said --- */

START_TEST(the_group_hears_who_says_what) {
    sluice_conn *ann = join("Ann", 60), *ben = join("Ben B.", 60);
    fake_receive(ann, "hello");
    fake_receive(ben, "");
    fake_receive(ben, "renewal: renew");
    ck_assert_str_eq(fake_text(ben, 0), "Ann: hello");
    ck_assert_str_eq(fake_text(ann, 1), "Ben B.: ");
    ck_assert_str_eq(fake_text(ann, 2), "Ben B.: renewal: renew");
    ck_assert_uint_eq(fake_count(ann), 3);
}
END_TEST

START_TEST(a_binary_message_closes) {
    sluice_conn *ann = join("Ann", 60), *ben = join("Ben", 60);
    fake_receive_message(ann, (sluice_message){"hi", 2, SLUICE_BINARY});
    ck_assert_int_eq(fake_closed(ann), 1008);
    ck_assert_uint_eq(fake_count(ben), 0);
}
END_TEST

/* --- the end of a token --- */

/* The clock of the tokens is the real one, which may move some seconds while a case runs. */

START_TEST(the_connection_ends_with_its_token) {
    sluice_conn *ann = join("Ann", 60);
    fake_advance(host, 40 * 1000);
    ck_assert_int_eq(fake_closed(ann), 0);
    fake_advance(host, 20 * 1000);
    ck_assert_int_eq(fake_closed(ann), 4401);
    ck_assert_str_eq(fake_close_reason(ann), "the token has expired");
    ck_assert_uint_eq(fake_group_size(host, "g"), 0);
}
END_TEST

START_TEST(a_life_longer_than_a_timer_is_whole) {
    sluice_conn *ann = join("Ann", 100 * DAY_S);
    for (int day = 0; day < 99; day++)
        fake_advance(host, DAY_S * 1000);
    ck_assert_int_eq(fake_closed(ann), 0);
    ck_assert_uint_eq(fake_timers(ann), 1);
    fake_advance(host, DAY_S * 1000);
    ck_assert_int_eq(fake_closed(ann), 4401);
}
END_TEST

START_TEST(a_renewed_token_goes_on) {
    sluice_conn *ann = join("Ann", 60), *ben = join("Ben", 300);
    renew(ann, token("Ann", 200));
    ck_assert_str_eq(fake_last_text(ann), "renewed");
    ck_assert_uint_eq(fake_timers(ann), 1);
    ck_assert_uint_eq(fake_count(ben), 0);
    fake_advance(host, 150 * 1000);
    ck_assert_int_eq(fake_closed(ann), 0);
    fake_advance(host, 50 * 1000);
    ck_assert_int_eq(fake_closed(ann), 4401);
    ck_assert_int_eq(fake_closed(ben), 0);
}
END_TEST

START_TEST(a_refused_renewal_changes_nothing) {
    sluice_conn *ann = join("Ann", 60), *ben = join("Ben", 300);
    renew(ann, token("Ben", 200));
    renew(ann, token("Ann", -1));
    renew(ann, token_by("Ann", 200, OTHER_SECRET));
    renew(ann, "");
    ck_assert_uint_eq(fake_count(ann), 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(fake_text(ann, i), "not renewed");
    ck_assert_uint_eq(fake_count(ben), 0);
    fake_receive(ann, "still me");
    ck_assert_str_eq(fake_last_text(ben), "Ann: still me");
    fake_advance(host, 60 * 1000);
    ck_assert_int_eq(fake_closed(ann), 4401);
}
END_TEST

START_TEST(no_log_line_has_a_token) {
    char good[1000], bad[1000];
    strcpy(good, token("Ann", 60));
    strcpy(bad, token_by("Ben", 60, OTHER_SECRET));
    sluice_conn *ann = offer(good);
    offer(bad);
    renew(ann, bad);
    for (int level = SLUICE_LOG_ERROR; level <= SLUICE_LOG_DEBUG; level++) {
        ck_assert(!fake_logged(host, level, strrchr(good, '.')));
        ck_assert(!fake_logged(host, level, strrchr(bad, '.')));
    }
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

static void add_coming_in(TCase *to) {
    tcase_add_test(to, a_bearer_lets_in_and_is_not_the_subprotocol);
    tcase_add_test(to, a_bearer_may_stand_anywhere_in_the_list);
    tcase_add_test(to, a_cookie_lets_in);
    tcase_add_test(to, the_name_of_the_cookie_is_an_option);
    tcase_add_test(to, with_an_empty_name_no_cookie_counts);
    tcase_add_test(to, a_wrong_bearer_is_not_mended_by_a_cookie);
    tcase_add_test(to, without_a_token_nobody_comes_in);
    tcase_add_test(to, an_expired_token_is_refused);
    tcase_add_test(to, the_form_of_a_token_is_the_documented_one);
    tcase_add_test(to, a_token_with_one_other_byte_is_wrong);
    tcase_add_test(to, the_last_bits_of_a_signature_are_looked_at);
    tcase_add_loop_test(to, what_is_no_token_is_wrong, 0, COUNT(shapes));
    tcase_add_loop_test(to, a_signed_claim_of_another_form_is_wrong, 0, COUNT(claims));
    tcase_add_test(to, a_user_has_at_most_64_bytes);
    tcase_add_test(to, a_user_that_is_not_utf_8_joins_nothing);
    tcase_add_test(to, without_the_capture_there_is_nothing_to_join);
}

int main(void) {
    Suite *suite = suite_create("auth_example");
    TCase *all = tcase_create("auth_example");
    tcase_add_checked_fixture(all, setup, teardown);
    add_coming_in(all);
    tcase_add_test(all, every_secret_verifies);
    tcase_add_test(all, another_secret_verifies_nothing);
    tcase_add_loop_test(all, a_bad_file_is_refused_with_the_reason, 0, COUNT(bad_files));
    tcase_add_test(all, a_large_file_is_refused);
    tcase_add_test(all, a_file_that_cannot_be_read_is_refused);
    tcase_add_test(all, the_file_must_be_named_by_an_absolute_path);
    tcase_add_test(all, the_group_hears_who_says_what);
    tcase_add_test(all, a_binary_message_closes);
    tcase_add_test(all, the_connection_ends_with_its_token);
    tcase_add_test(all, a_life_longer_than_a_timer_is_whole);
    tcase_add_test(all, a_renewed_token_goes_on);
    tcase_add_test(all, a_refused_renewal_changes_nothing);
    tcase_add_test(all, no_log_line_has_a_token);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
