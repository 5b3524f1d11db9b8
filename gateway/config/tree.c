#include "config/tree.h"
#include "snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

/* A scalar's inset when its text can't be found back in the file, column by column. */
#define INEXACT SIZE_MAX

/* What we keep of a node beside what libh2o reads. */
struct tree_node {
    size_t inset;  /* columns from the node's place to its text: 1 when quoted */
    size_t weight; /* nodes below and itself, aliases written out */
    struct yoml yoml;
};

struct anchor {
    const char *name;
    yoml_t *node; /* NULL while its node is being read */
    struct anchor *next;
};

/* What all files of one load share. */
struct source {
    h2o_mem_pool_t *pool;
    struct problems *problems;
    size_t nodes;
};

/* One file being read. */
struct reader {
    struct source *source;
    const struct reader *includer;
    yaml_parser_t parser;
    char *file;
    struct stat identity;
    char *bytes;
    size_t size;
    struct anchor *anchors;
    unsigned depth;
    bool halted; /* the parser can't go on */
    bool broken; /* a value is missing from the tree */
};

struct pairs {
    struct yoml_pair *items;
    size_t count, room;
};

struct items {
    yoml_t **items;
    size_t count, room;
};

static struct tree_node *node_of(const yoml_t *yoml) {
    return H2O_STRUCT_FROM_MEMBER(struct tree_node, yoml, yoml);
}

static yoml_t *make_node(h2o_mem_pool_t *pool, yoml_type_t type, size_t tail) {
    struct tree_node *node = h2o_mem_alloc_pool(pool, sizeof(*node) + tail);
    memset(node, 0, sizeof(*node) + tail);
    node->inset = INEXACT;
    node->weight = 1;
    node->yoml.type = type;
    node->yoml.refcount = 1;
    return &node->yoml;
}

static yoml_t *make_node_like(h2o_mem_pool_t *pool, const yoml_t *like, yoml_type_t type,
                              size_t tail) {
    yoml_t *node = make_node(pool, type, tail);
    node->filename = like->filename;
    node->line = like->line;
    node->column = like->column;
    return node;
}

static struct place place_at(const struct reader *reader, yaml_mark_t mark) {
    return (struct place){.file = reader->file, .line = mark.line + 1, .column = mark.column + 1};
}

static size_t count_characters(const char *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i != size; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The mark of a byte of the file: libyaml gives none for bytes that are no UTF-8. */
static yaml_mark_t mark_of_byte(const struct reader *reader, size_t offset) {
    yaml_mark_t mark = {0};
    size_t line_start = 0;
    if (offset > reader->size)
        offset = reader->size;
    for (size_t i = 0; i != offset; i++) {
        if (reader->bytes[i] != '\n')
            continue;
        mark.line++;
        line_start = i + 1;
    }
    mark.column = count_characters(reader->bytes + line_start, offset - line_start);
    return mark;
}

static bool tab_at(const struct reader *reader, yaml_mark_t mark) {
    const char *line = reader->bytes, *end = reader->bytes + reader->size;
    for (size_t i = 0; i != mark.line && line != NULL; i++) {
        line = memchr(line, '\n', (size_t)(end - line));
        if (line != NULL)
            line++;
    }
    return line != NULL && (size_t)(end - line) > mark.column && line[mark.column] == '\t';
}

static void report_syntax(struct reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    struct problems *problems = reader->source->problems;
    const char *what = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_READER_ERROR) {
        problems_error(problems, place_at(reader, mark_of_byte(reader, parser->problem_offset)),
                       "the file is not plain UTF-8 text here: %s", what);
        return;
    }
    struct place place = place_at(reader, parser->problem_mark);
    if (tab_at(reader, parser->problem_mark)) {
        problems_error(problems, place, "a tab: YAML indents with spaces alone");
        return;
    }
    if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line) {
        problems_error(problems, place, "YAML: %s, %s that began on line %zu", what,
                       parser->context, parser->context_mark.line + 1);
        return;
    }
    problems_error(problems, place, "YAML: %s%s%s", what, parser->context != NULL ? ", " : "",
                   parser->context != NULL ? parser->context : "");
}

static bool next_event(struct reader *reader, yaml_event_t *event) {
    if (reader->halted)
        return false;
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    report_syntax(reader);
    reader->halted = true;
    return false;
}

