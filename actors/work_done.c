/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a record that comes back: finished, tried again, parked, fenced; and of one that does not come back
 * in time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "histogram.h"
#include "pending.h"
#include "work_manager.h"

static const uint64_t second_ns = 1000000000;

void *wf_work_append(wf_work_outbox *outbox, size_t item_bytes) {
    if (outbox->count == outbox->room) {
        outbox->room = outbox->room ? 2 * outbox->room : 256;
        outbox->items = realloc(outbox->items, outbox->room * item_bytes);
        WF_CHECK(outbox->items != NULL);
    }
    return (char *)outbox->items + item_bytes * outbox->count++;
}

void wf_work_unlink(wf_work_slot *slot, wf_record *record) {
    if (record->slot_prev)
        record->slot_prev->slot_next = record->slot_next;
    else
        slot->head = record->slot_next;
    if (record->slot_next)
        record->slot_next->slot_prev = record->slot_prev;
    else
        slot->tail = record->slot_prev;
    record->slot_prev = record->slot_next = NULL;
}

void wf_work_note_head(wf_work_manager_state *self, wf_work_slot *slot) {
    if (slot->new_head) return;
    slot->new_head = true;
    *(uint32_t *)wf_work_append(&self->new_heads, sizeof(uint32_t)) = wf_work_slot_index(self, slot);
}

static void unlink_fenced(wf_work_manager_state *self, wf_record *record) {
    if (record->slot_prev)
        record->slot_prev->slot_next = record->slot_next;
    else
        self->fenced = record->slot_next;
    if (record->slot_next) record->slot_next->slot_prev = record->slot_prev;
    record->slot_prev = record->slot_next = NULL;
}

static void tell_exporter(wf_work_manager_state *self, weft_env *env, const wf_record *record, bool success) {
    weft_event_completion *completion = wf_work_append(&self->completions, sizeof *completion);
    uint64_t dispatch_ns = record->dispatch_ns ? record->dispatch_ns : weft_env_now_ns(env);
    *completion = (weft_event_completion){.topic = record->topic,
                                          .partition = record->partition,
                                          .attempts = record->attempt,
                                          .offset = record->offset,
                                          .latency_ns = weft_env_now_ns(env) - dispatch_ns,
                                          .wait_ns = dispatch_ns - record->received_ns,
                                          .success = success};
}

void wf_work_finish(wf_work_manager_state *self, weft_env *env, wf_record *record, bool success) {
    wf_work_slot *slot = &self->slots[record->slot];
    bool was_head = slot->head == record;
    if (slot->started_end <= record->offset) slot->started_end = record->offset + 1;
    wf_work_unlink(slot, record);
    if (success)
        slot->succeeded++;
    else
        slot->failed++;
    wf_completed *completed = wf_work_append(&self->completed, sizeof *completed);
    *completed = (wf_completed){.slot = record->slot, .epoch = record->epoch, .offset = record->offset};
    slot->completed_sent++;
    self->finished_ns = weft_env_now_ns(env);
    wf_work_observe_finished(self, env, slot->sight, record);
    if (self->want_completions) tell_exporter(self, env, record, success);
    wf_work_go_home(self, record);
    if (was_head && slot->head) wf_work_note_head(self, slot);
}

void wf_work_fence(wf_work_manager_state *self, wf_work_slot *slot) {
    while (slot->head) {
        wf_record *record = slot->head;
        wf_work_unlink(slot, record);
        record->state = WF_RECORD_DROPPED;
        record->slot_next = self->fenced;
        if (self->fenced) self->fenced->slot_prev = record;
        self->fenced = record;
    }
    slot->out = 0;
    slot->parked = 0;
}

/* --- failures */

static uint64_t backoff_ns(const wf_work_manager_state *self, weft_env *env, unsigned failed_attempts) {
    uint64_t wait_ns = self->options.retry_backoff_ns;
    for (unsigned i = 1; i < failed_attempts && wait_ns < self->options.retry_backoff_max_ns; i++) wait_ns *= 2;
    if (wait_ns > self->options.retry_backoff_max_ns) wait_ns = self->options.retry_backoff_max_ns;
    /* Four to six fifths: records that failed together don't come back together. */
    return wait_ns - wait_ns / 5 + weft_env_random(env) % (2 * (wait_ns / 5) + 1);
}

static const char *reason_of(const wf_record *record) {
    return record->reason ? record->reason : "no reason given";
}

/* What a handler said, between quotes on a line of the log: with one of its own it could say things in our name. */
static const char *quotable(const wf_record *record, char text[WF_REASON_MAX + 1]) {
    snprintf(text, WF_REASON_MAX + 1, "%s", reason_of(record));
    for (char *c = text; *c; c++)
        if (*c == '"') *c = '\'';
    return text;
}

