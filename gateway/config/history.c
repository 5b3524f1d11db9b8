#include "config/history.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/fields.h"
#include "group/group.h"
#include "group/store.h"
#include "snapshot/snapshot.h"

#define SECOND 1000
#define DAY INT64_C(86400000)
#define AGE_MS_MAX (3650 * DAY)

enum { HISTORY_MESSAGES, HISTORY_AGE, HISTORY_BYTES, HISTORY_FIELDS };

static const struct field history_fields[HISTORY_FIELDS] = {
    [HISTORY_MESSAGES] = {"messages", FIELD_COUNT, 1, GROUP_HISTORY_MAX, 200, false},
    [HISTORY_AGE] = {"age", FIELD_TEXT, 0, 0, DAY, false},
    [HISTORY_BYTES] = {"bytes", FIELD_BYTES, 1 << 10, 1 << 30, 4 << 20, false},
};

enum { LAYER_SQLITE, LAYER_SYNCHRONOUS, LAYER_DELIVER, LAYER_FIELDS };

static const struct field layer_fields[LAYER_FIELDS] = {
    [LAYER_SQLITE] = {"sqlite", FIELD_TEXT, 0, 0, 0, false},
    [LAYER_SYNCHRONOUS] = {"synchronous", FIELD_TEXT, 0, 0, 0, false},
    [LAYER_DELIVER] = {"deliver", FIELD_TEXT, 0, 0, 0, false},
};

/* --- a route's history --- */

/* `forever` is 0 seconds. */
static bool read_age(const struct load *load, const struct value *value, uint32_t *age_s) {
    int64_t ms = value->number;
    const char *why;
    *age_s = (uint32_t)(ms / SECOND);
    if (value->text == NULL)
        return true;
    if (strcasecmp(value->text, "forever") == 0) {
        *age_s = 0;
        return true;
    }
    if (!units_read(value->text, UNIT_MS, &ms, &why)) {
        problems_error(load->problems, tree_place(value->node), "`age`: `%s` %s (or `forever`)",
                       value->text, why);
        return false;
    }
    if (ms < SECOND || ms > AGE_MS_MAX || ms % SECOND != 0) {
        problems_error(load->problems, tree_place(value->node),
                       "`age` is `%s`; it must be 1s to 3650d in whole seconds, or forever",
                       value->text);
        return false;
    }
    *age_s = (uint32_t)(ms / SECOND);
    return true;
}

bool history_read(struct load *load, yoml_t *node, struct group_terms *terms) {
    struct value values[HISTORY_FIELDS];
    *terms = (struct group_terms){0};
    if (node == NULL || fields_is_off(node))
        return true;
    bool right = fields_read(load, node, "history", history_fields, HISTORY_FIELDS, values);
    terms->messages = (uint32_t)values[HISTORY_MESSAGES].number;
    terms->bytes = (uint32_t)values[HISTORY_BYTES].number;
    load->config->keeps_history = true;
    return read_age(load, &values[HISTORY_AGE], &terms->age_s) && right;
}

/* --- the layer --- */

static bool complain(const struct load *load, const yoml_t *node, const char *path,
                     const char *why) {
    problems_error(load->problems, tree_place(node), "%s: %s", path, why);
    return false;
}

/* A trial of the supervisor's runs as the user who serves, so that this is about him. */
static bool complain_rights(const struct load *load, const yoml_t *node, const char *path,
                            int fault) {
    const struct passwd *user = fault == EACCES ? getpwuid(geteuid()) : NULL;
    if (user == NULL)
        return complain(load, node, path, strerror(fault));
    problems_error(load->problems, tree_place(node), "%s: %s for user %s, who has to write there",
                   path, strerror(fault), user->pw_name);
    return false;
}

/* SQLite makes files beside its own, so the folder must be writable, too. */
static bool check_folder(const struct load *load, const yoml_t *node, const char *folder) {
    struct stat status;
    if (stat(folder, &status) != 0)
        return complain_rights(load, node, folder, errno);
    if (!S_ISDIR(status.st_mode))
        return complain(load, node, folder, "is no directory");
    return access(folder, W_OK | X_OK) == 0 || complain_rights(load, node, folder, errno);
}

static bool check_tables(const struct load *load, const yoml_t *node, const char *path) {
    const struct store_options options = {.path = path};
    char error[512];
    if (store_check(&options, error, sizeof(error)))
        return true;
    problems_error(load->problems, tree_place(node), "%s", error);
    return false;
}

/* What shows without writing. */
static bool check_file(const struct load *load, const yoml_t *node, const char *path) {
    const char *slash = strrchr(path, '/');
    struct stat status;
    if (slash[1] == '\0')
        return complain(load, node, path, "a file's name belongs at the end");
    if (snapshot_is_accepted())
        return true;
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    if (!check_folder(load, node, h2o_strdup(load->pool, path, length).base))
        return false;
    if (stat(path, &status) != 0)
        return errno == ENOENT || complain_rights(load, node, path, errno);
    if (!S_ISREG(status.st_mode))
        return complain(load, node, path, "is no file");
    return (access(path, R_OK | W_OK) == 0 || complain_rights(load, node, path, errno)) &&
           check_tables(load, node, path);
}

/* One of two words, the first of which is the default. */
static void read_choice(const struct load *load, const struct value *value, const char *first,
                        const char *second, bool *is_second) {
    *is_second = value->text != NULL && strcmp(value->text, second) == 0;
    if (value->text != NULL && !*is_second && strcmp(value->text, first) != 0)
        problems_error(load->problems, tree_place(value->node), "`%s` is `%s`; it must be %s or %s",
                       value->key->data.scalar, value->text, first, second);
}

void history_read_layer(struct load *load, yoml_t *node) {
    struct layer_conf *layer = &load->config->layer;
    struct value values[LAYER_FIELDS];
    if (node->type == YOML_TYPE_SCALAR) {
        if (strcmp(node->data.scalar, "memory") != 0)
            problems_error(load->problems, tree_place(node),
                           "`layer` is `%s`; it must be memory, or a mapping with `sqlite: FILE`",
                           node->data.scalar);
        return;
    }
    bool right = fields_read(load, node, "layer", layer_fields, LAYER_FIELDS, values);
    read_choice(load, &values[LAYER_SYNCHRONOUS], "normal", "full", &layer->full);
    read_choice(load, &values[LAYER_DELIVER], "after-commit", "at-once", &layer->at_once);
    const struct value *file = &values[LAYER_SQLITE];
    if (right && file->text == NULL)
        problems_error(load->problems, tree_place(node),
                       "`layer` needs `sqlite`, the file that messages are kept in");
    if (file->text == NULL)
        return;
    layer->sqlite = tree_path(load->pool, file->node, file->text);
    check_file(load, file->node, layer->sqlite);
}
