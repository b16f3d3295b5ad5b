/* SPDX-License-Identifier: Apache-2.0
 *
 * What is possible at all: threads that do what handlers do, and nothing else. Also the small things that all modes
 * share.
 */
#include "consume.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t consume_now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void consume_sleep(uint64_t sleep_us) {
    struct timespec span = {.tv_sec = (time_t)(sleep_us / 1000000), .tv_nsec = (long)(sleep_us % 1000000) * 1000};

    if (sleep_us > 0) clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

typedef struct sleeper {
    pthread_t thread;
    uint64_t sleep_us;
    uint64_t times;
} sleeper;

static void *sleep_often(void *context) {
    const sleeper *self = context;

    for (uint64_t i = 0; i < self->times; i++) consume_sleep(self->sleep_us);
    return NULL;
}

static bool sleep_in_threads(uint64_t times, unsigned threads, uint64_t sleep_us, consume_result *ret_result) {
    sleeper *sleepers = calloc(threads, sizeof *sleepers);
    uint64_t start_ns = consume_now_ns();
    unsigned started = 0;

    if (!sleepers) return false;
    for (; started < threads; started++) {
        sleeper *self = &sleepers[started];

        self->sleep_us = sleep_us;
        self->times = times / threads + (started < times % threads ? 1 : 0);
        if (pthread_create(&self->thread, NULL, sleep_often, self) != 0) break;
    }
    for (unsigned i = 0; i < started; i++) pthread_join(sleepers[i].thread, NULL);
    free(sleepers);
    ret_result->records = times;
    ret_result->seconds = (double)(consume_now_ns() - start_ns) / 1e9;
    if (started < threads) fprintf(stderr, "only %u of %u threads could be started\n", started, threads);
    return started == threads;
}

bool consume_floor(const consume_plan *plan, consume_result *ret_result) {
    return sleep_in_threads(plan->records, plan->threads, plan->sleep_us, ret_result);
}

/* The records of the hot key can only run one after the other; the rate is that of all records in that time. */
bool consume_floor_hot(const consume_plan *plan, consume_result *ret_result) {
    bool fine = sleep_in_threads(plan->records * plan->hot_percent / 100, 1, plan->sleep_us, ret_result);

    ret_result->records = plan->records;
    return fine;
}

bool consume_tally_init(consume_tally *tally, const consume_plan *plan) {
    int64_t end[CONSUME_PARTITIONS_MAX];

    if (!consume_topic_ends(plan, tally->next, end)) return false;
    for (int i = 0; i < plan->partitions; i++) tally->left += (uint64_t)(end[i] - tally->next[i]);
    if (tally->left == 0) fprintf(stderr, "%s is empty\n", plan->topic);
    return tally->left > 0;
}

bool consume_tally_result(const consume_tally *tally, consume_result *ret_result) {
    if (tally->wrong || tally->left > 0) {
        fprintf(stderr, "%llu records read, %llu missing%s\n", (unsigned long long)tally->records,
                (unsigned long long)tally->left, tally->wrong ? ", not in sequence" : "");
        return false;
    }
    ret_result->records = tally->records;
    ret_result->seconds = (double)(tally->last_ns - tally->first_ns) / 1e9;
    return true;
}
