#include "config/manifest.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/problems.h"
#include "snapshot/sealed.h"
#include "snapshot/snapshot.h"
#include "support/directory.h"

static const char *const plugins[] = {BUILT_PLUGINS};

static char directory[100], path[150];
static struct snapshot *snapshot;
static struct manifest *manifest;

static void write_file(const char *name, const char *text) {
    char at[200];
    snprintf(at, sizeof(at), "%s/%s", directory, name);
    FILE *file = fopen(at, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/t.yaml", directory);
    snapshot = snapshot_create();
    write_file("a.pem", "certificate");
    write_file("b.pem", "authority");
    write_file("a.key", "key");
}

static void tear_down(void) {
    manifest_free(manifest);
    snapshot_free(snapshot);
    remove_test_directory(directory);
}

static int next_descriptor(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

static void take(const char *text) {
    manifest_free(manifest);
    write_file("t.yaml", text);
    manifest = manifest_take(path, plugins, 1, snapshot);
    ck_assert_ptr_null(snapshot_used());
}

static size_t entry_count(void) {
    size_t count;
    snapshot_entries(snapshot, &count);
    return count;
}

/* The entry of that kind called so; a name that begins with "/" is one in the directory. */
static const struct snapshot_entry *entry_of(enum snapshot_kind kind, const char *name) {
    char whole[300];
    snprintf(whole, sizeof(whole), "%s%s", name[0] == '/' ? directory : "", name);
    return snapshot_find(snapshot, kind, whole);
}

static void expect_content(enum snapshot_kind kind, const char *name, const char *text) {
    char content[400] = "";
    const struct snapshot_entry *entry = entry_of(kind, name);
    ck_assert_msg(entry != NULL, "%s is missing", name);
    ck_assert(sealed_is(entry->fd));
    ck_assert_int_ge(pread(entry->fd, content, sizeof(content) - 1, 0), 0);
    ck_assert_str_eq(content, text);
}

static void expect_only_the_file(void) {
    ck_assert_uint_eq(entry_count(), 1);
    ck_assert_ptr_nonnull(entry_of(SNAPSHOT_FILE, "/t.yaml"));
}

/* --- files --- */

#define INCLUDING                                                                                  \
    "listen: {port: 0, ssl: [{certificate-file: a.pem, key-file: a.key}]}\n"                       \
    "hosts: !file hosts.yaml\n"

START_TEST(all_that_is_named_is_taken) {
    static const char hosts[] = "default:\n"
                                "  routes:\n"
                                "    - {match: /ws/, consumer: echo, access-log: a.log}\n"
                                "  paths:\n"
                                "    /: {proxy.reverse.url: 'https://127.0.0.1:1/',\n"
                                "        proxy.ssl.cafile: b.pem,\n"
                                "        access-log: {path: b.log, format: x}}\n";
    write_file("hosts.yaml", hosts);
    take(INCLUDING "error-log: error.log\n");
    expect_content(SNAPSHOT_FILE, "/t.yaml", INCLUDING "error-log: error.log\n");
    expect_content(SNAPSHOT_FILE, "/hosts.yaml", hosts);
    expect_content(SNAPSHOT_CREDENTIAL, "/a.pem", "certificate");
    expect_content(SNAPSHOT_CREDENTIAL, "/a.key", "key");
    expect_content(SNAPSHOT_CREDENTIAL, "/b.pem", "authority");
    static const char *const logs[] = {"/a.log", "/b.log", "/error.log"};
    for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
        const struct snapshot_entry *log = entry_of(SNAPSHOT_LOG, logs[i]);
        ck_assert_msg(log != NULL, "%s is missing", logs[i]);
        ck_assert_int_ne(fcntl(log->fd, F_GETFL) & O_APPEND, 0);
    }
    const struct snapshot_entry *echo = entry_of(SNAPSHOT_PLUGIN, "echo");
    ck_assert_ptr_nonnull(echo);
    ck_assert_str_eq(echo->path, BUILT_PLUGINS "/echo.so");
    ck_assert(sealed_is(echo->fd));
    ck_assert_uint_eq(entry_count(), 9);
}
END_TEST

START_TEST(no_descriptor_but_the_snapshots_stays_open) {
    write_file("hosts.yaml", "default: {paths: {/: {access-log: a.log}}}\n");
    take(INCLUDING); /* plus what libraries open once */
    int before = next_descriptor();
    for (int i = 0; i < 3; i++) {
        snapshot_free(snapshot);
        snapshot = snapshot_create();
        take(INCLUDING);
    }
    ck_assert_int_eq(next_descriptor(), before);
}
END_TEST

/* A snapshot may be added to: what it holds already is what was checked. */
START_TEST(what_is_there_already_is_not_taken_again) {
    static const char text[] =
        "listen: {port: 0, ssl: {certificate-file: a.pem, key-file: a.pem}}\n"
        "hosts:\n"
        "  default:\n"
        "    routes:\n"
        "      - {match: /a/, consumer: echo, access-log: a.log}\n"
        "      - {match: /b/, consumer: echo, access-log: a.log}\n";
    take(text);
    ck_assert_uint_eq(entry_count(), 4);
    write_file("a.pem", "another");
    take(text);
    ck_assert_uint_eq(entry_count(), 4);
    expect_content(SNAPSHOT_CREDENTIAL, "/a.pem", "certificate");
}
END_TEST

START_TEST(what_can_not_be_read_is_left_out) {
    char pipe_path[200];
    snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", directory);
    ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
    take("listen: {port: 0, ssl: [{certificate-file: none.pem, key-file: pipe},\n"
         "                         {certificate-file: '', key-file: [a.key]},\n"
         "                         {certificate-file: {a.pem: b}, key-file: .}]}\n"
         "hosts: {default: {routes: [{consumer: none}, {consumer: ''}, {consumer: {a: b}},\n"
         "                           {consumer: ./none.so}, {consumer: /}],\n"
         "                  paths: {/a: {access-log: none/a.log}, /b: {access-log: ''},\n"
         "                          /c: {access-log: '|touch piped'}, /d: {access-log: [a.log]},\n"
         "                          /e: {access-log: {path: [a]}}, /f: {access-log: {}},\n"
         "                          /g: {access-log: {path: '| touch piped'}},\n"
         "                          /h: {access-log: pipe}}}}\n");
    expect_only_the_file();
    ck_assert_uint_eq(manifest->listener_count, 1);
}
END_TEST

static const char *const broken[] = {
    "",
    "listen",
    "[listen, 8080]",
    "listen: [",
    "listen: 80\nlisten: 81\n? [a, b]\n: {consumer: c}\n",
    "a: &a [*a]\n",
    "? {access-log: b}\n: c\n",
    "a: !file none.yaml\n",
    "a: !file t.yaml\n",
    "\t: \x01",
    "hosts: {? [x] : {access-log: ''}}\n",
    "- &a {<<: *a}\n",
};

START_TEST(a_file_that_is_none_is_still_a_manifest) {
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        snapshot_free(snapshot);
        snapshot = snapshot_create();
        take(broken[i]);
        expect_only_the_file();
        ck_assert_uint_le(manifest->listener_count, 1);
        ck_assert_uint_ge(manifest->process.num_threads, 1);
    }
    manifest_free(manifest);
    manifest = manifest_take("/nonexistent/sluice.yaml", NULL, 0, snapshot);
    ck_assert_uint_eq(entry_count(), 1);
    ck_assert_uint_gt(problems_errors(manifest->problems), 0);
}
END_TEST

