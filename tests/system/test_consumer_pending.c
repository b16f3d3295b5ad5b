/* SPDX-License-Identifier: Apache-2.0
 *
 * Deferred records: completed by other threads, early, twice, late, never; and handlers that answer what they must not.
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
#include "topic.h"

TestSuite(consumer_pending, .timeout = 55);

enum { PATIENCE_MS = 30000, TEXT = 2000 };

/* --- a thread that keeps promises, in random order */

typedef struct promise {
    weft_token token;
    judge_ticket ticket;
    int64_t offset;
    unsigned attempt;
} promise;

typedef struct keeper {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    promise *promises;
    size_t count, room;
    size_t most; /* that were open at once */
    bool end;
    harness *under_test;
    unsigned fail_percent; /* of first attempts */
    uint64_t failed, stale, twice_stale, completed;
    pthread_t thread;
} keeper;

static void *keep(void *context) {
    keeper *self = context;
    seeded random = seeded_start(23, 0);

    pthread_mutex_lock(&self->mutex);
    while (!self->end || self->count) {
        promise taken;
        size_t index;
        bool fails;

        if (self->count == 0) {
            pthread_cond_wait(&self->changed, &self->mutex);
            continue;
        }
        index = seeded_below(&random, self->count);
        taken = self->promises[index];
        self->promises[index] = self->promises[--self->count];
        fails = taken.attempt == 1 && seeded_percent(&random, self->fail_percent);
        self->failed += fails;
        pthread_mutex_unlock(&self->mutex);
        weft_status status =
            harness_complete(self->under_test, taken.token, taken.ticket, fails ? WEFT_FAILURE : WEFT_SUCCESS);
        weft_status again = weft_complete(taken.token, WEFT_SUCCESS, NULL);
        pthread_mutex_lock(&self->mutex);
        self->completed++;
        self->stale += status != WEFT_OK;
        self->twice_stale += again == WEFT_ESTALE;
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

static void keeper_start(keeper *self, unsigned fail_percent) {
    *self = (keeper){.fail_percent = fail_percent};
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->changed, NULL);
    MUST(pthread_create(&self->thread, NULL, keep, self) == 0, "no thread");
}

static void keeper_add(keeper *self, harness *under_test, promise added) {
    pthread_mutex_lock(&self->mutex);
    self->under_test = under_test;
    if (self->count == self->room) {
        self->room = self->room ? 2 * self->room : 1024;
        self->promises = realloc(self->promises, self->room * sizeof *self->promises);
        MUST(self->promises, "out of memory");
    }
    self->promises[self->count++] = added;
    if (self->count > self->most) self->most = self->count;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void keeper_end(keeper *self) {
    pthread_mutex_lock(&self->mutex);
    self->end = true;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    pthread_join(self->thread, NULL);
    free(self->promises);
}

/* Each way of answering: from here at once, from here before the return, from the keeper, or not deferred at all. */
static weft_result answer(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    keeper *self = context;
    int64_t offset = weft_record_offset(record);
    promise made = {.ticket = ticket, .offset = offset, .attempt = weft_record_attempt(record)};

    if (offset % 10 == 3) return WEFT_SUCCESS;
    made.token = weft_record_defer(record);
    MUST(made.token.id, "a record can't be deferred");
    if (offset % 10 == 4) {
        MUST(harness_complete(under_test, made.token, ticket, WEFT_SUCCESS) == WEFT_OK, "completed before the return");
        MUST(weft_complete(made.token, WEFT_SUCCESS, NULL) == WEFT_ESTALE, "completed twice before the return");
        return WEFT_PENDING;
    }
    keeper_add(self, under_test, made);
    return WEFT_PENDING;
}

Test(consumer_pending, thousands_on_two_threads__completed_in_any_order__keys_keep_theirs) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 40000, .keys = 4000, .value_bytes = 100};
    const char *settings[] = {
        "threads", "2", "pending.max.records", "3000", "queue.max.records", "4000", "retry.backoff.ms", "1", NULL};
    keeper promises;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    keeper_start(&promises, 30);
    under_test = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = answer, .context = &promises});
    harness_expect(under_test, "t", 4);
    cr_expect(harness_await_all(under_test, PATIENCE_MS), "not all in time");
    keeper_end(&promises);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(gt(u64, promises.failed, 5000));
    cr_expect(eq(u64, promises.stale, 0));
    cr_expect(eq(u64, promises.twice_stale, promises.completed));
    harness_free(&under_test);
    mock_close(mock);
}

