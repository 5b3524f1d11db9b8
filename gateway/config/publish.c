#include "config/publish.h"

#include <string.h>

#include "config/fields.h"
#include "config/spaces.h"
#include "net/publisher.h"
#include "net/tokens.h"
#include "route/pattern.h"

enum {
    PUBLISH_NAMESPACE,
    PUBLISH_GROUPS,
    PUBLISH_TOKEN_FILE,
    PUBLISH_KEEP,
    PUBLISH_RATE,
    PUBLISH_FIELDS
};

static const struct field publish_fields[PUBLISH_FIELDS] = {
    [PUBLISH_NAMESPACE] = {"namespace", FIELD_TEXT, 0, 0, 0, false},
    [PUBLISH_GROUPS] = {"groups", FIELD_TEXT, 0, 0, 0, false},
    [PUBLISH_TOKEN_FILE] = {"token-file", FIELD_TEXT, 0, 0, 0, false},
    [PUBLISH_KEEP] = {"keep", FIELD_NODE, 0, 0, 0, false},
    [PUBLISH_RATE] = {"rate", FIELD_COUNT, 1, 1000000, 1000, true},
};

/* One that waits until all routes are read. */
struct publish_draft {
    struct publisher *publisher;
    const char *space;
    struct place place;
    const yoml_t *keep; /* NULL: not given */
    bool keeps;
    struct publish_draft *next;
};

static bool complain(const struct load *load, const yoml_t *node, const char *text) {
    problems_error(load->problems, tree_place(node), "%s", text);
    return false;
}

static bool read_groups(const struct load *load, const struct value *value,
                        struct pattern **groups) {
    struct error error;
    long offset = -1;
    if (value->text == NULL)
        return true;
    *groups = pattern_create(value->text, &error, &offset);
    if (*groups != NULL)
        return true;
    problems_error(load->problems,
                   offset >= 0 ? tree_place_within(value->node, (size_t)offset)
                               : tree_place(value->node),
                   "`groups`: %s", error.text);
    return false;
}

static bool read_tokens(const struct load *load, const yoml_t *node, const struct value *value,
                        struct tokens **tokens) {
    struct error error;
    if (value->text == NULL)
        return value->node != NULL ||
               complain(load, node,
                        "`publish` needs `token-file`, a file with the tokens of who may publish");
    *tokens = tokens_read(tree_path(load->pool, value->node, value->text), &error);
    return *tokens != NULL || complain(load, value->node, error.text);
}

static bool read_namespace(const struct load *load, const yoml_t *node, const struct value *value) {
    if (value->node == NULL)
        return complain(load, node,
                        "`publish` needs `namespace`, the `groups` of a route, or HOST/CONSUMER of "
                        "routes without");
    return value->text != NULL;
}

static void wait_for_routes(struct load *load, const struct publish_draft *draft) {
    struct publish_draft *added = h2o_mem_alloc_pool(load->pool, sizeof(*added));
    *added = *draft;
    added->next = load->publishes;
    load->publishes = added;
}

void publish_read(struct load *load, h2o_pathconf_t *pathconf, yoml_t *node) {
    struct value values[PUBLISH_FIELDS];
    bool right = fields_read(load, node, "publish", publish_fields, PUBLISH_FIELDS, values);
    struct publisher_conf conf = {.space = values[PUBLISH_NAMESPACE].text,
                                  .rate = (uint32_t)values[PUBLISH_RATE].number,
                                  .keep = true};
    if (node->type != YOML_TYPE_MAPPING)
        return;
    const yoml_t *keep = values[PUBLISH_KEEP].node;
    right = read_namespace(load, node, &values[PUBLISH_NAMESPACE]) && right;
    right = read_groups(load, &values[PUBLISH_GROUPS], &conf.groups) && right;
    right = read_tokens(load, node, &values[PUBLISH_TOKEN_FILE], &conf.tokens) && right;
    right = (keep == NULL || fields_read_switch(load, keep, "keep", &conf.keep)) && right;
    if (!right) {
        pattern_free(conf.groups);
        tokens_free(conf.tokens);
        return;
    }
    wait_for_routes(load,
                    &(struct publish_draft){.publisher = publisher_register(pathconf, &conf),
                                            .space = conf.space,
                                            .place = tree_place(values[PUBLISH_NAMESPACE].node),
                                            .keep = keep,
                                            .keeps = conf.keep});
}

/* One whose routes are not all known answers 503, or the load has failed for them already. */
static void settle(const struct load *load, const struct publish_draft *draft) {
    const struct config_space *space = spaces_find(load->config, draft->space);
    char hint[256];
    if (space == NULL && !load->lacks_spaces)
        problems_error(load->problems, draft->place, "no route has the namespace `%s`%s",
                       draft->space, spaces_hint(load->config, draft->space, hint));
    if (space == NULL)
        return;
    if (draft->keep != NULL && draft->keeps && space->history.messages == 0)
        problems_warning(load->problems, tree_place(draft->keep),
                         "`keep: ON`, but the routes of `%s` have no `history`: nothing is kept",
                         draft->space);
    publisher_open(draft->publisher, &(struct publisher_terms){.history = space->history,
                                                               .message_max = space->message_max});
}

void publish_settle(struct load *load) {
    for (const struct publish_draft *at = load->publishes; at != NULL; at = at->next)
        settle(load, at);
}
