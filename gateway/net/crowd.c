#include "net/crowd.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <h2o/http1.h>

#include "consumer/visitor.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "observe/limits.h"
#include "websocket/plain_transport.h"
#include "websocket/progress.h"

#define SWEEP_MS 5000
/* So long a request may come as slowly as it likes. */
#define PATIENCE_MS 10000

struct crowd {
    struct loop *loop;
    atomic_size_t *stalled;
    h2o_linklist_t guests;
    size_t count;
    struct timer sweep;       /* set while somebody is there */
    uint32_t slowest_request; /* bytes a second; 0: as slow as it likes */
    bool was_cut;
};

/* What a connection is at, as far as it may take too long. */
enum activity { RESTS, WRITES, ASKS };

struct guest {
    struct kept kept; /* its keeper is told the end */
    h2o_linklist_t link;
    struct crowd *crowd, *after;
    h2o_socket_t *socket;
    enum activity activity; /* at the last sweep */
    uint64_t since;         /* loop's clock: it went on since then */
    uint64_t figure; /* WRITES: moves whenever the client takes bytes; ASKS: had come at first */
    size_t written;  /* ASKS: answers so far; another request comes behind another answer */
    bool is_http, is_asking; /* as mark_guests found them */
    struct peer *peer;       /* see crowd_peer; NULL: was not asked for */
};

struct peer {
    socklen_t size;
    struct sockaddr_storage address;
};

static struct guest *guest_at(h2o_linklist_t *link) {
    return H2O_STRUCT_FROM_MEMBER(struct guest, link, link);
}

/* --- clients that take too long --- */

static void cut_off(struct guest *guest) {
    limits_hit(LIMIT_STALLED);
    progress_cut_off(h2o_socket_get_fd(guest->socket));
    atomic_fetch_add_explicit(guest->crowd->stalled, 1, memory_order_relaxed);
    counters_add(COUNTER_CONNECTIONS_STALLED, 1);
}

/* libh2o keeps a request in the input, head and body, until it has come whole. */
static enum activity activity_of(h2o_socket_t *socket) {
    if (h2o_socket_is_writing(socket))
        return WRITES;
    return h2o_socket_is_reading(socket) && socket->input->size > 0 ? ASKS : RESTS;
}

static void begin_activity(struct guest *guest, enum activity activity, uint64_t now) {
    h2o_socket_t *socket = guest->socket;
    guest->activity = activity;
    guest->since = now;
    guest->written = socket->bytes_written;
    guest->figure = activity == WRITES
                        ? progress_of(h2o_socket_get_fd(socket), socket->bytes_written)
                        : socket->input->size;
}

static void check_writing(struct guest *guest, uint64_t now) {
    h2o_socket_t *socket = guest->socket;
    uint64_t taken = progress_of(h2o_socket_get_fd(socket), socket->bytes_written);
    if (taken != guest->figure) {
        begin_activity(guest, WRITES, now);
    } else if (now - guest->since >= progress_stall_ms()) {
        guest->activity = RESTS;
        cut_off(guest);
    }
}

/* The answer fits an empty send buffer; what h2o reads next is the end. Within TLS nothing can be
   said beside h2o. */
static void refuse_slow(const struct guest *guest) {
    static const char answer[] = "HTTP/1.1 408 Request Timeout\r\n"
                                 "Connection: close\r\n"
                                 "Content-Length: 0\r\n"
                                 "\r\n";
    int fd = h2o_socket_get_fd(guest->socket);
    limits_hit(LIMIT_SLOW_REQUESTS);
    if (guest->socket->ssl == NULL) {
        ssize_t sent = send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
        (void)sent;
    }
    shutdown(fd, SHUT_RD);
}

static void check_asking(struct guest *guest, uint64_t now) {
    const h2o_socket_t *socket = guest->socket;
    uint64_t passed = now - guest->since, came = socket->input->size - guest->figure;
    uint32_t slowest = guest->crowd->slowest_request;
    if (guest->written != socket->bytes_written || socket->input->size < guest->figure)
        begin_activity(guest, ASKS, now);
    else if (slowest != 0 && passed >= PATIENCE_MS && came * 1000 < passed * slowest)
        refuse_slow(guest);
}

static void check_progress(struct guest *guest, uint64_t now) {
    enum activity activity = activity_of(guest->socket);
    if (activity != guest->activity)
        begin_activity(guest, activity, now);
    else if (activity == WRITES)
        check_writing(guest, now);
    else if (activity == ASKS)
        check_asking(guest, now);
}

