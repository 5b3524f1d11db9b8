#include "usage.h"

#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROCESSES_MAX 256

struct processes {
    pid_t pids[PROCESSES_MAX];
    size_t count;
};

static bool complain(const char *path) {
    fprintf(stderr, "bench-load: %s: %s\n", path, strerror(errno));
    return false;
}

struct process_stat {
    int parent;
    unsigned long user_ticks, system_ticks;
};

static bool read_stat(pid_t pid, struct process_stat *stat) {
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    /* The name, in brackets, may hold blanks and brackets itself. */
    const char *rest = read ? strrchr(line, ')') : NULL;
    return rest != NULL && sscanf(rest, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                  &stat->parent, &stat->user_ticks, &stat->system_ticks) == 3;
}

static bool has(const struct processes *processes, pid_t pid) {
    for (size_t i = 0; i < processes->count; i++) {
        if (processes->pids[i] == pid)
            return true;
    }
    return false;
}

static size_t add_children(struct processes *processes) {
    size_t before = processes->count;
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return 0;
    while ((entry = readdir(proc)) != NULL && processes->count < PROCESSES_MAX) {
        struct process_stat stat;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && !has(processes, pid) && read_stat(pid, &stat) &&
            has(processes, (pid_t)stat.parent))
            processes->pids[processes->count++] = pid;
    }
    closedir(proc);
    return processes->count - before;
}

/* The process and its descendants. */
static struct processes family_of(pid_t pid) {
    struct processes processes = {.pids = {pid}, .count = 1};
    while (add_children(&processes) != 0)
        continue;
    return processes;
}

static bool read_processes(pid_t pid, struct cpu_usage *usage) {
    double ticks_a_second = (double)sysconf(_SC_CLK_TCK);
    struct processes processes = family_of(pid);
    for (size_t i = 0; i < processes.count; i++) {
        struct process_stat stat;
        if (!read_stat(processes.pids[i], &stat)) {
            if (i != 0)
                continue;
            fprintf(stderr, "bench-load: the server, process %d, has ended\n", (int)pid);
            return false;
        }
        usage->process_user_s += (double)stat.user_ticks / ticks_a_second;
        usage->process_system_s += (double)stat.system_ticks / ticks_a_second;
    }
    return true;
}

/* Seconds that a line of /proc/stat was not busy: idle, waiting for a disk, or taken away by the
   hypervisor. Busy time is what remains of the clock's: the kernel keeps idle time to the
   microsecond, and the other columns by sampling only. */
static double unused_s(const char *line) {
    double idle = 0, wait = 0, stolen = 0;
    sscanf(line, "%*s %*f %*f %*f %lf %lf %*f %*f %lf", &idle, &wait, &stolen);
    return (idle + wait + stolen) / (double)sysconf(_SC_CLK_TCK);
}

static bool read_cores(long core, struct cpu_usage *usage) {
    char line[512], name[32];
    long cores = 0;
    double machine_unused_s = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL)
        return complain("/proc/stat");
    snprintf(name, sizeof(name), "cpu%ld ", core);
    while (fgets(line, sizeof(line), file) != NULL && strncmp(line, "cpu", 3) == 0) {
        if (line[3] == ' ') {
            machine_unused_s = unused_s(line);
            continue;
        }
        cores++;
        if (core >= 0 && strncmp(line, name, strlen(name)) == 0)
            usage->core_busy_s = usage->at_s - unused_s(line);
    }
    fclose(file);
    usage->machine_busy_s = usage->at_s * (double)cores - machine_unused_s - usage->own_s;
    return true;
}

bool cpu_usage_read(pid_t pid, long core, struct cpu_usage *usage) {
    struct rusage own;
    *usage = (struct cpu_usage){0};
    getrusage(RUSAGE_SELF, &own);
    usage->own_s = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                   (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
    usage->at_s = (double)clock_now_ns() / 1e9;
    return read_cores(core, usage) && (pid == 0 || read_processes(pid, usage));
}

/* The sum of the lines of a file that begin with `name`, in bytes; the file counts kilobytes. */
static uint64_t read_kilobytes(FILE *file, const char *name) {
    char line[256];
    unsigned long long value, sum = 0;
    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t size = strlen(name);
        if (strncmp(line, name, size) == 0 && sscanf(line + size, "%llu", &value) == 1)
            sum += value;
    }
    return (uint64_t)sum * 1024;
}

static bool read_rollup(pid_t pid, struct memory_usage *usage) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return complain(path);
    usage->pss += read_kilobytes(file, "Pss:");
    usage->anonymous += read_kilobytes(file, "Anonymous:");
    fclose(file);
    return true;
}

static bool read_sockstat(struct memory_usage *usage) {
    char line[256];
    unsigned long long sockets, pages;
    FILE *file = fopen("/proc/net/sockstat", "re");
    if (file == NULL)
        return complain("/proc/net/sockstat");
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "TCP: inuse %llu orphan %*u tw %*u alloc %*u mem %llu", &sockets,
                   &pages) == 2) {
            usage->tcp_sockets = sockets;
            usage->tcp_buffers = pages * (unsigned long long)sysconf(_SC_PAGESIZE);
        }
    }
    fclose(file);
    return true;
}

/* Readable by root alone. Directory entries are left out: each socket has one, but so has each file
   that anybody on the machine looks for. */
static void read_slabs(struct memory_usage *usage) {
    static const char *const names[] = {"TCP", "sock_inode_cache", "filp", "eventpoll_epi",
                                        "eventpoll_pwq"};
    char line[512], name[64];
    unsigned long long objects, size;
    FILE *file = fopen("/proc/slabinfo", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%63s %llu %*u %llu", name, &objects, &size) != 3)
            continue;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (strcmp(name, names[i]) == 0)
                usage->slab_sockets += objects * size;
        }
    }
    fclose(file);
}

bool memory_usage_read(pid_t pid, struct memory_usage *usage) {
    *usage = (struct memory_usage){0};
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return complain("/proc/meminfo");
    usage->slab = read_kilobytes(file, "Slab:");
    usage->page_tables = read_kilobytes(file, "PageTables:");
    fclose(file);
    read_slabs(usage);
    if (!read_sockstat(usage))
        return false;
    if (pid == 0)
        return true;
    struct processes processes = family_of(pid);
    for (size_t i = 0; i < processes.count; i++) {
        if (!read_rollup(processes.pids[i], usage))
            return false;
    }
    return true;
}