/* Stops reading altogether: a limit is passed. */
static yoml_t *halt(struct reader *reader, yaml_mark_t mark, const char *why) {
    if (!reader->halted)
        problems_error(reader->source->problems, place_at(reader, mark), "%s", why);
    reader->halted = true;
    return NULL;
}

static yoml_t *place_node(struct reader *reader, yoml_t *node, yaml_mark_t mark) {
    node->filename = reader->file;
    node->line = mark.line;
    node->column = mark.column;
    if (++reader->source->nodes > TREE_NODES_MAX)
        return halt(reader, mark,
                    "the configuration is too large: it has more than " H2O_TO_STR(
                        TREE_NODES_MAX) " values");
    return node;
}

static void add_weight(yoml_t *to, const yoml_t *node) {
    node_of(to)->weight += node_of(node)->weight;
}

static yoml_t *check_weight(struct reader *reader, yoml_t *node, yaml_mark_t mark) {
    if (node_of(node)->weight <= TREE_WEIGHT_MAX)
        return node;
    return halt(reader, mark,
                "aliases within aliases: written out, this has more than " H2O_TO_STR(
                    TREE_WEIGHT_MAX) " values");
}

static struct anchor *open_anchor(struct reader *reader, const yaml_char_t *name) {
    if (name == NULL)
        return NULL;
    struct anchor *anchor = h2o_mem_alloc_pool(reader->source->pool, sizeof(*anchor));
    anchor->name = h2o_strdup(reader->source->pool, (const char *)name, SIZE_MAX).base;
    anchor->node = NULL;
    anchor->next = reader->anchors;
    reader->anchors = anchor;
    return anchor;
}

static yoml_t *read_alias(struct reader *reader, const yaml_event_t *event) {
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = reader->anchors;
    while (anchor != NULL && strcmp(anchor->name, name) != 0)
        anchor = anchor->next;
    if (anchor != NULL && anchor->node != NULL)
        return anchor->node;
    problems_error(reader->source->problems, place_at(reader, event->start_mark),
                   anchor == NULL ? "no anchor &%s stands before the alias *%s"
                                  : "&%s holds itself: *%s is inside it",
                   name, name);
    reader->broken = true;
    return NULL;
}

