/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program does to a consumer while it runs: pause, bound its queue, look at it, subscribe an actor, stop it at
 * any moment.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "seeded.h"
#include "topic.h"
#include "weft/actor.h"

TestSuite(consumer_control, .timeout = 55);

enum { PATIENCE_MS = 30000, TEXT = 2000 };

static weft_result nap(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    const struct timespec *pause = context;

    (void)under_test;
    (void)record;
    (void)ticket;
    nanosleep(pause, NULL);
    return WEFT_SUCCESS;
}

/* --- pause and resume */

static const weft_partition_metrics *find(const weft_metrics *metrics, const char *topic, int32_t partition) {
    for (size_t i = 0; i < metrics->partition_count; i++) {
        if (strcmp(metrics->partitions[i].topic, topic) == 0 && metrics->partitions[i].partition == partition) {
            return &metrics->partitions[i];
        }
    }
    return NULL;
}

static bool all_assigned(const weft_metrics *metrics, void *context) {
    return metrics->partition_count == *(size_t *)context;
}

static bool are_paused(const weft_metrics *metrics, void *context) {
    (void)context;
    const weft_partition_metrics *a0 = find(metrics, "a", 0), *a1 = find(metrics, "a", 1), *b0 = find(metrics, "b", 0),
                                 *b1 = find(metrics, "b", 1);

    return a0 && a1 && b0 && b1 && a0->paused && a1->paused && !b0->paused && b1->paused;
}

static bool b0_is_done(const weft_metrics *metrics, void *context) {
    (void)context;
    const weft_partition_metrics *b0 = find(metrics, "b", 0);

    return b0->succeeded == 5000 && b0->committed == 5000;
}

Test(consumer_control, pause__of_a_topic_and_a_partition__stops_those_alone) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "a", .partitions = 2, .records = 10000, .keys = 100, .value_bytes = 50};
    const char *settings[] = {"threads", "3", "commit.interval.ms", "50", NULL};
    size_t partitions = 4;
    weft_metrics *metrics;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "a", 2);
    mock_topic(mock, "b", 2);
    under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "a,b", .settings = settings});
    cr_assert(harness_await_metrics(under_test, all_assigned, &partitions, PATIENCE_MS, NULL));
    cr_expect(eq(int, weft_consumer_pause(harness_consumer(under_test), "a", -1), WEFT_OK));
    cr_expect(eq(int, weft_consumer_pause(harness_consumer(under_test), "b", 1), WEFT_OK));
    cr_expect(eq(int, weft_consumer_pause(harness_consumer(under_test), "b", 77), WEFT_OK));
    cr_expect(eq(int, weft_consumer_pause(harness_consumer(under_test), "nobody", -1), WEFT_OK));
    cr_assert(harness_await_metrics(under_test, are_paused, NULL, PATIENCE_MS, NULL));

    produce_keyed(mock_bootstrap(mock), &plan);
    plan.topic = "b";
    produce_keyed(mock_bootstrap(mock), &plan);
    cr_expect(eq(u64, harness_expect(under_test, "a", 2), 10000));
    cr_expect(eq(u64, harness_expect(under_test, "b", 2), 10000));
    cr_assert(harness_await_metrics(under_test, b0_is_done, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, find(metrics, "a", 0)->succeeded, 0));
    cr_expect(eq(u64, find(metrics, "a", 1)->succeeded, 0));
    cr_expect(eq(u64, find(metrics, "b", 1)->succeeded, 0));
    cr_expect(eq(u64, judge_verdict_now(harness_judge(under_test)).started, 5000));
    free(metrics);

    cr_expect(eq(int, weft_consumer_resume(harness_consumer(under_test), NULL, -1), WEFT_OK));
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}

