/*
 * Plugins: shared objects that hold consumers. A plugin is read once into a sealed memory file,
 * checked there (ELF, ABI note) before one instruction of it runs, and loaded from that copy, so
 * that its file may be replaced at any time. Used while a configuration is loaded, on one thread; a
 * loaded plugin is never unloaded.
 */
#ifndef SLUICE_CONSUMER_PLUGIN_H
#define SLUICE_CONSUMER_PLUGIN_H

#include <sluice/consumer.h>
#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

struct plugin;

/* Finds the plugin called name in the directories (name.so, or name/name.so as the build tree has
   it), or takes name as a path when it holds a slash or ends in .so, relative to base (a
   directory). Writes a path to free. The error names every directory that was looked in, and the
   nearest plugin name that is there. */
bool plugin_find(const char *name, const char *base, const char *const *directories, size_t count,
                 char **path, struct error *error);

/* What a snapshot calls the plugin: name, or the path that it stands for. Writes a text to free. */
char *plugin_key(const char *name, const char *base);

/* Loads the file, or returns the plugin already loaded from the same content. sealed: its sealed
   copy, taken; -1: one is made of the file. host is handed to its entry and lent for ever. The
   error says what is wrong and how to mend it. The plugin lives as long as the process: borrowed.
 */
bool plugin_load(const char *path, int sealed, const struct sluice_host *host,
                 struct plugin **plugin, struct error *error);

const sluice_consumer *plugin_consumer(const struct plugin *plugin);
/* The path that it was first loaded from. */
const char *plugin_path(const struct plugin *plugin);
/* The plugin whose sealed copy the loader shows under this name (/proc/self/fd/N), or NULL: for
   backtraces. */
const struct plugin *plugin_by_loaded_name(const char *name);

#endif