/* --- answers that a handler must not give */

static weft_result nonsense(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    weft_token *kept = context;
    weft_token token;

    (void)ticket;
    (void)under_test;
    if (weft_record_attempt(record) > 1) return WEFT_SUCCESS;
    switch (weft_record_offset(record) % 8) {
    case 0:
        return (weft_result)77;
    case 1:
        return (weft_result)-1;
    case 2: /* promised without a token */
        judge_end(harness_judge(under_test), ticket, JUDGE_FAILED);
        return WEFT_PENDING;
    case 3: /* deferred, and answered all the same */
        token = weft_record_defer(record);
        kept[weft_record_offset(record)] = token;
        return WEFT_SUCCESS;
    case 4:
        kept[weft_record_offset(record)] = weft_record_defer(record);
        return WEFT_FAILURE;
    case 5: /* a second token for the same record is none */
        token = weft_record_defer(record);
        if (weft_record_defer(record).id != 0) return WEFT_SUCCESS;
        MUST(weft_complete(token, WEFT_PENDING, NULL) == WEFT_EINVAL, "completed with WEFT_PENDING");
        MUST(weft_complete(token, (weft_result)9, NULL) == WEFT_EINVAL, "completed with 9");
        harness_complete(under_test, token, ticket, WEFT_FAILURE);
        return WEFT_PENDING;
    case 6:
        return weft_record_fail(record, "%0512d", 1);
    default:
        return WEFT_SUCCESS;
    }
}

static weft_result pending_inline(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    _Atomic int *tokens = context;

    if (weft_record_attempt(record) > 1) return WEFT_SUCCESS;
    if (weft_record_defer(record).id) atomic_fetch_add(tokens, 1);
    judge_end(harness_judge(under_test), ticket, JUDGE_FAILED);
    return WEFT_PENDING;
}

static uint64_t retried(const weft_metrics *metrics) {
    uint64_t sum = 0;

    for (size_t i = 0; i < metrics->partition_count; i++) sum += metrics->partitions[i].retried;
    return sum;
}

Test(consumer_pending, nonsense_from_handlers__counts_as_failure__and_is_tried_again) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 800, .keys = 800, .value_bytes = 10};
    const char *settings[] = {"threads", "3", "retry.backoff.ms", "2", NULL};
    const char *in_turn[] = {"engine", "inline", "retry.backoff.ms", "2", NULL};
    weft_token *kept = must_alloc(800, sizeof *kept);
    _Atomic int tokens = 0;
    harness *async, *inline_one;
    weft_metrics *metrics;
    char text[TEXT];

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    async = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = nonsense, .context = kept});
    inline_one = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = in_turn,
                                               .work = pending_inline,
                                               .context = &tokens});
    harness_expect(async, "t", 1);
    harness_expect(inline_one, "t", 1);
    cr_expect(harness_await_all(async, PATIENCE_MS));
    cr_expect(harness_await_all(inline_one, PATIENCE_MS));

    cr_assert(harness_await_metrics(async, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, retried(metrics), 600)); /* six of eight */
    free(metrics);
    cr_assert(harness_await_metrics(inline_one, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, retried(metrics), 800));
    free(metrics);
    cr_expect(eq(int, atomic_load(&tokens), 0));
    for (int i = 0; i < 800; i++) {
        if (i % 8 == 3 || i % 8 == 4) cr_expect(eq(int, weft_complete(kept[i], WEFT_SUCCESS, NULL), WEFT_ESTALE));
    }
    cr_expect(eq(int, harness_stop(async, 10000), WEFT_OK));
    cr_expect(eq(int, harness_stop(inline_one, 10000), WEFT_OK));
    cr_expect(harness_is_content(async, text, sizeof text), "%s", text);
    cr_expect(harness_is_content(inline_one, text, sizeof text), "%s", text);
    harness_free(&async);
    harness_free(&inline_one);
    free(kept);
    mock_close(mock);
}

