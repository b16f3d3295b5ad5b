/* SPDX-License-Identifier: Apache-2.0
 *
 * The lanes: random histories against a naive model, and the rules that need a name.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "lanes_model.h"
#include "must.h"
#include "require.h"
#include "seeded.h"

TestSuite(lanes, .timeout = 120);

/* --- one history */

typedef struct shape {
    const char *name;
    wf_ordering ordering;
    bool null_key_serial;
    uint32_t keys;         /* distinct ones per slot */
    unsigned null_percent; /* of records */
    uint32_t records;      /* in hand at most */
    uint32_t steps;
    uint32_t check_every;
} shape;

typedef struct history {
    const shape *form;
    seeded random;
    wf_lanes lanes;
    lanes_model model;
    model_list in_hand; /* all records that are not finished */
    model_list expected;
    wf_record **free_records;
    size_t free_count;
    uint64_t now_ns;
    int64_t next_offset[MODEL_SLOTS];
    int64_t gate[MODEL_SLOTS]; /* offsets from here on may not start */
    uint64_t *last_seq;        /* by slot and key hash: sequence of the last finished record of a closed lane */
    uint64_t next_seq;
    uint32_t step;
} history;

static bool admit(void *context, const wf_record *record) {
    const history *run = context;
    return record->offset < run->gate[record->slot];
}

static void begin(history *run, const shape *form, uint64_t stream) {
    *run = (history){.form = form, .random = seeded_start(4242, stream), .next_seq = 1};
    REQUIRE_EQ(wf_lanes_init(&run->lanes, form->ordering, form->null_key_serial, 7), WEFT_OK);
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        REQUIRE_EQ(wf_lanes_reserve_slot(&run->lanes, slot), WEFT_OK);
        REQUIRE_EQ(wf_lanes_group_slot(&run->lanes, slot, slot % MODEL_GROUPS), WEFT_OK);
        run->gate[slot] = INT64_MAX;
    }
    model_init(&run->model, form->ordering, form->null_key_serial, form->records);
    run->free_records = must_alloc(form->records, sizeof(wf_record *));
    run->last_seq = must_alloc((size_t)MODEL_SLOTS * form->keys, sizeof(uint64_t));
    for (uint32_t i = 0; i < form->records; i++) {
        wf_record *record = must_alloc(1, sizeof *record);
        record->timestamp_ms = i;
        run->free_records[run->free_count++] = record;
    }
}

static void end(history *run) {
    wf_lanes_deinit(&run->lanes);
    model_deinit(&run->model);
    for (size_t i = 0; i < run->in_hand.count; i++) free(run->in_hand.items[i]);
    for (size_t i = 0; i < run->free_count; i++) free(run->free_records[i]);
    model_list_free(&run->in_hand);
    model_list_free(&run->expected);
    free(run->free_records);
    free(run->last_seq);
}

static void check(history *run, const char *what) {
    char text[MODEL_TEXT];
    if (run->step % run->form->check_every) return;
    wf_lanes_check(&run->lanes);
    if (model_differs(&run->model, &run->lanes, text))
        cr_fatal("%s, seed %llu, step %u, after %s: %s", run->form->name, (unsigned long long)run->random.seed,
                 run->step, what, text);
}

/* --- steps */

static void forget(history *run, wf_record *record) {
    size_t at = 0;
    while (run->in_hand.items[at] != record) at++;
    run->in_hand.items[at] = run->in_hand.items[--run->in_hand.count];
    run->free_records[run->free_count++] = record;
}

