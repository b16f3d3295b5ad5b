/* SPDX-License-Identifier: Apache-2.0 */
#include "results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <zmq.h>

#include "weft/status.h"

enum { SCHEMA = 1, SAMPLES_MAX = 1000 };

/* --- what it was measured on */

/* The value of the first line of a file that begins so. */
static void value_in(const char *path, const char *beginning, char *ret_text, size_t bytes) {
    char line[512];
    FILE *file = fopen(path, "r");
    *ret_text = '\0';
    while (file && !*ret_text && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, beginning, strlen(beginning)) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(ret_text, bytes, "%.*s", (int)strcspn(colon, "\n"), colon);
    }
    if (file) fclose(file);
}

static json_t *machine_json(void) {
    struct utsname names = {0};
    char model[256], memory[64];
    uname(&names);
    value_in("/proc/cpuinfo", "model name", model, sizeof model);
    value_in("/proc/meminfo", "MemTotal", memory, sizeof memory);
    return json_pack("{s:s, s:s, s:s, s:i, s:s}", "system", names.sysname, "release", names.release, "processor", model,
                     "processors", (int)sysconf(_SC_NPROCESSORS_ONLN), "memory", memory);
}

static json_t *versions_json(void) {
    char zmq[32];
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    return json_pack("{s:s, s:s, s:s, s:s}", "weft", weft_version(), "librdkafka", rd_kafka_version_str(), "libzmq",
                     zmq, "compiler", __VERSION__);
}

static json_t *entry_json(const bench_cell *cell, const bench_topic *topic) {
    double ceiling = cell_ceiling(cell, topic);
    json_t *entry =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:i, s:I, s:s, s:I}", "run_name", cell->name, "run_type",
                  mode_name(cell->mode), "workload", work_name(cell->work.kind), "topic", topic->name, "ordering",
                  order_name(cell->order), "slots", (int)cell->slots, "value_bytes", (json_int_t)topic->value_bytes,
                  "partitions", topic->partitions, "keys", (json_int_t)topic->keys, "key_distribution",
                  spread_name(topic->spread), "work_ns", (json_int_t)cell->work.ns);
    json_object_set_new(entry, "ceiling_tps", ceiling > 0 ? json_real(ceiling) : json_null());
    if (cell->mode == MODE_PROCESS) {
        json_object_set_new(entry, "worker_language", json_string(language_name(cell->language)));
        json_object_set_new(entry, "process_transport_mode", json_string("ipc"));
    }
    json_object_set_new(entry, "samples", json_array());
    return entry;
}

json_t *results_make(const bench_options *options, const bench_matrix *matrix, bool is_embedded) {
    char when[32];
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    json_t *results = json_pack("{s:i, s:s, s:s, s:b, s:o, s:o, s:o}", "schema", SCHEMA, "program", "weft-bench",
                                "started", when, "embedded_broker", is_embedded, "options", options_json(options),
                                "machine", machine_json(), "versions", versions_json());
    json_t *entries = json_array();
    for (size_t i = 0; i < matrix->cell_count; i++)
        json_array_append_new(entries, entry_json(&matrix->cells[i], &matrix->topics[matrix->cells[i].topic]));
    json_object_set_new(results, "results", entries);
    return results;
}

void results_add(json_t *results, size_t cell, json_t *sample) {
    json_t *entry = json_array_get(json_object_get(results, "results"), cell);
    json_array_append_new(json_object_get(entry, "samples"), sample);
}

/* --- figures */

static bool is_valid(const json_t *sample) {
    return !json_is_string(json_object_get(sample, "error"));
}

size_t results_spread(const json_t *entry, const char *field, stats_spread *ret_spread) {
    double values[SAMPLES_MAX];
    size_t count = 0, index;
    json_t *sample;
    json_array_foreach(json_object_get(entry, "samples"), index, sample) {
        const json_t *value = json_object_get(sample, field);
        if (is_valid(sample) && json_is_number(value) && count < SAMPLES_MAX)
            values[count++] = json_number_value(value);
    }
    if (count > 0) *ret_spread = stats_of(values, count);
    return count;
}

json_t *results_entry(const json_t *results, const char *run_name) {
    size_t index;
    json_t *entry;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        if (strcmp(results_text(entry, "run_name"), run_name) == 0) return entry;
    }
    return NULL;
}

/* The valid sample whose rate is in the middle (the lower one of two); NULL: none is valid. */
static json_t *middle_sample(const json_t *entry) {
    json_t *samples = json_object_get(entry, "samples"), *sample, *found = NULL;
    stats_spread spread;
    size_t index, count = results_spread(entry, "work_tps", &spread);
    double rate = 0;
    json_array_foreach(samples, index, sample) {
        double own = results_number(sample, "work_tps");
        if (!is_valid(sample)) continue;
        if (!found || (own <= spread.median && (own > rate || rate > spread.median))) {
            found = sample;
            rate = own;
        }
    }
    return count > 0 || found ? found : NULL;
}

/* Of failed entries too: what they have. */
static void finish_entry(json_t *entry) {
    json_t *samples = json_object_get(entry, "samples"), *sample, *error = json_null();
    json_t *middle = middle_sample(entry), *from = middle ? middle : json_array_get(samples, 0), *value;
    size_t index, valid = 0;
    const char *name;
    json_array_foreach(samples, index, sample) {
        valid += is_valid(sample);
        if (!is_valid(sample) && json_is_null(error)) error = json_object_get(sample, "error");
    }
    json_object_foreach(from, name, value) {
        if (strcmp(name, "error") != 0) json_object_set(entry, name, value);
    }
    json_object_set(entry, "error", error);
    json_object_set_new(entry, "valid_samples", json_integer((json_int_t)valid));
}

