/*
 * The public header: it compiles alone, in C11 and C++20, without a warning, and what plugins were
 * built against stays where it is. Numbers in here change with the ABI's major alone; minors add
 * lines.
 */
#include <sluice/consumer.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct sluice_host *sluice_host_table;

/* --- layout, for machines of 64 bits --- */

_Static_assert(sizeof(void *) == 8, "the layout below is that of machines of 64 bits");

_Static_assert(sizeof(sluice_message) == 16, "frozen");
_Static_assert(offsetof(sluice_message, data) == 0, "frozen");
_Static_assert(offsetof(sluice_message, size) == 8, "frozen");
_Static_assert(offsetof(sluice_message, kind) == 12, "frozen");

_Static_assert(sizeof(sluice_member) == 16, "frozen");
_Static_assert(offsetof(sluice_member, id) == 0, "frozen");
_Static_assert(offsetof(sluice_member, info) == 8, "frozen");

_Static_assert(sizeof(struct sluice_note) == 36, "frozen");
_Static_assert(offsetof(struct sluice_note, name) == 12, "frozen");
_Static_assert(offsetof(struct sluice_note, magic) == 20, "frozen");
_Static_assert(offsetof(struct sluice_note, minor_needed) == 32, "frozen");

_Static_assert(offsetof(sluice_send_report, size) == 0, "grows at its end");
_Static_assert(offsetof(sluice_send_report, matched) == 8, "grows at its end");
_Static_assert(offsetof(sluice_send_report, queued) == 16, "grows at its end");
_Static_assert(offsetof(sluice_send_report, dropped) == 24, "grows at its end");
_Static_assert(offsetof(sluice_send_report, position) == 32, "grows at its end");

_Static_assert(offsetof(sluice_send_options, size) == 0, "grows at its end");
_Static_assert(offsetof(sluice_send_options, except) == 8, "grows at its end");
_Static_assert(offsetof(sluice_send_options, report) == 16, "grows at its end");
_Static_assert(offsetof(sluice_send_options, arg) == 24, "grows at its end");

_Static_assert(offsetof(sluice_consumer, size) == 0, "grows at its end");
_Static_assert(offsetof(sluice_consumer, magic) == 4, "grows at its end");
_Static_assert(offsetof(sluice_consumer, abi_major) == 8, "grows at its end");
_Static_assert(offsetof(sluice_consumer, abi_minor) == 12, "grows at its end");
_Static_assert(offsetof(sluice_consumer, minor_needed) == 16, "grows at its end");
_Static_assert(offsetof(sluice_consumer, name) == 24, "grows at its end");
_Static_assert(offsetof(sluice_consumer, version) == 32, "grows at its end");
_Static_assert(offsetof(sluice_consumer, data_size) == 40, "grows at its end");

struct field {
    const char *name;
    size_t offset;
};

