/* SPDX-License-Identifier: Apache-2.0
 *
 * The same topic through weft: as a member of a new group, with commits, as a user would do it.
 *
 * 1. What is done is known from the completions that the parent got (--observe full), or from the tallies of handler
 *    threads, or, of worker processes, from the gauges.
 * 2. A run is a result when the judge is content, the gauges say of each partition that every record succeeded once and
 *    none was tried again, no worker died, and the broker has the end of every partition as committed.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handlers.h"
#include "observer.h"

enum { LOOK_US = 2000, LOOK_GAUGES_US = 5000, STOP_MS = 20000, STOP_FAILED_MS = 500, LINE_BYTES = 2000 };

typedef struct weft_run {
    bench_run *run;
    weft_consumer *consumer;
    handlers *handlers; /* NULL: mode process */
    observer observer;
    bool observes;
    double worker_cpu_begin;
    bool has_begun;
} weft_run;

/* --- configuration */

static void set(weft_config *config, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void set(weft_config *config, const char *name, const char *format, ...) {
    char value[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    weft_config_set(config, name, value); /* mistakes are told together, by weft_consumer_new() */
}

static void set_engine(weft_config *config, bench_run *run) {
    const bench_cell *cell = run->cell;
    char line[LINE_BYTES];
    set(config, "ordering", "%s", order_name(cell->order));
    if (cell->mode == MODE_PROCESS) {
        set(config, "engine", "process");
        set(config, "workers", "%u", cell->slots);
        if (worker_command(run, line, sizeof line)) set(config, "worker.command", "%s", line);
    } else if (cell->mode == MODE_INLINE) {
        set(config, "engine", "inline");
    } else if (cell->mode == MODE_PENDING) {
        set(config, "threads", "%" PRIu64, run->options->concurrency.values[0]);
        set(config, "pending.max.records", "%u", cell->slots);
    } else {
        set(config, "threads", "%u", cell->slots);
    }
    if (cell->mode == MODE_ASYNC_PLAIN) set(config, "record.headers", "false");
}

/* Settings of the command line come last and win. */
static void configure(weft_config *config, bench_run *run) {
    const bench_options *options = run->options;
    set(config, "bootstrap.servers", "%s", run->bootstrap);
    set(config, "topics", "%s", run->topic->name);
    set(config, "group.id", "%s", run->group);
    set(config, "log.level", "%s", options->log_level);
    set(config, "max.attempts", "1"); /* a handler that fails is a fault of the run */
    set_engine(config, run);
    if (options->slice_records > 0) set(config, "slice.max.records", "%" PRIu64, options->slice_records);
    if (options->metrics_port > 0) {
        set(config, "metrics.enabled", "true");
        set(config, "metrics.port", "%" PRIu64, options->metrics_port);
        set(config, "tick.ms", "100");
    }
    if (run->is_embedded) { /* its answers are as late as these allow */
        set(config, "kafka.session.timeout.ms", "6000");
        set(config, "kafka.heartbeat.interval.ms", "200");
        set(config, "kafka.fetch.wait.max.ms", "10");
        set(config, "drain.timeout.ms", "2000");
    }
    for (size_t i = 0; i < options->setting_count; i++) {
        const char *value = strchr(options->settings[i], '=');
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(value - options->settings[i]), options->settings[i]);
        set(config, name, "%s", value + 1);
    }
}

static bool open_consumer(weft_run *self) {
    bench_run *run = self->run;
    weft_config *config = NULL;
    if (run->cell->mode != MODE_PROCESS && !(self->handlers = handlers_make(run))) return false;
    if (weft_config_new(&config) != WEFT_OK) return false;
    configure(config, run);
    if (*run->error) {
        weft_config_free(&config);
        return false;
    }
    weft_status status = weft_consumer_new(config, self->handlers ? handlers_function(self->handlers) : NULL,
                                           self->handlers, &self->consumer);
    if (status != WEFT_OK) {
        char *problems = weft_config_problems(config);
        run_fail(run, "weft: %s", problems ? problems : weft_status_text(status));
        free(problems);
    }
    weft_config_free(&config);
    if (status == WEFT_OK && self->observes) status = observer_attach(&self->observer, self->consumer);
    if (status == WEFT_OK) status = weft_consumer_start(self->consumer);
    if (status != WEFT_OK && self->consumer) run_fail(run, "weft: %s", weft_consumer_error(self->consumer));
    return status == WEFT_OK;
}

/* --- gauges */

typedef struct totals {
    uint64_t done;
    int64_t lag, gap;
    int assigned;
    bool is_committed;
} totals;

static weft_metrics *gauges(const weft_run *self) {
    weft_metrics *metrics = NULL;
    return weft_consumer_metrics(self->consumer, &metrics) == WEFT_OK ? metrics : NULL;
}

static totals totals_of(const weft_run *self, const weft_metrics *metrics) {
    totals sum = {.is_committed = true};
    const dataset *data = self->run->data;
    for (size_t i = 0; i < metrics->partition_count; i++) {
        const weft_partition_metrics *partition = &metrics->partitions[i];
        int64_t end = (int64_t)(data->first[partition->partition + 1] - data->first[partition->partition]);
        sum.done += partition->succeeded + partition->failed;
        sum.gap += (int64_t)partition->gap_count;
        sum.assigned++;
        int64_t lag =
            partition->log_end < 0 ? end - (partition->frontier < 0 ? 0 : partition->frontier) : partition->true_lag;
        sum.lag += lag > 0 ? lag : 0;
        if (end > 0 && (partition->committed != end || partition->true_lag != 0)) sum.is_committed = false;
    }
    sum.is_committed &= sum.assigned == data->partitions;
    return sum;
}

/* Processor time of the workers, and the largest of their memory. */
static double look_at_workers(const weft_metrics *metrics, uint64_t *ret_rss_bytes) {
    double seconds = 0;
    for (size_t i = 0; i < metrics->worker_count; i++) {
        char path[64], text[1024];
        unsigned long user = 0, system = 0;
        unsigned long long kilobytes = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)metrics->workers[i].pid);
        FILE *file = metrics->workers[i].pid > 0 ? fopen(path, "r") : NULL;
        if (!file) continue;
        if (fgets(text, sizeof text, file)) {
            const char *at = strrchr(text, ')'); /* a name may have blanks */
            if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
                seconds += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
        }
        fclose(file);
        snprintf(path, sizeof path, "/proc/%d/status", (int)metrics->workers[i].pid);
        file = fopen(path, "r");
        while (file && fgets(text, sizeof text, file) && sscanf(text, "VmHWM: %llu", &kilobytes) != 1) {
        }
        if (file) fclose(file);
        if (kilobytes * 1024 > *ret_rss_bytes) *ret_rss_bytes = kilobytes * 1024;
    }
    return seconds;
}