/* A command that only looks for the control socket must not make files. */
START_TEST(without_a_snapshot_nothing_is_opened_or_made) {
    char log[200];
    write_file("t.yaml", "listen: 8080\npid-file: a.pid\nerror-log: error.log\n"
                         "hosts: {default: {paths: {/: {access-log: error.log}}}}\n");
    manifest = manifest_take(path, NULL, 0, NULL);
    ck_assert_uint_eq(manifest->listener_count, 1);
    snprintf(log, sizeof(log), "%s/a.pid", directory);
    ck_assert_str_eq(manifest->process.pid_file, log);
    snprintf(log, sizeof(log), "%s/error.log", directory);
    ck_assert_str_eq(manifest->process.error_log, log);
    ck_assert_int_eq(access(log, F_OK), -1);
}
END_TEST

/* --- the process --- */

START_TEST(the_words_of_the_process_are_read_and_wrong_ones_left_at_their_defaults) {
    take("num-threads: 3\nuser: nobody\ndrain-timeout: 5s\nstuck-timeout: OFF\nsandbox: OFF\n"
         "offload: {threads: 4, queue: 20}\ncontrol: c\nlog-level: debug\nretire-timeout: 2s\n");
    const struct config *process = &manifest->process;
    ck_assert_uint_eq(process->num_threads, 3);
    ck_assert_str_eq(process->user, "nobody");
    ck_assert_uint_eq(process->drain_ms, 5000);
    ck_assert_uint_eq(process->stuck_ms, 0);
    ck_assert_uint_eq(process->retire_ms, 2000);
    ck_assert(!process->sandbox);
    ck_assert_uint_eq(process->offload_threads, 4);
    ck_assert_uint_eq(process->offload_queue, 20);
    ck_assert_str_eq(strrchr(process->control, '/'), "/c");
    ck_assert_int_eq(process->log_level, LOG_AT_DEBUG);
    snapshot_drop(snapshot, SNAPSHOT_FILE); /* the text is another now */
    take("num-threads: none\nuser: [a]\ndrain-timeout: 5\nstuck-timeout: 1s\nsandbox: perhaps\n"
         "offload: 3\ncontrol: {}\nlog-level: loud\nplugin-dir: {a: b}\npid-file: ''\n"
         "error-log: '|cat'\nretire-timeout: 100d\n");
    process = &manifest->process;
    ck_assert_uint_ge(process->num_threads, 1);
    ck_assert_ptr_null(process->user);
    ck_assert_uint_eq(process->drain_ms, 10000);
    ck_assert_uint_eq(process->stuck_ms, 10000);
    ck_assert_uint_eq(process->retire_ms, 60000);
    ck_assert(process->sandbox);
    ck_assert_uint_eq(process->offload_threads, 8);
    ck_assert_ptr_null(process->control);
    ck_assert_ptr_null(process->pid_file);
    ck_assert_ptr_null(process->error_log);
    ck_assert_int_eq(process->log_level, LOG_AT_INFO);
}
END_TEST

