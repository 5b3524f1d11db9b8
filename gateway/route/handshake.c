#include "route/handshake.h"

#include <h2o/http1.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/connection.h"
#include "consumer/instance.h"
#include "consumer/visitor.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "observe/limits.h"
#include "websocket/h2o_transport.h"
#include "websocket/plain_transport.h"

#define KEY_SIZE 24
#define RETRY_AFTER "5"
/* Of what is counted a second. */
#define RETRY_SOON "1"

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */

/* A request whose answer is open. It outlives the request by no more than the upgrade's callback:
   the request's pool holds a cell that points here, and says when the client went away. */
struct handshake {
    h2o_req_t *req;          /* NULL when it is gone */
    struct handshake **cell; /* in the request's pool */
    sluice_conn *conn;       /* NULL when it has ended */
    const char *extensions;  /* the answer's, in the request's pool; NULL: none */
    bool is_handshake;       /* else an http request */
    bool upgrading;          /* the 101 is being written: on_upgraded comes, whatever happens */
};

/* --- answers --- */

static const char *reason_phrase(int status) {
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {206, "Partial Content"},
                   {301, "Moved Permanently"},
                   {302, "Found"},
                   {303, "See Other"},
                   {304, "Not Modified"},
                   {307, "Temporary Redirect"},
                   {308, "Permanent Redirect"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {402, "Payment Required"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {406, "Not Acceptable"},
                   {409, "Conflict"},
                   {410, "Gone"},
                   {413, "Content Too Large"},
                   {415, "Unsupported Media Type"},
                   {418, "I'm a teapot"},
                   {422, "Unprocessable Content"},
                   {426, "Upgrade Required"},
                   {429, "Too Many Requests"},
                   {451, "Unavailable For Legal Reasons"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return status < 400 ? "OK" : "Refused";
}

static void add_header(h2o_req_t *req, const char *name, const char *value) {
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, value,
                          strlen(value));
}

/* The host's own refusals, and a consumer's without a body. (H2O's error-doc replaces these and a
   consumer's own bodies alike.) */
static void send_error(h2o_req_t *req, int status) {
    const char *phrase = reason_phrase(status);
    if ((status == 503 || status == 429) &&
        h2o_find_header_by_str(&req->res.headers, H2O_STRLIT("retry-after"), -1) == -1)
        add_header(req, "retry-after", RETRY_AFTER);
    h2o_send_error_generic(req, status, phrase, phrase, H2O_SEND_ERROR_KEEP_HEADERS);
}

static void send_body(h2o_req_t *req, int status, const void *body, size_t size) {
    static h2o_generator_t generator = {NULL, NULL};
    bool is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    bool has_content = status != 204 && status != 304;
    req->res.status = status;
    req->res.reason = reason_phrase(status);
    if (has_content) { /* RFC 9110 section 8.6: no content-length with a 204 */
        req->res.content_length = size;
        if (h2o_find_header(&req->res.headers, H2O_TOKEN_CONTENT_TYPE, -1) == -1)
            h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                           H2O_STRLIT("text/plain; charset=utf-8"));
    }
    h2o_iovec_t content = h2o_iovec_init("", 0);
    if (has_content && !is_head)
        content = h2o_strdup(&req->pool, body, size);
    h2o_start_response(req, &generator);
    h2o_send(req, &content, 1, H2O_SEND_STATE_FINAL);
}

static void refuse_handshake(h2o_req_t *req, int status, enum counter cause) {
    counters_handshake(status);
    if (cause != COUNTER_NONE)
        counters_add(cause, 1);
    send_error(req, status);
}

/* --- the door --- */

static void forget(struct handshake *handshake) {
    if (handshake->req != NULL)
        *handshake->cell = NULL;
    free(handshake);
}

static void on_upgraded(void *data, h2o_socket_t *sock, size_t head_size) {
    struct handshake *handshake = data;
    sluice_conn *conn = handshake->conn;
    free(handshake);
    if (sock == NULL) {
        if (conn != NULL)
            connection_gone(conn);
        return;
    }
    struct session *session = conn == NULL ? NULL : connection_upgraded(conn);
    if (session == NULL)
        h2o_socket_close(sock);
    else if (sock->ssl != NULL)
        h2o_transport_attach(session, sock, head_size);
    else
        plain_transport_attach(session, sock, head_size);
}

/* RFC 6455 section 4.2.2: base64 of the SHA-1 of key and GUID. */
static void add_accept(h2o_req_t *req) {
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("sec-websocket-key"), -1);
    char text[KEY_SIZE + sizeof(accept_guid)];
    unsigned char digest[SHA_DIGEST_LENGTH];
    memcpy(text, req->headers.entries[at].value.base, KEY_SIZE);
    memcpy(text + KEY_SIZE, accept_guid, sizeof(accept_guid));
    SHA1((unsigned char *)text, sizeof(text) - 1, digest);
    char *encoded = h2o_mem_alloc_pool(&req->pool, 32);
    encoded[h2o_base64_encode(encoded, digest, sizeof(digest), 0)] = '\0';
    add_header(req, "sec-websocket-accept", encoded);
}

