/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "allocations.h"
#include "child.h"
#include "stats.h"
#include "topic.h"

/* To join a group may take some seconds, on the embedded broker at least three. */
enum { TELL_MS = 200, JOIN_SECONDS = 15 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

bool run_is_interrupted(void) {
    return interrupted;
}

void run_fail(bench_run *self, const char *format, ...) {
    va_list arguments;
    if (*self->error) return;
    va_start(arguments, format);
    vsnprintf(self->error, sizeof self->error, format, arguments);
    va_end(arguments);
}

double run_cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Not ru_maxrss, which a child inherits from the process that forked it. */
static uint64_t peak_rss_bytes(void) {
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "VmHWM: %llu", &kilobytes) != 1) {
    }
    if (file) fclose(file);
    return kilobytes * 1024;
}

/* --- the course of a run */

void run_first(bench_run *self, uint64_t at_ns) {
    self->first_ns = at_ns;
    self->window_begin_ns = at_ns;
    self->allocations_begin = allocations_count();
}

void run_last(bench_run *self, uint64_t at_ns) {
    self->last_ns = at_ns;
    self->allocations_end = allocations_count();
    self->cpu_end_seconds = run_cpu_seconds();
    self->rss_bytes = peak_rss_bytes();
}

/* Between two looks records came evenly, as far as anybody knows. */
static void note_windows(bench_run *self, uint64_t before, uint64_t before_ns, uint64_t done, uint64_t at_ns) {
    for (uint64_t end = (before / self->window_records + 1) * self->window_records; end <= done;
         end += self->window_records) {
        double share = (double)(end - before) / (double)(done - before);
        uint64_t end_ns = before_ns + (uint64_t)((double)(at_ns - before_ns) * share);
        if (end_ns > self->window_begin_ns && self->windows < WINDOWS_MAX)
            self->window_rates[self->windows++] =
                (double)self->window_records * 1e9 / (double)(end_ns - self->window_begin_ns);
        self->window_begin_ns = end_ns;
    }
}

bool run_watch(bench_run *self, uint64_t done) {
    uint64_t at_ns = now_ns();
    if (done > self->seen) {
        /* Before the first record nothing came, however long ago the last look was. */
        uint64_t before_ns = self->progress_ns > self->first_ns ? self->progress_ns : self->first_ns;
        if (self->first_ns) note_windows(self, self->seen, before_ns, done, at_ns);
        self->seen = done;
        self->progress_ns = at_ns;
    }
    self->done = done;
    uint64_t patience_seconds = self->options->stall_seconds + (done > 0 ? 0 : JOIN_SECONDS);
    if (interrupted)
        run_fail(self, "interrupted: %llu of %llu records were done", (unsigned long long)done,
                 (unsigned long long)self->data->records);
    else if (at_ns - self->progress_ns > patience_seconds * 1000000000u)
        run_fail(self, "no progress for %llu s: %llu of %llu records were done", (unsigned long long)patience_seconds,
                 (unsigned long long)done, (unsigned long long)self->data->records);
    else if (at_ns - self->begin_ns > self->options->timeout_seconds * 1000000000u)
        run_fail(self, "not done after %llu s (--timeout-sec): %llu of %llu records were",
                 (unsigned long long)self->options->timeout_seconds, (unsigned long long)done,
                 (unsigned long long)self->data->records);
    return !*self->error;
}

bool run_wants_progress(const bench_run *self) {
    return now_ns() - self->told_ns > TELL_MS * 1000000u;
}

void run_progress(bench_run *self, int64_t lag, int64_t gap) {
    self->told_ns = now_ns();
    dprintf(CHILD_LINE_FD, "P %llu %lld %lld\n", (unsigned long long)self->done, (long long)lag, (long long)gap);
    if (lag >= 0 && json_array_size(self->observations) < OBSERVATIONS_MAX)
        json_array_append_new(self->observations,
                              json_pack("{s:f, s:I, s:I}", "elapsed_sec",
                                        (double)(self->told_ns - self->begin_ns) / 1e9, "consumer_parallel_lag",
                                        (json_int_t)lag, "consumer_gap_count", (json_int_t)gap));
}

