/* SPDX-License-Identifier: Apache-2.0
 *
 * A real Prometheus scrapes two running consumers, one with threads and one with worker processes: what it stored is
 * what is in the log and what the handlers did, and every expression that is shipped has data.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dashboard.h"
#include "must.h"
#include "produce.h"
#include "prometheus.h"
#include "stage.h"
#include "topic.h"

TestSuite(prometheus, .timeout = 150);

enum { PARTITIONS = 4, PATIENCE_MS = 60000, LOOK_MS = 100, TEXT = 512, FAILS_ONCE = 10, FAILS_ALWAYS = 50 };

static const char deploy[] = WEFT_SOURCE_DIR "/examples/deploy";

typedef struct scene {
    stage stage;
    harness *threads, *processes;
    prometheus *server;
    char instances[2][32]; /* threads, processes */
} scene;

/* Offsets that 50 divides fail at both attempts, others that 10 divides at the first. */
static weft_result fail_by_offset(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test, (void)ticket, (void)context;
    int64_t offset = weft_record_offset(record);
    if (offset % FAILS_ALWAYS == 0) return WEFT_FAILURE;
    return offset % FAILS_ONCE == 0 && weft_record_attempt(record) == 1 ? WEFT_FAILURE : WEFT_SUCCESS;
}

#define WATCHED "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "50", "commit.interval.ms", "50"

static void scene_open(scene *self, const char *rules) {
    static const char *const threads[] = {
        WATCHED, "threads", "2", "max.attempts", "2", "failure.policy", "skip", "retry.backoff.ms", "1", NULL};
    static const char *const processes[] = {WATCHED, "workers", "2", "worker.heartbeat.ms", "200", NULL};
    STAGE_OPEN(&self->stage, STAGE_C, 0);
    stage_fill(&self->stage, 2003, 90); /* partitions of different lengths */
    self->threads = harness_start(&(harness_plan){
        .bootstrap = self->stage.bootstrap, .topics = self->stage.topic, .settings = threads, .work = fail_by_offset});
    self->processes = stage_start(&self->stage, processes);
    uint16_t ports[2] = {weft_consumer_metrics_port(harness_consumer(self->threads)),
                         weft_consumer_metrics_port(harness_consumer(self->processes))};
    for (int i = 0; i < 2; i++) snprintf(self->instances[i], sizeof self->instances[i], "127.0.0.1:%u", ports[i]);
    self->server = prometheus_start(ports, 2, rules);
}

static void produce_more(const scene *self) {
    keyed_plan more = {.topic = self->stage.topic,
                       .partitions = PARTITIONS,
                       .records = 517,
                       .keys = 90,
                       .value_bytes = 100,
                       .first = 2003};
    produce_keyed(self->stage.bootstrap, &more);
}

static void scene_close(scene *self) {
    prometheus_stop(self->server);
    cr_expect_eq(harness_stop(self->threads, 10000), WEFT_OK);
    cr_expect_eq(harness_stop(self->processes, 10000), WEFT_OK);
    harness_free(&self->threads);
    harness_free(&self->processes);
    stage_close(&self->stage);
}

/* --- values */

/* The sum of what an expression has; NAN: nothing. */
static double ask(const scene *self, const char *expression) {
    json_t *result = prometheus_query(self->server, expression), *sample;
    double sum = json_array_size(result) ? 0 : NAN;
    size_t i;
    json_array_foreach(result, i, sample) sum += prometheus_value(sample);
    json_decref(result);
    return sum;
}

