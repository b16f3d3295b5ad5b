/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix: which topics there are, and which runs each of them gets.
 *
 * 1. The same options make the same matrix, in the same order: a child names its run by its place in it.
 * 2. Names of runs are unique, and say what is in a run as far as the matrix varies it.
 */
#ifndef BENCH_MATRIX_H
#define BENCH_MATRIX_H

#include "work.h"

typedef struct bench_topic {
    uint64_t records, keys;
    int partitions;
    size_t value_bytes;
    key_spread spread;
    unsigned hot_percent;
    char name[160];
} bench_topic;

typedef struct bench_cell {
    size_t topic; /* index */
    bench_mode mode;
    bench_work work;
    run_order order;
    unsigned slots; /* that handle records at once: threads, processes, deferred records */
    worker_language language;
    char name[160];
} bench_cell;

typedef struct bench_matrix {
    size_t topic_count, cell_count;
    bench_topic *topics;
    bench_cell *cells; /* those of a topic are together */
} bench_matrix;

/* False: told on stderr. `stamp`: a part of the topics' names; "" when topics are to be found again. */
bool matrix_build(const bench_options *options, const char *stamp, bench_matrix *ret_matrix);
void matrix_free(bench_matrix *matrix);

bool mode_is_raw(bench_mode mode);
bool mode_is_weft(bench_mode mode);

/* Records per second that can't be beaten: min(slots, what may run at once) / work. 0: there is no such limit. */
double cell_ceiling(const bench_cell *cell, const bench_topic *topic);

#endif
