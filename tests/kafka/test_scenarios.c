/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenarios that need a real broker: static membership, topics that come late and grow, compaction, large records, logs
 * that were trimmed under a map, a password that is wrong.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "heard.h"
#include "metadata.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(scenarios, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000 };

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");

    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

/* --- static membership */

typedef struct held_one {
    bool hold;
    judge_ticket ticket;
} held_one;

/* Offset 10 of partition 0 is promised, and the promise not kept. */
static weft_result hold_one(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    held_one *held = context;

    (void)under_test;
    if (!held || !held->hold || weft_record_partition(record) != 0 || weft_record_offset(record) != 10)
        return WEFT_SUCCESS;
    held->ticket = ticket;
    (void)weft_record_defer(record);
    return WEFT_PENDING;
}

static bool has_two(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 2;
}

static bool has_partition_0(const weft_metrics *metrics) {
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (metrics->partitions[i].partition == 0) return true;
    return false;
}

static uint64_t restored(const weft_metrics *metrics) {
    uint64_t sum = 0;

    for (size_t i = 0; i < metrics->partition_count; i++) sum += metrics->partitions[i].restored;
    return sum;
}

static harness *start_static(const char *topic, const char *group, const char *id, test_judge *judge, held_one *held) {
    const char *settings[] = {"threads",
                              "2",
                              "commit.interval.ms",
                              "50",
                              "kafka.group.instance.id",
                              id,
                              "kafka.partition.assignment.strategy",
                              "range",
                              NULL};

    return harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                         .real_broker = true,
                                         .topics = topic,
                                         .group = group,
                                         .settings = settings,
                                         .judge = judge,
                                         .work = hold_one,
                                         .context = held});
}

Test(scenarios, static_member__restarts__nobody_rebalances_and_its_map_is_honoured) {
    char *topic = must_name("static"), *group = must_name("static");
    keyed_plan plan = {.topic = topic, .partitions = 4, .records = 8000, .keys = 8000, .value_bytes = 30};
    test_judge *judge = judge_new(JUDGE_KEYS);
    held_one held = {.hold = true};
    weft_metrics *before, *after;
    harness *members[2];
    char text[TEXT];

    topic_create(bootstrap(), topic, 4, NULL);
    members[0] = start_static(topic, group, "one", judge, &held);
    members[1] = start_static(topic, group, "two", judge, &held);
    for (int i = 0; i < 2; i++) cr_assert(harness_await_metrics(members[i], has_two, NULL, PATIENCE_MS, NULL));
    produce_keyed(bootstrap(), &plan);
    harness_expect(members[0], topic, 4);
    cr_expect(harness_await(members[0], 7999, PATIENCE_MS));
    cr_assert(harness_await_metrics(members[0], has_two, NULL, PATIENCE_MS, &before));
    int owner = has_partition_0(before) ? 0 : 1;
    free(before);
    cr_assert(harness_await_metrics(members[!owner], harness_is_committed, NULL, PATIENCE_MS, &before));
    cr_expect(eq(int, harness_stop(members[owner], 200), WEFT_EABANDONED));
    judge_end(judge, held.ticket, JUDGE_DIED);
    harness_free(&members[owner]);

    held.hold = false;
    members[owner] = start_static(topic, group, owner ? "two" : "one", judge, &held);
    harness_expect(members[owner], topic, 4);
    cr_expect(harness_await_all(members[owner], PATIENCE_MS));
    cr_assert(harness_await_metrics(members[owner], harness_is_committed, NULL, PATIENCE_MS, &after));
    cr_expect(gt(u64, restored(after), 1000));
    free(after);
    cr_assert(harness_await_metrics(members[!owner], has_two, NULL, PATIENCE_MS, &after));
    cr_expect(eq(u64, after->system.assignments, before->system.assignments), "the other member was rebalanced");
    free(after);
    free(before);
    for (int i = 0; i < 2; i++) cr_expect(eq(int, harness_stop(members[i], 10000), WEFT_OK));
    cr_expect(harness_is_content(members[owner], text, sizeof text), "%s", text);
    for (int i = 0; i < 2; i++) harness_free(&members[i]);
    judge_free(judge);
    free(group);
    free(topic);
}

/* --- three members, each of them restarted in turn at half way */