static size_t find_inset(const yaml_event_t *event) {
    size_t written = event->end_mark.index - event->start_mark.index;
    size_t characters =
        count_characters((const char *)event->data.scalar.value, event->data.scalar.length);
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return written == characters ? 0 : INEXACT;
    if (event->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
        event->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
        return written == characters + 2 ? 1 : INEXACT;
    return INEXACT;
}

static yoml_t *read_file(struct source *source, const struct reader *includer, const char *path,
                         struct place from);

static void check_tag(struct reader *reader, const yaml_char_t *tag, yaml_mark_t mark) {
    if (tag == NULL || strcmp((const char *)tag, "!") == 0 ||
        strncmp((const char *)tag, "tag:yaml.org,2002:", 18) == 0)
        return;
    problems_error(reader->source->problems, place_at(reader, mark),
                   "unknown tag %s; Sluice knows `!file PATH` alone", (const char *)tag);
    reader->broken = true;
}

static yoml_t *include(struct reader *reader, const yaml_event_t *event) {
    const char *name = (const char *)event->data.scalar.value;
    h2o_mem_pool_t *pool = reader->source->pool;
    const char *slash = strrchr(reader->file, '/');
    char *path = h2o_strdup(pool, name, SIZE_MAX).base;
    if (name[0] != '/' && slash != NULL)
        path = h2o_concat(pool, h2o_iovec_init(reader->file, (size_t)(slash - reader->file) + 1),
                          h2o_iovec_init(name, strlen(name)))
                   .base;
    yoml_t *node = read_file(reader->source, reader, path, place_at(reader, event->start_mark));
    if (node == NULL)
        reader->broken = true;
    return node;
}

static yoml_t *read_scalar(struct reader *reader, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    if (memchr(text, '\0', size) != NULL) {
        problems_error(reader->source->problems, place_at(reader, event->start_mark),
                       "a NUL character in a value");
        reader->broken = true;
        return NULL;
    }
    if (event->data.scalar.tag != NULL &&
        strcmp((const char *)event->data.scalar.tag, "!file") == 0)
        return include(reader, event);
    check_tag(reader, event->data.scalar.tag, event->start_mark);
    yoml_t *node = make_node(reader->source->pool, YOML_TYPE_SCALAR, 0);
    node->data.scalar = h2o_strdup(reader->source->pool, text, size).base;
    node_of(node)->inset = find_inset(event);
    return place_node(reader, node, event->start_mark);
}

static yoml_t *read_node(struct reader *reader, const yaml_event_t *event);

static void add_item(struct items *items, yoml_t *node) {
    if (items->count == items->room) {
        items->room = items->room * 2 + 8;
        items->items = h2o_mem_realloc(items->items, items->room * sizeof(*items->items));
    }
    items->items[items->count++] = node;
}

static yoml_t *read_sequence(struct reader *reader, const yaml_event_t *start) {
    struct items items = {0};
    yaml_event_t event;
    bool ended = false;
    check_tag(reader, start->data.sequence_start.tag, start->start_mark);
    while (!ended && next_event(reader, &event)) {
        ended = event.type == YAML_SEQUENCE_END_EVENT;
        yoml_t *node = ended ? NULL : read_node(reader, &event);
        if (node != NULL)
            add_item(&items, node);
        yaml_event_delete(&event);
    }
    yoml_t *sequence =
        make_node(reader->source->pool, YOML_TYPE_SEQUENCE, items.count * sizeof(yoml_t *));
    sequence->data.sequence.size = items.count;
    for (size_t i = 0; i != items.count; i++) {
        sequence->data.sequence.elements[i] = items.items[i];
        add_weight(sequence, items.items[i]);
    }
    free(items.items);
    return place_node(reader, sequence, start->start_mark);
}

static void add_pair(struct pairs *pairs, yoml_t *key, yoml_t *value) {
    if (pairs->count == pairs->room) {
        pairs->room = pairs->room * 2 + 8;
        pairs->items = h2o_mem_realloc(pairs->items, pairs->room * sizeof(*pairs->items));
    }
    pairs->items[pairs->count++] = (struct yoml_pair){.key = key, .value = value};
}

static const struct yoml_pair *find_pair(const struct pairs *pairs, const char *key) {
    for (size_t i = 0; i != pairs->count; i++)
        if (strcmp(pairs->items[i].key->data.scalar, key) == 0)
            return &pairs->items[i];
    return NULL;
}

static yoml_t *read_key(struct reader *reader, const yaml_event_t *event, bool *merges) {
    if (event->type != YAML_SCALAR_EVENT && event->type != YAML_ALIAS_EVENT) {
        problems_error(reader->source->problems, place_at(reader, event->start_mark),
                       "a key must be a plain word");
        reader->broken = true;
        yoml_t *unused = read_node(reader, event);
        (void)unused;
        return NULL;
    }
    *merges = event->type == YAML_SCALAR_EVENT &&
              event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
              strcmp((const char *)event->data.scalar.value, "<<") == 0;
    yoml_t *key = read_node(reader, event);
    if (key == NULL || key->type == YOML_TYPE_SCALAR)
        return key;
    problems_error(reader->source->problems, place_at(reader, event->start_mark),
                   "a key must be a plain word");
    reader->broken = true;
    return NULL;
}

/* A key that stands twice is a slip of the pen that YAML readers hide in different ways: refuse it.
 */
static void add_checked_pair(struct reader *reader, struct pairs *pairs, yoml_t *key,
                             yoml_t *value) {
    const struct yoml_pair *earlier = find_pair(pairs, key->data.scalar);
    if (earlier == NULL) {
        add_pair(pairs, key, value);
        return;
    }
    problems_error(reader->source->problems, tree_place(key),
                   "`%s` stands here a second time; the first is on line %zu", key->data.scalar,
                   earlier->key->line + 1);
}

static bool merge_mapping(struct pairs *pairs, const yoml_t *mapping) {
    if (mapping->type != YOML_TYPE_MAPPING)
        return false;
    for (size_t i = 0; i != mapping->data.mapping.size; i++) {
        struct yoml_pair pair = mapping->data.mapping.elements[i];
        if (find_pair(pairs, pair.key->data.scalar) == NULL)
            add_pair(pairs, pair.key, pair.value);
    }
    return true;
}

/* `<<: *base` and `<<: [*one, *two]`: keys that stand in the mapping itself win, then the earlier
 * of the merged. */
static void merge(struct reader *reader, struct pairs *pairs, const yoml_t *from) {
    bool merged = true;
    if (from->type == YOML_TYPE_SEQUENCE) {
        for (size_t i = 0; i != from->data.sequence.size; i++)
            merged = merge_mapping(pairs, from->data.sequence.elements[i]) && merged;
    } else {
        merged = merge_mapping(pairs, from);
    }
    if (merged)
        return;
    problems_error(reader->source->problems, tree_place(from),
                   "`<<` takes a mapping or a sequence of mappings");
    reader->broken = true;
}

static yoml_t *make_mapping(struct reader *reader, const struct pairs *pairs) {
    size_t tail = pairs->count * sizeof(struct yoml_pair);
    yoml_t *mapping = make_node(reader->source->pool, YOML_TYPE_MAPPING, tail);
    mapping->data.mapping.size = pairs->count;
    for (size_t i = 0; i != pairs->count; i++) {
        mapping->data.mapping.elements[i] = pairs->items[i];
        add_weight(mapping, pairs->items[i].key);
        add_weight(mapping, pairs->items[i].value);
    }
    return mapping;
}

/* Reads the value that belongs to a key, of which the event has been read. */
static void read_pair(struct reader *reader, const yaml_event_t *key_event, struct pairs *pairs,
                      yoml_t **merged) {
    bool merges = false;
    yaml_event_t event;
    yoml_t *key = read_key(reader, key_event, &merges);
    if (!next_event(reader, &event))
        return;
    yoml_t *value = read_node(reader, &event);
    yaml_event_delete(&event);
    if (key == NULL || value == NULL)
        return;
    if (!merges) {
        add_checked_pair(reader, pairs, key, value);
        return;
    }
    if (*merged != NULL)
        problems_error(reader->source->problems, tree_place(key),
                       "a second `<<`: write `<<: [*one, *two]`");
    *merged = value;
}

static yoml_t *read_mapping(struct reader *reader, const yaml_event_t *start) {
    struct pairs pairs = {0};
    yoml_t *merged = NULL;
    yaml_event_t event;
    bool ended = false;
    check_tag(reader, start->data.mapping_start.tag, start->start_mark);
    while (!ended && next_event(reader, &event)) {
        ended = event.type == YAML_MAPPING_END_EVENT;
        if (!ended)
            read_pair(reader, &event, &pairs, &merged);
        yaml_event_delete(&event);
    }
    if (merged != NULL)
        merge(reader, &pairs, merged);
    yoml_t *mapping = make_mapping(reader, &pairs);
    free(pairs.items);
    return place_node(reader, mapping, start->start_mark);
}

static yoml_t *read_collection(struct reader *reader, const yaml_event_t *event) {
    if (reader->depth == TREE_DEPTH_MAX)
        return halt(reader, event->start_mark,
                    "more than " H2O_TO_STR(TREE_DEPTH_MAX) " levels within each other");
    bool is_mapping = event->type == YAML_MAPPING_START_EVENT;
    struct anchor *anchor = open_anchor(reader, is_mapping ? event->data.mapping_start.anchor
                                                           : event->data.sequence_start.anchor);
    reader->depth++;
    yoml_t *node = is_mapping ? read_mapping(reader, event) : read_sequence(reader, event);
    reader->depth--;
    if (node != NULL)
        node = check_weight(reader, node, event->start_mark);
    if (anchor != NULL)
        anchor->node = node;
    return node;
}

/* Reads the node that the event begins; the event stays the caller's. NULL when it can't be had:
 * reported. */
static yoml_t *read_node(struct reader *reader, const yaml_event_t *event) {
    if (event->type == YAML_ALIAS_EVENT)
        return read_alias(reader, event);
    if (event->type != YAML_SCALAR_EVENT)
        return read_collection(reader, event);
    struct anchor *anchor = open_anchor(reader, event->data.scalar.anchor);
    yoml_t *node = read_scalar(reader, event);
    if (anchor != NULL)
        anchor->node = node;
    return node;
}

/* The events of a stream up to its first node, then after it: one document and no more. */
static yoml_t *read_stream(struct reader *reader) {
    yoml_t *root = NULL;
    yaml_event_t event;
    bool ended = false, started = false;
    while (!ended && next_event(reader, &event)) {
        ended = event.type == YAML_STREAM_END_EVENT;
        bool skipped = ended || event.type == YAML_STREAM_START_EVENT ||
                       event.type == YAML_DOCUMENT_START_EVENT ||
                       event.type == YAML_DOCUMENT_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && started) {
            halt(reader, event.start_mark, "a second document (`---`) in one file");
        } else if (!skipped) {
            started = true;
            root = read_node(reader, &event);
        }
        yaml_event_delete(&event);
    }
    if (ended && !started)
        problems_error(reader->source->problems, (struct place){.file = reader->file},
                       "the file is empty");
    return reader->halted || reader->broken ? NULL : root;
}