/* --- the course of it */

static void note_begin(weft_run *self, uint64_t at_ns) {
    uint64_t rss = 0;
    self->has_begun = true;
    run_first(self->run, at_ns);
    weft_metrics *metrics = self->run->cell->mode == MODE_PROCESS ? gauges(self) : NULL;
    if (metrics) self->worker_cpu_begin = look_at_workers(metrics, &rss);
    free(metrics);
}

/* How many are done, by what this run is watched with. `metrics` NULL: without gauges. */
static uint64_t look(weft_run *self, const weft_metrics *metrics) {
    uint64_t done = 0, first_ns = 0;
    if (self->observes) {
        done = atomic_load(&self->observer.done);
        first_ns = atomic_load(&self->observer.first_ns);
    } else if (self->handlers) {
        done = handlers_done(self->handlers);
        first_ns = handlers_first_ns(self->handlers);
    } else if (metrics) {
        done = totals_of(self, metrics).done;
        if (done > 0 || metrics->system.total_in_flight > 0) first_ns = now_ns();
    } else {
        done = self->run->done;
    }
    if (first_ns && !self->has_begun) note_begin(self, first_ns);
    return done;
}

static void check_failure(weft_run *self, int64_t wait_ms) {
    weft_status status = weft_consumer_wait(self->consumer, wait_ms);
    if (status != WEFT_ETIMEOUT && status != WEFT_OK)
        run_fail(self->run, "weft: %s", weft_consumer_error(self->consumer));
}

static void tell(weft_run *self, const weft_metrics *metrics) {
    totals sum = totals_of(self, metrics);
    run_progress(self->run, sum.assigned ? sum.lag : (int64_t)self->run->data->records, sum.gap);
}

static void await_records(weft_run *self) {
    bench_run *run = self->run;
    bool by_gauges = !self->observes && !self->handlers;
    for (;;) {
        bool wants = run_wants_progress(run);
        weft_metrics *metrics = by_gauges || wants ? gauges(self) : NULL;
        uint64_t done = look(self, metrics);
        bool goes_on = run_watch(run, done);
        if (wants && metrics) tell(self, metrics);
        free(metrics);
        if (!goes_on || done >= run->data->records) break;
        check_failure(self, (by_gauges ? LOOK_GAUGES_US : LOOK_US) / 1000);
    }
    uint64_t last_ns = self->observes ? atomic_load(&self->observer.last_ns) : now_ns();
    if (!*run->error) run_last(run, last_ns);
}

/* The group's commits follow within commit.interval.ms. */
static void await_commits(weft_run *self) {
    bench_run *run = self->run;
    uint64_t end_ns = now_ns() + run->options->stall_seconds * 1000000000u;
    for (bool is_committed = false; !is_committed && !*run->error;) {
        weft_metrics *metrics = gauges(self);
        if (metrics) {
            totals sum = totals_of(self, metrics);
            is_committed = sum.is_committed;
            run->final_lag = sum.lag;
            run->final_gap = sum.gap;
        }
        free(metrics);
        if (is_committed) break;
        if (now_ns() > end_ns) run_fail(run, "all records are done, and not committed: lag %" PRId64, run->final_lag);
        if (run_is_interrupted()) run_fail(run, "interrupted before everything was committed");
        check_failure(self, 10);
    }
}

