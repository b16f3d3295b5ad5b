/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <pthread.h>
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

int64_t wf_clock_of_thread(void) {
    clockid_t clock;
    WF_CHECK(pthread_getcpuclockid(pthread_self(), &clock) == 0 && clock != 0);
    return clock;
}

uint64_t wf_clock_cpu_ns(int64_t clock) {
    struct timespec time;
    if (clock_gettime((clockid_t)clock, &time) != 0) return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
