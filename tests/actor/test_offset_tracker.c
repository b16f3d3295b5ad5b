/* SPDX-License-Identifier: Apache-2.0
 *
 * The offset tracker: what it hands on, when it offers something to commit, and what it drops.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fake_env.h"
#include "messages.h"
#include "must.h"
#include "offset_tracker.h"
#include "require.h"
#include "seeded.h"

TestSuite(offset_tracker, .timeout = 60);

enum { MANAGER = 2, ENCODER = 4, POLLER = 5, EXPORTER = 6 };

static const uint64_t interval_ns = 1000000000;

static void start(fake_env *fake) {
    wf_offset_tracker_options options = {.manager = MANAGER, .encoder = ENCODER, .commit_interval_ns = interval_ns};
    fake_env_start(fake, &wf_offset_tracker, &options, 5000);
}

static void assign(fake_env *fake, uint32_t slot, uint32_t epoch, int64_t base, const wf_offset_run *runs,
                   uint32_t count) {
    wf_assigned assigned = {
        .topic = "orders", .partition = (int32_t)slot, .slot = slot, .epoch = epoch, .base = base, .count = count};
    if (count) {
        assigned.runs = must_alloc(count, sizeof *runs);
        memcpy(assigned.runs, runs, count * sizeof *runs);
    }
    fake_env_tell(fake, ENCODER, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
    fake_sent sent;
    REQUIRE(fake_env_take(fake, WF_MSG_ASSIGNED, &sent));
    REQUIRE_EQ(sent.to, MANAGER);
    const wf_assigned *passed = sent.body;
    REQUIRE(passed->base == base && passed->count == count && passed->epoch == epoch);
    free(passed->runs); /* the manager's from now on */
}

static void fetched(fake_env *fake, uint32_t slot, uint32_t epoch, int64_t first, int64_t end) {
    wf_fetched body = {.slot = slot, .epoch = epoch, .run = {first, end}};
    fake_env_tell(fake, MANAGER, WF_MSG_FETCHED, &body, sizeof body);
}

static void completed(fake_env *fake, uint32_t slot, uint32_t epoch, int64_t offset) {
    wf_completed body = {.slot = slot, .epoch = epoch, .offset = offset};
    fake_env_tell(fake, MANAGER, WF_MSG_COMPLETED, &body, sizeof body);
}

static void drained(fake_env *fake, uint32_t slot, uint32_t epoch, bool lost) {
    wf_drained body = {.slot = slot, .epoch = epoch, .lost = lost};
    fake_env_tell(fake, MANAGER, WF_MSG_DRAINED, &body, sizeof body);
}

static void committed(fake_env *fake, uint32_t slot, uint32_t epoch, int64_t offset, wf_commit_outcome outcome) {
    wf_committed body = {.slot = slot, .epoch = epoch, .offset = offset, .metadata_bytes = 7, .outcome = outcome};
    fake_env_tell(fake, POLLER, WF_MSG_COMMITTED, &body, sizeof body);
}

/* The next snapshot; its runs are freed with the next call or by the last one, which finds none. */
static bool snapshot(fake_env *fake, wf_snapshot *ret_snapshot) {
    static wf_offset_run *runs;
    fake_sent sent;
    free(runs);
    runs = NULL;
    if (!fake_env_take(fake, WF_MSG_SNAPSHOT, &sent)) return false;
    REQUIRE_EQ(sent.to, ENCODER);
    *ret_snapshot = *(const wf_snapshot *)sent.body;
    runs = ret_snapshot->runs;
    REQUIRE((runs != NULL) == (ret_snapshot->count > 0));
    return true;
}

static bool progress(fake_env *fake, uint32_t slot, wf_progress *ret_progress) {
    fake_sent sent;
    bool found = false;
    while (fake_env_take(fake, WF_MSG_PROGRESS, &sent)) {
        const wf_progress *body = sent.body;
        for (size_t i = 0; i < sent.body_bytes / sizeof *body; i++) {
            if (body[i].slot != slot) continue;
            *ret_progress = body[i];
            found = true;
        }
    }
    return found;
}

