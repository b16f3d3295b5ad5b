/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/config.h"

typedef enum option_type { NUMBER, NUMBERS, DECIMALS, TEXT, FLAG, NAMES, ONE_NAME, SETTING, REFUSED } option_type;

/* Where the names of a choice stand for its numbers; some have a second name. */
static const char *const mode_names[] = {
    "raw",      "raw-poll", "raw-callback", "raw-batch", "raw-poll-headers", "raw-poll-defaults",
    "baseline", "async",    "async-plain",  "inline",    "pending",          "process",
    "floor",    NULL};
static const char *const work_names[] = {"none", "sleep", "cpu", "io", NULL};
static const char *const order_names[] = {"key", "partition", "unordered", "key_hash", NULL};
static const char *const spread_names[] = {"uniform", "zipf", "hot", "distinct", "null", NULL};
static const char *const language_names[] = {"c", "python", "python-record", NULL};
static const char *const observe_names[] = {"full", "light", NULL};
static const char *const fault_names[] = {"none", "lost", "order", "hang", "kill", NULL};

typedef struct option_row {
    const char *name;
    option_type type;
    size_t at;
    double minimum, maximum;  /* numbers: of the value */
    const char *const *names; /* choices */
    const char *default_text; /* as on the command line; NULL: none */
    const char *help;         /* REFUSED: why */
} option_row;

