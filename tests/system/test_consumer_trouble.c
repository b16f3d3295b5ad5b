/* SPDX-License-Identifier: Apache-2.0
 *
 * Trouble from outside: brokers that are away, requests that fail, logs that are not as the group remembers them,
 * members that come and go.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(consumer_trouble, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000 };

static const struct timespec short_nap = {.tv_nsec = 150000};

static weft_result nap(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test;
    (void)record;
    (void)ticket;
    (void)context;
    nanosleep(&short_nap, NULL);
    return WEFT_SUCCESS;
}

/* --- brokers */

Test(consumer_trouble, broker_away__at_the_start_and_later__is_waited_for) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 20000, .keys = 200, .value_bytes = 50};
    const char *settings[] = {"threads",
                              "2",
                              "queue.max.records",
                              "500",
                              "kafka.queued.min.messages",
                              "500",
                              "kafka.reconnect.backoff.max.ms",
                              "200",
                              "kafka.session.timeout.ms",
                              "60000",
                              NULL};
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(
        &(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = nap});
    harness_expect(under_test, "t", 2);
    harness_stop(under_test, 0);
    harness_free(&under_test);

    mock_broker_up(mock, 1, 0);
    under_test = harness_start(
        &(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = nap});
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), 700), WEFT_ETIMEOUT));
    cr_expect(eq(u64, judge_verdict_now(harness_judge(under_test)).started, 0));
    mock_broker_up(mock, 1, 1);
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await(under_test, 4000, PATIENCE_MS));
    mock_broker_up(mock, 1, 0);
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), 500), WEFT_ETIMEOUT));
    mock_broker_up(mock, 1, 1);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

Test(consumer_trouble, broker_away__stop_ends_within_its_time) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 2000, .keys = 200, .value_bytes = 50};
    const char *settings[] = {"commit.interval.ms", "60000", NULL};
    harness *under_test;
    uint64_t began_ms;

    /* Nobody has ever answered. */
    under_test = harness_start(&(harness_plan){.bootstrap = "127.0.0.1:1", .topics = "t"});
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), 100), WEFT_ETIMEOUT));
    began_ms = must_now_ms();
    cr_expect(eq(int, harness_stop(under_test, 1000), WEFT_OK));
    cr_expect(lt(u64, must_now_ms() - began_ms, 3000));
    harness_free(&under_test);

    /* The broker goes with commits still to be made: they are given up at the deadline, with a word in the log. */
    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    mock_broker_up(mock, 1, 0);
    began_ms = must_now_ms();
    harness_stop(under_test, 1000);
    cr_expect(lt(u64, must_now_ms() - began_ms, 10000), "%" PRIu64 " ms", must_now_ms() - began_ms);
    harness_free(&under_test);
    mock_close(mock);
}

/* --- requests that fail */

enum {
    E_COORDINATOR_LOADING = 14,
    E_COORDINATOR_AWAY = 15,
    E_NOT_COORDINATOR = 16,
    E_METADATA_TOO_LARGE = 12,
    E_TIMED_OUT = 7,
    E_REBALANCING = 27,
    E_UNKNOWN_MEMBER = 25,
    E_ILLEGAL_GENERATION = 22,
    E_TRANSPORT = -195,
    E_NOT_AUTHORIZED = 30
};

Test(consumer_trouble, commits_that_fail__are_tried_again__and_never_go_back) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 16000, .keys = 400, .value_bytes = 50};
    const char *settings[] = {"threads", "2", "commit.interval.ms", "20", NULL};
    const int failures[] = {E_TIMED_OUT,
                            E_COORDINATOR_LOADING,
                            0,
                            E_NOT_COORDINATOR,
                            E_REBALANCING,
                            0,
                            E_METADATA_TOO_LARGE,
                            0,
                            E_COORDINATOR_AWAY,
                            E_NOT_AUTHORIZED,
                            E_TRANSPORT,
                            0,
                            E_TIMED_OUT};
    int64_t last[2] = {-1, -1};
    weft_metrics *metrics;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t", .settings = settings, .work = nap});
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await(under_test, 100, PATIENCE_MS));
    mock_fail(mock, MOCK_OFFSET_COMMIT, failures, sizeof failures / sizeof *failures);
    for (bool done = false; !done;) {
        done = harness_await_all(under_test, 0);
        for (int32_t partition = 0; partition < 2; partition++) {
            int64_t now = group_committed(mock_bootstrap(mock), "g", "t", partition, NULL, NULL);

            cr_assert(ge(i64, now, last[partition]), "partition %d went back", partition);
            last[partition] = now;
        }
    }
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(ge(u64, metrics->system.commit_failures, 2)); /* the others librdkafka tries again by itself */
    cr_expect(gt(u64, metrics->system.commits, 3));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

