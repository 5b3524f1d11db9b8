#include "process/sandbox.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* What a child says of itself by its exit status, beside an errno. */
enum { WORKED = 0, NOT_ENTERED = 200, WRONG = 201 };

static const struct sandbox_terms strict = {false}, with_rings = {true};

/* Runs fn(data) in a child, in the sandbox of these terms or (NULL) without, and returns its
   result. A child that a signal ended is 256 and the signal. */
static int in_child(const struct sandbox_terms *terms, int (*fn)(const void *), const void *data) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct error error;
        if (terms != NULL && !sandbox_enter(terms, &error))
            _exit(NOT_ENTERED);
        _exit(fn(data));
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* --- what is denied --- */

#define CLONE_WRONG CLONE_THREAD /* without CLONE_SIGHAND no kernel makes anything of it */
#define NOTHING ((long)(uintptr_t) "/nowhere/at/all")

struct call {
    const char *name;
    long number;
    long arguments[4];
    bool sanitizers_need;
    bool hurts; /* when it is not denied, so it is not tried outside */
};

/* Arguments with which a call does nothing, so that it may be tried outside as well. */
static const struct call denied[] = {
    {"execve", SYS_execve, {NOTHING}, true, false},
    {"execveat", SYS_execveat, {-1, NOTHING}, true, false},
    {"ptrace", SYS_ptrace, {PTRACE_CONT, 0}, true, false},
    {"process_vm_readv", SYS_process_vm_readv, {0, 0, 0, 0}, true, false},
    {"process_vm_writev", SYS_process_vm_writev, {0, 0, 0, 0}, true, false},
    {"process_madvise", SYS_process_madvise, {-1}, false, false},
    {"kcmp", SYS_kcmp, {0, 0, -1}, false, false},
    {"pidfd_getfd", SYS_pidfd_getfd, {-1, 0, 0}, false, false},
    {"pidfd_send_signal", SYS_pidfd_send_signal, {-1, 0, 0, 0}, false, false},
    {"move_pages", SYS_move_pages, {0, 0, 0, 0}, false, false},
    {"migrate_pages", SYS_migrate_pages, {0, 0, 0, 0}, false, false},
    {"tkill", SYS_tkill, {-1, 0}, false, false},
    {"kill of the parent", SYS_kill, {1, 0}, false, false},
    {"kill of the group", SYS_kill, {0, 0}, false, false},
    {"kill of all", SYS_kill, {-1, 0}, false, true},
    {"tgkill of another", SYS_tgkill, {1, 1, 0}, false, false},
    {"rt_sigqueueinfo to another", SYS_rt_sigqueueinfo, {1, 0, 0}, false, false},
    {"mount", SYS_mount, {0, 0, 0, 0}, false, false},
    {"umount2", SYS_umount2, {NOTHING, 0}, false, false},
    {"pivot_root", SYS_pivot_root, {0, 0}, false, false},
    {"chroot", SYS_chroot, {NOTHING}, false, false},
    {"fsopen", SYS_fsopen, {0, -1}, false, false},
    {"fsconfig", SYS_fsconfig, {-1, -1}, false, false},
    {"fsmount", SYS_fsmount, {-1, -1}, false, false},
    {"fspick", SYS_fspick, {-1, NOTHING, -1}, false, false},
    {"move_mount", SYS_move_mount, {-1, NOTHING, -1, NOTHING}, false, false},
    {"open_tree", SYS_open_tree, {-1, NOTHING, -1}, false, false},
    {"mount_setattr", SYS_mount_setattr, {-1, NOTHING, 0, 0}, false, false},
    {"swapon", SYS_swapon, {NOTHING, 0}, false, false},
    {"swapoff", SYS_swapoff, {NOTHING}, false, false},
    {"quotactl", SYS_quotactl, {-1, 0, 0, 0}, false, false},
    {"acct", SYS_acct, {NOTHING}, false, false},
    {"fanotify_init", SYS_fanotify_init, {-1, 0}, false, false},
    {"fanotify_mark", SYS_fanotify_mark, {-1, 0, 0, 0}, false, false},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}, false, false},
    {"init_module", SYS_init_module, {0, 0, 0}, false, false},
    {"finit_module", SYS_finit_module, {-1, 0, 0}, false, false},
    {"delete_module", SYS_delete_module, {0, 0}, false, false},
    {"kexec_load", SYS_kexec_load, {0, 0, 0, -1}, false, false},
    {"reboot", SYS_reboot, {0, 0, 0, 0}, false, false},
    {"syslog", SYS_syslog, {-1, 0, 0}, false, false},
    {"settimeofday", SYS_settimeofday, {1, 1}, false, false},
    {"clock_settime", SYS_clock_settime, {-1, 0}, false, false},
    {"sethostname", SYS_sethostname, {0, -1}, false, false},
    {"vhangup", SYS_vhangup, {0}, false, true},
    {"bpf", SYS_bpf, {-1, 0, 0}, false, false},
    {"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1}, false, false},
    {"userfaultfd", SYS_userfaultfd, {-1}, false, false},
    {"add_key", SYS_add_key, {0, 0, 0, 0}, false, false},
    {"request_key", SYS_request_key, {0, 0, 0, 0}, false, false},
    {"keyctl", SYS_keyctl, {-1}, false, false},
    {"unshare", SYS_unshare, {CLONE_NEWUSER | CLONE_WRONG}, false, true},
    {"setns", SYS_setns, {-1, 0}, false, false},
    {"clone into a user namespace", SYS_clone, {CLONE_NEWUSER | CLONE_WRONG, 0}, false, false},
    {"clone into a mount namespace", SYS_clone, {CLONE_NEWNS | CLONE_WRONG, 0}, false, false},
    {"clone into a net namespace", SYS_clone, {CLONE_NEWNET | CLONE_WRONG, 0}, false, false},
    {"clone into a pid namespace", SYS_clone, {CLONE_NEWPID | CLONE_WRONG, 0}, false, false},
    {"clone into an ipc namespace", SYS_clone, {CLONE_NEWIPC | CLONE_WRONG, 0}, false, false},
    {"clone into a uts namespace", SYS_clone, {CLONE_NEWUTS | CLONE_WRONG, 0}, false, false},
    {"clone into a cgroup", SYS_clone, {CLONE_NEWCGROUP | CLONE_WRONG, 0}, false, false},
    {"personality", SYS_personality, {0}, false, false},
    {"typing into a terminal", SYS_ioctl, {-1, TIOCSTI, 0}, false, false},
    {"io_uring_setup", SYS_io_uring_setup, {0, 0}, false, false},
    {"io_uring_enter", SYS_io_uring_enter, {-1, 0, 0, 0}, false, false},
    {"io_uring_register", SYS_io_uring_register, {-1, 0, 0, 0}, false, false},
#ifdef __x86_64__
    {"iopl", SYS_iopl, {4}, false, false},
    {"ioperm", SYS_ioperm, {-1, -1, 1}, false, false},
    {"modify_ldt", SYS_modify_ldt, {-1, 0, 0}, false, false},
    {"getpid of the table of x32", 0x40000000 + SYS_getpid, {0}, false, false},
#endif
};

