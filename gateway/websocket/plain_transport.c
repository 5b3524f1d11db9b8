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

/* What lies in a session's line:
     fd, reading
     full    the socket takes no more now: EPOLLOUT is asked for
     sending a request of the batch is its: there is never a second one
     keeper  its place among the thread's keepers, from 1; 0: nobody counts it
     data    a struct held, NULL mostly */

/* Input that could not be handed over yet. */
struct held {
    struct session *session;
    struct loop_entry resume; /* for early */
    uint8_t *early;           /* received before it was asked for; NULL mostly */
    size_t early_size, early_at;
    size_t rest_size; /* SESSION_REST_MAX at most */
    uint8_t rest[SESSION_REST_MAX];
};

/* A connection that takes no more. */
struct stuck {
    struct stuck *next;
    struct session *session; /* NULL: it has closed or takes bytes again */
    uint64_t taken, since;
};

#define KEEPERS_MAX UINT16_MAX

/* A keeper and how many of the thread's connections it counts. */
struct watched {
    struct keeper *keeper;
    size_t open; /* 0: the place is free */
};

/* What a thread's connections share. */
struct lines {
    struct loop *loop;
    int epoll;
    h2o_socket_t *readable; /* the epoll set, in h2o's loop */
    size_t open;
    struct watched *keepers;
    size_t keeper_count;

    struct batch *receives, *sends;
    uint8_t *input;

    struct loop_entry submit;
    uint8_t *output;
    size_t output_size;
    struct session *writers[BATCH_MAX];
    size_t sizes[BATCH_MAX];
    bool open_ended; /* the last request ends where the output does, and may grow */

    struct stuck *stuck;
    struct timer sweep;
};

static enum batch_way chosen_way = BATCH_AUTO;

void plain_transport_choose(enum batch_way way) { chosen_way = way; }

static struct lines *lines_of(void) { return loop_local(loop_current(), LOOP_PLAIN); }

static struct keeper *keeper_of(const struct session *session) {
    uint16_t place = session->line.keeper;
    return place == 0 ? NULL : lines_of()->keepers[place - 1].keeper;
}

/* Input that comes before any that is still to be received. */
static bool has_early(const struct session *session) {
    const struct held *held = session->line.data;
    return held != NULL && held->early != NULL;
}

/* --- what epoll watches --- */

/* A change is announced once, which spares the kernel a second look at each socket that was read:
   whoever leaves something there watches it anew. */
static void watch(struct session *session, int how) {
    const struct session_line *line = &session->line;
    bool reads = line->reading && !has_early(session);
    struct epoll_event event = {.events = EPOLLET | (reads ? EPOLLIN | EPOLLRDHUP : 0u) |
                                          (line->full ? EPOLLOUT : 0u),
                                .data.ptr = session};
    if (epoll_ctl(lines_of()->epoll, how, line->fd, &event) != 0 && how == EPOLL_CTL_ADD)
        session_lost(session); /* no memory for one more */
}

static void sweep(struct timer *timer);

static void note_stuck(struct session *session) {
    struct lines *lines = lines_of();
    struct stuck *stuck = h2o_mem_alloc(sizeof(*stuck));
    *stuck = (struct stuck){lines->stuck, session, progress_of(session->line.fd, 0),
                            loop_now(lines->loop)};
    lines->stuck = stuck;
    if (lines->sweep.slot == 0)
        loop_timer_set(lines->loop, &lines->sweep, SWEEP_MS);
}

static void forget_stuck(const struct session *session) {
    for (struct stuck *stuck = lines_of()->stuck; stuck != NULL; stuck = stuck->next)
        if (stuck->session == session)
            stuck->session = NULL;
}

static void set_full(struct session *session, bool full) {
    if (session->line.full == full)
        return;
    session->line.full = full;
    watch(session, EPOLL_CTL_MOD);
    if (full)
        note_stuck(session);
    else
        forget_stuck(session);
}

static void check_progress(struct stuck *stuck, uint64_t now) {
    const struct session *session = stuck->session;
    struct keeper *keeper = keeper_of(session);
    uint64_t taken = progress_of(session->line.fd, 0);
    if (taken != stuck->taken) {
        stuck->taken = taken;
        stuck->since = now;
    } else if (now - stuck->since >= progress_stall_ms()) {
        stuck->since = now;
        if (keeper != NULL)
            keeper->stalled(keeper);
        progress_cut_off(session->line.fd);
    }
}

