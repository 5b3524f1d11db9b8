#include "config/routes.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "config/checks.h"
#include "config/compression.h"
#include "config/fields.h"
#include "config/history.h"
#include "config/options.h"
#include "config/spaces.h"
#include "consumer/instance.h"
#include "consumer/plugin.h"
#include "group/group.h"
#include "net/metrics.h"
#include "observe/nearest.h"
#include "route/router.h"
#include "snapshot/snapshot.h"

#define SECOND 1000
#define DAY 86400000

/* Keys of a route that are not H2O's. */
static const char *const route_words[] = {
    "match",   "consumer", "options",           "origins",        "groups",
    "history", "limits",   "compress-messages", "flush-interval", NULL};

enum {
    LIMIT_MESSAGE,
    LIMIT_QUEUE,
    LIMIT_ON_FULL,
    LIMIT_IDLE,
    LIMIT_PING,
    LIMIT_PONG,
    LIMIT_CLOSE,
    LIMIT_CONNECT,
    LIMIT_GROUPS,
    LIMIT_TIMERS,
    LIMIT_HEADERS,
    LIMIT_MESSAGES_A_SECOND,
    LIMIT_BYTES_A_SECOND,
    LIMIT_BURST,
    LIMIT_ON_RATE,
    LIMIT_CONNECTIONS_AT_ONCE,
    LIMIT_CONNECTIONS_AN_ADDRESS,
    LIMITS
};

/* What a route's `limits` may say: least, most, and what holds when nothing is said. */
static const struct field limit_fields[LIMITS] = {
    [LIMIT_MESSAGE] = {"message", FIELD_BYTES, 1, FRAME_PAYLOAD_MAX, 64 << 10, false},
    [LIMIT_QUEUE] = {"queue", FIELD_BYTES, 1 << 10, 1 << 30, 1 << 20, false},
    [LIMIT_ON_FULL] = {"on-full", FIELD_TEXT, 0, 0, 0, false},
    [LIMIT_IDLE] = {"idle", FIELD_MS, SECOND, 7 * DAY, 0, true},
    [LIMIT_PING] = {"ping", FIELD_MS, SECOND, DAY, 25 * SECOND, true},
    [LIMIT_PONG] = {"pong", FIELD_MS, SECOND, DAY, 20 * SECOND, false},
    [LIMIT_CLOSE] = {"close", FIELD_MS, 100, 60 * SECOND, 5 * SECOND, false},
    [LIMIT_CONNECT] = {"connect", FIELD_MS, 100, 600 * SECOND, 10 * SECOND, false},
    [LIMIT_GROUPS] = {"groups", FIELD_COUNT, 0, 10000, 100, false},
    [LIMIT_TIMERS] = {"timers", FIELD_COUNT, 0, 10000, 64, false},
    [LIMIT_HEADERS] = {"headers", FIELD_BYTES, 0, 64 << 10, 8 << 10, false},
    [LIMIT_MESSAGES_A_SECOND] = {"messages-a-second", FIELD_COUNT, 1, 1000000, 0, true},
    [LIMIT_BYTES_A_SECOND] = {"bytes-a-second", FIELD_BYTES, 1 << 10, 1 << 30, 0, true},
    [LIMIT_BURST] = {"burst", FIELD_MS, SECOND, 3600 * SECOND, 2 * SECOND, false},
    [LIMIT_ON_RATE] = {"on-rate", FIELD_TEXT, 0, 0, 0, false},
    [LIMIT_CONNECTIONS_AT_ONCE] = {"connections", FIELD_COUNT, 1, 10000000, 0, true},
    [LIMIT_CONNECTIONS_AN_ADDRESS] = {"connections-an-address", FIELD_COUNT, 1, 10000000, 0, true},
};

/* One route while it is read. */
struct draft {
    struct load *load;
    yoml_t *node, *match;
    h2o_pathconf_t *path;
    struct plugin *plugin;
    sluice_route *consumer;
    const char **origins;
    size_t origin_count;
    struct instance_conf instance;
};

static bool complain(const struct draft *draft, const yoml_t *node, const char *text) {
    problems_error(draft->load->problems, tree_place(node), "%s", text);
    return false;
}

/* --- the path of its own --- */

/* A path at `/`: whatever H2O's directives do with the rest of a path, they do with the whole. */
static void make_path(struct draft *draft, h2o_configurator_context_t *parent) {
    draft->path = h2o_mem_alloc(sizeof(*draft->path));
    h2o_config_init_pathconf(draft->path, parent->globalconf, "/", parent->hostconf->mimemap);
    metrics_count_responses(draft->path);
    h2o_configurator_context_t *context = directives_enter(parent->globalconf, parent);
    context->pathconf = draft->path;
    context->mimemap = &draft->path->mimemap;
    directives_walk(context, draft->node, H2O_CONFIGURATOR_FLAG_PATH, route_words);
    directives_leave(context);
}

