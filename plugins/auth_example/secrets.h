/*
 * The secrets that tokens are signed with, from a file of one secret a line: the first signs, all
 * verify, so that a new one can take over from an old one while tokens of both are about.
 */
#ifndef SECRETS_H
#define SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#define SECRETS_MAX 8
#define SECRET_BYTES_LEAST 32
#define SECRETS_FILE_BYTES_MAX 4096
#define SECRETS_FAULT_BYTES 200

struct secret {
    const char *bytes;
    size_t size;
};

struct secrets {
    struct secret list[SECRETS_MAX];
    size_t count;
    char file[SECRETS_FILE_BYTES_MAX + 1];
};

/* Reads the file; empty lines are left out. False when it can't be read, holds no secret, too many,
   or one that is too short: fault then says so, in words that hold nothing of the file. */
bool secrets_read(struct secrets *secrets, const char *path, char fault[SECRETS_FAULT_BYTES]);
/* Overwrites them. */
void secrets_forget(struct secrets *secrets);

#endif
