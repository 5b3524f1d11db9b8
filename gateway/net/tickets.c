#include "net/tickets.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define KEY_NAME_SIZE 16
#define IV_SIZE 16
#define WAIT_NS 20000000
/* Changes with the layout below: a server of another version may have made the memory. */
#define LAYOUT 0x736c7431u

struct key {
    unsigned char name[KEY_NAME_SIZE];
    unsigned char cipher[32]; /* AES-256-CBC */
    unsigned char mac[32];    /* HMAC-SHA-256 */
    int64_t made_at;          /* seconds of the clock that all processes of a machine share */
};

/* Which of the keys, from 1, is what; 0: none. The third is the next one's place. */
struct turn {
    uint16_t current, previous;
};

/* As one number, which is read and written whole. */
typedef _Atomic(uint32_t) shared_turn;

static void turn_set(shared_turn *shared, struct turn turn) {
    atomic_store(shared, (uint32_t)turn.previous << 16 | turn.current);
}

static struct turn turn_get(shared_turn *shared) {
    uint32_t both = atomic_load(shared);
    return (struct turn){(uint16_t)both, (uint16_t)(both >> 16)};
}

struct ring {
    uint32_t layout;
    shared_turn turn;     /* what a change of keys comes down to: it is there whole or not */
    pthread_mutex_t lock; /* robust: it is free again when its holder has died */
    struct key keys[3];
};

_Static_assert(sizeof(struct ring) <= TICKETS_BYTES, "a ring fits where it is to live");

static struct ring own;
static pthread_once_t own_is_made = PTHREAD_ONCE_INIT;
static struct ring *lives_in; /* NULL: in its own */

static void make(struct ring *ring, int sharing) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, sharing);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&ring->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    atomic_init(&ring->turn, 0);
    ring->layout = LAYOUT;
}

static void make_own(void) { make(&own, PTHREAD_PROCESS_PRIVATE); }

static struct ring *ring_of_process(void) {
    pthread_once(&own_is_made, make_own);
    return lives_in != NULL ? lives_in : &own;
}

/* A ticket is not worth a long wait. By the wall clock, since ThreadSanitizer does not know the
   call that takes another. */
static int lock_soon(struct ring *ring) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_mutex_timedlock(&ring->lock, &until);
}

static bool lock(struct ring *ring) {
    int fault = pthread_mutex_trylock(&ring->lock);
    if (fault == EBUSY)
        fault = lock_soon(ring);
    if (fault != EOWNERDEAD)
        return fault == 0;
    /* What it was making is in the third place, where nobody looks. */
    pthread_mutex_consistent(&ring->lock);
    return true;
}

static void unlock(struct ring *ring) { pthread_mutex_unlock(&ring->lock); }

static int64_t seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

static struct key *key_at(struct ring *ring, uint16_t number) {
    return number == 0 ? NULL : &ring->keys[number - 1];
}

static uint16_t free_place(struct turn turn) {
    uint16_t number = 1;
    while (number == turn.current || number == turn.previous)
        number++;
    return number;
}

/* A machine without random numbers can't serve TLS at all. */
static void make_key(struct key *key, int64_t now) {
    if (RAND_bytes(key->name, sizeof(key->name)) != 1 ||
        RAND_priv_bytes(key->cipher, sizeof(key->cipher)) != 1 ||
        RAND_priv_bytes(key->mac, sizeof(key->mac)) != 1)
        abort();
    key->made_at = now;
}

/* Under the lock. */
static void rotate(struct ring *ring, int64_t now) {
    struct turn turn = turn_get(&ring->turn);
    struct turn next = {free_place(turn), turn.current};
    struct key *key = key_at(ring, next.current);
    make_key(key, now);
    turn_set(&ring->turn, next);
    if (turn.previous != 0)
        OPENSSL_cleanse(key_at(ring, turn.previous), sizeof(*key));
}

void tickets_prepare(void *memory, size_t size) {
    assert(size >= TICKETS_BYTES);
    make(memory, PTHREAD_PROCESS_SHARED);
}

bool tickets_live_in(void *memory, size_t size) {
    struct ring *ring = memory;
    if (size < TICKETS_BYTES || ring->layout != LAYOUT)
        return false;
    madvise(memory, size, MADV_DONTDUMP);
    pthread_once(&own_is_made, make_own);
    OPENSSL_cleanse(own.keys, sizeof(own.keys));
    turn_set(&own.turn, (struct turn){0});
    lives_in = ring;
    return true;
}

void tickets_rotate(void) {
    struct ring *ring = ring_of_process();
    if (!lock(ring))
        return;
    rotate(ring, seconds_now());
    unlock(ring);
}

/* Under the lock. */
static struct key *key_to_seal(struct ring *ring) {
    int64_t now = seconds_now();
    const struct key *current = key_at(ring, turn_get(&ring->turn).current);
    if (current == NULL || now - current->made_at >= TICKETS_SECONDS)
        rotate(ring, now);
    return key_at(ring, turn_get(&ring->turn).current);
}

static bool opens(const struct key *key, const unsigned char *name, int64_t now) {
    return key != NULL && now - key->made_at < 2 * TICKETS_SECONDS &&
           CRYPTO_memcmp(key->name, name, KEY_NAME_SIZE) == 0;
}

/* NULL for a key that is not (or no longer) there. Under the lock. */
static struct key *key_to_open(struct ring *ring, const unsigned char *name) {
    int64_t now = seconds_now();
    struct turn turn = turn_get(&ring->turn);
    struct key *current = key_at(ring, turn.current), *previous = key_at(ring, turn.previous);
    if (opens(current, name, now))
        return current;
    return opens(previous, name, now) ? previous : NULL;
}

/* --- OpenSSL's --- */

struct ticket {
    unsigned char *name, *iv;
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac;
    int seal;
};

static bool prepare_mac(EVP_MAC_CTX *mac, struct key *key) {
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

static bool prepare(const struct ticket *ticket, struct key *key) {
    if (ticket->seal) {
        memcpy(ticket->name, key->name, KEY_NAME_SIZE);
        if (RAND_bytes(ticket->iv, IV_SIZE) != 1)
            return false;
    }
    return EVP_CipherInit_ex(ticket->cipher, EVP_aes_256_cbc(), NULL, key->cipher, ticket->iv,
                             ticket->seal) == 1 &&
           prepare_mac(ticket->mac, key);
}

/* With a key that nobody keeps, so that nobody opens the ticket: OpenSSL 3.0 knows no way not to
   send one in TLS 1.3 (it sends a broken message instead). */
static int seal_for_nobody(const struct ticket *ticket) {
    struct key key;
    make_key(&key, 0);
    bool prepared = prepare(ticket, &key);
    OPENSSL_cleanse(&key, sizeof(key));
    return prepared ? 1 : -1;
}

/* Straight from the ring, so that no copy of a key is made. */
static int use_ring(struct ring *ring, const struct ticket *ticket) {
    struct key *key = ticket->seal ? key_to_seal(ring) : key_to_open(ring, ticket->name);
    if (key == NULL)
        return 0; /* the handshake is a full one */
    if (!prepare(ticket, key))
        return -1;
    return ticket->seal || seconds_now() - key->made_at < TICKETS_SECONDS ? 1 : 2;
}

int tickets_use(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac, int seal) {
    struct ring *ring = ring_of_process();
    const struct ticket ticket = {name, iv, cipher, mac, seal};
    (void)ssl;
    if (!lock(ring))
        return seal ? seal_for_nobody(&ticket) : 0;
    int result = use_ring(ring, &ticket);
    unlock(ring);
    return result;
}