static bool has_some(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count > 0;
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

Test(scenarios, rolling_restart_of_three__at_half_way__each_record_once) {
    char *topic = must_name("rolling"), *group = must_name("rolling"), text[TEXT];
    const char *settings[] = {"threads",
                              "2",
                              "queue.max.records",
                              "2000",
                              "kafka.heartbeat.interval.ms",
                              "200",
                              "kafka.partition.assignment.strategy",
                              "range",
                              NULL};
    keyed_plan records = {.topic = topic, .partitions = 6, .records = 60000, .keys = 600, .value_bytes = 30};
    test_judge *judge = judge_new(JUDGE_KEYS);
    harness_plan plan = {.bootstrap = bootstrap(),
                         .real_broker = true,
                         .topics = topic,
                         .group = group,
                         .settings = settings,
                         .judge = judge,
                         .work = nap};
    harness *members[3];

    topic_create(bootstrap(), topic, 6, NULL);
    produce_keyed(bootstrap(), &records);
    for (int i = 0; i < 3; i++) members[i] = harness_start(&plan);
    harness_expect(members[0], topic, 6);
    cr_expect(harness_await(members[0], 30000, PATIENCE_MS));
    for (int i = 0; i < 3; i++) {
        cr_expect(eq(int, harness_stop(members[i], 10000), WEFT_OK));
        harness_free(&members[i]);
        members[i] = harness_start(&plan);
        cr_expect(harness_await_metrics(members[i], has_some, NULL, PATIENCE_MS, NULL));
    }
    harness_expect(members[0], topic, 6);
    cr_expect(harness_await_all(members[0], PATIENCE_MS));
    for (int i = 0; i < 3; i++) cr_expect(eq(int, harness_stop(members[i], 10000), WEFT_OK));
    cr_expect(harness_is_content(members[0], text, sizeof text), "%s", text);
    for (int i = 0; i < 3; i++) harness_free(&members[i]);
    judge_free(judge);
    free(group);
    free(topic);
}

/* --- topics that come late, and grow */

Test(scenarios, missing_topic__is_named_and_then_read__and_so_are_partitions_that_are_added) {
    char *topic = must_name("late");
    const char *settings[] = {
        "log.level", "warn", "commit.interval.ms", "50", "kafka.topic.metadata.refresh.interval.ms", "300", NULL};
    keyed_plan plan = {.topic = topic, .partitions = 2, .records = 2000, .keys = 100, .value_bytes = 30};
    harness *under_test;
    char text[TEXT];

    heard_begin();
    under_test = harness_start(
        &(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic, .settings = settings});
    cr_expect(heard_await(topic, "Unknown topic", PATIENCE_MS));
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), 0), WEFT_ETIMEOUT));
    topic_create(bootstrap(), topic, 2, NULL);
    produce_keyed(bootstrap(), &plan);
    judge_expect(harness_judge(under_test), topic, 0, 0, 1000);
    judge_expect(harness_judge(under_test), topic, 1, 0, 1000);
    cr_expect(harness_await(under_test, 2000, PATIENCE_MS));

    topic_grow(bootstrap(), topic, 5);
    test_producer *producer = producer_open(bootstrap(), NULL);
    for (int i = 0; i < 300; i++)
        producer_put(
            producer,
            &(produced_record){
                .topic = topic, .partition = 2 + i % 3, .key = "k", .key_bytes = 1, .value = "v", .value_bytes = 1});
    producer_close(producer);
    for (int32_t i = 2; i < 5; i++) judge_expect(harness_judge(under_test), topic, i, 0, 100);
    harness_watch(under_test, topic, 5);
    cr_expect(harness_await(under_test, 2300, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    heard_end();
    harness_free(&under_test);
    free(topic);
}

/* --- compaction */

static bool count_one(const logged_record *record, void *context) {
    (void)record;
    ++*(uint64_t *)context;
    return true;
}

Test(scenarios, compacted_log__what_is_left_runs_once_and_the_frontier_passes_the_holes) {
    char *topic = must_name("compacted");
    const char *compact[] = {
        "cleanup.policy",        "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01",
        "min.compaction.lag.ms", "0",       NULL};
    const char *settings[] = {"commit.interval.ms", "50", NULL};
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 2000, .keys = 50, .value_bytes = 30};
    uint64_t deadline_ms = must_now_ms() + PATIENCE_MS, left = 2000;
    weft_metrics *metrics;
    harness *under_test;

    topic_create(bootstrap(), topic, 1, compact);
    produce_keyed(bootstrap(), &plan);
    /* A segment is only cleaned when a newer one has begun: a record now and then begins one. */
    for (plan.records = 1, plan.first = 2000; left > 1000 && must_now_ms() < deadline_ms; plan.first++) {
        produce_keyed(bootstrap(), &plan);
        left = 0;
        topic_read(bootstrap(), topic, count_one, &left);
    }
    cr_assert(lt(u64, left, 1000), "the broker has not compacted the log");
    under_test = harness_start(
        &(harness_plan){.bootstrap = bootstrap(), .real_broker = true, .topics = topic, .settings = settings});
    harness_watch(under_test, topic, 1);
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(i64, metrics->partitions[0].committed, (int64_t)plan.first));
    cr_expect(eq(u64, metrics->partitions[0].gap_count, 0));
    cr_expect(le(u64, metrics->partitions[0].succeeded, left));
    cr_expect(ge(u64, metrics->partitions[0].succeeded, 50));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    harness_free(&under_test);
    free(topic);
}

