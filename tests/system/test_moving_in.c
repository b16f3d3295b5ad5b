/* SPDX-License-Identifier: Apache-2.0
 *
 * A group that another consumer has worked for: what its commits call complete is not run again; and what weft writes
 * for a way back is a map in that consumer's format.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "metadata_format.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(moving_in, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000, LOG_MAX = 100000, RECORDS = 6000 };

/* --- golden commits */

static json_t *golden(const char *name) {
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tests/golden/%s", WEFT_SOURCE_DIR, name);
    json_t *root = json_load_file(path, 0, &error);
    MUST(root != NULL, "%s", error.text);
    json_t *vectors = json_incref(json_object_get(root, "vectors"));
    json_decref(root);
    return vectors;
}

static int64_t number(const json_t *vector, const char *name) {
    return json_integer_value(json_object_get(vector, name));
}

/* Something was committed, and the mock can hold a log of that length. */
static bool is_usable(const json_t *vector) {
    return number(vector, "committed_offset") >= 0 && number(vector, "log_end_offset") <= LOG_MAX;
}

/* The mock's log has no holes: what the map calls complete there exists here, and does not run. */
static uint64_t expect_transaction_gaps(test_judge *judge, const char *topic) {
    static const int64_t open[] = {20, 100, 101, 200, 399};
    for (size_t i = 0; i < 5; i++) judge_expect(judge, topic, 0, open[i], open[i] + 1);
    return 5;
}

/* What has to run: everything from the committed offset on that is in no range. */
static uint64_t expect_rest(test_judge *judge, const char *topic, const json_t *vector) {
    const json_t *ranges = json_object_get(vector, "completed_ranges"), *range;
    int64_t at = number(vector, "committed_offset"), end = number(vector, "log_end_offset");
    uint64_t count = 0;
    size_t i;
    if (strcmp(json_string_value(json_object_get(vector, "name")), "transaction-gaps") == 0)
        return expect_transaction_gaps(judge, topic);
    json_array_foreach(ranges, i, range) {
        int64_t first = json_integer_value(json_array_get(range, 0));
        if (at < first) judge_expect(judge, topic, 0, at, first);
        count += (uint64_t)(first - at);
        at = json_integer_value(json_array_get(range, 1)) + 1;
    }
    if (at < end) judge_expect(judge, topic, 0, at, end);
    return count + (uint64_t)(end - at);
}

static void prepare(mock_cluster *mock, const char *topic, const json_t *vector) {
    const char *metadata = json_string_value(json_object_get(vector, "metadata"));
    keyed_plan plan = {.topic = topic,
                       .partitions = 1,
                       .records = (uint64_t)number(vector, "log_end_offset"),
                       .keys = 500,
                       .value_bytes = 20};
    mock_topic(mock, topic, 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    group_commit(mock_bootstrap(mock), "g", topic, 0, number(vector, "committed_offset"), metadata, strlen(metadata));
}

static void move_in(const char *file, size_t usable) {
    mock_cluster *mock = mock_open(1);
    json_t *vectors = golden(file), *vector;
    char topics[1000] = "", topic[32], text[TEXT];
    size_t i, count = 0;
    uint64_t rest = 0;
    weft_metrics *metrics;

    json_array_foreach(vectors, i, vector) {
        if (!is_usable(vector)) continue;
        snprintf(topic, sizeof topic, "v%zu", i);
        prepare(mock, topic, vector);
        snprintf(topics + strlen(topics), sizeof topics - strlen(topics), count++ ? ",%s" : "%s", topic);
    }
    cr_assert(eq(sz, count, usable));
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .group = "g", .topics = topics});
    json_array_foreach(vectors, i, vector) {
        if (!is_usable(vector)) continue;
        snprintf(topic, sizeof topic, "v%zu", i);
        rest += expect_rest(harness_judge(under_test), topic, vector);
        harness_watch(under_test, topic, 1);
    }
    cr_expect(judge_await(harness_judge(under_test), rest, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->system.metadata_refused, 0));
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    json_decref(vectors);
    mock_close(mock);
}

Test(moving_in, confluent__golden_commits__what_is_complete_there_does_not_run_again) {
    move_in("confluent.json", 13);
}

Test(moving_in, pyrallel__golden_commits__what_is_complete_there_does_not_run_again) {
    move_in("pyrallel.json", 8);
}

/* --- there and back */

