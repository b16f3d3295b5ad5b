/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

uint64_t stats_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

stats_spread stats_of(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    double median = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return (stats_spread){.min = values[0], .median = median, .max = values[count - 1]};
}

double stats_percentile(const double *sorted, size_t count, double percent) {
    double rank = ceil(percent / 100 * (double)count);
    size_t index = rank < 1 ? 0 : (size_t)rank - 1;
    return sorted[index < count ? index : count - 1];
}

stats_spread stats_repeat(stats_repetition *repetition, void *argument, size_t count) {
    double values[64];
    if (count > 64) count = 64;
    repetition(argument);
    for (size_t i = 0; i < count; i++) values[i] = repetition(argument);
    return stats_of(values, count);
}

static volatile uint64_t used;

void stats_use(uint64_t value) {
    used += value;
}
