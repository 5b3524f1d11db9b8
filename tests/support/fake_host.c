/* The host's life and its turns: which hook runs when. */
#include "fake_parts.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MAX 1000
#define STEPS_MAX 100000

void fake_fault(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("fake host: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

/* --- loans --- */

const char *fake_lend(struct fake_host *host, const char *text, size_t size) {
    struct loan *loan = fake_alloc(sizeof(*loan) + size + 1);
    if (size > 0)
        memcpy(loan->bytes, text, size);
    loan->next = host->loans;
    host->loans = loan;
    return loan->bytes;
}

void fake_end_loans(struct fake_host *host) {
    for (struct loan *loan = host->loans, *next; loan; loan = next) {
        next = loan->next;
        free(loan);
    }
    host->loans = NULL;
}

/* --- letters --- */

static void letters_init(struct letters *letters) {
    *letters = (struct letters){NULL, &letters->first, 0};
}

/* Jobs are the test's thread's alone, but one way for both is simpler. */
void fake_post(struct letters *to, struct letter *letter) {
    pthread_mutex_lock(&letter->host->lock);
    letter->next = NULL;
    *to->last = letter;
    to->last = &letter->next;
    to->count++;
    pthread_mutex_unlock(&letter->host->lock);
}

static struct letter *take(struct fake_host *host, struct letters *from) {
    pthread_mutex_lock(&host->lock);
    struct letter *letter = from->first;
    if (letter) {
        from->first = letter->next;
        from->count--;
        if (!from->first)
            from->last = &from->first;
    }
    pthread_mutex_unlock(&host->lock);
    return letter;
}

static void free_letter(struct letter *letter) {
    for (size_t i = 0; i < letter->count; i++)
        free((char *)(uintptr_t)letter->members[i].info); /* its own copy */
    free(letter->members);
    fake_past_free_letter(letter);
    free(letter->group);
    free(letter->message.data);
    free(letter);
}

/* The connection of this id while it lives. */
static sluice_conn *find_conn(const struct fake_host *host, sluice_id id) {
    sluice_conn *conn = id == 0 ? NULL : host->conns[id - 1];
    return conn && conn->state != ENDED ? conn : NULL;
}

static void deliver(struct fake_host *host, struct letter *letter) {
    letter->deliver(letter, find_conn(host, letter->id));
    fake_end_loans(host);
    free_letter(letter);
}

/* --- how connections end --- */

static void drop_timers(sluice_conn *conn) {
    struct conn_timer *timer;
    while ((timer = conn->timers)) {
        conn->timers = timer->next;
        timer->fn(NULL, timer->arg);
        free(timer);
    }
    conn->timer_count = 0;
    fake_end_loans(conn->host);
}

static void release(sluice_conn *conn) {
    conn->state = ENDED;
    fake_scope_forget_request(conn);
    drop_timers(conn);
    conn->releases++;
    if (conn->host->consumer.release)
        conn->host->consumer.release(conn);
    fake_end_loans(conn->host);
    conn->released = true;
    free(conn->data);
    conn->data = NULL;
}

static void end_accepted(sluice_conn *conn, int code, const char *reason) {
    conn->state = ENDED;
    if (conn->close_code == 0) {
        conn->close_code = code;
        conn->close_reason = fake_copy(reason);
    }
    fake_group_leave_all(conn);
    conn->reason = fake_copy(reason);
    if (!conn->stopped) {
        conn->disconnects++;
        if (conn->host->consumer.disconnect)
            conn->host->consumer.disconnect(conn, code);
    }
    fake_end_loans(conn->host);
    free(conn->reason);
    conn->reason = NULL;
    release(conn);
}

/* One connection that has something left to do: an answer that leaves, or a close that the client
   answers. */
static bool settle_one(struct fake_host *host) {
    for (size_t i = 0; i < host->conn_count; i++) {
        sluice_conn *conn = host->conns[i];
        if (conn->state == ANSWERED)
            release(conn);
        else if (conn->state == CLOSING)
            end_accepted(conn, conn->close_code, "");
        else
            continue;
        return true;
    }
    return false;
}

void fake_turn(struct fake_host *host) {
    for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
        struct letter *letter = take(host, &host->mail);
        if (letter)
            deliver(host, letter);
        else if (!settle_one(host))
            return;
    }
    fake_fault("the consumer never comes to rest: each callback causes another");
}

/* --- life --- */

static void read_descriptor(struct fake_host *host, const sluice_consumer *from) {
    if (!from || from->magic != SLUICE_MAGIC || from->abi_major != SLUICE_ABI_MAJOR ||
        !from->name || !from->version)
        fake_fault("the entry returns no consumer of ABI %u", SLUICE_ABI_MAJOR);
    memcpy(&host->consumer, from, from->size < sizeof(*from) ? from->size : sizeof(*from));
}

struct fake_host *fake_host_create(sluice_entry_fn entry) {
    struct fake_host *host = fake_alloc(sizeof(*host));
    fake_set_current(host);
    host->thread = pthread_self();
    host->jobs_max = JOBS_MAX;
    letters_init(&host->mail);
    letters_init(&host->jobs);
    pthread_mutex_init(&host->lock, NULL);
    read_descriptor(host, entry(fake_functions()));
    return host;
}

struct fake_host *fake_host_load(const char *path) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    union {
        void *address;
        sluice_entry_fn call;
    } entry = {plugin ? dlsym(plugin, SLUICE_ENTRY) : NULL};
    if (!entry.address)
        fake_fault("%s can't be loaded: %s", path, dlerror());
    return fake_host_create(entry.call);
}

