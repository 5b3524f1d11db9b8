#include "snapshot/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC /* Linux 6.3; older headers lack it */
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static const char *kind_of(mode_t mode) {
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a pipe";
    if (S_ISSOCK(mode))
        return "a socket";
    return "a device";
}

/* Without O_NONBLOCK a pipe of that name would hold the start up. */
static int open_file(const char *path, struct error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        error_set(error, "cannot be opened: %s", strerror(errno));
        return -1;
    }
    struct stat status;
    if (fstat(fd, &status) != 0)
        error_set(error, "cannot be examined: %s", strerror(errno));
    else if (!S_ISREG(status.st_mode))
        error_set(error, "is %s, not a file", kind_of(status.st_mode));
    else if (status.st_size > (off_t)SEALED_BYTES_MAX)
        error_set(error, "is larger than %u MiB", SEALED_BYTES_MAX >> 20);
    else
        return fd;
    close(fd);
    return -1;
}

static int create_memory_file(bool runs, struct error *error) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("sluice", flags | (runs ? MFD_EXEC : MFD_NOEXEC_SEAL));
    if (fd < 0 && errno == EINVAL) /* a kernel before 6.3: every memory file may be executed */
        fd = memfd_create("sluice", flags);
    if (fd < 0 && errno == EACCES)
        error_set(error, "cannot be loaded: the kernel forbids code in memory files; set the "
                         "sysctl vm.memfd_noexec "
                         "to 0 or 1");
    else if (fd < 0)
        error_set(error, "cannot be loaded: no memory file: %s", strerror(errno));
    return fd;
}

static bool write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* Copies to the end, whatever the file's size was said to be: it may change meanwhile. */
static bool copy_bytes(int from, int to, struct error *error) {
    char buffer[65536];
    for (size_t total = 0;;) {
        ssize_t count = read(from, buffer, sizeof(buffer));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set(error, "cannot be read: %s", strerror(errno));
        if (count == 0)
            return true;
        total += (size_t)count;
        if (total > SEALED_BYTES_MAX)
            return error_set(error, "is larger than %u MiB", SEALED_BYTES_MAX >> 20);
        if (!write_all(to, buffer, (size_t)count))
            return error_set(error, "cannot be copied to memory: %s", strerror(errno));
    }
}

int sealed_copy(const char *path, bool runs, struct error *error) {
    int file = open_file(path, error);
    if (file < 0)
        return -1;
    int copy = create_memory_file(runs, error);
    bool ok = copy >= 0 && copy_bytes(file, copy, error);
    if (ok && fcntl(copy, F_ADD_SEALS, SEALS) != 0)
        ok = error_set(error, "cannot be sealed in memory: %s", strerror(errno));
    close(file);
    if (ok)
        return copy;
    if (copy >= 0)
        close(copy);
    return -1;
}

bool sealed_is(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals != -1 && (seals & SEALS) == SEALS;
}
