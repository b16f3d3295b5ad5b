/* SPDX-License-Identifier: Apache-2.0
 *
 * What every benchmark needs: a clock, and the spread of its repetitions. A number without its spread says little on a
 * shared machine, so all tables print minimum, median and maximum.
 */
#ifndef WF_BENCH_STATS_H
#define WF_BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

typedef struct stats_spread {
    double min;
    double median;
    double max;
} stats_spread;

uint64_t stats_now_ns(void); /* monotonic */

/* Sorts `values`. count > 0. */
stats_spread stats_of(double *values, size_t count);

/* The value below which `percent` of them lie (nearest rank); `sorted` as stats_of() leaves it. */
double stats_percentile(const double *sorted, size_t count, double percent);

/* A repetition measures once, in whatever unit it prints. */
typedef double stats_repetition(void *argument);

/* Run once to warm up, then `count` times (at most 64). */
stats_spread stats_repeat(stats_repetition *repetition, void *argument, size_t count);

/* Keeps the compiler from dropping what computed `value`. */
void stats_use(uint64_t value);

#endif