static void sweep(struct timer *timer) {
    struct crowd *crowd = H2O_STRUCT_FROM_MEMBER(struct crowd, sweep, timer);
    uint64_t now = loop_now(crowd->loop);
    for (h2o_linklist_t *link = crowd->guests.next; link != &crowd->guests; link = link->next)
        check_progress(guest_at(link), now);
    if (crowd->count > 0)
        loop_timer_set(crowd->loop, timer, SWEEP_MS);
}

/* --- coming and going --- */

static void enter(struct crowd *crowd, struct guest *guest) {
    h2o_linklist_insert(&crowd->guests, &guest->link);
    guest->crowd = crowd;
    crowd->count++;
    if (crowd->sweep.slot == 0)
        loop_timer_set(crowd->loop, &crowd->sweep, SWEEP_MS);
}

static void leave(struct guest *guest) {
    h2o_linklist_unlink(&guest->link);
    guest->crowd->count--;
}

/* h2o serves it no more. */
static void forget(struct guest *guest) {
    leave(guest);
    visit_end(guest->kept.visit);
    free(guest->peer);
    free(guest);
}

static void on_taken(struct kept *kept) {
    forget(H2O_STRUCT_FROM_MEMBER(struct guest, kept, kept));
}

static void on_upgraded(struct kept *kept) {
    struct guest *guest = H2O_STRUCT_FROM_MEMBER(struct guest, kept, kept);
    leave(guest);
    enter(guest->after, guest);
}

static void on_closed(void *data) {
    struct guest *guest = H2O_STRUCT_FROM_MEMBER(struct guest, kept, data);
    struct keeper *keeper = guest->kept.keeper;
    forget(guest);
    keeper->closed(keeper);
}

static void add(struct crowd *crowd, h2o_socket_t *socket, struct newcomer newcomer) {
    struct guest *guest = h2o_mem_alloc(sizeof(*guest));
    *guest = (struct guest){.kept = {newcomer.keeper, on_taken, on_upgraded, newcomer.visit},
                            .after = newcomer.after,
                            .peer = newcomer.peer,
                            .socket = socket};
    socket->on_close.cb = on_closed;
    socket->on_close.data = &guest->kept;
    enter(crowd, guest);
}

/* libh2o's function for accepting takes what it only reads as changeable. */
static h2o_accept_ctx_t *accept_of(const struct reception *reception) {
    return (h2o_accept_ctx_t *)(uintptr_t)&reception->accept;
}

void crowd_admit(const struct reception *reception, h2o_socket_t *socket,
                 struct newcomer newcomer) {
    add(reception->crowd, socket, newcomer);
    h2o_accept(accept_of(reception), socket);
}

socklen_t crowd_peer(h2o_socket_t *socket, struct sockaddr_storage *peer) {
    struct kept *kept = socket->on_close.data;
    if (kept == NULL || kept->taken != on_taken)
        return h2o_socket_getpeername(socket, (struct sockaddr *)peer);
    struct guest *guest = H2O_STRUCT_FROM_MEMBER(struct guest, kept, kept);
    if (guest->peer == NULL) {
        struct peer known = {.address = {.ss_family = AF_UNSPEC}};
        known.size = h2o_socket_getpeername(socket, (struct sockaddr *)&known.address);
        guest->peer = h2o_mem_alloc(sizeof(*guest->peer));
        *guest->peer = known;
    }
    *peer = guest->peer->address;
    return guest->peer->size;
}

void crowd_hurry(struct crowd *crowd, uint32_t slowest_request) {
    crowd->slowest_request = slowest_request;
}

size_t crowd_count(const struct crowd *crowd) { return crowd->count; }

/* --- moving --- */

static int mark_guest(h2o_req_t *req, void *crowd) {
    const h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (socket == NULL || socket->on_close.cb != on_closed)
        return 0;
    struct guest *guest = H2O_STRUCT_FROM_MEMBER(struct guest, kept, socket->on_close.data);
    assert(guest->crowd == crowd);
    guest->is_http = true;
    guest->is_asking = req->input.method.base != NULL;
    return 0;
}

/* Finds out who has finished the handshake of TLS, and who waits for an answer. */
static void mark_guests(struct crowd *crowd, h2o_context_t *context) {
    for (h2o_linklist_t *link = crowd->guests.next; link != &crowd->guests; link = link->next)
        guest_at(link)->is_http = false;
    context->globalconf->http1.callbacks.foreach_request(context, mark_guest, crowd);
}

/* Between two requests, or before the first; nothing of the next one has come. */
static bool is_idle(const struct guest *guest) {
    const h2o_socket_t *socket = guest->socket;
    return guest->is_http && !guest->is_asking && h2o_socket_is_reading((h2o_socket_t *)socket) &&
           !h2o_socket_is_writing((h2o_socket_t *)socket) && socket->input->size == 0;
}

/* The connection in a socket of its own, which the old one no longer touches; NULL when there is no
   descriptor for it. */
