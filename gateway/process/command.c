#include "process/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/manifest.h"
#include "process/control.h"
#include "process/group_answers.h"
#include "websocket/frame.h"

#define WORDS_MAX 3

/* What a command takes beside its words. */
enum { TAKES_JSON = 1, TAKES_LIMIT = 2, TAKES_LAST = 4, TAKES_USER = 8, TAKES_TEXT = 16 };

static const struct command {
    const char *word, *words; /* for the line that says how it is used */
    size_t least, most;       /* words */
    unsigned takes;
    const char
        *number; /* of --limit or --last, when it is not given; NULL: no question of groups */
} commands[] = {
    {"reload", "", 0, 0, 0, NULL},
    {"reopen", "", 0, 0, 0, NULL},
    {"stop", "", 0, 0, 0, NULL},
    {"restart", "", 0, 0, 0, NULL},
    {"status", " [--json]", 0, 0, TAKES_JSON, NULL},
    {"connections", "", 0, 0, 0, NULL},
    {"kick", " ID | --user KEY", 0, 1, TAKES_USER, NULL},
    {"groups", " [NAMESPACE] [--limit N] [--json]", 0, 1, TAKES_JSON | TAKES_LIMIT, "1000"},
    {"members", " NAMESPACE GROUP [--limit N] [--json]", 2, 2, TAKES_JSON | TAKES_LIMIT, "1000"},
    {"history", " NAMESPACE GROUP [--last N] [--json]", 2, 2, TAKES_JSON | TAKES_LAST, "20"},
    {"publish", " NAMESPACE GROUP [TEXT | -] [--json]", 2, 3, TAKES_JSON | TAKES_TEXT, "0"},
};

static const struct command *find(const char *word) {
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].word, word) == 0)
            return &commands[i];
    return NULL;
}

bool command_is(const char *word) { return find(word) != NULL; }

/* --- the command line --- */

struct request {
    const struct command *command;
    const char *file, *control, *number, *user;
    const char *words[WORDS_MAX];
    size_t count;
    bool json;
};

static int complain(const struct command *command) {
    fprintf(stderr, "usage: sluice %s%s -c FILE | --control PATH\n", command->word, command->words);
    return EX_USAGE;
}

/* Where an option's value goes, or NULL. */
static const char **place_of(struct request *request, const char *option) {
    unsigned takes = request->command->takes;
    if (strcmp(option, "-c") == 0 || strcmp(option, "--conf") == 0)
        return &request->file;
    if (strcmp(option, "--control") == 0)
        return &request->control;
    if (((takes & TAKES_LIMIT) && strcmp(option, "--limit") == 0) ||
        ((takes & TAKES_LAST) && strcmp(option, "--last") == 0))
        return &request->number;
    if ((takes & TAKES_USER) && strcmp(option, "--user") == 0)
        return &request->user;
    return NULL;
}

static bool add_word(struct request *request, const char *word) {
    if (request->count == request->command->most)
        return false;
    request->words[request->count++] = word;
    return true;
}

/* Behind `--` all are words. */
static bool read_values(struct request *request, int count, char **values) {
    bool only_words = false;
    for (int i = 2; i < count; i++) {
        const char **place = only_words ? NULL : place_of(request, values[i]);
        if (place != NULL && i + 1 == count)
            return false;
        if (place != NULL)
            *place = values[++i];
        else if (!only_words && strcmp(values[i], "--") == 0)
            only_words = true;
        else if (!only_words && (request->command->takes & TAKES_JSON) &&
                 strcmp(values[i], "--json") == 0)
            request->json = true;
        else if (!only_words && strncmp(values[i], "--", 2) == 0)
            return false;
        else if (!add_word(request, values[i]))
            return false;
    }
    return true;
}

static bool is_number(const char *text) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number >= 1 &&
           number <= GROUP_ANSWERS_MOST;
}

static bool read_request(struct request *request, int count, char **values) {
    const struct command *command = request->command;
    if (!read_values(request, count, values))
        return false;
    if ((request->file != NULL) == (request->control != NULL) || request->count < command->least)
        return false;
    if ((command->takes & TAKES_USER) && (request->user != NULL) == (request->count == 1))
        return false;
    return request->number == NULL || is_number(request->number);
}

/* A tab or an end of line would make another question of it. */
static bool check_words(const struct request *request) {
    size_t count = request->count < 2 ? request->count : 2;
    for (size_t i = 0; i < count; i++)
        if (strpbrk(request->words[i], "\t\n") != NULL)
            return false;
    return request->user == NULL || strpbrk(request->user, "\t\n") == NULL;
}

/* --- asking --- */

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

static const char *word_of(const struct request *request, size_t index) {
    return index < request->count ? request->words[index] : "";
}

/* Cut when it is too long: control_ask finds that. */
static void write_question(const struct request *request, size_t body_size, char *question) {
    const struct command *command = request->command;
    const char *number = request->number != NULL ? request->number : command->number;
    char size[32];
    snprintf(size, sizeof(size), "%zu", body_size);
    if (command->number != NULL)
        snprintf(question, CONTROL_QUESTION_MAX, "%s\t%s\t%s\t%s\t%s", command->word,
                 command->takes & TAKES_TEXT ? size : number, request->json ? "json" : "text",
                 word_of(request, 0), word_of(request, 1));
    else if (request->user != NULL)
        snprintf(question, CONTROL_QUESTION_MAX, "%s user %s", command->word, request->user);
    else
        snprintf(question, CONTROL_QUESTION_MAX, "%s%s%s%s", command->word,
                 request->count > 0 ? " " : "", word_of(request, 0), request->json ? " json" : "");
}

/* Standard input to its end, or so far that it is larger than a message may be. A text to free;
   NULL when it can't be read. */
static char *read_input(size_t *size) {
    size_t capacity = 65536;
    char *text = NULL;
    ssize_t count = 1;
    for (*size = 0; count > 0 && *size <= FRAME_PAYLOAD_MAX; *size += (size_t)count) {
        if (text == NULL || *size == capacity)
            text = realloc(text, capacity *= 2);
        if (text == NULL)
            abort();
        do
            count = read(STDIN_FILENO, text + *size, capacity - *size);
        while (count < 0 && errno == EINTR);
        if (count < 0)
            break;
    }
    if (count >= 0)
        return text;
    fprintf(stderr, "standard input: %s\n", strerror(errno));
    free(text);
    return NULL;
}

static int ask(const struct request *request, const char *path) {
    char question[CONTROL_QUESTION_MAX + 1] = "", *text = NULL;
    size_t size = 0;
    if (request->command->takes & TAKES_TEXT) {
        bool is_given = request->count > 2 && strcmp(request->words[2], "-") != 0;
        text = is_given ? strdup(request->words[2]) : read_input(&size);
        if (text == NULL)
            return EX_NOINPUT; /* said */
        size = is_given ? strlen(text) : size;
    }
    write_question(request, size, question);
    int status = control_ask(path, question, text, size);
    free(text);
    return status;
}

int command_run(int count, char **values) {
    struct request request = {.command = find(values[1])};
    if (!read_request(&request, count, values))
        return complain(request.command);
    if (!check_words(&request)) {
        fputs("a namespace, a group or a user holds no tab and no end of line\n", stderr);
        return EX_USAGE;
    }
    char *path = request.control != NULL ? strdup(request.control) : find_control(request.file);
    if (path == NULL)
        return EX_CONFIG; /* said */
    int status = ask(&request, path);
    free(path);
    return status;
}
