/*
 * A token says who somebody is and until when: USER.EXPIRY.SIGNATURE. USER is the name in
 * base64url, EXPIRY is in unix seconds, SIGNATURE is the HMAC-SHA-256 of what stands before its
 * dot, in base64url; base64url is without padding (RFC 4648 section 5). All of it may stand in a
 * subprotocol and in a cookie.
 */
#ifndef TOKEN_H
#define TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "secrets.h"

#define TOKEN_BYTES_MAX 200 /* no right one is longer: what is costs no digest */
#define TOKEN_USER_BYTES_MAX 64

enum token_verdict { TOKEN_GOOD, TOKEN_WRONG, TOKEN_EXPIRED };

struct token {
    char user[TOKEN_USER_BYTES_MAX + 1]; /* not empty, no control characters, no colon */
    int64_t expiry_ms;                   /* since 1970 */
};

/* Checks size bytes at text, which need no NUL behind them, at the time now_ms. Fills token unless
   the verdict is TOKEN_WRONG; EXPIRED is said only of a token with a right signature. */
enum token_verdict token_check(const struct secrets *secrets, const char *text, size_t size,
                               int64_t now_ms, struct token *token);

#endif
