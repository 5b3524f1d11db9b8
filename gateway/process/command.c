#include "process/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "config/manifest.h"
#include "process/control.h"

static const struct {
    const char *word, *argument; /* NULL: takes none */
    bool has_json;
} commands[] = {{"reload", NULL, false},  {"reopen", NULL, false}, {"stop", NULL, false},
                {"restart", NULL, false}, {"status", NULL, true},  {"connections", NULL, false},
                {"kick", "ID", false}};

static int find(const char *word) {
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].word, word) == 0)
            return (int)i;
    return -1;
}

bool command_is(const char *word) { return find(word) != -1; }

struct request {
    const char *file, *control, *argument;
    bool json;
};

static int complain(int which) {
    fprintf(stderr, "usage: sluice %s%s%s%s -c FILE | --control PATH\n", commands[which].word,
            commands[which].argument != NULL ? " " : "",
            commands[which].argument != NULL ? commands[which].argument : "",
            commands[which].has_json ? " [--json]" : "");
    return EX_USAGE;
}

static bool read_request(int which, int count, char **values, struct request *request) {
    for (int i = 2; i < count; i++) {
        bool more = i + 1 < count;
        if ((strcmp(values[i], "-c") == 0 || strcmp(values[i], "--conf") == 0) && more)
            request->file = values[++i];
        else if (strcmp(values[i], "--control") == 0 && more)
            request->control = values[++i];
        else if (strcmp(values[i], "--json") == 0 && commands[which].has_json)
            request->json = true;
        else if (commands[which].argument != NULL && request->argument == NULL)
            request->argument = values[i];
        else
            return false;
    }
    return (request->file != NULL) != (request->control != NULL) &&
           (commands[which].argument == NULL) == (request->argument == NULL);
}

static char *find_control(const char *file) {
    struct manifest *manifest = manifest_take(file, NULL, 0, NULL);
    char *path = control_path(&manifest->process);
    if (path == NULL && problems_errors(manifest->problems) > 0)
        problems_print(manifest->problems, stderr);
    else if (path == NULL)
        fprintf(stderr,
                "%s names no place for a control socket: it needs `control` or `pid-file`\n", file);
    manifest_free(manifest);
    return path;
}

int command_run(int count, char **values) {
    struct request request = {0};
    char question[CONTROL_QUESTION_MAX]; /* cut: control_ask finds it too long */
    int which = find(values[1]);
    if (!read_request(which, count, values, &request))
        return complain(which);
    char *path = request.control != NULL ? strdup(request.control) : find_control(request.file);
    if (path == NULL)
        return EX_CONFIG; /* said */
    snprintf(question, sizeof(question), "%s%s%s%s", values[1], request.argument != NULL ? " " : "",
             request.argument != NULL ? request.argument : "", request.json ? " json" : "");
    int status = control_ask(path, question);
    free(path);
    return status;
}
