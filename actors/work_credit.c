/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes back to the poller: finished blocks, the credit of their records, and whether it should fetch at all.
 */
#include <stdlib.h>

#include "work_manager.h"

enum { ENOUGH_MIN = 1024 /* records of different keys: twice what a turn brings */ };

void wf_work_return_credit(wf_work_manager_state *self, const wf_record *record) {
    if (self->owed_records)
        self->owed_records--;
    else
        self->credit_records++;
    uint64_t paid = self->owed_bytes < record->block_bytes ? self->owed_bytes : record->block_bytes;
    self->owed_bytes -= paid;
    self->credit_bytes += record->block_bytes - paid;
}

/* A record that was deferred goes back into the queue: it counts there again, or retries would pile up without bound.
 */
void wf_work_take_credit_back(wf_work_manager_state *self, wf_record *record) {
    if (!(record->flags & WF_RECORD_DEFERRED)) return;
    record->flags &= (uint8_t)~WF_RECORD_DEFERRED;
    self->owed_records++;
    self->owed_bytes += record->block_bytes;
}

void wf_work_go_home(wf_work_manager_state *self, wf_record *record) {
    if (!(record->flags & WF_RECORD_DEFERRED)) wf_work_return_credit(self, record);
    free(record->reason);
    record->reason = NULL;
    wf_chain_push(&self->home, record);
}

/* All workers together do more than 200,000 records a second: the loop has no time to wait for memory. */
static bool is_fast(const wf_workers *workers, uint64_t live) {
    return workers->handler_ns < 5000 * (double)live;
}

/* Do more keys wait for a worker than all workers hold at once? What would be fetched now only pushed what is here out
 * of the caches: with a queue of 16,000 records each costs 11 misses of a cache of 1 MiB, with this 3 (cachegrind of
 * bench_ring). Below three quarters of it fetching goes on. Where handlers are slow, it is better to know early which
 * keys have much to do: half of 8,000 records on one key that came last took 14 % longer. */
static bool has_enough(const wf_work_manager_state *self) {
    uint64_t live = self->workers.live ? self->workers.live : 1;
    uint64_t enough = live * WF_SLICES_MAX * self->workers.slice_max;
    if (enough < ENOUGH_MIN) enough = ENOUGH_MIN;
    return is_fast(&self->workers, live) &&
           wf_lanes_ready_count(&self->lanes) > (self->enough ? enough / 4 * 3 : enough);
}

void wf_work_flush_home(wf_work_manager_state *self, weft_env *env) {
    wf_work_send_all(env, self->options.exporter, WF_MSG_COMPLETIONS, &self->completions,
                     sizeof(weft_event_completion));
    bool was_enough = self->enough;
    self->enough = has_enough(self);
    if (self->credit_records == 0 && self->credit_bytes == 0 && self->home.count == 0 && self->enough == was_enough)
        return;
    wf_credit credit = {.head = self->home.head,
                        .blocks = self->home.count,
                        .records = self->credit_records & INT32_MAX,
                        .bytes = self->credit_bytes,
                        .enough = self->enough};
    weft_env_send(env, self->options.poller, WF_MSG_CREDIT, &credit, sizeof credit);
    self->home = (wf_chain){0};
    self->credit_records = 0;
    self->credit_bytes = 0;
}
