#include "config/directives.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/checks.h"
#include "config/units.h"
#include "observe/nearest.h"
#include "snapshot/snapshot.h"

/* libh2o's callbacks are given no pointer of ours, so the load that runs is kept here. */
static struct load *running;

struct step {
    h2o_configurator_command_t *command;
    yoml_t *key, *value;
};

void directives_begin(struct load *load) {
    h2o_globalconf_t *conf = &load->config->h2o;
    assert(running == NULL);
    running = load;
    h2o_access_log_register_configurator(conf);
    h2o_compress_register_configurator(conf);
    h2o_errordoc_register_configurator(conf);
    h2o_expires_register_configurator(conf);
    h2o_fastcgi_register_configurator(conf);
    h2o_file_register_configurator(conf);
    h2o_headers_register_configurator(conf);
    h2o_http2_debug_state_register_configurator(conf);
    h2o_proxy_register_configurator(conf);
    h2o_redirect_register_configurator(conf);
    h2o_reproxy_register_configurator(conf);
    h2o_status_register_configurator(conf);
    h2o_throttle_resp_register_configurator(conf);
}

void directives_end(void) { running = NULL; }

h2o_configurator_context_t *directives_enter(h2o_globalconf_t *conf,
                                             h2o_configurator_context_t *parent) {
    h2o_configurator_context_t *context = h2o_mem_alloc(sizeof(*context));
    if (parent == NULL) {
        *context = (h2o_configurator_context_t){.globalconf = conf, .mimemap = &conf->mimemap};
        return context;
    }
    *context = *parent;
    if (context->env != NULL)
        h2o_mem_addref_shared(context->env);
    context->parent = parent;
    return context;
}

void directives_leave(h2o_configurator_context_t *context) {
    if (context->env != NULL && context->pathconf != NULL)
        context->pathconf->env = context->env;
    else if (context->env != NULL)
        h2o_mem_release_shared(context->env);
    free(context);
}

/* Ours are defined last and stand before H2O's of the same name: `hosts` and `paths`. */
static h2o_configurator_command_t *find_command(const char *name) {
    h2o_linklist_t *all = &running->config->h2o.configurators;
    for (h2o_linklist_t *at = all->prev; at != all; at = at->prev) {
        h2o_configurator_t *configurator = H2O_STRUCT_FROM_MEMBER(h2o_configurator_t, _link, at);
        for (size_t i = 0; i != configurator->commands.size; i++)
            if (strcmp(configurator->commands.entries[i].name, name) == 0)
                return &configurator->commands.entries[i];
    }
    return NULL;
}

static void offer_commands(struct nearest *nearest, int level) {
    h2o_linklist_t *all = &running->config->h2o.configurators;
    for (h2o_linklist_t *at = all->next; at != all; at = at->next) {
        h2o_configurator_t *configurator = H2O_STRUCT_FROM_MEMBER(h2o_configurator_t, _link, at);
        for (size_t i = 0; i != configurator->commands.size; i++)
            if ((configurator->commands.entries[i].flags & level) != 0)
                nearest_offer(nearest, configurator->commands.entries[i].name);
    }
}

static void complain_unknown(const yoml_t *key, int level, const char *const *others) {
    char hint[128];
    const char *name = key->data.scalar, *foreign = checks_foreign_word(name);
    struct nearest nearest = nearest_to(name);
    if (foreign != NULL) {
        problems_error(running->problems, tree_place(key),
                       "`%s` is a word of H2O's own program: %s", name, foreign);
        return;
    }
    offer_commands(&nearest, level);
    for (; others != NULL && *others != NULL; others++)
        nearest_offer(&nearest, *others);
    problems_error(running->problems, tree_place(key), "unknown word `%s`%s", name,
                   nearest_hint(&nearest, hint));
}

static const char *level_place(int level) {
    switch (level) {
    case H2O_CONFIGURATOR_FLAG_GLOBAL:
        return "at the top of the file";
    case H2O_CONFIGURATOR_FLAG_HOST:
        return "in a host";
    case H2O_CONFIGURATOR_FLAG_PATH:
        return "in a path or a route";
    default:
        return "in file.custom-handler";
    }
}

static void complain_level(const yoml_t *key, const h2o_configurator_command_t *command,
                           int level) {
    char right[160] = "";
    static const int levels[] = {H2O_CONFIGURATOR_FLAG_GLOBAL, H2O_CONFIGURATOR_FLAG_HOST,
                                 H2O_CONFIGURATOR_FLAG_PATH, H2O_CONFIGURATOR_FLAG_EXTENSION};
    for (size_t i = 0; i != sizeof(levels) / sizeof(*levels); i++) {
        if ((command->flags & levels[i]) == 0)
            continue;
        size_t used = strlen(right);
        snprintf(right + used, sizeof(right) - used, "%s%s", used != 0 ? " or " : "",
                 level_place(levels[i]));
    }
    problems_error(running->problems, tree_place(key), "`%s` can't stand %s; it belongs %s",
                   command->name, level_place(level), right);
}

