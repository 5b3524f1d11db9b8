/*
 * The functions that a plugin may call: the host's side of sluice/consumer.h. Each checks its
 * arguments, since a plugin's author can make any mistake, and hands over to the connection, the
 * groups or the instance.
 */
#include <stdlib.h>
#include <string.h>

#include "consumer/connection.h"
#include "consumer/hook.h"
#include "consumer/host.h"
#include "consumer/instance.h"
#include "consumer/offload.h"
#include "loop/loop.h"
#include "observe/limits.h"
#include "observe/log.h"
#include "websocket/frame.h"

static struct loop *loops[LOOPS_MAX];

void host_set_loop(struct loop *loop) { loops[loop_index(loop)] = loop; }

/* --- callbacks that come later: kept by id, since the connection may end first --- */

struct promise {
    sluice_id id;
    struct loop *loop;
    sluice_route *route;
    void *arg;
    union {
        sluice_done_fn done;
        sluice_report_fn report;
        sluice_members_fn members;
        sluice_joined_fn joined;
        sluice_history_fn history;
    } fn;
    sluice_work_fn work;
};

static size_t owed[LOOPS_MAX]; /* promises of each loop, touched by its thread alone */

size_t host_promises(const struct loop *loop) { return owed[loop_index(loop)]; }

static struct promise *make_promise(sluice_conn *conn, void *arg) {
    struct promise *promise = calloc(1, sizeof(*promise));
    if (promise == NULL)
        abort();
    promise->id = connection_id(conn);
    promise->loop = loop_current();
    promise->route = connection_route(conn);
    promise->arg = arg;
    owed[loop_index(promise->loop)]++;
    instance_count(promise->route, 1); /* the hook is its, whatever becomes of the connection */
    return promise;
}

static void drop_promise(struct promise *promise) {
    if (promise == NULL)
        return;
    owed[loop_index(promise->loop)]--;
    instance_count(promise->route, -1);
    free(promise);
}

static struct hook begin(const struct promise *promise, sluice_conn **conn, enum page_hook kind) {
    *conn = connection_find(promise->loop, promise->id);
    return hook_enter(instance_owner(promise->route), kind);
}

static void end(struct promise *promise, const struct hook *hook) {
    hook_leave(hook);
    drop_promise(promise);
}

/* --- groups --- */

static int group_code(enum group_result result) {
    switch (result) {
    case GROUP_OK:
        return SLUICE_OK;
    case GROUP_FULL:
        limits_hit(LIMIT_GROUPS);
        return SLUICE_FULL;
    case GROUP_INVALID:
    default:
        return SLUICE_INVALID;
    }
}

static const char *space_of(sluice_conn *conn) {
    return instance_conf(connection_route(conn))->space;
}

static const struct group_terms *terms_of(sluice_conn *conn) {
    return &instance_conf(connection_route(conn))->history;
}

static sluice_person *people_of(const struct group_joined *joined) {
    sluice_person *people = calloc(joined->people_listed + 1, sizeof(*people));
    if (people == NULL)
        abort();
    for (size_t i = 0; i < joined->people_listed; i++)
        people[i] = (sluice_person){joined->people[i].user, joined->people[i].info,
                                    joined->people[i].memberships};
    return people;
}

static void on_joined(void *arg, const struct group_joined *joined) {
    static const struct group_joined ended;
    const struct group_joined *found = joined == NULL ? &ended : joined;
    struct promise *promise = arg;
    sluice_conn *conn;
    sluice_person *people = people_of(found);
    sluice_joined told = {sizeof(told),
                          {found->position.epoch, found->position.offset},
                          found->count,
                          found->recovered,
                          people,
                          found->people_listed,
                          found->people_count};
    struct hook hook = begin(promise, &conn, HOOK_GROUP_JOIN);
    promise->fn.joined(joined == NULL ? NULL : conn, promise->arg, &told);
    end(promise, &hook);
    free(people);
}

#define EVERY_MS_DEFAULT 1000
#define EVERY_MS_LEAST 100
#define EVERY_MS_MOST 60000

/* Frames of their own, which drop_presence gives back, also after a failure. A message without data
   is none. */