/* --- a log that was trimmed under a map */

Test(scenarios, log_trimmed_beyond_the_committed_offset__its_map_skips_nothing_that_is_left) {
    char *topic = must_name("trimmed"), *group = must_name("trimmed"), map[64];
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 1000, .keys = 10, .value_bytes = 30};
    const char *settings[] = {"log.level", "warn", NULL};
    const wf_offset_run runs[] = {{20, 50}, {550, 600}};
    harness *under_test;
    char text[TEXT];
    size_t bytes;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    topic_truncate(bootstrap(), topic, 0, 500);
    MUST(wf_metadata_encode(10, runs, 2, map, sizeof map, &bytes) == WEFT_OK, "no map");
    group_commit(bootstrap(), group, topic, 0, 10, map, bytes);
    heard_begin();
    under_test = harness_start(&(harness_plan){
        .bootstrap = bootstrap(), .real_broker = true, .topics = topic, .group = group, .settings = settings});
    /* The map is of this log, so what it calls complete beyond the cut is. */
    judge_expect(harness_judge(under_test), topic, 0, 500, 550);
    judge_expect(harness_judge(under_test), topic, 0, 600, 1000);
    harness_watch(under_test, topic, 1);
    cr_expect(harness_await(under_test, 450, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(eq(sz, heard_count("committed offset is not in the log any more", "committed=10 first=500"), 1));
    heard_end();
    harness_free(&under_test);
    free(group);
    free(topic);
}

/* --- large records */

enum { LARGE = 3 << 20, SMALL = 100, MIXED = 400 };

typedef struct sizes_seen {
    _Atomic uint64_t large, small, wrong;
} sizes_seen;

static weft_result look_at_size(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    sizes_seen *seen = context;
    size_t bytes;
    const char *value = weft_record_value(record, &bytes);

    (void)under_test;
    (void)ticket;
    if (bytes == LARGE && value[0] == 'a' && value[LARGE - 1] == 'z')
        atomic_fetch_add(&seen->large, 1);
    else
        atomic_fetch_add(bytes == SMALL ? &seen->small : &seen->wrong, 1);
    return WEFT_SUCCESS;
}

typedef struct most_bytes {
    uint64_t held;
} most_bytes;

static bool note_most(const weft_metrics *metrics, void *context) {
    most_bytes *most = context;

    if (metrics->system.held_bytes > most->held) most->held = metrics->system.held_bytes;
    return harness_is_committed(metrics, NULL) && metrics->system.fetched == MIXED;
}

static void produce_mixed(const char *topic) {
    const char *raised[] = {"message.max.bytes", "8000000", NULL};
    test_producer *producer = producer_open(bootstrap(), raised);
    char *value = must_alloc(1, LARGE), key[16];

    value[0] = 'a';
    value[LARGE - 1] = 'z';
    for (int i = 0; i < MIXED; i++) {
        int key_bytes = snprintf(key, sizeof key, "k%d", i % 30);

        producer_put(producer, &(produced_record){.topic = topic,
                                                  .partition = i % 2,
                                                  .key = key,
                                                  .key_bytes = (size_t)key_bytes,
                                                  .value = value,
                                                  .value_bytes = i % 20 == 7 ? LARGE : SMALL});
    }
    producer_close(producer);
    free(value);
}

/* What the broker says to a record of two mebibytes when nobody has raised a limit of the topic. */
static rd_kafka_resp_err_t put_too_large(const char *topic) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256], *value = must_alloc(1, 2 << 20);

    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap(), reason, sizeof reason);
    rd_kafka_conf_set(conf, "log_level", "0", reason, sizeof reason);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    MUST(producer, "%s", reason);
    rd_kafka_resp_err_t error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, 2 << 20),
                                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    rd_kafka_destroy(producer);
    free(value);
    return error;
}

