#include "process/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "config/manifest.h"
#include "net/tickets.h"
#include "observe/log.h"
#include "observe/page.h"
#include "process/channel.h"
#include "process/child.h"
#include "process/control.h"
#include "process/notify.h"
#include "process/rights.h"
#include "process/sockets.h"
#include "snapshot/own_file.h"
#include "snapshot/snapshot.h"

#define BEAT_MS 250        /* how often threads' ticks are looked at */
#define START_MS 30000     /* for a worker to serve its first configuration */
#define TRY_MS 15000       /* for a trial */
#define BUILD_MS 30000     /* for a worker to change */
#define SHORT_LIFE_MS 1000 /* a worker that served for less is a short life */
#define SHORT_LIVES_MAX 5  /* in a row: the end */
#define BACK_OFF_MS 100    /* behind the first short life; doubled behind each other */
#define CRASHES_MAX 10     /* of one plugin in a minute: its routes answer 503 */
#define CRASHES_MS 60000
#define CULPRITS_MAX 32       /* plugins whose crashes are remembered */
#define KILL_GRACE_MS 6000    /* behind the drain time */
#define RESTART_RETRY_MS 3000 /* clients come back within this after a restart */
#define TICKETS_LOWEST 4200   /* above all sockets that are handed over */
#define CLIENTS_MAX 32
#define CLIENT_MS 5000 /* for a client of the control socket to ask */

enum wants { WANTS_UNKNOWN, WANTS_RELOAD, WANTS_REOPEN, WANTS_STOP, WANTS_RESTART, WANTS_SERVING };

/* A client of the control socket. */
struct client {
    int fd; /* -1: a free place */
    size_t used;
    uint64_t since;
    enum wants waits;    /* WANTS_UNKNOWN: still asking */
    bool waits_for_next; /* reload: the one behind the one under way */
    char question[CONTROL_QUESTION_MAX];
};

enum life { LIFE_NONE, LIFE_STARTING, LIFE_SERVING, LIFE_STOPPING };

enum attempt_state { ATTEMPT_NONE, ATTEMPT_TRIED, ATTEMPT_READY, ATTEMPT_BUILDING };

/* A new configuration on its way. */
struct attempt {
    enum attempt_state state;
    enum wants why; /* WANTS_RELOAD or WANTS_REOPEN */
    struct snapshot *snapshot;
    struct manifest *manifest;
    uint64_t deadline;
};

/* When a plugin ended workers, the oldest first. */
struct culprit {
    char path[PAGE_PATH_MAX];
    uint64_t at[CRASHES_MAX];
    unsigned count;
};

static struct supervisor {
    const struct supervisor_conf *conf;
    int signals;
    sigset_t mask;
    struct sockets *sockets;
    struct snapshot *accepted;
    struct manifest *manifest; /* of the accepted one */
    bool has_served;           /* once */

    int page_fd, trial_page_fd;
    int tickets_fd;    /* memory for TLS ticket keys, which outlive workers */
    struct page *page; /* the worker's */
    struct page *trial_page;

    struct child worker;
    pid_t old_worker; /* of the program before a restart; 0: none */
    uint64_t old_until;
    enum life life;
    uint64_t began, served_since, restart_at, kill_at; /* 0: no such time */
    unsigned short_lives;
    bool was_stuck;    /* the worker was ended for that */
    unsigned stuck_at; /* where its thread was; 0: in no consumer */
    unsigned ticks[PAGE_THREADS];
    unsigned still[PAGE_THREADS]; /* beats without a tick */
    uint64_t beat_at;
    struct culprit culprits[CULPRITS_MAX];
    unsigned culprit_count;

    struct child trial;
    struct attempt attempt;
    bool reopened; /* logs, while an attempt was under way */
    bool again;    /* asked for while one was under way */
    enum wants again_why;

    char *control;
    int listening;
    struct client clients[CLIENTS_MAX];

    int status;  /* to end with; -1: goes on */
    int refused; /* the status that the worker answered before its end; 0: none */
    bool stopping, restarting;
    bool has_pid_file;
    struct channel_message message;
} supervisor = {.status = -1, .listening = -1, .worker.channel = -1, .trial.channel = -1};

static uint64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static void add_one(atomic_ullong *count) { atomic_fetch_add(count, 1); }

static void set_now(atomic_ullong *at) { atomic_store(at, (unsigned long long)time(NULL)); }

/* --- clients of the control socket --- */

static void answer_client(struct client *client, int status, const char *text) {
    control_answer(client->fd, status, text);
    client->fd = -1;
}

/* Whoever waits for the attempt that is over. */
static void answer_attempt(struct supervisor *self, int status, const char *text) {
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &self->clients[i];
        bool waits = client->waits == WANTS_RELOAD || client->waits == WANTS_REOPEN ||
                     client->waits == WANTS_RESTART;
        if (client->fd != -1 && waits && !client->waits_for_next)
            answer_client(client, status, text);
    }
}

static void answer_waiting(struct supervisor *self, enum wants what, int status, const char *text) {
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (self->clients[i].fd != -1 && self->clients[i].waits == what &&
            !self->clients[i].waits_for_next)
            answer_client(&self->clients[i], status, text);
}

/* --- the worker: starting --- */