static void free_path(struct draft *draft) {
    if (draft->path == NULL)
        return;
    h2o_config_dispose_pathconf(draft->path);
    free(draft->path);
}

/* --- limits --- */

static bool read_on_full(const struct draft *draft, const struct value *value,
                         enum on_full *on_full) {
    static const char *const words[] = {[ON_FULL_CLOSE] = "close",
                                        [ON_FULL_DROP_OLDEST] = "drop-oldest",
                                        [ON_FULL_DROP_NEWEST] = "drop-newest"};
    char hint[128];
    if (value->text == NULL)
        return true;
    struct nearest nearest = nearest_to(value->text);
    for (size_t i = 0; i != sizeof(words) / sizeof(*words); i++) {
        nearest_offer(&nearest, words[i]);
        if (strcmp(value->text, words[i]) != 0)
            continue;
        *on_full = (enum on_full)i;
        return true;
    }
    problems_error(draft->load->problems, tree_place(value->node),
                   "`on-full` is `%s`; it must be close, drop-oldest or drop-newest%s", value->text,
                   nearest_hint(&nearest, hint));
    return false;
}

static bool check_on_full(const struct draft *draft, const struct value *value,
                          enum on_full on_full) {
    if (on_full == ON_FULL_CLOSE || draft->plugin == NULL ||
        plugin_consumer(draft->plugin)->dropped != NULL)
        return true;
    problems_error(draft->load->problems, tree_place(value->node),
                   "`on-full: %s` needs a consumer with the `dropped` hook, and %s has none: its "
                   "clients would not learn "
                   "that messages are missing",
                   value->text, plugin_consumer(draft->plugin)->name);
    return false;
}

static bool read_on_rate(const struct draft *draft, const struct value *value, bool *closes) {
    *closes = value->text != NULL && strcmp(value->text, "close") == 0;
    if (value->text == NULL || *closes || strcmp(value->text, "slow") == 0)
        return true;
    problems_error(draft->load->problems, tree_place(value->node),
                   "`on-rate` is `%s`; it must be slow or close", value->text);
    return false;
}

/* What a client may say in a second. */
static bool read_pace(const struct draft *draft, const struct value *values,
                      struct session_terms *terms) {
    const struct value *bytes = &values[LIMIT_BYTES_A_SECOND];
    struct pace_terms *pace = &terms->pace;
    bool right = read_on_rate(draft, &values[LIMIT_ON_RATE], &pace->closes);
    pace->messages = (uint32_t)values[LIMIT_MESSAGES_A_SECOND].number;
    pace->bytes = (uint32_t)bytes->number;
    pace->burst_ms = (uint32_t)values[LIMIT_BURST].number;
    if (pace->bytes != 0 && pace->closes &&
        (uint64_t)pace->bytes * pace->burst_ms / SECOND < terms->message_bytes_max)
        problems_warning(draft->load->problems, tree_place(bytes->node),
                         "`bytes-a-second` over the time of `burst` is less than `message`: a "
                         "message of the largest size would close its connection");
    return right;
}

static bool read_limits(struct draft *draft) {
    struct value values[LIMITS];
    struct instance_conf *to = &draft->instance;
    yoml_t *node = tree_get(draft->node, "limits");
    yoml_t *given = node != NULL ? node : tree_mapping(draft->load->pool, draft->node, 0);
    bool right = fields_read(draft->load, given, "limits", limit_fields, LIMITS, values);
    right = read_on_full(draft, &values[LIMIT_ON_FULL], &to->terms.on_full) && right;
    right = check_on_full(draft, &values[LIMIT_ON_FULL], to->terms.on_full) && right;
    to->terms.message_bytes_max = (uint32_t)values[LIMIT_MESSAGE].number;
    to->terms.queue_bytes_max = (uint32_t)values[LIMIT_QUEUE].number;
    to->terms.idle_ms = (uint32_t)values[LIMIT_IDLE].number;
    to->terms.ping_ms = (uint32_t)values[LIMIT_PING].number;
    to->terms.pong_ms = (uint32_t)values[LIMIT_PONG].number;
    to->terms.close_ms = (uint32_t)values[LIMIT_CLOSE].number;
    to->connect_ms = (uint32_t)values[LIMIT_CONNECT].number;
    to->groups_max = (uint32_t)values[LIMIT_GROUPS].number;
    to->timers_max = (uint32_t)values[LIMIT_TIMERS].number;
    to->headers_max = (uint32_t)values[LIMIT_HEADERS].number;
    to->connections_max = (uint32_t)values[LIMIT_CONNECTIONS_AT_ONCE].number;
    to->address_max = (uint32_t)values[LIMIT_CONNECTIONS_AN_ADDRESS].number;
    to->server_address_max = draft->load->config->limits.address_connections;
    to->handshakes = draft->load->config->limits.handshakes;
    draft->load->config->limits.by_address |= to->address_max != 0;
    right = read_pace(draft, values, &to->terms) && right;
    const yoml_t *small =
        values[LIMIT_QUEUE].node != NULL ? values[LIMIT_QUEUE].node : values[LIMIT_MESSAGE].node;
    if (right && to->terms.queue_bytes_max < to->terms.message_bytes_max)
        problems_warning(draft->load->problems, tree_place(small),
                         "`queue` is smaller than `message`: a message of the largest size could "
                         "be received and not sent on");
    return right;
}

