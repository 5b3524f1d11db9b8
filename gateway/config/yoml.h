/*
 * The configuration node that libh2o reads. h2o/configurator.h includes this file by name, but no
 * package installs it: this is our own declaration of the layout that libh2o 2.2.5 was built with,
 * checked below. libh2o reads nodes, never keeps one, and frees one only when its refcount falls to
 * 0: ours start at 1, so that a whole tree can lie in one pool.
 */
#ifndef SLUICE_CONFIG_YOML_H
#define SLUICE_CONFIG_YOML_H

#include <stddef.h>

typedef enum { YOML_TYPE_SCALAR, YOML_TYPE_SEQUENCE, YOML_TYPE_MAPPING } yoml_type_t;

typedef struct yoml yoml_t;

struct yoml_pair {
    yoml_t *key, *value;
};

struct yoml {
    yoml_type_t type;
    char *filename;
    size_t line, column; /* from 0 */
    char *anchor, *tag;  /* always NULL in our trees */
    size_t refcount;
    union {
        char *scalar;
        struct {
            size_t size;
            yoml_t *elements[1];
        } sequence;
        struct {
            size_t size;
            struct yoml_pair elements[1];
        } mapping;
    } data;
};

_Static_assert(offsetof(struct yoml, filename) == 8, "libh2o reads the file name here");
_Static_assert(offsetof(struct yoml, line) == 16, "libh2o reads the line here");
_Static_assert(offsetof(struct yoml, column) == 24, "libh2o reads the column here");
_Static_assert(offsetof(struct yoml, anchor) == 32, "libh2o reads the anchor here");
_Static_assert(offsetof(struct yoml, tag) == 40, "libh2o reads the tag here");
_Static_assert(offsetof(struct yoml, refcount) == 48, "libh2o counts references here");
_Static_assert(offsetof(struct yoml, data.scalar) == 56, "libh2o reads a scalar here");
_Static_assert(offsetof(struct yoml, data.sequence.elements) == 64, "libh2o reads a sequence here");
_Static_assert(offsetof(struct yoml, data.mapping.elements) == 64, "libh2o reads a mapping here");

#endif
