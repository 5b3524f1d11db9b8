#include "snapshot/own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALWAYS (O_CREAT | O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static bool has_folder_of_ours(const char *path) {
    struct stat folder;
    char *copy = strdup(path);
    if (copy == NULL)
        abort();
    bool is_there = stat(dirname(copy), &folder) == 0;
    free(copy);
    return is_there && (folder.st_uid == 0 || folder.st_uid == geteuid()) &&
           (folder.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

int own_file_open(const char *path, int flags) {
    int fd = open(path, ALWAYS | O_NOFOLLOW | flags, 0644);
    if (fd != -1 || errno != ELOOP)
        return fd;
    if (has_folder_of_ours(path)) /* such as /dev/stdout */
        return open(path, ALWAYS | flags, 0644);
    errno = ELOOP;
    return -1;
}
