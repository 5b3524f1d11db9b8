/*
 * `sluice plugin new`: a folder to begin a consumer with. What it holds is packaging/skeleton,
 * which the build puts into the program. Main thread.
 */
#ifndef SLUICE_PROCESS_SKELETON_H
#define SLUICE_PROCESS_SKELETON_H

#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

#define SKELETON_NAME_MAX 32

/* In both strings @NAME@ stands for the consumer's name. */
struct skeleton_file {
    const char *name, *text;
};

/* Generated. */
extern const struct skeleton_file skeleton_files[];
extern const size_t skeleton_file_count;

/* Whether a consumer may be called so: a small letter, then up to 31 small letters, digits and _,
   and no word that CMake keeps for itself. The error says what is wrong. */
bool skeleton_name_is_good(const char *name, struct error *error);

/* Makes the folder `name` in the current one and writes the files. name: a good one. False when the
   folder is there already or something can't be written; then nothing is left of what was made. */
bool skeleton_write(const char *name, struct error *error);

#endif
