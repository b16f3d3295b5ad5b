/* SPDX-License-Identifier: Apache-2.0 */
#include "lanes_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

/* --- lists */

static void insert(model_list *list, size_t at, void *item) {
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 8;
        list->items = realloc(list->items, list->room * sizeof *list->items);
        MUST(list->items, "out of memory");
    }
    memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof *list->items);
    list->items[at] = item;
    list->count++;
}

void model_push(model_list *list, void *item) {
    insert(list, list->count, item);
}

static void *cut(model_list *list, size_t at) {
    void *item = list->items[at];
    list->count--;
    memmove(list->items + at, list->items + at + 1, (list->count - at) * sizeof *list->items);
    return item;
}

static size_t find(const model_list *list, const void *item) {
    size_t at = 0;
    while (at < list->count && list->items[at] != item) at++;
    MUST(at < list->count, "the model lost an item");
    return at;
}

void model_list_free(model_list *list) {
    free(list->items);
    *list = (model_list){0};
}

/* --- lanes */

static model_lane *new_lane(lanes_model *model, uint32_t slot, uint64_t name, bool open) {
    model_lane *lane = must_alloc(1, sizeof *lane);
    lane->slot = slot;
    lane->name = name;
    lane->open = open;
    model_push(&model->lanes, lane);
    return lane;
}

static void end_lane(lanes_model *model, model_lane *lane) {
    cut(&model->lanes, find(&model->lanes, lane));
    model_list_free(&lane->queue);
    model_list_free(&lane->out);
    free(lane);
}

static const wf_record *head_of(const model_lane *lane) {
    return lane->queue.items[0];
}

static void enter(model_lane *lane, model_list *list, model_place place, size_t at) {
    lane->place = place;
    lane->passed_over = 0;
    lane->passes_max = at;
    insert(list, at, lane);
}

static void settle(lanes_model *model, model_lane *lane) {
    if (lane->place != MODEL_BUSY || (lane->out.count > 0 && !lane->open)) return;
    if (lane->queue.count == 0) {
        if (lane->out.count == 0) end_lane(model, lane);
    } else if (lane->retry_ns) {
        lane->place = MODEL_WAITING;
    } else if (model->stopped[lane->slot]) {
        enter(lane, &model->parked[lane->slot], MODEL_PARKED, model->parked[lane->slot].count);
    } else if (head_of(lane)->attempt > 1) {
        enter(lane, &model->retry_ready, MODEL_RETRY_READY, model->retry_ready.count);
    } else {
        enter(lane, &model->ready, MODEL_READY, model->ready.count);
    }
}

static void leave(lanes_model *model, model_lane *lane) {
    if (lane->place == MODEL_READY) {
        size_t at = find(&model->ready, lane);
        if (at < model->urged) model->urged--;
        cut(&model->ready, at);
    }
    lane->urged = false;
    if (lane->place == MODEL_RETRY_READY) cut(&model->retry_ready, find(&model->retry_ready, lane));
    if (lane->place == MODEL_PARKED) cut(&model->parked[lane->slot], find(&model->parked[lane->slot], lane));
    lane->place = MODEL_BUSY;
}

void model_init(lanes_model *model, wf_ordering ordering, bool null_key_serial, size_t record_count) {
    *model = (lanes_model){.ordering = ordering, .null_key_serial = null_key_serial, .record_room = record_count};
    model->lane_of = must_alloc(record_count, sizeof(model_lane *));
}

void model_deinit(lanes_model *model) {
    while (model->lanes.count) end_lane(model, model->lanes.items[0]);
    model_list_free(&model->lanes);
    model_list_free(&model->ready);
    model_list_free(&model->retry_ready);
    for (int i = 0; i < MODEL_SLOTS; i++) model_list_free(&model->parked[i]);
    free(model->lane_of);
}

enum { NAME_OPEN = 1, NAME_SERIAL = 2, NAME_FIRST_KEY = 3 };

model_lane *model_add(lanes_model *model, wf_record *record) {
    bool null_key = record->key_bytes < 0;
    bool open = model->ordering == WF_ORDER_UNORDERED ||
                (model->ordering == WF_ORDER_KEY && null_key && !model->null_key_serial);
    uint64_t name = open                                                ? NAME_OPEN
                    : model->ordering == WF_ORDER_PARTITION || null_key ? NAME_SERIAL
                                                                        : NAME_FIRST_KEY + record->key_hash;
    model_lane *lane = NULL;
    for (size_t i = 0; i < model->lanes.count && !lane; i++) {
        model_lane *each = model->lanes.items[i];
        if (each->slot == record->slot && each->name == name) lane = each;
    }
    if (!lane) lane = new_lane(model, record->slot, name, open);
    model->lane_of[model_id(record)] = lane;
    model_push(&lane->queue, record);
    settle(model, lane);
    return lane;
}