static void step_add(history *run) {
    uint64_t burst = 1 + seeded_below(&run->random, 12);
    for (uint64_t i = 0; i < burst && run->free_count; i++) {
        wf_record *record = run->free_records[--run->free_count];
        int64_t id = record->timestamp_ms;
        uint32_t slot = (uint32_t)seeded_below(&run->random, MODEL_SLOTS);
        *record = (wf_record){.timestamp_ms = id, .slot = slot, .attempt = 1, .key_bytes = 4};
        /* Offsets repeat now and then: a redelivery after its epoch. The sequence number goes where lanes don't look.
         */
        record->offset = run->next_offset[slot];
        if (!seeded_percent(&run->random, 5)) run->next_offset[slot]++;
        record->received_ns = run->next_seq++;
        record->block_bytes = 100 + (uint32_t)seeded_below(&run->random, seeded_percent(&run->random, 5) ? 20000 : 300);
        if (seeded_percent(&run->random, run->form->null_percent))
            record->key_bytes = -1;
        else
            record->key_hash = 1 + seeded_below(&run->random, run->form->keys);
        model_push(&run->in_hand, record);
        model_add(&run->model, record);
        wf_lanes_add(&run->lanes, record);
        REQUIRE_EQ((record->flags & WF_RECORD_ANY_ORDER) != 0, run->model.lane_of[id]->open);
    }
}

/* What invariants 1, 2 and 4 say of a slice, whatever the model thinks. */
static void check_slice(const history *run, const wf_take *take, const wf_chain *slice) {
    uint32_t retries = 0;
    uint64_t bytes = 0;
    const void *seen[512];
    size_t seen_count = 0;
    for (const wf_record *record = slice->head; record; record = record->next) {
        const model_lane *lane = run->model.lane_of[model_id(record)];
        bool first_of_lane = record == slice->head || seen[seen_count - 1] != record->lane;
        REQUIRE(!(run->model.stopped[record->slot]));
        REQUIRE(record->offset < run->gate[record->slot]);
        REQUIRE(!(first_of_lane && lane->out.items[0] != record && !lane->open), "a closed lane is out twice");
        for (size_t i = 0; first_of_lane && i < seen_count; i++) REQUIRE(seen[i] != record->lane, "not contiguous");
        REQUIRE(!(!first_of_lane && take->one_per_lane && !lane->open));
        REQUIRE(bytes == 0 || bytes + record->block_bytes <= take->bytes_max);
        if (first_of_lane && seen_count < 512) seen[seen_count++] = record->lane;
        retries += record->attempt > 1;
        bytes += record->block_bytes;
    }
    REQUIRE(retries <= (take->retries ? 1 : 0));
    REQUIRE_EQ(bytes, slice->bytes);
    REQUIRE(slice->count <= take->records_max || (seen_count == 1 && slice->count <= take->lane_max));
}

/* No ready lane may be passed over more often than lanes stood before it. */
static void check_fairness(history *run, model_list *ready_before) {
    bool served = false;
    for (size_t i = 0; i < run->expected.count; i++)
        served = served || ((wf_record *)run->expected.items[i])->attempt == 1;
    for (size_t i = 0; i < ready_before->count && served; i++) {
        model_lane *lane = ready_before->items[i];
        size_t at = 0;
        while (at < run->model.lanes.count && run->model.lanes.items[at] != lane) at++;
        if (at == run->model.lanes.count || lane->place != MODEL_READY) continue;
        bool got_some = false;
        for (size_t r = 0; r < run->expected.count; r++)
            got_some = got_some || run->model.lane_of[model_id(run->expected.items[r])] == lane;
        if (!got_some) REQUIRE(++lane->passed_over <= lane->passes_max, "a lane starves");
    }
}

static void step_take(history *run) {
    seeded *random = &run->random;
    wf_take take = {.records_max = 1 + (uint32_t)seeded_below(random, seeded_percent(random, 50) ? 4 : 64),
                    .bytes_max = seeded_below(random, seeded_percent(random, 30) ? 1000 : 100000),
                    .one_per_lane = seeded_percent(random, 20),
                    .retries = seeded_percent(random, 60),
                    .admit = admit,
                    .context = run};
    take.lane_max =
        seeded_percent(random, 50) ? take.records_max : take.records_max + (uint32_t)seeded_below(random, 16);
    model_list before = {0};
    for (size_t i = 0; i < run->model.ready.count; i++) model_push(&before, run->model.ready.items[i]);
    wf_chain slice;
    model_take(&run->model, &take, &run->expected);
    wf_lanes_take(&run->lanes, &take, &slice);
    REQUIRE(slice.count == run->expected.count, "%s seed %llu step %u", run->form->name,
            (unsigned long long)random->seed, run->step);
    size_t i = 0;
    for (const wf_record *record = slice.head; record; record = record->next)
        REQUIRE_EQ((void *)(uintptr_t)record, run->expected.items[i++]);
    check_slice(run, &take, &slice);
    check_fairness(run, &before);
    for (wf_record *record = slice.head; record; record = record->next) record->state = WF_RECORD_LENT;
    model_list_free(&before);
}

