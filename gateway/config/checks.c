#include "config/checks.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <h2o/configurator.h>

#include "config/fields.h"
#include "config/units.h"
#include "observe/nearest.h"
#include "snapshot/snapshot.h"

struct directive {
    struct load *load;
    const char *name;
    const yoml_t *key;
};

/* The value to call the directive with, or NULL when it must not be called. */
typedef yoml_t *(*check_fn)(const struct directive *directive, yoml_t *value);

#define YEAR 31536000

static const struct bare_number bare_numbers[] = {
    {"limit-request-body", "bytes", 0, INT64_C(1) << 40},
    {"max-delegations", "delegations", 0, 100},
    {"handshake-timeout", "seconds", 1, YEAR},
    {"http1-request-timeout", "seconds", 1, YEAR},
    {"http2-idle-timeout", "seconds", 1, YEAR},
    {"http2-graceful-shutdown-timeout", "seconds", 0, YEAR},
    {"proxy.timeout.io", "milliseconds", 1, INT64_C(1000) * YEAR},
    {"proxy.timeout.keepalive", "milliseconds", 0, INT64_C(1000) * YEAR},
    {"proxy.websocket.timeout", "milliseconds", 1, INT64_C(1000) * YEAR},
    {"fastcgi.timeout.io", "milliseconds", 1, INT64_C(1000) * YEAR},
    {"fastcgi.timeout.keepalive", "milliseconds", 0, INT64_C(1000) * YEAR},
    {"compress-minimum-size", "bytes", 0, INT64_C(1) << 40},
};

const struct bare_number *checks_bare_number(const char *name) {
    for (size_t i = 0; i != sizeof(bare_numbers) / sizeof(*bare_numbers); i++)
        if (strcmp(bare_numbers[i].name, name) == 0)
            return &bare_numbers[i];
    return NULL;
}

const char *checks_foreign_word(const char *name) {
    static const struct {
        const char *name, *why;
    } words[] = {
        {"tcp-fastopen", "Sluice does not use TCP fast open"},
        {"ssl-session-resumption", "Sluice's tickets rotate by themselves"},
        {"num-name-resolution-threads", "Sluice has no such setting"},
        {"num-ocsp-updaters", "Sluice does not staple OCSP answers"},
        {"temp-buffer-path", "Sluice has no such setting"},
        {"crash-handler", "Sluice reports crashes itself"},
        {"crash-handler.wait-pipe-close", "Sluice reports crashes itself"},
        {"mruby.handler", "there is no Ruby in Sluice; write a consumer"},
        {"mruby.handler-file", "there is no Ruby in Sluice; write a consumer"},
        {"mruby.handler_path", "there is no Ruby in Sluice; write a consumer"},
    };
    for (size_t i = 0; i != sizeof(words) / sizeof(*words); i++)
        if (strcmp(words[i].name, name) == 0)
            return words[i].why;
    return NULL;
}

/* --- files --- */

static bool complain_file(struct load *load, const yoml_t *node, const char *path,
                          const char *why) {
    problems_error(load->problems, tree_place(node), "%s: %s", path, why);
    return false;
}

