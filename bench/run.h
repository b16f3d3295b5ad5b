/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of one cell of the matrix, in a process of its own: its processor time, its memory and its allocations are
 * the run's. The modes (raw.c, weft_run.c, floor.c) get through the topic; run.c watches the clock, tells the parent
 * how it goes, and makes the sample.
 *
 * 1. All times are read in this process, which is the parent of workers; nobody reports a duration.
 * 2. A run ends: when all records are done, when nothing happened for --stall-sec, after --timeout-sec, or when it is
 *    told to. Only the first can be a result.
 * 3. What went wrong first is what the sample says.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "judge.h"
#include "times.h"

enum { WINDOWS_MAX = 128, OBSERVATIONS_MAX = 512 };

typedef struct bench_run {
    const bench_options *options;
    const bench_topic *topic;
    const bench_cell *cell;
    const char *bootstrap;
    const char *group;
    bool is_embedded;
    dataset *data;
    judge *judge;
    uint64_t produced_ns;  /* --rate: when record 0 was meant to be sent */
    uint64_t warm_records; /* --rate: so many are not timed from there */

    /* What the mode fills. */
    uint64_t begin_ns, first_ns, last_ns; /* start of the run, first dispatch, last completion */
    uint64_t done;
    times latency, wait, end_to_end, added; /* dispatch to completion; Kafka to dispatch; intended send to completion;
                                               Kafka to the handler's first instruction */
    double worker_cpu_seconds;
    uint64_t worker_rss_bytes;
    double idle_cpu_percent, poller_idle_percent; /* below 0: not measured */
    int64_t final_lag, final_gap;                 /* -1: not measured */
    char error[800];

    /* run.c's own. */
    double cpu_begin_seconds, cpu_end_seconds;
    uint64_t rss_bytes, allocations_begin, allocations_end;
    uint64_t progress_ns, told_ns, seen;
    uint64_t window_records, window_begin_ns;
    double window_rates[WINDOWS_MAX];
    unsigned windows;
    json_t *observations;
} bench_run;

/* The first one is kept. */
void run_fail(bench_run *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first record begins, or was just seen to have begun. */
void run_first(bench_run *self, uint64_t at_ns);
/* So many are done. False: the run has to end; run_fail() was called. To be called every few milliseconds. */
bool run_watch(bench_run *self, uint64_t done);
/* The last record was done at that time; what has to be measured now is measured. */
void run_last(bench_run *self, uint64_t at_ns);

/* Is it time to tell the parent, and then do so. lag, gap -1: not known. */
bool run_wants_progress(const bench_run *self);
void run_progress(bench_run *self, int64_t lag, int64_t gap);

/* --rate: the records can come. Waits until the parent said when the first one is meant to be sent. */
bool run_let_produce(bench_run *self);
/* When record `index` was meant to be sent. */
static inline uint64_t run_intended_ns(const bench_run *self, uint64_t index) {
    return self->produced_ns + index * 1000000000u / self->options->rate;
}

/* Has the group committed the end of every partition? Asks the broker; fails the run when not, and says the lag. */
void run_check_committed(bench_run *self);

/* What a record took since then, unless it is one of the first second's, which connections and caches made slow. */
static inline void run_note_end_to_end(bench_run *self, uint64_t index, uint64_t at_ns) {
    if (self->options->rate > 0 && index >= self->warm_records)
        times_add(&self->end_to_end, at_ns - run_intended_ns(self, index));
}

bool run_is_interrupted(void);
double run_cpu_seconds(void); /* of this process */

/* The modes. They fail with run_fail(). */
void run_raw(bench_run *self);
void run_baseline(bench_run *self);
void run_weft(bench_run *self);
void run_floor(bench_run *self);

/* The whole process: returns its exit status. `place`: what the parent made of it, see child.h. */
int run_main(const bench_options *options, const char *place);

#endif
