#include "net/metrics.h"

#include "observe/counters.h"
#include "observe/figures.h"
#include "observe/text.h"

struct metrics_handler {
    h2o_handler_t super;
    bool is_route;
};

enum form { NOT_HERE, PROMETHEUS, JSON };

static bool ends_with_json(h2o_iovec_t path) {
    return path.len >= 5 && memcmp(path.base + path.len - 5, "/json", 5) == 0;
}

/* What the path asks for: libh2o gives all that begins with the one that the handler stands at. */
static enum form form_of(const struct metrics_handler *handler, const h2o_req_t *req) {
    h2o_iovec_t path = req->path_normalized, own = req->pathconf->path;
    if (handler->is_route)
        return ends_with_json(path) ? JSON : PROMETHEUS;
    size_t size = own.len - (own.base[own.len - 1] == '/');
    h2o_iovec_t rest = h2o_iovec_init(path.base + size, path.len - size);
    if (rest.len == 0 || h2o_memis(rest.base, rest.len, H2O_STRLIT("/")))
        return PROMETHEUS;
    return h2o_memis(rest.base, rest.len, H2O_STRLIT("/json")) ? JSON : NOT_HERE;
}

static void send_text(h2o_req_t *req, const struct text *text, const char *type) {
    static h2o_generator_t generator = {NULL, NULL};
    bool is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    h2o_iovec_t body = h2o_strdup(&req->pool, text->bytes, text->size);
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = body.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type, strlen(type));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                   H2O_STRLIT("no-store"));
    if (is_head)
        body.len = 0;
    h2o_start_response(req, &generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
}

static bool is_asked(const h2o_req_t *req) {
    return h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")) ||
           h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
}

static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    enum form form = form_of((struct metrics_handler *)self, req);
    struct text text = {NULL, 0, 0};
    if (form == NOT_HERE || !is_asked(req))
        return -1;
    if (form == JSON)
        figures_write_json(&text);
    else
        figures_write_prometheus(&text);
    send_text(req, &text,
              form == JSON ? "application/json" : "text/plain; version=0.0.4; charset=utf-8");
    text_free(&text);
    return 0;
}

void metrics_register(h2o_pathconf_t *pathconf, bool is_route) {
    struct metrics_handler *handler = (void *)h2o_create_handler(pathconf, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->is_route = is_route;
    figures_set_library(H2O_VERSION);
}

/* --- answers --- */

static void on_answered(h2o_logger_t *self, h2o_req_t *req) {
    (void)self;
    counters_response(req->res.status);
}

void metrics_count_responses(h2o_pathconf_t *pathconf) {
    h2o_logger_t *logger = h2o_create_logger(pathconf, sizeof(*logger));
    logger->log_access = on_answered;
}

/* --- H2O's status --- */

/* libh2o overwrites the first section's comma. Its other sections are collected from all threads;
   this one is whole when it is asked for. */
static h2o_iovec_t write_section(void *unused, h2o_globalconf_t *conf, h2o_req_t *req) {
    struct text text = {NULL, 0, 0};
    (void)unused;
    (void)conf;
    text_add(&text, ",\n\"sluice\": ");
    figures_write_json(&text);
    h2o_iovec_t section = h2o_strdup(&req->pool, text.bytes, text.size);
    text_free(&text);
    return section;
}

void metrics_add_to_status(h2o_globalconf_t *conf) {
    h2o_status_handler_t section = {{H2O_STRLIT("sluice")}, NULL, NULL, write_section};
    h2o_config_register_status_handler(conf, section);
    figures_set_library(H2O_VERSION);
}
