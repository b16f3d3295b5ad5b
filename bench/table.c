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

static void column(const json_t *value, int digits, double scale) {
    if (json_is_number(value))
        printf(" %.*f |", digits, json_number_value(value) * scale);
    else
        printf(" |");
}

static void print_markdown_entry(const json_t *entry) {
    stats_spread rate;
    size_t valid = results_spread(entry, "work_tps", &rate);
    if (json_array_size(json_object_get(entry, "samples")) == 0) return;
    if (valid > 0)
        printf("| %s | %.1f (%.1f-%.1f) |", results_text(entry, "run_name"), rate.median / 1e3, rate.min / 1e3,
               rate.max / 1e3);
    else
        printf("| %s | failed |", results_text(entry, "run_name"));
    column(json_object_get(entry, "ratio_to_raw_poll"), 2, 1);
    column(json_object_get(entry, "ratio_to_raw"), 2, 1);
    column(json_object_get(entry, "ratio_to_async"), 2, 1);
    column(json_object_get(entry, "ratio_to_floor"), 2, 1);
    column(json_object_get(entry, "efficiency"), 2, 1);
    column(json_object_get(entry, "cpu_sec_per_million"), 2, 1);
    column(json_object_get(entry, "worker_cpu_sec_per_million"), 2, 1);
    column(json_object_get(entry, "rss_max_bytes"), 0, 1e-6);
    column(percentile(entry, "end_to_end", "p50_us"), 0, 1);
    column(percentile(entry, "end_to_end", "p99_us"), 0, 1);
    column(percentile(entry, "added", "p50_us"), 0, 1);
    column(percentile(entry, "added", "p99_us"), 0, 1);
    putchar('\n');
}

void results_print_markdown(const json_t *results) {
    size_t index;
    json_t *entry, *machine = json_object_get(results, "machine"), *versions = json_object_get(results, "versions");
    const char *topic = "";
    printf("%s, %.0f processors, %s; weft %s, librdkafka %s, libzmq %s; %s.\n", results_text(machine, "processor"),
           results_number(machine, "processors"), results_text(machine, "memory"), results_text(versions, "weft"),
           results_text(versions, "librdkafka"), results_text(versions, "libzmq"), results_text(results, "started"));
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        if (strcmp(topic, results_text(entry, "topic")) != 0) {
            topic = results_text(entry, "topic");
            printf("\n%.0f records of %.0f bytes, %.0f partitions, %.0f keys (%s):\n\n",
                   results_number(json_object_get(results, "options"), "num-messages"),
                   results_number(entry, "value_bytes"), results_number(entry, "partitions"),
                   results_number(entry, "keys"), results_text(entry, "key_distribution"));
            puts("| run | k/s (min-max) | to raw-poll | to raw | to async | to the floor | of the ceiling | CPU s/M | "
                 "of workers | RSS MB | e2e p50 us | e2e p99 us | added p50 us | added p99 us |\n"
                 "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        }
        print_markdown_entry(entry);
    }
}