#define AT(field) offsetof(bench_options, field)
static const option_row rows[] = {
    {"bootstrap-servers", TEXT, AT(bootstrap), 0, 0, NULL, NULL, "brokers; without it an embedded one is started"},
    {"num-messages", NUMBER, AT(records), 1, 1e9, NULL, "100000", "records in each topic"},
    {"num-keys", NUMBERS, AT(keys), 1, 1e8, NULL, "100", "different keys"},
    {"num-partitions", NUMBERS, AT(partitions), 1, PARTITIONS_MAX, NULL, "8", "partitions of each topic"},
    {"value-bytes", NUMBERS, AT(value_bytes), VALUE_BYTES_MIN, 1000000, NULL, "100", "bytes of each value"},
    {"key-distribution", NAMES, AT(spreads), 0, 0, spread_names, "uniform", "how keys are chosen"},
    {"hot-percent", NUMBER, AT(hot_percent), 1, 100, NULL, "50", "hot: records that have the hot key"},
    {"rate", NUMBER, AT(rate), 0, 1000000, NULL, "0",
     "produce so many records per second while they are consumed; 0: all beforehand"},
    {"modes", NAMES, AT(modes), 0, 0, mode_names, "raw,baseline,async,process", "what to compare"},
    {"skip-raw", FLAG, AT(skip_raw), 0, 0, NULL, NULL, "leave out raw"},
    {"skip-baseline", FLAG, AT(skip_baseline), 0, 0, NULL, NULL, "leave out baseline"},
    {"skip-async", FLAG, AT(skip_async), 0, 0, NULL, NULL, "leave out async"},
    {"skip-process", FLAG, AT(skip_process), 0, 0, NULL, NULL, "leave out process"},
    {"skip-reset", FLAG, AT(skip_reset), 0, 0, NULL, NULL, "use topics that are there, and leave them"},
    {"workloads", NAMES, AT(workloads), 0, 0, work_names, "none", "what a handler does"},
    {"order", NAMES, AT(orders), 0, 0, order_names, "key", "what has to stay in order"},
    {"worker-sleep-ms", DECIMALS, AT(sleep_ms), 0, 3600000, NULL, "0.5", "sleep: for how long"},
    {"worker-io-sleep-ms", DECIMALS, AT(io_ms), 0, 3600000, NULL, "0.5", "io: how long a descriptor is waited for"},
    {"worker-cpu-us", NUMBER, AT(cpu_us), 1, 1e9, NULL, "50", "cpu: processor time of the thread"},
    {"worker-cpu-iterations", NUMBER, AT(cpu_iterations), 0, 1e9, NULL, "0",
     "cpu: so many rounds over the value instead; a round is a hash (in Python SHA-256)"},
    {"concurrency", NUMBERS, AT(concurrency), 1, 10000, NULL, "4", "threads of async, pending and floor"},
    {"pending", NUMBERS, AT(pending), 1, 1000000, NULL, "2000", "pending: records deferred at once"},
    {"workers", NUMBERS, AT(workers), 1, 1000, NULL, "2", "processes of process"},
    {"process-count", NUMBERS, AT(workers), 1, 1000, NULL, NULL, "the same as --workers"},
    {"worker-language", NAMES, AT(languages), 0, 0, language_names, "c",
     "process: c, python with (key, value), python-record with record objects"},
    {"python", TEXT, AT(python), 0, 0, NULL, "/usr/bin/python3", "the interpreter; it needs pyzmq"},
    {"python-worker", TEXT, AT(python_worker), 0, 0, NULL, NULL,
     "where worker.py is, when it is not beside this program"},
    {"process-batch-size", NUMBER, AT(slice_records), 0, 256, NULL, "0",
     "largest slice that a worker gets (slice.max.records); 0: as weft chooses"},
    {"set", SETTING, 0, 0, 0, NULL, NULL,
     "NAME=VALUE, an option of weft that no other one here is for; may be repeated"},
    {"repetitions", NUMBER, AT(repetitions), 1, 1000, NULL, "1", "runs of each, interleaved"},
    {"observe", ONE_NAME, AT(observe), 0, 0, observe_names, "full",
     "light: counts instead of each completion; no percentiles, and costs nothing"},
    {"timeout-sec", NUMBER, AT(timeout_seconds), 1, 86400, NULL, "600", "longest time of a run"},
    {"stall-sec", NUMBER, AT(stall_seconds), 1, 86400, NULL, "20", "longest time without progress"},
    {"idle-sec", NUMBER, AT(idle_seconds), 0, 86400, NULL, "0",
     "stay a member so long after the last record: what idling costs, and time for a last scrape"},
    {"metrics-port", NUMBER, AT(metrics_port), 0, 65535, NULL, "0", "serve /metrics of the consumer there; 0: off"},
    {"json-output", TEXT, AT(json_path), 0, 0, NULL, NULL, "file for the results"},
    {"label", TEXT, AT(label), 0, 0, NULL, NULL, "what names of runs end with"},
    {"topic-prefix", TEXT, AT(topic_prefix), 0, 0, NULL, "weft-bench", "what names of topics and groups begin with"},
    {"baseline-group", TEXT, AT(groups[MODE_BASELINE]), 0, 0, NULL, NULL, "group of baseline, a number is appended"},
    {"async-group", TEXT, AT(groups[MODE_ASYNC]), 0, 0, NULL, NULL, "group of async"},
    {"process-group", TEXT, AT(groups[MODE_PROCESS]), 0, 0, NULL, NULL, "group of process"},
    {"log-level", TEXT, AT(log_level), 0, 0, NULL, "error", "of weft: error, warn, info, debug"},
    {"fault", ONE_NAME, AT(fault), 0, 0, fault_names, "none", "put a fault into each run, which must then fail"},
    {"dry-run", FLAG, AT(dry_run), 0, 0, NULL, NULL, "say what would run, and with which ceiling"},
    {"help", FLAG, AT(help), 0, 0, NULL, NULL, "this"},
    {"child", TEXT, AT(child), 0, 0, NULL, NULL, NULL},
    {"strict-completion-monitor", REFUSED, 0, 0, 0, NULL, NULL, "every run is checked in full, always"},
    {"adaptive-concurrency", REFUSED, 0, 0, 0, NULL, NULL, "give --concurrency or --workers a list instead"},
    {"process-max-batch-wait-ms", REFUSED, 0, 0, 0, NULL, NULL, "slices never wait to become fuller"},
    {"process-flush-policy", REFUSED, 0, 0, 0, NULL, NULL, "slices never wait to become fuller"},
    {"process-demand-flush-min-residence-ms", REFUSED, 0, 0, 0, NULL, NULL, "slices never wait to become fuller"},
    {"process-transport", REFUSED, 0, 0, 0, NULL, NULL, "workers have one transport, ipc"},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* Families of options that are refused together. */
static const char *const profilers[] = {"profile", "py-spy", NULL};

const char *mode_name(bench_mode mode) {
    return mode_names[mode];
}
const char *work_name(work_kind work) {
    return work_names[work];
}
const char *order_name(run_order order) {
    return order_names[order];
}
const char *spread_name(key_spread spread) {
    return spread_names[spread];
}
const char *language_name(worker_language language) {
    return language_names[language];
}
const char *observe_name(observe_kind observe) {
    return observe_names[observe];
}
const char *fault_name(fault_kind fault) {
    return fault_names[fault];
}

static unsigned problems;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("weft-bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    problems++;
}

static bool read_number(const option_row *row, const char *text, double *ret_value) {
    char *end;
    double value = strtod(text, &end);
    bool whole = row->type == DECIMALS || strspn(text, "0123456789") == strlen(text);
    if (*text && !*end && whole && isfinite(value) && value >= row->minimum && value <= row->maximum) {
        *ret_value = value;
        return true;
    }
    complain("--%s %s: %s from %.15g to %.15g", row->name, text, row->type == DECIMALS ? "a number" : "a whole number",
             row->minimum, row->maximum);
    return false;
}

static bool read_name(const option_row *row, const char *text, double *ret_value) {
    char allowed[300] = "";
    for (size_t i = 0; row->names[i]; i++) {
        if (strcmp(row->names[i], text) == 0) {
            *ret_value = row->names == order_names && i > ORDER_UNORDERED ? ORDER_KEY : (double)i;
            return true;
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s", used ? ", " : "", row->names[i]);
    }
    complain("--%s %s: one of %s", row->name, text, allowed);
    return false;
}

/* Each of a comma-separated list, once. Returns how many there are. */
static size_t read_list(const option_row *row, const char *text, double ret_values[LIST_MAX]) {
    char *copy = strdup(text), *rest = copy;
    size_t count = 0, most = row->type == ONE_NAME ? 1 : LIST_MAX;
    for (char *item; copy && (item = strsep(&rest, ","));) {
        double value;
        if (!(row->names ? read_name(row, item, &value) : read_number(row, item, &value))) continue;
        bool known = false;
        for (size_t i = 0; i < count; i++) known |= ret_values[i] == value;
        if (known) continue;
        if (count == most) {
            complain("--%s %s: at most %zu at once", row->name, text, most);
            break;
        }
        ret_values[count++] = value;
    }
    free(copy);
    return count;
}

/* A list replaces what was there. */
static void apply_list(const option_row *row, const char *text, void *field) {
    double values[LIST_MAX];
    size_t count = read_list(row, text, values);
    number_list *numbers = field;
    decimal_list *decimals = field;
    if (row->type == DECIMALS) decimals->count = count;
    if (row->type != DECIMALS) numbers->count = count;
    for (size_t i = 0; i < count; i++)
        if (row->type == DECIMALS)
            decimals->values[i] = values[i];
        else
            numbers->values[i] = (uint64_t)values[i];
}

static void apply(const option_row *row, const char *text, bench_options *options) {
    char *field = (char *)options + row->at;
    double value;
    switch (row->type) {
    case NUMBER:
        if (read_number(row, text, &value)) *(uint64_t *)(void *)field = (uint64_t)value;
        break;
    case NUMBERS:
    case DECIMALS:
    case NAMES:
    case ONE_NAME:
        apply_list(row, text, field);
        break;
    case TEXT:
        if (!*text) complain("--%s: it must not be empty", row->name);
        *(const char **)(void *)field = text;
        break;
    case FLAG:
        *(bool *)(void *)field = true;
        break;
    case SETTING:
        if (!strchr(text, '=') || *text == '=')
            complain("--set %s: it must be NAME=VALUE", text);
        else if (options->setting_count == SETTINGS_MAX)
            complain("--set %s: at most %d of them", text, SETTINGS_MAX);
        else
            options->settings[options->setting_count++] = text;
        break;
    case REFUSED:
        complain("--%s is not here: %s", row->name, row->help);
        break;
    }
}

static const option_row *row_named(const char *name, size_t bytes) {
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].name) == bytes && strncmp(rows[i].name, name, bytes) == 0) return &rows[i];
    return NULL;
}

