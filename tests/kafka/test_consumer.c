/* SPDX-License-Identifier: Apache-2.0
 *
 * The consumer on a real broker: what the mock has not. Holes that transactions leave, logs that begin late or begin
 * anew, commit metadata, groups that rebalance as Kafka does.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(consumer, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000 };

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");

    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

static weft_result nap(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    const struct timespec pause = {.tv_nsec = 100000};

    (void)under_test;
    (void)record;
    (void)ticket;
    (void)context;
    nanosleep(&pause, NULL);
    return WEFT_SUCCESS;
}

static void finish(harness *under_test) {
    char text[TEXT];

    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
}

Test(consumer, keys__in_order__all_committed) {
    char *topic = must_name("plain");
    keyed_plan plan = {.topic = topic, .partitions = 6, .records = 60000, .keys = 3000, .value_bytes = 200};
    const char *settings[] = {"threads", "6", NULL};
    harness *under_test;

    topic_create(bootstrap(), topic, 6, NULL);
    produce_keyed(bootstrap(), &plan);
    under_test = harness_start(
        &(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic, .settings = settings});
    cr_assert(eq(u64, harness_expect(under_test, topic, 6), 60000));
    finish(under_test);
    free(topic);
}

/* --- holes */

static void put(test_producer *producer, const char *topic, int32_t partition, const char *key, const char *value) {
    producer_put(producer, &(produced_record){.topic = topic,
                                              .partition = partition,
                                              .key = key,
                                              .key_bytes = strlen(key),
                                              .value = value,
                                              .value_bytes = strlen(value)});
}

typedef struct kept {
    _Atomic uint64_t kept, dropped;
} kept;

static weft_result count_kept(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    kept *counts = context;
    size_t bytes;
    const char *value = weft_record_value(record, &bytes);

    (void)under_test;
    (void)ticket;
    atomic_fetch_add(bytes == 4 && memcmp(value, "kept", 4) == 0 ? &counts->kept : &counts->dropped, 1);
    return WEFT_SUCCESS;
}

/* Per round: some records kept, some dropped, in up to two partitions; so markers of both kinds lie between and behind
 * them. */
static uint64_t transact(test_producer *producer, const char *topic, int rounds) {
    uint64_t count = 0;

    for (int i = 0; i < rounds; i++) {
        char key[16];

        snprintf(key, sizeof key, "k%d", i % 7);
        producer_begin(producer);
        for (int n = 0; n <= i % 3; n++, count++) put(producer, topic, i % 2, key, "kept");
        producer_commit(producer);
        producer_begin(producer);
        for (int n = 0; n <= i % 4; n++) put(producer, topic, 0, key, "dropped");
        producer_flush(producer); /* into the log, or there is nothing to abort */
        producer_abort(producer);
    }
    return count;
}

