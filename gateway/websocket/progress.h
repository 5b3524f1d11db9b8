/*
 * Whether a peer takes what it is sent. [any]
 */
#ifndef SLUICE_WEBSOCKET_PROGRESS_H
#define SLUICE_WEBSOCKET_PROGRESS_H

#include <stdint.h>

/* So long may a peer take nothing while something waits for it, in milliseconds: 60,000 before the
   first call. */
void progress_allow_stall(uint32_t ms);
uint32_t progress_stall_ms(void);

/* A figure that moves whenever the peer takes bytes. given: bytes handed over to the socket so far,
   which only sockets with a path need. */
uint64_t progress_of(int fd, uint64_t given);

/* Makes the connection fail, with a reset: whoever owns the socket sees that and closes it as it
   always does. */
void progress_cut_off(int fd);

#endif
