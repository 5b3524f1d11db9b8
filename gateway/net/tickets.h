/*
 * The keys that TLS session tickets are sealed with (RFC 5077 section 4, RFC 8446 section 4.6.1):
 * one ring for the process, so that a client may come back to any thread and listener, which may
 * lie in memory that several processes share, so that he may come back after a restart as well. A
 * key seals for an hour and opens for two. The keys are nowhere but there: never in a file, and in
 * no other memory for longer than a call.
 *
 * A process that dies while it changes the ring leaves it as it was before. One that stops there
 * without dying costs the others tickets, not handshakes: those that can't have the ring within 20
 * ms go without.
 */
#ifndef SLUICE_NET_TICKETS_H
#define SLUICE_NET_TICKETS_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

/* How long a ticket is good, at most; also how long a key seals. */
#define TICKETS_SECONDS 3600

/* What a ring takes. */
#define TICKETS_BYTES 1024

/* Makes an empty ring of memory that is zero, of TICKETS_BYTES at least and shared (MAP_SHARED),
   before a process lives in it; uses no OpenSSL. Whoever can read the memory can read what was said
   in all sessions that its keys resume: pages of its own, mapped by none but the servers. [any] */
void tickets_prepare(void *memory, size_t size);

/* The keys are in memory (prepared, lent until the process ends) from here on; those that the
   process had are wiped. False when it holds no ring of this version's layout: all stays as it was.
   The pages are left out of core dumps. Main thread, before the first handshake. */
bool tickets_live_in(void *memory, size_t size);

/* Begins a new key now instead of at the end of the hour: tickets of the key before it are still
   accepted (for two hours after that key was made), older ones not. For all that share the ring.
   [any] */
void tickets_rotate(void);

/* OpenSSL's callback for tickets; its contract: SSL_CTX_set_tlsext_ticket_key_evp_cb(3). [any] */
int tickets_use(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac, int seal);

#endif
