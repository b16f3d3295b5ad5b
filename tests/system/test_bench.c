/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench as its users run it: small counts in every mode on its embedded broker, what it writes, and what it serves
 * meanwhile.
 */
#include <criterion/criterion.h>

#include <jansson.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_program.h"
#include "must.h"
#include "scrape.h"

TestSuite(bench, .timeout = 110);

enum { RECORDS = 2000, PARTITIONS = 4 };

static json_t *results_of(const bench_program *self) {
    json_error_t error;
    json_t *results = json_load_file(self->json, 0, &error);
    cr_assert_not_null(results, "%s\n%s", error.text, bench_text(self->output));
    return results;
}

static const char *text_field(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* --- every mode */

static const char *const python_harness_fields[] = {"run_name",
                                                    "run_type",
                                                    "workload",
                                                    "topic",
                                                    "ordering",
                                                    "total_time_sec",
                                                    "throughput_tps",
                                                    "window_size_messages",
                                                    "tps_p50_window",
                                                    "tps_p10_window",
                                                    "tps_min_window",
                                                    "messages_processed",
                                                    "avg_processing_ms",
                                                    "final_lag",
                                                    "p99_processing_ms",
                                                    "final_gap_count",
                                                    "metrics_observations"};

/* No window is longer than the time in which all of them were: joining the group is in none. */
static void expect_windows(const json_t *entry, const char *name) {
    double slowest = json_number_value(json_object_get(entry, "tps_min_window"));
    double window = json_number_value(json_object_get(entry, "window_size_messages"));
    double seconds = json_number_value(json_object_get(entry, "work_time_sec"));
    cr_expect(slowest > 0 && window / slowest <= seconds * 1.001, "%s: a window of %g records at %g/s in %g s", name,
              window, slowest, seconds);
}

static void expect_result(const json_t *entry) {
    const char *name = text_field(entry, "run_name");
    for (size_t i = 0; i < sizeof python_harness_fields / sizeof *python_harness_fields; i++)
        cr_expect(json_object_get(entry, python_harness_fields[i]) != NULL, "%s: no %s", name,
                  python_harness_fields[i]);
    cr_expect(json_is_null(json_object_get(entry, "error")), "%s: %s", name, text_field(entry, "error"));
    cr_expect_eq(json_integer_value(json_object_get(entry, "messages_processed")), RECORDS, "%s", name);
    cr_expect_eq(json_integer_value(json_object_get(entry, "valid_samples")), 1, "%s", name);
    cr_expect_gt(json_number_value(json_object_get(entry, "work_tps")), 0, "%s", name);
    cr_expect_gt(json_number_value(json_object_get(entry, "cpu_sec")), 0, "%s", name);
    cr_expect_gt(json_number_value(json_object_get(entry, "rss_max_bytes")), 1e6, "%s", name);
    expect_windows(entry, name);
    if (strncmp(name, "raw", 3) == 0 || strstr(name, "floor")) return;
    cr_expect_eq(json_integer_value(json_object_get(entry, "final_lag")), 0, "%s", name);
    cr_expect_eq(json_integer_value(json_object_get(entry, "final_gap_count")), 0, "%s", name);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(entry, "latency"), "count")), RECORDS, "%s", name);
}

static void expect_results(const char *arguments, size_t runs) {
    bench_program self;
    size_t index;
    json_t *entry;
    bench_open(&self, WEFT_BUILD_DIR);
    int status = bench_run(&self, arguments);
    cr_assert_eq(status, 0, "status %d:\n%s", status, bench_text(self.output));
    json_t *results = results_of(&self);
    cr_assert_eq(json_array_size(json_object_get(results, "results")), runs);
    cr_expect(json_is_true(json_object_get(results, "complete")));
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        expect_result(entry);
    }
    json_decref(results);
    bench_close(&self);
}

Test(bench, raw_loops_baseline_floor_and_threads__each_record_once_and_committed) {
    expect_results(
        "--num-messages 2000 --num-partitions 4 --modes raw,baseline,floor,async --workloads cpu --worker-cpu-us "
        "5 --json-output %J",
        6);
}

Test(bench, deferred_inline_and_by_partition__each_record_once_and_committed) {
    expect_results("--num-messages 2000 --num-partitions 4 --modes pending,inline --workloads sleep --order "
                   "partition --worker-sleep-ms 0.1 --pending 100 --key-distribution zipf --json-output %J",
                   2);
}

Test(bench, workers_in_c_and_python__each_record_once_and_committed) {
    expect_results("--num-messages 2000 --num-partitions 4 --modes process --worker-language c,python,python-record "
                   "--workloads io --worker-io-sleep-ms 0.1 --order key --json-output %J",
                   3);
}

Test(bench, light__without_events__each_record_once_and_committed) {
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
    cr_expect_eq(bench_run(&self, "--num-messages 2000 --num-partitions 4 --modes async,process --observe light "
                                  "--order unordered --key-distribution hot --json-output %J"),
                 0, "%s", bench_text(self.output));
    json_t *results = results_of(&self), *entry = json_array_get(json_object_get(results, "results"), 1);
    cr_expect_eq(json_integer_value(json_object_get(entry, "messages_processed")), RECORDS);
    cr_expect(json_is_null(json_object_get(entry, "latency")));
    json_decref(results);
    bench_close(&self);
}

