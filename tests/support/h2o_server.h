/*
 * A libh2o server in one thread, for unit tests: one host, one path, a loop that the test itself
 * turns. Clients are plain descriptors.
 */
#ifndef SLUICE_TEST_H2O_SERVER_H
#define SLUICE_TEST_H2O_SERVER_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "websocket/plain_transport.h"

/* More turns than any exchange here needs; each waits at most 10 ms. */
#define TURNS_MAX 500

struct server {
    struct loop *loop;
    h2o_globalconf_t config;
    h2o_hostconf_t *host;
    h2o_pathconf_t *path;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
};

/* Before the context is made: the handlers are the test's. Another configuration on the loop of one
 * that there is. */
static inline void server_configure_beside(struct server *server, struct loop *loop) {
    memset(server, 0, sizeof(*server));
    server->loop = loop;
    h2o_config_init(&server->config);
    server->config.http1.upgrade_to_http2 = 0;
    server->host =
        h2o_config_register_host(&server->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    server->path = h2o_config_register_path(server->host, "/", 0);
}

static inline void server_configure(struct server *server) {
    signal(SIGPIPE, SIG_IGN);
    struct loop *loop = loop_create(0);
    loop_enter(loop);
    server_configure_beside(server, loop);
}

static inline void server_start(struct server *server) {
    h2o_context_init(&server->context, loop_h2o(server->loop), &server->config);
    server->accept = (h2o_accept_ctx_t){.ctx = &server->context, .hosts = server->config.hosts};
}

static inline void server_turn(struct server *server) { loop_turn(server->loop, 10); }

/* Every connection of this configuration has ended by now; the loop goes on. */
static inline void server_dispose(struct server *server) {
    server_turn(server);
    if (h2o_timeout_is_linked(&server->context.http2._graceful_shutdown_timeout))
        h2o_timeout_unlink(&server->context.http2._graceful_shutdown_timeout);
    h2o_context_dispose(&server->context);
    h2o_config_dispose(&server->config);
}

/* The loop's last one. */
static inline void server_end(struct server *server) {
    server_dispose(server);
    plain_transport_free(server->loop);
    loop_free(server->loop);
}

static inline void set_nonblocking(int fd) {
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* Turns until the peer of fd has closed, or ends the test. What came is in text, with a NUL behind
 * it. */
static inline size_t read_to_end(struct server *server, int fd, char *text, size_t size) {
    size_t used = 0;
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        ssize_t got = recv(fd, text + used, size - 1 - used, MSG_DONTWAIT);
        if (got == 0 || (got == -1 && errno == ECONNRESET)) {
            text[used] = '\0';
            return used;
        }
        if (got > 0) {
            used += (size_t)got;
            ck_assert_uint_lt(used, size - 1);
        } else {
            ck_assert_int_eq(errno, EAGAIN);
            server_turn(server);
        }
    }
    ck_abort_msg("the connection was not closed; so far: %.*s", (int)used, text);
}

/* Turns until text is in what came (and stops there), or ends the test. */
static inline size_t read_until(struct server *server, int fd, const char *wanted, char *text,
                                size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int turn = 0; turn < TURNS_MAX && strstr(text, wanted) == NULL; turn++) {
        ssize_t got = recv(fd, text + used, size - 1 - used, MSG_DONTWAIT);
        if (got > 0)
            used += (size_t)got;
        text[used] = '\0';
        if (got <= 0)
            server_turn(server);
    }
    ck_assert_msg(strstr(text, wanted) != NULL, "no \"%s\" in: %s", wanted, text);
    return used;
}

#endif
