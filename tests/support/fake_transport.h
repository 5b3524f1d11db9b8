/*
 * A transport without a socket, for tests of sessions and of what stands on them: keeps what is
 * written, hands over what the test says has arrived, and checks that the session keeps to
 * transport.h.
 */
#ifndef SUPPORT_FAKE_TRANSPORT_H
#define SUPPORT_FAKE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "websocket/session.h"
#include "websocket/transport.h"

struct fake_transport {
    /* for the test to set before it is attached */
    bool holds; /* writes stay under way until fake_transport_complete; else until the next turn */
    bool no_shut; /* the transport offers no shut */
    bool at_once; /* writes take up to `room` bytes at once and nothing is under way */
    size_t room;
    bool appends; /* the transport offers append */

    /* for the test to read */
    bool reading, shut, closed, writing;
    unsigned writes;
    unsigned pieces; /* calls of session_input */
    size_t largest_write;
    uint8_t *written; /* all that has left, completed or not */
    size_t written_size;

    /* private */
    struct session *session;
    struct loop *loop;
    struct transport table;
    struct loop_entry completion;
    struct iovec parts[TRANSPORT_PARTS_MAX];
    size_t parts_count, lent_size;
    bool appending;
    uint8_t appended[16384];
    uint8_t rest[65536]; /* more than SESSION_REST_MAX only of one that does not read */
    size_t rest_size;
};

/* Attaches the session; fake is zeroed but for what the test sets, and outlives the session. */
void fake_transport_attach(struct fake_transport *fake, struct session *session, struct loop *loop);

/* These bytes have arrived, and what was left unread before goes before them; nothing when the
   connection is closed. */
void fake_transport_feed(struct fake_transport *fake, const uint8_t *data, size_t size);

/* With at_once: the connection takes bytes again, so many. */
void fake_transport_open(struct fake_transport *fake, size_t room);

/* The write under way is done or has failed. */
void fake_transport_complete(struct fake_transport *fake, bool ok);

/* Of the write under way so many bytes have left, and the connection takes no more. */
void fake_transport_complete_part(struct fake_transport *fake, size_t size);

/* The frames in all that has left, as text: "text(hi) ping() close 1000(bye)"; long payloads as
   "binary[70000]". Kept until the next call. */
const char *fake_transport_sent(const struct fake_transport *fake);

/* Frees what is kept. */
void fake_transport_free(struct fake_transport *fake);

#endif
