/* SPDX-License-Identifier: Apache-2.0
 *
 * A histogram of times, fine enough for percentiles: 64 steps per power of two, so a value is right within 1.6 %.
 */
#ifndef BENCH_TIMES_H
#define BENCH_TIMES_H

#include <stdint.h>

#include <jansson.h>

enum { TIMES_STEP_BITS = 6, TIMES_BUCKETS = (65 - TIMES_STEP_BITS) << TIMES_STEP_BITS };

typedef struct times {
    uint64_t buckets[TIMES_BUCKETS];
    uint64_t count, sum_ns, max_ns;
} times;

static inline unsigned times_bucket(uint64_t ns) {
    if (ns >> TIMES_STEP_BITS == 0) return (unsigned)ns;
    unsigned shift = (unsigned)(63 - __builtin_clzll(ns)) - TIMES_STEP_BITS;
    return (shift << TIMES_STEP_BITS) + (unsigned)(ns >> shift);
}

static inline void times_add(times *self, uint64_t ns) {
    unsigned bucket = times_bucket(ns);
    self->buckets[bucket < TIMES_BUCKETS ? bucket : TIMES_BUCKETS - 1]++;
    self->count++;
    self->sum_ns += ns;
    if (ns > self->max_ns) self->max_ns = ns;
}

void times_merge(times *to, const times *from);

/* The upper bound of the bucket that has the percentile (nearest rank), and no more than the largest; 0 of nothing. */
uint64_t times_percentile_ns(const times *self, double percent);

/* {"count", "mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"}; null of nothing. */
json_t *times_json(const times *self);

#endif
