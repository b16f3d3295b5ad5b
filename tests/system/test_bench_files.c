/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench on files of results that were made by hand: what compare calls a difference, what gate lets pass, what the
 * pictures and tables are made from, and files that are none.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

TestSuite(bench_files, .timeout = 50);

enum { TEXT = 20000 };

typedef struct folder {
    char path[64], said[TEXT];
} folder;

static void folder_open(folder *self) {
    snprintf(self->path, sizeof self->path, "/tmp/weft-test-files.XXXXXX");
    MUST(mkdtemp(self->path), "no folder");
}

static void folder_close(folder *self) {
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", self->path);
    MUST(system(command) == 0, "%s is left", self->path);
}

static void put(const folder *self, const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", self->path, name);
    FILE *file = fopen(path, "w");
    MUST(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s can't be written", path);
}

/* In the folder, with what is before the program ("PATH=/ "). Returns the exit status; what was said is in `said`. */
static int run(folder *self, const char *before, const char *arguments) {
    char command[1000];
    snprintf(command, sizeof command, "cd '%s' && %s '%s/bin/weft-bench' %s 2>&1", self->path, before, WEFT_BUILD_DIR,
             arguments);
    FILE *pipe = popen(command, "r");
    MUST(pipe, "no shell");
    size_t bytes = fread(self->said, 1, sizeof self->said - 1, pipe);
    self->said[bytes] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Results with one entry for each name, with the same rates; none: a run that failed. */
static void put_results(const folder *self, const char *file, const char *name, const char *rates, const char *more) {
    char text[4000], samples[2000] = "", copy[200], *rest = copy;
    snprintf(copy, sizeof copy, "%s", rates);
    for (char *rate; (rate = strsep(&rest, " "));) {
        size_t used = strlen(samples);
        snprintf(samples + used, sizeof samples - used, "%s{\"error\": %s, \"work_tps\": %s}", used ? ", " : "",
                 *rate ? "null" : "\"stalled\"", *rate ? rate : "null");
    }
    snprintf(
        text, sizeof text,
        "{\"schema\": 1, \"options\": {\"num-messages\": 1000}, \"machine\": {\"processors\": 2}, \"versions\": {}, "
        "\"results\": [{\"run_name\": \"%s\", \"run_type\": \"async\", \"workload\": \"none\", \"ordering\": \"key\", "
        "\"slots\": 2, \"error\": null, \"valid_samples\": 3, \"final_lag\": 0, \"final_gap_count\": 0, "
        "\"samples\": [%s]%s}]}",
        name, samples, more);
    put(self, file, text);
}

static void expect_said(const folder *self, const char *text) {
    cr_expect_not_null(strstr(self->said, text), "not said: %s\n%s", text, self->said);
}

Test(bench_files, compare__by_noise_and_not_by_hope) {
    static const struct {
        const char *first, *second, *verdict;
        int status;
    } rows[] = {
        {"100 101 102", "110 112 111", "FASTER", 0},         {"100 101 102", "89 90 91", "SLOWER", 1},
        {"100 101 102", "104 103 103.5", "within noise", 0}, /* apart, but by less than runs of one program are */
        {"90 100 110", "105 120 130", "within noise", 0},    /* much, but they overlap */
        {"100 101", "50 51 52", "too few runs to say", 0},   {"100 101 102", "50 51", "too few runs to say", 0},
        {"100 101 102", "", "BROKEN", 1},                    {"", "100 101 102", "no valid run in the first", 0},
    };
    folder self;
    folder_open(&self);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_results(&self, "a.json", "none-key-async", rows[i].first, "");
        put_results(&self, "b.json", "none-key-async", rows[i].second, "");
        cr_expect_eq(run(&self, "", "compare a.json b.json"), rows[i].status, "row %zu: %s", i, self.said);
        expect_said(&self, rows[i].verdict);
    }
    put_results(&self, "b.json", "none-key-process", "1 2 3", "");
    cr_expect_eq(run(&self, "", "compare a.json b.json"), 2, "%s", self.said);
    expect_said(&self, "no run in common");
    folder_close(&self);
}

Test(bench_files, gate__floors_are_kept_or_not) {
    static const struct {
        const char *name, *rates, *more, *said;
        int status;
    } rows[] = {
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": 0.9", "PASS: 1 of 1", 0},
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": 0.89", "ratio_to_raw_poll 0.890, at least 0.900", 1},
        {"y", "1 2 3", ", \"ratio_to_raw_poll\": 0.9", "it is in none of the files", 1},
        {"x", "1 2 3", "", "it has no ratio_to_raw_poll", 1},
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": null", "it has no ratio_to_raw_poll", 1},
        /* The last one of a name wins. */
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": 2, \"error\": \"records missing\"", "records missing", 1},
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": 2, \"valid_samples\": 2", "too few repetitions", 1},
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": 2, \"final_lag\": 1", "it left lag or gaps", 1},
        {"x", "1 2 3", ", \"ratio_to_raw_poll\": 2, \"final_gap_count\": 1", "it left lag or gaps", 1},
    };
    folder self;
    folder_open(&self);
    put(&self, "floors.json",
        "{\"repetitions\": 3, \"floors\": [{\"run\": \"x\", \"metric\": \"ratio_to_raw_poll\", \"minimum\": 0.9}]}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_results(&self, "a.json", rows[i].name, rows[i].rates, rows[i].more);
        cr_expect_eq(run(&self, "", "gate --floors floors.json a.json"), rows[i].status, "row %zu: %s", i, self.said);
        expect_said(&self, rows[i].said);
    }
    put(&self, "floors.json",
        "{\"floors\": [{\"run\": \"x\", \"metric\": \"cpu_ratio_to_raw_poll\", \"maximum\": 1.2}]}");
    put_results(&self, "a.json", "x", "1 2 3", ", \"cpu_ratio_to_raw_poll\": 1.3");
    cr_expect_eq(run(&self, "", "gate --floors floors.json a.json"), 1, "%s", self.said);
    put(&self, "floors.json", "{\"floors\": [{\"run\": \"x\"}]}");
    cr_expect_eq(run(&self, "", "gate --floors floors.json a.json"), 2, "%s", self.said);
    expect_said(&self, "needs run, metric, and minimum or maximum");
    folder_close(&self);
}