/* --- origins --- */

/* A scheme, a host and perhaps a port: RFC 6454 section 6.2. */
static bool is_origin(const char *text) {
    const char *mark = strstr(text, "://");
    h2o_iovec_t host;
    uint16_t port;
    if (mark == NULL || mark == text || !isalpha((unsigned char)text[0]))
        return false;
    for (const char *at = text; at != mark; at++)
        if (!isalnum((unsigned char)*at) && strchr("+-.", *at) == NULL)
            return false;
    for (const char *at = mark + 3; *at != '\0'; at++)
        if ((unsigned char)*at <= 0x20 || strchr("*?#@/\\", *at) != NULL)
            return false;
    const char *end = h2o_url_parse_hostport(mark + 3, strlen(mark + 3), &host, &port);
    return end != NULL && *end == '\0';
}

static bool read_origin(struct draft *draft, const yoml_t *node) {
    if (node->type != YOML_TYPE_SCALAR)
        return complain(draft, node, "an origin is a single value");
    const char *text = node->data.scalar;
    if (strcmp(text, "same-host") != 0 && strcmp(text, "*") != 0 && strcmp(text, "null") != 0 &&
        !is_origin(text)) {
        size_t length = strlen(text);
        problems_error(
            draft->load->problems, tree_place(node),
            "`%s` is no origin; write same-host, `*`, \"null\" or scheme://host[:port]%s", text,
            length > 8 && text[length - 1] == '/' ? ", without a path" : "");
        return false;
    }
    draft->origins[draft->origin_count++] = text;
    return true;
}

static bool read_origins(struct draft *draft) {
    const yoml_t *node = tree_get(draft->node, "origins");
    size_t count = node != NULL && node->type == YOML_TYPE_SEQUENCE ? node->data.sequence.size : 1;
    bool right = true;
    draft->origins = h2o_mem_alloc_pool(draft->load->pool, (count + 1) * sizeof(*draft->origins));
    if (node == NULL) {
        draft->origins[draft->origin_count++] = "same-host";
        return true;
    }
    if (node->type == YOML_TYPE_MAPPING)
        return complain(draft, node, "`origins` takes a sequence of origins, not a mapping");
    if (node->type == YOML_TYPE_SCALAR)
        return read_origin(draft, node);
    if (count == 0)
        return complain(
            draft, node,
            "`origins` is empty; `*` opens the route to all, same-host is what holds without it");
    for (size_t i = 0; i != count; i++)
        right = read_origin(draft, node->data.sequence.elements[i]) && right;
    return right;
}

/* --- the consumer --- */

static bool find_plugin(struct draft *draft) {
    struct load *load = draft->load;
    const yoml_t *node = tree_get(draft->node, "consumer");
    struct error error;
    char *path = NULL;
    if (node->type != YOML_TYPE_SCALAR || node->data.scalar[0] == '\0')
        return complain(draft, node, "`consumer` takes the name of a plugin, or its path");
    char *key = plugin_key(node->data.scalar, tree_directory(load->pool, node));
    const struct snapshot_entry *entry = snapshot_find(snapshot_used(), SNAPSHOT_PLUGIN, key);
    bool loaded;
    if (entry != NULL) {
        loaded = plugin_load(entry->path, fcntl(entry->fd, F_DUPFD_CLOEXEC, 0), load->host,
                             &draft->plugin, &error);
    } else {
        loaded = plugin_find(node->data.scalar, tree_directory(load->pool, node), load->plugin_dirs,
                             load->plugin_dir_count, &path, &error) &&
                 plugin_load(path, -1, load->host, &draft->plugin, &error);
    }
    free(path);
    free(key);
    return loaded || complain(draft, node, error.text);
}

