#include "config/compression.h"

#include "config/fields.h"

enum { THRESHOLD, TAKEOVER, WINDOW_BITS, LEVEL, FIELDS };

/* A window that each session keeps for itself is smaller than one that none does. */
#define TAKEOVER_WINDOW_BITS 12

static const struct field fields[FIELDS] = {
    [THRESHOLD] = {"threshold", FIELD_BYTES, 0, COMPRESSION_THRESHOLD_MAX, 1 << 10, false},
    [TAKEOVER] = {"takeover", FIELD_NODE, 0, 0, 0, false},
    [WINDOW_BITS] = {"window-bits", FIELD_COUNT, 9, 15, 15, false},
    [LEVEL] = {"level", FIELD_COUNT, 1, 9, 1, false},
};

static bool read_fields(struct load *load, yoml_t *node, struct compression *compression) {
    struct value values[FIELDS];
    bool right = fields_read(load, node, "compress-messages", fields, FIELDS, values);
    const yoml_t *takeover = values[TAKEOVER].node;
    if (takeover != NULL)
        right = fields_read_switch(load, takeover, "takeover", &compression->takeover) && right;
    compression->threshold = (uint32_t)values[THRESHOLD].number;
    compression->level = (uint8_t)values[LEVEL].number;
    compression->window_bits = (uint8_t)values[WINDOW_BITS].number;
    if (compression->takeover && values[WINDOW_BITS].node == NULL)
        compression->window_bits = TAKEOVER_WINDOW_BITS;
    return right;
}

bool compression_read(struct load *load, yoml_t *node, struct compression *compression) {
    *compression = (struct compression){.on = true,
                                        .threshold = (uint32_t)fields[THRESHOLD].otherwise,
                                        .level = (uint8_t)fields[LEVEL].otherwise,
                                        .window_bits = (uint8_t)fields[WINDOW_BITS].otherwise};
    if (node == NULL)
        return true;
    if (node->type == YOML_TYPE_MAPPING)
        return read_fields(load, node, compression);
    return fields_read_switch(load, node, "compress-messages", &compression->on);
}
