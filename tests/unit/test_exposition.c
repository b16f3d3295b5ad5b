/* SPDX-License-Identifier: Apache-2.0
 *
 * The exposition: read back by parsers that are not ours, and label values, numbers and negotiation by tables.
 */
#include "exposition.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "negotiate.h"

TestSuite(exposition, .timeout = 60);

enum { PARTITIONS = 5 };

static const char evil[] = "a\"b\\c\nd\xff\xc3";

/* Two topics, one with a name that Kafka would not allow. */
static wf_page *given_page(uint64_t max_series) {
    weft_metrics *metrics = calloc(1, sizeof *metrics + PARTITIONS * sizeof(weft_partition_metrics) +
                                          2 * (sizeof(weft_topic_metrics) + sizeof(weft_queue_metrics)));
    metrics->partitions = (weft_partition_metrics *)(metrics + 1);
    metrics->topics = (weft_topic_metrics *)(metrics->partitions + PARTITIONS);
    metrics->queues = (weft_queue_metrics *)(metrics->topics + 2);
    metrics->partition_count = PARTITIONS;
    metrics->topic_count = metrics->queue_count = 2;
    for (int i = 0; i < PARTITIONS; i++)
        metrics->partitions[i] = (weft_partition_metrics){.topic = i == 4 ? evil : "orders",
                                                          .partition = i,
                                                          .frontier = i == 3 ? -1 : 90,
                                                          .log_end = 100,
                                                          .true_lag = 10,
                                                          .blocking_offset = i == 0 ? 90 : -1,
                                                          .blocking_duration_seconds = i == 0 ? 0.1 : 0,
                                                          .succeeded = 7,
                                                          .failed = 1,
                                                          .latency = {.buckets = {3, 0, 2, [14] = 1}, .sum_ns = 1500}};
    metrics->topics[0] = (weft_topic_metrics){.topic = "orders", .in_flight = 4, .is_paused = true};
    metrics->topics[1] = (weft_topic_metrics){.topic = evil};
    metrics->queues[0] = (weft_queue_metrics){.topic = "orders", .virtual_partition = 3, .queued = 12};
    metrics->queues[1] = (weft_queue_metrics){.topic = evil};
    wf_page *page = wf_page_new(metrics);
    cr_assert_not_null(page);
    page->limits = (wf_limits){.group = "g", .ordering = "key", .engine = "async", .max_series = max_series};
    page->build = (wf_build){"1", "gcc \"12\"", "2", "4", "1.15"};
    page->process.max_fds = INFINITY;
    page->loops[0] = (wf_loop_time){.name = "poller", .cpu_ns = 1500000000};
    page->loop_count = 1;
    wf_exposition_fit(page);
    return page;
}

static char *text_of(wf_page *page, wf_form form) {
    const wf_body *body = wf_page_body(page, form, false);
    cr_assert_not_null(body);
    return strndup(body->bytes, body->count);
}

static void expect_line(const char *text, const char *line) {
    cr_assert_not_null(strstr(text, line), "no line %s", line);
}