Test(consumer_trouble, last_commit_fails__is_tried_again_before_the_group_is_left) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 2000, .keys = 400, .value_bytes = 50};
    const char *settings[] = {"commit.interval.ms", "60000", NULL};
    const int failures[] = {E_NOT_AUTHORIZED, E_NOT_AUTHORIZED, E_NOT_AUTHORIZED};
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    mock_fail(mock, MOCK_OFFSET_COMMIT, failures, 3);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

/* Content, but for records that ran again. */
static void expect_nothing_lost(test_judge *judge) {
    judge_verdict verdict = judge_verdict_now(judge);

    cr_expect(eq(u64, verdict.missing, 0), "%s", verdict.example[0]);
    cr_expect(eq(u64, verdict.out_of_order, 0), "%s", verdict.example[2]);
    cr_expect(eq(u64, verdict.overlaps, 0), "%s", verdict.example[3]);
    cr_expect(eq(u64, verdict.unexpected, 0), "%s", verdict.example[4]);
    cr_expect(eq(u64, verdict.running, 0));
}

Test(consumer_trouble, membership_lost__by_a_commit_or_a_heartbeat__is_joined_again_without_loss) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 30000, .keys = 400, .value_bytes = 50};
    const char *settings[] = {"threads", "2", "commit.interval.ms", "50", NULL};
    const int illegal[] = {E_ILLEGAL_GENERATION};
    const int unknown[] = {E_UNKNOWN_MEMBER};
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(
        &(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = nap});
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await(under_test, 1000, PATIENCE_MS));
    mock_fail(mock, MOCK_OFFSET_COMMIT, illegal, 1);
    cr_expect(harness_await(under_test, 8000, PATIENCE_MS));
    mock_fail(mock, MOCK_HEARTBEAT, unknown, 1);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    expect_nothing_lost(harness_judge(under_test));
    cr_expect(harness_is_all_committed(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

Test(consumer_trouble, committed_offsets_not_to_be_had__are_asked_for_again__and_stop_does_not_wait_for_them) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 2000, .keys = 400, .value_bytes = 50};
    int many[64];
    const int few[] = {E_COORDINATOR_LOADING, E_NOT_COORDINATOR, E_COORDINATOR_AWAY};
    harness *stuck, *patient;
    uint64_t began_ms;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    mock_fail(mock, MOCK_OFFSET_FETCH, few, 3);
    patient = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t"});
    harness_expect(patient, "t", 2);
    cr_expect(harness_await_all(patient, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(patient, 10000), WEFT_OK));
    cr_expect(harness_is_content(patient, text, sizeof text), "%s", text);
    harness_free(&patient);

    for (size_t i = 0; i < 64; i++) many[i] = E_COORDINATOR_LOADING;
    mock_fail(mock, MOCK_OFFSET_FETCH, many, 64);
    stuck = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t"});
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(stuck), 4500), WEFT_ETIMEOUT)); /* joined by now */
    began_ms = must_now_ms();
    cr_expect(eq(int, harness_stop(stuck, 10000), WEFT_OK));
    cr_expect(lt(u64, must_now_ms() - began_ms, 5000), "%" PRIu64 " ms", must_now_ms() - began_ms);
    cr_expect(eq(u64, judge_verdict_now(harness_judge(stuck)).started, 0));
    harness_free(&stuck);
    mock_close(mock);
}

/* --- what is committed does not fit the log */

