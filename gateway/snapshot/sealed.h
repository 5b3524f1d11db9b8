/*
 * A file's content in memory, sealed: nobody can change, grow or shrink it any more, so that
 * reading or running it is always safe, whatever becomes of the file. Any thread.
 */
#ifndef SLUICE_SNAPSHOT_SEALED_H
#define SLUICE_SNAPSHOT_SEALED_H

#include <stdbool.h>

#include "observe/error.h"

/* The largest file that is taken, in bytes: 512 MiB. */
#define SEALED_BYTES_MAX (512u << 20)

/* Copies the regular file at path; returns the copy's descriptor, close-on-exec, which the caller
   closes. runs: it holds code, to be mapped as such. -1 with a predicate that belongs behind the
   file's name: "cannot be opened: …", "is a directory, not a file", "is larger than …". */
int sealed_copy(const char *path, bool runs, struct error *error);

/* Whether the descriptor is such a copy. */
bool sealed_is(int fd);

#endif