Test(offset_tracker, completions__one_snapshot_per_interval_with_the_runs_beyond) {
    fake_env fake;
    wf_snapshot shot;
    start(&fake);
    assign(&fake, 0, 1, 10, NULL, 0);
    fetched(&fake, 0, 1, 10, 20);
    for (int64_t offset = 10; offset < 19; offset += 2) completed(&fake, 0, 1, offset);

    fake_env_advance(&fake, interval_ns - 1);
    REQUIRE(!snapshot(&fake, &shot));
    fake_env_advance(&fake, 1);
    REQUIRE(snapshot(&fake, &shot));
    REQUIRE(shot.slot == 0 && shot.epoch == 1 && shot.frontier == 11 && shot.count == 4 && !shot.final);
    for (uint32_t i = 0; i < 4; i++) REQUIRE(shot.runs[i].first == 12 + 2 * i && shot.runs[i].end == 13 + 2 * i);
    REQUIRE(!snapshot(&fake, &shot));

    fake_env_advance(&fake, 10 * interval_ns);
    REQUIRE(!snapshot(&fake, &shot), "nothing has changed");
    fake_env_end(&fake);
}

Test(offset_tracker, idle__no_timer_is_armed) {
    fake_env fake;
    start(&fake);
    assign(&fake, 0, 1, 10, NULL, 0);
    fetched(&fake, 0, 1, 10, 20);
    REQUIRE(wf_actor_next_ns(&fake.actor) == UINT64_MAX);
    completed(&fake, 0, 1, 10);
    REQUIRE(wf_actor_next_ns(&fake.actor) != UINT64_MAX);
    wf_snapshot shot;
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot));
    REQUIRE(wf_actor_next_ns(&fake.actor) == UINT64_MAX);
    fake_env_end(&fake);
}

Test(offset_tracker, nothing_committed_before__first_fetched_offset_is_the_base) {
    fake_env fake;
    wf_snapshot shot;
    start(&fake);
    assign(&fake, 0, 1, -1, NULL, 0);
    fetched(&fake, 0, 1, 4711, 4713);
    completed(&fake, 0, 1, 4711);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot) && shot.frontier == 4712);
    fake_env_end(&fake);
}

Test(offset_tracker, restored_map__is_part_of_the_snapshot_and_of_the_frontier) {
    fake_env fake;
    wf_snapshot shot;
    start(&fake);
    assign(&fake, 0, 1, 10, (wf_offset_run[]){{11, 14}, {16, 17}}, 2);
    fetched(&fake, 0, 1, 10, 18);
    completed(&fake, 0, 1, 10);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot));
    REQUIRE(shot.frontier == 14 && shot.count == 1 && shot.runs[0].first == 16);
    snapshot(&fake, &shot);
    fake_env_end(&fake);
}

Test(offset_tracker, map_refused__restored_offsets_are_open_again) {
    fake_env fake;
    wf_snapshot shot;
    wf_progress told;
    start(&fake);
    assign(&fake, 0, 1, 10, (wf_offset_run[]){{11, 14}}, 1);
    wf_partition partition = {.slot = 0, .epoch = 1};
    fake_env_tell(&fake, MANAGER, WF_MSG_MAP_REFUSED, &partition, sizeof partition);
    REQUIRE(progress(&fake, 0, &told) && told.runs == 0);
    fetched(&fake, 0, 1, 10, 12);
    completed(&fake, 0, 1, 11);
    completed(&fake, 0, 1, 10);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot) && shot.frontier == 12 && shot.count == 0);
    fake_env_end(&fake);
}

