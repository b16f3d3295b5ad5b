/* SPDX-License-Identifier: Apache-2.0
 *
 * What only a real log shows of a move: a golden commit of Confluent Parallel Consumer for a log with transaction
 * markers, which its map calls finished although they are no records.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(moving_in, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000, LOG_END = 400 };

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

/* As the log that the vector comes from: transactions of three records, so every fourth offset is a marker. */
static void fill(const char *topic, const char *name) {
    const char *transactional[] = {"transactional.id", name, NULL};
    test_producer *producer = producer_open(bootstrap(), transactional);
    char key[16];
    for (int i = 0; i < LOG_END / 4; i++) {
        producer_begin(producer);
        for (int j = 0; j < 3; j++) {
            snprintf(key, sizeof key, "k%d", 3 * i + j);
            producer_put(producer, &(produced_record){.topic = topic, .key = key, .key_bytes = strlen(key)});
        }
        producer_commit(producer);
    }
    producer_close(producer);
}

static void commit_golden(const char *group, const char *topic) {
    json_t *root = json_load_file(WEFT_SOURCE_DIR "/tests/golden/confluent.json", 0, NULL), *vector;
    size_t i;
    bool found = false;
    MUST(root != NULL, "no golden file");
    json_array_foreach(json_object_get(root, "vectors"), i, vector) {
        if (strcmp(json_string_value(json_object_get(vector, "name")), "transaction-gaps") != 0) continue;
        const char *text = json_string_value(json_object_get(vector, "metadata"));
        MUST(json_integer_value(json_object_get(vector, "log_end_offset")) == LOG_END, "another log");
        group_commit(bootstrap(), group, topic, 0, json_integer_value(json_object_get(vector, "committed_offset")),
                     text, strlen(text));
        found = true;
    }
    MUST(found, "no such vector");
    json_decref(root);
}

Test(moving_in, confluent__golden_commit_of_a_log_with_transactions__exactly_the_open_records_run) {
    static const int64_t open[] = {20, 100, 101, 200};
    char *topic = must_name("moved"), *group = must_name("group"), text[TEXT];
    int64_t first, end;
    weft_metrics *metrics;

    topic_create(bootstrap(), topic, 1, NULL);
    fill(topic, group);
    topic_ends(bootstrap(), topic, 0, &first, &end);
    cr_assert(eq(i64, end, LOG_END));
    commit_golden(group, topic);
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = bootstrap(), .group = group, .topics = topic, .real_broker = true});
    for (size_t i = 0; i < 4; i++) judge_expect(harness_judge(under_test), topic, 0, open[i], open[i] + 1);
    harness_watch(under_test, topic, 1);
    cr_expect(judge_await(harness_judge(under_test), 4, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(i64, metrics->partitions[0].committed, LOG_END));
    cr_expect(eq(u64, metrics->system.metadata_refused, 0));
    cr_expect(eq(u64, metrics->partitions[0].restored, 285 - 4)); /* records above 20, less the open ones */
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    free(topic);
    free(group);
}
