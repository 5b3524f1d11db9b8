#include "process/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "consumer/connection.h"
#include "consumer/host.h"
#include "consumer/instance.h"
#include "consumer/offload.h"
#include "group/group.h"
#include "loop/h2o.h"
#include "loop/loop.h"
#include "net/listener.h"
#include "observe/log.h"
#include "process/generation.h"
#include "process/thread.h"
#include "websocket/plain_transport.h"

/* Descriptors that are no connection: listeners, loops, logs, plugins, upstreams' first ones. */
#define DESCRIPTORS_BESIDE 64
/* Each has two timers at most, and its consumer's. */
#define CONNECTIONS_A_LOOP (LOOP_TIMERS_MAX / 4)
#define JOIN_GRACE_MS 2000

/* All of it lives until the process ends; kept here so that it stays reachable. */
static struct worker {
    struct config *config;
    struct listener **listeners;
    struct loop **loops;
    struct thread **threads;
    struct generation *generation;
    struct connection_count count;
    struct offload *pool;
    bool has_pid_file;
    sigset_t signals;
} worker;

static bool fail(const char *what, const char *name) {
    log_line(LOG_AT_ERROR, "%s %s: %s", what, name, strerror(errno));
    return false;
}

/* --- what is opened with the rights of the start --- */

static bool open_log(const struct config *config) {
    if (config->error_log == NULL)
        return true;
    int fd = open(config->error_log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd == -1)
        return fail("can't open error-log", config->error_log);
    dup2(fd, STDERR_FILENO); /* libh2o and plugins write there */
    log_open(fd);
    return true;
}

static bool write_pid(struct worker *self) {
    const char *path = self->config->pid_file;
    if (path == NULL)
        return true;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return fail("can't write pid-file", path);
    self->has_pid_file = true;
    bool written = fprintf(file, "%ld\n", (long)getpid()) > 0;
    if (fclose(file) != 0 || !written)
        return fail("can't write pid-file", path);
    return true;
}

/* Another server's stays: this one may have failed because that one runs. */
static void remove_pid(const struct worker *self) {
    if (self->has_pid_file)
        unlink(self->config->pid_file);
}

/* The descriptor limit goes up to the hard one; the lower of it and max-connections holds. */
static size_t connections_most(const struct config *config) {
    struct rlimit limit;
    size_t beside = DESCRIPTORS_BESIDE + config->num_threads * (config->listener_count + 4);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return config->max_connections;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    size_t possible = limit.rlim_cur > beside ? limit.rlim_cur - beside : 1;
    if (limit.rlim_cur == RLIM_INFINITY || config->max_connections <= possible)
        return config->max_connections;
    log_line(LOG_AT_WARNING,
             "max-connections is %zu, but this process may open only %llu descriptors: %zu "
             "connections will be served (raise LimitNOFILE or ulimit -n)",
             config->max_connections, (unsigned long long)limit.rlim_cur, possible);
    return possible;
}

static bool open_listeners(struct worker *self) {
    const struct config *config = self->config;
    self->listeners = calloc(config->listener_count, sizeof(*self->listeners));
    if (self->listeners == NULL)
        abort();
    for (size_t i = 0; i < config->listener_count; i++) {
        struct config_listener *listener = &config->listeners[i];
        struct error error;
        self->listeners[i] = listener_open(&listener->conf, config->num_threads, &error);
        listener->conf.tls = NULL; /* taken */
        if (self->listeners[i] != NULL)
            continue;
        log_line(LOG_AT_ERROR, "%s:%zu: %s", listener->place.file, listener->place.line,
                 error.text);
        return false;
    }
    return true;
}

