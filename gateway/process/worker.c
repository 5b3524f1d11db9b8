#include "process/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "config/changes.h"
#include "config/config.h"
#include "config/manifest.h"
#include "consumer/close_line.h"
#include "consumer/connection.h"
#include "consumer/hook.h"
#include "consumer/host.h"
#include "consumer/instance.h"
#include "consumer/offload.h"
#include "consumer/visitor.h"
#include "group/group.h"
#include "group/store.h"
#include "loop/h2o.h"
#include "loop/loop.h"
#include "net/address.h"
#include "net/listener.h"
#include "observe/counters.h"
#include "observe/log.h"
#include "observe/page.h"
#include "process/answers.h"
#include "process/channel.h"
#include "process/crash.h"
#include "process/generation.h"
#include "process/rights.h"
#include "process/sandbox.h"
#include "process/thread.h"
#include "snapshot/own_file.h"
#include "snapshot/snapshot.h"
#include "websocket/budget.h"
#include "websocket/plain_transport.h"
#include "websocket/progress.h"

/* Descriptors that are no connection: listeners, loops, logs, plugins, upstreams' first ones. */
#define DESCRIPTORS_BESIDE 64
/* Each has two timers at most, and its consumer's. */
#define CONNECTIONS_A_LOOP (LOOP_TIMERS_MAX / 4)
#define JOIN_GRACE_MS 2000
/* So long may a consumer hold a thread before a reload is refused. */
#define CALL_MS 5000
#define SETTLE_MS 20
#define HOLDERS_MS 250

struct served {
    char key[LISTENER_KEY_MAX + 32];
    struct listener *listener;
};

struct older {
    struct generation *generation;
    bool is_closed;
    struct older *next;
};

/* All of it lives until the process ends; kept here so that it stays reachable. */
static struct worker {
    int channel; /* -1: alone */
    worker_load_fn load;
    struct snapshot *incoming;

    unsigned thread_count;
    struct loop **loops;
    struct thread **threads;
    struct served *served;
    size_t served_count;
    struct generation *generation;
    struct older *older;
    struct connection_count count;
    struct offload *pool;
    struct store *store; /* NULL: kept messages are in memory alone */
    uint32_t drain_ms;

    bool is_confined, is_supervised;
    char *pid_file; /* its path, when it has written one */
    sigset_t signals;
    struct channel_message message;
} worker;

static bool fail(const char *what, const char *name) {
    log_line(LOG_AT_ERROR, "%s %s: %s", what, name, strerror(errno));
    return false;
}

static struct config *current(const struct worker *self) {
    return generation_config(self->generation);
}

/* --- what it opens itself when it is alone --- */

static bool open_log(const struct config *config) {
    if (config->error_log == NULL)
        return true;
    int fd = snapshot_open_log(config->error_log);
    if (fd == -1)
        return fail("can't open error-log", config->error_log);
    dup2(fd, STDERR_FILENO); /* libh2o and plugins write there, and so does the log */
    close(fd);
    log_open(STDERR_FILENO);
    return true;
}

static bool write_pid(struct worker *self, const char *path) {
    if (path == NULL)
        return true;
    int fd = own_file_open(path, O_TRUNC);
    if (fd == -1)
        return fail("can't write pid-file", path);
    self->pid_file = strdup(path);
    bool written = dprintf(fd, "%ld\n", (long)getpid()) > 0;
    if (close(fd) != 0 || !written)
        return fail("can't write pid-file", path);
    return true;
}

/* Another server's stays: this one may have failed because that one runs. */
static void remove_pid(const struct worker *self) {
    if (self->pid_file != NULL)
        unlink(self->pid_file);
}

/* --- limits --- */

/* The descriptor limit goes up to the hard one; the lower of it and max-connections holds. */
static size_t connections_most(const struct config *config) {
    struct rlimit limit;
    size_t beside = DESCRIPTORS_BESIDE + config->num_threads * (config->listener_count + 4);
    rights_raise_descriptors();
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return config->max_connections;
    size_t possible = limit.rlim_cur > beside ? limit.rlim_cur - beside : 1;
    if (limit.rlim_cur == RLIM_INFINITY || config->max_connections <= possible)
        return config->max_connections;
    log_line(LOG_AT_WARNING,
             "max-connections is %zu, but this process may open only %llu descriptors: %zu "
             "connections will be served (raise LimitNOFILE or ulimit -n)",
             config->max_connections, (unsigned long long)limit.rlim_cur, possible);
    return possible;
}

