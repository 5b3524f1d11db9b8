#include "digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static uint64_t secret[2];
static bool drawn;

static void draw(void) { drawn = getrandom(secret, sizeof(secret), 0) == (ssize_t)sizeof(secret); }

bool digest_ready(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw);
    return drawn;
}

static uint64_t rotate(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static void mix(uint64_t v[4], int rounds) {
    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void take(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    mix(v, 2);
    v[0] ^= word;
}

/* What else might be hashed from the same bytes begins with other words. */
static const char purpose[] = "sluice chat person ";

bool digest_write_lasting(const void *data, size_t size, char to[DIGEST_TEXT]) {
    unsigned char bytes[sizeof(purpose) + 256], hash[EVP_MAX_MD_SIZE];
    memcpy(bytes, purpose, sizeof(purpose) - 1);
    memcpy(bytes + sizeof(purpose) - 1, data, size);
    if (EVP_Digest(bytes, sizeof(purpose) - 1 + size, hash, NULL, EVP_sha256(), NULL) != 1)
        return false;
    for (size_t i = 0; i < (DIGEST_TEXT - 1) / 2; i++)
        snprintf(to + 2 * i, 3, "%02x", hash[i]);
    return true;
}

void digest_write(const void *data, size_t size, char to[DIGEST_TEXT]) {
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
    const unsigned char *bytes = data;
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++) {
        word |= (uint64_t)bytes[i] << (i % 8 * 8);
        if (i % 8 == 7) {
            take(v, word);
            word = 0;
        }
    }
    take(v, word | (uint64_t)size << 56);
    v[2] ^= 0xff;
    mix(v, 4);
    snprintf(to, DIGEST_TEXT, "%016llx", (unsigned long long)(v[0] ^ v[1] ^ v[2] ^ v[3]));
}