static void start_worker(struct supervisor *self) {
    const struct config *process = &self->manifest->process;
    page_clear(self->page);
    memset(self->still, 0, sizeof(self->still));
    self->began = now_ms();
    self->restart_at = 0;
    self->was_stuck = false;
    self->stuck_at = 0;
    self->refused = 0;
    const struct child_conf conf = {.role = "--worker",
                                    .user = process->user,
                                    .page = self->page_fd,
                                    .tickets = self->tickets_fd};
    if (!child_start(&self->worker, &conf)) {
        log_line(LOG_AT_ERROR, "a worker can't be started: %s", strerror(errno));
        self->restart_at = now_ms() + SHORT_LIFE_MS;
        self->life = LIFE_NONE;
        return;
    }
    self->life = LIFE_STARTING;
    self->kill_at = self->began + START_MS;
    /* when it ends meanwhile its end is heard of, and says all */
    if (channel_send_snapshot(self->worker.channel, self->accepted))
        channel_send(self->worker.channel, CHANNEL_BUILD, self->has_served, self->conf->file, -1);
}

/* --- the worker: its end --- */

static const char *signal_name(int number, char *buffer, size_t size) {
    const char *name = sigabbrev_np(number);
    if (name != NULL)
        snprintf(buffer, size, "SIG%s", name);
    else
        snprintf(buffer, size, "signal %d", number);
    return buffer;
}

/* One line: which signal, where, and the frames. */
static void say_crash(const struct supervisor *self, pid_t pid, int number) {
    const struct page_crash *crash = &self->page->crash;
    char name[32], where[512];
    signal_name(number, name, sizeof(name));
    if (atomic_load(&crash->signal) == 0) {
        log_line(LOG_AT_ERROR, "worker %ld was ended by %s", (long)pid, name);
        return;
    }
    page_describe(self->page, crash->at, where, sizeof(where));
    if (where[0] == '\0' && crash->plugin[0] != '\0')
        snprintf(where, sizeof(where), "plugin %.63s, no hook", crash->plugin);
    log_line(LOG_AT_ERROR, "worker %ld crashed: %s at 0x%zx in %s; thread %.15s; backtrace:%.1000s",
             (long)pid, name, (size_t)crash->address,
             where[0] != '\0' ? where : "the server itself", crash->thread, crash->backtrace);
}

static void say_end(const struct supervisor *self, pid_t pid, int status) {
    if (WIFSIGNALED(status) && !self->was_stuck)
        say_crash(self, pid, WTERMSIG(status));
    else if (!WIFSIGNALED(status))
        log_line(LOG_AT_ERROR, "worker %ld ended with status %d", (long)pid, WEXITSTATUS(status));
}

/* The file of the plugin that ended the worker, or "". */
static void find_path(const struct supervisor *self, char path[PAGE_PATH_MAX]) {
    const struct page_crash *crash = &self->page->crash;
    unsigned at = atomic_load(&crash->signal) != 0 ? crash->at : self->stuck_at;
    page_path(self->page, at, path);
    if (atomic_load(&crash->signal) != 0 && crash->path[0] != '\0')
        snprintf(path, PAGE_PATH_MAX, "%.*s", PAGE_PATH_MAX - 1, crash->path);
}

static struct culprit *find_culprit(struct supervisor *self, const char *path) {
    struct culprit *oldest = &self->culprits[0];
    for (unsigned i = 0; i < self->culprit_count; i++) {
        struct culprit *one = &self->culprits[i];
        if (strcmp(one->path, path) == 0)
            return one;
        if (one->at[one->count - 1] < oldest->at[oldest->count - 1])
            oldest = one;
    }
    if (self->culprit_count < CULPRITS_MAX)
        oldest = &self->culprits[self->culprit_count++];
    memset(oldest, 0, sizeof(*oldest));
    snprintf(oldest->path, sizeof(oldest->path), "%s", path);
    return oldest;
}

/* Whether that was one crash too many: ten in a minute, or as many as would end the program. Of the
   two, losing one plugin's routes is better; but not at the first start, which somebody watches. */
static bool note_culprit(struct supervisor *self, const char *path, bool ends_program) {
    struct culprit *culprit = find_culprit(self, path);
    uint64_t now = now_ms();
    if (culprit->count == CRASHES_MAX)
        memmove(culprit->at, culprit->at + 1, sizeof(culprit->at[0]) * --culprit->count);
    culprit->at[culprit->count++] = now;
    if (ends_program && self->has_served && culprit->count >= SHORT_LIVES_MAX)
        return true;
    return culprit->count == CRASHES_MAX && now - culprit->at[0] < CRASHES_MS;
}

static bool is_of(const struct snapshot_entry *entry, const char *path) {
    return entry->kind == SNAPSHOT_PLUGIN && entry->path != NULL &&
           strncmp(entry->path, path, PAGE_PATH_MAX - 1) == 0;
}

/* The plugin is not loaded any more, by whatever name, until a reload. */
static bool bar(struct supervisor *self, const char *path) {
    size_t count, barred = 0;
    snapshot_entries(self->accepted, &count);
    for (size_t i = 0, total; i < count; i++) {
        const struct snapshot_entry *entry = &snapshot_entries(self->accepted, &total)[i];
        if (!is_of(entry, path))
            continue;
        char *key = strdup(entry->name); /* adding moves the entries */
        snapshot_add(self->accepted, SNAPSHOT_BARRED, key, NULL, -1);
        free(key);
        barred++;
    }
    if (barred > 0)
        log_line(LOG_AT_ERROR,
                 "plugin %s ended %u workers within a minute: its routes answer 503 until a reload",
                 path, find_culprit(self, path)->count);
    return barred > 0;
}

