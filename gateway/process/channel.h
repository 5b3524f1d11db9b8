/*
 * The pair of sockets between supervisor and worker: whole messages, each with a number, a text and
 * perhaps a descriptor. Main threads.
 */
#ifndef SLUICE_PROCESS_CHANNEL_H
#define SLUICE_PROCESS_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snapshot;

/* To the worker. ENTRY: an entry of the next snapshot (number: its kind; text: name, NUL, path).
   BUILD: that snapshot is whole: serve it (number: 1 when it was accepted before). REOPEN: the
   entries are logs, opened anew. STOP: text is "<ms> <code> <retry ms> <shared>". ASK: a client of
   the control socket (the descriptor) asks (text).
   To the supervisor. SERVING: what was to be built is (text: what changed, or at first the
   addresses). REFUSED: it is not (text: why; number: exit status). REOPENED: number 1: all of them.
 */
enum channel_kind {
    CHANNEL_ENTRY,
    CHANNEL_BUILD,
    CHANNEL_REOPEN,
    CHANNEL_STOP,
    CHANNEL_ASK,
    CHANNEL_SERVING,
    CHANNEL_REFUSED,
    CHANNEL_REOPENED
};

/* Longer texts are cut. */
#define CHANNEL_TEXT_MAX 60000

struct channel_message {
    enum channel_kind kind;
    uint32_t number;
    int fd; /* -1: none; the receiver closes it */
    size_t size;
    char text[CHANNEL_TEXT_MAX + 1]; /* ends with NUL behind size */
};

/* ends[0] is the supervisor's. False with errno. */
bool channel_open(int ends[2]);

/* Waits at most some seconds for room, or after channel_hurry not at all. fd: -1 for none; stays
   the caller's. False with errno when the other end has gone, or takes nothing. */
bool channel_send(int channel, enum channel_kind kind, uint32_t number, const char *text, int fd);
bool channel_send_bytes(int channel, enum channel_kind kind, uint32_t number, const void *bytes,
                        size_t size, int fd);
bool channel_send_snapshot(int channel, const struct snapshot *snapshot);

/* From now on whoever does not take what he is sent has it lost: he hangs. */
void channel_hurry(int channel);

/* The next one; 0: the other end has gone; -1 with errno. wait: for it to come; else EAGAIN when
   none is there. At most one descriptor is taken of a message. */
int channel_receive(int channel, bool wait, struct channel_message *message);

/* An ENTRY's content into the snapshot. False when it is none. */
bool channel_add_entry(struct snapshot *snapshot, struct channel_message *message);

#endif
