/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting times into a weft_histogram. The bounds are those of the exposition: they never change between releases,
 * because each is the name of a series.
 */
#ifndef WF_HISTOGRAM_H
#define WF_HISTOGRAM_H

#include "weft/metrics.h"

/* Ascending; the last one is UINT64_MAX. From the round trip of an idle worker to a time-out: handlers of a millisecond
 * and of seconds are both seen. */
extern const uint64_t wf_histogram_bounds_ns[WEFT_HISTOGRAM_BUCKETS];

/* How many bounds lie below 2^i ns. Between a power of two and the next lies one bound at most, so that the bucket of a
 * time is this one or the next. */
extern const uint8_t wf_histogram_first[64];

/* The bucket of a time; two of these for each record. */
static inline unsigned wf_histogram_bucket(uint64_t ns) {
    unsigned first = wf_histogram_first[63 - __builtin_clzll(ns | 1)];
    return first + (ns > wf_histogram_bounds_ns[first]);
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
