/* SPDX-License-Identifier: Apache-2.0
 *
 * What a lane and the table of them look like: for lanes.c, and lanes_check.c, which looks whether all fits.
 */
#ifndef WF_LANES_INSIDE_H
#define WF_LANES_INSIDE_H

#include "lanes.h"

/* Where a lane is (invariant 3). */
typedef enum lane_place { PLACE_NONE = 0, PLACE_READY, PLACE_RETRY_READY, PLACE_HEAP, PLACE_PARKED } lane_place;

struct wf_lane {
    wf_lane *prev;
    wf_lane *next;
    wf_chain queue;
    uint64_t key;
    uint64_t retry_ns; /* in the heap: when it is due */
    uint32_t slot;
    uint32_t out; /* records taken and not finished */
    uint32_t heap_index;
    uint32_t virtual_index; /* in virtual_queued */
    uint8_t place;          /* lane_place */
    bool open;              /* no order: stays ready while records are out */
    bool urged;             /* it stands among the first of the ready ones */
};

typedef struct wf_lane_entry {
    uint64_t key; /* 0: empty */
    wf_lane *lane;
} wf_lane_entry;

static inline bool wf_lane_is_stalled(const wf_lane *lane) {
    return lane->place == PLACE_HEAP || lane->place == PLACE_PARKED;
}

/* Where the key is, or would be. */
static inline uint32_t wf_lanes_table_find(const wf_lanes *lanes, uint64_t key) {
    uint32_t index = (uint32_t)key & lanes->table_mask;
    while (lanes->table[index].key != 0 && lanes->table[index].key != key) index = (index + 1) & lanes->table_mask;
    return index;
}

#endif
