#include "net/publisher.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loop/loop.h"
#include "net/tokens.h"
#include "observe/counters.h"
#include "observe/limits.h"
#include "route/pattern.h"
#include "websocket/frame.h"
#include "websocket/utf8.h"

#define SECOND UINT64_C(1000000000) /* ns */
#define RETRY_AFTER "1"

struct publisher {
    h2o_handler_t super;
    struct publisher_conf conf;
    struct publisher_terms terms;
    bool is_open;
    _Atomic uint64_t due; /* ns: when as much was due as has come, see is_within_rate */
};

/* A request whose message is on its way. It outlives the request: the request's pool holds a cell
   that points here, and says when the client went away. */
struct pending {
    h2o_req_t *req;        /* NULL when it is gone */
    struct pending **cell; /* in the request's pool */
};

/* --- answers --- */

struct refusal {
    int status;
    const char *phrase, *why;
};

#define REFUSAL(name, status, phrase, why) static const struct refusal name = {status, phrase, why}

REFUSAL(no_post, 405, "Method Not Allowed", "a message is published with POST");
REFUSAL(no_token, 401, "Unauthorized", "the Authorization header must be Bearer and a token");
REFUSAL(wrong_token, 401, "Unauthorized", "this token is not known here");
REFUSAL(too_often, 429, "Too Many Requests", "more messages than this path's rate");
REFUSAL(no_group, 400, "Bad Request",
        "a group's name is 1 to 200 bytes of UTF-8 without control characters");
REFUSAL(barred_group, 403, "Forbidden", "nothing is published to this group here");
REFUSAL(hard_group, 503, "Service Unavailable", "this name is too hard to match");
REFUSAL(bad_key, 400, "Bad Request",
        "an Idempotency-Key is 1 to 100 bytes of UTF-8 without control characters, once");
REFUSAL(too_large, 413, "Content Too Large", "larger than a message may be here");
REFUSAL(no_text, 400, "Bad Request",
        "the body is not UTF-8; a binary message is application/octet-stream");
REFUSAL(closed, 503, "Service Unavailable", "this namespace is not served at the moment");
REFUSAL(busy, 503, "Service Unavailable", "too many messages are on their way");
REFUSAL(not_kept, 503, "Service Unavailable", "the message could not be kept and was not sent");

static void add_header(h2o_req_t *req, const h2o_token_t *name, const char *value) {
    h2o_add_header(&req->pool, &req->res.headers, name, NULL, value, strlen(value));
}

