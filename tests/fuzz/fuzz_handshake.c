/*
 * Any bytes as a client's request, through libh2o, hygiene and the handshake: a connection opens as
 * a WebSocket only when the request keeps to RFC 6455 section 4.2.1, the 101 is that of section
 * 4.2.2, and what the scope tells is UTF-8 and stood in the request.
 *
 * The first byte says what the route and its consumer are like, the rest is the request. The
 * consumer's connection is replaced by the one here, so that the request is looked at where a hook
 * would do it.
 */
#include <assert.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <sluice/consumer.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consumer/connection.h"
#include "consumer/instance.h"
#include "loop/loop.h"
#include "net/hygiene.h"
#include "route/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUEST_MAX 4096
#define TURNS 200 /* more than requests fit in */

enum decision { ACCEPT, DENY, LEAVE, GONE };

static struct loop *loop;
static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t accepting;
static struct instance_conf conf;
static sluice_consumer consumer;
static char *rules[] = {"same-host", "https://b.example", "*"};
static struct origins origins;
static enum decision decision;

/* One connection at a time: what the request said and what was decided. */
static const struct connection_door *door; /* NULL when none waits for an answer */
static void *door_data;
static h2o_req_t *asking; /* NULL once its request counts as gone */
static char packed[REQUEST_MAX + SCOPE_PEER_MAX + 4];
static bool is_handshake, is_upgraded;
static char chosen[REQUEST_MAX], accept_key[32];

/* --- a request, read again by the simplest rules --- */

struct text {
    const char *at;
    size_t size;
};

static bool is(struct text text, const char *wanted) {
    return text.size == strlen(wanted) && strncasecmp(text.at, wanted, text.size) == 0;
}

static bool is_same(struct text one, struct text other) {
    return one.size == other.size && memcmp(one.at, other.at, one.size) == 0;
}

static struct text trim(struct text text) {
    while (text.size > 0 && (*text.at == ' ' || *text.at == '\t')) {
        text.at++;
        text.size--;
    }
    while (text.size > 0 && strchr(" \t", text.at[text.size - 1]) != NULL)
        text.size--;
    return text;
}

/* Takes what stands before the mark off the front, and the mark; all when it is not there. */
static struct text take(struct text *rest, const char *mark) {
    const char *end = memmem(rest->at, rest->size, mark, strlen(mark));
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->at);
    struct text taken = {rest->at, size};
    size += end == NULL ? 0 : strlen(mark);
    *rest = (struct text){rest->at + size, rest->size - size};
    return taken;
}

/* Request line and fields, from a head that libh2o and hygiene took. */
static struct text first_line(struct text *head) {
    struct text line = take(head, "\r\n");
    return line.size == 0 ? take(head, "\r\n") : line;
}

/* The next field of that name, its value without white space around it. */
static bool next_field(struct text *fields, const char *name, struct text *value) {
    while (fields->size > 0) {
        struct text line = take(fields, "\r\n");
        if (line.size == 0)
            return false;
        struct text found = take(&line, ":");
        if (is(found, name)) {
            *value = trim(line);
            return true;
        }
    }
    return false;
}

static size_t count_fields(struct text fields, const char *name, struct text *last) {
    size_t count = 0;
    while (next_field(&fields, name, last))
        count++;
    return count;
}

/* exactly: letters as they are. */
static bool lists(struct text fields, const char *name, struct text wanted, bool exactly) {
    struct text value;
    while (next_field(&fields, name, &value)) {
        while (value.size > 0) {
            struct text element = trim(take(&value, ","));
            if (element.size != wanted.size)
                continue;
            if (exactly ? is_same(element, wanted)
                        : strncasecmp(element.at, wanted.at, wanted.size) == 0)
                return true;
        }
    }
    return false;
}

