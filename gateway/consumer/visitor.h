/*
 * Who comes from where: how many connections each client address has open, and how often it asks
 * for a handshake. One table for all threads, of a fixed size, which holds an address only while it
 * has connections or its last second counts; it is there only when a limit asks for it. An IPv6
 * client is its /64, since whoever has one has all of it. Clients of a socket with a path have no
 * address and are never counted.
 */
#ifndef SLUICE_CONSUMER_VISITOR_H
#define SLUICE_CONSUMER_VISITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* One connection of an address, counted until its last holder ends it. All its holders are on one
 * thread. */
struct visit;

/* Makes the table, for so many connections at a time; nothing when it is there. Main thread, before
 * whatever counts. */
void visitors_create(size_t connections);
/* For tests: when no visit is left. */
void visitors_free(void);

/* Counts one more connection of this address within a scope (any pointer; NULL: the whole server).
   False when it has `most` there already. *visit: to be ended; NULL for an address that is not
   counted, since it is none, or since the table is full: that is counted then (observe/limits.h),
   and cannot come while the table was made for as many connections as there are. [any loop] */
bool visit_begin(struct visit **visit, const struct sockaddr *peer, const void *scope,
                 uint32_t most);
/* Another holder. NULL is fine. */
struct visit *visit_share(struct visit *visit);
/* NULL is fine. */
void visit_end(struct visit *visit);

/* How many handshakes may come in a second, and at once; 0: any number. */
struct arrival_rates {
    uint32_t all, an_address;
};

enum arrival { ARRIVAL_WELCOME, ARRIVAL_TOO_MANY, ARRIVAL_TOO_OFTEN };

/* Counts a handshake now (milliseconds of CLOCK_MONOTONIC), if it is welcome. TOO_OFTEN: this
   address has had its share; TOO_MANY: all together have. [any thread] */
enum arrival visitors_arrive(const struct sockaddr *peer, const struct arrival_rates *rates,
                             uint64_t now);

/* What an address is known by: 16 bytes, of which an IPv6 one fills half. False: it is none. A pure
   function, for tests. */
bool visitor_key(const struct sockaddr *peer, uint8_t key[16]);

#endif
