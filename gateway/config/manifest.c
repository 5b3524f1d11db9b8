#include "config/manifest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/listen.h"
#include "config/words.h"
#include "consumer/plugin.h"
#include "net/tokens.h"
#include "snapshot/sealed.h"
#include "snapshot/snapshot.h"

struct owned {
    struct manifest manifest;
    h2o_mem_pool_t pool;
};

struct reading {
    struct load load;
    struct snapshot *snapshot;
    struct manifest *manifest;
};

/* --- files --- */

static void touch(int fd) {
    if (fd != -1)
        close(fd);
}

static void take_file(struct reading *reading, const yoml_t *node) {
    if (node->type == YOML_TYPE_SCALAR && node->data.scalar[0] != '\0')
        touch(snapshot_open(tree_path(reading->load.pool, node, node->data.scalar)));
}

/* One that everybody may read is not taken: who loads says so. */
static void take_secret(struct reading *reading, const yoml_t *node) {
    if (node->type != YOML_TYPE_SCALAR || node->data.scalar[0] == '\0')
        return;
    const char *path = tree_path(reading->load.pool, node, node->data.scalar);
    if (!tokens_exposed(path))
        touch(snapshot_open(path));
    else if (snapshot_file(path) == NULL)
        snapshot_add(reading->snapshot, SNAPSHOT_BARRED, path, NULL, -1);
}

static void take_log(struct reading *reading, const yoml_t *node) {
    const yoml_t *path = node->type == YOML_TYPE_MAPPING ? tree_get(node, "path") : node;
    if (path == NULL || path->type != YOML_TYPE_SCALAR || path->data.scalar[0] == '\0' ||
        path->data.scalar[0] == '|')
        return;
    touch(snapshot_open_log(tree_path(reading->load.pool, path, path->data.scalar)));
}

static void take_plugin(struct reading *reading, const yoml_t *node) {
    const struct load *load = &reading->load;
    struct error ignored;
    char *path = NULL;
    if (node->type != YOML_TYPE_SCALAR || node->data.scalar[0] == '\0')
        return;
    const char *base = tree_directory(load->pool, node);
    char *key = plugin_key(node->data.scalar, base);
    if (snapshot_find(reading->snapshot, SNAPSHOT_PLUGIN, key) == NULL &&
        plugin_find(node->data.scalar, base, load->plugin_dirs, load->plugin_dir_count, &path,
                    &ignored)) {
        int fd = sealed_copy(path, true, &ignored);
        if (fd != -1)
            snapshot_add(reading->snapshot, SNAPSHOT_PLUGIN, key, path, fd);
    }
    free(path);
    free(key);
}

/* What names a file, wherever it stands. */
static const struct {
    const char *key;
    void (*take)(struct reading *reading, const yoml_t *node);
} takers[] = {{"access-log", take_log},   {"certificate-file", take_file},
              {"consumer", take_plugin},  {"error-log", take_log},
              {"key-file", take_file},    {"proxy.ssl.cafile", take_file},
              {"token-file", take_secret}};

static void walk(struct reading *reading, const yoml_t *node);

static void walk_mapping(struct reading *reading, const yoml_t *node) {
    for (size_t i = 0; i != node->data.mapping.size; i++) {
        struct yoml_pair pair = node->data.mapping.elements[i];
        for (size_t j = 0; j != sizeof(takers) / sizeof(*takers); j++)
            if (strcmp(takers[j].key, pair.key->data.scalar) == 0)
                takers[j].take(reading, pair.value);
        walk(reading, pair.value);
    }
}

/* An alias is walked wherever it stands: tree_load bounds that. */
static void walk(struct reading *reading, const yoml_t *node) {
    if (node->type == YOML_TYPE_MAPPING)
        walk_mapping(reading, node);
    for (size_t i = 0; node->type == YOML_TYPE_SEQUENCE && i != node->data.sequence.size; i++)
        walk(reading, node->data.sequence.elements[i]);
}

/* --- listeners --- */

static const char *key_at(const void *list, size_t index) {
    return ((const struct manifest_listener *)list)[index].key;
}

static void add_listener(struct reading *reading, yoml_t *node) {
    struct manifest *manifest = reading->manifest;
    struct manifest_listener listener = {.place = tree_place(node)};
    if (!listen_address(&reading->load, node, &listener.conf, &listener.tls))
        return;
    listener.key = listen_key(reading->load.pool, &listener.conf, key_at, manifest->listeners,
                              manifest->listener_count);
    manifest->listeners = h2o_mem_realloc(manifest->listeners, (manifest->listener_count + 1) *
                                                                   sizeof(*manifest->listeners));
    manifest->listeners[manifest->listener_count++] = listener;
}

static void add_listeners(struct reading *reading, yoml_t *node) {
    if (node == NULL)
        return;
    if (node->type != YOML_TYPE_SEQUENCE)
        add_listener(reading, node);
    for (size_t i = 0; node->type == YOML_TYPE_SEQUENCE && i != node->data.sequence.size; i++)
        add_listener(reading, node->data.sequence.elements[i]);
}

/* --- the whole --- */

struct manifest *manifest_take(const char *path, const char *const *plugin_dirs,
                               size_t plugin_dir_count, struct snapshot *snapshot) {
    struct owned *owned = h2o_mem_alloc(sizeof(*owned));
    memset(owned, 0, sizeof(*owned));
    h2o_mem_init_pool(&owned->pool);
    words_set_process_defaults(&owned->manifest.process);
    struct problems *ignored = problems_create();
    struct reading reading = {.load = {.config = &owned->manifest.process,
                                       .problems = ignored,
                                       .pool = &owned->pool,
                                       .only_reads = snapshot == NULL,
                                       .plugin_dirs = plugin_dirs,
                                       .plugin_dir_count = plugin_dir_count},
                              .snapshot = snapshot,
                              .manifest = &owned->manifest};
    if (snapshot != NULL)
        snapshot_record(snapshot, SNAPSHOT_FILE);
    yoml_t *root = tree_load(path, &owned->pool, ignored);
    if (snapshot != NULL)
        snapshot_record(snapshot, SNAPSHOT_CREDENTIAL);
    if (root != NULL && root->type == YOML_TYPE_MAPPING) {
        words_read_process(&reading.load, root);
        add_listeners(&reading, tree_get(root, "listen"));
        if (snapshot != NULL)
            walk(&reading, root);
    }
    if (snapshot != NULL)
        snapshot_use(NULL);
    owned->manifest.problems = ignored;
    return &owned->manifest;
}

void manifest_free(struct manifest *manifest) {
    if (manifest == NULL)
        return;
    struct owned *owned = H2O_STRUCT_FROM_MEMBER(struct owned, manifest, manifest);
    free(manifest->listeners);
    problems_free(manifest->problems);
    h2o_mem_clear_pool(&owned->pool);
    free(owned);
}
