/* SPDX-License-Identifier: Apache-2.0 */
#include "times.h"

#include <math.h>

void times_merge(times *to, const times *from) {
    for (unsigned i = 0; i < TIMES_BUCKETS; i++) to->buckets[i] += from->buckets[i];
    to->count += from->count;
    to->sum_ns += from->sum_ns;
    if (from->max_ns > to->max_ns) to->max_ns = from->max_ns;
}

static uint64_t upper_bound_ns(unsigned bucket) {
    if (bucket < 2u << TIMES_STEP_BITS) return bucket;
    unsigned shift = (bucket >> TIMES_STEP_BITS) - 1;
    uint64_t step = (bucket & ((1u << TIMES_STEP_BITS) - 1)) | 1u << TIMES_STEP_BITS;
    return ((step + 1) << shift) - 1;
}

uint64_t times_percentile_ns(const times *self, double percent) {
    uint64_t wanted = (uint64_t)ceil(percent / 100 * (double)self->count), seen = 0;
    if (wanted == 0) wanted = 1;
    for (unsigned i = 0; i < TIMES_BUCKETS; i++) {
        seen += self->buckets[i];
        if (seen < wanted) continue;
        uint64_t bound = upper_bound_ns(i);
        return bound < self->max_ns ? bound : self->max_ns;
    }
    return 0;
}

json_t *times_json(const times *self) {
    if (self->count == 0) return json_null();
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "count", (json_int_t)self->count, "mean_us",
                     (double)self->sum_ns / (double)self->count / 1e3, "p50_us",
                     (double)times_percentile_ns(self, 50) / 1e3, "p90_us", (double)times_percentile_ns(self, 90) / 1e3,
                     "p99_us", (double)times_percentile_ns(self, 99) / 1e3, "p999_us",
                     (double)times_percentile_ns(self, 99.9) / 1e3, "max_us", (double)self->max_ns / 1e3);
}
