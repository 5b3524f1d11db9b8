#include "snapshot/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/own_file.h"
#include "snapshot/sealed.h"

struct snapshot {
    struct snapshot_entry *entries;
    size_t count, room;
    bool accepted;
};

static const struct snapshot *used;
static struct snapshot *recording; /* the one in use, or NULL */
static enum snapshot_kind recorded_kind;

struct snapshot *snapshot_create(void) {
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL)
        abort();
    return snapshot;
}

static void free_entry(struct snapshot_entry *entry) {
    if (entry->fd != -1)
        close(entry->fd);
    free(entry->name);
    free(entry->path);
}

void snapshot_drop(struct snapshot *snapshot, enum snapshot_kind kind) {
    size_t kept = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        if (snapshot->entries[i].kind == kind)
            free_entry(&snapshot->entries[i]);
        else
            snapshot->entries[kept++] = snapshot->entries[i];
    }
    snapshot->count = kept;
}

void snapshot_free(struct snapshot *snapshot) {
    if (snapshot == NULL)
        return;
    assert(used != snapshot);
    for (size_t i = 0; i < snapshot->count; i++)
        free_entry(&snapshot->entries[i]);
    free(snapshot->entries);
    free(snapshot);
}

static char *copy_text(const char *text) {
    char *copy = text == NULL ? NULL : strdup(text);
    if (text != NULL && copy == NULL)
        abort();
    return copy;
}

void snapshot_add(struct snapshot *snapshot, enum snapshot_kind kind, const char *name,
                  const char *path, int fd) {
    if (snapshot->count == snapshot->room) {
        snapshot->room = snapshot->room == 0 ? 16 : snapshot->room * 2;
        snapshot->entries =
            realloc(snapshot->entries, snapshot->room * sizeof(snapshot->entries[0]));
        if (snapshot->entries == NULL)
            abort();
    }
    snapshot->entries[snapshot->count++] =
        (struct snapshot_entry){kind, copy_text(name), copy_text(path), fd};
}

const struct snapshot_entry *snapshot_find(const struct snapshot *snapshot, enum snapshot_kind kind,
                                           const char *name) {
    for (size_t i = 0; snapshot != NULL && i < snapshot->count; i++)
        if (snapshot->entries[i].kind == kind && strcmp(snapshot->entries[i].name, name) == 0)
            return &snapshot->entries[i];
    return NULL;
}

const struct snapshot_entry *snapshot_entries(const struct snapshot *snapshot, size_t *count) {
    *count = snapshot->count;
    return snapshot->entries;
}

void snapshot_accept(struct snapshot *snapshot) { snapshot->accepted = true; }

bool snapshot_is_accepted(void) { return used != NULL && used->accepted; }

void snapshot_use(const struct snapshot *snapshot) {
    used = snapshot;
    recording = NULL;
}

void snapshot_record(struct snapshot *snapshot, enum snapshot_kind kind) {
    used = recording = snapshot;
    recorded_kind = kind;
}

size_t snapshot_copy(struct snapshot *to, const struct snapshot *from, enum snapshot_kind kind,
                     const char *name) {
    size_t count = 0;
    for (size_t i = 0; i < from->count; i++) {
        const struct snapshot_entry *entry = &from->entries[i];
        if (entry->kind != kind || (name != NULL && strcmp(entry->name, name) != 0))
            continue;
        int fd = entry->fd == -1 ? -1 : fcntl(entry->fd, F_DUPFD_CLOEXEC, 0);
        snapshot_add(to, kind, entry->name, entry->path, fd);
        count++;
    }
    return count;
}

const struct snapshot *snapshot_used(void) { return used; }

/* Opened anew, so that each reader has a position of its own. */
static int open_again(int fd) {
    char name[32];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    return open(name, O_RDONLY | O_CLOEXEC);
}

/* What can't be copied is left to whoever opens it: he says why. */
static void record_file(const char *path) {
    struct error ignored;
    int fd = sealed_copy(path, false, &ignored);
    if (fd != -1)
        snapshot_add(recording, recorded_kind, path, NULL, fd);
}

const struct snapshot_entry *snapshot_file(const char *path) {
    const struct snapshot_entry *entry = snapshot_find(used, SNAPSHOT_FILE, path);
    return entry != NULL ? entry : snapshot_find(used, SNAPSHOT_CREDENTIAL, path);
}

int snapshot_open(const char *path) {
    if (recording != NULL && snapshot_file(path) == NULL)
        record_file(path);
    const struct snapshot_entry *entry = snapshot_file(path);
    if (entry != NULL)
        return open_again(entry->fd);
    /* Who records must not wait for the other end of a pipe; who loads says what is wrong with it.
     */
    return recording != NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* Whoever opened it had the right to; a second opening might not. */
int snapshot_open_log(const char *path) {
    const struct snapshot_entry *entry = snapshot_find(used, SNAPSHOT_LOG, path);
    if (entry != NULL)
        return fcntl(entry->fd, F_DUPFD_CLOEXEC, 0);
    int fd = own_file_open(path, O_APPEND);
    if (fd != -1 && recording != NULL)
        snapshot_add(recording, SNAPSHOT_LOG, path, NULL, fcntl(fd, F_DUPFD_CLOEXEC, 0));
    return fd;
}
