/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit-metadata codec: what maps of several kinds take in characters, and the time to measure, write and read
 * them.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "metadata.h"
#include "stats.h"

enum { RUNS_MAX = 60000, REPETITIONS = 7 };

typedef struct map {
    size_t count;
    wf_offset_run *runs;
    char *text;
    size_t bytes;
} map;

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t limit) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % limit;
}

/* `span` offsets of which `open_permille` at random are incomplete. */
static void make_random(map *m, int64_t span, unsigned open_permille) {
    m->count = 0;
    bool was_complete = false;
    for (int64_t offset = 1; offset < span; offset++) {
        bool is_complete = random_below(1000) >= open_permille;
        if (is_complete && !was_complete) m->runs[m->count++].first = offset;
        if (is_complete) m->runs[m->count - 1].end = offset + 1;
        was_complete = is_complete;
    }
}

static double time_size(void *argument) {
    const map *m = argument;
    unsigned rounds = 1 + (unsigned)(200000 / m->count);
    uint64_t begin_ns = stats_now_ns(), sum = 0;
    for (unsigned i = 0; i < rounds; i++) sum += wf_metadata_size(0, m->runs, m->count);
    double ns = (double)(stats_now_ns() - begin_ns) / rounds;
    stats_use(sum);
    return ns / (double)m->count;
}

static double time_encode(void *argument) {
    map *m = argument;
    unsigned rounds = 1 + (unsigned)(200000 / m->count);
    uint64_t begin_ns = stats_now_ns();
    for (unsigned i = 0; i < rounds; i++)
        if (wf_metadata_encode(0, m->runs, m->count, m->text, WF_METADATA_BYTES_MAX, &m->bytes) != WEFT_OK) abort();
    return (double)(stats_now_ns() - begin_ns) / rounds / (double)m->count;
}

static double time_decode(void *argument) {
    const map *m = argument;
    unsigned rounds = 1 + (unsigned)(200000 / m->count);
    uint64_t begin_ns = stats_now_ns();
    for (unsigned i = 0; i < rounds; i++) {
        wf_offset_run *runs;
        size_t count;
        if (wf_metadata_decode(0, m->text, m->bytes, &runs, &count) != WEFT_OK || count != m->count) abort();
        free(runs);
    }
    return (double)(stats_now_ns() - begin_ns) / rounds / (double)m->count;
}

static double time_bound(void *argument) {
    (void)argument;
    const unsigned rounds = 100000;
    uint64_t begin_ns = stats_now_ns(), sum = 0;
    for (unsigned i = 0; i < rounds; i++) sum += wf_metadata_size_bound(1000 + i * 7, 10 + i % 500);
    double ns = (double)(stats_now_ns() - begin_ns) / rounds;
    stats_use(sum);
    return ns;
}

int main(void) {
    static const struct {
        int64_t span;
        unsigned open_permille;
    } rows[] = {{1000, 10},   {1000, 500}, {10000, 1},   {10000, 10},  {10000, 100}, {24000, 10},
                {24000, 500}, {100000, 1}, {100000, 10}, {100000, 50}, {1000000, 1}};
    map m = {.runs = malloc(RUNS_MAX * sizeof *m.runs), .text = malloc(WF_METADATA_BYTES_MAX)};
    if (!m.runs || !m.text) return 1;
    printf("maps of random open offsets; time in ns per run, median of %d\n\n", REPETITIONS);
    printf("| %9s | %6s | %6s | %8s | %10s | %6s | %6s | %6s |\n", "span", "open", "runs", "encoding", "characters",
           "size", "encode", "decode");
    printf("| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        make_random(&m, rows[i].span, rows[i].open_permille);
        stats_spread size = stats_repeat(time_size, &m, REPETITIONS);
        stats_spread encode = stats_repeat(time_encode, &m, REPETITIONS);
        stats_spread decode = stats_repeat(time_decode, &m, REPETITIONS);
        printf("| %9lld | %4.1f %% | %6zu | %8s | %10zu | %6.1f | %6.1f | %6.1f |\n", (long long)rows[i].span,
               rows[i].open_permille / 10.0, m.count, m.text[2] == 'B' ? "bitset" : "runs", m.bytes, size.median,
               encode.median, decode.median);
    }
    stats_spread bound = stats_repeat(time_bound, NULL, REPETITIONS);
    printf("\nwf_metadata_size_bound: %.0f ns (min %.0f, max %.0f)\n", bound.median, bound.min, bound.max);
    printf("4096 characters: any pattern over %llu offsets, or any %llu runs\n",
           (unsigned long long)wf_metadata_span_that_fits(4096), (unsigned long long)wf_metadata_runs_that_fit(4096));
    free(m.runs);
    free(m.text);
    return 0;
}