/* RFC 3629, by what a sequence stands for. */
static bool is_utf8(const char *text) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *at = (const uint8_t *)text;
    while (*at != '\0') {
        size_t size = *at < 0x80 ? 1 : *at >> 5 == 6 ? 2 : *at >> 4 == 14 ? 3 : 4;
        uint32_t point = size == 1 ? *at : *at & (0x7fu >> size);
        if (size == 4 && *at >> 3 != 30)
            return false;
        for (size_t i = 1; i < size; i++) {
            if (at[i] >> 6 != 2)
                return false;
            point = point << 6 | (at[i] & 0x3f);
        }
        if (point < least[size] || point > 0x10ffff || point >> 11 == 0x1b)
            return false;
        at += size;
    }
    return true;
}

/* --- RFC 6455 section 4.2.1 --- */

/* Where it came from, by the host's name: with any scheme, and either's port unwritten. */
static bool is_host(struct text origin, struct text host) {
    static const char *const ports[] = {":80", ":443"};
    take(&origin, "://");
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(ports[i]);
        if (origin.size > size && memcmp(origin.at + origin.size - size, ports[i], size) == 0)
            origin.size -= size;
        if (host.size > size && memcmp(host.at + host.size - size, ports[i], size) == 0)
            host.size -= size;
    }
    return origin.size == host.size && strncasecmp(origin.at, host.at, host.size) == 0;
}

/* host: NULL when the target named another than the Host field. */
static void check_origin(struct text fields, const struct text *host) {
    struct text origin;
    size_t count = count_fields(fields, "origin", &origin);
    if (count == 0)
        return;
    assert(count == 1 && origins.count > 0);
    bool passes = host == NULL;
    for (size_t i = 0; i < origins.count; i++)
        passes = passes || origins.allowed[i][0] == '*' || is(origin, origins.allowed[i]) ||
                 is_host(origin, *host);
    assert(passes);
}

static void check_request_line(struct text line, bool *has_path) {
    assert(is(take(&line, " "), "GET"));
    struct text target = take(&line, " ");
    *has_path = target.size > 0 && *target.at == '/';
    assert(line.size == 8 && memcmp(line.at, "HTTP/1.", 7) == 0);
    assert(line.at[7] >= '1' && line.at[7] <= '9');
}

/* Section 4.2.2, step 5.4. */
static void note_accept_key(struct text key) {
    char text[64];
    uint8_t digest[SHA_DIGEST_LENGTH];
    memcpy(text, key.at, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    SHA1((uint8_t *)text, 60, digest);
    EVP_EncodeBlock((uint8_t *)accept_key, digest, sizeof(digest));
}

static void check_key(struct text fields) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct text key;
    assert(count_fields(fields, "sec-websocket-key", &key) == 1 && key.size == 24);
    for (size_t i = 0; i < 22; i++)
        assert(key.at[i] != '\0' && strchr(alphabet, key.at[i]) != NULL);
    assert(memcmp(key.at + 22, "==", 2) == 0);
    note_accept_key(key);
}

static void check_handshake(struct text head) {
    struct text value, host, fields = head;
    bool has_path;
    check_request_line(first_line(&fields), &has_path);
    assert(count_fields(fields, "host", &host) == 1);
    assert(lists(fields, "upgrade", (struct text){"websocket", 9}, false));
    assert(lists(fields, "connection", (struct text){"upgrade", 7}, false));
    check_key(fields);
    assert(count_fields(fields, "sec-websocket-version", &value) == 1 && is(value, "13"));
    check_origin(fields, has_path ? &host : NULL);
}

/* --- the scope --- */

static const char *const capture_texts[] = {"whole"};
static const struct capture_names capture_names = {capture_texts, 1};

static void begin_scope(const struct connection_request *request) {
    size_t size;
    const char *made = scope_pack(request->req, &capture_names, request->captures, &size);
    assert(size <= sizeof(packed));
    memcpy(packed, made, size);
    asking = request->req;
}

static const char *param(const char *name) { return scope_param(packed, &capture_names, name); }

static bool may_choose(const char *name) { return scope_offers(asking, name); }

static const char *get(int what, const char *name) {
    const char *text = scope_get(asking, what, name);
    assert(text == NULL || is_utf8(text));
    return text;
}

