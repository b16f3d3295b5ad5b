/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers that fail, fail for ever, or never end; and a machine that allows too little.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(consumer_failure, .timeout = 55);

enum { PATIENCE_MS = 30000, TEXT = 2000, RECORDS = 3000 };

/* --- failures that pass, failures that stay */

typedef struct attempts {
    _Atomic int runs[2][RECORDS]; /* by partition and offset */
    _Atomic int wrong_attempt;
} attempts;

/* Offset o succeeds at attempt 1 + o % 4; those with o % 100 == 99 never. */
static weft_result fail_by_offset(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    attempts *seen = context;
    int64_t offset = weft_record_offset(record);
    int run = atomic_fetch_add(&seen->runs[weft_record_partition(record)][offset], 1) + 1;

    (void)under_test;
    (void)ticket;
    if ((int)weft_record_attempt(record) != run) atomic_fetch_add(&seen->wrong_attempt, 1);
    if (offset % 100 == 99) return weft_record_fail(record, "never at offset %" PRId64, offset);
    return run <= offset % 4 ? WEFT_FAILURE : WEFT_SUCCESS;
}

static void check_attempts(attempts *seen, int64_t records) {
    for (int partition = 0; partition < 2; partition++) {
        for (int64_t offset = 0; offset < records; offset++) {
            int expected = offset % 100 == 99 ? 5 : 1 + (int)(offset % 4);

            cr_assert(eq(int, atomic_load(&seen->runs[partition][offset]), expected), "partition %d offset %" PRId64,
                      partition, offset);
        }
    }
    cr_assert(eq(int, atomic_load(&seen->wrong_attempt), 0));
}

Test(consumer_failure, failures__are_tried_again_in_order__each_exactly_as_often_as_needed) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 4000, .keys = 400, .value_bytes = 20};
    const char *by_key[] = {
        "threads", "4", "max.attempts", "5", "failure.policy", "skip", "retry.backoff.ms", "1", "retry.backoff.max.ms",
        "4",       NULL};
    const char *any[] = {"threads",
                         "4",
                         "max.attempts",
                         "5",
                         "failure.policy",
                         "skip",
                         "retry.backoff.ms",
                         "1",
                         "retry.backoff.max.ms",
                         "4",
                         "ordering",
                         "unordered",
                         NULL};
    attempts *seen[] = {must_alloc(1, sizeof(attempts)), must_alloc(1, sizeof(attempts))};
    harness *consumers[2];
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    for (int i = 0; i < 2; i++) {
        consumers[i] = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                     .topics = "t",
                                                     .settings = i ? any : by_key,
                                                     .lanes = i ? JUDGE_UNORDERED : JUDGE_KEYS,
                                                     .work = fail_by_offset,
                                                     .context = seen[i]});
        harness_expect(consumers[i], "t", 2);
    }
    for (int i = 0; i < 2; i++) {
        weft_metrics *metrics = NULL;

        cr_assert(harness_await_all(consumers[i], PATIENCE_MS));
        cr_assert(harness_await_metrics(consumers[i], harness_is_committed, NULL, PATIENCE_MS, &metrics));
        for (size_t p = 0; p < 2; p++) {
            cr_expect(eq(u64, metrics->partitions[p].failed, 20));
            cr_expect(eq(u64, metrics->partitions[p].succeeded, 1980));
            cr_expect(eq(u64, metrics->partitions[p].retried, 20 * 4 + 500 + 500 * 2 + 480 * 3));
        }
        free(metrics);
        cr_expect(eq(int, harness_stop(consumers[i], 10000), WEFT_OK));
        cr_expect(harness_is_content(consumers[i], text, sizeof text), "%s", text);
        check_attempts(seen[i], 2000);
        harness_free(&consumers[i]);
        free(seen[i]);
    }
    mock_close(mock);
}

/* --- one key fails until all others are through: if it held them up, it would run out of attempts */

enum { STUBBORN = 40 };

static weft_result fail_until_others(harness *under_test, const weft_record *record, judge_ticket ticket,
                                     void *context) {
    const uint64_t *others = context;
    size_t bytes;
    const char *key = weft_record_key(record, &bytes);

    (void)ticket;
    if (bytes != 2 || memcmp(key, "k7", 2) != 0) return WEFT_SUCCESS;
    return judge_ended(harness_judge(under_test)) >= *others ? WEFT_SUCCESS : WEFT_FAILURE;
}

