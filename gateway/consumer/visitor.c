#include "consumer/visitor.h"

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "loop/h2o.h"
#include "loop/loop.h"
#include "observe/limits.h"

/* Each has a lock and a share of the entries of its own. A connection has two entries at most (the
   server's and its route's): with twice as many and some more, no share overflows by chance. */
#define SHARDS 16
#define ENTRIES_A_CONNECTION 4
#define ENTRIES_BESIDE 256

#define NANOSECONDS UINT64_C(1000000000)
#define NANOSECONDS_A_MS UINT64_C(1000000)

/* So many are looked at for one whose second is over; else another without connections goes. */
#define CANDIDATES 16

struct entry {
    uint8_t key[16];
    const void *scope;
    uint64_t due;  /* nanoseconds: when its handshakes will be forgotten */
    uint32_t open; /* connections */
    uint32_t next; /* number + 1 in its chain, or among the free ones; 0: the last */
};

struct shard {
    pthread_mutex_t lock;
    uint32_t *chains; /* first entry's number + 1 */
    struct entry *entries;
    uint32_t used, first_free, hand;
};

struct visit {
    struct shard *shard;
    struct entry *entry;
    unsigned holders;
};

static struct table {
    uint64_t seeds[2];
    uint32_t entries, mask; /* a shard */
    struct shard shards[SHARDS];
} * table;

static atomic_uint_least64_t all_due; /* nanoseconds */

/* --- keys --- */

bool visitor_key(const struct sockaddr *peer, uint8_t key[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(key, 0, 16);
    if (peer->sa_family == AF_INET) {
        memcpy(key, mapped, sizeof(mapped));
        memcpy(key + sizeof(mapped), &((const struct sockaddr_in *)(const void *)peer)->sin_addr,
               4);
        return true;
    }
    if (peer->sa_family != AF_INET6)
        return false;
    const struct in6_addr *address = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    memcpy(key, address, IN6_IS_ADDR_V4MAPPED(address) ? 16 : 8);
    return true;
}

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 33) * UINT64_C(0xff51afd7ed558ccd);
    value = (value ^ value >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return value ^ value >> 33;
}

/* Nobody can choose addresses that fall together: the seeds are secret. */
static uint64_t hash_of(const uint8_t key[16], const void *scope) {
    uint64_t halves[2];
    memcpy(halves, key, sizeof(halves));
    uint64_t hash = mix(halves[0] ^ table->seeds[0]);
    hash = mix(hash ^ halves[1] ^ table->seeds[1]);
    return mix(hash ^ (uintptr_t)scope);
}

/* --- entries; under the shard's lock --- */

static uint32_t *chain_of(struct shard *shard, const uint8_t key[16], const void *scope) {
    return &shard->chains[(hash_of(key, scope) / SHARDS) & table->mask];
}

static void unlink_entry(struct shard *shard, struct entry *entry) {
    uint32_t number = (uint32_t)(entry - shard->entries) + 1;
    uint32_t *at = chain_of(shard, entry->key, entry->scope);
    while (*at != number)
        at = &shard->entries[*at - 1].next;
    *at = entry->next;
}

/* One that holds no connection, if there is any. */
static struct entry *evict(struct shard *shard, uint64_t now) {
    struct entry *found = NULL;
    unsigned candidates = 0;
    for (uint32_t i = 0; i < table->entries && candidates < CANDIDATES; i++) {
        struct entry *entry = &shard->entries[shard->hand++ % table->entries];
        if (entry->open != 0)
            continue;
        candidates++;
        if (found == NULL || entry->due <= now)
            found = entry;
        if (entry->due <= now)
            break;
    }
    if (found != NULL)
        unlink_entry(shard, found);
    return found;
}

static struct entry *take_entry(struct shard *shard, uint64_t now) {
    if (shard->first_free != 0) {
        struct entry *entry = &shard->entries[shard->first_free - 1];
        shard->first_free = entry->next;
        return entry;
    }
    return shard->used < table->entries ? &shard->entries[shard->used++] : evict(shard, now);
}

/* NULL: the table is full. */
static struct entry *find(struct shard *shard, const uint8_t key[16], const void *scope,
                          uint64_t now) {
    uint32_t *chain = chain_of(shard, key, scope);
    for (uint32_t at = *chain; at != 0; at = shard->entries[at - 1].next) {
        struct entry *entry = &shard->entries[at - 1];
        if (entry->scope == scope && memcmp(entry->key, key, 16) == 0)
            return entry;
    }
    struct entry *entry = take_entry(shard, now);
    if (entry == NULL) {
        limits_hit(LIMIT_ADDRESSES_FULL);
        return NULL;
    }
    *entry = (struct entry){.scope = scope, .next = *chain};
    memcpy(entry->key, key, 16);
    *chain = (uint32_t)(entry - shard->entries) + 1;
    return entry;
}