static bool read_bytes(struct reader *reader, int fd) {
    size_t room = 16384;
    reader->bytes = h2o_mem_alloc(room);
    for (;;) {
        ssize_t got = read(fd, reader->bytes + reader->size, room - reader->size);
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        reader->size += (size_t)got;
        if (reader->size > TREE_FILE_BYTES_MAX) {
            errno = EFBIG;
            return false;
        }
        if (reader->size == room)
            reader->bytes = h2o_mem_realloc(reader->bytes, room *= 2);
    }
}

static bool open_bytes(struct reader *reader) {
    int fd = snapshot_open(reader->file);
    if (fd < 0)
        return false;
    bool done = fstat(fd, &reader->identity) == 0 && read_bytes(reader, fd);
    int error = errno;
    close(fd);
    errno = error;
    return done;
}

static bool may_include(struct source *source, const struct reader *reader, struct place from) {
    unsigned depth = 0;
    for (const struct reader *outer = reader->includer; outer != NULL; outer = outer->includer) {
        if (outer->identity.st_dev == reader->identity.st_dev &&
            outer->identity.st_ino == reader->identity.st_ino) {
            problems_error(source->problems, from, "%s includes itself", reader->file);
            return false;
        }
        depth++;
    }
    if (depth <= TREE_INCLUDES_MAX)
        return true;
    problems_error(source->problems, from,
                   "more than " H2O_TO_STR(TREE_INCLUDES_MAX) " files within each other");
    return false;
}