static bool is_profiler(const char *name) {
    for (size_t i = 0; profilers[i]; i++)
        if (strncmp(name, profilers[i], strlen(profilers[i])) == 0) return true;
    return false;
}

static void read_arguments(int argc, char **argv, bench_options *options) {
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i] + 2, *equals = strchr(argv[i], '=');
        if (strncmp(argv[i], "--", 2) != 0) {
            complain("%s: what is this? Options begin with --", argv[i]);
            continue;
        }
        const option_row *row = row_named(name, equals ? (size_t)(equals - name) : strlen(name));
        if (!row && is_profiler(name)) {
            complain("%s is not here: run it under perf record -g", argv[i]);
        } else if (!row) {
            complain("%s: no such option; see --help", argv[i]);
        } else if (row->type == FLAG && equals) {
            complain("--%s takes no value", row->name);
        }
        bool next_is_value = i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0;
        if (!row || row->type == FLAG || row->type == REFUSED) {
            if (row && !equals) apply(row, "", options);
            if (row && row->type == REFUSED && equals) apply(row, "", options);
            if ((!row || row->type == REFUSED) && !equals && next_is_value) i++;
        } else if (equals) {
            apply(row, equals + 1, options);
        } else if (next_is_value) {
            apply(row, argv[++i], options);
        } else {
            complain("--%s: its value is missing", row->name);
        }
    }
}