static int expected_flag(const yoml_t *value) {
    if (value->type == YOML_TYPE_SCALAR)
        return H2O_CONFIGURATOR_FLAG_EXPECT_SCALAR;
    return value->type == YOML_TYPE_SEQUENCE ? H2O_CONFIGURATOR_FLAG_EXPECT_SEQUENCE
                                             : H2O_CONFIGURATOR_FLAG_EXPECT_MAPPING;
}

static bool check_kind(const yoml_t *value, const h2o_configurator_command_t *command) {
    int any = H2O_CONFIGURATOR_FLAG_EXPECT_SCALAR | H2O_CONFIGURATOR_FLAG_EXPECT_SEQUENCE |
              H2O_CONFIGURATOR_FLAG_EXPECT_MAPPING;
    int expected = command->flags & any;
    if (expected == 0 || (expected & expected_flag(value)) != 0)
        return true;
    problems_error(running->problems, tree_place(value), "`%s` takes %s, not %s", command->name,
                   (expected & H2O_CONFIGURATOR_FLAG_EXPECT_SCALAR) != 0     ? "a single value"
                   : (expected & H2O_CONFIGURATOR_FLAG_EXPECT_SEQUENCE) != 0 ? "a sequence"
                                                                             : "a mapping",
                   tree_kind(value));
    return false;
}

static bool is_other(const char *name, const char *const *others) {
    for (; others != NULL && *others != NULL; others++)
        if (strcmp(*others, name) == 0)
            return true;
    return false;
}

/* The directives of the mapping that may run, in the order of the file. */
static size_t collect(yoml_t *mapping, int level, const char *const *others, struct step *steps) {
    size_t count = 0;
    for (size_t i = 0; i != mapping->data.mapping.size; i++) {
        struct yoml_pair pair = mapping->data.mapping.elements[i];
        if (is_other(pair.key->data.scalar, others))
            continue;
        h2o_configurator_command_t *command = find_command(pair.key->data.scalar);
        if (command == NULL)
            complain_unknown(pair.key, level, others);
        else if ((command->flags & level) == 0)
            complain_level(pair.key, command, level);
        else if (check_kind(pair.value, command))
            steps[count++] =
                (struct step){.command = command, .key = pair.key, .value = pair.value};
    }
    return count;
}

static void run_step(h2o_configurator_context_t *context, const struct step *step) {
    size_t before = problems_reports(running->problems);
    yoml_t *value = checks_directive(running, step->command->name, step->key, step->value);
    if (value == NULL)
        return;
    if (step->command->cb(step->command, context, value) != 0 &&
        problems_reports(running->problems) == before)
        problems_error(running->problems, tree_place(step->value), "`%s` was refused by H2O",
                       step->command->name);
}

/* H2O's order: what has neither flag, then the semi-deferred, then the deferred. */
static void run_steps(h2o_configurator_context_t *context, const struct step *steps, size_t count) {
    int late = H2O_CONFIGURATOR_FLAG_DEFERRED | H2O_CONFIGURATOR_FLAG_SEMI_DEFERRED;
    const int passes[] = {0, H2O_CONFIGURATOR_FLAG_SEMI_DEFERRED, H2O_CONFIGURATOR_FLAG_DEFERRED};
    for (size_t pass = 0; pass != sizeof(passes) / sizeof(*passes); pass++)
        for (size_t i = 0; i != count; i++)
            if ((steps[i].command->flags & late) == passes[pass])
                run_step(context, &steps[i]);
}

static void call_hooks(h2o_configurator_context_t *context, yoml_t *mapping, bool enter) {
    h2o_linklist_t *all = &running->config->h2o.configurators;
    for (h2o_linklist_t *at = all->next; at != all; at = at->next) {
        h2o_configurator_t *configurator = H2O_STRUCT_FROM_MEMBER(h2o_configurator_t, _link, at);
        h2o_configurator_enter_cb hook = enter ? configurator->enter : configurator->exit;
        if (hook != NULL && hook(configurator, context, mapping) != 0 && mapping != NULL)
            problems_error(running->problems, tree_place(mapping), "refused by H2O");
    }
}

void directives_walk(h2o_configurator_context_t *context, yoml_t *mapping, int level,
                     const char *const *others) {
    if (mapping != NULL && mapping->type != YOML_TYPE_MAPPING) {
        problems_error(running->problems, tree_place(mapping),
                       "a mapping of directives belongs here, not %s", tree_kind(mapping));
        mapping = NULL;
    }
    call_hooks(context, mapping, true);
    if (mapping != NULL) {
        struct step *steps = h2o_mem_alloc((mapping->data.mapping.size + 1) * sizeof(*steps));
        run_steps(context, steps, collect(mapping, level, others, steps));
        free(steps);
    }
    call_hooks(context, mapping, false);
}