Test(consumer_failure, a_key_that_fails_long__does_not_hold_up_the_others) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 20 * STUBBORN, .keys = 20, .value_bytes = 20};
    const char *settings[] = {"threads",
                              "1",
                              "max.attempts",
                              "1000",
                              "failure.policy",
                              "stop",
                              "retry.backoff.ms",
                              "2",
                              "retry.backoff.max.ms",
                              "20",
                              "queue.max.records",
                              "10000",
                              NULL};
    uint64_t others = 19 * STUBBORN;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = fail_until_others,
                                               .context = &others});
    harness_expect(under_test, "t", 1);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK), "%s",
              weft_consumer_error(harness_consumer(under_test)));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

/* --- the policy stop */

typedef struct one_bad {
    _Atomic int runs;
    bool good_now;
} one_bad;

static weft_result fail_at_500(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    one_bad *bad = context;

    (void)under_test;
    (void)ticket;
    if (weft_record_partition(record) != 1 || weft_record_offset(record) != 500) return WEFT_SUCCESS;
    atomic_fetch_add(&bad->runs, 1);
    return bad->good_now ? WEFT_SUCCESS : weft_record_fail(record, "no such %s", "thing");
}

Test(consumer_failure, policy_stop__ends_the_consumer__and_commits_nothing_beyond_the_record) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 2000, .keys = 200, .value_bytes = 20};
    const char *settings[] = {"threads", "4", "max.attempts", "3", "failure.policy", "stop", "retry.backoff.ms",
                              "1",       NULL};
    one_bad bad = {0};
    harness *first, *second;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    first = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                          .group = "g",
                                          .topics = "t",
                                          .settings = settings,
                                          .work = fail_at_500,
                                          .context = &bad});
    harness_expect(first, "t", 2);
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(first), PATIENCE_MS), WEFT_EHANDLER));
    cr_expect(strstr(weft_consumer_error(harness_consumer(first)), "topic t partition 1 offset 500") != NULL, "%s",
              weft_consumer_error(harness_consumer(first)));
    cr_expect(strstr(weft_consumer_error(harness_consumer(first)), "no such thing") != NULL);
    cr_expect(eq(int, harness_stop(first, 10000), WEFT_EHANDLER));
    cr_expect(eq(int, atomic_load(&bad.runs), 3));
    /* Less when a record before it had not run yet: nothing new starts once the consumer goes down. */
    cr_expect(le(i64, group_committed(mock_bootstrap(mock), "g", "t", 1, NULL, NULL), 500));

    bad.good_now = true;
    second = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                           .group = "g",
                                           .topics = "t",
                                           .settings = settings,
                                           .work = fail_at_500,
                                           .context = &bad,
                                           .judge = harness_judge(first)});
    harness_expect(second, "t", 2);
    cr_expect(harness_await_all(second, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(second, 10000), WEFT_OK));
    cr_expect(harness_is_content(second, text, sizeof text), "%s", text);
    cr_expect(eq(int, atomic_load(&bad.runs), 4));
    harness_free(&second);
    harness_free(&first);
    mock_close(mock);
}

/* --- handlers that don't end */

typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int inside;
    bool open;
    unsigned wrong; /* the record changed under the handler */
} gate;

#define GATE_CLOSED                                                                                                    \
    (gate) {                                                                                                           \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                        \
    }

static void gate_open(gate *self) {
    pthread_mutex_lock(&self->mutex);
    self->open = true;
    pthread_cond_broadcast(&self->changed);
    while (self->inside) pthread_cond_wait(&self->changed, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}

/* Offset 300 waits at the gate, and then looks whether its record is still there. */
static weft_result wait_at_gate(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    gate *self = context;
    size_t bytes;

    (void)under_test;
    (void)ticket;
    if (weft_record_offset(record) != 300 || weft_record_attempt(record) > 1) return WEFT_SUCCESS;
    pthread_mutex_lock(&self->mutex);
    self->inside++;
    pthread_cond_broadcast(&self->changed);
    while (!self->open) pthread_cond_wait(&self->changed, &self->mutex);
    const char *value = weft_record_value(record, &bytes);
    self->wrong += weft_record_offset(record) != 300 || value_sequence(value, bytes) != 3 || bytes != 5000;
    self->inside--;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    return WEFT_SUCCESS;
}

static harness *left;

Test(consumer_failure, stuck_handler__policy_stop__ends_the_consumer_and_leaves_the_thread) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 600, .keys = 100, .value_bytes = 5000};
    const char *settings[] = {"threads", "2", "handler.deadline.ms", "100", "stuck.grace.ms", "100", "stuck.policy",
                              "stop",    NULL};
    gate door = GATE_CLOSED;
    const weft_abandoned *list;
    harness *under_test;
    uint64_t began_ms;
    bool found = false;
    size_t count;

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = wait_at_gate,
                                               .context = &door});
    harness_expect(under_test, "t", 1);
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), PATIENCE_MS), WEFT_ESTUCK));
    cr_expect(strstr(weft_consumer_error(harness_consumer(under_test)), "handler.deadline.ms") != NULL);
    began_ms = must_now_ms();
    cr_expect(eq(int, harness_stop(under_test, 500), WEFT_ESTUCK));
    cr_expect(lt(u64, must_now_ms() - began_ms, 8000));
    count = weft_consumer_abandoned(harness_consumer(under_test), &list);
    for (size_t i = 0; i < count; i++) found = found || (list[i].offset == 300 && !list[i].deferred);
    cr_expect(found, "offset 300 is not among %zu", count);
    cr_expect(le(i64, group_committed(mock_bootstrap(mock), harness_group(under_test), "t", 0, NULL, NULL), 300));
    /* The record is the handler's as long as it runs, whatever became of the consumer. */
    weft_consumer *consumer = harness_consumer(under_test);
    weft_consumer_free(&consumer);
    gate_open(&door);
    cr_expect(eq(uint, door.wrong, 0));
    left = under_test; /* a thread of the consumer may still be in it */
    mock_close(mock);
}

