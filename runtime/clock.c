/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <time.h>

#include "check.h"

static struct timespec read_clock(clockid_t clock) {
    struct timespec now = {0};
    WF_CHECK(clock_gettime(clock, &now) == 0);
    return now;
}

uint64_t wf_clock_now_ns(void) {
    struct timespec now = read_clock(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t wf_clock_wall_ms(void) {
    struct timespec now = read_clock(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
