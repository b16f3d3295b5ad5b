/* SPDX-License-Identifier: Apache-2.0
 *
 * What changed between two files, and what did not. A difference is one when the samples of the two do not overlap and
 * their medians are more than NOISE apart; with fewer than three samples nobody can know.
 */
#include <stdio.h>
#include <string.h>

#include "drive.h"
#include "results.h"

/* Runs of one program on one machine were seen to differ by so much when nothing had changed. */
static const double NOISE = 0.05;
enum { SAMPLES_ENOUGH = 3 };

typedef enum verdict { SAME = 0, FASTER, SLOWER, BROKEN, UNKNOWN } verdict;

static verdict judge_rates(const stats_spread *a, size_t a_count, const stats_spread *b, size_t b_count) {
    double ratio = b->median / a->median;
    if (a_count < SAMPLES_ENOUGH || b_count < SAMPLES_ENOUGH) return UNKNOWN;
    if (b->min > a->max && ratio > 1 + NOISE) return FASTER;
    if (b->max < a->min && ratio < 1 - NOISE) return SLOWER;
    return SAME;
}

static verdict compare_entry(const json_t *a, const json_t *b) {
    static const char *const texts[] = {"within noise", "FASTER", "SLOWER", "BROKEN: no valid run in the second",
                                        "too few runs to say"};
    stats_spread first = {0}, second = {0};
    const char *name = results_text(a, "run_name");
    size_t first_count = results_spread(a, "work_tps", &first),
           second_count = b ? results_spread(b, "work_tps", &second) : 0;
    bool is_broken = b && first_count > 0 && second_count == 0;
    if (first_count == 0 || second_count == 0) {
        printf("%-34s %s\n", name, is_broken ? texts[BROKEN] : b ? "no valid run in the first" : "only in the first");
        return is_broken ? BROKEN : UNKNOWN;
    }
    verdict found = judge_rates(&first, first_count, &second, second_count);
    printf("%-34s %9.1f (%.1f-%.1f) %9.1f (%.1f-%.1f)  %5.2f (%.2f-%.2f)  %s\n", name, first.median / 1e3,
           first.min / 1e3, first.max / 1e3, second.median / 1e3, second.min / 1e3, second.max / 1e3,
           second.median / first.median, second.min / first.max, second.max / first.min, texts[found]);
    return found;
}

/* What makes two files a comparison of something else. */
static void warn(const json_t *a, const json_t *b) {
    static const char *const parts[] = {"machine", "versions", "options"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *name;
        json_t *value, *first = json_object_get(a, parts[i]), *second = json_object_get(b, parts[i]);
        json_object_foreach(first, name, value) {
            bool output = strcmp(name, "json-output") == 0 || strcmp(name, "bootstrap-servers") == 0;
            if (!output && !json_equal(value, json_object_get(second, name)))
                printf("note: %s differ in %s\n", parts[i], name);
        }
    }
}

int compare_main(int argc, char **argv) {
    if (argc != 2) {
        fputs("weft-bench compare A.json B.json\n", stderr);
        return 2;
    }
    json_t *a = results_read(argv[0]), *b = a ? results_read(argv[1]) : NULL, *entry;
    bool worse = false;
    size_t index, met = 0;
    if (!a || !b) {
        json_decref(a);
        return 2;
    }
    warn(a, b);
    printf("%-34s %9s %9s\n", "k/s, median (min-max)", "first", "second, ratio (least-most)");
    json_array_foreach(json_object_get(a, "results"), index, entry) {
        const json_t *other = results_entry(b, results_text(entry, "run_name"));
        met += other != NULL;
        verdict found = compare_entry(entry, other);
        worse |= found == SLOWER || found == BROKEN;
    }
    json_decref(a);
    json_decref(b);
    if (met == 0) fputs("weft-bench: the files have no run in common\n", stderr);
    return met == 0 ? 2 : worse;
}
