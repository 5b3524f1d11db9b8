/*
 * Messages on their way out, compressed (RFC 7692 section 7.2.1). zlib's state belongs to the
 * thread. Where each message stands alone, its compressed form is made once and kept with the
 * frame, for all sessions of all threads that use the same settings.
 */
#ifndef SLUICE_WEBSOCKET_DEFLATER_H
#define SLUICE_WEBSOCKET_DEFLATER_H

#include <stdint.h>

struct frame;
struct window;

/* The largest payload that is compressed: more would hold the loop for too long. */
#define DEFLATER_PAYLOAD_MAX (1u << 20)

/* The form to send to a peer whose window has 2^bits bytes (8 to 15), at level 1 to 9: the frame
   itself where compression does not make it smaller. frame: text or binary, not compressed.
   Borrowed: lives as long as the frame. Whoever asks first makes it; others who ask meanwhile wait
   for it, and nobody waits later. [any thread] */
struct frame *deflater_shared_form(struct frame *frame, unsigned bits, unsigned level);

/* A form that refers back to the window, with one reference; NULL where it would not be smaller.
   When it is sent, the payload belongs at the window's end. The session's thread. */
struct frame *deflater_own_form(const struct frame *frame, unsigned bits, unsigned level,
                                const struct window *window);

#endif
