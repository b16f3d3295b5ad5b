/* SPDX-License-Identifier: Apache-2.0
 *
 * What the user of weft-bench asked for. The names of options are those of the Python harness where it has them.
 *
 * 1. Every mistake is told, with the value and what is allowed, before anything starts.
 * 2. No option is taken and ignored: what has no meaning here is refused with the reason.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

enum { LIST_MAX = 16, SETTINGS_MAX = 32, PARTITIONS_MAX = 1024, VALUE_BYTES_MIN = 16 };

typedef struct number_list {
    uint64_t values[LIST_MAX];
    size_t count;
} number_list;

typedef struct decimal_list {
    double values[LIST_MAX];
    size_t count;
} decimal_list;

typedef enum work_kind { WORK_NONE = 0, WORK_SLEEP, WORK_CPU, WORK_IO } work_kind;
typedef enum run_order { ORDER_KEY = 0, ORDER_PARTITION, ORDER_UNORDERED } run_order;
typedef enum key_spread { KEYS_UNIFORM = 0, KEYS_ZIPF, KEYS_HOT, KEYS_DISTINCT, KEYS_NULL } key_spread;
typedef enum worker_language { LANGUAGE_C = 0, LANGUAGE_PYTHON, LANGUAGE_PYTHON_RECORD } worker_language;
/* How a run is watched: each completion by the parent; or by counts alone, where nothing may cost anything. */
typedef enum observe_kind { OBSERVE_FULL = 0, OBSERVE_LIGHT } observe_kind;
typedef enum fault_kind { FAULT_NONE = 0, FAULT_LOST, FAULT_ORDER, FAULT_HANG, FAULT_KILL } fault_kind;

/* A way to get through a topic; the rows are in options.c, MODES_ALL first. */
typedef enum bench_mode {
    MODE_RAW = 0, /* the three raw loops */
    MODE_RAW_POLL,
    MODE_RAW_CALLBACK,
    MODE_RAW_BATCH,
    MODE_RAW_POLL_HEADERS,
    MODE_RAW_POLL_DEFAULTS,
    MODE_BASELINE,
    MODE_ASYNC,
    MODE_ASYNC_PLAIN,
    MODE_INLINE,
    MODE_PENDING,
    MODE_PROCESS,
    MODE_FLOOR,
    MODES
} bench_mode;

typedef struct bench_options {
    const char *bootstrap;    /* NULL: the embedded broker */
    const char *topic_prefix; /* of topics and, where none is given, of groups */
    const char *groups[MODES];
    const char *json_path;
    const char *label; /* NULL: none */
    const char *log_level;
    const char *python, *python_worker;
    uint64_t records;
    number_list keys, partitions, value_bytes, concurrency, workers;
    number_list modes, workloads, orders, spreads, languages;
    number_list observe, fault, pending; /* one each */
    uint64_t hot_percent, repetitions, rate, slice_records;
    uint64_t timeout_seconds, stall_seconds, idle_seconds, metrics_port;
    decimal_list sleep_ms, io_ms;
    uint64_t cpu_us, cpu_iterations;
    bool skip_raw, skip_baseline, skip_async, skip_process, skip_reset, dry_run, help;
    const char *settings[SETTINGS_MAX]; /* of weft, "name=value" */
    size_t setting_count;
    const char *child; /* internal: this process is one run; see child.h */
} bench_options;

/* False: the problems were told on stderr. */
bool options_parse(int argc, char **argv, bench_options *ret_options);
void options_help(void);

/* All of them by name, as results keep them. */
json_t *options_json(const bench_options *options);

const char *mode_name(bench_mode mode);
const char *work_name(work_kind work);
const char *order_name(run_order order);
const char *spread_name(key_spread spread);
const char *language_name(worker_language language);
const char *observe_name(observe_kind observe);
const char *fault_name(fault_kind fault);

#endif
