#include "observe/figures.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "observe/counters.h"
#include "observe/limits.h"
#include "observe/page.h"
#include "observe/text.h"

#define PREFIX "sluice_"
#define NANOSECONDS 1000000000u

/* A metric of whole numbers; rows that share a name stand together and differ in their label. The
   value is the difference, where there are two. */
struct row {
    const char *name, *help; /* help: of the first row with this name */
    const char *label, *value;
    enum counter plus, minus;
    bool is_gauge;
};

#define GAUGE(name, help, plus, minus)                                                             \
    { name, help, NULL, NULL, plus, minus, true }
#define COUNT(name, help, plus)                                                                    \
    { name, help, NULL, NULL, plus, COUNTER_NONE, false }
#define BY(name, help, label, value, plus)                                                         \
    { name, help, label, value, plus, COUNTER_NONE, false }

static const struct row rows[] = {
    GAUGE("connections", "Connections that are open, WebSockets included.",
          COUNTER_CONNECTIONS_OPENED, COUNTER_CONNECTIONS_ENDED),
    COUNT("connections_accepted_total", "Connections that were accepted.",
          COUNTER_CONNECTIONS_OPENED),
    COUNT("connections_stalled_total",
          "Connections that were reset because the client took no byte for too long.",
          COUNTER_CONNECTIONS_STALLED),
    GAUGE("websockets", "WebSockets that are open.", COUNTER_WEBSOCKETS_OPENED,
          COUNTER_WEBSOCKETS_ENDED),
    BY("refused_total", "Connections and requests that were refused, by cause.", "cause",
       "max-connections", COUNTER_REFUSED_CONNECTIONS),
    BY("refused_total", NULL, "cause", "head", COUNTER_REFUSED_HEAD),
    BY("refused_total", NULL, "cause", "method", COUNTER_REFUSED_METHOD),
    BY("refused_total", NULL, "cause", "path", COUNTER_REFUSED_PATH),
    BY("refused_total", NULL, "cause", "dot-file", COUNTER_REFUSED_DOT_FILE),
    BY("refused_total", NULL, "cause", "match-limit", COUNTER_REFUSED_MATCH),
    BY("refused_total", NULL, "cause", "origin", COUNTER_REFUSED_ORIGIN),
    BY("refused_total", NULL, "cause", "handshake", COUNTER_REFUSED_HANDSHAKE),
    BY("refused_total", NULL, "cause", "no-handshake", COUNTER_REFUSED_PLAIN),
    BY("refused_total", NULL, "cause", "token", COUNTER_REFUSED_TOKEN),
    BY("refused_total", NULL, "cause", "thread-full", COUNTER_REFUSED_FULL),
    COUNT("messages_received_total", "Whole messages from clients.", COUNTER_MESSAGES_IN),
    BY("messages_sent_total", "Messages queued for clients, by who sent them.", "by", "consumer",
       COUNTER_MESSAGES_SENT),
    BY("messages_sent_total", NULL, "by", "group", COUNTER_MESSAGES_DELIVERED),
    COUNT("received_bytes_total", "Bytes of frames from clients, without TLS.", COUNTER_BYTES_IN),
    COUNT("sent_bytes_total", "Bytes of frames written to clients, without TLS.",
          COUNTER_BYTES_OUT),
    BY("messages_dropped_total", "Messages that did not fit a client's queue, by what became.",
       "reason", "closed", COUNTER_DROPPED_CLOSED),
    BY("messages_dropped_total", NULL, "reason", "drop-oldest", COUNTER_DROPPED_OLDEST),
    BY("messages_dropped_total", NULL, "reason", "drop-newest", COUNTER_DROPPED_NEWEST),
    GAUGE("queued_bytes", "Bytes that wait to be sent to WebSockets.", COUNTER_QUEUED_BYTES,
          COUNTER_NONE),
    GAUGE("groups", "Groups that have members.", COUNTER_GROUPS, COUNTER_NONE),
    GAUGE("group_memberships", "Memberships in groups.", COUNTER_MEMBERSHIPS, COUNTER_NONE),
    COUNT("group_messages_total", "Messages that groups ordered.", COUNTER_GROUP_MESSAGES),
    COUNT("group_events_total", "Deliveries of groups to event hooks.", COUNTER_GROUP_EVENTS),
    COUNT("group_missed_total", "Deliveries of groups that no queue took.", COUNTER_GROUP_MISSED),
    GAUGE("timers", "Timers that are set.", COUNTER_TIMERS, COUNTER_NONE),
    GAUGE("offload_waiting", "Jobs of consumers that wait for a pool thread.",
          COUNTER_OFFLOAD_WAITING, COUNTER_NONE),
};

