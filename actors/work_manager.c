/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager's messages and its dispatch. What it owns and its invariants: work_manager.h.
 */
#include "work_manager.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum {
    TIMER_WAKE = 0,     /* the next retry or the next drain deadline */
    TIMER_DEADLINE = 1, /* the next look at handlers */
    TIMER_HOLD = 2,     /* the next look at partitions that were stopped alone */
    SLICE_BYTES_MAX = 1 << 30,
};

/* A process that is killed has ended and is settled long before. */
static const uint64_t fence_patience_ns = 5000000000;
/* Between looks at partitions that may have to stop alone, or may go on. */
static const uint64_t hold_dwell_ns = 250000000;

/* Of all slices that workers can hold, what retries may have: one in four, at least one. */
static uint32_t retries_max(const wf_work_manager_state *self) {
    uint32_t share = self->workers.live * WF_SLICES_MAX / 4;
    return share ? share : 1;
}

static wf_work_slot *current_slot(wf_work_manager_state *self, uint32_t slot, uint32_t epoch) {
    wf_check_partition(slot, epoch);
    if (slot >= self->slot_count || self->slots[slot].epoch != epoch || self->slots[slot].phase == WF_WORK_GONE)
        return NULL;
    return &self->slots[slot];
}

/* --- outboxes */

void wf_work_send_all(weft_env *env, weft_actor_id to, uint32_t type, wf_work_outbox *outbox, size_t item_bytes) {
    if (outbox->count) weft_env_send(env, to, type, outbox->items, outbox->count * item_bytes);
    outbox->count = 0;
}

void wf_work_flush_offsets(wf_work_manager_state *self, weft_env *env) {
    wf_work_send_all(env, self->options.tracker, WF_MSG_FETCHED, &self->fetched, sizeof(wf_fetched));
    wf_work_send_all(env, self->options.tracker, WF_MSG_COMPLETED, &self->completed, sizeof(wf_completed));
}

/* --- records arriving */

static void note_fetched(wf_work_manager_state *self, const wf_record *record) {
    wf_fetched *last = self->fetched.count ? (wf_fetched *)self->fetched.items + self->fetched.count - 1 : NULL;
    if (last && last->slot == record->slot && last->epoch == record->epoch && last->run.end == record->offset) {
        last->run.end++;
        return;
    }
    wf_fetched *run = wf_work_append(&self->fetched, sizeof *run);
    *run = (wf_fetched){.slot = record->slot, .epoch = record->epoch, .run = {record->offset, record->offset + 1}};
}

static bool is_restored(wf_work_slot *slot, int64_t offset) {
    while (slot->restored_next < slot->restored_count && slot->restored[slot->restored_next].end <= offset)
        slot->restored_next++;
    return slot->restored_next < slot->restored_count && slot->restored[slot->restored_next].first <= offset;
}

static void note_came(wf_work_slot *slot, const wf_record *record) {
    if (slot->came_end <= record->offset) slot->came_end = record->offset + 1;
}

static void accept(wf_work_manager_state *self, wf_work_slot *slot, wf_record *record) {
    WF_CHECK_IMPLIES(slot->tail, slot->tail->offset < record->offset);
    note_fetched(self, record);
    if (slot->restored_count && is_restored(slot, record->offset)) {
        slot->skipped += slot->came_end <= record->offset;
        note_came(slot, record);
        wf_work_go_home(self, record);
        return;
    }
    note_came(slot, record);
    bool blocking = slot->head == NULL;
    record->slot_next = NULL;
    record->slot_prev = slot->tail;
    if (blocking)
        slot->head = record;
    else
        slot->tail->slot_next = record;
    slot->tail = record;
    wf_lanes_add(&self->lanes, record);
    if (blocking) wf_work_note_head(self, slot);
}

static void on_records(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_work_manager_state *self = state;
    const wf_chain *records = message->body;
    wf_lanes_ahead ahead;
    wf_lanes_ahead_begin(&self->lanes, records->head, &ahead);
    wf_record *next;
    for (wf_record *record = records->head; record; record = next) {
        next = record->next;
        wf_lanes_ahead_step(&self->lanes, &ahead);
        wf_work_slot *slot = current_slot(self, record->slot, record->epoch);
        if (slot && slot->phase == WF_WORK_ACTIVE && !slot->refetching)
            accept(self, slot, record);
        else
            wf_work_go_home(self, record);
    }
}

static int64_t restored_end(const wf_work_slot *slot) {
    return slot->restored_count ? slot->restored[slot->restored_count - 1].end : 0;
}

