#include "net/listener.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/address.h"
#include "net/tls.h"

struct listener {
    struct address *address;
    struct tls *tls;
    char url[160];
    unsigned threads;
    struct acceptor
        *acceptors[]; /* each used by its thread alone; NULL before start and after stop */
};

static void write_url(struct listener *listener) {
    const char *scheme = listener->tls != NULL ? "https" : "http";
    snprintf(listener->url, sizeof(listener->url),
             address_is_path(listener->address) ? "%s+unix:%s" : "%s://%s", scheme,
             address_text(listener->address));
}

struct listener *listener_open(const struct listener_conf *conf, unsigned threads,
                               struct error *error) {
    assert(threads > 0 && threads <= LOOPS_MAX);
    assert((conf->port == NULL) == (conf->unix_path != NULL));
    struct address *address =
        conf->unix_path != NULL
            ? address_open_path(conf->unix_path, conf->unix_mode, threads, error)
            : address_open(conf->host, conf->port, threads, error);
    if (address == NULL) {
        tls_free(conf->tls);
        return NULL;
    }
    struct listener *listener =
        calloc(1, sizeof(*listener) + threads * sizeof(listener->acceptors[0]));
    if (listener == NULL)
        abort();
    listener->address = address;
    listener->tls = conf->tls;
    listener->threads = threads;
    write_url(listener);
    return listener;
}

void listener_close(struct listener *listener) {
    if (listener == NULL)
        return;
    for (unsigned i = 0; i < listener->threads; i++)
        assert(listener->acceptors[i] == NULL);
    address_close(listener->address);
    tls_free(listener->tls);
    free(listener);
}

const char *listener_url(const struct listener *listener) { return listener->url; }

unsigned listener_port(const struct listener *listener) {
    if (address_is_path(listener->address))
        return 0;
    return (unsigned)strtoul(strrchr(address_text(listener->address), ':') + 1, NULL, 10);
}

bool listener_is_tls(const struct listener *listener) { return listener->tls != NULL; }

struct tls *listener_tls(const struct listener *listener) {
    return listener->tls;
}

void listener_start(struct listener *listener, struct loop *loop, const h2o_accept_ctx_t *accept,
                    struct connection_count *count) {
    unsigned thread = loop_index(loop);
    int sockets[ADDRESS_PLACES_MAX];
    assert(thread < listener->threads && listener->acceptors[thread] == NULL);
    struct acceptor_conf conf = {
        .name = listener->url, .accept = accept, .tls = listener->tls, .count = count};
    size_t places = address_take(listener->address, thread, sockets);
    listener->acceptors[thread] = acceptor_create(loop, &conf, sockets, places);
}

void listener_stop(struct listener *listener, struct loop *loop) {
    struct acceptor **acceptor = &listener->acceptors[loop_index(loop)];
    if (*acceptor == NULL)
        return;
    acceptor_stop(*acceptor);
    *acceptor = NULL;
}
