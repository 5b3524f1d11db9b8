#include "net/listener.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/address.h"

struct listener {
    struct address *address;
    unsigned threads;
    struct acceptor
        *acceptors[]; /* each used by its thread alone; NULL before start and after stop */
};

const char *listener_key(const struct listener_conf *conf, char key[LISTENER_KEY_MAX]) {
    if (conf->unix_path != NULL)
        snprintf(key, LISTENER_KEY_MAX, "unix:%s", conf->unix_path);
    else
        snprintf(key, LISTENER_KEY_MAX, "%s:%lu", conf->host != NULL ? conf->host : "*",
                 strtoul(conf->port, NULL, 10));
    return key;
}

struct listener *listener_create(struct address *address, unsigned threads) {
    assert(threads > 0 && threads <= LOOPS_MAX);
    struct listener *listener =
        calloc(1, sizeof(*listener) + threads * sizeof(listener->acceptors[0]));
    if (listener == NULL)
        abort();
    listener->address = address;
    listener->threads = threads;
    return listener;
}

struct listener *listener_open(const struct listener_conf *conf, unsigned threads,
                               struct error *error) {
    assert((conf->port == NULL) == (conf->unix_path != NULL));
    struct address *address =
        conf->unix_path != NULL
            ? address_open_path(conf->unix_path, conf->unix_mode, threads, error)
            : address_open(conf->host, conf->port, threads, error);
    return address == NULL ? NULL : listener_create(address, threads);
}

void listener_close(struct listener *listener) {
    if (listener == NULL)
        return;
    for (unsigned i = 0; i < listener->threads; i++)
        assert(listener->acceptors[i] == NULL);
    address_close(listener->address);
    free(listener);
}

const char *listener_url(const struct listener *listener, bool tls, char url[LISTENER_URL_MAX]) {
    snprintf(url, LISTENER_URL_MAX, address_is_path(listener->address) ? "%s+unix:%s" : "%s://%s",
             tls ? "https" : "http", address_text(listener->address));
    return url;
}

unsigned listener_port(const struct listener *listener) {
    if (address_is_path(listener->address))
        return 0;
    return (unsigned)strtoul(strrchr(address_text(listener->address), ':') + 1, NULL, 10);
}

void listener_start(struct listener *listener, struct loop *loop, const struct reception *reception,
                    struct connection_count *count) {
    unsigned thread = loop_index(loop);
    int sockets[ADDRESS_PLACES_MAX];
    assert(thread < listener->threads && listener->acceptors[thread] == NULL);
    struct acceptor_conf conf = {
        .name = address_text(listener->address), .reception = reception, .count = count};
    size_t places = address_take(listener->address, thread, sockets);
    listener->acceptors[thread] = acceptor_create(loop, &conf, sockets, places);
}

bool listener_change(struct listener *listener, struct loop *loop,
                     const struct reception *reception) {
    struct acceptor *acceptor = listener->acceptors[loop_index(loop)];
    if (acceptor != NULL)
        acceptor_change(acceptor, reception);
    return acceptor != NULL;
}

void listener_stop(struct listener *listener, struct loop *loop, bool is_shared) {
    struct acceptor **acceptor = &listener->acceptors[loop_index(loop)];
    if (*acceptor == NULL)
        return;
    acceptor_stop(*acceptor, is_shared);
    *acceptor = NULL;
}