/* --- what libh2o calls instead of its own --- */

#define TAKES_LIBH2OS_PLACE __attribute__((visibility("default")))

TAKES_LIBH2OS_PLACE void h2o_configurator_errprintf(h2o_configurator_command_t *command,
                                                    yoml_t *node, const char *reason, ...) {
    char text[1024];
    va_list args;
    va_start(args, reason);
    vsnprintf(text, sizeof(text), reason, args);
    va_end(args);
    text[strcspn(text, "\n")] = '\0';
    assert(running != NULL);
    if (command != NULL)
        problems_error(running->problems, tree_place(node), "`%s`: %s", command->name, text);
    else
        problems_error(running->problems, tree_place(node), "%s", text);
}

static bool complain_number(const h2o_configurator_command_t *command, const yoml_t *node,
                            const char *why) {
    const struct bare_number *rule = checks_bare_number(command->name);
    problems_error(running->problems, tree_place(node),
                   "`%s`: `%s` %s; H2O's own directives take bare numbers%s%s", command->name,
                   node->data.scalar, why, rule != NULL ? ", here " : "",
                   rule != NULL ? rule->counts : "");
    return false;
}

static bool scan_ratio(h2o_configurator_command_t *command, const yoml_t *node, double *slot) {
    char *end;
    double number = strtod(node->data.scalar, &end);
    if (end == node->data.scalar || *end != '\0' || !isfinite(number))
        return complain_number(command, node, "is not a number");
    *slot = number;
    return true;
}

static bool scan_whole(h2o_configurator_command_t *command, const yoml_t *node, int64_t least,
                       int64_t most, int64_t *number) {
    const struct bare_number *rule = checks_bare_number(command->name);
    const char *why;
    if (!units_read(node->data.scalar, UNIT_COUNT, number, &why))
        return complain_number(command, node, why);
    if (rule != NULL)
        least = rule->least, most = rule->most;
    if (*number >= least && *number <= most)
        return true;
    problems_error(running->problems, tree_place(node), "`%s` is `%s`; it must be %lld to %lld%s%s",
                   command->name, node->data.scalar, (long long)least, (long long)most,
                   rule != NULL ? " " : "", rule != NULL ? rule->counts : "");
    return false;
}

/* libh2o reads with sscanf, which takes `10s` for 10, `-1` for the largest number and `12garbage`
 * for 12. */
TAKES_LIBH2OS_PLACE int h2o_configurator_scanf(h2o_configurator_command_t *command, yoml_t *node,
                                               const char *format, ...) {
    va_list args;
    va_start(args, format);
    void *slot = va_arg(args, void *);
    va_end(args);
    assert(running != NULL);
    if (node->type != YOML_TYPE_SCALAR) {
        problems_error(running->problems, tree_place(node), "`%s` takes a number here, not %s",
                       command->name, tree_kind(node));
        return -1;
    }
    int64_t number;
    if (strcmp(format, "%lf") == 0)
        return scan_ratio(command, node, slot) ? 0 : -1;
    bool is_int = strcmp(format, "%d") == 0, is_unsigned = strcmp(format, "%u") == 0;
    assert(is_int || is_unsigned || strcmp(format, "%lu") == 0 || strcmp(format, "%zu") == 0);
    int64_t most = is_int ? INT_MAX : is_unsigned ? UINT_MAX : INT64_MAX;
    if (!scan_whole(command, node, is_int ? INT_MIN : 0, most, &number))
        return -1;
    if (is_int)
        *(int *)slot = (int)number;
    else if (is_unsigned)
        *(unsigned *)slot = (unsigned)number;
    else
        *(uint64_t *)slot = (uint64_t)number;
    return 0;
}

/* Called by file.custom-handler for the directives in it. */
TAKES_LIBH2OS_PLACE int h2o_configurator_apply_commands(h2o_configurator_context_t *context,
                                                        yoml_t *node, int flags_mask,
                                                        const char **ignore_commands) {
    assert(running != NULL);
    size_t before = problems_reports(running->problems);
    directives_walk(context, node, flags_mask, ignore_commands);
    return problems_reports(running->problems) == before ? 0 : -1;
}

/* Called where an access log's file is opened: the snapshot may hold it open already. */
TAKES_LIBH2OS_PLACE int h2o_access_log_open_log(const char *path) {
    assert(running != NULL);
    int fd = snapshot_open_log(path);
    if (fd != -1)
        config_note_log(running->config, path, fd);
    return fd;
}