Test(consumer_control, pause_and_resume__again_and_again_under_load__lose_and_repeat_nothing) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 60000, .keys = 1000, .value_bytes = 50};
    const char *settings[] = {"threads", "4", "queue.max.records", "1000", NULL};
    const struct timespec pause = {.tv_nsec = 60000};
    seeded random = seeded_start(31, 0);
    harness *under_test;
    uint64_t step = 0;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = nap,
                                               .context = (void *)(uintptr_t)&pause});
    harness_expect(under_test, "t", 4);
    /* Each step waits for some more records, from the partitions that are not paused just now: one always runs. */
    for (int paused = 0; step + 600 < 60000 && paused >= 0; paused = (int)seeded_below(&random, 3)) {
        weft_consumer_pause(harness_consumer(under_test), "t", paused);
        step = judge_ended(harness_judge(under_test)) + 600;
        if (step >= 50000 || !harness_await(under_test, step, 10000)) break;
        weft_consumer_resume(harness_consumer(under_test), "t", (int)seeded_below(&random, 2) ? paused : -1);
    }
    cr_expect(ge(u64, step, 50000), "stood still at %" PRIu64, step);
    weft_consumer_resume(harness_consumer(under_test), NULL, -1);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "seed %" PRIu64 ": %s", random.seed, text);
    harness_free(&under_test);
    mock_close(mock);
}

/* --- bounds of the queue */

typedef struct bounds {
    uint64_t most_records, most_bytes;
} bounds;

static bool note_most(const weft_metrics *metrics, void *context) {
    bounds *seen = context;
    uint64_t records = metrics->system.total_queued + metrics->system.total_in_flight;

    if (records > seen->most_records) seen->most_records = records;
    if (metrics->system.held_bytes > seen->most_bytes) seen->most_bytes = metrics->system.held_bytes;
    return harness_is_committed(metrics, NULL);
}

Test(consumer_control, small_queues__in_records_and_in_bytes__are_never_outgrown) {
    mock_cluster *mock = mock_open(1);
    keyed_plan many = {.topic = "many", .partitions = 2, .records = 6000, .keys = 300, .value_bytes = 30};
    keyed_plan large = {.topic = "large", .partitions = 2, .records = 90, .keys = 30, .value_bytes = 100000};
    const char *by_records[] = {"threads", "3", "queue.max.records", "16", NULL};
    const char *by_bytes[] = {"threads", "3", "queue.max.bytes", "300000", NULL};
    const struct timespec pause = {.tv_nsec = 100000};
    const struct timespec longer = {.tv_nsec = 5000000};
    bounds of_many = {0}, of_large = {0};
    harness *first, *second;
    char text[TEXT];

    mock_topic(mock, "many", 2);
    mock_topic(mock, "large", 2);
    produce_keyed(mock_bootstrap(mock), &many);
    produce_keyed(mock_bootstrap(mock), &large);
    first = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                          .topics = "many",
                                          .settings = by_records,
                                          .work = nap,
                                          .context = (void *)(uintptr_t)&pause});
    second = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                           .topics = "large",
                                           .settings = by_bytes,
                                           .work = nap,
                                           .context = (void *)(uintptr_t)&longer});
    cr_assert(eq(u64, harness_expect(first, "many", 2), 6000));
    cr_assert(eq(u64, harness_expect(second, "large", 2), 90));
    for (uint64_t deadline_ms = must_now_ms() + PATIENCE_MS; must_now_ms() < deadline_ms;) {
        bool done = harness_await_metrics(first, note_most, &of_many, 0, NULL);

        if (harness_await_metrics(second, note_most, &of_large, 0, NULL) && done) break;
    }
    cr_expect(le(u64, of_many.most_records, 16));
    cr_expect(gt(u64, of_many.most_records, 3));
    cr_expect(le(u64, of_large.most_bytes, 300000 + 110000));
    cr_expect(gt(u64, of_large.most_bytes, 200000));
    cr_expect(eq(int, harness_stop(first, 10000), WEFT_OK));
    cr_expect(eq(int, harness_stop(second, 10000), WEFT_OK));
    cr_expect(harness_is_content(first, text, sizeof text), "%s", text);
    cr_expect(harness_is_content(second, text, sizeof text), "%s", text);
    harness_free(&first);
    harness_free(&second);
    mock_close(mock);
}