typedef struct held_back {
    pthread_mutex_t mutex;
    int64_t offsets[3]; /* those that are promised and not completed */
    size_t count;
    judge_ticket tickets[3];
    weft_token tokens[3];
    size_t held;
    _Atomic uint64_t runs;
} held_back;

static weft_result hold(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    held_back *self = context;
    (void)under_test;
    atomic_fetch_add(&self->runs, 1);
    for (size_t i = 0; i < self->count; i++) {
        if (weft_record_offset(record) != self->offsets[i]) continue;
        pthread_mutex_lock(&self->mutex);
        self->tickets[self->held] = ticket;
        self->tokens[self->held++] = weft_record_defer(record);
        pthread_mutex_unlock(&self->mutex);
        return WEFT_PENDING;
    }
    return WEFT_SUCCESS;
}

/* The commit has a map of this format, which calls everything complete but these offsets. */
static void expect_map(const char *bootstrap, wf_metadata_format format, const held_back *held) {
    char *metadata = NULL;
    size_t bytes = 0, count = 0;
    wf_offset_run *runs = NULL;
    int64_t base = group_committed(bootstrap, "g", "t", 0, &metadata, &bytes);
    cr_expect(eq(i64, base, held->offsets[0]));
    cr_assert(eq(int, (int)wf_metadata_format_of(metadata, bytes), (int)format), "%s", metadata);
    cr_assert(eq(int, wf_metadata_decode_any(base, metadata, bytes, &runs, &count), WEFT_OK));
    cr_assert(eq(sz, count, held->count));
    for (size_t i = 0; i < count; i++) {
        cr_expect(eq(i64, runs[i].first, held->offsets[i] + 1));
        cr_expect(eq(i64, runs[i].end, i + 1 < count ? held->offsets[i + 1] : RECORDS));
    }
    free(runs);
    free(metadata);
}

/* One life of the consumer: it runs exactly `runs` records, and is stopped with `count` of them unfinished. */
static void live(const char *bootstrap, test_judge *judge, const char *format, held_back *held, uint64_t runs) {
    const char *settings[] = {"metadata.format", format, NULL};
    atomic_store(&held->runs, 0);
    held->held = 0;
    harness *under_test = harness_start(&(harness_plan){.bootstrap = bootstrap,
                                                        .group = "g",
                                                        .topics = "t",
                                                        .settings = settings,
                                                        .judge = judge,
                                                        .work = hold,
                                                        .context = held});
    harness_watch(under_test, "t", 1);
    cr_assert(judge_await(judge, RECORDS - held->count, PATIENCE_MS));
    if (held->count == 0) cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, held->count ? 300 : 10000), held->count ? WEFT_EABANDONED : WEFT_OK));
    cr_expect(eq(u64, atomic_load(&held->runs), runs));
    for (size_t i = 0; i < held->held; i++) judge_end(judge, held->tickets[i], JUDGE_DIED);
    harness_free(&under_test);
}

static void there_and_back(const char *name, wf_metadata_format format) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = RECORDS, .keys = RECORDS, .value_bytes = 20};
    held_back held = {.mutex = PTHREAD_MUTEX_INITIALIZER, .offsets = {17, 1900, 2500}, .count = 3};
    test_judge *judge = judge_new(JUDGE_KEYS);
    char text[TEXT];

    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    judge_expect(judge, "t", 0, 0, RECORDS);
    live(mock_bootstrap(mock), judge, name, &held, RECORDS);
    expect_map(mock_bootstrap(mock), format, &held);
    held.count = 2; /* the last one finishes now */
    live(mock_bootstrap(mock), judge, "native", &held, 3);
    expect_map(mock_bootstrap(mock), WF_METADATA_NATIVE, &held);
    held.count = 1;
    live(mock_bootstrap(mock), judge, name, &held, 2);
    expect_map(mock_bootstrap(mock), format, &held);
    held.count = 0;
    live(mock_bootstrap(mock), judge, name, &held, 1);
    cr_expect(judge_is_content(judge, text, sizeof text), "%s", text);
    judge_free(judge);
    mock_close(mock);
}

Test(moving_in, pyrallel__there_and_back__only_what_is_open_runs_each_time) {
    there_and_back("pyrallel", WF_METADATA_PYRALLEL);
}

Test(moving_in, confluent__there_and_back__only_what_is_open_runs_each_time) {
    there_and_back("confluent", WF_METADATA_CONFLUENT);
}
