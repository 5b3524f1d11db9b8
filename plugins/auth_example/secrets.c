#include "secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Without stdio, whose buffer would keep the secrets. One read gives all of so small a file. */
static ssize_t read_whole(const char *path, char *to, size_t room) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t size = read(fd, to, room);
    int error = errno;
    close(fd);
    errno = error;
    return size;
}

/* What is wrong with the secrets in so many bytes of the file, or NULL. */
static const char *split(struct secrets *secrets, size_t size) {
    const char *at = secrets->file, *end = at + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        struct secret secret = {at, (size_t)((newline ? newline : end) - at)};
        at = secret.bytes + secret.size + 1;
        if (secret.size == 0)
            continue;
        if (secret.size < SECRET_BYTES_LEAST)
            return "holds a line shorter than 32 bytes";
        if (secrets->count == SECRETS_MAX)
            return "holds more than 8 secrets";
        secrets->list[secrets->count++] = secret;
    }
    return secrets->count == 0 ? "holds no secret" : NULL;
}

bool secrets_read(struct secrets *secrets, const char *path, char fault[SECRETS_FAULT_BYTES]) {
    const char *wrong = NULL;
    secrets->count = 0;
    ssize_t size = read_whole(path, secrets->file, sizeof(secrets->file));
    if (size < 0)
        wrong = strerror(errno);
    else if ((size_t)size > SECRETS_FILE_BYTES_MAX)
        wrong = "is larger than 4 KiB";
    else
        wrong = split(secrets, (size_t)size);
    if (wrong)
        snprintf(fault, SECRETS_FAULT_BYTES,
                 "%.100s: %s; it takes secrets of at least 32 bytes, one a line", path, wrong);
    return wrong == NULL;
}

void secrets_forget(struct secrets *secrets) { OPENSSL_cleanse(secrets, sizeof(*secrets)); }