static void check_partition(bench_run *run, const weft_partition_metrics *partition) {
    int32_t number = partition->partition;
    uint64_t expected = run->data->first[number + 1] - run->data->first[number];
    if (partition->succeeded != expected)
        run_fail(run, "partition %d: the gauges say %" PRIu64 " succeeded, not %" PRIu64, (int)number,
                 partition->succeeded, expected);
    if (partition->failed || partition->retried)
        run_fail(run, "partition %d: %" PRIu64 " records failed, %" PRIu64 " were tried again: %s", (int)number,
                 partition->failed, partition->retried, partition->last_error);
}

static uint64_t worker_ends(const weft_metrics *metrics) {
    uint64_t ends = 0;
    for (unsigned i = 0; i < WEFT_ENDS; i++) ends += metrics->system.pool.ends[i];
    return ends;
}

/* Workers that die one after the other are why nothing goes on. */
static void explain(weft_run *self) {
    bench_run *run = self->run;
    weft_metrics *metrics = run->cell->mode == MODE_PROCESS ? gauges(self) : NULL;
    size_t used = strlen(run->error);
    if (metrics && worker_ends(metrics) > 0)
        snprintf(run->error + used, sizeof run->error - used, ": workers ended %" PRIu64 " times, see --log-level warn",
                 worker_ends(metrics));
    free(metrics);
}

/* What the gauges say at the end, of the run and of workers. */
static void note_gauges(weft_run *self) {
    bench_run *run = self->run;
    weft_metrics *metrics = gauges(self);
    if (!metrics) {
        run_fail(run, "the gauges can't be read");
        return;
    }
    if (worker_ends(metrics) > 0) run_fail(run, "workers ended %" PRIu64 " times during the run", worker_ends(metrics));
    for (size_t i = 0; i < metrics->partition_count; i++) check_partition(run, &metrics->partitions[i]);
    if (run->cell->mode == MODE_PROCESS)
        run->worker_cpu_seconds = look_at_workers(metrics, &run->worker_rss_bytes) - self->worker_cpu_begin;
    double seconds = (double)(run->last_ns - run->first_ns) / 1e9;
    if (seconds > 0) run->poller_idle_percent = (double)metrics->system.idle_ns / 1e7 / seconds;
    free(metrics);
}

/* Commits are a second away, and so is the last change: an idle second is counted from there. */
static void stay_idle(weft_run *self) {
    bench_run *run = self->run;
    uint64_t begin_ns = now_ns(), end_ns = begin_ns + run->options->idle_seconds * 1000000000u;
    double begin = run_cpu_seconds();
    if (run->options->idle_seconds == 0) return;
    run_progress(run, run->final_lag, run->final_gap);
    while (now_ns() < end_ns && !run_is_interrupted()) check_failure(self, 1000);
    run->idle_cpu_percent = (run_cpu_seconds() - begin) * 1e11 / (double)(now_ns() - begin_ns);
    run_progress(run, run->final_lag, run->final_gap);
}

/* A topic that is filled while it is read must not be filled before it is ours. */
static bool await_assignment(weft_run *self) {
    for (int assigned = 0; assigned < self->run->data->partitions;) {
        if (!run_watch(self->run, 0)) return false;
        weft_metrics *metrics = gauges(self);
        assigned = metrics ? totals_of(self, metrics).assigned : 0;
        free(metrics);
        check_failure(self, 10);
    }
    return run_let_produce(self->run);
}

/* Of a run that failed. */
static _Atomic(handlers *) handlers_left_behind;

void run_weft(bench_run *run) {
    weft_run self = {.run = run, .observes = run->options->observe.values[0] == OBSERVE_FULL, .observer = {.run = run}};
    char text[600];
    bool runs = open_consumer(&self);
    if (runs && (run->options->rate == 0 || await_assignment(&self))) await_records(&self);
    if (runs && !*run->error) await_commits(&self);
    if (runs && !*run->error) note_gauges(&self);
    if (runs && !*run->error) stay_idle(&self);
    bool fine = !*run->error;
    if (runs && !fine) explain(&self);
    if (self.handlers) handlers_release(self.handlers);
    if (runs) {
        weft_status status = weft_consumer_stop(self.consumer, fine ? STOP_MS : STOP_FAILED_MS);
        if (status != WEFT_OK) run_fail(run, "weft: %s", weft_consumer_error(self.consumer));
    }
    weft_consumer_free(&self.consumer);
    /* What else is wrong with a run that failed explains why, so it is said too. */
    bool judged = !runs || (self.handlers ? handlers_verdict(self.handlers, text, sizeof text)
                                          : judge_verdict(run->judge, NULL, 0, text, sizeof text));
    size_t used = strlen(run->error);
    if (!judged) snprintf(run->error + used, sizeof run->error - used, "%s%s", used ? ": " : "", text);
    if (!*run->error) run_check_committed(run);
    /* After a stop that gave up, threads may still use them: they are kept where they can be found. */
    if (*run->error)
        handlers_left_behind = self.handlers;
    else
        handlers_free(self.handlers);
}
