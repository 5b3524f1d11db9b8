/*
 * The tokens of a `token-file`: who knows one of them may publish. What is kept of each is its
 * digest. Read on the main thread, then only looked at.
 */
#ifndef SLUICE_NET_TOKENS_H
#define SLUICE_NET_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

#define TOKEN_LEAST 16
#define TOKEN_MOST 256
/* Of one file; and its bytes. */
#define TOKENS_MAX 100
#define TOKENS_FILE_MAX (64u << 10)

struct tokens;

/* Reads the file, as it is in the snapshot in use or else on the disk: one token a line, of
   TOKEN_LEAST to TOKEN_MOST visible ASCII characters; blanks around it, empty lines and lines that
   begin with # are passed over. NULL with the error, which never has a token in it: it can't be
   read, anybody may read or write it (of a file on the disk), a line holds no token, there is none,
   or there are too many. Main thread. */
struct tokens *tokens_read(const char *path, struct error *error);
/* NULL is fine. */
void tokens_free(struct tokens *tokens);
size_t tokens_count(const struct tokens *tokens);

/* Whether these bytes are one of them. How long it takes says nothing of them but how many there
   are. [any thread] */
bool tokens_have(const struct tokens *tokens, const char *bytes, size_t size);

/* Whether the file is there and more than its owner and group may read or write it: no place for a
   secret. */
bool tokens_exposed(const char *path);

#endif
