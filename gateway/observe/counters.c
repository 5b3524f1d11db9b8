#include "observe/counters.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 256

static struct counters others;
_Thread_local struct counters *counters_own __attribute__((tls_model("initial-exec"))) = &others;

/* Made when their loop is first entered, never freed: whoever asks may be reading. */
static struct counters *_Atomic blocks[THREADS_MAX];
static atomic_uint blocks_end; /* behind the last that there is */
static counted started;

static struct {
    pthread_mutex_t lock;
    atomic_uint count; /* the first included */
    char *names[COUNTERS_ROUTES], *consumers[COUNTERS_ROUTES];
} routes = {.lock = PTHREAD_MUTEX_INITIALIZER, .count = 1};

static const char *_Atomic transport = "";

/* --- counting --- */

static struct counters *create_block(void) {
    struct counters *block = aligned_alloc(_Alignof(struct counters), sizeof(*block));
    if (block == NULL)
        abort();
    memset(block, 0, sizeof(*block));
    return block;
}

void counters_enter(unsigned index) {
    uint64_t never = 0;
    assert(index < THREADS_MAX);
    struct counters *block = atomic_load(&blocks[index]);
    if (block == NULL) {
        block = create_block();
        atomic_store(&blocks[index], block);
        unsigned end = atomic_load(&blocks_end);
        while (end <= index && !atomic_compare_exchange_weak(&blocks_end, &end, index + 1))
            ;
    }
    atomic_compare_exchange_strong(&started, &never, (uint64_t)time(NULL));
    counters_own = block;
}

static void count_status(counted *statuses, int status) {
    int place = status - COUNTERS_STATUS_LEAST;
    if (place >= 0 && place < COUNTERS_STATUSES)
        counters_raise(&statuses[place], 1);
}

void counters_response(int status) { count_status(counters_own->responses, status); }

void counters_handshake(int status) { count_status(counters_own->handshakes, status); }

void counters_close(int code) {
    int place = code - COUNTERS_CLOSE_LEAST;
    if (place < 0 || place > 15)
        place = code >= 3000 && code <= 3999 ? 16 : code >= 4000 && code <= 4999 ? 17 : 18;
    counters_raise(&counters_own->closes[place], 1);
}

/* --- routes --- */

static char *copy_of(const char *text) {
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    return copy;
}

static unsigned find_route(const char *route, const char *consumer, unsigned count) {
    for (unsigned place = 1; place < count; place++)
        if (strcmp(routes.names[place], route) == 0 &&
            strcmp(routes.consumers[place], consumer) == 0)
            return place;
    return 0;
}

unsigned counters_route(const char *route, const char *consumer) {
    pthread_mutex_lock(&routes.lock);
    unsigned count = atomic_load(&routes.count);
    unsigned place = find_route(route, consumer, count);
    if (place == 0 && count < COUNTERS_ROUTES) {
        place = count;
        routes.names[place] = copy_of(route);
        routes.consumers[place] = copy_of(consumer);
        atomic_store(&routes.count, count + 1);
    }
    pthread_mutex_unlock(&routes.lock);
    return place;
}

unsigned counters_route_count(void) { return atomic_load(&routes.count); }

const char *counters_route_name(unsigned place) { return routes.names[place]; }

const char *counters_route_consumer(unsigned place) { return routes.consumers[place]; }

/* --- asking --- */

static uint64_t read_at(const struct counters *block, size_t offset) {
    return atomic_load_explicit((const counted *)((const char *)block + offset),
                                memory_order_relaxed);
}

uint64_t counters_sum(size_t offset) {
    uint64_t sum = read_at(&others, offset);
    unsigned end = atomic_load(&blocks_end);
    for (unsigned index = 0; index < end; index++) {
        const struct counters *block = atomic_load(&blocks[index]);
        if (block != NULL)
            sum += read_at(block, offset);
    }
    return sum;
}

unsigned counters_threads(void) {
    unsigned count = 0;
    for (unsigned index = 0; index < atomic_load(&blocks_end); index++)
        count += atomic_load(&blocks[index]) != NULL;
    return count;
}

uint64_t counters_started(void) { return atomic_load(&started); }

/* --- the process --- */

void counters_set_transport(const char *word) { atomic_store(&transport, word); }

const char *counters_get_transport(void) { return atomic_load(&transport); }