/* Its plugin ended the worker again and again: until the next reload nothing of it runs. */
static bool is_barred(const struct draft *draft, const yoml_t *node) {
    if (node == NULL || node->type != YOML_TYPE_SCALAR)
        return false;
    char *key = plugin_key(node->data.scalar, tree_directory(draft->load->pool, node));
    bool barred = snapshot_find(snapshot_used(), SNAPSHOT_BARRED, key) != NULL;
    free(key);
    return barred;
}

static int answer_barred(h2o_handler_t *handler, h2o_req_t *req) {
    (void)handler;
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("retry-after"), 0, NULL,
                          H2O_STRLIT("60"));
    h2o_send_error_503(req, "Service Unavailable", "Service Unavailable",
                       H2O_SEND_ERROR_KEEP_HEADERS);
    return 0;
}

static bool read_space(struct draft *draft) {
    const yoml_t *node = tree_get(draft->node, "groups");
    const char *host = draft->load->current->name;
    const char *name = draft->plugin != NULL ? plugin_consumer(draft->plugin)->name : "";
    draft->instance.space = h2o_concat(draft->load->pool, h2o_iovec_init(host, strlen(host)),
                                       h2o_iovec_init("/", 1), h2o_iovec_init(name, strlen(name)))
                                .base;
    if (node == NULL)
        return true;
    if (node->type != YOML_TYPE_SCALAR || !group_name_valid(node->data.scalar))
        return complain(draft, node,
                        "`groups` takes the name of a namespace: 1 to 200 bytes of "
                        "UTF-8 without control characters");
    draft->instance.space = node->data.scalar;
    return true;
}

static bool read_history(struct draft *draft) {
    yoml_t *node = tree_get(draft->node, "history");
    struct instance_conf *to = &draft->instance;
    if (!history_read(draft->load, node, &to->history))
        return false;
    if (to->history.messages != 0 && to->history.bytes < to->terms.message_bytes_max)
        problems_warning(draft->load->problems, tree_place(node),
                         "`bytes` is smaller than `message`: a message of the largest size would "
                         "push out all that is kept, and itself");
    /* Without its plugin the namespace is not known. */
    const struct config_space space = {.name = to->space,
                                       .history = to->history,
                                       .message_max = to->terms.message_bytes_max,
                                       .place = tree_place(node != NULL ? node : draft->node)};
    return draft->plugin == NULL || spaces_add(draft->load, &space);
}

static bool read_compression(struct draft *draft) {
    struct session_terms *terms = &draft->instance.terms;
    yoml_t *node = tree_get(draft->node, "compress-messages");
    if (!compression_read(draft->load, node, &terms->compression))
        return false;
    if (!terms->compression.takeover || terms->on_full != ON_FULL_DROP_OLDEST)
        return true;
    return complain(draft, node,
                    "`takeover` can't go with `on-full: drop-oldest`: later messages refer back to "
                    "those that were dropped");
}

static bool read_flush(struct draft *draft) {
    static const struct field field = {"flush-interval", FIELD_MS, 1, SECOND, 0, true};
    yoml_t *node = tree_get(draft->node, field.name);
    struct value value = {.number = field.otherwise};
    bool right = node == NULL || fields_read_one(draft->load, node, &field, &value);
    draft->instance.terms.flush_ms = (uint32_t)value.number;
    return right;
}

static bool open_consumer(struct draft *draft) {
    struct load *load = draft->load;
    const yoml_t *node = tree_get(draft->node, "consumer");
    struct options options;
    struct error error;
    size_t before = problems_reports(load->problems);
    options_open(&options, load, tree_get(draft->node, "options"), draft->node);
    draft->instance.plugin = draft->plugin;
    draft->instance.name = draft->match != NULL ? draft->match->data.scalar : "";
    draft->instance.options = &options.source;
    draft->consumer = instance_open(&draft->instance, &error);
    if (draft->consumer != NULL)
        options_check_asked(&options, plugin_consumer(draft->plugin)->name);
    else if (problems_reports(load->problems) == before)
        complain(draft, node, error.text);
    draft->instance.options = NULL;
    options_close(&options);
    return problems_reports(load->problems) == before;
}

