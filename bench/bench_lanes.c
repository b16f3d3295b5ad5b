/* SPDX-License-Identifier: Apache-2.0
 *
 * The lanes alone: ns per record to queue it, to fill a slice with it and to finish it, with a queue of constant
 * length. Records are blocks of some hundred bytes that are used in turn, so that a long queue costs the cache misses
 * that it costs in life.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lanes.h"
#include "stats.h"

enum { RECORDS = 1 << 21, REPETITIONS = 7, BATCH = 512, SLICE = 64, VALUE_BYTES = 100 };

typedef enum phase { PHASE_PUSH, PHASE_FILL, PHASE_FINISH, PHASE_ALL, PHASES } phase;

typedef struct lanes_case {
    uint64_t keys;
    uint32_t queued;
    double ns[PHASES][REPETITIONS + 1];
    size_t repetition;
} lanes_case;

typedef struct rig {
    const lanes_case *scenario;
    wf_lanes lanes;
    wf_record **free_records; /* a ring */
    uint32_t free_first;
    uint32_t free_count;
    uint32_t room;
    uint64_t random;
    int64_t offset;
    uint64_t ns[PHASES];
} rig;

static uint64_t next_random(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void give(rig *self, wf_record *record) {
    self->free_records[(self->free_first + self->free_count++) % self->room] = record;
}

static void push(rig *self, uint32_t count) {
    wf_record *batch[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        batch[i] = self->free_records[self->free_first];
        self->free_first = (self->free_first + 1) % self->room;
        self->free_count--;
        uint64_t key = next_random(&self->random) % self->scenario->keys;
        batch[i]->key_hash = next_random(&key);
        batch[i]->offset = self->offset++;
        batch[i]->attempt = 1;
    }
    uint64_t begin_ns = stats_now_ns();
    for (uint32_t i = 0; i < count; i++) wf_lanes_add(&self->lanes, batch[i]);
    self->ns[PHASE_PUSH] += stats_now_ns() - begin_ns;
}

/* Slices until `count` records are out; then they are finished in the same order. */
static void pass(rig *self, uint32_t count) {
    wf_take take = {.records_max = SLICE, .lane_max = SLICE, .bytes_max = UINT64_MAX, .retries = true};
    wf_chain slices[BATCH];
    uint32_t slice_count = 0, taken = 0;
    uint64_t begin_ns = stats_now_ns();
    while (taken < count && slice_count < BATCH) {
        wf_lanes_take(&self->lanes, &take, &slices[slice_count]);
        if (slices[slice_count].count == 0) break;
        taken += slices[slice_count++].count;
    }
    uint64_t filled_ns = stats_now_ns();
    for (uint32_t i = 0; i < slice_count; i++)
        for (wf_record *record = slices[i].head; record; record = record->next) wf_lanes_finish(&self->lanes, record);
    self->ns[PHASE_FINISH] += stats_now_ns() - filled_ns;
    self->ns[PHASE_FILL] += filled_ns - begin_ns;
    for (uint32_t i = 0; i < slice_count; i++) {
        wf_record *record;
        while ((record = wf_chain_pop(&slices[i])) != NULL) give(self, record);
    }
}

static void make_rig(rig *self, const lanes_case *scenario) {
    *self = (rig){.scenario = scenario, .room = scenario->queued + 4 * BATCH, .random = 7};
    if (wf_lanes_init(&self->lanes, WF_ORDER_KEY, false, 32) != WEFT_OK) abort();
    if (wf_lanes_reserve_slot(&self->lanes, 0) != WEFT_OK) abort();
    self->free_records = malloc(self->room * sizeof(wf_record *));
    if (!self->free_records) abort();
    for (uint32_t i = 0; i < self->room; i++) {
        wf_record *record = calloc(1, sizeof *record + VALUE_BYTES);
        if (!record) abort();
        record->key_bytes = 8;
        record->block_bytes = (uint32_t)(sizeof *record + VALUE_BYTES);
        give(self, record);
    }
    while (self->lanes.queued < scenario->queued) push(self, BATCH);
}

static void free_rig(rig *self) {
    wf_take take = {.records_max = SLICE, .lane_max = SLICE, .bytes_max = UINT64_MAX, .retries = true};
    wf_chain slice;
    for (wf_lanes_take(&self->lanes, &take, &slice); slice.head; wf_lanes_take(&self->lanes, &take, &slice))
        for (wf_record *record = slice.head, *next; record; record = next) {
            next = record->next;
            wf_lanes_finish(&self->lanes, record);
            free(record);
        }
    for (uint32_t i = 0; i < self->free_count; i++) free(self->free_records[(self->free_first + i) % self->room]);
    free(self->free_records);
    wf_lanes_deinit(&self->lanes);
}

static double run_scenario(void *argument) {
    lanes_case *scenario = argument;
    rig own;
    make_rig(&own, scenario);
    int64_t begin = own.offset;
    for (int i = 0; i < PHASES; i++) own.ns[i] = 0;
    while (own.offset - begin < RECORDS) {
        push(&own, BATCH);
        pass(&own, BATCH);
    }
    double all = 0;
    for (int i = 0; i < PHASE_ALL; i++) {
        scenario->ns[i][scenario->repetition] = (double)own.ns[i] / RECORDS;
        all += (double)own.ns[i] / RECORDS;
    }
    scenario->repetition++;
    free_rig(&own);
    return all;
}

int main(void) {
    static lanes_case scenarios[] = {{10, 8000, {{0}}, 0},     {10, 32000, {{0}}, 0},     {10000, 8000, {{0}}, 0},
                                     {10000, 32000, {{0}}, 0}, {1000000, 8000, {{0}}, 0}, {1000000, 32000, {{0}}, 0}};
    printf("wf_lanes, ns per record, %d records, slices of %d, medians of %d repetitions (sum: min, median, max)\n\n",
           RECORDS, SLICE, REPETITIONS);
    printf("| %9s | %7s | %6s | %6s | %6s | %6s | %6s | %6s |\n", "keys", "queued", "push", "fill", "finish", "min",
           "sum", "max");
    printf("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        lanes_case *scenario = &scenarios[i];
        stats_spread all = stats_repeat(run_scenario, scenario, REPETITIONS);
        double median[PHASES];
        for (int p = 0; p < PHASE_ALL; p++) /* the first one was the warm-up */
            median[p] = stats_of(scenario->ns[p] + 1, REPETITIONS).median;
        printf("| %9llu | %7u | %6.1f | %6.1f | %6.1f | %6.1f | %6.1f | %6.1f |\n", (unsigned long long)scenario->keys,
               scenario->queued, median[PHASE_PUSH], median[PHASE_FILL], median[PHASE_FINISH], all.min, all.median,
               all.max);
    }
    return 0;
}
