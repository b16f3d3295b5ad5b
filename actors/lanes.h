/* SPDX-License-Identifier: Apache-2.0
 *
 * The core of the work manager: which record may run next. Pure data; the time is an argument.
 *
 * A *lane* is the queue of one ordering key: of one key in one partition (ordering = key), of one partition
 * (partition), or of nothing in particular (unordered, and null keys where they may run in any order: an *open* lane).
 * A lane exists while it has records, and is found by a 64-bit hash; two keys that collide share a lane, which costs
 * parallelism and never order.
 *
 * Invariants:
 * 1. A lane that is not open has records out at one place at a time: all those of one take(). It takes no part in
 * take() until every one of them was finished or given back.
 * 2. Within a lane records leave in the order in which they came; what is given back goes to the front, in order.
 * 3. A lane is in exactly one place: the ready list, the retry list, the retry heap, its slot's parked list, or none
 * (busy).
 * 4. Ready lanes are served round-robin; urged lanes go first, in the order in which they were urged, and after
 * WF_LANES_URGED_MAX of them in a row one of the others: nobody waits for ever while some are urged again and again.
 * 5. A record that waits for a retry holds nothing but its own lane and its place in the queue.
 */
#ifndef WF_LANES_H
#define WF_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "weft/status.h"

typedef enum wf_ordering { WF_ORDER_KEY = 0, WF_ORDER_PARTITION, WF_ORDER_UNORDERED } wf_ordering;

typedef struct wf_lane wf_lane;

enum { WF_LANES_URGED_MAX = 4 };

typedef struct wf_lane_list {
    wf_lane *head;
    wf_lane *tail;
    uint32_t count;
} wf_lane_list;

/* What the lanes know of a partition. */
typedef struct wf_lane_slot {
    wf_lane_list parked; /* lanes that may not run now */
    uint64_t queued;     /* records in lanes */
    uint64_t queued_bytes;
    uint64_t stalled; /* of those: behind a retry, or parked */
    bool stopped;     /* nothing of this partition may start */
    uint32_t group;   /* its queue is counted with those of its group */
} wf_lane_slot;

typedef struct wf_lanes {
    wf_ordering ordering;
    bool null_key_serial;
    uint32_t virtual_count;
    uint32_t group_count;
    uint32_t *virtual_queued;    /* records in lanes by group and, within it, virtual partition */
    struct wf_lane_entry *table; /* open addressing, linear probing, at most half full */
    uint32_t table_mask;
    uint32_t lane_count;
    wf_lane *free_lanes;
    struct wf_lane_chunk *chunks;
    wf_lane_list ready;       /* first attempts */
    wf_lane *urged;           /* the last of the urged lanes, which stand first in it; NULL: none does */
    uint32_t urged_in_row;    /* taken while others were ready */
    wf_lane_list retry_ready; /* lanes whose head was tried before, and is due */
    wf_lane **heap;           /* lanes that wait for a retry, by time */
    uint32_t heap_count;
    uint32_t heap_room;
    wf_lane_slot *slots;
    uint32_t slot_count;
    uint64_t queued; /* records in lanes, all slots */
    uint64_t stalled;
} wf_lanes;

/* Whether a record may start now; false parks its lane until wf_lanes_unpark(). */
typedef bool (*wf_lanes_admit)(void *context, const wf_record *record);

/* One call of take(). */
typedef struct wf_take {
    uint32_t records_max; /* of the slice */
    uint32_t lane_max;    /* of one lane, if it is the first of the slice: may exceed records_max */
    uint64_t bytes_max;   /* the first record may overshoot it */
    bool one_per_lane;    /* for batch handlers: at most one record per lane, unless the lane is open */
    bool retries;         /* lanes with a retry may take part, one record each */
    wf_lanes_admit admit;
    void *context;
} wf_take;

weft_status wf_lanes_init(wf_lanes *lanes, wf_ordering ordering, bool null_key_serial, uint32_t virtual_count);
void wf_lanes_deinit(wf_lanes *lanes);

/* Make room for a slot index. */
weft_status wf_lanes_reserve_slot(wf_lanes *lanes, uint32_t slot);

/* Which group a slot belongs to (the work manager has one for each topic); 0 before. Only while it has no records. */
weft_status wf_lanes_group_slot(wf_lanes *lanes, uint32_t slot, uint32_t group);

/* Records in the lanes of a group that fall to a virtual partition: keys are spread over them by hash. */
static inline uint32_t wf_lanes_virtual_queued(const wf_lanes *lanes, uint32_t group, uint32_t virtual_partition) {
    return lanes->virtual_queued[group * lanes->virtual_count + virtual_partition];
}

/* Queue a fetched record at the end of its lane. */
void wf_lanes_add(wf_lanes *lanes, wf_record *record);

/* For whoever adds a chain: what the records some places ahead will need is asked of memory meanwhile. With many keys
 * each add would wait for two or three cache misses. Begin with the chain; step once before each add. */
typedef struct wf_lanes_ahead {
    const wf_record *entry; /* whose entry of the table comes next */
    const wf_record *lane;  /* whose lane does, its entry being there by now */
    int distance;           /* steps before the first lane */
} wf_lanes_ahead;

void wf_lanes_ahead_begin(const wf_lanes *lanes, const wf_record *head, wf_lanes_ahead *ret_ahead);
void wf_lanes_ahead_step(const wf_lanes *lanes, wf_lanes_ahead *ahead);

/* Fill a slice; lanes are contiguous in it. Empty when nothing may start. */
void wf_lanes_take(wf_lanes *lanes, const wf_take *take, wf_chain *ret_slice);

/* A record that was out is finished: its lane goes on when it was the last one out. */
void wf_lanes_finish(wf_lanes *lanes, wf_record *record);

/* Records of one lane that were out come back unfinished, in their order. `retry_ns`: the lane waits until then; 0: it
 * may go on at once. */
void wf_lanes_give_back(wf_lanes *lanes, wf_chain *records, uint64_t retry_ns);

/* Time of the next retry, UINT64_MAX: none; and let those that are due become ready. */
uint64_t wf_lanes_next_retry_ns(const wf_lanes *lanes);
void wf_lanes_expire(wf_lanes *lanes, uint64_t now_ns);

/* If the lane of this queued record is ready and the record is its head, it goes first. */
void wf_lanes_urge(wf_lanes *lanes, wf_record *record);

/* Stop a slot: its lanes park as they come up. Start it: they are ready again, in front of none. */
void wf_lanes_stop_slot(wf_lanes *lanes, uint32_t slot, bool stop);
/* Look again at lanes that admit() refused. */
void wf_lanes_unpark(wf_lanes *lanes, uint32_t slot);

/* Take a queued record out of its lane for good (the caller finishes it). It must be the lane's head. */
void wf_lanes_remove_head(wf_lanes *lanes, wf_record *record);

/* Take a queued record out, wherever it stands in its lane. O(length of the lane). */
void wf_lanes_remove(wf_lanes *lanes, wf_record *record);

/* Take this queued record and all behind it in its lane out, for good. O(length of the lane). */
void wf_lanes_cut(wf_lanes *lanes, wf_record *record, wf_chain *ret_cut);

/* The record at the head of the lane that this record (out or queued) belongs to; NULL: none queued. */
wf_record *wf_lanes_head(const wf_record *record);

/* Lanes that could be taken now. */
static inline uint32_t wf_lanes_ready_count(const wf_lanes *lanes) {
    return lanes->ready.count + lanes->retry_ready.count;
}

/* Everything that must hold, in O(all); for tests. */
void wf_lanes_check(const wf_lanes *lanes);

#endif
