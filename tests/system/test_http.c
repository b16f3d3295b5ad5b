/* SPDX-License-Identifier: Apache-2.0
 *
 * A running consumer seen over HTTP.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "mock.h"
#include "seeded.h"
#include "produce.h"
#include "scrape.h"

TestSuite(http, .timeout = 55);

enum { PATIENCE_MS = 30000, RECORDS = 4000, TEXT = 2000 };

static const char *const settings[] = {
    "threads", "3", "commit.interval.ms", "50", "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "20", NULL};

/* Values of all lines that begin so, added; -1: there is none. */
static double sum_of(const char *body, const char *beginning) {
    double sum = -1;
    for (const char *at = body; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, beginning, strlen(beginning)) != 0) continue;
        const char *value = strchr(at, ' ');
        sum = (sum < 0 ? 0 : sum) + strtod(value, NULL);
    }
    return sum;
}

/* Whole: as long as the head says, no partition's lag twice, and the partitions that are counted have a line each. */
static int partitions_on(const char *answer) {
    const char *body = scrape_body(answer), *length = answer ? strstr(answer, "Content-Length: ") : NULL;
    cr_assert(body && length, "no whole answer");
    cr_assert_eq(strtoul(length + 16, NULL, 10), strlen(body));
    if (strncmp(answer, "HTTP/1.1 503", 12) == 0) return -1;
    bool seen[4] = {false};
    int count = 0;
    static const char epoch[] = "\nconsumer_assignment_epoch{topic=\"t\",partition=\"";
    for (const char *at = body; (at = strstr(at, epoch)); count++) {
        at += sizeof epoch - 1;
        cr_assert(*at >= '0' && *at <= '3' && !seen[*at - '0'], "a series twice, or of no partition");
        seen[*at - '0'] = true;
    }
    double assigned = sum_of(body, "consumer_assigned_partitions{");
    cr_assert_eq(count, assigned < 0 ? 0 : (int)assigned);
    return count;
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Scrape one after the other until so many partitions are on the page. */
static unsigned scrape_until(uint16_t port, int partitions) {
    unsigned scrapes = 0;
    for (double end = now_s() + PATIENCE_MS / 1e3;;) {
        char *answer = scrape_get(port, "/metrics");
        int count = partitions_on(answer);
        free(answer);
        scrapes++;
        if (count == partitions) return scrapes;
        cr_assert_lt(now_s(), end, "%d partitions on the page, not %d", count, partitions);
    }
}

static void await_value(uint16_t port, const char *series, double value) {
    for (double end = now_s() + PATIENCE_MS / 1e3, seen;;) {
        char *answer = scrape_get(port, "/metrics");
        seen = sum_of(scrape_body(answer), series);
        free(answer);
        if (seen == value) return;
        cr_assert_lt(now_s(), end, "%s is %g, not %g", series, seen, value);
    }
}

static bool has_two(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 2 && metrics->partitions[0].log_end >= 0 && metrics->partitions[1].log_end >= 0;
}

static void expect_status(uint16_t port, const char *path, const char *status) {
    char *answer = scrape_get(port, path);
    cr_assert(answer && strncmp(answer, status, strlen(status)) == 0, "%s: %.60s", path, answer ? answer : "nothing");
    free(answer);
}

Test(http, scrapes__through_rebalances__series_vanish_and_come_back_with_their_totals) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 4, .records = RECORDS, .keys = 0, .value_bytes = 50};
    harness_plan member = {.bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t", .settings = settings};
    mock_topic(mock, "t", 4);
    produce_keyed(mock_bootstrap(mock), &plan);
    harness *first = harness_start(&member);
    uint16_t port = weft_consumer_metrics_port(harness_consumer(first));
    cr_assert_neq(port, 0);
    harness_expect(first, "t", 4);
    cr_assert(harness_await_all(first, PATIENCE_MS));
    /* The mock refuses commits while a group rebalances: what is not committed would run again. */
    cr_assert(harness_await_metrics(first, harness_is_committed, NULL, PATIENCE_MS, NULL));
    scrape_until(port, 4);
    await_value(port, "consumer_processed_total{", RECORDS);
    await_value(port, "consumer_processing_latency_seconds_count{", RECORDS);
    await_value(port, "consumer_queue_wait_seconds_count{", RECORDS);
    await_value(port, "consumer_parallel_lag{", 0);
    expect_status(port, "/readyz", "HTTP/1.1 200");
    char *page = scrape_get(port, "/metrics");
    double cpu = sum_of(scrape_body(page), "consumer_loop_cpu_seconds_total{loop=\""),
           all = sum_of(scrape_body(page), "process_cpu");
    cr_assert(cpu > 0 && cpu <= all + 0.1, "loops took %g s of %g", cpu, all);
    free(page);

    harness *second = harness_start(&member);
    /* The page of the first has two for a moment while all four go and come: the second tells when it is over. */
    cr_assert(harness_await_metrics(second, has_two, NULL, PATIENCE_MS, NULL));
    scrape_until(port, 2);
    char *answer = scrape_get(port, "/metrics");
    double part = sum_of(scrape_body(answer), "consumer_processed_total{");
    cr_assert_eq(part, RECORDS / 2, "two of four partitions: %g", part);
    cr_assert_eq(sum_of(scrape_body(answer), "consumer_queue_wait_seconds_count{"), RECORDS, "by topic all of it");
    free(answer);
    harness_stop(second, 10000);
    scrape_until(port, 4);
    await_value(port, "consumer_processed_total{", RECORDS);

    cr_assert_eq(harness_stop(first, 10000), WEFT_OK);
    cr_assert_eq(scrape_connect(port), -1, "the door is still open");
    harness_free(&second);
    harness_free(&first);
    mock_close(mock);
}