static model_lane *any_lane_with_out(history *run) {
    if (run->model.lanes.count == 0) return NULL;
    size_t start = seeded_below(&run->random, run->model.lanes.count);
    for (size_t i = 0; i < run->model.lanes.count; i++) {
        model_lane *lane = run->model.lanes.items[(start + i) % run->model.lanes.count];
        if (lane->out.count) return lane;
    }
    return NULL;
}

static void finish(history *run, wf_record *record, const model_lane *lane) {
    if (!lane->open && record->key_bytes >= 0 && run->form->ordering == WF_ORDER_KEY) {
        uint64_t *last = &run->last_seq[record->slot * run->form->keys + record->key_hash - 1];
        REQUIRE(*last < record->received_ns, "a key went backwards");
        *last = record->received_ns;
    }
    model_finish(&run->model, record);
    wf_lanes_finish(&run->lanes, record);
    REQUIRE(record->lane == NULL);
    forget(run, record);
}

/* What engines do: the first ones of a lane succeed, and then one fails and the rest comes back; or all succeed. */
static void step_come_back(history *run) {
    model_lane *lane = any_lane_with_out(run);
    if (!lane) return;
    size_t count = lane->out.count;
    size_t good = seeded_percent(&run->random, 60) ? count : seeded_below(&run->random, count);
    size_t first = lane->open ? seeded_below(&run->random, count - good + 1) : 0;
    bool all = good == count;
    for (size_t i = 0; i < good; i++) {
        wf_record *record = lane->out.items[first];
        finish(run, record, lane); /* the last one may end the lane */
    }
    if (all) return;
    wf_chain back = {0};
    first = lane->open ? seeded_below(&run->random, lane->out.count) : 0;
    /* Of a closed lane, now and then only the tail comes back and the head stays out: it was deferred. */
    if (!lane->open && seeded_percent(&run->random, 25)) first = seeded_below(&run->random, lane->out.count);
    for (size_t i = first; i < lane->out.count; i++) wf_chain_push(&back, lane->out.items[i]);
    bool deferred_head = !lane->open && first > 0;
    uint64_t retry_ns = deferred_head || seeded_percent(&run->random, 40)
                            ? 0
                            : run->now_ns + 1000 * seeded_below(&run->random, 50) + run->step % 1000 + 1;
    uint32_t back_count = back.count;
    if (retry_ns || (!lane->open && seeded_percent(&run->random, deferred_head ? 20 : 100))) back.head->attempt++;
    if (lane->open && retry_ns) back_count = 1; /* each alone: equal times would leave their order open */
    if (back_count < back.count) {
        wf_record *head = back.head;
        back = (wf_chain){0};
        wf_chain_push(&back, head);
    }
    wf_record *failed = back.head;
    bool alone = lane->open && retry_ns;
    model_give_back(&run->model, lane, first, back_count, retry_ns);
    wf_lanes_give_back(&run->lanes, &back, retry_ns);
    REQUIRE(back.head == NULL);
    REQUIRE(!alone || !(failed->flags & WF_RECORD_ANY_ORDER), "its failure must close its own lane");
}

static wf_record *any_queued(history *run) {
    if (run->in_hand.count == 0) return NULL;
    wf_record *record = run->in_hand.items[seeded_below(&run->random, run->in_hand.count)];
    return record->state == WF_RECORD_QUEUED ? record : NULL;
}

static void step_remove(history *run) {
    wf_record *record = any_queued(run);
    if (!record) return;
    const model_lane *lane = run->model.lane_of[model_id(record)];
    REQUIRE_EQ(wf_lanes_head(record), lane->queue.items[0]);
    bool is_head = lane->queue.items[0] == record;
    model_remove(&run->model, record);
    if (is_head && seeded_percent(&run->random, 50))
        wf_lanes_remove_head(&run->lanes, record);
    else
        wf_lanes_remove(&run->lanes, record);
    forget(run, record);
}