/* --- promises that nobody keeps, and the restart after them */

typedef struct held_back {
    pthread_mutex_t mutex;
    int64_t offsets[4];
    weft_token tokens[4];
    judge_ticket tickets[4];
    unsigned count;
    bool release; /* succeed instead */
    _Atomic uint64_t runs;
} held_back;

static weft_result hold_three(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    held_back *held = context;
    int64_t offset = weft_record_offset(record);

    (void)under_test;
    atomic_fetch_add(&held->runs, 1);
    if (held->release || (offset != 17 && offset != 1900 && offset != 2500)) return WEFT_SUCCESS;
    pthread_mutex_lock(&held->mutex);
    MUST(held->count < 3, "a deferred record ran again in the same consumer");
    held->offsets[held->count] = offset;
    held->tickets[held->count] = ticket;
    held->tokens[held->count++] = weft_record_defer(record);
    pthread_mutex_unlock(&held->mutex);
    return WEFT_PENDING;
}

static bool abandoned_has(const weft_abandoned *list, size_t count, int64_t offset) {
    for (size_t i = 0; i < count; i++) {
        if (list[i].offset == offset) {
            return strcmp(list[i].topic, "t") == 0 && list[i].partition == 0 && list[i].deferred &&
                   list[i].attempt == 1 && list[i].running_ns > 0;
        }
    }
    return false;
}

Test(consumer_pending, never_completed__stop_abandons_them__restart_runs_exactly_those) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 6000, .keys = 6000, .value_bytes = 20};
    held_back held = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const weft_abandoned *list;
    harness *first, *second;
    char text[TEXT], *metadata = NULL;
    size_t bytes = 0;

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    first = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t", .work = hold_three, .context = &held});
    harness_expect(first, "t", 1);
    cr_assert(harness_await(first, 5997, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(first, 300), WEFT_EABANDONED));
    cr_assert(eq(sz, weft_consumer_abandoned(harness_consumer(first), &list), 3));
    cr_expect(abandoned_has(list, 3, 17) && abandoned_has(list, 3, 1900) && abandoned_has(list, 3, 2500));
    for (unsigned i = 0; i < held.count; i++) {
        cr_expect(eq(int, weft_complete(held.tokens[i], WEFT_SUCCESS, "too late"), WEFT_ESTALE));
        judge_end(harness_judge(first), held.tickets[i], JUDGE_DIED);
    }
    cr_expect(eq(i64, group_committed(mock_bootstrap(mock), "g", "t", 0, &metadata, &bytes), 17));
    cr_expect(gt(sz, bytes, 0));
    free(metadata);

    held.release = true;
    atomic_store(&held.runs, 0);
    second = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                           .group = "g",
                                           .topics = "t",
                                           .work = hold_three,
                                           .context = &held,
                                           .judge = harness_judge(first)});
    harness_expect(second, "t", 1);
    cr_expect(harness_await_all(second, PATIENCE_MS));
    cr_expect(harness_await_metrics(second, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(second, 10000), WEFT_OK));
    cr_expect(harness_is_content(second, text, sizeof text), "%s", text);
    cr_expect(eq(u64, atomic_load(&held.runs), 3));
    harness_free(&second);
    harness_free(&first);
    mock_close(mock);
}

/* --- a promise kept after an hour, beside work that goes on */

typedef struct long_ones {
    pthread_mutex_t mutex;
    promise promises[512];
    size_t count;
} long_ones;

static weft_result hold_some(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    long_ones *held = context;

    (void)under_test;
    if (weft_record_offset(record) % 500 != 250) return WEFT_SUCCESS;
    pthread_mutex_lock(&held->mutex);
    MUST(held->count < 512, "too many are deferred");
    held->promises[held->count++] = (promise){.token = weft_record_defer(record), .ticket = ticket};
    pthread_mutex_unlock(&held->mutex);
    return WEFT_PENDING;
}