/* What is committed is one of these files. */
Test(bench_files, committed_floors__are_read) {
    folder self;
    folder_open(&self);
    put_results(&self, "a.json", "none-key-async", "1 2 3", "");
    cr_expect_eq(run(&self, "", "gate --floors '" WEFT_SOURCE_DIR "/bench/floors.json' a.json"), 1, "%s", self.said);
    expect_said(&self, "NO-GO none-key-async-plain-v100: it is in none of the files");
    folder_close(&self);
}

Test(bench_files, no_files_of_results__are_refused_by_name) {
    static const char *const texts[] = {"", "{", "[]", "{\"schema\": 2, \"results\": []}", "{\"schema\": 1}"};
    static const char *const commands[] = {"compare a.json a.json", "gate --floors a.json a.json", "markdown a.json"};
    folder self;
    folder_open(&self);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put(&self, "a.json", texts[i]);
        for (size_t k = 0; k < sizeof commands / sizeof *commands; k++) {
            cr_expect_eq(run(&self, "", commands[k]), 2, "%s: %s", commands[k], self.said);
            expect_said(&self, "a.json: ");
        }
    }
    cr_expect_eq(run(&self, "", "compare missing.json a.json"), 2);
    expect_said(&self, "missing.json: ");
    cr_expect_eq(run(&self, "", "frobnicate"), 2);
    expect_said(&self, "frobnicate: no such command");
    folder_close(&self);
}

Test(bench_files, plot_and_tables__from_the_same_file) {
    folder self;
    folder_open(&self);
    put_results(&self, "a.json", "none-key-async", "1000 2000 3000", ", \"topic\": \"t\", \"ratio_to_raw\": 0.75");
    cr_expect_eq(run(&self, "", "markdown a.json"), 0, "%s", self.said);
    expect_said(&self, "| run | k/s (min-max) | to raw |\n"); /* columns that have nothing are not there */
    expect_said(&self, "| none-key-async | 2.0 (1.0-3.0) | 0.75 |\n");
    /* A gnuplot that says what it was told. */
    put(&self, "gnuplot", "#!/bin/sh\ncat >script\n");
    cr_expect_eq(run(&self, "chmod +x gnuplot && PATH=$PWD:$PATH", "plot --output-dir pictures a.json && cat script"),
                 0, "%s", self.said);
    expect_said(&self, "\"none-key-async\" 2 1 3");
    cr_expect_eq(run(&self, "PATH=/nowhere", "plot a.json"), 2, "%s", self.said);
    expect_said(&self, "gnuplot is not installed (Debian: gnuplot-nox)");
    folder_close(&self);
}
