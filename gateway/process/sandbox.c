#include "process/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)
#define ASK_PERSONALITY 0xffffffffu

/* Lists of names, so that one that this machine or library does not know is left out. */

/* Another program: whoever takes over the server would start a shell. */
static const char *const programs[] = {"execve", "execveat", NULL};

/* The memory and descriptors of other processes: of the supervisor, which keeps more rights, and of
 * all others that the same user runs. */
static const char *const processes[] = {"ptrace", "process_vm_readv", "process_vm_writev", NULL};

static const char *const other_processes[] = {"kcmp",
                                              "migrate_pages",
                                              "move_pages",
                                              "pidfd_getfd",
                                              "pidfd_send_signal",
                                              "process_madvise",
                                              "process_mrelease",
                                              "tkill",
                                              NULL};

/* Ways out of what is left of the file system, and code that few have read behind them. */
static const char *const file_systems[] = {
    "mount",       "umount",         "umount2",       "pivot_root",    "chroot",
    "fsopen",      "fsconfig",       "fsmount",       "fspick",        "move_mount",
    "open_tree",   "mount_setattr",  "swapon",        "swapoff",       "quotactl",
    "quotactl_fd", "acct",           "fanotify_init", "fanotify_mark", "open_by_handle_at",
    "nfsservctl",  "lookup_dcookie", "sysfs",         "uselib",        NULL};

/* The kernel itself: its code, its clock, its names, its memory, its hardware. */
static const char *const machine[] = {
    "init_module",     "finit_module", "delete_module",   "create_module", "query_module",
    "get_kernel_syms", "kexec_load",   "kexec_file_load", "reboot",        "syslog",
    "_sysctl",         "settimeofday", "clock_settime",   "clock_adjtime", "adjtimex",
    "stime",           "sethostname",  "setdomainname",   "iopl",          "ioperm",
    "modify_ldt",      "vm86",         "vm86old",         "vhangup",       NULL};

/* Nothing that a server needs, and each the door of many a hole in the kernel. */
static const char *const doors[] = {"bpf",    "perf_event_open", "userfaultfd", "add_key",
                                    "keyctl", "request_key",     NULL};

/* Within a namespace of his own anybody may call all of the above that asks for rights. */
static const char *const namespaces[] = {"unshare", "setns", NULL};

static const char *const making_rings[] = {"io_uring_setup", NULL};
static const char *const using_rings[] = {"io_uring_enter", "io_uring_register", NULL};

/* Calls that take the number of a process first. */
static const char *const signals[] = {"kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
                                      NULL};

/* A rule that is there already is no fault. */
static int deny_when(scmp_filter_ctx filter, unsigned answer, const char *name,
                     const struct scmp_arg_cmp *when) {
    int number = seccomp_syscall_resolve_name(name);
    if (number < 0)
        return 0;
    int fault = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(answer), number, when != NULL, when);
    return fault == -EEXIST ? 0 : fault;
}

static int deny_all(scmp_filter_ctx filter, const char *const *names,
                    const struct scmp_arg_cmp *when) {
    int fault = 0;
    for (size_t i = 0; names[i] != NULL && fault == 0; i++)
        fault = deny_when(filter, EPERM, names[i], when);
    return fault;
}

/* Calls that are denied by what they are called with. */
static int deny_by_argument(scmp_filter_ctx filter) {
    const struct scmp_arg_cmp to_another = SCMP_A0(SCMP_CMP_NE, (uint64_t)getpid());
    const struct scmp_arg_cmp change = SCMP_A0(SCMP_CMP_NE, ASK_PERSONALITY);
    /* What is typed in the operator's terminal is run by his shell. */
    const struct scmp_arg_cmp types = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI);
    int fault = deny_all(filter, signals, &to_another);
    if (fault == 0)
        fault = deny_when(filter, EPERM, "personality", &change);
    if (fault == 0)
        fault = deny_when(filter, EPERM, "ioctl", &types);
    for (uint64_t flag = 1; flag <= NAMESPACES && fault == 0; flag <<= 1) {
        const struct scmp_arg_cmp has = SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag);
        if ((NAMESPACES & flag) != 0)
            fault = deny_when(filter, EPERM, "clone", &has);
    }
    /* Its flags lie in memory, where no filter can look; libraries that are told that it is not
       there call clone. */
    return fault != 0 ? fault : deny_when(filter, ENOSYS, "clone3", NULL);
}

static int deny_for_good(scmp_filter_ctx filter) {
    const char *const *const lists[] = {other_processes, file_systems, machine, doors, namespaces};
    int fault = deny_by_argument(filter);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && fault == 0; i++)
        fault = deny_all(filter, lists[i], NULL);
    if (fault == 0 && !SANITIZED)
        fault = deny_all(filter, programs, NULL);
    if (fault == 0 && !SANITIZED)
        fault = deny_all(filter, processes, NULL);
    return fault;
}

static int deny_rings(scmp_filter_ctx filter, bool in_use) {
    int fault = deny_all(filter, making_rings, NULL);
    return fault == 0 && !in_use ? deny_all(filter, using_rings, NULL) : fault;
}

/* An empty filter, which allows everything: for all threads, with no way to more rights by a
   program that has them. Calls by the tables of another kind of processor are denied. */
static int create(scmp_filter_ctx *filter) {
    *filter = seccomp_init(SCMP_ACT_ALLOW);
    if (*filter == NULL)
        return -ENOMEM;
    int fault = seccomp_attr_set(*filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    if (fault == 0)
        fault = seccomp_attr_set(*filter, SCMP_FLTATR_CTL_NNP, 1);
    if (fault == 0)
        fault = seccomp_attr_set(*filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* Neither is needed: a filter costs no speculation, and is searched by halves. */
    seccomp_attr_set(*filter, SCMP_FLTATR_CTL_SSB, 1);
    seccomp_attr_set(*filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    /* So that a refusal has the kernel's own reason. */
    seccomp_attr_set(*filter, SCMP_FLTATR_API_SYSRAWRC, 1);
    return fault;
}

/* Takes the filter. */
static bool load(scmp_filter_ctx filter, int fault, struct error *error) {
    if (fault == 0)
        fault = seccomp_load(filter);
    if (filter != NULL)
        seccomp_release(filter);
    return fault == 0 || error_set(error, "seccomp: %s", strerror(-fault));
}

bool sandbox_enter(const struct sandbox_terms *terms, struct error *error) {
    scmp_filter_ctx filter;
    int fault = create(&filter);
    if (fault == 0)
        fault = deny_for_good(filter);
    if (fault == 0 && !terms->io_uring)
        fault = deny_rings(filter, false);
    return load(filter, fault, error);
}

bool sandbox_end_rings(bool in_use, struct error *error) {
    scmp_filter_ctx filter;
    int fault = create(&filter);
    if (fault == 0)
        fault = deny_rings(filter, in_use);
    return load(filter, fault, error);
}
