/*
 * The page of memory that the supervisor shares with its worker: what happened to the program over
 * its life, and where each thread of the worker is, so that the supervisor can see a thread that
 * hangs and name the route and hook of one that crashed. A process without a supervisor has one of
 * its own. What is stored here is only ever shown: nothing trusts it.
 */
#ifndef SLUICE_OBSERVE_PAGE_H
#define SLUICE_OBSERVE_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Loop threads are numbered from 0; behind them stands the main thread, which loads. */
#define PAGE_THREADS 256
#define PAGE_MAIN PAGE_THREADS

/* Names of routes that are in use at once, of all generations; those beyond have none. */
#define PAGE_NAMES 2048

/* Longer paths are cut. */
#define PAGE_PATH_MAX 256

enum page_hook {
    HOOK_NONE,
    HOOK_OPEN,
    HOOK_SHUT,
    HOOK_THREAD_START,
    HOOK_THREAD_STOP,
    HOOK_CONNECT,
    HOOK_RECEIVE,
    HOOK_EVENT,
    HOOK_DROPPED,
    HOOK_DISCONNECT,
    HOOK_RELEASE,
    HOOK_DRAIN,
    HOOK_HTTP,
    HOOK_TIMER,
    HOOK_EVERY,
    HOOK_POST,
    HOOK_OFFLOAD,
    HOOK_GROUP_SEND,
    HOOK_GROUP_MEMBERS,
    HOOK_GROUP_JOIN,
    HOOK_GROUP_HISTORY,
    HOOK_LOAD, /* a plugin's own constructors */
    HOOKS
};

struct page_thread {
    _Alignas(64) atomic_uint tick; /* turns so far: one that stands still hangs */
    atomic_uint at;                /* a name's number << 8 | enum page_hook; 0: in no consumer */
};

struct page_name {
    char route[128], plugin[64], path[PAGE_PATH_MAX];
};

/* Written by the worker's signal handler before it dies. */
struct page_crash {
    atomic_int signal; /* 0: none; set last */
    uintptr_t address;
    unsigned at;              /* as page_thread.at */
    char thread[16];          /* its name */
    char plugin[64];          /* of the innermost frame that is a plugin's; may be empty */
    char path[PAGE_PATH_MAX]; /* its file */
    char backtrace[1024];     /* frames, innermost first, between spaces */
};

/* Written by the supervisor, shown by the worker. */
struct page_life {
    atomic_ullong started_at;   /* of the program, seconds since 1970 */
    atomic_ullong generation;   /* of the newest accepted configuration, from 1 */
    atomic_ullong restarts;     /* workers that took the place of one that ended by itself */
    atomic_ullong reloads;      /* accepted */
    atomic_ullong refusals;     /* reloads that were refused */
    atomic_ullong reloaded_at;  /* the last accepted one; seconds since 1970, 0: never */
    atomic_ullong restarted_at; /* the same, of a worker's restart */
};

struct page {
    struct page_life life;
    struct page_crash crash;
    atomic_uint threads; /* loop threads that tick; 0: none runs yet */
    struct page_thread thread[PAGE_THREADS + 1];
    struct page_name names[PAGE_NAMES];
};

/* The process's page: private memory until page_map. Any thread. */
struct page *page_get(void);
/* Makes a page in a memory file that a child may map. -1 with errno. */
int page_create(void);
/* From now on page_get is this file's; false with errno. Main thread, before others start. */
bool page_map(int fd);

/* Numbers a route with its plugin, and that one's file; 0 when there is no room. Main thread. */
unsigned page_name(const char *route, const char *plugin, const char *path);
void page_forget(unsigned name);

/* This thread is loop thread `number` or PAGE_MAIN from now on. */
void page_enter(unsigned number);
/* Another turn of this thread. */
void page_tick(void);
/* Where this thread is; returns where it was, for page_back. */
unsigned page_go(unsigned name, enum page_hook hook);
void page_back(unsigned at);
/* Where this thread is now: async-signal-safe. */
unsigned page_at(void);

/* "plugin group_chat, route /ws/…, hook receive", or "" when at is 0. Any process. */
const char *page_describe(const struct page *page, unsigned at, char *buffer, size_t size);
/* The file of the plugin that `at` is in, or "". */
void page_path(const struct page *page, unsigned at, char path[PAGE_PATH_MAX]);
/* Nobody has been there: for the next worker. */
void page_clear(struct page *page);
const char *page_hook_name(enum page_hook hook);

#endif
