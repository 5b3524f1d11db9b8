#include "consumer/plugin.h"

#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "consumer/image.h"
#include "observe/log.h"

#define ODD TEST_PLUGINS "/odd/"

/* What plugins are handed here: they only keep it. */
static const struct sluice_host host = {
    .size = sizeof(host), .abi_major = SLUICE_ABI_MAJOR, .abi_minor = SLUICE_ABI_MINOR};

static char folder[64];

static void make_folder(void) {
    strcpy(folder, P_tmpdir "/sluice-plugin-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    unsetenv("SLUICE_TEST_RAN");
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

struct bytes {
    uint8_t *data;
    size_t size;
};

static struct bytes read_file(const char *path) {
    struct stat status;
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file && fstat(fileno(file), &status) == 0, "%s is not there", path);
    struct bytes bytes = {malloc((size_t)status.st_size), (size_t)status.st_size};
    ck_assert_uint_eq(fread(bytes.data, 1, bytes.size, file), bytes.size);
    fclose(file);
    return bytes;
}

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Writes in place, as cp does: the file keeps its inode. */
static const char *write_file(const char *name, const void *data, size_t size) {
    const char *path = path_of(name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static struct plugin *load(const char *path) {
    struct plugin *plugin;
    struct error error = {""};
    ck_assert_msg(plugin_load(path, -1, &host, &plugin, &error), "%s", error.text);
    return plugin;
}

static void refuse(const char *path, const char *sentence) {
    struct plugin *plugin = (struct plugin *)&host;
    struct error error = {""};
    ck_assert(!plugin_load(path, -1, &host, &plugin, &error));
    ck_assert_ptr_null(plugin);
    ck_assert_msg(strncmp(error.text, path, strlen(path)) == 0, "does not begin with the path: %s",
                  error.text);
    ck_assert_msg(strstr(error.text, sentence), "does not say \"%s\": %s", sentence, error.text);
    ck_assert_ptr_null(strchr(error.text, '\n'));
}

/* --- what loads --- */

START_TEST(a_plugin_loads_and_its_hooks_run) {
    struct plugin *plugin = load(TEST_PLUGINS "/plain.so");
    const sluice_consumer *consumer = plugin_consumer(plugin);
    void *data = NULL;
    ck_assert_str_eq(consumer->name, "plain");
    ck_assert_str_eq(consumer->version, "1.0");
    ck_assert_uint_eq(consumer->data_size, 24);
    ck_assert_ptr_null((void *)(uintptr_t)consumer->connect);
    ck_assert_int_eq(consumer->open(NULL, &data), 0);
    ck_assert_int_eq(*(int *)data, 1);
    ck_assert_str_eq(plugin_path(plugin), TEST_PLUGINS "/plain.so");
}
END_TEST

static const char *const all_good[] = {
    TEST_PLUGINS "/plain.so",    TEST_PLUGINS "/two_files.so",   TEST_PLUGINS "/cplusplus.so",
    TEST_PLUGINS "/clashing.so", ODD "clashing_static.so",       BUILT_PLUGINS "/echo.so",
    BUILT_PLUGINS "/relay.so",   BUILT_PLUGINS "/group_chat.so", TEST_PLUGINS "/async_auth.so",
};

START_TEST(plugins_of_every_make_load_without_a_warning) {
    int ends[2];
    char said[256];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    log_open(ends[1]);
    load(all_good[_i]);
    ck_assert_int_eq(read(ends[0], said, sizeof(said)), -1);
    close(ends[0]);
}
END_TEST

START_TEST(the_same_content_is_loaded_once) {
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    struct plugin *plugin = load(TEST_PLUGINS "/plain.so");
    ck_assert_ptr_eq(load(write_file("copy.so", bytes.data, bytes.size)), plugin);
    ck_assert_str_eq(plugin_path(plugin), TEST_PLUGINS "/plain.so");
    free(bytes.data);
}
END_TEST

START_TEST(other_content_at_the_same_path_is_another_plugin) {
    struct bytes plain = read_file(TEST_PLUGINS "/plain.so");
    struct bytes clashing = read_file(TEST_PLUGINS "/clashing.so");
    struct plugin *before = load(write_file("one.so", plain.data, plain.size));
    struct plugin *after = load(write_file("one.so", clashing.data, clashing.size));
    ck_assert_ptr_ne(before, after);
    ck_assert_str_eq(plugin_consumer(before)->name, "plain");
    ck_assert_str_eq(plugin_consumer(after)->name, "clashing");
    free(plain.data);
    free(clashing.data);
}
END_TEST

START_TEST(content_that_differs_in_one_byte_has_its_own_variables) {
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    void *first, *second;
    uint8_t *version = memmem(bytes.data, bytes.size, "plain\0", 6);
    ck_assert_ptr_nonnull(version);
    struct plugin *one = load(write_file("one.so", bytes.data, bytes.size));
    memcpy(version, "other", 5);
    struct plugin *two = load(write_file("two.so", bytes.data, bytes.size));
    plugin_consumer(one)->open(NULL, &first);
    plugin_consumer(two)->open(NULL, &second);
    ck_assert_ptr_ne(first, second);
    ck_assert_str_eq(plugin_consumer(two)->name, "other");
    free(bytes.data);
}
END_TEST

START_TEST(writing_over_a_loaded_file_disturbs_nothing) {
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    struct plugin *plugin = load(write_file("live.so", bytes.data, bytes.size));
    void *data;
    memset(bytes.data, 0xcc, bytes.size);
    write_file("live.so", bytes.data, bytes.size);
    ck_assert_int_eq(plugin_consumer(plugin)->open(NULL, &data), 0);
    write_file("live.so", bytes.data, 1);
    ck_assert_int_eq(plugin_consumer(plugin)->open(NULL, &data), 0);
    ck_assert_int_eq(*(int *)data, 2);
    ck_assert_str_eq(plugin_consumer(plugin)->name, "plain");
    free(bytes.data);
}
END_TEST

START_TEST(a_shorter_descriptor_lacks_what_it_leaves_out) {
    const sluice_consumer *consumer = plugin_consumer(load(ODD "shorter.so"));
    ck_assert_uint_eq(consumer->data_size, 8);
    ck_assert_ptr_null((void *)(uintptr_t)consumer->open);
    ck_assert_uint_eq(consumer->size, sizeof(*consumer));
}
END_TEST

START_TEST(a_longer_descriptor_is_read_as_far_as_it_is_known) {
    const sluice_consumer *consumer = plugin_consumer(load(ODD "longer.so"));
    void *data;
    ck_assert_int_eq(consumer->open(NULL, &data), 0);
    ck_assert_ptr_null((void *)(uintptr_t)consumer->http);
    ck_assert_uint_eq(consumer->size, sizeof(*consumer));
}
END_TEST

START_TEST(the_loaders_name_leads_back_to_the_plugin) {
    struct plugin *plugin = load(TEST_PLUGINS "/plain.so");
    char line[512], *name = NULL;
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps))
        if (strstr(line, "/memfd:sluice"))
            name = line;
    fclose(maps);
    ck_assert_msg(name, "the plugin is not loaded from memory");
    for (int fd = 3; fd < 256; fd++) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        const struct plugin *found = plugin_by_loaded_name(path);
        if (found) {
            ck_assert_ptr_eq(found, plugin);
            ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
            ck_assert_int_eq(fcntl(fd, F_GET_SEALS),
                             F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
            return;
        }
    }
    ck_abort_msg("no descriptor leads to the plugin");
}
END_TEST

START_TEST(a_name_that_nothing_was_loaded_from_leads_nowhere) {
    ck_assert_ptr_null(plugin_by_loaded_name("/proc/self/fd/0"));
}
END_TEST

START_TEST(exported_names_draw_a_warning_once) {
    int ends[2];
    char said[1024] = "";
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    log_open(ends[1]);
    load(ODD "clashing_exported.so");
    load(ODD "clashing_exported.so");
    ck_assert_int_gt(read(ends[0], said, sizeof(said) - 1), 0);
    ck_assert_msg(strstr(said, "exports 4 other symbols, e.g. `"), "%s", said);
    ck_assert_ptr_nonnull(strstr(said, "-fvisibility=hidden"));
    ck_assert_msg(strchr(said, '\n')[1] == '\0', "more than one line: %s", said);
    close(ends[0]);
}
END_TEST

/* --- what is refused --- */

static const struct refusal {
    const char *path, *sentence;
    bool runs; /* its constructor may run before the fault can be seen */
} refusals[] = {
    {ODD "other_major.so",
     "is built for ABI 2.1, and this server has ABI 1.1: rebuild it against sluice/consumer.h",
     false},
    {ODD "newer_minor.so", "needs ABI 1.7, and this server has ABI 1.1", false},
    {ODD "no_note.so", "is not a Sluice plugin: it has no ABI note (is SLUICE_CONSUMER missing",
     false},
    {ODD "no_entry.so", "does not export sluice_consumer_entry", true},
    {ODD "no_consumer.so", "returns no consumer", true},
    {ODD "no_name.so", "without a name or version", true},
    {ODD "no_magic.so", "returns no consumer", true},
    {ODD "other_major_inside.so", "is built for ABI 2.0", true},
    {ODD "too_short.so", "returns no consumer", true},
    {ODD "greedy.so", "asks for 4294967295 bytes of data for each connection; the most is 1048576",
     true},
    {ODD "missing_library.so",
     "needs libabsent.so.1, which is not installed: install it, or link it statically", false},
    {ODD "missing_beside.so", "its RUNPATH uses $ORIGIN, which cannot work", false},
    {ODD "undefined_symbol.so", "uses `absent_function`, which nothing provides", false},
    {ODD "undefined_symbol.so", "-Wl,-z,defs", false},
    {"/nonexistent/x.so", "cannot be opened: No such file or directory", false},
    {"/", "is a directory, not a file", false},
    {"/dev/null", "is a device, not a file", false},
    {"/etc/passwd", "is not a shared object (it is no ELF file): build it with cc -shared -fPIC",
     false},
};

START_TEST(a_faulty_plugin_is_refused_in_a_sentence) {
    log_limit(LOG_AT_ERROR);
    refuse(refusals[_i].path, refusals[_i].sentence);
    ck_assert(refusals[_i].runs == (getenv("SLUICE_TEST_RAN") != NULL));
}
END_TEST

START_TEST(a_library_of_no_sluice_is_refused_before_it_runs) {
    const char *library = NULL;
    char line[512], path[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    while (!library && fgets(line, sizeof(line), maps))
        if (strstr(line, "/libc.so") && sscanf(line, "%*s %*s %*s %*s %*s %511s", path) == 1)
            library = path;
    fclose(maps);
    ck_assert_ptr_nonnull(library);
    refuse(library, "it has no ABI note");
}
END_TEST

START_TEST(this_program_is_refused) { refuse("/proc/self/exe", "it has no ABI note"); }
END_TEST

START_TEST(a_refused_plugin_is_refused_again) {
    refuse(ODD "no_consumer.so", "returns no consumer");
    refuse(ODD "no_consumer.so", "returns no consumer");
    load(TEST_PLUGINS "/plain.so");
}
END_TEST

START_TEST(a_refused_plugin_leaves_no_descriptor) {
    int before = dup(0), after;
    close(before);
    refuse(ODD "other_major.so", "ABI");
    refuse(ODD "missing_library.so", "needs");
    refuse(ODD "undefined_symbol.so", "uses");
    refuse("/etc/passwd", "is not a shared object");
    after = dup(0);
    ck_assert_int_eq(before, after);
    close(after);
}
END_TEST

START_TEST(a_pipe_is_refused_without_waiting) {
    ck_assert_int_eq(mkfifo(path_of("pipe.so"), 0600), 0);
    refuse(path_of("pipe.so"), "is a pipe, not a file");
}
END_TEST

START_TEST(an_empty_file_is_refused) { refuse(write_file("empty.so", "", 0), "is empty"); }
END_TEST

/* --- damaged files --- */

struct patch {
    size_t at, size;
    uint64_t value;
    const char *sentence;
};

#define FIELD(name, value, sentence)                                                               \
    { offsetof(Elf64_Ehdr, name), sizeof(((Elf64_Ehdr *)0)->name), value, sentence }

static const struct patch patches[] = {
    FIELD(e_machine, EM_AARCH64, "is built for AArch64 (ELF machine 183)"),
    FIELD(e_machine, EM_ARM, "is built for 32-bit ARM"),
    FIELD(e_machine, 0xfeed, "is built for another machine (ELF machine 65261)"),
    FIELD(e_type, ET_EXEC, "is a program, not a shared object"),
    FIELD(e_type, ET_REL, "is an object file, not a shared object"),
    FIELD(e_type, ET_CORE, "is not a shared object (ELF type 4)"),
    {EI_CLASS, 1, ELFCLASS32, "is built for a machine of other word size"},
    {EI_DATA, 1, ELFDATA2MSB, "is built for a machine of other word size or byte order"},
    {0, 1, 'X', "it is no ELF file"},
    FIELD(e_phnum, 0, "it has no segments"),
    FIELD(e_phnum, 0xffff, "it has no segments, or too many"),
    FIELD(e_phoff, UINT64_MAX - 8, "its table of segments lies outside"),
    FIELD(e_shoff, UINT64_MAX - 8, "its table of sections lies outside"),
    FIELD(e_phentsize, 1, "its ELF header is not of version 1"),
    FIELD(e_shentsize, 1, "its section headers have an odd size"),
};

START_TEST(a_wrong_header_is_named) {
    const struct patch *patch = &patches[_i];
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    memcpy(bytes.data + patch->at, &patch->value, patch->size); /* little-endian, as the machine */
    refuse(write_file("patched.so", bytes.data, bytes.size), patch->sentence);
    free(bytes.data);
}
END_TEST

START_TEST(a_file_cut_anywhere_is_refused) {
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    size_t step = bytes.size / 300 + 1;
    for (size_t size = 1; size < bytes.size; size += size < 1024 ? 7 : step)
        refuse(write_file("cut.so", bytes.data, size),
               size < SELFMAG ? "is no ELF file" : "is cut off");
    refuse(write_file("cut.so", bytes.data, bytes.size - 1), "is cut off");
    free(bytes.data);
}
END_TEST

/* As a copy looks that was preallocated and stopped half-way. */
START_TEST(a_file_with_a_hole_at_its_end_is_refused) {
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    uint8_t *holed = malloc(bytes.size);
    ck_assert_ptr_nonnull(holed);
    for (size_t whole = 1024; whole < bytes.size - 4096; whole += 1024) {
        memset(holed, 0, bytes.size);
        memcpy(holed, bytes.data, whole);
        refuse(write_file("hole.so", holed, bytes.size), "is damaged");
    }
    free(holed);
    free(bytes.data);
}
END_TEST

/* Loads a copy with this bit flipped, unless the image's own check refuses it, and calls its
   hook. */
static void load_flipped(struct bytes bytes, size_t bit) {
    struct image image;
    struct error error;
    struct sluice_note note;
    struct plugin *plugin;
    void *data;
    bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (image_open(&image, bytes.data, bytes.size, &error) && image_note(&image, &note) &&
        plugin_load(write_file("bit.so", bytes.data, bytes.size), -1, &host, &plugin, &error) &&
        plugin_consumer(plugin)->open)
        plugin_consumer(plugin)->open(NULL, &data);
    bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* In a child, so that a crash is seen and what was loaded goes away. */
static bool survives_flips(struct bytes bytes, size_t first, size_t end) {
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        for (size_t bit = first * 8; bit < end * 8; bit++)
            load_flipped(bytes, bit);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Every bit of the ELF header and of the table of segments, one at a time. */
START_TEST(a_flipped_bit_in_the_headers_never_crashes) {
    struct bytes bytes = read_file(TEST_PLUGINS "/plain.so");
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)bytes.data;
    size_t end = sizeof(*header) + header->e_phnum * sizeof(Elf64_Phdr);
    ck_assert_uint_eq(header->e_phoff, sizeof(*header));
    log_limit(LOG_AT_ERROR);
    for (size_t at = 0; at < end; at += 8)
        ck_assert_msg(survives_flips(bytes, at, at + 8), "a bit of bytes %zu to %zu", at, at + 7);
    free(bytes.data);
}
END_TEST

/* --- finding --- */

static const char *const directories[] = {BUILT_PLUGINS, TEST_PLUGINS, "/nonexistent"};

static void find(const char *name, const char *expected) {
    char *path;
    struct error error = {""};
    ck_assert_msg(plugin_find(name, folder, directories, 3, &path, &error), "%s", error.text);
    ck_assert_str_eq(path, expected);
    free(path);
}

static void find_nothing(const char *name, const char *sentence) {
    char *path = folder;
    struct error error = {""};
    ck_assert(!plugin_find(name, folder, directories, 3, &path, &error));
    ck_assert_ptr_null(path);
    ck_assert_msg(strstr(error.text, sentence), "does not say \"%s\": %s", sentence, error.text);
}

START_TEST(a_name_is_looked_for_in_each_directory) {
    find("echo", BUILT_PLUGINS "/echo.so");
    find("plain", TEST_PLUGINS "/plain.so");
}
END_TEST

START_TEST(the_first_directory_wins) {
    const char *const twice[] = {folder, TEST_PLUGINS};
    char *path;
    struct error error;
    write_file("plain.so", "", 0);
    ck_assert(plugin_find("plain", NULL, twice, 2, &path, &error));
    ck_assert_str_eq(path, path_of("plain.so"));
    free(path);
}
END_TEST

START_TEST(a_name_is_found_in_its_own_folder) {
    const char *const one[] = {folder};
    char *path;
    struct error error;
    ck_assert_int_eq(mkdir(path_of("mine"), 0700), 0);
    write_file("mine/mine.so", "", 0);
    ck_assert(plugin_find("mine", NULL, one, 1, &path, &error));
    ck_assert_str_eq(path, path_of("mine/mine.so"));
    free(path);
    ck_assert(!plugin_find("mind", NULL, one, 1, &path, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "did you mean `mine`?"));
}
END_TEST

START_TEST(a_path_is_relative_to_the_base) {
    char expected[128];
    write_file("here.so", "", 0);
    strcpy(expected, path_of("./here.so"));
    find("./here.so", expected);
    strcpy(expected, path_of("here.so"));
    find("here.so", expected);
    find(expected, expected);
    find_nothing("./there.so", "there is no plugin file");
}
END_TEST

START_TEST(a_name_that_is_nowhere_is_told_with_places_and_the_nearest) {
    find_nothing("eco", "there is no plugin `eco`; did you mean `echo`?");
    find_nothing("group-chat", "did you mean `group_chat`?");
    find_nothing("gruop_chat", "did you mean `group_chat`?");
    find_nothing("something_else", "Looked for something_else.so in: " BUILT_PLUGINS
                                   ", " TEST_PLUGINS ", /nonexistent (not there)");
    find_nothing("", "name is empty");
}
END_TEST

START_TEST(no_name_is_suggested_for_one_far_off) {
    char *path;
    struct error error;
    ck_assert(!plugin_find("something_else", NULL, directories, 3, &path, &error));
    ck_assert_ptr_null(strstr(error.text, "did you mean"));
    ck_assert(!plugin_find("x", NULL, directories, 0, &path, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "no directory at all"));
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table[0])))

int main(void) {
    Suite *suite = suite_create("plugin");
    TCase *loading = tcase_create("loading"), *damage = tcase_create("damage");
    tcase_add_checked_fixture(loading, make_folder, remove_folder);
    tcase_add_test(loading, a_plugin_loads_and_its_hooks_run);
    tcase_add_loop_test(loading, plugins_of_every_make_load_without_a_warning, 0, COUNT(all_good));
    tcase_add_test(loading, the_same_content_is_loaded_once);
    tcase_add_test(loading, other_content_at_the_same_path_is_another_plugin);
    tcase_add_test(loading, content_that_differs_in_one_byte_has_its_own_variables);
    tcase_add_test(loading, writing_over_a_loaded_file_disturbs_nothing);
    tcase_add_test(loading, a_shorter_descriptor_lacks_what_it_leaves_out);
    tcase_add_test(loading, a_longer_descriptor_is_read_as_far_as_it_is_known);
    tcase_add_test(loading, the_loaders_name_leads_back_to_the_plugin);
    tcase_add_test(loading, a_name_that_nothing_was_loaded_from_leads_nowhere);
    tcase_add_test(loading, exported_names_draw_a_warning_once);
    tcase_add_loop_test(loading, a_faulty_plugin_is_refused_in_a_sentence, 0, COUNT(refusals));
    tcase_add_test(loading, a_library_of_no_sluice_is_refused_before_it_runs);
    tcase_add_test(loading, this_program_is_refused);
    tcase_add_test(loading, a_refused_plugin_is_refused_again);
    tcase_add_test(loading, a_refused_plugin_leaves_no_descriptor);
    tcase_add_test(loading, a_pipe_is_refused_without_waiting);
    tcase_add_test(loading, an_empty_file_is_refused);
    tcase_add_test(loading, a_name_is_looked_for_in_each_directory);
    tcase_add_test(loading, the_first_directory_wins);
    tcase_add_test(loading, a_name_is_found_in_its_own_folder);
    tcase_add_test(loading, a_path_is_relative_to_the_base);
    tcase_add_test(loading, a_name_that_is_nowhere_is_told_with_places_and_the_nearest);
    tcase_add_test(loading, no_name_is_suggested_for_one_far_off);
    suite_add_tcase(suite, loading);

    tcase_set_timeout(damage, 150);
    tcase_add_checked_fixture(damage, make_folder, remove_folder);
    tcase_add_loop_test(damage, a_wrong_header_is_named, 0, COUNT(patches));
    tcase_add_test(damage, a_file_cut_anywhere_is_refused);
    tcase_add_test(damage, a_file_with_a_hole_at_its_end_is_refused);
    tcase_add_test(damage, a_flipped_bit_in_the_headers_never_crashes);
    suite_add_tcase(suite, damage);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
