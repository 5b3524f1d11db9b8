/* How many messages one connection may send in a window of ten seconds. */
#ifndef GROUP_CHAT_FLOOD_H
#define GROUP_CHAT_FLOOD_H

#include <stdint.h>

#include <sluice/consumer.h>

/* Milliseconds of a clock that never goes back. [any] */
uint64_t flood_clock_ms(void);

/* Counts one message of the connection. -1 when it may pass, else the milliseconds until the next
   one may. The window begins with its first message. */
long long flood_count(sluice_conn *conn, unsigned rate);

#endif