/* --- what is in a record */

enum { HEADERS = 500, MEBIBYTE = 1 << 20 };

typedef struct contents {
    _Atomic int seen;
    _Atomic int wrong;
    char *large;
} contents;

static bool bytes_are(const void *value, size_t bytes, const void *expected, size_t expected_bytes) {
    if (!expected) return !value && bytes == 0;
    return value && bytes == expected_bytes && memcmp(value, expected, bytes) == 0;
}

static bool headers_are_right(const weft_record *record) {
    const char *name;
    const void *value;
    size_t bytes;
    char expected[32];

    if (weft_record_header_count(record) != HEADERS || weft_record_header(record, HEADERS, &name, &value, &bytes))
        return false;
    for (size_t i = 0; i < HEADERS; i++) {
        if (!weft_record_header(record, i, &name, &value, &bytes)) return false;
        snprintf(expected, sizeof expected, "name-%zu", i % 50);
        if (strcmp(name, expected) != 0) return false;
        snprintf(expected, sizeof expected, "value-%zu", i);
        if (i % 5 == 0   ? value != NULL || bytes != 0
            : i % 5 == 1 ? !value || bytes != 0
                         : !bytes_are(value, bytes, expected, strlen(expected))) {
            return false;
        }
    }
    return true;
}

static weft_result check_contents(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    contents *state = context;
    size_t key_bytes, value_bytes;
    const void *key = weft_record_key(record, &key_bytes);
    const void *value = weft_record_value(record, &value_bytes);
    static const char *const keys[] = {"k", NULL, "", "k", "k", NULL, "large", "headers"};
    static const char *const values[] = {"v", "v", "v", NULL, "", NULL, NULL, "v"};
    int64_t kind = weft_record_offset(record) % 8;
    bool right = bytes_are(key, key_bytes, keys[kind], keys[kind] ? strlen(keys[kind]) : 0);

    (void)under_test;
    (void)ticket;
    if (kind == 6)
        right = right && bytes_are(value, value_bytes, state->large, MEBIBYTE - 200);
    else
        right = right && bytes_are(value, value_bytes, values[kind], values[kind] ? strlen(values[kind]) : 0);
    right = right && (kind == 7 ? headers_are_right(record) : weft_record_header_count(record) == 0);
    right = right && weft_record_timestamp_ms(record) == 1000000 + weft_record_offset(record);
    atomic_fetch_add(&state->seen, 1);
    if (!right) atomic_fetch_add(&state->wrong, 1);
    return WEFT_SUCCESS;
}

static void produce_contents(const char *bootstrap, const contents *state) {
    static const char *const big[] = {"message.max.bytes", "2000000", NULL};
    test_producer *producer = producer_open(bootstrap, big);
    produced_header headers[HEADERS];
    char text[HEADERS][2][16];

    for (size_t i = 0; i < HEADERS; i++) {
        snprintf(text[i][0], sizeof text[i][0], "name-%zu", i % 50);
        snprintf(text[i][1], sizeof text[i][1], "value-%zu", i);
        headers[i] = (produced_header){text[i][0], i % 5 == 0 ? NULL : text[i][1], i % 5 <= 1 ? 0 : strlen(text[i][1])};
    }
    for (int64_t i = 0; i < 24; i++) {
        static const char *const keys[] = {"k", NULL, "", "k", "k", NULL, "large", "headers"};
        static const char *const values[] = {"v", "v", "v", NULL, "", NULL, NULL, "v"};
        int kind = (int)(i % 8);
        produced_record record = {.topic = "t",
                                  .key = keys[kind],
                                  .key_bytes = keys[kind] ? strlen(keys[kind]) : 0,
                                  .value = kind == 6 ? state->large : values[kind],
                                  .value_bytes = kind == 6      ? MEBIBYTE - 200
                                                 : values[kind] ? strlen(values[kind])
                                                                : 0,
                                  .timestamp_ms = 1000000 + i,
                                  .headers = kind == 7 ? headers : NULL,
                                  .header_count = kind == 7 ? HEADERS : 0};

        /* One by one: each in a batch of its own, so that the batch is never too large for the mock. */
        producer_put(producer, &record);
        producer_flush(producer);
    }
    producer_close(producer);
}

