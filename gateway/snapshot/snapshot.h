/*
 * What a generation is built from, taken at one moment: the configuration with its includes,
 * certificates, keys and plugins as sealed copies, log files opened and addresses listened on. The
 * supervisor takes it and keeps the last one that was accepted; the worker is sent it and reads
 * from it alone, so that what is on the disk meanwhile changes nothing. Main thread.
 */
#ifndef SLUICE_SNAPSHOT_SNAPSHOT_H
#define SLUICE_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

/* FILE: the configuration's own text, by absolute path or as the command line named it. CREDENTIAL:
   a certificate or key, by absolute path. PLUGIN: a plugin's content, by
   the word in the configuration. LOG: open for appending, by absolute path. SOCKET: listening, by
   the listener's key, one entry each, in the order of address_take. BARRED: no descriptor: a plugin
   that is not to be loaded, by its word, or a secret that everybody may read, by absolute path. */
enum snapshot_kind {
    SNAPSHOT_FILE,
    SNAPSHOT_CREDENTIAL,
    SNAPSHOT_PLUGIN,
    SNAPSHOT_LOG,
    SNAPSHOT_SOCKET,
    SNAPSHOT_BARRED,
    SNAPSHOT_KINDS
};

/* Longer names are not taken: such a file is read from the disk. */
#define SNAPSHOT_NAME_MAX 4096

struct snapshot_entry {
    enum snapshot_kind kind;
    char *name;
    char *path; /* of a PLUGIN: where it was found; else NULL */
    int fd;     /* -1: none */
};

struct snapshot;

struct snapshot *snapshot_create(void);
/* Closes its descriptors. NULL is fine. */
void snapshot_free(struct snapshot *snapshot);

/* Takes fd, -1 for none; path may be NULL. */
void snapshot_add(struct snapshot *snapshot, enum snapshot_kind kind, const char *name,
                  const char *path, int fd);

/* Takes the entries of a kind out, and closes their descriptors. */
void snapshot_drop(struct snapshot *snapshot, enum snapshot_kind kind);

/* The first entry of that kind and name, or NULL; borrowed. */
const struct snapshot_entry *snapshot_find(const struct snapshot *snapshot, enum snapshot_kind kind,
                                           const char *name);
/* All in order; borrowed until the next is added. */
const struct snapshot_entry *snapshot_entries(const struct snapshot *snapshot, size_t *count);

/* It was accepted once: a worker that starts from it again does not look at the disk anew. */
void snapshot_accept(struct snapshot *snapshot);
/* Whether the one in use was. */
bool snapshot_is_accepted(void);

/* From now on snapshot_open and the others below look here first. Lent until the next call; NULL:
   the disk alone. */
void snapshot_use(const struct snapshot *snapshot);
const struct snapshot *snapshot_used(void);

/* As snapshot_use, and whatever is opened and not there yet is added: files as this kind. */
void snapshot_record(struct snapshot *snapshot, enum snapshot_kind kind);

/* Adds another snapshot's entries of a kind, with descriptors of their own; of one name alone, when
   that is not NULL. Returns how many. */
size_t snapshot_copy(struct snapshot *to, const struct snapshot *from, enum snapshot_kind kind,
                     const char *name);

/* The FILE or CREDENTIAL of that path in the snapshot in use, or NULL; borrowed. */
const struct snapshot_entry *snapshot_file(const char *path);
/* A descriptor of the file for reading, from its begin; the caller closes it. -1 with errno. */
int snapshot_open(const char *path);
/* A descriptor of the log for appending, made when it is not there; the caller closes it. -1 with
 * errno. */
int snapshot_open_log(const char *path);

#endif
