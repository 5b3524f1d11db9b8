#include "consumer/connection.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/close_line.h"
#include "consumer/hook.h"
#include "consumer/instance.h"
#include "consumer/visitor.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "observe/limits.h"
#include "websocket/session.h"
#include "websocket/utf8.h"

#define PLACE_BITS 24
#define PLACES_MAX ((1u << PLACE_BITS) - 1)
#define GENERATION_SHIFT PLACE_BITS
#define THREAD_SHIFT 56
#define REASON_MAX 123
#define HEADERS_MAX 32
#define CLOSES_A_MS 1 /* while draining: connections closed each millisecond */

enum state {
    DECIDING, /* the consumer has not answered yet */
    ACCEPTED, /* the 101 is on its way; sends queue */
    OPEN,     /* the session has its transport */
    ANSWERED, /* refused, or an http request answered: leaves with this turn */
    ENDED     /* release has run or is about to */
};

struct conn_timer {
    struct timer timer;
    struct conn_timer *next;
    sluice_conn *conn;
    sluice_done_fn fn;
    void *arg;
    sluice_id id;
};

struct answer {
    int status;
    bool chosen;
    size_t size;
    unsigned char body[];
};

/* What a connection needs only while it opens or ends, or while timers of it are set. */
struct conn_work {
    sluice_conn *conn;
    h2o_req_t *req;                     /* NULL once answered or gone */
    const struct connection_door *door; /* the same */
    void *door_data;
    struct agreement agreement;
    uint32_t header_count, header_bytes;
    struct answer *answer;
    struct loop_entry answering, ending;
    struct timer deadline; /* of the decision; while draining, of the close */
    struct conn_timer *timers;
    uint32_t timer_count;
    const char *close_reason; /* while disconnect runs */
};

struct sluice_conn {
    struct session session; /* its terms are the route's; it begins when a handshake is accepted */
    struct member member;   /* its id is the connection's */
    struct conn_work *work; /* NULL at rest */
    char *subprotocol;      /* NULL: none */
    char *user;             /* NULL: nobody whom the consumer knows */
    uint8_t state : 4;
    uint8_t is_handshake : 1, has_begun : 1, stopped : 1;
    char tail[]; /* the consumer's data from DATA_AT on, if any; the guard, if any; then the packed
                    scope */
};

/* What only routes with such limits pay for. */
struct guard {
    struct pace pace;
    struct visits visits;
};

