/* SPDX-License-Identifier: Apache-2.0
 *
 * Results as tables: for a terminal, and for a page.
 */
#include <stdio.h>
#include <string.h>

#include "results.h"

/* A number or a dash, right in its column. */
static void cell(int width, int digits, const json_t *value, double scale) {
    if (json_is_number(value))
        printf(" %*.*f", width, digits, json_number_value(value) * scale);
    else
        printf(" %*s", width, "-");
}

static const json_t *percentile(const json_t *entry, const char *of, const char *which) {
    return json_object_get(json_object_get(entry, of), which);
}

static void print_entry(const json_t *entry) {
    stats_spread rate = {0};
    char range[40] = "";
    size_t valid = results_spread(entry, "work_tps", &rate), all = json_array_size(json_object_get(entry, "samples"));
    if (all == 0) return;
    if (valid > 0) snprintf(range, sizeof range, "(%.1f-%.1f)", rate.min / 1e3, rate.max / 1e3);
    printf("%-34s %2zu/%-2zu", results_text(entry, "run_name"), valid, all);
    if (valid > 0)
        printf(" %9.1f %17s", rate.median / 1e3, range);
    else
        printf(" %9s %17s", "failed", range);
    cell(6, 2, json_object_get(entry, "ratio_to_raw_poll"), 1);
    cell(6, 2, json_object_get(entry, "ratio_to_raw"), 1);
    cell(6, 2, json_object_get(entry, "ratio_to_floor"), 1);
    cell(9, 1, json_object_get(entry, "ceiling_tps"), 1e-3);
    cell(5, 2, json_object_get(entry, "efficiency"), 1);
    cell(8, 2, percentile(entry, "latency", "p50_us"), 1e-3);
    cell(8, 2, percentile(entry, "latency", "p99_us"), 1e-3);
    cell(8, 2, percentile(entry, "end_to_end", "p99_us"), 1e-3);
    cell(7, 3, json_object_get(entry, "cpu_sec_per_million"), 1);
    cell(7, 3, json_object_get(entry, "worker_cpu_sec_per_million"), 1);
    cell(6, 1, json_object_get(entry, "rss_max_bytes"), 1e-6);
    cell(6, 2, json_object_get(entry, "allocations_per_record"), 1);
    putchar('\n');
    if (json_is_string(json_object_get(entry, "error"))) printf("    FAILED: %s\n", results_text(entry, "error"));
}

void results_print(const json_t *results) {
    size_t index;
    json_t *entry;
    const char *topic = "";
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        if (json_array_size(json_object_get(entry, "samples")) == 0) continue;
        if (strcmp(topic, results_text(entry, "topic")) != 0) {
            topic = results_text(entry, "topic");
            printf("\n%.0f records of %.0f B, %.0f partitions, %.0f keys, %s (%s)\n",
                   results_number(json_object_get(results, "options"), "num-messages"),
                   results_number(entry, "value_bytes"), results_number(entry, "partitions"),
                   results_number(entry, "keys"), results_text(entry, "key_distribution"), topic);
            printf("%-34s %5s %9s %17s %6s %6s %6s %9s %5s %8s %8s %8s %7s %7s %6s %6s\n", "run", "runs", "k/s",
                   "(min-max)", "/poll", "/raw", "/floor", "ceiling", "eff", "p50 ms", "p99 ms", "e2e p99", "CPU s/M",
                   "workers", "RSS MB", "allocs");
        }
        print_entry(entry);
    }
    if (json_is_true(json_object_get(results, "interrupted"))) puts("\nINTERRUPTED: these are the runs until then");
}

/* --- for a page */

/* A column of a page: a field of an entry, or of one of its objects of times. */
typedef struct page_column {
    const char *title, *object, *field;
    int digits;
    double scale;
} page_column;