Test(consumer_control, nulls_empties_headers_and_a_mebibyte__arrive_as_they_were_sent) {
    mock_cluster *mock = mock_open(1);
    const char *settings[] = {"threads", "2", "queue.max.bytes", "65536", "in.flight.max.bytes", "65536", NULL};
    contents state = {.large = must_alloc(1, MEBIBYTE)};
    harness *under_test;
    char text[TEXT];

    for (size_t i = 0; i < MEBIBYTE; i++) state.large[i] = (char)(i * 31 >> 3);
    mock_topic(mock, "t", 1);
    produce_contents(mock_bootstrap(mock), &state);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .work = check_contents,
                                               .context = &state});
    cr_assert(eq(u64, harness_expect(under_test, "t", 1), 24));
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(eq(int, atomic_load(&state.seen), 24));
    cr_expect(eq(int, atomic_load(&state.wrong), 0));
    harness_free(&under_test);
    free(state.large);
    mock_close(mock);
}

static weft_result check_no_headers(harness *under_test, const weft_record *record, judge_ticket ticket,
                                    void *context) {
    const char *name;
    const void *value;
    size_t bytes;

    (void)under_test;
    (void)ticket;
    if (weft_record_header_count(record) > 0 || weft_record_header(record, 0, &name, &value, &bytes))
        atomic_fetch_add((_Atomic int *)context, 1);
    return WEFT_SUCCESS;
}

Test(consumer_control, record_headers_false__records_arrive_without_them) {
    mock_cluster *mock = mock_open(1);
    const char *settings[] = {"record.headers", "false", NULL};
    const produced_header header = {"name", "value", 5};
    static _Atomic int with_headers;
    char text[TEXT];

    mock_topic(mock, "t", 1);
    test_producer *producer = producer_open(mock_bootstrap(mock), NULL);
    for (int i = 0; i < 10; i++)
        producer_put(producer, &(produced_record){
                                   .topic = "t", .key = "k", .key_bytes = 1, .headers = &header, .header_count = 1});
    producer_close(producer);
    harness *under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                        .topics = "t",
                                                        .settings = settings,
                                                        .work = check_no_headers,
                                                        .context = (void *)&with_headers});
    cr_assert(eq(u64, harness_expect(under_test, "t", 1), 10));
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(eq(int, atomic_load(&with_headers), 0));
    harness_free(&under_test);
    mock_close(mock);
}

/* --- an actor of the program */

typedef struct listener_counts {
    _Atomic uint64_t completions, successes, snapshots, dropped, wrong;
    _Atomic bool generous; /* gives credit back */
} listener_counts;

typedef struct listener {
    listener_counts *counts;
} listener;

static weft_status listener_init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((listener *)state)->counts = (listener_counts *)(uintptr_t)argument;
    return WEFT_OK;
}

static void on_completions(void *state, weft_env *env, const weft_message *message) {
    listener_counts *counts = ((listener *)state)->counts;
    const weft_event_completion *events = message->body;
    size_t count = message->body_bytes / sizeof *events;
    weft_event_credit credit = {.events = (uint32_t)count};

    for (size_t i = 0; i < count; i++) {
        if (events[i].success) atomic_fetch_add(&counts->successes, 1);
        if (strcmp(events[i].topic, "t") != 0 || events[i].attempts != 1) atomic_fetch_add(&counts->wrong, 1);
    }
    atomic_fetch_add(&counts->completions, count);
    if (atomic_load(&counts->generous)) weft_env_send(env, message->from, WEFT_EVENT_CREDIT, &credit, sizeof credit);
}

