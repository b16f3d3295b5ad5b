/* SPDX-License-Identifier: Apache-2.0
 *
 * /healthz and /readyz of a running consumer: while its broker is away, while it drains, while a loop is stuck, and
 * without workers.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "scrape.h"
#include "stage.h"

TestSuite(http_health, .timeout = 110);

enum { PATIENCE_MS = 30000 };

#define SERVED "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "20"

static uint16_t port_of(harness *under_test) {
    uint16_t port = weft_consumer_metrics_port(harness_consumer(under_test));
    MUST(port != 0, "no port");
    return port;
}

/* Ask until the answer has both: the status, and a text. */
static void await_answer(uint16_t port, const char *path, const char *status, const char *text) {
    const struct timespec pause = {.tv_nsec = 5000000};
    for (uint64_t end_ms = must_now_ms() + PATIENCE_MS;;) {
        char *answer = scrape_get(port, path);
        bool found = answer && strncmp(answer, status, strlen(status)) == 0 && strstr(answer, text);
        cr_assert(found || must_now_ms() < end_ms, "%s, instead of %s %s: %s", path, status, text,
                  answer ? answer : "nothing");
        free(answer);
        if (found) return;
        nanosleep(&pause, NULL);
    }
}

#define OK "HTTP/1.1 200"
#define NOT_NOW "HTTP/1.1 503"

Test(http_health, broker_away__not_ready_and_still_healthy__ready_again_when_it_is_back) {
    static const char *const settings[] = {SERVED, NULL};
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "t", 2);
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    uint16_t port = port_of(under_test);
    await_answer(port, "/readyz", OK, "ready");
    mock_broker_up(mock, 1, 0);
    await_answer(port, "/readyz", NOT_NOW, "no broker");
    await_answer(port, "/metrics", OK, "\nconsumer_broker_connected 0\n");
    await_answer(port, "/", OK, "No broker can be reached.");
    await_answer(port, "/healthz", OK, "ok");
    mock_broker_up(mock, 1, 1);
    await_answer(port, "/readyz", OK, "ready");
    await_answer(port, "/", OK, "Nothing is wrong");
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}

Test(http_health, never_a_broker__not_ready) {
    static const char *const settings[] = {SERVED, NULL};
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = "127.0.0.1:1", .topics = "t", .settings = settings});
    await_answer(port_of(under_test), "/readyz", NOT_NOW, "no broker");
    await_answer(port_of(under_test), "/healthz", OK, "ok");
    harness_stop(under_test, 1000);
    harness_free(&under_test);
}

Test(http_health, group_takes_its_time__not_a_member__then_ready) {
    static const char *const settings[] = {SERVED, NULL};
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "t", 2);
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    uint16_t port = port_of(under_test);
    await_answer(port, "/readyz", NOT_NOW, "not a member");
    await_answer(port, "/metrics", OK, "\nconsumer_broker_connected 1\n");
    await_answer(port, "/readyz", OK, "ready");
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}

Test(http_health, topic_that_is_not_there__not_a_member__also_when_the_broker_was_away) {
    static const char *const settings[] = {SERVED, NULL};
    mock_cluster *mock = mock_open(1);
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "nowhere", .settings = settings});
    uint16_t port = port_of(under_test);
    await_answer(port, "/readyz", NOT_NOW, "not a member");
    mock_broker_up(mock, 1, 0);
    await_answer(port, "/readyz", NOT_NOW, "no broker");
    mock_broker_up(mock, 1, 1);
    await_answer(port, "/readyz", NOT_NOW, "not a member");
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}

/* --- handlers that wait */

typedef struct gate {
    _Atomic bool open;
    _Atomic int inside;
} gate;

static weft_result wait_at_gate(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test, (void)record, (void)ticket;
    const struct timespec pause = {.tv_nsec = 1000000};
    gate *self = context;
    atomic_fetch_add(&self->inside, 1);
    while (!atomic_load(&self->open)) nanosleep(&pause, NULL);
    return WEFT_SUCCESS;
}

static void *stop_it(void *argument) {
    harness_stop(argument, 30000);
    return NULL;
}

static harness *start_at_gate(mock_cluster *mock, gate *door, const char *const *settings) {
    keyed_plan plan = {.topic = "t", .partitions = 1, .records = 10, .keys = 10, .value_bytes = 50};
    mock_topic(mock, "t", 1);
    produce_keyed(mock_bootstrap(mock), &plan);
    return harness_start(&(harness_plan){
        .bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings, .work = wait_at_gate, .context = door});
}