static int read_presence(const sluice_presence *from, struct group_presence *to) {
    const sluice_message *messages[] = {&from->came, &from->went, &from->crowd};
    struct frame **frames[] = {&to->came, &to->went, &to->crowd};
    int result = SLUICE_OK;
    if (from->size < sizeof(*from) || from->crowd_stamp > UINT32_MAX ||
        (from->every_ms != 0 &&
         (from->every_ms < EVERY_MS_LEAST || from->every_ms > EVERY_MS_MOST)))
        return SLUICE_INVALID;
    to->user = from->user;
    to->crowd_stamp = (uint32_t)from->crowd_stamp;
    to->most = from->most == 0 ? SLUICE_PEOPLE_DEFAULT : from->most;
    to->every_ms = from->every_ms == 0 ? EVERY_MS_DEFAULT : from->every_ms;
    for (size_t i = 0; i < 3 && result == SLUICE_OK; i++)
        if (messages[i]->data != NULL)
            result = connection_frame(*messages[i], frames[i]);
    return result;
}

static void drop_presence(struct group_presence *presence) {
    frame_unref(presence->came);
    frame_unref(presence->went);
    frame_unref(presence->crowd);
}

/* What is over the queue's limit would end the connection: as much as half of it comes at once. */
static size_t replay_bytes(const struct instance_conf *conf) {
    return conf->terms.queue_bytes_max / 2;
}

static int host_group_join_with(sluice_conn *conn, const char *group,
                                const sluice_join_options *options) {
    int state = connection_state(conn);
    struct promise *promise = NULL;
    struct group_presence presence = {0};
    if (state != SLUICE_OK)
        return state;
    if (options == NULL || options->size < sizeof(*options) ||
        ((options->flags & SLUICE_EVENTS) != 0 &&
         instance_consumer(connection_route(conn))->event == NULL))
        return SLUICE_INVALID;
    const struct instance_conf *conf = instance_conf(connection_route(conn));
    struct group_wish wish = {.info = options->info,
                              .flags = (options->flags & SLUICE_EVENTS) != 0 ? GROUP_EVENTS : 0,
                              .most = conf->groups_max,
                              .terms = conf->history,
                              .since = {options->since.epoch, options->since.offset},
                              .last = options->last,
                              .people = options->people,
                              .presence = options->presence == NULL ? NULL : &presence,
                              .bytes = replay_bytes(conf)};
    int result =
        options->presence == NULL ? SLUICE_OK : read_presence(options->presence, &presence);
    if (result != SLUICE_OK) {
        drop_presence(&presence);
        return result;
    }
    if (options->joined != NULL) {
        promise = make_promise(conn, options->arg);
        promise->fn.joined = options->joined;
        wish.joined = on_joined;
        wish.arg = promise;
    }
    result = group_code(group_join_with(groups_of(loop_current()), connection_member(conn),
                                        conf->space, group, &wish));
    drop_presence(&presence);
    if (result != SLUICE_OK)
        drop_promise(promise);
    return result;
}

static int host_group_join(sluice_conn *conn, const char *group, const char *info, unsigned flags) {
    const sluice_join_options options = {.size = sizeof(options), .info = info, .flags = flags};
    return host_group_join_with(conn, group, &options);
}

static int host_group_discard(sluice_conn *conn, const char *group) {
    int state = connection_state(conn);
    if (state != SLUICE_OK)
        return state;
    return group_code(
        group_leave(groups_of(loop_current()), connection_member(conn), space_of(conn), group));
}

static void on_report(void *arg, const struct group_report *report) {
    static const int outcomes[] = {[GROUP_SENT] = SLUICE_SENT,
                                   [GROUP_KEPT] = SLUICE_KEPT,
                                   [GROUP_REPEATED] = SLUICE_REPEATED,
                                   [GROUP_NOT_KEPT] = SLUICE_NOT_KEPT};
    struct promise *promise = arg;
    sluice_conn *conn;
    sluice_send_report told = {.size = sizeof(told),
                               .matched = report->matched,
                               .queued = report->queued,
                               .dropped = report->dropped,
                               .position = report->position.offset,
                               .epoch = report->position.epoch,
                               .outcome = outcomes[report->outcome]};
    struct hook hook = begin(promise, &conn, HOOK_GROUP_SEND);
    promise->fn.report(conn, promise->arg, &told);
    end(promise, &hook);
}

/* False for a size that no version has. Options of 1.0 end before `keep`. */
static bool read_send_options(const sluice_send_options *options, struct group_message *message) {
    if (options == NULL)
        return true;
    if (options->size < offsetof(sluice_send_options, keep))
        return false;
    message->except = options->except;
    if (options->size < sizeof(*options))
        return true;
    message->keep = options->keep != 0;
    message->key = options->key;
    message->stamp = options->stamp > UINT32_MAX ? UINT32_MAX : (uint32_t)options->stamp;
    return true;
}

