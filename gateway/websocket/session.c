#include "websocket/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "observe/counters.h"
#include "observe/limits.h"
#include "websocket/budget.h"
#include "websocket/deflater.h"
#include "websocket/parser.h"
#include "websocket/send_queue.h"
#include "websocket/transport.h"
#include "websocket/window.h"

/* One write: enough to fill a socket, little enough that a TLS transport, which must copy it, stays
 * small. */
#define WRITE_BYTES_MAX (256 * 1024)

/* Messages of more bytes than this are not worth copying side by side. */
#define APPENDED_MAX 4096

/* About what a frame takes beside its bytes. */
#define FRAME_BESIDE 32

/* What one call may inflate, and a thread's sessions in one turn; then each has one message. */
#define INFLATED_MAX (512 * 1024)
#define INFLATED_A_TURN (2 * 1024 * 1024)

/* Spare work of a thread: what sessions that write in a turn need, and then some. */
#define SPARE_MAX 1024

enum state {
    OPEN,
    CLOSING,  /* our close frame is queued or sent, the peer's is awaited */
    ANSWERED, /* both have said it: ends when ours has left (RFC 6455 section 7.1.1: the server
                 closes first) */
    FAILED,   /* the peer broke the protocol: its input is ignored, ends when it has hung up */
    ENDED     /* `closed` is told in the next CALLS stage, or has been */
};

/* What a session needs only while something is under way. */
struct work {
    struct session *session;
    struct work *next; /* the spare ones */
    struct loop_entry bytes, calls, ends;
    struct send_queue queue;
    uint8_t *appended; /* frames that the transport holds, before the queue; NULL mostly */
    size_t appended_size;
    struct frame *pong;   /* the answer to the latest ping, until the next write: older ones are
                             not owed (section 5.5.3) */
    struct frame *ending; /* the close frame whose code and reason `closed` will tell; NULL: 1006 */
    struct parser *parser; /* in the middle of a message, or with a window; else NULL */
    struct window *said;   /* what our compressed messages said, where the peer keeps it too */
    uint64_t dropped;      /* messages since `unblocked` was told */
    bool waits;            /* for more to leave with, until the timer runs */
};

/* As it is allocated: what stays with it from session to session. */
struct owned_work {
    struct work work;
    uint32_t number; /* among all of the thread */
};

/* What a thread's sessions share. */
struct works {
    struct work *spare;
    unsigned spare_count;
    struct owned_work **all; /* the spare ones too */
    uint32_t count, capacity;
    size_t sessions;
    uint64_t turn;   /* the one that is counted in */
    size_t inflated; /* bytes of messages, in that turn */
};

static_assert(SESSION_REST_MAX == PARSER_REST_MAX, "what the header promises to transports");

/* Milliseconds that wrap around: only differences mean something. */
static uint32_t clock_of(void) { return (uint32_t)loop_now(loop_current()); }

/* --- work --- */

static struct works *works_of(struct loop *loop) {
    struct works *works = loop_local(loop, LOOP_WORKS);
    if (works != NULL)
        return works;
    works = h2o_mem_alloc(sizeof(*works));
    *works = (struct works){.spare = NULL};
    loop_set_local(loop, LOOP_WORKS, works);
    return works;
}

/* The thread's last session takes with it what they shared. */
static void leave_works(struct loop *loop) {
    struct works *works = works_of(loop);
    budget_count_session(-1);
    if (--works->sessions > 0)
        return;
    for (struct work *spare; (spare = works->spare) != NULL;) {
        works->spare = spare->next;
        free(H2O_STRUCT_FROM_MEMBER(struct owned_work, work, spare));
    }
    free(works->all);
    free(works);
    loop_set_local(loop, LOOP_WORKS, NULL);
}

static void on_calls(struct loop_entry *entry);
static void on_bytes(struct loop_entry *entry);
static void on_ends(struct loop_entry *entry);

static struct work *create_work(struct works *works) {
    struct owned_work *owned = h2o_mem_alloc(sizeof(*owned));
    if (works->count == works->capacity) {
        works->capacity = works->capacity == 0 ? 16 : works->capacity * 2;
        works->all = h2o_mem_realloc(works->all, works->capacity * sizeof(struct owned_work *));
    }
    owned->number = works->count++;
    works->all[owned->number] = owned;
    return &owned->work;
}

