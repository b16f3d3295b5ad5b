/* SPDX-License-Identifier: Apache-2.0
 *
 * What one part may not do to the others: a partition whose map is full, a key that stands still.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"

TestSuite(consumer_bounds, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000 };

/* --- a full map */

enum { EACH = 3000, HELD_MAX = EACH };

typedef struct promises {
    pthread_mutex_t mutex;
    struct {
        weft_token token;
        judge_ticket ticket;
    } held[HELD_MAX];
    size_t count;
    bool release;
} promises;

/* Of partition 0 every other record is promised and not finished, as long as it is not released: the worst of all maps.
 */
static weft_result hold_every_other(harness *under_test, const weft_record *record, judge_ticket ticket,
                                    void *context) {
    promises *self = context;
    weft_result result = WEFT_SUCCESS;

    (void)under_test;
    if (weft_record_partition(record) != 0 || weft_record_offset(record) % 2) return WEFT_SUCCESS;
    pthread_mutex_lock(&self->mutex);
    if (!self->release) {
        self->held[self->count].token = weft_record_defer(record);
        self->held[self->count++].ticket = ticket;
        result = WEFT_PENDING;
    }
    pthread_mutex_unlock(&self->mutex);
    return result;
}

static bool others_are_done(const weft_metrics *metrics, void *context) {
    size_t done = 0;

    for (size_t i = 0; i < metrics->partition_count; i++)
        done += metrics->partitions[i].partition != 0 && metrics->partitions[i].committed == EACH;
    *(bool *)context |= metrics->system.metadata_dropped > 0;
    return done == 3;
}

static bool partition_0_is_held(const weft_metrics *metrics, void *context) {
    (void)context;
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (metrics->partitions[i].partition == 0 && metrics->partitions[i].held) return true;
    return false;
}

static void release(harness *under_test, promises *self) {
    pthread_mutex_lock(&self->mutex);
    self->release = true;
    pthread_mutex_unlock(&self->mutex);
    for (size_t i = 0; i < self->count; i++)
        cr_expect(
            eq(int, harness_complete(under_test, self->held[i].token, self->held[i].ticket, WEFT_SUCCESS), WEFT_OK));
}

static void fill_a_map(const char *const *settings) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 4 * EACH, .keys = 4 * EACH, .value_bytes = 20};
    promises *state = must_alloc(1, sizeof *state);
    bool dropped = false;
    weft_metrics *metrics;
    harness *under_test;
    char text[TEXT];

    pthread_mutex_init(&state->mutex, NULL);
    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = hold_every_other,
                                               .context = state});
    harness_expect(under_test, "t", 4);
    cr_assert(harness_await_metrics(under_test, others_are_done, &dropped, PATIENCE_MS, NULL));
    cr_expect(harness_await_metrics(under_test, partition_0_is_held, NULL, PATIENCE_MS, NULL));
    cr_expect(lt(sz, state->count, 400)); /* 64 bytes hold the marks of some 330 records */
    cr_expect(gt(sz, state->count, 50));
    release(under_test, state);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->system.metadata_dropped, 0));
    cr_expect(not(dropped));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    free(state);
    mock_close(mock);
}

Test(consumer_bounds, map_full__that_partition_stops_alone_and_no_map_is_dropped) {
    fill_a_map((const char *[]){"threads", "2", "offset.metadata.max.bytes", "64", "partition.max.records", "500",
                                "commit.interval.ms", "20", NULL});
}

/* Less fits, and none of it is dropped either. */
Test(consumer_bounds, map_full__in_the_format_of_another_consumer__no_map_is_dropped) {
    static const char *const formats[] = {"pyrallel", "confluent"};
    for (int i = 0; i < 2; i++)
        fill_a_map((const char *[]){"threads", "2", "offset.metadata.max.bytes", "64", "partition.max.records", "500",
                                    "commit.interval.ms", "20", "metadata.format", formats[i], NULL});
}

/* The full partition has all the credit before anybody looks: what it can't start goes back to Kafka. */
Test(consumer_bounds, map_full__with_a_short_queue__the_others_get_their_credit_back) {
    fill_a_map((const char *[]){"threads", "2", "offset.metadata.max.bytes", "64", "queue.max.records", "1000",
                                "commit.interval.ms", "20", NULL});
}

/* --- half of all records have one key, and its first one stands still */

typedef struct hot_key {
    _Atomic bool kept;
    weft_token token;
    judge_ticket ticket;
} hot_key;

/* The first record of the hot key is promised; all others of it must wait for that. */
static weft_result promise_first(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    hot_key *hot = context;

    (void)under_test;
    if (weft_record_offset(record) != 1) return WEFT_SUCCESS;
    hot->ticket = ticket;
    hot->token = weft_record_defer(record);
    atomic_store(&hot->kept, true);
    return WEFT_PENDING;
}

Test(consumer_bounds, half_on_one_key_that_stands_still__all_others_finish) {
    mock_cluster *mock = mock_open(1);
    const char *settings[] = {"threads", "2", NULL};
    static hot_key hot;
    harness *under_test;
    char key[16], text[TEXT];

    mock_topic(mock, "t", 1);
    test_producer *producer = producer_open(mock_bootstrap(mock), NULL);
    for (int i = 0; i < 8000; i++) {
        snprintf(key, sizeof key, i % 2 ? "hot" : "k%d", i % 100);
        producer_put(producer, &(produced_record){.topic = "t", .key = key, .key_bytes = strlen(key)});
    }
    producer_close(producer);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = promise_first,
                                               .context = &hot});
    cr_assert(eq(u64, harness_expect(under_test, "t", 1), 8000));
    cr_expect(harness_await(under_test, 4000, PATIENCE_MS));
    cr_expect(eq(u64, judge_ended(harness_judge(under_test)), 4000));
    cr_assert(atomic_load(&hot.kept));
    cr_expect(eq(int, harness_complete(under_test, hot.token, hot.ticket, WEFT_SUCCESS), WEFT_OK));
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}