/* --- take */

typedef struct taking {
    const wf_take *take;
    model_list *slice;
    uint64_t bytes;
} taking;

/* True: the slice is full. */
static bool take_from(lanes_model *model, model_lane *lane, uint64_t limit, taking *at) {
    for (uint64_t taken = 0; lane->queue.count && taken < limit; taken++) {
        wf_record *record = lane->queue.items[0];
        bool retry = record->attempt > 1;
        if (retry && taken) break;
        if (at->slice->count && at->bytes + record->block_bytes > at->take->bytes_max) {
            if (taken) {
                settle(model, lane);
                return true;
            }
            lane->place = MODEL_READY; /* it keeps its turn, and the count of its passes */
            insert(&model->ready, 0, lane);
            if (model->urged) model->urged++;
            return true;
        }
        if (model->stopped[lane->slot] || !at->take->admit(at->take->context, record)) {
            if (taken == 0 || lane->open)
                enter(lane, &model->parked[lane->slot], MODEL_PARKED, model->parked[lane->slot].count);
            break;
        }
        cut(&lane->queue, 0);
        model_push(&lane->out, record);
        model_push(at->slice, record);
        at->bytes += record->block_bytes;
        if (retry) break;
    }
    settle(model, lane);
    return false;
}

/* The first one that is not urged has its turn after some that are. */
static model_lane *next_ready(lanes_model *model) {
    bool others = model->urged && model->urged < model->ready.count;
    bool is_due = others && model->urged_in_row == WF_LANES_URGED_MAX;
    model->urged_in_row = others && !is_due ? model->urged_in_row + 1 : 0;
    return model->ready.items[is_due ? model->urged : 0];
}

void model_take(lanes_model *model, const wf_take *take, model_list *ret_records) {
    taking at = {.take = take, .slice = ret_records};
    ret_records->count = 0;
    for (size_t rounds = model->retry_ready.count; take->retries && rounds && ret_records->count == 0; rounds--) {
        model_lane *lane = model->retry_ready.items[0];
        leave(model, lane);
        take_from(model, lane, 1, &at);
    }
    for (size_t rounds = model->ready.count; rounds && model->ready.count && ret_records->count < take->records_max;
         rounds--) {
        model_lane *lane = next_ready(model);
        uint64_t limit = take->records_max - ret_records->count;
        if (!lane->open && ret_records->count == 0 && take->lane_max > limit) limit = take->lane_max;
        if (!lane->open && take->one_per_lane) limit = 1;
        leave(model, lane);
        if (take_from(model, lane, limit, &at)) break;
    }
}

/* --- the rest */

void model_finish(lanes_model *model, wf_record *record) {
    model_lane *lane = model->lane_of[model_id(record)];
    cut(&lane->out, find(&lane->out, record));
    model->lane_of[model_id(record)] = NULL;
    settle(model, lane);
}

void model_give_back(lanes_model *model, model_lane *lane, size_t first, size_t count, uint64_t retry_ns) {
    if (lane->open && retry_ns) {
        for (size_t i = 0; i < count; i++) {
            wf_record *record = cut(&lane->out, first);
            model_lane *own = new_lane(model, lane->slot, UINT64_MAX - model->lonely++, false);
            model->lane_of[model_id(record)] = own;
            own->retry_ns = retry_ns;
            model_push(&own->queue, record);
            settle(model, own);
        }
        settle(model, lane);
        return;
    }
    leave(model, lane);
    for (size_t i = 0; i < count; i++) insert(&lane->queue, i, cut(&lane->out, first));
    lane->retry_ns = retry_ns;
    settle(model, lane);
}

static model_lane *next_due(const lanes_model *model) {
    model_lane *next = NULL;
    for (size_t i = 0; i < model->lanes.count; i++) {
        model_lane *lane = model->lanes.items[i];
        if (lane->place == MODEL_WAITING && (!next || lane->retry_ns < next->retry_ns)) next = lane;
    }
    return next;
}

uint64_t model_next_retry_ns(const lanes_model *model) {
    const model_lane *next = next_due(model);
    return next ? next->retry_ns : UINT64_MAX;
}

