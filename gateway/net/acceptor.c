#include "net/acceptor.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "consumer/visitor.h"
#include "loop/loop.h"
#include "net/introduction.h"
#include "net/proxies.h"
#include "observe/counters.h"
#include "observe/limits.h"
#include "observe/log.h"
#include "websocket/plain_transport.h"

#define LISTENING_MAX 8

/* So many connections an event, that a flood of new ones does not starve those that are there. */
#define ACCEPTS_MAX 16

#define PAUSE_MS 200
#define LOG_MS 60000

struct acceptor {
    struct loop *loop;
    const char *name;
    const struct reception *reception;
    struct connection_count *count;
    struct introductions *introductions;

    h2o_socket_t *listening[LISTENING_MAX];
    size_t listening_count; /* 0: stopped */

    struct timer pause;
    struct loop_entry end; /* frees it */

    struct keeper keeper;
    struct crowd *upgraded; /* WebSockets over TLS */
    size_t open;            /* connections that are still counted */
};

/* When each was last logged, by whichever thread; 0: never. */
static atomic_uint_least64_t pause_logged_at, stranger_logged_at;

/* Once a minute, over all threads. */
static bool may_log(atomic_uint_least64_t *logged_at, uint64_t now) {
    uint64_t last = atomic_load_explicit(logged_at, memory_order_relaxed);
    return (last == 0 || now - last >= LOG_MS) &&
           atomic_compare_exchange_strong(logged_at, &last, now);
}

/* --- a connection's begin and end --- */

static void free_acceptor(struct loop_entry *entry) {
    struct acceptor *acceptor = H2O_STRUCT_FROM_MEMBER(struct acceptor, end, entry);
    introductions_free(acceptor->introductions);
    crowd_free(acceptor->upgraded);
    free(acceptor);
}

/* At the end of the turn: whoever ends a connection may still use it. */
static void free_when_done(struct acceptor *acceptor) {
    if (acceptor->listening_count == 0 && acceptor->open == 0)
        loop_queue(acceptor->loop, LOOP_ENDS, &acceptor->end);
}

static void count_out(struct keeper *keeper) {
    struct acceptor *acceptor = H2O_STRUCT_FROM_MEMBER(struct acceptor, keeper, keeper);
    acceptor->open--;
    counters_add(COUNTER_CONNECTIONS_ENDED, 1);
    atomic_fetch_sub_explicit(&acceptor->count->open, 1, memory_order_relaxed);
    free_when_done(acceptor);
}

static void count_stalled(struct keeper *keeper) {
    limits_hit(LIMIT_STALLED);
    struct acceptor *acceptor = H2O_STRUCT_FROM_MEMBER(struct acceptor, keeper, keeper);
    atomic_fetch_add_explicit(&acceptor->count->stalled, 1, memory_order_relaxed);
    counters_add(COUNTER_CONNECTIONS_STALLED, 1);
}

/* Counting first and giving back keeps the limit exact with several threads. */
static bool count_one(struct connection_count *count) {
    if (atomic_fetch_add_explicit(&count->open, 1, memory_order_relaxed) <
        atomic_load_explicit(&count->most, memory_order_relaxed))
        return true;
    atomic_fetch_sub_explicit(&count->open, 1, memory_order_relaxed);
    counters_add(COUNTER_REFUSED_CONNECTIONS, 1);
    return false;
}

static bool is_one_too_many(const struct acceptor *acceptor, h2o_socket_t *socket,
                            struct visit **visit) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    struct sockaddr *peer = (struct sockaddr *)&address;
    uint32_t most = acceptor->reception->address_most;
    *visit = NULL;
    if (most == 0)
        return false;
    h2o_socket_getpeername(socket, peer);
    return !proxies_trust(acceptor->reception->proxies, peer) &&
           !visit_begin(visit, peer, NULL, most);
}

/* Best effort: the answer fits an empty send buffer, and nothing is waited for. What the client
   already sent is read first, since closing with unread bytes resets the connection and may take
   the answer with it. */
static void refuse(const struct acceptor *acceptor, h2o_socket_t *socket, const char *status) {
    char answer[256], unread[4096];
    if (acceptor->reception->accept.ssl_ctx == NULL) {
        int fd = h2o_socket_get_fd(socket);
        int size = snprintf(answer, sizeof(answer),
                            "HTTP/1.1 %s\r\n"
                            "Connection: close\r\n"
                            "Retry-After: 5\r\n"
                            "Content-Type: text/plain; charset=utf-8\r\n"
                            "Content-Length: 21\r\n"
                            "\r\n"
                            "too many connections\n",
                            status);
        ssize_t sent = send(fd, answer, (size_t)size, MSG_NOSIGNAL);
        ssize_t taken = recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
        (void)sent;
        (void)taken;
    }
    h2o_socket_close(socket);
    atomic_fetch_add_explicit(&acceptor->count->refused, 1, memory_order_relaxed);
}

/* One that is counted as open, of which it is known who connects. */
static void serve(struct acceptor *acceptor, h2o_socket_t *socket) {
    struct visit *visit;
    if (is_one_too_many(acceptor, socket, &visit)) {
        limits_hit(LIMIT_ADDRESS_CONNECTIONS);
        refuse(acceptor, socket, "429 Too Many Requests");
        count_out(&acceptor->keeper);
        return;
    }
    crowd_admit(acceptor->reception, socket,
                (struct newcomer){&acceptor->keeper, acceptor->upgraded, visit, NULL});
}

/* --- who is introduced by a proxy --- */

