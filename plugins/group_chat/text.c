#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* One character: its code and its length in bytes, 0 when these bytes are no UTF-8 (RFC 3629). */
struct character {
    uint32_t code;
    size_t size;
};

static struct character read_character(const char *text, size_t size) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)text[0];
    if (lead < 0x80)
        return (struct character){lead, 1};
    size_t length = lead >= 0xf8 ? 0 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    if (length == 0 || length > size)
        return (struct character){0, 0};
    uint32_t code = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return (struct character){0, 0};
        code = code << 6 | ((unsigned char)text[i] & 0x3f);
    }
    bool valid = code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return (struct character){code, valid ? length : 0};
}

static bool is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

static bool changes_direction(uint32_t code) {
    return code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* What shows nothing by itself, but may join or shape what stands beside it: Unicode's
   Default_Ignorable_Code_Point and the blank of Braille. */
static bool is_invisible(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},   {0x115f, 0x1160},
        {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f}, {0x202a, 0x202e},
        {0x2060, 0x206f},   {0x2800, 0x2800},   {0x3164, 0x3164}, {0xfe00, 0xfe0f},
        {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfff8}, {0x1bca0, 0x1bca3},
        {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

/* Unicode's other blanks (Zs). */
static bool is_wide_blank(uint32_t code) {
    return code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x202f ||
           code == 0x205f || code == 0x3000;
}

size_t text_clean(const char *from, size_t size, char *to) {
    size_t written = 0;
    for (size_t at = 0; at < size;) {
        struct character character = read_character(from + at, size - at);
        if (character.size == 0) {
            at++;
            continue;
        }
        if (is_control(character.code) && character.code != '\n' && character.code != '\t') {
            to[written++] = ' ';
        } else if (!changes_direction(character.code)) {
            memcpy(to + written, from + at, character.size);
            written += character.size;
        }
        at += character.size;
    }
    return written;
}

static bool is_blank(char byte) { return byte == ' ' || byte == '\t' || byte == '\n'; }

bool text_shows(const char *text, size_t size) {
    for (size_t at = 0; at < size;) {
        struct character character = read_character(text + at, size - at);
        if (character.size > 0 && !is_blank(text[at]) && !is_wide_blank(character.code) &&
            !is_invisible(character.code))
            return true;
        at += character.size > 0 ? character.size : 1;
    }
    return false;
}

/* Makes blanks of all kinds ' ', in place. Returns the new size. */
static size_t level_blanks(char *text, size_t size) {
    size_t written = 0;
    for (size_t at = 0; at < size;) {
        struct character character = read_character(text + at, size - at);
        if (is_blank(text[at]) || is_wide_blank(character.code)) {
            text[written++] = ' ';
        } else {
            memmove(text + written, text + at, character.size);
            written += character.size;
        }
        at += character.size;
    }
    return written;
}

/* Bytes of the first most characters. */
static size_t measure(const char *text, size_t size, size_t most) {
    size_t end = 0;
    for (; end < size && most > 0; most--)
        end += read_character(text + end, size - end).size;
    return end;
}

size_t text_characters(const char *text) {
    size_t size = strlen(text), count = 0;
    for (size_t at = 0; at < size; count++) {
        size_t step = read_character(text + at, size - at).size;
        at += step > 0 ? step : 1;
    }
    return count;
}

size_t text_bare_name(const char *name, char *to) {
    size_t size = strlen(name), written = 0;
    for (size_t at = 0; at < size;) {
        struct character character = read_character(name + at, size - at);
        if (character.size == 0)
            break;
        if (character.code >= 'A' && character.code <= 'Z') {
            to[written++] = (char)(name[at] - 'A' + 'a');
        } else if (name[at] != ' ' && !is_invisible(character.code)) {
            memcpy(to + written, name + at, character.size);
            written += character.size;
        }
        at += character.size;
    }
    return written;
}

static size_t trim_end(const char *text, size_t size) {
    while (size > 0 && text[size - 1] == ' ')
        size--;
    return size;
}

void text_clean_name(const char *from, size_t most, char *to) {
    size_t size = level_blanks(to, text_clean(from, strlen(from), to)), begin = 0;
    while (begin < size && to[begin] == ' ')
        begin++;
    /* The cut comes before the trim at the end, so that a name never ends in a blank. */
    size = trim_end(to + begin, measure(to + begin, size - begin, most));
    memmove(to, to + begin, size);
    to[size] = '\0';
}

void text_number_name(const char *name, unsigned number, size_t most, char *to) {
    char suffix[16];
    size_t digits = (size_t)snprintf(suffix, sizeof(suffix), " %u", number);
    size_t size = measure(name, strlen(name), most > digits ? most - digits : 0);
    size = trim_end(name, size);
    memcpy(to, name, size);
    memcpy(to + size, suffix, digits + 1);
}
