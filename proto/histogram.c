/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

const uint64_t wf_histogram_bounds_ns[WEFT_HISTOGRAM_BUCKETS] = {
    500000,    1000000,   2500000,    5000000,    10000000,    25000000,    50000000,   100000000,
    250000000, 500000000, 1000000000, 2500000000, 10000000000, 60000000000, UINT64_MAX,
};

const uint8_t wf_histogram_first[64] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  1,  2,  2,
    3,  4,  5,  6,  7,  8,  9,  10, 11, 11, 12, 12, 13, 13, 14, 14, 14, 14, 14, 14, 14, 14,
    14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14,
};

uint64_t weft_histogram_bound_ns(unsigned bucket) {
    return bucket < WEFT_HISTOGRAM_BUCKETS ? wf_histogram_bounds_ns[bucket] : UINT64_MAX;
}

void wf_histogram_merge(weft_histogram *to, const weft_histogram *from) {
    for (unsigned i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) to->buckets[i] += from->buckets[i];
    to->sum_ns += from->sum_ns;
}

uint64_t wf_histogram_count(const weft_histogram *histogram) {
    uint64_t count = 0;
    for (unsigned i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) count += histogram->buckets[i];
    return count;
}
