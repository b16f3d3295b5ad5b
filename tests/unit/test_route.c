/* SPDX-License-Identifier: Apache-2.0
 *
 * What is answered to whom: paths, methods, health and readiness by tables; and the page for people, where it says in
 * words what is wrong.
 */
#include "route.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(route, .timeout = 60);

static const uint64_t ms = 1000000;

static wf_page *page_of(weft_system_metrics system, size_t partitions) {
    weft_metrics *metrics =
        calloc(1, sizeof *metrics + partitions * sizeof(weft_partition_metrics) + sizeof(weft_topic_metrics));
    metrics->system = system;
    metrics->partitions = (weft_partition_metrics *)(metrics + 1);
    metrics->topics = (weft_topic_metrics *)(metrics->partitions + partitions);
    metrics->partition_count = partitions;
    metrics->topic_count = 1;
    metrics->topics[0] = (weft_topic_metrics){.topic = "orders"};
    for (size_t i = 0; i < partitions; i++)
        metrics->partitions[i] =
            (weft_partition_metrics){.topic = "orders", .partition = (int32_t)i, .blocking_offset = -1};
    wf_page *page = wf_page_new(metrics);
    cr_assert_not_null(page);
    page->limits = (wf_limits){
        .group = "g", .ordering = "key", .engine = "async", .max_series = 1000000, .metadata_max_bytes = 4096};
    page->build = (wf_build){"1", "gcc", "2", "4", "1.15"};
    page->made_ns = 5000 * ms;
    return page;
}

static const weft_system_metrics fine = {.is_connected = true, .is_member = true, .workers = 4};

static wf_answer ask(const char *method, const char *path, wf_page *page, uint64_t age_ms, bool draining) {
    wf_request request = {.method = method, .path = path};
    wf_sight sight = {.page = page,
                      .draining = draining,
                      .now_ns = (5000 + age_ms) * ms,
                      .since_ns = 5000 * ms,
                      .health_ns = 3000 * ms};
    return wf_route(&request, &sight);
}

Test(route, methods_and_paths__table) {
    static const struct {
        const char *method, *path;
        int status;
        bool bodiless;
    } table[] = {
        {"GET", "/metrics", 200, false},  {"HEAD", "/metrics", 200, true},   {"GET", "/status", 200, false},
        {"GET", "/", 200, false},         {"GET", "/healthz", 200, false},   {"HEAD", "/readyz", 200, true},
        {"POST", "/metrics", 405, false}, {"get", "/metrics", 405, false},   {"", "/", 405, false},
        {"OPTIONS", "/", 405, false},     {"DELETE", "/other", 404, false},  {"GET", "", 404, false},
        {"GET", "/metricsx", 404, false}, {"GET", "/metrics/", 404, false},  {"GET", "//metrics", 404, false},
        {"GET", "/METRICS", 404, false},  {"GET", "/metric%73", 404, false}, {"HEAD", "/none", 404, true},
        {"GET", NULL, 421, false},        {"HEAD", NULL, 421, true},         {"OPTIONS", NULL, 405, false},
    };
    wf_page *page = page_of(fine, 1);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        wf_answer answer = ask(table[i].method, table[i].path, page, 0, false);
        cr_assert(answer.status == table[i].status && answer.bodiless == table[i].bodiless, "%s %s: %d",
                  table[i].method, table[i].path, answer.status);
        cr_assert_not_null(answer.type);
    }
    wf_request with_body = {.method = "GET", .path = "/metrics", .has_body = true};
    cr_assert_eq(wf_route(&with_body, &(wf_sight){.page = page}).status, 413);
    wf_page_free(page);
}