/* The worker opens them anew under the descriptors that it has. */
static void send_logs(const struct supervisor *self) {
    struct snapshot *logs = snapshot_create();
    snapshot_copy(logs, self->accepted, SNAPSHOT_LOG, NULL);
    if (self->life == LIFE_SERVING && channel_send_snapshot(self->worker.channel, logs))
        channel_send(self->worker.channel, CHANNEL_REOPEN, 0, "", -1);
    snapshot_free(logs);
}

/* --- a new configuration --- */

static void start_attempt(struct supervisor *self, enum wants why);

static void end_attempt(struct supervisor *self, int status, const char *text) {
    struct attempt *attempt = &self->attempt;
    snapshot_free(attempt->snapshot);
    manifest_free(attempt->manifest);
    *attempt = (struct attempt){0};
    notify("READY=1");
    answer_attempt(self, status, text);
    if (!self->again || self->stopping)
        return;
    self->again = false;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        self->clients[i].waits_for_next = false;
    start_attempt(self, self->again_why);
}

static void log_text(enum log_level level, const char *text) {
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        if (size > 0)
            log_line(level, "%.*s", (int)size, text);
        text += size + (text[size] == '\n');
    }
}

static void refuse_attempt(struct supervisor *self, const char *text) {
    add_one(&self->page->life.refusals);
    log_line(LOG_AT_ERROR, "the new configuration is refused, the old one goes on:");
    log_text(LOG_AT_ERROR, text);
    sockets_settle(self->sockets, self->accepted);
    end_attempt(self, EX_CONFIG, text);
}

/* What the worker serves now is what the next one starts from. */
static void accept_attempt(struct supervisor *self, const char *text) {
    struct attempt *attempt = &self->attempt;
    char *said = strdup(text);
    snapshot_free(self->accepted);
    manifest_free(self->manifest);
    self->accepted = attempt->snapshot;
    self->manifest = attempt->manifest;
    log_limit(self->manifest->process.log_level);
    attempt->snapshot = NULL;
    attempt->manifest = NULL;
    sockets_settle(self->sockets, self->accepted);
    if (attempt->why == WANTS_RELOAD)
        self->culprit_count = 0;
    if (self->reopened)
        send_logs(self); /* the worker was given the older ones */
    self->reopened = false;
    add_one(&self->page->life.generation);
    add_one(&self->page->life.reloads);
    set_now(&self->page->life.reloaded_at);
    log_line(LOG_AT_INFO, "reloaded: generation %llu",
             (unsigned long long)atomic_load(&self->page->life.generation));
    log_text(LOG_AT_INFO, said);
    end_attempt(self, EX_OK, said);
    free(said);
}

/* Of a restart by the program that is to run, as it is on the disk now. */
static void start_trial(struct supervisor *self) {
    struct attempt *attempt = &self->attempt;
    const struct child_conf conf = {.program =
                                        attempt->why == WANTS_RESTART ? self->conf->program : NULL,
                                    .role = "--trial",
                                    .user = attempt->manifest->process.user,
                                    .page = self->trial_page_fd,
                                    .tickets = -1};
    page_clear(self->trial_page);
    if (!child_start(&self->trial, &conf)) {
        refuse_attempt(self, "a trial of it can't be started\n");
        return;
    }
    attempt->state = ATTEMPT_TRIED;
    attempt->deadline = now_ms() + TRY_MS;
    if (channel_send_snapshot(self->trial.channel, attempt->snapshot))
        channel_send(self->trial.channel, CHANNEL_BUILD, 0, self->conf->file, -1);
}

/* reopen: the accepted configuration with certificates and keys as they are on the disk now. */
static struct snapshot *begin_snapshot(const struct supervisor *self, enum wants why) {
    struct snapshot *snapshot = snapshot_create();
    if (why != WANTS_REOPEN)
        return snapshot;
    snapshot_copy(snapshot, self->accepted, SNAPSHOT_FILE, NULL);
    snapshot_copy(snapshot, self->accepted, SNAPSHOT_PLUGIN, NULL);
    snapshot_copy(snapshot, self->accepted, SNAPSHOT_LOG, NULL);
    snapshot_copy(snapshot, self->accepted, SNAPSHOT_BARRED, NULL);
    return snapshot;
}

static void start_attempt(struct supervisor *self, enum wants why) {
    struct attempt *attempt = &self->attempt;
    struct error error;
    notify_reloading();
    attempt->why = why;
    attempt->snapshot = begin_snapshot(self, why);
    attempt->manifest = manifest_take(self->conf->file, self->conf->plugin_dirs,
                                      self->conf->plugin_dir_count, attempt->snapshot);
    if (sockets_add(self->sockets, attempt->manifest, self->manifest->process.num_threads,
                    self->accepted, attempt->snapshot, &error)) {
        start_trial(self);
        return;
    }
    char text[sizeof(error.text) + 2];
    snprintf(text, sizeof(text), "%s\n", error.text);
    refuse_attempt(self, text);
}