/* Ten characters can claim that much. */
Test(offset_tracker, map_of_a_billion_offsets__takes_no_memory_before_the_log_was_seen) {
    fake_env fake;
    wf_progress told;
    wf_snapshot shot;
    struct rusage before, after;
    start(&fake);
    getrusage(RUSAGE_SELF, &before);
    for (uint32_t slot = 0; slot < 64; slot++)
        assign(&fake, slot, 1, 10, (wf_offset_run[]){{11, 1000000000}, {1000000001, 2000000000}}, 2);
    getrusage(RUSAGE_SELF, &after);
    REQUIRE(after.ru_maxrss - before.ru_maxrss < 64 * 1024, "KiB");
    for (uint32_t slot = 0; slot < 63; slot++) {
        wf_partition partition = {.slot = slot, .epoch = 1};
        fake_env_tell(&fake, MANAGER, WF_MSG_MAP_REFUSED, &partition, sizeof partition);
        REQUIRE(progress(&fake, slot, &told) && told.runs == 0 && told.frontier == 10);
    }
    drained(&fake, 63, 1, false); /* before anything came: nothing is committed anew */
    REQUIRE(!snapshot(&fake, &shot));
    fake_env_end(&fake);
}

Test(offset_tracker, wide_map__counts_when_the_log_reaches_so_far) {
    fake_env fake;
    wf_snapshot shot;
    wf_progress told;
    start(&fake);
    assign(&fake, 0, 1, 10, (wf_offset_run[]){{11, 20}, {30, 20000000}}, 2);
    fetched(&fake, 0, 1, 10, 12);
    REQUIRE(progress(&fake, 0, &told) && told.runs == 2 && told.frontier == 10);
    completed(&fake, 0, 1, 10);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot) && shot.frontier == 20 && shot.count == 1);
    REQUIRE(shot.runs[0].first == 30 && shot.runs[0].end == 20000000);
    snapshot(&fake, &shot);
    fake_env_end(&fake);
}

Test(offset_tracker, hole__at_the_end_of_the_log__frontier_reaches_it) {
    fake_env fake;
    wf_snapshot shot;
    start(&fake);
    assign(&fake, 0, 1, 10, NULL, 0);
    fetched(&fake, 0, 1, 10, 12);
    completed(&fake, 0, 1, 10);
    completed(&fake, 0, 1, 11);
    wf_log_end end = {.slot = 0, .epoch = 1, .end = 15, .reached = true};
    fake_env_tell(&fake, MANAGER, WF_MSG_HOLE, &end, sizeof end);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot) && shot.frontier == 15);
    fake_env_end(&fake);
}

Test(offset_tracker, progress__says_frontier_runs_and_how_many_were_counted) {
    fake_env fake;
    wf_progress told;
    start(&fake);
    assign(&fake, 0, 1, 0, NULL, 0);
    fetched(&fake, 0, 1, 0, 10);
    completed(&fake, 0, 1, 4);
    completed(&fake, 0, 1, 6);
    REQUIRE(progress(&fake, 0, &told));
    REQUIRE(told.frontier == 0 && told.runs == 2 && told.completed == 2);
    completed(&fake, 0, 1, 5);
    REQUIRE(progress(&fake, 0, &told) && told.runs == 1 && told.completed == 3);
    fake_env_end(&fake);
}

Test(offset_tracker, drained__final_snapshot_first_then_the_marker) {
    fake_env fake;
    fake_sent sent;
    start(&fake);
    assign(&fake, 0, 1, 0, NULL, 0);
    fetched(&fake, 0, 1, 0, 10);
    completed(&fake, 0, 1, 0);
    drained(&fake, 0, 1, false);
    uint32_t order[4], count = 0;
    while (fake_env_take(&fake, 0, &sent))
        if (sent.to == ENCODER && count < 4) {
            order[count++] = sent.type;
            if (sent.type == WF_MSG_SNAPSHOT) REQUIRE(((const wf_snapshot *)sent.body)->final);
        }
    REQUIRE(count == 2 && order[0] == WF_MSG_SNAPSHOT && order[1] == WF_MSG_DRAINED);
    fake_env_advance(&fake, 2 * interval_ns);
    REQUIRE_EQ(fake_env_waiting(&fake, WF_MSG_SNAPSHOT), 0);
    fake_env_end(&fake);
}

