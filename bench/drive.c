/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the matrix: topic by topic, and on each topic round by round, so that what changes on the machine changes for
 * all that are compared.
 */
#include "drive.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "results.h"
#include "run.h"

typedef struct drive {
    bench_options options;
    bench_matrix matrix;
    bench_cluster cluster;
    json_t *results;
    int argc;
    char **argv;
    char stamp[32]; /* of this invocation, in names */
    unsigned runs;  /* begun */
    size_t total;
    bool can_go_on;
    /* the run that goes on, for its progress */
    const bench_cell *cell;
    const bench_topic *topic;
    uint64_t repetition, begin_ns, first_ns, told_ns, last_done;
    int64_t last_lag;
    bool is_terminal;
} drive;

static volatile int interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

/* --- progress */

static void on_progress(void *context, uint64_t done, int64_t lag, int64_t gap) {
    drive *self = context;
    uint64_t at_ns = now_ns();
    (void)gap;
    if (done > 0 && self->first_ns == 0) self->first_ns = at_ns;
    self->last_done = done;
    self->last_lag = lag;
    double seconds = (double)(at_ns - self->first_ns) / 1e9,
           rate = self->first_ns && seconds > 0 ? (double)done / seconds : 0;
    if (!self->is_terminal && at_ns - self->told_ns < 5000000000u) return;
    self->told_ns = at_ns;
    printf("%s[%u/%zu] %s %llu/%llu: %llu of %llu records, %.1f k/s, lag %lld", self->is_terminal ? "\r\033[K" : "",
           self->runs, self->total, self->cell->name, (unsigned long long)self->repetition,
           (unsigned long long)self->options.repetitions, (unsigned long long)done,
           (unsigned long long)self->topic->records, rate / 1e3, (long long)lag);
    if (rate > 0 && done < self->topic->records) printf(", %.0f s left", (double)(self->topic->records - done) / rate);
    if (!self->is_terminal) putchar('\n');
    fflush(stdout);
}

static void tell_end(const drive *self, const json_t *sample) {
    const json_t *error = json_object_get(sample, "error");
    printf("%s[%u/%zu] %s %llu/%llu: ", self->is_terminal ? "\r\033[K" : "", self->runs, self->total, self->cell->name,
           (unsigned long long)self->repetition, (unsigned long long)self->options.repetitions);
    if (json_is_string(error))
        printf("FAILED: %s\n", json_string_value(error));
    else
        printf("%llu of %llu records, %.1f k/s, lag %lld, in %.1f s\n", (unsigned long long)self->last_done,
               (unsigned long long)self->topic->records, results_number(sample, "work_tps") / 1e3,
               (long long)self->last_lag, (double)(now_ns() - self->begin_ns) / 1e9);
    fflush(stdout);
}

/* --- runs */

static void save(drive *self, bool is_complete) {
    results_finish(self->results, is_complete, interrupted);
    if (self->options.json_path && !results_write(self->results, self->options.json_path)) self->can_go_on = false;
}

static json_t *run_cell(drive *self, size_t index, const bench_topic *topic) {
    const bench_cell *cell = &self->matrix.cells[index];
    const char *group = self->options.groups[cell->mode];
    child_place place = {.cell = index, .is_embedded = self->cluster.embedded != NULL};
    snprintf(place.bootstrap, sizeof place.bootstrap, "%s", self->cluster.bootstrap);
    snprintf(place.topic, sizeof place.topic, "%s", topic->name);
    snprintf(place.group, sizeof place.group, "%.100s%s%.20s-%s-%u", group ? group : self->options.topic_prefix,
             group ? "" : "-", group ? "" : mode_name(cell->mode), self->stamp, self->runs);
    self->cell = cell;
    self->topic = &self->matrix.topics[cell->topic];
    self->begin_ns = self->told_ns = now_ns();
    self->first_ns = self->last_done = 0;
    self->last_lag = -1;
    json_t *sample = child_run(self->argc, self->argv, &self->options, &self->cluster, topic, &place, &interrupted,
                               on_progress, self);
    if (!mode_is_raw(cell->mode) && cell->mode != MODE_FLOOR) group_delete(&self->cluster, place.group);
    return sample;
}

/* With a rate, each run has a topic of its own, which is filled while it is read. */
static json_t *run_at_rate(drive *self, size_t index, const bench_topic *topic) {
    bench_topic own = *topic;
    bool is_new;
    int64_t first[PARTITIONS_MAX], end[PARTITIONS_MAX];
    snprintf(own.name, sizeof own.name, "%.140s-r%u", topic->name, self->runs);
    /* Asking for the ends waits until its leaders know that they are. */
    if (!topic_create(&self->cluster, &own, &is_new) ||
        !topic_ends(self->cluster.bootstrap, own.name, own.partitions, first, end)) {
        self->can_go_on = false;
        return NULL;
    }
    json_t *sample = run_cell(self, index, &own);
    topic_delete(&self->cluster, own.name);
    return sample;
}

