/* SPDX-License-Identifier: Apache-2.0
 *
 * The completion window: written-out histories, and random ones against a model with one byte per offset.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metadata.h"
#include "offset_window.h"
#include "seeded.h"

TestSuite(offset_window, .timeout = 60);

enum { RUNS_MAX = 4096 };

static void expect_runs(const wf_offset_window *window, const wf_offset_run *expected, size_t count) {
    wf_offset_run runs[16];
    cr_assert(eq(sz, wf_window_runs(window, runs, 16), count));
    cr_assert(eq(u64, window->run_count, count));
    cr_assert(eq(u64, wf_window_gap_count(window), count));
    for (size_t i = 0; i < count; i++) {
        cr_assert(eq(i64, runs[i].first, expected[i].first));
        cr_assert(eq(i64, runs[i].end, expected[i].end));
    }
}

Test(offset_window, complete__out_of_order__frontier_waits_for_lowest) {
    wf_offset_window window;
    wf_window_init(&window, 100);
    wf_window_fetched(&window, 100, 110);

    cr_assert(wf_window_complete(&window, 102));
    cr_assert(wf_window_complete(&window, 101));
    cr_assert(wf_window_complete(&window, 105));
    cr_assert(eq(i64, window.frontier, 100));
    cr_assert(eq(i64, window.highest, 106));
    expect_runs(&window, (wf_offset_run[]){{101, 103}, {105, 106}}, 2);

    cr_assert(wf_window_complete(&window, 100));
    cr_assert(eq(i64, window.frontier, 103));
    expect_runs(&window, (wf_offset_run[]){{105, 106}}, 1);
    wf_window_deinit(&window);
}

Test(offset_window, complete__twice_or_never_fetched__refused_without_change) {
    wf_offset_window window;
    wf_window_init(&window, 0);
    wf_window_fetched(&window, 0, 4);
    cr_assert(wf_window_complete(&window, 0));
    cr_assert(wf_window_complete(&window, 2));

    cr_assert(not(wf_window_complete(&window, 0)));
    cr_assert(not(wf_window_complete(&window, 2)));
    cr_assert(not(wf_window_complete(&window, 4)));
    cr_assert(not(wf_window_complete(&window, -1)));
    cr_assert(not(wf_window_complete(&window, INT64_MAX)));

    cr_assert(eq(i64, window.frontier, 1));
    expect_runs(&window, (wf_offset_run[]){{2, 3}}, 1);
    wf_window_deinit(&window);
}

Test(offset_window, fetched__log_starts_at_4711__frontier_jumps_there) {
    wf_offset_window window;
    wf_window_init(&window, 0);

    wf_window_fetched(&window, 4711, 4713);

    cr_assert(eq(i64, window.frontier, 4711));
    cr_assert(wf_window_is_complete(&window, 4710));
    cr_assert(not(wf_window_is_complete(&window, 4711)));
    cr_assert(eq(u64, window.word_count, 0), "a hole at the frontier needs no bits");
    wf_window_deinit(&window);
}

Test(offset_window, fetched__log_starts_behind_a_billion_offsets__no_memory_is_taken) {
    wf_offset_window window;
    wf_window_init(&window, 0);

    wf_window_fetched(&window, INT64_MAX - 70, INT64_MAX);
    for (int64_t offset = INT64_MAX - 1; offset >= INT64_MAX - 70; offset--)
        cr_assert(wf_window_complete(&window, offset));

    cr_assert(eq(i64, window.frontier, INT64_MAX));
    cr_assert(eq(u64, window.run_count, 0));
    wf_window_deinit(&window);
}

Test(offset_window, fetched__hole_behind_an_open_record__completes_with_the_record_behind_it) {
    wf_offset_window window;
    wf_window_init(&window, 10);
    wf_window_fetched(&window, 10, 11);

    wf_window_fetched(&window, 500, 502);
    expect_runs(&window, NULL, 0);
    cr_assert(not(wf_window_complete(&window, 12)));
    cr_assert(wf_window_complete(&window, 501));
    expect_runs(&window, (wf_offset_run[]){{501, 502}}, 1);
    cr_assert(wf_window_complete(&window, 500));
    expect_runs(&window, (wf_offset_run[]){{11, 502}}, 1);

    cr_assert(wf_window_complete(&window, 10));
    cr_assert(eq(i64, window.frontier, 502));
    expect_runs(&window, NULL, 0);
    wf_window_deinit(&window);
}

Test(offset_window, fetched__every_second_offset_is_a_hole__nothing_is_in_the_map_before_something_completes) {
    wf_offset_window window;
    wf_window_init(&window, 0);
    for (int64_t offset = 0; offset < 2000; offset += 2) wf_window_fetched(&window, offset, offset + 1);
    wf_window_skip_to(&window, 2010);
    expect_runs(&window, NULL, 0);

    for (int64_t offset = 1998; offset > 0; offset -= 2) {
        cr_assert(wf_window_complete(&window, offset));
        expect_runs(&window, (wf_offset_run[]){{offset - 1, 1999}}, 1);
    }
    cr_assert(wf_window_complete(&window, 0));
    cr_assert(eq(i64, window.frontier, 2010), "a hole never holds up the frontier");
    expect_runs(&window, NULL, 0);
    wf_window_deinit(&window);
}

Test(offset_window, skip_to__marker_is_last_offset__frontier_reaches_the_end_of_the_log) {
    wf_offset_window window;
    wf_window_init(&window, 0);
    wf_window_fetched(&window, 0, 10);
    for (int64_t offset = 0; offset < 10; offset++) cr_assert(wf_window_complete(&window, offset));
    cr_assert(eq(i64, window.frontier, 10));

    wf_window_skip_to(&window, 11);
    cr_assert(eq(i64, window.frontier, 11));
    wf_window_skip_to(&window, 5);
    cr_assert(eq(i64, window.frontier, 11));
    cr_assert(eq(i64, window.fetched_end, 11));
    wf_window_deinit(&window);
}

Test(offset_window, restore__runs_beyond_base__are_complete_but_not_passed) {
    wf_offset_window window;
    wf_window_init(&window, 10);

    cr_assert(eq(int, wf_window_restore(&window, (wf_offset_run[]){{11, 13}, {15, 20}}, 2), WEFT_OK));
    cr_assert(eq(i64, window.frontier, 10));
    cr_assert(eq(i64, window.fetched_end, 10));
    expect_runs(&window, (wf_offset_run[]){{11, 13}, {15, 20}}, 2);
    cr_assert(not(wf_window_complete(&window, 11)));

    wf_window_fetched(&window, 10, 14);
    cr_assert(wf_window_complete(&window, 10));
    cr_assert(eq(i64, window.frontier, 13));
    expect_runs(&window, (wf_offset_run[]){{15, 20}}, 1);
    wf_window_deinit(&window);
}

Test(offset_window, restore__frontier_reaches_a_restored_run__it_is_passed_and_its_records_are_ignored) {
    wf_offset_window window;
    wf_window_init(&window, 10);
    cr_assert(eq(int, wf_window_restore(&window, (wf_offset_run[]){{11, 20}}, 1), WEFT_OK));

    wf_window_fetched(&window, 10, 11);
    cr_assert(wf_window_complete(&window, 10));
    cr_assert(eq(i64, window.frontier, 20));
    cr_assert(eq(i64, window.fetched_end, 20));
    expect_runs(&window, NULL, 0);

    wf_window_fetched(&window, 11, 15);
    wf_window_fetched(&window, 18, 22);
    cr_assert(not(wf_window_complete(&window, 19)));
    cr_assert(eq(i64, window.frontier, 20));
    cr_assert(eq(i64, window.fetched_end, 22));
    cr_assert(wf_window_complete(&window, 20));
    cr_assert(wf_window_complete(&window, 21));
    cr_assert(eq(i64, window.frontier, 22));
    wf_window_deinit(&window);
}

Test(offset_window, forget_restored__before_the_first_record__nothing_is_left) {
    wf_offset_window window;
    wf_window_init(&window, 10);
    cr_assert(eq(int, wf_window_restore(&window, (wf_offset_run[]){{11, 13}, {15, 20000}}, 2), WEFT_OK));

    wf_window_forget_restored(&window);

    cr_assert(eq(i64, window.highest, 10));
    expect_runs(&window, NULL, 0);
    wf_window_fetched(&window, 10, 30);
    for (int64_t offset = 10; offset < 30; offset++) cr_assert(wf_window_complete(&window, offset));
    cr_assert(eq(i64, window.frontier, 30));
    wf_window_deinit(&window);
}

Test(offset_window, forget_restored__later__what_was_fetched_stays) {
    wf_offset_window window;
    wf_window_init(&window, 10);
    cr_assert(eq(int, wf_window_restore(&window, (wf_offset_run[]){{11, 13}, {14, 20}, {25, 30}}, 3), WEFT_OK));
    wf_window_fetched(&window, 10, 16);

    wf_window_forget_restored(&window);

    cr_assert(eq(i64, window.highest, 16));
    expect_runs(&window, (wf_offset_run[]){{11, 13}, {14, 16}}, 2);
    wf_window_deinit(&window);
}

Test(offset_window, restore__widest_span__is_taken_and_one_more_is_refused) {
    wf_offset_window window;
    wf_window_init(&window, 1000);
    const int64_t end = 1000 + WF_METADATA_SPAN_MAX;
    const wf_offset_run runs[] = {{1001, 1002}, {end - 1, end}};
    const wf_offset_run too_wide[] = {{1001, 1002}, {end, end + 1}};

    cr_assert(eq(int, wf_window_restore(&window, too_wide, 2), WEFT_ENOMEM));
    expect_runs(&window, NULL, 0);
    cr_assert(eq(u64, window.word_count, 0));
    cr_assert(eq(int, wf_window_restore(&window, runs, 2), WEFT_OK));

    expect_runs(&window, runs, 2);
    cr_assert(eq(u64, window.word_count, (uint64_t)WF_METADATA_SPAN_MAX / 64 * (end % 64 == 0 ? 1 : 2)));
    wf_window_forget_restored(&window);
    cr_assert(eq(u64, window.word_count, 0), "a large ring is given back");
    wf_window_deinit(&window);
}

/* The model: some bytes per offset from `origin` on. The frontier is the lowest offset that is neither complete nor in
 * a hole that begins at it. */
