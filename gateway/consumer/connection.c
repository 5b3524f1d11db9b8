#include "consumer/connection.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/hook.h"
#include "consumer/instance.h"
#include "loop/loop.h"
#include "websocket/session.h"
#include "websocket/utf8.h"

#define SLOT_BITS 24
#define SLOTS_MAX ((1u << SLOT_BITS) - 1)
#define GENERATION_SHIFT SLOT_BITS
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

struct sluice_conn {
    struct loop *loop;
    sluice_route *route;
    sluice_id id;
    struct scope scope;
    const struct connection_door *door;
    void *door_data;
    struct session *session;
    struct member member;
    struct answer *answer;
    struct loop_entry answering, ending;
    struct timer deadline; /* of the decision; while draining, of the close */
    struct conn_timer *timers;
    uint32_t timer_count;
    sluice_id timer_serial;
    uint32_t header_count, header_bytes;
    const char *close_reason; /* while disconnect runs */
    enum state state;
    struct agreement agreement;
    bool is_handshake, stopped;
    _Alignas(16) unsigned char data[];
};

struct slot {
    sluice_conn *conn;
    uint32_t generation;
    uint32_t next_free; /* slot number + 1; 0: none */
};

/* The connections of one loop. */
struct connections {
    struct loop *loop;
    struct slot *slots;
    uint32_t count, capacity, most, first_free, used;
    struct timer drained;
    const char *drain_reason; /* NULL until a stop has begun */
    int drain_code;
};