Test(offset_tracker, drained__lost_or_nothing_new__marker_only) {
    for (int lost = 0; lost <= 1; lost++) {
        fake_env fake;
        start(&fake);
        assign(&fake, 0, 1, 0, NULL, 0);
        fetched(&fake, 0, 1, 0, 10);
        if (lost) completed(&fake, 0, 1, 0);
        drained(&fake, 0, 1, lost);
        REQUIRE_EQ(fake_env_waiting(&fake, WF_MSG_SNAPSHOT), 0);
        REQUIRE_EQ(fake_env_waiting(&fake, WF_MSG_DRAINED), 1);
        fake_sent sent;
        REQUIRE(fake_env_take(&fake, WF_MSG_DRAINED, &sent));
        REQUIRE_EQ(((const wf_drained *)sent.body)->uncommitted, lost);
        fake_env_end(&fake);
    }
}

Test(offset_tracker, older_epoch__everything_is_dropped) {
    fake_env fake;
    wf_progress told;
    start(&fake);
    assign(&fake, 0, 1, 0, NULL, 0);
    fetched(&fake, 0, 1, 0, 10);
    drained(&fake, 0, 1, true);
    assign(&fake, 0, 2, 0, NULL, 0);
    fetched(&fake, 0, 2, 0, 2);
    progress(&fake, 0, &told);
    completed(&fake, 0, 1, 5); /* never fetched in this epoch: only dropping it can survive */
    fetched(&fake, 0, 1, 0, 10);
    committed(&fake, 0, 1, 9, WF_COMMIT_OK);
    wf_log_end end = {.slot = 0, .epoch = 1, .end = 15, .reached = true};
    fake_env_tell(&fake, MANAGER, WF_MSG_HOLE, &end, sizeof end);
    wf_partition partition = {.slot = 0, .epoch = 1};
    fake_env_tell(&fake, MANAGER, WF_MSG_MAP_REFUSED, &partition, sizeof partition);
    fetched(&fake, 77, 1, 0, 10); /* nor slots that nobody has assigned */
    REQUIRE(!progress(&fake, 0, &told));
    completed(&fake, 0, 2, 0);
    REQUIRE(progress(&fake, 0, &told) && told.frontier == 1 && told.completed == 1);
    fake_env_end(&fake);
}

Test(offset_tracker, gauges__what_is_known_of_each_partition) {
    fake_env fake;
    fake_sent sent;
    wf_ask ask = {.ticket = 99};
    start(&fake);
    assign(&fake, 0, 1, -1, NULL, 0);
    assign(&fake, 2, 4, 100, NULL, 0);
    fetched(&fake, 2, 4, 100, 110);
    completed(&fake, 2, 4, 100);
    completed(&fake, 2, 4, 105);
    committed(&fake, 2, 4, 101, WF_COMMIT_OK);
    fake_env_tell(&fake, EXPORTER, WF_MSG_GAUGES_ASK, &ask, sizeof ask);
    weft_partition_metrics seen[2];
    for (int i = 0; i < 2; i++) {
        REQUIRE(fake_env_take(&fake, WF_MSG_GAUGES, &sent));
        REQUIRE_EQ(sent.to, EXPORTER);
        seen[i] = ((const wf_gauges *)sent.body)->metrics;
    }
    REQUIRE(seen[0].frontier == -1 && seen[0].committed == -1 && seen[0].gap_count == 0);
    REQUIRE(seen[1].frontier == 101 && seen[1].committed == 101 && seen[1].gap_count == 1);
    REQUIRE(seen[1].metadata_bytes == 7 && seen[1].epoch == 4);
    REQUIRE(fake_env_take(&fake, WF_MSG_GAUGES_END, &sent));
    REQUIRE(((const wf_gauges_end *)sent.body)->ticket == 99);
    committed(&fake, 2, 4, 101, WF_COMMIT_REFUSED); /* changes nothing */
    fake_env_end(&fake);
}

/* --- what outlives an epoch */

/* Slot 0 is lost at epoch 1 with 10 committed, and 10, 11 and 14 of what came completed; a flight of 13 is still out.
 */
static void lose_with_more_than_committed(fake_env *fake) {
    wf_snapshot shot;
    start(fake);
    assign(fake, 0, 1, 10, NULL, 0);
    fetched(fake, 0, 1, 10, 20);
    completed(fake, 0, 1, 10);
    completed(fake, 0, 1, 11);
    completed(fake, 0, 1, 14);
    drained(fake, 0, 1, true);
    REQUIRE(!snapshot(fake, &shot), "it is lost: nothing may be committed");
}

