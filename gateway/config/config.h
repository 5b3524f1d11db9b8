/*
 * One configuration: what the YAML file says, checked and ready to run. It is an H2O configuration
 * (every exported directive works) plus Sluice's words. All of a file's faults are found in one
 * load.
 */
#ifndef SLUICE_CONFIG_CONFIG_H
#define SLUICE_CONFIG_CONFIG_H

#include <h2o.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/problems.h"
#include "consumer/visitor.h"
#include "group/group.h"
#include "net/listener.h"
#include "observe/log.h"
#include "websocket/batch.h"

struct proxies;
struct router;
struct sluice_host;

struct config_listener {
    struct listener_conf conf; /* tls is made and owned here */
    const char *key;           /* tells it from the others, here and in the next configuration */
    struct place place;
};

/* One host of the file, in the order of h2o's table: default first. */
struct config_host {
    const char *name; /* as written */
    struct router *router;
};

/* An access log's file; libh2o owns the descriptor. */
struct config_log {
    char *path;
    int fd;
};

/* What `limits` says of the whole server; 0: no limit, unless said otherwise. */
struct server_limits {
    uint32_t address_connections;
    struct arrival_rates handshakes;
    uint64_t queue_bytes;     /* of all messages that wait, together; default 256 MiB */
    uint32_t stall_ms;        /* a client may take nothing; default 60 s */
    uint32_t slowest_request; /* bytes a second; default 500 */
    bool by_address;          /* whether one of these or of a route's counts addresses */
};

/* Where kept messages live; zeroed: in memory. */
struct layer_conf {
    const char *sqlite; /* the file, absolute; NULL: memory alone */
    bool full;          /* `synchronous: full`: a commit is on the disk */
    bool at_once;       /* `deliver: at-once`: members hear before the commit */
};

/* A namespace of groups, as the routes that use it say it. */
struct config_space {
    const char *name;
    struct group_terms history;
    uint32_t message_max; /* bytes: the most of their `limits.message` */
    struct place place;   /* of the first */
    struct config_space *next;
};

struct config {
    const char *path; /* of the file, as given */
    h2o_globalconf_t h2o;
    struct config_listener *listeners;
    size_t listener_count;
    struct config_host *hosts;
    size_t host_count;
    unsigned num_threads;     /* 1 to 256; default: processors this process may use */
    size_t max_connections;   /* default 1024, as H2O's */
    const char *user;         /* NULL: stay */
    const char *pid_file;     /* NULL: none; absolute */
    const char *error_log;    /* NULL: standard error; absolute */
    const char *control;      /* the control socket; NULL: the default place; absolute */
    unsigned offload_threads; /* default 8 */
    size_t offload_queue;     /* default 1,000 */
    uint32_t drain_ms;        /* how long a stop may take; default 10 s */
    uint32_t stuck_ms;        /* a thread that stands still for so long is ended with its process */
    uint32_t retire_ms;       /* how long an older generation may take to end; default 60 s */
    struct server_limits limits;
    struct config_space *spaces; /* the last found first */
    struct layer_conf layer;
    bool keeps_history;       /* some route has `history` */
    uint64_t history_memory;  /* what kept messages may take of it; default 256 MiB */
    struct proxies *proxies;  /* NULL: nobody is trusted */
    enum log_level log_level; /* of the error log; default LOG_AT_INFO */
    uint32_t hook_budget_ms;  /* how long a hook may hold its thread unlogged; default 100 ms */
    bool log_closes;          /* a line when a WebSocket closes; default true */
    enum batch_way io;        /* how WebSockets without TLS read and write; default AUTO */
    bool sandbox;             /* gives up the calls that no server needs; default true */
    struct config_log *logs;
    size_t log_count;
};

/* Reads and checks the file. Everything is checked also for -t; nothing is bound, no thread is
   started. plugin_dirs: the default directories that plugins are looked for in, used when the file
   has no plugin-dir. host: handed to plugins. NULL when problems has an error; warnings may be
   there in any case. Main thread. */
struct config *config_load(const char *path, const char *const *plugin_dirs,
                           size_t plugin_dir_count, const struct sluice_host *host,
                           struct problems *problems);
/* The table of hosts for the accept context of a listener with this port (the real one, also where
   the kernel chose it; 0 for a path), ending with NULL: a host written without a port answers to
   the listener's port and to the scheme's default, and one whose port another listener has is left
   out. Lives as long as the configuration. Main thread,
   after config_load. */
h2o_hostconf_t **config_hosts_for_port(struct config *config, unsigned port);

/* Remembers a log that libh2o writes to. While the configuration is loaded. */
void config_note_log(struct config *config, const char *path, int fd);
/* Opens the logs anew, under the same descriptors: a line goes to the old file or the new one.
   False when one could not be opened: said in the log, and it goes on with the old file. Main
   thread. */
bool config_reopen_logs(const struct config *config);

/* When no context uses it. NULL is fine. */
void config_free(struct config *config);

#endif