static int host_group_send(sluice_conn *conn, const char *group, sluice_message message,
                           const sluice_send_options *options) {
    struct group_message sent = {.terms = *terms_of(conn)};
    struct promise *promise = NULL;
    struct group_tally tally;
    if (!read_send_options(options, &sent))
        return SLUICE_INVALID;
    int result = connection_frame(message, &sent.frame);
    if (result != SLUICE_OK)
        return result;
    if (options != NULL && options->report != NULL) {
        promise = make_promise(conn, options->arg);
        promise->fn.report = options->report;
        tally = (struct group_tally){on_report, promise};
    }
    result = group_code(group_send_with(groups_of(loop_current()), space_of(conn), group, &sent,
                                        promise == NULL ? NULL : &tally));
    frame_unref(sent.frame);
    if (result != SLUICE_OK)
        drop_promise(promise);
    return result;
}

static void on_listing(void *arg, const struct group_listing_entry *members, size_t count,
                       size_t total) {
    struct promise *promise = arg;
    sluice_conn *conn;
    sluice_member *told = calloc(count == 0 ? 1 : count, sizeof(*told));
    if (told == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        told[i] = (sluice_member){members[i].id, members[i].info};
    struct hook hook = begin(promise, &conn, HOOK_GROUP_MEMBERS);
    promise->fn.members(conn, promise->arg, told, count, total);
    end(promise, &hook);
    free(told);
}

static int host_group_members(sluice_conn *conn, const char *group, size_t most,
                              sluice_members_fn fn, void *arg) {
    if (fn == NULL)
        return SLUICE_INVALID;
    struct promise *promise = make_promise(conn, arg);
    promise->fn.members = fn;
    int result = group_code(group_list_with(groups_of(loop_current()), space_of(conn), group,
                                            terms_of(conn), most, on_listing, promise));
    if (result != SLUICE_OK)
        drop_promise(promise);
    return result;
}

static sluice_message message_of(const struct frame *frame) {
    size_t size;
    const void *payload = frame_payload(frame, &size);
    return (sluice_message){payload, (uint32_t)size,
                            frame_opcode(frame) == OPCODE_TEXT ? SLUICE_TEXT : SLUICE_BINARY};
}

static void on_history(void *arg, const struct group_history *history) {
    struct promise *promise = arg;
    sluice_conn *conn;
    sluice_kept *kept = calloc(history->count + 1, sizeof(*kept));
    if (kept == NULL)
        abort();
    for (size_t i = 0; i < history->count; i++) {
        const struct group_kept *one = &history->messages[i];
        kept[i] = (sluice_kept){one->offset, one->time_ms, message_of(one->frame)};
    }
    sluice_history told = {sizeof(told),
                           {history->position.epoch, history->position.offset},
                           kept,
                           history->count,
                           history->recovered};
    struct hook hook = begin(promise, &conn, HOOK_GROUP_HISTORY);
    promise->fn.history(conn, promise->arg, &told);
    end(promise, &hook);
    free(kept);
}

static int host_group_history(sluice_conn *conn, const char *group, sluice_position since,
                              size_t most, sluice_history_fn fn, void *arg) {
    if (fn == NULL || most == 0 || most > GROUP_HISTORY_MAX)
        return SLUICE_INVALID;
    struct promise *promise = make_promise(conn, arg);
    promise->fn.history = fn;
    int result = group_code(
        group_read(groups_of(loop_current()), space_of(conn), group, terms_of(conn),
                   (struct group_position){since.epoch, since.offset}, most, on_history, promise));
    if (result != SLUICE_OK)
        drop_promise(promise);
    return result;
}

static int host_route_send(sluice_route *route, const char *group, sluice_message message,
                           sluice_id except) {
    struct frame *frame;
    int result = connection_frame(message, &frame);
    if (result != SLUICE_OK)
        return result;
    result = group_code(group_send_any(instance_conf(route)->space, group, frame, except));
    frame_unref(frame);
    return result;
}

/* --- other threads --- */

static void work_promise(void *arg) {
    struct promise *promise = arg;
    promise->work(promise->arg);
}

static void done_promise(void *arg) {
    struct promise *promise = arg;
    sluice_conn *conn;
    struct hook hook = begin(promise, &conn, HOOK_OFFLOAD);
    promise->fn.done(conn, promise->arg);
    end(promise, &hook);
}

static int host_offload(sluice_conn *conn, sluice_work_fn work, sluice_done_fn done, void *arg) {
    if (work == NULL || done == NULL)
        return SLUICE_INVALID;
    struct promise *promise = make_promise(conn, arg);
    promise->work = work;
    promise->fn.done = done;
    if (offload_run(instances_offload(), promise->loop, work_promise, done_promise, promise))
        return SLUICE_OK;
    drop_promise(promise);
    limits_hit(LIMIT_OFFLOAD);
    return SLUICE_FULL;
}

struct posted {
    struct mail mail;
    sluice_id id;
    sluice_done_fn fn;
    void *arg;
};

static void deliver_post(struct mail *mail, struct loop *to) {
    struct posted *posted = (struct posted *)mail;
    sluice_conn *conn = connection_find(to, posted->id);
    if (conn == NULL) {
        posted->fn(NULL, posted->arg);
    } else {
        struct hook hook = hook_enter(instance_owner(connection_route(conn)), HOOK_POST);
        posted->fn(conn, posted->arg);
        hook_leave(&hook);
    }
    free(posted);
}

static int host_post(sluice_id id, sluice_done_fn fn, void *arg) {
    struct loop *to = loops[connection_id_thread(id)];
    if (id == 0 || to == NULL || fn == NULL)
        return SLUICE_INVALID;
    struct posted *posted = malloc(sizeof(*posted));
    if (posted == NULL)
        abort();
    *posted = (struct posted){{NULL, deliver_post}, id, fn, arg};
    loop_mail(to, &posted->mail);
    return SLUICE_OK;
}

/* --- options and the log --- */

static int64_t host_option_number(sluice_route *route, const char *key, int unit, int64_t least,
                                  int64_t most, int64_t otherwise) {
    const struct option_source *source = instance_options(route);
    int64_t value;
    if (source == NULL || !source->number(source->data, key, unit, least, most, &value))
        return otherwise;
    return value;
}

static const char *host_option_text(sluice_route *route, const char *key, const char *otherwise) {
    const struct option_source *source = instance_options(route);
    const char *text = source == NULL ? NULL : source->text(source->data, key);
    return text == NULL ? otherwise : instance_keep_text(route, text);
}

static void host_option_error(sluice_route *route, const char *key, const char *message) {
    const struct option_source *source = instance_options(route);
    if (source != NULL)
        source->error(source->data, key, message);
}

static void host_log(sluice_route *route, sluice_conn *conn, int level, const char *text) {
    static const enum log_level levels[] = {LOG_AT_ERROR, LOG_AT_WARNING, LOG_AT_INFO,
                                            LOG_AT_DEBUG};
    enum log_level at = level < 0 || level > 3 ? LOG_AT_INFO : levels[level];
    const char *name = route == NULL ? "-" : instance_name(route);
    const char *peer = conn == NULL ? NULL : connection_scope(conn, SLUICE_PEER, NULL);
    if (peer == NULL)
        log_line(at, "%s: %.1000s", name, text);
    else
        log_line(at, "%s: %s: %.1000s", name, peer, text);
}

/* --- plain reads --- */

static int host_deny(sluice_conn *conn, int status, const void *body, size_t size) {
    return connection_answer(conn, status, body, size, true);
}

static int host_respond(sluice_conn *conn, int status, const void *body, size_t size) {
    return connection_answer(conn, status, body, size, false);
}

static const char *host_param(sluice_conn *conn, const char *name) {
    return connection_param(conn, name);
}

static size_t host_queued(sluice_conn *conn) { return connection_queued(conn); }

static sluice_id host_conn_id(sluice_conn *conn) { return connection_id(conn); }

static void *host_thread_data(sluice_conn *conn) {
    return instance_thread_data(connection_route(conn), loop_current());
}

static sluice_route *host_conn_route(sluice_conn *conn) { return connection_route(conn); }

static void *host_route_data(sluice_route *route) { return instance_data(route); }

static const struct sluice_host table = {
    .size = sizeof(struct sluice_host),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .accept = connection_accept,
    .deny = host_deny,
    .respond = host_respond,
    .add_header = connection_add_header,
    .param = host_param,
    .scope = connection_scope,
    .body = connection_body,
    .send = connection_send,
    .close = connection_close,
    .stop = connection_stop,
    .queued = host_queued,
    .conn_id = host_conn_id,
    .data = connection_data,
    .thread_data = host_thread_data,
    .conn_route = host_conn_route,
    .route_data = host_route_data,
    .group_join = host_group_join,
    .group_discard = host_group_discard,
    .group_send = host_group_send,
    .group_members = host_group_members,
    .route_send = host_route_send,
    .offload = host_offload,
    .post = host_post,
    .timer = connection_timer,
    .timer_cancel = connection_timer_cancel,
    .every = instance_every,
    .option_number = host_option_number,
    .option_text = host_option_text,
    .option_error = host_option_error,
    .log = host_log,
    .group_join_with = host_group_join_with,
    .group_history = host_group_history,
    .set_user = connection_set_user,
};

const struct sluice_host *host_table(void) { return &table; }
