#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, FLAG, TEXT, STEPS };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    long least, most;
    const char *meaning;
};

#define AT(field) offsetof(struct options, field)

static const struct option TABLE[] = {
    {"--connections", NUMBER, AT(connections), 1, 1000000, "echo, handshakes: at the same time"},
    {"--rooms", NUMBER, AT(rooms), 1, 1000000, "fanout, idle: rooms"},
    {"--members", NUMBER, AT(members), 1, 1000000, "fanout: members of a room"},
    {"--publishers", NUMBER, AT(publishers), 1, 1000000, "fanout: members of a room that send"},
    {"--steps", STEPS, 0, 1, 1000000, "idle: measure at 1000,8000,… connections"},
    {"--addresses", NUMBER, AT(addresses), 0, 16000, "source addresses (0: one for 8,000)"},
    {"--burst", NUMBER, AT(burst), 1, 4096, "handshakes under way while connecting"},
    {"--depth", NUMBER, AT(depth), 1, 4096, "messages under way for each publisher"},
    {"--rate", NUMBER, AT(rate), 0, 10000000, "messages a second in all, answered or not (0: off)"},
    {"--size", NUMBER, AT(size), 32, 16L << 20, "bytes of a message"},
    {"--binary", FLAG, AT(binary), 0, 0, "binary messages, not text"},
    {"--unicode", FLAG, AT(unicode), 0, 0, "text that is not ASCII"},
    {"--warmup-ms", NUMBER, AT(warmup_ms), 0, 60000, "traffic before measuring"},
    {"--measure-ms", NUMBER, AT(measure_ms), 50, 3600000, "traffic that is measured"},
    {"--drain-ms", NUMBER, AT(drain_ms), 0, 60000, "silence after which what lacks is lost"},
    {"--settle-ms", NUMBER, AT(settle_ms), 0, 60000, "idle: rest before memory is read"},
    {"--patience-ms", NUMBER, AT(patience_ms), 100, 60000, "how long to wait for any answer"},
    {"--hold", FLAG, AT(hold), 0, 0, "idle: stay until stdin ends, after the report"},
    {"--pid", NUMBER, AT(pid), 1, 1 << 22, "the server's process, counted with its descendants"},
    {"--core", NUMBER, AT(core), 0, 4095, "the processor that only the server runs on"},
    {"--ciphersuites", TEXT, AT(ciphersuites), 0, sizeof(((struct options *)0)->ciphersuites),
     "wss: TLS 1.3 suites to offer"},
};

static const char *const MODES[] = {"echo", "fanout", "idle", "handshakes"};

__attribute__((format(printf, 1, 2))) static bool complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

static bool explain(void) {
    fprintf(stderr,
            "usage: bench-load echo|fanout|idle|handshakes URL [OPTION]...\n"
            "URL is ws:// or wss://, a loopback address (127.x.x.x), a port and a path, in which\n"
            "{room} stands for a room's name. No load leaves this machine.\n");
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++) {
        fprintf(stderr, "  %-15s %s", TABLE[i].name, TABLE[i].meaning);
        if (TABLE[i].kind == NUMBER)
            fprintf(stderr, " (%ld to %ld)", TABLE[i].least, TABLE[i].most);
        fputc('\n', stderr);
    }
    return false;
}

static bool read_number(const char *text, long least, long most, long *number) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most)
        return false;
    *number = value;
    return true;
}

static bool read_steps(struct options *options, const struct option *option, const char *text) {
    char copy[256];
    char *rest;
    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
        return complain("--steps is longer than %zu bytes", sizeof(copy) - 1);
    options->step_count = 0;
    for (char *word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        long least =
            options->step_count == 0 ? option->least : options->steps[options->step_count - 1] + 1;
        if (options->step_count == STEPS_MAX)
            return complain("--steps has more than %d numbers", STEPS_MAX);
        if (!read_number(word, least, option->most, &options->steps[options->step_count]))
            return complain("--steps: '%s' is no number from %ld to %ld", word, least,
                            option->most);
        options->step_count++;
    }
    return options->step_count != 0 || complain("--steps is empty");
}

static bool read_value(struct options *options, const struct option *option, const char *text) {
    char *field = (char *)options + option->offset;
    long number;
    if (text == NULL)
        return complain("%s needs a value", option->name);
    if (option->kind == STEPS)
        return read_steps(options, option, text);
    if (option->kind == TEXT) {
        if (snprintf(field, (size_t)option->most, "%s", text) >= option->most)
            return complain("%s is longer than %ld bytes", option->name, option->most - 1);
        return true;
    }
    if (!read_number(text, option->least, option->most, &number))
        return complain("%s: '%s' is no number from %ld to %ld", option->name, text, option->least,
                        option->most);
    if (option->offset == AT(pid))
        options->pid = (pid_t)number;
    else
        memcpy(field, &number, sizeof(number));
    return true;
}

