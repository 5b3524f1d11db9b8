#include "consumer/plugin.h"

#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consumer/image.h"
#include "observe/log.h"
#include "observe/nearest.h"
#include "observe/page.h"
#include "snapshot/sealed.h"

#define DATA_SIZE_MAX (1u << 20)
#define DIGEST_SIZE 32
#define NAME_MAX_COMPARED 64

/* A file's content, sealed: nobody can change or shrink it any more, so reading it is always
   safe. */
struct copy {
    int fd;
    uint8_t *bytes;
    size_t size;
    unsigned char digest[DIGEST_SIZE];
};

struct plugin {
    struct plugin *next;
    char *path;
    /* Open for ever: the loader compares names before files, so a number used again would return
       this plugin. */
    struct copy copy;
    char loaded_name[32];
    void *handle;
    bool ready; /* its entry has run and consumer is filled */
    sluice_consumer consumer;
};

/* All that the loader took, newest first; grows only. */
static struct plugin *loaded;

static void copy_close(struct copy *copy) {
    if (copy->bytes)
        munmap(copy->bytes, copy->size);
    if (copy->fd >= 0)
        close(copy->fd);
}

static bool map(struct copy *copy, struct error *error) {
    struct stat status;
    if (fstat(copy->fd, &status) != 0)
        return error_set(error, "cannot be examined: %s", strerror(errno));
    copy->size = (size_t)status.st_size;
    if (copy->size == 0)
        return error_set(error, "is empty: copy or build it again");
    void *bytes = mmap(NULL, copy->size, PROT_READ, MAP_PRIVATE, copy->fd, 0);
    if (bytes == MAP_FAILED)
        return error_set(error, "cannot be read from memory: %s", strerror(errno));
    copy->bytes = bytes;
    int digested = EVP_Digest(copy->bytes, copy->size, copy->digest, NULL, EVP_sha256(), NULL);
    assert(digested == 1);
    (void)digested;
    return true;
}

/* Takes fd. */
static bool copy_open(struct copy *copy, int fd, struct error *error) {
    *copy = (struct copy){.fd = fd};
    bool ok = fd >= 0 && map(copy, error);
    if (!ok)
        copy_close(copy);
    assert(!ok || copy->bytes);
    return ok;
}

static struct plugin *find_same(const struct copy *copy) {
    for (struct plugin *plugin = loaded; plugin; plugin = plugin->next)
        if (plugin->copy.size == copy->size &&
            memcmp(plugin->copy.digest, copy->digest, DIGEST_SIZE) == 0 &&
            memcmp(plugin->copy.bytes, copy->bytes, copy->size) == 0)
            return plugin;
    return NULL;
}

