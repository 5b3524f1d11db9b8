#include "websocket/plain_transport.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "websocket/progress.h"
#include "websocket/session.h"
#include "websocket/transport.h"

/* What all that are ready may hand over in one go. */
#define INPUT_BYTES (1024 * 1024)
/* What one of them may, so that a fast peer can't hold the loop. */
#define INPUT_MAX (64 * 1024)
/* Frames that leave together are copied side by side up to this size; more is written in place. */
#define JOINED_MAX (16 * 1024)
#define OUTPUT_BYTES (256 * 1024)
#define SWEEP_MS 5000

struct plain {
    struct session *session;
    struct lines *lines;
    struct keeper *keeper; /* may be NULL */
    int fd;
    bool reading;
    bool full;           /* the socket takes no more now: EPOLLOUT is asked for */
    uint16_t rest_size;  /* SESSION_REST_MAX at most */
    uint8_t *rest;       /* the start of a frame; NULL mostly */
    struct early *early; /* received too early; NULL mostly */
};

/* Input that was received before it was asked for. */
struct early {
    struct plain *plain;
    struct loop_entry resume;
    size_t size, at;
    uint8_t bytes[];
};

/* A connection that takes no more. */
struct stuck {
    struct stuck *next;
    struct plain *plain; /* NULL: it has closed or takes bytes again */
    uint64_t taken, since;
};

/* What a thread's connections share. */
struct lines {
    struct loop *loop;
    int epoll;
    h2o_socket_t *readable; /* the epoll set, in h2o's loop */
    size_t open;

    struct batch *receives, *sends;
    uint8_t *input;

    struct loop_entry submit;
    uint8_t *output;
    size_t output_size;
    struct plain *writers[BATCH_MAX];
    size_t sizes[BATCH_MAX];
    bool open_ended; /* the last request ends where the output does, and may grow */

    struct stuck *stuck;
    struct timer sweep;
};

static enum batch_way chosen_way = BATCH_AUTO;

void plain_transport_choose(enum batch_way way) { chosen_way = way; }

/* --- what epoll watches --- */

static void watch(const struct plain *plain, int how) {
    struct epoll_event event = {.events =
                                    (plain->reading ? EPOLLIN : 0u) | (plain->full ? EPOLLOUT : 0u),
                                .data.ptr = (void *)(uintptr_t)plain};
    if (epoll_ctl(plain->lines->epoll, how, plain->fd, &event) != 0 && how == EPOLL_CTL_ADD)
        session_lost(plain->session); /* no memory for one more */
}

static void sweep(struct timer *timer);

static void note_stuck(struct plain *plain) {
    struct lines *lines = plain->lines;
    struct stuck *stuck = h2o_mem_alloc(sizeof(*stuck));
    *stuck = (struct stuck){lines->stuck, plain, progress_of(plain->fd, 0), loop_now(lines->loop)};
    lines->stuck = stuck;
    if (lines->sweep.slot == 0)
        loop_timer_set(lines->loop, &lines->sweep, SWEEP_MS);
}

static void forget_stuck(const struct plain *plain) {
    for (struct stuck *stuck = plain->lines->stuck; stuck != NULL; stuck = stuck->next)
        if (stuck->plain == plain)
            stuck->plain = NULL;
}

static void set_full(struct plain *plain, bool full) {
    if (plain->full == full)
        return;
    plain->full = full;
    watch(plain, EPOLL_CTL_MOD);
    if (full)
        note_stuck(plain);
    else
        forget_stuck(plain);
}

static void check_progress(struct stuck *stuck, uint64_t now) {
    struct plain *plain = stuck->plain;
    uint64_t taken = progress_of(plain->fd, 0);
    if (taken != stuck->taken) {
        stuck->taken = taken;
        stuck->since = now;
    } else if (now - stuck->since >= PROGRESS_STALL_MS) {
        stuck->since = now;
        if (plain->keeper != NULL)
            plain->keeper->stalled(plain->keeper);
        progress_cut_off(plain->fd);
    }
}

