#include "observe/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void make_room(struct text *text, size_t size) {
    if (text->size + size < text->capacity)
        return;
    text->capacity = (text->size + size) * 2 + 4096;
    text->bytes = realloc(text->bytes, text->capacity);
    if (text->bytes == NULL)
        abort();
}

void text_add(struct text *text, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        abort();
    make_room(text, (size_t)size);
    vsnprintf(text->bytes + text->size, text->capacity - text->size, format, again);
    va_end(again);
    text->size += (size_t)size;
}

void text_add_label(struct text *text, const char *value) {
    text_add(text, "\"");
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            text_add(text, "\\n");
        else
            text_add(text, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    }
    text_add(text, "\"");
}

void text_add_json(struct text *text, const char *value) {
    text_add(text, "\"");
    for (; *value != '\0'; value++) {
        if ((unsigned char)*value < 0x20)
            text_add(text, "\\u%04x", (unsigned char)*value);
        else
            text_add(text, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    }
    text_add(text, "\"");
}

void text_free(struct text *text) {
    free(text->bytes);
    *text = (struct text){NULL, 0, 0};
}