/* The errno of the call, 0 when it worked. */
static int try_call(const void *data) {
    const struct call *call = data;
    const long *with = call->arguments;
    return syscall(call->number, with[0], with[1], with[2], with[3]) == -1 ? errno : WORKED;
}

/* Who runs this may be refused by the kernel without any sandbox: then a call proves nothing. */
START_TEST(what_no_server_needs_is_denied) {
    const struct call *call = &denied[_i];
    if (SANITIZED && call->sanitizers_need)
        return;
    if (!call->hurts && geteuid() == 0)
        ck_assert_msg(in_child(NULL, try_call, call) != EPERM, "%s proves nothing", call->name);
    int found = in_child(&strict, try_call, call);
    ck_assert_msg(found == EPERM, "%s: %d", call->name, found);
}
END_TEST

static int clone_by_structure(const void *data) {
    (void)data;
    return syscall(SYS_clone3, NULL, 0) == -1 ? errno : WORKED;
}

/* It is how a thread is made, too: a library that hears ENOSYS goes the other way. */
START_TEST(clone_with_hidden_flags_is_not_there) {
    ck_assert_int_eq(in_child(NULL, clone_by_structure, NULL), EINVAL);
    ck_assert_int_eq(in_child(&strict, clone_by_structure, NULL), ENOSYS);
}
END_TEST

