/* Durations in buckets whose width grows with the value, so that each percentile is right to one
 * part in 128 from a nanosecond to eighteen minutes. Fixed size, no allocation. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_VALUE_BITS 40
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t highest_ns;
    double sum_ns;
};

/* Counts one duration. What is longer than the last bucket is counted there. */
void histogram_add(struct histogram *histogram, uint64_t duration_ns);

/* The duration that `share` (0 to 1) of all counted ones do not pass: the upper end of its bucket,
 * never more than the highest counted. 0 when nothing was counted. */
uint64_t histogram_percentile_ns(const struct histogram *histogram, double share);

double histogram_mean_ns(const struct histogram *histogram);

#endif
