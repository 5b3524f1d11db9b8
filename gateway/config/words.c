#include "config/words.h"

#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/checks.h"
#include "config/directives.h"
#include "config/fields.h"
#include "config/history.h"
#include "config/hosts.h"
#include "config/listen.h"
#include "config/publish.h"
#include "config/routes.h"
#include "loop/loop.h"
#include "net/metrics.h"
#include "net/proxies.h"
#include "observe/nearest.h"
#include "websocket/batch.h"

enum {
    WORD_NUM_THREADS,
    WORD_MAX_CONNECTIONS,
    WORD_DRAIN_TIMEOUT,
    WORD_USER,
    WORD_PID_FILE,
    WORD_ERROR_LOG,
    WORD_CONTROL,
    WORD_STUCK_TIMEOUT,
    WORD_RETIRE_TIMEOUT,
    WORD_HOOK_BUDGET,
    WORD_LOG_LEVEL,
    WORD_IO_URING,
    WORD_HISTORY_MEMORY,
    WORDS
};

/* The words that are one value: least, most. Defaults are in words_set_defaults. */
static const struct field word_fields[WORDS] = {
    [WORD_NUM_THREADS] = {"num-threads", FIELD_COUNT, 1, LOOPS_MAX, 0, false},
    [WORD_MAX_CONNECTIONS] = {"max-connections", FIELD_COUNT, 1, 10000000, 0, false},
    [WORD_DRAIN_TIMEOUT] = {"drain-timeout", FIELD_MS, 0, 86400000, 0, false},
    [WORD_USER] = {"user", FIELD_TEXT, 0, 0, 0, false},
    [WORD_PID_FILE] = {"pid-file", FIELD_TEXT, 0, 0, 0, false},
    [WORD_ERROR_LOG] = {"error-log", FIELD_TEXT, 0, 0, 0, false},
    [WORD_CONTROL] = {"control", FIELD_TEXT, 0, 0, 0, false},
    [WORD_STUCK_TIMEOUT] = {"stuck-timeout", FIELD_MS, 2000, 3600000, 0, true},
    [WORD_RETIRE_TIMEOUT] = {"retire-timeout", FIELD_MS, 1000, 86400000, 0, false},
    [WORD_HOOK_BUDGET] = {"hook-budget", FIELD_MS, 20, 3600000, 100, false},
    [WORD_LOG_LEVEL] = {"log-level", FIELD_TEXT, 0, 0, 0, false},
    [WORD_IO_URING] = {"io-uring", FIELD_TEXT, 0, 0, 0, false},
    [WORD_HISTORY_MEMORY] = {"history-memory", FIELD_BYTES, 1 << 20, INT64_C(64) << 30, 256 << 20,
                             false},
};

enum { OFFLOAD_THREADS, OFFLOAD_QUEUE, OFFLOAD_FIELDS };

enum {
    LIMIT_AN_ADDRESS,
    LIMIT_HANDSHAKES_A_SECOND,
    LIMIT_HANDSHAKES_AN_ADDRESS,
    LIMIT_QUEUES,
    LIMIT_STALL,
    LIMIT_SLOWEST_REQUEST,
    SERVER_LIMITS
};

static const struct field limit_fields[SERVER_LIMITS] = {
    [LIMIT_AN_ADDRESS] = {"connections-an-address", FIELD_COUNT, 1, 10000000, 0, true},
    [LIMIT_HANDSHAKES_A_SECOND] = {"handshakes-a-second", FIELD_COUNT, 1, 1000000, 0, true},
    [LIMIT_HANDSHAKES_AN_ADDRESS] = {"handshakes-an-address", FIELD_COUNT, 1, 1000000, 0, true},
    [LIMIT_QUEUES] = {"queues", FIELD_BYTES, 1 << 20, INT64_C(1) << 40, 256 << 20, true},
    [LIMIT_STALL] = {"stall", FIELD_MS, 5000, 86400000, 60000, false},
    [LIMIT_SLOWEST_REQUEST] = {"slowest-request", FIELD_BYTES, 1, 1 << 20, 500, true},
};

static const struct field offload_fields[OFFLOAD_FIELDS] = {
    [OFFLOAD_THREADS] = {"threads", FIELD_COUNT, 1, 256, 8, false},
    [OFFLOAD_QUEUE] = {"queue", FIELD_COUNT, 1, 1000000, 1000, false},
};