static bool read_consumer(struct draft *draft) {
    bool right = find_plugin(draft);
    right = read_limits(draft) && right;
    right = read_origins(draft) && right;
    right = read_space(draft) && right;
    right = read_history(draft) && right;
    right = read_compression(draft) && right;
    right = read_flush(draft) && right;
    if (draft->plugin != NULL)
        right = open_consumer(draft) && right;
    if (draft->path->handlers.size != 0)
        problems_warning(
            draft->load->problems, tree_place(draft->node),
            "the consumer answers every request of this route: H2O's handlers in it never run");
    return right;
}

/* What a route without a consumer can't have. */
static bool check_plain(const struct draft *draft) {
    static const char *const words[] = {"options", "origins",           "groups",        "history",
                                        "limits",  "compress-messages", "flush-interval"};
    bool right = true;
    for (size_t i = 0; i != draft->node->data.mapping.size; i++) {
        const yoml_t *key = draft->node->data.mapping.elements[i].key;
        for (size_t j = 0; j != sizeof(words) / sizeof(*words); j++) {
            if (strcmp(words[j], key->data.scalar) != 0)
                continue;
            problems_error(draft->load->problems, tree_place(key),
                           "`%s` belongs to a route with a `consumer`", words[j]);
            right = false;
        }
    }
    return right;
}

/* --- a route --- */

static bool read_match(struct draft *draft) {
    draft->match = tree_get(draft->node, "match");
    if (draft->match == NULL)
        return complain(draft, draft->node, "a route needs `match`, the pattern of its paths");
    if (draft->match->type == YOML_TYPE_SCALAR)
        return true;
    complain(draft, draft->match, "`match` takes one pattern");
    draft->match = NULL;
    return false;
}

static void complain_pattern(const struct draft *draft, const struct error *error, long offset) {
    struct place place = tree_place(draft->match);
    if (offset >= 0)
        place = tree_place_within(draft->match, (size_t)offset);
    problems_error(draft->load->problems, place, "`match`: %s", error->text);
}

/* Everything else was right: the router takes the consumer and the path. */
static void add_route(struct draft *draft) {
    struct router *router = draft->load->current->router;
    struct place place = tree_place(draft->match);
    char text[1024];
    struct error error;
    long offset = -1;
    snprintf(text, sizeof(text), "%s:%zu", place.file, place.line);
    struct route_conf conf = {.pattern = draft->match->data.scalar,
                              .place = text,
                              .consumer = draft->consumer,
                              .pathconf = draft->path,
                              .origins = draft->origins,
                              .origin_count = draft->origin_count};
    const struct route *route = router_add(router, &conf, &error, &offset);
    if (route == NULL) {
        complain_pattern(draft, &error, offset);
        return;
    }
    draft->consumer = NULL;
    draft->path = NULL;
    const struct route *earlier = router_shadows(router, route);
    if (earlier != NULL)
        problems_warning(draft->load->problems, place,
                         "this route is never reached: `%s` at %s takes its paths first",
                         route_pattern(earlier), route_place(earlier));
}

static void check_pattern(const struct draft *draft) {
    struct error error;
    long offset = -1;
    if (draft->match != NULL && !router_check_pattern(draft->match->data.scalar, &error, &offset))
        complain_pattern(draft, &error, offset);
}

static void read_route(struct load *load, h2o_configurator_context_t *context, yoml_t *node) {
    struct draft draft = {.load = load, .node = node};
    if (node->type != YOML_TYPE_MAPPING) {
        complain(&draft, node, "a route is a mapping with `match` and what answers it");
        return;
    }
    size_t before = problems_reports(load->problems);
    bool right = read_match(&draft);
    make_path(&draft, context);
    bool barred = is_barred(&draft, tree_get(node, "consumer"));
    if (barred)
        h2o_create_handler(draft.path, sizeof(h2o_handler_t))->on_req = answer_barred;
    else if (tree_get(node, "consumer") != NULL)
        right = read_consumer(&draft) && right;
    else
        right = check_plain(&draft) && right;
    bool is_whole = problems_reports(load->problems) == before;
    if (is_whole && tree_get(node, "consumer") == NULL && draft.path->handlers.size == 0)
        right = complain(
            &draft, node,
            "nothing answers this route: it needs a `consumer`, or a directive such as file.dir, "
            "redirect or proxy.reverse.url");
    load->lacks_spaces |= barred || !right;
    if (right)
        add_route(&draft);
    else
        check_pattern(&draft);
    instance_close(draft.consumer);
    free_path(&draft);
}

int routes_read(h2o_configurator_command_t *command, h2o_configurator_context_t *context,
                yoml_t *node) {
    struct load *load = ((struct word_set *)command->configurator)->load;
    for (size_t i = 0; i != node->data.sequence.size; i++)
        read_route(load, context, node->data.sequence.elements[i]);
    return 0;
}