/* The same question is asked of the note, before the plugin runs, and of the descriptor. */
static bool check_abi(uint32_t major, uint32_t minor, uint32_t minor_needed, struct error *error) {
    if (major != SLUICE_ABI_MAJOR)
        return error_set(
            error,
            "is built for ABI %u.%u, and this server has ABI %u.%u: rebuild it against "
            "sluice/consumer.h of this version",
            major, minor, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    if (minor_needed > SLUICE_ABI_MINOR)
        return error_set(
            error,
            "needs ABI %u.%u, and this server has ABI %u.%u: run it on a newer server, or "
            "rebuild it against sluice/consumer.h of this version",
            major, minor_needed, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    return true;
}

static bool check_image(const struct copy *copy, struct image *image, struct error *error) {
    struct sluice_note note;
    if (!image_open(image, copy->bytes, copy->size, error))
        return false;
    if (!image_note(image, &note))
        return error_set(
            error,
            "is not a Sluice plugin: it has no ABI note (is SLUICE_CONSUMER missing at the end of "
            "one source file?)");
    return check_abi(note.abi_major, note.abi_minor, note.minor_needed, error);
}

static bool explain_missing_library(const struct image *image, const char *name, int length,
                                    struct error *error) {
    const char *runpath = image_runpath(image);
    bool origin = runpath && (strstr(runpath, "$ORIGIN") || strstr(runpath, "${ORIGIN}"));
    return error_set(error,
                     "needs %.*s, which is not installed: install it, or link it statically%s",
                     length, name,
                     origin ? " (its RUNPATH uses $ORIGIN, which cannot work, since plugins are "
                              "loaded from a copy in "
                              "memory: use a full path)"
                            : "");
}

/* Says in our words what the loader said in its own. The name of the copy tells a person nothing,
   so it goes. */
static bool explain(const struct plugin *plugin, const struct image *image, const char *said,
                    struct error *error) {
    static const char no_file[] = ": cannot open shared object file: No such file or directory";
    static const char no_symbol[] = "undefined symbol: ";
    const char *missing = strstr(said, no_file);
    if (missing)
        return explain_missing_library(image, said, (int)(missing - said), error);
    const char *symbol = strstr(said, no_symbol);
    if (symbol) {
        symbol += sizeof(no_symbol) - 1;
        return error_set(
            error,
            "uses `%.*s`, which nothing provides: add the source or library that has it; link "
            "with -Wl,-z,defs to see this at link time",
            (int)strcspn(symbol, ","), symbol);
    }
    size_t own = strlen(plugin->loaded_name);
    if (strncmp(said, plugin->loaded_name, own) == 0 && strncmp(said + own, ": ", 2) == 0)
        said += own + 2;
    bool newer_system = strstr(said, ": version `") != NULL;
    return error_set(
        error, "cannot be loaded: %s%s", said,
        newer_system ? " (it was built against newer libraries: build it on this system)" : "");
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Its constructors run here. */
static bool open_plugin(struct plugin *plugin, const struct image *image, const char *path,
                        struct error *error) {
    snprintf(plugin->loaded_name, sizeof(plugin->loaded_name), "/proc/self/fd/%d", plugin->copy.fd);
    unsigned name = page_name("", base_name(path), path);
    unsigned was_at = page_go(name, HOOK_LOAD);
    plugin->handle = dlopen(plugin->loaded_name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    page_back(was_at);
    page_forget(name);
    if (plugin->handle)
        return true;
    const char *said = dlerror();
    return explain(plugin, image, said ? said : "the loader does not say why", error);
}

/* Checked again: a note may come from another file of the plugin, built earlier. A shorter
   descriptor is an older minor's, and what it lacks is zero; of a longer one only what is known
   here is read. */
static bool read_descriptor(struct plugin *plugin, const sluice_consumer *from,
                            struct error *error) {
    if (!from || from->magic != SLUICE_MAGIC || from->size < offsetof(sluice_consumer, data_size))
        return error_set(error, "returns no consumer from %s: is it made by SLUICE_CONSUMER?",
                         SLUICE_ENTRY);
    if (!check_abi(from->abi_major, from->abi_minor, from->minor_needed, error))
        return false;
    if (!from->name || !from->name[0] || !from->version)
        return error_set(error,
                         "has a consumer without a name or version: give SLUICE_CONSUMER both");
    memset(&plugin->consumer, 0, sizeof(plugin->consumer));
    memcpy(&plugin->consumer, from, from->size < sizeof(*from) ? from->size : sizeof(*from));
    plugin->consumer.size = sizeof(plugin->consumer);
    if (plugin->consumer.data_size > DATA_SIZE_MAX)
        return error_set(error, "asks for %u bytes of data for each connection; the most is %u",
                         plugin->consumer.data_size, DATA_SIZE_MAX);
    return true;
}

static bool enter(struct plugin *plugin, const struct sluice_host *host, struct error *error) {
    union {
        void *address;
        sluice_entry_fn call;
    } entry = {dlsym(plugin->handle, SLUICE_ENTRY)};
    if (!entry.address)
        return error_set(
            error, "does not export %s: is SLUICE_CONSUMER missing, or hidden by a linker script?",
            SLUICE_ENTRY);
    plugin->ready = read_descriptor(plugin, entry.call(host), error);
    return plugin->ready;
}

static void warn_of_exports(const struct plugin *plugin, const struct image *image) {
    const char *first;
    size_t count = image_exports(image, SLUICE_ENTRY, &first);
    if (count > 0)
        log_line(LOG_AT_WARNING,
                 "plugin %s exports %zu other symbol%s, e.g. `%s`: build it with "
                 "-fvisibility=hidden, or they may be "
                 "bound to libraries' functions of that name",
                 plugin->path, count, count == 1 ? "" : "s", first);
}

/* Loads a copy that is new. Once the loader took it, it stays in the list, whatever its entry says:
   the code can't be taken out again, and its descriptor must not be reused. */
static struct plugin *load_copy(const struct copy *copy, const char *path, struct error *error) {
    struct image image;
    if (!check_image(copy, &image, error))
        return NULL;
    struct plugin *plugin = calloc(1, sizeof(*plugin));
    if (!plugin)
        abort();
    plugin->copy = *copy;
    if (!open_plugin(plugin, &image, path, error)) {
        free(plugin);
        return NULL;
    }
    plugin->path = strdup(path);
    if (!plugin->path)
        abort();
    plugin->next = loaded;
    loaded = plugin;
    warn_of_exports(plugin, &image);
    return plugin;
}

static bool load(const char *path, int sealed, const struct sluice_host *host,
                 struct plugin **plugin, struct error *error) {
    struct copy copy;
    if (!copy_open(&copy, sealed < 0 ? sealed_copy(path, true, error) : sealed, error))
        return false;
    *plugin = find_same(&copy);
    if (*plugin) {
        copy_close(&copy);
    } else {
        *plugin = load_copy(&copy, path, error);
        if (!*plugin)
            copy_close(&copy);
    }
    return *plugin && ((*plugin)->ready || enter(*plugin, host, error));
}

/* name.so as installed, name/name.so as a build tree has it; NULL when neither is there. */
static char *find_in(const char *directory, const char *name) {
    char *path;
    if (asprintf(&path, "%s/%s.so", directory, name) < 0)
        abort();
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    if (asprintf(&path, "%s/%s/%s.so", directory, name, name) < 0)
        abort();
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

struct suggestion {
    struct nearest nearest;
    char name[NAME_MAX_COMPARED + 1]; /* what nearest.best points to */
};

static void consider(struct suggestion *suggestion, const char *directory, const char *entry) {
    char name[NAME_MAX_COMPARED + 1];
    size_t length = strlen(entry);
    if (length > 3 && strcmp(entry + length - 3, ".so") == 0)
        length -= 3;
    if (length >= sizeof(name) || entry[0] == '.')
        return;
    memcpy(name, entry, length);
    name[length] = '\0';
    char *path = find_in(directory, name);
    if (path)
        nearest_offer(&suggestion->nearest, name);
    free(path);
    if (suggestion->nearest.best == name)
        suggestion->nearest.best = strcpy(suggestion->name, name);
}

/* In the alphabet's order, so that of equally near names always the same is offered. */
static void consider_directory(struct suggestion *suggestion, const char *directory) {
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        consider(suggestion, directory, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static bool report_not_found(const char *name, const char *const *directories, size_t count,
                             struct error *error) {
    struct suggestion suggestion = {.nearest = nearest_to(name)};
    char *looked = NULL, hint[128];
    size_t size;
    FILE *text = open_memstream(&looked, &size);
    if (!text)
        abort();
    for (size_t i = 0; i < count; i++) {
        bool there = access(directories[i], F_OK) == 0;
        fprintf(text, "%s%s%s", i ? ", " : "", directories[i], there ? "" : " (not there)");
        consider_directory(&suggestion, directories[i]);
    }
    if (count == 0)
        fputs("no directory at all", text);
    fclose(text);
    error_set(error, "there is no plugin `%s`%s Looked for %s.so in: %s", name,
              suggestion.nearest.best ? nearest_hint(&suggestion.nearest, hint) : ".", name,
              looked);
    free(looked);
    return false;
}

static bool is_path(const char *name) {
    size_t length = strlen(name);
    return strchr(name, '/') || (length > 3 && strcmp(name + length - 3, ".so") == 0);
}

char *plugin_key(const char *name, const char *base) {
    bool relative = is_path(name) && name[0] != '/' && base && base[0];
    char *key;
    int length = relative ? asprintf(&key, "%s/%s", base, name) : asprintf(&key, "%s", name);
    if (length < 0)
        abort();
    return key;
}

static bool find_path(const char *name, const char *base, char **path, struct error *error) {
    *path = plugin_key(name, base);
    if (access(*path, F_OK) == 0)
        return true;
    error_set(error, "there is no plugin file %s: %s", *path, strerror(errno));
    free(*path);
    *path = NULL;
    return false;
}

bool plugin_find(const char *name, const char *base, const char *const *directories, size_t count,
                 char **path, struct error *error) {
    *path = NULL;
    if (name[0] == '\0')
        return error_set(error, "a plugin's name is empty");
    if (is_path(name))
        return find_path(name, base, path, error);
    for (size_t i = 0; i < count; i++) {
        *path = find_in(directories[i], name);
        if (*path)
            return true;
    }
    return report_not_found(name, directories, count, error);
}

bool plugin_load(const char *path, int sealed, const struct sluice_host *host,
                 struct plugin **plugin, struct error *error) {
    struct error reason;
    struct plugin *found = NULL;
    *plugin = NULL;
    if (!load(path, sealed, host, &found, &reason))
        return error_set(error, "%s %s", path, reason.text);
    *plugin = found;
    return true;
}

const sluice_consumer *plugin_consumer(const struct plugin *plugin) { return &plugin->consumer; }

const char *plugin_path(const struct plugin *plugin) { return plugin->path; }

const struct plugin *plugin_by_loaded_name(const char *name) {
    for (const struct plugin *plugin = loaded; plugin; plugin = plugin->next)
        if (strcmp(plugin->loaded_name, name) == 0)
            return plugin;
    return NULL;
}