#define RUN_HOOK(conn, name, ...)                                                                  \
    do {                                                                                           \
        const sluice_consumer *consumer_ = instance_consumer((conn)->route);                       \
        if (consumer_->name != NULL) {                                                             \
            struct hook hook_ = hook_enter(instance_name((conn)->route), #name);                   \
            consumer_->name(__VA_ARGS__);                                                          \
            hook_leave(&hook_);                                                                    \
        }                                                                                          \
    } while (0)

/* --- slots and ids --- */

static struct connections *connections_of(const struct loop *loop) {
    return loop_local(loop, LOOP_CONNECTIONS);
}

static void abort_all(struct timer *timer);

void connections_create(struct loop *loop, size_t most) {
    struct connections *all = calloc(1, sizeof(*all));
    if (all == NULL)
        abort();
    all->loop = loop;
    all->most = most > SLOTS_MAX ? SLOTS_MAX : (uint32_t)most;
    all->drained.run = abort_all;
    loop_set_local(loop, LOOP_CONNECTIONS, all);
}

void connections_free(struct loop *loop) {
    struct connections *all = connections_of(loop);
    if (all == NULL)
        return;
    assert(all->count == 0);
    loop_timer_clear(loop, &all->drained);
    free(all->slots);
    free(all);
    loop_set_local(loop, LOOP_CONNECTIONS, NULL);
}

size_t connections_count(const struct loop *loop) { return connections_of(loop)->count; }

static void grow_slots(struct connections *all) {
    all->capacity = all->capacity == 0 ? 64 : all->capacity * 2;
    all->slots = realloc(all->slots, all->capacity * sizeof(*all->slots));
    if (all->slots == NULL)
        abort();
}

static bool take_slot(struct connections *all, sluice_conn *conn) {
    uint32_t at;
    if (all->count >= all->most)
        return false;
    if (all->first_free != 0) {
        at = all->first_free - 1;
        all->first_free = all->slots[at].next_free;
    } else {
        if (all->used == all->capacity)
            grow_slots(all);
        at = all->used++;
        all->slots[at].generation = 0;
    }
    struct slot *slot = &all->slots[at];
    slot->conn = conn;
    slot->generation++;
    all->count++;
    conn->id = (uint64_t)loop_index(all->loop) << THREAD_SHIFT |
               (uint64_t)slot->generation << GENERATION_SHIFT | at;
    return true;
}

/* A slot whose generations are used up is never given out again, so that no id comes twice. */
static void leave_slot(struct connections *all, sluice_conn *conn) {
    uint32_t at = (uint32_t)(conn->id & SLOTS_MAX);
    all->slots[at].conn = NULL;
    all->count--;
    if (all->slots[at].generation == UINT32_MAX)
        return;
    all->slots[at].next_free = all->first_free;
    all->first_free = at + 1;
}

unsigned connection_id_thread(sluice_id id) { return (unsigned)(id >> THREAD_SHIFT); }

sluice_conn *connection_find(const struct loop *loop, sluice_id id) {
    const struct connections *all = connections_of(loop);
    uint32_t at = (uint32_t)(id & SLOTS_MAX);
    if (connection_id_thread(id) != loop_index(loop) || at >= all->used)
        return NULL;
    sluice_conn *conn = all->slots[at].conn;
    return conn != NULL && conn->id == id ? conn : NULL;
}

/* --- the end --- */

static void free_conn(struct loop_entry *entry) {
    sluice_conn *conn = H2O_STRUCT_FROM_MEMBER(sluice_conn, ending, entry);
    scope_dispose(&conn->scope);
    free(conn->answer);
    free(conn);
}

/* Each timer that did not fire tells its owner that nothing will come. */
static void drop_timers(sluice_conn *conn) {
    struct conn_timer *timer;
    while ((timer = conn->timers) != NULL) {
        conn->timers = timer->next;
        loop_timer_clear(conn->loop, &timer->timer);
        struct hook hook = hook_enter(instance_name(conn->route), "timer");
        timer->fn(NULL, timer->arg);
        hook_leave(&hook);
        free(timer);
    }
}

static void finish(sluice_conn *conn) {
    conn->state = ENDED;
    loop_timer_clear(conn->loop, &conn->deadline);
    loop_unqueue(conn->loop, LOOP_ANSWERS, &conn->answering);
    if (conn->door != NULL)
        conn->door->left(conn->door_data);
    conn->door = NULL;
    drop_timers(conn);
    RUN_HOOK(conn, release, conn);
    scope_forget_request(&conn->scope);
    leave_slot(connections_of(conn->loop), conn);
    instance_count(conn->route, -1);
    loop_queue(conn->loop, LOOP_ENDS, &conn->ending);
}

void connection_gone(sluice_conn *conn) {
    conn->door = NULL;
    loop_unqueue(conn->loop, LOOP_ANSWERS, &conn->answering);
    scope_forget_request(&conn->scope);
    if (conn->session != NULL)
        session_abort(conn->session);
    else if (conn->state != ENDED)
        finish(conn);
}

/* --- what the session tells --- */

static void on_message(void *owner, enum opcode kind, const uint8_t *data, size_t size) {
    sluice_conn *conn = owner;
    sluice_message message = {data, (uint32_t)size,
                              kind == OPCODE_TEXT ? SLUICE_TEXT : SLUICE_BINARY};
    if (!conn->stopped)
        RUN_HOOK(conn, receive, conn, message);
}

static void on_unblocked(void *owner, uint64_t dropped) {
    sluice_conn *conn = owner;
    RUN_HOOK(conn, dropped, conn, dropped);
}

static void on_closed(void *owner, int code, const char *reason, size_t reason_size) {
    sluice_conn *conn = owner;
    char text[REASON_MAX + 1];
    size_t size = reason_size > REASON_MAX ? REASON_MAX : reason_size;
    if (size > 0)
        memcpy(text, reason, size);
    text[size] = '\0';
    conn->session = NULL;
    conn->state = ENDED;
    group_leave_all(groups_of(conn->loop), &conn->member);
    conn->member.session = NULL;
    conn->close_reason = text;
    if (!conn->stopped)
        RUN_HOOK(conn, disconnect, conn, code);
    conn->close_reason = NULL;
    finish(conn);
}

static const struct session_events session_events = {on_message, on_unblocked, on_closed};

static void on_event(struct member *member, const char *group, struct frame *frame) {
    sluice_conn *conn = H2O_STRUCT_FROM_MEMBER(sluice_conn, member, member);
    size_t size;
    const uint8_t *payload = frame_payload(frame, &size);
    sluice_message message = {payload, (uint32_t)size,
                              frame_opcode(frame) == OPCODE_TEXT ? SLUICE_TEXT : SLUICE_BINARY};
    if (!conn->stopped)
        RUN_HOOK(conn, event, conn, group, message);
}

static const struct member_events member_events = {on_event};

/* --- the answer --- */

static void send_answer(struct loop_entry *entry) {
    sluice_conn *conn = H2O_STRUCT_FROM_MEMBER(sluice_conn, answering, entry);
    const struct connection_door *door = conn->door;
    if (conn->state == ACCEPTED) {
        door->upgrade(conn->door_data, conn->scope.subprotocol);
        return;
    }
    conn->door = NULL;
    const struct answer *answer = conn->answer;
    scope_forget_request(&conn->scope);
    door->answer(conn->door_data, answer->status, answer->body, answer->size, answer->chosen);
    finish(conn);
}

static void set_answer(sluice_conn *conn, int status, const void *body, size_t size, bool chosen) {
    conn->answer = malloc(sizeof(*conn->answer) + size);
    if (conn->answer == NULL)
        abort();
    *conn->answer = (struct answer){status, chosen, size};
    if (size > 0)
        memcpy(conn->answer->body, body, size);
    conn->state = ANSWERED;
    loop_timer_clear(conn->loop, &conn->deadline);
    loop_queue(conn->loop, LOOP_ANSWERS, &conn->answering);
}

static void on_deadline(struct timer *timer) {
    sluice_conn *conn = H2O_STRUCT_FROM_MEMBER(sluice_conn, deadline, timer);
    const struct connections *all = connections_of(conn->loop);
    if (conn->state == DECIDING)
        set_answer(conn, 504, NULL, 0, false);
    else if (conn->session != NULL)
        session_close(conn->session, all->drain_code, all->drain_reason, strlen(all->drain_reason));
}

int connection_accept(sluice_conn *conn, const char *subprotocol) {
    if (conn->state != DECIDING || !conn->is_handshake)
        return SLUICE_STATE;
    if (subprotocol != NULL && !scope_choose_subprotocol(&conn->scope, subprotocol))
        return SLUICE_INVALID;
    conn->state = ACCEPTED;
    loop_timer_clear(conn->loop, &conn->deadline);
    conn->session =
        session_create(conn->loop, &instance_conf(conn->route)->limits, &session_events, conn);
    session_agree(conn->session, &conn->agreement);
    conn->member.session = conn->session;
    loop_queue(conn->loop, LOOP_ANSWERS, &conn->answering);
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
    conn->door = NULL;
    scope_forget_request(&conn->scope);
    if (conn->session != NULL)
        conn->state = OPEN;
    return conn->session;
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
    h2o_req_t *req = conn->scope.req;
    if (conn->state != DECIDING)
        return SLUICE_STATE;
    if (name == NULL || value == NULL || !is_token(name) || !is_field_value(value) || is_ours(name))
        return SLUICE_INVALID;
    size_t name_size = strlen(name), value_size = strlen(value);
    size_t total = conn->header_bytes + name_size + value_size;
    if (conn->header_count == HEADERS_MAX || total > instance_conf(conn->route)->headers_max)
        return SLUICE_FULL;
    conn->header_count++;
    conn->header_bytes = (uint32_t)total;
    char *lower = h2o_strdup(&req->pool, name, name_size).base;
    h2o_strtolower(lower, name_size);
    char *kept = h2o_strdup(&req->pool, value, value_size).base;
    h2o_add_header_by_str(&req->pool, &req->res.headers, lower, name_size, 1, NULL, kept,
                          value_size);
    return SLUICE_OK;
}

/* --- its life --- */

static sluice_conn *make_conn(struct loop *loop, sluice_route *route,
                              const struct connection_request *request) {
    size_t size = sizeof(sluice_conn) + instance_consumer(route)->data_size;
    sluice_conn *conn = aligned_alloc(16, (size + 15) / 16 * 16);
    if (conn == NULL)
        abort();
    memset(conn, 0, size);
    conn->loop = loop;
    conn->route = route;
    conn->door = request->door;
    conn->door_data = request->door_data;
    conn->is_handshake = request->is_handshake;
    conn->agreement = request->agreement;
    conn->answering.run = send_answer;
    conn->ending.run = free_conn;
    conn->deadline.run = on_deadline;
    return conn;
}

static void run_first_hook(sluice_conn *conn) {
    if (!conn->is_handshake)
        RUN_HOOK(conn, http, conn);
    else if (instance_consumer(conn->route)->connect == NULL)
        connection_accept(conn, NULL);
    else
        RUN_HOOK(conn, connect, conn);
}

sluice_conn *connection_open(struct loop *loop, sluice_route *route,
                             const struct connection_request *request) {
    struct connections *all = connections_of(loop);
    /* A WebSocket would hold up the stop, or be closed at once; a request is soon over. */
    if (all->drain_reason != NULL && request->is_handshake)
        return NULL;
    sluice_conn *conn = make_conn(loop, route, request);
    if (!take_slot(all, conn)) {
        free(conn);
        return NULL;
    }
    scope_init(&conn->scope, request->req, &request->captures);
    conn->member.id = conn->id;
    conn->member.events = &member_events;
    instance_count(route, 1);
    loop_timer_set(loop, &conn->deadline, instance_conf(route)->connect_ms);
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
    return conn->session == NULL ? SLUICE_GONE : SLUICE_OK;
}

int connection_send(sluice_conn *conn, sluice_message message) {
    int result = connection_state(conn);
    if (result == SLUICE_OK)
        result = check_message(message);
    if (result != SLUICE_OK)
        return result;
    return send_result(
        session_send_bytes(conn->session, opcode_of(message), message.data, message.size));
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
        session_close(conn->session, code, reason, size);
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
    struct conn_timer **at = &timer->conn->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    timer->conn->timer_count--;
}

static void on_timer(struct timer *timer) {
    struct conn_timer *fired = (struct conn_timer *)timer;
    sluice_conn *conn = fired->conn;
    unlink_timer(fired);
    struct hook hook = hook_enter(instance_name(conn->route), "timer");
    fired->fn(conn, fired->arg);
    hook_leave(&hook);
    free(fired);
}

int connection_timer(sluice_conn *conn, uint64_t ms, sluice_done_fn fn, void *arg,
                     sluice_id *timer) {
    if (ms == 0 || ms > INSTANCE_TIMER_MS_MAX || fn == NULL)
        return SLUICE_INVALID;
    if (conn->state == ENDED)
        return SLUICE_GONE;
    if (conn->timer_count >= instance_conf(conn->route)->timers_max)
        return SLUICE_FULL;
    struct conn_timer *made = calloc(1, sizeof(*made));
    if (made == NULL)
        abort();
    *made =
        (struct conn_timer){{on_timer, 0, 0}, conn->timers, conn, fn, arg, ++conn->timer_serial};
    conn->timers = made;
    conn->timer_count++;
    loop_timer_set(conn->loop, &made->timer, ms);
    if (timer != NULL)
        *timer = made->id;
    return SLUICE_OK;
}

int connection_timer_cancel(sluice_conn *conn, sluice_id id) {
    struct conn_timer *timer = conn->timers;
    while (timer != NULL && timer->id != id)
        timer = timer->next;
    if (timer == NULL)
        return SLUICE_INVALID;
    loop_timer_clear(conn->loop, &timer->timer);
    unlink_timer(timer);
    free(timer);
    return SLUICE_OK;
}

/* --- draining --- */

/* A handshake is refused, so that its client may ask elsewhere; an http request keeps its time. */
static void drain_one(sluice_conn *conn, uint32_t ms, uint64_t wait_ms, bool is_first) {
    if (conn->state == DECIDING && conn->is_handshake)
        set_answer(conn, 503, NULL, 0, false);
    if (conn->session == NULL)
        return;
    if (is_first && !conn->stopped)
        RUN_HOOK(conn, drain, conn, ms);
    loop_timer_set(conn->loop, &conn->deadline, wait_ms);
}

static void cut(sluice_conn *conn) {
    if (conn->session != NULL)
        session_abort(conn->session);
    else if (conn->state == DECIDING)
        set_answer(conn, 503, NULL, 0, false);
}

static void abort_all(struct timer *timer) {
    struct connections *all = H2O_STRUCT_FROM_MEMBER(struct connections, drained, timer);
    for (uint32_t i = 0; i < all->used; i++)
        if (all->slots[i].conn != NULL)
            cut(all->slots[i].conn);
}

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
        if (all->slots[i].conn != NULL)
            drain_one(all->slots[i].conn, ms, 1 + number++ * window / (count + 1), is_first);
    loop_timer_set(loop, &all->drained, ms);
}

/* --- what the host reads --- */

const char *connection_scope(sluice_conn *conn, int what, const char *name) {
    return what == SLUICE_REASON ? conn->close_reason : scope_get(&conn->scope, what, name);
}

const void *connection_body(sluice_conn *conn, size_t *size) {
    h2o_req_t *req = conn->scope.req;
    *size = req == NULL ? 0 : req->entity.len;
    return *size == 0 ? NULL : req->entity.base;
}

const char *connection_param(const sluice_conn *conn, const char *name) {
    return scope_param(&conn->scope, name);
}

size_t connection_queued(const sluice_conn *conn) {
    return conn->session == NULL ? 0 : session_queued(conn->session);
}

sluice_route *connection_route(const sluice_conn *conn) { return conn->route; }

struct loop *connection_loop(const sluice_conn *conn) {
    return conn->loop;
}

struct member *connection_member(sluice_conn *conn) {
    return &conn->member;
}

sluice_id connection_id(const sluice_conn *conn) { return conn->id; }

void *connection_data(sluice_conn *conn) { return conn->data; }