/* The last one takes its number. */
static void free_work(struct works *works, struct work *work) {
    struct owned_work *owned = H2O_STRUCT_FROM_MEMBER(struct owned_work, work, work);
    struct owned_work *last = works->all[--works->count];
    last->number = owned->number;
    works->all[last->number] = last;
    free(owned);
}

static struct work *work_of(struct session *session) {
    if (session->work != NULL)
        return session->work;
    struct works *works = works_of(loop_current());
    struct work *work = works->spare;
    if (work == NULL) {
        work = create_work(works);
    } else {
        works->spare = work->next;
        works->spare_count--;
    }
    *work = (struct work){.session = session,
                          .bytes = {.run = on_bytes},
                          .calls = {.run = on_calls},
                          .ends = {.run = on_ends}};
    session->work = work;
    return work;
}

static void release_work(struct session *session) {
    struct works *works = works_of(loop_current());
    struct work *work = session->work;
    session->work = NULL;
    if (works->spare_count == SPARE_MAX) {
        free_work(works, work);
        return;
    }
    work->next = works->spare;
    works->spare = work;
    works->spare_count++;
}

static bool all_has_left(const struct session *session) {
    const struct work *work = session->work;
    return work == NULL || (work->queue.count == 0 && work->appended == NULL);
}

/* Gives the work back when nothing is under way. */
static void rest(struct session *session) {
    const struct work *work = session->work;
    if (work == NULL || session->state != OPEN || !all_has_left(session) || work->bytes.queued ||
        work->calls.queued || work->pong != NULL || work->parser != NULL || work->said != NULL ||
        work->dropped > 0)
        return;
    release_work(session);
}

/* --- the end --- */

/* Nothing more goes out or comes in; the owner hears of it in the next CALLS stage, so never inside
 * its own call. */
static void end(struct session *session) {
    if (session->state == ENDED)
        return;
    session->state = ENDED;
    loop_timer_clear(loop_current(), &session->timer);
    loop_queue(loop_current(), LOOP_CALLS, &work_of(session)->calls);
}

static void end_as_lost(struct session *session) {
    struct work *work = work_of(session);
    if (session->state != ENDED) {
        frame_unref(work->ending);
        work->ending = NULL;
    }
    end(session);
}

static void tell_closed(struct session *session) {
    struct work *work = session->work;
    int code = 1006;
    const char *reason = "";
    size_t size = 0;
    if (work->ending != NULL) {
        const uint8_t *payload = frame_payload(work->ending, &size);
        code = size < 2 ? 1005 : payload[0] << 8 | payload[1];
        size = size < 2 ? 0 : size - 2;
        reason = size == 0 ? "" : (const char *)payload + 2;
    }
    session->told = true;
    loop_queue(loop_current(), LOOP_ENDS, &work->ends);
    session->terms->events->closed(session, code, reason, size);
}

static void drop_parser(struct work *work) {
    if (work->parser == NULL)
        return;
    parser_dispose(work->parser);
    free(work->parser);
    work->parser = NULL;
}

static void on_ends(struct loop_entry *entry) {
    struct work *work = H2O_STRUCT_FROM_MEMBER(struct work, ends, entry);
    struct session *session = work->session;
    struct loop *loop = loop_current();
    if (session->transport != NULL)
        session->transport->close(session);
    loop_unqueue(loop, LOOP_CALLS, &work->calls);
    loop_unqueue(loop, LOOP_BYTES, &work->bytes);
    send_queue_clear(&work->queue);
    drop_parser(work);
    window_free(work->said);
    frame_unref(work->pong);
    frame_unref(work->ending);
    release_work(session);
    leave_works(loop);
    session->terms->events->released(session);
}

/* --- what is sent --- */

static void queue_bytes(struct session *session) {
    if (session->transport != NULL)
        loop_queue(loop_current(), LOOP_BYTES, &work_of(session)->bytes);
}

/* All that was queued has left. */
static void on_flushed(struct session *session) {
    if (session->state == ANSWERED)
        end(session);
    if (session->state != FAILED)
        return;
    if (session->transport->shut == NULL)
        end(session);
    else
        session->transport->shut(session);
}

static void take_pong(struct work *work) {
    if (work->pong == NULL)
        return;
    send_queue_push_urgent(&work->queue, work->pong);
    frame_unref(work->pong);
    work->pong = NULL;
}

