/* SPDX-License-Identifier: Apache-2.0
 *
 * The results of an invocation: one JSON object, which is what is written, printed, compared, gated and drawn. Its
 * schema is docs/benchmarking.md.
 *
 * 1. An entry of "results" is a run of the matrix with all its samples; its own figures are those of the sample in the
 *    middle, by rate. A failed sample has an "error", takes part in no figure, and makes the entry fail.
 * 2. Ratios are of medians, and between entries of one topic only.
 */
#ifndef BENCH_RESULTS_H
#define BENCH_RESULTS_H

#include "matrix.h"
#include "stats.h"

json_t *results_make(const bench_options *options, const bench_matrix *matrix, bool is_embedded);

/* One more sample of a cell; takes `sample`. */
void results_add(json_t *results, size_t cell, json_t *sample);

/* Figures of entries, ratios, improvements. May be called again. */
void results_finish(json_t *results, bool is_complete, bool is_interrupted);

/* Failed samples, ever. */
size_t results_failures(const json_t *results);

/* Written beside and renamed, so that a file is always whole. False: told on stderr. */
bool results_write(const json_t *results, const char *path);

/* NULL: told on stderr; also when it is no such file. */
json_t *results_read(const char *path);

void results_print(const json_t *results);
void results_print_markdown(const json_t *results);
void results_print_machine(const json_t *results); /* one line */

/* Of the valid samples of an entry. Returns how many there are; `ret_spread` is untouched when none. */
size_t results_spread(const json_t *entry, const char *field, stats_spread *ret_spread);
json_t *results_entry(const json_t *results, const char *run_name); /* NULL: there is none */

static inline double results_number(const json_t *object, const char *field) {
    return json_number_value(json_object_get(object, field));
}

static inline const char *results_text(const json_t *object, const char *field) {
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "";
}

#endif
