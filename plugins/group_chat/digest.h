/*
 * Digests keyed with a secret of this process: equal bytes have equal digests, and nobody outside
 * can find bytes for a given one. They stand for what must not be shown, or must be short.
 */
#ifndef GROUP_CHAT_DIGEST_H
#define GROUP_CHAT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_TEXT 17 /* 16 hexadecimal digits and NUL */

/* Draws the secret at the first call. False when the system has no random bytes. [any] */
bool digest_ready(void);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of size bytes, as text. After digest_ready. [any] */
void digest_write(const void *data, size_t size, char to[DIGEST_TEXT]);

#endif
