/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench as its users run it: small counts in every mode on its embedded broker, what it writes, what it serves
 * meanwhile, and that a run with a fault in it is no result.
 */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"
#include "scrape.h"

TestSuite(bench, .timeout = 110);

enum { RECORDS = 2000, PARTITIONS = 4, ARGUMENTS_MAX = 48, TEXT = 65536 };

/* A weft-bench that runs, with what it says and writes in files of its own. */
typedef struct bench {
    pid_t pid;
    char folder[64], output[96], json[96];
} bench;

static void bench_open(bench *self) {
    snprintf(self->folder, sizeof self->folder, "/tmp/weft-test-bench.XXXXXX");
    MUST(mkdtemp(self->folder), "no folder");
    snprintf(self->output, sizeof self->output, "%s/output", self->folder);
    snprintf(self->json, sizeof self->json, "%s/results.json", self->folder);
}

static void bench_close(bench *self) {
    unlink(self->output);
    unlink(self->json);
    rmdir(self->folder);
}

/* `arguments` of one line, separated by blanks; %J stands for the file of results. */
static void bench_start(bench *self, const char *arguments) {
    char line[2000], *rest = line, *list[ARGUMENTS_MAX] = {"weft-bench"};
    size_t count = 1;
    snprintf(line, sizeof line, "%s", arguments);
    for (char *word; (word = strsep(&rest, " "));) {
        MUST(count < ARGUMENTS_MAX - 1, "too many arguments");
        if (*word) list[count++] = strcmp(word, "%J") == 0 ? self->json : word;
    }
    self->pid = fork();
    MUST(self->pid >= 0, "no process");
    if (self->pid > 0) return;
    int file = open(self->output, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    execv(WEFT_BUILD_DIR "/bin/weft-bench", list);
    abort();
}

static int bench_finish(bench *self) {
    int status;
    MUST(waitpid(self->pid, &status, 0) == self->pid, "lost");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int bench_run(bench *self, const char *arguments) {
    bench_start(self, arguments);
    return bench_finish(self);
}

static const char *text_of(const char *path) {
    static char text[TEXT];
    FILE *file = fopen(path, "r");
    size_t bytes = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[bytes] = '\0';
    if (file) fclose(file);
    return text;
}

static json_t *results_of(const bench *self) {
    json_error_t error;
    json_t *results = json_load_file(self->json, 0, &error);
    cr_assert_not_null(results, "%s\n%s", error.text, text_of(self->output));
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
    if (strncmp(name, "raw", 3) == 0 || strstr(name, "floor")) return;
    cr_expect_eq(json_integer_value(json_object_get(entry, "final_lag")), 0, "%s", name);
    cr_expect_eq(json_integer_value(json_object_get(entry, "final_gap_count")), 0, "%s", name);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(entry, "latency"), "count")), RECORDS, "%s", name);
}

static void expect_results(const char *arguments, size_t runs) {
    bench self;
    size_t index;
    json_t *entry;
    bench_open(&self);
    int status = bench_run(&self, arguments);
    cr_assert_eq(status, 0, "status %d:\n%s", status, text_of(self.output));
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
    bench self;
    bench_open(&self);
    cr_expect_eq(bench_run(&self, "--num-messages 2000 --num-partitions 4 --modes async,process --observe light "
                                  "--order unordered --key-distribution hot --json-output %J"),
                 0, "%s", text_of(self.output));
    json_t *results = results_of(&self), *entry = json_array_get(json_object_get(results, "results"), 1);
    cr_expect_eq(json_integer_value(json_object_get(entry, "messages_processed")), RECORDS);
    cr_expect(json_is_null(json_object_get(entry, "latency")));
    json_decref(results);
    bench_close(&self);
}

