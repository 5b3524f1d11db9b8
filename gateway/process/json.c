#include "process/json.h"

#include <stdbool.h>

/* U+0080 to U+009F are two bytes, of which the second is the number. */
static bool is_late_control(const unsigned char *at, const unsigned char *end) {
    return end - at >= 2 && at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
}

void json_print(FILE *to, const char *text, size_t size) {
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    putc('"', to);
    for (; at < end; at++) {
        if (*at < 0x20 || *at == 0x7f) {
            fprintf(to, "\\u%04x", *at);
        } else if (is_late_control(at, end)) {
            fprintf(to, "\\u%04x", *++at);
        } else {
            if (*at == '"' || *at == '\\')
                putc('\\', to);
            putc(*at, to);
        }
    }
    putc('"', to);
}