static void on_snapshot(void *state, weft_env *env, const weft_message *message) {
    listener_counts *counts = ((listener *)state)->counts;
    const weft_event_snapshot *event = message->body;
    const weft_event_credit credit = {.events = 1};

    atomic_store(&counts->dropped, event->dropped);
    atomic_fetch_add(&counts->snapshots, 1);
    weft_env_send(env, message->from, WEFT_EVENT_CREDIT, &credit, sizeof credit);
}

static const weft_actor_class listener_class = {
    .name = "listener",
    .state_bytes = sizeof(listener),
    .init = listener_init,
    .on = {[WEFT_EVENT_COMPLETIONS] = on_completions, [WEFT_EVENT_SNAPSHOT] = on_snapshot},
};

enum { MISER_CREDIT = 40 };

static void spawn_listeners(weft_consumer *consumer, void *context) {
    listener_counts *counts = context;
    weft_actor_id ids[3];

    for (int i = 0; i < 3; i++) {
        MUST(weft_consumer_spawn(consumer, &listener_class, &counts[i], &ids[i]) == WEFT_OK, "no actor");
    }
    MUST(weft_consumer_subscribe(consumer, ids[0], true, true, 100000) == WEFT_OK, "no events");
    MUST(weft_consumer_subscribe(consumer, ids[1], true, false, MISER_CREDIT) == WEFT_OK, "no events");
    MUST(weft_consumer_subscribe(consumer, ids[2], true, true, 1000) == WEFT_OK, "no events");
    MUST(weft_consumer_subscribe(consumer, 99, true, true, 10) == WEFT_EINVAL, "nobody has events");
}

static bool counts_add_up(const weft_metrics *metrics, void *context) {
    listener_counts *counts = context;
    (void)metrics;

    /* Snapshots that found no credit are among the dropped ones; the first listener got all that there were. */
    uint64_t told = atomic_load(&counts[2].completions) + atomic_load(&counts[2].dropped);
    return atomic_load(&counts[0].completions) == 30000 && told >= 30000 &&
           told <= 30000 + atomic_load(&counts[0].snapshots);
}

static weft_result run_free(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test;
    (void)record;
    (void)ticket;
    (void)context;
    return WEFT_SUCCESS;
}

Test(consumer_control, subscribed_actors__get_every_event_or_its_count) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 3, .records = 30000, .keys = 900, .value_bytes = 30};
    const char *settings[] = {"threads", "2", "tick.ms", "20", NULL};
    listener_counts counts[3] = {{.generous = true}, {.generous = false}, {.generous = true}};
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 3);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                               .topics = "t",
                                               .settings = settings,
                                               .prepare = spawn_listeners,
                                               .work = run_free,
                                               .context = counts});
    weft_actor_id late;
    cr_expect(
        eq(int, weft_consumer_spawn(harness_consumer(under_test), &listener_class, &counts[0], &late), WEFT_ESTATE));
    harness_expect(under_test, "t", 3);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, counts_add_up, counts, 10000, NULL),
              "got %" PRIu64 "; %" PRIu64 " and dropped %" PRIu64, counts[0].completions, counts[2].completions,
              counts[2].dropped);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    cr_expect(eq(u64, counts[1].completions, MISER_CREDIT));
    cr_expect(gt(u64, counts[2].completions, 0));
    cr_expect(gt(u64, counts[0].snapshots, 3));
    cr_expect(eq(u64, counts[0].dropped, 0));
    for (int i = 0; i < 3; i++) {
        cr_expect(eq(u64, counts[i].wrong, 0));
        cr_expect(eq(u64, counts[i].successes, counts[i].completions));
    }
    harness_free(&under_test);
    mock_close(mock);
}

/* --- stop at any moment */

static size_t open_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    MUST(directory, "no /proc/self/fd");
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