static void send_json(h2o_req_t *req, int status, const char *phrase, const char *text) {
    static h2o_generator_t generator = {NULL, NULL};
    bool is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    h2o_iovec_t body = h2o_strdup(&req->pool, text, SIZE_MAX);
    req->res.status = status;
    req->res.reason = phrase;
    req->res.content_length = body.len;
    add_header(req, H2O_TOKEN_CONTENT_TYPE, "application/json");
    add_header(req, H2O_TOKEN_CACHE_CONTROL, "no-store");
    if (is_head)
        body.len = 0;
    h2o_start_response(req, &generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
}

/* RFC 6750 section 3: what was wrong with a token is said, but not with none. */
static void refuse(h2o_req_t *req, const struct refusal *refusal) {
    char text[256];
    if (refusal->status == 405)
        add_header(req, H2O_TOKEN_ALLOW, "POST");
    if (refusal->status == 401)
        add_header(req, H2O_TOKEN_WWW_AUTHENTICATE,
                   refusal == &no_token ? "Bearer" : "Bearer error=\"invalid_token\"");
    if (refusal->status == 429 || refusal->status == 503)
        add_header(req, H2O_TOKEN_RETRY_AFTER, RETRY_AFTER);
    snprintf(text, sizeof(text), "{\"error\":\"%s\"}\n", refusal->why);
    send_json(req, refusal->status, refusal->phrase, text);
}

static void send_report(h2o_req_t *req, const struct group_report *report) {
    char position[64] = "null", text[256];
    bool repeated = report->outcome == GROUP_REPEATED;
    bool kept = repeated || report->outcome == GROUP_KEPT;
    if (report->position.epoch != 0)
        snprintf(position, sizeof(position),
                 "{\"epoch\":\"%016" PRIx64 "\",\"offset\":%" PRIu64 "}", report->position.epoch,
                 report->position.offset);
    snprintf(text, sizeof(text), "{\"matched\":%" PRIu64 ",\"kept\":%s,\"position\":%s%s}\n",
             report->matched, kept ? "true" : "false", position,
             repeated ? ",\"repeated\":true" : "");
    send_json(req, 200, "OK", text);
}

/* --- the message --- */

/* The request's pool is cleared: answered, or the client has gone. */
static void on_request_disposed(void *cell) {
    struct pending *pending = *(struct pending **)cell;
    if (pending != NULL)
        pending->req = NULL;
}

static void on_report(void *arg, const struct group_report *report) {
    struct pending *pending = arg;
    h2o_req_t *req = pending->req;
    if (req != NULL)
        *pending->cell = NULL;
    free(pending);
    if (req == NULL)
        return;
    if (report->outcome == GROUP_NOT_KEPT)
        refuse(req, &not_kept);
    else
        send_report(req, report);
}

static struct pending *wait_for_report(h2o_req_t *req) {
    struct pending *pending = calloc(1, sizeof(*pending));
    if (pending == NULL)
        abort();
    pending->req = req;
    pending->cell = h2o_mem_alloc_shared(&req->pool, sizeof(*pending->cell), on_request_disposed);
    *pending->cell = pending;
    return pending;
}

static void forget(struct pending *pending) {
    *pending->cell = NULL;
    free(pending);
}

/* The media type alone, without parameters (RFC 9110 section 8.3.1). */
static bool is_binary(h2o_req_t *req) {
    static const char binary[] = "application/octet-stream";
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_CONTENT_TYPE, -1);
    if (at == -1)
        return false;
    h2o_iovec_t type = req->headers.entries[at].value;
    size_t size = 0;
    while (size < type.len && strchr("; \t", type.base[size]) == NULL)
        size++;
    return h2o_lcstris(type.base, size, binary, sizeof(binary) - 1);
}

static const struct refusal *check_body(const struct publisher *publisher, h2o_req_t *req) {
    if (req->entity.len > publisher->terms.message_max)
        return &too_large;
    if (!is_binary(req) && !utf8_valid(req->entity.base, req->entity.len))
        return &no_text;
    return NULL;
}

/* *key: NULL when there is none. */
static const struct refusal *read_key(h2o_req_t *req, const char **key) {
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("idempotency-key"), -1);
    *key = NULL;
    if (at == -1)
        return NULL;
    h2o_iovec_t value = req->headers.entries[at].value;
    if (h2o_find_header_by_str(&req->headers, H2O_STRLIT("idempotency-key"), at) != -1)
        return &bad_key;
    *key = h2o_strdup(&req->pool, value.base, value.len).base;
    return NULL;
}

/* group: valid. */
static const struct refusal *send_message(const struct publisher *publisher, h2o_req_t *req,
                                          const char *group) {
    struct group_message message = {.keep = publisher->conf.keep,
                                    .terms = publisher->terms.history};
    const struct refusal *refusal = read_key(req, &message.key);
    if (refusal != NULL)
        return refusal;
    struct pending *pending = wait_for_report(req);
    const struct group_tally tally = {on_report, pending};
    const char *body = req->entity.base != NULL ? req->entity.base : "";
    message.frame =
        frame_create(is_binary(req) ? OPCODE_BINARY : OPCODE_TEXT, body, req->entity.len);
    enum group_result result =
        group_send_with(groups_of(loop_current()), publisher->conf.space, group, &message, &tally);
    frame_unref(message.frame);
    if (result == GROUP_OK)
        return NULL;
    forget(pending);
    return result == GROUP_FULL ? &busy : &bad_key;
}

/* --- who may, and how often --- */

/* RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1). A token in the
   query is never looked at: it would stand in logs. */