enum { MODEL_SIZE = 6000 };

typedef struct byte_model {
    int64_t origin;
    int64_t came_end;
    bool complete[MODEL_SIZE + 1]; /* the last one never is */
    bool fetched[MODEL_SIZE + 1];
    bool hole[MODEL_SIZE + 1]; /* and not complete */
} byte_model;

/* Where the frontier is; what it passes is complete. */
static int64_t model_frontier(byte_model *model) {
    int64_t i = 0;
    for (; model->complete[i] || model->hole[i]; i++) {
        model->complete[i] = true;
        model->hole[i] = false;
    }
    return model->origin + i;
}

static size_t model_runs(const byte_model *model, int64_t from, wf_offset_run *runs, int64_t *ret_highest) {
    size_t count = 0;
    *ret_highest = from;
    for (int64_t i = from - model->origin; i < MODEL_SIZE; i++) {
        if (!model->complete[i]) continue;
        if (i == 0 || !model->complete[i - 1]) runs[count++].first = model->origin + i;
        runs[count - 1].end = *ret_highest = model->origin + i + 1;
    }
    return count;
}

static void expect_same(const wf_offset_window *window, byte_model *model, uint64_t seed, int history, int step) {
    static wf_offset_run runs[RUNS_MAX], expected[RUNS_MAX];
    char where[96];
    snprintf(where, sizeof where, "WEFT_TEST_SEED=%llu history %d step %d", (unsigned long long)seed, history, step);
    int64_t highest;
    int64_t frontier = model_frontier(model);
    size_t count = model_runs(model, frontier, expected, &highest);

    cr_assert(eq(i64, window->frontier, frontier), "%s", where);
    cr_assert(eq(i64, window->fetched_end, model->came_end > frontier ? model->came_end : frontier), "%s", where);
    cr_assert(eq(i64, window->highest, highest), "%s", where);
    cr_assert(eq(u64, window->run_count, count), "%s", where);
    cr_assert(eq(sz, wf_window_runs(window, runs, RUNS_MAX), count), "%s", where);
    cr_assert(memcmp(runs, expected, count * sizeof runs[0]) == 0, "%s: runs differ", where);
    for (int64_t i = 0; i < MODEL_SIZE; i++)
        if (wf_window_is_complete(window, model->origin + i) != model->complete[i])
            cr_assert(false, "%s: offset %lld", where, (long long)(model->origin + i));
}