/* What includes what. */
static int rank_of(enum wants why) {
    return why == WANTS_RESTART ? 2 : why == WANTS_RELOAD ? 1 : 0;
}

/* Merged with others that ask while one is under way. */
static void want_attempt(struct supervisor *self, enum wants why, struct client *client) {
    bool busy = self->attempt.state != ATTEMPT_NONE;
    if (self->stopping) {
        if (client != NULL)
            answer_client(client, EX_UNAVAILABLE, "the server is stopping\n");
        return;
    }
    if (client != NULL) {
        client->waits = why;
        client->waits_for_next = busy;
    }
    if (!busy) {
        start_attempt(self, why);
        return;
    }
    if (!self->again || rank_of(why) > rank_of(self->again_why))
        self->again_why = why;
    self->again = true;
}

/* The trial was passed: the worker's turn, as soon as it serves. */
static void give_to_worker(struct supervisor *self) {
    struct attempt *attempt = &self->attempt;
    if (attempt->state != ATTEMPT_READY || self->life != LIFE_SERVING)
        return;
    attempt->state = ATTEMPT_BUILDING;
    attempt->deadline = now_ms() + BUILD_MS;
    if (channel_send_snapshot(self->worker.channel, attempt->snapshot))
        channel_send(self->worker.channel, CHANNEL_BUILD, 0, self->conf->file, -1);
}

/* --- restart --- */

static void tell_stop(struct supervisor *self, uint32_t ms, int code, uint32_t retry_ms) {
    char text[64];
    /* at a restart another worker serves whoever waits to be accepted */
    snprintf(text, sizeof(text), "%u %d %u %d", ms, code, retry_ms, code == 1012);
    if (self->worker.channel != -1)
        channel_send(self->worker.channel, CHANNEL_STOP, 0, text, -1);
}

/* One of them is answered when the new program serves. */
static int take_restart_client(struct supervisor *self) {
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (self->clients[i].fd != -1 && self->clients[i].waits == WANTS_RESTART)
            return self->clients[i].fd;
    return -1;
}

static void hand_over(struct supervisor *self) {
    char number[16];
    /* before the sockets: they take their numbers, whoever has them */
    int tickets = fcntl(self->tickets_fd, F_DUPFD, TICKETS_LOWEST);
    int extra = sockets_hand_over(self->attempt.snapshot, take_restart_client(self));
    if (extra != -1) {
        snprintf(number, sizeof(number), "%d", extra);
        setenv("SLUICE_RESTART_CLIENT", number, 1);
    }
    snprintf(number, sizeof(number), "%d", tickets);
    setenv("SLUICE_TICKETS", number, 1);
}

/* It is still this process's child when the program is another. */
static void export_old_worker(const struct supervisor *self) {
    char text[64];
    if (self->worker.pid == 0)
        return;
    snprintf(text, sizeof(text), "%ld %u", (long)self->worker.pid,
             self->manifest->process.drain_ms + KILL_GRACE_MS);
    setenv("SLUICE_OLD_WORKER", text, 1);
}

/* The old worker drains; this process becomes the new program, which has the sockets at once. */
static void become_new_program(struct supervisor *self) {
    sigset_t none;
    log_line(LOG_AT_INFO, "restarting");
    tell_stop(self, self->manifest->process.drain_ms, 1012, RESTART_RETRY_MS);
    hand_over(self);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    export_old_worker(self);
    execv(self->conf->program, self->conf->arguments);
    log_line(LOG_AT_ERROR, "%s can't be executed: %s", self->conf->program, strerror(errno));
    self->status = 1;
}

/* --- the trial --- */

static void on_trial_ended(struct supervisor *self, int status) {
    char text[1024], name[32], where[512] = "";
    struct page_crash *crash = &self->trial_page->crash;
    child_forget(&self->trial);
    if (self->attempt.state != ATTEMPT_TRIED)
        return; /* it has answered */
    unsigned at = atomic_load(&crash->signal) != 0
                      ? crash->at
                      : atomic_load(&self->trial_page->thread[PAGE_MAIN].at);
    page_describe(self->trial_page, at, where, sizeof(where));
    if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "the trial was ended by %s%s%s\n",
                 WTERMSIG(status) == SIGKILL ? "the time limit"
                                             : signal_name(WTERMSIG(status), name, sizeof(name)),
                 where[0] != '\0' ? " in " : "", where);
    else if (WEXITSTATUS(status) == EX_NOUSER)
        snprintf(text, sizeof(text), "the server can't become user %s: see the log\n",
                 self->attempt.manifest->process.user);
    else
        snprintf(text, sizeof(text), "the trial ended with status %d\n", WEXITSTATUS(status));
    refuse_attempt(self, text);
}

/* It has said all: whatever it does yet does not matter. Its end is heard of under no number. */
static void dismiss_trial(struct supervisor *self) {
    if (self->trial.pid != 0)
        kill(self->trial.pid, SIGKILL);
    child_forget(&self->trial);
}

