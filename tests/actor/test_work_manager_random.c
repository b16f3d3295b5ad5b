/* SPDX-License-Identifier: Apache-2.0
 *
 * Random histories of the work manager: workers that fail, defer and dawdle, completions that come early, partitions
 * that go and come back with what was not committed. Judged from outside: by what runs when, and by what came home in
 * the end.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "require.h"
#include "seeded.h"
#include "work_desk.h"

TestSuite(work_manager_random, .timeout = 120);

enum { SLOTS = 4, WORKERS = 5, KEYS = 6, OFFSETS = 4000, FLIGHTS = 4096 };

typedef struct flight {
    wf_slice slice;
    bool used;
} flight;

typedef struct deferred {
    wf_record *record;
    bool early; /* completed before its DONE */
} deferred;

typedef struct city {
    work_desk desk;
    wf_work_manager_options options;
    seeded random;
    flight flights[WORKERS][WF_SLICES_MAX]; /* oldest first */
    uint32_t flight_count[WORKERS];
    wf_record *parked[FLIGHTS];
    uint32_t parked_count;
    int64_t next[SLOTS]; /* offset to deliver */
    int64_t committed[SLOTS];
    uint32_t running[SLOTS][KEYS + 1]; /* records of a key that run: lent as its slice's first, or deferred */
    int64_t running_offset[SLOTS][KEYS + 1];
    uint8_t run_in_epoch[SLOTS][OFFSETS]; /* low 8 bits of the epoch in which the offset was finished */
    uint64_t key_of[SLOTS][OFFSETS];
    uint32_t lent;
    uint32_t step;
    bool calm; /* no more failures */
} city;

#define JUDGE(town, condition, text)                                                                                   \
    REQUIRE(condition, "%s: seed %llu step %u", text, (unsigned long long)(town)->random.seed, (town)->step)

static void begin(city *town, uint64_t stream) {
    memset(town, 0, sizeof *town);
    town->random = seeded_start(99, stream);
    seeded *random = &town->random;
    town->options = desk_options();
    town->options.ordering = (wf_ordering)(stream % 3);
    town->options.null_key_serial = seeded_percent(random, 50);
    town->options.batch = seeded_percent(random, 25);
    town->options.slice_max_records = 1 + (uint32_t)seeded_below(random, 12);
    town->options.in_flight_max_records = 4 + (uint32_t)seeded_below(random, 60);
    town->options.in_flight_max_bytes = 2000 + seeded_below(random, 60000);
    town->options.pending_max_records = 3 + (uint32_t)seeded_below(random, 40);
    town->options.map_span = seeded_percent(random, 50) ? 1 << 20 : 16;
    town->options.map_runs = town->options.map_span == 16 ? 4 + seeded_below(random, 20) : 1 << 20;
    desk_start(&town->desk, &town->options, WORKERS);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        for (int i = 0; i < OFFSETS; i++)
            town->key_of[slot][i] = seeded_percent(random, 15) ? 0 : 1 + seeded_below(random, KEYS);
        desk_assign(&town->desk, slot, 0, NULL, 0);
    }
}

/* Does the order matter for this record, and under which name? */
static bool name_of(const city *town, const wf_record *record, uint32_t *ret_name) {
    if (town->options.ordering == WF_ORDER_UNORDERED) return false;
    bool null_key = record->key_bytes < 0;
    if (town->options.ordering == WF_ORDER_KEY && null_key && !town->options.null_key_serial) return false;
    *ret_name = town->options.ordering == WF_ORDER_PARTITION ? 0 : (uint32_t)record->key_hash;
    return true;
}

static void judge_start(city *town, const wf_slice *slice) {
    for (const wf_record *record = slice->head; record; record = record->next) {
        uint32_t name;
        if (!name_of(town, record, &name)) continue;
        uint32_t *running = &town->running[record->slot][name];
        bool same_slice = false;
        for (const wf_record *before = slice->head; before != record; before = before->next)
            same_slice = same_slice || before->lane == record->lane;
        JUDGE(town, *running == 0 || same_slice, "two of a key run at once");
        JUDGE(town, !same_slice || (!town->options.batch && record->offset > town->running_offset[record->slot][name]),
              "order within the slice");
        *running += 1;
        town->running_offset[record->slot][name] = record->offset;
        for (int64_t offset = desk_frontier(&town->desk, record->slot); offset < record->offset; offset++) {
            wf_record other = {.key_hash = town->key_of[record->slot][offset],
                               .key_bytes = town->key_of[record->slot][offset] ? 8 : -1};
            uint32_t other_name;
            bool matters = name_of(town, &other, &other_name) && other_name == name;
            bool in_slice = false;
            for (const wf_record *before = slice->head; before != record; before = before->next)
                in_slice = in_slice || (before->offset == offset && before->slot == record->slot);
            JUDGE(town, !matters || in_slice || desk_completed(&town->desk, record->slot, offset),
                  "an earlier one of its key is not finished");
        }
    }
}

static void judge_end(city *town, const wf_record *record) {
    uint32_t name;
    if (name_of(town, record, &name)) town->running[record->slot][name]--;
}

static void pick_up_work(city *town) {
    wf_slice slice;
    while (desk_work(&town->desk, &slice)) {
        JUDGE(town, town->flight_count[slice.worker] < WF_SLICES_MAX, "a third slice");
        JUDGE(town, slice.count <= town->options.slice_max_records, "a slice too long");
        judge_start(town, &slice);
        town->flights[slice.worker][town->flight_count[slice.worker]++].slice = slice;
        town->lent += slice.count;
        JUDGE(town, town->lent <= town->options.in_flight_max_records, "too many in flight");
    }
}