static struct load *load_of(const h2o_configurator_command_t *command) {
    return ((struct word_set *)command->configurator)->load;
}

/* Callbacks of libh2o's shape; every one reports its faults itself and returns 0. */
#define WORD(name)                                                                                 \
    static int name(h2o_configurator_command_t *command, h2o_configurator_context_t *context,      \
                    yoml_t *node)

WORD(on_num_threads) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_NUM_THREADS], &value))
        load_of(command)->config->num_threads = (unsigned)value.number;
    return 0;
}

WORD(on_max_connections) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_MAX_CONNECTIONS], &value))
        load_of(command)->config->max_connections = (size_t)value.number;
    return 0;
}

WORD(on_drain_timeout) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_DRAIN_TIMEOUT], &value))
        load_of(command)->config->drain_ms = (uint32_t)value.number;
    return 0;
}

WORD(on_stuck_timeout) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_STUCK_TIMEOUT], &value))
        load_of(command)->config->stuck_ms = (uint32_t)value.number;
    return 0;
}

WORD(on_retire_timeout) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_RETIRE_TIMEOUT], &value))
        load_of(command)->config->retire_ms = (uint32_t)value.number;
    return 0;
}

WORD(on_user) {
    struct load *load = load_of(command);
    struct value value = {0};
    (void)context;
    if (!fields_read_one(load, node, &word_fields[WORD_USER], &value))
        return 0;
    if (getpwnam(value.text) == NULL)
        problems_error(load->problems, tree_place(node), "there is no user `%s` on this machine",
                       value.text);
    load->config->user = value.text;
    return 0;
}

/* A file that the server makes while it runs. */
static const char *read_own_file(struct load *load, const yoml_t *node, const char *text) {
    char *path = tree_path(load->pool, node, text), *slash = strrchr(path, '/');
    char *directory = h2o_strdup(load->pool, path, slash == path ? 1 : (size_t)(slash - path)).base;
    if (slash[1] == '\0')
        problems_error(load->problems, tree_place(node), "%s: a file's name belongs at the end",
                       path);
    else if (load->may_write && checks_directory(load, node, directory) &&
             access(directory, W_OK) != 0)
        problems_error(load->problems, tree_place(node), "%s: %s", directory, strerror(errno));
    return path;
}

WORD(on_pid_file) {
    struct load *load = load_of(command);
    struct value value = {0};
    (void)context;
    if (fields_read_one(load, node, &word_fields[WORD_PID_FILE], &value))
        load->config->pid_file = read_own_file(load, node, value.text);
    return 0;
}

WORD(on_control) {
    struct load *load = load_of(command);
    struct value value = {0};
    (void)context;
    if (!fields_read_one(load, node, &word_fields[WORD_CONTROL], &value))
        return 0;
    load->config->control = read_own_file(load, node, value.text);
    if (strlen(load->config->control) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        problems_error(load->problems, tree_place(node),
                       "the path of a socket has at most 107 bytes, made absolute");
    return 0;
}

WORD(on_error_log) {
    struct load *load = load_of(command);
    struct value value = {0};
    (void)context;
    if (!fields_read_one(load, node, &word_fields[WORD_ERROR_LOG], &value) ||
        !checks_no_pipe(load, node, "error-log"))
        return 0;
    load->config->error_log = tree_path(load->pool, node, value.text);
    if (!load->only_reads)
        checks_log(load, node, load->config->error_log);
    return 0;
}

WORD(on_hook_budget) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_HOOK_BUDGET], &value))
        load_of(command)->config->hook_budget_ms = (uint32_t)value.number;
    return 0;
}

WORD(on_log_level) {
    struct load *load = load_of(command);
    struct value value = {0};
    char hint[128];
    (void)context;
    if (!fields_read_one(load, node, &word_fields[WORD_LOG_LEVEL], &value))
        return 0;
    struct nearest nearest = nearest_to(value.text);
    for (int level = LOG_AT_ERROR; level <= LOG_AT_DEBUG; level++) {
        const char *name = log_level_name((enum log_level)level);
        nearest_offer(&nearest, name);
        if (strcasecmp(value.text, name) != 0)
            continue;
        load->config->log_level = (enum log_level)level;
        return 0;
    }
    problems_error(load->problems, tree_place(node),
                   "`log-level` is `%s`; it must be error, warning, info or debug%s", value.text,
                   nearest_hint(&nearest, hint));
    return 0;
}