static void on_trial_heard(struct supervisor *self) {
    struct channel_message *message = &self->message;
    int heard = channel_receive(self->trial.channel, false, message);
    if (heard < 0 && errno == EAGAIN)
        return;
    if (heard <= 0) {
        close(self->trial.channel);
        self->trial.channel = -1;
        return;
    }
    if (message->fd != -1)
        close(message->fd);
    dismiss_trial(self);
    self->attempt.state = ATTEMPT_READY;
    self->attempt.deadline = 0;
    if (message->kind != CHANNEL_SERVING)
        refuse_attempt(self, message->text);
    else if (self->attempt.why == WANTS_RESTART)
        become_new_program(self);
    else
        give_to_worker(self);
}

/* --- the worker: what it says --- */

static void on_serving(struct supervisor *self) {
    if (self->life == LIFE_SERVING) {
        if (self->attempt.state == ATTEMPT_BUILDING)
            accept_attempt(self, self->message.text);
        return;
    }
    if (self->life != LIFE_STARTING)
        return; /* it was told to stop meanwhile */
    self->life = LIFE_SERVING;
    self->kill_at = 0;
    channel_hurry(self->worker.channel);
    self->served_since = now_ms();
    if (!self->has_served)
        add_one(&self->page->life.generation);
    self->has_served = true;
    notify("READY=1");
    give_to_worker(self);
}

static void on_refused(struct supervisor *self) {
    if (self->life == LIFE_SERVING && self->attempt.state == ATTEMPT_BUILDING) {
        refuse_attempt(self, self->message.text);
        return;
    }
    self->refused = (int)self->message.number;
    fputs(self->message.text, stderr);
}

/* False when there was nothing more. */
static bool on_worker_heard(struct supervisor *self) {
    int heard = channel_receive(self->worker.channel, false, &self->message);
    if (heard < 0 && errno == EAGAIN)
        return false;
    if (heard <= 0) {
        close(self->worker.channel);
        self->worker.channel = -1;
        return false;
    }
    if (self->message.fd != -1)
        close(self->message.fd);
    if (self->message.kind == CHANNEL_SERVING)
        on_serving(self);
    else if (self->message.kind == CHANNEL_REFUSED)
        on_refused(self);
    return true;
}

/* How long until the next one; 0: at once; -1: no more. */
static int judge_life(struct supervisor *self, bool served) {
    if (served && now_ms() - self->served_since >= SHORT_LIFE_MS) {
        self->short_lives = 0;
        return 0;
    }
    if (++self->short_lives == SHORT_LIVES_MAX)
        return -1;
    return BACK_OFF_MS << (self->short_lives - 1);
}

static void on_worker_ended(struct supervisor *self, int status) {
    pid_t pid = self->worker.pid;
    bool served = self->life == LIFE_SERVING;
    /* what it said last is still to be read */
    while (self->worker.channel != -1 && self->life == LIFE_STARTING && on_worker_heard(self))
        ;
    child_forget(&self->worker);
    self->kill_at = 0;
    if (self->life == LIFE_STOPPING) {
        self->life = LIFE_NONE;
        self->status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        return;
    }
    self->life = LIFE_NONE;
    if (!self->has_served && WIFEXITED(status)) {
        self->status = self->refused != 0                 ? self->refused
                       : WEXITSTATUS(status) == EX_NOUSER ? EX_CONFIG
                                                          : WEXITSTATUS(status);
        return;
    }
    say_end(self, pid, status);
    if (self->attempt.state == ATTEMPT_BUILDING)
        refuse_attempt(self, "the worker ended while it changed to the new configuration\n");
    char path[PAGE_PATH_MAX];
    find_path(self, path);
    int wait = judge_life(self, served);
    if (path[0] != '\0' && note_culprit(self, path, wait < 0) && bar(self, path)) {
        self->short_lives = 0;
        wait = BACK_OFF_MS;
    }
    if (wait < 0) {
        log_line(LOG_AT_ERROR, "%d workers in a row served for less than a second: giving up",
                 SHORT_LIVES_MAX);
        self->status = EX_SOFTWARE;
        return;
    }
    add_one(&self->page->life.restarts);
    set_now(&self->page->life.restarted_at);
    self->restart_at = now_ms() + (uint64_t)wait;
}

/* --- ticks --- */

static void end_stuck(struct supervisor *self, unsigned thread) {
    char where[512];
    self->stuck_at = atomic_load(&self->page->thread[thread].at);
    page_describe(self->page, self->stuck_at, where, sizeof(where));
    log_line(LOG_AT_ERROR, "worker %ld: thread %u has stood still for %u ms%s%s: ended",
             (long)self->worker.pid, thread, self->manifest->process.stuck_ms,
             where[0] != '\0' ? " in " : "", where);
    self->was_stuck = true;
    kill(self->worker.pid, SIGKILL);
}

/* Its main thread hangs, in a constructor or a consumer's own thread_start. */
static void end_late_change(struct supervisor *self) {
    char where[512];
    self->stuck_at = atomic_load(&self->page->thread[PAGE_MAIN].at);
    page_describe(self->page, self->stuck_at, where, sizeof(where));
    log_line(LOG_AT_ERROR, "worker %ld took more than %d s to change%s%s: ended",
             (long)self->worker.pid, BUILD_MS / 1000, where[0] != '\0' ? ", in " : "", where);
    self->was_stuck = true;
    kill(self->worker.pid, SIGKILL);
}

