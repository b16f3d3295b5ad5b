/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster that moves and a network that is slow, under load: leaders and coordinators change, fetches fail, answers
 * take half a second; thirty rebalances, after which nothing is left over; and a member whose handlers stand still.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"

TestSuite(consumer_network, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000 };

static weft_result nap(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    const struct timespec pause = {.tv_nsec = 150000};

    (void)under_test;
    (void)record;
    (void)ticket;
    (void)context;
    nanosleep(&pause, NULL);
    return WEFT_SUCCESS;
}

/* Nothing is lost and everything is committed; what was not committed when a membership ended may have run again. */
static void finish(harness *under_test, bool exactly_once_each) {
    char text[TEXT];

    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    if (exactly_once_each) {
        cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    } else {
        judge_verdict verdict = judge_verdict_now(harness_judge(under_test));

        cr_expect(eq(u64, verdict.missing + verdict.out_of_order + verdict.overlaps + verdict.running, 0), "%s %s %s",
                  verdict.example[0], verdict.example[2], verdict.example[3]);
        cr_expect(harness_is_all_committed(under_test, text, sizeof text), "%s", text);
    }
    harness_free(&under_test);
}

Test(consumer_network, leaders_and_coordinator__move_under_load__each_record_once) {
    mock_cluster *mock = mock_open(3);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = 40000, .keys = 400, .value_bytes = 50};
    const char *settings[] = {"threads",
                              "2",
                              "commit.interval.ms",
                              "50",
                              "queue.max.records",
                              "1000",
                              "kafka.topic.metadata.refresh.interval.ms",
                              "500",
                              NULL};
    harness *under_test;

    mock_topic(mock, "t", 4);
    for (int partition = 0; partition < 4; partition++) mock_leader(mock, "t", partition, 1 + partition % 3);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t", .settings = settings, .work = nap});
    harness_expect(under_test, "t", 4);
    cr_expect(harness_await(under_test, 2000, PATIENCE_MS));
    for (int round = 1; round <= 4; round++) {
        for (int partition = 0; partition < 4; partition++)
            mock_leader(mock, "t", partition, 1 + (partition + round) % 3);
        mock_coordinator(mock, "g", 1 + round % 3);
        cr_expect(harness_await(under_test, judge_ended(harness_judge(under_test)) + 3000, PATIENCE_MS));
    }
    finish(under_test, true);
    mock_close(mock);
}

Test(consumer_network, answers_slow_and_fetches_failing__each_record_once) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 20000, .keys = 400, .value_bytes = 50};
    const char *settings[] = {
        "threads", "2", "commit.interval.ms", "50", "queue.max.records", "500", "kafka.queued.min.messages",
        "500",     NULL};
    /* LEADER_NOT_AVAILABLE, NOT_LEADER, UNKNOWN_TOPIC_OR_PART, TIMED_OUT, a cut connection, TOPIC_AUTHORIZATION */
    const int failures[] = {5, 6, 3, 7, -195, 0, 29, 3, 6, -195, 0, 5};
    harness *under_test;

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(
        &(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = nap});
    harness_expect(under_test, "t", 2);
    cr_expect(harness_await(under_test, 1000, PATIENCE_MS));
    mock_round_trip(mock, 1, 500);
    cr_expect(harness_await(under_test, judge_ended(harness_judge(under_test)) + 2000, PATIENCE_MS));
    mock_round_trip(mock, 1, 0);
    mock_fail(mock, MOCK_FETCH, failures, sizeof failures / sizeof *failures);
    finish(under_test, true);
    mock_close(mock);
}

/* --- again and again */