WORD(on_log_closes) {
    (void)context;
    fields_read_switch(load_of(command), node, "log-closes", &load_of(command)->config->log_closes);
    return 0;
}

WORD(on_io_uring) {
    static const char *const names[] = {
        [BATCH_AUTO] = "AUTO", [BATCH_CALLS] = "OFF", [BATCH_RING] = "ON"};
    struct load *load = load_of(command);
    struct value value = {0};
    size_t way = 0, ways = sizeof(names) / sizeof(names[0]);
    (void)context;
    if (!fields_read_one(load, node, &word_fields[WORD_IO_URING], &value))
        return 0;
    while (way < ways && strcasecmp(value.text, names[way]) != 0)
        way++;
    if (way == ways)
        problems_error(load->problems, tree_place(node),
                       "`io-uring` is `%s`; it must be AUTO, ON or OFF", value.text);
    else if (way == BATCH_RING && !batch_probe())
        problems_error(load->problems, tree_place(node),
                       "`io-uring: ON`, but this machine refuses it: %s", strerror(errno));
    else
        load->config->io = (enum batch_way)way;
    return 0;
}

WORD(on_sandbox) {
    (void)context;
    fields_read_switch(load_of(command), node, "sandbox", &load_of(command)->config->sandbox);
    return 0;
}

WORD(on_offload) {
    struct load *load = load_of(command);
    struct value values[OFFLOAD_FIELDS];
    (void)context;
    fields_read(load, node, "offload", offload_fields, OFFLOAD_FIELDS, values);
    load->config->offload_threads = (unsigned)values[OFFLOAD_THREADS].number;
    load->config->offload_queue = (size_t)values[OFFLOAD_QUEUE].number;
    return 0;
}

WORD(on_limits) {
    struct load *load = load_of(command);
    struct server_limits *limits = &load->config->limits;
    struct value values[SERVER_LIMITS];
    (void)context;
    fields_read(load, node, "limits", limit_fields, SERVER_LIMITS, values);
    limits->address_connections = (uint32_t)values[LIMIT_AN_ADDRESS].number;
    limits->handshakes.all = (uint32_t)values[LIMIT_HANDSHAKES_A_SECOND].number;
    limits->handshakes.an_address = (uint32_t)values[LIMIT_HANDSHAKES_AN_ADDRESS].number;
    limits->queue_bytes = (uint64_t)values[LIMIT_QUEUES].number;
    limits->stall_ms = (uint32_t)values[LIMIT_STALL].number;
    limits->slowest_request = (uint32_t)values[LIMIT_SLOWEST_REQUEST].number;
    limits->by_address = limits->address_connections != 0 || limits->handshakes.an_address != 0;
    return 0;
}

/* H2O's own would keep a copy that it never frees, and send control characters as they are. */
WORD(on_server_name) {
    struct load *load = load_of(command);
    const char *text = node->data.scalar;
    (void)context;
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x20 && *at != 0x7f)
            continue;
        problems_error(load->problems, tree_place(node),
                       "`server-name` is sent to clients: it can't hold control characters");
        return 0;
    }
    load->config->h2o.server_name = h2o_iovec_init(text, strlen(text));
    return 0;
}

static void add_proxy(struct load *load, const yoml_t *node) {
    struct error error;
    if (node->type != YOML_TYPE_SCALAR)
        problems_error(load->problems, tree_place(node),
                       "`trusted-proxies` takes addresses and networks");
    else if (!proxies_add(load->config->proxies, node->data.scalar, &error))
        problems_error(load->problems, tree_place(node), "%s", error.text);
}

WORD(on_trusted_proxies) {
    struct load *load = load_of(command);
    bool is_list = node->type == YOML_TYPE_SEQUENCE;
    (void)context;
    load->config->proxies = proxies_create();
    for (size_t i = 0; i != (is_list ? node->data.sequence.size : 1); i++)
        add_proxy(load, is_list ? node->data.sequence.elements[i] : node);
    return 0;
}

WORD(on_listen) {
    (void)context;
    listen_read(load_of(command), node);
    return 0;
}

WORD(on_layer) {
    (void)context;
    history_read_layer(load_of(command), node);
    return 0;
}

