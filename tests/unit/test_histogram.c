/* SPDX-License-Identifier: Apache-2.0
 *
 * Buckets of times, against looking through the bounds one by one.
 */
#include "histogram.h"

#include <criterion/criterion.h>

#include "seeded.h"

TestSuite(histogram, .timeout = 60);

static unsigned bucket_by_force(uint64_t ns) {
    unsigned bucket = 0;
    while (ns > weft_histogram_bound_ns(bucket)) bucket++;
    return bucket;
}

static void expect_bucket(uint64_t ns) {
    cr_assert_eq(wf_histogram_bucket(ns), bucket_by_force(ns), "%llu ns are in bucket %u", (unsigned long long)ns,
                 wf_histogram_bucket(ns));
}

Test(histogram, bounds__ascending_with_one_at_most_between_powers_of_two) {
    for (unsigned i = 1; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        uint64_t before = weft_histogram_bound_ns(i - 1), bound = weft_histogram_bound_ns(i);
        cr_assert_gt(bound, before);
        cr_assert_lt(__builtin_clzll(bound), __builtin_clzll(before), "bounds %u and %u", i - 1, i);
    }
    cr_assert_eq(weft_histogram_bound_ns(WEFT_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
    cr_assert_eq(weft_histogram_bound_ns(WEFT_HISTOGRAM_BUCKETS), UINT64_MAX);
}

Test(histogram, bucket__at_all_edges_and_random_times__as_by_force) {
    for (unsigned i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++)
        for (uint64_t step = 0; step < 3; step++) expect_bucket(weft_histogram_bound_ns(i) - 1 + step);
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t step = 0; step < 3; step++) expect_bucket(((uint64_t)1 << bit) - 1 + step);
    seeded random = seeded_start(20260801, 0);
    for (int i = 0; i < 1000000; i++) expect_bucket(seeded_next(&random) >> seeded_below(&random, 64));
}

Test(histogram, sums_and_counts__added_and_merged) {
    weft_histogram one = {0}, other = {0};
    wf_histogram_add(&one, 0);
    wf_histogram_add(&one, 500000);
    wf_histogram_add(&one, 500001);
    wf_histogram_add(&other, 60000000001);
    wf_histogram_merge(&one, &other);
    cr_assert(one.buckets[0] == 2 && one.buckets[1] == 1 && one.buckets[WEFT_HISTOGRAM_BUCKETS - 1] == 1);
    cr_assert_eq(wf_histogram_count(&one), 4);
    cr_assert_eq(one.sum_ns, 60001000002);
}
