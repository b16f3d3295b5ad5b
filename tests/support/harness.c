/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "must.h"
#include "topic.h"

enum { PARTITIONS_MAX = 256, BATCH_MAX = 1024 };

typedef struct expected_partition {
    char topic[128];
    int32_t partition;
    int64_t end;
} expected_partition;

struct harness {
    harness_plan plan;
    char *bootstrap;
    char *group;
    test_judge *judge;
    weft_consumer *consumer;
    unsigned max_attempts;
    bool skips; /* failure.policy: the last attempt drops the record */
    expected_partition expected[PARTITIONS_MAX];
    size_t expected_count;
    uint64_t expected_records;
};

static const char *const mock_settings[] = {"kafka.session.timeout.ms",
                                            "6000",
                                            "kafka.heartbeat.interval.ms",
                                            "200",
                                            "kafka.fetch.wait.max.ms",
                                            "10",
                                            "drain.timeout.ms",
                                            "2000",
                                            NULL};

/* --- the handler */

static judge_outcome outcome_of(const harness *under_test, const weft_record *record, weft_result result) {
    if (result == WEFT_SUCCESS) return JUDGE_DONE;
    return weft_record_attempt(record) >= under_test->max_attempts && under_test->skips ? JUDGE_DROPPED : JUDGE_FAILED;
}

static weft_result run(harness *under_test, const weft_record *record) {
    size_t key_bytes;
    const void *key = weft_record_key(record, &key_bytes);
    judge_ticket ticket = judge_start(under_test->judge, weft_record_topic(record), weft_record_partition(record),
                                      weft_record_offset(record), key, key_bytes);
    weft_result result = under_test->plan.work
                             ? under_test->plan.work(under_test, record, ticket, under_test->plan.context)
                             : WEFT_SUCCESS;

    if (result != WEFT_PENDING) judge_end(under_test->judge, ticket, outcome_of(under_test, record, result));
    return result;
}

static weft_result on_record(const weft_record *record, void *context) {
    return run(context, record);
}