WORD(on_history_memory) {
    struct value value = {0};
    (void)context;
    if (fields_read_one(load_of(command), node, &word_fields[WORD_HISTORY_MEMORY], &value))
        load_of(command)->config->history_memory = (uint64_t)value.number;
    return 0;
}

static const char *read_plugin_dir(struct load *load, const yoml_t *node) {
    if (node->type != YOML_TYPE_SCALAR || node->data.scalar[0] == '\0') {
        problems_error(load->problems, tree_place(node), "`plugin-dir` takes directories");
        return "";
    }
    const char *path = tree_path(load->pool, node, node->data.scalar);
    checks_directory(load, node, path);
    return path;
}

WORD(on_plugin_dir) {
    struct load *load = load_of(command);
    bool is_list = node->type == YOML_TYPE_SEQUENCE;
    size_t count = is_list ? node->data.sequence.size : 1;
    const char **directories = h2o_mem_alloc_pool(load->pool, (count + 1) * sizeof(*directories));
    (void)context;
    for (size_t i = 0; i != count; i++)
        directories[i] = read_plugin_dir(load, is_list ? node->data.sequence.elements[i] : node);
    load->plugin_dirs = directories;
    load->plugin_dir_count = count;
    return 0;
}

/* A path of H2O's stands in its host's table; a route's does not. */
static bool is_route(const h2o_configurator_context_t *context) {
    const h2o_hostconf_t *host = context->hostconf;
    if (context->pathconf == &host->fallback_path)
        return false;
    for (size_t i = 0; i != host->paths.size; i++)
        if (context->pathconf == &host->paths.entries[i])
            return false;
    return true;
}

WORD(on_metrics) {
    bool on = false;
    if (fields_read_switch(load_of(command), node, "metrics", &on) && on)
        metrics_register(context->pathconf, is_route(context));
    return 0;
}

WORD(on_publish) {
    if (is_route(context))
        problems_error(load_of(command)->problems, tree_place(node),
                       "`publish` stands at a path of `paths`, not in a route");
    else
        publish_read(load_of(command), context->pathconf, node);
    return 0;
}

/* `hosts` comes after all other words of the file, `routes` and `paths` after all other words of
 * their host. */
static const struct {
    const char *name;
    int flags;
    h2o_configurator_command_cb call;
    bool is_process; /* says how the program runs, and needs nothing but its own value */
} words[] = {
    {"listen", H2O_CONFIGURATOR_FLAG_GLOBAL, on_listen, false},
    {"num-threads", H2O_CONFIGURATOR_FLAG_GLOBAL, on_num_threads, true},
    {"max-connections", H2O_CONFIGURATOR_FLAG_GLOBAL, on_max_connections, true},
    {"user", H2O_CONFIGURATOR_FLAG_GLOBAL, on_user, true},
    {"pid-file", H2O_CONFIGURATOR_FLAG_GLOBAL, on_pid_file, true},
    {"error-log", H2O_CONFIGURATOR_FLAG_GLOBAL, on_error_log, true},
    {"control", H2O_CONFIGURATOR_FLAG_GLOBAL, on_control, true},
    {"stuck-timeout", H2O_CONFIGURATOR_FLAG_GLOBAL, on_stuck_timeout, true},
    {"retire-timeout", H2O_CONFIGURATOR_FLAG_GLOBAL, on_retire_timeout, true},
    {"plugin-dir", H2O_CONFIGURATOR_FLAG_GLOBAL, on_plugin_dir, true},
    {"server-name", H2O_CONFIGURATOR_FLAG_GLOBAL | H2O_CONFIGURATOR_FLAG_EXPECT_SCALAR,
     on_server_name, false},
    {"offload", H2O_CONFIGURATOR_FLAG_GLOBAL, on_offload, true},
    {"trusted-proxies", H2O_CONFIGURATOR_FLAG_GLOBAL, on_trusted_proxies, false},
    {"limits", H2O_CONFIGURATOR_FLAG_GLOBAL, on_limits, false},
    {"drain-timeout", H2O_CONFIGURATOR_FLAG_GLOBAL, on_drain_timeout, true},
    {"hook-budget", H2O_CONFIGURATOR_FLAG_GLOBAL, on_hook_budget, false},
    {"log-level", H2O_CONFIGURATOR_FLAG_GLOBAL, on_log_level, true},
    {"log-closes", H2O_CONFIGURATOR_FLAG_GLOBAL, on_log_closes, false},
    {"io-uring", H2O_CONFIGURATOR_FLAG_GLOBAL, on_io_uring, false},
    {"sandbox", H2O_CONFIGURATOR_FLAG_GLOBAL, on_sandbox, true},
    {"layer", H2O_CONFIGURATOR_FLAG_GLOBAL, on_layer, false},
    {"history-memory", H2O_CONFIGURATOR_FLAG_GLOBAL, on_history_memory, false},
    {"metrics", H2O_CONFIGURATOR_FLAG_PATH, on_metrics, false},
    {"publish", H2O_CONFIGURATOR_FLAG_PATH, on_publish, false},
    {"hosts",
     H2O_CONFIGURATOR_FLAG_GLOBAL | H2O_CONFIGURATOR_FLAG_EXPECT_MAPPING |
         H2O_CONFIGURATOR_FLAG_DEFERRED,
     hosts_read, false},
    {"routes",
     H2O_CONFIGURATOR_FLAG_HOST | H2O_CONFIGURATOR_FLAG_EXPECT_SEQUENCE |
         H2O_CONFIGURATOR_FLAG_DEFERRED,
     routes_read, false},
    {"paths",
     H2O_CONFIGURATOR_FLAG_HOST | H2O_CONFIGURATOR_FLAG_EXPECT_MAPPING |
         H2O_CONFIGURATOR_FLAG_DEFERRED,
     hosts_read_paths, false},
};