static void forget_restored(wf_work_slot *slot) {
    free(slot->restored);
    slot->restored = NULL;
    slot->restored_count = slot->restored_next = 0;
    slot->restored_large = false;
}

/* The committed map is somebody's claim about the log: it may not reach beyond its end. */
static void check_restored(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, int64_t end) {
    if (slot->bounded) return;
    slot->bounded = true;
    if (restored_end(slot) <= end) return;
    weft_env_log(env, WEFT_LOG_WARN, "committed map refused topic=%s partition=%d map_end=%lld log_end=%lld",
                 slot->topic, slot->partition, (long long)restored_end(slot), (long long)end);
    forget_restored(slot);
    self->maps_refused++;
    wf_partition refused = {.slot = wf_work_slot_index(self, slot), .epoch = slot->epoch};
    weft_env_send(env, self->options.tracker, WF_MSG_MAP_REFUSED, &refused, sizeof refused);
}

static void on_log_end(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_log_end *log_end = message->body;
    wf_work_slot *slot = current_slot(self, log_end->slot, log_end->epoch);
    if (!slot || slot->refetching) return;
    check_restored(self, env, slot, log_end->end);
    if (!log_end->reached) return;
    wf_work_flush_offsets(self, env); /* the runs below the end first */
    weft_env_send(env, self->options.tracker, WF_MSG_HOLE, log_end, sizeof *log_end);
}

/* --- assignment */

static weft_status reserve_slot(wf_work_manager_state *self, uint32_t slot) {
    weft_status status = wf_lanes_reserve_slot(&self->lanes, slot);
    if (status != WEFT_OK || slot < self->slot_count) return status;
    uint32_t count = slot + 1 < 16 ? 16 : 2 * (slot + 1);
    wf_work_slot *slots = realloc(self->slots, count * sizeof *slots);
    if (!slots) return WEFT_ENOMEM;
    memset(slots + self->slot_count, 0, (count - self->slot_count) * sizeof *slots);
    self->slots = slots;
    self->slot_count = count;
    return WEFT_OK;
}

/* One group of virtual queues for each topic: the one that another partition of it has, or the next. */
static weft_status group_topic(wf_work_manager_state *self, uint32_t slot, const char *topic) {
    uint32_t i = 0;
    while (i < self->topic_count && self->topics[i] != topic) i++;
    weft_status status = wf_lanes_group_slot(&self->lanes, slot, i);
    if (status != WEFT_OK || i < self->topic_count) return status;
    const char **topics = realloc(self->topics, (i + 1) * sizeof *topics);
    if (!topics) return WEFT_ENOMEM;
    self->topics = topics;
    self->topics[self->topic_count++] = topic;
    return WEFT_OK;
}

/* Somebody else wrote the map, in a format that holds more, or under a higher limit. */
static size_t restored_bound(const wf_work_manager_state *self, const wf_work_slot *slot, int64_t base) {
    uint64_t span = (uint64_t)(restored_end(slot) - base);
    return wf_metadata_codec_of(self->options.map_format)->size_bound(base, span, slot->restored_count);
}

static void on_assigned(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_assigned *assigned = message->body;
    if (reserve_slot(self, assigned->slot) != WEFT_OK) {
        free(assigned->runs);
        weft_env_fail(env, WEFT_ENOMEM, "no memory for partition %d of topic %s", assigned->partition, assigned->topic);
        return;
    }
    wf_work_slot *slot = &self->slots[assigned->slot];
    if (!slot->sight) slot->sight = calloc(1, sizeof *slot->sight);
    WF_CHECK(slot->sight != NULL);
    wf_check_partition(assigned->slot, assigned->epoch);
    WF_CHECK(slot->phase == WF_WORK_GONE && slot->head == NULL && assigned->epoch > slot->epoch);
    if (group_topic(self, assigned->slot, assigned->topic) != WEFT_OK) {
        free(assigned->runs);
        weft_env_fail(env, WEFT_ENOMEM, "no memory for the queues of topic %s", assigned->topic);
        return;
    }
    slot->topic = assigned->topic;
    slot->partition = assigned->partition;
    slot->epoch = assigned->epoch;
    slot->phase = WF_WORK_ACTIVE;
    slot->bounded = slot->refetching = false;
    slot->started_end = slot->came_end = 0;
    forget_restored(slot);
    slot->restored = assigned->runs;
    slot->restored_count = assigned->count;
    slot->restored_large = assigned->count && restored_bound(self, slot, assigned->base) > self->options.map_bytes;
    slot->progress = (wf_progress){.frontier = assigned->base < 0 ? 0 : assigned->base, .runs = assigned->count};
    slot->completed_sent = 0;
    self->active_count++;
    wf_lanes_stop_slot(&self->lanes, assigned->slot, slot->paused);
    slot->held = slot->paused;
    if (slot->held) wf_work_send_hold(self, env, slot, true);
    wf_partition ready = {.slot = assigned->slot, .epoch = assigned->epoch};
    weft_env_send(env, self->options.poller, WF_MSG_READY, &ready, sizeof ready);
}