Test(consumer_control, twenty_starts_and_stops__leave_nothing_behind) {
    mock_cluster *mock = mock_open(1);
    const char *settings[] = {"threads", "3", NULL};
    size_t after_two = 0;

    mock_topic(mock, "t", 2);
    for (int i = 0; i < 20; i++) {
        harness *under_test =
            harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
        uint64_t began_ms = must_now_ms();

        cr_expect(eq(int, harness_stop(under_test, 5000), WEFT_OK));
        cr_expect(lt(u64, must_now_ms() - began_ms, 5000), "stop %d during the join", i);
        harness_free(&under_test);
        if (i == 1) after_two = open_descriptors();
    }
    /* The mock closes the connections of those that left a little later, so some of its own may still be there. */
    uint64_t deadline_ms = must_now_ms() + 5000;
    while (open_descriptors() > after_two && must_now_ms() < deadline_ms) {
        const struct timespec between = {.tv_nsec = 5000000};

        nanosleep(&between, NULL);
    }
    cr_expect(le(sz, open_descriptors(), after_two));
    mock_close(mock);
}

typedef struct stop_case {
    const char *name;
    const char *topics;
    uint64_t ended;   /* stop after so many records */
    bool assigned;    /* or when something is assigned */
    int fail_request; /* or never mind: this request fails all the time */
} stop_case;

static const stop_case stop_cases[] = {
    {"under load", "t", 3000, false, 0},
    {"just assigned", "t", 0, true, 0},
    {"no such topic", "missing", 0, false, 0},
    {"right at the start", "t", 0, false, 0},
};

Test(consumer_control, stop__at_any_moment__loses_nothing) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 20000, .keys = 400, .value_bytes = 30};
    const char *settings[] = {"threads", "4", "queue.max.records", "2000", NULL};
    const struct timespec pause = {.tv_nsec = 100000};
    test_judge *judge = judge_new(JUDGE_KEYS);
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    for (size_t i = 0; i < sizeof stop_cases / sizeof *stop_cases; i++) {
        const stop_case *row = &stop_cases[i];
        uint64_t began_ms;

        under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock),
                                                   .group = "g",
                                                   .topics = row->topics,
                                                   .settings = settings,
                                                   .judge = judge,
                                                   .work = nap,
                                                   .context = (void *)(uintptr_t)&pause});
        if (row->assigned)
            cr_expect(harness_await_metrics(under_test, harness_is_assigned, NULL, PATIENCE_MS, NULL), "%s", row->name);
        else
            cr_expect(harness_await(under_test, row->ended, PATIENCE_MS), "%s", row->name);
        began_ms = must_now_ms();
        cr_expect(eq(int, harness_stop(under_test, 8000), WEFT_OK), "%s", row->name);
        cr_expect(lt(u64, must_now_ms() - began_ms, 6000), "%s took long to stop", row->name);
        harness_free(&under_test);
    }
    under_test = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t", .settings = settings, .judge = judge});
    harness_expect(under_test, "t", 4);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 8000), WEFT_OK));
    /* All of them stopped in order, so nothing ran twice either. */
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    judge_free(judge);
    mock_close(mock);
}

/* What was counted outlives the partitions, and the run. */
Test(consumer_control, final_metrics__after_the_stop__have_what_was_done) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 3000, .keys = 100, .value_bytes = 50};
    mock_topic(mock, "t", 2);
    harness *under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t"});
    cr_expect(weft_consumer_final_metrics(harness_consumer(under_test)) == NULL);
    produce_keyed(mock_bootstrap(mock), &plan);
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    const weft_metrics *metrics = weft_consumer_final_metrics(harness_consumer(under_test));
    cr_assert(metrics != NULL);
    cr_expect(eq(u64, metrics->system.succeeded, 3000));
    cr_expect(eq(u64, metrics->system.failed, 0));
    cr_expect(eq(u64, metrics->system.retried, 0));
    cr_expect(metrics->system.begun_ns > 0 && metrics->system.finished_ns > metrics->system.begun_ns);
    cr_expect(eq(u64, metrics->system.total_queued + metrics->system.total_in_flight, 0));
    harness_free(&under_test);
    mock_close(mock);
}