Test(scenarios, records_of_three_mebibytes_among_small_ones__limits_raised__byte_budget_holds) {
    char *topic = must_name("large");
    const char *raised[] = {"max.message.bytes", "8000000", NULL};
    const char *settings[] = {"threads", "2", "queue.max.bytes", "1000000", "commit.interval.ms", "50", NULL};
    sizes_seen seen = {0};
    most_bytes most = {0};
    harness *under_test;
    char text[TEXT];

    cr_expect(eq(int, put_too_large(topic), RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE));
    topic_create(bootstrap(), topic, 2, raised);
    produce_mixed(topic);
    under_test = harness_start(&(harness_plan){.bootstrap = bootstrap(),
                                               .real_broker = true,
                                               .topics = topic,
                                               .settings = settings,
                                               .work = look_at_size,
                                               .context = &seen});
    cr_assert(eq(u64, harness_expect(under_test, topic, 2), MIXED));
    cr_expect(harness_await_metrics(under_test, note_most, &most, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(le(u64, most.held, 1000000 + LARGE + 4096)); /* one record may overshoot */
    cr_expect(eq(u64, atomic_load(&seen.large), MIXED / 20));
    cr_expect(eq(u64, atomic_load(&seen.small), MIXED - MIXED / 20));
    cr_expect(eq(u64, atomic_load(&seen.wrong), 0));
    harness_free(&under_test);
    free(topic);
}

/* --- passwords */

static harness *start_with_password(const char *topic, const char *password) {
    const char *sasl = getenv("WEFT_TEST_KAFKA_SASL_BOOTSTRAP");
    const char *settings[] = {"log.level",
                              "warn",
                              "kafka.security.protocol",
                              "SASL_PLAINTEXT",
                              "kafka.sasl.mechanism",
                              "PLAIN",
                              "kafka.sasl.username",
                              "weft",
                              "kafka.sasl.password",
                              password,
                              "commit.interval.ms",
                              "50",
                              NULL};

    MUST(sasl && *sasl, "WEFT_TEST_KAFKA_SASL_BOOTSTRAP names no listener");
    return harness_start(
        &(harness_plan){.bootstrap = sasl, .real_broker = true, .topics = topic, .settings = settings});
}

Test(scenarios, password__right_one_works__wrong_one_is_told_and_tried_again_until_stop) {
    char *topic = must_name("sasl"), text[TEXT];
    keyed_plan plan = {.topic = topic, .partitions = 2, .records = 1000, .keys = 50, .value_bytes = 30};
    harness *right, *wrong;
    uint64_t began_ms;

    topic_create(bootstrap(), topic, 2, NULL);
    produce_keyed(bootstrap(), &plan);
    heard_begin();
    right = start_with_password(topic, "weft-secret");
    for (int32_t i = 0; i < 2; i++) judge_expect(harness_judge(right), topic, i, 0, 500);
    cr_expect(harness_await(right, 1000, PATIENCE_MS));
    cr_expect(harness_await_metrics(right, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(right, 10000), WEFT_OK));
    cr_expect(harness_is_content(right, text, sizeof text), "%s", text);
    cr_expect(eq(sz, heard_count("uthentication failed", NULL), 0));
    harness_free(&right);

    wrong = start_with_password(topic, "not-the-secret");
    cr_expect(heard_await("uthentication failed", NULL, PATIENCE_MS));
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(wrong), 1000), WEFT_ETIMEOUT));
    cr_expect(eq(u64, judge_verdict_now(harness_judge(wrong)).started, 0));
    cr_expect(eq(sz, heard_count("not-the-secret", NULL), 0));
    began_ms = must_now_ms();
    cr_expect(eq(int, harness_stop(wrong, 3000), WEFT_OK));
    cr_expect(lt(u64, must_now_ms() - began_ms, 6000));
    heard_end();
    harness_free(&wrong);
    free(topic);
}
