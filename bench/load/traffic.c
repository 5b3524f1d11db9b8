/*
 * Messages in rooms. An echo is the same with each connection alone in a room of its own, where it
 * hears what it says. A publisher keeps --depth messages under way: it sends the next one when it
 * hears one of its own. With --rate, messages leave at their times whether answered or not, and
 * their latency counts from the time when they were due, not from when they could leave.
 */
#include "clock.h"
#include "ledger.h"
#include "payload.h"
#include "report.h"
#include "swarm.h"
#include "usage.h"
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS ((uint64_t)1000000000)
#define TICK_NS (SECOND_NS / 20)
/* A publisher that hears nothing of its own for this long gives its messages up and goes on. */
#define STALL_NS SECOND_NS

struct publisher {
    uint32_t connection;
    uint32_t sent; /* and the next message's number */
    long under_way;
    uint64_t heard_ns;
};

struct traffic {
    const struct options *options;
    struct swarm *swarm;
    uint32_t members, publishers_a_room, publisher_count;
    struct publisher *publishers; /* room by room */
    uint32_t *publisher_of;       /* of each connection; publisher_count: it only listens */
    struct ledger *ledgers;       /* of each connection, for each publisher of its room */
    uint8_t *payload;
    bool running, measuring;
    uint64_t received, measured, foreign, stalls;
    uint64_t next_due_ns; /* --rate */
    uint32_t next_publisher;
    struct ledger_counts faults;
    struct histogram latency;
};

static void publish(struct traffic *traffic, struct publisher *publisher, uint64_t time_ns) {
    const struct stamp stamp = {.publisher = (uint32_t)(publisher - traffic->publishers),
                                .number = publisher->sent++,
                                .due_ns = time_ns};
    payload_stamp(traffic->payload, &stamp);
    connection_send(swarm_connection(traffic->swarm, publisher->connection),
                    traffic->options->binary ? OPCODE_BINARY : OPCODE_TEXT, traffic->payload,
                    (size_t)traffic->options->size);
    publisher->under_way++;
}

static bool is_foreign(const struct traffic *traffic, const struct connection *connection,
                       const struct stamp *stamp) {
    uint32_t room = connection->index / traffic->members;
    return stamp->publisher >= traffic->publisher_count ||
           stamp->publisher / traffic->publishers_a_room != room ||
           stamp->number >= traffic->publishers[stamp->publisher].sent;
}

static void on_message(struct connection *connection, const uint8_t *bytes, size_t size,
                       void *arg) {
    struct traffic *traffic = arg;
    struct stamp stamp;
    if (!payload_read(traffic->payload, (size_t)traffic->options->size, bytes, size, &stamp) ||
        is_foreign(traffic, connection, &stamp)) {
        traffic->foreign++;
        return;
    }
    size_t pair = (size_t)connection->index * traffic->publishers_a_room +
                  stamp.publisher % traffic->publishers_a_room;
    ledger_receive(&traffic->ledgers[pair], stamp.number, &traffic->faults);
    uint64_t now = swarm_now(traffic->swarm);
    traffic->received++;
    if (traffic->measuring) {
        traffic->measured++;
        histogram_add(&traffic->latency, now > stamp.due_ns ? now - stamp.due_ns : 0);
    }
    if (stamp.publisher != traffic->publisher_of[connection->index])
        return;
    struct publisher *publisher = &traffic->publishers[stamp.publisher];
    publisher->heard_ns = now;
    if (publisher->under_way > 0) /* a repeated one was not under way any more */
        publisher->under_way--;
    if (traffic->running && traffic->options->rate == 0 &&
        publisher->under_way < traffic->options->depth)
        publish(traffic, publisher, now);
}

static void fill_pipeline(struct traffic *traffic, struct publisher *publisher, uint64_t now) {
    struct connection *connection = swarm_connection(traffic->swarm, publisher->connection);
    if (connection->state != CONNECTION_OPEN)
        return;
    publisher->heard_ns = now;
    publisher->under_way = 0;
    for (long i = 0; i < traffic->options->depth; i++)
        publish(traffic, publisher, now);
    swarm_flush(traffic->swarm, connection);
}

static void wake_stalled(struct traffic *traffic, uint64_t now) {
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        struct publisher *publisher = &traffic->publishers[i];
        if (now - publisher->heard_ns < STALL_NS || now < publisher->heard_ns)
            continue;
        traffic->stalls++;
        fill_pipeline(traffic, publisher, now);
    }
}

/* Sends what is due by now; returns when the next message is. */
static uint64_t publish_due(struct traffic *traffic, uint64_t now) {
    uint64_t every_ns = SECOND_NS / (uint64_t)traffic->options->rate;
    while (traffic->next_due_ns <= now) {
        struct publisher *publisher = &traffic->publishers[traffic->next_publisher];
        struct connection *connection = swarm_connection(traffic->swarm, publisher->connection);
        traffic->next_publisher = (traffic->next_publisher + 1) % traffic->publisher_count;
        if (connection->state == CONNECTION_OPEN) {
            publish(traffic, publisher, traffic->next_due_ns);
            swarm_flush(traffic->swarm, connection);
        }
        traffic->next_due_ns += every_ns;
    }
    return traffic->next_due_ns;
}

static void run_for(struct traffic *traffic, long ms) {
    uint64_t now = clock_now_ns();
    uint64_t until = now + (uint64_t)ms * 1000000u;
    uint64_t tick = now + TICK_NS;
    while ((now = clock_now_ns()) < until) {
        uint64_t next = tick;
        if (traffic->options->rate != 0) {
            uint64_t due = publish_due(traffic, now);
            next = due < next ? due : next;
        } else if (now >= tick) {
            wake_stalled(traffic, now);
        }
        if (now >= tick)
            tick = now + TICK_NS;
        swarm_turn(traffic->swarm, next < until ? next : until);
    }
}

