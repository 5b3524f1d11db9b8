#include "config/options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config/fields.h"
#include "observe/nearest.h"

_Static_assert(UNIT_COUNT == (int)SLUICE_COUNT && UNIT_BYTES == (int)SLUICE_BYTES &&
                   UNIT_MS == (int)SLUICE_MS,
               "a consumer's units are ours");

/* A value, mappings flattened to dotted names. */
struct option {
    const char *name;
    const yoml_t *key;
    yoml_t *value;
    bool asked;
};

static void flatten(struct options *options, yoml_t *mapping, const char *prefix) {
    h2o_mem_pool_t *pool = options->load->pool;
    for (size_t i = 0; i != mapping->data.mapping.size; i++) {
        struct yoml_pair pair = mapping->data.mapping.elements[i];
        const char *key = pair.key->data.scalar;
        const char *name = h2o_concat(pool, h2o_iovec_init(prefix, strlen(prefix)),
                                      h2o_iovec_init(key, strlen(key)))
                               .base;
        if (pair.value->type == YOML_TYPE_MAPPING && pair.value->data.mapping.size != 0) {
            flatten(
                options, pair.value,
                h2o_concat(pool, h2o_iovec_init(name, strlen(name)), h2o_iovec_init(".", 1)).base);
            continue;
        }
        options->items =
            h2o_mem_realloc(options->items, (options->count + 1) * sizeof(*options->items));
        options->items[options->count++] =
            (struct option){.name = name, .key = pair.key, .value = pair.value};
    }
}

static void remember_asked(struct options *options, const char *key) {
    for (size_t i = 0; i != options->asked_count; i++)
        if (strcmp(options->asked[i], key) == 0)
            return;
    options->asked =
        h2o_mem_realloc(options->asked, (options->asked_count + 1) * sizeof(*options->asked));
    options->asked[options->asked_count++] = h2o_strdup(options->load->pool, key, SIZE_MAX).base;
}

static struct option *find(struct options *options, const char *key) {
    for (size_t i = 0; i != options->count; i++)
        if (strcmp(options->items[i].name, key) == 0)
            return &options->items[i];
    return NULL;
}

/* Asked as a single value, but it is a mapping: every value below it counts as asked, so that it is
 * told once. */
static void complain_if_mapping(struct options *options, const char *key) {
    size_t length = strlen(key);
    bool told = false;
    for (size_t i = 0; i != options->count; i++) {
        struct option *option = &options->items[i];
        if (strncmp(option->name, key, length) != 0 || option->name[length] != '.' || option->asked)
            continue;
        option->asked = true;
        if (!told)
            problems_error(options->load->problems, tree_place(option->key),
                           "option `%s` takes a single value, not a mapping", key);
        told = true;
    }
}

static struct option *ask(struct options *options, const char *key) {
    struct option *option = find(options, key);
    remember_asked(options, key);
    if (option == NULL) {
        complain_if_mapping(options, key);
        return NULL;
    }
    option->asked = true;
    if (option->value->type == YOML_TYPE_SCALAR)
        return option;
    problems_error(options->load->problems, tree_place(option->value),
                   "option `%s` takes a single value, not %s", key, tree_kind(option->value));
    return NULL;
}

static bool read_number(void *data, const char *key, int unit, int64_t least, int64_t most,
                        int64_t *value) {
    struct options *options = data;
    const struct option *option = ask(options, key);
    struct value found = {0};
    const struct field field = {
        .name = key, .kind = (enum field_kind)unit, .least = least, .most = most};
    if (unit < UNIT_COUNT || unit > UNIT_MS || option == NULL)
        return false;
    if (!fields_read_one(options->load, option->value, &field, &found))
        return false;
    *value = found.number;
    return true;
}

static const char *read_text(void *data, const char *key) {
    const struct option *option = ask(data, key);
    return option != NULL ? option->value->data.scalar : NULL;
}

static void report(void *data, const char *key, const char *message) {
    struct options *options = data;
    const struct option *option = key != NULL ? find(options, key) : NULL;
    if (key != NULL)
        remember_asked(options, key);
    problems_error(options->load->problems,
                   tree_place(option != NULL ? option->value : options->at), "option `%s`: %s",
                   key != NULL ? key : "", message);
}

void options_open(struct options *options, struct load *load, yoml_t *mapping,
                  const yoml_t *route) {
    *options = (struct options){.load = load, .at = mapping != NULL ? mapping : route};
    options->source = (struct option_source){
        .data = options, .number = read_number, .text = read_text, .error = report};
    if (mapping == NULL)
        return;
    if (mapping->type == YOML_TYPE_MAPPING)
        flatten(options, mapping, "");
    else
        problems_error(load->problems, tree_place(mapping), "`options` takes a mapping, not %s",
                       tree_kind(mapping));
}

void options_check_asked(const struct options *options, const char *consumer) {
    for (size_t i = 0; i != options->count; i++) {
        const struct option *option = &options->items[i];
        char hint[128];
        if (option->asked)
            continue;
        struct nearest nearest = nearest_to(option->name);
        for (size_t j = 0; j != options->asked_count; j++)
            nearest_offer(&nearest, options->asked[j]);
        problems_error(options->load->problems, tree_place(option->key),
                       "consumer %s has no option `%s`%s", consumer, option->name,
                       nearest_hint(&nearest, hint));
    }
}

void options_close(struct options *options) {
    free(options->items);
    free(options->asked);
}
