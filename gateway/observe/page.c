#include "observe/page.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct page own;
static struct page *page = &own;
static struct page_thread elsewhere; /* threads that have no number share it: nobody looks */

static _Thread_local struct page_thread *here = &elsewhere;

struct page *page_get(void) {
    return page;
}

int page_create(void) {
    int fd = memfd_create("sluice-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* A worker that is not itself any more must not be able to take the page from under us. */
    if (fd == -1 || (ftruncate(fd, sizeof(struct page)) == 0 &&
                     fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0))
        return fd;
    close(fd);
    return -1;
}

bool page_map(int fd) {
    void *mapped = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        return false;
    page = mapped;
    return true;
}

static void copy_name(char *to, size_t room, const char *from) { snprintf(to, room, "%s", from); }

unsigned page_name(const char *route, const char *plugin, const char *path) {
    for (unsigned i = 1; i < PAGE_NAMES; i++) {
        struct page_name *name = &page->names[i];
        if (name->plugin[0] != '\0')
            continue;
        copy_name(name->route, sizeof(name->route), route);
        copy_name(name->path, sizeof(name->path), path);
        copy_name(name->plugin, sizeof(name->plugin), plugin);
        return i;
    }
    return 0;
}

void page_forget(unsigned name) {
    if (name != 0)
        page->names[name].plugin[0] = '\0';
}

void page_enter(unsigned number) { here = &page->thread[number]; }

void page_tick(void) {
    unsigned tick = atomic_load_explicit(&here->tick, memory_order_relaxed);
    atomic_store_explicit(&here->tick, tick + 1, memory_order_relaxed);
}

unsigned page_go(unsigned name, enum page_hook hook) {
    unsigned was = atomic_load_explicit(&here->at, memory_order_relaxed);
    atomic_store_explicit(&here->at, name << 8 | (unsigned)hook, memory_order_relaxed);
    return was;
}

void page_back(unsigned at) { atomic_store_explicit(&here->at, at, memory_order_relaxed); }

unsigned page_at(void) { return atomic_load_explicit(&here->at, memory_order_relaxed); }

const char *page_hook_name(enum page_hook hook) {
    static const char *const names[HOOKS] = {[HOOK_NONE] = "",
                                             [HOOK_OPEN] = "open",
                                             [HOOK_SHUT] = "shut",
                                             [HOOK_THREAD_START] = "thread_start",
                                             [HOOK_THREAD_STOP] = "thread_stop",
                                             [HOOK_CONNECT] = "connect",
                                             [HOOK_RECEIVE] = "receive",
                                             [HOOK_EVENT] = "event",
                                             [HOOK_DROPPED] = "dropped",
                                             [HOOK_DISCONNECT] = "disconnect",
                                             [HOOK_RELEASE] = "release",
                                             [HOOK_DRAIN] = "drain",
                                             [HOOK_HTTP] = "http",
                                             [HOOK_TIMER] = "timer",
                                             [HOOK_EVERY] = "every",
                                             [HOOK_POST] = "post",
                                             [HOOK_OFFLOAD] = "offload",
                                             [HOOK_GROUP_SEND] = "group_send",
                                             [HOOK_GROUP_MEMBERS] = "group_members",
                                             [HOOK_GROUP_JOIN] = "group_join",
                                             [HOOK_GROUP_HISTORY] = "group_history",
                                             [HOOK_LOAD] = "load"};
    return (unsigned)hook < HOOKS ? names[hook] : "";
}

const char *page_describe(const struct page *from, unsigned at, char *buffer, size_t size) {
    unsigned name = at >> 8;
    const char *hook = page_hook_name((enum page_hook)(at & 0xff));
    buffer[0] = '\0';
    if (at == 0)
        return buffer;
    if (name == 0 || name >= PAGE_NAMES) {
        snprintf(buffer, size, "hook %s", hook);
        return buffer;
    }
    const struct page_name *names = &from->names[name];
    snprintf(buffer, size, "plugin %.*s, %s%.*s%shook %s", (int)sizeof(names->plugin),
             names->plugin, names->route[0] == '\0' ? "" : "route ", (int)sizeof(names->route),
             names->route, names->route[0] == '\0' ? "" : ", ", hook);
    return buffer;
}

void page_path(const struct page *from, unsigned at, char path[PAGE_PATH_MAX]) {
    unsigned name = at >> 8;
    bool known = name != 0 && name < PAGE_NAMES;
    snprintf(path, PAGE_PATH_MAX, "%.*s", PAGE_PATH_MAX - 1, known ? from->names[name].path : "");
}

void page_clear(struct page *to) {
    memset(&to->crash, 0, sizeof(to->crash));
    memset(to->thread, 0, sizeof(to->thread));
    memset(to->names, 0, sizeof(to->names));
    atomic_store(&to->threads, 0);
}
