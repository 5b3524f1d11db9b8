/* The functions that a plugin calls, each with the checks and the results that sluice/consumer.h
   tells. */
#include "fake_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MESSAGE_BYTES_MAX (16u << 20)
#define TIMER_MS_MAX (30ull * 24 * 3600 * 1000)
#define REASON_BYTES_MAX 123
#define HEADERS_MAX 32
#define HEADER_BYTES_MAX 8192

/* The host, since some functions are given nothing that leads to it. */
static struct fake_host *host_of_process;

static struct fake_host *current_host(const char *function) {
    if (!host_of_process)
        fake_fault("%s was called while there is no host", function);
    return host_of_process;
}

static void check_thread(const struct fake_host *host, const char *function) {
    if (host->working)
        fake_fault("%s was called from a pool thread: only functions marked [any] may be",
                   function);
    if (!pthread_equal(host->thread, pthread_self()))
        fake_fault("%s was called from another thread: only functions marked [any] may be",
                   function);
}

/* Every function of a connection begins here. */
static struct fake_host *enter(const sluice_conn *conn, const char *function) {
    struct fake_host *host = current_host(function);
    check_thread(host, function);
    if (!conn)
        fake_fault("%s was called with a NULL connection", function);
    if (conn->released)
        fake_fault("%s was called after release: keep the id (sluice_conn_id) and use sluice_post",
                   function);
    return host;
}

/* --- the answer --- */

static int table_accept(sluice_conn *conn, const char *subprotocol) {
    enter(conn, "sluice_accept");
    return fake_accept_conn(conn, subprotocol);
}

static int table_deny(sluice_conn *conn, int status, const void *body, size_t size) {
    enter(conn, "sluice_deny");
    if (conn->state != DECIDING)
        return SLUICE_STATE;
    return status < 400 || status > 599 ? SLUICE_INVALID
                                        : fake_set_answer(conn, status, body, size);
}

static int table_respond(sluice_conn *conn, int status, const void *body, size_t size) {
    enter(conn, "sluice_respond");
    if (conn->state != DECIDING || conn->is_handshake)
        return SLUICE_STATE;
    return status < 200 || status > 599 ? SLUICE_INVALID
                                        : fake_set_answer(conn, status, body, size);
}

/* RFC 9110 section 5.1: a field name is a token. */
static bool is_token(const char *name) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    return name[0] && name[strspn(name, allowed)] == '\0';
}

static bool is_field_value(const char *value) {
    for (; *value; value++)
        if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
            return false;
    return true;
}

