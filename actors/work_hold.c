/* SPDX-License-Identifier: Apache-2.0
 *
 * Partitions that stop alone: paused by the program, their map full, or their backlog over their share of the queue.
 */
#include "check.h"
#include "work_manager.h"

void wf_work_send_hold(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, bool hold) {
    wf_hold message = {.slot = wf_work_slot_index(self, slot), .epoch = slot->epoch, .hold = hold, .back_to = -1};
    weft_env_send(env, self->options.poller, WF_MSG_HOLD, &message, sizeof message);
}

static uint64_t stalled_max(const wf_work_manager_state *self) {
    if (self->options.partition_max_records) return self->options.partition_max_records;
    uint64_t share = self->options.queue_max_records / (self->active_count + 1);
    return share > 64 ? share : 64;
}

void wf_work_set_hold(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, bool hold) {
    if (hold == slot->held) return;
    slot->held = hold;
    weft_env_log(env, WEFT_LOG_INFO, "partition %s alone topic=%s partition=%d stalled=%llu paused=%d",
                 hold ? "stopped" : "goes on", slot->topic, slot->partition,
                 (unsigned long long)self->lanes.slots[wf_work_slot_index(self, slot)].stalled, slot->paused);
    wf_work_send_hold(self, env, slot, hold);
}

/* Take the slot's records from this one on out of everything; they go home, and come again. */
static void take_out_from(wf_work_manager_state *self, wf_work_slot *slot, wf_record *first) {
    wf_record *next, *record;
    slot->tail = first->slot_prev;
    if (slot->tail)
        slot->tail->slot_next = NULL;
    else
        slot->head = NULL;
    for (wf_record *each = first; each; each = next) {
        next = each->slot_next;
        if (!each->lane) continue; /* it went with one before it */
        wf_chain cut;
        wf_lanes_cut(&self->lanes, each, &cut);
        while ((record = wf_chain_pop(&cut)) != NULL) wf_work_go_home(self, record);
    }
}

/* A partition that stopped alone may not keep others from their credit: what it has over its share, and has not
 * started, is given back, and comes again when it goes on. */
static void give_back_excess(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, uint64_t max) {
    uint64_t kept = self->lanes.slots[wf_work_slot_index(self, slot)].queued;
    wf_record *first = NULL;
    for (wf_record *record = slot->tail; record && kept > max && record->offset >= slot->started_end;
         record = record->slot_prev, kept--)
        first = record;
    if (!first) return;
    int64_t from = first->offset;
    take_out_from(self, slot, first);
    slot->refetching = true;
    slot->restored_next = 0;
    wf_work_flush_offsets(self, env); /* they had come, before they had not */
    wf_log_end unfetch = {.slot = wf_work_slot_index(self, slot), .epoch = slot->epoch, .end = from};
    weft_env_send(env, self->options.tracker, WF_MSG_UNFETCH, &unfetch, sizeof unfetch);
    wf_hold back = {.slot = wf_work_slot_index(self, slot), .epoch = slot->epoch, .hold = true, .back_to = from};
    weft_env_send(env, self->options.poller, WF_MSG_HOLD, &back, sizeof back);
}

/* A backlog counts when two looks in a row find it over its share: the gate of a map closes for milliseconds when a
 * thread sleeps, and stopping a partition throws away what was fetched ahead for it. Returns whether there is anything
 * to look at again. */
bool wf_work_look_at_holds(wf_work_manager_state *self, weft_env *env) {
    uint64_t max = stalled_max(self);
    bool again = false;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        wf_work_slot *slot = &self->slots[i];
        if (slot->phase != WF_WORK_ACTIVE) continue;
        uint64_t stalled = self->lanes.slots[i].stalled;
        bool was_over = slot->over;
        slot->over = stalled > max;
        wf_work_set_hold(self, env, slot,
                         slot->paused || (slot->over && was_over) || (slot->held && stalled > max / 2));
        if (slot->held && slot->over && !slot->refetching) give_back_excess(self, env, slot, max);
        again = again || slot->over || (slot->held && !slot->paused);
    }
    return again;
}

/* Asked each turn, so not of each partition: one that was stopped keeps wf_work_look_at_holds() coming back itself. */
bool wf_work_any_over(const wf_work_manager_state *self) {
    uint64_t max = stalled_max(self);
    for (uint32_t i = 0; i < self->slot_count && self->lanes.stalled > max; i++)
        if (self->slots[i].phase == WF_WORK_ACTIVE && self->lanes.slots[i].stalled > max) return true;
    return false;
}