Test(http, bad_requests__refused__and_cost_one_slot_only) {
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "t", 4);
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    uint16_t port = weft_consumer_metrics_port(harness_consumer(under_test));
    scrape_until(port, 4);

    int half[3]; /* of four slots */
    for (int i = 0; i < 3; i++) {
        half[i] = scrape_connect(port);
        cr_assert_geq(half[i], 0);
        cr_assert_eq(write(half[i], "GET /met", 8), 8);
    }
    static const struct {
        const char *request, *status;
    } table[] = {
        {"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
        {"GET /metrics?name[]=x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
        {"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
        {"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
        {"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405"},
        {"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 413"},
        {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405"},
        {"GET http://elsewhere:1/metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 421"},
        {"GET metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"\x16\x03\x01 \r\n\r\n", "HTTP/1.0 400"},
        {"GET /status HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *answer = scrape_request(port, table[i].request);
        cr_assert(answer && strncmp(answer, table[i].status, strlen(table[i].status)) == 0, "%s: %.60s",
                  table[i].request, answer ? answer : "nothing");
        cr_expect_null(strstr(answer + 1, "HTTP/1."), "%s is answered twice: %s", table[i].request, answer);
        free(answer);
    }
    static char here[128];
    snprintf(here, sizeof here, "GET http://any.name:%u/healthz HTTP/1.1\r\nHost: x\r\n\r\n", port);
    char *absolute = scrape_request(port, here);
    cr_assert(absolute && strncmp(absolute, "HTTP/1.1 200", 12) == 0, "%.60s", absolute ? absolute : "nothing");
    free(absolute);
    char *head = scrape_request(port, table[0].request);
    cr_assert_eq(*scrape_body(head), '\0');
    free(head);
    static char longest[40000];
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest, "GET /", 5);
    char *answer = scrape_request(port, longest);
    cr_assert(!answer || strncmp(answer, "HTTP/1.1 200", 12) != 0);
    free(answer);
    expect_status(port, "/healthz", "HTTP/1.1 200");
    for (int i = 0; i < 3; i++) close(half[i]);
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}

Test(http, port__in_use__start_refused_with_its_name) {
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "t", 1);
    harness *first =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    char port[16], *error = NULL;
    snprintf(port, sizeof port, "%u", weft_consumer_metrics_port(harness_consumer(first)));
    const char *taken[] = {"metrics.enabled", "true", "metrics.port", port, NULL};
    weft_status status;
    cr_assert_null(harness_try(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = taken},
                               &status, &error));
    cr_assert_eq(status, WEFT_ESYSTEM);
    cr_assert(strstr(error, "metrics.port") && strstr(error, port) && strstr(error, "in use"), "%s", error);
    free(error);
    harness_stop(first, 10000);
    harness_free(&first);
    mock_close(mock);
}