static void end_slot(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, bool lost) {
    uint32_t unfinished = slot->out;
    wf_work_fence(self, slot);
    wf_work_flush_offsets(self, env);
    wf_drained drained = {
        .slot = wf_work_slot_index(self, slot), .epoch = slot->epoch, .unfinished = unfinished, .lost = lost};
    weft_env_send(env, self->options.tracker, WF_MSG_DRAINED, &drained, sizeof drained);
    if (slot->phase == WF_WORK_DRAINING) self->draining_count--;
    slot->phase = WF_WORK_GONE;
    slot->held = false;
    forget_restored(slot);
    wf_lanes_stop_slot(&self->lanes, wf_work_slot_index(self, slot), false);
    self->active_count--;
}

/* Queued records of a partition that goes: they were not started and never will be here. In offset order each is the
 * head of its lane. */
static void purge_queued(wf_work_manager_state *self, wf_work_slot *slot) {
    wf_record *next;
    for (wf_record *record = slot->head; record; record = next) {
        next = record->slot_next;
        if (record->state != WF_RECORD_QUEUED) continue;
        wf_lanes_remove(&self->lanes, record);
        wf_work_unlink(slot, record);
        wf_work_go_home(self, record);
    }
}

static wf_abandoned describe(const weft_env *env, const wf_record *record) {
    return (wf_abandoned){.topic = record->topic,
                          .partition = record->partition,
                          .attempt = record->attempt,
                          .offset = record->offset,
                          .running_ns = weft_env_now_ns(env) - record->dispatch_ns,
                          .deferred = (record->flags & WF_RECORD_DEFERRED) != 0};
}

/* Processes can be ended: the partition is released when nothing of it runs any more. */
static void fence_workers(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot) {
    wf_partition partition = {.slot = wf_work_slot_index(self, slot), .epoch = slot->epoch};
    weft_env_log(env, WEFT_LOG_WARN, "drain budget is over, workers are fenced topic=%s partition=%d unfinished=%u",
                 slot->topic, slot->partition, slot->out);
    weft_env_send(env, self->options.fencer, WF_MSG_FENCE, &partition, sizeof partition);
    for (const wf_record *record = slot->head; record; record = record->slot_next)
        if (record->state != WF_RECORD_QUEUED && slot->stopping)
            *(wf_abandoned *)wf_work_append(&self->killed, sizeof(wf_abandoned)) = describe(env, record);
    slot->fenced = true;
    slot->drain_deadline_ns = weft_env_now_ns(env) + fence_patience_ns;
}

static void on_revoke(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_revoke *revoke = message->body;
    wf_work_slot *slot = current_slot(self, revoke->slot, revoke->epoch);
    if (!slot) return;
    purge_queued(self, slot);
    if (slot->phase == WF_WORK_ACTIVE) self->draining_count++;
    slot->phase = WF_WORK_DRAINING;
    slot->drain_deadline_ns = revoke->deadline_ns;
    slot->fenced = false;
    slot->stopping = revoke->stopping;
    if (revoke->lost && slot->out && self->options.fencer) fence_workers(self, env, slot);
    if (revoke->lost || slot->out == 0) end_slot(self, env, slot, revoke->lost);
}

/* Partitions that drain: done, or out of time. Records that failed while draining wait in lanes and are purged. Returns
 * the next deadline. */
static uint64_t check_draining(wf_work_manager_state *self, weft_env *env) {
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < self->slot_count && self->draining_count; i++) {
        wf_work_slot *slot = &self->slots[i];
        if (slot->phase != WF_WORK_DRAINING) continue;
        purge_queued(self, slot);
        if (slot->out && slot->drain_deadline_ns <= weft_env_now_ns(env) && !slot->fenced && self->options.fencer)
            fence_workers(self, env, slot);
        if (slot->out == 0 || slot->drain_deadline_ns <= weft_env_now_ns(env)) {
            if (slot->out)
                weft_env_log(env, WEFT_LOG_WARN, "drain budget is over topic=%s partition=%d unfinished=%u",
                             slot->topic, slot->partition, slot->out);
            end_slot(self, env, slot, false);
        } else if (slot->drain_deadline_ns < next_ns) {
            next_ns = slot->drain_deadline_ns;
        }
    }
    return next_ns;
}