static bool watch_memory(const weft_metrics *metrics, void *context) {
    uint64_t *most = context;
    uint64_t gaps = 0;

    if (metrics->system.held_bytes > *most) *most = metrics->system.held_bytes;
    for (size_t i = 0; i < metrics->partition_count; i++) gaps += metrics->partitions[i].gap_count;
    /* Everything but the deferred ones is finished; the offset tracker may hear of it a moment later. */
    return gaps == 200 && metrics->system.fetched >= 100000 && metrics->system.total_pending == 200 &&
           metrics->system.total_queued == 0 && metrics->system.total_in_flight == 200;
}

Test(consumer_pending, one_in_500_held_for_ever__the_others_go_on__in_bounded_memory) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 100000, .keys = 100000, .value_bytes = 100};
    const char *settings[] = {
        "threads", "2", "queue.max.records", "2000", "queue.max.bytes", "1000000", "commit.interval.ms", "50", NULL};
    long_ones held = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    uint64_t most = 0;
    harness *under_test;
    weft_metrics *metrics = NULL;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .lanes = JUDGE_KEYS,
                                               .work = hold_some,
                                               .context = &held});
    cr_assert(eq(u64, harness_expect(under_test, "t", 4), 100000));
    cr_assert(harness_await_metrics(under_test, watch_memory, &most, PATIENCE_MS, &metrics), "%zu are deferred",
              held.count);
    /* The queue's bytes, one record over it, and the 200 deferred ones. */
    cr_expect(lt(u64, most, 1000000 + 201 * 1000));
    for (size_t i = 0; i < metrics->partition_count; i++) {
        cr_expect(eq(i64, metrics->partitions[i].frontier, 250));
        cr_expect(eq(u64, metrics->partitions[i].gap_count, 50));
        cr_expect(eq(i64, metrics->partitions[i].blocking_offset, 250));
        cr_expect(gt(dbl, metrics->partitions[i].blocking_duration_seconds, 0.0));
        cr_expect(eq(i64, metrics->partitions[i].true_lag, 24750));
    }
    free(metrics);
    for (size_t i = 0; i < held.count; i++) {
        cr_expect(eq(int, harness_complete(under_test, held.promises[i].token, held.promises[i].ticket, WEFT_SUCCESS),
                     WEFT_OK));
    }
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

/* --- promises that fail and wait for their next try are in hand like any other record */

static weft_result fail_at_once(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    const _Atomic bool *succeed = context;
    weft_token token = weft_record_defer(record);

    MUST(token.id, "a record can't be deferred");
    harness_complete(under_test, token, ticket, atomic_load(succeed) ? WEFT_SUCCESS : WEFT_FAILURE);
    return WEFT_PENDING;
}

typedef struct in_hand {
    uint64_t most;
    uint64_t fetched;
    unsigned same; /* looks in a row with the same count of fetched records */
} in_hand;

static bool is_at_rest(const weft_metrics *metrics, void *context) {
    in_hand *seen = context;
    uint64_t now = metrics->system.total_queued + metrics->system.total_in_flight;

    if (now > seen->most) seen->most = now;
    seen->same = metrics->system.fetched == seen->fetched ? seen->same + 1 : 0;
    seen->fetched = metrics->system.fetched;
    return seen->fetched > 0 && seen->same > 50 && metrics->system.total_in_flight == 0;
}

Test(consumer_pending, deferred_and_failed__waiting_for_retries__stay_within_the_queue) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 20000, .keys = 20000, .value_bytes = 20};
    const char *settings[] = {"threads",
                              "2",
                              "pending.max.records",
                              "300",
                              "queue.max.records",
                              "500",
                              "in.flight.max.records",
                              "100",
                              "retry.backoff.ms",
                              "3000",
                              "retry.backoff.max.ms",
                              "3000",
                              "max.attempts",
                              "1000",
                              "partition.max.records",
                              "500",
                              NULL};
    _Atomic bool succeed = false;
    in_hand seen = {0};
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = fail_at_once,
                                               .context = &succeed});
    harness_expect(under_test, "t", 4);
    cr_assert(harness_await_metrics(under_test, is_at_rest, &seen, PATIENCE_MS, NULL));
    cr_expect(le(u64, seen.most, 500 + 300 + 100));
    atomic_store(&succeed, true);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}