static void step_control(history *run) {
    uint32_t slot = (uint32_t)seeded_below(&run->random, MODEL_SLOTS);
    wf_record *record = any_queued(run);
    switch (seeded_below(&run->random, 5)) {
    case 0:
        if (!record) break;
        model_urge(&run->model, record);
        wf_lanes_urge(&run->lanes, record);
        break;
    case 1: {
        bool stop = !run->model.stopped[slot] && seeded_percent(&run->random, 30);
        model_stop_slot(&run->model, slot, stop);
        wf_lanes_stop_slot(&run->lanes, slot, stop);
        break;
    }
    case 2:
        run->gate[slot] = seeded_percent(&run->random, 50) ? INT64_MAX : run->next_offset[slot] - 20;
        break;
    case 3:
        model_unpark(&run->model, slot);
        wf_lanes_unpark(&run->lanes, slot);
        break;
    default:
        run->now_ns += 1000 * seeded_below(&run->random, 20);
        model_expire(&run->model, run->now_ns);
        wf_lanes_expire(&run->lanes, run->now_ns);
        break;
    }
}

/* Open everything, take and finish until nothing is left: then nothing may be left anywhere. */
static void run_dry(history *run) {
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        run->gate[slot] = INT64_MAX;
        model_stop_slot(&run->model, slot, false);
        wf_lanes_stop_slot(&run->lanes, slot, false);
    }
    run->now_ns += 1000000;
    model_expire(&run->model, run->now_ns);
    wf_lanes_expire(&run->lanes, run->now_ns);
    while (run->in_hand.count) {
        model_lane *lane;
        while ((lane = any_lane_with_out(run)) != NULL) finish(run, lane->out.items[0], lane);
        REQUIRE(run->in_hand.count == 0 || wf_lanes_ready_count(&run->lanes) > 0, "records are stuck");
        step_take(run);
        run->step++;
        check(run, "running dry");
    }
    REQUIRE_EQ(run->lanes.lane_count, 0);
    REQUIRE_EQ(run->lanes.queued, 0);
    for (uint32_t i = 0; i < MODEL_GROUPS * 7; i++) REQUIRE_EQ(run->lanes.virtual_queued[i], 0);
}

static void run_history(const shape *form, uint64_t stream) {
    history run;
    begin(&run, form, stream);
    for (run.step = 0; run.step < form->steps; run.step++) {
        /* Tides: some stretches fill, some empty. */
        unsigned fill = run.step / 500 % 2 ? 15 : 35;
        uint64_t dice = seeded_below(&run.random, 100);
        const char *what = dice < fill ? "add"
                           : dice < 60 ? "take"
                           : dice < 90 ? "come back"
                           : dice < 93 ? "remove"
                                       : "control";
        if (dice < fill)
            step_add(&run);
        else if (dice < 60)
            step_take(&run);
        else if (dice < 90)
            step_come_back(&run);
        else if (dice < 93)
            step_remove(&run);
        else
            step_control(&run);
        check(&run, what);
    }
    run_dry(&run);
    end(&run);
}

static const shape shapes[] = {
    {"few keys", WF_ORDER_KEY, false, 3, 10, 120, 6000, 1},
    {"keys, null keys open", WF_ORDER_KEY, false, 40, 30, 300, 6000, 1},
    {"keys, null keys serial", WF_ORDER_KEY, true, 40, 30, 300, 6000, 1},
    {"partition", WF_ORDER_PARTITION, false, 40, 30, 200, 6000, 1},
    {"unordered", WF_ORDER_UNORDERED, false, 40, 30, 200, 6000, 1},
    {"many keys: the table grows", WF_ORDER_KEY, false, 100000, 2, 6000, 3000, 97},
};

static void run_shape(size_t index, uint64_t histories) {
    for (uint64_t stream = 0; stream < histories; stream++) run_history(&shapes[index], 100 * index + stream);
}

Test(lanes, histories__few_keys__as_the_model) {
    run_shape(0, 30);
}

Test(lanes, histories__keys_with_open_null_keys__as_the_model) {
    run_shape(1, 20);
}

Test(lanes, histories__keys_with_serial_null_keys__as_the_model) {
    run_shape(2, 20);
}