/* --- listeners --- */

static struct listener *find_listener(const struct worker *self, const char *key) {
    for (size_t i = 0; i < self->served_count; i++)
        if (strcmp(self->served[i].key, key) == 0)
            return self->served[i].listener;
    return NULL;
}

static struct listener *adopt_listener(const struct snapshot *snapshot, const char *key,
                                       unsigned threads, struct error *error) {
    int sockets[LOOPS_MAX * ADDRESS_PLACES_MAX];
    size_t count, total;
    const struct snapshot_entry *entries = snapshot_entries(snapshot, &total);
    count = 0;
    for (size_t i = 0; i < total && count < sizeof(sockets) / sizeof(sockets[0]); i++)
        if (entries[i].kind == SNAPSHOT_SOCKET && strcmp(entries[i].name, key) == 0)
            sockets[count++] = fcntl(entries[i].fd, F_DUPFD_CLOEXEC, 0);
    if (count == 0) {
        error_set(error, "no sockets of %s were handed over", key);
        return NULL;
    }
    struct address *address = address_adopt(sockets, count, threads, error);
    return address == NULL ? NULL : listener_create(address, threads);
}

static void add_served(struct worker *self, const char *key, struct listener *listener) {
    self->served = realloc(self->served, (self->served_count + 1) * sizeof(*self->served));
    if (self->served == NULL)
        abort();
    struct served *added = &self->served[self->served_count++];
    snprintf(added->key, sizeof(added->key), "%s", key);
    added->listener = listener;
}

static bool is_wanted(const struct config *config, const char *key) {
    for (size_t i = 0; i < config->listener_count; i++)
        if (strcmp(config->listeners[i].key, key) == 0)
            return true;
    return false;
}

static void close_unwanted(struct worker *self, const struct config *config) {
    size_t kept = 0;
    for (size_t i = 0; i < self->served_count; i++) {
        if (is_wanted(config, self->served[i].key))
            self->served[kept++] = self->served[i];
        else
            listener_close(self->served[i].listener);
    }
    self->served_count = kept;
}

/* The configuration's listeners in its order: those that are there, and new ones. NULL when one
   can't be had: said. */
static struct listener **gather_listeners(struct worker *self, const struct config *config) {
    struct listener **listeners = calloc(config->listener_count + 1, sizeof(struct listener *));
    if (listeners == NULL)
        abort();
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *wanted = &config->listeners[i];
        struct error error;
        const char *key = wanted->key;
        listeners[i] = find_listener(self, key);
        if (listeners[i] != NULL)
            continue;
        listeners[i] = snapshot_used() == NULL
                           ? listener_open(&wanted->conf, config->num_threads, &error)
                           : adopt_listener(snapshot_used(), key, config->num_threads, &error);
        if (listeners[i] == NULL) {
            log_line(LOG_AT_ERROR, "%s:%zu: %s", wanted->place.file, wanted->place.line,
                     error.text);
            free(listeners);
            if (self->generation != NULL)
                close_unwanted(self, current(self));
            return NULL;
        }
        add_served(self, key, listeners[i]);
    }
    return listeners;
}

/* --- threads --- */

/* A file that can't be opened is no reason not to serve: a trial has looked at it before, and the
   store tries again. */
static void choose_layer(struct worker *self, const struct config *config) {
    const struct store_options options = {.path = config->layer.sqlite, .full = config->layer.full};
    char error[512];
    if (options.path != NULL) {
        self->store = store_create(&options);
        if (!store_connect(self->store, error, sizeof(error)))
            log_line(LOG_AT_WARNING, "history: %s; it is tried again", error);
        store_start(self->store);
    }
    groups_set_layer(&(struct group_layer){
        .store = self->store, .at_once = config->layer.at_once, .memory = config->history_memory});
}

static void make_loops(struct worker *self, const struct config *config) {
    unsigned count = self->thread_count = config->num_threads;
    self->loops = calloc(count, sizeof(struct loop *));
    self->threads = calloc(count, sizeof(struct thread *));
    if (self->loops == NULL || self->threads == NULL)
        abort();
    for (unsigned i = 0; i < count; i++) {
        self->loops[i] = loop_create(i);
        connections_create(self->loops[i], CONNECTIONS_A_LOOP);
        host_set_loop(self->loops[i]);
    }
    choose_layer(self, config);
    groups_create_all(self->loops, count, connection_member_events());
    self->pool = offload_create(config->offload_threads, config->offload_queue);
    instances_set_offload(self->pool);
    for (unsigned i = 0; i < count; i++)
        self->threads[i] = thread_start(self->loops[i]);
    atomic_store(&page_get()->threads, count);
}