#ifdef __x86_64__
static int ask_in_32_bits(const void *data) {
    long answer = 20; /* getpid there */
    (void)data;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own way to end */
    __asm__ volatile("int $0x80" : "+a"(answer) : : "r8", "r9", "r10", "r11", "memory");
    return answer == -EPERM ? EPERM : WRONG;
}

/* A kernel without that table ends the process instead. */
START_TEST(the_table_of_32_bits_is_denied) {
    int found = in_child(&strict, ask_in_32_bits, NULL);
    if (in_child(NULL, ask_in_32_bits, NULL) != 256 + SIGSEGV)
        ck_assert_int_eq(found, EPERM);
}
END_TEST
#endif

/* --- what goes on --- */

static void *count_up(void *number) {
    ++*(int *)number;
    return NULL;
}

static int make_threads(const void *data) {
    int made = 0;
    (void)data;
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, count_up, &made) != 0)
            return WRONG;
        pthread_join(thread, NULL);
    }
    return made == 8 ? WORKED : WRONG;
}

static int look_up_names(const void *data) {
    struct addrinfo *found;
    (void)data;
    if (getaddrinfo("localhost", "80", NULL, &found) != 0)
        return WRONG;
    freeaddrinfo(found);
    return WORKED;
}

/* As plugins are. */
static int load_from_memory(const void *data) {
    static char bytes[1 << 20];
    char path[64];
    (void)data;
    int file = open(BUILT_PLUGINS "/echo.so", O_RDONLY);
    int copy = memfd_create("echo", MFD_ALLOW_SEALING);
    ssize_t size = read(file, bytes, sizeof(bytes));
    if (size <= 0 || write(copy, bytes, (size_t)size) != size ||
        fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) != 0)
        return WRONG;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) != NULL ? WORKED : WRONG;
}

static int listen_and_wait(const void *data) {
    struct epoll_event event = {.events = EPOLLIN};
    struct itimerspec soon = {.it_value = {0, 1}};
    (void)data;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), set = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    return listen(listener, 1) == 0 && timerfd_settime(timer, 0, &soon, NULL) == 0 &&
                   epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) == 0 &&
                   epoll_ctl(set, EPOLL_CTL_ADD, timer, &event) == 0 &&
                   epoll_wait(set, &event, 1, 5000) == 1
               ? WORKED
               : WRONG;
}

/* As compiled patterns are. */
static int map_code(const void *data) {
    (void)data;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 ? WORKED : WRONG;
}

static int fork_and_wait(const void *data) {
    int status;
    (void)data;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    return waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7 ? WORKED : WRONG;
}

static volatile sig_atomic_t rung;

static void on_signal(int number) { rung = number; }

static int signal_itself(const void *data) {
    (void)data;
    signal(SIGUSR1, on_signal);
    if (raise(SIGUSR1) != 0 || rung != SIGUSR1 || kill(getpid(), SIGUSR1) != 0)
        return WRONG;
    return pthread_kill(pthread_self(), 0) == 0 ? WORKED : WRONG;
}

static int ask_personality(const void *data) {
    (void)data;
    return syscall(SYS_personality, 0xffffffff) != -1 ? WORKED : WRONG;
}

static const struct {
    const char *name;
    int (*run)(const void *);
} allowed[] = {
    {"threads", make_threads},
    {"names of hosts", look_up_names},
    {"plugins", load_from_memory},
    {"sockets and timers", listen_and_wait},
    {"code", map_code},
    {"children", fork_and_wait},
    {"its own signals", signal_itself},
    {"its personality", ask_personality},
};

START_TEST(what_servers_and_consumers_do_is_allowed) {
    ck_assert_msg(in_child(&strict, allowed[_i].run, NULL) == WORKED, "%s", allowed[_i].name);
}
END_TEST

static int give_up(const void *data) {
    (void)data;
    signal(SIGABRT, SIG_DFL);
    abort();
}

START_TEST(an_abort_is_still_one) {
    ck_assert_int_eq(in_child(&strict, give_up, NULL), 256 + SIGABRT);
}
END_TEST

/* --- rings --- */

static int make_ring(const void *data) {
    struct io_uring_params parameters = {0};
    (void)data;
    return syscall(SYS_io_uring_setup, 4, &parameters) == -1 ? errno : WORKED;
}

static int end_and_make_ring(const void *data) {
    struct error error;
    const bool *in_use = data;
    if (!sandbox_end_rings(*in_use, &error))
        return NOT_ENTERED;
    if (make_ring(NULL) != EPERM)
        return WRONG;
    return syscall(SYS_io_uring_enter, -1, 0, 0, 0) == -1 ? errno : WRONG;
}

