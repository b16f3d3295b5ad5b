/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOPICS_MAX = 256, CELLS_MAX = 4096 };

bool mode_is_raw(bench_mode mode) {
    return mode <= MODE_RAW_POLL_DEFAULTS;
}

bool mode_is_weft(bench_mode mode) {
    return mode >= MODE_ASYNC && mode <= MODE_PROCESS;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

double cell_ceiling(const bench_cell *cell, const bench_topic *topic) {
    uint64_t at_once = cell->slots;
    if (mode_is_raw(cell->mode) || cell->work.ns == 0) return 0;
    if (cell->order == ORDER_PARTITION) at_once = least(at_once, (uint64_t)topic->partitions);
    if (cell->order == ORDER_KEY && topic->spread != KEYS_NULL) at_once = least(at_once, topic->keys);
    if (cell->work.kind == WORK_CPU) at_once = least(at_once, (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    double ceiling = (double)at_once / ((double)cell->work.ns / 1e9);
    /* Records of the hot key run one after the other, whatever there are of others. */
    if (topic->spread == KEYS_HOT && cell->order == ORDER_KEY) {
        double hot = 1e9 / (double)cell->work.ns * 100 / topic->hot_percent;
        if (hot < ceiling) ceiling = hot;
    }
    return ceiling;
}

/* --- topics */

static void add_topic(const bench_options *options, const char *stamp, bench_matrix *matrix, bench_topic topic) {
    if (topic.spread == KEYS_DISTINCT) topic.keys = topic.records;
    if (topic.spread == KEYS_NULL) topic.keys = 1;
    topic.records = options->records;
    topic.hot_percent = topic.spread == KEYS_HOT ? (unsigned)options->hot_percent : 0;
    for (size_t i = 0; i < matrix->topic_count; i++) {
        const bench_topic *other = &matrix->topics[i];
        if (other->keys == topic.keys && other->spread == topic.spread && other->partitions == topic.partitions &&
            other->value_bytes == topic.value_bytes)
            return; /* how many keys there are means nothing to these */
    }
    snprintf(topic.name, sizeof topic.name, "%.60s%s%s-n%llu-p%d-k%llu-%s%u-v%zu", options->topic_prefix,
             *stamp ? "-" : "", stamp, (unsigned long long)topic.records, topic.partitions,
             (unsigned long long)topic.keys, spread_name(topic.spread), topic.hot_percent, topic.value_bytes);
    matrix->topics[matrix->topic_count++] = topic;
}

static bool build_topics(const bench_options *options, const char *stamp, bench_matrix *matrix) {
    size_t count =
        options->spreads.count * options->value_bytes.count * options->partitions.count * options->keys.count;
    if (count > TOPICS_MAX) {
        fprintf(stderr, "weft-bench: %zu different topics, at most %d\n", count, TOPICS_MAX);
        return false;
    }
    matrix->topics = calloc(count, sizeof *matrix->topics);
    if (!matrix->topics) return false;
    for (size_t s = 0; s < options->spreads.count; s++)
        for (size_t v = 0; v < options->value_bytes.count; v++)
            for (size_t p = 0; p < options->partitions.count; p++)
                for (size_t k = 0; k < options->keys.count; k++)
                    add_topic(options, stamp, matrix,
                              (bench_topic){.records = options->records,
                                            .keys = options->keys.values[k],
                                            .partitions = (int)options->partitions.values[p],
                                            .value_bytes = options->value_bytes.values[v],
                                            .spread = (key_spread)options->spreads.values[s]});
    return true;
}

/* --- runs */

static void append(char *name, size_t bytes, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *name, size_t bytes, const char *format, ...) {
    size_t used = strlen(name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name + used, bytes - used, format, arguments);
    va_end(arguments);
}

static void name_cell(const bench_options *options, const bench_topic *topic, bench_cell *cell) {
    char *name = cell->name;
    size_t bytes = sizeof cell->name;
    if (mode_is_raw(cell->mode))
        snprintf(name, bytes, "%s", mode_name(cell->mode));
    else
        snprintf(name, bytes, "%s-%s-%s", work_name(cell->work.kind), order_name(cell->order), mode_name(cell->mode));
    if (cell->mode == MODE_PROCESS) {
        if (options->languages.count > 1) append(name, bytes, "-%s", language_name(cell->language));
        if (options->workers.count > 1) append(name, bytes, "-w%u", cell->slots);
    } else if (!mode_is_raw(cell->mode) && cell->mode != MODE_BASELINE && cell->mode != MODE_INLINE) {
        const number_list *list = cell->mode == MODE_PENDING ? &options->pending : &options->concurrency;
        if (list->count > 1) append(name, bytes, "-c%u", cell->slots);
    }
    if (!mode_is_raw(cell->mode) && work_lengths(options, cell->work.kind) > 1)
        append(name, bytes, "-%gms", (double)cell->work.ns / 1e6);
    if (options->value_bytes.count > 1) append(name, bytes, "-v%zu", topic->value_bytes);
    if (options->partitions.count > 1) append(name, bytes, "-p%d", topic->partitions);
    if (options->keys.count > 1) append(name, bytes, "-k%llu", (unsigned long long)topic->keys);
    if (options->spreads.count > 1) append(name, bytes, "-%s", spread_name(topic->spread));
    if (options->label) append(name, bytes, "-%.40s", options->label);
}

static bool add_cell(const bench_options *options, bench_matrix *matrix, bench_cell cell) {
    const bench_topic *topic = &matrix->topics[cell.topic];
    if (matrix->cell_count == CELLS_MAX) {
        fprintf(stderr, "weft-bench: more than %d runs\n", CELLS_MAX);
        return false;
    }
    /* Without keys there is no order to keep; weft says so too. */
    if (topic->spread == KEYS_NULL && cell.order == ORDER_KEY && mode_is_weft(cell.mode)) cell.order = ORDER_UNORDERED;
    name_cell(options, topic, &cell);
    for (size_t i = 0; i < matrix->cell_count; i++)
        if (strcmp(matrix->cells[i].name, cell.name) == 0) return true;
    matrix->cells[matrix->cell_count++] = cell;
    return true;
}

/* All sizes of one mode. */
static bool add_sizes(const bench_options *options, bench_matrix *matrix, bench_cell cell) {
    const number_list one = {.values = {1}, .count = 1}, *sizes = &one;
    bool fine = true;
    if (cell.mode == MODE_PROCESS)
        sizes = &options->workers;
    else if (cell.mode == MODE_PENDING)
        sizes = &options->pending;
    else if (cell.mode == MODE_ASYNC || cell.mode == MODE_ASYNC_PLAIN || cell.mode == MODE_FLOOR)
        sizes = &options->concurrency;
    for (size_t i = 0; i < sizes->count && fine; i++) {
        cell.slots = (unsigned)sizes->values[i];
        if (cell.mode != MODE_PROCESS) fine = add_cell(options, matrix, cell);
        for (size_t l = 0; cell.mode == MODE_PROCESS && l < options->languages.count && fine; l++) {
            cell.language = (worker_language)options->languages.values[l];
            fine = add_cell(options, matrix, cell);
        }
    }
    return fine;
}

/* One work of one mode, in every order that makes a difference to it. */
static bool add_orders(const bench_options *options, bench_matrix *matrix, bench_cell cell) {
    bool fine = true;
    for (size_t o = 0; o < options->orders.count && fine; o++) {
        cell.order = (run_order)options->orders.values[o];
        if (cell.mode == MODE_BASELINE) cell.order = ORDER_PARTITION; /* one thread: it can't do otherwise */
        /* Bare threads know no order, but for the records of a hot key, which one of them does. */
        bool is_hot = cell.order == ORDER_KEY && matrix->topics[cell.topic].spread == KEYS_HOT;
        if (cell.mode == MODE_FLOOR && !is_hot) cell.order = ORDER_UNORDERED;
        fine = add_sizes(options, matrix, cell);
    }
    return fine;
}

static bool add_mode(const bench_options *options, bench_matrix *matrix, size_t topic, bench_mode mode) {
    bench_cell cell = {.topic = topic, .mode = mode, .slots = 1};
    bool fine = true;
    if (mode_is_raw(mode)) return add_cell(options, matrix, cell);
    for (size_t w = 0; w < options->workloads.count && fine; w++) {
        work_kind kind = (work_kind)options->workloads.values[w];
        if (mode == MODE_FLOOR && kind == WORK_NONE) continue;
        for (size_t length = 0; length < work_lengths(options, kind) && fine; length++) {
            cell.work = work_of(options, kind, length);
            fine = add_orders(options, matrix, cell);
        }
    }
    return fine;
}

static bool is_skipped(const bench_options *options, bench_mode mode) {
    return (mode_is_raw(mode) && options->skip_raw) || (mode == MODE_BASELINE && options->skip_baseline) ||
           (mode == MODE_ASYNC && options->skip_async) || (mode == MODE_PROCESS && options->skip_process);
}

static bool add_modes(const bench_options *options, bench_matrix *matrix, size_t topic) {
    static const bench_mode loops[] = {MODE_RAW_POLL, MODE_RAW_CALLBACK, MODE_RAW_BATCH};
    bool fine = true;
    for (size_t m = 0; m < options->modes.count && fine; m++) {
        bench_mode mode = (bench_mode)options->modes.values[m];
        if (is_skipped(options, mode)) continue;
        if (mode != MODE_RAW) fine = add_mode(options, matrix, topic, mode);
        for (size_t i = 0; mode == MODE_RAW && i < sizeof loops / sizeof *loops && fine; i++)
            fine = add_mode(options, matrix, topic, loops[i]);
    }
    return fine;
}

bool matrix_build(const bench_options *options, const char *stamp, bench_matrix *ret_matrix) {
    bench_matrix matrix = {.cells = calloc(CELLS_MAX, sizeof *matrix.cells)};
    bool fine = matrix.cells && build_topics(options, stamp, &matrix);
    for (size_t topic = 0; fine && topic < matrix.topic_count; topic++) fine = add_modes(options, &matrix, topic);
    if (fine && matrix.cell_count == 0) {
        fputs("weft-bench: nothing is left to run; see --modes, and floor needs a workload\n", stderr);
        fine = false;
    }
    if (fine)
        *ret_matrix = matrix;
    else
        matrix_free(&matrix);
    return fine;
}

void matrix_free(bench_matrix *matrix) {
    free(matrix->topics);
    free(matrix->cells);
    *matrix = (bench_matrix){0};
}