/* Is this an entry to compare with? `type` "raw" is any raw loop; a floor has as many threads as what stands on it. */
static bool is_reference(const json_t *entry, const json_t *like, const char *type, bool same_work) {
    const char *own = results_text(entry, "run_type");
    if (strcmp(type, "raw") == 0 ? strncmp(own, "raw", 3) != 0 : strcmp(own, type) != 0) return false;
    if (strcmp(results_text(entry, "topic"), results_text(like, "topic")) != 0) return false;
    if (same_work && (strcmp(results_text(entry, "workload"), results_text(like, "workload")) != 0 ||
                      results_number(entry, "work_ns") != results_number(like, "work_ns")))
        return false;
    return strcmp(type, "floor") != 0 || results_number(entry, "slots") == results_number(like, "slots");
}

/* The best median of such entries; 0: there is none. */
static double best_rate(const json_t *results, const json_t *like, const char *type, bool same_work,
                        const char *field) {
    size_t index;
    json_t *entry;
    double best = 0;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        stats_spread spread;
        if (!is_reference(entry, like, type, same_work)) continue;
        if (results_spread(entry, field, &spread) == 0) continue;
        if (spread.median > best) best = spread.median;
    }
    return best;
}

static void put_ratio(json_t *entry, const char *name, const char *field, double of) {
    stats_spread spread;
    bool known = of > 0 && results_spread(entry, field, &spread) > 0;
    json_object_set_new(entry, name, known ? json_real(spread.median / of) : json_null());
}

static void put_ratios(const json_t *results, json_t *entry) {
    put_ratio(entry, "ratio_to_raw_poll", "work_tps", best_rate(results, entry, "raw-poll", false, "work_tps"));
    put_ratio(entry, "ratio_to_raw", "work_tps", best_rate(results, entry, "raw", false, "work_tps"));
    put_ratio(entry, "ratio_to_floor", "work_tps", best_rate(results, entry, "floor", true, "work_tps"));
    put_ratio(entry, "ratio_to_baseline", "work_tps", best_rate(results, entry, "baseline", true, "work_tps"));
    put_ratio(entry, "ratio_to_async", "work_tps", best_rate(results, entry, "async", true, "work_tps"));
    put_ratio(entry, "cpu_ratio_to_raw_poll", "cpu_sec_per_million",
              best_rate(results, entry, "raw-poll", false, "cpu_sec_per_million"));
}

/* The fastest engine of each workload and order, beside the baseline of that workload. */
static json_t *improvements(const json_t *results) {
    json_t *rows = json_array(), *entry;
    size_t index;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        const json_t *ratio = json_object_get(entry, "ratio_to_baseline");
        const char *type = results_text(entry, "run_type");
        stats_spread own;
        if (!json_is_number(ratio) || strcmp(type, "baseline") == 0 || strncmp(type, "raw", 3) == 0 ||
            strcmp(type, "floor") == 0 || results_spread(entry, "work_tps", &own) == 0)
            continue;
        double reference = own.median / json_number_value(ratio);
        json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "comparison", "weft_vs_baseline",
                            "workload", results_text(entry, "workload"), "ordering", results_text(entry, "ordering"),
                            "run_type", type, "candidate_run_name", results_text(entry, "run_name"), "candidate_tps",
                            own.median, "reference_tps", reference, "delta_tps", own.median - reference,
                            "delta_percent", (json_number_value(ratio) - 1) * 100, "ratio", json_number_value(ratio)));
    }
    return rows;
}

void results_finish(json_t *results, bool is_complete, bool is_interrupted) {
    size_t index;
    json_t *entry;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        finish_entry(entry);
    }
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        put_ratios(results, entry);
    }
    json_object_set_new(results, "performance_improvements", improvements(results));
    json_object_set_new(results, "complete", json_boolean(is_complete));
    json_object_set_new(results, "interrupted", json_boolean(is_interrupted));
}

size_t results_failures(const json_t *results) {
    size_t index, sample_index, failures = 0;
    json_t *entry, *sample;
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        json_array_foreach(json_object_get(entry, "samples"), sample_index, sample) {
            failures += !is_valid(sample);
        }
    }
    return failures;
}

/* --- files */

bool results_write(const json_t *results, const char *path) {
    char beside[1024];
    snprintf(beside, sizeof beside, "%s.part", path);
    if (json_dump_file(results, beside, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 && rename(beside, path) == 0)
        return true;
    fprintf(stderr, "weft-bench: %s can't be written\n", path);
    remove(beside);
    return false;
}

json_t *results_read(const char *path) {
    json_error_t error;
    json_t *results = json_load_file(path, 0, &error);
    if (!results) {
        fprintf(stderr, "weft-bench: %s: line %d: %s\n", path, error.line, error.text);
        return NULL;
    }
    if (json_is_array(json_object_get(results, "results")) &&
        json_integer_value(json_object_get(results, "schema")) == SCHEMA)
        return results;
    fprintf(stderr, "weft-bench: %s: not results of weft-bench, schema %d\n", path, SCHEMA);
    json_decref(results);
    return NULL;
}