static void on_bytes(struct loop_entry *entry) {
    struct work *work = H2O_STRUCT_FROM_MEMBER(struct work, bytes, entry);
    struct session *session = work->session;
    if (session->state == ENDED || work->queue.busy > 0 || work->appended != NULL || session->full)
        return;
    work->waits = false;
    take_pong(work);
    struct iovec parts[TRANSPORT_PARTS_MAX];
    size_t count = send_queue_begin(&work->queue, parts, TRANSPORT_PARTS_MAX, WRITE_BYTES_MAX);
    if (count == 0) {
        rest(session);
        return;
    }
    ssize_t size = session->transport->write(session, parts, count);
    if (size != TRANSPORT_LATER)
        session_written(session, (size_t)size);
}

static uint32_t frames_max(uint32_t queue_bytes_max) { return queue_bytes_max / 32 + 16; }

static bool fits(struct session *session, size_t size) {
    const struct work *work = work_of(session);
    uint32_t most = session->terms->queue_bytes_max;
    return work->queue.bytes + work->appended_size + size <= most &&
           work->queue.count < frames_max(most);
}

static bool moves_again(const struct session *session) {
    const struct work *work = session->work;
    return work->dropped > 0 && session->state == OPEN &&
           work->queue.bytes <= session->terms->queue_bytes_max / 2;
}

static void tell_unblocked(struct session *session) {
    uint64_t dropped = session->work->dropped;
    session->work->dropped = 0;
    session->terms->events->unblocked(session, dropped);
}

/* --- the pace --- */

static struct pace *pace_of(struct session *session) {
    return (struct pace *)((char *)session + session->terms->pace_at);
}

/* Whatever was not read could have been a pong. */
static void read_again(struct session *session) {
    if (!session->slowed)
        return;
    session->slowed = false;
    session->pinged = false;
    session->heard_at = clock_of();
    session->transport->read(session, true);
}

/* The one timer serves for this too. */
static void slow_down(struct session *session, uint32_t ms) {
    struct loop *loop = loop_current();
    limits_hit(LIMIT_RATE_SLOWED);
    session->slowed = true;
    session->transport->read(session, false);
    if (session->timer.slot == 0 || session->timer.at > loop_now(loop) + ms)
        loop_timer_set(loop, &session->timer, ms);
}

static void close_too_fast(struct session *session) {
    static const char reason[] = "too much in a second";
    limits_hit(LIMIT_RATE_CLOSED);
    session_close(session, 1008, reason, sizeof(reason) - 1);
}

/* A peer that closes may always do so. */
static void count_pace(struct session *session, const struct parsed *parsed) {
    const struct pace_terms *terms = &session->terms->pace;
    if (session->state != OPEN || parsed->kind == PARSED_CLOSE || parsed->kind == PARSED_FAILURE)
        return;
    size_t bytes = parsed->used + (parsed->inflated ? parsed->size : 0);
    uint32_t ms = pace_count(pace_of(session), terms, loop_now(loop_current()),
                             parsed->kind != PARSED_NOTHING, bytes);
    if (ms > 0 && terms->closes)
        close_too_fast(session);
    else if (ms > 0 && !session->slowed)
        slow_down(session, ms);
}

/* --- closing --- */

/* Queues the close frame, the last that is sent, and gives the peer its time from now. Takes the
 * frame. */
static void send_close(struct session *session, enum state state, struct frame *frame) {
    session->state = (uint8_t)state;
    struct work *work = work_of(session);
    work->ending = frame;
    send_queue_push(&work->queue, frame);
    queue_bytes(session);
    read_again(session);
    /* Without a transport the handshake's own time runs. */
    if (session->transport != NULL)
        loop_timer_set(loop_current(), &session->timer, session->terms->close_ms);
}

static void fail(struct session *session, const struct parsed *how) {
    if (how->code == 1009)
        limits_hit(LIMIT_MESSAGE);
    if (session->state == OPEN) {
        const char *reason = (const char *)how->data;
        send_close(session, FAILED, frame_create_close(how->code, reason, how->size));
        return;
    }
    /* It closes already: no second close frame. */
    session->state = FAILED;
    if (all_has_left(session))
        on_flushed(session);
}