static void upgrade(void *door, const char *subprotocol) {
    struct handshake *handshake = door;
    h2o_req_t *req = handshake->req;
    req->res.status = 101;
    req->res.reason = "Switching Protocols";
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_UPGRADE, NULL, H2O_STRLIT("websocket"));
    add_accept(req);
    if (subprotocol != NULL)
        add_header(req, "sec-websocket-protocol",
                   h2o_strdup(&req->pool, subprotocol, strlen(subprotocol)).base);
    if (handshake->extensions != NULL)
        add_header(req, "sec-websocket-extensions", handshake->extensions);
    counters_handshake(101);
    handshake->upgrading = true;
    h2o_http1_upgrade(req, NULL, 0, on_upgraded, handshake);
}

static void answer(void *door, int status, const void *body, size_t size, bool chosen) {
    struct handshake *handshake = door;
    h2o_req_t *req = handshake->req;
    if (handshake->is_handshake)
        counters_handshake(status);
    forget(handshake);
    if (chosen && (size > 0 || status < 400))
        send_body(req, status, body, size);
    else
        send_error(req, status);
}

static void left(void *door) {
    struct handshake *handshake = door;
    h2o_req_t *req = handshake->req;
    handshake->conn = NULL;
    if (handshake->upgrading)
        return;
    forget(
        handshake); /* accepted and ended within one turn: the client still waits for an answer */
    if (req != NULL)
        refuse_handshake(req, 503, COUNTER_NONE);
}

static const struct connection_door door = {upgrade, answer, left};

/* The request's pool is cleared: answered long ago, or the client has gone. */
static void on_request_disposed(void *cell) {
    struct handshake *handshake = *(struct handshake **)cell;
    if (handshake == NULL)
        return;
    handshake->req = NULL;
    if (handshake->upgrading)
        return;
    sluice_conn *conn = handshake->conn;
    free(handshake);
    if (conn != NULL)
        connection_gone(conn);
}

/* Several fields are one list (RFC 6455 section 9.1). */
static struct agreement negotiate(const sluice_route *consumer, struct handshake *handshake) {
    h2o_req_t *req = handshake->req;
    struct extension extension = {0};
    const char *name = "sec-websocket-extensions";
    ssize_t at = -1;
    while ((at = h2o_find_header_by_str(&req->headers, name, strlen(name), at)) != -1) {
        h2o_iovec_t field = req->headers.entries[at].value;
        if (!extension_negotiate(&instance_conf(consumer)->terms.compression, field.base, field.len,
                                 &extension))
            continue;
        handshake->extensions =
            h2o_strdup(&req->pool, extension.answer, strlen(extension.answer)).base;
        break;
    }
    return extension.agreement;
}

static void open_connection(sluice_route *consumer, h2o_req_t *req, const h2o_iovec_t *captures,
                            const struct visits *visits) {
    bool is_handshake = visits != NULL;
    struct handshake *handshake = calloc(1, sizeof(*handshake));
    if (handshake == NULL)
        abort();
    handshake->req = req;
    handshake->is_handshake = is_handshake;
    handshake->cell =
        h2o_mem_alloc_shared(&req->pool, sizeof(*handshake->cell), on_request_disposed);
    *handshake->cell = handshake;
    struct connection_request request = {.req = req,
                                         .captures = captures,
                                         .door = &door,
                                         .door_data = handshake,
                                         .is_handshake = is_handshake};
    if (is_handshake) {
        request.agreement = negotiate(consumer, handshake);
        request.visits = *visits;
    }
    handshake->conn = connection_open(loop_current(), consumer, &request);
    if (handshake->conn != NULL)
        return;
    forget(handshake);
    if (is_handshake) {
        refuse_handshake(req, 503, COUNTER_REFUSED_FULL);
        return;
    }
    counters_add(COUNTER_REFUSED_FULL, 1);
    send_error(req, 503);
}