/* What the manager is told of slot 0 at epoch 2; runs are freed with the next call. */
static wf_assigned assigned_again(fake_env *fake, int64_t base) {
    static wf_offset_run *runs;
    wf_assigned assigned = {.topic = "orders", .slot = 0, .epoch = 2, .base = base};
    fake_env_tell(fake, ENCODER, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
    fake_sent sent;
    REQUIRE(fake_env_take(fake, WF_MSG_ASSIGNED, &sent));
    free(runs);
    assigned = *(const wf_assigned *)sent.body;
    runs = assigned.runs;
    return assigned;
}

static bool is_run(const wf_assigned *assigned, uint32_t i, int64_t first, int64_t end) {
    return i < assigned->count && assigned->runs[i].first == first && assigned->runs[i].end == end;
}

Test(offset_tracker, lost_and_back__same_commit__completions_count_on) {
    fake_env fake;
    wf_snapshot shot;
    lose_with_more_than_committed(&fake);
    wf_completed late = {.slot = 0, .epoch = 1, .offset = 13};
    fake_env_tell(&fake, MANAGER, WF_MSG_LATE, &late, sizeof late);

    wf_assigned again = assigned_again(&fake, 10);
    REQUIRE(again.count == 2 && is_run(&again, 0, 10, 12) && is_run(&again, 1, 13, 15));
    fake_env_advance(&fake, interval_ns);
    REQUIRE(!snapshot(&fake, &shot), "the log has not confirmed it");
    fetched(&fake, 0, 2, 10, 20);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot));
    REQUIRE(shot.epoch == 2 && shot.frontier == 12 && shot.count == 1 && shot.runs[0].first == 13);
    completed(&fake, 0, 2, 12);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot) && shot.frontier == 15 && shot.count == 0);
    REQUIRE(!snapshot(&fake, &shot));
    fake_env_end(&fake);
}

Test(offset_tracker, lost_and_back__somebody_else_has_committed__only_that_counts) {
    static const int64_t bases[] = {-1, 0, 9, 11, 12};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        fake_env fake;
        lose_with_more_than_committed(&fake);
        REQUIRE_EQ(assigned_again(&fake, bases[i]).count, 0);
        fake_env_end(&fake);
    }
}

Test(offset_tracker, lost_and_back__log_is_shorter_now__nothing_counts) {
    fake_env fake;
    wf_snapshot shot;
    lose_with_more_than_committed(&fake);
    REQUIRE(assigned_again(&fake, 10).count > 0);
    wf_partition refused = {.slot = 0, .epoch = 2};
    fake_env_tell(&fake, MANAGER, WF_MSG_MAP_REFUSED, &refused, sizeof refused);
    fetched(&fake, 0, 2, 10, 12);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(!snapshot(&fake, &shot));
    completed(&fake, 0, 2, 10);
    fake_env_advance(&fake, interval_ns);
    REQUIRE(snapshot(&fake, &shot) && shot.frontier == 11 && shot.count == 0);
    REQUIRE(!snapshot(&fake, &shot));
    fake_env_end(&fake);
}

Test(offset_tracker, lost_again_before_anything_came__completions_still_count_on) {
    fake_env fake;
    lose_with_more_than_committed(&fake);
    REQUIRE_EQ(assigned_again(&fake, 10).count, 2);
    drained(&fake, 0, 2, true);
    wf_assigned third = {.topic = "orders", .slot = 0, .epoch = 3, .base = 10};
    fake_env_tell(&fake, ENCODER, WF_MSG_ASSIGNED, &third, sizeof third);
    fake_sent sent;
    REQUIRE(fake_env_take(&fake, WF_MSG_ASSIGNED, &sent));
    third = *(const wf_assigned *)sent.body;
    REQUIRE(third.count == 2 && is_run(&third, 0, 10, 12) && is_run(&third, 1, 14, 15));
    free(third.runs);
    fake_env_end(&fake);
}