Test(consumer_trouble, committed_offset_or_map_beyond_the_log__everything_runs_once) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 4000, .keys = 400, .value_bytes = 50};
    weft_metrics *metrics;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    group_commit(mock_bootstrap(mock), "g", "t", 0, 777777, NULL, 0);       /* a log that was made anew */
    group_commit(mock_bootstrap(mock), "g", "t", 1, 0, "what is this", 12); /* somebody else's metadata */
    group_commit(mock_bootstrap(mock), "g", "t", 2, 0, "WEFT\x01\x7f garbage", 14);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t"});
    harness_expect(under_test, "t", 4);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->system.metadata_refused, 2));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

Test(consumer_trouble, trimmed_log__begins_where_it_begins) {
    mock_cluster *mock = mock_open(1);
    /* Not compressed, and so large that the mock throws the first ones away. */
    const char *plain[] = {"compression.codec", "none", NULL};
    test_producer *producer = producer_open(mock_bootstrap(mock), plain);
    char *value = must_alloc(1, 4000);
    int64_t first, end;
    weft_metrics *metrics;
    harness *fresh, *behind;
    char text[TEXT];

    mock_topic(mock, "t", 1);
    for (int i = 0; i < 6000; i++) {
        char key[16];
        int key_bytes = snprintf(key, sizeof key, "k%d", i % 50);

        producer_put(
            producer,
            &(produced_record){
                .topic = "t", .key = key, .key_bytes = (size_t)key_bytes, .value = value, .value_bytes = 4000});
    }
    producer_close(producer);
    topic_ends(mock_bootstrap(mock), "t", 0, &first, &end);
    cr_assert(gt(i64, first, 1000));
    group_commit(mock_bootstrap(mock), "behind", "t", 0, 10, NULL, 0);
    fresh = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t"});
    behind = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .group = "behind"});
    cr_assert(eq(u64, harness_expect(fresh, "t", 1), (uint64_t)(end - first)));
    harness_expect(behind, "t", 1);
    cr_expect(harness_await_all(fresh, PATIENCE_MS));
    cr_expect(harness_await_all(behind, PATIENCE_MS));
    cr_assert(harness_await_metrics(behind, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->partitions[0].gap_count, 0));
    free(metrics);
    cr_expect(eq(int, harness_stop(fresh, 10000), WEFT_OK));
    cr_expect(eq(int, harness_stop(behind, 10000), WEFT_OK));
    cr_expect(harness_is_content(fresh, text, sizeof text), "%s", text);
    cr_expect(harness_is_content(behind, text, sizeof text), "%s", text);
    harness_free(&fresh);
    harness_free(&behind);
    free(value);
    mock_close(mock);
}

/* --- members that come and go */

static bool has_two(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 2;
}

static bool has_four(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 4;
}

Test(consumer_trouble, second_member__joins_and_leaves_in_the_middle__nothing_is_lost) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 100000, .keys = 1000, .value_bytes = 30};
    const char *settings[] = {"threads", "3", "commit.interval.ms", "200", "queue.max.records", "2000", NULL};
    test_judge *judge = judge_new(JUDGE_KEYS);
    harness *first, *second;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    first = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                          .group = "g",
                                          .topics = "t",
                                          .settings = settings,
                                          .judge = judge,
                                          .work = nap});
    harness_expect(first, "t", 4);
    cr_expect(harness_await(first, 5000, PATIENCE_MS));
    second = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                           .group = "g",
                                           .topics = "t",
                                           .settings = settings,
                                           .judge = judge,
                                           .work = nap});
    cr_expect(harness_await_metrics(second, has_two, NULL, PATIENCE_MS, NULL));
    cr_expect(harness_await_metrics(first, has_two, NULL, PATIENCE_MS, NULL));
    cr_expect(harness_await(first, judge_ended(judge) + 5000, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(second, 10000), WEFT_OK));
    harness_free(&second);
    cr_expect(harness_await_metrics(first, has_four, NULL, PATIENCE_MS, NULL));
    cr_expect(harness_await_all(first, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(first, 10000), WEFT_OK));
    /* The mock refuses commits while it rebalances, so what was not committed by then runs twice. */
    expect_nothing_lost(judge);
    cr_expect(harness_is_all_committed(first, text, sizeof text), "%s", text);
    harness_free(&first);
    judge_free(judge);
    mock_close(mock);
}