static void log_given_up(wf_work_manager_state *self, weft_env *env, const wf_record *record) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (self->policy_logged_ns && now_ns - self->policy_logged_ns < second_ns) {
        self->policy_silent++;
        return;
    }
    char reason[WF_REASON_MAX + 1];
    weft_env_log(env, WEFT_LOG_ERROR,
                 "record given up topic=%s partition=%d offset=%lld attempts=%u reason=\"%s\" not_logged=%llu",
                 record->topic, record->partition, (long long)record->offset, record->attempt,
                 quotable(record, reason), (unsigned long long)self->policy_silent);
    self->policy_logged_ns = now_ns;
    self->policy_silent = 0;
}

typedef enum verdict { VERDICT_RETRY, VERDICT_SKIP, VERDICT_STOP } verdict;

/* An attempt failed: what next? For VERDICT_RETRY and VERDICT_STOP the record goes back to its lane until
 * *ret_retry_ns. */
static verdict judge_failure(wf_work_manager_state *self, weft_env *env, wf_record *record, uint64_t *ret_retry_ns) {
    wf_work_observe_failure(&self->slots[record->slot], record);
    if (record->attempt < self->options.max_attempts) {
        self->slots[record->slot].retried++;
        *ret_retry_ns = weft_env_now_ns(env) + backoff_ns(self, env, record->attempt);
        record->attempt++;
        return VERDICT_RETRY;
    }
    log_given_up(self, env, record);
    if (self->options.failure_policy == WF_FAILURE_SKIP) return VERDICT_SKIP;
    if (!self->failed)
        weft_env_fail(
            env, WEFT_EHANDLER,
            "topic %s partition %d offset %lld failed %u times (max.attempts), and failure.policy is stop: %s",
            record->topic, record->partition, (long long)record->offset, record->attempt, reason_of(record));
    self->failed = true;
    /* It is not complete and must not run again: its lane waits for ever, and the offset stays uncommitted. */
    *ret_retry_ns = UINT64_MAX;
    return VERDICT_STOP;
}

/* --- records coming back */

/* The same offset, and not of a log that was made anew meanwhile. */
static bool is_same(const wf_record *record, const wf_record *other) {
    return record != other && record->slot == other->slot && record->offset == other->offset &&
           record->timestamp_ms == other->timestamp_ms && record->key_bytes == other->key_bytes &&
           record->value_bytes == other->value_bytes;
}

/* Its partition is away: the tracker remembers the success in case it comes back as it was. */
static void tell_late_success(wf_work_manager_state *self, weft_env *env, const wf_record *record) {
    const wf_work_slot *slot = &self->slots[record->slot];
    if (slot->phase != WF_WORK_GONE || slot->epoch != record->epoch) return;
    wf_completed late = {.slot = record->slot, .epoch = record->epoch, .offset = record->offset};
    weft_env_send(env, self->options.tracker, WF_MSG_LATE, &late, sizeof late);
}

/* A record of an old epoch came back. If it was delivered to us again and waits behind this very flight, a success
 * counts for it. */
static void come_back_fenced(wf_work_manager_state *self, weft_env *env, wf_record *record, bool success) {
    unlink_fenced(self, record);
    wf_record *again = success ? wf_lanes_head(record) : NULL;
    if (again && !is_same(record, again)) again = NULL;
    if (again) wf_lanes_remove_head(&self->lanes, again);
    if (success && !again) tell_late_success(self, env, record);
    wf_lanes_finish(&self->lanes, record);
    wf_work_go_home(self, record);
    if (again) wf_work_finish(self, env, again, true);
}

/* A record that is out has ended: finished, or into `back`, which the caller gives to its lane at *retry_ns. */
static void settle(wf_work_manager_state *self, weft_env *env, wf_record *record, wf_chain *back, uint64_t *retry_ns) {
    wf_work_slot *slot = &self->slots[record->slot];
    bool success = record->status == WF_DONE_SUCCESS;
    slot->out--;
    verdict next = VERDICT_SKIP;
    if (record->status == WF_DONE_UNRUN)
        next = VERDICT_RETRY;
    else if (!success)
        next = judge_failure(self, env, record, retry_ns);
    if (success || next == VERDICT_SKIP) {
        wf_lanes_finish(&self->lanes, record);
        wf_work_finish(self, env, record, success);
        return;
    }
    record->pending = 0;
    wf_work_take_credit_back(self, record);
    wf_chain_push(back, record);
    if (slot->head == record) wf_work_note_head(self, slot); /* its lane stands behind all others now */
}

