/* SPDX-License-Identifier: Apache-2.0
 *
 * Ordering from end to end: key, partition, unordered, null keys both ways, batches, inline, several topics. Each
 * consumer has a judge of its own that knows the mode; several consumers, each its own group, share a mock to share the
 * 3 s of a join.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "seeded.h"

TestSuite(consumer_order, .timeout = 50);

enum { PATIENCE_MS = 30000, TEXT = 2000 };

/* Work of uneven length, so that whatever can overtake does: mostly nothing, now and then up to a millisecond. */
static void stall(const weft_record *record) {
    seeded random =
        seeded_start(11, (uint64_t)weft_record_offset(record) * 64 + (uint64_t)weft_record_partition(record));
    struct timespec pause = {.tv_nsec = (long)seeded_below(&random, 1000000)};

    if (seeded_percent(&random, 3)) nanosleep(&pause, NULL);
}

static weft_result uneven(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test;
    (void)ticket;
    (void)context;
    stall(record);
    return WEFT_SUCCESS;
}

static void finish(harness *under_test, const char *what) {
    char text[TEXT];

    cr_expect(harness_await_all(under_test, PATIENCE_MS), "%s: not all handled in time", what);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK), "%s", what);
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s: %s", what, text);
    harness_free(&under_test);
}

Test(consumer_order, key_partition_unordered__uneven_handlers__each_keeps_its_order) {
    mock_cluster *mock = mock_open(2);
    keyed_plan keyed = {.topic = "t", .partitions = 4, .records = 12000, .keys = 60, .value_bytes = 100};
    keyed_plan nulls = {.topic = "t", .partitions = 4, .records = 2000, .keys = 0, .value_bytes = 20};
    const char *by_key[] = {"threads", "8", "ordering", "key", NULL};
    const char *by_partition[] = {"threads", "8", "ordering", "partition", "placement", "spread", NULL};
    const char *unordered[] = {"threads", "8", "ordering", "unordered", NULL};
    const char *const *settings[] = {by_key, by_partition, unordered};
    const judge_lanes lanes[] = {JUDGE_KEYS, JUDGE_PARTITIONS, JUDGE_UNORDERED};
    const char *names[] = {"key", "partition", "unordered"};
    harness *consumers[3];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &keyed);
    produce_keyed(mock_bootstrap(mock), &nulls);
    keyed.first = keyed.records;
    keyed.records = 4000;
    produce_keyed(mock_bootstrap(mock), &keyed);
    for (int i = 0; i < 3; i++) {
        consumers[i] = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                     .topics = "t",
                                                     .settings = settings[i],
                                                     .lanes = lanes[i],
                                                     .work = uneven});
        cr_assert(eq(u64, harness_expect(consumers[i], "t", 4), 18000));
    }
    for (int i = 0; i < 3; i++) finish(consumers[i], names[i]);
    mock_close(mock);
}

/* How many handlers run at once, per partition, and the most that ever did. */
typedef struct concurrency {
    _Atomic int running;
    _Atomic int most;
} concurrency;

static weft_result count_running(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    concurrency *count = context;
    const struct timespec pause = {.tv_nsec = 300000};
    int now = atomic_fetch_add(&count->running, 1) + 1;
    int most = atomic_load(&count->most);

    (void)under_test;
    (void)record;
    (void)ticket;
    while (now > most && !atomic_compare_exchange_weak(&count->most, &most, now)) {
    }
    nanosleep(&pause, NULL);
    atomic_fetch_sub(&count->running, 1);
    return WEFT_SUCCESS;
}

Test(consumer_order, null_keys__serial_or_not__run_alone_or_side_by_side) {
    mock_cluster *mock = mock_open(1);
    keyed_plan nulls = {.topic = "t", .partitions = 1, .records = 1500, .keys = 0, .value_bytes = 20};
    const char *serial[] = {"threads", "6", "null.key", "serial", NULL};
    const char *parallel[] = {"threads", "6", "null.key", "unordered", NULL};
    concurrency alone = {0}, together = {0};
    harness *first, *second;

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &nulls);
    first = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                          .topics = "t",
                                          .settings = serial,
                                          .lanes = JUDGE_PARTITIONS,
                                          .work = count_running,
                                          .context = &alone});
    second = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                           .topics = "t",
                                           .settings = parallel,
                                           .lanes = JUDGE_KEYS,
                                           .work = count_running,
                                           .context = &together});
    harness_expect(first, "t", 1);
    harness_expect(second, "t", 1);
    finish(first, "serial");
    finish(second, "unordered");
    cr_assert(eq(int, atomic_load(&alone.most), 1));
    cr_assert(gt(int, atomic_load(&together.most), 1));
    mock_close(mock);
}