/* What a route's consumer did; value: in nanoseconds where the name says seconds. */
static const struct route_row {
    const char *name, *help;
    size_t plus, minus; /* places in struct counters_route; alike: no minus */
    bool is_gauge, is_time;
} route_rows[] = {
    {"route_websockets", "WebSockets that are open, by route.",
     offsetof(struct counters_route, opened), offsetof(struct counters_route, ended), true, false},
    {"hook_calls_total", "Calls of a consumer's hooks and callbacks.",
     offsetof(struct counters_route, hook_calls), 0, false, false},
    {"hook_seconds_total", "Time in a consumer's hooks and callbacks, by the kernel's tick.",
     offsetof(struct counters_route, hook_ns), 0, false, true},
    {"hooks_over_budget_total", "Hooks and callbacks that held their thread over hook-budget.",
     offsetof(struct counters_route, hooks_over_budget), 0, false, false},
};

static const char *_Atomic library = "";

void figures_set_library(const char *version) { atomic_store(&library, version); }

/* --- the process --- */

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    if (file != NULL)
        fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t processor_ns(void) {
    struct timespec used = {0, 0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * NANOSECONDS + (uint64_t)used.tv_nsec;
}

/* --- values --- */

static uint64_t value_of(const struct row *row) {
    /* What ended is read first: what is counted between is open, never less than nothing. */
    uint64_t minus = COUNTERS_SUM_OF(values, row->minus), plus = COUNTERS_SUM_OF(values, row->plus);
    return plus > minus ? plus - minus : 0;
}

static uint64_t route_value(const struct route_row *row, unsigned place) {
    size_t route = offsetof(struct counters, routes) + place * sizeof(struct counters_route);
    uint64_t minus = row->minus == 0 ? 0 : counters_sum(route + row->minus);
    uint64_t plus = counters_sum(route + row->plus);
    return plus > minus ? plus - minus : 0;
}

static void add_seconds(struct text *text, uint64_t ns) {
    text_add(text, "%llu.%09llu", (unsigned long long)(ns / NANOSECONDS),
             (unsigned long long)(ns % NANOSECONDS));
}

static void add_route_value(struct text *text, const struct route_row *row, unsigned place) {
    if (row->is_time)
        add_seconds(text, route_value(row, place));
    else
        text_add(text, "%llu", (unsigned long long)route_value(row, place));
}

/* The first place stands for all that found none of their own. */
static bool is_route_shown(unsigned place) {
    return place != 0 || counters_route_count() == COUNTERS_ROUTES;
}

static const char *route_name(unsigned place) {
    return place == 0 ? "others" : counters_route_name(place);
}

static const char *route_consumer(unsigned place) {
    return place == 0 ? "others" : counters_route_consumer(place);
}

static const char *close_name(unsigned place, char buffer[16]) {
    static const char *const others[] = {"3000-3999", "4000-4999", "other"};
    if (place > 15)
        return others[place - 16];
    snprintf(buffer, 16, "%u", place + COUNTERS_CLOSE_LEAST);
    return buffer;
}

/* --- Prometheus --- */

static void add_head(struct text *text, const char *name, const char *help, bool is_gauge) {
    text_add(text, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name,
             is_gauge ? "gauge" : "counter");
}

static void add_series(struct text *text, const char *name, const char *label, const char *value,
                       uint64_t number) {
    text_add(text, PREFIX "%s", name);
    if (label != NULL) {
        text_add(text, "{%s=", label);
        text_add_label(text, value);
        text_add(text, "}");
    }
    text_add(text, " %llu\n", (unsigned long long)number);
}

/* Statuses that came; the one that always may stand there is 0 until then. */
static void add_statuses(struct text *text, const char *name, size_t offset, int always) {
    for (int place = 0; place < COUNTERS_STATUSES; place++) {
        uint64_t count = counters_sum(offset + (size_t)place * sizeof(counted));
        char code[16];
        if (count == 0 && place + COUNTERS_STATUS_LEAST != always)
            continue;
        snprintf(code, sizeof(code), "%d", place + COUNTERS_STATUS_LEAST);
        add_series(text, name, "code", code, count);
    }
}

static void add_closes(struct text *text) {
    add_head(text, "closes_total", "WebSockets that ended, by close code; 1006: lost.", false);
    for (unsigned place = 0; place < COUNTERS_CLOSES; place++) {
        char buffer[16];
        add_series(text, "closes_total", "code", close_name(place, buffer),
                   COUNTERS_SUM_OF(closes, place));
    }
}

static void add_limits(struct text *text) {
    add_head(text, "limit_hits_total", "Times that a limit was reached, by limit.", false);
    for (int limit = 0; limit < LIMITS_COUNTED; limit++)
        add_series(text, "limit_hits_total", "limit", limits_name((enum limit)limit),
                   limits_hits((enum limit)limit));
}

static void add_routes(struct text *text) {
    for (size_t i = 0; i < sizeof(route_rows) / sizeof(*route_rows); i++) {
        const struct route_row *row = &route_rows[i];
        add_head(text, row->name, row->help, row->is_gauge);
        for (unsigned place = 0; place < counters_route_count(); place++) {
            if (!is_route_shown(place))
                continue;
            text_add(text, PREFIX "%s{route=", row->name);
            text_add_label(text, route_name(place));
            text_add(text, ",consumer=");
            text_add_label(text, route_consumer(place));
            text_add(text, "} ");
            add_route_value(text, row, place);
            text_add(text, "\n");
        }
    }
}

/* Without a supervisor there is the one configuration. */
static uint64_t generation_of(const struct page_life *life) {
    uint64_t generation = atomic_load(&life->generation);
    return generation == 0 ? 1 : generation;
}

static void add_life(struct text *text) {
    const struct page_life *life = &page_get()->life;
    add_head(text, "reloads_total", "Reloads of the configuration, by result.", false);
    add_series(text, "reloads_total", "result", "accepted", atomic_load(&life->reloads));
    add_series(text, "reloads_total", "result", "refused", atomic_load(&life->refusals));
    add_head(text, "restarts_total", "Times that the worker was started again.", false);
    add_series(text, "restarts_total", NULL, NULL, atomic_load(&life->restarts));
    add_head(text, "generation", "The number of the configuration that serves.", true);
    add_series(text, "generation", NULL, NULL, generation_of(life));
    add_head(text, "threads", "Loop threads.", true);
    add_series(text, "threads", NULL, NULL, counters_threads());
}

static void add_infos(struct text *text) {
    add_head(text, "build_info", "What runs; always 1.", true);
    text_add(text, PREFIX "build_info{version=");
    text_add_label(text, SLUICE_VERSION);
    text_add(text, ",libh2o=");
    text_add_label(text, atomic_load(&library));
    text_add(text, "} 1\n");
    add_head(text, "transport_info",
             "How WebSockets without TLS are read and written: io_uring or calls; always 1.", true);
    add_series(text, "transport_info", "io", counters_get_transport(), 1);
}

/* Names that Prometheus' own libraries give to every program. */
static void add_process(struct text *text) {
    text_add(text,
             "# HELP process_start_time_seconds When the process began, in seconds since 1970.\n"
             "# TYPE process_start_time_seconds gauge\n"
             "process_start_time_seconds %llu\n"
             "# HELP process_resident_memory_bytes Memory that is resident.\n"
             "# TYPE process_resident_memory_bytes gauge\n"
             "process_resident_memory_bytes %llu\n"
             "# HELP process_cpu_seconds_total Processor time that was used.\n"
             "# TYPE process_cpu_seconds_total counter\n"
             "process_cpu_seconds_total ",
             (unsigned long long)counters_started(), (unsigned long long)resident_bytes());
    add_seconds(text, processor_ns());
    text_add(text, "\n");
}

void figures_write_prometheus(struct text *text) {
    const char *last = "";
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct row *row = &rows[i];
        if (strcmp(last, row->name) != 0)
            add_head(text, row->name, row->help, row->is_gauge);
        add_series(text, row->name, row->label, row->value, value_of(row));
        last = row->name;
    }
    add_head(text, "handshakes_total", "WebSocket handshakes, by the answer's status.", false);
    add_statuses(text, "handshakes_total", offsetof(struct counters, handshakes), 101);
    add_head(text, "http_responses_total", "Answers to requests, by status.", false);
    add_statuses(text, "http_responses_total", offsetof(struct counters, responses), 200);
    add_closes(text);
    add_limits(text);
    add_routes(text);
    add_life(text);
    add_infos(text);
    add_process(text);
}