/* Beats are counted, not time: when the supervisor itself was held up nobody is to blame. */
static void look_at_ticks(struct supervisor *self) {
    unsigned threads = atomic_load(&self->page->threads);
    unsigned most = self->manifest->process.stuck_ms / BEAT_MS;
    if (most == 0 || self->life != LIFE_SERVING || self->was_stuck)
        return;
    for (unsigned i = 0; i < threads && i < PAGE_THREADS; i++) {
        unsigned tick = atomic_load_explicit(&self->page->thread[i].tick, memory_order_relaxed);
        self->still[i] = tick == self->ticks[i] ? self->still[i] + 1 : 0;
        self->ticks[i] = tick;
        if (self->still[i] >= most) {
            end_stuck(self, i);
            return;
        }
    }
}

/* --- stop --- */

/* The worker's own sockets are the last ones: when it closes them connects are refused. */
static void stop_listening(struct supervisor *self) {
    snapshot_drop(self->accepted, SNAPSHOT_SOCKET);
    if (self->attempt.snapshot != NULL)
        snapshot_drop(self->attempt.snapshot, SNAPSHOT_SOCKET);
    sockets_settle(self->sockets, self->accepted);
}

/* Again: at once. */
static void stop(struct supervisor *self) {
    uint32_t ms = self->stopping ? 0 : self->manifest->process.drain_ms;
    if (!self->stopping)
        notify("STOPPING=1");
    self->stopping = true;
    self->restart_at = 0;
    if (self->worker.pid == 0) {
        self->status = EX_OK;
        return;
    }
    tell_stop(self, ms, 1001, 0);
    stop_listening(self);
    self->life = LIFE_STOPPING;
    self->kill_at = now_ms() + ms + KILL_GRACE_MS;
}

/* A worker of the program before: it is to end by then. */
static void adopt_old_worker(struct supervisor *self) {
    const char *text = getenv("SLUICE_OLD_WORKER");
    long pid;
    unsigned ms;
    if (text != NULL && sscanf(text, "%ld %u", &pid, &ms) == 2 && pid > 1) {
        self->old_worker = (pid_t)pid;
        self->old_until = now_ms() + ms;
    }
    unsetenv("SLUICE_OLD_WORKER");
}

/* Somebody waits since the program was another one. */
static void adopt_restart_client(struct supervisor *self) {
    const char *number = getenv("SLUICE_RESTART_CLIENT");
    if (number == NULL)
        return;
    int fd = (int)strtol(number, NULL, 10);
    unsetenv("SLUICE_RESTART_CLIENT");
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        self->clients[0] = (struct client){.fd = fd, .waits = WANTS_SERVING, .since = now_ms()};
}

/* --- logs --- */

static bool open_error_log(const struct supervisor *self) {
    const char *path = self->manifest->process.error_log;
    const struct snapshot_entry *log =
        path == NULL ? NULL : snapshot_find(self->accepted, SNAPSHOT_LOG, path);
    log_limit(self->manifest->process.log_level);
    if (log != NULL && dup2(log->fd, STDERR_FILENO) != -1)
        log_open(STDERR_FILENO);
    else if (path != NULL)
        log_line(LOG_AT_ERROR, "can't open error-log %s", path);
    return path == NULL || log != NULL;
}

/* All logs anew, under the descriptors that the snapshot has. */
static bool reopen_logs_of(const struct snapshot *snapshot) {
    size_t count;
    bool all = true;
    const struct snapshot_entry *entries = snapshot_entries(snapshot, &count);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].kind != SNAPSHOT_LOG)
            continue;
        int fd = snapshot_open_log(entries[i].name);
        bool opened = fd != -1 && dup3(fd, entries[i].fd, O_CLOEXEC) != -1;
        if (fd != -1)
            close(fd);
        if (!opened)
            log_line(LOG_AT_ERROR, "can't open %s again: %s", entries[i].name, strerror(errno));
        all = all && opened;
    }
    return all;
}

/* Also of one that is on its way: it would go on with the old files. */
static bool reopen_logs(struct supervisor *self) {
    bool all = reopen_logs_of(self->accepted);
    if (self->attempt.snapshot != NULL)
        all = reopen_logs_of(self->attempt.snapshot) && all;
    return open_error_log(self) && all;
}

static void reopen(struct supervisor *self, struct client *client) {
    self->reopened = self->attempt.state != ATTEMPT_NONE;
    if (!reopen_logs(self) && client != NULL) {
        answer_client(client, EX_CANTCREAT, "a log could not be opened: see the error log\n");
        client = NULL;
    }
    send_logs(self);
    want_attempt(self, WANTS_REOPEN, client);
}

/* --- commands --- */

static void ask_worker(struct supervisor *self, struct client *client) {
    if (self->life != LIFE_SERVING) {
        answer_client(client, EX_TEMPFAIL, "no worker serves at the moment: it is being started\n");
        return;
    }
    bool asked = channel_send(self->worker.channel, CHANNEL_ASK, 0, client->question, client->fd);
    if (asked)
        close(client->fd);
    else
        control_answer(client->fd, EX_TEMPFAIL, "the worker does not answer\n");
    client->fd = -1;
}