void model_expire(lanes_model *model, uint64_t now_ns) {
    model_lane *lane;
    while ((lane = next_due(model)) != NULL && lane->retry_ns <= now_ns) {
        leave(model, lane);
        lane->retry_ns = 0;
        settle(model, lane);
    }
}

void model_urge(lanes_model *model, const wf_record *record) {
    model_lane *lane = model->lane_of[model_id(record)];
    if (lane->place != MODEL_READY || lane->queue.count == 0 || head_of(lane) != record) return;
    if (lane->urged) return;
    leave(model, lane);
    for (size_t i = model->urged; i < model->ready.count; i++) ((model_lane *)model->ready.items[i])->passes_max++;
    enter(lane, &model->ready, MODEL_READY, model->urged++);
    lane->urged = true;
    lane->passes_max += lane->passes_max / WF_LANES_URGED_MAX + 1; /* of those that are not urged */
}

void model_unpark(lanes_model *model, uint32_t slot) {
    if (model->stopped[slot]) return;
    for (size_t count = model->parked[slot].count; count; count--) {
        model_lane *lane = model->parked[slot].items[0];
        leave(model, lane);
        settle(model, lane);
    }
}

void model_stop_slot(lanes_model *model, uint32_t slot, bool stop) {
    model->stopped[slot] = stop;
    if (!stop) model_unpark(model, slot);
}

void model_remove(lanes_model *model, wf_record *record) {
    model_lane *lane = model->lane_of[model_id(record)];
    model->lane_of[model_id(record)] = NULL;
    size_t at = find(&lane->queue, record);
    if (at == 0) leave(model, lane);
    cut(&lane->queue, at);
    if (at > 0) return;
    lane->retry_ns = 0;
    settle(model, lane);
}

/* --- comparing */

static bool differ(char text[MODEL_TEXT], const char *what, uint64_t real, uint64_t model) {
    if (real == model) return false;
    snprintf(text, MODEL_TEXT, "%s is %" PRIu64 ", the model has %" PRIu64, what, real, model);
    return true;
}

typedef struct totals {
    uint64_t queued[MODEL_SLOTS];
    uint64_t bytes[MODEL_SLOTS];
    uint64_t stalled[MODEL_SLOTS];
    uint64_t all;
} totals;

static totals add_up(const lanes_model *model) {
    totals sum = {0};
    for (size_t i = 0; i < model->lanes.count; i++) {
        const model_lane *lane = model->lanes.items[i];
        sum.queued[lane->slot] += lane->queue.count;
        sum.all += lane->queue.count;
        if (lane->place == MODEL_WAITING || lane->place == MODEL_PARKED) sum.stalled[lane->slot] += lane->queue.count;
        for (size_t r = 0; r < lane->queue.count; r++)
            sum.bytes[lane->slot] += ((const wf_record *)lane->queue.items[r])->block_bytes;
    }
    return sum;
}

bool model_differs(const lanes_model *model, const wf_lanes *lanes, char ret_text[MODEL_TEXT]) {
    totals sum = add_up(model);
    bool differs = false;
    for (uint32_t i = 0; i < MODEL_SLOTS && !differs; i++) {
        const wf_lane_slot *slot = &lanes->slots[i];
        differs = differ(ret_text, "queued of a slot", slot->queued, sum.queued[i]) ||
                  differ(ret_text, "queued_bytes of a slot", slot->queued_bytes, sum.bytes[i]) ||
                  differ(ret_text, "stalled of a slot", slot->stalled, sum.stalled[i]) ||
                  differ(ret_text, "parked lanes of a slot", slot->parked.count, model->parked[i].count);
    }
    for (uint32_t group = 0; group < MODEL_GROUPS && !differs; group++) {
        uint64_t by_slot = 0, by_virtual = 0;
        for (uint32_t i = group; i < MODEL_SLOTS; i += MODEL_GROUPS) by_slot += sum.queued[i];
        for (uint32_t i = 0; i < lanes->virtual_count; i++) by_virtual += wf_lanes_virtual_queued(lanes, group, i);
        differs = differ(ret_text, "virtual queues of a group", by_virtual, by_slot);
    }
    return differs || differ(ret_text, "queued", lanes->queued, sum.all) ||
           differ(ret_text, "lane_count", lanes->lane_count, model->lanes.count) ||
           differ(ret_text, "ready lanes", lanes->ready.count, model->ready.count) ||
           differ(ret_text, "ready retries", lanes->retry_ready.count, model->retry_ready.count) ||
           differ(ret_text, "next retry", wf_lanes_next_retry_ns(lanes), model_next_retry_ns(model));
}
