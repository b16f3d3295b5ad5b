/* SPDX-License-Identifier: Apache-2.0
 *
 * What is seen of the work manager from outside: times of records, the last failure, and the answer to GAUGES_ASK.
 * Histograms and counts belong to the slot, not to the epoch: a partition that comes back goes on where it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "histogram.h"
#include "work_manager.h"

/* The year 2222: who produces writes what he likes, microseconds for example, and nanoseconds of it must not overflow.
 */
static const int64_t last_timestamp_ms = 7952342400000;

/* Timestamps are of another clock. The distance is looked at with every question for gauges, not with every record. */
static void look_at_clock(wf_work_manager_state *self, weft_env *env) {
    self->wall_ahead_ns = weft_env_wall_ms(env) * 1000000 - (int64_t)weft_env_now_ns(env);
}

/* Always on: 75 instructions of the 500 that a completion costs here (callgrind on x86-64). */
void wf_work_observe_finished(wf_work_manager_state *self, weft_env *env, wf_work_sight *sight,
                              const wf_record *record) {
    uint64_t now_ns = self->finished_ns;
    if (record->dispatch_ns == 0) return; /* it took over the result of an earlier flight, and never ran itself */
    wf_histogram_add(&sight->latency, now_ns - record->dispatch_ns);
    wf_histogram_add(&sight->wait, record->dispatch_ns - record->received_ns);
    if (record->timestamp_ms < 0 || record->timestamp_ms > last_timestamp_ms) return;
    if (self->wall_ahead_ns == 0) look_at_clock(self, env);
    int64_t age_ns = (int64_t)now_ns + self->wall_ahead_ns - record->timestamp_ms * 1000000;
    wf_histogram_add(&sight->end_to_end, age_ns > 0 ? (uint64_t)age_ns : 0);
}

void wf_work_observe_failure(wf_work_slot *slot, const wf_record *record) {
    snprintf(slot->sight->last_error, sizeof slot->sight->last_error, "%s",
             record->reason ? record->reason : "no reason given");
}

/* Looks through slices, which is why it is done only when somebody asks. */
static int32_t holder_of(const wf_work_manager_state *self, const wf_record *wanted) {
    if (wanted->state != WF_RECORD_LENT) return -1;
    for (uint32_t i = 0; i < self->workers.count; i++) {
        const wf_worker_entry *entry = self->workers.entries[i];
        for (uint32_t k = 0; k < entry->load; k++)
            for (const wf_record *record = entry->slices[k].head; record; record = record->next)
                if (record == wanted) return (int32_t)entry->number;
    }
    return -1;
}

static void fill_gauges(const wf_work_manager_state *self, uint32_t index, wf_gauges *gauges) {
    const wf_work_slot *slot = &self->slots[index];
    *gauges = (wf_gauges){
        .slot = index, .owner = WF_GAUGES_MANAGER, .blocking_since_ns = slot->head ? slot->head->received_ns : 0};
    weft_partition_metrics *metrics = &gauges->metrics;
    metrics->topic = slot->topic;
    metrics->partition = slot->partition;
    metrics->epoch = slot->epoch;
    metrics->blocking_offset = slot->head ? slot->head->offset : -1;
    metrics->blocking_key_hash = slot->head ? slot->head->key_hash : 0;
    metrics->blocking_timestamp_ms = slot->head ? slot->head->timestamp_ms : -1;
    metrics->blocking_attempt = slot->head ? slot->head->attempt : 0;
    metrics->blocking_worker = slot->head ? holder_of(self, slot->head) : -1;
    metrics->queued = self->lanes.slots[index].queued;
    metrics->in_flight = slot->out;
    metrics->succeeded = slot->succeeded;
    metrics->failed = slot->failed;
    metrics->retried = slot->retried;
    metrics->restored = slot->skipped;
    metrics->paused = slot->paused;
    metrics->held = slot->held && !slot->paused;
    metrics->latency = slot->sight->latency;
    metrics->wait = slot->sight->wait;
    metrics->execution = slot->sight->execution;
    metrics->end_to_end = slot->sight->end_to_end;
    memcpy(metrics->last_error, slot->sight->last_error, sizeof metrics->last_error);
}

/* The queues of topics that have a partition here. */
static void send_queues(const wf_work_manager_state *self, weft_env *env, weft_actor_id to) {
    wf_work_outbox queues = {0};
    for (uint32_t group = 0; group < self->topic_count; group++) {
        bool here = false;
        for (uint32_t i = 0; i < self->slot_count && !here; i++)
            here = self->slots[i].phase != WF_WORK_GONE && self->lanes.slots[i].group == group;
        for (uint32_t i = 0; here && i < self->lanes.virtual_count; i++)
            *(wf_queue *)wf_work_append(&queues, sizeof(wf_queue)) = (wf_queue){
                self->topics[group], .virtual_partition = i, .queued = wf_lanes_virtual_queued(&self->lanes, group, i)};
    }
    wf_work_send_all(env, to, WF_MSG_QUEUES, &queues, sizeof(wf_queue));
    free(queues.items);
}

void wf_work_on_gauges_ask(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    wf_work_outbox gauges = {0};
    look_at_clock(self, env);
    for (uint32_t i = 0; i < self->slot_count; i++)
        if (self->slots[i].phase != WF_WORK_GONE) fill_gauges(self, i, wf_work_append(&gauges, sizeof(wf_gauges)));
    wf_work_send_all(env, message->from, WF_MSG_GAUGES, &gauges, sizeof(wf_gauges));
    free(gauges.items);
    send_queues(self, env, message->from);
    wf_gauges_end end = {.ticket = ((const wf_ask *)message->body)->ticket, .owner = WF_GAUGES_MANAGER};
    for (uint32_t i = 0; i < self->slot_count; i++) {
        end.metrics.succeeded += self->slots[i].succeeded;
        end.metrics.failed += self->slots[i].failed;
        end.metrics.retried += self->slots[i].retried;
    }
    end.metrics.begun_ns = self->begun_ns;
    end.metrics.finished_ns = self->finished_ns;
    end.metrics.total_queued = self->lanes.queued;
    end.metrics.metadata_refused = self->maps_refused;
    end.metrics.total_in_flight = self->lent_records + self->parked_records;
    end.metrics.total_pending = self->parked_records;
    end.metrics.in_flight_bytes = self->out_bytes;
    end.metrics.workers = self->workers.live;
    end.metrics.workers_busy = self->workers.live - self->workers.load_count[0];
    weft_env_send(env, message->from, WF_MSG_GAUGES_END, &end, sizeof end);
}