static bool is_running(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->system.total_in_flight > 0;
}

Test(http_health, draining__not_ready__numbers_are_shown_to_the_end) {
    static const char *const settings[] = {"threads", "2", SERVED, NULL};
    mock_cluster *mock = mock_open(1);
    gate door = {0};
    pthread_t stopper;
    harness *under_test = start_at_gate(mock, &door, settings);
    uint16_t port = port_of(under_test);
    await_answer(port, "/metrics", OK, "\nconsumer_in_flight_count{topic=\"t\"} ");
    cr_assert(harness_await_metrics(under_test, is_running, NULL, PATIENCE_MS, NULL));
    await_answer(port, "/readyz", OK, "ready");
    cr_assert_eq(pthread_create(&stopper, NULL, stop_it, under_test), 0);
    await_answer(port, "/readyz", NOT_NOW, "draining");
    await_answer(port, "/healthz", OK, "ok");
    await_answer(port, "/metrics", OK, "\nconsumer_in_flight_count{topic=\"t\"} ");
    await_answer(port, "/status", OK, "\"in_flight\"");
    atomic_store(&door.open, true);
    pthread_join(stopper, NULL);
    cr_assert_eq(scrape_connect(port), -1, "the door is still open");
    harness_free(&under_test);
    mock_close(mock);
}

/* An inline handler stands on the work manager's own loop. */
Test(http_health, stuck_loop__not_healthy__old_numbers_say_so__healthy_again) {
    static const char *const settings[] = {"engine", "inline", "metrics.health.ms", "1000", SERVED, NULL};
    mock_cluster *mock = mock_open(1);
    gate door = {0};
    harness *under_test = start_at_gate(mock, &door, settings);
    uint16_t port = port_of(under_test);
    await_answer(port, "/healthz", NOT_NOW, "an actor has not answered for");
    await_answer(port, "/readyz", NOT_NOW, "an actor has not answered for");
    await_answer(port, "/", OK, "<p class=\"stale\">");
    await_answer(port, "/metrics", OK, "\nconsumer_metrics_timestamp_seconds ");
    atomic_store(&door.open, true);
    await_answer(port, "/healthz", OK, "ok");
    await_answer(port, "/readyz", OK, "ready");
    await_answer(port, "/", OK, "Nothing is wrong");
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}

Test(http_health, handler_that_hangs__is_no_stuck_loop) {
    static const char *const settings[] = {"threads", "1", "metrics.health.ms", "1000", SERVED, NULL};
    mock_cluster *mock = mock_open(1);
    gate door = {0};
    harness *under_test = start_at_gate(mock, &door, settings);
    uint16_t port = port_of(under_test);
    uint64_t end_ms = must_now_ms() + 2500;
    await_answer(port, "/status", OK, "\"workers_busy\": 1");
    while (must_now_ms() < end_ms) await_answer(port, "/healthz", OK, "ok");
    await_answer(port, "/status", OK, "\"blocking\": {");
    atomic_store(&door.open, true);
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}

/* --- worker processes */

Test(http_health, workers_that_never_come__not_ready) {
    static const char *const silent[] = {"workers", "2", "worker.command", "exec sleep 1000", SERVED, NULL};
    static const char *const dying[] = {"workers", "2", "worker.command", "exit 3", SERVED, NULL};
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    harness *under_test = stage_start(&self, silent);
    await_answer(port_of(under_test), "/readyz", NOT_NOW, "no workers");
    await_answer(port_of(under_test), "/", OK, "There is no worker");
    await_answer(port_of(under_test), "/metrics", OK, "\nconsumer_worker_processes{state=\"starting\"} 2\n");
    harness_stop(under_test, 5000);
    harness_free(&under_test);
    under_test = stage_start(&self, dying);
    await_answer(port_of(under_test), "/metrics", OK, "\nconsumer_worker_processes{state=\"waiting\"} 2\n");
    await_answer(port_of(under_test), "/readyz", NOT_NOW, "no workers");
    await_answer(port_of(under_test), "/healthz", OK, "ok");
    harness_stop(under_test, 5000);
    harness_free(&under_test);
    stage_close(&self);
}

Test(http_health, workers_there__ready_with_their_number) {
    static const char *const settings[] = {"workers", "2", SERVED, NULL};
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_fill(&self, 100, 10);
    harness *under_test = stage_start(&self, settings);
    await_answer(port_of(under_test), "/readyz", OK, "2 workers, 2 are started here");
    await_answer(port_of(under_test), "/", OK, "<td class=\"t\">ready</td>");
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    stage_close(&self);
}
