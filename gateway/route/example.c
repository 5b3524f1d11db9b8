#include "route/example.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16

struct writer {
    const char *at; /* what is still to be read */
    unsigned variant;
    int depth;
    char *text;
    size_t used, room;
};

static bool write_alternatives(struct writer *writer);

static bool put(struct writer *writer, char c) {
    if (writer->used + 1 >= writer->room)
        return false;
    writer->text[writer->used++] = c;
    return true;
}

/* One of the class \w, \d…, another for each variant. */
static char of_class(char kind, unsigned variant) {
    static const char words[] = "az0Q_m", digits[] = "097531", others[] = "-~.!+@";
    switch (kind) {
    case 'w':
        return words[variant % 6];
    case 'd':
        return digits[variant % 6];
    case 's':
        return ' ';
    case 'W':
    case 'D':
    case 'S':
        return kind == 'D' ? words[variant % 2] : others[variant % 6];
    default:
        return '\0';
    }
}

static bool read_escape(struct writer *writer, char *c) {
    char kind = *writer->at++;
    *c = of_class(kind, writer->variant);
    if (*c != '\0')
        return true;
    *c = kind;
    return kind != '\0' && !isalnum((unsigned char)kind); /* \b, \1, \x…: not read */
}

/* A set in brackets: which of the printable characters it holds. */
static bool read_set(struct writer *writer, bool holds[128]) {
    bool is_negated = *writer->at == '^';
    memset(holds, 0, 128 * sizeof(bool));
    writer->at += is_negated;
    for (bool is_first = true; *writer->at != ']' || is_first; is_first = false) {
        unsigned char from = (unsigned char)*writer->at++;
        if (from == '\0' || from >= 128 || (from == '[' && *writer->at == ':'))
            return false;
        if (from == '\\') {
            char kind = *writer->at++;
            for (unsigned variant = 0; variant < 6; variant++)
                if (of_class(kind, variant) != '\0')
                    holds[(unsigned char)of_class(kind, variant)] = true;
            if (kind == '\0' || (isalnum((unsigned char)kind) && strchr("wds", kind) == NULL))
                return false;
            if (!isalnum((unsigned char)kind))
                holds[(unsigned char)kind & 127] = true;
            continue;
        }
        unsigned char to = from;
        if (writer->at[0] == '-' && writer->at[1] != ']' && writer->at[1] != '\0') {
            to = (unsigned char)writer->at[1];
            writer->at += 2;
        }
        for (unsigned c = from; c <= to && c < 128; c++)
            holds[c] = true;
    }
    writer->at++;
    for (int c = 0; is_negated && c < 128; c++)
        holds[c] = !holds[c];
    return true;
}

/* The first, the last and some between, of those that may stand in a path. */
static bool choose_from_set(struct writer *writer, char *c) {
    bool holds[128];
    char all[128];
    size_t count = 0;
    if (!read_set(writer, holds))
        return false;
    for (int i = '!'; i < 127; i++)
        if (holds[i])
            all[count++] = (char)i;
    if (count == 0)
        return false;
    *c = all[(size_t)writer->variant * (count - 1) / 5];
    return true;
}

/* {n}, {n,}, {n,m}, *, +, ?: how often, as the variant goes. */
static bool read_times(struct writer *writer, unsigned *times) {
    unsigned extra = writer->variant % 3;
    unsigned long least, most;
    char *end;
    switch (*writer->at) {
    case '*':
        *times = extra;
        break;
    case '+':
        *times = 1 + extra * 2;
        break;
    case '?':
        *times = extra > 0;
        break;
    case '{':
        least = most = strtoul(writer->at + 1, &end, 10);
        if (*end == ',')
            most = isdigit((unsigned char)end[1]) ? strtoul(end + 1, &end, 10)
                                                  : (end++, least + extra);
        if (*end != '}' || least > 64)
            return false;
        *times = (unsigned)(writer->variant % 2 == 0 ? least : most > 64 ? 64 : most);
        writer->at = end;
        break;
    default:
        *times = 1;
        return true;
    }
    writer->at++;
    if (*writer->at == '?' || *writer->at == '+') /* lazy, possessive */
        writer->at++;
    return true;
}

static bool skip_group_head(struct writer *writer) {
    const char *at = writer->at;
    if (*at != '?')
        return true;
    if (at[1] == ':') {
        writer->at += 2;
        return true;
    }
    at += at[1] == 'P' ? 2 : 1;
    char close = *at == '<' ? '>' : *at == '\'' ? '\'' : '\0';
    if (close == '\0' || at[1] == '=' || at[1] == '!') /* look-around, flags: not read */
        return false;
    at = strchr(at + 1, close);
    if (at == NULL)
        return false;
    writer->at = at + 1;
    return true;
}

static bool write_group(struct writer *writer) {
    if (++writer->depth > DEPTH_MAX || !skip_group_head(writer))
        return false;
    if (!write_alternatives(writer) || *writer->at++ != ')')
        return false;
    writer->depth--;
    return true;
}

static bool write_atom(struct writer *writer) {
    char c = *writer->at++;
    switch (c) {
    case '(':
        return write_group(writer);
    case '[':
        return choose_from_set(writer, &c) && put(writer, c);
    case '\\':
        return read_escape(writer, &c) && put(writer, c);
    case '.':
        return put(writer, of_class('w', writer->variant));
    case '^':
    case '$':
    case '*':
    case '+':
    case '?':
    case '{':
        return false;
    default:
        return put(writer, c);
    }
}

/* An atom is written once, then repeated or taken back as its quantifier says. */
static bool write_piece(struct writer *writer) {
    size_t before = writer->used;
    unsigned times;
    if (!write_atom(writer))
        return false;
    size_t size = writer->used - before;
    if (!read_times(writer, &times))
        return false;
    if (times == 0)
        writer->used = before;
    for (unsigned i = 1; i < times; i++)
        for (size_t c = 0; c < size; c++)
            if (!put(writer, writer->text[before + c]))
                return false;
    return true;
}

/* All alternatives are read, the variant's is kept. */
static bool write_alternatives(struct writer *writer) {
    size_t starts[8], before = writer->used, count = 0;
    for (;;) {
        if (count == 8)
            return false;
        starts[count++] = writer->used;
        while (*writer->at != '\0' && *writer->at != '|' && *writer->at != ')')
            if (!write_piece(writer))
                return false;
        if (*writer->at != '|')
            break;
        writer->at++;
    }
    size_t chosen = writer->variant % count;
    size_t end = chosen + 1 < count ? starts[chosen + 1] : writer->used;
    memmove(writer->text + before, writer->text + starts[chosen], end - starts[chosen]);
    writer->used = before + end - starts[chosen];
    return true;
}

bool example_write(const char *expression, unsigned variant, char *text, size_t room) {
    struct writer writer = {expression, variant, 0, text, 0, room};
    if (room == 0 || !write_alternatives(&writer) || *writer.at != '\0')
        return false;
    text[writer.used] = '\0';
    return true;
}
