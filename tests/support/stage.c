/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "produce.h"
#include "topic.h"

enum { PARTITIONS = 4, SETTINGS_MAX = 40 };

static void open_cluster(stage *self) {
    const char *wanted = getenv("WEFT_TEST_STAGE");
    self->mock = wanted && strcmp(wanted, "kafka") == 0 ? NULL : mock_open(1);
    self->bootstrap = self->mock ? mock_bootstrap(self->mock) : getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(self->bootstrap && *self->bootstrap, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    self->topic = must_name("stage");
    if (self->mock)
        mock_topic(self->mock, self->topic, PARTITIONS);
    else
        topic_create(self->bootstrap, self->topic, PARTITIONS, NULL);
}

void stage_open(stage *self, const char *build, const char *source, stage_language language, unsigned work_us) {
    char worker[400];
    open_cluster(self);
    self->file = trail_create(self->path);
    const char *other = getenv("WEFT_TEST_TRAIL_WORKER");
    if (language == STAGE_C && other)
        snprintf(worker, sizeof worker, "%s", other);
    else if (language == STAGE_C)
        snprintf(worker, sizeof worker, "%s/tests/programs/trail_worker", build);
    else
        snprintf(worker, sizeof worker,
                 "%sPYTHONPATH=%s/examples/workers/python /usr/bin/python3 %s/tests/programs/trail_worker.py",
                 language == STAGE_PYTHON_BATCH ? "TRAIL_BATCH=1 " : "", source, source);
    snprintf(self->command, sizeof self->command, "TRAIL=%s TRAIL_US=%u %s", self->path, work_us, worker);
}

void stage_close(stage *self) {
    trail_discard(&self->file, self->path);
    if (self->mock) mock_close(self->mock);
    free(self->topic);
}

harness_plan stage_plan(const stage *self, const char *const *settings) {
    return (harness_plan){
        .bootstrap = self->bootstrap, .topics = self->topic, .settings = settings, .real_broker = !self->mock};
}

harness *stage_start(const stage *self, const char *const *more) {
    const char *settings[SETTINGS_MAX] = {"engine", "process", "worker.command", self->command, "commit.interval.ms",
                                          "20"};
    size_t count = 6;
    for (size_t i = 0; more && more[i]; i++) {
        MUST(count < SETTINGS_MAX - 1, "too many settings");
        settings[count++] = more[i];
    }
    harness_plan plan = stage_plan(self, settings);
    return harness_start(&plan);
}

void stage_fill(const stage *self, uint64_t records, uint64_t keys) {
    keyed_plan plan = {
        .topic = self->topic, .partitions = PARTITIONS, .records = records, .keys = keys, .value_bytes = 100};
    produce_keyed(self->bootstrap, &plan);
}

void stage_put(const stage *self, const char *key, const char *value) {
    test_producer *producer = producer_open(self->bootstrap, NULL);
    producer_put(producer, &(produced_record){.topic = self->topic,
                                              .partition = (int32_t)(strtol(key + 1, NULL, 10) % PARTITIONS),
                                              .key = key,
                                              .key_bytes = strlen(key),
                                              .value = value,
                                              .value_bytes = strlen(value)});
    producer_close(producer);
}

bool stage_finish(stage *self, harness *under_test, uint64_t records, trail_verdict *ret_verdict, char *ret_text,
                  size_t text_bytes) {
    char seen[1000];
    *ret_text = '\0';
    harness_watch(under_test, self->topic, PARTITIONS);
    bool all = trail_await(self->file, records, STAGE_PATIENCE_MS) &&
               harness_await_metrics(under_test, harness_is_committed, NULL, STAGE_PATIENCE_MS, NULL);
    harness_describe(under_test, seen, sizeof seen);
    weft_status status = harness_stop(under_test, 10000);
    bool committed = harness_is_all_committed(under_test, ret_text, text_bytes);
    harness_free(&under_test);
    *ret_verdict = trail_judge(self->file, true);
    if (!all)
        snprintf(ret_text, text_bytes, "%llu of %llu records were done and committed in time: %s",
                 (unsigned long long)ret_verdict->records, (unsigned long long)records, seen);
    else if (status != WEFT_OK)
        snprintf(ret_text, text_bytes, "stop: %s", weft_status_text(status));
    else if (ret_verdict->out_of_order)
        snprintf(ret_text, text_bytes, "%s", ret_verdict->example);
    return all && status == WEFT_OK && committed && !ret_verdict->out_of_order && ret_verdict->records == records;
}