/* What the matrix sets for each run, and its names and ceilings are made of: NULL when it is none of these. */
static const char *option_instead(const char *setting, size_t bytes) {
    static const char *const table[][2] = {{"bootstrap.servers", "--bootstrap-servers"},
                                           {"topics", "--topic-prefix"},
                                           {"group.id", "--topic-prefix"},
                                           {"ordering", "--order"},
                                           {"engine", "--modes"},
                                           {"threads", "--concurrency"},
                                           {"workers", "--workers"},
                                           {"worker.command", "--worker-language"},
                                           {"pending.max.records", "--pending"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i][0]) == bytes && strncmp(table[i][0], setting, bytes) == 0) return table[i][1];
    return NULL;
}

/* Options of weft, by weft's own rules. */
static void check_settings(const bench_options *options) {
    weft_config *config = NULL;
    if (weft_config_new(&config) != WEFT_OK) return;
    weft_config_set(config, "log.level", options->log_level);
    weft_config_set(config, "topics", "t");
    weft_config_set(config, "bootstrap.servers", "b:1");
    for (size_t i = 0; i < options->setting_count; i++) {
        const char *value = strchr(options->settings[i], '=');
        const char *instead = option_instead(options->settings[i], (size_t)(value - options->settings[i]));
        if (instead) complain("--set %s: the runs have their own; use %s", options->settings[i], instead);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(value - options->settings[i]), options->settings[i]);
        weft_config_set(config, name, value + 1);
    }
    char *found = weft_config_problems(config);
    if (found) complain("--set, --log-level: %s", found);
    free(found);
    weft_config_free(&config);
}

/* Where a fault would go unnoticed, or can't happen, it proves nothing. */
static bool fault_fits(fault_kind fault, bench_mode mode) {
    if (fault == FAULT_NONE) return true;
    if (fault == FAULT_LOST) return mode != MODE_FLOOR;
    if (fault == FAULT_KILL) return mode == MODE_PROCESS;
    return mode == MODE_ASYNC || mode == MODE_ASYNC_PLAIN || mode == MODE_PENDING || mode == MODE_PROCESS;
}

static bool has(const number_list *list, uint64_t value) {
    for (size_t i = 0; i < list->count; i++)
        if (list->values[i] == value) return true;
    return false;
}

static double longest(const decimal_list *list) {
    double most = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->values[i] > most) most = list->values[i];
    return most;
}

/* What must fit together. */
static void check(const bench_options *options) {
    double stall_ms = (double)options->stall_seconds * 1e3;
    if (longest(&options->sleep_ms) >= stall_ms || longest(&options->io_ms) >= stall_ms)
        complain("--stall-sec %llu: must be longer than the work of a record",
                 (unsigned long long)options->stall_seconds);
    if (has(&options->workloads, WORK_CPU) && (double)options->cpu_us / 1e3 >= stall_ms)
        complain("--stall-sec %llu: must be longer than --worker-cpu-us", (unsigned long long)options->stall_seconds);
    if (options->rate > 0 && has(&options->modes, MODE_FLOOR))
        complain("--rate %llu: floor reads no records; take it out of --modes", (unsigned long long)options->rate);
    if (options->rate > 0 && options->skip_reset)
        complain("--rate %llu: each run needs a topic of its own; leave out --skip-reset",
                 (unsigned long long)options->rate);
    if (options->rate > 0 && options->observe.values[0] == OBSERVE_LIGHT)
        complain("--rate %llu: latencies need --observe full", (unsigned long long)options->rate);
    if (has(&options->spreads, KEYS_DISTINCT) && options->records > UINT32_MAX - 1)
        complain("--key-distribution distinct: at most 4294967294 records");
    fault_kind fault = (fault_kind)options->fault.values[0];
    for (size_t i = 0; i < options->modes.count; i++)
        if (!fault_fits(fault, (bench_mode)options->modes.values[i]))
            complain("--fault %s: not possible in mode %s", fault_name(fault),
                     mode_name((bench_mode)options->modes.values[i]));
    if (fault == FAULT_ORDER && (options->orders.values[0] != ORDER_KEY || options->orders.count > 1 ||
                                 options->observe.values[0] == OBSERVE_LIGHT))
        complain("--fault order: it is one of --order key, and needs --observe full");
    if (has(&options->modes, MODE_PENDING) && has(&options->workloads, WORK_CPU))
        complain("--workloads cpu: nobody works for deferred records; take pending out of --modes");
    check_settings(options);
}

