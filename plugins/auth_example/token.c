#include "token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define SIGNATURE_BYTES 32
#define EXPIRY_DIGITS_MAX 11 /* so that milliseconds fit well */

static int digit_value(char digit) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* How many bytes these digits of base64url are; 0 for none, too many, or what an encoder would not
   have written. */
static size_t decode(const char *digits, size_t count, unsigned char *to, size_t room) {
    size_t size = count * 3 / 4;
    unsigned bits = 0;
    if (size > room || count % 4 == 1)
        return 0;
    for (size_t i = 0; i < count; i++) {
        int value = digit_value(digits[i]);
        if (value < 0)
            return 0;
        bits = bits << 6 | (unsigned)value;
        if (i % 4 != 0)
            to[i / 4 * 3 + i % 4 - 1] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    unsigned left_over = count % 4 == 2 ? 0xf : count % 4 == 3 ? 0x3 : 0;
    return bits & left_over ? 0 : size;
}

/* Whether one of the secrets has signed so. How long it takes tells nothing of the signature that
   would have been right. */
static bool is_signed(const struct secrets *secrets, const char *text, size_t size,
                      const unsigned char signature[SIGNATURE_BYTES]) {
    for (size_t i = 0; i < secrets->count; i++) {
        const struct secret *secret = &secrets->list[i];
        unsigned char right[SIGNATURE_BYTES];
        if (HMAC(EVP_sha256(), secret->bytes, (int)secret->size, (const unsigned char *)text, size,
                 right, NULL) &&
            CRYPTO_memcmp(right, signature, SIGNATURE_BYTES) == 0)
            return true;
    }
    return false;
}

static bool read_user(const char *text, size_t size, char user[TOKEN_USER_BYTES_MAX + 1]) {
    size_t length = decode(text, size, (unsigned char *)user, TOKEN_USER_BYTES_MAX);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)user[i] < ' ' || user[i] == 0x7f || user[i] == ':')
            return false;
    user[length] = '\0';
    return length > 0;
}

static bool read_expiry(const char *text, size_t size, int64_t *expiry_ms) {
    int64_t seconds = 0;
    if (size == 0 || size > EXPIRY_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        seconds = seconds * 10 + (text[i] - '0');
    }
    *expiry_ms = seconds * 1000;
    return true;
}

/* What stands behind the first dot, or NULL. */
static const char *behind_dot(const char *text, const char *end) {
    const char *dot = memchr(text, '.', (size_t)(end - text));
    return dot ? dot + 1 : NULL;
}

enum token_verdict token_check(const struct secrets *secrets, const char *text, size_t size,
                               int64_t now_ms, struct token *token) {
    unsigned char signature[SIGNATURE_BYTES];
    const char *end = text + size;
    const char *expiry = size <= TOKEN_BYTES_MAX ? behind_dot(text, end) : NULL;
    const char *signature_text = expiry ? behind_dot(expiry, end) : NULL;
    /* Nothing is read of what nobody has signed. */
    if (!signature_text ||
        decode(signature_text, (size_t)(end - signature_text), signature, SIGNATURE_BYTES) !=
            SIGNATURE_BYTES ||
        !is_signed(secrets, text, (size_t)(signature_text - 1 - text), signature))
        return TOKEN_WRONG;
    if (!read_user(text, (size_t)(expiry - 1 - text), token->user) ||
        !read_expiry(expiry, (size_t)(signature_text - 1 - expiry), &token->expiry_ms))
        return TOKEN_WRONG;
    return now_ms < token->expiry_ms ? TOKEN_GOOD : TOKEN_EXPIRED;
}
