/* SPDX-License-Identifier: Apache-2.0 */
#include "lanes.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "lanes_inside.h"

enum { CHUNK_LANES = 256, TABLE_FIRST = 1024, AHEAD_ENTRIES = 12, AHEAD_LANES = 6 };

typedef struct wf_lane_chunk {
    struct wf_lane_chunk *next;
    wf_lane lanes[CHUNK_LANES];
} wf_lane_chunk;

/* --- lists */

/* Behind that one; NULL: first of all. */
static void list_push_behind(wf_lane_list *list, wf_lane *before, wf_lane *lane, lane_place place) {
    WF_CHECK(lane->place == PLACE_NONE);
    lane->place = (uint8_t)place;
    lane->prev = before;
    lane->next = before ? before->next : list->head;
    *(lane->next ? &lane->next->prev : &list->tail) = lane;
    *(before ? &before->next : &list->head) = lane;
    list->count++;
}

static void list_push(wf_lane_list *list, wf_lane *lane, lane_place place) {
    list_push_behind(list, list->tail, lane, place);
}

static void list_remove(wf_lane_list *list, wf_lane *lane) {
    if (lane->prev)
        lane->prev->next = lane->next;
    else
        list->head = lane->next;
    if (lane->next)
        lane->next->prev = lane->prev;
    else
        list->tail = lane->prev;
    lane->prev = lane->next = NULL;
    lane->place = PLACE_NONE;
    list->count--;
}

/* --- retry heap, a binary heap by retry_ns; lanes know their index */

static void heap_set(wf_lanes *lanes, uint32_t index, wf_lane *lane) {
    lanes->heap[index] = lane;
    lane->heap_index = index;
}

static void heap_up(wf_lanes *lanes, uint32_t index) {
    wf_lane *lane = lanes->heap[index];
    while (index > 0 && lanes->heap[(index - 1) / 2]->retry_ns > lane->retry_ns) {
        heap_set(lanes, index, lanes->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_set(lanes, index, lane);
}

static void heap_down(wf_lanes *lanes, uint32_t index) {
    wf_lane *lane = lanes->heap[index];
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= lanes->heap_count) break;
        if (child + 1 < lanes->heap_count && lanes->heap[child + 1]->retry_ns < lanes->heap[child]->retry_ns) child++;
        if (lanes->heap[child]->retry_ns >= lane->retry_ns) break;
        heap_set(lanes, index, lanes->heap[child]);
        index = child;
    }
    heap_set(lanes, index, lane);
}

static void heap_push(wf_lanes *lanes, wf_lane *lane) {
    WF_CHECK(lane->place == PLACE_NONE);
    if (lanes->heap_count == lanes->heap_room) {
        lanes->heap_room = lanes->heap_room ? 2 * lanes->heap_room : 64;
        lanes->heap = realloc(lanes->heap, lanes->heap_room * sizeof *lanes->heap);
        WF_CHECK(lanes->heap != NULL);
    }
    lane->place = PLACE_HEAP;
    heap_set(lanes, lanes->heap_count++, lane);
    heap_up(lanes, lane->heap_index);
}

static void heap_remove(wf_lanes *lanes, wf_lane *lane) {
    uint32_t index = lane->heap_index;
    wf_lane *last = lanes->heap[--lanes->heap_count];
    lane->place = PLACE_NONE;
    if (last == lane) return;
    heap_set(lanes, index, last);
    heap_up(lanes, index);
    heap_down(lanes, last->heap_index);
}

/* --- table */

static void table_grow(wf_lanes *lanes) {
    wf_lane_entry *old = lanes->table;
    uint32_t old_count = lanes->table_mask + 1;
    lanes->table = calloc(2 * (size_t)old_count, sizeof *lanes->table);
    WF_CHECK(lanes->table != NULL);
    lanes->table_mask = 2 * old_count - 1;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].key) lanes->table[wf_lanes_table_find(lanes, old[i].key)] = old[i];
    free(old);
}