static void give_back(wf_work_manager_state *self, wf_chain *back, uint64_t *retry_ns) {
    if (back->head) wf_lanes_give_back(&self->lanes, back, *retry_ns);
    *back = (wf_chain){0};
    *retry_ns = 0;
}

static void park(wf_work_manager_state *self, wf_record *record) {
    wf_work_return_credit(self, record);
    record->flags |= WF_RECORD_DEFERRED;
    self->parked_records++;
    self->defers = true;
    self->out_bytes += record->block_bytes;
    if (record->state != WF_RECORD_DROPPED) {
        record->state = WF_RECORD_PARKED;
        self->slots[record->slot].parked++;
    }
}

/* A deferred record that weft_complete() ended. */
static void unpark(wf_work_manager_state *self, weft_env *env, const wf_unparked *unparked) {
    wf_record *record = unparked->record;
    self->parked_records--;
    self->out_bytes -= record->block_bytes;
    record->pending = 0;
    record->status = (uint8_t)unparked->status;
    if (record->reason != unparked->reason) free(record->reason);
    record->reason = unparked->reason;
    if (record->state == WF_RECORD_DROPPED) {
        come_back_fenced(self, env, record, record->status == WF_DONE_SUCCESS);
        return;
    }
    self->slots[record->slot].parked--;
    if (record->flags & WF_RECORD_TIMED_OUT) {
        record->flags &= (uint8_t)~WF_RECORD_TIMED_OUT;
        record->status = WF_DONE_TIMEOUT;
        free(record->reason);
        record->reason = wf_reason_copy("not completed within handler.deadline.ms");
    }
    wf_chain back = {0};
    uint64_t retry_ns = 0;
    settle(self, env, record, &back, &retry_ns);
    give_back(self, &back, &retry_ns);
}

static void come_back(wf_work_manager_state *self, weft_env *env, wf_record *record, wf_chain *back,
                      uint64_t *retry_ns) {
    self->lent_records--;
    self->out_bytes -= record->block_bytes;
    if (record->attempt > 1) self->retries_out--;
    if (record->status == WF_DONE_PENDING) {
        park(self, record);
    } else if (record->state == WF_RECORD_DROPPED) {
        come_back_fenced(self, env, record, record->status == WF_DONE_SUCCESS);
    } else {
        settle(self, env, record, back, retry_ns);
    }
}

/* Records that were completed before their DONE came. Not before the whole slice is back in its lanes: a failed one
 * goes in front of those that came back unrun behind it. */
static void unpark_early(wf_work_manager_state *self, weft_env *env) {
    wf_unparked *items = self->early.items;
    for (uint32_t i = 0; i < self->early.count;) {
        wf_unparked early = items[i];
        if (!(early.record->flags & WF_RECORD_DEFERRED)) {
            i++;
            continue;
        }
        items[i] = items[--self->early.count];
        unpark(self, env, &early);
    }
}

/* The deadline passed while this slice ran. Which record it was is certain only where there is one. */
static void mark_timeout(wf_record *record) {
    if (record->next || record->status == WF_DONE_PENDING) return;
    record->status = WF_DONE_TIMEOUT;
    free(record->reason);
    record->reason = wf_reason_copy("the handler did not end within handler.deadline.ms");
}

void wf_work_on_done(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_slice *slice = message->body;
    WF_CHECK(slice->worker < self->workers.count);
    wf_worker_entry *worker = self->workers.entries[slice->worker];
    WF_CHECK(worker->load > 0 && worker->slices[0].head == slice->head);
    if (worker->overrun) mark_timeout(slice->head);
    wf_chain back = {0};
    uint64_t retry_ns = 0;
    uint32_t ran = 0;
    uint64_t share_ns = (weft_env_now_ns(env) - wf_workers_busy_since_ns(worker)) / worker->slices[0].count;
    unsigned bucket = wf_histogram_bucket(share_ns); /* the same for all of the slice */
    wf_record *next;
    for (wf_record *record = slice->head; record; record = next) {
        next = record->next;
        wf_record_prefetch_head(next);
        ran += record->status != WF_DONE_UNRUN;
        wf_check_partition(record->slot, record->epoch);
        if (record->status != WF_DONE_UNRUN)
            wf_histogram_add_to(&self->slots[record->slot].sight->execution, bucket, share_ns);
        if (back.head && back.head->lane != record->lane) give_back(self, &back, &retry_ns);
        bool alone = record->flags & WF_RECORD_ANY_ORDER;
        come_back(self, env, record, &back, &retry_ns);
        if (alone) give_back(self, &back, &retry_ns); /* in an open lane nobody waits for its neighbour's retry */
    }
    give_back(self, &back, &retry_ns);
    wf_workers_done(&self->workers, worker, ran, weft_env_now_ns(env));
    if (self->early.count) unpark_early(self, env);
}

