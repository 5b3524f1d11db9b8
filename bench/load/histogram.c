#include "histogram.h"

#include <math.h>

#define SUB_BUCKETS (1u << HISTOGRAM_SUB_BITS)

/* Values below SUB_BUCKETS have a bucket each; from there on every doubling has SUB_BUCKETS. */
static unsigned bucket_of(uint64_t value) {
    if (value < SUB_BUCKETS)
        return (unsigned)value;
    unsigned octave = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    unsigned bucket = (octave + 1) * SUB_BUCKETS + (unsigned)((value >> octave) - SUB_BUCKETS);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t highest_in(unsigned bucket) {
    if (bucket < SUB_BUCKETS)
        return bucket;
    unsigned octave = bucket / SUB_BUCKETS - 1;
    return (((uint64_t)(bucket % SUB_BUCKETS) + SUB_BUCKETS + 1) << octave) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t duration_ns) {
    histogram->counts[bucket_of(duration_ns)]++;
    histogram->total++;
    histogram->sum_ns += (double)duration_ns;
    if (duration_ns > histogram->highest_ns)
        histogram->highest_ns = duration_ns;
}

uint64_t histogram_percentile_ns(const struct histogram *histogram, double share) {
    if (histogram->total == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->total);
    uint64_t counted = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS - 1; bucket++) {
        counted += histogram->counts[bucket];
        if (counted >= wanted && counted > 0) {
            uint64_t highest = highest_in(bucket);
            return highest < histogram->highest_ns ? highest : histogram->highest_ns;
        }
    }
    return histogram->highest_ns;
}

double histogram_mean_ns(const struct histogram *histogram) {
    return histogram->total == 0 ? 0 : histogram->sum_ns / (double)histogram->total;
}