static void on_peer_close(struct session *session, const struct parsed *close) {
    int code = close->code == 1005 ? 0 : close->code;
    struct frame *frame = frame_create_close(code, (const char *)close->data, close->size);
    if (session->state == OPEN) {
        send_close(session, ANSWERED, frame);
        return;
    }
    struct work *work = work_of(session);
    frame_unref(work->ending);
    work->ending = frame;
    session->state = ANSWERED;
    if (all_has_left(session))
        on_flushed(session);
}

/* --- what arrives --- */

static void answer_ping(struct session *session, const struct parsed *ping) {
    struct work *work = work_of(session);
    frame_unref(work->pong);
    work->pong = frame_create(OPCODE_PONG, ping->data, ping->size);
    queue_bytes(session);
}

static void on_parsed(struct session *session, const struct parsed *parsed) {
    if (parsed->kind == PARSED_CLOSE) {
        on_peer_close(session, parsed);
    } else if (parsed->kind == PARSED_FAILURE) {
        fail(session, parsed);
    } else if (session->state == OPEN && parsed->kind == PARSED_PING) {
        answer_ping(session, parsed);
    } else if (session->state == OPEN && parsed->kind == PARSED_MESSAGE) {
        session->message_at = session->heard_at;
        session->counts.messages_in++;
        session->terms->events->message(session, parsed->opcode, parsed->data, parsed->size);
    }
}

/* Counts what was inflated, and says whether that is enough for a turn. */
static bool is_much(size_t inflated, size_t *sum) {
    struct loop *loop = loop_current();
    struct works *works = works_of(loop);
    if (works->turn != loop_turns(loop)) {
        works->turn = loop_turns(loop);
        works->inflated = 0;
    }
    works->inflated += inflated;
    *sum += inflated;
    return *sum >= INFLATED_MAX || works->inflated >= INFLATED_A_TURN;
}

static size_t parse(struct session *session, struct parser *parser, uint8_t *data, size_t size) {
    size_t used = 0, inflated = 0;
    bool has_pace = session->terms->pace_at != 0;
    while (session->state == OPEN || session->state == CLOSING) {
        parser->ignores = session->state == CLOSING;
        struct parsed parsed =
            parser_next(parser, session->terms->message_bytes_max, data + used, size - used);
        used += parsed.used;
        if (has_pace)
            count_pace(session, &parsed);
        if (parsed.kind == PARSED_NOTHING)
            return used;
        on_parsed(session, &parsed);
        bool enough = (parsed.inflated && is_much(parsed.size, &inflated)) || session->slowed;
        if (enough && size - used > SESSION_REST_MAX)
            return used;
    }
    return size;
}

/* A parser that stands between messages remembers nothing and is made anew each time. */
static void begin_parser(const struct session *session, struct parser *parser) {
    const struct agreement *agreement = &session->agreement;
    *parser = (struct parser){0};
    if (agreement->send_bits != 0)
        parser_inflate(parser, agreement->receive_bits, agreement->receive_takeover);
}

static void keep_parser(struct session *session, const struct parser *fresh) {
    struct parser *kept = h2o_mem_alloc(sizeof(*kept));
    *kept = *fresh;
    work_of(session)->parser = kept;
}

size_t session_input(struct session *session, uint8_t *data, size_t size) {
    struct parser fresh;
    struct parser *kept = session->work == NULL ? NULL : session->work->parser;
    uint32_t messages = session->counts.messages_in;
    session->heard_at = clock_of();
    session->pinged = false;
    if (kept == NULL)
        begin_parser(session, &fresh);
    size_t used = parse(session, kept == NULL ? &fresh : kept, data, size);
    session->counts.bytes_in += used;
    counters_add(COUNTER_BYTES_IN, used);
    counters_add(COUNTER_MESSAGES_IN, session->counts.messages_in - messages);
    if (kept == NULL && !parser_rests(&fresh))
        keep_parser(session, &fresh);
    else if (kept != NULL && parser_rests(kept))
        drop_parser(session->work);
    rest(session);
    return used;
}

/* --- time --- */

/* What is due: milliseconds from now; NEVER. */
#define NEVER UINT32_MAX