bool options_parse(int argc, char **argv, bench_options *ret_options) {
    problems = 0;
    *ret_options = (bench_options){0};
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].default_text) apply(&rows[i], rows[i].default_text, ret_options);
    read_arguments(argc, argv, ret_options);
    if (problems == 0 && !ret_options->help) check(ret_options);
    return problems == 0;
}

void options_help(void) {
    puts("weft-bench [run] [OPTION ...]         measure; prints a table, and writes JSON where it is told to\n"
         "weft-bench compare A.json B.json      what B does faster or slower than A, and what is noise\n"
         "weft-bench gate [--floors FILE] FILE ...   do the results keep the floors? (bench/floors.json)\n"
         "weft-bench plot [--output-dir DIR] FILE ...   pictures, by gnuplot\n"
         "weft-bench markdown [--machine] FILE ...   the tables of docs/performance.md\n\n"
         "Options marked with ... take several, separated by commas, and run each with each.\n");
    for (size_t i = 0; i < ROWS; i++) {
        char left[64];
        if (rows[i].type == REFUSED || !rows[i].help) continue;
        bool many = rows[i].type == NUMBERS || rows[i].type == DECIMALS || rows[i].type == NAMES;
        snprintf(left, sizeof left, "--%s%s", rows[i].name, many ? " ..." : "");
        printf("  %-28s %s", left, rows[i].help);
        if (rows[i].minimum < rows[i].maximum) printf("; %.15g to %.15g", rows[i].minimum, rows[i].maximum);
        for (size_t name = 0; rows[i].names && rows[i].names[name]; name++)
            printf("%s%s", name ? ", " : ": ", rows[i].names[name]);
        if (rows[i].default_text) printf(" (%s)", rows[i].default_text);
        putchar('\n');
    }
}

static json_t *list_json(const option_row *row, const number_list *list) {
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, row->names ? json_string(row->names[list->values[i]])
                                                : json_integer((json_int_t)list->values[i]));
    return array;
}

static json_t *decimals_json(const decimal_list *list) {
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) json_array_append_new(array, json_real(list->values[i]));
    return array;
}

json_t *options_json(const bench_options *options) {
    json_t *object = json_object(), *settings = json_array();
    for (size_t i = 0; i < ROWS; i++) {
        const char *field = (const char *)options + rows[i].at, *text;
        json_t *value = NULL;
        if (!rows[i].help) continue;
        switch (rows[i].type) {
        case NUMBER:
            value = json_integer((json_int_t) * (const uint64_t *)(const void *)field);
            break;
        case DECIMALS:
            value = decimals_json((const decimal_list *)(const void *)field);
            break;
        case NUMBERS:
        case NAMES:
        case ONE_NAME:
            value = list_json(&rows[i], (const number_list *)(const void *)field);
            break;
        case TEXT:
            text = *(const char *const *)(const void *)field;
            value = text ? json_string(text) : json_null();
            break;
        case FLAG:
            value = json_boolean(*(const bool *)(const void *)field);
            break;
        case SETTING:
        case REFUSED:
            break;
        }
        if (value) json_object_set_new(object, rows[i].name, value);
    }
    for (size_t i = 0; i < options->setting_count; i++)
        json_array_append_new(settings, json_string(options->settings[i]));
    json_object_set_new(object, "set", settings);
    return object;
}
