/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "lanes_inside.h"

static void check_list(const wf_lane_list *list, lane_place place) {
    uint32_t count = 0;
    for (const wf_lane *lane = list->head; lane; lane = lane->next, count++) {
        WF_CHECK(lane->place == (uint8_t)place);
        WF_CHECK(lane->queue.count > 0);
        WF_CHECK_IMPLIES(lane->out > 0, lane->open);
    }
    WF_CHECK(count == list->count);
}

void wf_lanes_check(const wf_lanes *lanes) {
    check_list(&lanes->ready, PLACE_READY);
    check_list(&lanes->retry_ready, PLACE_RETRY_READY);
    uint64_t queued = 0, stalled = 0;
    for (uint32_t i = 0; i < lanes->slot_count; i++) {
        check_list(&lanes->slots[i].parked, PLACE_PARKED);
        queued += lanes->slots[i].queued;
        stalled += lanes->slots[i].stalled;
    }
    WF_CHECK(queued == lanes->queued && stalled == lanes->stalled);
    uint64_t in_table = 0, stalled_in_table = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i <= lanes->table_mask; i++) {
        const wf_lane *lane = lanes->table[i].lane;
        if (!lane) continue;
        count++;
        in_table += lane->queue.count;
        if (wf_lane_is_stalled(lane)) stalled_in_table += lane->queue.count;
        WF_CHECK(lane->queue.count > 0 || lane->out > 0);
        WF_CHECK_IMPLIES(lane->place == PLACE_NONE, lane->out > 0);
        WF_CHECK(lane->key == lanes->table[i].key && wf_lanes_table_find(lanes, lane->key) == i);
    }
    WF_CHECK(count == lanes->lane_count && in_table == lanes->queued && stalled_in_table == stalled);
    for (uint32_t i = 1; i < lanes->heap_count; i++)
        WF_CHECK(lanes->heap[(i - 1) / 2]->retry_ns <= lanes->heap[i]->retry_ns);
}