static bool drop_rights(const struct config *config) {
    if (config->user == NULL) {
        if (geteuid() == 0)
            log_line(LOG_AT_WARNING, "running as root: name a user in the configuration");
        return true;
    }
    errno = 0;
    const struct passwd *user = getpwnam(config->user);
    if (user == NULL && errno != 0)
        return fail("can't look up user", config->user);
    if (user == NULL) {
        log_line(LOG_AT_ERROR, "there is no user %s", config->user);
        return false;
    }
    if (geteuid() == user->pw_uid)
        return true;
    if (initgroups(config->user, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0)
        return fail("can't become user", config->user);
    return true;
}

/* --- threads --- */

static void make_loops(struct worker *self) {
    unsigned count = self->config->num_threads;
    self->loops = calloc(count, sizeof(struct loop *));
    self->threads = calloc(count, sizeof(struct thread *));
    if (self->loops == NULL || self->threads == NULL)
        abort();
    for (unsigned i = 0; i < count; i++) {
        self->loops[i] = loop_create(i);
        connections_create(self->loops[i], CONNECTIONS_A_LOOP);
        host_set_loop(self->loops[i]);
    }
    groups_create_all(self->loops, count, connection_member_events());
    self->pool = offload_create(self->config->offload_threads, self->config->offload_queue);
    instances_set_offload(self->pool);
}

static void stop_threads(struct worker *self, uint32_t ms) {
    for (unsigned i = 0; self->threads != NULL && i < self->config->num_threads; i++)
        if (self->threads[i] != NULL)
            thread_stop(self->threads[i], ms);
}

/* Waits for all of them together, at most ms. */
static bool join_threads(struct worker *self, uint32_t ms) {
    bool all = true;
    for (unsigned i = 0; self->threads != NULL && i < self->config->num_threads; i++) {
        if (self->threads[i] == NULL)
            continue;
        if (thread_join(self->threads[i], all ? ms : 0))
            self->threads[i] = NULL;
        else
            all = false;
    }
    return all;
}

static bool start_threads(struct worker *self) {
    for (unsigned i = 0; i < self->config->num_threads; i++) {
        self->threads[i] = thread_start(self->loops[i], self->generation);
        if (self->threads[i] == NULL)
            return false;
    }
    return true;
}

/* --- signals --- */

/* All threads inherit the mask: signals come to the main thread alone, by sigwait. */
static void block_signals(struct worker *self) {
    sigemptyset(&self->signals);
    sigaddset(&self->signals, SIGTERM);
    sigaddset(&self->signals, SIGINT);
    sigaddset(&self->signals, SIGHUP);
    sigaddset(&self->signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &self->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void wait_for_stop(const struct worker *self) {
    int number;
    for (;;) {
        if (sigwait(&self->signals, &number) != 0)
            continue;
        if (number == SIGTERM || number == SIGINT)
            return;
        log_line(LOG_AT_WARNING, "%s: not yet: this version can't %s while it runs; restart it",
                 number == SIGHUP ? "SIGHUP" : "SIGUSR1",
                 number == SIGHUP ? "reload its configuration" : "reopen its logs");
    }
}

static uint64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

/* Waits for the threads; a second SIGTERM or SIGINT leaves them only the grace. */
static bool drain(struct worker *self) {
    const struct timespec none = {0, 0};
    uint64_t until = now_ms() + self->config->drain_ms + JOIN_GRACE_MS;
    stop_threads(self, self->config->drain_ms);
    while (!join_threads(self, 20)) {
        uint64_t now = now_ms();
        if (now >= until)
            return false;
        int number = sigtimedwait(&self->signals, NULL, &none);
        if (number != SIGTERM && number != SIGINT)
            continue;
        stop_threads(self, 0);
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

/* --- the whole --- */

/* The probe comes after a change of users: that may be why the kernel refuses. */
static void choose_io(const struct config *config) {
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
    plain_transport_choose(way);
}

static bool set_up(struct worker *self) {
    block_signals(self);
    if (!open_log(self->config))
        return false;
    self->count.most = connections_most(self->config);
    if (!open_listeners(self) || !write_pid(self) || !drop_rights(self->config))
        return false;
    choose_io(self->config);
    make_loops(self);
    self->generation = generation_create(self->config, self->listeners, &self->count);
    return start_threads(self);
}

static void say_ready(const struct worker *self) {
    for (size_t i = 0; i < self->config->listener_count; i++)
        log_line(LOG_AT_INFO, "listening on %s", listener_url(self->listeners[i]));
    log_line(LOG_AT_INFO, "ready: %u threads, at most %zu connections", self->config->num_threads,
             self->count.most);
}

static void tear_down(struct worker *self) {
    for (size_t i = 0; i < self->config->listener_count; i++)
        if (self->listeners != NULL)
            listener_close(self->listeners[i]);
    remove_pid(self);
    if (self->generation != NULL)
        generation_shut(self->generation);
    else
        config_free(self->config); /* nothing runs on it yet */
}

/* Threads that a consumer holds can be left behind only with the process. */
static void abandon(const struct worker *self, const char *what) {
    log_line(LOG_AT_ERROR, "%s did not end in time: a consumer holds it", what);
    remove_pid(self);
    _exit(1);
}

static void end_threads(struct worker *self, bool ended) {
    if (!ended)
        abandon(self, "a thread");
    if (!end_pool(self))
        abandon(self, "offloaded work");
    tear_down(self);
}

int worker_run(struct config *config) {
    struct worker *self = &worker;
    self->config = config;
    if (!set_up(self)) {
        stop_threads(self, 1);
        end_threads(self, join_threads(self, JOIN_GRACE_MS));
        return 1;
    }
    say_ready(self);
    wait_for_stop(self);
    log_line(LOG_AT_INFO, "stopping within %u ms", config->drain_ms);
    end_threads(self, drain(self));
    log_line(LOG_AT_INFO, "stopped");
    return 0;
}