/* --- JSON --- */

/* "name": without _total. */
static void add_key(struct text *text, const char *name) {
    static const char end[] = "_total";
    size_t size = strlen(name), cut = sizeof(end) - 1;
    bool is_total = size > cut && strcmp(name + size - cut, end) == 0;
    text_add(text, "\"%.*s\":", (int)(is_total ? size - cut : size), name);
}

static void add_json_rows(struct text *text) {
    const char *open = ""; /* the name whose object is open */
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct row *row = &rows[i];
        bool goes_on = strcmp(open, row->name) == 0;
        if (!goes_on) {
            text_add(text, "%s%s", *open != '\0' ? "}" : "", i == 0 ? "" : ",\n");
            add_key(text, row->name);
            open = row->label != NULL ? row->name : "";
        }
        if (row->label != NULL) {
            text_add(text, goes_on ? "," : "{");
            text_add_json(text, row->value);
            text_add(text, ":");
        }
        text_add(text, "%llu", (unsigned long long)value_of(row));
    }
    text_add(text, "%s", *open != '\0' ? "}" : "");
}

static void add_json_statuses(struct text *text, const char *name, size_t offset) {
    const char *comma = "";
    text_add(text, ",\n\"%s\":{", name);
    for (int place = 0; place < COUNTERS_STATUSES; place++) {
        uint64_t count = counters_sum(offset + (size_t)place * sizeof(counted));
        if (count == 0)
            continue;
        text_add(text, "%s\"%d\":%llu", comma, place + COUNTERS_STATUS_LEAST,
                 (unsigned long long)count);
        comma = ",";
    }
    text_add(text, "}");
}