/* Said once a minute at most: it is a mistake in a configuration, or somebody who tries. */
static void note_stranger(struct acceptor *acceptor, const char *what) {
    uint64_t now = loop_now(acceptor->loop);
    limits_hit(LIMIT_INTRODUCTIONS);
    if (may_log(&stranger_logged_at, now))
        log_line(LOG_AT_WARNING, "%s: a connection was closed: %s", acceptor->name, what);
}

static void on_introduced(void *arg, h2o_socket_t *socket) {
    struct acceptor *acceptor = arg;
    if (socket != NULL) {
        serve(acceptor, socket);
        return;
    }
    if (acceptor->listening_count != 0)
        note_stranger(acceptor, "it did not begin with a whole PROXY line");
    count_out(&acceptor->keeper);
}

static void await_introduction(struct acceptor *acceptor, h2o_socket_t *socket) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    h2o_socket_getpeername(socket, (struct sockaddr *)&address);
    const struct reception *reception = acceptor->reception;
    if (reception->proxies == NULL ||
        proxies_trust(reception->proxies, (struct sockaddr *)&address)) {
        introductions_add(acceptor->introductions, socket,
                          reception->accept.ctx->globalconf->handshake_timeout);
        return;
    }
    note_stranger(acceptor, "it is not from one of trusted-proxies");
    h2o_socket_close(socket);
    count_out(&acceptor->keeper);
}

static void admit(struct acceptor *acceptor, h2o_socket_t *socket) {
    if (!count_one(acceptor->count)) {
        limits_hit(LIMIT_CONNECTIONS);
        refuse(acceptor, socket, "503 Service Unavailable");
        return;
    }
    acceptor->open++;
    counters_add(COUNTER_CONNECTIONS_OPENED, 1);
    if (acceptor->reception->is_introduced)
        await_introduction(acceptor, socket);
    else
        serve(acceptor, socket);
}

/* --- accepting --- */

static bool is_exhausted(int number) {
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

static void pause_accepting(struct acceptor *acceptor, int number) {
    uint64_t now = loop_now(acceptor->loop);
    for (size_t i = 0; i < acceptor->listening_count; i++)
        h2o_socket_read_stop(acceptor->listening[i]);
    loop_timer_set(acceptor->loop, &acceptor->pause, PAUSE_MS);
    limits_hit(LIMIT_DESCRIPTORS);
    if (!may_log(&pause_logged_at, now))
        return;
    log_line(
        LOG_AT_ERROR,
        "%s: new connections wait: %s (raise the limit of open files, or lower max-connections)",
        acceptor->name, strerror(number));
}

/* Whether the kernel had so many; false with errno set. */
static bool accept_some(struct acceptor *acceptor, h2o_socket_t *listening, int most) {
    for (int i = 0; i < most; i++) {
        h2o_socket_t *socket = h2o_evloop_socket_accept(listening);
        if (socket == NULL)
            return false;
        admit(acceptor, socket);
    }
    return true;
}

static void on_connections(h2o_socket_t *listening, const char *error) {
    struct acceptor *acceptor = listening->data;
    if (error != NULL)
        return;
    if (!accept_some(acceptor, listening, ACCEPTS_MAX) && is_exhausted(errno))
        pause_accepting(acceptor, errno);
}

static void accept_again(struct timer *timer) {
    struct acceptor *acceptor = H2O_STRUCT_FROM_MEMBER(struct acceptor, pause, timer);
    for (size_t i = 0; i < acceptor->listening_count; i++)
        h2o_socket_read_start(acceptor->listening[i], on_connections);
}

struct acceptor *acceptor_create(struct loop *loop, const struct acceptor_conf *conf,
                                 const int *sockets, size_t count) {
    assert(count > 0 && count <= LISTENING_MAX);
    struct acceptor *acceptor = h2o_mem_alloc(sizeof(*acceptor));
    *acceptor = (struct acceptor){.loop = loop,
                                  .name = conf->name,
                                  .reception = conf->reception,
                                  .count = conf->count,
                                  .listening_count = count,
                                  .keeper = {count_out, count_stalled},
                                  .upgraded = crowd_create(loop, &conf->count->stalled),
                                  .pause = {.run = accept_again},
                                  .end = {.run = free_acceptor}};
    acceptor->introductions = introductions_create(loop, on_introduced, acceptor);
    for (size_t i = 0; i < count; i++) {
        acceptor->listening[i] =
            h2o_evloop_socket_create(loop_h2o(loop), sockets[i], H2O_SOCKET_FLAG_DONT_READ);
        acceptor->listening[i]->data = acceptor;
        h2o_socket_read_start(acceptor->listening[i], on_connections);
    }
    return acceptor;
}

void acceptor_change(struct acceptor *acceptor, const struct reception *reception) {
    acceptor->reception = reception;
}

const struct reception *acceptor_reception(struct keeper *keeper) {
    const struct acceptor *acceptor = H2O_STRUCT_FROM_MEMBER(struct acceptor, keeper, keeper);
    return acceptor->listening_count == 0 ? NULL : acceptor->reception;
}

void acceptor_stop(struct acceptor *acceptor, bool is_shared) {
    loop_timer_clear(acceptor->loop, &acceptor->pause);
    /* Whoever the kernel has let in already is served: no more of them than its queue holds, since
       others go on coming. */
    for (size_t i = 0; !is_shared && i < acceptor->listening_count; i++)
        accept_some(acceptor, acceptor->listening[i], SOMAXCONN);
    for (size_t i = 0; i < acceptor->listening_count; i++)
        h2o_socket_close(acceptor->listening[i]);
    acceptor->listening_count = 0;
    introductions_end(acceptor->introductions);
    free_when_done(acceptor);
}