START_TEST(plugins_are_looked_for_in_the_files_own_folders) {
    char text[500];
    snprintf(text, sizeof(text),
             "plugin-dir: [none, %s]\nhosts: {default: {routes: [{consumer: puppet},\n"
             "{consumer: echo}, {consumer: ./copy.so}]}}\n",
             TEST_PLUGINS);
    write_file("copy.so", "code");
    take(text);
    ck_assert_ptr_nonnull(entry_of(SNAPSHOT_PLUGIN, "puppet"));
    ck_assert_ptr_null(entry_of(SNAPSHOT_PLUGIN, "echo"));
    expect_content(SNAPSHOT_PLUGIN, "/./copy.so", "code");
    ck_assert_uint_eq(entry_count(), 3);
}
END_TEST

/* Whose mode the copy would not have. */
START_TEST(secret_that_everybody_may_read_is_barred) {
    char secret[200];
    const char *text = "hosts: {default: {paths: {/p: {publish: {token-file: secret}}}}}\n";
    write_file("secret", "0123456789abcdef\n");
    snprintf(secret, sizeof(secret), "%s/secret", directory);
    ck_assert_int_eq(chmod(secret, 0604), 0);
    take(text);
    ck_assert_ptr_null(entry_of(SNAPSHOT_CREDENTIAL, "/secret"));
    ck_assert_ptr_nonnull(entry_of(SNAPSHOT_BARRED, "/secret"));
    snapshot_free(snapshot);
    snapshot = snapshot_create();
    ck_assert_int_eq(chmod(secret, 0640), 0);
    take(text);
    expect_content(SNAPSHOT_CREDENTIAL, "/secret", "0123456789abcdef\n");
    ck_assert_uint_eq(entry_count(), 2);
    ck_assert_int_eq(chmod(secret, 0644), 0);
    take(text);
    ck_assert_uint_eq(entry_count(), 2);
}
END_TEST

/* --- listeners --- */

static void expect_listener(size_t index, const char *key, bool tls, size_t line) {
    const struct manifest_listener *listener = &manifest->listeners[index];
    ck_assert_str_eq(listener->key, key);
    ck_assert_int_eq(listener->tls, tls);
    ck_assert_str_eq(listener->place.file, path);
    ck_assert_uint_eq(listener->place.line, line);
}

START_TEST(listeners_have_keys_of_their_own_and_wrong_ones_are_left_out) {
    char key[200];
    take("listen:\n"
         "  - 8080\n"
         "  - {port: 0, host: 127.0.0.1}\n"
         "  - {host: a.example}\n"
         "  - {port: 0, host: 127.0.0.1, ssl: {}}\n"
         "  - {port: 65536}\n"
         "  - [8081]\n"
         "  - {unix: a.socket, mode: \"0600\"}\n"
         "  - {unix: a.socket, port: 80}\n"
         "  - {port: \"00443\", host: '::1', ssl: x}\n"
         "  - {port: 0, host: 127.0.0.1}\n"
         "  -\n");
    ck_assert_uint_eq(manifest->listener_count, 6);
    expect_listener(0, "*:8080", false, 2);
    expect_listener(1, "127.0.0.1:0", false, 3);
    expect_listener(2, "127.0.0.1:0#2", true, 5);
    snprintf(key, sizeof(key), "unix:%s/a.socket", directory);
    expect_listener(3, key, false, 8);
    ck_assert_uint_eq(manifest->listeners[3].conf.unix_mode, 0600);
    expect_listener(4, "::1:443", true, 10);
    expect_listener(5, "127.0.0.1:0#3", false, 11);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("manifest");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, all_that_is_named_is_taken);
    tcase_add_test(all, no_descriptor_but_the_snapshots_stays_open);
    tcase_add_test(all, what_is_there_already_is_not_taken_again);
    tcase_add_test(all, what_can_not_be_read_is_left_out);
    tcase_add_test(all, a_file_that_is_none_is_still_a_manifest);
    tcase_add_test(all, without_a_snapshot_nothing_is_opened_or_made);
    tcase_add_test(all, the_words_of_the_process_are_read_and_wrong_ones_left_at_their_defaults);
    tcase_add_test(all, plugins_are_looked_for_in_the_files_own_folders);
    tcase_add_test(all, secret_that_everybody_may_read_is_barred);
    tcase_add_test(all, listeners_have_keys_of_their_own_and_wrong_ones_are_left_out);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