static void add_json_closes(struct text *text) {
    text_add(text, ",\n\"closes\":{");
    for (unsigned place = 0; place < COUNTERS_CLOSES; place++) {
        char buffer[16];
        text_add(text, "%s\"%s\":%llu", place == 0 ? "" : ",", close_name(place, buffer),
                 (unsigned long long)COUNTERS_SUM_OF(closes, place));
    }
    text_add(text, "}");
}

static void add_json_limits(struct text *text) {
    text_add(text, ",\n\"limit_hits\":{");
    for (int limit = 0; limit < LIMITS_COUNTED; limit++)
        text_add(text, "%s\"%s\":%llu", limit == 0 ? "" : ",", limits_name((enum limit)limit),
                 (unsigned long long)limits_hits((enum limit)limit));
    text_add(text, "}");
}

static void add_json_route(struct text *text, unsigned place) {
    text_add(text, "{\"route\":");
    text_add_json(text, route_name(place));
    text_add(text, ",\"consumer\":");
    text_add_json(text, route_consumer(place));
    for (size_t i = 0; i < sizeof(route_rows) / sizeof(*route_rows); i++) {
        text_add(text, ",");
        add_key(text, route_rows[i].name);
        add_route_value(text, &route_rows[i], place);
    }
    text_add(text, "}");
}

static void add_json_routes(struct text *text) {
    const char *comma = "";
    text_add(text, ",\n\"routes\":[");
    for (unsigned place = 0; place < counters_route_count(); place++) {
        if (!is_route_shown(place))
            continue;
        text_add(text, "%s\n", comma);
        add_json_route(text, place);
        comma = ",";
    }
    text_add(text, "]");
}

static void add_json_process(struct text *text) {
    const struct page_life *life = &page_get()->life;
    text_add(text, ",\n\"reloads\":{\"accepted\":%llu,\"refused\":%llu},\n\"restarts\":%llu",
             atomic_load(&life->reloads), atomic_load(&life->refusals),
             atomic_load(&life->restarts));
    text_add(text, ",\n\"generation\":%llu,\n\"threads\":%u",
             (unsigned long long)generation_of(life), counters_threads());
    text_add(text, ",\n\"version\":");
    text_add_json(text, SLUICE_VERSION);
    text_add(text, ",\n\"libh2o\":");
    text_add_json(text, atomic_load(&library));
    text_add(text, ",\n\"transport\":");
    text_add_json(text, counters_get_transport());
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    text_add(text, ",\n\"started\":%llu,\n\"now\":%lld.%03ld",
             (unsigned long long)counters_started(), (long long)now.tv_sec, now.tv_nsec / 1000000);
    text_add(text, ",\n\"resident_bytes\":%llu,\n\"processor_seconds\":",
             (unsigned long long)resident_bytes());
    add_seconds(text, processor_ns());
}

void figures_write_json(struct text *text) {
    text_add(text, "{");
    add_json_rows(text);
    add_json_statuses(text, "handshakes", offsetof(struct counters, handshakes));
    add_json_statuses(text, "http_responses", offsetof(struct counters, responses));
    add_json_closes(text);
    add_json_limits(text);
    add_json_routes(text);
    add_json_process(text);
    text_add(text, "}");
}
