/* SPDX-License-Identifier: Apache-2.0
 *
 * A broker that takes less commit metadata than weft was told (offset.metadata.max.bytes): weft finds the limit, keeps
 * below it, and goes on committing maps.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/consumer.h>

#include "must.h"
#include "own_broker.h"
#include "produce.h"
#include "topic.h"

enum { RECORDS = 30000, LIMIT = 1024, PATIENCE_TURNS = 9000 };

TestSuite(small_broker, .timeout = 110);

typedef struct work {
    _Atomic uint32_t runs[RECORDS];
    _Atomic uint64_t tokens[RECORDS];
    atomic_uint finished;
    atomic_bool released;
} work;

/* Every second record or so is deferred until the test says otherwise, in a pattern that no encoding makes small. */
static weft_result handle(const weft_record *record, void *context) {
    work *self = context;
    uint64_t offset = (uint64_t)weft_record_offset(record);
    atomic_fetch_add(&self->runs[offset], 1);
    if (offset * UINT64_C(0x9e3779b97f4a7c15) >> 63 && !atomic_load(&self->released)) {
        atomic_store(&self->tokens[offset], weft_record_defer(record).id);
        return WEFT_PENDING;
    }
    atomic_fetch_add(&self->finished, 1);
    return WEFT_SUCCESS;
}

static void complete_deferred(work *self) {
    for (int i = 0; i < RECORDS; i++) {
        weft_token token = {atomic_exchange(&self->tokens[i], 0)};
        if (token.id && weft_complete(token, WEFT_SUCCESS, NULL) == WEFT_OK) atomic_fetch_add(&self->finished, 1);
    }
}

static weft_metrics *metrics_of(weft_consumer *consumer) {
    weft_metrics *metrics;
    cr_assert(eq(int, weft_consumer_metrics(consumer, &metrics), WEFT_OK));
    return metrics;
}

static weft_consumer *start_consumer(const char *bootstrap, const char *topic, work *self) {
    weft_config *config;
    weft_consumer *consumer;
    cr_assert(eq(int, weft_config_new(&config), WEFT_OK));
    weft_config_set(config, "bootstrap.servers", bootstrap);
    weft_config_set(config, "topics", topic);
    weft_config_set(config, "group.id", topic);
    weft_config_set(config, "threads", "2");
    weft_config_set(config, "commit.interval.ms", "50");
    weft_config_set(config, "pending.max.records", "20000");
    weft_config_set(config, "log.level", "warn");
    cr_assert(eq(int, weft_consumer_new(config, handle, self, &consumer), WEFT_OK));
    cr_assert(eq(int, weft_consumer_start(consumer), WEFT_OK));
    weft_config_free(&config);
    return consumer;
}

/* Until a commit was refused and a map within the limit was committed after it. */
static void await_small_map(weft_consumer *consumer) {
    bool small = false;
    for (int turn = 0; turn < PATIENCE_TURNS && !small; turn++) {
        cr_assert(eq(int, weft_consumer_wait(consumer, 10), WEFT_ETIMEOUT));
        weft_metrics *metrics = metrics_of(consumer);
        small = metrics->system.commit_failures > 0 && metrics->partition_count == 1 &&
                metrics->partitions[0].metadata_bytes > LIMIT / 4;
        free(metrics);
    }
    cr_assert(small);
}

static void await_end(weft_consumer *consumer, work *self) {
    int64_t committed = 0;
    for (int turn = 0; turn < PATIENCE_TURNS && committed < RECORDS; turn++) {
        complete_deferred(self);
        cr_assert(eq(int, weft_consumer_wait(consumer, 10), WEFT_ETIMEOUT));
        weft_metrics *metrics = metrics_of(consumer);
        if (metrics->partition_count == 1) committed = metrics->partitions[0].committed;
        free(metrics);
    }
    cr_assert(eq(i64, committed, RECORDS));
}

Test(small_broker, limit_below_ours__is_found_and_kept__and_maps_go_on) {
    static work self;
    char property[64], *topic = must_name("small"), *metadata;
    own_broker broker;
    size_t bytes;
    snprintf(property, sizeof property, "offset.metadata.max.bytes=%d", LIMIT);
    own_broker_start(&broker, property);
    const char *bootstrap = broker.bootstrap;
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = RECORDS, .keys = RECORDS, .value_bytes = 10};
    topic_create(bootstrap, topic, 1, NULL);
    produce_keyed(bootstrap, &plan);

    weft_consumer *consumer = start_consumer(bootstrap, topic, &self);
    await_small_map(consumer);
    group_committed(bootstrap, topic, topic, 0, &metadata, &bytes);
    cr_expect(metadata && bytes > 0 && bytes <= LIMIT, "%zu bytes of metadata", bytes);
    free(metadata);
    cr_expect(lt(uint, atomic_load(&self.finished), RECORDS / 2), "dispatch did not stop before the limit");
    atomic_store(&self.released, true);
    await_end(consumer, &self);
    weft_metrics *metrics = metrics_of(consumer);
    cr_expect(lt(u64, metrics->system.commit_failures, 6), "the limit was not kept");
    free(metrics);
    cr_expect(eq(int, weft_consumer_stop(consumer, 10000), WEFT_OK));
    weft_consumer_free(&consumer);
    for (int i = 0; i < RECORDS; i++) cr_assert(eq(u32, atomic_load(&self.runs[i]), 1), "offset %d", i);
    own_broker_stop(&broker);
    free(topic);
}