static void model_cover(byte_model *model, int64_t from, int64_t end) {
    for (int64_t offset = from; offset < end; offset++)
        if (!model->fetched[offset - model->origin]) model->complete[offset - model->origin] = true;
}

static int64_t model_highest(const byte_model *model) {
    int64_t i = MODEL_SIZE;
    while (i > 0 && !model->complete[i - 1]) i--;
    return model->origin + i;
}

static void model_complete_before(byte_model *model, int64_t i) {
    for (; i > 0 && model->hole[i - 1]; i--) {
        model->hole[i - 1] = false;
        model->complete[i - 1] = true;
    }
}

/* Offsets [from, end) will never come. As far as something beyond is complete, they join the run that they touch. */
static void model_hole(byte_model *model, int64_t from, int64_t end) {
    int64_t frontier = model_frontier(model), highest = model_highest(model);
    if (from < frontier) from = frontier;
    if (from >= end) return;
    int64_t split = end < highest ? end : highest;
    bool touches = from == frontier;
    for (int64_t offset = from - 1; offset <= split && split > from && offset >= model->origin; offset++)
        touches = touches || model->complete[offset - model->origin];
    if (from == frontier) split = end;
    if (!touches || split < from) split = from;
    for (int64_t offset = from; offset < end; offset++) {
        model->complete[offset - model->origin] = offset < split;
        model->hole[offset - model->origin] = offset >= split;
    }
    if (split > from) model_complete_before(model, from - model->origin);
}

