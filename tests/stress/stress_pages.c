/* SPDX-License-Identifier: Apache-2.0
 *
 * The page that is in force, handed from the exporter to HTTP threads: one writer that publishes without waiting for
 * anybody, readers that borrow, render all forms at once, and give back. Every page has a number of its own in several
 * places: a page that was freed, mixed or changed under a reader shows it, and the sanitizers see more.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exposition.h"
#include "must.h"
#include "pages.h"

enum { READERS = 6, HASTY = 4 /* of them only glance */, ROUNDS = 3, BURST = 400, SLOWER = 40 };

typedef struct shared {
    wf_pages pages;
    _Atomic bool over;
    _Atomic uint64_t reads;
    _Atomic uint64_t same; /* reads of a page that the reader had seen before: forms that are there already */
} shared;

typedef struct reader {
    shared *shared;
    unsigned number;
} reader;

/* The test runner says how it built us: sanitizers are ten times slower. */
static uint64_t pages_of_round(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    return build && strcmp(build, "test") != 0 ? 15000 : 30000;
}

static wf_page *make_page(uint64_t number) {
    weft_metrics *metrics = must_alloc(1, sizeof *metrics + sizeof(weft_partition_metrics));
    metrics->partitions = (weft_partition_metrics *)(metrics + 1);
    metrics->partition_count = 1;
    metrics->partitions[0] = (weft_partition_metrics){
        .topic = "t", .frontier = (int64_t)number, .log_end = (int64_t)number, .blocking_offset = (int64_t)number};
    metrics->system.fetched = number;
    wf_page *page = wf_page_new(metrics);
    MUST(page != NULL, "no page");
    page->limits = (wf_limits){.group = "g", .ordering = "key", .engine = "async", .max_series = 20000};
    page->build = (wf_build){"1", "2", "3", "4", "5"};
    page->made_ns = number;
    wf_exposition_fit(page);
    return page;
}

static void expect_text(const wf_body *body, const char *format, uint64_t number) {
    char line[100];
    snprintf(line, sizeof line, format, (unsigned long long)number);
    MUST(memmem(body->bytes, body->count, line, strlen(line)) != NULL, "page %llu has not its own number",
         (unsigned long long)number);
}

static void look(wf_page *page, uint64_t turn) {
    wf_form form = (wf_form)(turn % WF_FORM_COUNT);
    const wf_body *body = wf_page_body(page, form, false);
    MUST(body != NULL, "no body");
    MUST(wf_page_body(page, form, false) == body, "a form was made twice");
    if (form == WF_FORM_TEXT || form == WF_FORM_OPENMETRICS) {
        expect_text(body, "\nconsumer_fetched_records_total %llu\n", page->made_ns);
        expect_text(body, "\nconsumer_blocking_offset{topic=\"t\",partition=\"0\"} %llu\n", page->made_ns);
    } else if (form == WF_FORM_STATUS) {
        expect_text(body, "\"fetched\": %llu,", page->made_ns);
    }
    if (turn % 3 == 0) MUST(wf_page_body(page, form, true) != NULL, "no compressed body");
}

static void *read_all(void *argument) {
    const reader *self = argument;
    shared *with = self->shared;
    uint64_t last = 0;
    for (uint64_t turn = self->number; !atomic_load(&with->over); turn++) {
        wf_page *page = wf_pages_borrow(&with->pages, self->number);
        if (page) {
            MUST(page->made_ns >= last, "page %llu came after %llu", (unsigned long long)page->made_ns,
                 (unsigned long long)last);
            atomic_fetch_add(&with->same, page->made_ns == last);
            last = page->made_ns;
            if (self->number < HASTY)
                MUST(page->metrics->system.fetched == last, "a page that is none");
            else
                look(page, turn);
            atomic_fetch_add(&with->reads, 1);
        }
        wf_pages_give_back(&with->pages, self->number);
        if (!page) sched_yield();
    }
    return NULL;
}

/* In bursts, and then slowly enough that readers meet at a page. */
static void publish_all(shared *with, uint64_t count) {
    for (uint64_t number = 1; number <= count; number++) {
        wf_pages_publish(&with->pages, make_page(number));
        if (number % BURST) continue;
        for (uint64_t until = atomic_load(&with->reads) + SLOWER; atomic_load(&with->reads) < until;) sched_yield();
    }
}

static uint64_t run(void) {
    shared with = {0};
    pthread_t threads[READERS];
    reader readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (reader){.shared = &with, .number = i};
        MUST(pthread_create(&threads[i], NULL, read_all, &readers[i]) == 0, "no thread");
    }
    publish_all(&with, pages_of_round());
    atomic_store(&with.over, true);
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
    MUST(atomic_load(&with.same) > 0, "no two reads of one page");
    wf_pages_deinit(&with.pages);
    return atomic_load(&with.reads);
}

int main(void) {
    uint64_t reads = 0;
    for (int i = 0; i < ROUNDS; i++) reads += run();
    printf("%d rounds, %llu pages each, %llu reads\n", ROUNDS, (unsigned long long)pages_of_round(),
           (unsigned long long)reads);
    return 0;
}
