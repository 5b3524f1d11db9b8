/*
 * A ref: a client's own name for a message that it says, by which it knows it again in what comes
 * back. 1 to 40 of A-Z a-z 0-9 _ -.
 */
#ifndef GROUP_CHAT_REF_H
#define GROUP_CHAT_REF_H

#include <stdbool.h>
#include <stddef.h>

#define REF_MAX 40

bool ref_fits(const char *text, size_t size);

/* The ref of a say that is refused unread, by one walk over its bytes: a flood must not cost what
   reading its JSON would. Writes "" when there is none that fits. Strings with escapes count as
   others; of broken JSON it may find one or not. */
void ref_find(const char *data, size_t size, char to[REF_MAX + 1]);

#endif