static uint32_t sooner(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Of what is due `ms` after the moment `since`; 0: now or before. */
static uint32_t left_of(uint32_t since, uint32_t ms) {
    uint32_t passed = clock_of() - since;
    return passed < ms ? ms - passed : 0;
}

static void send_ping(struct session *session) {
    struct frame *ping = frame_create(OPCODE_PING, NULL, 0);
    send_queue_push_urgent(&work_of(session)->queue, ping);
    frame_unref(ping);
    queue_bytes(session);
    session->pinged = true;
    session->heard_at = clock_of();
}

/* Sends a ping when it is time to, ends the session when the last was not answered. Returns in how
   long to look again. */
static uint32_t keep_alive(struct session *session) {
    const struct session_terms *terms = session->terms;
    if (terms->ping_ms == 0 || session->slowed) /* an answer would not be read */
        return NEVER;
    bool waits = session->pinged && terms->pong_ms > 0;
    uint32_t left = left_of(session->heard_at, waits ? terms->pong_ms : terms->ping_ms);
    if (waits && left == 0) {
        end_as_lost(session);
        return NEVER;
    }
    if (!waits && left > 0)
        return left;
    if (!waits)
        send_ping(session);
    /* Input may come before the pong is due, and then the next ping is due. */
    uint32_t pong_left = terms->pong_ms == 0 ? NEVER : left_of(session->heard_at, terms->pong_ms);
    return sooner(pong_left, terms->ping_ms);
}

static uint32_t check_idle(struct session *session) {
    if (session->terms->idle_ms == 0)
        return NEVER;
    uint32_t left = left_of(session->message_at, session->terms->idle_ms);
    if (left > 0)
        return left;
    session_close(session, 1001, "idle timeout", strlen("idle timeout"));
    return NEVER;
}

static uint32_t check_pace(struct session *session) {
    if (!session->slowed)
        return NEVER;
    uint32_t left = pace_left(pace_of(session), &session->terms->pace, loop_now(loop_current()));
    if (left > 0)
        return left;
    read_again(session);
    return NEVER;
}

/* Traffic only notes the time; the one timer finds out, when it runs, what is due and when the next
 * thing is. */
static void watch(struct session *session) {
    uint32_t left = check_idle(session);
    if (session->state == OPEN)
        left = sooner(left, check_pace(session));
    if (session->state == OPEN)
        left = sooner(left, keep_alive(session));
    if (session->state == OPEN && left != NEVER)
        loop_timer_set(loop_current(), &session->timer, left);
}

static void on_timer(struct timer *timer) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct session, timer, timer);
    if (session->state != OPEN) {
        end(session); /* the time for closing is over */
        return;
    }
    if (session->work != NULL && session->work->waits)
        queue_bytes(session);
    watch(session);
}

/* --- calls that must come later --- */

static void on_calls(struct loop_entry *entry) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct work, calls, entry)->session;
    if (session->state == ENDED && !session->told)
        tell_closed(session);
    else if (session->state != ENDED)
        queue_bytes(session);
    if (moves_again(session))
        tell_unblocked(session);
}

/* --- for owners --- */

void session_begin(struct session *session, const struct session_terms *terms) {
    uint32_t now = clock_of();
    *session =
        (struct session){.terms = terms,
                         .timer = {.run = on_timer},
                         .state = OPEN,
                         .heard_at = now,
                         .message_at = now,
                         .counts = {.opened_at = (uint32_t)(loop_now(loop_current()) / 1000)}};
    works_of(loop_current())->sessions++;
    budget_count_session(1);
}

void session_agree(struct session *session, const struct agreement *agreement) {
    assert(!agreement->send_takeover || session->terms->on_full != ON_FULL_DROP_OLDEST);
    session->agreement = *agreement;
}

void session_attach(struct session *session, const struct transport *transport) {
    assert(session->transport == NULL && !session->told);
    session->transport = transport;
    session->heard_at = session->message_at = clock_of();
    if (session->state == ENDED)
        return;
    queue_bytes(session);
    transport->read(session, true);
    if (session->state == OPEN)
        watch(session);
    else
        loop_timer_set(loop_current(), &session->timer, session->terms->close_ms);
}

void session_abort(struct session *session) { end_as_lost(session); }

static void note_sent(struct session *session) {
    const struct work *work = session->work;
    uint32_t queued = (uint32_t)(work->queue.bytes + work->appended_size);
    session->message_at = clock_of();
    session->counts.messages_out++;
    if (queued > session->counts.queue_peak)
        session->counts.queue_peak = queued;
}

