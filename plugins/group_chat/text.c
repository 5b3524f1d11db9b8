#include "text.h"

#include <stdbool.h>
#include <stdint.h>
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

void text_clean_name(const char *from, size_t most, char *to) {
    size_t size = text_clean(from, strlen(from), to), begin = 0, end = 0;
    for (size_t i = 0; i < size; i++)
        if (is_blank(to[i]))
            to[i] = ' ';
    while (begin < size && is_blank(to[begin]))
        begin++;
    /* The cut comes before the trim at the end, so that a name never ends in a blank. */
    for (end = begin; end < size && most > 0; most--)
        end += read_character(to + end, size - end).size;
    while (end > begin && is_blank(to[end - 1]))
        end--;
    memmove(to, to + begin, end - begin);
    to[end - begin] = '\0';
}