static void sweep(struct timer *timer) {
    struct lines *lines = H2O_STRUCT_FROM_MEMBER(struct lines, sweep, timer);
    uint64_t now = loop_now(lines->loop);
    for (struct stuck **link = &lines->stuck, *stuck; (stuck = *link) != NULL;) {
        if (stuck->plain != NULL) {
            check_progress(stuck, now);
            link = &stuck->next;
        } else {
            *link = stuck->next;
            free(stuck);
        }
    }
    if (lines->stuck != NULL)
        loop_timer_set(lines->loop, timer, SWEEP_MS);
}

/* --- input --- */

static void keep_rest(struct plain *plain, const uint8_t *rest, size_t size) {
    free(plain->rest);
    plain->rest = NULL;
    plain->rest_size = (uint16_t)size;
    if (size == 0)
        return;
    plain->rest = h2o_mem_alloc(size);
    memcpy(plain->rest, rest, size);
}

/* The rest of the last time stands before new input. */
static void place_rest(const struct plain *plain, uint8_t *place) {
    if (plain->rest_size > 0)
        memcpy(place, plain->rest, plain->rest_size);
}

/* size new bytes lie at place, behind the rest. */
static void hand_over(struct plain *plain, uint8_t *place, size_t size) {
    size += plain->rest_size;
    size_t used = session_input(plain->session, place, size);
    assert(used <= size && size - used <= SESSION_REST_MAX);
    keep_rest(plain, place + used, size - used);
}

static void on_gone(struct plain *plain) {
    plain->reading = false;
    watch(plain, EPOLL_CTL_MOD);
    session_lost(plain->session);
}

static void on_resume(struct loop_entry *entry);

static void keep_early(struct plain *plain, const void *bytes, size_t size) {
    if (size == 0)
        return;
    plain->early = h2o_mem_alloc(sizeof(*plain->early) + size);
    plain->early->plain = plain;
    plain->early->resume = (struct loop_entry){.run = on_resume};
    plain->early->at = 0;
    plain->early->size = size;
    memcpy(plain->early->bytes, bytes, size);
}

static void on_received(struct plain *plain, uint8_t *place, ssize_t size) {
    if (size == -EAGAIN)
        return;
    if (size <= 0)
        on_gone(plain);
    else if (plain->reading)
        hand_over(plain, place, (size_t)size);
    else /* an earlier one of this turn has stopped it */
        keep_early(plain, place + plain->rest_size, (size_t)size);
}

/* Receives from all that have something. Their messages are acted on when all have been received,
   and mail that came meanwhile goes first: see loop_catch_up_all. */
static void receive(struct lines *lines, struct plain **from, size_t count) {
    size_t share = INPUT_BYTES / (count == 0 ? 1 : count), most = share - SESSION_REST_MAX;
    if (most > INPUT_MAX)
        most = INPUT_MAX;
    for (size_t i = 0; i < count; i++) {
        uint8_t *place = lines->input + i * share;
        place_rest(from[i], place);
        batch_receive(lines->receives, from[i]->fd, place + from[i]->rest_size, most);
    }
    ssize_t results[BATCH_MAX];
    memcpy(results, batch_run(lines->receives), count * sizeof(*results));
    loop_catch_up_all(lines->loop);
    for (size_t i = 0; i < count; i++)
        on_received(from[i], lines->input + i * share, results[i]);
}

/* Level-triggered: who is not served now announces itself in the next turn. */
static void on_events(h2o_socket_t *readable, const char *error) {
    struct lines *lines = readable->data;
    struct epoll_event events[BATCH_MAX];
    struct plain *readers[BATCH_MAX];
    size_t reading = 0;
    if (error != NULL || !loop_catch_up(lines->loop))
        return;
    int count = epoll_wait(lines->epoll, events, BATCH_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct plain *plain = events[i].data.ptr;
        if ((events[i].events & EPOLLOUT) != 0 && plain->full) {
            set_full(plain, false);
            session_writable(plain->session);
        }
        if (plain->reading && (events[i].events & ~(uint32_t)EPOLLOUT) != 0)
            readers[reading++] = plain;
        else if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0)
            on_gone(plain);
    }
    receive(lines, readers, reading);
}