static const struct option *find_option(const char *word) {
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++) {
        if (strcmp(TABLE[i].name, word) == 0)
            return &TABLE[i];
    }
    return NULL;
}

static bool read_words(struct options *options, char **word) {
    for (; *word != NULL; word++) {
        const struct option *option = find_option(*word);
        if (option == NULL)
            return complain("'%s' is no option; without arguments, all are listed", *word);
        if (option->kind == FLAG) {
            *(bool *)((char *)options + option->offset) = true;
            continue;
        }
        if (!read_value(options, option, word[1]))
            return false;
        word++;
    }
    return true;
}

/* The load goes to this machine alone: any other address is refused. */
static bool read_host(struct options *options, const char *host) {
    char address[64];
    const char *colon = strchr(host, ':');
    long port;
    if (colon == NULL || (size_t)(colon - host) >= sizeof(address))
        return complain("'%s' is no address with a port", host);
    memcpy(address, host, (size_t)(colon - host));
    address[colon - host] = '\0';
    if (inet_pton(AF_INET, address, &options->server.sin_addr) != 1 ||
        ntohl(options->server.sin_addr.s_addr) >> 24 != 127)
        return complain("'%s' is no loopback address (127.x.x.x)", address);
    if (!read_number(colon + 1, 1, 65535, &port))
        return complain("'%s' is no port", colon + 1);
    options->server.sin_family = AF_INET;
    options->server.sin_port = htons((uint16_t)port);
    return true;
}

static bool read_url(struct options *options, const char *url) {
    const char *start;
    options->tls = strncmp(url, "wss://", 6) == 0;
    if (!options->tls && strncmp(url, "ws://", 5) != 0)
        return complain("'%s' begins neither with ws:// nor with wss://", url);
    start = strstr(url, "//") + 2;
    size_t host_size = strcspn(start, "/");
    if (host_size >= sizeof(options->host))
        return complain("the host of '%s' is longer than %zu bytes", url,
                        sizeof(options->host) - 1);
    memcpy(options->host, start, host_size);
    options->host[host_size] = '\0';
    if (start[host_size] == '\0')
        return complain("'%s' has no path", url);
    for (const char *c = start + host_size; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~')
            return complain("'%s' has a byte in its path that must be escaped", url);
    }
    if (snprintf(options->path, sizeof(options->path), "%s", start + host_size) >=
        (int)sizeof(options->path))
        return complain("the path of '%s' is longer than %zu bytes", url,
                        sizeof(options->path) - 1);
    return read_host(options, options->host);
}

static bool read_mode(struct options *options, const char *word) {
    for (size_t i = 0; i < sizeof(MODES) / sizeof(MODES[0]); i++) {
        if (strcmp(MODES[i], word) == 0) {
            options->mode = (enum mode)i;
            return true;
        }
    }
    return complain("'%s' is none of echo, fanout, idle, handshakes", word);
}

static bool check_together(const struct options *options) {
    if (options->publishers > options->members)
        return complain("--publishers (%ld) is more than --members (%ld)", options->publishers,
                        options->members);
    if (options_connections(options) > 1000000)
        return complain("%ld rooms of %ld are more than 1,000,000 connections", options->rooms,
                        options->members);
    if (options->mode == MODE_FANOUT &&
        options_connections(options) * options->publishers > 16L << 20)
        return complain("%ld members that hear %ld publishers are more than 16,777,216 pairs",
                        options_connections(options), options->publishers);
    if (options->mode == MODE_FANOUT && options->rooms > 1 && !strstr(options->path, "{room}"))
        return complain("several rooms need {room} in the path");
    if ((double)options_connections(options) * (double)options->depth * (double)options->size > 1e9)
        return complain("connections times --depth times --size is more than 1,000,000,000 bytes");
    if (options->mode == MODE_IDLE && options->step_count == 0)
        return complain("idle needs --steps");
    if (options->binary && options->unicode)
        return complain("--binary and --unicode exclude each other");
    return true;
}

long options_connections(const struct options *options) {
    if (options->mode == MODE_FANOUT)
        return options->rooms * options->members;
    if (options->mode == MODE_IDLE)
        return options->step_count != 0 ? options->steps[options->step_count - 1] : 0;
    return options->connections;
}

bool options_parse(struct options *options, int count, char **words) {
    *options = (struct options){
        .connections = 100,
        .rooms = 1,
        .members = 100,
        .publishers = 1,
        .burst = 64,
        .depth = 1,
        .size = 64,
        .warmup_ms = 500,
        .measure_ms = 2000,
        .drain_ms = 1000,
        .settle_ms = 1000,
        .patience_ms = 10000,
        .core = -1,
    };
    if (count < 3)
        return explain();
    return read_mode(options, words[1]) && read_url(options, words[2]) &&
           read_words(options, words + 3) && check_together(options);
}