static void stop_threads(struct worker *self, const struct thread_end *end) {
    for (unsigned i = 0; i < self->thread_count; i++)
        if (self->threads[i] != NULL)
            thread_stop(self->threads[i], end);
}

/* Waits for all of them together, at most ms. */
static bool join_threads(struct worker *self, uint32_t ms) {
    bool all = true;
    for (unsigned i = 0; i < self->thread_count; i++) {
        if (self->threads[i] == NULL)
            continue;
        if (thread_join(self->threads[i], all ? ms : 0))
            self->threads[i] = NULL;
        else
            all = false;
    }
    return all;
}

/* --- calls --- */

struct change {
    struct worker *worker;
    struct generation *generation;
    uint32_t retire_ms;
    const struct config *config;
};

static bool prepare(struct loop *loop, void *arg) {
    const struct change *change = arg;
    return generation_prepare(change->generation, loop);
}

/* A generation that never served leaves one thread. */
static bool drop(struct loop *loop, void *arg) {
    const struct change *change = arg;
    generation_stop_consumers(change->generation, loop, true);
    generation_close(change->generation, loop);
    return true;
}

static bool serve(struct loop *loop, void *arg) {
    const struct change *change = arg;
    struct worker *self = change->worker;
    thread_serve(self->threads[loop_index(loop)], change->generation, change->retire_ms);
    for (size_t i = 0; i < self->served_count; i++)
        if (!is_wanted(change->config, self->served[i].key))
            listener_stop(self->served[i].listener, loop, false);
    return true;
}

static bool close_part(struct loop *loop, void *arg) {
    generation_close(arg, loop);
    return true;
}

static bool stop_consumers(struct loop *loop, void *arg) {
    generation_stop_consumers(arg, loop, false);
    return true;
}

static bool forget(struct loop *loop, void *arg) {
    const struct change *change = arg;
    generation_stop_consumers(change->generation, loop, false);
    thread_forget(change->worker->threads[loop_index(loop)], change->generation);
    return true;
}

/* --- a change of generations --- */

static bool prepare_all(struct worker *self, struct change *change) {
    for (unsigned i = 0; i < self->thread_count; i++) {
        if (thread_call(self->threads[i], prepare, change, CALL_MS))
            continue;
        char where[256];
        const struct page *page = page_get();
        unsigned at = atomic_load(&page->thread[i].at);
        if (at != 0)
            log_line(LOG_AT_ERROR, "thread %u is held by %s", i,
                     page_describe(page, at, where, sizeof(where)));
        while (i-- > 1)
            thread_call(self->threads[i], drop, change, CALL_MS);
        return false;
    }
    return true;
}

static void drop_all(struct worker *self, struct change *change) {
    /* where it was prepared, and the first thread last: the configuration goes with it */
    if (!thread_call(self->threads[0], drop, change, CALL_MS))
        log_line(LOG_AT_ERROR, "a refused generation could not be freed: thread 0 is held");
    generation_settle(change->generation, true);
}

static void keep_older(struct worker *self, struct generation *generation) {
    struct older *older = calloc(1, sizeof(*older));
    if (older == NULL)
        abort();
    older->generation = generation;
    older->next = self->older;
    self->older = older;
}

/* What waits and what is kept count together. */
static uint64_t message_memory(const struct config *config) {
    uint64_t waiting = config->limits.queue_bytes;
    return waiting == 0 || !config->keeps_history ? waiting : waiting + config->history_memory;
}

/* What holds for the whole process, whichever generation a connection belongs to. */
static void apply(const struct config *config) {
    log_limit(config->log_level);
    close_line_choose(config->log_closes);
    hook_set_budget(config->hook_budget_ms);
}

/* From here on nothing fails. */
static void take_over(struct worker *self, struct change *change, const struct config *config) {
    struct generation *before = self->generation;
    atomic_store(&self->count.most, connections_most(config));
    progress_allow_stall(config->limits.stall_ms);
    budget_limit(message_memory(config));
    if (config->limits.by_address)
        visitors_create(self->count.most);
    self->drain_ms = config->drain_ms;
    apply(config);
    for (unsigned i = 0; i < self->thread_count; i++)
        if (!thread_call(self->threads[i], serve, change, UINT32_MAX / 2))
            abort(); /* the page told the supervisor long ago that the thread hangs */
    self->generation = change->generation;
    close_unwanted(self, config);
    if (before != NULL)
        keep_older(self, before);
}