Test(consumer_failure, stuck_handler__policy_abandon__others_go_on__and_it_may_come_back) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 600, .keys = 100, .value_bytes = 5000};
    const char *settings[] = {"threads",
                              "3",
                              "handler.deadline.ms",
                              "100",
                              "stuck.grace.ms",
                              "100",
                              "stuck.policy",
                              "abandon",
                              "retry.backoff.ms",
                              "1",
                              NULL};
    gate door = GATE_CLOSED;
    harness *under_test;
    weft_metrics *metrics;
    char text[TEXT];

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = wait_at_gate,
                                               .context = &door});
    harness_expect(under_test, "t", 1);
    /* Of the key of offset 300 there are two more behind it. */
    cr_expect(harness_await(under_test, 597, PATIENCE_MS), "only %" PRIu64, judge_ended(harness_judge(under_test)));
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), 1500), WEFT_ETIMEOUT));
    cr_assert(eq(int, weft_consumer_metrics(harness_consumer(under_test), &metrics), WEFT_OK));
    cr_expect(eq(u32, metrics->system.workers, 2));
    cr_expect(eq(i64, metrics->partitions[0].frontier, 300));
    free(metrics);
    gate_open(&door);
    cr_expect(eq(uint, door.wrong, 0));
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->partitions[0].retried, 1));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_all_committed(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

static weft_result defer_300(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    _Atomic uint64_t *token = context;

    if (weft_record_offset(record) != 300 || weft_record_attempt(record) > 2) return WEFT_SUCCESS;
    judge_end(harness_judge(under_test), ticket, JUDGE_FAILED);
    atomic_store(token, weft_record_defer(record).id);
    return WEFT_PENDING;
}

Test(consumer_failure, stuck_promise__policy_abandon__its_token_dies_and_it_runs_again) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 600, .keys = 100, .value_bytes = 50};
    const char *settings[] = {"threads",
                              "3",
                              "handler.deadline.ms",
                              "60",
                              "stuck.grace.ms",
                              "60",
                              "stuck.policy",
                              "abandon",
                              "retry.backoff.ms",
                              "1",
                              NULL};
    _Atomic uint64_t token = 0;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = defer_300, .context = &token});
    harness_expect(under_test, "t", 1);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, weft_complete((weft_token){atomic_load(&token)}, WEFT_SUCCESS, NULL), WEFT_ESTALE));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(eq(u64, judge_verdict_now(harness_judge(under_test)).started, 602));
    harness_free(&under_test);
    mock_close(mock);
}

/* --- limits of the machine */

Test(consumer_failure, too_many_threads__are_refused_with_the_numbers) {
    const struct rlimit low = {.rlim_cur = 1024, .rlim_max = 1024};
    const char *settings[] = {"threads", "10000", NULL};
    const char *fewer[] = {"threads", "150", NULL};
    harness *under_test;
    weft_status status;
    char *error;

    cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &low), 0));
    under_test =
        harness_try(&(harness_plan){.bootstrap = "127.0.0.1:1", .topics = "t", .settings = settings}, &status, &error);
    cr_assert(under_test == NULL);
    cr_expect(eq(int, status, WEFT_ELIMIT));
    cr_expect(strstr(error, "threads = 10000") && strstr(error, "1024") && strstr(error, "ulimit -n"), "%s", error);
    free(error);
    /* What it says is possible, is. */
    under_test =
        harness_try(&(harness_plan){.bootstrap = "127.0.0.1:1", .topics = "t", .settings = fewer}, &status, &error);
    cr_assert(under_test != NULL, "%s", error);
    cr_expect(eq(int, harness_stop(under_test, 1000), WEFT_OK));
    harness_free(&under_test);
}