static void random_restore(wf_offset_window *window, byte_model *model, seeded *random) {
    static wf_offset_run runs[RUNS_MAX];
    size_t count = 0;
    int64_t limit = model->origin + seeded_between(random, 2, MODEL_SIZE - 1);
    int64_t longest = seeded_between(random, 1, 200);
    for (int64_t at = model->origin + 1; count < RUNS_MAX;) {
        int64_t first = at + seeded_between(random, 0, longest);
        int64_t end = first + seeded_between(random, 1, longest);
        if (end > limit) break;
        runs[count++] = (wf_offset_run){first, end};
        at = end + 1;
    }
    cr_assert(eq(int, wf_window_restore(window, runs, count), WEFT_OK));
    if (seeded_percent(random, 30)) {
        wf_window_forget_restored(window);
        return;
    }
    for (size_t i = 0; i < count; i++) model_cover(model, runs[i].first, runs[i].end);
}

static void random_fetch(wf_offset_window *window, byte_model *model, seeded *random, int64_t reach) {
    int64_t end = model->origin + MODEL_SIZE;
    int64_t first = model->came_end;
    if (seeded_percent(random, 30)) first += seeded_between(random, 1, reach);
    int64_t behind = first + seeded_between(random, 0, reach);
    if (behind > end) return;
    if (behind == first || seeded_percent(random, 10)) {
        wf_window_skip_to(window, behind);
        model_hole(model, model->came_end, behind);
    } else {
        wf_window_fetched(window, first, behind);
        model_hole(model, model->came_end, first);
        for (int64_t offset = first; offset < behind; offset++) model->fetched[offset - model->origin] = true;
    }
    model->came_end = behind;
}