Test(route, readiness_and_health__table) {
    weft_system_metrics away = fine, alone = fine, idle = fine, pool = fine, few = fine;
    away.is_connected = false;
    alone.is_member = false;
    idle.workers = 0;
    pool.pool = (weft_pool_metrics){.is_used = true, .wanted = 4};
    few.pool = pool.pool;
    few.workers = 1;
    const struct {
        weft_system_metrics system;
        bool page, draining;
        uint64_t age_ms;
        int ready, healthy;
        const char *says; /* of readiness */
    } table[] = {
        {fine, true, false, 0, 200, 200, "ready\n"},
        {fine, true, false, 3000, 200, 200, "ready\n"},
        {fine, true, false, 3001, 503, 503, "an actor has not answered for 3001 ms"},
        {fine, true, true, 0, 503, 200, "draining"},
        {fine, false, false, 0, 503, 200, "starting"},
        {fine, false, false, 3001, 503, 503, "starting"},
        {away, true, false, 0, 503, 200, "no broker"},
        {alone, true, false, 0, 503, 200, "not a member"},
        {idle, true, false, 0, 503, 200, "no workers"},
        {pool, true, false, 0, 200, 200, "4 workers"},
        {few, true, false, 0, 200, 200, "ready: 1 workers, 4 are started here"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        wf_page *page = page_of(table[i].system, 1);
        wf_answer ready = ask("GET", "/readyz", table[i].page ? page : NULL, table[i].age_ms, table[i].draining);
        wf_answer health = ask("GET", "/healthz", table[i].page ? page : NULL, table[i].age_ms, table[i].draining);
        cr_assert(ready.status == table[i].ready && strstr(ready.text, table[i].says), "row %zu: %d %s", i,
                  ready.status, ready.text);
        cr_assert_eq(health.status, table[i].healthy, "row %zu: %d %s", i, health.status, health.text);
        wf_page_free(page);
    }
}

Test(route, draining__numbers_are_shown_to_the_end) {
    wf_page *page = page_of(fine, 1);
    cr_assert_eq(ask("GET", "/metrics", page, 0, true).status, 200);
    cr_assert_eq(ask("GET", "/status", page, 0, true).status, 200);
    cr_assert_eq(ask("GET", "/metrics", NULL, 0, false).status, 503);
    wf_page_free(page);
}

Test(route, old_page__says_so_to_people_and_not_to_parsers) {
    wf_page *page = page_of(fine, 1);
    wf_request request = {.method = "GET", .path = "/", .accept_encoding = "gzip"};
    wf_sight sight = {.page = page, .now_ns = 5000 * ms + 61 * 1000 * ms, .health_ns = 3000 * ms};
    wf_answer answer = wf_route(&request, &sight);
    cr_assert(answer.status == 200 && answer.body && !answer.gzip);
    cr_assert_not_null(strstr(answer.text, "61 s old"));
    sight.now_ns = 5000 * ms;
    answer = wf_route(&request, &sight);
    cr_assert(answer.gzip && answer.text[0] == '\0');
    sight.now_ns = 5000 * ms + 61 * 1000 * ms;
    request.path = "/metrics";
    cr_assert_eq(wf_route(&request, &sight).text[0], '\0');
    wf_page_free(page);
}

/* --- the page for people */

static char *html_of(wf_page *page) {
    const wf_body *body = wf_page_body(page, WF_FORM_HTML, false);
    cr_assert_not_null(body);
    return strndup(body->bytes, body->count);
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) count++;
    return count;
}

Test(route, html__says_in_words_what_is_wrong) {
    weft_system_metrics system = fine;
    wf_page *page = page_of(system, 1);
    char *html = html_of(page);
    cr_assert_not_null(strstr(html, "Nothing is wrong"));
    cr_assert_null(strstr(html, "<script"));
    cr_assert_not_null(strstr(html, "http-equiv=\"refresh\""));
    free(html);
    wf_page_free(page);

    system.is_connected = system.is_member = false;
    system.is_paused = true;
    system.pool = (weft_pool_metrics){.is_used = true, .wanted = 4, .by_state = {[WEFT_WORKER_WAITING] = 3}};
    page = page_of(system, 6);
    for (size_t i = 0; i < 6; i++) {
        page->metrics->partitions[i].blocking_offset = 4711;
        page->metrics->partitions[i].blocking_attempt = i == 0 ? 1 : 3;
        page->metrics->partitions[i].blocking_duration_seconds = 3725;
    }
    page->metrics->partitions[5].blocking_attempt = 1;
    page->metrics->partitions[5].blocking_duration_seconds = 59;
    page->metrics->partitions[4].held = page->metrics->partitions[3].paused = true;
    page->metrics->topics[0].metadata_bytes = 4000;
    html = html_of(page);
    static const char *const texts[] = {
        "No broker can be reached.",
        "Not a member of the group",
        "0 of 4 wanted worker processes are ready. 3 wait",
        "orders/0: offset 4711 has been unfinished for 1 h 02 min, attempt 1.",
        "orders/2: offset 4711 has been unfinished for 1 h 02 min, attempt 3.",
        "2 more partitions are blocked",
        "the queue is full",
        "has 97 % of its limit",
        "1 partitions are held",
        "1 partitions are paused",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_assert_not_null(strstr(html, texts[i]), "%s", texts[i]);
    cr_assert_null(strstr(html, "Nothing is wrong"));
    const char *last_bad = strstr(html, "orders/4</td>"), *good = strstr(html, "orders/5</td>");
    cr_assert(last_bad && good && last_bad < good, "what is wrong stands first");
    free(html);
    wf_page_free(page);
}

Test(route, html__ten_thousand_partitions__the_blocked_ones_and_a_count) {
    wf_page *page = page_of(fine, 10000);
    page->metrics->partitions[9999].blocking_offset = 1;
    page->metrics->partitions[9999].blocking_attempt = 2;
    char *html = html_of(page);
    cr_assert_not_null(strstr(html, "orders/9999</td>"));
    cr_assert_not_null(strstr(html, "And 9500 more"));
    cr_assert_lt(strlen(html), 300000);
    cr_assert_eq(count_of(html, "<tr class=\"bad m\">"), 1);
    free(html);
    wf_page_free(page);
}
