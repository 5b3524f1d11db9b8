#include "net/forwarded.h"

#include "net/crowd.h"
#include "net/proxies.h"

struct forwarded_handler {
    h2o_handler_t super;
    struct proxies *proxies;
};

/* Several fields are one list (RFC 9110 section 5.3). */
static h2o_iovec_t forwarded_for(h2o_req_t *req) {
    h2o_iovec_t list = h2o_iovec_init(NULL, 0);
    for (ssize_t at = -1;
         (at = h2o_find_header(&req->headers, H2O_TOKEN_X_FORWARDED_FOR, at)) != -1;) {
        h2o_iovec_t value = req->headers.entries[at].value;
        list = list.base == NULL
                   ? value
                   : h2o_concat(&req->pool, list, h2o_iovec_init(H2O_STRLIT(",")), value);
    }
    return list;
}

/* A connection's requests may be several clients', and each of them is asked for its own. */
static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    const struct proxies *proxies = ((struct forwarded_handler *)self)->proxies;
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    struct sockaddr_storage peer, client;
    socklen_t size = crowd_peer(socket, &peer);
    if (!proxies_trust(proxies, (struct sockaddr *)&peer))
        return -1;
    h2o_iovec_t list = forwarded_for(req);
    socklen_t client_size = proxies_client(proxies, list.base, list.len, &client);
    if (client_size != 0)
        h2o_socket_setpeername(socket, (struct sockaddr *)&client, client_size);
    else
        h2o_socket_setpeername(socket, (struct sockaddr *)&peer, size);
    return -1;
}

static void on_dispose(h2o_handler_t *self) {
    proxies_free(((struct forwarded_handler *)self)->proxies);
}

void forwarded_register(h2o_pathconf_t *pathconf, struct proxies *proxies) {
    struct forwarded_handler *handler = (void *)h2o_create_handler(pathconf, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->super.dispose = on_dispose;
    handler->proxies = proxies_share(proxies);
}
