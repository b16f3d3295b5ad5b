/* SPDX-License-Identifier: Apache-2.0
 *
 * librdkafka 2.0.2 stops fetching for up to a second whenever its queue has once been full. With a handler slower than
 * the broker the queue is full at once; a poller that did not wake the fetchers would be without records for most of
 * the run.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <weft/consumer.h>

#include "must.h"
#include "produce.h"
#include "topic.h"

enum { RECORDS = 1000000, PARTITIONS = 8, PATIENCE_MS = 45000 };

TestSuite(stall, .timeout = 120);

typedef struct work {
    _Atomic uint64_t handled;
    _Atomic uint64_t first_ns;
} work;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Some hundreds of nanoseconds of work: slower than the broker delivers, faster than a stalled fetcher wakes by itself.
 */
static weft_result handle(const weft_record *record, void *context) {
    work *self = context;
    size_t bytes;
    volatile unsigned sum = 0;
    const unsigned char *value = weft_record_value(record, &bytes);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < bytes; i++) sum = sum * 31 + value[i];
    if (atomic_fetch_add(&self->handled, 1) == 0) atomic_store(&self->first_ns, now_ns());
    return WEFT_SUCCESS;
}

Test(stall, slow_handler__a_million_waiting__poller_seldom_without_records) {
    const char *bootstrap = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(bootstrap && *bootstrap, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    char *topic = must_name("stall");
    topic_create(bootstrap, topic, PARTITIONS, NULL);
    produce_keyed(
        bootstrap,
        &(keyed_plan){.topic = topic, .partitions = PARTITIONS, .records = RECORDS, .keys = 10000, .value_bytes = 100});

    static work self;
    weft_config *config;
    weft_consumer *consumer;
    weft_metrics *metrics;
    cr_assert(eq(int, weft_config_new(&config), WEFT_OK));
    weft_config_set(config, "bootstrap.servers", bootstrap);
    weft_config_set(config, "topics", topic);
    weft_config_set(config, "group.id", topic);
    weft_config_set(config, "threads", "1");
    weft_config_set(config, "log.level", "warn");
    cr_assert(eq(int, weft_consumer_new(config, handle, &self, &consumer), WEFT_OK));
    cr_assert(eq(int, weft_consumer_start(consumer), WEFT_OK));
    uint64_t give_up_ns = now_ns() + (uint64_t)PATIENCE_MS * 1000000;
    while (atomic_load(&self.handled) < RECORDS && now_ns() < give_up_ns)
        cr_assert(eq(int, weft_consumer_wait(consumer, 5), WEFT_ETIMEOUT));
    cr_assert(eq(u64, atomic_load(&self.handled), RECORDS));
    cr_assert(eq(int, weft_consumer_metrics(consumer, &metrics), WEFT_OK));
    double idle = (double)metrics->system.idle_ns / (double)(now_ns() - atomic_load(&self.first_ns));
    /* Not a matter of speed: without wake-ups it is more than half of the time on any machine, with them a few percent.
     */
    cr_expect(lt(dbl, idle, 0.2), "%.1f %% of the time without records", 100 * idle);
    cr_expect(gt(u64, metrics->system.wakes, 0));
    free(metrics);
    cr_expect(eq(int, weft_consumer_stop(consumer, 10000), WEFT_OK));
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    topic_delete(bootstrap, topic);
    free(topic);
}
