/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures of results, drawn by gnuplot: throughput by run, latency percentiles, scaling by workers and threads. Each
 * file of results makes its own, named after it. And the tables of a page.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "drive.h"
#include "results.h"

static size_t put_throughput(FILE *out, const json_t *results) {
    size_t index, rows = 0;
    json_t *entry;
    fputs("$throughput << END\n", out);
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        stats_spread rate;
        if (results_spread(entry, "work_tps", &rate) == 0) continue;
        fprintf(out, "\"%s\" %.9g %.9g %.9g\n", results_text(entry, "run_name"), rate.median / 1e3, rate.min / 1e3,
                rate.max / 1e3);
        rows++;
    }
    fputs("END\n", out);
    return rows;
}

static size_t put_latency(FILE *out, const json_t *results) {
    size_t index, rows = 0;
    json_t *entry;
    fputs("$latency << END\n", out);
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        const json_t *times = json_object_get(entry, "end_to_end");
        if (!json_is_object(times)) times = json_object_get(entry, "latency");
        if (!json_is_object(times) || json_array_size(json_object_get(entry, "samples")) == 0) continue;
        fprintf(out, "\"%s\" %.9g %.9g %.9g %.9g\n", results_text(entry, "run_name"), results_number(times, "p50_us"),
                results_number(times, "p90_us"), results_number(times, "p99_us"), results_number(times, "p999_us"));
        rows++;
    }
    fputs("END\n", out);
    return rows;
}

/* Rates over something that the runs of a file vary, a block for each series that has more than one of it. */
typedef struct axis {
    const char *block, *field, *label;
    double scale;
    bool logarithmic, names_slots; /* what else tells series apart: slots, or the time of the work */
} axis;

static const axis axes[] = {
    {"scaling", "slots", "workers or threads", 1, false, false},
    {"work", "work_ns", "ms of work", 1e-6, true, true},
    {"keys", "keys", "keys", 1, true, true},
    {"partitions", "partitions", "partitions", 1, true, true},
};
enum { AXES = sizeof axes / sizeof *axes };

static void name_series(const axis *over, const json_t *entry, char *ret_name, size_t bytes) {
    char slots[40] = "", work[40] = "";
    const char *language = results_text(entry, "worker_language");
    if (over->names_slots) snprintf(slots, sizeof slots, " %.0f at once,", results_number(entry, "slots"));
    if (results_number(entry, "work_ns") > 0 && strcmp(over->field, "work_ns") != 0)
        snprintf(work, sizeof work, " %g ms", results_number(entry, "work_ns") / 1e6);
    snprintf(ret_name, bytes, "%s%s %s %s%s%s%s %.0f B", results_text(entry, "workload"), work,
             results_text(entry, "ordering"), results_text(entry, "run_type"), *language ? " " : "", language, slots,
             results_number(entry, "value_bytes"));
}

static json_t *series_of(const axis *over, const json_t *results) {
    size_t index;
    json_t *entry, *series = json_object();
    json_array_foreach(json_object_get(results, "results"), index, entry) {
        char name[200], x[32];
        stats_spread rate;
        if (results_spread(entry, "work_tps", &rate) == 0 || results_number(entry, over->field) <= 0) continue;
        name_series(over, entry, name, sizeof name);
        snprintf(x, sizeof x, "%.9g", results_number(entry, over->field) * over->scale);
        json_t *points = json_object_get(series, name);
        if (!points) json_object_set_new(series, name, points = json_object());
        json_object_set_new(points, x, json_real(rate.median / 1e3));
    }
    return series;
}

/* Returns how many blocks; their names are the first lines. */
static size_t put_series(FILE *out, const axis *over, const json_t *results) {
    size_t blocks = 0;
    json_t *series = series_of(over, results), *points, *y;
    const char *name, *x;
    fprintf(out, "$%s << END\n", over->block);
    json_object_foreach(series, name, points) {
        if (json_object_size(points) < 2) continue;
        fprintf(out, "%s\"%s\"\n", blocks++ ? "\n\n" : "", name);
        json_object_foreach(points, x, y) {
            fprintf(out, "%s %.9g\n", x, json_number_value(y));
        }
    }
    fputs("END\n", out);
    json_decref(series);
    return blocks;
}

