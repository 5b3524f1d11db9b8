/*
 * What happened, counted: a block for each loop thread, which alone writes it, with plain stores;
 * whoever asks adds the blocks up. So to count costs an addition in the thread's own memory, and no
 * lock. Everything may include it.
 */
#ifndef SLUICE_OBSERVE_COUNTERS_H
#define SLUICE_OBSERVE_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Each is told to the world by a row in figures.c. */
enum counter {
    COUNTER_NONE, /* stays 0 */

    COUNTER_CONNECTIONS_OPENED,
    COUNTER_CONNECTIONS_ENDED,
    COUNTER_CONNECTIONS_STALLED, /* reset: the client took no byte for too long */
    COUNTER_WEBSOCKETS_OPENED,
    COUNTER_WEBSOCKETS_ENDED,

    /* refused, by cause */
    COUNTER_REFUSED_CONNECTIONS, /* over max-connections */
    COUNTER_REFUSED_HEAD,
    COUNTER_REFUSED_METHOD,
    COUNTER_REFUSED_PATH,
    COUNTER_REFUSED_DOT_FILE,
    COUNTER_REFUSED_MATCH, /* a pattern gave up */
    COUNTER_REFUSED_ORIGIN,
    COUNTER_REFUSED_HANDSHAKE, /* wrong in itself */
    COUNTER_REFUSED_PLAIN,     /* no handshake where one is wanted */
    COUNTER_REFUSED_TOKEN,     /* of who would publish: missing or wrong */
    COUNTER_REFUSED_FULL,      /* the thread takes no more, or drains */

    COUNTER_MESSAGES_IN,
    COUNTER_MESSAGES_SENT,      /* to one client, by its consumer */
    COUNTER_MESSAGES_DELIVERED, /* to a client, by a group */
    COUNTER_BYTES_IN,
    COUNTER_BYTES_OUT,

    /* messages that did not fit a queue */
    COUNTER_DROPPED_CLOSED, /* the session was closed for it */
    COUNTER_DROPPED_OLDEST,
    COUNTER_DROPPED_NEWEST,

    COUNTER_GROUP_MESSAGES, /* ordered at their home */
    COUNTER_GROUP_EVENTS,   /* deliveries to event hooks */
    COUNTER_GROUP_MISSED,   /* deliveries that no queue took */

    /* figures of now, set once a second */
    COUNTER_QUEUED_BYTES,
    COUNTER_GROUPS,
    COUNTER_MEMBERSHIPS,
    COUNTER_TIMERS,
    COUNTER_OFFLOAD_WAITING,

    COUNTERS
};

/* HTTP statuses that are counted: 100 to 599. */
#define COUNTERS_STATUS_LEAST 100
#define COUNTERS_STATUSES 500
/* Close codes that are counted one by one: 1000 to 1015; then those of libraries, of applications,
   and all others. */
#define COUNTERS_CLOSE_LEAST 1000
#define COUNTERS_CLOSES 19
/* Routes that are counted apart; all others share the first place. */
#define COUNTERS_ROUTES 256

typedef _Atomic uint64_t counted;

/* What a route's consumer did. */
struct counters_route {
    counted hook_calls, hook_ns, hooks_over_budget;
    counted opened, ended; /* WebSockets */
};

/* A thread's block, in cache lines of its own. */
struct counters {
    _Alignas(64) counted values[COUNTERS];
    counted responses[COUNTERS_STATUSES], handshakes[COUNTERS_STATUSES];
    counted closes[COUNTERS_CLOSES];
    struct counters_route routes[COUNTERS_ROUTES];
};

/* The block of this thread; one that others share where no loop has been entered, in which counts
   may be lost. */
extern _Thread_local struct counters *counters_own __attribute__((tls_model("initial-exec")));

/* This thread counts in the block of the loop with this number, 0 to 255. */
void counters_enter(unsigned index);

/* Adds to a figure that only this thread writes. */
static inline void counters_raise(counted *figure, uint64_t by) {
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static inline void counters_add(enum counter which, uint64_t by) {
    counters_raise(&counters_own->values[which], by);
}

static inline void counters_set(enum counter which, uint64_t value) {
    atomic_store_explicit(&counters_own->values[which], value, memory_order_relaxed);
}

/* An answer to a request, and to a WebSocket handshake, which is a request too. Statuses out of
   range are not counted. */
void counters_response(int status);
void counters_handshake(int status);
/* A WebSocket's end, code as RFC 6455 section 7.1.5. */
void counters_close(int code);

/* The place of a route with its consumer, the same for the same texts, for good; 0 when there are
   too many. Texts are copied. [any thread] */
unsigned counters_route(const char *route, const char *consumer);
static inline struct counters_route *counters_of_route(unsigned place) {
    return &counters_own->routes[place];
}

/* --- for who asks [any thread] --- */

/* The sum over all threads, of one figure by its place in a block: what another thread counts
   meanwhile may be in it or not. */
uint64_t counters_sum(size_t offset);
#define COUNTERS_SUM(figure) counters_sum(offsetof(struct counters, figure))
#define COUNTERS_SUM_OF(array, index)                                                              \
    counters_sum(offsetof(struct counters, array) +                                                \
                 (index) * sizeof(((struct counters *)0)->array[0]))

/* How many threads count. */
unsigned counters_threads(void);
/* Places of routes that are taken, the first included; and whose they are: NULL for the first. */
unsigned counters_route_count(void);
const char *counters_route_name(unsigned place);
const char *counters_route_consumer(unsigned place);

/* --- what the process says of itself [any thread] --- */

/* How WebSockets without TLS are read and written: a word that lives for ever. */
void counters_set_transport(const char *word);
const char *counters_get_transport(void);

/* When the first thread began to count: seconds since 1970. */
uint64_t counters_started(void);

#endif