static void run_command(struct supervisor *self, struct client *client) {
    const char *question = client->question;
    if (strcmp(question, "reload") == 0) {
        want_attempt(self, WANTS_RELOAD, client);
    } else if (strcmp(question, "reopen") == 0) {
        reopen(self, client);
    } else if (strcmp(question, "stop") == 0) {
        client->waits = WANTS_STOP;
        stop(self);
    } else if (strcmp(question, "restart") == 0) {
        want_attempt(self, WANTS_RESTART, client);
    } else {
        ask_worker(self, client);
    }
}

static void on_client_heard(struct supervisor *self, struct client *client) {
    int heard = control_read(client->fd, client->question, &client->used);
    if (heard < 0) {
        close(client->fd);
        client->fd = -1;
    } else if (heard > 0) {
        run_command(self, client);
    }
}

static void on_client_came(struct supervisor *self) {
    int fd = control_accept(self->listening);
    if (fd == -1)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (self->clients[i].fd != -1)
            continue;
        self->clients[i] = (struct client){.fd = fd, .since = now_ms()};
        return;
    }
    control_answer(fd, EX_TEMPFAIL, "too many commands at once\n");
}

/* --- signals --- */

static void reap(struct supervisor *self) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == self->worker.pid)
            on_worker_ended(self, status);
        else if (pid == self->trial.pid)
            on_trial_ended(self, status);
        else if (pid == self->old_worker)
            self->old_worker = 0;
    }
}

static void on_signal(struct supervisor *self) {
    struct signalfd_siginfo told;
    if (read(self->signals, &told, sizeof(told)) != (ssize_t)sizeof(told))
        return;
    switch (told.ssi_signo) {
    case SIGCHLD:
        reap(self);
        break;
    case SIGTERM:
    case SIGINT:
        stop(self);
        break;
    case SIGHUP:
        want_attempt(self, WANTS_RELOAD, NULL);
        break;
    case SIGUSR1:
        reopen(self, NULL);
        break;
    case SIGUSR2:
        want_attempt(self, WANTS_RESTART, NULL);
        break;
    default:
        break;
    }
}

