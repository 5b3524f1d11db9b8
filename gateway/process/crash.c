#include "process/crash.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consumer/plugin.h"
#include "observe/page.h"

#define STACK_BYTES (64 << 10)
#define FRAMES_MAX 32

/* The file's name without its folders; a plugin's, where the loader knows only its sealed copy. */
static const char *module_of(const Dl_info *found, const struct plugin **is) {
    const struct plugin *plugin = *is = plugin_by_loaded_name(found->dli_fname);
    if (plugin != NULL)
        return plugin_consumer(plugin)->name != NULL ? plugin_consumer(plugin)->name : "plugin";
    const char *slash = strrchr(found->dli_fname, '/');
    return slash == NULL ? found->dli_fname : slash + 1;
}

static size_t write_frame(struct page_crash *crash, size_t used, void *frame) {
    Dl_info found;
    char *at = crash->backtrace + used;
    size_t room = sizeof(crash->backtrace) - used;
    const struct plugin *plugin;
    if (dladdr(frame, &found) == 0 || found.dli_fname == NULL)
        return used + (size_t)snprintf(at, room, " %p", frame);
    const char *module = module_of(&found, &plugin);
    if (plugin != NULL && crash->plugin[0] == '\0') {
        snprintf(crash->plugin, sizeof(crash->plugin), "%s", module);
        snprintf(crash->path, sizeof(crash->path), "%s", plugin_path(plugin));
    }
    size_t offset = (size_t)((char *)frame - (char *)found.dli_fbase);
    if (found.dli_sname != NULL)
        return used + (size_t)snprintf(at, room, " %s:%s+0x%zx", module, found.dli_sname, offset);
    return used + (size_t)snprintf(at, room, " %s+0x%zx", module, offset);
}

/* It has crashed already: what is not async-signal-safe here (dladdr, snprintf) may hang or crash
   at worst, and the supervisor ends a process that hangs. */
static void on_crash(int number, siginfo_t *info, void *context) {
    static atomic_flag once = ATOMIC_FLAG_INIT;
    struct page_crash *crash = &page_get()->crash;
    void *frames[FRAMES_MAX];
    (void)context;
    if (!atomic_flag_test_and_set(&once)) {
        crash->address = (uintptr_t)info->si_addr;
        crash->at = page_at();
        pthread_getname_np(pthread_self(), crash->thread, sizeof(crash->thread));
        int count = backtrace(frames, FRAMES_MAX);
        size_t used = 0;
        /* the first two are this handler's and the kernel's way back */
        for (int i = 2; i < count && used < sizeof(crash->backtrace); i++)
            used = write_frame(crash, used, frames[i]);
        atomic_store(&crash->signal, number);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void crash_watch(void) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    void *frame;
    backtrace(&frame, 1); /* loads what it needs */
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
    crash_enter();
#else
    (void)on_crash;
#endif
}

void crash_enter(void) {
    void *bytes =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_sp = bytes, .ss_size = STACK_BYTES};
    if (bytes != MAP_FAILED)
        sigaltstack(&stack, NULL);
}
