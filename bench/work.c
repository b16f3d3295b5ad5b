/* SPDX-License-Identifier: Apache-2.0 */
#include "work.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "stats.h"

_Static_assert(sizeof(record_stamp) == VALUE_BYTES_MIN, "a value has room for its stamp");

static uint64_t read_clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t now_ns(void) {
    return read_clock_ns(CLOCK_MONOTONIC);
}

static struct timespec span_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

void sleep_until_ns(uint64_t at_ns) {
    struct timespec at = span_of(at_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

size_t work_lengths(const bench_options *options, work_kind kind) {
    return kind == WORK_SLEEP ? options->sleep_ms.count : kind == WORK_IO ? options->io_ms.count : 1;
}

bench_work work_of(const bench_options *options, work_kind kind, size_t length) {
    bench_work work = {.kind = kind};
    if (kind == WORK_SLEEP) work.ns = (uint64_t)(options->sleep_ms.values[length] * 1e6);
    if (kind == WORK_IO) work.ns = (uint64_t)(options->io_ms.values[length] * 1e6);
    if (kind == WORK_CPU) work.iterations = options->cpu_iterations;
    if (kind == WORK_CPU && !work.iterations) work.ns = options->cpu_us * 1000;
    return work;
}

/* Processor time, not time: a thread that has to share its processor does no less. */
static void spin(uint64_t ns) {
    uint64_t end_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns;
    while (read_clock_ns(CLOCK_THREAD_CPUTIME_ID) < end_ns) {
    }
}

static void hash_rounds(uint64_t rounds, const unsigned char *value, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t i = 0; i < rounds; i++)
        for (size_t at = 0; at < bytes; at++) hash = (hash ^ value[at]) * 0x100000001b3u;
    stats_use(hash);
}

/* A timer as a descriptor stands for a socket that answers after that time. It lives as long as the thread. */
static void wait_for_descriptor(uint64_t ns) {
    static _Thread_local int descriptor = -1;
    struct itimerspec due = {.it_value = span_of(ns)};
    uint64_t expirations;
    if (ns == 0) return;
    if (descriptor < 0) descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(descriptor, 0, &due, NULL);
    while (read(descriptor, &expirations, sizeof expirations) < 0 && errno == EINTR) {
    }
}

void work_do(const bench_work *work, const void *value, size_t value_bytes) {
    struct timespec span;
    switch (work->kind) {
    case WORK_NONE:
        break;
    case WORK_SLEEP:
        span = span_of(work->ns);
        if (work->ns > 0) clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
        break;
    case WORK_CPU:
        if (work->iterations)
            hash_rounds(work->iterations, value, value_bytes);
        else
            spin(work->ns);
        break;
    case WORK_IO:
        wait_for_descriptor(work->ns);
        break;
    }
}
