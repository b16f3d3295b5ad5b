/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting times into a weft_histogram. The bounds are those of the exposition: they never change between releases,
 * because each is the name of a series.
 */
#ifndef WF_HISTOGRAM_H
#define WF_HISTOGRAM_H

#include "weft/metrics.h"

/* Ascending; the last bucket has none. From the round trip of an idle worker to a time-out: handlers of a millisecond
 * and of seconds are both seen. */
extern const uint64_t wf_histogram_bounds_ns[WEFT_HISTOGRAM_BUCKETS - 1];

/* The bucket of a time. A few comparisons: most times are short. */
static inline unsigned wf_histogram_bucket(uint64_t ns) {
    unsigned low = 0, high = WEFT_HISTOGRAM_BUCKETS - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (ns <= wf_histogram_bounds_ns[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static inline void wf_histogram_add_to(weft_histogram *histogram, unsigned bucket, uint64_t ns) {
    histogram->buckets[bucket]++;
    histogram->sum_ns += ns;
}

static inline void wf_histogram_add(weft_histogram *histogram, uint64_t ns) {
    wf_histogram_add_to(histogram, wf_histogram_bucket(ns), ns);
}

void wf_histogram_merge(weft_histogram *to, const weft_histogram *from);

uint64_t wf_histogram_count(const weft_histogram *histogram);

#endif