static void random_complete(wf_offset_window *window, byte_model *model, seeded *random, int64_t reach) {
    int64_t low = model_frontier(model) - 2;
    int64_t offset = seeded_percent(random, 20) ? low + 2 : low + seeded_between(random, 0, reach);
    int64_t i = offset - model->origin;
    if (i < 0 || i >= MODEL_SIZE) return;
    bool expected = model->fetched[i] && !model->complete[i];
    cr_assert(eq(int, wf_window_complete(window, offset), expected), "WEFT_TEST_SEED=%llu offset %lld",
              (unsigned long long)random->seed, (long long)offset);
    if (!expected) return;
    model->complete[i] = true;
    model_complete_before(model, i);
}

Test(offset_window, random_histories__agree_with_the_model) {
    static const int64_t origins[] = {
        0, 1, 63, 64, 4711, 1023 * 64 + 17, ((int64_t)1 << 40) - 3, INT64_MAX - 2 * MODEL_SIZE};
    static byte_model model;
    for (int history = 0; history < 240; history++) {
        seeded random = seeded_start(20260801, (uint64_t)history);
        int64_t origin = origins[seeded_below(&random, sizeof origins / sizeof origins[0])];
        int64_t reach = seeded_between(&random, 1, seeded_percent(&random, 50) ? 40 : 900);
        unsigned fetch_percent = 1 + (unsigned)seeded_below(&random, 40);
        memset(&model, 0, sizeof model);
        model.origin = model.came_end = origin;
        wf_offset_window window;
        wf_window_init(&window, origin);
        if (seeded_percent(&random, 50)) random_restore(&window, &model, &random);

        expect_same(&window, &model, random.seed, history, -1);
        for (int step = 0; step < 3000; step++) {
            if (seeded_percent(&random, fetch_percent))
                random_fetch(&window, &model, &random, reach);
            else
                random_complete(&window, &model, &random, 2 * reach);
            if (step % 16 == 0) expect_same(&window, &model, random.seed, history, step);
        }
        expect_same(&window, &model, random.seed, history, 3000);
        wf_window_deinit(&window);
    }
}

Test(offset_window, long_walk__ring_wraps_many_times__memory_stays_small) {
    wf_offset_window window;
    seeded random = seeded_start(7, 0);
    wf_window_init(&window, 0);
    int64_t order[256];
    for (int64_t from = 0; from < 200000; from += 256) {
        wf_window_fetched(&window, from, from + 256);
        for (int64_t i = 0; i < 256; i++) order[i] = from + i;
        for (uint64_t i = 255; i > 0; i--) {
            uint64_t other = seeded_below(&random, i + 1);
            int64_t swap = order[i];
            order[i] = order[other];
            order[other] = swap;
        }
        for (int64_t i = 0; i < 256; i++) cr_assert(wf_window_complete(&window, order[i]), "seed %llu", 7ull);
        cr_assert(eq(i64, window.frontier, from + 256));
        cr_assert(eq(u64, window.run_count, 0));
    }
    cr_assert(le(u64, window.word_count, 16));
    wf_window_deinit(&window);
}

Test(offset_window, stuck_record__a_million_behind_it__one_run_and_one_step) {
    wf_offset_window window;
    const int64_t count = 1000000;
    wf_window_init(&window, 0);
    wf_window_fetched(&window, 0, count);
    for (int64_t offset = 1; offset < count; offset += 2) cr_assert(wf_window_complete(&window, offset));
    cr_assert(eq(u64, window.run_count, (uint64_t)count / 2));
    for (int64_t offset = 2; offset < count; offset += 2) cr_assert(wf_window_complete(&window, offset));
    expect_runs(&window, (wf_offset_run[]){{1, count}}, 1);

    cr_assert(wf_window_complete(&window, 0));
    cr_assert(eq(i64, window.frontier, count));
    cr_assert(eq(u64, window.word_count, 0), "a large ring is given back");
    wf_window_deinit(&window);
}