/* A portion of what h2o had read; true when that was all. */
static bool drain_early(struct early *early) {
    struct plain *plain = early->plain;
    uint8_t *place = plain->lines->input;
    size_t size = early->size - early->at;
    if (size > INPUT_MAX)
        size = INPUT_MAX;
    place_rest(plain, place);
    memcpy(place + plain->rest_size, early->bytes + early->at, size);
    early->at += size;
    loop_catch_up_all(plain->lines->loop);
    hand_over(plain, place, size);
    return early->at == early->size;
}

static void forget_early(struct plain *plain) {
    if (plain->early != NULL)
        loop_unqueue(plain->lines->loop, LOOP_CALLS, &plain->early->resume);
    free(plain->early);
    plain->early = NULL;
}

static void on_resume(struct loop_entry *entry) {
    struct early *early = H2O_STRUCT_FROM_MEMBER(struct early, resume, entry);
    struct plain *plain = early->plain;
    struct loop *loop = plain->lines->loop;
    if (!loop_catch_up(loop) || !drain_early(early)) {
        if (plain->reading)
            loop_queue(loop, LOOP_CALLS, &early->resume);
        return;
    }
    forget_early(plain);
    watch(plain, EPOLL_CTL_MOD);
}

static void read_input(void *io, bool on) {
    struct plain *plain = io;
    if (plain->reading == on)
        return;
    plain->reading = on;
    if (plain->early == NULL)
        watch(plain, EPOLL_CTL_MOD);
    else if (on)
        loop_queue(plain->lines->loop, LOOP_CALLS, &plain->early->resume);
    else
        loop_unqueue(plain->lines->loop, LOOP_CALLS, &plain->early->resume);
}

/* --- output --- */

/* How much of size left, of a send's result. */
static size_t settle(struct plain *plain, ssize_t result, size_t size) {
    if (result < 0 && result != -EAGAIN) {
        session_lost(plain->session);
        return size;
    }
    size_t left = result < 0 ? 0 : (size_t)result;
    if (left < size)
        set_full(plain, true);
    return left;
}

/* What the turn's sessions have written leaves together. */
static void submit(struct lines *lines) {
    size_t count = batch_count(lines->sends);
    if (count == 0)
        return;
    const ssize_t *results = batch_run(lines->sends);
    lines->output_size = 0;
    lines->open_ended = false;
    for (size_t i = 0; i < count; i++)
        session_written(lines->writers[i]->session,
                        settle(lines->writers[i], results[i], lines->sizes[i]));
}

static void on_submit(struct loop_entry *entry) {
    submit(H2O_STRUCT_FROM_MEMBER(struct lines, submit, entry));
}