bool run_let_produce(bench_run *self) {
    char line[64];
    unsigned long long at_ns;
    dprintf(CHILD_LINE_FD, "G\n");
    if (!fgets(line, sizeof line, stdin) || sscanf(line, "S %llu", &at_ns) != 1) {
        run_fail(self, interrupted ? "interrupted before the first record" : "nobody produces");
        return false;
    }
    self->produced_ns = at_ns;
    self->progress_ns = now_ns();
    return true;
}

void run_check_committed(bench_run *self) {
    int64_t first[PARTITIONS_MAX], end[PARTITIONS_MAX], committed[PARTITIONS_MAX];
    int partitions = self->topic->partitions;
    if (!topic_ends(self->bootstrap, self->topic->name, partitions, first, end) ||
        !group_committed(self->bootstrap, self->group, self->topic->name, partitions, committed)) {
        run_fail(self, "the broker does not say what is committed");
        return;
    }
    int64_t lag = 0;
    for (int i = 0; i < partitions; i++) {
        int64_t at = committed[i] < 0 ? first[i] : committed[i];
        lag += end[i] - at;
        if (at != end[i])
            run_fail(self, "partition %d: committed %lld of %lld", i, (long long)committed[i], (long long)end[i]);
    }
    self->final_lag = lag;
    if (self->final_gap < 0) self->final_gap = 0;
}

/* --- the sample */

static json_t *number_or_null(double value, bool is_known) {
    return is_known ? json_real(value) : json_null();
}

static void put_rates(const bench_run *self, json_t *sample) {
    bool is_whole = self->last_ns > self->first_ns && self->first_ns > 0;
    double work = (double)(self->last_ns - self->first_ns) / 1e9,
           total = (double)(self->last_ns - self->begin_ns) / 1e9;
    double done = (double)self->done, ceiling = cell_ceiling(self->cell, self->topic);
    double cpu = self->cpu_end_seconds - self->cpu_begin_seconds;
    bool counted = allocations_are_counted() && self->done > 0;
    json_object_set_new(sample, "work_time_sec", number_or_null(work, is_whole));
    json_object_set_new(sample, "work_tps", number_or_null(done / work, is_whole));
    json_object_set_new(sample, "total_time_sec", json_real(self->last_ns > 0 ? total : 0));
    json_object_set_new(sample, "throughput_tps", json_real(self->last_ns > 0 && total > 0 ? done / total : 0));
    json_object_set_new(sample, "efficiency", number_or_null(done / work / ceiling, is_whole && ceiling > 0));
    json_object_set_new(sample, "cpu_sec", json_real(cpu));
    json_object_set_new(sample, "worker_cpu_sec", json_real(self->worker_cpu_seconds));
    json_object_set_new(sample, "cpu_sec_per_million", number_or_null(cpu * 1e6 / done, self->done > 0));
    json_object_set_new(
        sample, "worker_cpu_sec_per_million",
        number_or_null(self->worker_cpu_seconds * 1e6 / done, self->done > 0 && self->cell->mode == MODE_PROCESS));
    json_object_set_new(sample, "allocations_per_record",
                        number_or_null((double)(self->allocations_end - self->allocations_begin) / done, counted));
}

static void put_windows(const bench_run *self, json_t *sample) {
    double rates[WINDOWS_MAX];
    bool some = self->windows > 0;
    memcpy(rates, self->window_rates, sizeof rates);
    double middle = some ? stats_of(rates, self->windows).median : 0; /* sorts */
    json_object_set_new(sample, "window_size_messages", json_integer((json_int_t)self->window_records));
    json_object_set_new(sample, "tps_p50_window", number_or_null(middle, some));
    json_object_set_new(sample, "tps_p10_window",
                        number_or_null(some ? stats_percentile(rates, self->windows, 10) : 0, some));
    json_object_set_new(sample, "tps_min_window", number_or_null(rates[0], some));
}