typedef struct batches {
    _Atomic uint64_t failures;
} batches;

/* The third record of each key fails once. */
static weft_result fail_some(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    batches *seen = context;
    size_t bytes;
    const void *value = weft_record_value(record, &bytes);

    (void)under_test;
    (void)ticket;
    if (value_sequence(value, bytes) != 2 || weft_record_attempt(record) > 1) return WEFT_SUCCESS;
    atomic_fetch_add(&seen->failures, 1);
    return WEFT_FAILURE;
}

Test(consumer_order, batch_and_inline__keys__no_two_of_a_key_at_once) {
    mock_cluster *mock = mock_open(1);
    keyed_plan keyed = {.topic = "t", .partitions = 3, .records = 9000, .keys = 90, .value_bytes = 50};
    const char *batch[] = {"threads", "4", "retry.backoff.ms", "5", NULL};
    const char *in_turn[] = {"engine", "inline", "retry.backoff.ms", "5", NULL};
    const char *spread[] = {"engine",    "inline",           "placement", "spread", "ordering",
                            "partition", "retry.backoff.ms", "5",         NULL};
    batches seen[4] = {0};
    harness *consumers[4];

    mock_topic(mock, "t", 3);
    produce_keyed(mock_bootstrap(mock), &keyed);
    consumers[0] = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                 .topics = "t",
                                                 .settings = batch,
                                                 .batch = true,
                                                 .work = fail_some,
                                                 .context = &seen[0]});
    consumers[1] = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .topics = "t", .settings = in_turn, .work = fail_some, .context = &seen[1]});
    consumers[2] = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                 .topics = "t",
                                                 .settings = spread,
                                                 .lanes = JUDGE_PARTITIONS,
                                                 .work = fail_some,
                                                 .context = &seen[2]});
    consumers[3] = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                 .topics = "t",
                                                 .settings = in_turn,
                                                 .batch = true,
                                                 .work = fail_some,
                                                 .context = &seen[3]});
    for (int i = 0; i < 4; i++) harness_expect(consumers[i], "t", 3);
    for (int i = 0; i < 4; i++) {
        char name[16];

        snprintf(name, sizeof name, "consumer %d", i);
        finish(consumers[i], name);
        cr_expect(eq(u64, atomic_load(&seen[i].failures), 90));
    }
    mock_close(mock);
}

/* The same key in two topics is two keys: one that waits must not hold up the other. */
typedef struct two_topics {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool other_ran;
} two_topics;

static weft_result wait_for_other(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    two_topics *state = context;
    bool is_a = strcmp(weft_record_topic(record), "a") == 0;
    weft_result result = WEFT_SUCCESS;
    struct timespec deadline;

    (void)under_test;
    (void)ticket;
    if (weft_record_offset(record) != 0) return WEFT_SUCCESS;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    pthread_mutex_lock(&state->mutex);
    if (!is_a) state->other_ran = true;
    pthread_cond_broadcast(&state->changed);
    while (is_a && !state->other_ran && result == WEFT_SUCCESS) {
        if (pthread_cond_timedwait(&state->changed, &state->mutex, &deadline) != 0) result = WEFT_FAILURE;
    }
    pthread_mutex_unlock(&state->mutex);
    return result;
}

Test(consumer_order, several_topics__the_same_key_in_two__are_two_lanes) {
    mock_cluster *mock = mock_open(1);
    const char *topics[] = {"a", "b", "c"};
    const char *settings[] = {"threads", "2", "max.attempts", "1", "failure.policy", "stop", NULL};
    two_topics state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    harness *under_test;

    for (int i = 0; i < 3; i++) {
        keyed_plan plan = {.topic = topics[i], .partitions = 1, .records = 300, .keys = 1, .value_bytes = 10};

        mock_topic(mock, topics[i], 1);
        produce_keyed(mock_bootstrap(mock), &plan);
    }
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "a,b,c",
                                               .settings = settings,
                                               .work = wait_for_other,
                                               .context = &state});
    for (int i = 0; i < 3; i++) harness_expect(under_test, topics[i], 1);
    finish(under_test, "three topics");
    mock_close(mock);
}