/* All records of a batch run at once as far as weft is concerned, so all start before the first one ends. */
static void on_batch(const weft_record *const *records, weft_result *results, size_t count, void *context) {
    harness *under_test = context;
    judge_ticket tickets[BATCH_MAX];

    MUST(count <= BATCH_MAX, "a batch of %zu records", count);
    for (size_t i = 0; i < count; i++) {
        size_t key_bytes;
        const void *key = weft_record_key(records[i], &key_bytes);

        MUST(results[i] == WEFT_SUCCESS, "a result of a batch is not WEFT_SUCCESS at first");
        tickets[i] = judge_start(under_test->judge, weft_record_topic(records[i]), weft_record_partition(records[i]),
                                 weft_record_offset(records[i]), key, key_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        if (under_test->plan.work) {
            results[i] = under_test->plan.work(under_test, records[i], tickets[i], under_test->plan.context);
        }
        if (results[i] != WEFT_PENDING) {
            judge_end(under_test->judge, tickets[i], outcome_of(under_test, records[i], results[i]));
        }
    }
}

weft_status harness_complete(harness *under_test, weft_token token, judge_ticket ticket, weft_result result) {
    /* Before: after weft_complete() the next record of the lane may start at any time. */
    judge_end(under_test->judge, ticket, result == WEFT_SUCCESS ? JUDGE_DONE : JUDGE_FAILED);
    return weft_complete(token, result, result == WEFT_SUCCESS ? NULL : "completed with a failure");
}

/* --- start and stop */

static void set(weft_config *config, const char *name, const char *value) {
    weft_status status = weft_config_set(config, name, value);

    MUST(status == WEFT_OK, "%s = %s: %s", name, value, weft_status_text(status));
}

static weft_config *config_of(harness *under_test) {
    const harness_plan *plan = &under_test->plan;
    weft_config *config;

    MUST(weft_config_new(&config) == WEFT_OK, "no configuration");
    set(config, "bootstrap.servers", under_test->bootstrap);
    set(config, "group.id", under_test->group);
    set(config, "topics", plan->topics);
    set(config, "log.level", getenv("WEFT_TEST_LOG") ? getenv("WEFT_TEST_LOG") : "error");
    for (size_t i = 0; !plan->real_broker && mock_settings[i]; i += 2)
        set(config, mock_settings[i], mock_settings[i + 1]);
    for (size_t i = 0; plan->settings && plan->settings[i]; i += 2)
        set(config, plan->settings[i], plan->settings[i + 1]);
    under_test->max_attempts = (unsigned)strtoul(weft_config_get(config, "max.attempts"), NULL, 10);
    under_test->skips = strcmp(weft_config_get(config, "failure.policy"), "skip") == 0;
    return config;
}

static harness *prepare(const harness_plan *plan) {
    harness *under_test = must_alloc(1, sizeof *under_test);
    weft_config *config;
    weft_status status;

    under_test->plan = *plan;
    under_test->bootstrap = strdup(plan->bootstrap);
    under_test->group = plan->group ? strdup(plan->group) : must_name("group");
    under_test->judge = plan->judge ? plan->judge : judge_new(plan->lanes);
    config = config_of(under_test);
    if (strcmp(weft_config_get(config, "engine"), "process") == 0)
        status = weft_consumer_new(config, NULL, NULL, &under_test->consumer);
    else if (plan->batch)
        status = weft_consumer_new_batch(config, on_batch, under_test, &under_test->consumer);
    else
        status = weft_consumer_new(config, on_record, under_test, &under_test->consumer);
    if (status == WEFT_ECONFIG) {
        char *problems = weft_config_problems(config);

        MUST(false, "settings: %s", problems);
    }
    MUST(status == WEFT_OK, "new: %s", weft_status_text(status));
    weft_config_free(&config);
    if (plan->prepare) plan->prepare(under_test->consumer, plan->context);
    return under_test;
}

harness *harness_try(const harness_plan *plan, weft_status *ret_status, char **ret_error) {
    harness *under_test = prepare(plan);

    *ret_error = NULL;
    *ret_status = weft_consumer_start(under_test->consumer);
    if (*ret_status == WEFT_OK) return under_test;
    *ret_error = strdup(weft_consumer_error(under_test->consumer));
    harness_free(&under_test);
    return NULL;
}

harness *harness_start(const harness_plan *plan) {
    weft_status status;
    char *error;
    harness *under_test = harness_try(plan, &status, &error);

    MUST(under_test, "start: %s: %s", weft_status_text(status), error);
    return under_test;
}

weft_status harness_stop(harness *under_test, int64_t timeout_ms) {
    return weft_consumer_stop(under_test->consumer, timeout_ms);
}

void harness_free(harness **under_test_pointer) {
    harness *under_test = *under_test_pointer;

    if (!under_test) return;
    *under_test_pointer = NULL;
    weft_consumer_free(&under_test->consumer);
    if (!under_test->plan.judge) judge_free(under_test->judge);
    free(under_test->bootstrap);
    free(under_test->group);
    free(under_test);
}

weft_consumer *harness_consumer(harness *under_test) {
    return under_test->consumer;
}

test_judge *harness_judge(harness *under_test) {
    return under_test->judge;
}

const char *harness_group(const harness *under_test) {
    return under_test->group;
}

/* --- expectations and waiting */

static uint64_t look_at(harness *under_test, const char *topic, int partitions, bool expect) {
    uint64_t records = 0;

    for (int32_t partition = 0; partition < partitions; partition++) {
        expected_partition *expected = &under_test->expected[under_test->expected_count++];
        int64_t first, end;

        MUST(under_test->expected_count <= PARTITIONS_MAX && strlen(topic) < sizeof expected->topic,
             "too much expected");
        topic_ends(under_test->bootstrap, topic, partition, &first, &end);
        if (expect) judge_expect(under_test->judge, topic, partition, first, end);
        snprintf(expected->topic, sizeof expected->topic, "%s", topic);
        expected->partition = partition;
        expected->end = end;
        records += (uint64_t)(end - first);
    }
    return records;
}

uint64_t harness_expect(harness *under_test, const char *topic, int partitions) {
    uint64_t records = look_at(under_test, topic, partitions, true);

    under_test->expected_records += records;
    return records;
}

void harness_watch(harness *under_test, const char *topic, int partitions) {
    look_at(under_test, topic, partitions, false);
}

bool harness_await(harness *under_test, uint64_t ended, uint64_t timeout_ms) {
    return judge_await(under_test->judge, ended, timeout_ms);
}

bool harness_await_all(harness *under_test, uint64_t timeout_ms) {
    return judge_await(under_test->judge, under_test->expected_records, timeout_ms);
}

bool harness_await_metrics(harness *under_test, harness_condition condition, void *context, uint64_t timeout_ms,
                           weft_metrics **ret_metrics) {
    uint64_t deadline_ms = must_now_ms() + timeout_ms;
    const struct timespec between = {.tv_nsec = 3000000};

    for (;;) {
        weft_metrics *metrics;
        weft_status status = weft_consumer_metrics(under_test->consumer, &metrics);

        MUST(status == WEFT_OK, "metrics: %s", weft_status_text(status));
        if (condition(metrics, context)) {
            if (ret_metrics)
                *ret_metrics = metrics;
            else
                free(metrics);
            return true;
        }
        free(metrics);
        if (must_now_ms() >= deadline_ms) return false;
        nanosleep(&between, NULL);
    }
}

bool harness_is_assigned(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count > 0;
}

bool harness_is_committed(const weft_metrics *metrics, void *context) {
    (void)context;
    for (size_t i = 0; i < metrics->partition_count; i++) {
        const weft_partition_metrics *partition = &metrics->partitions[i];

        if (partition->frontier < 0 || partition->log_end < 0 || partition->true_lag != 0 ||
            partition->committed != partition->frontier) {
            return false;
        }
    }
    return metrics->partition_count > 0;
}

void harness_describe(harness *under_test, char *ret_text, size_t text_bytes) {
    weft_metrics *metrics;
    MUST(weft_consumer_metrics(under_test->consumer, &metrics) == WEFT_OK, "no metrics");
    const weft_system_metrics *of = &metrics->system;
    int64_t lag = 0, uncommitted = 0;
    for (size_t i = 0; i < metrics->partition_count; i++) {
        lag += metrics->partitions[i].true_lag;
        uncommitted += metrics->partitions[i].frontier - metrics->partitions[i].committed;
    }
    snprintf(ret_text, text_bytes,
             "connected=%d member=%d assignments=%" PRIu64 " lost=%" PRIu64 " partitions=%zu lag=%" PRId64
             " uncommitted=%" PRId64 " librdkafka=%" PRIu64 " fetched=%" PRIu64 " queued=%" PRIu64 " in_flight=%" PRIu64
             " succeeded=%" PRIu64 " failed=%" PRIu64 " retried=%" PRIu64 " paused=%d wakes=%" PRIu64
             " workers=%u busy=%u ready=%u held=%" PRIu64 " starts=%" PRIu64 " rejected=%" PRIu64 " commits=%" PRIu64
             " commit_failures=%" PRIu64 " kafka_errors=%" PRIu64,
             of->is_connected, of->is_member, of->assignments, of->lost, metrics->partition_count, lag, uncommitted,
             of->librdkafka_records, of->fetched, of->total_queued, of->total_in_flight, of->succeeded, of->failed,
             of->retried, of->is_paused, of->wakes, of->workers, of->workers_busy,
             of->pool.by_state[WEFT_WORKER_READY], of->pool.records_held, of->pool.starts, of->pool.frames_rejected,
             of->commits, of->commit_failures, of->kafka_errors);
    for (size_t i = 0; i < metrics->partition_count; i++) {
        const weft_partition_metrics *each = &metrics->partitions[i];
        size_t used = strlen(ret_text);
        if (each->true_lag == 0 && each->committed == each->frontier) continue;
        snprintf(ret_text + used, text_bytes - used,
                 "; partition=%d epoch=%u frontier=%" PRId64 " committed=%" PRId64 " end=%" PRId64 " gaps=%" PRIu64
                 " queued=%" PRIu64 " in_flight=%" PRIu64 " blocking=%" PRId64 " held=%d",
                 each->partition, each->epoch, each->frontier, each->committed, each->log_end, each->gap_count,
                 each->queued, each->in_flight, each->blocking_offset, each->held);
    }
    free(metrics);
}

/* --- the verdict */

bool harness_is_all_committed(harness *under_test, char *ret_text, size_t text_bytes) {
    for (size_t i = 0; i < under_test->expected_count; i++) {
        const expected_partition *expected = &under_test->expected[i];
        char *metadata = NULL;
        size_t bytes = 0;
        int64_t offset = group_committed(under_test->bootstrap, under_test->group, expected->topic, expected->partition,
                                         &metadata, &bytes);

        bool no_map = bytes == 0 || (bytes == 1 && *metadata == 'R'); /* as Pyrallel writes it */
        free(metadata);
        /* Nothing has to be committed for a log without records, nor is it wrong. */
        if (offset == expected->end ? no_map : offset == -1 && expected->end == 0) continue;
        snprintf(ret_text, text_bytes, "%s[%d]: committed %" PRId64 " of %" PRId64 ", metadata of %zu bytes",
                 expected->topic, expected->partition, offset, expected->end, bytes);
        return false;
    }
    return true;
}

bool harness_is_content(harness *under_test, char *ret_text, size_t text_bytes) {
    if (!judge_is_content(under_test->judge, ret_text, text_bytes)) return false;
    return harness_is_all_committed(under_test, ret_text, text_bytes);
}
