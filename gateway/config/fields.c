#include "config/fields.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "observe/nearest.h"

static bool complain_kind(struct load *load, const yoml_t *node, const struct field *field) {
    problems_error(load->problems, tree_place(node), "`%s` takes a single value, not %s",
                   field->name, tree_kind(node));
    return false;
}

static bool complain_range(struct load *load, const yoml_t *node, const struct field *field) {
    char least[32], most[32];
    enum unit unit = (enum unit)field->kind;
    problems_error(load->problems, tree_place(node), "`%s` is `%s`; it must be %s to %s%s",
                   field->name, node->data.scalar, units_write(field->least, unit, least),
                   units_write(field->most, unit, most), field->may_be_off ? ", or OFF" : "");
    return false;
}

static bool read_number(struct load *load, const yoml_t *node, const struct field *field,
                        struct value *value) {
    const char *why;
    int64_t number = 0;
    if (field->may_be_off && (fields_is_off(node) || strcmp(node->data.scalar, "0") == 0)) {
        value->number = 0;
        return true;
    }
    if (!units_read(node->data.scalar, (enum unit)field->kind, &number, &why)) {
        problems_error(load->problems, tree_place(node), "`%s`: `%s` %s", field->name,
                       node->data.scalar, why);
        return false;
    }
    if (number < field->least || number > field->most)
        return complain_range(load, node, field);
    value->number = number;
    return true;
}

static bool is_one_of(const yoml_t *node, const char *const *words) {
    if (node->type != YOML_TYPE_SCALAR)
        return false;
    for (; *words != NULL; words++)
        if (strcasecmp(node->data.scalar, *words) == 0)
            return true;
    return false;
}

bool fields_is_off(const yoml_t *node) {
    static const char *const words[] = {"off", "no", "false", "never", NULL};
    return is_one_of(node, words);
}

bool fields_read_switch(struct load *load, const yoml_t *node, const char *name, bool *on) {
    static const char *const words[] = {"on", "yes", "true", NULL};
    bool is_on = is_one_of(node, words);
    if (is_on || fields_is_off(node)) {
        *on = is_on;
        return true;
    }
    if (node->type == YOML_TYPE_SCALAR)
        problems_error(load->problems, tree_place(node), "`%s` is `%s`; it must be ON or OFF", name,
                       node->data.scalar);
    else
        problems_error(load->problems, tree_place(node), "`%s` takes ON or OFF, not %s", name,
                       tree_kind(node));
    return false;
}

bool fields_read_one(struct load *load, yoml_t *node, const struct field *field,
                     struct value *value) {
    value->node = node;
    if (field->kind == FIELD_NODE)
        return true;
    if (node->type != YOML_TYPE_SCALAR)
        return complain_kind(load, node, field);
    if (node->data.scalar[0] == '\0') {
        problems_error(load->problems, tree_place(node), "`%s` is empty", field->name);
        return false;
    }
    if (field->kind != FIELD_TEXT)
        return read_number(load, node, field, value);
    value->text = node->data.scalar;
    return true;
}

static const struct field *find_field(const struct field *fields, size_t count, const char *name) {
    for (size_t i = 0; i != count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

/* The nearest key; all of them when none is near. */
static bool complain_unknown(struct load *load, const yoml_t *key, const char *what,
                             const struct field *fields, size_t count) {
    char hint[128], all[256] = "";
    struct nearest nearest = nearest_to(key->data.scalar);
    for (size_t i = 0; i != count; i++) {
        size_t used = strlen(all);
        nearest_offer(&nearest, fields[i].name);
        snprintf(all + used, sizeof(all) - used, "%s%s", used != 0 ? ", " : "; it takes ",
                 fields[i].name);
    }
    problems_error(load->problems, tree_place(key), "unknown key `%s` in `%s`%s", key->data.scalar,
                   what, nearest.best != NULL ? nearest_hint(&nearest, hint) : all);
    return false;
}

bool fields_read(struct load *load, yoml_t *mapping, const char *what, const struct field *fields,
                 size_t count, struct value *values) {
    bool right = true;
    for (size_t i = 0; i != count; i++)
        values[i] = (struct value){.number = fields[i].otherwise};
    if (mapping->type != YOML_TYPE_MAPPING) {
        problems_error(load->problems, tree_place(mapping), "`%s` takes a mapping, not %s", what,
                       tree_kind(mapping));
        return false;
    }
    for (size_t i = 0; i != mapping->data.mapping.size; i++) {
        struct yoml_pair pair = mapping->data.mapping.elements[i];
        const struct field *field = find_field(fields, count, pair.key->data.scalar);
        if (field == NULL) {
            right = complain_unknown(load, pair.key, what, fields, count);
            continue;
        }
        values[field - fields].key = pair.key;
        right = fields_read_one(load, pair.value, field, &values[field - fields]) && right;
    }
    return right;
}