static const page_column columns[] = {
    {"to raw-poll", NULL, "ratio_to_raw_poll", 2, 1},
    {"to raw", NULL, "ratio_to_raw", 2, 1},
    {"to async", NULL, "ratio_to_async", 2, 1},
    {"to the floor", NULL, "ratio_to_floor", 2, 1},
    {"of the ceiling", NULL, "efficiency", 2, 1},
    {"CPU s/M", NULL, "cpu_sec_per_million", 2, 1},
    {"to raw-poll's", NULL, "cpu_ratio_to_raw_poll", 2, 1},
    {"of workers", NULL, "worker_cpu_sec_per_million", 2, 1},
    {"RSS MB", NULL, "rss_max_bytes", 0, 1e-6},
    {"allocations", NULL, "allocations_per_record", 2, 1},
    {"end to end p50 us", "end_to_end", "p50_us", 0, 1},
    {"p99", "end_to_end", "p99_us", 0, 1},
    {"p99.9", "end_to_end", "p999_us", 0, 1},
    {"added p50 us", "added", "p50_us", 0, 1},
    {"p99", "added", "p99_us", 0, 1},
    {"idle CPU %", NULL, "idle_cpu_percent", 2, 1},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static const json_t *value_of(const json_t *entry, const page_column *column) {
    return json_object_get(column->object ? json_object_get(entry, column->object) : entry, column->field);
}

/* Columns in which a run of this topic has something. */
static void choose_columns(const json_t *results, const char *topic, bool ret_chosen[COLUMNS]) {
    size_t index;
    json_t *entry;
    for (size_t i = 0; i < COLUMNS; i++) ret_chosen[i] = false;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        if (strcmp(topic, results_text(entry, "topic")) != 0) continue;
        for (size_t i = 0; i < COLUMNS; i++) ret_chosen[i] |= json_is_number(value_of(entry, &columns[i]));
    }
}

static void print_page_head(const json_t *results, const json_t *entry, const bool chosen[COLUMNS]) {
    printf("\n%.0f records of %.0f bytes, %.0f partitions, %.0f keys (%s):\n\n| run | k/s (min-max) |",
           results_number(json_object_get(results, "options"), "num-messages"), results_number(entry, "value_bytes"),
           results_number(entry, "partitions"), results_number(entry, "keys"), results_text(entry, "key_distribution"));
    for (size_t i = 0; i < COLUMNS; i++)
        if (chosen[i]) printf(" %s |", columns[i].title);
    printf("\n| --- | ---: |");
    for (size_t i = 0; i < COLUMNS; i++)
        if (chosen[i]) printf(" ---: |");
    putchar('\n');
}

static void print_page_entry(const json_t *entry, const bool chosen[COLUMNS]) {
    stats_spread rate;
    if (results_spread(entry, "work_tps", &rate) > 0)
        printf("| %s | %.1f (%.1f-%.1f) |", results_text(entry, "run_name"), rate.median / 1e3, rate.min / 1e3,
               rate.max / 1e3);
    else
        printf("| %s | failed |", results_text(entry, "run_name"));
    for (size_t i = 0; i < COLUMNS; i++) {
        const json_t *value = value_of(entry, &columns[i]);
        if (chosen[i] && json_is_number(value))
            printf(" %.*f |", columns[i].digits, json_number_value(value) * columns[i].scale);
        else if (chosen[i])
            printf(" |");
    }
    putchar('\n');
}

void results_print_markdown(const json_t *results) {
    size_t index;
    json_t *entry;
    const char *topic = "";
    bool chosen[COLUMNS] = {false};
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        if (json_array_size(json_object_get(entry, "samples")) == 0) continue;
        if (index == 0 || strcmp(topic, results_text(entry, "topic")) != 0) {
            topic = results_text(entry, "topic");
            choose_columns(results, topic, chosen);
            print_page_head(results, entry, chosen);
        }
        print_page_entry(entry, chosen);
    }
}

void results_print_machine(const json_t *results) {
    json_t *machine = json_object_get(results, "machine"), *versions = json_object_get(results, "versions");
    printf("%s, %.0f processors, %s; weft %s, librdkafka %s, libzmq %s; %s.\n", results_text(machine, "processor"),
           results_number(machine, "processors"), results_text(machine, "memory"), results_text(versions, "weft"),
           results_text(versions, "librdkafka"), results_text(versions, "libzmq"), results_text(results, "started"));
}
