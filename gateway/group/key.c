#include "group/key.h"

#include <stdlib.h>
#include <string.h>

static uint64_t secret[2] = {0x736c75696365, 0x67726f757073};

static uint64_t rotate(uint64_t word, unsigned bits) { return word << bits | word >> (64 - bits); }

static void mix(uint64_t v[4]) {
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

static void take_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

/* SipHash-1-3 (Aumasson and Bernstein): short keys, a secret seed, no way to aim at a slot. */
static uint64_t hash_bytes(uint64_t first, uint64_t second, const char *bytes, size_t size) {
    uint64_t v[4] = {first ^ 0x736f6d6570736575, second ^ 0x646f72616e646f6d,
                     first ^ 0x6c7967656e657261, second ^ 0x7465646279746573};
    uint64_t word = 0;
    size_t at = 0;
    for (; size - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, bytes + at, sizeof(word));
        take_word(v, word);
    }
    word = (uint64_t)size << 56;
    for (unsigned shift = 0; at < size; at++, shift += 8)
        word |= (uint64_t)(unsigned char)bytes[at] << shift;
    take_word(v, word);
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void key_seed(uint64_t first, uint64_t second) {
    secret[0] = first;
    secret[1] = second;
}

struct group_key key_of(const char *space, const char *name) {
    struct group_key key = {space, name, strlen(space), strlen(name), 0};
    uint64_t of_space = hash_bytes(secret[0], secret[1], space, key.space_size);
    key.hash = hash_bytes(secret[0] ^ of_space, secret[1], name, key.name_size);
    return key;
}

bool key_equal(const struct group_key *one, const struct group_key *other) {
    if (one->name == other->name && one->space == other->space)
        return true;
    return one->hash == other->hash && one->name_size == other->name_size &&
           one->space_size == other->space_size &&
           memcmp(one->name, other->name, one->name_size) == 0 &&
           memcmp(one->space, other->space, one->space_size) == 0;
}

unsigned key_home(const struct group_key *key, unsigned threads) {
    /* Tables use the low bits: a thread's groups must not all be alike in them. */
    return (unsigned)((key->hash >> 32) % threads);
}

struct shared_key *key_share(const struct group_key *key) {
    struct shared_key *shared = malloc(sizeof(*shared) + key->space_size + key->name_size + 2);
    if (shared == NULL)
        abort();
    char *name = shared->text + key->space_size + 1;
    memcpy(shared->text, key->space, key->space_size + 1);
    memcpy(name, key->name, key->name_size + 1);
    shared->key = *key;
    shared->key.space = shared->text;
    shared->key.name = name;
    atomic_init(&shared->refs, 1);
    return shared;
}

struct shared_key *key_ref(struct shared_key *key) {
    atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

void key_unref(struct shared_key *key) {
    if (key != NULL && atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) == 1)
        free(key);
}
