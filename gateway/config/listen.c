#include "config/listen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "config/checks.h"
#include "config/fields.h"
#include "net/tls.h"
#include "observe/nearest.h"

enum {
    LISTEN_PORT,
    LISTEN_HOST,
    LISTEN_UNIX,
    LISTEN_MODE,
    LISTEN_SSL,
    LISTEN_PROXY,
    LISTEN_FIELDS
};

/* Port 0: the kernel chooses. */
static const struct field listen_fields[LISTEN_FIELDS] = {
    [LISTEN_PORT] = {"port", FIELD_COUNT, 0, 65535, -1, false},
    [LISTEN_HOST] = {"host", FIELD_TEXT, 0, 0, 0, false},
    [LISTEN_UNIX] = {"unix", FIELD_TEXT, 0, 0, 0, false},
    [LISTEN_MODE] = {"mode", FIELD_TEXT, 0, 0, 0, false},
    [LISTEN_SSL] = {"ssl", FIELD_NODE, 0, 0, 0, false},
    [LISTEN_PROXY] = {"proxy-protocol", FIELD_NODE, 0, 0, 0, false},
};

enum { SSL_CERTIFICATE, SSL_KEY, SSL_VERSION, SSL_FIELDS };

static const struct field ssl_fields[SSL_FIELDS] = {
    [SSL_CERTIFICATE] = {"certificate-file", FIELD_TEXT, 0, 0, 0, false},
    [SSL_KEY] = {"key-file", FIELD_TEXT, 0, 0, 0, false},
    [SSL_VERSION] = {"minimum-version", FIELD_TEXT, 0, 0, 0, false},
};

/* The certificates of one listener as they are read, with the nodes that their faults belong to. */
struct certificates {
    struct tls_certificate *items;
    struct value (*values)[SSL_FIELDS];
    size_t count;
    int minimum_version; /* 0: not said yet */
};

static bool read_version(struct load *load, struct certificates *to, const struct value *value) {
    if (value->text == NULL)
        return true;
    int version = strcmp(value->text, "TLSv1.2") == 0   ? TLS1_2_VERSION
                  : strcmp(value->text, "TLSv1.3") == 0 ? TLS1_3_VERSION
                                                        : 0;
    if (version == 0) {
        problems_error(load->problems, tree_place(value->node),
                       "`minimum-version` is `%s`; it must be TLSv1.2 or TLSv1.3", value->text);
        return false;
    }
    if (to->minimum_version != 0 && to->minimum_version != version) {
        problems_error(load->problems, tree_place(value->node),
                       "all certificates of a listener have one `minimum-version`, and an earlier "
                       "one says another");
        return false;
    }
    to->minimum_version = version;
    return true;
}

static const char *read_pem(struct load *load, const yoml_t *node, const struct value *value,
                            const char *name) {
    if (value->text != NULL)
        return tree_path(load->pool, value->node, value->text);
    if (value->node == NULL)
        problems_error(load->problems, tree_place(node), "`ssl` has no `%s`", name);
    return NULL;
}

static bool read_certificate(struct load *load, struct certificates *to, yoml_t *node) {
    struct value *values = to->values[to->count];
    bool right = fields_read(load, node, "ssl", ssl_fields, SSL_FIELDS, values);
    if (node->type != YOML_TYPE_MAPPING)
        return false;
    struct tls_certificate *certificate = &to->items[to->count++];
    certificate->certificate_file =
        read_pem(load, node, &values[SSL_CERTIFICATE], "certificate-file");
    certificate->key_file = read_pem(load, node, &values[SSL_KEY], "key-file");
    return read_version(load, to, &values[SSL_VERSION]) && right &&
           certificate->certificate_file != NULL && certificate->key_file != NULL;
}

static struct tls *load_certificates(struct load *load, const struct certificates *from) {
    struct error error;
    size_t which = 0;
    bool is_key = false;
    struct tls_conf conf = {.certificates = from->items,
                            .count = from->count,
                            .minimum_version = from->minimum_version != 0 ? from->minimum_version
                                                                          : TLS1_2_VERSION};
    struct tls *tls = tls_create(&conf, &error, &which, &is_key);
    if (tls == NULL)
        problems_error(load->problems,
                       tree_place(from->values[which][is_key ? SSL_KEY : SSL_CERTIFICATE].node),
                       "%s", error.text);
    return tls;
}

/* NULL when something is wrong: reported. */
static struct tls *read_ssl(struct load *load, yoml_t *node) {
    bool is_list = node->type == YOML_TYPE_SEQUENCE;
    size_t count = is_list ? node->data.sequence.size : 1;
    struct certificates certificates = {0};
    struct tls *tls = NULL;
    bool right = count != 0;
    if (!right)
        problems_error(load->problems, tree_place(node),
                       "`ssl` is empty; a listener with TLS needs a certificate");
    certificates.items = h2o_mem_alloc((count + 1) * sizeof(*certificates.items));
    certificates.values = h2o_mem_alloc((count + 1) * sizeof(*certificates.values));
    for (size_t i = 0; i != count; i++)
        right = read_certificate(load, &certificates,
                                 is_list ? node->data.sequence.elements[i] : node) &&
                right;
    if (right)
        tls = load_certificates(load, &certificates);
    free(certificates.items);
    free(certificates.values);
    return tls;
}

static bool complain(struct load *load, const yoml_t *node, const char *why) {
    problems_error(load->problems, tree_place(node), "%s", why);
    return false;
}