static bool is_hosts_own(const char *name) {
    static const char *const names[] = {"connection", "upgrade", "content-length",
                                        "transfer-encoding", "date"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return strncasecmp(name, "sec-websocket-", strlen("sec-websocket-")) == 0;
}

static int table_add_header(sluice_conn *conn, const char *name, const char *value) {
    enter(conn, "sluice_add_header");
    if (conn->state != DECIDING)
        return SLUICE_STATE;
    if (!name || !value || !is_token(name) || !is_field_value(value) || is_hosts_own(name))
        return SLUICE_INVALID;
    size_t size = strlen(name) + strlen(value);
    if (conn->answer_headers.count == HEADERS_MAX || conn->header_bytes + size > HEADER_BYTES_MAX)
        return SLUICE_FULL;
    conn->header_bytes += size;
    fake_pairs_add(&conn->answer_headers, name, value);
    return SLUICE_OK;
}

/* --- the scope --- */

static const char *table_param(sluice_conn *conn, const char *name) {
    enter(conn, "sluice_param");
    return fake_scope_param(conn, name);
}

static const char *table_scope(sluice_conn *conn, int what, const char *name) {
    enter(conn, "sluice_scope");
    return fake_scope_get(conn, what, name);
}

static const void *table_body(sluice_conn *conn, size_t *size) {
    struct fake_host *host = enter(conn, "sluice_body");
    *size = conn->body ? strlen(conn->body) : 0;
    return *size > 0 ? fake_lend(host, conn->body, *size) : NULL;
}

/* --- messages --- */

/* SLUICE_OK while messages may go to the client. */
static int talking(const sluice_conn *conn) {
    if (conn->state == DECIDING || conn->state == ANSWERED)
        return SLUICE_STATE;
    return conn->state == ACCEPTED ? SLUICE_OK : SLUICE_GONE;
}

int fake_message_check(sluice_message message) {
    if (message.kind != SLUICE_TEXT && message.kind != SLUICE_BINARY)
        return SLUICE_INVALID;
    if (message.size > MESSAGE_BYTES_MAX)
        return SLUICE_TOO_BIG;
    if (message.size > 0 && !message.data)
        return SLUICE_INVALID;
    if (message.kind == SLUICE_TEXT && !fake_utf8_valid(message.data, message.size))
        return SLUICE_INVALID;
    return SLUICE_OK;
}

static int table_send(sluice_conn *conn, sluice_message message) {
    enter(conn, "sluice_send");
    int result = talking(conn);
    if (result == SLUICE_OK)
        result = fake_message_check(message);
    if (result != SLUICE_OK)
        return result;
    struct message copy = fake_copy_message(message.data, message.size, message.kind);
    bool taken = fake_deliver(conn, &copy);
    free(copy.data);
    return taken ? SLUICE_OK : SLUICE_FULL;
}

static bool is_close_code(int code) {
    return code == 1000 || code == 1001 || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static int table_close(sluice_conn *conn, int code, const char *reason) {
    enter(conn, "sluice_close");
    size_t size = reason ? strlen(reason) : 0;
    if (!is_close_code(code) || (reason && !fake_utf8_valid(reason, size)))
        return SLUICE_INVALID;
    if (size > REASON_BYTES_MAX)
        return SLUICE_TOO_BIG;
    int result = talking(conn);
    if (result == SLUICE_OK)
        fake_begin_close(conn, code, reason ? reason : "");
    return result;
}

static int table_stop(sluice_conn *conn) {
    enter(conn, "sluice_stop");
    int result = table_close(conn, 1000, NULL);
    if (result == SLUICE_OK)
        conn->stopped = true;
    return result;
}

static size_t table_queued(sluice_conn *conn) {
    enter(conn, "sluice_queued");
    return conn->blocked ? conn->queued : 0;
}

/* --- what it is --- */

static sluice_id table_conn_id(sluice_conn *conn) {
    enter(conn, "sluice_conn_id");
    return conn->id;
}

static void *table_data(sluice_conn *conn) {
    enter(conn, "sluice_data");
    return conn->data;
}

static void *table_thread_data(sluice_conn *conn) {
    enter(conn, "sluice_thread_data");
    return conn->route->thread.data;
}

static sluice_route *table_conn_route(sluice_conn *conn) {
    enter(conn, "sluice_conn_route");
    return conn->route;
}

static void *table_route_data(sluice_route *route) {
    if (!route)
        fake_fault("sluice_route_data was called with a NULL route");
    return route->data;
}

/* --- groups --- */

static int table_group_join(sluice_conn *conn, const char *group, const char *info,
                            unsigned flags) {
    enter(conn, "sluice_group_join");
    int result = talking(conn);
    if (result == SLUICE_OK && (flags & SLUICE_EVENTS) && !conn->host->consumer.event)
        return SLUICE_INVALID;
    return result == SLUICE_OK ? fake_group_join(conn, group, info, flags) : result;
}

static int table_group_discard(sluice_conn *conn, const char *group) {
    enter(conn, "sluice_group_discard");
    int result = talking(conn);
    return result == SLUICE_OK ? fake_group_leave(conn, group) : result;
}

static int table_group_join_with(sluice_conn *conn, const char *group,
                                 const sluice_join_options *options) {
    enter(conn, "sluice_group_join_with");
    int result = talking(conn);
    if (result != SLUICE_OK)
        return result;
    if (!options || options->size < sizeof(*options))
        fake_fault(
            "sluice_group_join_with: set the size of the options to sizeof(sluice_join_options)");
    if ((options->flags & SLUICE_EVENTS) && !conn->host->consumer.event)
        return SLUICE_INVALID;
    return fake_group_join_with(conn, group, options);
}

static int table_group_history(sluice_conn *conn, const char *group, sluice_position since,
                               size_t most, sluice_history_fn fn, void *arg) {
    enter(conn, "sluice_group_history");
    return fake_group_history(conn, group, since, most, fn, arg);
}

static int table_set_user(sluice_conn *conn, const char *user) {
    enter(conn, "sluice_set_user");
    return user && !fake_group_name_valid(user) ? SLUICE_INVALID : SLUICE_OK;
}

struct letter *fake_letter(sluice_conn *conn, void *arg) {
    struct letter *letter = fake_alloc(sizeof(*letter));
    letter->host = conn->host;
    letter->id = conn->id;
    letter->arg = arg;
    return letter;
}

static void deliver_report(struct letter *letter, sluice_conn *conn) {
    letter->fn.report(conn, letter->arg, &letter->report);
}

static int table_group_send(sluice_conn *conn, const char *group, sluice_message message,
                            const sluice_send_options *options) {
    struct fake_host *host = enter(conn, "sluice_group_send");
    sluice_send_report report;
    int result = fake_message_check(message);
    if (result == SLUICE_OK && !fake_group_name_valid(group))
        result = SLUICE_INVALID;
    if (result != SLUICE_OK)
        return result;
    if (options && options->size < sizeof(*options))
        fake_fault(
            "sluice_group_send_with: set the size of the options to sizeof(sluice_send_options)");
    if (options && (!fake_stamp_fits(message, options->stamp) ||
                    (options->key && (strlen(options->key) > SLUICE_KEY_MAX ||
                                      !fake_group_name_valid(options->key)))))
        return SLUICE_INVALID;
    struct message copy = fake_copy_message(message.data, message.size, message.kind);
    fake_group_deliver(host, group, &copy, options, &report);
    free(copy.data);
    if (options && options->report) {
        struct letter *letter = fake_letter(conn, options->arg);
        letter->deliver = deliver_report;
        letter->fn.report = options->report;
        letter->report = report;
        fake_post(&host->mail, letter);
    }
    return SLUICE_OK;
}

static void deliver_members(struct letter *letter, sluice_conn *conn) {
    letter->fn.members(conn, letter->arg, letter->members, letter->count, letter->total);
}

static int table_group_members(sluice_conn *conn, const char *group, size_t most,
                               sluice_members_fn fn, void *arg) {
    struct fake_host *host = enter(conn, "sluice_group_members");
    if (!fn || !fake_group_name_valid(group))
        return SLUICE_INVALID;
    const struct fake_group *found = fake_group_find(host, group);
    struct letter *letter = fake_letter(conn, arg);
    letter->deliver = deliver_members;
    letter->fn.members = fn;
    letter->total = found ? found->count : 0;
    letter->count = letter->total < most ? letter->total : most;
    letter->members = fake_alloc((letter->count + 1) * sizeof(letter->members[0]));
    for (size_t i = 0; i < letter->count; i++)
        letter->members[i] =
            (sluice_member){found->members[i].conn->id, fake_copy(found->members[i].info)};
    fake_post(&host->mail, letter);
    return SLUICE_OK;
}

/* Another thread's send is ordered when the turn comes to it. */
static void deliver_route_send(struct letter *letter, sluice_conn *conn) {
    const sluice_send_options options = {.except = letter->except};
    sluice_send_report report;
    (void)conn;
    fake_group_deliver(letter->host, letter->group, &letter->message, &options, &report);
}

static int table_route_send(sluice_route *route, const char *group, sluice_message message,
                            sluice_id except) {
    if (!route)
        fake_fault("sluice_route_send was called with a NULL route");
    int result = fake_message_check(message);
    if (result == SLUICE_OK && !fake_group_name_valid(group))
        result = SLUICE_INVALID;
    if (result != SLUICE_OK)
        return result;
    struct letter *letter = fake_alloc(sizeof(*letter));
    letter->deliver = deliver_route_send;
    letter->host = route->host;
    letter->group = fake_copy(group);
    letter->message = fake_copy_message(message.data, message.size, message.kind);
    letter->except = except;
    fake_post(&route->host->mail, letter);
    return SLUICE_OK;
}

/* --- later --- */

static void deliver_done(struct letter *letter, sluice_conn *conn) {
    letter->done(conn, letter->arg);
}

static int table_offload(sluice_conn *conn, sluice_work_fn work, sluice_done_fn done, void *arg) {
    struct fake_host *host = enter(conn, "sluice_offload");
    if (!work || !done)
        return SLUICE_INVALID;
    if (host->jobs.count >= host->jobs_max)
        return SLUICE_FULL;
    struct letter *letter = fake_letter(conn, arg);
    letter->deliver = deliver_done;
    letter->fn.work = work;
    letter->done = done;
    fake_post(&host->jobs, letter);
    return SLUICE_OK;
}

static int table_post(sluice_id id, sluice_done_fn fn, void *arg) {
    struct fake_host *host = current_host("sluice_post");
    pthread_mutex_lock(&host->lock);
    bool known = id > 0 && id <= host->conn_count;
    pthread_mutex_unlock(&host->lock);
    if (!known || !fn)
        return SLUICE_INVALID;
    struct letter *letter = fake_alloc(sizeof(*letter));
    letter->deliver = deliver_done;
    letter->host = host;
    letter->id = id;
    letter->done = fn;
    letter->arg = arg;
    fake_post(&host->mail, letter);
    return SLUICE_OK;
}

static int table_timer(sluice_conn *conn, uint64_t ms, sluice_done_fn fn, void *arg,
                       sluice_id *timer) {
    struct fake_host *host = enter(conn, "sluice_timer");
    if (ms == 0 || ms > TIMER_MS_MAX || !fn)
        return SLUICE_INVALID;
    if (conn->state == ENDED)
        return SLUICE_GONE;
    if (conn->timer_count == FAKE_TIMERS_MAX)
        return SLUICE_FULL;
    struct conn_timer *made = fake_alloc(sizeof(*made));
    *made = (struct conn_timer){conn->timers, host->now + ms, ++host->serial, fn, arg};
    conn->timers = made;
    conn->timer_count++;
    if (timer)
        *timer = made->serial;
    return SLUICE_OK;
}

static int table_timer_cancel(sluice_conn *conn, sluice_id timer) {
    enter(conn, "sluice_timer_cancel");
    for (struct conn_timer **at = &conn->timers; *at; at = &(*at)->next) {
        struct conn_timer *found = *at;
        if (found->serial != timer)
            continue;
        *at = found->next;
        conn->timer_count--;
        free(found);
        return SLUICE_OK;
    }
    return SLUICE_INVALID;
}

static int table_every(sluice_thread *thread, uint64_t ms, sluice_every_fn fn, void *arg) {
    struct fake_host *host = current_host("sluice_every");
    check_thread(host, "sluice_every");
    if (!thread || !thread->may_add)
        fake_fault("sluice_every was called outside of thread_start and its own callbacks");
    if (ms == 0 || ms > TIMER_MS_MAX || !fn)
        return SLUICE_INVALID;
    if (thread->count == FAKE_TIMERS_MAX)
        return SLUICE_FULL;
    struct every *every = fake_alloc(sizeof(*every));
    *every = (struct every){thread->everies, host->now + ms, ++host->serial, ms, fn, arg};
    thread->everies = every;
    thread->count++;
    return SLUICE_OK;
}

static void table_log(sluice_route *route, sluice_conn *conn, int level, const char *text) {
    struct fake_host *host = current_host("sluice_log");
    (void)route;
    if (conn)
        enter(conn, "sluice_log with a connection");
    size_t size = strlen(text) + 1;
    struct log_line *line = fake_alloc(sizeof(*line) + size);
    line->level = level;
    memcpy(line->text, text, size);
    pthread_mutex_lock(&host->lock);
    line->next = host->log;
    host->log = line;
    pthread_mutex_unlock(&host->lock);
}

static const struct sluice_host functions = {
    .size = sizeof(struct sluice_host),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .accept = table_accept,
    .deny = table_deny,
    .respond = table_respond,
    .add_header = table_add_header,
    .param = table_param,
    .scope = table_scope,
    .body = table_body,
    .send = table_send,
    .close = table_close,
    .stop = table_stop,
    .queued = table_queued,
    .conn_id = table_conn_id,
    .data = table_data,
    .thread_data = table_thread_data,
    .conn_route = table_conn_route,
    .route_data = table_route_data,
    .group_join = table_group_join,
    .group_discard = table_group_discard,
    .group_send = table_group_send,
    .group_members = table_group_members,
    .route_send = table_route_send,
    .offload = table_offload,
    .post = table_post,
    .timer = table_timer,
    .timer_cancel = table_timer_cancel,
    .every = table_every,
    .option_number = fake_option_number,
    .option_text = fake_option_text,
    .option_error = fake_option_error,
    .log = table_log,
    .group_join_with = table_group_join_with,
    .group_history = table_group_history,
    .set_user = table_set_user,
};

void fake_set_current(struct fake_host *host) {
    if (host && host_of_process)
        fake_fault("a fake host lives already: free it first");
    host_of_process = host;
}

const struct sluice_host *fake_functions(void) { return &functions; }