static void step_feed(city *town) {
    uint32_t slot = (uint32_t)seeded_below(&town->random, SLOTS);
    uint64_t in_hand = town->desk.given_records - town->desk.home_blocks;
    if (!town->desk.slots[slot].assigned || town->calm || in_hand > 300) return;
    wf_chain records = {0};
    for (uint64_t i = 1 + seeded_below(&town->random, 20); i > 0 && town->next[slot] < OFFSETS; i--) {
        int64_t offset = town->next[slot]++;
        wf_chain_push(&records, desk_record(&town->desk, slot, offset, town->key_of[slot][offset]));
    }
    if (records.head) desk_arrive(&town->desk, &records);
}

static void unpark(city *town, wf_record *record) {
    bool fail = !town->calm && seeded_percent(&town->random, 25);
    judge_end(town, record);
    desk_unpark(&town->desk, record, fail ? WF_DONE_FAILURE : WF_DONE_SUCCESS);
}

/* A worker ends its oldest slice. Failures and deferrals close the lane for the rest of the slice. */
static void step_done(city *town) {
    uint32_t worker = (uint32_t)seeded_below(&town->random, WORKERS);
    if (town->flight_count[worker] == 0) return;
    wf_slice slice = town->flights[worker][0].slice;
    town->flights[worker][0] = town->flights[worker][1];
    town->flight_count[worker]--;
    town->lent -= slice.count;
    char statuses[512];
    const void *closed = NULL;
    uint32_t i = 0;
    wf_record *early = NULL;
    for (wf_record *record = slice.head; record; record = record->next, i++) {
        uint64_t dice = town->calm ? 99 : seeded_below(&town->random, 100);
        bool unrun = closed && closed == record->lane;
        statuses[i] = unrun ? 'u' : dice < 12 ? 'f' : dice < 24 ? 'p' : 's';
        if (statuses[i] != 's' && !(record->flags & WF_RECORD_ANY_ORDER) && !town->options.batch) closed = record->lane;
        if (statuses[i] == 'p' && !early && seeded_percent(&town->random, 25))
            early = record;
        else if (statuses[i] == 'p')
            town->parked[town->parked_count++] = record;
        if (statuses[i] != 'p') judge_end(town, record);
    }
    statuses[i] = '\0';
    if (early) unpark(town, early);
    desk_done_each(&town->desk, slice, statuses);
}

static void step_unpark(city *town) {
    if (town->parked_count == 0) return;
    uint32_t i = (uint32_t)seeded_below(&town->random, town->parked_count);
    wf_record *record = town->parked[i];
    town->parked[i] = town->parked[--town->parked_count];
    unpark(town, record);
}

/* Gone partitions come back and begin where the last commit was. */
static void step_rebalance(city *town) {
    uint32_t slot = (uint32_t)seeded_below(&town->random, SLOTS);
    desk_slot *state = &town->desk.slots[slot];
    wf_work_manager_state *manager = town->desk.fake.actor.self;
    if (!state->assigned) {
        town->next[slot] = town->committed[slot];
        desk_assign(&town->desk, slot, town->committed[slot], NULL, 0);
    } else if (manager->slots[slot].phase == WF_WORK_ACTIVE) {
        bool lost = seeded_percent(&town->random, 30);
        if (!lost) town->committed[slot] = desk_frontier(&town->desk, slot); /* at least that much */
        desk_revoke(&town->desk, slot, town->desk.fake.now_ns + seeded_below(&town->random, 3) * 50000000, lost);
    }
}

static void step(city *town) {
    uint64_t dice = seeded_below(&town->random, 100);
    if (dice < 20)
        step_feed(town);
    else if (dice < 70)
        step_done(town);
    else if (dice < 84)
        step_unpark(town);
    else if (dice < 97)
        desk_advance_ms(&town->desk, seeded_below(&town->random, 60));
    else if (!town->calm)
        step_rebalance(town);
    pick_up_work(town);
}

/* Everything succeeds from now on: everything must come to its end. */
static void run_dry(city *town) {
    town->calm = true;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (town->desk.slots[slot].assigned) continue;
        town->next[slot] = town->committed[slot];
        desk_assign(&town->desk, slot, town->committed[slot], NULL, 0);
    }
    for (int idle = 0; idle < 40000; idle++) {
        step(town);
        if (town->parked_count == 0 && town->lent == 0 && town->desk.home_blocks == town->desk.given_records) break;
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (town->desk.slots[slot].assigned && town->desk.slots[slot].started)
            JUDGE(town, desk_frontier(&town->desk, slot) == town->next[slot], "a record never ran");
    JUDGE(town, town->desk.credit_records == town->desk.given_records, "credit");
    JUDGE(town, town->desk.credit_bytes == town->desk.given_bytes, "credit bytes");
    wf_lanes_check(&((wf_work_manager_state *)town->desk.fake.actor.self)->lanes);
}

static void run(uint64_t stream) {
    city *town = must_alloc(1, sizeof *town);
    begin(town, stream);
    for (town->step = 0; town->step < 1500; town->step++) step(town);
    run_dry(town);
    desk_end(&town->desk);
    free(town);
}

Test(work_manager_random, histories__key_order) {
    for (uint64_t stream = 0; stream < 240; stream += 3) run(stream);
}

Test(work_manager_random, histories__partition_order) {
    for (uint64_t stream = 1; stream < 240; stream += 3) run(stream);
}

Test(work_manager_random, histories__unordered) {
    for (uint64_t stream = 2; stream < 240; stream += 3) run(stream);
}