Test(bench, at_a_rate__latency_is_from_the_intended_time) {
    bench self;
    bench_open(&self);
    cr_expect_eq(
        bench_run(&self, "--num-messages 2000 --num-partitions 4 --modes raw-poll,async --rate 4000 --json-output %J"),
        0, "%s", text_of(self.output));
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
static char *scrape_until_all(bench *self, uint16_t port, unsigned *ret_pages) {
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
    bench self;
    char arguments[400];
    unsigned pages;
    uint16_t port = free_port();
    bench_open(&self);
    /* All keys different: the same number of records in each partition. */
    snprintf(
        arguments, sizeof arguments,
        "--num-messages %d --num-partitions %d --key-distribution distinct --workloads sleep --worker-sleep-ms 0.2 "
        "--modes %s --metrics-port %d --idle-sec 3 --json-output %%J",
        RECORDS, PARTITIONS, mode, port);
    bench_start(&self, arguments);
    char *answer = scrape_until_all(&self, port, &pages);
    cr_assert_not_null(answer, "no page had it all; %u were seen:\n%s", pages, text_of(self.output));
    const char *page = scrape_body(answer);
    double sum = 0;
    for (int i = 0; i < PARTITIONS; i++) {
        cr_expect_eq(value_on(page, "consumer_processing_latency_seconds_count", i, ""), RECORDS / PARTITIONS);
        cr_expect_eq(value_on(page, "consumer_processed_total", i, "status=\"failure\""), 0);
        sum += value_on(page, "consumer_processed_total", i, "status=\"success\"");
    }
    free(answer);
    cr_expect_eq(bench_finish(&self), 0, "%s", text_of(self.output));
    json_t *results = results_of(&self), *entry = json_array_get(json_object_get(results, "results"), 0);
    json_t *observations = json_object_get(entry, "metrics_observations");
    json_t *last = json_array_get(observations, json_array_size(observations) - 1);
    cr_expect_eq(json_number_value(json_object_get(entry, "messages_processed")), sum);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(entry, "latency"), "count")), RECORDS);
    cr_expect_eq(json_integer_value(json_object_get(last, "consumer_parallel_lag")), 0);
    cr_expect_not_null(strstr(text_of(self.output), ": 2000 of 2000 records, "));
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

/* --- runs that are no results */

static void expect_failure(const char *arguments, const char *reason) {
    bench self;
    char line[600];
    bench_open(&self);
    snprintf(line, sizeof line, "--num-messages 2000 --num-partitions 4 --stall-sec 2 --json-output %%J %s", arguments);
    cr_expect_eq(bench_run(&self, line), 1, "%s", text_of(self.output));
    json_t *results = results_of(&self), *entry = json_array_get(json_object_get(results, "results"), 0);
    cr_expect_not_null(strstr(text_field(entry, "error"), reason), "%s", text_field(entry, "error"));
    cr_expect_eq(json_integer_value(json_object_get(entry, "valid_samples")), 0);
    cr_expect_not_null(strstr(text_of(self.output), "FAILED"));
    json_decref(results);
    bench_close(&self);
}

Test(bench, fault__a_record_is_lost__run_fails_and_names_it) {
    expect_failure("--modes async --fault lost", "1 records missing (the first: partition ");
}

Test(bench, fault__a_record_is_lost__the_raw_loop_says_so_too) {
    expect_failure("--modes raw-batch --fault lost", "1999 of 2000");
}

Test(bench, fault__order_broken_in_threads__run_fails) {
    expect_failure("--modes async --fault order", "out of order");
}

Test(bench, fault__order_broken_in_a_worker__run_fails) {
    expect_failure("--modes process --workers 1 --worker-language python --fault order", "out of order");
}

Test(bench, fault__a_handler_hangs__run_fails_in_time) {
    expect_failure("--modes async --fault hang", "no progress for ");
}

Test(bench, fault__a_worker_hangs__run_fails_in_time) {
    expect_failure("--modes process --fault hang", "no progress for ");
}

Test(bench, fault__a_worker_is_killed__run_fails) {
    expect_failure("--modes process --fault kill", "signal 9");
}