const sluice_consumer *fake_consumer(const struct fake_host *host) { return &host->consumer; }

static void free_conn(sluice_conn *conn) {
    for (size_t i = 0; i < conn->got_count; i++)
        free(conn->got[i].data);
    free(conn->got);
    free(conn->answer_body.data);
    free(conn->close_reason);
    fake_pairs_free(&conn->answer_headers);
    fake_scope_free(conn);
    free(conn);
}

static void end_connections(struct fake_host *host) {
    for (size_t i = 0; i < host->conn_count; i++) {
        sluice_conn *conn = host->conns[i];
        if (conn->state == DECIDING || conn->state == ANSWERED)
            release(conn);
        else if (conn->state != ENDED)
            end_accepted(conn, 1006, "");
    }
}

/* A pool that ends runs no more work, but its promises are kept. */
static void end_jobs(struct fake_host *host) {
    for (struct letter *job; (job = take(host, &host->jobs));)
        fake_post(&host->mail, job);
}

static void close_route(sluice_route *route, bool opened) {
    const sluice_consumer *consumer = &route->host->consumer;
    for (struct every *every = route->thread.everies, *next; every; every = next) {
        next = every->next;
        free(every);
    }
    if (route->threaded && consumer->thread_stop)
        consumer->thread_stop(&route->thread, route->thread.data);
    if (opened && consumer->shut)
        consumer->shut(route, route->data);
    fake_end_loans(route->host);
    fake_options_free(route);
    free(route);
}

static void free_log(struct fake_host *host) {
    for (struct log_line *line = host->log, *next; line; line = next) {
        next = line->next;
        free(line);
    }
}

void fake_host_free(struct fake_host *host) {
    if (!host)
        return;
    end_connections(host);
    end_jobs(host);
    fake_turn(host);
    while (host->routes) {
        sluice_route *route = host->routes;
        host->routes = route->next;
        close_route(route, true);
    }
    fake_end_loans(host);
    for (size_t i = 0; i < host->conn_count; i++)
        free_conn(host->conns[i]);
    free(host->conns);
    fake_groups_free(host);
    free_log(host);
    pthread_mutex_destroy(&host->lock);
    free(host);
    fake_set_current(NULL);
}

/* --- routes --- */

static bool open_route(sluice_route *route) {
    struct fake_host *host = route->host;
    route->opening = true;
    int result = host->consumer.open ? host->consumer.open(route, &route->data) : 0;
    route->opening = false;
    fake_end_loans(host);
    if (result != 0 && host->problem[0] == '\0')
        snprintf(host->problem, sizeof(host->problem), "open returned %d", result);
    fake_options_check(route);
    return result == 0;
}

static bool start_thread(sluice_route *route) {
    struct fake_host *host = route->host;
    route->thread.route = route;
    route->thread.may_add = true;
    int result = host->consumer.thread_start
                     ? host->consumer.thread_start(&route->thread, route, &route->thread.data)
                     : 0;
    route->thread.may_add = false;
    fake_end_loans(host);
    if (result != 0)
        snprintf(host->problem, sizeof(host->problem), "thread_start returned %d", result);
    return result == 0;
}