/* --- dispatch */

void wf_work_set_map_limit(wf_work_manager_options *options, size_t max_bytes) {
    const wf_metadata_codec *codec = wf_metadata_codec_of(options->map_format);
    options->map_bytes = max_bytes < codec->text_max ? max_bytes : codec->text_max;
    options->map_runs = codec->runs_that_fit(max_bytes);
    options->map_span = codec->span_that_fits(max_bytes);
    if (options->map_span == 0) options->map_span = 1;
}

/* Would the map of the partition still fit if this record completed, and all that is out? The frontier's own record
 * makes no map larger. */
static bool may_start(void *context, const wf_record *record) {
    const wf_work_manager_state *self = context;
    const wf_work_slot *slot = &self->slots[record->slot];
    int64_t frontier = slot->progress.frontier, end = record->offset + 1;
    if (slot->phase != WF_WORK_ACTIVE) return false;
    if (record->offset == frontier) return true;
    if (end < slot->started_end) end = slot->started_end;
    if (end < restored_end(slot)) end = restored_end(slot);
    uint64_t span = (uint64_t)(end - frontier);
    if (span <= self->options.map_span) return true;
    uint64_t runs = slot->progress.runs + slot->completed_sent - slot->progress.completed + slot->out + 1;
    if (runs < self->options.map_runs) return true;
    const wf_metadata_codec *codec = wf_metadata_codec_of(self->options.map_format);
    if (codec->size_bound(frontier, span, runs) <= self->options.map_bytes) return true;
    /* One that came too large is cut with every commit until its gaps are filled: nothing is kept by filling them
     * slowly. */
    return slot->restored_large && record->offset < restored_end(slot);
}

static bool has_room(const wf_work_manager_state *self) {
    const wf_work_manager_options *options = &self->options;
    return self->lent_records < options->in_flight_max_records && self->out_bytes < options->in_flight_max_bytes &&
           (!self->defers || self->parked_records + self->lent_records < options->pending_max_records);
}

static void lend(wf_work_manager_state *self, weft_env *env, wf_worker_entry *worker, wf_chain *slice) {
    uint64_t now_ns = weft_env_now_ns(env);
    for (wf_record *record = slice->head; record; record = record->next) {
        record->state = WF_RECORD_LENT;
        record->status = WF_DONE_SUCCESS;
        record->dispatch_ns = now_ns;
        record->pending = 0;
        record->flags &= (uint8_t) ~(WF_RECORD_DEFERRED | WF_RECORD_TIMED_OUT);
        wf_work_slot *slot = &self->slots[record->slot];
        slot->out++;
        if (slot->started_end <= record->offset) slot->started_end = record->offset + 1;
        self->out_bytes += record->block_bytes;
        if (record->attempt > 1) self->retries_out++;
    }
    self->lent_records += slice->count;
    if (self->begun_ns == 0) self->begun_ns = now_ns;
    wf_workers_sent(&self->workers, worker, slice->head, slice->count, now_ns);
    wf_slice work = {.head = slice->head, .count = slice->count, .worker = worker->index, .number = worker->number};
    weft_env_send(env, worker->actor, WF_MSG_WORK, &work, sizeof work);
}

static uint32_t at_most(uint32_t value, uint64_t limit) {
    return value < limit ? value : (uint32_t)limit;
}

/* A chain counts its bytes in 32 bits, and the record that overshoots the limit is below 2 GiB. */
static uint64_t slice_bytes(const wf_work_manager_options *options, uint64_t room) {
    uint64_t most = options->slice_max_bytes ? options->slice_max_bytes : SLICE_BYTES_MAX;
    return room < most ? room : most;
}

/* What blocks a frontier goes first. */
static void urge_heads(wf_work_manager_state *self) {
    for (uint32_t i = 0; i < self->new_heads.count; i++) {
        wf_work_slot *slot = &self->slots[((uint32_t *)self->new_heads.items)[i]];
        slot->new_head = false;
        if (slot->head) wf_lanes_urge(&self->lanes, slot->head);
    }
    self->new_heads.count = 0;
}