static h2o_socket_t *take_out(struct crowd *crowd, h2o_socket_t *old) {
    h2o_socket_export_t left = {.fd = fcntl(h2o_socket_get_fd(old), F_DUPFD_CLOEXEC, 0),
                                .ssl = old->ssl};
    if (left.fd == -1)
        return NULL;
    h2o_buffer_init(&left.input, &h2o_socket_buffer_prototype);
    h2o_socket_t *fresh = h2o_socket_import(loop_h2o(crowd->loop), &left);
    fresh->_peername = old->_peername; /* PROXY protocol may have set it */
    old->ssl = NULL;
    old->_peername = NULL;
    return fresh;
}

/* False when there is no descriptor for it. */
static bool move(struct guest *guest, const struct reception *to) {
    struct newcomer newcomer = {guest->kept.keeper, guest->after, NULL, NULL};
    h2o_socket_t *old = guest->socket, *fresh = take_out(guest->crowd, old);
    struct timeval now;
    if (fresh == NULL)
        return false;
    old->on_close.cb = NULL;
    newcomer.visit = visit_share(guest->kept.visit);
    newcomer.peer = guest->peer;
    guest->peer = NULL;
    forget(guest);
    old->_cb.read(old, "moved to another generation"); /* libh2o ends the rest of it */
    add(to->crowd, fresh, newcomer);
    gettimeofday(&now, NULL);
    h2o_http1_accept(accept_of(to), fresh, now);
    return true;
}

void crowd_move_idle(struct crowd *crowd, h2o_context_t *context, crowd_reception_fn reception,
                     size_t most) {
    mark_guests(crowd, context);
    for (size_t left = crowd->count < most ? crowd->count : most; left > 0; left--) {
        /* move() unlinks whom it frees, which the analyzer does not see */
        struct guest *guest = guest_at(crowd->guests.next); // NOLINT(clang-analyzer-unix.Malloc)
        const struct reception *to = reception(guest->kept.keeper);
        if (to != NULL && to->crowd != crowd && is_idle(guest) && move(guest, to))
            continue;
        h2o_linklist_unlink(&guest->link);
        h2o_linklist_insert(&crowd->guests, &guest->link); /* behind the others */
    }
}

/* --- the deadline --- */

/* Reads and writes fail, and whoever waits for one of them ends the connection as he always does.
 */
static void shut(struct crowd *crowd) {
    for (h2o_linklist_t *link = crowd->guests.next; link != &crowd->guests; link = link->next)
        shutdown(h2o_socket_get_fd(guest_at(link)->socket), SHUT_RDWR);
}

/* Some wait for something else, an upstream's answer say; libh2o's request reader ends them. Where
   a write is under way its callback still comes. */
static void end_waiting(struct crowd *crowd, h2o_context_t *context, h2o_socket_cb reader) {
    mark_guests(crowd, context);
    for (h2o_linklist_t *link = crowd->guests.next, *next; link != &crowd->guests; link = next) {
        struct guest *guest = guest_at(link);
        next = link->next;
        if (guest->is_http && !h2o_socket_is_writing(guest->socket))
            reader(guest->socket, "the deadline has come");
    }
}

/* libh2o's own, which has no name outside: learnt from a connection that goes nowhere. */
static h2o_socket_cb request_reader(struct crowd *crowd, h2o_context_t *context) {
    static _Thread_local h2o_socket_cb reader;
    int ends[2];
    struct timeval now = {0, 0};
    h2o_accept_ctx_t accept = {.ctx = context, .hosts = context->globalconf->hosts};
    if (reader != NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
        return reader;
    h2o_socket_t *socket = h2o_evloop_socket_create(loop_h2o(crowd->loop), ends[0], 0);
    h2o_http1_accept(&accept, socket, now);
    reader = socket->_cb.read;
    reader(socket, "learnt");
    close(ends[1]);
    return reader;
}

void crowd_cut(struct crowd *crowd, h2o_context_t *context) {
    if (!crowd->was_cut) {
        crowd->was_cut = true;
        shut(crowd);
        return;
    }
    h2o_socket_cb reader = request_reader(crowd, context);
    if (reader != NULL)
        end_waiting(crowd, context, reader);
}

/* --- its life --- */

struct crowd *crowd_create(struct loop *loop, atomic_size_t *stalled) {
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    if (crowd == NULL)
        abort();
    crowd->loop = loop;
    crowd->stalled = stalled;
    crowd->sweep.run = sweep;
    h2o_linklist_init_anchor(&crowd->guests);
    return crowd;
}

void crowd_free(struct crowd *crowd) {
    if (crowd == NULL)
        return;
    assert(crowd->count == 0);
    loop_timer_clear(crowd->loop, &crowd->sweep);
    free(crowd);
}