sluice_route *fake_open(struct fake_host *host, const char *const *options) {
    sluice_route *route = fake_alloc(sizeof(*route));
    route->host = host;
    host->problem[0] = '\0';
    fake_options_set(route, options);
    bool opened = open_route(route);
    /* As under -t: with a problem in its options a route is opened and shut, and never served. */
    if (!opened || host->problem[0] || !(route->threaded = start_thread(route))) {
        close_route(route, opened);
        return NULL;
    }
    route->next = host->routes;
    host->routes = route;
    return route;
}

const char *fake_problem(const struct fake_host *host) { return host->problem; }

/* --- clients --- */

static sluice_conn *make_conn(sluice_route *route, const struct fake_scope *scope,
                              bool is_handshake) {
    struct fake_host *host = route->host;
    sluice_conn *conn = fake_alloc(sizeof(*conn));
    conn->host = host;
    conn->route = route;
    conn->is_handshake = is_handshake;
    conn->deadline = host->now + FAKE_CONNECT_MS;
    conn->data = fake_alloc(host->consumer.data_size + 1);
    fake_scope_set(conn, scope);
    pthread_mutex_lock(&host->lock);
    host->conns = realloc(host->conns, (host->conn_count + 1) * sizeof(sluice_conn *));
    if (!host->conns)
        abort();
    host->conns[host->conn_count++] = conn;
    conn->id = host->conn_count;
    pthread_mutex_unlock(&host->lock);
    return conn;
}

static void end_of_hook(struct fake_host *host) {
    fake_end_loans(host);
    fake_turn(host);
}

sluice_conn *fake_connect(sluice_route *route, const struct fake_scope *scope) {
    sluice_conn *conn = make_conn(route, scope, true);
    if (conn->host->consumer.connect)
        conn->host->consumer.connect(conn);
    else
        fake_accept_conn(conn, NULL);
    end_of_hook(conn->host);
    return conn;
}

/* Without the hook the consumer never hears of it. */
static void answer_426(sluice_conn *conn) {
    conn->state = ENDED;
    conn->released = true;
    conn->status = 426;
    free(conn->data);
    conn->data = NULL;
    fake_scope_forget_request(conn);
}

sluice_conn *fake_request(sluice_route *route, const struct fake_scope *scope) {
    sluice_conn *conn = make_conn(route, scope, false);
    if (conn->host->consumer.http)
        conn->host->consumer.http(conn);
    else
        answer_426(conn);
    end_of_hook(conn->host);
    return conn;
}

bool fake_receive_message(sluice_conn *conn, sluice_message message) {
    struct fake_host *host = conn->host;
    int result = fake_message_check(message);
    if (result != SLUICE_OK)
        fake_fault("the test's message could not have come from a client (%d)", result);
    if (conn->state != ACCEPTED)
        return false;
    if (host->consumer.receive) {
        /* Exactly as long as it is, so that reading behind it is seen. */
        char *data = malloc(message.size);
        if (!data && message.size > 0)
            abort();
        if (message.size > 0)
            memcpy(data, message.data, message.size);
        host->consumer.receive(conn, (sluice_message){data, message.size, message.kind});
        free(data);
    }
    end_of_hook(host);
    return true;
}

bool fake_receive(sluice_conn *conn, const char *text) {
    return fake_receive_message(conn, (sluice_message){text, (uint32_t)strlen(text), SLUICE_TEXT});
}

void fake_leave(sluice_conn *conn, int code, const char *reason) {
    if (conn->state == DECIDING)
        release(conn);
    else if (conn->state == ACCEPTED)
        end_accepted(conn, code, reason);
    fake_turn(conn->host);
}

void fake_block(sluice_conn *conn, size_t bytes) {
    conn->blocked = true;
    conn->queue_max = bytes;
    conn->queued = 0;
}

void fake_unblock(sluice_conn *conn) {
    struct fake_host *host = conn->host;
    uint64_t dropped = conn->dropped;
    conn->blocked = false;
    conn->dropped = 0;
    if (dropped > 0 && conn->state == ACCEPTED)
        host->consumer.dropped(conn, dropped);
    end_of_hook(host);
}

/* --- what else happens --- */

bool fake_group_send(sluice_route *route, const char *group, const char *text) {
    sluice_message message = {text, (uint32_t)strlen(text), SLUICE_TEXT};
    int result = fake_functions()->route_send(route, group, message, 0);
    fake_turn(route->host);
    return result == SLUICE_OK;
}