Test(exposition, text__seed_metrics__names_types_labels_values) {
    wf_page *page = given_page(20000);
    char *text = text_of(page, WF_FORM_TEXT);
    static const char *const lines[] = {
        "\n# TYPE consumer_processed_total counter\n",
        "# TYPE consumer_processing_latency_seconds histogram\n",
        "# TYPE consumer_internal_queue_depth gauge\n",
        "\nconsumer_processed_total{topic=\"orders\",partition=\"2\",status=\"success\"} 7\n",
        "\nconsumer_processed_total{topic=\"orders\",partition=\"2\",status=\"failure\"} 1\n",
        "\nconsumer_processing_latency_seconds_bucket{topic=\"orders\",partition=\"0\",le=\"0.0025\"} 5\n",
        "\nconsumer_processing_latency_seconds_bucket{topic=\"orders\",partition=\"0\",le=\"+Inf\"} 6\n",
        "\nconsumer_processing_latency_seconds_count{topic=\"orders\",partition=\"0\"} 6\n",
        "\nconsumer_processing_latency_seconds_sum{topic=\"orders\",partition=\"0\"} 1.5e-06\n",
        "\nconsumer_in_flight_count{topic=\"orders\"} 4\n",
        "\nconsumer_internal_queue_depth{topic=\"orders\",virtual_partition=\"3\"} 12\n",
        "\nconsumer_parallel_lag{topic=\"orders\",partition=\"0\"} 10\n",
        "\nconsumer_gap_count{topic=\"orders\",partition=\"0\"} 0\n",
        "\nconsumer_backpressure_active{topic=\"orders\"} 1\n",
        "\nconsumer_oldest_task_duration_seconds{topic=\"orders\",partition=\"0\"} 0.1\n",
        "\nconsumer_metadata_size_bytes{topic=\"orders\"} 0\n",
        "\nconsumer_metadata_size_bytes{topic=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xef\xbf\xbd\"} 0\n",
        "\nprocess_max_fds +Inf\n",
        "\nconsumer_loop_cpu_seconds_total{loop=\"poller\"} 1.5\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) expect_line(text, lines[i]);
    cr_assert_null(strstr(text, "consumer_parallel_lag{topic=\"orders\",partition=\"3\"}"),
                   "its frontier is not known");
    free(text);
    wf_page_free(page);
}

/* Series of a body: lines that are no comments. */
static size_t series_in(const char *text) {
    size_t count = 0;
    for (const char *at = text; *at; at = strchr(at, '\n') + 1) count += *at != '#';
    return count;
}

Test(exposition, fit__too_many_series__left_out_and_counted) {
    wf_page *whole = given_page(20000);
    cr_assert(whole->partitions_shown == PARTITIONS && whole->topics_shown == 2 && whole->queues_shown == 2);
    cr_assert_eq(whole->left_out, 0);
    char *text = text_of(whole, WF_FORM_TEXT);
    size_t all = series_in(text), partitions = 0, topics = 0;
    free(text);
    for (uint64_t max = 1; max < all + 100; max += 7) {
        wf_page *page = given_page(max);
        bool everything = page->partitions_shown == PARTITIONS && page->topics_shown == 2 && page->queues_shown == 2;
        text = text_of(page, WF_FORM_TEXT);
        size_t always = series_in(text);
        cr_assert(page->topics_shown == 0 || always <= max, "%zu series, at most %llu", always,
                  (unsigned long long)max);
        cr_assert_eq(page->left_out == 0, everything);
        cr_assert_geq(page->topics_shown, topics, "fewer with more room");
        partitions = page->partitions_shown;
        topics = page->topics_shown;
        free(text);
        wf_page_free(page);
    }
    cr_assert(partitions == PARTITIONS && topics == 2);
    wf_page_free(whole);
}

/* A program that reads the text from a file, and prints nothing that is not allowed. */
static void expect_read(wf_page *page, wf_form form, const char *command) {
    char path[] = "/tmp/weft-exposition.XXXXXX", whole[2048], line[512];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    const wf_body *body = wf_page_body(page, form, false);
    FILE *file = fdopen(fd, "w");
    fwrite(body->bytes, 1, body->count, file);
    fclose(file);
    snprintf(whole, sizeof whole, "{ %s; } <%s 2>&1", command, path);
    FILE *reader = popen(whole, "r");
    size_t lines = 0;
    while (fgets(line, sizeof line, reader)) {
        bool known = strcmp(line, "consumer_gap_count non-histogram and non-summary metrics should not have \"_count\" "
                                  "suffix\n") == 0 ||
                     strcmp(line, "consumer_in_flight_count non-histogram and non-summary metrics should not have "
                                  "\"_count\" suffix\n") == 0 ||
                     strcmp(line, "ok\n") == 0;
        cr_assert(known, "%s: %s", command, line);
        lines++;
    }
    pclose(reader);
    remove(path);
    cr_assert_geq(lines, 1, "%s said nothing", command);
}

#define PARSE(module)                                                                                                  \
    "/usr/bin/python3 -c '"                                                                                            \
    "import sys\n"                                                                                                     \
    "from prometheus_client." module " import text_string_to_metric_families as parse\n"                               \
    "text = sys.stdin.buffer.read().decode(\"utf-8\")\n"                                                               \
    "families = list(parse(text))\n"                                                                                   \
    "names = [f.name for f in families]\n"                                                                             \
    "assert len(set(names)) == len(names), \"a family twice\"\n"                                                       \
    "keys = [(s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples]\n"                        \
    "assert len(set(keys)) == len(keys), \"a series twice\"\n"                                                         \
    "assert len(keys) == sum(1 for l in text.splitlines() if l[0] != \"#\"), \"a sample lost\"\n"                      \
    "print(\"ok\")'"

Test(exposition, both_formats__independent_parsers__read_all_of_it) {
    wf_page *page = given_page(20000);
    expect_read(page, WF_FORM_TEXT, PARSE("parser"));
    expect_read(page, WF_FORM_OPENMETRICS, PARSE("openmetrics.parser"));
    expect_read(page, WF_FORM_TEXT, "promtool check metrics");
    wf_page_free(page);
}

Test(exposition, gzip__unpacked__is_the_text) {
    wf_page *page = given_page(20000);
    const wf_body *plain = wf_page_body(page, WF_FORM_TEXT, false), *packed = wf_page_body(page, WF_FORM_TEXT, true);
    cr_assert_lt(packed->count, plain->count);
    cr_assert_eq(wf_page_body(page, WF_FORM_TEXT, true), packed, "made once");
    char *unpacked = malloc(plain->count + 1);
    z_stream stream = {.next_in = (Bytef *)packed->bytes,
                       .avail_in = (uInt)packed->count,
                       .next_out = (Bytef *)unpacked,
                       .avail_out = (uInt)plain->count + 1};
    cr_assert_eq(inflateInit2(&stream, 15 + 16), Z_OK);
    cr_assert_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
    inflateEnd(&stream);
    cr_assert_eq(stream.total_out, plain->count);
    cr_assert_eq(memcmp(unpacked, plain->bytes, plain->count), 0);
    free(unpacked);
    wf_page_free(page);
}

Test(exposition, status_and_html__foreign_text__escaped) {
    wf_page *page = given_page(20000);
    snprintf(page->metrics->partitions[0].last_error, WEFT_ERROR_TEXT_BYTES, "<script>\xff\"");
    expect_read(page, WF_FORM_STATUS,
                "/usr/bin/python3 -c 'import json, sys\n"
                "page = json.loads(sys.stdin.buffer.read().decode(\"utf-8\"))\n"
                "assert page[\"partitions\"][0][\"last_error\"] == \"<script>\\ufffd\\\"\"\n"
                "assert page[\"partitions\"][0][\"blocking\"][\"offset\"] == 90\n"
                "assert page[\"partitions\"][3][\"lag\"] is None\n"
                "print(\"ok\")'");
    char *html = text_of(page, WF_FORM_HTML);
    cr_assert_null(strstr(html, "<script"));
    cr_assert_not_null(strstr(html, "&#60;script&#62;\xef\xbf\xbd&#34;"));
    free(html);
    wf_page_free(page);
}

static void expect_numbers(void) {
    static const struct {
        double number;
        const char *text;
    } table[] = {{0, "0"},
                 {-3, "-3"},
                 {0.1, "0.1"},
                 {12345678.5, "12345678.5"},
                 {1.5e-9, "1.5e-09"},
                 {NAN, "NaN"},
                 {-INFINITY, "-Inf"},
                 {4503599627370497, "4503599627370497"},
                 {0.1 + 0.2, "0.30000000000000004"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        wf_buffer buffer = {0};
        wf_buffer_number(&buffer, table[i].number);
        wf_body *body = wf_buffer_body(&buffer);
        cr_assert(body->count == strlen(table[i].text) && memcmp(body->bytes, table[i].text, body->count) == 0,
                  "%.*s instead of %s", (int)body->count, body->bytes, table[i].text);
        free(body);
    }
}

Test(exposition, number__table__shortest_form_with_a_point) {
    expect_numbers();
}

/* A program may have set any; one with a comma is made here, where none need be installed. */
Test(exposition, number__locale_with_a_comma__still_has_a_point) {
    static const char make[] =
        "mkdir -p \"$D/comma\" && printf 'LC_NUMERIC\\ndecimal_point \",\"\\nthousands_sep \".\"\\ngrouping 3;3\\n"
        "END LC_NUMERIC\\n' >\"$D/source\" && localedef -c --no-archive -i \"$D/source\" \"$D/comma\" >\"$D/log\" 2>&1";
    char directory[] = "/tmp/weft-locale.XXXXXX", shown[16];
    cr_assert_not_null(mkdtemp(directory));
    setenv("D", directory, 1);
    setenv("LOCPATH", directory, 1);
    int made = system(make); /* it warns of what else a locale has */
    cr_assert_not_null(setlocale(LC_NUMERIC, "comma"), "localedef: status %d; it needs the package locales", made);
    snprintf(shown, sizeof shown, "%.1f", 0.5);
    cr_assert_str_eq(shown, "0,5");
    expect_numbers();
    wf_page *page = given_page(20000);
    char *text = text_of(page, WF_FORM_TEXT);
    expect_line(text, "\nconsumer_oldest_task_duration_seconds{topic=\"orders\",partition=\"0\"} 0.1\n");
    free(text);
    text = text_of(page, WF_FORM_STATUS);
    expect_line(text, "\"age_seconds\": 0.1");
    free(text);
    wf_page_free(page);
    cr_assert_eq(system("rm -r \"$D\""), 0);
}

Test(exposition, negotiation__table) {
    static const struct {
        const char *accept;
        wf_form form;
    } table[] = {
        {NULL, WF_FORM_TEXT},
        {"", WF_FORM_TEXT},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         WF_FORM_OPENMETRICS},
        {"text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.8", WF_FORM_TEXT},
        {"Application/OpenMetrics-Text; Version=\"0.0.1\"; escaping=underscores", WF_FORM_OPENMETRICS},
        {"application/openmetrics-text;version=2.0.0", WF_FORM_TEXT},
        {"application/openmetrics-text;q=0", WF_FORM_TEXT},
        {"text/plain;version=1.0.0;q=1, application/openmetrics-text;q=0.2", WF_FORM_OPENMETRICS},
        {"*/*;q=0.1,application/openmetrics-text;q=0.05", WF_FORM_TEXT},
        {",;,;q=,=;\"", WF_FORM_TEXT},
        {"application/openmetrics-text;x=\",text/plain;q=1", WF_FORM_OPENMETRICS},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_eq(wf_negotiate_form(table[i].accept), table[i].form, "%s", table[i].accept);
    cr_assert(wf_negotiate_gzip("deflate, gzip;q=0.5"));
    cr_assert(wf_negotiate_gzip("*"));
    cr_assert_not(wf_negotiate_gzip("gzip;q=0, *"));
    cr_assert_not(wf_negotiate_gzip("gzipped"));
    cr_assert_not(wf_negotiate_gzip(NULL));
}