static void sweep(struct timer *timer) {
    struct lines *lines = H2O_STRUCT_FROM_MEMBER(struct lines, sweep, timer);
    uint64_t now = loop_now(lines->loop);
    for (struct stuck **link = &lines->stuck, *stuck; (stuck = *link) != NULL;) {
        if (stuck->session != NULL) {
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

static void on_resume(struct loop_entry *entry);

static struct held *hold(struct session *session) {
    struct held *held = session->line.data;
    if (held != NULL)
        return held;
    held = h2o_mem_alloc(sizeof(*held));
    held->session = session;
    held->resume = (struct loop_entry){.run = on_resume};
    held->early = NULL;
    held->rest_size = 0;
    session->line.data = held;
    return held;
}

/* Gives back what holds nothing any more. */
static void let_go(struct session *session) {
    struct held *held = session->line.data;
    if (held == NULL || held->early != NULL || held->rest_size > 0)
        return;
    free(held);
    session->line.data = NULL;
}

static size_t rest_size(const struct session *session) {
    const struct held *held = session->line.data;
    return held == NULL ? 0 : held->rest_size;
}

/* The rest of the last time stands before new input. */
static void place_rest(const struct session *session, uint8_t *place) {
    const struct held *held = session->line.data;
    if (held != NULL)
        memcpy(place, held->rest, held->rest_size);
}

/* size new bytes lie at place, behind the rest. Returns how many of the last ones are to be given
   again in the next turn. */
static size_t hand_over(struct session *session, uint8_t *place, size_t size) {
    size += rest_size(session);
    size_t used = session_input(session, place, size), left = size - used;
    if (left == 0 && session->line.data == NULL)
        return 0;
    struct held *held = hold(session);
    held->rest_size = left > SESSION_REST_MAX ? 0 : left;
    memcpy(held->rest, place + used, held->rest_size);
    let_go(session);
    return left > SESSION_REST_MAX ? left : 0;
}

static void on_gone(struct session *session) {
    session->line.reading = false;
    watch(session, EPOLL_CTL_MOD);
    session_lost(session);
}

/* What is early is handed over in the next turn, and new input is left alone until then. */
static void resume(const struct session *session) {
    struct held *held = session->line.data;
    loop_queue(loop_current(), LOOP_CALLS, &held->resume);
}

static void keep_early(struct session *session, const void *bytes, size_t size) {
    if (size == 0)
        return;
    struct held *held = hold(session);
    held->early = h2o_mem_alloc(size);
    held->early_at = 0;
    held->early_size = size;
    memcpy(held->early, bytes, size);
}

static void on_received(struct session *session, uint8_t *place, ssize_t size) {
    if (size == -EAGAIN)
        return;
    if (size <= 0) {
        on_gone(session);
        return;
    }
    uint8_t *end = place + rest_size(session) + size;
    size_t left = (size_t)size; /* an earlier one of this turn may have stopped it */
    if (session->line.reading)
        left = hand_over(session, place, (size_t)size);
    keep_early(session, end - left, left);
    if (left > 0 && session->line.reading)
        resume(session);
}

/* One that has something to be received. */
struct reader {
    struct session *session;
    bool ends; /* behind what there is comes its end */
};

/* Receives from all of them. Their messages are acted on when all have been received, and mail that
   came meanwhile goes first: see loop_catch_up_all. */
static void receive(struct lines *lines, const struct reader *from, size_t count) {
    size_t share = INPUT_BYTES / (count == 0 ? 1 : count), most = share - SESSION_REST_MAX;
    if (most > INPUT_MAX)
        most = INPUT_MAX;
    for (size_t i = 0; i < count; i++) {
        struct session *session = from[i].session;
        uint8_t *place = lines->input + i * share;
        place_rest(session, place);
        batch_receive(lines->receives, session->line.fd, place + rest_size(session), most);
    }
    ssize_t results[BATCH_MAX];
    memcpy(results, batch_run(lines->receives), count * sizeof(*results));
    loop_catch_up_all(lines->loop);
    for (size_t i = 0; i < count; i++) {
        on_received(from[i].session, lines->input + i * share, results[i]);
        /* Something may be left there, or nothing was there at all. */
        if (results[i] == (ssize_t)most || results[i] == -EAGAIN || from[i].ends)
            watch(from[i].session, EPOLL_CTL_MOD);
    }
}

/* Who is not served now announces itself in the next turn. */
static void on_events(h2o_socket_t *readable, const char *error) {
    struct lines *lines = readable->data;
    struct epoll_event events[BATCH_MAX];
    struct reader readers[BATCH_MAX];
    size_t reading = 0;
    if (error != NULL || !loop_catch_up(lines->loop))
        return;
    int count = epoll_wait(lines->epoll, events, BATCH_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct session *session = events[i].data.ptr;
        bool ends = (events[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0;
        if ((events[i].events & EPOLLOUT) != 0 && session->line.full) {
            set_full(session, false);
            session_writable(session);
        }
        if (session->line.reading && has_early(session))
            continue; /* it is announced again when that is read */
        if (session->line.reading && (ends || (events[i].events & EPOLLIN) != 0))
            readers[reading++] = (struct reader){session, ends};
        else if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0)
            on_gone(session);
    }
    receive(lines, readers, reading);
}

/* A portion of what h2o had read; true when that was all. */
static bool drain_early(struct session *session) {
    struct held *held = session->line.data;
    struct lines *lines = lines_of();
    size_t size = held->early_size - held->early_at;
    if (size > INPUT_MAX)
        size = INPUT_MAX;
    place_rest(session, lines->input);
    memcpy(lines->input + held->rest_size, held->early + held->early_at, size);
    held->early_at += size;
    loop_catch_up_all(lines->loop);
    held->early_at -= hand_over(session, lines->input, size); /* held stays: early is not NULL */
    return held->early_at == held->early_size;
}

static void forget_early(struct session *session) {
    struct held *held = session->line.data;
    if (held == NULL)
        return;
    loop_unqueue(loop_current(), LOOP_CALLS, &held->resume);
    free(held->early);
    held->early = NULL;
    let_go(session);
}

static void on_resume(struct loop_entry *entry) {
    struct session *session = H2O_STRUCT_FROM_MEMBER(struct held, resume, entry)->session;
    struct loop *loop = loop_current();
    if (!loop_catch_up(loop) || !drain_early(session)) {
        if (session->line.reading)
            loop_queue(loop, LOOP_CALLS, entry);
        return;
    }
    forget_early(session);
    watch(session, EPOLL_CTL_MOD);
}

static void read_input(struct session *session, bool on) {
    struct held *held = session->line.data;
    if (session->line.reading == on)
        return;
    session->line.reading = on;
    if (!has_early(session))
        watch(session, EPOLL_CTL_MOD);
    else if (on)
        resume(session);
    else
        loop_unqueue(loop_current(), LOOP_CALLS, &held->resume);
}

/* --- output --- */

/* How much of size left, of a send's result. */
static size_t settle(struct session *session, ssize_t result, size_t size) {
    if (result < 0 && result != -EAGAIN) {
        session_lost(session);
        return size;
    }
    size_t left = result < 0 ? 0 : (size_t)result;
    if (left < size)
        set_full(session, true);
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
        lines->writers[i]->line.sending = false;
    for (size_t i = 0; i < count; i++)
        session_written(lines->writers[i], settle(lines->writers[i], results[i], lines->sizes[i]));
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

static ssize_t write_at_once(struct session *session, const struct iovec *parts, size_t count) {
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                   .msg_iovlen = count};
    ssize_t size;
    do
        size = sendmsg(session->line.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (size == -1 && errno == EINTR);
    return (ssize_t)settle(session, size == -1 ? -errno : size, total_of(parts, count));
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
static void add_send(struct session *session, const uint8_t *bytes, size_t size) {
    struct lines *lines = lines_of();
    size_t at = batch_count(lines->sends);
    assert(!session->line.sending);
    session->line.sending = true;
    lines->writers[at] = session;
    lines->sizes[at] = size;
    batch_send(lines->sends, session->line.fd, bytes, size);
    loop_queue(lines->loop, LOOP_SENDS, &lines->submit);
}

static ssize_t write_output(struct session *session, const struct iovec *parts, size_t count) {
    struct lines *lines = lines_of();
    size_t size = total_of(parts, count);
    if (count > 1 && size > JOINED_MAX)
        return write_at_once(session, parts, count);
    if (batch_count(lines->sends) == BATCH_MAX ||
        (count > 1 && lines->output_size + size > OUTPUT_BYTES))
        submit(lines);
    add_send(session, join(lines, parts, count), size);
    lines->open_ended = false;
    return TRANSPORT_LATER;
}

/* Small messages of one session, the answers to what it has just sent, lie side by side. */
static void *append_output(struct session *session, size_t size) {
    struct lines *lines = lines_of();
    size_t count = batch_count(lines->sends);
    bool grows = lines->open_ended && lines->writers[count - 1] == session;
    uint8_t *place = lines->output + lines->output_size;
    if (lines->output_size + size > OUTPUT_BYTES ||
        (grows ? lines->sizes[count - 1] + size > JOINED_MAX
               : count == BATCH_MAX || session->line.sending))
        return NULL;
    lines->output_size += size;
    if (grows) {
        lines->sizes[count - 1] += size;
        batch_grow(lines->sends, size);
        return place;
    }
    add_send(session, place, size);
    lines->open_ended = true;
    return place;
}

/* --- the end --- */

static void shut_output(struct session *session) { shutdown(session->line.fd, SHUT_WR); }

static void end_connection(struct session *session) {
    struct keeper *keeper = keeper_of(session);
    forget_early(session);
    if (session->line.full)
        forget_stuck(session);
    close(session->line.fd); /* it leaves the epoll set by itself */
    lines_of()->open--;
    if (keeper != NULL) {
        lines_of()->keepers[session->line.keeper - 1].open--;
        keeper->closed(keeper);
    }
    free(session->line.data);
}

static const struct transport over_plain = {
    .write = write_output,
    .append = append_output,
    .read = read_input,
    .close = end_connection,
    .shut = shut_output,
};

/* --- its life --- */

static struct lines *lines_for(struct loop *loop) {
    struct lines *lines = loop_local(loop, LOOP_PLAIN);
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
    loop_set_local(loop, LOOP_PLAIN, lines);
    return lines;
}

void plain_transport_prepare(struct loop *loop) { lines_for(loop); }

void plain_transport_free(struct loop *loop) {
    struct lines *lines = loop_local(loop, LOOP_PLAIN);
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
    free(lines->keepers);
    free(lines->input);
    free(lines->output);
    free(lines);
    loop_set_local(loop, LOOP_PLAIN, NULL);
}

/* There is a keeper for each address that is listened to, so few of them. */
static uint16_t count_in(struct lines *lines, struct keeper *keeper) {
    size_t at = 0, vacant = lines->keeper_count;
    if (keeper == NULL)
        return 0;
    for (; at < lines->keeper_count && lines->keepers[at].keeper != keeper; at++)
        if (lines->keepers[at].open == 0)
            vacant = at;
    if (at == lines->keeper_count)
        at = vacant;
    if (at == lines->keeper_count) {
        assert(at < KEEPERS_MAX);
        lines->keepers = h2o_mem_realloc(lines->keepers, (at + 1) * sizeof(*lines->keepers));
        lines->keepers[lines->keeper_count++].open = 0;
    }
    lines->keepers[at].keeper = keeper;
    lines->keepers[at].open++;
    return (uint16_t)(at + 1);
}

void plain_transport_attach(struct session *session, h2o_socket_t *socket, size_t reqsize) {
    struct lines *lines = lines_for(loop_current());
    struct kept *kept = socket->on_close.data;
    h2o_socket_export_t left;
    assert(socket->ssl == NULL);
    session->line =
        (struct session_line){.keeper = count_in(lines, kept == NULL ? NULL : kept->keeper)};
    socket->on_close.cb = NULL;
    h2o_buffer_consume(&socket->input, reqsize);
    h2o_socket_export(socket, &left);
    if (kept != NULL)
        kept->taken(kept);
    session->line.fd = left.fd;
    lines->open++;
    keep_early(session, left.input->bytes, left.input->size);
    h2o_buffer_dispose(&left.input);
    watch(session, EPOLL_CTL_ADD);
    session_attach(session, &over_plain);
}