bool fake_event(sluice_conn *conn, const char *group, const char *text) {
    struct fake_host *host = conn->host;
    if (conn->state != ACCEPTED || !host->consumer.event)
        return false;
    const char *lent_group = fake_lend(host, group, strlen(group));
    const char *lent_text = fake_lend(host, text, strlen(text));
    host->consumer.event(conn, lent_group,
                         (sluice_message){lent_text, (uint32_t)strlen(text), SLUICE_TEXT});
    end_of_hook(host);
    return true;
}

bool fake_work(struct fake_host *host) {
    struct letter *job = take(host, &host->jobs);
    if (!job)
        return false;
    host->working = true;
    job->fn.work(job->arg);
    host->working = false;
    fake_post(&host->mail, job);
    return true;
}

size_t fake_jobs(const struct fake_host *host) { return host->jobs.count; }

void fake_limit_jobs(struct fake_host *host, size_t most) { host->jobs_max = most; }

void fake_drain(struct fake_host *host, uint32_t ms_left) {
    for (size_t i = 0; i < host->conn_count; i++) {
        sluice_conn *conn = host->conns[i];
        if (conn->state == DECIDING)
            fake_set_answer(conn, 503, NULL, 0);
        else if (conn->state == ACCEPTED && host->consumer.drain)
            host->consumer.drain(conn, ms_left);
        fake_end_loans(host);
    }
    fake_turn(host);
}

/* --- time --- */

/* The next thing that time brings. */
struct due {
    uint64_t at, serial;
    sluice_conn *conn;
    struct conn_timer *timer; /* of conn; NULL: its connect limit */
    sluice_route *route;
    struct every *every; /* of route */
};

static void consider(struct due *due, struct due other) {
    bool none = !due->conn && !due->route;
    if (none || other.at < due->at || (other.at == due->at && other.serial < due->serial))
        *due = other;
}

static struct due find_due(struct fake_host *host) {
    struct due due = {0};
    for (size_t i = 0; i < host->conn_count; i++) {
        sluice_conn *conn = host->conns[i];
        if (conn->state == DECIDING)
            consider(&due, (struct due){.at = conn->deadline, .conn = conn});
        for (struct conn_timer *timer = conn->timers; timer; timer = timer->next)
            consider(&due,
                     (struct due){
                         .at = timer->at, .serial = timer->serial, .conn = conn, .timer = timer});
    }
    for (sluice_route *route = host->routes; route; route = route->next)
        for (struct every *every = route->thread.everies; every; every = every->next)
            consider(&due,
                     (struct due){
                         .at = every->at, .serial = every->serial, .route = route, .every = every});
    return due;
}

static void run_timer(sluice_conn *conn, struct conn_timer *timer) {
    struct conn_timer **at = &conn->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    conn->timer_count--;
    timer->fn(conn, timer->arg);
    free(timer);
}

static void run_every(struct fake_host *host, sluice_thread *thread, struct every *every) {
    every->at += every->ms;
    every->serial = ++host->serial;
    thread->may_add = true;
    every->fn(thread, every->arg);
    thread->may_add = false;
}

void fake_advance(struct fake_host *host, uint64_t ms) {
    uint64_t end = host->now + ms;
    for (struct due due = find_due(host); (due.conn || due.route) && due.at <= end;
         due = find_due(host)) {
        host->now = due.at;
        if (due.every)
            run_every(host, &due.route->thread, due.every);
        else if (due.timer)
            run_timer(due.conn, due.timer);
        else
            fake_set_answer(due.conn, 504, NULL, 0);
        end_of_hook(host);
    }
    host->now = end;
}

/* --- what tests read --- */

bool fake_is_member(const sluice_conn *conn, const char *name) {
    const struct fake_group *group = fake_group_find(conn->host, name);
    for (size_t i = 0; group && i < group->count; i++)
        if (group->members[i].conn == conn)
            return true;
    return false;
}

size_t fake_group_size(const struct fake_host *host, const char *name) {
    const struct fake_group *group = fake_group_find(host, name);
    return group ? group->count : 0;
}

bool fake_logged(const struct fake_host *host, int level, const char *text) {
    for (const struct log_line *line = host->log; line; line = line->next)
        if (line->level == level && strstr(line->text, text))
            return true;
    return false;
}
