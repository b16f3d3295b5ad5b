/* SPDX-License-Identifier: Apache-2.0
 *
 * Subscribed actors on a real broker, which gives partitions at once: records are finished while threads still start.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "harness.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(events, .timeout = 55);

enum { PATIENCE_MS = 30000, RECORDS = 2000 };

typedef struct counter {
    _Atomic uint64_t *completions;
} counter;

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((counter *)state)->completions = (_Atomic uint64_t *)argument;
    return WEFT_OK;
}

static void on_completions(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    atomic_fetch_add(((counter *)state)->completions, message->body_bytes / sizeof(weft_event_completion));
}

static const weft_actor_class counter_class = {
    .name = "counter", .state_bytes = sizeof(counter), .init = init, .on = {[WEFT_EVENT_COMPLETIONS] = on_completions}};

static void subscribe(weft_consumer *consumer, void *context) {
    _Atomic uint64_t *completions = context;
    weft_actor_id id;
    MUST(weft_consumer_spawn(consumer, &counter_class, completions, &id) == WEFT_OK, "no actor");
    MUST(weft_consumer_subscribe(consumer, id, true, false, RECORDS) == WEFT_OK, "no events");
}

static bool all_are_told(const weft_metrics *metrics, void *context) {
    (void)metrics;
    return atomic_load((_Atomic uint64_t *)context) == RECORDS;
}

Test(events, a_thousand_threads_to_start__the_first_completions_are_told_too) {
    const char *bootstrap = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(bootstrap && *bootstrap, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    char *topic = must_name("events");
    keyed_plan plan = {.topic = topic, .partitions = 4, .records = RECORDS, .keys = 500, .value_bytes = 30};
    const char *settings[] = {"threads", "1000", NULL};
    _Atomic uint64_t completions = 0;
    topic_create(bootstrap, topic, 4, NULL);
    produce_keyed(bootstrap, &plan);
    harness *under_test = harness_start(&(harness_plan){.bootstrap = bootstrap,
                                                        .real_broker = true,
                                                        .topics = topic,
                                                        .settings = settings,
                                                        .prepare = subscribe,
                                                        .context = &completions});
    harness_expect(under_test, topic, 4);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, all_are_told, &completions, 10000, NULL), "%" PRIu64 " of %d",
              atomic_load(&completions), RECORDS);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    harness_free(&under_test);
    free(topic);
}
