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

/* Descriptors that are no connection: listeners, loops, logs, plugins, upstreams' first ones. */
#define DESCRIPTORS_BESIDE 64
#define CONNECTIONS_A_LOOP ((1u << 24) - 1)
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

static bool write_pid(const struct config *config) {
    if (config->pid_file == NULL)
        return true;
    FILE *file = fopen(config->pid_file, "we");
    if (file == NULL)
        return fail("can't write pid-file", config->pid_file);
    fprintf(file, "%ld\n", (long)getpid());
    fclose(file);
    return true;
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
    if (user == NULL)
        return fail("no such user", config->user);
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
    groups_create_all(self->loops, count);
    self->pool = offload_create(self->config->offload_threads, self->config->offload_queue);
    instances_set_offload(self->pool);
}

static void stop_threads(struct worker *self, uint32_t ms) {
    for (unsigned i = 0; i < self->config->num_threads; i++)
        if (self->threads[i] != NULL)
            thread_stop(self->threads[i], ms);
}

static bool join_threads(struct worker *self, uint32_t ms) {
    bool all = true;
    for (unsigned i = 0; i < self->config->num_threads; i++) {
        if (self->threads[i] == NULL)
            continue;
        if (thread_join(self->threads[i], ms))
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

/* Waits for the threads; a second SIGTERM or SIGINT ends the waiting. */
static bool drain(struct worker *self) {
    uint64_t patience_ms = (uint64_t)self->config->drain_ms + JOIN_GRACE_MS;
    stop_threads(self, self->config->drain_ms);
    for (uint64_t waited = 0; waited < patience_ms; waited += 20) {
        struct timespec none = {0, 0};
        if (join_threads(self, waited == 0 ? 0 : 20 / self->config->num_threads + 1))
            return true;
        int number = sigtimedwait(&self->signals, NULL, &none);
        if (number == SIGTERM || number == SIGINT)
            stop_threads(self, 0);
    }
    return false;
}

/* --- the whole --- */

static bool set_up(struct worker *self) {
    block_signals(self);
    if (!open_log(self->config))
        return false;
    self->count.most = connections_most(self->config);
    if (!open_listeners(self) || !write_pid(self->config) || !drop_rights(self->config))
        return false;
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
    if (self->generation != NULL)
        generation_shut(self->generation);
    if (self->config->pid_file != NULL)
        unlink(self->config->pid_file);
}

int worker_run(struct config *config) {
    struct worker *self = &worker;
    self->config = config;
    if (!set_up(self)) {
        stop_threads(self, 1);
        join_threads(self, JOIN_GRACE_MS);
        tear_down(self);
        return 1;
    }
    say_ready(self);
    wait_for_stop(self);
    log_line(LOG_AT_INFO, "stopping within %u ms", config->drain_ms);
    if (!drain(self)) {
        log_line(LOG_AT_ERROR, "a thread did not end in time: a consumer holds it");
        _exit(1);
    }
    offload_free(self->pool);
    tear_down(self);
    log_line(LOG_AT_INFO, "stopped");
    return 0;
}
