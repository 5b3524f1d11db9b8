/*
 * The masking of what clients send (RFC 6455 section 5.3): every byte is combined with one of the
 * key's four by turns. The pass that takes it off also says whether the bytes were plain ASCII,
 * since both look at each byte. Any thread.
 */
#ifndef SLUICE_WEBSOCKET_MASK_H
#define SLUICE_WEBSOCKET_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Unmasks size bytes in place; the key is turned, so that it fits what follows them. True when all
 * of them are ASCII. */
bool mask_remove(uint8_t *data, size_t size, uint8_t key[4]);

#endif
