#include "payload.h"

#include <stdlib.h>
#include <string.h>

uint8_t *payload_new(size_t size, bool unicode) {
    uint8_t *payload = malloc(size);
    if (payload == NULL)
        abort();
    for (size_t place = 0; place < size; place++)
        payload[place] = (uint8_t)('a' + place % 26);
    for (size_t place = PAYLOAD_SIZE_MIN; unicode && place + 2 <= size; place += 2)
        memcpy(payload + place, "\xc3\xa9", 2);
    return payload;
}

static void write_hex(uint8_t *out, uint64_t value, unsigned digits) {
    static const char digit[] = "0123456789abcdef";
    while (digits-- > 0) {
        out[digits] = (uint8_t)digit[value & 15];
        value >>= 4;
    }
}

static bool read_hex(const uint8_t *in, unsigned digits, uint64_t *value) {
    uint64_t read = 0;
    for (unsigned place = 0; place < digits; place++) {
        unsigned decimal = in[place] - (unsigned)'0';
        unsigned letter = in[place] - (unsigned)'a';
        if (decimal > 9 && letter > 5)
            return false;
        read = read << 4 | (decimal <= 9 ? decimal : letter + 10);
    }
    *value = read;
    return true;
}

void payload_stamp(uint8_t *payload, const struct stamp *stamp) {
    write_hex(payload, stamp->publisher, 8);
    write_hex(payload + 8, stamp->number, 8);
    write_hex(payload + 16, stamp->due_ns, 16);
}

bool payload_read(const uint8_t *model, size_t size, const uint8_t *data, size_t length,
                  struct stamp *stamp) {
    if (length != size)
        return false;
    uint64_t publisher = 0;
    uint64_t number = 0;
    if (!read_hex(data, 8, &publisher) || !read_hex(data + 8, 8, &number) ||
        !read_hex(data + 16, 16, &stamp->due_ns))
        return false;
    stamp->publisher = (uint32_t)publisher;
    stamp->number = (uint32_t)number;
    return memcmp(data + PAYLOAD_SIZE_MIN, model + PAYLOAD_SIZE_MIN, size - PAYLOAD_SIZE_MIN) == 0;
}
