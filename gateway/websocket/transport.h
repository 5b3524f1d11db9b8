/*
 * How a session's bytes go in and out: one table, so that a session neither knows h2o nor io_uring,
 * and is tested with neither. The transport calls session_input, session_written, session_writable
 * and session_lost (session.h) from its loop's callbacks; the session calls these. All on the
 * session's thread. What a transport keeps of a session is in the session's line.
 */
#ifndef SLUICE_WEBSOCKET_TRANSPORT_H
#define SLUICE_WEBSOCKET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct session;

/* What one write may hold. */
#define TRANSPORT_PARTS_MAX 64

/* A write's result comes later, by session_written. */
#define TRANSPORT_LATER (-1)

struct transport {
    /* Writes the parts, in order. Returns how many of the bytes have left; fewer than all when the
       connection takes no more now: session_writable comes when it does. Or TRANSPORT_LATER: the
       bytes are lent until session_written, which never comes inside this call; one such write is
       outstanding at most. A connection that has failed takes everything and tells session_lost. */
    ssize_t (*write)(struct session *session, const struct iovec *parts, size_t count);
    /* Room for size bytes that leave at the end of this turn, right behind those that this session
       asked for before in it, as one piece of memory; they are to be filled in at once. They are a
       write that comes LATER, under way from the first call on. NULL when there is no such room,
       and NULL itself where it is not offered. Never while another write is under way or the
       connection is full. */
    void *(*append)(struct session *session, size_t size);
    /* Delivers input, or no more of it until told again; none is delivered before the first call,
       nor inside any. What is already buffered is kept, and so is what session_input leaves when it
       has said within that call that it wants no more. */
    void (*read)(struct session *session, bool on);
    /* Ends the connection and frees what the line holds. No call comes to the session after this
       one. Never inside session_input, session_written or session_lost: the session calls it from
       the ENDS stage. */
    void (*close)(struct session *session);
    /* Tells the peer that nothing more will be written, and goes on delivering input: closing at
       once would reset a peer that still sends, and with that destroy the close frame on its way to
       it. May be NULL: then close comes at once. */
    void (*shut)(struct session *session);
};

#endif