/* Each run has a group of its own, also when the name that they begin with has a blank in it. */
Test(bench, group__with_a_blank_in_its_name__is_new_for_each_run) {
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
    cr_expect_eq(bench_run(&self, "--num-messages 2000 --num-partitions 4 --modes async --async-group my%Bgroup "
                                  "--repetitions 2 --stall-sec 20 --json-output %J"),
                 0, "%s", bench_text(self.output));
    bench_close(&self);
}

Test(bench, at_a_rate__latency_is_from_the_intended_time) {
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
    cr_expect_eq(
        bench_run(&self, "--num-messages 2000 --num-partitions 4 --modes raw-poll,async --rate 4000 --json-output %J"),
        0, "%s", bench_text(self.output));
    json_t *results = results_of(&self), *entry;
    size_t index;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        const json_t *times = json_object_get(entry, "end_to_end");
        /* The first fifth is to warm up. What comes later is never before it was meant to be sent. */
        cr_expect_eq(json_integer_value(json_object_get(times, "count")), RECORDS - RECORDS / 5);
        cr_expect_gt(json_number_value(json_object_get(times, "p50_us")), 0);
        cr_expect_lt(json_number_value(json_object_get(times, "max_us")), 60e6);
    }
    json_decref(results);
    bench_close(&self);
}

/* --- progress, results and /metrics */

static uint16_t free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    MUST(handle >= 0 && bind(handle, (struct sockaddr *)&address, bytes) == 0, "no port");
    MUST(getsockname(handle, (struct sockaddr *)&address, &bytes) == 0, "no port");
    close(handle);
    return ntohs(address.sin_port);
}

/* The value of the only line that begins with `family`, and has the partition and `label`; -1: none. */
static double value_on(const char *page, const char *family, int partition, const char *label) {
    char part[40];
    size_t family_bytes = strlen(family);
    snprintf(part, sizeof part, "partition=\"%d\"", partition);
    for (const char *at = page; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        char line[600];
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        if (strncmp(line, family, family_bytes) == 0 && line[family_bytes] == '{' && strstr(line, part) &&
            strstr(line, label))
            return strtod(strrchr(line, ' '), NULL);
    }
    return -1;
}

static bool is_all_on(const char *page) {
    for (int i = 0; page && i < PARTITIONS; i++)
        if (value_on(page, "consumer_processed_total", i, "status=\"success\"") != RECORDS / PARTITIONS) return false;
    return page != NULL;
}

/* The page that has everything, or NULL when the program ended before one was seen. */
static char *scrape_until_all(bench_program *self, uint16_t port, unsigned *ret_pages) {
    int status;
    *ret_pages = 0;
    while (waitpid(self->pid, &status, WNOHANG) == 0) {
        char *answer = scrape_get(port, "/metrics");
        *ret_pages += answer != NULL;
        if (is_all_on(scrape_body(answer))) return answer;
        free(answer);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); /* not to take the processor from what is scraped */
    }
    return NULL;
}

static void expect_agreement(const char *mode) {
    bench_program self;
    char arguments[400];
    unsigned pages;
    uint16_t port = free_port();
    bench_open(&self, WEFT_BUILD_DIR);
    /* All keys different: the same number of records in each partition. */
    snprintf(
        arguments, sizeof arguments,
        "--num-messages %d --num-partitions %d --key-distribution distinct --workloads sleep --worker-sleep-ms 0.2 "
        "--modes %s --metrics-port %d --idle-sec 3 --json-output %%J",
        RECORDS, PARTITIONS, mode, port);
    bench_start(&self, arguments);
    char *answer = scrape_until_all(&self, port, &pages);
    cr_assert_not_null(answer, "no page had it all; %u were seen:\n%s", pages, bench_text(self.output));
    const char *page = scrape_body(answer);
    double sum = 0;
    for (int i = 0; i < PARTITIONS; i++) {
        cr_expect_eq(value_on(page, "consumer_processing_latency_seconds_count", i, ""), RECORDS / PARTITIONS);
        cr_expect_eq(value_on(page, "consumer_processed_total", i, "status=\"failure\""), 0);
        sum += value_on(page, "consumer_processed_total", i, "status=\"success\"");
    }
    free(answer);
    cr_expect_eq(bench_finish(&self), 0, "%s", bench_text(self.output));
    json_t *results = results_of(&self), *entry = json_array_get(json_object_get(results, "results"), 0);
    json_t *observations = json_object_get(entry, "metrics_observations");
    json_t *last = json_array_get(observations, json_array_size(observations) - 1);
    cr_expect_eq(json_number_value(json_object_get(entry, "messages_processed")), sum);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(entry, "latency"), "count")), RECORDS);
    cr_expect_eq(json_integer_value(json_object_get(last, "consumer_parallel_lag")), 0);
    cr_expect_not_null(strstr(bench_text(self.output), ": 2000 of 2000 records, "));
    json_decref(results);
    bench_close(&self);
}

Test(bench, async__progress_results_and_metrics_agree) {
    expect_agreement("async");
}

Test(bench, process__progress_results_and_metrics_agree) {
    expect_agreement("process");
}

Test(bench, inline__progress_results_and_metrics_agree) {
    expect_agreement("inline");
}

Test(bench, pending__progress_results_and_metrics_agree) {
    expect_agreement("pending");
}
