/*
 * What a server costs, read from /proc: processor time of a process with its descendants, of one
 * processor and of the machine; memory of the process and of the kernel for its sockets.
 */
#ifndef LOAD_USAGE_H
#define LOAD_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cpu_usage {
    double at_s;
    double process_user_s, process_system_s; /* all threads of the server, ended ones too */
    double core_busy_s;    /* not idle: the server with interrupts and kernel threads */
    double machine_busy_s; /* all processors, the load's own process taken off */
    double own_s;
};

struct memory_usage {
    uint64_t pss;          /* proportional set size of the server's processes */
    uint64_t anonymous;    /* of these: heap, stacks, and what a program made itself */
    uint64_t slab;         /* kernel objects of the whole machine */
    uint64_t slab_sockets; /* of these: sockets, their inodes, files and epoll; 0: not readable */
    uint64_t tcp_buffers;  /* kernel: memory of TCP queues, machine wide */
    uint64_t page_tables;  /* kernel: machine wide */
    uint64_t tcp_sockets;  /* in use, machine wide: both ends of each connection */
};

/* pid 0 and core -1 leave the figures at 0. False, with the reason on stderr, when the process has
   ended or a file can't be read. */
bool cpu_usage_read(pid_t pid, long core, struct cpu_usage *usage);
bool memory_usage_read(pid_t pid, struct memory_usage *usage);

#endif
