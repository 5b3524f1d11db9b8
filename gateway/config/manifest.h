/*
 * What a configuration needs from outside, read from its tree alone: no plugin is loaded, libh2o is
 * not asked, and what is wrong is passed over, since the whole load says it. The supervisor takes
 * its snapshot by it. Main thread.
 */
#ifndef SLUICE_CONFIG_MANIFEST_H
#define SLUICE_CONFIG_MANIFEST_H

#include "config/config.h"

struct snapshot;

struct manifest_listener {
    struct listener_conf conf;
    const char *key; /* as config_listener's */
    bool tls;
    struct place place;
};

struct manifest {
    struct config process; /* only what words_read_process reads */
    struct manifest_listener *listeners;
    size_t listener_count;
    struct problems *problems; /* what was passed over */
};

/* Reads the file, and adds to the snapshot: it and its includes, certificates and keys, plugins,
   and logs, opened; but nothing that is there already. plugin_dirs: as for config_load. What can't
   be read is not added. snapshot NULL: only reads. */
struct manifest *manifest_take(const char *path, const char *const *plugin_dirs,
                               size_t plugin_dir_count, struct snapshot *snapshot);
/* NULL is fine. */
void manifest_free(struct manifest *manifest);

#endif