bool checks_readable_file(struct load *load, const yoml_t *node, const char *path) {
    struct stat status;
    if (snapshot_is_accepted())
        return true;
    if (stat(path, &status) != 0)
        return complain_file(load, node, path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return complain_file(load, node, path, "is a directory, not a file");
    if (access(path, R_OK) != 0)
        return complain_file(load, node, path, strerror(errno));
    return true;
}

bool checks_directory(struct load *load, const yoml_t *node, const char *path) {
    struct stat status;
    if (snapshot_is_accepted())
        return true;
    if (stat(path, &status) != 0)
        return complain_file(load, node, path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return complain_file(load, node, path, "is no directory");
    if (access(path, R_OK | X_OK) != 0)
        return complain_file(load, node, path, strerror(errno));
    return true;
}

bool checks_log(struct load *load, const yoml_t *node, const char *path) {
    int fd = snapshot_open_log(path);
    if (fd < 0 && errno == ELOOP)
        return complain_file(load, node, path,
                             "is a link, in a folder that others may write to: not followed");
    if (fd < 0)
        return complain_file(load, node, path, strerror(errno));
    close(fd);
    return true;
}

/* The scalar as an absolute path, or NULL when it is empty. */
static yoml_t *absolute(const struct directive *directive, const yoml_t *value) {
    if (value->data.scalar[0] != '\0')
        return tree_scalar(directive->load->pool, value,
                           tree_path(directive->load->pool, value, value->data.scalar));
    problems_error(directive->load->problems, tree_place(value),
                   "`%s` is empty; a path belongs here", directive->name);
    return NULL;
}

static yoml_t *check_directory_value(const struct directive *directive, yoml_t *value) {
    yoml_t *path = absolute(directive, value);
    return path != NULL && checks_directory(directive->load, value, path->data.scalar) ? path
                                                                                       : NULL;
}

static yoml_t *check_file_value(const struct directive *directive, yoml_t *value) {
    yoml_t *path = absolute(directive, value);
    return path != NULL && checks_readable_file(directive->load, value, path->data.scalar) ? path
                                                                                           : NULL;
}

/* The path by which the snapshot's copy is opened, where there is one. */
static yoml_t *sealed_file(const struct directive *directive, yoml_t *path) {
    char name[32];
    const struct snapshot_entry *entry = path == NULL ? NULL : snapshot_file(path->data.scalar);
    if (entry == NULL)
        return path;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", entry->fd);
    return tree_scalar(directive->load->pool, path, name);
}

/* libh2o prints OpenSSL's whole error queue to standard error otherwise. */
static yoml_t *check_ca_file(const struct directive *directive, yoml_t *value) {
    yoml_t *path = sealed_file(directive, check_file_value(directive, value));
    if (path == NULL)
        return NULL;
    X509_STORE *store = X509_STORE_new();
    bool loaded = X509_STORE_load_locations(store, path->data.scalar, NULL) == 1;
    X509_STORE_free(store);
    ERR_clear_error();
    if (!loaded)
        complain_file(directive->load, value, path->data.scalar,
                      "holds no certificate in PEM form");
    return loaded ? path : NULL;
}

/* --- keys of mappings --- */

static bool check_keys(const struct directive *directive, const yoml_t *mapping,
                       const char *const *known) {
    bool right = true;
    for (size_t i = 0; mapping->type == YOML_TYPE_MAPPING && i != mapping->data.mapping.size; i++) {
        char hint[128];
        const yoml_t *key = mapping->data.mapping.elements[i].key;
        struct nearest nearest = nearest_to(key->data.scalar);
        size_t at = 0;
        while (known[at] != NULL && strcmp(known[at], key->data.scalar) != 0)
            nearest_offer(&nearest, known[at++]);
        if (known[at] != NULL)
            continue;
        problems_error(directive->load->problems, tree_place(key), "unknown key `%s` in `%s`%s",
                       key->data.scalar, directive->name, nearest_hint(&nearest, hint));
        right = false;
    }
    return right;
}

/* --- access logs --- */

static bool check_log_format(const struct directive *directive, const yoml_t *format) {
    if (format == NULL || format->type != YOML_TYPE_SCALAR)
        return true;
    /* libh2o writes its complaint, with the format's whole rest, into 256 bytes of its own. */
    char *complaint = h2o_mem_alloc(strlen(format->data.scalar) + 256);
    h2o_logconf_t *compiled =
        h2o_logconf_compile(format->data.scalar, H2O_LOGCONF_ESCAPE_APACHE, complaint);
    if (compiled != NULL)
        h2o_logconf_dispose(compiled);
    else
        problems_error(directive->load->problems, tree_place(format), "`format`: %s", complaint);
    free(complaint);
    return compiled != NULL;
}

bool checks_no_pipe(struct load *load, const yoml_t *node, const char *name) {
    if (node->data.scalar[0] != '|')
        return true;
    problems_error(load->problems, tree_place(node),
                   "`%s` can't be piped to a command: the server runs no programs; write to a file "
                   "and let a service of its own follow it (tail -F)",
                   name);
    return false;
}

/* The log's path made absolute, and openable. */
static yoml_t *check_log_path(const struct directive *directive, yoml_t *value) {
    if (value->type != YOML_TYPE_SCALAR)
        return value;
    if (!checks_no_pipe(directive->load, value, directive->name))
        return NULL;
    yoml_t *path = absolute(directive, value);
    return path != NULL && checks_log(directive->load, value, path->data.scalar) ? path : NULL;
}

/* libh2o's own format has the query, and the Referer with the query of another page: both hold what
   proves who somebody is often enough. */
static yoml_t *with_log_format(const struct directive *directive, yoml_t *value) {
    static const char format[] = "%h %l %u %t \"%m %U %H\" %s %b \"%{User-agent}i\"";
    h2o_mem_pool_t *pool = directive->load->pool;
    if (value == NULL || tree_get(value, "format") != NULL)
        return value;
    return tree_with(pool, value, "format", tree_scalar(pool, value, format));
}

static yoml_t *check_access_log(const struct directive *directive, yoml_t *value) {
    static const char *const known[] = {"path", "format", "escape", NULL};
    h2o_mem_pool_t *pool = directive->load->pool;
    if (value->type == YOML_TYPE_SCALAR) {
        yoml_t *file = check_log_path(directive, value), *none = tree_mapping(pool, value, 0);
        return file == NULL ? NULL
                            : with_log_format(directive, tree_with(pool, none, "path", file));
    }
    if (value->type != YOML_TYPE_MAPPING)
        return value;
    bool right = check_keys(directive, value, known);
    right = check_log_format(directive, tree_get(value, "format")) && right;
    yoml_t *path = tree_get(value, "path");
    if (path == NULL)
        return right ? value : NULL;
    path = check_log_path(directive, path);
    return right && path != NULL ? with_log_format(directive, tree_with(pool, value, "path", path))
                                 : NULL;
}

/* --- HTTP/2, which is off --- */

static yoml_t *check_http2(const struct directive *directive, yoml_t *value) {
    problems_warning(directive->load->problems, tree_place(directive->key),
                     "`%s` has no effect: HTTP/2 is off in Sluice", directive->name);
    /* This one would make a path of its own, without the handlers that guard every path. */
    return strcmp(directive->name, "http2-debug-state") == 0 ? NULL : value;
}

static yoml_t *check_http2_upgrade(const struct directive *directive, yoml_t *value) {
    if (value->type == YOML_TYPE_SCALAR && strcasecmp(value->data.scalar, "OFF") == 0)
        return NULL;
    problems_error(directive->load->problems, tree_place(value),
                   "`%s` can only be OFF: HTTP/2 is off in Sluice, since libh2o 2.2.5 lets one "
                   "client end the process with it",
                   directive->name);
    return NULL;
}

/* --- values that libh2o reads loosely --- */

/* libh2o counts a year as 30 of them, and takes `-1 day`. */
static yoml_t *check_expires(const struct directive *directive, yoml_t *value) {
    static const struct {
        const char *name, *h2o;
        int64_t factor;
    } spans[] = {{"second", "second", 1}, {"minute", "minute", 1}, {"hour", "hour", 1},
                 {"day", "day", 1},       {"month", "day", 30},    {"year", "day", 365}};
    if (strcasecmp(value->data.scalar, "OFF") == 0)
        return value;
    char *span;
    errno = 0;
    long long number = strtoll(value->data.scalar, &span, 10);
    bool digits =
        isdigit((unsigned char)value->data.scalar[0]) && errno == 0 && number <= 1000000000;
    span += strspn(span, " ");
    size_t length = strlen(span);
    if (length > 1 && tolower((unsigned char)span[length - 1]) == 's')
        length--;
    for (size_t i = 0; digits && i != sizeof(spans) / sizeof(*spans); i++) {
        char text[64];
        if (strlen(spans[i].name) != length || strncasecmp(spans[i].name, span, length) != 0)
            continue;
        snprintf(text, sizeof(text), "%lld %s", number * (long long)spans[i].factor, spans[i].h2o);
        return tree_scalar(directive->load->pool, value, text);
    }
    problems_error(directive->load->problems, tree_place(value),
                   "`expires` is `%s`; it must be OFF or a number and a unit, such as `1 day` "
                   "(second, minute, hour, day, "
                   "month, year)",
                   value->data.scalar);
    return NULL;
}

static bool check_quality(const struct directive *directive, const yoml_t *value) {
    int64_t number;
    const char *why;
    if (value->type != YOML_TYPE_SCALAR || fields_is_off(value) ||
        strcasecmp(value->data.scalar, "ON") == 0)
        return true;
    if (units_read(value->data.scalar, UNIT_COUNT, &number, &why))
        return true;
    problems_error(directive->load->problems, tree_place(value), "`%s`: `%s` %s", directive->name,
                   value->data.scalar, why);
    return false;
}

static yoml_t *check_compress(const struct directive *directive, yoml_t *value) {
    bool right = true;
    for (size_t i = 0; value->type == YOML_TYPE_MAPPING && i != value->data.mapping.size; i++)
        right = check_quality(directive, value->data.mapping.elements[i].value) && right;
    return right ? value : NULL;
}

static bool is_header_name(const char *text, size_t size) {
    for (size_t i = 0; i != size; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("!#$%&'*+-.^_`|~", text[i]) == NULL)
            return false;
    return size != 0;
}

/* RFC 9110 section 5: a name is a token, a value holds no control characters. libh2o sends what it
 * is given. */
static yoml_t *check_header(const struct directive *directive, yoml_t *value) {
    const char *text = value->data.scalar, *dot = strrchr(directive->name, '.');
    size_t size = strcmp(dot, ".unset") == 0 ? strlen(text) : strcspn(text, ":");
    bool right = is_header_name(text, size);
    for (const char *at = text; right && *at != '\0'; at++)
        right = *at == '\t' || (unsigned char)*at >= 0x20;
    if (right && (text[size] == ':' || strcmp(dot, ".unset") == 0))
        return value;
    problems_error(directive->load->problems, tree_place(value), "`%s` takes %s, such as `%s`",
                   directive->name,
                   strcmp(dot, ".unset") == 0 ? "a header's name" : "a header as `Name: value`",
                   strcmp(dot, ".unset") == 0 ? "Server" : "X-Frame-Options: DENY");
    return NULL;
}

static yoml_t *check_redirect(const struct directive *directive, yoml_t *value) {
    static const char *const known[] = {"url", "status", "internal", NULL};
    const yoml_t *url = value->type == YOML_TYPE_MAPPING ? tree_get(value, "url") : value;
    if (!check_keys(directive, value, known))
        return NULL;
    if (url == NULL || url->type != YOML_TYPE_SCALAR || url->data.scalar[0] != '\0')
        return value;
    problems_error(directive->load->problems, tree_place(url), "`redirect` has an empty URL");
    return NULL;
}

static yoml_t *check_fastcgi_connect(const struct directive *directive, yoml_t *value) {
    static const char *const known[] = {"host", "port", "type", NULL};
    const yoml_t *port = value->type == YOML_TYPE_MAPPING ? tree_get(value, "port") : value;
    const yoml_t *type = tree_get(value, "type");
    int64_t number;
    const char *why;
    if (!check_keys(directive, value, known))
        return NULL;
    bool is_path =
        type != NULL && type->type == YOML_TYPE_SCALAR && strcmp(type->data.scalar, "unix") == 0;
    if (port == NULL || port->type != YOML_TYPE_SCALAR || is_path)
        return value;
    if (units_read(port->data.scalar, UNIT_COUNT, &number, &why) && number >= 1 && number <= 65535)
        return value;
    problems_error(directive->load->problems, tree_place(port),
                   "`%s` is no port; ports are 1 to 65535", port->data.scalar);
    return NULL;
}

static yoml_t *check_fastcgi_spawn(const struct directive *directive, yoml_t *value) {
    (void)value;
    problems_error(directive->load->problems, tree_place(directive->key),
                   "`fastcgi.spawn` is refused: the server runs no programs; start it as a service "
                   "of its own and name its socket with `fastcgi.connect`");
    return NULL;
}

/* libh2o puts one logger into a path's list once for each of its handlers, and frees it as often.
 */
static yoml_t *check_duration_stats(const struct directive *directive, yoml_t *value) {
    if (fields_is_off(value))
        return NULL;
    problems_error(
        directive->load->problems, tree_place(value),
        "`duration-stats` can only be OFF: libh2o 2.2.5 frees its own logger more than once");
    return NULL;
}

/* An empty list of extensions makes libh2o use what it has freed. */
static yoml_t *check_custom_handler(const struct directive *directive, yoml_t *value) {
    const yoml_t *extension = tree_get(value, "extension");
    if (extension == NULL || extension->type != YOML_TYPE_SEQUENCE ||
        extension->data.sequence.size != 0)
        return value;
    problems_error(directive->load->problems, tree_place(extension),
                   "`extension` is empty; an extension such as `.php` "
                   "belongs here");
    return NULL;
}

static yoml_t *check_casper(const struct directive *directive, yoml_t *value) {
    static const char *const known[] = {"capacity-bits", "tracking-types", NULL};
    return check_keys(directive, value, known) ? check_http2(directive, value) : NULL;
}

/* Names that end in a dot or a dash stand for all that begin so. */
static const struct {
    const char *name;
    check_fn check;
} checks[] = {
    {"access-log", check_access_log},
    {"compress", check_compress},
    {"duration-stats", check_duration_stats},
    {"expires", check_expires},
    {"fastcgi.connect", check_fastcgi_connect},
    {"fastcgi.spawn", check_fastcgi_spawn},
    {"file.custom-handler", check_custom_handler},
    {"file.dir", check_directory_value},
    {"file.file", check_file_value},
    {"header.", check_header},
    {"http1-upgrade-to-http2", check_http2_upgrade},
    {"http2-casper", check_casper},
    {"http2-", check_http2},
    {"proxy.header.", check_header},
    {"proxy.ssl.cafile", check_ca_file},
    {"redirect", check_redirect},
};

yoml_t *checks_directive(struct load *load, const char *name, const yoml_t *key, yoml_t *value) {
    struct directive directive = {.load = load, .name = name, .key = key};
    for (size_t i = 0; i != sizeof(checks) / sizeof(*checks); i++) {
        size_t length = strlen(checks[i].name);
        bool is_prefix = strchr(".-", checks[i].name[length - 1]) != NULL;
        if (is_prefix ? strncmp(checks[i].name, name, length) == 0
                      : strcmp(checks[i].name, name) == 0)
            return checks[i].check(&directive, value);
    }
    return value;
}
