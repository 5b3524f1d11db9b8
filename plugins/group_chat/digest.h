/*
 * Digests: equal bytes have equal digests, and nobody outside can find bytes for a given one. They
 * stand for what must not be shown, or must be short.
 */
#ifndef GROUP_CHAT_DIGEST_H
#define GROUP_CHAT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_TEXT 17 /* 16 hexadecimal digits and NUL */

/* Draws the secret of this process at the first call. False when the system has no random bytes.
 * [any] */
bool digest_ready(void);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of size bytes with that secret, as text. After
   digest_ready. [any] */
void digest_write(const void *data, size_t size, char to[DIGEST_TEXT]);

/* The same in each process, now and later: the beginning of a SHA-256 (FIPS 180-4), so it is for
   bytes that nobody can guess. size: up to 256. False when there is no memory. [any] */
bool digest_write_lasting(const void *data, size_t size, char to[DIGEST_TEXT]);

#endif
