#include "config/problems.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"

struct problem {
    struct place place; /* file is our copy */
    bool is_error;
    size_t order; /* of reporting */
    char *text;
};

struct problems {
    struct problem *items;
    size_t count, room, errors, reports;
};

struct problems *problems_create(void) {
    struct problems *problems = h2o_mem_alloc(sizeof(*problems));
    *problems = (struct problems){0};
    return problems;
}

void problems_free(struct problems *problems) {
    if (problems == NULL)
        return;
    for (size_t i = 0; i != problems->count; i++) {
        free((char *)problems->items[i].place.file);
        free(problems->items[i].text);
    }
    free(problems->items);
    free(problems);
}

static bool same(const struct problem *a, const struct problem *b) {
    return a->place.line == b->place.line && a->place.column == b->place.column &&
           a->is_error == b->is_error && strcmp(a->text, b->text) == 0 &&
           strcmp(a->place.file != NULL ? a->place.file : "",
                  b->place.file != NULL ? b->place.file : "") == 0;
}

static bool is_known(const struct problems *problems, const struct problem *problem) {
    for (size_t i = 0; i != problems->count; i++)
        if (same(&problems->items[i], problem))
            return true;
    return false;
}

/* Takes text. */
static void add(struct problems *problems, bool is_error, struct place place, char *text) {
    struct problem problem = {
        .place = place, .is_error = is_error, .order = problems->count, .text = text};
    problems->reports += is_error;
    if (is_known(problems, &problem)) {
        free(text);
        return;
    }
    if (problems->count == problems->room) {
        problems->room = problems->room * 2 + 16;
        problems->items =
            h2o_mem_realloc(problems->items, problems->room * sizeof(*problems->items));
    }
    if (place.file != NULL)
        problem.place.file = h2o_strdup(NULL, place.file, SIZE_MAX).base;
    problems->items[problems->count++] = problem;
    problems->errors += is_error;
}

static char *format_text(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static char *format_text(const char *format, va_list args) {
    char *text;
    if (vasprintf(&text, format, args) < 0)
        h2o_fatal("no memory");
    return text;
}

void problems_error(struct problems *problems, struct place place, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(problems, true, place, format_text(format, args));
    va_end(args);
}

void problems_warning(struct problems *problems, struct place place, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(problems, false, place, format_text(format, args));
    va_end(args);
}

size_t problems_errors(const struct problems *problems) { return problems->errors; }

size_t problems_reports(const struct problems *problems) { return problems->reports; }

static int compare_numbers(size_t a, size_t b) { return a < b ? -1 : a > b; }

static int compare_places(const void *left, const void *right) {
    const struct problem *a = left, *b = right;
    int order = strcmp(a->place.file != NULL ? a->place.file : "",
                       b->place.file != NULL ? b->place.file : "");
    if (order == 0)
        order = compare_numbers(a->place.line, b->place.line);
    if (order == 0)
        order = compare_numbers(a->place.column, b->place.column);
    return order != 0 ? order : compare_numbers(a->order, b->order);
}

/* Texts quote what the file says: a problem stays one line, whatever that is. */
static void print_text(const char *text, FILE *to) {
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", to);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            fprintf(to, "\\x%02x", (unsigned char)*text);
        else
            fputc(*text, to);
    }
    fputc('\n', to);
}

static void print_one(const struct problem *problem, FILE *to) {
    if (problem->place.file != NULL)
        fprintf(to, "%s:", problem->place.file);
    if (problem->place.line != 0)
        fprintf(to, "%zu:", problem->place.line);
    if (problem->place.column != 0)
        fprintf(to, "%zu:", problem->place.column);
    fprintf(to, "%s%s: ", problem->place.file != NULL ? " " : "",
            problem->is_error ? "error" : "warning");
    print_text(problem->text, to);
}

void problems_print(const struct problems *problems, FILE *to) {
    struct problem *sorted = h2o_mem_alloc((problems->count + 1) * sizeof(*sorted));
    h2o_memcpy(sorted, problems->items, problems->count * sizeof(*sorted));
    qsort(sorted, problems->count, sizeof(*sorted), compare_places);
    for (size_t i = 0; i != problems->count; i++)
        print_one(&sorted[i], to);
    free(sorted);
}