/* Backward-shift deletion: no tombstones, so the table never degrades. */
static void table_remove(wf_lanes *lanes, uint64_t key) {
    uint32_t hole = wf_lanes_table_find(lanes, key);
    WF_CHECK(lanes->table[hole].key == key);
    for (uint32_t i = (hole + 1) & lanes->table_mask; lanes->table[i].key != 0; i = (i + 1) & lanes->table_mask) {
        uint32_t home = (uint32_t)lanes->table[i].key & lanes->table_mask;
        if (((i - home) & lanes->table_mask) < ((i - hole) & lanes->table_mask)) continue;
        lanes->table[hole] = lanes->table[i];
        hole = i;
    }
    lanes->table[hole] = (wf_lane_entry){0};
}

/* --- lanes */

static wf_lane *lane_new(wf_lanes *lanes, uint64_t key, uint32_t slot, bool open, uint32_t entry) {
    if (!lanes->free_lanes) {
        wf_lane_chunk *chunk = calloc(1, sizeof *chunk);
        WF_CHECK(chunk != NULL);
        chunk->next = lanes->chunks;
        lanes->chunks = chunk;
        for (int i = 0; i < CHUNK_LANES; i++) {
            chunk->lanes[i].next = lanes->free_lanes;
            lanes->free_lanes = &chunk->lanes[i];
        }
    }
    wf_lane *lane = lanes->free_lanes;
    lanes->free_lanes = lane->next;
    *lane = (wf_lane){.key = key, .slot = slot, .open = open};
    lane->virtual_index =
        lanes->slots[slot].group * lanes->virtual_count + (uint32_t)((key >> 32) % lanes->virtual_count);
    lanes->table[entry] = (wf_lane_entry){.key = key, .lane = lane};
    if (++lanes->lane_count * 2 > lanes->table_mask) table_grow(lanes);
    return lane;
}

static void lane_free(wf_lanes *lanes, wf_lane *lane) {
    WF_CHECK(lane->place == PLACE_NONE && lane->out == 0 && lane->queue.count == 0);
    table_remove(lanes, lane->key);
    lanes->lane_count--;
    lane->next = lanes->free_lanes;
    lanes->free_lanes = lane;
}