/* Takes the configuration. */
static bool change_to(struct worker *self, struct config *config) {
    struct listener **listeners = gather_listeners(self, config);
    if (listeners == NULL) {
        config_free(config);
        return false;
    }
    struct change change = {.worker = self,
                            .generation = generation_create(config, listeners, &self->count),
                            .retire_ms = config->retire_ms,
                            .config = config};
    if (!prepare_all(self, &change)) {
        drop_all(self, &change);
        if (self->generation != NULL)
            close_unwanted(self, current(self));
        return false;
    }
    take_over(self, &change, config);
    return true;
}

/* --- older generations --- */

static bool is_done_with(const struct worker *self, const struct generation *generation) {
    for (unsigned i = 0; i < self->thread_count; i++)
        if (!thread_is_done_with(self->threads[i], generation))
            return false;
    return true;
}

static void call_all(struct worker *self, thread_call_fn fn, void *arg) {
    for (unsigned i = self->thread_count; i-- > 0;)
        while (!thread_call(self->threads[i], fn, arg, UINT32_MAX / 2))
            ;
}

/* Its consumers end one by one, with their last WebSockets. True when it is gone. */
static bool settle(struct worker *self, struct generation *generation) {
    struct change change = {.worker = self, .generation = generation};
    unsigned idle, left = generation_consumers(generation, &idle);
    if (idle == 0 && left > 0)
        return false;
    if (idle == left)
        call_all(self, forget, &change);
    else
        call_all(self, stop_consumers, generation);
    return generation_settle(generation, false);
}

static bool tend_one(struct worker *self, struct older *older) {
    if (!older->is_closed && is_done_with(self, older->generation)) {
        call_all(self, close_part, older->generation);
        older->is_closed = true;
    }
    return older->is_closed && settle(self, older->generation);
}

/* How long to wait before it is called again, in milliseconds; -1: for ever. */
static int tend_older(struct worker *self) {
    int wait = -1;
    for (struct older **at = &self->older, *older; (older = *at) != NULL;) {
        if (tend_one(self, older)) {
            *at = older->next;
            free(older);
            continue;
        }
        int own = older->is_closed ? HOLDERS_MS : SETTLE_MS;
        wait = wait == -1 || own < wait ? own : wait;
        at = &older->next;
    }
    return wait;
}

/* --- the end --- */

static uint64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

/* Whether somebody wants the end at once: a second signal, or a second STOP. */
static bool is_hurried(struct worker *self) {
    const struct timespec none = {0, 0};
    struct pollfd channel = {.fd = self->channel, .events = POLLIN};
    if (!self->is_supervised) {
        int number = sigtimedwait(&self->signals, NULL, &none);
        return number == SIGTERM || number == SIGINT;
    }
    if (self->channel == -1 || poll(&channel, 1, 0) <= 0)
        return false;
    if (channel_receive(self->channel, true, &self->message) <= 0) {
        close(self->channel);
        self->channel = -1;
        return false;
    }
    if (self->message.fd != -1)
        close(self->message.fd);
    return self->message.kind == CHANNEL_STOP;
}

/* Waits for the threads; hurried, it leaves them only the grace. */
static bool drain(struct worker *self, const struct thread_end *end) {
    const struct thread_end at_once = {.ms = 0, .code = end->code, .is_shared = end->is_shared};
    uint64_t until = now_ms() + end->ms + JOIN_GRACE_MS;
    log_line(LOG_AT_INFO, "stopping within %u ms", end->ms);
    stop_threads(self, end);
    while (!join_threads(self, 20)) {
        uint64_t now = now_ms();
        if (now >= until)
            return false;
        if (!is_hurried(self))
            continue;
        stop_threads(self, &at_once);
        if (until > now + JOIN_GRACE_MS)
            until = now + JOIN_GRACE_MS;
    }
    return true;
}

static void *free_pool(void *pool) {
    offload_free(pool);
    return NULL;
}