static void check_each(void) {
    static const char *const names[] = {NULL, "", "a", "host", "cookie", "Origin"};
    for (int what = -1; what < SLUICE_SCHEME + 3; what++)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            (void)get(what, names[i]);
    assert(scope_peer(packed, &capture_names) != NULL);
    const char *path = get(SLUICE_PATH, NULL), *whole = param("0");
    assert(path == NULL || (*path == '/' && strcmp(path, whole) == 0));
    assert(param("1") == NULL && param("whole") == whole);
}

/* Each field's value stands in what is told of its name. */
static void check_fields(struct text fields) {
    char name[REQUEST_MAX];
    while (fields.size > 0) {
        struct text line = take(&fields, "\r\n"), found = take(&line, ":"), value = trim(line);
        if (found.size == 0)
            return;
        memcpy(name, found.at, found.size);
        name[found.size] = '\0';
        const char *text = get(SLUICE_HEADER, name);
        if (text != NULL && !is(found, "host")) /* the target's goes before */
            assert(memmem(text, strlen(text), value.at, value.size) != NULL);
    }
}

static void check_cookies(struct text fields) {
    static const char *const names[] = {"a", "id", "session"};
    struct text all, pairs;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = get(SLUICE_COOKIE, names[i]);
        bool found = value == NULL;
        for (all = fields; next_field(&all, "cookie", &pairs);) {
            while (!found && pairs.size > 0) {
                struct text pair = trim(take(&pairs, ";")), name = take(&pair, "=");
                found = is_same(name, (struct text){names[i], strlen(names[i])}) &&
                        is_same(pair, (struct text){value, strlen(value)});
            }
        }
        assert(found);
    }
}

/* What is told of a chosen name: it was offered, and nothing else can be chosen. */
static void choose(struct text fields, const char *name) {
    struct text wanted = {name, strlen(name)};
    bool offered = wanted.size > 0 && lists(fields, "sec-websocket-protocol", wanted, true);
    assert(may_choose(name) == offered);
    if (!offered)
        return;
    strcpy(chosen, name);
}

static void check_subprotocols(struct text fields) {
    static const char *const names[] = {"", ",", " ", "a", "chat", "chat, a", "CHAT", "cha"};
    char name[REQUEST_MAX];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        choose(fields, names[i]);
    const char *offered = get(SLUICE_OFFERED, NULL);
    struct text list = {offered, offered == NULL ? 0 : strlen(offered)};
    while (list.size > 0) {
        struct text one = take(&list, ", ");
        memcpy(name, one.at, one.size);
        name[one.size] = '\0';
        choose(fields, name);
        assert(strcmp(chosen, name) == 0);
    }
}

/* --- the connection, in place of the consumer's --- */

const struct instance_conf *instance_conf(const sluice_route *route) {
    (void)route;
    return &conf;
}

const sluice_consumer *instance_consumer(const sluice_route *route) {
    (void)route;
    return &consumer;
}

bool connection_counts_visits(const sluice_route *route) {
    (void)route;
    return false;
}

sluice_conn *connection_open(struct loop *on, sluice_route *route,
                             const struct connection_request *request) {
    h2o_req_t *req = request->req;
    const h2o_buffer_t *input = req->conn->callbacks->get_socket(req->conn)->input;
    struct text head = {input->bytes, input->size};
    assert(on == loop && route == (sluice_route *)&conf && door == NULL);
    is_handshake = request->is_handshake;
    if (is_handshake)
        check_handshake(head);
    else
        assert(consumer.http != NULL);
    chosen[0] = '\0';
    begin_scope(request);
    first_line(&head);
    check_each();
    check_fields(head);
    check_cookies(head);
    check_subprotocols(head);
    door = request->door;
    door_data = request->door_data;
    return (sluice_conn *)&door;
}

struct session *connection_upgraded(sluice_conn *conn) {
    assert(conn == (sluice_conn *)&door && is_upgraded);
    return NULL;
}

void connection_gone(sluice_conn *conn) {
    assert(conn == (sluice_conn *)&door && (door != NULL || is_upgraded));
    door = NULL;
}

static void no_request(sluice_conn *conn) { (void)conn; }