/* --- the checks --- */

static bool is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

bool handshake_key_valid(h2o_iovec_t key) {
    if (key.len != KEY_SIZE || key.base[22] != '=' || key.base[23] != '=')
        return false;
    for (size_t i = 0; i < 21; i++)
        if (!is_base64(key.base[i]))
            return false;
    return strchr("AQgw", key.base[21]) != NULL; /* the last four bits are padding */
}

/* The one header of that name; base NULL when there is none or more than one. */
static h2o_iovec_t only_header(h2o_req_t *req, const char *name) {
    ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);
    if (at == -1 || h2o_find_header_by_str(&req->headers, name, strlen(name), at) != -1)
        return h2o_iovec_init(NULL, 0);
    return req->headers.entries[at].value;
}

static bool is_upgrade(h2o_req_t *req) {
    return req->upgrade.base != NULL &&
           h2o_contains_token(req->upgrade.base, req->upgrade.len, H2O_STRLIT("websocket"), ',');
}

/* A page can't send two Origins: whoever does hides one. */
static bool has_allowed_origin(h2o_req_t *req, const struct origins *origins) {
    if (h2o_find_header_by_str(&req->headers, H2O_STRLIT("origin"), -1) == -1)
        return true;
    h2o_iovec_t origin = only_header(req, "origin");
    return origin.base != NULL && origin_allowed(origins, origin, req->input.authority);
}

/* What refuses the handshake, or 0. */
static int check_handshake(h2o_req_t *req, const struct origins *origins) {
    if (!h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET"))) {
        add_header(req, "allow", "GET");
        return 405;
    }
    if (req->version < 0x101)
        return 400;
    h2o_iovec_t version = only_header(req, "sec-websocket-version");
    if (version.base == NULL || !h2o_memis(version.base, version.len, H2O_STRLIT("13"))) {
        add_header(req, "sec-websocket-version", "13"); /* RFC 6455 section 4.4 */
        return 426;
    }
    h2o_iovec_t key = only_header(req, "sec-websocket-key");
    if (key.base == NULL || !handshake_key_valid(key))
        return 400;
    return has_allowed_origin(req, origins) ? 0 : 403;
}

/* --- who may come --- */

static int refuse_as(enum limit limit, int status) {
    limits_hit(limit);
    return status;
}

static int check_rates(const struct instance_conf *conf, h2o_req_t *req,
                       const struct sockaddr *peer) {
    const struct arrival_rates *rates = &conf->handshakes;
    enum arrival arrival = ARRIVAL_WELCOME;
    if (rates->all != 0 || rates->an_address != 0)
        arrival = visitors_arrive(peer, rates, loop_now(loop_current()));
    if (arrival == ARRIVAL_WELCOME)
        return 0;
    add_header(req, "retry-after", RETRY_SOON);
    return arrival == ARRIVAL_TOO_OFTEN ? refuse_as(LIMIT_ADDRESS_HANDSHAKES, 429)
                                        : refuse_as(LIMIT_HANDSHAKES, 503);
}

/* A connection that was counted when it was accepted counts on; one whose address is known from its
   request alone is counted here. */
static bool visit_server(const struct instance_conf *conf, h2o_req_t *req,
                         const struct sockaddr *peer, struct visit **visit) {
    const struct kept *kept = req->conn->callbacks->get_socket(req->conn)->on_close.data;
    *visit = visit_share(kept == NULL ? NULL : kept->visit);
    return *visit != NULL || conf->server_address_max == 0 ||
           visit_begin(visit, peer, NULL, conf->server_address_max);
}

