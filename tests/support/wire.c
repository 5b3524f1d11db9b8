#include "support/wire.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t key[4] = {0x9d, 0x00, 0x7f, 0xe2};

void wire_raw(struct wire *wire, const void *data, size_t size) {
    if (size == 0)
        return;
    if (wire->size + size > wire->capacity) {
        wire->capacity = (wire->size + size) * 2;
        wire->data = realloc(wire->data, wire->capacity);
        if (wire->data == NULL)
            abort();
    }
    memcpy(wire->data + wire->size, data, size);
    wire->size += size;
}

void wire_header(struct wire *wire, uint8_t first, int number_size, uint64_t length, int masked) {
    uint8_t header[10] = {first};
    header[1] = (uint8_t)(number_size == 0 ? length : number_size == 2 ? 126 : 127);
    if (masked)
        header[1] |= 0x80;
    for (int i = 0; i < number_size; i++)
        header[2 + i] = (uint8_t)(length >> (8 * (number_size - 1 - i)));
    wire_raw(wire, header, 2 + (size_t)number_size);
    if (masked)
        wire_raw(wire, key, sizeof(key));
}

void wire_masked(struct wire *wire, const void *payload, size_t size) {
    const uint8_t *plain = payload;
    size_t start = wire->size;
    wire_raw(wire, plain, size);
    for (size_t i = 0; i < size; i++)
        wire->data[start + i] ^= key[i % 4];
}

void wire_frame(struct wire *wire, uint8_t first, const void *payload, size_t size) {
    wire_header(wire, first, size < 126 ? 0 : size < 65536 ? 2 : 8, size, 1);
    wire_masked(wire, payload, size);
}

void wire_close(struct wire *wire, int code, const char *reason) {
    uint8_t payload[125] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t size = strlen(reason);
    if (size > 123)
        abort();
    memcpy(payload + 2, reason, size);
    wire_frame(wire, 0x88, payload, code == 0 ? 0 : 2 + size);
}

void wire_free(struct wire *wire) {
    free(wire->data);
    *wire = (struct wire){0};
}