static void await_output(const bench *self, const char *text) {
    for (int i = 0; i < 6000; i++) {
        if (strstr(text_of(self->output), text)) return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    cr_assert_fail("never said: %s\n%s", text, text_of(self->output));
}

Test(bench, interrupted__says_and_writes_what_it_has) {
    bench self;
    bench_open(&self);
    bench_start(&self,
                "--num-messages 100000 --modes raw-poll,async --workloads sleep --worker-sleep-ms 5 --concurrency 2 "
                "--json-output %J");
    await_output(&self, "sleep-key-async 1/1: ");
    kill(self.pid, SIGINT);
    cr_expect_eq(bench_finish(&self), 130);
    json_t *results = results_of(&self), *list = json_object_get(results, "results");
    cr_expect(json_is_true(json_object_get(results, "interrupted")));
    cr_expect(json_is_false(json_object_get(results, "complete")));
    cr_expect_eq(json_integer_value(json_object_get(json_array_get(list, 0), "valid_samples")), 1);
    cr_expect_not_null(strstr(text_field(json_array_get(list, 1), "error"), "interrupted"));
    cr_expect_not_null(strstr(text_of(self.output), "INTERRUPTED"));
    json_decref(results);
    bench_close(&self);
}

/* --- bad input */

Test(bench, options__all_mistakes_are_told_and_nothing_starts) {
    static const char *const told[] = {"--num-messages 0: a whole number from 1 to 1000000000",
                                       "--modes warp: one of raw, raw-poll",
                                       "--order sideways: one of key, partition, unordered, key_hash",
                                       "--worker-sleep-ms -1: a number from 0",
                                       "--py-spy is not here",
                                       "--process-transport is not here: workers have one transport, ipc",
                                       "--no-such: no such option",
                                       "--set nonsense: it must be NAME=VALUE",
                                       "--rate: its value is missing"};
    bench self;
    bench_open(&self);
    cr_expect_eq(bench_run(&self, "--num-messages 0 --modes async,warp --order sideways --worker-sleep-ms -1 --py-spy "
                                  "--process-transport pipes --no-such --set nonsense --rate"),
                 2);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        cr_expect_not_null(strstr(text_of(self.output), told[i]), "not told: %s\n%s", told[i], text_of(self.output));
    cr_expect_eq(bench_run(&self, "--log-level WARNING --modes async"), 2);
    cr_expect_not_null(strstr(text_of(self.output), "log.level"), "%s", text_of(self.output));
    cr_expect_eq(bench_run(&self, "--modes floor --workloads sleep --json-output /nowhere/at/all"), 2);
    cr_expect_not_null(strstr(text_of(self.output), "/nowhere/at/all can't be written"), "%s", text_of(self.output));
    cr_expect_null(strstr(text_of(self.output), "[1/1]"), "%s", text_of(self.output));
    cr_expect_eq(bench_run(&self, "--set threads=many --modes async"), 2);
    cr_expect_not_null(strstr(text_of(self.output), "threads"), "%s", text_of(self.output));
    bench_close(&self);
}

Test(bench, more_than_the_embedded_broker_keeps__refused_before_anything_runs) {
    bench self;
    bench_open(&self);
    cr_expect_eq(bench_run(&self, "--num-messages 100000 --num-partitions 8 --value-bytes 1000 --modes async"), 2);
    cr_expect_not_null(strstr(text_of(self.output), "keeps 5 MiB or 100,000 batches per partition"));
    cr_expect_eq(bench_run(&self, "--num-messages 40000 --num-partitions 1 --key-distribution null --modes raw-poll"),
                 0, "%s", text_of(self.output));
    bench_close(&self);
}

/* --- the matrix */

static void expect_line(const bench *self, const char *name, const char *ceiling) {
    for (const char *at = text_of(self->output); at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        size_t bytes = strcspn(at, "\n"), name_bytes = strlen(name), tail = strlen(ceiling);
        if (strncmp(at, name, name_bytes) != 0 || at[name_bytes] != ' ') continue;
        cr_expect(bytes > tail && strncmp(at + bytes - tail, ceiling, tail) == 0, "%.*s: not %s", (int)bytes, at,
                  ceiling);
        return;
    }
    cr_expect_fail("%s is not in the matrix:\n%s", name, text_of(self->output));
}

Test(bench, dry_run__each_with_each__and_what_can_not_be_beaten) {
    static const char *const rows[][2] = {
        {"raw-poll", "v100"},
        {"sleep-partition-baseline", "ceiling 1.0 k/s"},
        {"sleep-key-async", "ceiling 10.0 k/s"},        /* keys are fewer than threads */
        {"sleep-partition-async", "ceiling 4.0 k/s"},   /* partitions are */
        {"sleep-unordered-async", "ceiling 100.0 k/s"}, /* threads */
        {"sleep-key-process-c-w1", "ceiling 1.0 k/s"},  /* workers */
        {"sleep-key-process-python-w2", "ceiling 2.0 k/s"},
        {"sleep-unordered-floor", "ceiling 100.0 k/s"},
        {"none-key-async", "v100"},
    };
    bench self;
    bench_open(&self);
    cr_expect_eq(
        bench_run(&self,
                  "--dry-run --modes raw,baseline,async,process,floor --workloads none,sleep --worker-sleep-ms 1 "
                  "--order key_hash,partition,unordered --concurrency 100 --workers 1,2 --worker-language "
                  "c,python --num-keys 10 --num-partitions 4"),
        0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) expect_line(&self, rows[i][0], rows[i][1]);
    cr_expect_eq(bench_run(&self,
                           "--dry-run --modes async,floor --workloads sleep --worker-sleep-ms 1 --concurrency 100 "
                           "--key-distribution hot --hot-percent 50 --num-keys 1000"),
                 0);
    expect_line(&self, "sleep-key-floor", "ceiling 2.0 k/s");
    expect_line(&self, "sleep-key-async", "ceiling 2.0 k/s"); /* every second record is of the hot key */
    cr_expect_eq(bench_run(&self, "--dry-run --modes raw,async --skip-raw --skip-async"), 2);
    cr_expect_not_null(strstr(text_of(self.output), "nothing is left to run"));
    bench_close(&self);
}
