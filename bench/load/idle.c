/*
 * Connections that say nothing: opened up to each step, left to rest, and the server's memory read;
 * at the last step, what it costs to hold them.
 */
#include "clock.h"
#include "report.h"
#include "swarm.h"
#include "usage.h"
#include "workload.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define MILLISECOND_NS ((uint64_t)1000000)

static void rest(struct swarm *swarm, long ms) {
    uint64_t until = clock_now_ns() + (uint64_t)ms * MILLISECOND_NS;
    while (clock_now_ns() < until)
        swarm_turn(swarm, until);
}

static bool stdin_ended(void) {
    char bytes[256];
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0;
}

static bool measure_cost(const struct options *options, struct swarm *swarm,
                         struct cpu_usage *before, struct cpu_usage *after) {
    if (!cpu_usage_read(options->pid, options->core, before))
        return false;
    rest(swarm, options->measure_ms);
    return cpu_usage_read(options->pid, options->core, after);
}

static bool measure_steps(const struct options *options, struct swarm *swarm,
                          struct memory_usage *usage) {
    rest(swarm, options->settle_ms);
    if (!memory_usage_read(options->pid, &usage[0]))
        return false;
    for (size_t i = 0; i < options->step_count; i++) {
        if (!swarm_open(swarm, (uint32_t)options->steps[i]))
            return false;
        rest(swarm, options->settle_ms);
        if (!memory_usage_read(options->pid, &usage[i + 1]))
            return false;
    }
    return true;
}

bool workload_idle(const struct options *options) {
    static const struct swarm_events events = {0};
    struct memory_usage usage[STEPS_MAX + 1];
    struct cpu_usage before, after;
    struct swarm *swarm = swarm_new(options, &events, NULL);
    bool good = swarm != NULL && measure_steps(options, swarm, usage) &&
                measure_cost(options, swarm, &before, &after);
    if (good) {
        report_begin(options);
        report_steps_begin();
        report_step(0, &usage[0]);
        for (size_t i = 0; i < options->step_count; i++)
            report_step((uint64_t)options->steps[i], &usage[i + 1]);
        report_steps_end();
        report_cpu(options, &before, &after, 0);
        report_connections(swarm_counts(swarm));
        report_end();
        good = swarm_counts(swarm)->closed_by_server == 0;
        while (options->hold && !stdin_ended())
            rest(swarm, 100);
    }
    swarm_free(swarm);
    return good;
}