static void dispatch(wf_work_manager_state *self, weft_env *env) {
    const wf_work_manager_options *options = &self->options;
    urge_heads(self);
    while (wf_lanes_ready_count(&self->lanes) > 0 && has_room(self) && !self->failed) {
        wf_worker_entry *worker = wf_workers_pick(&self->workers);
        if (!worker) return;
        uint64_t room = options->in_flight_max_records - self->lent_records;
        if (self->defers)
            room = at_most((uint32_t)room, options->pending_max_records - self->parked_records - self->lent_records);
        uint32_t size = at_most(wf_workers_slice_size(&self->workers, worker, self->lanes.queued), room);
        wf_take take = {.records_max = size,
                        .lane_max = at_most(wf_workers_lane_size(&self->workers, size), room),
                        .bytes_max = slice_bytes(options, options->in_flight_max_bytes - self->out_bytes),
                        .one_per_lane = options->batch,
                        .retries = self->retries_out < retries_max(self),
                        .admit = may_start,
                        .context = self};
        wf_chain slice;
        wf_lanes_take(&self->lanes, &take, &slice);
        if (!slice.head) return;
        lend(self, env, worker, &slice);
    }
}

/* --- partitions that stop alone */

static void on_held(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    const wf_partition *held = message->body;
    wf_work_slot *slot = current_slot(state, held->slot, held->epoch);
    if (slot) slot->refetching = false;
}

static void arm_hold_timer(wf_work_manager_state *self, weft_env *env) {
    if (self->hold_timer || self->lanes.queued == 0 || !wf_work_any_over(self)) return;
    self->hold_timer = true;
    weft_env_arm(env, TIMER_HOLD, weft_env_now_ns(env) + hold_dwell_ns);
}

static void on_pause(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_pause *pause = message->body;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        wf_work_slot *slot = &self->slots[i];
        if (!slot->topic || (pause->topic[0] && strcmp(pause->topic, slot->topic) != 0)) continue;
        if (pause->partition >= 0 && pause->partition != slot->partition) continue;
        slot->paused = pause->pause;
        if (slot->phase != WF_WORK_ACTIVE) continue;
        wf_lanes_stop_slot(&self->lanes, i, slot->paused);
        wf_work_set_hold(self, env, slot, slot->paused);
    }
}

/* --- the rest of the messages */

static void on_progress(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_work_manager_state *self = state;
    const wf_progress *progress = message->body;
    for (size_t i = 0; i < message->body_bytes / sizeof *progress; i++) {
        wf_work_slot *slot = current_slot(self, progress[i].slot, progress[i].epoch);
        if (!slot) continue;
        slot->progress = progress[i];
        if (self->lanes.slots[progress[i].slot].parked.count) wf_lanes_unpark(&self->lanes, progress[i].slot);
    }
}

static void on_map_limit(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_work_set_map_limit(&((wf_work_manager_state *)state)->options, ((const wf_map_limit *)message->body)->bytes);
}

static void on_worker_up(void *state, weft_env *env, const weft_message *message) {
    wf_work_manager_state *self = state;
    const wf_worker_up *up = message->body;
    wf_worker_entry *entry = wf_workers_find(&self->workers, up->actor, up->worker);
    if (entry)
        wf_workers_set_away(&self->workers, entry, false);
    else if (wf_workers_add(&self->workers, up->actor, up->worker) != WEFT_OK)
        weft_env_fail(env, WEFT_ENOMEM, "no memory for worker %u", up->worker);
}

static void on_worker_down(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_work_manager_state *self = state;
    const wf_worker_up *down = message->body;
    wf_worker_entry *entry = wf_workers_find(&self->workers, down->actor, down->worker);
    WF_CHECK(entry != NULL);
    wf_workers_set_away(&self->workers, entry, true);
}

static void on_subscribe(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_work_manager_state *self = state;
    self->want_completions = ((const wf_subscribe *)message->body)->completions;
}

static bool on_turn(void *state, weft_env *env) {
    wf_work_manager_state *self = state;
    wf_lanes_expire(&self->lanes, weft_env_now_ns(env));
    uint64_t wake_ns = check_draining(self, env);
    dispatch(self, env);
    wf_work_flush_offsets(self, env);
    wf_work_flush_home(self, env);
    arm_hold_timer(self, env);
    uint64_t retry_ns = wf_lanes_next_retry_ns(&self->lanes);
    if (retry_ns < wake_ns) wake_ns = retry_ns;
    if (wake_ns == UINT64_MAX)
        weft_env_disarm(env, TIMER_WAKE);
    else
        weft_env_arm(env, TIMER_WAKE, wake_ns);
    if (!self->deadline_timer && self->options.handler_deadline_ns && self->lent_records + self->parked_records) {
        weft_env_arm(env, TIMER_DEADLINE, weft_env_now_ns(env) + self->options.handler_deadline_ns);
        self->deadline_timer = true;
    }
    return false;
}