static void run_round(drive *self, const bench_topic *topic, size_t topic_index) {
    for (size_t i = 0; i < self->matrix.cell_count && !interrupted && self->can_go_on; i++) {
        if (self->matrix.cells[i].topic != topic_index) continue;
        self->runs++;
        json_t *sample = self->options.rate > 0 ? run_at_rate(self, i, topic) : run_cell(self, i, topic);
        if (!sample) return;
        tell_end(self, sample);
        results_add(self->results, i, sample);
        save(self, false);
    }
}

/* The first to read a topic that rested finds cold caches on the broker's side; nobody's figure should hold that. */
static void warm_up(drive *self, const bench_topic *topic, size_t topic_index) {
    for (size_t i = 0; i < self->matrix.cell_count && !interrupted; i++) {
        if (self->matrix.cells[i].topic != topic_index || !mode_is_raw(self->matrix.cells[i].mode)) continue;
        json_decref(run_cell(self, i, topic));
        return;
    }
}

static bool is_only_floor(const drive *self) {
    for (size_t i = 0; i < self->matrix.cell_count; i++)
        if (self->matrix.cells[i].mode != MODE_FLOOR) return false;
    return true;
}

static void run_topic(drive *self, size_t index) {
    const bench_topic *topic = &self->matrix.topics[index];
    bool is_new = true, filled = self->options.rate == 0 && !is_only_floor(self);
    fault_kind fault = (fault_kind)self->options.fault.values[0];
    if (filled) {
        printf("filling %s\n", topic->name);
        fflush(stdout);
        if (!topic_create(&self->cluster, topic, &is_new)) {
            self->can_go_on = false;
            return;
        }
        if (!is_new && !self->options.skip_reset)
            fprintf(stderr, "weft-bench: topic %s is there already; use it with --skip-reset\n", topic->name);
        self->can_go_on = is_new ? topic_fill(&self->cluster, topic, fault)
                                 : self->options.skip_reset && topic_is_filled(&self->cluster, topic);
        if (self->can_go_on && self->options.repetitions > 1) warm_up(self, topic, index);
    }
    for (self->repetition = 1; self->repetition <= self->options.repetitions && !interrupted && self->can_go_on;
         self->repetition++)
        run_round(self, topic, index);
    if (filled && is_new && !self->options.skip_reset) topic_delete(&self->cluster, topic->name);
}

/* --- the whole */

static bool open_cluster(drive *self) {
    bool one_by_one = self->options.rate > 0;
    self->cluster.bootstrap = self->options.bootstrap;
    if (self->options.bootstrap) return true;
    for (size_t i = 0; i < self->matrix.topic_count; i++)
        if (!is_only_floor(self) && !topic_fits_embedded(&self->matrix.topics[i], one_by_one)) return false;
    self->cluster.embedded = embedded_broker_start("weft-bench", 1);
    if (self->cluster.embedded) self->cluster.bootstrap = embedded_broker_address(self->cluster.embedded);
    return self->cluster.embedded != NULL;
}

static void dry_run(const drive *self) {
    for (size_t i = 0; i < self->matrix.cell_count; i++) {
        const bench_cell *cell = &self->matrix.cells[i];
        double ceiling = cell_ceiling(cell, &self->matrix.topics[cell->topic]);
        printf("%-40s on %s", cell->name, self->matrix.topics[cell->topic].name);
        if (ceiling > 0) printf(", ceiling %.1f k/s", ceiling / 1e3);
        putchar('\n');
    }
}

static int run_all(drive *self) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    self->can_go_on = true;
    self->is_terminal = isatty(STDOUT_FILENO);
    self->total = self->matrix.cell_count * self->options.repetitions;
    self->results = results_make(&self->options, &self->matrix, self->cluster.embedded != NULL);
    save(self, false); /* a file that can't be written is told before hours of runs, not after them */
    for (size_t i = 0; i < self->matrix.topic_count && !interrupted && self->can_go_on; i++) run_topic(self, i);
    bool could = self->can_go_on;
    save(self, could && !interrupted);
    results_print(self->results);
    size_t failures = results_failures(self->results);
    if (failures > 0) printf("\n%zu of %u runs FAILED\n", failures, self->runs);
    json_decref(self->results);
    if (interrupted) return 130;
    return could && self->can_go_on ? failures > 0 : 2;
}

int drive_main(int argc, char **argv) {
    drive self = {.argc = argc, .argv = argv};
    int status = 2;
    if (!options_parse(argc, argv, &self.options)) return 2;
    if (self.options.help) {
        options_help();
        return 0;
    }
    if (self.options.child) return run_main(&self.options, self.options.child);
    snprintf(self.stamp, sizeof self.stamp, "%llx-%x", (unsigned long long)time(NULL), (unsigned)getpid());
    if (!matrix_build(&self.options, self.options.skip_reset ? "" : self.stamp, &self.matrix)) return 2;
    if (self.options.dry_run) {
        dry_run(&self);
        status = 0;
    } else if (open_cluster(&self)) {
        status = run_all(&self);
    }
    embedded_broker_stop(self.cluster.embedded);
    matrix_free(&self.matrix);
    return status;
}