Test(consumer, transaction_markers__between_and_at_the_end__lag_reaches_0_and_all_is_committed) {
    char *topic = must_name("markers"), *name = must_name("transaction");
    const char *transactional[] = {"transactional.id", name, NULL};
    const char *settings[] = {"commit.interval.ms", "100", "threads", "3", NULL};
    test_producer *producer = producer_open(bootstrap(), transactional);
    kept counts = {0};
    weft_metrics *metrics;
    uint64_t expected;
    harness *under_test;
    char text[TEXT];

    topic_create(bootstrap(), topic, 2, NULL);
    expected = transact(producer, topic, 40);
    under_test = harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                               .real_broker = true,
                                               .topics = topic,
                                               .settings = settings,
                                               .work = count_kept,
                                               .context = &counts});
    cr_expect(harness_await(under_test, expected, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    /* And more while it watches: the last offset of partition 0 is a marker behind records that nobody sees. */
    expected += transact(producer, topic, 40);
    producer_close(producer);
    harness_watch(under_test, topic, 2);
    cr_expect(harness_await(under_test, expected, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    for (size_t i = 0; i < 2; i++) cr_expect(eq(u64, metrics->partitions[i].gap_count, 0));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(eq(u64, counts.kept, expected));
    cr_expect(eq(u64, counts.dropped, 0));
    harness_free(&under_test);
    free(name);
    free(topic);
}

/* --- where logs begin */

Test(consumer, log_that_begins_at_4711__for_a_new_group_and_for_one_that_is_behind) {
    char *topic = must_name("late"), *group = must_name("behind");
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 6000, .keys = 100, .value_bytes = 100};
    harness *fresh, *behind;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    topic_truncate(bootstrap(), topic, 0, 4711);
    group_commit(bootstrap(), group, topic, 0, 10, NULL, 0);
    fresh = harness_start(&(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic});
    behind =
        harness_start(&(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic, .group = group});
    cr_assert(eq(u64, harness_expect(fresh, topic, 1), 1289));
    harness_expect(behind, topic, 1);
    finish(fresh);
    finish(behind);
    free(group);
    free(topic);
}

static bool is_at_end_of_log(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 1 && metrics->partitions[0].log_end == 100 &&
           metrics->partitions[0].frontier == 100;
}

Test(consumer, committed_beyond_the_log__begins_where_auto_offset_reset_says) {
    char *topic = must_name("beyond"), *groups[] = {must_name("early"), must_name("late")};
    const char *latest[] = {"auto.offset.reset", "latest", "commit.interval.ms", "50", NULL};
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 100, .keys = 10, .value_bytes = 100};
    harness *early, *late;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    for (int i = 0; i < 2; i++) group_commit(bootstrap(), groups[i], topic, 0, 500000, NULL, 0);
    early = harness_start(
        &(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic, .group = groups[0]});
    late = harness_start(&(harness_plan){
        .bootstrap = bootstrap(), .real_broker = true, .topics = topic, .group = groups[1], .settings = latest});
    harness_expect(early, topic, 1);
    finish(early);
    cr_expect(harness_await_metrics(late, is_at_end_of_log, NULL, PATIENCE_MS, NULL));
    plan.first = 100;
    produce_keyed(bootstrap(), &plan);
    judge_expect(harness_judge(late), topic, 0, 100, 200);
    harness_watch(late, topic, 1);
    cr_expect(harness_await(late, 100, PATIENCE_MS));
    finish(late);
    for (int i = 0; i < 2; i++) free(groups[i]);
    free(topic);
}

static bool succeeded_again(const weft_metrics *metrics, void *context) {
    uint64_t sum = 0;

    for (size_t i = 0; i < metrics->partition_count; i++) sum += metrics->partitions[i].succeeded;
    return sum >= *(uint64_t *)context && harness_is_committed(metrics, NULL);
}

Test(consumer, topic_made_anew__while_it_is_read__is_read_from_its_beginning) {
    char *topic = must_name("anew");
    const char *settings[] = {"commit.interval.ms", "100", "kafka.topic.metadata.refresh.interval.ms", "300", NULL};
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 3000, .keys = 10, .value_bytes = 100};
    uint64_t sum = 3000;
    harness *under_test;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    under_test = harness_start(
        &(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic, .settings = settings});
    cr_expect(harness_await_metrics(under_test, succeeded_again, &sum, PATIENCE_MS, NULL));
    topic_delete(bootstrap(), topic);
    topic_create(bootstrap(), topic, 1, NULL);
    plan.records = 500;
    produce_keyed(bootstrap(), &plan);
    sum = 3500;
    cr_expect(harness_await_metrics(under_test, succeeded_again, &sum, PATIENCE_MS, NULL));
    /* librdkafka 2.0.2 sometimes does not end after a topic was deleted under it: its threads are left behind then, in
     * time. */
    weft_status status = harness_stop(under_test, 3000);
    cr_expect(status == WEFT_OK || status == WEFT_EABANDONED, "%s", weft_status_text(status));
    cr_expect(eq(i64, group_committed(bootstrap(), harness_group(under_test), topic, 0, NULL, NULL), 500));
    harness_free(&under_test);
    free(topic);
}

/* --- restart */

typedef struct held_one {
    _Atomic uint64_t token;
    judge_ticket ticket;
    bool hold;
    _Atomic uint64_t runs;
} held_one;

static weft_result hold_the_tenth(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    held_one *held = context;

    (void)under_test;
    atomic_fetch_add(&held->runs, 1);
    if (!held->hold || weft_record_offset(record) != 10) return WEFT_SUCCESS;
    held->ticket = ticket;
    atomic_store(&held->token, weft_record_defer(record).id);
    return WEFT_PENDING;
}

static bool map_is_committed(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 1 && metrics->partitions[0].committed == 10 &&
           metrics->partitions[0].metadata_bytes > 0 && metrics->partitions[0].gap_count == 1;
}

static bool all_restored(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 1 && metrics->partitions[0].restored == 19989;
}