#define DATA_ALIGNMENT 16
#define DATA_AT                                                                                    \
    ((offsetof(struct sluice_conn, tail) + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT)

static_assert(_Alignof(max_align_t) >= DATA_ALIGNMENT, "malloc aligns a connection's data");

/* One of a loop's places for connections: the pointer of the one that is there; else, marked by the
   lowest bit, the generation of the last and the next free place. */
typedef uint64_t place;
#define PLACE_FREE 1u

/* The connections of one loop. */
struct connections {
    struct loop *loop;
    place *places;
    uint32_t count, capacity, most, used;
    uint32_t first_free; /* number + 1; 0: none */
    sluice_id timers;    /* given out so far */
    struct timer drained;
    const char *drain_reason; /* NULL until a stop has begun */
    int drain_code;
    uint32_t retry_ms, retry_next; /* 0: no retry is told */
};

static sluice_route *route_of(const sluice_conn *conn) { return instance_of(conn->session.terms); }

#define RUN_HOOK(conn, name, kind, ...)                                                            \
    do {                                                                                           \
        const sluice_consumer *consumer_ = instance_consumer(route_of(conn));                      \
        if (consumer_->name != NULL) {                                                             \
            struct hook hook_ = hook_enter(instance_owner(route_of(conn)), kind);                  \
            consumer_->name(__VA_ARGS__);                                                          \
            hook_leave(&hook_);                                                                    \
        }                                                                                          \
    } while (0)

/* --- the guard --- */

static bool has_pace(const sluice_route *route) {
    const struct pace_terms *pace = &instance_conf(route)->terms.pace;
    return pace->messages != 0 || pace->bytes != 0;
}

bool connection_counts_visits(const sluice_route *route) {
    const struct instance_conf *conf = instance_conf(route);
    return conf->address_max != 0 || conf->server_address_max != 0;
}

static size_t data_end(const sluice_route *route) {
    uint32_t data_size = instance_consumer(route)->data_size;
    return data_size == 0 ? offsetof(struct sluice_conn, tail) : DATA_AT + data_size;
}

static size_t guard_at(const sluice_route *route) {
    const size_t alignment = _Alignof(struct guard);
    return (data_end(route) + alignment - 1) / alignment * alignment;
}

static bool has_guard(const sluice_route *route) {
    return has_pace(route) || connection_counts_visits(route);
}

static struct guard *guard_of(sluice_conn *conn) {
    sluice_route *route = route_of(conn);
    return has_guard(route) ? (struct guard *)(void *)((char *)conn + guard_at(route)) : NULL;
}

uint32_t connection_pace_at(const sluice_route *route) {
    static_assert(offsetof(struct sluice_conn, session) == 0, "its place counts from the session");
    return has_pace(route) ? (uint32_t)(guard_at(route) + offsetof(struct guard, pace)) : 0;
}

/* Where the packed scope lies. */
static size_t packed_at(const sluice_route *route) {
    return has_guard(route) ? guard_at(route) + sizeof(struct guard) : data_end(route);
}

static const char *packed_of(const sluice_conn *conn) {
    return (const char *)conn + packed_at(route_of(conn));
}

static void end_visits(const struct visits *visits) {
    visit_end(visits->server);
    visit_end(visits->route);
}

/* --- places and ids --- */

static struct connections *connections_of(const struct loop *loop) {
    return loop_local(loop, LOOP_CONNECTIONS);
}

static void abort_all(struct timer *timer);

void connections_create(struct loop *loop, size_t most) {
    struct connections *all = calloc(1, sizeof(*all));
    if (all == NULL)
        abort();
    all->loop = loop;
    all->most = most > PLACES_MAX ? PLACES_MAX : (uint32_t)most;
    all->drained.run = abort_all;
    loop_set_local(loop, LOOP_CONNECTIONS, all);
}

void connections_free(struct loop *loop) {
    struct connections *all = connections_of(loop);
    if (all == NULL)
        return;
    assert(all->count == 0);
    loop_timer_clear(loop, &all->drained);
    free(all->places);
    free(all);
    loop_set_local(loop, LOOP_CONNECTIONS, NULL);
}

size_t connections_count(const struct loop *loop) { return connections_of(loop)->count; }

static void grow_places(struct connections *all) {
    all->capacity = all->capacity == 0 ? 64 : all->capacity * 2;
    all->places = realloc(all->places, all->capacity * sizeof(*all->places));
    if (all->places == NULL)
        abort();
}

static place free_place(uint32_t generation, uint32_t next) {
    return (place)generation << 32 | (place)next << 1 | PLACE_FREE;
}

static uint32_t generation_of(place free) { return (uint32_t)(free >> 32); }

static uint32_t next_of(place free) { return (uint32_t)free >> 1; }

/* NULL when nobody is there. */
static sluice_conn *conn_at(const struct connections *all, uint32_t at) {
    place there = all->places[at];
    return (there & PLACE_FREE) != 0 ? NULL : (sluice_conn *)(uintptr_t)there;
}

/* There is one: see count_in. */
static void take_place(struct connections *all, sluice_conn *conn) {
    uint32_t at, generation = 0;
    if (all->first_free != 0) {
        at = all->first_free - 1;
        generation = generation_of(all->places[at]);
        all->first_free = next_of(all->places[at]);
    } else {
        if (all->used == all->capacity)
            grow_places(all);
        at = all->used++;
    }
    all->places[at] = (uintptr_t)conn;
    all->count++;
    conn->member.id = (uint64_t)loop_index(all->loop) << THREAD_SHIFT |
                      (uint64_t)(generation + 1) << GENERATION_SHIFT | at;
}

/* A place whose generations are used up is never given out again, so that no id comes twice. */
static void leave_place(struct connections *all, const sluice_conn *conn) {
    uint32_t at = (uint32_t)(conn->member.id & PLACES_MAX);
    uint32_t generation = (uint32_t)(conn->member.id >> GENERATION_SHIFT);
    all->places[at] = free_place(generation, all->first_free);
    all->count--;
    if (generation != UINT32_MAX)
        all->first_free = at + 1;
}

unsigned connection_id_thread(sluice_id id) { return (unsigned)(id >> THREAD_SHIFT); }

sluice_conn *connection_find(const struct loop *loop, sluice_id id) {
    const struct connections *all = connections_of(loop);
    uint32_t at = (uint32_t)(id & PLACES_MAX);
    if (connection_id_thread(id) != loop_index(loop) || at >= all->used)
        return NULL;
    sluice_conn *conn = conn_at(all, at);
    return conn != NULL && conn->member.id == id ? conn : NULL;
}

/* --- what it needs for a while --- */

static void send_answer(struct loop_entry *entry);
static void free_conn(struct loop_entry *entry);
static void on_deadline(struct timer *timer);

static struct conn_work *work_of(sluice_conn *conn) {
    if (conn->work != NULL)
        return conn->work;
    conn->work = calloc(1, sizeof(*conn->work));
    if (conn->work == NULL)
        abort();
    conn->work->conn = conn;
    conn->work->answering.run = send_answer;
    conn->work->ending.run = free_conn;
    conn->work->deadline.run = on_deadline;
    return conn->work;
}

/* Gives the work back when it is needed no more. */
static void rest(sluice_conn *conn) {
    const struct conn_work *work = conn->work;
    if (work == NULL || conn->state != OPEN || work->timers != NULL || work->deadline.slot != 0)
        return;
    free(conn->work);
    conn->work = NULL;
}

/* Whether there is a session that has not ended. */
static bool has_session(const sluice_conn *conn) {
    return conn->state == ACCEPTED || conn->state == OPEN;
}

/* --- the end --- */

static void dispose(sluice_conn *conn) {
    if (conn->work != NULL)
        free(conn->work->answer);
    free(conn->work);
    free(conn->subprotocol);
    free(conn->user);
    free(conn);
}

static void free_conn(struct loop_entry *entry) {
    dispose(H2O_STRUCT_FROM_MEMBER(struct conn_work, ending, entry)->conn);
}

/* Each timer that did not fire tells its owner that nothing will come. */
static void drop_timers(sluice_conn *conn) {
    struct conn_timer *timer;
    while ((timer = conn->work->timers) != NULL) {
        conn->work->timers = timer->next;
        loop_timer_clear(loop_current(), &timer->timer);
        struct hook hook = hook_enter(instance_owner(route_of(conn)), HOOK_TIMER);
        timer->fn(NULL, timer->arg);
        hook_leave(&hook);
        free(timer);
    }
}

/* The answer has left, or never will. */
static void forget_request(sluice_conn *conn) {
    if (conn->work == NULL)
        return;
    conn->work->req = NULL;
    conn->work->door = NULL;
}

/* Its memory goes with the session's, where there was one. */
static void finish(sluice_conn *conn) {
    struct loop *loop = loop_current();
    struct conn_work *work = work_of(conn);
    conn->state = ENDED;
    loop_timer_clear(loop, &work->deadline);
    loop_unqueue(loop, LOOP_ANSWERS, &work->answering);
    if (work->door != NULL)
        work->door->left(work->door_data);
    work->door = NULL;
    drop_timers(conn);
    RUN_HOOK(conn, release, HOOK_RELEASE, conn);
    work->req = NULL;
    leave_place(connections_of(loop), conn);
    if (guard_of(conn) != NULL)
        end_visits(&guard_of(conn)->visits);
    if (conn->is_handshake)
        instance_leave(route_of(conn));
    instance_count(route_of(conn), -1);
    if (!conn->has_begun)
        loop_queue(loop, LOOP_ENDS, &work->ending);
}

void connection_gone(sluice_conn *conn) {
    if (conn->work != NULL)
        loop_unqueue(loop_current(), LOOP_ANSWERS, &conn->work->answering);
    forget_request(conn);
    if (has_session(conn))
        session_abort(&conn->session);
    else if (conn->state != ENDED)
        finish(conn);
}

/* --- what the session tells --- */

static sluice_conn *conn_of(struct session *session) {
    return H2O_STRUCT_FROM_MEMBER(sluice_conn, session, session);
}

static void on_message(struct session *session, enum opcode kind, const uint8_t *data,
                       size_t size) {
    sluice_conn *conn = conn_of(session);
    sluice_message message = {data, (uint32_t)size,
                              kind == OPCODE_TEXT ? SLUICE_TEXT : SLUICE_BINARY};
    if (!conn->stopped)
        RUN_HOOK(conn, receive, HOOK_RECEIVE, conn, message);
}

static void on_unblocked(struct session *session, uint64_t dropped) {
    sluice_conn *conn = conn_of(session);
    RUN_HOOK(conn, dropped, HOOK_DROPPED, conn, dropped);
}

static void log_close(const sluice_conn *conn, int code, const char *reason) {
    const sluice_route *route = route_of(conn);
    const struct session_counts *counts = &conn->session.counts;
    uint32_t now = (uint32_t)(loop_now(loop_current()) / 1000);
    close_line_write(&(struct close_line){
        .route = instance_name(route),
        .peer = scope_peer(packed_of(conn), instance_captures(route)),
        .id = conn->member.id,
        .code = code,
        .reason = reason,
        .seconds = now - counts->opened_at,
        .counts = counts,
    });
}

static void on_closed(struct session *session, int code, const char *reason, size_t reason_size) {
    sluice_conn *conn = conn_of(session);
    char text[REASON_MAX + 1];
    size_t size = reason_size > REASON_MAX ? REASON_MAX : reason_size;
    if (size > 0)
        memcpy(text, reason, size);
    text[size] = '\0';
    conn->state = ENDED;
    group_leave_all(groups_of(loop_current()), &conn->member);
    work_of(conn)->close_reason = text;
    if (!conn->stopped)
        RUN_HOOK(conn, disconnect, HOOK_DISCONNECT, conn, code);
    conn->work->close_reason = NULL;
    log_close(conn, code, text);
    counters_close(code);
    counters_add(COUNTER_WEBSOCKETS_ENDED, 1);
    counters_raise(&instance_counters(route_of(conn))->ended, 1);
    finish(conn);
}

static void on_released(struct session *session) { dispose(conn_of(session)); }

const struct session_events *connection_events(void) {
    static const struct session_events events = {on_message, on_unblocked, on_closed, on_released};
    return &events;
}

static void on_event(struct member *member, const char *group, struct frame *frame) {
    sluice_conn *conn = H2O_STRUCT_FROM_MEMBER(sluice_conn, member, member);
    size_t size;
    const uint8_t *payload = frame_payload(frame, &size);
    sluice_message message = {payload, (uint32_t)size,
                              frame_opcode(frame) == OPCODE_TEXT ? SLUICE_TEXT : SLUICE_BINARY};
    if (!conn->stopped)
        RUN_HOOK(conn, event, HOOK_EVENT, conn, group, message);
}

static struct session *session_of(struct member *member) {
    return &H2O_STRUCT_FROM_MEMBER(sluice_conn, member, member)->session;
}

const struct member_events *connection_member_events(void) {
    static const struct member_events events = {on_event, session_of};
    return &events;
}

/* --- the answer --- */

static void send_answer(struct loop_entry *entry) {
    struct conn_work *work = H2O_STRUCT_FROM_MEMBER(struct conn_work, answering, entry);
    sluice_conn *conn = work->conn;
    const struct connection_door *door = work->door;
    const struct answer *answer = work->answer;
    if (conn->state == ACCEPTED) {
        door->upgrade(work->door_data, conn->subprotocol);
        return;
    }
    forget_request(conn);
    door->answer(work->door_data, answer->status, answer->body, answer->size, answer->chosen);
    finish(conn);
}

static void set_answer(sluice_conn *conn, int status, const void *body, size_t size, bool chosen) {
    struct conn_work *work = work_of(conn);
    work->answer = malloc(sizeof(*work->answer) + size);
    if (work->answer == NULL)
        abort();
    *work->answer = (struct answer){status, chosen, size};
    if (size > 0)
        memcpy(work->answer->body, body, size);
    conn->state = ANSWERED;
    loop_timer_clear(loop_current(), &work->deadline);
    loop_queue(loop_current(), LOOP_ANSWERS, &work->answering);
}

/* Steps of the golden section fall evenly into the time, however many there are. */
static uint32_t next_retry(struct connections *all) {
    all->retry_next += 2654435769u;
    return (uint32_t)((uint64_t)all->retry_next * (all->retry_ms + UINT64_C(1)) >> 32);
}

static void close_drained(sluice_conn *conn) {
    struct connections *all = connections_of(loop_current());
    char retry[32];
    const char *reason = all->drain_reason;
    if (all->retry_ms != 0) {
        snprintf(retry, sizeof(retry), "retry=%u", next_retry(all));
        reason = retry;
    }
    session_close(&conn->session, all->drain_code, reason, strlen(reason));
}

static void on_deadline(struct timer *timer) {
    sluice_conn *conn = H2O_STRUCT_FROM_MEMBER(struct conn_work, deadline, timer)->conn;
    if (conn->state == DECIDING)
        set_answer(conn, 504, NULL, 0, false);
    else if (has_session(conn))
        close_drained(conn);
    rest(conn);
}

static char *copy_of(const char *text) {
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    return copy;
}

int connection_accept(sluice_conn *conn, const char *subprotocol) {
    struct conn_work *work = conn->work;
    if (conn->state != DECIDING || !conn->is_handshake)
        return SLUICE_STATE;
    if (subprotocol != NULL && !scope_offers(work->req, subprotocol))
        return SLUICE_INVALID;
    if (subprotocol != NULL)
        conn->subprotocol = copy_of(subprotocol);
    conn->state = ACCEPTED;
    loop_timer_clear(loop_current(), &work->deadline);
    conn->has_begun = true;
    session_begin(&conn->session, conn->session.terms);
    counters_add(COUNTER_WEBSOCKETS_OPENED, 1);
    counters_raise(&instance_counters(route_of(conn))->opened, 1);
    session_agree(&conn->session, &work->agreement);
    loop_queue(loop_current(), LOOP_ANSWERS, &work->answering);
    return SLUICE_OK;
}

int connection_answer(sluice_conn *conn, int status, const void *body, size_t size,
                      bool is_denial) {
    if (conn->state != DECIDING || (!is_denial && conn->is_handshake))
        return SLUICE_STATE;
    if (status < (is_denial ? 400 : 200) || status > 599)
        return SLUICE_INVALID;
    if (size > FRAME_PAYLOAD_MAX)
        return SLUICE_TOO_BIG;
    set_answer(conn, status, body, body == NULL ? 0 : size, true);
    return SLUICE_OK;
}

struct session *connection_upgraded(sluice_conn *conn) {
    forget_request(conn);
    if (conn->state != ACCEPTED)
        return NULL;
    conn->state = OPEN;
    rest(conn);
    return &conn->session;
}

/* RFC 9110 section 5.1: a field name is a token. */
static bool is_token(const char *name) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    if (*name == '\0')
        return false;
    for (; *name != '\0'; name++)
        if (!((*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z') ||
              (*name >= 'A' && *name <= 'Z') || strchr(others, *name) != NULL))
            return false;
    return true;
}

static bool is_field_value(const char *value) {
    for (; *value != '\0'; value++)
        if ((unsigned char)*value < 0x20 ? *value != '\t' : *value == 0x7f)
            return false;
    return true;
}

static bool is_ours(const char *name) {
    static const char *const names[] = {"connection", "upgrade", "content-length",
                                        "transfer-encoding", "date"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return strncasecmp(name, "sec-websocket-", strlen("sec-websocket-")) == 0;
}

int connection_add_header(sluice_conn *conn, const char *name, const char *value) {
    struct conn_work *work = conn->work;
    if (conn->state != DECIDING)
        return SLUICE_STATE;
    if (name == NULL || value == NULL || !is_token(name) || !is_field_value(value) || is_ours(name))
        return SLUICE_INVALID;
    h2o_req_t *req = work->req;
    size_t name_size = strlen(name), value_size = strlen(value);
    size_t total = work->header_bytes + name_size + value_size;
    if (work->header_count == HEADERS_MAX || total > instance_conf(route_of(conn))->headers_max)
        return SLUICE_FULL;
    work->header_count++;
    work->header_bytes = (uint32_t)total;
    char *lower = h2o_strdup(&req->pool, name, name_size).base;
    h2o_strtolower(lower, name_size);
    char *kept = h2o_strdup(&req->pool, value, value_size).base;
    h2o_add_header_by_str(&req->pool, &req->res.headers, lower, name_size, 1, NULL, kept,
                          value_size);
    return SLUICE_OK;
}

/* --- its life --- */

static sluice_conn *make_conn(sluice_route *route, const struct connection_request *request) {
    size_t packed_size;
    const char *packed =
        scope_pack(request->req, instance_captures(route), request->captures, &packed_size);
    sluice_conn *conn = calloc(1, packed_at(route) + packed_size);
    if (conn == NULL)
        abort();
    memcpy((char *)conn + packed_at(route), packed, packed_size);
    conn->session.terms = &instance_conf(route)->terms;
    conn->is_handshake = request->is_handshake;
    struct conn_work *work = work_of(conn);
    work->req = request->req;
    work->door = request->door;
    work->door_data = request->door_data;
    work->agreement = request->agreement;
    if (has_guard(route))
        guard_of(conn)->visits = request->visits;
    return conn;
}

static void run_first_hook(sluice_conn *conn) {
    if (!conn->is_handshake)
        RUN_HOOK(conn, http, HOOK_HTTP, conn);
    else if (instance_consumer(route_of(conn))->connect == NULL)
        connection_accept(conn, NULL);
    else
        RUN_HOOK(conn, connect, HOOK_CONNECT, conn);
}

static bool count_in(const struct connections *all, sluice_route *route, bool is_handshake) {
    /* A WebSocket would hold up the stop, or be closed at once; a request is soon over. */
    if (all->count >= all->most || (all->drain_reason != NULL && is_handshake))
        return false;
    if (is_handshake && !instance_enter(route))
        return false;
    instance_count(route, 1);
    return true;
}

sluice_conn *connection_open(struct loop *loop, sluice_route *route,
                             const struct connection_request *request) {
    struct connections *all = connections_of(loop);
    if (!count_in(all, route, request->is_handshake)) {
        end_visits(&request->visits);
        return NULL;
    }
    sluice_conn *conn = make_conn(route, request);
    take_place(all, conn);
    loop_timer_set(loop, &conn->work->deadline, instance_conf(route)->connect_ms);
    run_first_hook(conn);
    return conn;
}

/* --- messages --- */

static enum opcode opcode_of(sluice_message message) {
    return message.kind == SLUICE_TEXT ? OPCODE_TEXT : OPCODE_BINARY;
}

static int check_message(sluice_message message) {
    if (message.kind != SLUICE_TEXT && message.kind != SLUICE_BINARY)
        return SLUICE_INVALID;
    if (message.size > FRAME_PAYLOAD_MAX)
        return SLUICE_TOO_BIG;
    if (message.size > 0 && message.data == NULL)
        return SLUICE_INVALID;
    if (message.kind == SLUICE_TEXT && !utf8_valid(message.data, message.size))
        return SLUICE_INVALID;
    return SLUICE_OK;
}

int connection_frame(sluice_message message, struct frame **frame) {
    int result = check_message(message);
    if (result == SLUICE_OK)
        *frame = frame_create(opcode_of(message), message.data, message.size);
    return result;
}

static int send_result(enum session_result result) {
    switch (result) {
    case SESSION_SENT:
        return SLUICE_OK;
    case SESSION_DROPPED:
    case SESSION_FULL:
        return SLUICE_FULL;
    case SESSION_CLOSED:
    default:
        return SLUICE_GONE;
    }
}

int connection_state(const sluice_conn *conn) {
    if (conn->state == DECIDING || conn->state == ANSWERED)
        return SLUICE_STATE;
    return has_session(conn) ? SLUICE_OK : SLUICE_GONE;
}

int connection_send(sluice_conn *conn, sluice_message message) {
    int result = connection_state(conn);
    if (result == SLUICE_OK)
        result = check_message(message);
    if (result != SLUICE_OK)
        return result;
    enum session_result sent =
        session_send_bytes(&conn->session, opcode_of(message), message.data, message.size);
    if (sent == SESSION_SENT)
        counters_add(COUNTER_MESSAGES_SENT, 1);
    return send_result(sent);
}

static bool is_close_code(int code) {
    return code == 1000 || code == 1001 || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int connection_close(sluice_conn *conn, int code, const char *reason) {
    size_t size = reason == NULL ? 0 : strlen(reason);
    if (!is_close_code(code) || !utf8_valid(reason, size))
        return SLUICE_INVALID;
    if (size > REASON_MAX)
        return SLUICE_TOO_BIG;
    int result = connection_state(conn);
    if (result == SLUICE_OK)
        session_close(&conn->session, code, reason, size);
    return result;
}

int connection_stop(sluice_conn *conn) {
    int result = connection_close(conn, 1000, NULL);
    if (result == SLUICE_OK)
        conn->stopped = true;
    return result;
}

/* --- timers --- */

static void unlink_timer(struct conn_timer *timer) {
    struct conn_work *work = timer->conn->work;
    struct conn_timer **at = &work->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    work->timer_count--;
    rest(timer->conn);
}

static void on_timer(struct timer *timer) {
    struct conn_timer *fired = (struct conn_timer *)timer;
    sluice_conn *conn = fired->conn;
    unlink_timer(fired);
    struct hook hook = hook_enter(instance_owner(route_of(conn)), HOOK_TIMER);
    fired->fn(conn, fired->arg);
    hook_leave(&hook);
    free(fired);
}

int connection_timer(sluice_conn *conn, uint64_t ms, sluice_done_fn fn, void *arg,
                     sluice_id *timer) {
    struct loop *loop = loop_current();
    if (ms == 0 || ms > INSTANCE_TIMER_MS_MAX || fn == NULL)
        return SLUICE_INVALID;
    if (conn->state == ENDED)
        return SLUICE_GONE;
    struct conn_work *work = work_of(conn);
    if (work->timer_count >= instance_conf(route_of(conn))->timers_max || !loop_has_timers(loop)) {
        rest(conn);
        limits_hit(LIMIT_TIMERS);
        return SLUICE_FULL;
    }
    struct conn_timer *made = calloc(1, sizeof(*made));
    if (made == NULL)
        abort();
    sluice_id id = ++connections_of(loop)->timers;
    *made = (struct conn_timer){{on_timer, 0, 0}, work->timers, conn, fn, arg, id};
    work->timers = made;
    work->timer_count++;
    loop_timer_set(loop, &made->timer, ms);
    if (timer != NULL)
        *timer = id;
    return SLUICE_OK;
}

int connection_timer_cancel(sluice_conn *conn, sluice_id id) {
    struct conn_timer *timer = conn->work == NULL ? NULL : conn->work->timers;
    while (timer != NULL && timer->id != id)
        timer = timer->next;
    if (timer == NULL)
        return SLUICE_INVALID;
    loop_timer_clear(loop_current(), &timer->timer);
    unlink_timer(timer);
    free(timer);
    return SLUICE_OK;
}

/* --- draining --- */

/* A handshake is refused, so that its client may ask elsewhere; an http request keeps its time. */
static void drain_one(sluice_conn *conn, uint32_t ms, uint64_t wait_ms, bool is_first) {
    if (conn->state == DECIDING && conn->is_handshake)
        set_answer(conn, 503, NULL, 0, false);
    if (!has_session(conn))
        return;
    if (is_first && !conn->stopped)
        RUN_HOOK(conn, drain, HOOK_DRAIN, conn, ms);
    loop_timer_set(loop_current(), &work_of(conn)->deadline, wait_ms);
}

static void cut(sluice_conn *conn) {
    if (has_session(conn))
        session_abort(&conn->session);
    else if (conn->state == DECIDING)
        set_answer(conn, 503, NULL, 0, false);
}

static void abort_all(struct timer *timer) {
    struct connections *all = H2O_STRUCT_FROM_MEMBER(struct connections, drained, timer);
    for (uint32_t i = 0; i < all->used; i++)
        if (conn_at(all, i) != NULL)
            cut(conn_at(all, i));
}

void connections_retry(struct loop *loop, uint32_t ms) { connections_of(loop)->retry_ms = ms; }

/* Few connections are closed at once; many over half of the time, so that not all of them come back
 * in one moment. */
void connections_drain(struct loop *loop, uint32_t ms, int code, const char *reason) {
    struct connections *all = connections_of(loop);
    uint64_t window = all->count / CLOSES_A_MS, number = 0;
    bool is_first = all->drain_reason == NULL;
    if (window > ms / 2)
        window = ms / 2;
    all->drain_code = code;
    all->drain_reason = reason;
    uint32_t count = all->count;
    for (uint32_t i = 0; i < all->used; i++)
        if (conn_at(all, i) != NULL)
            drain_one(conn_at(all, i), ms, 1 + number++ * window / (count + 1), is_first);
    loop_timer_set(loop, &all->drained, ms);
}

/* --- what an operator reads --- */

void connections_each(struct loop *loop, void (*fn)(void *arg, const struct connection_view *view),
                      void *arg) {
    const struct connections *all = connections_of(loop);
    uint64_t now = loop_now(loop);
    for (uint32_t i = 0; i < all->used; i++) {
        sluice_conn *conn = conn_at(all, i);
        if (conn == NULL || !has_session(conn))
            continue;
        const struct session_counts *counts = &conn->session.counts;
        const struct connection_view view = {
            .id = connection_id(conn),
            .route = instance_name(route_of(conn)),
            .peer = connection_scope(conn, SLUICE_PEER, NULL),
            .user = conn->user,
            .open_ms = counts->opened_at == 0 ? 0 : now - (uint64_t)counts->opened_at * 1000,
            .counts = counts,
            .queued = session_queued(&conn->session)};
        fn(arg, &view);
    }
}

/* --- what the host reads --- */

int connection_set_user(sluice_conn *conn, const char *user) {
    if (user != NULL && !group_name_valid(user))
        return SLUICE_INVALID;
    free(conn->user);
    conn->user = user == NULL ? NULL : copy_of(user);
    return SLUICE_OK;
}

const char *connection_scope(sluice_conn *conn, int what, const char *name) {
    const struct conn_work *work = conn->work;
    switch (what) {
    case SLUICE_PEER:
        return scope_peer(packed_of(conn), instance_captures(route_of(conn)));
    case SLUICE_SUBPROTOCOL:
        return conn->subprotocol;
    case SLUICE_REASON:
        return work == NULL ? NULL : work->close_reason;
    default:
        return work == NULL ? NULL : scope_get(work->req, what, name);
    }
}

const void *connection_body(sluice_conn *conn, size_t *size) {
    const h2o_req_t *req = conn->work == NULL ? NULL : conn->work->req;
    *size = req == NULL ? 0 : req->entity.len;
    return *size == 0 ? NULL : req->entity.base;
}

const char *connection_param(const sluice_conn *conn, const char *name) {
    return scope_param(packed_of(conn), instance_captures(route_of(conn)), name);
}

size_t connection_queued(const sluice_conn *conn) {
    return has_session(conn) ? session_queued(&conn->session) : 0;
}

sluice_route *connection_route(const sluice_conn *conn) { return route_of(conn); }

struct member *connection_member(sluice_conn *conn) {
    return &conn->member;
}

sluice_id connection_id(const sluice_conn *conn) { return conn->member.id; }

void *connection_data(sluice_conn *conn) { return (char *)conn + DATA_AT; }
