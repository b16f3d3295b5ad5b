/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of workers: who gets the next slice, how large it is, and what is measured.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "require.h"
#include "seeded.h"
#include "workers.h"

TestSuite(workers, .timeout = 60);

static const uint64_t us = 1000;

static void begin(wf_workers *workers, uint32_t slice_max, uint32_t count, double handler_ns) {
    wf_workers_init(workers, slice_max);
    for (uint32_t i = 0; i < count; i++) REQUIRE_EQ(wf_workers_add(workers, 100 + i, i), WEFT_OK);
    workers->handler_ns = handler_ns;
}

/* The lists say what the entries say. */
static void check(const wf_workers *workers) {
    uint32_t counted[WF_SLICES_MAX + 1] = {0}, live = 0;
    for (uint32_t i = 0; i < workers->count; i++) {
        const wf_worker_entry *entry = workers->entries[i];
        REQUIRE(entry->index == i && entry->load <= WF_SLICES_MAX);
        bool listed = !entry->lost && !entry->away;
        if (listed) counted[entry->load]++;
        live += listed;
    }
    REQUIRE_EQ(workers->live, live);
    for (uint32_t load = 0; load <= WF_SLICES_MAX; load++) {
        uint32_t listed = 0;
        for (const wf_worker_entry *entry = workers->by_load[load], *before = NULL; entry; entry = entry->next) {
            REQUIRE(entry->load == load && !entry->lost && !entry->away && entry->prev == before);
            before = entry;
            listed++;
        }
        REQUIRE_EQ(listed, counted[load]);
        REQUIRE_EQ(workers->load_count[load], counted[load]);
    }
}

Test(workers, pick__handlers_worth_a_wake_up__idle_ones_first_then_a_second_slice_each) {
    wf_workers workers;
    begin(&workers, 64, 3, 50.0 * 1000);
    bool seen[3] = {false};
    for (int i = 0; i < 3; i++) {
        wf_worker_entry *entry = wf_workers_pick(&workers);
        REQUIRE(entry && entry->load == 0 && !seen[entry->index]);
        seen[entry->index] = true;
        wf_workers_sent(&workers, entry, NULL, 1, 10);
    }
    for (int i = 0; i < 3; i++) {
        wf_worker_entry *entry = wf_workers_pick(&workers);
        REQUIRE(entry && entry->load == 1);
        wf_workers_sent(&workers, entry, NULL, 1, 10);
        check(&workers);
    }
    REQUIRE(wf_workers_pick(&workers) == NULL);
    wf_workers_deinit(&workers);
}

Test(workers, pick__last_used_first__idle_threads_stay_asleep) {
    wf_workers workers;
    begin(&workers, 64, 4, 50.0 * 1000);
    wf_worker_entry *entry = wf_workers_pick(&workers);
    for (uint64_t i = 0; i < 20; i++) {
        REQUIRE(wf_workers_pick(&workers) == entry);
        wf_workers_sent(&workers, entry, NULL, 1, i);
        wf_workers_done(&workers, entry, 1, i);
        workers.handler_ns = 50e3;
    }
    wf_workers_deinit(&workers);
}

Test(workers, pick__slow_handlers__no_second_slice) {
    wf_workers workers;
    begin(&workers, 64, 1, 6e6);
    wf_worker_entry *entry = wf_workers_pick(&workers);
    wf_workers_sent(&workers, entry, NULL, 1, 1);
    REQUIRE(wf_workers_pick(&workers) == NULL, "its records would wait behind 6 ms for nothing");
    workers.handler_ns = 4e6;
    REQUIRE(wf_workers_pick(&workers) == entry);
    wf_workers_deinit(&workers);
}

