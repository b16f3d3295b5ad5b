/* SPDX-License-Identifier: Apache-2.0
 *
 * Do results keep the floors? Floors are ratios, so they hold on any machine:
 *
 *     {"floors": [{"run": "none-key-async", "metric": "ratio_to_raw_poll", "minimum": 0.9, "why": "..."}, ...],
 *      "repetitions": 3}
 *
 * 1. A floor whose run is in none of the files is not kept; neither is one of a run that failed, or left lag or gaps.
 */
#include <stdio.h>
#include <string.h>

#include "drive.h"
#include "results.h"

enum { FILES_MAX = 32 };

typedef struct gate {
    json_t *files[FILES_MAX];
    size_t file_count;
    json_int_t repetitions;
} gate;

static const json_t *find(const gate *self, const char *run) {
    for (size_t i = 0; i < self->file_count; i++) {
        const json_t *entry = results_entry(self->files[i], run);
        if (entry) return entry;
    }
    return NULL;
}

/* NULL: kept. */
static const char *judge_entry(const gate *self, const json_t *entry, const json_t *floor, char *text, size_t bytes) {
    const json_t *minimum = json_object_get(floor, "minimum"), *maximum = json_object_get(floor, "maximum");
    const char *metric = results_text(floor, "metric");
    if (json_is_string(json_object_get(entry, "error"))) return results_text(entry, "error");
    if (json_integer_value(json_object_get(entry, "valid_samples")) < self->repetitions) return "too few repetitions";
    if (results_number(entry, "final_lag") > 0 || results_number(entry, "final_gap_count") > 0)
        return "it left lag or gaps";
    const json_t *value = json_object_get(entry, metric);
    double number = json_number_value(value);
    if (!json_is_number(value)) {
        snprintf(text, bytes, "it has no %s", metric);
        return text;
    }
    bool low = json_is_number(minimum) && number < json_number_value(minimum);
    bool high = json_is_number(maximum) && number > json_number_value(maximum);
    snprintf(text, bytes, "%s %.3f, %s %.3f", metric, number, json_is_number(minimum) ? "at least" : "at most",
             json_number_value(json_is_number(minimum) ? minimum : maximum));
    return low || high ? text : NULL;
}

static bool is_floor(const json_t *floor) {
    return *results_text(floor, "run") && *results_text(floor, "metric") &&
           (json_is_number(json_object_get(floor, "minimum")) || json_is_number(json_object_get(floor, "maximum")));
}

static int judge_all(const gate *self, const json_t *floors, const char *path) {
    size_t index, broken = 0;
    json_t *floor;
    json_array_foreach(floors, index, floor) {
        char text[200] = "";
        const char *run = results_text(floor, "run");
        if (!is_floor(floor)) {
            fprintf(stderr, "weft-bench: %s: floor %zu needs run, metric, and minimum or maximum\n", path, index + 1);
            return 2;
        }
        const json_t *entry = find(self, run);
        const char *wrong = entry ? judge_entry(self, entry, floor, text, sizeof text) : "it is in none of the files";
        printf("%s %s: %s\n", wrong ? "NO-GO" : "kept ", run, wrong ? wrong : text);
        broken += wrong != NULL;
    }
    printf("%s: %zu of %zu floors are kept\n", broken ? "NO-GO" : "PASS", index - broken, index);
    return broken > 0;
}

int gate_main(int argc, char **argv) {
    const char *path = "bench/floors.json";
    gate self = {0};
    json_error_t error;
    int status = 0;
    for (int i = 0; i < argc && status == 0; i++) {
        if (strcmp(argv[i], "--floors") == 0 && i + 1 < argc)
            path = argv[++i];
        else if (self.file_count == FILES_MAX || !(self.files[self.file_count++] = results_read(argv[i])))
            status = 2;
    }
    json_t *floors = json_load_file(path, 0, &error), *list = json_object_get(floors, "floors");
    self.repetitions = json_integer_value(json_object_get(floors, "repetitions"));
    if (status == 0 && (self.file_count == 0 || json_array_size(list) == 0)) {
        if (self.file_count == 0)
            fputs("weft-bench gate [--floors FILE] FILE ...\n", stderr);
        else
            fprintf(stderr, "weft-bench: %s: %s\n", path, floors ? "it has no floors" : error.text);
        status = 2;
    }
    if (status == 0) status = judge_all(&self, list, path);
    for (size_t i = 0; i < self.file_count; i++) json_decref(self.files[i]);
    json_decref(floors);
    return status;
}