static yoml_t *parse_bytes(struct reader *reader) {
    if (!yaml_parser_initialize(&reader->parser))
        h2o_fatal("no memory");
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)reader->bytes,
                                 reader->size);
    yoml_t *root = read_stream(reader);
    yaml_parser_delete(&reader->parser);
    return root;
}

/* from: what names the file; without a file itself for the first one. */
static yoml_t *read_file(struct source *source, const struct reader *includer, const char *path,
                         struct place from) {
    struct reader reader = {.source = source, .includer = includer};
    yoml_t *root = NULL;
    reader.file = h2o_strdup(source->pool, path, SIZE_MAX).base;
    if (!open_bytes(&reader)) {
        const char *why = errno == EFBIG ? "larger than 4 MiB" : strerror(errno);
        problems_error(source->problems, from, "can't read %s: %s", path, why);
    } else if (may_include(source, &reader, from)) {
        root = parse_bytes(&reader);
    }
    free(reader.bytes);
    return root;
}

yoml_t *tree_load(const char *path, h2o_mem_pool_t *pool, struct problems *problems) {
    struct source source = {.pool = pool, .problems = problems};
    return read_file(&source, NULL, path, (struct place){.file = path});
}

struct place tree_place(const yoml_t *node) {
    return (struct place){
        .file = node->filename, .line = node->line + 1, .column = node->column + 1};
}

struct place tree_place_within(const yoml_t *scalar, size_t offset) {
    struct place place = tree_place(scalar);
    size_t inset = node_of(scalar)->inset;
    if (inset != INEXACT && offset <= strlen(scalar->data.scalar))
        place.column += inset + count_characters(scalar->data.scalar, offset);
    return place;
}

