/* A route's options: read by the consumer while it opens, as the server reads them from its
   configuration. */
#include "fake_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Notes the first problem; what follows often comes from it. */
static void note_problem(sluice_route *route, const char *key, const char *what,
                         const char *value) {
    struct fake_host *host = route->host;
    if (host->problem[0] == '\0')
        snprintf(host->problem, sizeof(host->problem), "%s: %s%s", key, what, value);
}

void fake_options_set(sluice_route *route, const char *const *options) {
    size_t count = 0;
    while (options && options[count])
        if (!options[++count])
            fake_fault("the test's options end after the key \"%s\"", options[count - 1]);
        else
            count++;
    route->options = fake_alloc((count / 2 + 1) * sizeof(route->options[0]));
    for (size_t i = 0; i < count; i += 2)
        route->options[route->option_count++] =
            (struct option){fake_copy(options[i]), fake_copy(options[i + 1]), false};
}

void fake_options_check(sluice_route *route) {
    for (size_t i = 0; i < route->option_count; i++)
        if (!route->options[i].asked)
            note_problem(route, route->options[i].key, "the consumer has no such option", "");
}

void fake_options_free(sluice_route *route) {
    for (size_t i = 0; i < route->option_count; i++) {
        free(route->options[i].key);
        free(route->options[i].text);
    }
    free(route->options);
}

static const char *ask(sluice_route *route, const char *key) {
    if (!route->opening)
        fake_fault("option \"%s\" is asked for outside of open", key);
    for (size_t i = 0; i < route->option_count; i++) {
        if (strcmp(route->options[i].key, key) != 0)
            continue;
        route->options[i].asked = true;
        return route->options[i].text;
    }
    return NULL;
}

struct suffix {
    const char *text;
    int64_t factor;
};

static const struct suffix bytes_suffixes[] = {
    {"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {NULL, 0}};
static const struct suffix ms_suffixes[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                            {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct suffix no_suffix[] = {{"", 1}, {NULL, 0}};

static bool read_number(const char *text, int unit, int64_t *number) {
    const struct suffix *suffix = unit == SLUICE_BYTES ? bytes_suffixes
                                  : unit == SLUICE_MS  ? ms_suffixes
                                                       : no_suffix;
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    if (end == text || errno != 0 || (text[0] != '-' && (text[0] < '0' || text[0] > '9')))
        return false;
    while (suffix->text && strcmp(suffix->text, end) != 0)
        suffix++;
    return suffix->text && !__builtin_mul_overflow(*number, suffix->factor, number);
}

int64_t fake_option_number(sluice_route *route, const char *key, int unit, int64_t least,
                           int64_t most, int64_t otherwise) {
    const char *text = ask(route, key);
    int64_t number;
    char range[64];
    if (unit < SLUICE_COUNT || unit > SLUICE_MS)
        fake_fault("option \"%s\" is asked for in the unknown unit %d", key, unit);
    if (!text)
        return otherwise;
    if (!read_number(text, unit, &number)) {
        note_problem(route, key, "is no number with the right unit: ", text);
        return otherwise;
    }
    if (number >= least && number <= most)
        return number;
    snprintf(range, sizeof(range), "%" PRId64 " to %" PRId64, least, most);
    note_problem(route, key, "is out of range: ", range);
    return otherwise;
}

const char *fake_option_text(sluice_route *route, const char *key, const char *otherwise) {
    const char *text = ask(route, key);
    return text ? text : otherwise;
}

void fake_option_error(sluice_route *route, const char *key, const char *message) {
    if (!route->opening)
        fake_fault("an error of option \"%s\" is reported outside of open", key);
    note_problem(route, key, message, "");
}