#define HOOK(name)                                                                                 \
    { #name, offsetof(sluice_consumer, name) }
#define CALL(name)                                                                                 \
    { #name, offsetof(struct sluice_host, name) }

/* In the order of ABI 1.0, then of 1.1. */
static const struct field all_hooks[] = {
    HOOK(open),  HOOK(shut),    HOOK(thread_start), HOOK(thread_stop), HOOK(connect), HOOK(receive),
    HOOK(event), HOOK(dropped), HOOK(disconnect),   HOOK(release),     HOOK(drain),   HOOK(http),
};

static const struct field all_calls[] = {
    CALL(accept),
    CALL(deny),
    CALL(respond),
    CALL(add_header),
    CALL(param),
    CALL(scope),
    CALL(body),
    CALL(send),
    CALL(close),
    CALL(stop),
    CALL(queued),
    CALL(conn_id),
    CALL(data),
    CALL(thread_data),
    CALL(conn_route),
    CALL(route_data),
    CALL(group_join),
    CALL(group_discard),
    CALL(group_send),
    CALL(group_members),
    CALL(route_send),
    CALL(offload),
    CALL(post),
    CALL(timer),
    CALL(timer_cancel),
    CALL(every),
    CALL(option_number),
    CALL(option_text),
    CALL(option_error),
    CALL(log),
    CALL(group_join_with),
    CALL(group_history),
    CALL(set_user),
};

#define COUNT(table) ((int)(sizeof(table) / sizeof(table[0])))

START_TEST(hooks_stay_where_plugins_put_them) {
    for (int i = 0; i < COUNT(all_hooks); i++)
        ck_assert_msg(all_hooks[i].offset == 48 + 8 * (size_t)i, "%s", all_hooks[i].name);
    /* Whoever adds a hook adds it above, so that it stays from then on. */
    ck_assert_uint_eq(sizeof(sluice_consumer), 48 + 8 * (size_t)COUNT(all_hooks));
}
END_TEST

START_TEST(calls_stay_where_plugins_find_them) {
    for (int i = 0; i < COUNT(all_calls); i++)
        ck_assert_msg(all_calls[i].offset == 16 + 8 * (size_t)i, "%s", all_calls[i].name);
    ck_assert_uint_eq(sizeof(struct sluice_host), 16 + 8 * (size_t)COUNT(all_calls));
}
END_TEST

START_TEST(numbers_keep_their_meaning) {
    ck_assert_int_eq(SLUICE_ABI_MAJOR, 1);
    ck_assert_uint_eq(SLUICE_MAGIC, 0x534c5543u);
    ck_assert_int_eq(SLUICE_OK, 0);
    ck_assert_int_eq(SLUICE_GONE, -1);
    ck_assert_int_eq(SLUICE_FULL, -2);
    ck_assert_int_eq(SLUICE_TOO_BIG, -3);
    ck_assert_int_eq(SLUICE_INVALID, -4);
    ck_assert_int_eq(SLUICE_STATE, -5);
    ck_assert_int_eq(SLUICE_TEXT, 1);
    ck_assert_int_eq(SLUICE_BINARY, 2);
    ck_assert_int_eq(SLUICE_EVENTS, 1);
    ck_assert_int_eq(SLUICE_PATH, 1);
    ck_assert_int_eq(SLUICE_QUERY, 2);
    ck_assert_int_eq(SLUICE_HEADER, 3);
    ck_assert_int_eq(SLUICE_COOKIE, 4);
    ck_assert_int_eq(SLUICE_METHOD, 5);
    ck_assert_int_eq(SLUICE_BODY, 6);
    ck_assert_int_eq(SLUICE_PEER, 7);
    ck_assert_int_eq(SLUICE_SUBPROTOCOL, 8);
    ck_assert_int_eq(SLUICE_OFFERED, 9);
    ck_assert_int_eq(SLUICE_REASON, 10);
    ck_assert_int_eq(SLUICE_HOST, 11);
    ck_assert_int_eq(SLUICE_SCHEME, 12);
    ck_assert_int_eq(SLUICE_COUNT, 1);
    ck_assert_int_eq(SLUICE_BYTES, 2);
    ck_assert_int_eq(SLUICE_MS, 3);
    ck_assert_int_eq(SLUICE_LOG_ERROR, 0);
    ck_assert_int_eq(SLUICE_LOG_DEBUG, 3);
}
END_TEST

/* --- what the header itself does --- */

START_TEST(a_text_over_4_gib_is_not_cut_to_a_short_one) {
    sluice_message message = sluice_text("x", (size_t)UINT32_MAX + 2);
    ck_assert_uint_eq(message.size, UINT32_MAX);
    ck_assert_uint_eq(sluice_text("x", 1).size, 1);
    ck_assert_uint_eq(sluice_text("x", 1).kind, SLUICE_TEXT);
}
END_TEST

static size_t logged;

static void measure(sluice_route *route, sluice_conn *conn, int level, const char *text) {
    (void)route;
    (void)conn;
    (void)level;
    logged = strlen(text);
}

START_TEST(a_log_line_is_cut_at_1000_bytes) {
    static const struct sluice_host host = {.log = measure};
    char text[2000];
    memset(text, 'x', sizeof(text));
    sluice_host_table = &host;
    sluice_log(NULL, NULL, SLUICE_LOG_INFO, "%.*s", 2000, text);
    ck_assert_uint_eq(logged, 1000);
    sluice_log(NULL, NULL, SLUICE_LOG_INFO, "%d", 42);
    ck_assert_uint_eq(logged, 2);
}
END_TEST

/* --- compilers --- */

static const char *const compilers[] = {"gcc -std=c11 -x c", "clang -std=c11 -x c",
                                        "g++ -std=c++20 -x c++", "clang++ -std=c++20 -x c++"};

static const char *const programs[] = {
    "#include <sluice/consumer.h>",
    "#include <sluice/consumer.h>\n#include <sluice/consumer.h>",
    "#include <sluice/consumer.h>\nSLUICE_CONSUMER(\"a\", \"1\", .data_size = 8)",
    "#include <sluice/consumer.h>\nstatic void c(sluice_conn *conn) { sluice_accept(conn, NULL); "
    "}\n"
    "static void r(sluice_conn *conn, sluice_message m) { sluice_group_send(conn, \"g\", m); }\n"
    "SLUICE_CONSUMER(\"a\", \"1\", .connect = c, .receive = r)",
};

/* The folder that holds sluice/consumer.h, seen from this file. */
static void write_include(char *folder, size_t room) {
    const char *own = __FILE__, *end = strstr(own, "tests/unit/");
    ck_assert_ptr_nonnull(end);
    snprintf(folder, room, "%.*sgateway/sdk", (int)(end - own), own);
}

static bool is_installed(const char *compiler) {
    char command[128];
    snprintf(command, sizeof(command), "command -v %.*s >/dev/null", (int)strcspn(compiler, " "),
             compiler);
    return system(command) == 0;
}

START_TEST(it_compiles_alone_and_without_a_warning) {
    const char *compiler = compilers[_i % COUNT(compilers)],
               *program = programs[_i / COUNT(compilers)];
    char folder[512], command[1024];
    if (!is_installed(compiler))
        return;
    write_include(folder, sizeof(folder));
    snprintf(command, sizeof(command),
             "%s -fsyntax-only -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -pedantic -Werror -I "
             "'%s' -",
             compiler, folder);
    FILE *input = popen(command, "w");
    ck_assert_ptr_nonnull(input);
    fprintf(input, "%s\n", program);
    ck_assert_msg(pclose(input) == 0, "%s refuses: %s", compiler, program);
}
END_TEST

START_TEST(a_compiler_for_c_and_one_for_cplusplus_are_there) {
    ck_assert(is_installed(compilers[0]) || is_installed(compilers[1]));
    ck_assert(is_installed(compilers[2]) || is_installed(compilers[3]));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("consumer_header");
    TCase *header = tcase_create("header");
    tcase_set_timeout(header, 30);
    tcase_add_test(header, hooks_stay_where_plugins_put_them);
    tcase_add_test(header, calls_stay_where_plugins_find_them);
    tcase_add_test(header, numbers_keep_their_meaning);
    tcase_add_test(header, a_text_over_4_gib_is_not_cut_to_a_short_one);
    tcase_add_test(header, a_log_line_is_cut_at_1000_bytes);
    tcase_add_loop_test(header, it_compiles_alone_and_without_a_warning, 0,
                        COUNT(compilers) * COUNT(programs));
    tcase_add_test(header, a_compiler_for_c_and_one_for_cplusplus_are_there);
    suite_add_tcase(suite, header);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