static uint64_t mix(uint64_t hash, uint32_t slot) {
    uint64_t key = hash + (slot + 1) * UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ (key >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    key ^= key >> 29;
    return key ? key : 1;
}

/* Names of lanes that have no key; as good as any hash. */
static const uint64_t open_name = UINT64_C(0x6f70656e6f70656e);
static const uint64_t serial_name = UINT64_C(0x73657269616c0001);
static const uint64_t retry_name = UINT64_C(0x7265747279000000);

static bool is_open(const wf_lanes *lanes, const wf_record *record) {
    bool keyless = lanes->ordering == WF_ORDER_KEY && record->key_bytes < 0;
    return lanes->ordering == WF_ORDER_UNORDERED || (keyless && !lanes->null_key_serial);
}

static uint64_t lane_key(const wf_lanes *lanes, const wf_record *record) {
    bool keyed = lanes->ordering == WF_ORDER_KEY && record->key_bytes >= 0;
    return mix(keyed ? record->key_hash : is_open(lanes, record) ? open_name : serial_name, record->slot);
}

static wf_lane *lane_of(wf_lanes *lanes, const wf_record *record) {
    uint64_t key = lane_key(lanes, record);
    uint32_t entry = wf_lanes_table_find(lanes, key);
    wf_lane *lane = lanes->table[entry].lane;
    return lane ? lane : lane_new(lanes, key, record->slot, is_open(lanes, record), entry);
}

static void count_stalled(wf_lanes *lanes, const wf_lane *lane, int64_t records) {
    lanes->slots[lane->slot].stalled += (uint64_t)records;
    lanes->stalled += (uint64_t)records;
}

/* Count `records` more (or fewer) in a lane's queue. */
static void count_queued(wf_lanes *lanes, const wf_lane *lane, int64_t records, int64_t bytes) {
    wf_lane_slot *slot = &lanes->slots[lane->slot];
    lanes->queued += (uint64_t)records;
    lanes->virtual_queued[lane->virtual_index] += (uint32_t)records;
    slot->queued += (uint64_t)records;
    slot->queued_bytes += (uint64_t)bytes;
    if (wf_lane_is_stalled(lane)) count_stalled(lanes, lane, records);
}

static void ready_remove(wf_lanes *lanes, wf_lane *lane) {
    if (lanes->urged == lane) lanes->urged = lane->prev;
    lane->urged = false;
    list_remove(&lanes->ready, lane);
}

static void lane_leave(wf_lanes *lanes, wf_lane *lane) {
    if (wf_lane_is_stalled(lane)) count_stalled(lanes, lane, -(int64_t)lane->queue.count);
    if (lane->place == PLACE_READY)
        ready_remove(lanes, lane);
    else if (lane->place == PLACE_RETRY_READY)
        list_remove(&lanes->retry_ready, lane);
    else if (lane->place == PLACE_PARKED)
        list_remove(&lanes->slots[lane->slot].parked, lane);
    else if (lane->place == PLACE_HEAP)
        heap_remove(lanes, lane);
}

static void lane_park(wf_lanes *lanes, wf_lane *lane) {
    list_push(&lanes->slots[lane->slot].parked, lane, PLACE_PARKED);
    count_stalled(lanes, lane, lane->queue.count);
}

/* Put an idle lane where it belongs, or end it. */
static void lane_settle(wf_lanes *lanes, wf_lane *lane) {
    if (lane->place != PLACE_NONE) return;
    if (lane->out > 0 && !lane->open) return;
    if (lane->queue.count == 0) {
        if (lane->out == 0) lane_free(lanes, lane);
        return;
    }
    if (lane->retry_ns) {
        count_stalled(lanes, lane, lane->queue.count);
        heap_push(lanes, lane);
    } else if (lanes->slots[lane->slot].stopped) {
        lane_park(lanes, lane);
    } else if (lane->queue.head->attempt > 1) {
        list_push(&lanes->retry_ready, lane, PLACE_RETRY_READY);
    } else {
        list_push(&lanes->ready, lane, PLACE_READY);
    }
}

/* --- interface */

weft_status wf_lanes_init(wf_lanes *lanes, wf_ordering ordering, bool null_key_serial, uint32_t virtual_count) {
    WF_CHECK(virtual_count > 0 && virtual_count <= UINT16_MAX);
    *lanes = (wf_lanes){.ordering = ordering, .null_key_serial = null_key_serial, .virtual_count = virtual_count};
    lanes->group_count = 1;
    lanes->virtual_queued = calloc(virtual_count, sizeof *lanes->virtual_queued);
    lanes->table = calloc(TABLE_FIRST, sizeof *lanes->table);
    lanes->table_mask = TABLE_FIRST - 1;
    if (lanes->virtual_queued && lanes->table) return WEFT_OK;
    wf_lanes_deinit(lanes);
    return WEFT_ENOMEM;
}

void wf_lanes_deinit(wf_lanes *lanes) {
    while (lanes->chunks) {
        wf_lane_chunk *chunk = lanes->chunks;
        lanes->chunks = chunk->next;
        free(chunk);
    }
    free(lanes->virtual_queued);
    free(lanes->table);
    free(lanes->heap);
    free(lanes->slots);
    *lanes = (wf_lanes){0};
}

weft_status wf_lanes_reserve_slot(wf_lanes *lanes, uint32_t slot) {
    if (slot < lanes->slot_count) return WEFT_OK;
    uint32_t count = slot + 1 < 16 ? 16 : 2 * (slot + 1);
    wf_lane_slot *slots = realloc(lanes->slots, count * sizeof *slots);
    if (!slots) return WEFT_ENOMEM;
    memset(slots + lanes->slot_count, 0, (count - lanes->slot_count) * sizeof *slots);
    lanes->slots = slots;
    lanes->slot_count = count;
    return WEFT_OK;
}

weft_status wf_lanes_group_slot(wf_lanes *lanes, uint32_t slot, uint32_t group) {
    WF_CHECK(slot < lanes->slot_count && group <= lanes->group_count);
    WF_CHECK(lanes->slots[slot].queued == 0 || lanes->slots[slot].group == group);
    if (group == lanes->group_count) {
        size_t bytes = lanes->virtual_count * sizeof *lanes->virtual_queued;
        uint32_t *queued = realloc(lanes->virtual_queued, (group + 1) * bytes);
        if (!queued) return WEFT_ENOMEM;
        memset(queued + group * lanes->virtual_count, 0, bytes);
        lanes->virtual_queued = queued;
        lanes->group_count++;
    }
    lanes->slots[slot].group = group;
    return WEFT_OK;
}

/* Where the search for its lane begins, and mostly ends. */
static wf_lane_entry *first_entry(const wf_lanes *lanes, const wf_record *record) {
    return &lanes->table[(uint32_t)lane_key(lanes, record) & lanes->table_mask];
}

void wf_lanes_ahead_begin(const wf_lanes *lanes, const wf_record *head, wf_lanes_ahead *ret_ahead) {
    *ret_ahead = (wf_lanes_ahead){.entry = head, .lane = head, .distance = AHEAD_ENTRIES - AHEAD_LANES};
    for (int i = 0; i < AHEAD_ENTRIES; i++) wf_lanes_ahead_step(lanes, ret_ahead);
}

void wf_lanes_ahead_step(const wf_lanes *lanes, wf_lanes_ahead *ahead) {
    if (ahead->entry) {
        __builtin_prefetch(first_entry(lanes, ahead->entry), 1);
        ahead->entry = ahead->entry->next;
    }
    if (ahead->distance-- > 0 || !ahead->lane) return;
    const char *lane = (const char *)first_entry(lanes, ahead->lane)->lane; /* or none, or another's: no harm */
    __builtin_prefetch(lane, 1);
    __builtin_prefetch(lane + 64, 1);
    ahead->lane = ahead->lane->next;
}

void wf_lanes_add(wf_lanes *lanes, wf_record *record) {
    WF_CHECK(record->slot < lanes->slot_count);
    wf_lane *lane = lane_of(lanes, record);
    record->lane = lane;
    record->state = WF_RECORD_QUEUED;
    if (lane->open) record->flags |= WF_RECORD_ANY_ORDER;
    wf_chain_push(&lane->queue, record);
    count_queued(lanes, lane, 1, record->block_bytes);
    lane_settle(lanes, lane);
}

/* Move records from the head of a lane into the slice; returns false when the slice is full. */
static bool take_from(wf_lanes *lanes, wf_lane *lane, const wf_take *take, uint32_t limit, wf_chain *slice) {
    uint32_t taken = 0;
    while (lane->queue.head && taken < limit) {
        wf_record *head = lane->queue.head;
        bool retry = head->attempt > 1;
        if (retry && taken > 0) break;
        if (slice->count > 0 && slice->bytes + (uint64_t)head->block_bytes > take->bytes_max) {
            /* A lane that found no room keeps its turn; at the end of the list small records could pass it for ever. */
            if (taken == 0) list_push_behind(&lanes->ready, NULL, lane, PLACE_READY);
            lane_settle(lanes, lane);
            return false;
        }
        if (lanes->slots[lane->slot].stopped || (take->admit && !take->admit(take->context, head))) {
            if (lane->open || (taken == 0 && lane->out == 0)) lane_park(lanes, lane);
            break;
        }
        wf_chain_pop(&lane->queue);
        if (lane->queue.head) wf_record_prefetch_head(lane->queue.head);
        count_queued(lanes, lane, -1, -(int64_t)head->block_bytes);
        wf_chain_push(slice, head);
        lane->out++;
        taken++;
        if (retry) break;
    }
    lane_settle(lanes, lane);
    return true;
}

static uint32_t lane_limit(const wf_lane *lane, const wf_take *take, const wf_chain *slice) {
    uint32_t rest = take->records_max > slice->count ? take->records_max - slice->count : 0;
    if (take->one_per_lane && !lane->open) return 1;
    if (slice->count == 0 && !lane->open && take->lane_max > rest) return take->lane_max;
    return rest;
}

/* The lane that comes next, and the one behind it: with many keys each is a cache miss or two. */
static void prefetch_lane(const wf_lane *next) {
    if (!next) return;
    wf_record_prefetch_head(next->queue.head); /* lend() writes to the second line */
    __builtin_prefetch(next->next, 1);
}

/* The ready lane that comes next (invariant 4). */
static wf_lane *next_ready(wf_lanes *lanes) {
    bool others = lanes->urged && lanes->urged->next;
    if (others && lanes->urged_in_row == WF_LANES_URGED_MAX) {
        lanes->urged_in_row = 0;
        return lanes->urged->next;
    }
    lanes->urged_in_row = others ? lanes->urged_in_row + 1 : 0;
    return lanes->ready.head;
}

void wf_lanes_take(wf_lanes *lanes, const wf_take *take, wf_chain *ret_slice) {
    *ret_slice = (wf_chain){0};
    /* One retry at most; one that may not start now makes way for the next. */
    for (uint32_t rounds = lanes->retry_ready.count; take->retries && rounds > 0 && !ret_slice->head; rounds--) {
        wf_lane *lane = lanes->retry_ready.head;
        list_remove(&lanes->retry_ready, lane);
        take_from(lanes, lane, take, 1, ret_slice);
    }
    /* An open lane that goes back to the end of the list must not be met twice. */
    uint32_t rounds = lanes->ready.count;
    while (rounds-- > 0 && lanes->ready.head && ret_slice->count < take->records_max) {
        wf_lane *lane = next_ready(lanes);
        prefetch_lane(lane->next);
        ready_remove(lanes, lane);
        if (!take_from(lanes, lane, take, lane_limit(lane, take, ret_slice), ret_slice)) break;
    }
}

void wf_lanes_finish(wf_lanes *lanes, wf_record *record) {
    wf_lane *lane = record->lane;
    WF_CHECK(lane->out > 0);
    lane->out--;
    record->lane = NULL;
    lane_settle(lanes, lane);
}

/* A record of an open lane that must wait gets a lane of its own: nobody else has to. */
static void give_back_alone(wf_lanes *lanes, wf_record *record, uint64_t retry_ns) {
    uint64_t key = mix(retry_name ^ (uint64_t)record->offset, record->slot);
    uint32_t entry;
    while (lanes->table[entry = wf_lanes_table_find(lanes, key)].lane) key = key + 1 ? key + 1 : 1;
    wf_lane *lane = lane_new(lanes, key, record->slot, false, entry);
    record->lane = lane;
    record->flags &= (uint8_t)~WF_RECORD_ANY_ORDER;
    record->state = WF_RECORD_QUEUED;
    lane->retry_ns = retry_ns;
    wf_chain_push(&lane->queue, record);
    count_queued(lanes, lane, 1, record->block_bytes);
    lane_settle(lanes, lane);
}

void wf_lanes_give_back(wf_lanes *lanes, wf_chain *records, uint64_t retry_ns) {
    wf_lane *lane = records->head->lane;
    WF_CHECK(lane->out >= records->count);
    lane->out -= records->count;
    if (lane->open && retry_ns) {
        wf_record *record;
        while ((record = wf_chain_pop(records)) != NULL) give_back_alone(lanes, record, retry_ns);
        lane_settle(lanes, lane);
        return;
    }
    lane_leave(lanes, lane);
    int64_t bytes = 0;
    for (wf_record *record = records->head; record; record = record->next) {
        record->state = WF_RECORD_QUEUED;
        bytes += record->block_bytes;
    }
    records->tail->next = lane->queue.head;
    if (!lane->queue.tail) lane->queue.tail = records->tail;
    lane->queue.head = records->head;
    lane->queue.count += records->count;
    lane->queue.bytes += records->bytes;
    lane->retry_ns = retry_ns;
    count_queued(lanes, lane, records->count, bytes);
    *records = (wf_chain){0};
    lane_settle(lanes, lane);
}

uint64_t wf_lanes_next_retry_ns(const wf_lanes *lanes) {
    return lanes->heap_count ? lanes->heap[0]->retry_ns : UINT64_MAX;
}

void wf_lanes_expire(wf_lanes *lanes, uint64_t now_ns) {
    while (lanes->heap_count && lanes->heap[0]->retry_ns <= now_ns) {
        wf_lane *lane = lanes->heap[0];
        lane_leave(lanes, lane);
        lane->retry_ns = 0;
        lane_settle(lanes, lane);
    }
}

void wf_lanes_urge(wf_lanes *lanes, wf_record *record) {
    wf_lane *lane = record->lane;
    if (record->state != WF_RECORD_QUEUED || lane->place != PLACE_READY || lane->queue.head != record) return;
    if (lane->urged) return;
    ready_remove(lanes, lane);
    list_push_behind(&lanes->ready, lanes->urged, lane, PLACE_READY);
    lane->urged = true;
    lanes->urged = lane;
}

void wf_lanes_unpark(wf_lanes *lanes, uint32_t slot) {
    wf_lane_slot *state = &lanes->slots[slot];
    if (state->stopped) return;
    for (uint32_t count = state->parked.count; count > 0; count--) {
        wf_lane *lane = state->parked.head;
        lane_leave(lanes, lane);
        lane_settle(lanes, lane);
    }
}

/* Lanes of a stopped slot that are ready now park when take() meets them. */
void wf_lanes_stop_slot(wf_lanes *lanes, uint32_t slot, bool stop) {
    lanes->slots[slot].stopped = stop;
    if (!stop) wf_lanes_unpark(lanes, slot);
}

wf_record *wf_lanes_head(const wf_record *record) {
    const wf_lane *lane = record->lane;
    return lane->queue.head;
}

void wf_lanes_remove_head(wf_lanes *lanes, wf_record *record) {
    wf_lane *lane = record->lane;
    WF_CHECK(lane->queue.head == record);
    lane_leave(lanes, lane);
    wf_chain_pop(&lane->queue);
    count_queued(lanes, lane, -1, -(int64_t)record->block_bytes);
    record->lane = NULL;
    lane->retry_ns = 0;
    lane_settle(lanes, lane);
}

void wf_lanes_remove(wf_lanes *lanes, wf_record *record) {
    wf_lane *lane = record->lane;
    if (lane->queue.head == record) {
        wf_lanes_remove_head(lanes, record);
        return;
    }
    wf_record *before = lane->queue.head;
    while (before && before->next != record) before = before->next;
    WF_CHECK(before != NULL);
    before->next = record->next;
    if (lane->queue.tail == record) lane->queue.tail = before;
    lane->queue.count--;
    lane->queue.bytes -= record->block_bytes;
    record->next = NULL;
    record->lane = NULL;
    count_queued(lanes, lane, -1, -(int64_t)record->block_bytes);
}

void wf_lanes_cut(wf_lanes *lanes, wf_record *record, wf_chain *ret_cut) {
    wf_lane *lane = record->lane;
    wf_chain all = lane->queue;
    wf_record *item;
    lane_leave(lanes, lane);
    lane->queue = *ret_cut = (wf_chain){0};
    while ((item = wf_chain_pop(&all)) != NULL) {
        bool stays = ret_cut->count == 0 && item != record;
        if (!stays) item->lane = NULL;
        wf_chain_push(stays ? &lane->queue : ret_cut, item);
    }
    WF_CHECK(ret_cut->head == record);
    count_queued(lanes, lane, -(int64_t)ret_cut->count, -(int64_t)ret_cut->bytes);
    lane_settle(lanes, lane);
}