Test(lanes, histories__partition__as_the_model) {
    run_shape(3, 20);
}

Test(lanes, histories__unordered__as_the_model) {
    run_shape(4, 20);
}

Test(lanes, histories__many_keys__table_grows_and_empties) {
    run_shape(5, 2);
}

/* --- rules that need a name */

typedef struct small {
    wf_lanes lanes;
    wf_record records[8];
} small;

static void begin_small(small *set, wf_ordering ordering) {
    *set = (small){0};
    REQUIRE_EQ(wf_lanes_init(&set->lanes, ordering, false, 4), WEFT_OK);
    REQUIRE_EQ(wf_lanes_reserve_slot(&set->lanes, 1), WEFT_OK);
}

static wf_record *add(small *set, int i, uint64_t key_hash, uint32_t bytes) {
    set->records[i] =
        (wf_record){.offset = i, .key_hash = key_hash, .key_bytes = 1, .attempt = 1, .block_bytes = bytes};
    wf_lanes_add(&set->lanes, &set->records[i]);
    return &set->records[i];
}

static wf_chain take(small *set, uint32_t records_max, uint64_t bytes_max) {
    wf_take all = {.records_max = records_max, .lane_max = records_max, .bytes_max = bytes_max, .retries = true};
    wf_chain slice;
    wf_lanes_take(&set->lanes, &all, &slice);
    wf_lanes_check(&set->lanes);
    return slice;
}

Test(lanes, take__large_record_finds_no_room__is_the_first_of_the_next_slice) {
    small set;
    begin_small(&set, WF_ORDER_KEY);
    add(&set, 0, 10, 100);
    wf_record *large = add(&set, 1, 11, 5000);
    add(&set, 2, 12, 100);

    wf_chain first = take(&set, 8, 1000);
    REQUIRE_EQ(first.count, 1);
    wf_lanes_finish(&set.lanes, first.head);
    add(&set, 0, 10, 100);

    REQUIRE(take(&set, 8, 1000).head == large, "a record over the byte budget must start a slice");
    wf_lanes_deinit(&set.lanes);
}

Test(lanes, add__two_keys_with_one_hash__share_a_lane_in_order) {
    small set;
    begin_small(&set, WF_ORDER_KEY);
    add(&set, 0, 77, 10);
    add(&set, 1, 77, 10)->key_bytes = 9;
    add(&set, 2, 78, 10);

    REQUIRE_EQ(set.lanes.lane_count, 2);
    wf_chain slice = take(&set, 8, 1000);
    REQUIRE_EQ(slice.count, 3);
    REQUIRE(slice.head == &set.records[0] && slice.head->next == &set.records[1]);
    REQUIRE(slice.head->lane == slice.head->next->lane);
    wf_lanes_deinit(&set.lanes);
}

Test(lanes, give_back__record_of_an_open_lane__waits_alone) {
    small set;
    begin_small(&set, WF_ORDER_UNORDERED);
    for (int i = 0; i < 4; i++) add(&set, i, 0, 10);
    wf_chain slice = take(&set, 3, 1000);
    wf_record *failed = wf_chain_pop(&slice);
    wf_chain back = {0};
    wf_chain_push(&back, failed);
    failed->attempt++;

    wf_lanes_give_back(&set.lanes, &back, 500);

    REQUIRE_EQ(wf_lanes_next_retry_ns(&set.lanes), 500);
    REQUIRE_EQ(set.lanes.slots[0].stalled, 1);
    REQUIRE(take(&set, 8, 1000).head == &set.records[3], "its neighbours go on");
    wf_lanes_expire(&set.lanes, 499);
    REQUIRE_EQ(wf_lanes_ready_count(&set.lanes), 0);
    wf_lanes_expire(&set.lanes, 500);
    REQUIRE(take(&set, 8, 1000).head == failed);
    wf_lanes_deinit(&set.lanes);
}

