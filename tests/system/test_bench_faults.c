/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench when something is wrong: runs with a fault in them are no results, nor are those that were interrupted;
 * options that can't be. And the matrix that options make.
 */
#include <criterion/criterion.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench_program.h"

TestSuite(bench_faults, .timeout = 110);

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

/* --- runs that are no results */

static void expect_failure(const char *arguments, const char *reason) {
    bench_program self;
    char line[600];
    bench_open(&self, WEFT_BUILD_DIR);
    snprintf(line, sizeof line, "--num-messages 2000 --num-partitions 4 --stall-sec 2 --json-output %%J %s", arguments);
    cr_expect_eq(bench_run(&self, line), 1, "%s", bench_text(self.output));
    json_t *results = results_of(&self), *entry = json_array_get(json_object_get(results, "results"), 0);
    cr_expect_not_null(strstr(text_field(entry, "error"), reason), "%s", text_field(entry, "error"));
    cr_expect_eq(json_integer_value(json_object_get(entry, "valid_samples")), 0);
    cr_expect_not_null(strstr(bench_text(self.output), "FAILED"));
    json_decref(results);
    bench_close(&self);
}

Test(bench_faults, fault__a_record_is_lost__run_fails_and_names_it) {
    expect_failure("--modes async --fault lost", "1 records missing (the first: partition ");
}

Test(bench_faults, fault__a_record_is_lost__the_raw_loop_says_so_too) {
    expect_failure("--modes raw-batch --fault lost", "1999 of 2000");
}

Test(bench_faults, fault__order_broken_in_threads__run_fails) {
    expect_failure("--modes async --fault order", "out of order");
}

Test(bench_faults, fault__order_broken_in_a_worker__run_fails) {
    expect_failure("--modes process --workers 1 --worker-language python --fault order", "out of order");
}

Test(bench_faults, fault__a_handler_hangs__run_fails_in_time) {
    expect_failure("--modes async --fault hang", "no progress for ");
}

Test(bench_faults, fault__a_worker_hangs__run_fails_in_time) {
    expect_failure("--modes process --fault hang", "no progress for ");
}

Test(bench_faults, fault__a_worker_is_killed__run_fails) {
    expect_failure("--modes process --fault kill", "signal 9");
}

Test(bench_faults, deaths__each_record_runs_again__and_command_lines_that_make_no_sense_are_refused) {
    static const char *const wrong[] = {"deaths --deaths 0", "deaths --workers 65", "deaths --keys x", "deaths more"};
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
    cr_expect_eq(bench_run(&self, "deaths --deaths 5 --workers 2"), 0);
    const char *line = strstr(bench_text(self.output), "5 deaths, workers 2, keys 1, 1000 us a record: ");
    cr_assert_not_null(line, "%s", bench_text(self.output));
    double p50, p90, p99, most;
    line = strstr(line, "p50");
    cr_assert_eq(sscanf(line, "p50 %lf p90 %lf p99 %lf max %lf ms", &p50, &p90, &p99, &most), 4, "%s", line);
    cr_expect(p50 > 0 && p50 <= p90 && p90 <= p99 && p99 <= most, "%s", line);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(bench_run(&self, wrong[i]), 2, "%s", wrong[i]);
    bench_close(&self);
}

static void await_output(const bench_program *self, const char *text) {
    for (int i = 0; i < 6000; i++) {
        if (strstr(bench_text(self->output), text)) return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    cr_assert_fail("never said: %s\n%s", text, bench_text(self->output));
}

Test(bench_faults, interrupted__says_and_writes_what_it_has) {
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
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
    cr_expect_not_null(strstr(bench_text(self.output), "INTERRUPTED"));
    json_decref(results);
    bench_close(&self);
}

/* --- bad input */

Test(bench_faults, options__all_mistakes_are_told_and_nothing_starts) {
    static const char *const told[] = {"--num-messages 0: a whole number from 1 to 1000000000",
                                       "--modes warp: one of raw, raw-poll",
                                       "--order sideways: one of key, partition, unordered, key_hash",
                                       "--worker-sleep-ms -1: a number from 0",
                                       "--py-spy is not here",
                                       "--process-transport is not here: workers have one transport, ipc",
                                       "--no-such: no such option",
                                       "--set nonsense: it must be NAME=VALUE",
                                       "--rate: its value is missing"};
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
    cr_expect_eq(bench_run(&self, "--num-messages 0 --modes async,warp --order sideways --worker-sleep-ms -1 --py-spy "
                                  "--process-transport pipes --no-such --set nonsense --rate"),
                 2);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        cr_expect_not_null(strstr(bench_text(self.output), told[i]), "not told: %s\n%s", told[i],
                           bench_text(self.output));
    cr_expect_eq(bench_run(&self, "--log-level WARNING --modes async"), 2);
    cr_expect_not_null(strstr(bench_text(self.output), "log.level"), "%s", bench_text(self.output));
    cr_expect_eq(bench_run(&self, "--modes floor --workloads sleep --json-output /nowhere/at/all"), 2);
    cr_expect_not_null(strstr(bench_text(self.output), "/nowhere/at/all can't be written"), "%s",
                       bench_text(self.output));
    cr_expect_null(strstr(bench_text(self.output), "[1/1]"), "%s", bench_text(self.output));
    cr_expect_eq(bench_run(&self, "--set commit.interval.ms=many --modes async"), 2);
    cr_expect_not_null(strstr(bench_text(self.output), "commit.interval.ms"), "%s", bench_text(self.output));
    /* The run would not be what its name and its ceiling say. */
    cr_expect_eq(bench_run(&self, "--set threads=8 --set pending.max.records=9 --modes async --dry-run"), 2);
    cr_expect_not_null(strstr(bench_text(self.output), "--set threads=8: the runs have their own; use --concurrency"),
                       "%s", bench_text(self.output));
    cr_expect_not_null(strstr(bench_text(self.output), "use --pending"), "%s", bench_text(self.output));
    bench_close(&self);
}

Test(bench_faults, more_than_the_embedded_broker_keeps__refused_before_anything_runs) {
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
    cr_expect_eq(bench_run(&self, "--num-messages 100000 --num-partitions 8 --value-bytes 1000 --modes async"), 2);
    cr_expect_not_null(strstr(bench_text(self.output), "keeps 5 MiB or 100,000 batches per partition"));
    cr_expect_eq(bench_run(&self, "--num-messages 40000 --num-partitions 1 --key-distribution null --modes raw-poll"),
                 0, "%s", bench_text(self.output));
    bench_close(&self);
}

/* --- the matrix */

static void expect_line(const bench_program *self, const char *name, const char *ceiling) {
    for (const char *at = bench_text(self->output); at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        size_t bytes = strcspn(at, "\n"), name_bytes = strlen(name), tail = strlen(ceiling);
        if (strncmp(at, name, name_bytes) != 0 || at[name_bytes] != ' ') continue;
        cr_expect(bytes > tail && strncmp(at + bytes - tail, ceiling, tail) == 0, "%.*s: not %s", (int)bytes, at,
                  ceiling);
        return;
    }
    cr_expect_fail("%s is not in the matrix:\n%s", name, bench_text(self->output));
}

Test(bench_faults, dry_run__each_with_each__and_what_can_not_be_beaten) {
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
    bench_program self;
    bench_open(&self, WEFT_BUILD_DIR);
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
    cr_expect_not_null(strstr(bench_text(self.output), "nothing is left to run"));
    bench_close(&self);
}