static enum session_result queue_message(struct session *session, struct frame *frame) {
    send_queue_push(&work_of(session)->queue, frame);
    note_sent(session);
    return SESSION_SENT;
}

/* Drops the oldest until size bytes fit; nothing when that could never be. */
static bool make_room(struct session *session, size_t size) {
    struct work *work = session->work;
    if (send_queue_fixed_bytes(&work->queue) + work->appended_size + size >
        session->terms->queue_bytes_max)
        return false;
    while (!fits(session, size)) {
        if (!send_queue_drop_oldest(&work->queue))
            return false;
        work->dropped++;
        counters_add(COUNTER_DROPPED_OLDEST, 1);
    }
    return true;
}

static enum session_result send_when_full(struct session *session, struct frame *frame,
                                          size_t size) {
    if (session->terms->on_full == ON_FULL_CLOSE) {
        limits_hit(LIMIT_QUEUE);
        counters_add(COUNTER_DROPPED_CLOSED, 1);
        session_close(session, 1013, "send queue full", strlen("send queue full"));
        return SESSION_FULL;
    }
    if (session->terms->on_full == ON_FULL_DROP_OLDEST && make_room(session, size))
        return queue_message(session, frame);
    session->work->dropped++;
    counters_add(session->terms->on_full == ON_FULL_DROP_OLDEST ? COUNTER_DROPPED_OLDEST
                                                                : COUNTER_DROPPED_NEWEST,
                 1);
    /* There may be no write under way whose end would tell. */
    if (moves_again(session))
        loop_queue(loop_current(), LOOP_CALLS, &session->work->calls);
    return SESSION_DROPPED;
}

/* Whether all queues together take too much, and this one more than its share. */
static bool is_over_budget(const struct session *session) {
    const struct send_queue *queue = &session->work->queue;
    return queue->count > 0 && budget_is_spent() &&
           queue->bytes + (size_t)queue->count * FRAME_BESIDE > budget_share();
}

/* What waits is forgotten, whatever the policy of the queue: the memory is needed now. */
static enum session_result close_over_budget(struct session *session) {
    static const char reason[] = "the server's queues are full";
    limits_hit(LIMIT_QUEUES);
    while (send_queue_drop_oldest(&session->work->queue))
        ;
    session_close(session, 1013, reason, sizeof(reason) - 1);
    return SESSION_FULL;
}

static enum session_result send_form(struct session *session, struct frame *form) {
    size_t size;
    frame_bytes(form, &size);
    if (session->work != NULL && is_over_budget(session))
        return close_over_budget(session);
    if (!fits(session, size))
        return send_when_full(session, form, size);
    return queue_message(session, form);
}

/* Only what has been queued is in the peer's window when the next message comes. */
static enum session_result send_own_form(struct session *session, struct frame *frame) {
    size_t size;
    struct work *work = work_of(session);
    uint8_t bits = session->agreement.send_bits;
    const uint8_t *payload = frame_payload(frame, &size);
    struct frame *form =
        deflater_own_form(frame, bits, session->terms->compression.level, work->said);
    if (form == NULL)
        return send_form(session, frame);
    enum session_result result = send_form(session, form);
    if (result == SESSION_SENT)
        window_append(&work->said, (size_t)1 << bits, payload, size);
    frame_unref(form);
    return result;
}

static bool compresses(const struct session *session, size_t size) {
    return session->agreement.send_bits != 0 && size >= session->terms->compression.threshold;
}

/* Queues the frame, or the form of it that this peer gets. */
static enum session_result send_any_form(struct session *session, struct frame *frame) {
    const struct compression *compression = &session->terms->compression;
    size_t size;
    if (session->state != OPEN)
        return SESSION_CLOSED;
    frame_payload(frame, &size);
    if (!compresses(session, size))
        return send_form(session, frame);
    if (session->agreement.send_takeover)
        return send_own_form(session, frame);
    return send_form(session,
                     deflater_shared_form(frame, session->agreement.send_bits, compression->level));
}

enum session_result session_send(struct session *session, struct frame *frame) {
    enum session_result result = send_any_form(session, frame);
    if (result == SESSION_SENT)
        queue_bytes(session);
    return result;
}

/* The one timer serves for this too: if something else is due before, it leaves then. Nor does it
   wait until the queue would be full of it. */