/* Blocking work can't be ended from outside: waits for it at most the grace. */
static bool end_pool(struct worker *self) {
    pthread_t helper;
    struct timespec until;
    if (self->pool == NULL)
        return true;
    if (pthread_create(&helper, NULL, free_pool, self->pool) != 0)
        abort();
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_GRACE_MS / 1000;
    return pthread_timedjoin_np(helper, NULL, &until) == 0;
}

/* Threads that a consumer holds can be left behind only with the process. */
static void abandon(const struct worker *self, const char *what) {
    log_line(LOG_AT_ERROR, "%s did not end in time: a consumer holds it", what);
    remove_pid(self);
    _exit(1);
}

static void tear_down(struct worker *self) {
    for (size_t i = 0; i < self->served_count; i++)
        listener_close(self->served[i].listener);
    self->served_count = 0;
    remove_pid(self);
    for (struct older *older = self->older; older != NULL; older = older->next)
        generation_settle(older->generation, true);
    if (self->generation != NULL)
        generation_settle(self->generation, true);
}

static void end_threads(struct worker *self, bool ended) {
    if (!ended)
        abandon(self, "a thread");
    if (!end_pool(self))
        abandon(self, "offloaded work");
    store_close(self->store); /* what was taken is written */
    tear_down(self);
}

static int stop(struct worker *self, const struct thread_end *end) {
    end_threads(self, drain(self, end));
    log_line(LOG_AT_INFO, "stopped");
    return EX_OK;
}

/* --- the begin --- */

