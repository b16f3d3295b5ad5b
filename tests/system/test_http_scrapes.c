/* SPDX-License-Identifier: Apache-2.0
 *
 * A consumer that is scraped a hundred times a second, in all forms, while members come and go and records flow, beside
 * clients that say half of something or never read their answer: every answer is whole, and no record notices.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "scrape.h"

TestSuite(http_scrapes, .timeout = 110);

enum { PATIENCE_MS = 60000, RECORDS = 12000, TEXT = 2000, GUESTS = 2 };

static const char *const settings[] = {
    "threads", "4", "commit.interval.ms", "20", "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "10", NULL};

typedef struct scraper {
    uint16_t port;
    _Atomic bool over;
    _Atomic uint64_t whole; /* answers */
    _Atomic uint64_t with_partitions;
    char wrong[400]; /* what was wrong with the first that was; written once, read when the thread has ended */
} scraper;

/* What is wrong with the lines of a text; NULL: nothing. Every series once, families in one piece, a number each. */
static const char *judge_text(const char *body) {
    static char last[256];
    const char *next;
    last[0] = '\0';
    unsigned epochs = 0, assigned = 0;
    for (const char *line = body; *line; line = next) {
        next = strchr(line, '\n');
        if (!next) return "the last line has no end";
        next++;
        size_t name_bytes = strcspn(line, "{ ");
        if (strncmp(line, "# TYPE ", 7) == 0) {
            snprintf(last, sizeof last, "%.*s", (int)strcspn(line + 7, " "), line + 7);
        } else if (*line != '#') {
            if (strncmp(line, last, strlen(last)) != 0) return "a series outside of its family";
            if (!strchr("0123456789+N", next[-2])) return "no number at the end of a line";
            if (strncmp(line, "consumer_assignment_epoch", name_bytes) == 0) epochs++;
            if (strncmp(line, "consumer_assigned_partitions", name_bytes) == 0)
                assigned += (unsigned)strtoul(strchr(line, ' '), NULL, 10);
        }
    }
    return epochs == assigned ? NULL : "not as many partitions as are assigned";
}

/* NULL: nothing is wrong. Answers of "not yet" are whole, too. */
static const char *judge_answer(const char *answer, bool text) {
    const char *body = scrape_body(answer), *length = answer ? strstr(answer, "Content-Length: ") : NULL;
    if (!body || !length) return "no whole head";
    if (strtoul(length + 16, NULL, 10) != strlen(body)) return "not as long as its head says";
    if (strncmp(answer, "HTTP/1.1 503", 12) == 0) return NULL;
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0) return "another status";
    return text ? judge_text(body) : NULL;
}