static void wait_for_more(struct session *session) {
    struct work *work = session->work;
    struct loop *loop = loop_current();
    uint32_t ms = session->terms->flush_ms, most = session->terms->queue_bytes_max;
    bool is_first = work->queue.count == 1 && work->queue.busy == 0 && work->appended == NULL;
    bool is_much = work->queue.bytes >= most / 2 || work->queue.count >= frames_max(most) / 2;
    if (is_much || !(is_first || work->waits))
        queue_bytes(session);
    if (work->waits || work->bytes.queued)
        return;
    work->waits = true;
    if (session->timer.slot == 0 || session->timer.at > loop_now(loop) + ms)
        loop_timer_set(loop, &session->timer, ms);
}

enum session_result session_share(struct session *session, struct frame *frame) {
    if (session->terms->flush_ms == 0 || session->transport == NULL)
        return session_send(session, frame);
    enum session_result result = send_any_form(session, frame);
    if (result == SESSION_SENT)
        wait_for_more(session);
    return result;
}

/* Copies the message to where the transport will send it from; false when it must be queued. */
static bool append(struct session *session, enum opcode kind, const void *data, size_t size) {
    const struct transport *transport = session->transport;
    if (size > APPENDED_MAX || transport == NULL || transport->append == NULL || session->full ||
        compresses(session, size) || !fits(session, frame_size(size)))
        return false;
    struct work *work = session->work;
    if (work->queue.count > 0)
        return false;
    uint8_t *place = transport->append(session, frame_size(size));
    if (place == NULL)
        return false;
    if (work->appended == NULL)
        work->appended = place;
    work->appended_size += frame_write(place, kind, data, size);
    note_sent(session);
    return true;
}

enum session_result session_send_bytes(struct session *session, enum opcode kind, const void *data,
                                       size_t size) {
    if (session->state != OPEN)
        return SESSION_CLOSED;
    if (append(session, kind, data, size))
        return SESSION_SENT;
    struct frame *frame = frame_create(kind, data, size);
    enum session_result result = session_send(session, frame);
    frame_unref(frame);
    return result;
}

void session_close(struct session *session, int code, const char *reason, size_t reason_size) {
    if (session->state == OPEN)
        send_close(session, CLOSING, frame_create_close(code, reason, reason_size));
}

size_t session_queued(const struct session *session) {
    const struct work *work = session->work;
    return work == NULL ? 0 : work->queue.bytes - work->queue.begun + work->appended_size;
}

/* Only a session with work has a queue. Which works are spare is marked here, since here alone it
   is asked, and works change hands with each delivery. */
uint64_t sessions_queued(const struct loop *loop) {
    const struct works *works = loop_local(loop, LOOP_WORKS);
    uint64_t sum = 0;
    if (works == NULL)
        return 0;
    for (struct work *spare = works->spare; spare != NULL; spare = spare->next)
        spare->session = NULL;
    for (uint32_t at = 0; at < works->count; at++)
        if (works->all[at]->work.session != NULL)
            sum += session_queued(works->all[at]->work.session);
    return sum;
}

/* --- for transports --- */

/* What the connection did not take of the appended frames goes before the queue. */
static void keep_appended(const struct session *session, size_t size) {
    struct work *work = session->work;
    if (session->full)
        send_queue_push_rest(&work->queue, work->appended + size, work->appended_size - size);
    work->appended = NULL;
    work->appended_size = 0;
}

/* The owner is told later, and a long queue goes on in the next turn: one that is read as fast as
   it is written must not hold the loop. */
void session_written(struct session *session, size_t size) {
    struct work *work = session->work;
    session->counts.bytes_out += size;
    counters_add(COUNTER_BYTES_OUT, size);
    if (work->appended != NULL) {
        session->full = size < work->appended_size;
        keep_appended(session, size);
    } else {
        session->full = size < work->queue.writing;
        send_queue_written(&work->queue, size);
    }
    if (session->state == ENDED)
        return;
    bool more = work->queue.count > 0 || work->pong != NULL;
    if (!more)
        on_flushed(session);
    if ((more && !session->full) || moves_again(session))
        loop_queue(loop_current(), LOOP_CALLS, &work->calls);
    rest(session);
}

void session_writable(struct session *session) {
    session->full = false;
    queue_bytes(session);
}

void session_lost(struct session *session) { end(session); }
