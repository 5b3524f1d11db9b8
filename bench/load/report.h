/*
 * The report of a run: one JSON object, on one line of stdout.
 */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "histogram.h"
#include "options.h"
#include "swarm.h"
#include "usage.h"

/* Begins the object with what was asked for. */
void report_begin(const struct options *options);

/* Members of the object; a name is plain ASCII. */
void report_count(const char *name, uint64_t value);
void report_number(const char *name, double value);

/* "connections": what became of them. */
void report_connections(const struct swarm_counts *counts);

/* "latency_us": percentiles. */
void report_latency(const struct histogram *histogram);

/* "cpu": seconds between two readings, and microseconds for each of `units`. */
void report_cpu(const struct options *options, const struct cpu_usage *before,
                const struct cpu_usage *after, uint64_t units);

/* "steps": an element for each reading of memory. */
void report_steps_begin(void);
void report_step(uint64_t connections, const struct memory_usage *usage);
void report_steps_end(void);

/* Ends the object and flushes stdout. */
void report_end(void);

#endif
