/*
 * A mapping with a fixed set of keys, read by a table: kinds, ranges and defaults stand in one
 * place, and what is unknown, of the wrong kind or out of range is a problem with its place and the
 * nearest right word. Main thread.
 */
#ifndef SLUICE_CONFIG_FIELDS_H
#define SLUICE_CONFIG_FIELDS_H

#include "config/load.h"
#include "config/units.h"

enum field_kind {
    FIELD_COUNT = UNIT_COUNT,
    FIELD_BYTES = UNIT_BYTES,
    FIELD_MS = UNIT_MS,
    FIELD_TEXT, /* a single value that is not empty */
    FIELD_NODE  /* anything: the caller reads it */
};

struct field {
    const char *name;
    enum field_kind kind;
    int64_t least, most, otherwise; /* of numbers */
    bool may_be_off; /* 0 is in range beside least…most, and OFF is a way to write it */
};

struct value {
    yoml_t *key, *node; /* NULL: not given */
    int64_t number;     /* otherwise, when not given or wrong */
    const char *text;   /* NULL: not given or wrong */
};

/* Reads the mapping's keys into values, one for each field; what is wrong is reported and left at
   its default. what: the mapping's name, for messages. False when something was wrong. */
bool fields_read(struct load *load, yoml_t *mapping, const char *what, const struct field *fields,
                 size_t count, struct value *values);

/* Reads one value as the field says: for words that stand alone. */
bool fields_read_one(struct load *load, yoml_t *node, const struct field *field,
                     struct value *value);

/* Reads ON or OFF, in the spellings of YAML; what is neither is reported, and *on stays. name: for
   the message. */
bool fields_read_switch(struct load *load, const yoml_t *node, const char *name, bool *on);

/* "the OFF of YAML": OFF, off, no, false or never. */
bool fields_is_off(const yoml_t *node);

#endif