static void forget_if_done(struct shard *shard, struct entry *entry, uint64_t now) {
    if (entry->open != 0 || entry->due > now)
        return;
    unlink_entry(shard, entry);
    entry->next = shard->first_free;
    shard->first_free = (uint32_t)(entry - shard->entries) + 1;
}

static struct shard *lock_shard(const uint8_t key[16], const void *scope) {
    struct shard *shard = &table->shards[hash_of(key, scope) % SHARDS];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

/* --- connections --- */

static uint64_t now_of_loop(void) { return loop_now(loop_current()) * NANOSECONDS_A_MS; }

bool visit_begin(struct visit **visit, const struct sockaddr *peer, const void *scope,
                 uint32_t most) {
    uint8_t key[16];
    *visit = NULL;
    if (table == NULL || !visitor_key(peer, key))
        return true;
    uint64_t now = now_of_loop();
    struct shard *shard = lock_shard(key, scope);
    struct entry *entry = find(shard, key, scope, now);
    bool is_welcome = entry == NULL || entry->open < most;
    if (is_welcome && entry != NULL) {
        entry->open++;
        *visit = h2o_mem_alloc(sizeof(**visit));
        **visit = (struct visit){shard, entry, 1};
    } else if (entry != NULL) {
        forget_if_done(shard, entry, now);
    }
    pthread_mutex_unlock(&shard->lock);
    return is_welcome;
}

struct visit *visit_share(struct visit *visit) {
    if (visit != NULL)
        visit->holders++;
    return visit;
}

void visit_end(struct visit *visit) {
    if (visit == NULL || --visit->holders > 0)
        return;
    struct shard *shard = visit->shard;
    pthread_mutex_lock(&shard->lock);
    visit->entry->open--;
    forget_if_done(shard, visit->entry, now_of_loop());
    pthread_mutex_unlock(&shard->lock);
    free(visit);
}

/* --- handshakes --- */

/* Whether one more at this moment is within the rate; *after is due then. As pace.h, with a burst
   of a second. */
static bool is_due(uint64_t due, uint64_t now, uint32_t a_second, uint64_t *after) {
    *after = (due > now ? due : now) + NANOSECONDS / a_second;
    return *after <= now + NANOSECONDS;
}

static bool arrive_from(const struct sockaddr *peer, uint32_t a_second, uint64_t now) {
    uint8_t key[16];
    uint64_t after;
    if (a_second == 0 || table == NULL || !visitor_key(peer, key))
        return true;
    struct shard *shard = lock_shard(key, NULL);
    struct entry *entry = find(shard, key, NULL, now);
    bool is_welcome = entry == NULL || is_due(entry->due, now, a_second, &after);
    if (is_welcome && entry != NULL)
        entry->due = after;
    pthread_mutex_unlock(&shard->lock);
    return is_welcome;
}

static bool arrive_at_all(uint32_t a_second, uint64_t now) {
    if (a_second == 0)
        return true;
    uint64_t due = atomic_load_explicit(&all_due, memory_order_relaxed), after;
    do
        if (!is_due(due, now, a_second, &after))
            return false;
    while (!atomic_compare_exchange_weak_explicit(&all_due, &due, after, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

/* The address first: one that comes too often takes nothing of what all have. */
enum arrival visitors_arrive(const struct sockaddr *peer, const struct arrival_rates *rates,
                             uint64_t now) {
    now *= NANOSECONDS_A_MS;
    if (!arrive_from(peer, rates->an_address, now))
        return ARRIVAL_TOO_OFTEN;
    return arrive_at_all(rates->all, now) ? ARRIVAL_WELCOME : ARRIVAL_TOO_MANY;
}

/* --- the table --- */

static void *cleared(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL)
        abort();
    return memory;
}

void visitors_create(size_t connections) {
    if (table != NULL)
        return;
    table = cleared(1, sizeof(*table));
    if (getrandom(table->seeds, sizeof(table->seeds), 0) != sizeof(table->seeds))
        abort();
    table->entries = (uint32_t)(connections * ENTRIES_A_CONNECTION / SHARDS) + ENTRIES_BESIDE;
    uint32_t chains = 1;
    while (chains < table->entries)
        chains *= 2;
    table->mask = chains - 1;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &table->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->chains = cleared(chains, sizeof(*shard->chains));
        shard->entries = cleared(table->entries, sizeof(*shard->entries));
    }
}

void visitors_free(void) {
    for (unsigned i = 0; table != NULL && i < SHARDS; i++) {
        struct shard *shard = &table->shards[i];
        for (uint32_t at = 0; at < shard->used; at++)
            assert(shard->entries[at].open == 0);
        pthread_mutex_destroy(&shard->lock);
        free(shard->chains);
        free(shard->entries);
    }
    free(table);
    table = NULL;
    atomic_store(&all_due, 0);
}