static void expect_soon(const scene *self, double value, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void expect_soon(const scene *self, double value, const char *format, ...) {
    char expression[TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(expression, sizeof expression, format, arguments);
    va_end(arguments);
    double seen = NAN;
    for (uint64_t end = must_now_ms() + PATIENCE_MS; must_now_ms() < end; poll(NULL, 0, LOOK_MS))
        if ((seen = ask(self, expression)) == value) return;
    cr_assert(false, "%s is %g, not %g", expression, seen, value);
}

/* What the handler of the threads does with a log of so many records. */
typedef struct truth {
    int64_t end, tried_again, given_up;
} truth;

static truth truth_of(const scene *self, int32_t partition) {
    int64_t first;
    truth is = {0};
    topic_ends(self->stage.bootstrap, self->stage.topic, partition, &first, &is.end);
    MUST(first == 0 && is.end > 0, "partition %d begins at %" PRId64, partition, first);
    is.tried_again = (is.end + FAILS_ONCE - 1) / FAILS_ONCE;
    is.given_up = (is.end + FAILS_ALWAYS - 1) / FAILS_ALWAYS;
    return is;
}

static void expect_partition(const scene *self, int which, int32_t partition, truth is) {
    char labels[TEXT];
    double end = (double)is.end, given_up = which == 0 ? (double)is.given_up : 0;
    snprintf(labels, sizeof labels, "job=\"weft\", instance=\"%s\", topic=\"%s\", partition=\"%d\"",
             self->instances[which], self->stage.topic, partition);
    expect_soon(self, end - given_up, "consumer_processed_total{%s, status=\"success\"}", labels);
    expect_soon(self, given_up, "consumer_processed_total{%s, status=\"failure\"}", labels);
    expect_soon(self, which == 0 ? (double)is.tried_again : 0, "consumer_retries_total{%s}", labels);
    expect_soon(self, end, "consumer_processing_latency_seconds_count{%s}", labels);
    expect_soon(self, end, "consumer_processing_latency_seconds_bucket{%s, le=\"+Inf\"}", labels);
    expect_soon(self, end, "consumer_frontier_offset{%s}", labels);
    expect_soon(self, end, "consumer_log_end_offset{%s}", labels);
    expect_soon(self, end, "consumer_committed_offset{%s}", labels);
    expect_soon(self, 0, "consumer_parallel_lag{%s}", labels);
    expect_soon(self, 0, "consumer_gap_count{%s}", labels);
    expect_soon(self, 0, "consumer_oldest_task_duration_seconds{%s}", labels);
    expect_soon(self, 1, "consumer_assignment_epoch{%s}", labels);
}

static void expect_log(const scene *self) {
    double records = 0, tried_again = 0;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        truth is = truth_of(self, p);
        records += (double)is.end;
        tried_again += (double)is.tried_again;
        for (int which = 0; which < 2; which++) expect_partition(self, which, p, is);
    }
    for (int which = 0; which < 2; which++) {
        const char *instance = self->instances[which];
        expect_soon(self, 1, "up{instance=\"%s\"}", instance);
        expect_soon(self, records, "consumer_fetched_records_total{instance=\"%s\"}", instance);
        expect_soon(self, records, "consumer_queue_wait_seconds_count{instance=\"%s\"}", instance);
        expect_soon(self, records + (which == 0 ? tried_again : 0), "consumer_exec_seconds_count{instance=\"%s\"}",
                    instance);
        expect_soon(self, 0, "consumer_in_flight_count{instance=\"%s\"}", instance);
        expect_soon(self, 0, "sum(consumer_internal_queue_depth{instance=\"%s\"})", instance);
        expect_soon(self, PARTITIONS, "consumer_assigned_partitions{instance=\"%s\"}", instance);
    }
    expect_soon(self, 2, "consumer_worker_processes{state=\"ready\"}");
    expect_soon(self, 2, "consumer_worker_starts_total");
}

Test(prometheus, values__of_two_running_consumers__are_what_is_in_the_log) {
    scene self;
    scene_open(&self, NULL);
    expect_log(&self);
    produce_more(&self);
    expect_log(&self);
    scene_close(&self);
}

/* --- expressions */

/* Data within the time; NaN is none. */
static bool has_data(const scene *self, const char *expression) {
    json_t *result = prometheus_query(self->server, expression), *sample;
    bool some = false;
    size_t i;
    json_array_foreach(result, i, sample) some = some || !isnan(prometheus_value(sample));
    json_decref(result);
    return some;
}

static void expect_data(const scene *self, const char *where, const char *expression, uint64_t end_ms) {
    while (!has_data(self, expression)) {
        cr_assert_lt(must_now_ms(), end_ms, "%s: no data: %s", where, expression);
        poll(NULL, 0, LOOK_MS);
    }
}

/* An alert that is quiet has no data: what it compares must. */
static char *without_threshold(const char *expression) {
    static const char *const comparisons[] = {" > ", " < ", " == ", " != "};
    char *text = strdup(expression), with[16];
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++) {
        snprintf(with, sizeof with, "%sbool ", comparisons[i]);
        char *next = text_with(text, comparisons[i], with);
        free(text);
        text = next;
    }
    return text;
}

/* Both kinds, as the server read them. Returns how many. */
static size_t expect_rules(const scene *self, uint64_t end_ms) {
    json_t *data = prometheus_api(self->server, "rules"), *group, *rule;
    size_t i, j, count = 0;
    json_array_foreach(json_object_get(data, "groups"), i, group) {
        json_array_foreach(json_object_get(group, "rules"), j, rule) {
            const char *name = json_string_value(json_object_get(rule, "name"));
            const char *query = json_string_value(json_object_get(rule, "query"));
            MUST(name && query, "a rule without name or query");
            bool alert = strcmp(json_string_value(json_object_get(rule, "type")), "alerting") == 0;
            char *inner = alert ? without_threshold(query) : strdup(name);
            cr_assert(!alert || strcmp(inner, query) != 0, "%s compares nothing", name);
            expect_data(self, name, inner, end_ms);
            free(inner);
            count++;
        }
    }
    json_decref(data);
    return count;
}

static void expect_healthy(const scene *self) {
    json_t *data = prometheus_api(self->server, "rules"), *group, *rule;
    size_t i, j;
    json_array_foreach(json_object_get(data, "groups"), i, group)
        json_array_foreach(json_object_get(group, "rules"), j, rule) {
        const char *health = json_string_value(json_object_get(rule, "health"));
        cr_expect(health && strcmp(health, "ok") == 0, "%s is %s: %s", json_string_value(json_object_get(rule, "name")),
                  health, json_string_value(json_object_get(rule, "lastError")));
    }
    json_decref(data);
}

Test(prometheus, expressions__of_rules_and_dashboard__all_have_data) {
    scene self;
    dashboard_expression *list;
    char path[TEXT];
    scene_open(&self, deploy);
    uint64_t end_ms = must_now_ms() + PATIENCE_MS;
    expect_soon(&self, 0, "sum(consumer_parallel_lag)");
    /* Rates need two scrapes that differ. */
    produce_more(&self);
    snprintf(path, sizeof path, "%s/dashboard.json", deploy);
    size_t count = dashboard_read(path, &list);
    for (size_t i = 0; i < count; i++) expect_data(&self, list[i].panel, list[i].text, end_ms);
    dashboard_free(list, count);
    cr_expect_geq(expect_rules(&self, end_ms), 27);
    expect_healthy(&self);
    scene_close(&self);
}