void wf_work_on_unparked(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_unparked *unparked = message->body;
    for (size_t i = 0; i < message->body_bytes / sizeof *unparked; i++) {
        if (unparked[i].record->flags & WF_RECORD_DEFERRED)
            unpark(self, env, &unparked[i]);
        else
            *(wf_unparked *)wf_work_append(&self->early, sizeof *unparked) = unparked[i];
    }
}

/* --- deadlines */

static void stuck(wf_work_manager_state *self, weft_env *env, const wf_record *record, const char *what) {
    bool goes_on = self->options.stuck_policy == WF_STUCK_ABANDON && self->workers.live > 0;
    if (self->failed && !goes_on) return; /* going down, it is looked at again and again */
    weft_env_log(env, WEFT_LOG_ERROR, "%s is stuck topic=%s partition=%d offset=%lld attempt=%u", what, record->topic,
                 record->partition, (long long)record->offset, record->attempt);
    if (goes_on) return;
    weft_env_fail(env, WEFT_ESTUCK,
                  "%s did not end within handler.deadline.ms and stuck.grace.ms: topic %s partition %d offset %lld "
                  "(or a record of the same slice)",
                  what, record->topic, record->partition, (long long)record->offset);
    self->failed = true;
}

static void check_worker(wf_work_manager_state *self, weft_env *env, wf_worker_entry *worker) {
    uint64_t since_ns = wf_workers_busy_since_ns(worker);
    if (since_ns == 0 || worker->lost) return;
    uint64_t busy_ns = weft_env_now_ns(env) - since_ns;
    /* Each record of the slice may take as long: beyond the sum, one of them certainly was too long. */
    uint64_t deadline_ns = self->options.handler_deadline_ns * worker->slices[0].count;
    if (busy_ns <= deadline_ns) return;
    const wf_record *record = worker->slices[0].head;
    if (!worker->overrun) {
        worker->overrun = true;
        weft_env_log(env, WEFT_LOG_WARN,
                     "handler past its deadline worker=%u topic=%s partition=%d offset=%lld records=%u", worker->number,
                     record->topic, record->partition, (long long)record->offset, worker->slices[0].count);
    }
    if (busy_ns <= deadline_ns + self->options.stuck_grace_ns) return;
    wf_workers_lose(&self->workers, worker);
    stuck(self, env, record, "a handler");
}

/* Abandoned: the token dies, so nobody can complete it any more, and the attempt has failed. */
static void abandon_parked(wf_work_manager_state *self, weft_env *env, wf_record *record) {
    if (!wf_pending_cancel(self->options.pending, record->pending, record)) return; /* it was completed just now */
    wf_unparked unparked = {.record = record, .reason = record->reason, .status = WF_DONE_TIMEOUT};
    unpark(self, env, &unparked);
}

static void check_parked(wf_work_manager_state *self, weft_env *env, wf_record *record) {
    uint64_t age_ns = weft_env_now_ns(env) - record->dispatch_ns;
    if (age_ns <= self->options.handler_deadline_ns) return;
    record->flags |= WF_RECORD_TIMED_OUT;
    if (age_ns <= self->options.handler_deadline_ns + self->options.stuck_grace_ns) return;
    stuck(self, env, record, "a deferred record");
    if (self->options.stuck_policy == WF_STUCK_ABANDON) abandon_parked(self, env, record);
}

static void check_all_parked(wf_work_manager_state *self, weft_env *env) {
    wf_record *next;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        if (self->slots[i].parked == 0) continue;
        for (wf_record *record = self->slots[i].head; record; record = next) {
            next = record->slot_next;
            if (record->state == WF_RECORD_PARKED) check_parked(self, env, record);
        }
    }
    /* Fenced ones keep their lane closed: what was delivered again waits for them. */
    for (wf_record *record = self->fenced; record; record = next) {
        next = record->slot_next;
        if (record->flags & WF_RECORD_DEFERRED) check_parked(self, env, record);
    }
}

uint64_t wf_work_check_deadlines(wf_work_manager_state *self, weft_env *env) {
    if (self->options.handler_deadline_ns == 0 || self->lent_records + self->parked_records == 0) return UINT64_MAX;
    for (uint32_t i = 0; i < self->workers.count; i++) check_worker(self, env, self->workers.entries[i]);
    if (self->parked_records) check_all_parked(self, env);
    uint64_t period_ns = self->options.handler_deadline_ns / 4;
    if (period_ns < 1000000) period_ns = 1000000;
    return weft_env_now_ns(env) + (period_ns < second_ns ? period_ns : second_ns);
}
