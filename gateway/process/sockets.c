#include "process/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/manifest.h"
#include "net/address.h"
#include "snapshot/snapshot.h"

#define FIRST_HANDED_OVER 3
#define HANDED_OVER_MAX 4096

/* An address that this program has bound: its path goes with it. */
struct bound {
    char *key;
    struct address *address;
    struct bound *next;
};

struct handed_over {
    int fd;
    char name[LISTENER_KEY_MAX]; /* of systemd's kind: `;` stands for `:` in a key */
};

struct sockets {
    struct bound *bound;
    struct handed_over *handed_over; /* not used yet */
    size_t handed_over_count;
};

/* --- what is handed over --- */

static void encode_name(char *name) {
    for (; *name != '\0'; name++)
        if (*name == ':')
            *name = ';';
}

/* One that is not open is left out: its number may soon be that of a file of this program's own. */
static void add_handed_over(struct sockets *sockets, int fd, const char *name, size_t size) {
    struct handed_over *one = &sockets->handed_over[sockets->handed_over_count];
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return;
    one->fd = fd;
    snprintf(one->name, sizeof(one->name), "%.*s", (int)size, name == NULL ? "" : name);
    sockets->handed_over_count++;
}

static void read_handed_over(struct sockets *sockets) {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long)getpid())
        return;
    long count = strtol(fds, NULL, 10);
    if (count > HANDED_OVER_MAX)
        count = HANDED_OVER_MAX;
    sockets->handed_over = calloc(count < 0 ? 1 : (size_t)count + 1, sizeof(struct handed_over));
    if (sockets->handed_over == NULL)
        abort();
    for (int i = 0; i < count; i++) {
        size_t size = names == NULL ? 0 : strcspn(names, ":");
        add_handed_over(sockets, FIRST_HANDED_OVER + i, names, size);
        names = names == NULL || names[size] == '\0' ? NULL : names + size + 1;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

struct sockets *sockets_create(void) {
    struct sockets *sockets = calloc(1, sizeof(*sockets));
    if (sockets == NULL)
        abort();
    read_handed_over(sockets);
    return sockets;
}

static struct bound *add_bound(struct sockets *sockets, const char *key, struct address *address) {
    struct bound *bound = calloc(1, sizeof(*bound));
    if (bound == NULL)
        abort();
    bound->key = strdup(key);
    bound->address = address;
    bound->next = sockets->bound;
    sockets->bound = bound;
    return bound;
}

static bool is_named(const struct sockets *sockets, const char *name) {
    for (size_t i = 0; i < sockets->handed_over_count; i++)
        if (strcmp(sockets->handed_over[i].name, name) == 0)
            return true;
    return false;
}

/* All of this name, else the first of this address. ours: this program handed them over to itself.
   Returns how many. */
static size_t take_handed_over(struct sockets *sockets, const struct manifest_listener *wanted,
                               int *fds, size_t most, bool *ours) {
    char name[LISTENER_KEY_MAX];
    size_t count = 0, kept = 0;
    snprintf(name, sizeof(name), "%s", wanted->key);
    encode_name(name);
    *ours = is_named(sockets, name);
    for (size_t i = 0; i < sockets->handed_over_count; i++) {
        const struct handed_over *one = &sockets->handed_over[i];
        bool takes = *ours
                         ? strcmp(one->name, name) == 0
                         : count == 0 && address_matches(one->fd, wanted->conf.host,
                                                         wanted->conf.port, wanted->conf.unix_path);
        if (takes && count < most)
            fds[count++] = one->fd;
        else
            sockets->handed_over[kept++] = *one;
    }
    sockets->handed_over_count = kept;
    return count;
}

/* --- opening --- */

static void add_address(struct snapshot *to, const char *key, struct address *address,
                        unsigned threads) {
    int fds[ADDRESS_PLACES_MAX];
    for (unsigned thread = 0; thread < threads; thread++) {
        size_t places = address_take(address, thread, fds);
        for (size_t i = 0; i < places; i++)
            snapshot_add(to, SNAPSHOT_SOCKET, key, NULL, fds[i]);
    }
}

static bool add_new(struct sockets *sockets, const struct manifest_listener *wanted,
                    unsigned threads, struct snapshot *to, struct error *error) {
    int fds[HANDED_OVER_MAX];
    bool ours = false;
    size_t count = take_handed_over(sockets, wanted, fds, HANDED_OVER_MAX, &ours);
    struct address *address =
        count > 0 ? address_adopt(fds, count, threads, error)
        : wanted->conf.unix_path != NULL
            ? address_open_path(wanted->conf.unix_path, wanted->conf.unix_mode, threads, error)
            : address_open(wanted->conf.host, wanted->conf.port, threads, error);
    if (address == NULL)
        return false;
    if (ours)
        address_own_path(address);
    add_address(to, wanted->key, address, threads);
    add_bound(sockets, wanted->key, address);
    return true;
}

/* Those that no snapshot listens on. */
static void drop_bound(struct sockets *sockets, const struct snapshot *a,
                       const struct snapshot *b) {
    for (struct bound **at = &sockets->bound, *bound; (bound = *at) != NULL;) {
        if (snapshot_find(a, SNAPSHOT_SOCKET, bound->key) != NULL ||
            snapshot_find(b, SNAPSHOT_SOCKET, bound->key) != NULL) {
            at = &bound->next;
            continue;
        }
        *at = bound->next;
        address_close(bound->address);
        free(bound->key);
        free(bound);
    }
}

bool sockets_add(struct sockets *sockets, const struct manifest *manifest, unsigned threads,
                 const struct snapshot *before, struct snapshot *to, struct error *error) {
    for (size_t i = 0; i < manifest->listener_count; i++) {
        const struct manifest_listener *wanted = &manifest->listeners[i];
        struct error why;
        if (snapshot_find(to, SNAPSHOT_SOCKET, wanted->key) != NULL)
            continue; /* twice: the whole load says so */
        if (before != NULL && snapshot_copy(to, before, SNAPSHOT_SOCKET, wanted->key) > 0)
            continue;
        if (add_new(sockets, wanted, threads, to, &why))
            continue;
        return error_set(error, "%s:%zu: %s", wanted->place.file, wanted->place.line, why.text);
    }
    return true;
}

void sockets_settle(struct sockets *sockets, const struct snapshot *served) {
    drop_bound(sockets, served, NULL);
}

size_t sockets_unused(const struct sockets *sockets) { return sockets->handed_over_count; }

void sockets_close_unused(struct sockets *sockets) {
    for (size_t i = 0; i < sockets->handed_over_count; i++)
        close(sockets->handed_over[i].fd);
    sockets->handed_over_count = 0;
}

void sockets_close(struct sockets *sockets) {
    if (sockets == NULL)
        return;
    drop_bound(sockets, NULL, NULL);
    sockets_close_unused(sockets);
    free(sockets->handed_over);
    free(sockets);
}

/* --- handing over --- */

static void set_environment(int count, const char *names) {
    char text[32];
    snprintf(text, sizeof(text), "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%d", count);
    setenv("LISTEN_FDS", text, 1);
    setenv("LISTEN_FDNAMES", names, 1);
}

int sockets_hand_over(const struct snapshot *served, int extra) {
    size_t total, count = 0, size;
    char *names = NULL, name[LISTENER_KEY_MAX];
    const struct snapshot_entry *entries = snapshot_entries(served, &total);
    FILE *text = open_memstream(&names, &size);
    int *fds = calloc(total + 1, sizeof(*fds));
    if (text == NULL || fds == NULL)
        abort();
    for (size_t i = 0; i < total; i++) {
        if (entries[i].kind != SNAPSHOT_SOCKET)
            continue;
        snprintf(name, sizeof(name), "%s", entries[i].name);
        encode_name(name);
        fprintf(text, "%s%s", count == 0 ? "" : ":", name);
        fds[count++] = entries[i].fd;
    }
    fclose(text);
    /* first out of the way of the numbers that they are to have */
    int above = FIRST_HANDED_OVER + (int)count;
    for (size_t i = 0; i < count; i++)
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above);
    if (extra != -1)
        extra = fcntl(extra, F_DUPFD, above);
    for (size_t i = 0; i < count; i++)
        dup2(fds[i], FIRST_HANDED_OVER + (int)i);
    set_environment((int)count, names);
    free(names);
    free(fds);
    return extra;
}