/* What refuses a handshake that is right in itself, or 0; the visits are the caller's then. */
static int check_visitor(const sluice_route *consumer, h2o_req_t *req, struct visits *visits) {
    const struct instance_conf *conf = instance_conf(consumer);
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    const struct sockaddr *peer = (const struct sockaddr *)&address;
    bool counts = connection_counts_visits(consumer);
    *visits = (struct visits){NULL, NULL};
    if (counts || conf->handshakes.an_address != 0)
        req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&address);
    int refusal = check_rates(conf, req, peer);
    if (refusal != 0 || !counts)
        return refusal;
    if (!visit_server(conf, req, peer, &visits->server))
        return refuse_as(LIMIT_ADDRESS_CONNECTIONS, 429);
    if (conf->address_max == 0 || visit_begin(&visits->route, peer, conf, conf->address_max))
        return 0;
    visit_end(visits->server);
    return refuse_as(LIMIT_ROUTE_ADDRESS, 429);
}

static void begin_websocket(sluice_route *consumer, const struct origins *origins, h2o_req_t *req,
                            const h2o_iovec_t *captures) {
    struct visits visits;
    int refusal = check_handshake(req, origins);
    enum counter cause = refusal == 403 ? COUNTER_REFUSED_ORIGIN : COUNTER_REFUSED_HANDSHAKE;
    if (refusal == 0) {
        refusal = check_visitor(consumer, req, &visits);
        cause = COUNTER_NONE; /* it counts its limits itself */
    }
    if (refusal == 0)
        open_connection(consumer, req, captures, &visits);
    else
        refuse_handshake(req, refusal, cause);
}

void handshake_begin(sluice_route *consumer, const struct origins *origins, h2o_req_t *req,
                     const h2o_iovec_t *captures) {
    loop_catch_up_all(loop_current()); /* the client may know what these letters are about */
    if (is_upgrade(req)) {
        begin_websocket(consumer, origins, req, captures);
    } else if (instance_consumer(consumer)->http != NULL) {
        open_connection(consumer, req, captures, NULL);
    } else {
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_UPGRADE, NULL,
                       H2O_STRLIT("websocket"));
        counters_add(COUNTER_REFUSED_PLAIN, 1);
        send_error(req, 426);
    }
}

/* --- origins (RFC 6454 section 7, RFC 6455 section 10.2) --- */

/* The authority of an origin: behind scheme://. */
static h2o_iovec_t origin_authority(h2o_iovec_t origin) {
    size_t at = h2o_strstr(origin.base, origin.len, H2O_STRLIT("://"));
    if (at == SIZE_MAX)
        return h2o_iovec_init(NULL, 0);
    return h2o_iovec_init(origin.base + at + 3, origin.len - at - 3);
}

static h2o_iovec_t without_port(h2o_iovec_t authority, const char *port) {
    size_t size = strlen(port);
    if (authority.len > size && memcmp(authority.base + authority.len - size, port, size) == 0)
        authority.len -= size;
    return authority;
}

/* Host and port alike. A default port may be written or not: a proxy that ends TLS hides the scheme
   from us, so that either scheme's default counts. */
static bool same_authority(h2o_iovec_t one, h2o_iovec_t other, const char *default_port) {
    one = without_port(one, default_port);
    other = without_port(other, default_port);
    return one.len == other.len && strncasecmp(one.base, other.base, one.len) == 0;
}

static bool is_same_host(h2o_iovec_t origin, h2o_iovec_t authority) {
    h2o_iovec_t own = origin_authority(origin);
    if (own.base == NULL || authority.base == NULL)
        return false;
    bool is_secure = origin.len > 6 && strncasecmp(origin.base, "https:", 6) == 0;
    return same_authority(own, authority, is_secure ? ":443" : ":80");
}

bool origin_allowed(const struct origins *origins, h2o_iovec_t origin, h2o_iovec_t authority) {
    for (size_t i = 0; i < origins->count; i++) {
        const char *allowed = origins->allowed[i];
        if (strcmp(allowed, "*") == 0)
            return true;
        if (strcmp(allowed, "same-host") == 0) {
            if (is_same_host(origin, authority))
                return true;
        } else if (strlen(allowed) == origin.len &&
                   strncasecmp(allowed, origin.base, origin.len) == 0) {
            return true;
        }
    }
    return false;
}
