#include "net/health.h"

#include <stdbool.h>

/* GET and HEAD (RFC 9110 sections 9.3.1 and 9.3.2). */
static bool is_asked(const h2o_req_t *req) {
    return h2o_memis(req->path_normalized.base, req->path_normalized.len, H2O_STRLIT("/healthz")) &&
           (h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")) ||
            h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD")));
}

static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    static h2o_generator_t generator = {NULL, NULL};
    (void)self;
    if (!is_asked(req))
        return -1;
    bool stopping = req->conn->ctx->shutdown_requested;
    h2o_iovec_t text =
        stopping ? h2o_iovec_init(H2O_STRLIT("stopping\n")) : h2o_iovec_init(H2O_STRLIT("ok\n"));
    req->res.status = stopping ? 503 : 200;
    req->res.reason = stopping ? "Service Unavailable" : "OK";
    req->res.content_length = text.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/plain; charset=utf-8"));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                   H2O_STRLIT("no-store"));
    if (h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD")))
        text.len = 0;
    h2o_start_response(req, &generator);
    h2o_send(req, &text, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

void health_register(h2o_pathconf_t *pathconf) {
    h2o_handler_t *handler = h2o_create_handler(pathconf, sizeof(*handler));
    handler->on_req = on_request;
}