static void catch_signals(struct supervisor *self) {
    const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigemptyset(&self->mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&self->mask, numbers[i]);
    sigprocmask(SIG_SETMASK, &self->mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow is no reason to end */
    self->signals = signalfd(-1, &self->mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- time --- */

static void end_late_clients(struct supervisor *self, uint64_t now) {
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &self->clients[i];
        if (client->fd == -1)
            continue;
        if (client->waits == WANTS_UNKNOWN && now - client->since >= CLIENT_MS)
            answer_client(client, EX_USAGE, "no command came\n");
        else if (client->waits == WANTS_SERVING && self->life == LIFE_SERVING)
            answer_client(client, EX_OK, "restarted\n");
    }
}

static void on_beat(struct supervisor *self) {
    uint64_t now = now_ms();
    if (now >= self->beat_at) {
        self->beat_at = now + BEAT_MS;
        look_at_ticks(self);
    }
    if (self->kill_at != 0 && now >= self->kill_at && self->worker.pid != 0) {
        log_line(LOG_AT_ERROR, "worker %ld took too long to %s: ended", (long)self->worker.pid,
                 self->life == LIFE_STARTING ? "start" : "stop");
        self->kill_at = 0;
        kill(self->worker.pid, SIGKILL);
    }
    if (self->old_worker != 0 && now >= self->old_until) {
        log_line(LOG_AT_ERROR, "worker %ld took too long to stop: ended", (long)self->old_worker);
        kill(self->old_worker, SIGKILL);
        self->old_worker = 0;
    }
    if (self->attempt.deadline != 0 && now >= self->attempt.deadline) {
        self->attempt.deadline = 0;
        if (self->attempt.state == ATTEMPT_TRIED && self->trial.pid != 0)
            kill(self->trial.pid, SIGKILL);
        else if (self->attempt.state == ATTEMPT_BUILDING)
            end_late_change(self);
    }
    if (self->restart_at != 0 && now >= self->restart_at)
        start_worker(self);
    end_late_clients(self, now);
}

static int wait_ms(const struct supervisor *self) {
    uint64_t now = now_ms();
    uint64_t until = self->beat_at;
    if (self->restart_at != 0 && self->restart_at < until)
        until = self->restart_at;
    return until <= now ? 0 : (int)(until - now);
}

static void turn(struct supervisor *self) {
    struct pollfd waiting[4 + CLIENTS_MAX];
    struct client *asking[CLIENTS_MAX];
    nfds_t count = 4;
    waiting[0] = (struct pollfd){.fd = self->signals, .events = POLLIN};
    waiting[1] = (struct pollfd){.fd = self->worker.channel, .events = POLLIN};
    waiting[2] = (struct pollfd){.fd = self->trial.channel, .events = POLLIN};
    waiting[3] = (struct pollfd){.fd = self->listening, .events = POLLIN};
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &self->clients[i];
        if (client->fd == -1 || client->waits != WANTS_UNKNOWN)
            continue;
        asking[count - 4] = client;
        waiting[count++] = (struct pollfd){.fd = client->fd, .events = POLLIN};
    }
    if (poll(waiting, count, wait_ms(self)) < 0)
        return;
    /* what a process said before what became of it */
    if (waiting[1].revents != 0 && self->worker.channel != -1)
        on_worker_heard(self);
    if (waiting[2].revents != 0 && self->trial.channel != -1)
        on_trial_heard(self);
    if (waiting[0].revents != 0)
        on_signal(self);
    for (nfds_t i = 4; i < count; i++)
        if (waiting[i].revents != 0)
            on_client_heard(self, asking[i - 4]);
    if (waiting[3].revents != 0)
        on_client_came(self);
    on_beat(self);
}

/* --- the begin and the end --- */

/* Those of the program before a restart, where they are of this version's size. */
static int inherit_tickets(void) {
    const char *number = getenv("SLUICE_TICKETS");
    struct stat status;
    int fd = number == NULL ? -1 : (int)strtol(number, NULL, 10);
    unsetenv("SLUICE_TICKETS");
    if (fd <= STDERR_FILENO || fstat(fd, &status) != 0 || status.st_size != TICKETS_BYTES ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    return fd;
}

/* The supervisor itself does not keep them mapped. */
static bool make_tickets(struct supervisor *self) {
    self->tickets_fd = inherit_tickets();
    if (self->tickets_fd != -1)
        return true;
    int fd = memfd_create("sluice-tickets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1 || ftruncate(fd, TICKETS_BYTES) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return false;
    void *memory = mmap(NULL, TICKETS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return false;
    tickets_prepare(memory, TICKETS_BYTES);
    munmap(memory, TICKETS_BYTES);
    self->tickets_fd = fd;
    return true;
}

static bool make_pages(struct supervisor *self) {
    if (!make_tickets(self))
        return false;
    self->page_fd = page_create();
    self->trial_page_fd = page_create();
    if (self->page_fd == -1 || self->trial_page_fd == -1 || !page_map(self->trial_page_fd))
        return false;
    self->trial_page = page_get();
    if (!page_map(self->page_fd))
        return false;
    self->page = page_get();
    set_now(&self->page->life.started_at);
    return true;
}

static bool write_pid(struct supervisor *self) {
    const char *path = self->manifest->process.pid_file;
    if (path == NULL)
        return true;
    int fd = own_file_open(path, O_TRUNC);
    self->has_pid_file = fd != -1;
    bool written = fd != -1 && dprintf(fd, "%ld\n", (long)getpid()) > 0;
    if (fd != -1 && close(fd) != 0)
        written = false;
    if (!written)
        log_line(LOG_AT_ERROR, "can't write pid-file %s: %s", path, strerror(errno));
    return written;
}

static bool open_control(struct supervisor *self) {
    struct error error;
    self->control = control_path(&self->manifest->process);
    if (self->control == NULL)
        return true;
    self->listening = control_listen(self->control, &error);
    if (self->listening == -1)
        log_line(LOG_AT_ERROR, "%s", error.text);
    return self->listening != -1;
}

static bool take_first(struct supervisor *self) {
    struct error error;
    self->accepted = snapshot_create();
    self->manifest = manifest_take(self->conf->file, self->conf->plugin_dirs,
                                   self->conf->plugin_dir_count, self->accepted);
    if (!open_error_log(self))
        return false;
    if (!sockets_add(self->sockets, self->manifest, self->manifest->process.num_threads, NULL,
                     self->accepted, &error)) {
        log_line(LOG_AT_ERROR, "%s", error.text);
        return false;
    }
    if (sockets_unused(self->sockets) > 0)
        log_line(LOG_AT_WARNING, "%zu sockets were handed over that no `listen` asks for: closed",
                 sockets_unused(self->sockets));
    sockets_close_unused(self->sockets);
    return write_pid(self) && open_control(self);
}

static void tear_down(struct supervisor *self) {
    answer_waiting(self, WANTS_STOP, EX_OK, "stopped\n");
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        self->clients[i].waits_for_next = false;
    answer_attempt(self, EX_UNAVAILABLE, "the server is stopping\n");
    if (self->trial.pid != 0)
        kill(self->trial.pid, SIGKILL);
    if (self->worker.pid != 0)
        kill(self->worker.pid, SIGKILL);
    sockets_close(self->sockets);
    if (self->listening != -1) {
        close(self->listening);
        unlink(self->control);
    }
    if (self->has_pid_file)
        unlink(self->manifest->process.pid_file);
    snapshot_free(self->accepted);
    snapshot_free(self->attempt.snapshot);
    manifest_free(self->manifest);
    manifest_free(self->attempt.manifest);
    free(self->control);
    close(self->signals);
}

int supervisor_run(const struct supervisor_conf *conf) {
    struct supervisor *self = &supervisor;
    self->conf = conf;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        self->clients[i].fd = -1;
    catch_signals(self);
    rights_raise_descriptors();
    self->sockets = sockets_create();
    adopt_restart_client(self);
    adopt_old_worker(self);
    if (!make_pages(self)) {
        log_line(LOG_AT_ERROR, "no memory to share with a worker: %s", strerror(errno));
        self->status = 1;
    } else if (!take_first(self)) {
        self->status = 1;
    } else {
        if (self->manifest->process.user == NULL && geteuid() == 0)
            log_line(LOG_AT_WARNING, "running as root: name a user in the configuration");
        start_worker(self);
    }
    while (self->status == -1)
        turn(self);
    tear_down(self);
    return self->status;
}