static size_t total_of(const struct iovec *parts, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

static ssize_t write_at_once(struct plain *plain, const struct iovec *parts, size_t count) {
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                   .msg_iovlen = count};
    ssize_t size;
    do
        size = sendmsg(plain->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (size == -1 && errno == EINTR);
    return (ssize_t)settle(plain, size == -1 ? -errno : size, total_of(parts, count));
}

/* The parts as one piece of memory that stays until the submit. */
static const uint8_t *join(struct lines *lines, const struct iovec *parts, size_t count) {
    uint8_t *joined = lines->output + lines->output_size;
    if (count == 1)
        return parts[0].iov_base;
    for (size_t i = 0; i < count; i++) {
        memcpy(lines->output + lines->output_size, parts[i].iov_base, parts[i].iov_len);
        lines->output_size += parts[i].iov_len;
    }
    return joined;
}

/* Leaves behind all who write in this turn. */
static void add_send(struct plain *plain, const uint8_t *bytes, size_t size) {
    struct lines *lines = plain->lines;
    size_t at = batch_count(lines->sends);
    lines->writers[at] = plain;
    lines->sizes[at] = size;
    batch_send(lines->sends, plain->fd, bytes, size);
    loop_queue(lines->loop, LOOP_SENDS, &lines->submit);
}

static ssize_t write_output(void *io, const struct iovec *parts, size_t count) {
    struct plain *plain = io;
    struct lines *lines = plain->lines;
    size_t size = total_of(parts, count);
    if (count > 1 && size > JOINED_MAX)
        return write_at_once(plain, parts, count);
    if (batch_count(lines->sends) == BATCH_MAX ||
        (count > 1 && lines->output_size + size > OUTPUT_BYTES))
        submit(lines);
    add_send(plain, join(lines, parts, count), size);
    lines->open_ended = false;
    return TRANSPORT_LATER;
}

/* Small messages of one session, the answers to what it has just sent, lie side by side. */
static void *append_output(void *io, size_t size) {
    struct plain *plain = io;
    struct lines *lines = plain->lines;
    size_t count = batch_count(lines->sends);
    bool grows = lines->open_ended && lines->writers[count - 1] == plain;
    uint8_t *place = lines->output + lines->output_size;
    if (lines->output_size + size > OUTPUT_BYTES ||
        (grows ? lines->sizes[count - 1] + size > JOINED_MAX : count == BATCH_MAX))
        return NULL;
    lines->output_size += size;
    if (grows) {
        lines->sizes[count - 1] += size;
        batch_grow(lines->sends, size);
        return place;
    }
    add_send(plain, place, size);
    lines->open_ended = true;
    return place;
}

/* --- the end --- */

static void shut_output(void *io) {
    const struct plain *plain = io;
    shutdown(plain->fd, SHUT_WR);
}

static void end_connection(void *io) {
    struct plain *plain = io;
    forget_early(plain);
    if (plain->full)
        forget_stuck(plain);
    close(plain->fd); /* it leaves the epoll set by itself */
    plain->lines->open--;
    if (plain->keeper != NULL)
        plain->keeper->closed(plain->keeper);
    free(plain->rest);
    free(plain);
}

static const struct transport over_plain = {
    .write = write_output,
    .append = append_output,
    .read = read_input,
    .close = end_connection,
    .shut = shut_output,
};

/* --- its life --- */

static struct lines *lines_of(struct loop *loop) {
    struct lines *lines = loop_local(loop, LOOP_SESSIONS);
    if (lines != NULL)
        return lines;
    lines = h2o_mem_alloc(sizeof(*lines));
    *lines = (struct lines){.loop = loop,
                            .epoll = epoll_create1(EPOLL_CLOEXEC),
                            .receives = batch_create(chosen_way),
                            .sends = batch_create(chosen_way),
                            .input = h2o_mem_alloc(INPUT_BYTES),
                            .output = h2o_mem_alloc(OUTPUT_BYTES),
                            .submit = {.run = on_submit},
                            .sweep = {.run = sweep}};
    if (lines->epoll == -1)
        h2o_fatal("epoll_create1");
    lines->readable =
        h2o_evloop_socket_create(loop_h2o(loop), lines->epoll, H2O_SOCKET_FLAG_DONT_READ);
    lines->readable->data = lines;
    h2o_socket_read_start(lines->readable, on_events);
    loop_set_local(loop, LOOP_SESSIONS, lines);
    return lines;
}

void plain_transport_free(struct loop *loop) {
    struct lines *lines = loop_local(loop, LOOP_SESSIONS);
    if (lines == NULL)
        return;
    assert(lines->open == 0);
    loop_timer_clear(loop, &lines->sweep);
    for (struct stuck *stuck; (stuck = lines->stuck) != NULL;) {
        lines->stuck = stuck->next;
        free(stuck);
    }
    h2o_socket_close(lines->readable);
    batch_free(lines->receives);
    batch_free(lines->sends);
    free(lines->input);
    free(lines->output);
    free(lines);
    loop_set_local(loop, LOOP_SESSIONS, NULL);
}

void plain_transport_attach(struct session *session, h2o_socket_t *socket, size_t reqsize) {
    struct plain *plain = h2o_mem_alloc(sizeof(*plain));
    struct kept *kept = socket->on_close.data;
    h2o_socket_export_t left;
    *plain = (struct plain){.session = session,
                            .lines = lines_of(loop_current()),
                            .keeper = kept == NULL ? NULL : kept->keeper};
    assert(socket->ssl == NULL);
    socket->on_close.cb = NULL;
    h2o_buffer_consume(&socket->input, reqsize);
    h2o_socket_export(socket, &left);
    if (kept != NULL)
        kept->taken(kept);
    plain->fd = left.fd;
    plain->lines->open++;
    keep_early(plain, left.input->bytes, left.input->size);
    h2o_buffer_dispose(&left.input);
    watch(plain, EPOLL_CTL_ADD);
    session_attach(session, &over_plain, plain);
}