static size_t entries_of(const char *path) {
    DIR *directory = opendir(path);
    size_t count = 0;

    MUST(directory, "no %s", path);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

static bool is_assigned_again(const weft_metrics *metrics, void *context) {
    return metrics->partition_count == 2 && metrics->system.assignments >= *(uint64_t *)context;
}

/* The mock closes its ends of connections that were replaced a little later. */
static void expect_at_most(const char *path, size_t most) {
    uint64_t deadline_ms = must_now_ms() + 5000;
    const struct timespec between = {.tv_nsec = 5000000};

    while (entries_of(path) > most && must_now_ms() < deadline_ms) nanosleep(&between, NULL);
    cr_expect(le(sz, entries_of(path), most), "%s", path);
}

enum { MEMBERS = 10, ROUNDS = 3, ROUND_MS = 8000 };

static void tell_to_rebalance(mock_cluster *mock) {
    static const int rebalancing[MEMBERS] = {27, 27, 27, 27, 27, 27, 27, 27, 27, 27};
    mock_fail(mock, MOCK_HEARTBEAT, rebalancing, MEMBERS);
}

/* Each heartbeat takes one of the answers. Where a member was late, another has taken two, and this one gets none. */
static bool await_round(mock_cluster *mock, harness *member, uint64_t assignments) {
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += ROUND_MS) {
        if (harness_await_metrics(member, is_assigned_again, &assignments, ROUND_MS, NULL)) return true;
        if (assignments > 1) tell_to_rebalance(mock);
    }
    return false;
}

/* Ten groups of one member in one process: each rebalance takes three seconds on the mock, whatever the member does.
 */
Test(consumer_network, thirty_rebalances__descriptors_and_threads__as_before) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 200, .keys = 40, .value_bytes = 50};
    const char *settings[] = {"threads", "1", "commit.interval.ms", "20", NULL};
    harness *members[MEMBERS];
    size_t descriptors = 0, threads = 0;

    mock_topic(mock, "t", 2);
    for (int i = 0; i < MEMBERS; i++)
        members[i] = harness_start(
            &(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = nap});
    for (uint64_t round = 0; round <= ROUNDS; round++) {
        uint64_t assignments = 1 + 2 * round; /* taken, and given again */

        plan.first = round * plan.records;
        produce_keyed(mock_bootstrap(mock), &plan);
        for (int i = 0; i < MEMBERS; i++)
            cr_assert(await_round(mock, members[i], assignments), "member %d round %" PRIu64, i, round);
        if (round == 1) {
            descriptors = entries_of("/proc/self/fd");
            threads = entries_of("/proc/self/task");
        }
        if (round < ROUNDS) tell_to_rebalance(mock);
    }
    expect_at_most("/proc/self/fd", descriptors);
    expect_at_most("/proc/self/task", threads);
    for (int i = 0; i < MEMBERS; i++) {
        harness_expect(members[i], "t", 2);
        finish(members[i], false);
    }
    mock_close(mock);
}

/* --- a handler that takes twice as long as Kafka waits for a member that does not poll */

typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool open;
} gate;

static void gate_open(gate *self) {
    pthread_mutex_lock(&self->mutex);
    self->open = true;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void gate_pass(gate *self) {
    pthread_mutex_lock(&self->mutex);
    while (!self->open) pthread_cond_wait(&self->changed, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}

static weft_result wait_always(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test;
    (void)record;
    (void)ticket;
    gate_pass(context);
    return WEFT_SUCCESS;
}

Test(consumer_network, handlers_stand_still_for_two_poll_intervals__member_stays_and_queue_is_bounded) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 20000, .keys = 200, .value_bytes = 100};
    const char *settings[] = {
        "threads", "2", "queue.max.records", "500", "drain.timeout.ms", "500", "kafka.max.poll.interval.ms",
        "10600",   NULL};
    gate door = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    weft_metrics *metrics;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    under_test = harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = wait_always, .context = &door});
    harness_expect(under_test, "t", 2);
    cr_assert(harness_await_metrics(under_test, harness_is_assigned, NULL, PATIENCE_MS, NULL));
    /* It must be real time that passes: the clock of the membership is the broker's. */
    cr_expect(eq(int, weft_consumer_wait(harness_consumer(under_test), 21500), WEFT_ETIMEOUT));
    cr_assert(harness_await_metrics(under_test, harness_is_assigned, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->system.assignments, 1));
    cr_expect(le(u64, metrics->system.total_queued + metrics->system.total_in_flight, 500));
    cr_expect(metrics->system.is_paused);
    free(metrics);
    gate_open(&door);
    cr_expect(harness_await_all(under_test, PATIENCE_MS));
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}
