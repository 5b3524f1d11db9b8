#include "process/plugin_command.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "process/inspection.h"
#include "process/skeleton.h"

/* How long the code of a plugin that is checked may take. */
#define LIMIT_MS 10000

static const char usage[] =
    "usage: sluice plugin check FILE.so       say what a plugin is, or what is wrong with it\n"
    "       sluice plugin new NAME            make a folder to begin a consumer with\n";

static int make(const char *name) {
    struct error error;
    if (!skeleton_name_is_good(name, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return EX_USAGE;
    }
    if (!skeleton_write(name, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return EX_CANTCREAT;
    }
    printf("%s/ has a consumer, its test and a configuration to try it with. Next:\n"
           "  cmake -S %s -B %s/build\n"
           "  cmake --build %s/build\n"
           "  ctest --test-dir %s/build\n",
           name, name, name, name, name);
    return EX_OK;
}

int plugin_command(int count, char **values) {
    if (count == 3 && strcmp(values[1], "check") == 0)
        return inspection_run(values[2], LIMIT_MS, stdout, stderr);
    if (count == 3 && strcmp(values[1], "new") == 0)
        return make(values[2]);
    if (count == 2 && strcmp(values[1], "--help") == 0) {
        fputs(usage, stdout);
        return EX_OK;
    }
    fputs(usage, stderr);
    return EX_USAGE;
}