static json_t *sample_of(bench_run *self) {
    json_t *sample = json_pack("{s:o, s:I}", "error", *self->error ? json_string(self->error) : json_null(),
                               "messages_processed", (json_int_t)self->done);
    bool timed = self->latency.count > 0;
    put_rates(self, sample);
    put_windows(self, sample);
    json_object_set_new(sample, "latency", times_json(&self->latency));
    json_object_set_new(sample, "queue_wait", times_json(&self->wait));
    json_object_set_new(sample, "added", times_json(&self->added));
    json_object_set_new(sample, "end_to_end", times_json(&self->end_to_end));
    json_object_set_new(sample, "avg_processing_ms",
                        number_or_null((double)self->latency.sum_ns / (double)self->latency.count / 1e6, timed));
    json_object_set_new(sample, "p99_processing_ms",
                        number_or_null((double)times_percentile_ns(&self->latency, 99) / 1e6, timed));
    json_object_set_new(sample, "rss_max_bytes", json_integer((json_int_t)self->rss_bytes));
    json_object_set_new(sample, "worker_rss_max_bytes", json_integer((json_int_t)self->worker_rss_bytes));
    json_object_set_new(sample, "harness_bytes",
                        json_integer((json_int_t)(self->data->bytes + judge_bytes(self->judge))));
    json_object_set_new(sample, "idle_cpu_percent",
                        number_or_null(self->idle_cpu_percent, self->idle_cpu_percent >= 0));
    json_object_set_new(sample, "poller_idle_percent",
                        number_or_null(self->poller_idle_percent, self->poller_idle_percent >= 0));
    json_object_set_new(sample, "final_lag", self->final_lag >= 0 ? json_integer(self->final_lag) : json_null());
    json_object_set_new(sample, "final_gap_count", self->final_gap >= 0 ? json_integer(self->final_gap) : json_null());
    json_object_set_new(sample, "metrics_observations", self->observations);
    return sample;
}

/* --- the process */

static void be_interruptible(void) {
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: it ends a wait for the parent */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void go(bench_run *self) {
    self->begin_ns = self->progress_ns = now_ns();
    self->cpu_begin_seconds = run_cpu_seconds();
    if (mode_is_raw(self->cell->mode))
        run_raw(self);
    else if (self->cell->mode == MODE_BASELINE)
        run_baseline(self);
    else if (self->cell->mode == MODE_FLOOR)
        run_floor(self);
    else
        run_weft(self);
    if (self->last_ns == 0) run_last(self, now_ns());
    run_progress(self, self->final_lag, self->final_gap);
}

int run_main(const bench_options *options, const char *place_text) {
    child_place place;
    bench_matrix matrix;
    if (!child_place_parse(place_text, &place) || !matrix_build(options, "", &matrix)) return 2;
    if (place.cell >= matrix.cell_count) return 2;
    const bench_cell *cell = &matrix.cells[place.cell];
    bench_topic *topic = &matrix.topics[cell->topic];
    snprintf(topic->name, sizeof topic->name, "%s", place.topic);
    be_interruptible();
    bench_run *self = calloc(1, sizeof *self);
    bool full = options->observe.values[0] == OBSERVE_FULL && mode_is_weft(cell->mode);
    if (!self) return 2;
    *self = (bench_run){.options = options,
                        .topic = topic,
                        .cell = cell,
                        .bootstrap = place.bootstrap,
                        .group = place.group,
                        .is_embedded = place.is_embedded,
                        .data = dataset_make(topic, full),
                        .idle_cpu_percent = -1,
                        .poller_idle_percent = -1,
                        .final_lag = -1,
                        .final_gap = -1,
                        .observations = json_array()};
    self->warm_records = options->rate < topic->records / 5 ? options->rate : topic->records / 5;
    self->window_records = topic->records / 100 > 100 ? topic->records / 100 : 100;
    if (self->data) self->judge = judge_make(self->data, cell->order, full);
    if (!self->data || !self->judge) {
        fputs("weft-bench: no memory for what must come\n", stderr);
        return 2;
    }
    go(self);
    json_t *sample = sample_of(self);
    char *text = json_dumps(sample, JSON_COMPACT);
    if (text) dprintf(CHILD_LINE_FD, "R %s\n", text);
    free(text);
    json_decref(sample);
    judge_discard(self->judge);
    dataset_free(self->data);
    free(self);
    matrix_free(&matrix);
    return 0;
}
