#include "report.h"

#include <stdio.h>

static bool first = true;

static void begin_member(const char *name) {
    printf("%s\"%s\": ", first ? "" : ", ", name);
    first = false;
}

static void begin_object(const char *name) {
    begin_member(name);
    putchar('{');
    first = true;
}

static void end_object(void) {
    putchar('}');
    first = false;
}

static void report_text(const char *name, const char *text) {
    begin_member(name);
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c > '~')
            printf("\\u%04x", c);
        else
            printf("%s%c", c == '"' || c == '\\' ? "\\" : "", c);
    }
    putchar('"');
}

void report_count(const char *name, uint64_t value) {
    begin_member(name);
    printf("%llu", (unsigned long long)value);
}

void report_number(const char *name, double value) {
    begin_member(name);
    printf("%.6g", value);
}

static void report_flag(const char *name, bool value) {
    begin_member(name);
    fputs(value ? "true" : "false", stdout);
}

void report_begin(const struct options *options) {
    static const char *const modes[] = {"echo", "fanout", "idle", "handshakes"};
    putchar('{');
    report_text("mode", modes[options->mode]);
    report_text("host", options->host);
    report_text("path", options->path);
    report_flag("tls", options->tls);
    report_flag("binary", options->binary);
    report_count("size", (uint64_t)options->size);
    report_count("depth", (uint64_t)options->depth);
    report_count("rate", (uint64_t)options->rate);
    if (options->mode != MODE_FANOUT)
        return;
    report_count("rooms", (uint64_t)options->rooms);
    report_count("members", (uint64_t)options->members);
    report_count("publishers", (uint64_t)options->publishers);
}

void report_connections(const struct swarm_counts *counts) {
    begin_object("connections");
    report_count("opened", counts->opened);
    report_count("refused", counts->refused);
    report_count("failed", counts->failed);
    report_count("closed_by_server", counts->closed_by_server);
    report_count("broken", counts->broken);
    report_count("close_code", counts->close_code);
    report_count("pings", counts->pings);
    if (counts->tls_cipher != NULL) {
        report_text("tls_version", counts->tls_version);
        report_text("tls_cipher", counts->tls_cipher);
    }
    report_text("first_error", counts->first_error);
    end_object();
}

void report_latency(const struct histogram *histogram) {
    static const struct {
        const char *name;
        double percent;
    } wanted[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};
    begin_object("latency_us");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        report_number(wanted[i].name,
                      (double)histogram_percentile_ns(histogram, wanted[i].percent / 100) / 1e3);
    report_number("max", (double)histogram->highest_ns / 1e3);
    report_count("count", histogram->total);
    end_object();
}

static void report_cost(const char *name, double seconds, uint64_t units) {
    begin_object(name);
    report_number("seconds", seconds);
    if (units != 0)
        report_number("us_each", seconds * 1e6 / (double)units);
    end_object();
}

void report_cpu(const struct options *options, const struct cpu_usage *before,
                const struct cpu_usage *after, uint64_t units) {
    double user = after->process_user_s - before->process_user_s;
    double system = after->process_system_s - before->process_system_s;
    begin_object("cpu");
    if (options->pid != 0) {
        report_cost("process", user + system, units);
        report_number("process_user_seconds", user);
    }
    if (options->core >= 0)
        report_cost("core", after->core_busy_s - before->core_busy_s, units);
    report_cost("machine_without_load", after->machine_busy_s - before->machine_busy_s, units);
    report_number("load_seconds", after->own_s - before->own_s);
    report_number("elapsed_seconds", after->at_s - before->at_s);
    end_object();
}

void report_steps_begin(void) {
    begin_member("steps");
    putchar('[');
    first = true;
}

void report_step(uint64_t connections, const struct memory_usage *usage) {
    printf("%s{", first ? "" : ", ");
    first = true;
    report_count("connections", connections);
    report_count("pss", usage->pss);
    report_count("anonymous", usage->anonymous);
    report_count("slab", usage->slab);
    report_count("slab_sockets", usage->slab_sockets);
    report_count("tcp_buffers", usage->tcp_buffers);
    report_count("page_tables", usage->page_tables);
    report_count("tcp_sockets", usage->tcp_sockets);
    end_object();
}

void report_steps_end(void) {
    putchar(']');
    first = false;
}

void report_end(void) {
    puts("}");
    fflush(stdout);
}
