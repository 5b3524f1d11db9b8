/*
 * The addresses that the supervisor listens on for its workers. A socket outlives them: whoever
 * connects while one starts waits in the kernel's queue. Main thread.
 */
#ifndef SLUICE_PROCESS_SOCKETS_H
#define SLUICE_PROCESS_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

struct manifest;
struct snapshot;
struct sockets;

/* Takes what another program has handed over: systemd, or this one before it began anew
 * (sd_listen_fds(3)). */
struct sockets *sockets_create(void);
/* Removes the files of socket paths; descriptors in snapshots stay. */
void sockets_close(struct sockets *sockets);

/* Adds to the snapshot the sockets of all that the manifest listens on: those of `before` (may be
   NULL), else handed over ones, else new ones. False with file:line and why; what was opened only
   for this snapshot is closed with it. */
bool sockets_add(struct sockets *sockets, const struct manifest *manifest, unsigned threads,
                 const struct snapshot *before, struct snapshot *to, struct error *error);

/* The snapshot is what is served: what it does not listen on is listened on no more. */
void sockets_settle(struct sockets *sockets, const struct snapshot *served);

/* Handed over and asked for by nobody: nobody would accept from them. */
size_t sockets_unused(const struct sockets *sockets);
void sockets_close_unused(struct sockets *sockets);

/* Makes the snapshot's sockets the ones that a program executed next is handed. extra: another
   descriptor that stays open, or -1; returns its new number. */
int sockets_hand_over(const struct snapshot *served, int extra);

#endif