static void *scrape_on(void *argument) {
    static const char *const paths[] = {"/metrics", "/", "/metrics", "/status", "/readyz", "/metrics", "/healthz"};
    const struct timespec pause = {.tv_nsec = 10000000}; /* a hundred times a second */
    scraper *self = argument;
    for (size_t i = 0; !atomic_load(&self->over) && !self->wrong[0]; i++) {
        const char *path = paths[i % (sizeof paths / sizeof paths[0])];
        char *answer = scrape_get(self->port, path);
        bool text = strcmp(path, "/metrics") == 0;
        const char *wrong = judge_answer(answer, text);
        if (wrong) snprintf(self->wrong, sizeof self->wrong, "%s: %s: %.200s", path, wrong, answer ? answer : "");
        atomic_fetch_add(&self->whole, 1);
        if (text && answer && strstr(answer, "\nconsumer_parallel_lag{")) atomic_fetch_add(&self->with_partitions, 1);
        free(answer);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Records that come all the time, until the guests have gone. */
static weft_result take_a_moment(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    (void)under_test, (void)record, (void)ticket, (void)context;
    const struct timespec pause = {.tv_nsec = 500000};
    nanosleep(&pause, NULL);
    return WEFT_SUCCESS;
}

static bool has_some(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count > 0;
}

Test(http_scrapes, hundred_a_second_through_rebalances__whole_answers_and_nothing_is_lost) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 8, .records = RECORDS, .keys = 300, .value_bytes = 50};
    mock_topic(mock, "t", 8);
    produce_keyed(mock_bootstrap(mock), &plan);
    test_judge *judge = judge_new(JUDGE_KEYS);
    harness_plan member = {.bootstrap = mock_bootstrap(mock),
                           .group = "g",
                           .topics = "t",
                           .settings = settings,
                           .judge = judge,
                           .work = take_a_moment};
    harness *first = harness_start(&member);
    harness_expect(first, "t", 8);
    scraper eye = {.port = weft_consumer_metrics_port(harness_consumer(first))};
    pthread_t thread;
    char text[TEXT];
    cr_assert_eq(pthread_create(&thread, NULL, scrape_on, &eye), 0);
    /* Two of four slots are lost to others: one that says half of it again and again, one that never reads. */
    int half = -1, deaf = scrape_connect(eye.port);
    static const char whole[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    MUST(send(deaf, whole, sizeof whole - 1, MSG_NOSIGNAL) == sizeof whole - 1, "can't send");
    for (int i = 0; i < GUESTS; i++) {
        if (half >= 0) close(half);
        half = scrape_connect(eye.port);
        MUST(half >= 0 && send(half, whole, 8, MSG_NOSIGNAL) == 8, "can't send");
        harness *guest = harness_start(&member);
        cr_assert(harness_await_metrics(guest, has_some, NULL, PATIENCE_MS, NULL));
        harness_stop(guest, 10000);
        harness_free(&guest);
    }
    cr_assert(harness_await_all(first, PATIENCE_MS));
    atomic_store(&eye.over, true);
    pthread_join(thread, NULL);
    close(half);
    close(deaf);
    cr_expect_eq(harness_stop(first, 10000), WEFT_OK);
    cr_assert_eq(eye.wrong[0], '\0', "%s", eye.wrong);
    cr_expect_gt(atomic_load(&eye.whole), 100);
    cr_expect_gt(atomic_load(&eye.with_partitions), 20);
    /* The mock takes no commits while a group rebalances: what a guest had may run again. */
    judge_verdict verdict = judge_verdict_now(judge);
    cr_expect(verdict.missing == 0 && verdict.running == 0 && verdict.unexpected == 0 && verdict.overlaps == 0,
              "%s%s%s", verdict.example[0], verdict.example[3], verdict.example[4]);
    cr_expect(harness_is_all_committed(first, text, sizeof text), "%s", text);
    harness_free(&first);
    judge_free(judge);
    mock_close(mock);
}

/* What the actors say to each other does not depend on who looks: the exporter asks at each tick, and HTTP threads only
 * read. Nor does anybody's scrape make a collection. */
Test(http_scrapes, a_page_asks_nobody__numbers_change_with_ticks_only) {
    static const char *const slow[] = {
        "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "60000", "metrics.health.ms", "180000", NULL};
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "t", 1);
    harness *under_test =
        harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = slow});
    uint16_t port = weft_consumer_metrics_port(harness_consumer(under_test));
    cr_assert(harness_await_metrics(under_test, harness_is_assigned, NULL, PATIENCE_MS, NULL));
    char *first = NULL;
    for (int i = 0; i < 50; i++) { /* the page of the start is there when its collection has ended */
        char *answer = scrape_get(port, "/status");
        bool there = answer && strncmp(answer, "HTTP/1.1 200", 12) == 0;
        if (there && first) cr_assert_str_eq(answer, first, "made anew for a scrape");
        if (there && !first)
            first = answer;
        else
            free(answer);
    }
    cr_assert(first && strstr(first, "\"partitions\": []"), "%.2000s", first ? first : "nothing");
    free(first);
    harness_stop(under_test, 10000);
    harness_free(&under_test);
    mock_close(mock);
}