static uint64_t expected(const struct traffic *traffic) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < traffic->publisher_count; i++)
        sum += (uint64_t)traffic->publishers[i].sent * traffic->members;
    return sum;
}

/* Waits until all that was sent is heard, or nothing comes any more. */
static void drain(struct traffic *traffic) {
    uint64_t all = expected(traffic);
    uint64_t silence_ns = (uint64_t)traffic->options->drain_ms * 1000000u;
    uint64_t until = clock_now_ns() + silence_ns;
    while (traffic->received < all && clock_now_ns() < until) {
        uint64_t before = traffic->received;
        swarm_turn(traffic->swarm, until);
        if (traffic->received != before)
            until = clock_now_ns() + silence_ns;
    }
}

static void finish_ledgers(struct traffic *traffic) {
    uint32_t a_room = traffic->publishers_a_room;
    size_t connections = (size_t)options_connections(traffic->options);
    for (size_t i = 0; i < connections; i++) {
        const struct publisher *publishers = traffic->publishers + i / traffic->members * a_room;
        for (uint32_t k = 0; k < a_room; k++)
            ledger_finish(&traffic->ledgers[i * a_room + k], publishers[k].sent, &traffic->faults);
    }
}

/* Publishers stand evenly among the members of a room, who join in the order of their numbers. */
static void choose_publishers(struct traffic *traffic) {
    uint32_t connections = (uint32_t)options_connections(traffic->options);
    for (uint32_t i = 0; i < connections; i++)
        traffic->publisher_of[i] = traffic->publisher_count;
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        uint32_t room = i / traffic->publishers_a_room;
        uint32_t place = (uint32_t)((uint64_t)(i % traffic->publishers_a_room) * traffic->members /
                                    traffic->publishers_a_room);
        traffic->publishers[i].connection = room * traffic->members + place;
        traffic->publisher_of[traffic->publishers[i].connection] = i;
    }
}

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL)
        abort();
    return memory;
}

static struct traffic *new_traffic(const struct options *options) {
    size_t connections = (size_t)options_connections(options);
    bool echo = options->mode == MODE_ECHO;
    struct traffic *traffic = zeroed(1, sizeof(*traffic));
    traffic->options = options;
    traffic->members = echo ? 1 : (uint32_t)options->members;
    traffic->publishers_a_room = echo ? 1 : (uint32_t)options->publishers;
    traffic->publisher_count =
        (uint32_t)(connections / traffic->members) * traffic->publishers_a_room;
    traffic->publishers = zeroed(traffic->publisher_count, sizeof(*traffic->publishers));
    traffic->publisher_of = zeroed(connections, sizeof(*traffic->publisher_of));
    traffic->ledgers = zeroed(connections * traffic->publishers_a_room, sizeof(*traffic->ledgers));
    traffic->payload = payload_new((size_t)options->size, options->unicode);
    choose_publishers(traffic);
    return traffic;
}

static void free_traffic(struct traffic *traffic) {
    swarm_free(traffic->swarm);
    free(traffic->publishers);
    free(traffic->publisher_of);
    free(traffic->ledgers);
    free(traffic->payload);
    free(traffic);
}

static void start_publishers(struct traffic *traffic) {
    uint64_t now = clock_now_ns();
    traffic->running = true;
    traffic->next_due_ns = now;
    for (uint32_t i = 0; i < traffic->publisher_count && traffic->options->rate == 0; i++)
        fill_pipeline(traffic, &traffic->publishers[i], now);
}

static bool report_traffic(const struct traffic *traffic, const struct cpu_usage *before,
                           const struct cpu_usage *after) {
    const struct swarm_counts *counts = swarm_counts(traffic->swarm);
    uint64_t sent = 0;
    for (uint32_t i = 0; i < traffic->publisher_count; i++)
        sent += traffic->publishers[i].sent;
    report_begin(traffic->options);
    report_count("sent", sent);
    report_count("received", traffic->received);
    report_count("lost", traffic->faults.lost);
    report_count("repeated", traffic->faults.repeated);
    report_count("out_of_order", traffic->faults.out_of_order);
    report_count("foreign", traffic->foreign);
    report_count("stalls", traffic->stalls);
    report_count("measured", traffic->measured);
    report_number("per_second", (double)traffic->measured / (after->at_s - before->at_s));
    report_latency(&traffic->latency);
    report_cpu(traffic->options, before, after, traffic->measured);
    report_connections(counts);
    report_end();
    return traffic->measured != 0 && counts->closed_by_server == 0 && traffic->foreign == 0 &&
           traffic->faults.lost + traffic->faults.repeated + traffic->faults.out_of_order == 0;
}

bool workload_traffic(const struct options *options) {
    static const struct swarm_events events = {.message = on_message};
    struct cpu_usage before, after;
    struct traffic *traffic = new_traffic(options);
    traffic->swarm = swarm_new(options, &events, traffic);
    bool good = traffic->swarm != NULL &&
                swarm_open(traffic->swarm, (uint32_t)options_connections(options));
    if (good) {
        start_publishers(traffic);
        run_for(traffic, options->warmup_ms);
        good = cpu_usage_read(options->pid, options->core, &before);
        traffic->measuring = true;
        run_for(traffic, options->measure_ms);
        traffic->measuring = false;
        good = good && cpu_usage_read(options->pid, options->core, &after);
        traffic->running = false;
        drain(traffic);
        finish_ledgers(traffic);
        good = good && report_traffic(traffic, &before, &after);
    }
    free_traffic(traffic);
    return good;
}