static const struct refusal *check_token(const struct publisher *publisher, h2o_req_t *req) {
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, -1);
    if (at == -1 || h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, at) != -1)
        return &no_token;
    h2o_iovec_t value = req->headers.entries[at].value;
    size_t begin = strlen("bearer ");
    if (value.len <= begin || strncasecmp(value.base, "bearer ", begin) != 0)
        return &no_token;
    while (begin < value.len && value.base[begin] == ' ')
        begin++;
    return tokens_have(publisher->conf.tokens, value.base + begin, value.len - begin)
               ? NULL
               : &wrong_token;
}

/* Each message moves `due` on by its share of a second, from now on at the earliest; who would move
   it more than a second ahead comes too often. One for all threads. */
static bool is_within_rate(struct publisher *publisher, uint64_t now) {
    if (publisher->conf.rate == 0)
        return true;
    uint64_t share = SECOND / publisher->conf.rate, due = atomic_load(&publisher->due), next;
    do {
        next = (due > now ? due : now) + share;
        if (next - now > SECOND)
            return false;
    } while (!atomic_compare_exchange_weak(&publisher->due, &due, next));
    return true;
}

static const struct refusal *check_sender(struct publisher *publisher, h2o_req_t *req) {
    if (!h2o_memis(req->method.base, req->method.len, H2O_STRLIT("POST")))
        return &no_post;
    const struct refusal *refusal = check_token(publisher, req);
    if (refusal != NULL) {
        counters_add(COUNTER_REFUSED_TOKEN, 1);
        return refusal;
    }
    if (!publisher->is_open)
        return &closed;
    if (is_within_rate(publisher, loop_now(loop_current()) * (SECOND / 1000)))
        return NULL;
    limits_hit(LIMIT_PUBLISHED);
    return &too_often;
}

/* --- the request --- */

/* What follows the handler's own path, with its slash; size 0: nothing does. */
static h2o_iovec_t rest_of_path(const h2o_req_t *req) {
    h2o_iovec_t path = req->path_normalized, own = req->pathconf->path;
    size_t size = own.len - (own.base[own.len - 1] == '/');
    if (path.len < size + 2 || path.base[size] != '/')
        return h2o_iovec_init(NULL, 0);
    return h2o_iovec_init(path.base + size, path.len - size);
}

static const struct refusal *check_group(const struct publisher *publisher, h2o_iovec_t rest,
                                         const char *group) {
    h2o_iovec_t captures[PATTERN_CAPTURES_MAX];
    if (!group_name_valid(group))
        return &no_group;
    if (publisher->conf.groups == NULL)
        return NULL;
    enum pattern_result result =
        pattern_match(publisher->conf.groups, rest.base, rest.len, captures);
    if (result == PATTERN_EXHAUSTED)
        counters_add(COUNTER_REFUSED_MATCH, 1);
    return result == PATTERN_MATCHED     ? NULL
           : result == PATTERN_EXHAUSTED ? &hard_group
                                         : &barred_group;
}

static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    struct publisher *publisher = (struct publisher *)self;
    h2o_iovec_t rest = rest_of_path(req);
    if (rest.len == 0)
        return -1;
    loop_catch_up_all(loop_current()); /* the client may know what these letters are about */
    const char *group = h2o_strdup(&req->pool, rest.base + 1, rest.len - 1).base;
    const struct refusal *refusal = check_sender(publisher, req);
    if (refusal == NULL)
        refusal = check_group(publisher, rest, group);
    if (refusal == NULL)
        refusal = check_body(publisher, req);
    if (refusal == NULL)
        refusal = send_message(publisher, req, group);
    if (refusal != NULL)
        refuse(req, refusal);
    return 0;
}

/* --- its life --- */

static void dispose(h2o_handler_t *self) {
    struct publisher *publisher = (struct publisher *)self;
    pattern_free(publisher->conf.groups);
    tokens_free(publisher->conf.tokens);
}

struct publisher *publisher_register(h2o_pathconf_t *pathconf, const struct publisher_conf *conf) {
    struct publisher *publisher = (void *)h2o_create_handler(pathconf, sizeof(*publisher));
    publisher->super.on_req = on_request;
    publisher->super.dispose = dispose;
    publisher->conf = *conf;
    return publisher;
}

void publisher_open(struct publisher *publisher, const struct publisher_terms *terms) {
    publisher->terms = *terms;
    publisher->is_open = true;
}