START_TEST(rings_can_be_made_until_they_are_ended) {
    const bool used = true, unused = false;
    ck_assert_int_eq(in_child(&with_rings, make_ring, NULL), in_child(NULL, make_ring, NULL));
    ck_assert_int_eq(in_child(&with_rings, end_and_make_ring, &used), EBADF);
    ck_assert_int_eq(in_child(&with_rings, end_and_make_ring, &unused), EPERM);
}
END_TEST

/* --- whom it holds --- */

static bool says(const char *file, const char *line) {
    char text[4096];
    FILE *status = fopen(file, "re");
    ck_assert_ptr_nonnull(status);
    text[fread(text, 1, sizeof(text) - 1, status)] = '\0';
    fclose(status);
    return strstr(text, line) != NULL;
}

struct meeting {
    pthread_barrier_t entered, looked;
    char status[64];
};

static void *wait_for_the_sandbox(void *data) {
    struct meeting *meeting = data;
    snprintf(meeting->status, sizeof(meeting->status), "/proc/self/task/%ld/status",
             syscall(SYS_gettid));
    pthread_barrier_wait(&meeting->entered);
    pthread_barrier_wait(&meeting->entered);
    pthread_barrier_wait(&meeting->looked);
    return NULL;
}

static int enter_beside_a_thread(const void *data) {
    struct meeting meeting;
    struct error error;
    pthread_t thread;
    (void)data;
    pthread_barrier_init(&meeting.entered, NULL, 2);
    pthread_barrier_init(&meeting.looked, NULL, 2);
    if (pthread_create(&thread, NULL, wait_for_the_sandbox, &meeting) != 0)
        return WRONG;
    pthread_barrier_wait(&meeting.entered);
    bool free_before = says(meeting.status, "\nSeccomp:\t0\n");
    bool entered = sandbox_enter(&strict, &error);
    pthread_barrier_wait(&meeting.entered);
    bool holds = says(meeting.status, "\nSeccomp:\t2\n") &&
                 says(meeting.status, "\nNoNewPrivs:\t1\n") &&
                 says("/proc/thread-self/status", "\nSeccomp:\t2\n");
    pthread_barrier_wait(&meeting.looked);
    pthread_join(thread, NULL);
    return free_before && entered && holds ? WORKED : WRONG;
}

START_TEST(threads_that_run_already_are_in_it) {
    ck_assert_int_eq(in_child(NULL, enter_beside_a_thread, NULL), WORKED);
}
END_TEST

/* As in a container that forbids it. */
static int enter_where_filters_are_refused(const void *data) {
    struct error error = {""};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    (void)data;
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(seccomp), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(prctl), 1,
                     SCMP_A0(SCMP_CMP_EQ, 22 /* PR_SET_SECCOMP */));
    if (seccomp_load(filter) != 0)
        return NOT_ENTERED;
    seccomp_release(filter);
    if (sandbox_enter(&strict, &error))
        return WRONG;
    return strncmp(error.text, "seccomp: ", 9) == 0 && try_call(&denied[1]) != EPERM ? WORKED
                                                                                     : WRONG;
}

START_TEST(a_kernel_that_refuses_is_told_and_changes_nothing) {
    ck_assert_int_eq(in_child(NULL, enter_where_filters_are_refused, NULL), WORKED);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sandbox");
    TCase *tests = tcase_create("sandbox");
    tcase_add_loop_test(tests, what_no_server_needs_is_denied, 0,
                        (int)(sizeof(denied) / sizeof(denied[0])));
    tcase_add_test(tests, clone_with_hidden_flags_is_not_there);
#ifdef __x86_64__
    tcase_add_test(tests, the_table_of_32_bits_is_denied);
#endif
    tcase_add_loop_test(tests, what_servers_and_consumers_do_is_allowed, 0,
                        (int)(sizeof(allowed) / sizeof(allowed[0])));
    tcase_add_test(tests, an_abort_is_still_one);
    tcase_add_test(tests, rings_can_be_made_until_they_are_ended);
    tcase_add_test(tests, threads_that_run_already_are_in_it);
    tcase_add_test(tests, a_kernel_that_refuses_is_told_and_changes_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