Test(workers, slice_size__by_handler_time__as_the_table) {
    static const struct {
        double handler_ns;
        uint32_t idle, busy;
    } rows[] = {{1, 256, 256},  {500, 256, 256}, {1000, 200, 256}, {10e3, 20, 200}, {100e3, 2, 20},
                {200e3, 1, 10}, {1e6, 1, 2},     {10e6, 1, 1},     {3600e9, 1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wf_workers workers;
        begin(&workers, 256, 1, rows[i].handler_ns);
        wf_worker_entry *entry = workers.entries[0];
        REQUIRE_EQ(wf_workers_slice_size(&workers, entry, 1000000), rows[i].idle);
        wf_workers_sent(&workers, entry, NULL, 1, 1);
        REQUIRE_EQ(wf_workers_slice_size(&workers, entry, 1000000), rows[i].busy);
        wf_workers_deinit(&workers);
    }
}

Test(workers, slice_size__little_waits__idle_workers_share_it) {
    for (uint32_t idle = 1; idle <= 8; idle++)
        for (uint64_t waiting = 0; waiting < 40; waiting++) {
            wf_workers workers;
            begin(&workers, 256, idle, 100);
            uint32_t size = wf_workers_slice_size(&workers, workers.by_load[0], waiting);
            uint64_t share = (waiting + idle - 1) / idle;
            REQUIRE_EQ(size, share ? share : 1);
            wf_workers_deinit(&workers);
        }
}

Test(workers, lane_size__is_never_less_than_the_slice_nor_more_than_the_limit) {
    wf_workers workers;
    begin(&workers, 100, 1, 1);
    for (double handler_ns = 1; handler_ns < 1e9; handler_ns *= 1.7) {
        workers.handler_ns = handler_ns;
        uint32_t size = wf_workers_slice_size(&workers, workers.entries[0], 1000);
        uint32_t lane = wf_workers_lane_size(&workers, size);
        REQUIRE(lane >= size && lane <= 100, "%f", handler_ns);
    }
    workers.handler_ns = 1e6;
    REQUIRE_EQ(wf_workers_lane_size(&workers, 1), 16);
    wf_workers_deinit(&workers);
}

Test(workers, handler_time__follows_what_is_measured) {
    wf_workers workers;
    begin(&workers, 256, 1, 100e3);
    wf_worker_entry *entry = workers.entries[0];
    uint64_t now_ns = 1;
    for (int i = 0; i < 60; i++) {
        wf_workers_sent(&workers, entry, NULL, 10, now_ns);
        now_ns += 10 * 20 * us;
        wf_workers_done(&workers, entry, 10, now_ns);
    }
    REQUIRE(workers.handler_ns > 19.9e3 && workers.handler_ns < 20.2e3, "%f", workers.handler_ns);
    double before = workers.handler_ns;
    wf_workers_sent(&workers, entry, NULL, 10, now_ns);
    wf_workers_done(&workers, entry, 0, now_ns + 1000000); /* nothing was run: nothing was measured */
    REQUIRE(workers.handler_ns == before);
    wf_workers_deinit(&workers);
}

Test(workers, busy_since__second_slice_starts_when_the_first_one_ended) {
    wf_workers workers;
    begin(&workers, 256, 1, 100e3);
    wf_worker_entry *entry = workers.entries[0];
    wf_record records[2];
    REQUIRE_EQ(wf_workers_busy_since_ns(entry), 0);
    wf_workers_sent(&workers, entry, &records[0], 1, 100);
    wf_workers_sent(&workers, entry, &records[1], 1, 150);
    REQUIRE_EQ(wf_workers_busy_since_ns(entry), 100);
    entry->overrun = true;
    wf_workers_done(&workers, entry, 1, 400);
    REQUIRE(entry->slices[0].head == &records[1] && !entry->overrun);
    REQUIRE_EQ(wf_workers_busy_since_ns(entry), 400);
    wf_workers_done(&workers, entry, 1, 450);
    REQUIRE_EQ(wf_workers_busy_since_ns(entry), 0);
    wf_workers_deinit(&workers);
}

/* Random work: the lists stay right, a pick never takes somebody who has no room, lost ones get nothing. */
Test(workers, histories__lists_and_picks_stay_right) {
    for (uint64_t stream = 0; stream < 40; stream++) {
        seeded random = seeded_start(31, stream);
        wf_workers workers;
        begin(&workers, 64, 1 + (uint32_t)seeded_below(&random, 12), 50e3);
        uint64_t now_ns = 1;
        for (int step = 0; step < 2000; step++) {
            now_ns += seeded_below(&random, 100000);
            wf_worker_entry *any = workers.entries[seeded_below(&random, workers.count)];
            wf_worker_entry *picked = wf_workers_pick(&workers);
            uint64_t dice = seeded_below(&random, 1000);
            if (picked) REQUIRE(!picked->lost && picked->load < WF_SLICES_MAX);
            if (!picked && workers.handler_ns < 5e6 && !workers.single)
                REQUIRE_EQ(workers.load_count[0] + workers.load_count[1], 0);
            if (dice < 500 && picked)
                wf_workers_sent(&workers, picked, NULL, 1 + (uint32_t)(dice % 7), now_ns);
            else if (dice < 995 && any->load)
                wf_workers_done(&workers, any, (uint32_t)(dice % 5), now_ns);
            else if (dice == 998 && !any->lost && workers.live > 1)
                wf_workers_lose(&workers, any);
            else if (dice == 999 && workers.count < 40)
                wf_workers_add(&workers, 500, workers.count);
            check(&workers);
        }
        wf_workers_deinit(&workers);
    }
}

/* What messages between processes cost is in the measured time: 2 us for each of the records below, mostly that. */
Test(workers, slice_size__other_processes__long_against_the_way_there) {
    wf_workers workers;
    begin(&workers, 256, 2, 2.0 * 1000);
    REQUIRE_EQ(wf_workers_slice_size(&workers, workers.entries[0], 100000), 100);
    workers.remote = true;
    REQUIRE_EQ(wf_workers_slice_size(&workers, workers.entries[0], 100000), 256);
    REQUIRE_EQ(wf_workers_slice_size(&workers, workers.entries[0], 20), 10);
    workers.handler_ns = 50.0 * 1000;
    REQUIRE_EQ(wf_workers_slice_size(&workers, workers.entries[0], 100000), 20);
    wf_workers_deinit(&workers);
}
