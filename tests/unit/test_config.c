#include <assert.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/changes.h"
#include "config/config.h"
#include "config/problems.h"
#include "consumer/host.h"
#include "consumer/instance.h"
#include "route/router.h"
#include "snapshot/snapshot.h"
#include "support/certificate.h"
#include "support/directory.h"

/* The begin of small files. */
#define LISTEN "listen: 8080\n"
#define HOSTS "hosts: {default: {}}\n"
#define ROUTE LISTEN "hosts:\n  default:\n    routes:\n"

static char directory[200];

static void write_file(const char *name, const char *text) {
    FILE *file = open_in(directory, name, "w");
    fputs(text, file);
    fclose(file);
}

static void make_directory(const char *name) {
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void link_file(const char *to, const char *name) {
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    ck_assert_int_eq(symlink(to, path), 0);
}

static void make_certificates(void) {
    struct certificate_plan plan = {.key = make_ec_key(), .names = "DNS:a.example", .to = 3600};
    X509 *certificate = make_certificate(&plan);
    EVP_PKEY *other = make_ec_key();
    write_certificate(directory, "cert.pem", certificate);
    write_key(directory, "key.pem", plan.key);
    write_key(directory, "other.pem", other);
    X509_free(certificate);
    EVP_PKEY_free(plan.key);
    EVP_PKEY_free(other);
}

static void write_tokens(const char *name, const char *text, mode_t mode) {
    char path[300];
    write_file(name, text);
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    make_directory("www");
    write_file("www/index.html", "hello");
    write_file("empty.pem", "");
    write_file("text.so", "no shared object");
    write_file("included.yaml", "default:\n  paths:\n    /:\n      file.dri: www\n");
    write_file("itself.yaml", "!file itself.yaml\n");
    link_file(TEST_PLUGINS "/options.so", "options.so");
    link_file(TEST_PLUGINS "/odd", "odd");
    write_tokens("tokens", "# one\n0123456789abcdef\n", 0600);
    write_tokens("short.tokens", "0123456789abcdef\n0123\n", 0600);
    write_tokens("open.tokens", "0123456789abcdef\n", 0644);
    make_certificates();
}

static void tear_down(void) { remove_test_directory(directory); }

/* The configuration of a text, and all that was said of it. The file is called t.yaml. */
static struct config *load(const char *text, char **said, size_t *errors) {
    static const char *const plugins[] = {BUILT_PLUGINS};
    char path[300];
    size_t size;
    struct problems *problems = problems_create();
    write_file("t.yaml", text);
    snprintf(path, sizeof(path), "%s/t.yaml", directory);
    struct config *config = config_load(path, plugins, 1, host_table(), problems);
    FILE *to = open_memstream(said, &size);
    problems_print(problems, to);
    fclose(to);
    *errors = problems_errors(problems);
    ck_assert_msg((config != NULL) == (*errors == 0), "%s", *said);
    problems_free(problems);
    return config;
}

/* --- the table of files --- */

struct file_case {
    char *head; /* of its === line */
    char *text;
};

static struct file_case cases[400];
static size_t case_count;

static char *read_whole(const char *path) {
    FILE *file = fopen(path, "r");
    assert(file != NULL);
    char *text = calloc(1, 1 << 20);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    assert(size != 0);
    fclose(file);
    return text;
}

/* Copies the text of a case, without the lines that begin with ##. */
static char *copy_text(const char *from, const char *to) {
    char *text = calloc(1, (size_t)(to - from) + 1), *at = text;
    while (from < to) {
        const char *end = strchr(from, '\n') + 1;
        bool is_note = strncmp(from, "##", 2) == 0;
        for (; from < end; from++) {
            bool is_tab = strncmp(from, "@TAB@", 5) == 0;
            if (!is_note)
                *at++ = is_tab ? '\t' : *from;
            from += is_tab ? 4 : 0;
        }
    }
    return text;
}

static void read_cases(void) {
    char path[500];
    snprintf(path, sizeof(path), "%.*s/../support/config_cases.txt",
             (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
    char *whole = read_whole(path), *at = strstr(whole, "\n=== ");
    while (at != NULL) {
        char *head = at + 5, *end = strchr(head, '\n');
        at = strstr(end, "\n=== ");
        assert(case_count < sizeof(cases) / sizeof(*cases));
        cases[case_count].head = strndup(head, (size_t)(end - head));
        cases[case_count++].text = copy_text(end + 1, at != NULL ? at + 1 : end + strlen(end));
    }
    free(whole);
}

/* Whether the words, "…" between them, stand in the text in order. */
static bool holds(const char *text, const char *words) {
    char part[200];
    while (text != NULL && *words != '\0') {
        const char *mark = strstr(words, "…");
        size_t size = mark != NULL ? (size_t)(mark - words) : strlen(words);
        snprintf(part, sizeof(part), "%.*s", (int)size, words);
        text = strstr(text, part);
        words += size + (mark != NULL ? strlen("…") : 0);
    }
    return text != NULL;
}

static size_t count_lines(const char *text) {
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

/* head: "[warning ]LINE:COLUMN WORDS", or - for no line. */
static void check_said(const char *head, const char *said, const char *text) {
    char place[400];
    bool is_warning = strncmp(head, "warning ", 8) == 0;
    head += is_warning ? 8 : 0;
    size_t length = strcspn(head, " ");
    snprintf(place, sizeof(place), "%s/t.yaml:%.*s%s %s: ", directory,
             head[0] == '-' ? 0 : (int)length, head, head[0] == '-' ? "" : ":",
             is_warning ? "warning" : "error");
    ck_assert_msg(strncmp(said, place, strlen(place)) == 0,
                  "expected %s for:\n%s\nbut this was said:\n%s", place, text, said);
    ck_assert_msg(holds(said, head + length + 1), "expected '%s' in:\n%s", head + length + 1, said);
    ck_assert_msg(count_lines(said) == 1, "one line is expected for:\n%s\nbut this was said:\n%s",
                  text, said);
}

static void judge(const struct file_case *at) {
    char *said;
    size_t errors;
    bool is_right = strcmp(at->head, "right") == 0;
    struct config *config = load(at->text, &said, &errors);
    if (is_right)
        ck_assert_msg(said[0] == '\0', "of:\n%s\nthis was said:\n%s", at->text, said);
    else
        check_said(at->head, said, at->text);
    ck_assert_int_eq(config != NULL, is_right || strncmp(at->head, "warning ", 8) == 0);
    ck_assert_int_eq(config == NULL ? 0 : config->h2o.http1.upgrade_to_http2, 0);
    config_free(config);
    free(said);
}

/* Some at a time: with a process for each, the leak check alone would take minutes. */
#define CHUNK 20

START_TEST(file_is_judged_as_the_table_says) {
    for (size_t i = (size_t)_i * CHUNK; i < (size_t)(_i + 1) * CHUNK && i < case_count; i++)
        judge(&cases[i]);
}
END_TEST

START_TEST(table_holds_as_many_files_as_promised) {
    size_t right = 0, wrong = 0;
    for (size_t i = 0; i != case_count; i++) {
        right += strcmp(cases[i].head, "right") == 0;
        wrong += strchr("-0123456789", cases[i].head[0]) != NULL;
    }
    ck_assert_uint_ge(right, 10);
    ck_assert_uint_ge(wrong, 60);
}
END_TEST

START_TEST(byte_that_is_no_utf8_is_placed) {
    char *said;
    size_t errors;
    ck_assert_ptr_null(load("listen: 8080\nhosts: {d\xff: {}}\n", &said, &errors));
    check_said("2:10 UTF-8", said, "");
    free(said);
}
END_TEST

START_TEST(all_faults_of_a_file_are_told_at_once) {
    static const char text[] = "listen: {port: 80, prot: 81}\n"
                               "num-threads: 0\n"
                               "http1-request-timeout: 10s\n"
                               "hosts:\n"
                               "  default:\n"
                               "    routes:\n"
                               "      - {match: '/a(', consumer: echo}\n"
                               "      - {match: /b, consumer: ecoh}\n"
                               "      - {match: /c, consumer: ./options.so, options: {membrs: 1}}\n"
                               "    paths:\n"
                               "      /:\n"
                               "        file.dir: nowhere\n"
                               "        access-log: {path: nowhere/a.log, format: \"%Z\"}\n";
    static const char *const places[] = {
        ":1:20:", ":2:14:", ":3:24:", ":7:", ":8:31:", ":9:55:", ":12:19:", ":13:51:", ":13:28:"};
    char *said;
    size_t errors;
    ck_assert_ptr_null(load(text, &said, &errors));
    ck_assert_msg(errors == 9, "%s", said);
    ck_assert_uint_eq(count_lines(said), 9);
    for (size_t i = 0; i != sizeof(places) / sizeof(*places); i++)
        ck_assert_msg(strstr(said, places[i]) != NULL, "%s is not in:\n%s", places[i], said);
    free(said);
}
END_TEST

START_TEST(fault_in_an_included_file_names_that_file) {
    char *said;
    size_t errors;
    ck_assert_ptr_null(load("listen: 8080\nhosts: !file included.yaml\n", &said, &errors));
    ck_assert_uint_eq(errors, 1);
    ck_assert_msg(strstr(said, "/included.yaml:4:7: error: unknown word `file.dri`") != NULL, "%s",
                  said);
    free(said);
}
END_TEST

START_TEST(file_that_includes_itself_is_refused) {
    char *said;
    size_t errors;
    ck_assert_ptr_null(load("!file itself.yaml\n", &said, &errors));
    ck_assert_msg(strstr(said, "/itself.yaml:1:1: error: ") != NULL &&
                      strstr(said, "includes itself") != NULL,
                  "%s", said);
    free(said);
}
END_TEST

START_TEST(fault_behind_an_alias_is_told_once) {
    char *said;
    size_t errors;
    ck_assert_ptr_null(
        load(LISTEN "hosts:\n  default: &d\n    paths: {/: {file.dir: nowhere}}\n  a.example: *d\n",
             &said, &errors));
    ck_assert_uint_eq(errors, 1);
    ck_assert_uint_eq(count_lines(said), 1);
    free(said);
}
END_TEST

START_TEST(missing_file_is_told) {
    struct problems *problems = problems_create();
    ck_assert_ptr_null(config_load("/nowhere/at/all.yaml", NULL, 0, host_table(), problems));
    ck_assert_uint_eq(problems_errors(problems), 1);
    problems_free(problems);
}
END_TEST

/* --- what comes of right files --- */

static struct config *load_right(const char *text) {
    char *said;
    size_t errors;
    struct config *config = load(text, &said, &errors);
    ck_assert_msg(config != NULL, "%s", said);
    free(said);
    return config;
}

START_TEST(defaults_hold_when_the_file_is_silent) {
    struct config *config = load_right(LISTEN HOSTS);
    ck_assert_uint_ge(config->num_threads, 1);
    ck_assert_uint_eq(config->max_connections, 1024);
    ck_assert_uint_eq(config->offload_threads, 8);
    ck_assert_uint_eq(config->offload_queue, 1000);
    ck_assert_uint_eq(config->drain_ms, 10000);
    ck_assert_uint_eq(config->h2o.max_request_entity_size, 1 << 20);
    ck_assert_uint_eq(config->h2o.http1.req_timeout, 30000);
    ck_assert_ptr_null(config->user);
    ck_assert_uint_eq(config->listener_count, 1);
    ck_assert_str_eq(config->listeners[0].conf.port, "8080");
    ck_assert_ptr_null(config->listeners[0].conf.host);
    ck_assert_ptr_null(config->listeners[0].conf.tls);
    config_free(config);
}
END_TEST

START_TEST(paths_start_at_the_directory_of_the_file) {
    struct config *config = load_right(LISTEN HOSTS "pid-file: www/../pid\nerror-log: ./e.log\n");
    char expected[400], real[300];
    ck_assert_ptr_nonnull(realpath(directory, real));
    snprintf(expected, sizeof(expected), "%s/www/../pid", real);
    ck_assert_str_eq(config->pid_file, expected);
    snprintf(expected, sizeof(expected), "%s/e.log", real);
    ck_assert_str_eq(config->error_log, expected);
    config_free(config);
}
END_TEST

START_TEST(default_host_is_first_wherever_it_stands) {
    struct config *config =
        load_right(LISTEN "hosts: {a.example: {}, default: {}, \"b.example:81\": {}}\n");
    ck_assert_uint_eq(config->host_count, 3);
    ck_assert_str_eq(config->hosts[0].name, "default");
    ck_assert_str_eq(config->hosts[1].name, "a.example");
    ck_assert_str_eq(config->h2o.hosts[0]->authority.host.base, "default");
    ck_assert_str_eq(config->h2o.hosts[2]->authority.host.base, "b.example");
    config_free(config);
}
END_TEST

START_TEST(host_without_a_port_stands_for_the_listeners_and_the_default_port) {
    struct config *config =
        load_right(LISTEN "hosts: {default: {paths: {/a: {}}}, \"b.example:81\": {}}\n");
    h2o_hostconf_t **table = config_hosts_for_port(config, 8080);
    ck_assert_uint_eq(table[0]->authority.port, 8080);
    ck_assert_ptr_eq(table[0]->paths.entries, config->h2o.hosts[0]->paths.entries);
    ck_assert_ptr_eq(table[0]->fallback_path.handlers.entries,
                     config->h2o.hosts[0]->fallback_path.handlers.entries);
    ck_assert_ptr_eq(table[1], config->h2o.hosts[0]);
    ck_assert_ptr_eq(table[2], config->h2o.hosts[1]);
    ck_assert_uint_eq(table[2]->authority.port, 81);
    ck_assert_ptr_null(table[3]);
    ck_assert_ptr_eq(config_hosts_for_port(config, 0)[0], config->h2o.hosts[0]);
    config_free(config);
}
END_TEST

START_TEST(host_of_a_port_that_is_listened_on_is_reached_there_alone) {
    struct config *config =
        load_right("listen: [8080, {port: 9180, host: 127.0.0.1}, {unix: s.sock}]\n"
                   "hosts: {default: {}, \"b.example:81\": {}, \"localhost:9180\": {}}\n");
    static const unsigned others[] = {8080, 0};
    for (size_t i = 0; i < 2; i++) {
        h2o_hostconf_t **table = config_hosts_for_port(config, others[i]);
        size_t last = others[i] == 0 ? 1 : 2;
        ck_assert_uint_eq(table[last]->authority.port, 81); /* nobody listens there */
        ck_assert_ptr_null(table[last + 1]);
    }
    h2o_hostconf_t **table = config_hosts_for_port(config, 9180);
    ck_assert_uint_eq(table[2]->authority.port, 81);
    ck_assert_uint_eq(table[3]->authority.port, 9180);
    ck_assert_ptr_null(table[4]);
    config_free(config);
}
END_TEST

/* In this order: hygiene, the routes, /healthz; then H2O's own. */
START_TEST(every_path_is_guarded_and_routed_first) {
    struct config *config =
        load_right(LISTEN "hosts:\n  default:\n    paths:\n      /:\n        file.dir: www\n");
    const h2o_hostconf_t *host = config->h2o.hosts[0];
    ck_assert_uint_eq(host->paths.size, 1);
    ck_assert_uint_eq(host->paths.entries[0].handlers.size, 4);
    ck_assert_uint_eq(host->fallback_path.handlers.size, 3);
    ck_assert_ptr_eq(host->paths.entries[0].handlers.entries[0]->on_req,
                     host->fallback_path.handlers.entries[0]->on_req);
    ck_assert_ptr_eq(host->paths.entries[0].handlers.entries[1]->on_req,
                     host->fallback_path.handlers.entries[1]->on_req);
    config_free(config);
}
END_TEST

START_TEST(longer_paths_come_first) {
    struct config *config =
        load_right(LISTEN "hosts: {default: {paths: {/: {}, /a/b: {}, /a: {}}}}\n");
    const h2o_hostconf_t *host = config->h2o.hosts[0];
    ck_assert_str_eq(host->paths.entries[0].path.base, "/a/b");
    ck_assert_str_eq(host->paths.entries[1].path.base, "/a");
    ck_assert_str_eq(host->paths.entries[2].path.base, "/");
    config_free(config);
}
END_TEST

START_TEST(routes_keep_the_order_of_the_file) {
    struct config *config = load_right(
        ROUTE "      - {match: /b, consumer: echo}\n      - {match: /a, redirect: /b}\n");
    const struct router *router = config->hosts[0].router;
    ck_assert_uint_eq(router_count(router), 2);
    ck_assert_str_eq(route_pattern(router_route(router, 0)), "/b");
    ck_assert_ptr_nonnull(route_consumer(router_route(router, 0)));
    ck_assert_str_eq(route_pattern(router_route(router, 1)), "/a");
    ck_assert_ptr_null(route_consumer(router_route(router, 1)));
    config_free(config);
}
END_TEST

START_TEST(configurations_can_be_loaded_one_after_the_other) {
    for (int i = 0; i != 3; i++)
        config_free(load_right(ROUTE "      - {match: /a, consumer: relay, access-log: a.log}\n"));
}
END_TEST

/* --- kept messages --- */

static const struct group_terms *history_of(const struct config *config, size_t route) {
    return &instance_conf(route_consumer(router_route(config->hosts[0].router, route)))->history;
}

START_TEST(history_of_a_route_is_read) {
    static const struct {
        const char *text;
        struct group_terms terms;
    } routes[] = {
        {"", {0, 0, 0}},
        {", history: OFF", {0, 0, 0}},
        {", history: {}", {200, 86400, 4 << 20}},
        {", history: {messages: 10000}", {10000, 86400, 4 << 20}},
        {", history: {age: 1s}", {200, 1, 4 << 20}},
        {", history: {age: 3650d, bytes: 1k}", {200, 3650 * 86400, 1 << 10}},
        {", history: {messages: 1, age: Forever, bytes: 1g}", {1, 0, 1 << 30}},
    };
    char text[1000] = ROUTE;
    for (size_t i = 0; i != sizeof(routes) / sizeof(*routes); i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "      - {match: /%zu, consumer: echo, groups: %zu%s}\n", i, i, routes[i].text);
    struct config *config = load_right(text);
    for (size_t i = 0; i != sizeof(routes) / sizeof(*routes); i++) {
        const struct group_terms *terms = history_of(config, i);
        ck_assert_uint_eq(terms->messages, routes[i].terms.messages);
        ck_assert_uint_eq(terms->age_s, routes[i].terms.age_s);
        ck_assert_uint_eq(terms->bytes, routes[i].terms.bytes);
    }
    config_free(config);
}
END_TEST

/* Each part of `history` counts, and the hosts are read in the order of their table. */
START_TEST(namespace_that_is_kept_in_two_ways_is_told_with_both_places) {
    static const char *const others[] = {"{messages: 199}", "{age: 23h}", "{bytes: 3m}", "OFF"};
    char text[400], *said;
    size_t errors;
    snprintf(text, sizeof(text),
             LISTEN "hosts:\n"
                    "  a.example:\n"
                    "    routes: [{match: /, consumer: echo, groups: n, history: %s}]\n"
                    "  default:\n"
                    "    routes: [{match: /, consumer: relay, groups: n, history: {}}]\n",
             others[_i]);
    ck_assert_ptr_null(load(text, &said, &errors));
    check_said("4:61 t.yaml:6 share the groups of `n`", said, text);
    free(said);
}
END_TEST

START_TEST(messages_live_in_memory_when_the_file_is_silent) {
    static const char *const texts[] = {LISTEN HOSTS, LISTEN HOSTS "layer: memory\n"};
    for (size_t i = 0; i != 2; i++) {
        struct config *config = load_right(texts[i]);
        ck_assert_ptr_null(config->layer.sqlite);
        ck_assert_uint_eq(config->history_memory, 256 << 20);
        config_free(config);
    }
}
END_TEST

START_TEST(layer_is_read) {
    struct config *config = load_right(LISTEN HOSTS "layer: {sqlite: www/../a.db}\n"
                                                    "history-memory: 5g\n");
    char expected[400], real[300];
    ck_assert_ptr_nonnull(realpath(directory, real));
    snprintf(expected, sizeof(expected), "%s/www/../a.db", real);
    ck_assert_str_eq(config->layer.sqlite, expected);
    ck_assert(!config->layer.full && !config->layer.at_once);
    ck_assert_uint_eq(config->history_memory, INT64_C(5) << 30);
    config_free(config);
    config =
        load_right(LISTEN HOSTS "layer: {sqlite: /a.db, synchronous: full, deliver: at-once}\n");
    ck_assert_str_eq(config->layer.sqlite, "/a.db");
    ck_assert(config->layer.full && config->layer.at_once);
    config_free(config);
}
END_TEST

START_TEST(check_makes_no_file_for_messages) {
    char path[300];
    config_free(load_right(LISTEN HOSTS "layer: {sqlite: a.db}\n"));
    snprintf(path, sizeof(path), "%s/a.db", directory);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(where_messages_are_kept_needs_a_restart) {
    static const struct {
        const char *from, *to, *word; /* NULL: possible */
    } pairs[] = {
        {"", "layer: memory\nhistory-memory: 256m\n", NULL},
        {"layer: {sqlite: a.db}\n", "layer: {sqlite: ./a.db, synchronous: normal}\n", NULL},
        {"layer: {sqlite: a.db}\n", "layer: {sqlite: a.db, deliver: after-commit}\n", NULL},
        {"", "layer: {sqlite: a.db}\n", "layer"},
        {"layer: {sqlite: a.db}\n", "", "layer"},
        {"layer: {sqlite: a.db}\n", "layer: {sqlite: b.db}\n", "layer"},
        {"layer: {sqlite: a.db}\n", "layer: {sqlite: a.db, synchronous: full}\n", "layer"},
        {"layer: {sqlite: a.db}\n", "layer: {sqlite: a.db, deliver: at-once}\n", "layer"},
        {"", "history-memory: 1m\n", "history-memory"},
    };
    for (size_t i = 0; i != sizeof(pairs) / sizeof(*pairs); i++) {
        char text[200], why[512] = "", expected[100];
        snprintf(text, sizeof(text), LISTEN HOSTS "%s", pairs[i].from);
        struct config *from = load_right(text);
        snprintf(text, sizeof(text), LISTEN HOSTS "%s", pairs[i].to);
        struct config *to = load_right(text);
        bool possible = changes_possible(from, to, why, sizeof(why));
        ck_assert_msg(possible == (pairs[i].word == NULL), "%s to %s", pairs[i].from, pairs[i].to);
        snprintf(expected, sizeof(expected), "`%s` has changed: that needs a restart\n",
                 possible ? "" : pairs[i].word);
        ck_assert_str_eq(why, possible ? "" : expected);
        config_free(from);
        config_free(to);
    }
}
END_TEST

/* --- publishing --- */

#define PUBLISH_TO(space)                                                                          \
    ROUTE "      - {match: /a, consumer: echo}\n"                                                  \
          "    paths: {/p: {publish: {namespace: " space ", token-file: tokens}}}\n"

/* Its namespace may be that of a plugin that is not even loaded: the others have to be served. */
START_TEST(namespace_of_a_barred_plugin_is_not_missed) {
    struct snapshot *snapshot = snapshot_create();
    char *said;
    size_t errors;
    snapshot_add(snapshot, SNAPSHOT_BARRED, "echo", NULL, -1);
    snapshot_use(snapshot);
    struct config *config = load(PUBLISH_TO("default/echo"), &said, &errors);
    snapshot_use(NULL);
    snapshot_free(snapshot);
    ck_assert_msg(config != NULL, "%s", said);
    ck_assert_ptr_null(config->spaces);
    free(said);
    config_free(config);
}
END_TEST

/* A route that is wrong is told of, and not once more for what it would have had. */
START_TEST(namespace_of_a_wrong_route_is_not_missed) {
    char *said;
    size_t errors;
    ck_assert_ptr_null(load(ROUTE "      - {match: /a, consumer: nowhere}\n"
                                  "    paths: {/p: {publish: {namespace: default/nowhere, "
                                  "token-file: tokens}}}\n",
                            &said, &errors));
    ck_assert_uint_eq(errors, 1);
    ck_assert_ptr_null(strstr(said, "namespace"));
    free(said);
}
END_TEST

START_TEST(namespace_has_the_largest_message_of_its_routes) {
    struct config *config =
        load_right(ROUTE "      - {match: /a, consumer: echo, groups: n, limits: {message: 2k}}\n"
                         "      - {match: /b, consumer: relay, groups: n, limits: {message: 3k}}\n"
                         "      - {match: /c, consumer: echo, groups: n, limits: {message: 1k}}\n"
                         "      - {match: /d, consumer: echo, history: {messages: 7}}\n");
    const struct config_space *other = config->spaces, *shared = other->next;
    ck_assert_str_eq(shared->name, "n");
    ck_assert_uint_eq(shared->message_max, 3 << 10);
    ck_assert_uint_eq(shared->history.messages, 0);
    ck_assert_str_eq(other->name, "default/echo");
    ck_assert_uint_eq(other->message_max, 64 << 10);
    ck_assert_uint_eq(other->history.messages, 7);
    ck_assert_ptr_null(shared->next);
    config_free(config);
}
END_TEST

int main(void) {
    read_cases();
    Suite *suite = suite_create("config");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_set_timeout(files, 60);
    tcase_add_loop_test(files, file_is_judged_as_the_table_says, 0,
                        (int)((case_count + CHUNK - 1) / CHUNK));
    tcase_add_test(files, table_holds_as_many_files_as_promised);
    tcase_add_test(files, byte_that_is_no_utf8_is_placed);
    tcase_add_test(files, all_faults_of_a_file_are_told_at_once);
    tcase_add_test(files, fault_in_an_included_file_names_that_file);
    tcase_add_test(files, file_that_includes_itself_is_refused);
    tcase_add_test(files, fault_behind_an_alias_is_told_once);
    tcase_add_test(files, missing_file_is_told);
    tcase_add_test(files, defaults_hold_when_the_file_is_silent);
    tcase_add_test(files, paths_start_at_the_directory_of_the_file);
    tcase_add_test(files, default_host_is_first_wherever_it_stands);
    tcase_add_test(files, host_without_a_port_stands_for_the_listeners_and_the_default_port);
    tcase_add_test(files, host_of_a_port_that_is_listened_on_is_reached_there_alone);
    tcase_add_test(files, every_path_is_guarded_and_routed_first);
    tcase_add_test(files, longer_paths_come_first);
    tcase_add_test(files, routes_keep_the_order_of_the_file);
    tcase_add_test(files, configurations_can_be_loaded_one_after_the_other);
    tcase_add_test(files, history_of_a_route_is_read);
    tcase_add_loop_test(files, namespace_that_is_kept_in_two_ways_is_told_with_both_places, 0, 4);
    tcase_add_test(files, messages_live_in_memory_when_the_file_is_silent);
    tcase_add_test(files, layer_is_read);
    tcase_add_test(files, check_makes_no_file_for_messages);
    tcase_add_test(files, where_messages_are_kept_needs_a_restart);
    tcase_add_test(files, namespace_of_a_barred_plugin_is_not_missed);
    tcase_add_test(files, namespace_of_a_wrong_route_is_not_missed);
    tcase_add_test(files, namespace_has_the_largest_message_of_its_routes);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