static void draw_series(FILE *out, const axis *over, size_t blocks, const char *stem) {
    if (blocks == 0) return;
    fprintf(out,
            "set output '%s-%s.svg'\nset xlabel '%s'\nset ylabel '1000 records/s'\n%s\n"
            "plot for [i=0:%zu] $%s index i using 1:2 with linespoints title columnheader(1)\n",
            stem, over->block, over->label, over->logarithmic ? "set logscale x" : "unset logscale x", blocks - 1,
            over->block);
}

static void put_script(FILE *out, const json_t *results, const char *stem) {
    size_t rates = put_throughput(out, results), latencies = put_latency(out, results), blocks[AXES];
    for (size_t i = 0; i < AXES; i++) blocks[i] = put_series(out, &axes[i], results);
    fputs("set terminal svg size 1000,600 dynamic background 'white'\nset style fill solid 0.6\nset grid ytics\n"
          "set xtics rotate by -40 noenhanced\nset key noenhanced outside bottom\n",
          out);
    if (rates > 1)
        fprintf(out,
                "set output '%s-throughput.svg'\nset ylabel '1000 records/s'\nset boxwidth 0.7\nset yrange [0:*]\n"
                "plot $throughput using 0:2:xtic(1) with boxes notitle, "
                "'' using 0:2:3:4 with yerrorbars lc black pt 0 notitle\n",
                stem);
    if (latencies > 1)
        fprintf(out,
                "set output '%s-latency.svg'\nset ylabel 'microseconds'\nset yrange [*:*]\nset logscale y\n"
                "set offsets 0.5, 0.5, 0, 0\n"
                "plot for [i=2:5] $latency using 0:i:xtic(1) with points pt 7 ps 1.5 title word('p50 p90 p99 p99.9', "
                "i-1)\nset nologscale y\nset offsets\n",
                stem);
    fputs("set xtics norotate autofreq\nset yrange [0:*]\n", out);
    for (size_t i = 0; i < AXES; i++) draw_series(out, &axes[i], blocks[i], stem);
}

/* DIR/NAME without what follows the last dot. */
static void stem_of(const char *directory, const char *path, char *ret_stem, size_t bytes) {
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *dot = strrchr(name, '.');
    snprintf(ret_stem, bytes, "%s/%.*s", directory, dot ? (int)(dot - name) : (int)strlen(name), name);
}

static bool draw(const char *directory, const char *path) {
    char stem[600];
    json_t *results = results_read(path);
    if (!results) return false;
    stem_of(directory, path, stem, sizeof stem);
    FILE *out = strchr(stem, '\'') ? NULL : popen("gnuplot", "w");
    if (out) put_script(out, results, stem);
    int status = out ? pclose(out) : -1;
    json_decref(results);
    if (status == 0)
        printf("%s-*.svg\n", stem);
    else
        fprintf(stderr, "weft-bench: gnuplot failed on %s\n", path);
    return status == 0;
}

int plot_main(int argc, char **argv) {
    const char *directory = ".";
    bool drew = false;
    int status = system("command -v gnuplot >/dev/null 2>&1");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fputs("weft-bench: gnuplot is not installed (Debian: gnuplot-nox)\n", stderr);
        return 2;
    }
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--output-dir") == 0 && i + 1 < argc) {
            directory = argv[++i];
            if (mkdir(directory, 0777) == 0 || errno == EEXIST) continue;
            fprintf(stderr, "weft-bench: %s: %s\n", directory, strerror(errno));
            return 2;
        }
        drew = true;
        if (!draw(directory, argv[i])) return 2;
    }
    if (!drew) fputs("weft-bench plot [--output-dir DIR] FILE ...\n", stderr);
    return drew ? 0 : 2;
}

int markdown_main(int argc, char **argv) {
    bool machine = argc > 0 && strcmp(argv[0], "--machine") == 0;
    for (int i = machine; i < argc; i++) {
        json_t *results = results_read(argv[i]);
        if (!results) return 2;
        if (machine)
            results_print_machine(results);
        else
            results_print_markdown(results);
        json_decref(results);
    }
    if (argc > machine) return 0;
    fputs("weft-bench markdown [--machine] FILE ...\n", stderr);
    return 2;
}
