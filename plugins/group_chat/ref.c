#include "ref.h"

#include <string.h>

struct span {
    const char *text;
    size_t size;
};

/* Takes no locale's letters. */
static bool is_ref_character(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
}

bool ref_fits(const char *text, size_t size) {
    if (size < 1 || size > REF_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_ref_character(text[i]))
            return false;
    return true;
}

static bool is(struct span span, const char *word) {
    return span.size == strlen(word) && memcmp(span.text, word, span.size) == 0;
}

/* The inside of the string whose quote is at this byte. */
static struct span read_string(const char *data, size_t size, size_t at) {
    size_t end = at + 1;
    while (end < size && data[end] != '"')
        end += data[end] == '\\' ? 2 : 1;
    return (struct span){data + at + 1, (end < size ? end : size) - at - 1};
}

void ref_find(const char *data, size_t size, char to[REF_MAX + 1]) {
    struct span name = {"", 0}, string, ref = {"", 0};
    size_t depth = 0;
    bool is_value = false, is_say = false;
    for (size_t at = 0; at < size; at++) {
        switch (data[at]) {
        case '"':
            string = read_string(data, size, at);
            at += string.size + 1;
            if (depth != 1)
                break;
            if (!is_value)
                name = string;
            else if (is(name, "type"))
                is_say = is(string, "say");
            else if (is(name, "ref"))
                ref = string;
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ':':
        case ',':
            is_value = data[at] == ':';
            break;
        }
    }
    size_t written = is_say && ref_fits(ref.text, ref.size) ? ref.size : 0;
    memcpy(to, ref.text, written);
    to[written] = '\0';
}