/* The main thread hears of signals, by a descriptor; all others inherit the mask. */
static int block_signals(struct worker *self) {
    sigemptyset(&self->signals);
    sigaddset(&self->signals, SIGTERM);
    sigaddset(&self->signals, SIGINT);
    sigaddset(&self->signals, SIGHUP);
    sigaddset(&self->signals, SIGUSR1);
    sigaddset(&self->signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &self->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow is no reason to end */
    return signalfd(-1, &self->signals, SFD_CLOEXEC);
}

/* The probe comes after a change of users: that may be why the kernel refuses. */
static enum batch_way choose_io(const struct config *config) {
    enum batch_way way = config->io;
    if (way == BATCH_AUTO && !batch_probe()) {
        log_line(LOG_AT_INFO, "WebSockets: a system call each, since io_uring is refused: %s",
                 strerror(errno));
        way = BATCH_CALLS;
    } else if (way == BATCH_CALLS) {
        log_line(LOG_AT_INFO, "WebSockets: a system call each");
    } else {
        log_line(LOG_AT_INFO, "WebSockets: io_uring");
    }
    counters_set_transport(way == BATCH_CALLS ? "calls" : "io_uring");
    plain_transport_choose(way);
    return way;
}

/* Without it the server serves as well, and says so. */
static bool enter_sandbox(const struct config *process, bool quiet) {
    const struct sandbox_terms terms = {.io_uring = true};
    struct error error;
    bool entered = process->sandbox && sandbox_enter(&terms, &error);
    if (quiet)
        return entered;
    if (entered)
        log_line(LOG_AT_INFO, "sandbox: on");
    else if (process->sandbox)
        log_line(LOG_AT_WARNING, "sandbox: off, since the kernel refuses it: %s", error.text);
    else
        log_line(LOG_AT_WARNING, "sandbox: off, as the configuration says");
    return entered;
}

/* Before a plugin is loaded: what the file says of it is read by itself. */
static bool enter_sandbox_of(const char *path, bool quiet) {
    struct manifest *manifest = manifest_take(path, NULL, 0, NULL);
    log_limit(manifest->process.log_level); /* the rest of the file is read later */
    bool entered = enter_sandbox(&manifest->process, quiet);
    manifest_free(manifest);
    return entered;
}

/* Each thread has made its rings, where there are any. */
static void end_rings(bool in_use) {
    struct error error;
    batch_probe(); /* remembered: a later configuration may ask whether there could be any */
    if (!sandbox_end_rings(in_use, &error))
        log_line(LOG_AT_WARNING, "sandbox: io_uring stays open: %s", error.text);
}

/* Takes the configuration. */
static bool begin(struct worker *self, struct config *config) {
    apply(config);
    bool rings = choose_io(config) != BATCH_CALLS;
    make_loops(self, config);
    if (!change_to(self, config)) {
        const struct thread_end end = {.ms = 1, .code = 1001};
        stop_threads(self, &end);
        end_threads(self, join_threads(self, JOIN_GRACE_MS));
        return false;
    }
    if (self->is_confined)
        end_rings(rings);
    return true;
}

/* Those that were not there before. */
static void say_listening(const struct worker *self, const struct config *before) {
    char url[LISTENER_URL_MAX];
    const struct config *config = current(self);
    for (size_t i = 0; i < config->listener_count; i++)
        if (before == NULL || !is_wanted(before, config->listeners[i].key))
            log_line(LOG_AT_INFO, "listening on %s",
                     listener_url(generation_listeners(self->generation)[i],
                                  config->listeners[i].conf.tls != NULL, url));
}

static void say_ready(const struct worker *self) {
    say_listening(self, NULL);
    log_line(LOG_AT_INFO, "ready: %u threads, at most %zu connections", self->thread_count,
             atomic_load(&self->count.most));
}

/* --- alone --- */

static int wait_alone(const struct worker *self, int signals) {
    struct signalfd_siginfo told;
    (void)self;
    while (read(signals, &told, sizeof(told)) == (ssize_t)sizeof(told)) {
        if (told.ssi_signo == SIGTERM || told.ssi_signo == SIGINT)
            return 0;
        log_line(LOG_AT_WARNING, "there is no supervisor: signal %u changes nothing",
                 told.ssi_signo);
    }
    return -1;
}

int worker_run_alone(struct config *config) {
    struct worker *self = &worker;
    self->channel = -1;
    int signals = block_signals(self);
    page_enter(PAGE_MAIN);
    if (!open_log(config) || !write_pid(self, config->pid_file)) {
        config_free(config);
        return 1;
    }
    /* Listeners below port 1024 and keys need the rights of the start. */
    struct listener **opened = gather_listeners(self, config);
    bool ready = opened != NULL && rights_drop(config->user);
    free(opened);
    if (!ready) {
        remove_pid(self);
        for (size_t i = 0; i < self->served_count; i++)
            listener_close(self->served[i].listener);
        config_free(config);
        return 1;
    }
    self->is_confined = enter_sandbox(config, false); /* its plugins are loaded already */
    if (!begin(self, config)) {
        if (self->generation == NULL)
            remove_pid(self);
        return 1;
    }
    say_ready(self);
    wait_alone(self, signals);
    const struct thread_end end = {.ms = self->drain_ms, .code = 1001};
    close(signals);
    return stop(self, &end);
}

/* --- under a supervisor --- */

static void refuse(const struct worker *self, int status, const char *why) {
    channel_send(self->channel, CHANNEL_REFUSED, (uint32_t)status, why, -1);
}

/* The configuration of the snapshot that came; NULL when it was refused: answered. quiet: its
   warnings were shown before. */
static struct config *load_incoming(struct worker *self, const char *path) {
    struct problems *problems = problems_create();
    bool quiet = snapshot_is_accepted();
    struct config *config = self->load(path, problems);
    if (config != NULL) {
        if (!quiet)
            problems_print(problems, stderr);
        problems_free(problems);
        return config;
    }
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        abort();
    problems_print(problems, memory);
    fprintf(memory, "%s: refused, %zu error%s\n", path, problems_errors(problems),
            problems_errors(problems) == 1 ? "" : "s");
    fclose(memory);
    refuse(self, EX_CONFIG, text);
    free(text);
    problems_free(problems);
    return NULL;
}

static void answer_serving(struct worker *self, const char *text) {
    channel_send(self->channel, CHANNEL_SERVING, 0, text, -1);
}

static char *describe_change(struct worker *self, const struct config *to) {
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        abort();
    changes_print(current(self), to, memory);
    fclose(memory);
    return text;
}

static void reload(struct worker *self, struct config *config) {
    char why[512];
    if (!changes_possible(current(self), config, why, sizeof(why))) {
        refuse(self, EX_CONFIG, why);
        config_free(config);
        return;
    }
    const struct config *before =
        current(self); /* freed when its last request is answered: later */
    char *text = describe_change(self, config);
    if (change_to(self, config))
        say_listening(self, before), answer_serving(self, text);
    else
        refuse(self, EX_CONFIG, "the new configuration could not be started: see the log\n");
    free(text);
}

/* What came is built; false when nothing can be served. */
static bool build(struct worker *self, const char *path, bool accepted) {
    struct snapshot *snapshot = self->incoming;
    self->incoming = NULL;
    if (accepted)
        snapshot_accept(snapshot);
    snapshot_use(snapshot);
    if (self->generation == NULL)
        self->is_confined = enter_sandbox_of(path, false);
    struct config *config = load_incoming(self, path);
    bool serving = true;
    if (config != NULL && self->generation != NULL)
        reload(self, config);
    else if (config != NULL && (serving = begin(self, config)))
        say_ready(self), answer_serving(self, "");
    else if (config == NULL)
        serving = self->generation != NULL;
    snapshot_use(NULL);
    snapshot_free(snapshot);
    return serving;
}

/* Logs under the descriptors that they have. */
static void reopen(struct worker *self) {
    struct snapshot *logs = self->incoming;
    self->incoming = NULL;
    snapshot_use(logs);
    bool all = config_reopen_logs(current(self)) && open_log(current(self));
    for (const struct older *older = self->older; older != NULL; older = older->next)
        if (!older->is_closed)
            all = config_reopen_logs(generation_config(older->generation)) && all;
    snapshot_use(NULL);
    snapshot_free(logs);
    channel_send(self->channel, CHANNEL_REOPENED, all, "", -1);
}

static struct thread_end read_end(const char *text) {
    struct thread_end end = {.code = 1001};
    unsigned shared = 0;
    if (sscanf(text, "%u %d %u %u", &end.ms, &end.code, &end.retry_ms, &shared) == 4)
        end.is_shared = shared != 0;
    return end;
}

static void add_entry(struct worker *self) {
    if (self->incoming == NULL)
        self->incoming = snapshot_create();
    channel_add_entry(self->incoming, &self->message);
}

static void answer(const struct worker *self) {
    const struct answers_of of = {self->threads, self->thread_count, current(self)};
    answers_give(self->message.text, self->message.fd, &of);
}

enum heard { HEARD, HEARD_STOP, HEARD_NOTHING };

static enum heard hear(struct worker *self, struct thread_end *end) {
    struct channel_message *message = &self->message;
    if (channel_receive(self->channel, true, message) <= 0) {
        /* The supervisor has gone: a new one opens the addresses anew. */
        log_line(LOG_AT_ERROR, "the supervisor is gone");
        *end = (struct thread_end){.ms = self->drain_ms, .code = 1001};
        return self->generation == NULL ? HEARD_NOTHING : HEARD_STOP;
    }
    enum heard heard = HEARD;
    if (message->kind == CHANNEL_ENTRY)
        add_entry(self);
    else if (self->incoming == NULL)
        self->incoming = snapshot_create();
    if (message->kind == CHANNEL_BUILD && !build(self, message->text, message->number != 0))
        heard = HEARD_NOTHING;
    else if (message->kind == CHANNEL_REOPEN && self->generation != NULL)
        reopen(self);
    else if (message->kind == CHANNEL_ASK && self->generation != NULL)
        answer(self);
    if (message->fd != -1 && message->kind != CHANNEL_ENTRY)
        close(message->fd);
    if (message->kind != CHANNEL_STOP)
        return heard;
    *end = read_end(message->text);
    return self->generation == NULL ? HEARD_NOTHING : HEARD_STOP;
}

int worker_run(int channel, worker_load_fn load) {
    struct worker *self = &worker;
    struct thread_end end;
    enum heard heard = HEARD;
    self->channel = channel;
    self->load = load;
    self->is_supervised = true;
    /* A terminal or systemd may send them to all processes, but they are the supervisor's. */
    close(block_signals(self));
    page_enter(PAGE_MAIN);
    crash_watch();
    while (heard == HEARD) {
        struct pollfd waiting = {.fd = channel, .events = POLLIN};
        int ready = poll(&waiting, 1, self->generation == NULL ? -1 : tend_older(self));
        page_tick();
        if (ready > 0)
            heard = hear(self, &end);
    }
    if (heard == HEARD_STOP)
        return stop(self, &end);
    return EX_CONFIG;
}

int worker_try(int channel, worker_load_fn load) {
    struct worker *self = &worker;
    self->channel = channel;
    self->load = load;
    page_enter(PAGE_MAIN);
    crash_watch();
    for (;;) {
        if (channel_receive(channel, true, &self->message) <= 0)
            return EX_SOFTWARE;
        if (self->message.kind == CHANNEL_BUILD)
            break;
        add_entry(self);
    }
    snapshot_use(self->incoming);
    enter_sandbox_of(self->message.text, true);
    struct config *config = load_incoming(self, self->message.text);
    if (config == NULL)
        return EX_CONFIG;
    config_free(config);
    answer_serving(self, "");
    return EX_OK;
}