static void on_timer(void *state, weft_env *env, unsigned timer) {
    wf_work_manager_state *self = state;
    if (timer == TIMER_HOLD) {
        self->hold_timer = wf_work_look_at_holds(self, env);
        if (self->hold_timer) weft_env_arm(env, TIMER_HOLD, weft_env_now_ns(env) + hold_dwell_ns);
    } else if (timer == TIMER_DEADLINE) {
        uint64_t next_ns = wf_work_check_deadlines(self, env);
        self->deadline_timer = next_ns != UINT64_MAX;
        if (self->deadline_timer) weft_env_arm(env, TIMER_DEADLINE, next_ns);
    }
}

/* --- life cycle */

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    wf_work_manager_state *self = state;
    self->options = *(const wf_work_manager_options *)argument;
    /* Who is abandoned takes everything in his hands along: that must be one record, not those of other keys. */
    bool one_by_one = self->options.handler_deadline_ns && self->options.stuck_policy == WF_STUCK_ABANDON;
    wf_workers_init(&self->workers, one_by_one ? 1 : self->options.slice_max_records);
    self->workers.single = one_by_one;
    self->workers.remote = self->options.fencer != 0;
    return wf_lanes_init(&self->lanes, self->options.ordering, self->options.null_key_serial,
                         self->options.virtual_partitions);
}

/* The poller has drained before: what is still out now was fenced at the deadline. */
static void on_stop(void *state, weft_env *env, uint64_t deadline_ns) {
    (void)deadline_ns;
    wf_work_manager_state *self = state;
    self->failed = true;
    wf_work_outbox abandoned = self->killed;
    self->killed = (wf_work_outbox){0};
    for (const wf_record *record = self->fenced; record; record = record->slot_next)
        *(wf_abandoned *)wf_work_append(&abandoned, sizeof(wf_abandoned)) = describe(env, record);
    for (uint32_t i = 0; i < self->slot_count; i++)
        for (const wf_record *record = self->slots[i].head; record; record = record->slot_next)
            if (record->state != WF_RECORD_QUEUED)
                *(wf_abandoned *)wf_work_append(&abandoned, sizeof(wf_abandoned)) = describe(env, record);
    wf_work_send_all(env, 1, WF_MSG_ABANDONED, &abandoned, sizeof(wf_abandoned));
    free(abandoned.items);
}

static void deinit(void *state, weft_env *env) {
    (void)env;
    wf_work_manager_state *self = state;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        forget_restored(&self->slots[i]);
        free(self->slots[i].sight);
    }
    wf_unparked *early = self->early.items;
    for (uint32_t i = 0; i < self->early.count; i++) free(early[i].reason);
    free(self->topics);
    free(self->killed.items);
    free(self->fetched.items);
    free(self->completed.items);
    free(self->completions.items);
    free(self->early.items);
    free(self->new_heads.items);
    free(self->slots);
    wf_workers_deinit(&self->workers);
    wf_lanes_deinit(&self->lanes);
}

const weft_actor_class wf_work_manager = {
    .name = "work_manager",
    .state_bytes = sizeof(wf_work_manager_state),
    .init = init,
    .on =
        {
            [WF_MSG_RECORDS] = on_records,
            [WF_MSG_LOG_END] = on_log_end,
            [WF_MSG_REVOKE] = on_revoke,
            [WF_MSG_ASSIGNED] = on_assigned,
            [WF_MSG_PROGRESS] = on_progress,
            [WF_MSG_MAP_LIMIT] = on_map_limit,
            [WF_MSG_WORKER_UP] = on_worker_up,
            [WF_MSG_WORKER_DOWN] = on_worker_down,
            [WF_MSG_DONE] = wf_work_on_done,
            [WF_MSG_UNPARKED] = wf_work_on_unparked,
            [WF_MSG_PAUSE] = on_pause,
            [WF_MSG_HELD] = on_held,
            [WF_MSG_SUBSCRIBE] = on_subscribe,
            [WF_MSG_GAUGES_ASK] = wf_work_on_gauges_ask,
        },
    .on_timer = on_timer,
    .on_turn = on_turn,
    .on_stop = on_stop,
    .deinit = deinit,
};