/* Between two turns, as when a loop is far behind. */
Test(offset_tracker, comes_and_goes_many_times_in_a_turn__told_once) {
    enum { EPOCHS = 100 };
    fake_env fake;
    fake_sent sent;
    size_t rows = 0;
    start(&fake);
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
        wf_assigned assigned = {.topic = "orders", .epoch = epoch, .base = epoch - 1};
        wf_fetched came = {.epoch = epoch, .run = {epoch - 1, epoch}};
        wf_completed done = {.epoch = epoch, .offset = epoch - 1};
        wf_drained gone = {.epoch = epoch};
        fake_env_deliver(&fake, ENCODER, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
        fake_env_deliver(&fake, MANAGER, WF_MSG_FETCHED, &came, sizeof came);
        fake_env_deliver(&fake, MANAGER, WF_MSG_COMPLETED, &done, sizeof done);
        if (epoch < EPOCHS) fake_env_deliver(&fake, MANAGER, WF_MSG_DRAINED, &gone, sizeof gone);
    }
    fake_env_poke(&fake);
    while (fake_env_take(&fake, WF_MSG_PROGRESS, &sent)) rows += sent.body_bytes / sizeof(wf_progress);
    REQUIRE_EQ(rows, 1);
    fake_env_end(&fake);
}

/* Random completions of several partitions: the last PROGRESS and the last SNAPSHOT say what a naive model says. */
Test(offset_tracker, histories__as_a_model_with_one_byte_per_offset) {
    enum { SLOTS = 3, OFFSETS = 400 };
    for (uint64_t stream = 0; stream < 60; stream++) {
        seeded random = seeded_start(8, stream);
        fake_env fake;
        char state[SLOTS][OFFSETS] = {{0}}; /* 0: not fetched, 1: fetched, 2: complete, 3: a hole */
        int64_t end[SLOTS] = {0}, frontier[SLOTS] = {0};
        start(&fake);
        for (uint32_t slot = 0; slot < SLOTS; slot++) assign(&fake, slot, 1, 0, NULL, 0);
        for (int step = 0; step < 600; step++) {
            uint32_t slot = (uint32_t)seeded_below(&random, SLOTS);
            int64_t offset = (int64_t)seeded_below(&random, (uint64_t)end[slot] + 1);
            if (seeded_percent(&random, 30)) {
                int64_t first = end[slot] + (seeded_percent(&random, 20) ? (int64_t)seeded_below(&random, 5) : 0);
                int64_t last = first + 1 + (int64_t)seeded_below(&random, 6);
                if (last > OFFSETS) continue;
                memset(&state[slot][end[slot]], 3, (size_t)(first - end[slot]));
                memset(&state[slot][first], 1, (size_t)(last - first));
                end[slot] = last;
                fetched(&fake, slot, 1, first, last);
            } else if (offset < end[slot] && state[slot][offset] == 1) {
                state[slot][offset] = 2;
                completed(&fake, slot, 1, offset);
            }
            while (frontier[slot] < end[slot] && state[slot][frontier[slot]] >= 2) frontier[slot]++;
            wf_progress told;
            if (progress(&fake, slot, &told)) {
                uint64_t runs = 0;
                char before = 1;
                for (int64_t i = frontier[slot]; i < end[slot]; i++) {
                    if (state[slot][i] == 3) continue;
                    runs += state[slot][i] == 2 && before != 2;
                    before = state[slot][i];
                }
                REQUIRE(told.frontier == frontier[slot] && told.runs == runs, "seed %llu stream %llu step %d",
                        (unsigned long long)random.seed, (unsigned long long)stream, step);
            }
        }
        for (uint32_t slot = 0; slot < SLOTS; slot++) drained(&fake, slot, 1, false);
        wf_snapshot shot;
        while (snapshot(&fake, &shot)) {
            REQUIRE_EQ(shot.frontier, frontier[shot.slot]);
            for (uint32_t i = 0; i < shot.count; i++)
                for (int64_t offset = shot.runs[i].first; offset < shot.runs[i].end; offset++)
                    REQUIRE(state[shot.slot][offset] >= 2, "offset %lld is unfinished", (long long)offset);
        }
        fake_env_end(&fake);
    }
}