Test(lanes, urge__head_of_a_ready_lane__goes_first) {
    small set;
    begin_small(&set, WF_ORDER_KEY);
    for (int i = 0; i < 3; i++) add(&set, i, 20 + (uint64_t)i, 10);
    add(&set, 3, 21, 10);

    wf_lanes_urge(&set.lanes, &set.records[3]); /* not a head: nothing happens */
    wf_lanes_urge(&set.lanes, &set.records[2]);

    REQUIRE(take(&set, 1, 1000).head == &set.records[2]);
    REQUIRE(take(&set, 1, 1000).head == &set.records[0]);
    wf_lanes_deinit(&set.lanes);
}

/* With one key in each partition every lane is urged again whenever it is ready: nobody may wait for ever for it. */
Test(lanes, urge__again_and_again__each_has_its_turn) {
    small set;
    begin_small(&set, WF_ORDER_KEY);
    for (int i = 0; i < 6; i++) add(&set, i, 20 + (uint64_t)(i % 3), 10);
    for (int i = 2; i >= 0; i--) wf_lanes_urge(&set.lanes, &set.records[i]);

    for (int i = 2; i >= 0; i--) {
        wf_chain slice = take(&set, 1, 1000);
        REQUIRE(slice.head == &set.records[i], "turn %d", i);
        wf_lanes_finish(&set.lanes, slice.head);
        wf_lanes_urge(&set.lanes, &set.records[i + 3]);
    }
    REQUIRE(take(&set, 1, 1000).head == &set.records[5]);
    wf_lanes_deinit(&set.lanes);
}

Test(lanes, urge__others_are_ready_too__one_of_them_after_four) {
    small set;
    begin_small(&set, WF_ORDER_KEY);
    int taken = 0;
    add(&set, 0, 20, 10);
    for (int i = 1; i <= WF_LANES_URGED_MAX + 1; i++) add(&set, i, 20 + (uint64_t)i, 10);
    for (int i = 1; i <= WF_LANES_URGED_MAX + 1; i++) wf_lanes_urge(&set.lanes, &set.records[i]);

    while (take(&set, 1, 1000).head != &set.records[0]) taken++;
    REQUIRE_EQ(taken, WF_LANES_URGED_MAX);
    wf_lanes_deinit(&set.lanes);
}

Test(lanes, next_retry__for_ever__never_comes_due) {
    small set;
    begin_small(&set, WF_ORDER_KEY);
    add(&set, 0, 5, 10);
    wf_chain slice = take(&set, 1, 1000);

    wf_lanes_give_back(&set.lanes, &slice, UINT64_MAX);

    wf_lanes_expire(&set.lanes, UINT64_MAX - 1);
    REQUIRE_EQ(wf_lanes_ready_count(&set.lanes), 0);
    REQUIRE(wf_lanes_head(&set.records[0]) == &set.records[0]);
    wf_lanes_deinit(&set.lanes);
}

/* Keys are not remembered: after a million of them, a thousand at a time, there is room for a thousand. */
Test(lanes, keys__a_million_in_all_a_thousand_at_once__room_for_a_thousand) {
    enum { LIVE = 1000, KEYS = 1000000 };
    static wf_record records[LIVE];
    small set;
    uint32_t mask = 0;
    begin_small(&set, WF_ORDER_KEY);
    for (uint64_t first = 0; first < KEYS; first += LIVE) {
        for (uint64_t i = 0; i < LIVE; i++) {
            uint64_t hash = (first + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
            records[i] = (wf_record){
                .offset = (int64_t)(first + i), .key_hash = hash, .key_bytes = 8, .attempt = 1, .block_bytes = 100};
            wf_lanes_add(&set.lanes, &records[i]);
        }
        REQUIRE_EQ(set.lanes.lane_count, LIVE);
        if (first == 0) mask = set.lanes.table_mask;
        wf_take all = {.records_max = LIVE, .lane_max = 1, .bytes_max = UINT64_MAX};
        wf_chain slice;
        wf_lanes_take(&set.lanes, &all, &slice);
        REQUIRE_EQ(slice.count, LIVE);
        for (uint64_t i = 0; i < LIVE; i++) wf_lanes_finish(&set.lanes, &records[i]);
        REQUIRE_EQ(set.lanes.lane_count, 0);
    }
    REQUIRE_EQ(set.lanes.table_mask, mask);
    REQUIRE(mask + 1 <= 4 * 1024);
    wf_lanes_deinit(&set.lanes);
}