Test(consumer, restart_with_one_unfinished__runs_that_one_and_nothing_else) {
    char *topic = must_name("map"), *group = must_name("group");
    const char *settings[] = {"threads", "2", "commit.interval.ms", "50", NULL};
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 20000, .keys = 20000, .value_bytes = 30};
    held_one held = {.hold = true};
    harness *first, *second;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    first = harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                          .real_broker = true,
                                          .topics = topic,
                                          .group = group,
                                          .settings = settings,
                                          .work = hold_the_tenth,
                                          .context = &held});
    harness_expect(first, topic, 1);
    cr_expect(harness_await(first, 19999, PATIENCE_MS));
    cr_expect(harness_await_metrics(first, map_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(first, 100), WEFT_EABANDONED));
    cr_expect(eq(int, weft_complete((weft_token){atomic_load(&held.token)}, WEFT_SUCCESS, NULL), WEFT_ESTALE));
    judge_end(harness_judge(first), held.ticket, JUDGE_DIED);

    held.hold = false;
    atomic_store(&held.runs, 0);
    second = harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                           .real_broker = true,
                                           .topics = topic,
                                           .group = group,
                                           .settings = settings,
                                           .work = hold_the_tenth,
                                           .context = &held,
                                           .judge = harness_judge(first)});
    /* The frontier jumps over the map at once; the records of it still come, and are put aside. */
    cr_expect(harness_await_metrics(second, all_restored, NULL, PATIENCE_MS, NULL));
    harness_expect(second, topic, 1);
    finish(second);
    cr_expect(eq(u64, atomic_load(&held.runs), 1));
    harness_free(&first);
    free(group);
    free(topic);
}

/* --- groups */

static bool has_some(const weft_metrics *metrics, void *context) {
    return metrics->partition_count == *(size_t *)context;
}

static void join_and_leave(const char *strategy, bool exactly_once_each) {
    char *topic = must_name("group"), *group = must_name("group");
    const char *settings[] = {"threads",
                              "3",
                              "queue.max.records",
                              "2000",
                              "commit.interval.ms",
                              "100",
                              "kafka.heartbeat.interval.ms",
                              "200",
                              "kafka.partition.assignment.strategy",
                              strategy,
                              NULL};
    keyed_plan plan = {.topic = topic, .partitions = 6, .records = 90000, .keys = 1200, .value_bytes = 30};
    test_judge *judge = judge_new(JUDGE_KEYS);
    size_t three = 3, six = 6;
    harness *first, *second;
    char text[TEXT];

    topic_create(bootstrap(), topic, 6, NULL);
    produce_keyed(bootstrap(), &plan);
    first = harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                          .real_broker = true,
                                          .group = group,
                                          .topics = topic,
                                          .settings = settings,
                                          .judge = judge,
                                          .work = nap});
    harness_expect(first, topic, 6);
    for (int round = 0; round < 3; round++) {
        cr_expect(harness_await(first, judge_ended(judge) + 3000, PATIENCE_MS));
        second = harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                               .real_broker = true,
                                               .group = group,
                                               .topics = topic,
                                               .settings = settings,
                                               .judge = judge,
                                               .work = nap});
        cr_expect(harness_await_metrics(second, has_some, &three, PATIENCE_MS, NULL));
        cr_expect(harness_await_metrics(first, has_some, &three, PATIENCE_MS, NULL));
        cr_expect(harness_await(first, judge_ended(judge) + 3000, PATIENCE_MS));
        cr_expect(eq(int, harness_stop(second, 10000), WEFT_OK));
        harness_free(&second);
        cr_expect(harness_await_metrics(first, has_some, &six, PATIENCE_MS, NULL));
    }
    bool all = harness_await_all(first, PATIENCE_MS);
    /* What was done and lost before its commit is done again: a stop need not wait for that. */
    bool committed = harness_await_metrics(first, harness_is_committed, NULL, PATIENCE_MS, NULL);
    harness_describe(first, text, sizeof text);
    cr_expect(all && committed, "%s", text);
    cr_expect(eq(int, harness_stop(first, 10000), WEFT_OK));
    if (exactly_once_each) {
        cr_expect(harness_is_content(first, text, sizeof text), "%s", text);
    } else {
        judge_verdict verdict = judge_verdict_now(judge);

        cr_expect(eq(u64, verdict.missing + verdict.out_of_order + verdict.overlaps, 0), "%s %s %s", verdict.example[0],
                  verdict.example[2], verdict.example[3]);
        cr_expect(harness_is_all_committed(first, text, sizeof text), "%s", text);
    }
    harness_free(&first);
    judge_free(judge);
    free(group);
    free(topic);
}

Test(consumer, second_member__eager__comes_and_goes__each_record_once) {
    join_and_leave("range", true);
}

Test(consumer, second_member__cooperative__comes_and_goes__nothing_is_lost) {
    join_and_leave("cooperative-sticky", false);
}
