/*
 * The opening handshake from a client's side, RFC 6455 section 4.1.
 */
#ifndef LOAD_UPGRADE_H
#define LOAD_UPGRADE_H

#include "buffer.h"
#include "options.h"

#include <stddef.h>
#include <stdint.h>

#define UPGRADE_HEAD_MAX 8192

/* Appends the request; {room} in the path becomes r<room>. All requests of a run have one random
   key. */
void upgrade_request(struct buffer *to, const struct options *options, uint32_t room);

enum upgrade_result { UPGRADE_DONE, UPGRADE_PARTIAL, UPGRADE_REFUSED };

/* Reads the answer. On UPGRADE_DONE, *head_size is where frames begin. On UPGRADE_REFUSED, `reason`
   says why, cut to its size. */
enum upgrade_result upgrade_answer(const uint8_t *bytes, size_t size, size_t *head_size,
                                   char *reason, size_t reason_size);

#endif