yoml_t *tree_get(const yoml_t *mapping, const char *key) {
    if (mapping->type != YOML_TYPE_MAPPING)
        return NULL;
    for (size_t i = 0; i != mapping->data.mapping.size; i++)
        if (strcmp(mapping->data.mapping.elements[i].key->data.scalar, key) == 0)
            return mapping->data.mapping.elements[i].value;
    return NULL;
}

const char *tree_kind(const yoml_t *node) {
    if (node->type == YOML_TYPE_MAPPING)
        return "a mapping";
    return node->type == YOML_TYPE_SEQUENCE ? "a sequence" : "a single value";
}

yoml_t *tree_scalar(h2o_mem_pool_t *pool, const yoml_t *like, const char *text) {
    yoml_t *node = make_node_like(pool, like, YOML_TYPE_SCALAR, 0);
    node->data.scalar = h2o_strdup(pool, text, SIZE_MAX).base;
    return node;
}

yoml_t *tree_mapping(h2o_mem_pool_t *pool, const yoml_t *like, size_t pairs) {
    yoml_t *node = make_node_like(pool, like, YOML_TYPE_MAPPING, pairs * sizeof(struct yoml_pair));
    node->data.mapping.size = pairs;
    return node;
}

yoml_t *tree_with(h2o_mem_pool_t *pool, const yoml_t *mapping, const char *key, yoml_t *value) {
    size_t size = mapping->data.mapping.size;
    bool is_there = tree_get(mapping, key) != NULL;
    yoml_t *copy = tree_mapping(pool, mapping, size + (is_there ? 0 : 1));
    for (size_t i = 0; i != size; i++) {
        copy->data.mapping.elements[i] = mapping->data.mapping.elements[i];
        if (strcmp(copy->data.mapping.elements[i].key->data.scalar, key) == 0)
            copy->data.mapping.elements[i].value = value;
    }
    if (!is_there)
        copy->data.mapping.elements[size] =
            (struct yoml_pair){.key = tree_scalar(pool, mapping, key), .value = value};
    return copy;
}

yoml_t *tree_join(h2o_mem_pool_t *pool, const yoml_t *sequence) {
    size_t size = 0;
    for (size_t i = 0; i != sequence->data.sequence.size; i++) {
        if (sequence->data.sequence.elements[i]->type != YOML_TYPE_MAPPING)
            return NULL;
        size += sequence->data.sequence.elements[i]->data.mapping.size;
    }
    yoml_t *joined = tree_mapping(pool, sequence, size);
    struct yoml_pair *to = joined->data.mapping.elements;
    for (size_t i = 0; i != sequence->data.sequence.size; i++) {
        const yoml_t *mapping = sequence->data.sequence.elements[i];
        for (size_t j = 0; j != mapping->data.mapping.size; j++)
            *to++ = mapping->data.mapping.elements[j];
    }
    return joined;
}

char *tree_directory(h2o_mem_pool_t *pool, const yoml_t *node) {
    char absolute[PATH_MAX];
    char *copy = h2o_strdup(pool, node->filename, SIZE_MAX).base;
    char *slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy ? 1 : 0] = '\0';
    if (realpath(slash != NULL ? copy : ".", absolute) == NULL)
        return slash != NULL ? copy : h2o_strdup(pool, ".", SIZE_MAX).base;
    return h2o_strdup(pool, absolute, SIZE_MAX).base;
}

/* The directory is a real one, so that its last part may be taken off for a leading `..`. */
static const char *climb(char *directory, const char *path) {
    for (;;) {
        if (strncmp(path, "./", 2) == 0) {
            path += 2;
            continue;
        }
        if (strncmp(path, "../", 3) != 0 || directory[0] != '/')
            return path;
        char *slash = strrchr(directory, '/');
        slash[slash == directory ? 1 : 0] = '\0';
        path += 3;
    }
}

char *tree_path(h2o_mem_pool_t *pool, const yoml_t *node, const char *path) {
    if (path[0] == '/')
        return h2o_strdup(pool, path, SIZE_MAX).base;
    char *directory = tree_directory(pool, node);
    path = climb(directory, path);
    const char *between = strcmp(directory, "/") == 0 ? "" : "/";
    return h2o_concat(pool, h2o_iovec_init(directory, strlen(directory)),
                      h2o_iovec_init(between, strlen(between)), h2o_iovec_init(path, strlen(path)))
        .base;
}