/* Later than connection_open, as the loop's stage of answers is. */
static void decide(int client) {
    const struct connection_door *to = door;
    if (to == NULL)
        return;
    door = NULL;
    asking = NULL;
    assert(get(SLUICE_PATH, NULL) == NULL && !may_choose("a"));
    if (decision == GONE)
        shutdown(client, SHUT_RDWR);
    if (decision == LEAVE) {
        to->left(door_data);
    } else if (is_handshake && decision != DENY) {
        is_upgraded = true;
        to->upgrade(door_data, chosen[0] == '\0' ? NULL : chosen);
    } else {
        to->answer(door_data, is_handshake ? 403 : 200, "x", 1, true);
    }
}

/* --- the answer --- */

static void check_switch(struct text answer) {
    struct text value, chose = {chosen, strlen(chosen)};
    assert(is(first_line(&answer), "HTTP/1.1 101 Switching Protocols"));
    assert(count_fields(answer, "upgrade", &value) == 1 && is(value, "websocket"));
    assert(count_fields(answer, "connection", &value) == 1 && is(value, "upgrade"));
    assert(count_fields(answer, "sec-websocket-accept", &value) == 1);
    assert(is_same(value, (struct text){accept_key, strlen(accept_key)}));
    size_t count = count_fields(answer, "sec-websocket-protocol", &value);
    assert(count == (chose.size == 0 ? 0 : 1) && (count == 0 || is_same(value, chose)));
    count = count_fields(answer, "sec-websocket-extensions", &value);
    assert(count <= (conf.terms.compression.on ? 1 : 0));
    assert(count == 0 || is(trim(take(&value, ";")), "permessage-deflate"));
}

static void check_answer(const char *answer, size_t size) {
    const char *at = memmem(answer, size, "HTTP/1.1 101 ", 13);
    assert((at != NULL) == (is_upgraded && decision != GONE));
    if (at != NULL)
        check_switch((struct text){at, size - (size_t)(at - answer)});
}

/* --- the server --- */

static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    (void)self;
    if (decision == GONE) /* libh2o would go on with what waits behind this request */
        req->http1_is_persistent = 0;
    handshake_begin((sluice_route *)&conf, &origins, req, &req->path_normalized);
    return 0;
}

static void start(void) {
    signal(SIGPIPE, SIG_IGN);
    loop = loop_create(0);
    loop_enter(loop);
    h2o_config_init(&config);
    config.http1.upgrade_to_http2 = 0;
    h2o_hostconf_t *host =
        h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    hygiene_register(path);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_context_init(&context, loop_h2o(loop), &config);
    accepting = (h2o_accept_ctx_t){.ctx = &context, .hosts = config.hosts};
}

static void prepare(uint8_t how) {
    decision = (enum decision)(how & 3);
    consumer.http = how & 4 ? no_request : NULL;
    origins = (struct origins){rules + (how >> 3 & 3), (how >> 3 & 3) < 3 ? 1 : 0};
    conf.terms.compression = (struct compression){
        .on = (how & 32) != 0, .takeover = (how & 64) != 0, .window_bits = 15, .level = 1};
    door = NULL;
    is_upgraded = false;
}

static size_t read_answer(int client, char *answer, size_t room) {
    size_t used = 0;
    for (int i = 0; i < TURNS; i++) {
        loop_turn(loop, 0);
        decide(client);
        ssize_t got = recv(client, answer + used, room - used, MSG_DONTWAIT);
        used += got > 0 ? (size_t)got : 0;
        if (got == 0)
            break;
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char answer[1 << 20];
    int ends[2];
    if (loop == NULL)
        start();
    if (size == 0 || size > REQUEST_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 0;
    prepare(data[0]);
    h2o_accept(&accepting, h2o_evloop_socket_create(loop_h2o(loop), ends[0],
                                                    H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION));
    assert(send(ends[1], data + 1, size - 1, 0) == (ssize_t)(size - 1));
    shutdown(ends[1], SHUT_WR);
    size_t got = read_answer(ends[1], answer, sizeof(answer));
    close(ends[1]);
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 0);
    assert(door == NULL);
    check_answer(answer, got);
    return 0;
}
