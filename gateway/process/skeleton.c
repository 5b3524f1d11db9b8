#include "process/skeleton.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACE "@NAME@"

/* Targets that CMake has in every project. */
static const char *const kept[] = {"all",     "clean",          "edit_cache",    "help", "install",
                                   "package", "package_source", "rebuild_cache", "test"};

bool skeleton_name_is_good(const char *name, struct error *error) {
    static const char first[] = "abcdefghijklmnopqrstuvwxyz";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t length = strlen(name);
    if (strspn(name, first) == 0 || strspn(name, rest) != length || length > SKELETON_NAME_MAX)
        return error_set(error,
                         "a consumer can't be called `%s`: its name is a small letter, then up to "
                         "%d small letters, digits and underscores",
                         name, SKELETON_NAME_MAX - 1);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (strcmp(name, kept[i]) == 0)
            return error_set(error, "a consumer can't be called `%s`: CMake keeps that name", name);
    return true;
}

/* The text with the name in its places. */
static void print(FILE *file, const char *text, const char *name) {
    const char *place;
    while ((place = strstr(text, PLACE)) != NULL) {
        fwrite(text, 1, (size_t)(place - text), file);
        fputs(name, file);
        text = place + sizeof(PLACE) - 1;
    }
    fputs(text, file);
}

/* name/ and the file's name, which is far shorter than the space for it. */
struct path {
    char text[2 * SKELETON_NAME_MAX + 64];
};

static struct path path_of(const struct skeleton_file *file, const char *name) {
    struct path path = {""};
    FILE *text = fmemopen(path.text, sizeof(path.text), "w");
    if (text == NULL)
        return path;
    fprintf(text, "%s/", name);
    print(text, file->name, name);
    fclose(text);
    return path;
}

static bool write_file(const struct skeleton_file *from, const char *name, struct error *error) {
    struct path path = path_of(from, name);
    FILE *file = fopen(path.text, "wx");
    if (file == NULL)
        return error_set(error, "%s: %s", path.text, strerror(errno));
    print(file, from->text, name);
    bool is_written = fflush(file) == 0 && !ferror(file);
    int fault = errno;
    if (fclose(file) != 0 || !is_written)
        return error_set(error, "%s can't be written: %s", path.text, strerror(fault));
    return true;
}

static void take_back(const char *name) {
    for (size_t i = 0; i < skeleton_file_count; i++)
        unlink(path_of(&skeleton_files[i], name).text);
    rmdir(name);
}

bool skeleton_write(const char *name, struct error *error) {
    if (mkdir(name, 0777) != 0)
        return error_set(error,
                         errno == EEXIST ? "%s is there already, and stays as it is"
                                         : "%s can't be made: %s",
                         name, strerror(errno));
    for (size_t i = 0; i < skeleton_file_count; i++)
        if (!write_file(&skeleton_files[i], name, error)) {
            take_back(name);
            return false;
        }
    return true;
}