static bool read_unix(struct load *load, const struct value *values, struct listener_conf *conf) {
    const struct value *path = &values[LISTEN_UNIX], *mode = &values[LISTEN_MODE];
    conf->unix_path = tree_path(load->pool, path->node, path->text);
    conf->unix_mode = 0660;
    if (strlen(conf->unix_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return complain(load, path->node,
                        "the path of a socket has at most 107 bytes, made absolute");
    if (values[LISTEN_PORT].node != NULL || values[LISTEN_HOST].node != NULL)
        return complain(load, path->key, "a listener has either `unix` or `port` and `host`");
    if (mode->text == NULL)
        return true;
    char *end;
    unsigned long bits = strtoul(mode->text, &end, 8);
    if (mode->text[0] < '0' || mode->text[0] > '7' || *end != '\0' || bits > 0777)
        return complain(load, mode->node,
                        "`mode` is an octal number of permission bits, such as \"0660\"");
    conf->unix_mode = (unsigned)bits;
    return true;
}

/* After the fields: each value is right by itself. */
static bool read_address(struct load *load, const yoml_t *node, const struct value *values,
                         struct listener_conf *conf) {
    if (values[LISTEN_UNIX].text != NULL)
        return read_unix(load, values, conf);
    if (values[LISTEN_MODE].node != NULL)
        return complain(load, values[LISTEN_MODE].key, "`mode` belongs to a listener with `unix`");
    if (values[LISTEN_PORT].node == NULL)
        return complain(load, node, "a listener needs a `port` or a `unix` path");
    conf->host = values[LISTEN_HOST].text;
    if (conf->host != NULL && strcmp(conf->host, "*") == 0)
        conf->host = NULL;
    conf->port = values[LISTEN_PORT].node->data.scalar;
    return true;
}

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_port(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : atoi(a) == atoi(b) && atoi(a) != 0;
}

/* An address twice would be told at the first start only, by the kernel. */
static void check_once(struct load *load, const yoml_t *node, const struct listener_conf *conf) {
    for (size_t i = 0; i != load->config->listener_count; i++) {
        const struct config_listener *earlier = &load->config->listeners[i];
        if (!same_port(earlier->conf.port, conf->port) ||
            !same_text(earlier->conf.host, conf->host) ||
            !same_text(earlier->conf.unix_path, conf->unix_path))
            continue;
        problems_error(load->problems, tree_place(node), "the same address as on line %zu",
                       earlier->place.line);
        return;
    }
}

/* The fields, and the address when they are right; false when it is not. */
static bool read_fields(struct load *load, yoml_t *node, struct value *values,
                        struct listener_conf *conf) {
    for (size_t i = 0; i != LISTEN_FIELDS; i++)
        values[i] = (struct value){.number = listen_fields[i].otherwise};
    bool right =
        node->type == YOML_TYPE_SCALAR
            ? fields_read_one(load, node, &listen_fields[LISTEN_PORT], &values[LISTEN_PORT])
            : fields_read(load, node, "listen", listen_fields, LISTEN_FIELDS, values);
    return node->type != YOML_TYPE_SEQUENCE && right && read_address(load, node, values, conf);
}

bool listen_address(struct load *load, yoml_t *node, struct listener_conf *conf, bool *tls) {
    struct value values[LISTEN_FIELDS];
    bool right = read_fields(load, node, values, conf);
    *tls = values[LISTEN_SSL].node != NULL;
    return right;
}

static bool is_taken(const char *key, const char *(*keys)(const void *list, size_t index),
                     const void *list, size_t count) {
    for (size_t i = 0; i != count; i++)
        if (strcmp(keys(list, i), key) == 0)
            return true;
    return false;
}

const char *listen_key(h2o_mem_pool_t *pool, const struct listener_conf *conf,
                       const char *(*keys)(const void *list, size_t index), const void *list,
                       size_t count) {
    char key[LISTENER_KEY_MAX + 32];
    listener_key(conf, key);
    size_t size = strlen(key);
    for (unsigned number = 2; is_taken(key, keys, list, count); number++)
        snprintf(key + size, sizeof(key) - size, "#%u", number);
    return h2o_strdup(pool, key, SIZE_MAX).base;
}

static const char *key_at(const void *list, size_t index) {
    return ((const struct config_listener *)list)[index].key;
}

static void read_listener(struct load *load, yoml_t *node) {
    struct value values[LISTEN_FIELDS];
    struct listener_conf conf = {0};
    bool right = read_fields(load, node, values, &conf);
    if (node->type == YOML_TYPE_SEQUENCE)
        return;
    if (right)
        check_once(load, node, &conf);
    if (values[LISTEN_SSL].node != NULL)
        conf.tls = read_ssl(load, values[LISTEN_SSL].node);
    if (values[LISTEN_PROXY].node != NULL)
        fields_read_switch(load, values[LISTEN_PROXY].node, "proxy-protocol", &conf.is_introduced);
    struct config *config = load->config;
    config->listeners = h2o_mem_realloc(config->listeners,
                                        (config->listener_count + 1) * sizeof(*config->listeners));
    bool has_address = conf.port != NULL || conf.unix_path != NULL;
    const char *key = !has_address ? ""
                                   : listen_key(load->pool, &conf, key_at, config->listeners,
                                                config->listener_count);
    config->listeners[config->listener_count++] =
        (struct config_listener){.conf = conf, .key = key, .place = tree_place(node)};
}

void listen_read(struct load *load, yoml_t *node) {
    if (node->type != YOML_TYPE_SEQUENCE) {
        read_listener(load, node);
        return;
    }
    if (node->data.sequence.size == 0)
        problems_error(load->problems, tree_place(node),
                       "`listen` is empty; the server needs an address");
    for (size_t i = 0; i != node->data.sequence.size; i++)
        read_listener(load, node->data.sequence.elements[i]);
}
