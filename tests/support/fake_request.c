#include "support/fake_request.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>
#include <sys/un.h>

static socklen_t get_peername(h2o_conn_t *conn, struct sockaddr *address) {
    const struct fake_request *fake = (struct fake_request *)conn;
    memcpy(address, &fake->peer, fake->peer_size);
    return fake->peer_size;
}

static const h2o_conn_callbacks_t callbacks = {.get_peername = get_peername};

static h2o_iovec_t copy(struct fake_request *fake, const char *text) {
    return h2o_strdup(&fake->req.pool, text, strlen(text));
}

void fake_request_init(struct fake_request *fake, const char *method, const char *target) {
    memset(fake, 0, sizeof(*fake));
    fake->conn.callbacks = &callbacks;
    h2o_req_t *req = &fake->req;
    h2o_init_request(req, &fake->conn, NULL);
    req->version = 0x101;
    req->input.method = req->method = copy(fake, method);
    req->input.scheme = req->scheme = &H2O_URL_SCHEME_HTTP;
    req->input.authority = req->authority = copy(fake, "a.example");
    req->input.path = req->path = copy(fake, target);
    req->path_normalized = h2o_url_normalize_path(&req->pool, req->path.base, req->path.len,
                                                  &req->query_at, &req->norm_indexes);
    fake_request_peer(fake, AF_INET, "192.0.2.1", 5000);
}

void fake_request_header(struct fake_request *fake, const char *name, const char *value) {
    h2o_iovec_t kept = copy(fake, value);
    h2o_add_header_by_str(&fake->req.pool, &fake->req.headers, copy(fake, name).base, strlen(name),
                          1, NULL, kept.base, kept.len);
}

void fake_request_peer(struct fake_request *fake, int family, const char *address, int port) {
    struct sockaddr_in *ip4 = (struct sockaddr_in *)&fake->peer;
    struct sockaddr_in6 *ip6 = (struct sockaddr_in6 *)&fake->peer;
    memset(&fake->peer, 0, sizeof(fake->peer));
    fake->peer.ss_family = (sa_family_t)family;
    fake->peer_size = sizeof(struct sockaddr_un);
    if (family == AF_INET) {
        ip4->sin_port = htons((uint16_t)port);
        ck_assert_int_eq(inet_pton(AF_INET, address, &ip4->sin_addr), 1);
        fake->peer_size = sizeof(*ip4);
    } else if (family == AF_INET6) {
        ip6->sin6_port = htons((uint16_t)port);
        ck_assert_int_eq(inet_pton(AF_INET6, address, &ip6->sin6_addr), 1);
        fake->peer_size = sizeof(*ip6);
    }
}

void fake_request_dispose(struct fake_request *fake) { h2o_mem_clear_pool(&fake->req.pool); }