void words_define(struct load *load) {
    struct word_set *set = (void *)h2o_configurator_create(&load->config->h2o, sizeof(*set));
    set->load = load;
    metrics_add_to_status(&load->config->h2o);
    for (size_t i = 0; i != sizeof(words) / sizeof(*words); i++)
        h2o_configurator_define_command(&set->super, words[i].name, words[i].flags, words[i].call);
}

void words_read_process(struct load *load, const yoml_t *root) {
    struct word_set set = {.load = load};
    h2o_configurator_command_t command = {.configurator = &set.super};
    for (size_t i = 0; i != sizeof(words) / sizeof(*words); i++) {
        yoml_t *node = words[i].is_process ? tree_get(root, words[i].name) : NULL;
        if (node != NULL)
            words[i].call(&command, NULL, node);
    }
}

static unsigned usable_processors(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) < 1)
        return 1;
    return CPU_COUNT(&set) < LOOPS_MAX ? (unsigned)CPU_COUNT(&set) : LOOPS_MAX;
}

/* Types that came after libh2o's table; browsers refuse a module or WebAssembly of another. */
static void add_types(h2o_mimemap_t *types) {
    static const char *const added[][2] = {{"mjs", "application/javascript"},
                                           {"wasm", "application/wasm"},
                                           {"avif", "image/avif"},
                                           {"webmanifest", "application/manifest+json"}};
    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
        h2o_mimemap_define_mimetype(types, added[i][0], added[i][1], NULL);
}

void words_set_process_defaults(struct config *config) {
    config->num_threads = usable_processors();
    config->max_connections = 1024;
    config->offload_threads = (unsigned)offload_fields[OFFLOAD_THREADS].otherwise;
    config->offload_queue = (size_t)offload_fields[OFFLOAD_QUEUE].otherwise;
    config->limits.queue_bytes = (uint64_t)limit_fields[LIMIT_QUEUES].otherwise;
    config->limits.stall_ms = (uint32_t)limit_fields[LIMIT_STALL].otherwise;
    config->limits.slowest_request = (uint32_t)limit_fields[LIMIT_SLOWEST_REQUEST].otherwise;
    config->drain_ms = 10000;
    config->stuck_ms = 10000;
    config->retire_ms = 60000;
    config->sandbox = true;
    config->hook_budget_ms = (uint32_t)word_fields[WORD_HOOK_BUDGET].otherwise;
    config->log_level = LOG_AT_INFO;
    config->history_memory = (uint64_t)word_fields[WORD_HISTORY_MEMORY].otherwise;
}

void words_set_defaults(struct config *config) {
    words_set_process_defaults(config);
    config->log_closes = true;
    add_types(config->h2o.mimemap);
    config->h2o.server_name = h2o_iovec_init("sluice", 6);
    config->h2o.max_request_entity_size = 1 << 20;
    /* One time for head and body together: libh2o's ten seconds cut off slow uploads. */
    config->h2o.http1.req_timeout = 30000;
}
