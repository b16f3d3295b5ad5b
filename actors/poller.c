/* SPDX-License-Identifier: Apache-2.0
 *
 * The poller's assignment, events and life cycle. What it owns and its invariants: poller.h.
 *
 * An assignment: on_assign -> committed offsets asked -> RESTORE goes round (encoder, tracker, work manager) -> READY
 * -> assign(). A revocation: on_revoke -> REVOKE goes round (work manager, tracker, encoder) -> DRAINED -> last commit
 * answered -> unassign().
 */
#include "poller.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "histogram.h"

/* librdkafka must be served well within max.poll.interval.ms even when nothing happens. */
static const uint64_t serve_interval_ns = 1000000000;
static const uint64_t ask_again_ns = 500000000;

/* --- slots */

static wf_poller_topic *find_topic(wf_poller_state *self, const char *name) {
    for (uint32_t i = 0; i < self->topic_count; i++)
        if (strcmp(self->topics[i].name, name) == 0) return &self->topics[i];
    self->topics = realloc(self->topics, (self->topic_count + 1) * sizeof *self->topics);
    WF_CHECK(self->topics != NULL);
    wf_poller_topic *topic = &self->topics[self->topic_count++];
    *topic = (wf_poller_topic){.name = strdup(name)};
    WF_CHECK(topic->name != NULL);
    return topic;
}

static uint32_t new_slot(wf_poller_state *self, const char *topic, int32_t partition) {
    if (self->slot_count == self->slot_room) {
        self->slot_room = self->slot_room ? 2 * self->slot_room : 16;
        self->slots = realloc(self->slots, self->slot_room * sizeof *self->slots);
        WF_CHECK(self->slots != NULL);
    }
    self->slots[self->slot_count] =
        (wf_poller_slot){.topic = topic, .partition = partition, .next = -1, .log_end = -1, .eof = -1, .committed = -1};
    return self->slot_count++;
}

uint32_t wf_poller_slot_of(wf_poller_state *self, const char *name, int32_t partition) {
    wf_poller_topic *topic = find_topic(self, name);
    WF_CHECK(partition >= 0);
    if (partition >= topic->partition_count) {
        int32_t count = 2 * partition + 8;
        topic->slots = realloc(topic->slots, (size_t)count * sizeof *topic->slots);
        WF_CHECK(topic->slots != NULL);
        memset(topic->slots + topic->partition_count, 0,
               (size_t)(count - topic->partition_count) * sizeof *topic->slots);
        topic->partition_count = count;
    }
    if (topic->slots[partition] == 0) topic->slots[partition] = new_slot(self, topic->name, partition) + 1;
    return topic->slots[partition] - 1;
}

wf_poller_slot *wf_poller_slot_at(wf_poller_state *self, const char *topic, int32_t partition) {
    uint32_t index = wf_poller_slot_of(self, topic, partition); /* it may move the table */
    return &self->slots[index];
}

uint32_t wf_poller_slot_of_record(wf_poller_state *self, const wf_kafka_record *record) {
    if (record->topic_id == self->last_topic_id && record->partition == self->last_partition) return self->last_slot;
    wf_poller_topic *topic = NULL;
    for (uint32_t i = 0; i < self->topic_count && !topic; i++)
        if (self->topics[i].topic_id == record->topic_id) topic = &self->topics[i];
    if (!topic) {
        topic = find_topic(self, record->topic);
        topic->topic_id = record->topic_id;
    }
    if (record->partition >= topic->partition_count || topic->slots[record->partition] == 0) return UINT32_MAX;
    self->last_topic_id = record->topic_id;
    self->last_partition = record->partition;
    self->last_slot = topic->slots[record->partition] - 1;
    return self->last_slot;
}

/* --- lists that librdkafka waits for */

static void rebalance_open(wf_poller_state *self, wf_rebalance *rebalance, const wf_kafka_partition *partitions,
                           size_t count, bool incremental) {
    WF_CHECK(!rebalance->open);
    rebalance->partitions = calloc(count ? count : 1, sizeof *partitions);
    WF_CHECK(rebalance->partitions != NULL);
    rebalance->count = count;
    rebalance->incremental = incremental;
    rebalance->open = true;
    for (size_t i = 0; i < count; i++) {
        const wf_poller_slot *slot = wf_poller_slot_at(self, partitions[i].topic, partitions[i].partition);
        rebalance->partitions[i] = (wf_kafka_partition){.topic = slot->topic, .partition = slot->partition};
    }
}

static void rebalance_close(wf_rebalance *rebalance) {
    free(rebalance->partitions);
    *rebalance = (wf_rebalance){0};
}

static wf_poller_slot *slot_in(wf_poller_state *self, const wf_rebalance *rebalance, size_t i) {
    return wf_poller_slot_at(self, rebalance->partitions[i].topic, rebalance->partitions[i].partition);
}

/* --- assignment */

static void ask_committed(wf_poller_state *self, weft_env *env) {
    self->ask_ns = 0;
    if (!self->assign.open) return;
    self->ask_stale = self->ask_open;
    if (self->ask_open) return;
    weft_status status =
        self->options.kafka->ops->fetch_committed(self->options.kafka, self->assign.partitions, self->assign.count);
    self->ask_open = status == WEFT_OK;
    if (!self->ask_open) self->ask_ns = weft_env_now_ns(env) + ask_again_ns;
}

static void on_assign(void *context, const wf_kafka_partition *partitions, size_t count, bool incremental) {
    wf_poller_state *self = context;
    weft_env_log(self->env, WEFT_LOG_INFO, "assigned partitions=%zu incremental=%d", count, incremental);
    self->metrics.assignments++;
    self->metrics.is_member = self->metrics.is_connected = true;
    wf_poller_begin_membership(self);
    rebalance_open(self, &self->assign, partitions, count, incremental);
    for (size_t i = 0; i < count; i++) {
        wf_poller_slot *slot = slot_in(self, &self->assign, i);
        WF_CHECK(slot->phase == WF_SLOT_FREE);
        slot->phase = WF_SLOT_ASKING;
        slot->epoch++;
        slot->revoke_wanted = slot->lost = slot->closed = slot->bounded = slot->held = slot->given = slot->drained =
            slot->resetting = slot->log_gone = false;
        slot->base = WF_KAFKA_OFFSET_NONE;
        slot->next = slot->committed = slot->log_end = slot->eof = -1;
    }
    if (count == 0) {
        self->options.kafka->ops->assign(self->options.kafka, NULL, 0, incremental);
        rebalance_close(&self->assign);
        return;
    }
    ask_committed(self, self->env);
}

static void restore(wf_poller_state *self, wf_poller_slot *slot, const wf_kafka_partition *committed) {
    slot->phase = WF_SLOT_RESTORING;
    slot->base = committed->offset >= 0 ? committed->offset : WF_KAFKA_OFFSET_NONE;
    slot->committed = slot->base >= 0 ? slot->base : -1;
    wf_restore message = {.topic = slot->topic,
                          .partition = slot->partition,
                          .slot = (uint32_t)(slot - self->slots),
                          .epoch = slot->epoch,
                          .base = slot->committed};
    if (slot->base >= 0 && committed->metadata_bytes) {
        message.metadata = malloc(committed->metadata_bytes);
        WF_CHECK(message.metadata != NULL);
        memcpy(message.metadata, committed->metadata, committed->metadata_bytes);
        message.metadata_bytes = (uint32_t)committed->metadata_bytes;
    }
    weft_env_send(self->env, self->options.encoder, WF_MSG_RESTORE, &message, sizeof message);
}

static void on_committed_offsets(void *context, wf_kafka_error error, const char *text,
                                 const wf_kafka_partition *partitions, size_t count) {
    wf_poller_state *self = context;
    self->ask_open = false;
    if (error != WF_KAFKA_AWAY) self->metrics.is_connected = true;
    if (self->ask_stale) {
        ask_committed(self, self->env);
        return;
    }
    bool complete = error == WF_KAFKA_OK;
    for (size_t i = 0; i < count && complete; i++) complete = partitions[i].error == WF_KAFKA_OK;
    if (!complete) {
        weft_env_log(self->env, WEFT_LOG_WARN, "committed offsets not to be had, asked again: %s",
                     text ? text : "a partition failed");
        self->ask_ns = weft_env_now_ns(self->env) + ask_again_ns;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        wf_poller_slot *slot = wf_poller_slot_at(self, partitions[i].topic, partitions[i].partition);
        if (slot->phase == WF_SLOT_ASKING) restore(self, slot, &partitions[i]);
    }
    for (size_t i = 0; i < self->assign.count; i++) {
        const wf_poller_slot *slot = slot_in(self, &self->assign, i);
        if (slot->phase != WF_SLOT_ASKING) continue;
        weft_env_log(self->env, WEFT_LOG_WARN, "committed offset not in the answer, asked again topic=%s partition=%d",
                     slot->topic, slot->partition);
        self->ask_ns = weft_env_now_ns(self->env) + ask_again_ns;
    }
}

/* All know all partitions: let librdkafka fetch them. */
static void finish_assign(wf_poller_state *self, weft_env *env) {
    if (!self->assign.open) return;
    for (size_t i = 0; i < self->assign.count; i++) {
        wf_poller_slot *slot = slot_in(self, &self->assign, i);
        if (slot->phase == WF_SLOT_ASKING || slot->phase == WF_SLOT_RESTORING) return;
        self->assign.partitions[i].offset = slot->base;
    }
    weft_status status = self->options.kafka->ops->assign(self->options.kafka, self->assign.partitions,
                                                          self->assign.count, self->assign.incremental);
    if (status != WEFT_OK)
        weft_env_fail(env, status, "librdkafka refused the assignment of %zu partitions", self->assign.count);
    for (size_t i = 0; i < self->assign.count; i++) {
        wf_poller_slot *slot = slot_in(self, &self->assign, i);
        slot->given = true;
        if (slot->held) self->options.kafka->ops->hold(self->options.kafka, slot->topic, slot->partition, true);
    }
    rebalance_close(&self->assign);
}

static void send_revoke(wf_poller_state *self, weft_env *env, wf_poller_slot *slot) {
    slot->phase = WF_SLOT_REVOKING;
    wf_revoke revoke = {.slot = (uint32_t)(slot - self->slots),
                        .epoch = slot->epoch,
                        .deadline_ns = self->revoke_deadline_ns,
                        .lost = slot->lost,
                        .stopping = self->stopping};
    weft_env_send(env, self->options.manager, WF_MSG_REVOKE, &revoke, sizeof revoke);
}

/* --- a log that is not the one we knew */

void wf_poller_reset_log(wf_poller_state *self, wf_poller_slot *slot, int64_t offset) {
    weft_env_log(self->env, WEFT_LOG_WARN,
                 "the log was truncated or made anew: begun again topic=%s partition=%d offset=%lld known_end=%lld",
                 slot->topic, slot->partition, (long long)offset,
                 (long long)(slot->next >= 0 ? slot->next : slot->base));
    if (slot->held) self->options.kafka->ops->hold(self->options.kafka, slot->topic, slot->partition, false);
    wf_poller_drop_commits(slot);
    slot->held = false;
    slot->lost = slot->resetting = slot->log_gone = true;
    slot->reset_offset = offset;
    send_revoke(self, self->env, slot);
}

static void begin_anew(wf_poller_state *self, weft_env *env, wf_poller_slot *slot) {
    slot->epoch++;
    slot->phase = WF_SLOT_RESTORING;
    slot->lost = slot->bounded = slot->drained = slot->log_gone = false;
    slot->base = WF_KAFKA_OFFSET_NONE;
    slot->next = slot->committed = slot->log_end = slot->eof = -1;
    wf_restore message = {.topic = slot->topic,
                          .partition = slot->partition,
                          .slot = (uint32_t)(slot - self->slots),
                          .epoch = slot->epoch,
                          .base = -1};
    weft_env_send(env, self->options.encoder, WF_MSG_RESTORE, &message, sizeof message);
}

/* What was read ahead is void; what came since was not taken. */
static void seek_after_reset(wf_poller_state *self, weft_env *env, wf_poller_slot *slot) {
    slot->resetting = false;
    weft_status status =
        self->options.kafka->ops->seek(self->options.kafka, slot->topic, slot->partition, slot->reset_offset);
    if (status != WEFT_OK)
        weft_env_fail(env, WEFT_EKAFKA,
                      "topic %s partition %d: can't go back to offset %lld, where the log begins now: %s", slot->topic,
                      slot->partition, (long long)slot->reset_offset, weft_status_text(status));
}

static void on_ready(void *state, weft_env *env, const weft_message *message) {
    wf_poller_state *self = state;
    const wf_partition *partition = message->body;
    wf_poller_slot *slot = &self->slots[partition->slot];
    wf_check_partition(partition->slot, partition->epoch);
    WF_CHECK(slot->epoch == partition->epoch && slot->phase == WF_SLOT_RESTORING);
    slot->phase = WF_SLOT_ACTIVE;
    if (slot->revoke_wanted)
        send_revoke(self, env, slot);
    else if (slot->resetting)
        seek_after_reset(self, env, slot);
}

/* --- revocation */

static void revoke_slot(wf_poller_state *self, wf_poller_slot *slot, bool lost) {
    slot->lost = lost || (slot->resetting &&
                          slot->phase == WF_SLOT_REVOKING); /* of the log as it was, nothing may be committed */
    slot->resetting = false;
    if (slot->lost) wf_poller_lose_commits(slot);
    if (slot->phase == WF_SLOT_ACTIVE)
        send_revoke(self, self->env, slot);
    else if (slot->phase == WF_SLOT_ASKING)
        slot->phase = WF_SLOT_FREE; /* nobody else knows of it */
    else
        slot->revoke_wanted = true;
}

static void on_revoke(void *context, const wf_kafka_partition *partitions, size_t count, bool incremental, bool lost) {
    wf_poller_state *self = context;
    weft_env_log(self->env, lost ? WEFT_LOG_WARN : WEFT_LOG_INFO, "%s partitions=%zu incremental=%d",
                 lost ? "lost" : "revoked", count, incremental);
    self->metrics.assignments++;
    self->metrics.lost += lost;
    if (!incremental || lost) self->metrics.is_member = false;
    self->revoke_since_ns = weft_env_now_ns(self->env);
    self->revoke_deadline_ns = weft_env_now_ns(self->env) + self->options.drain_timeout_ns;
    if (self->stopping && self->stop_deadline_ns < self->revoke_deadline_ns)
        self->revoke_deadline_ns = self->stop_deadline_ns;
    rebalance_open(self, &self->revoke, partitions, count, incremental);
    for (size_t i = 0; i < count; i++) revoke_slot(self, slot_in(self, &self->revoke, i), lost);
    if (self->assign.open) { /* taken away before it began; the answer to the revocation is the answer to both */
        self->ask_ns = 0;
        rebalance_close(&self->assign);
    }
}

static void on_drained(void *state, weft_env *env, const weft_message *message) {
    wf_poller_state *self = state;
    const wf_drained *drained = message->body;
    wf_poller_slot *slot = &self->slots[drained->slot];
    wf_check_partition(drained->slot, drained->epoch);
    WF_CHECK(slot->epoch == drained->epoch && slot->phase == WF_SLOT_REVOKING);
    slot->drained = true;
    if (drained->uncommitted && !slot->log_gone) slot->uncommitted = true;
    self->fenced_ever = self->fenced_ever || drained->unfinished > 0;
    self->metrics.fenced += drained->unfinished;
    if (slot->resetting) begin_anew(self, env, slot);
}

static void finish_revoke(wf_poller_state *self, weft_env *env) {
    if (!self->revoke.open) return;
    for (size_t i = 0; i < self->revoke.count; i++)
        if (!wf_poller_is_released(self, env, slot_in(self, &self->revoke, i))) return;
    for (size_t i = 0; i < self->revoke.count; i++) {
        wf_poller_slot *slot = slot_in(self, &self->revoke, i);
        wf_poller_end_commits(env, slot);
        slot->phase = WF_SLOT_FREE;
    }
    weft_status status = self->options.kafka->ops->unassign(self->options.kafka, self->revoke.partitions,
                                                            self->revoke.count, self->revoke.incremental);
    if (status != WEFT_OK)
        weft_env_log(env, WEFT_LOG_ERROR, "librdkafka refused to take back %zu partitions", self->revoke.count);
    wf_histogram_add(&self->metrics.drain_time, weft_env_now_ns(env) - self->revoke_since_ns);
    rebalance_close(&self->revoke);
}

/* --- other events */

static void on_error(void *context, wf_kafka_error error, const char *text, const char *topic, int32_t partition) {
    wf_poller_state *self = context;
    if (error == WF_KAFKA_FATAL) {
        weft_env_fail(self->env, WEFT_EKAFKA, "%s", text);
        return;
    }
    if (error == WF_KAFKA_AWAY) self->metrics.is_connected = false;
    self->metrics.kafka_errors++;
    uint64_t now_ns = weft_env_now_ns(self->env);
    if (self->error_logged_ns && now_ns - self->error_logged_ns < 1000000000) {
        self->errors_silent++;
        return;
    }
    weft_env_log(self->env, WEFT_LOG_WARN, "kafka: %s topic=%s partition=%d not_logged=%llu", text, topic ? topic : "-",
                 partition, (unsigned long long)self->errors_silent);
    self->error_logged_ns = now_ns;
    self->errors_silent = 0;
}

static void on_closed(void *context) {
    wf_poller_state *self = context;
    self->closed = true;
}

static void on_log(void *context, int level, const char *facility, const char *text) {
    wf_poller_state *self = context;
    weft_log_level mapped = level <= 3 ? WEFT_LOG_ERROR : level == 4 ? WEFT_LOG_WARN : WEFT_LOG_DEBUG;
    weft_env_log(self->env, mapped, "librdkafka %s: %s", facility, text);
}

const wf_kafka_sink wf_poller_sink = {
    .on_assign = on_assign,
    .on_revoke = on_revoke,
    .on_committed_offsets = on_committed_offsets,
    .on_commit_result = wf_poller_on_commit_result,
    .on_error = on_error,
    .on_record = wf_poller_on_record,
    .on_eof = wf_poller_on_eof,
    .on_closed = on_closed,
    .on_log = on_log,
};

/* The work manager gave back what it had from this offset on: it comes again when the partition goes on. */
static void set_back(wf_poller_state *self, weft_env *env, wf_poller_slot *slot, int64_t offset) {
    wf_partition held = {.slot = (uint32_t)(slot - self->slots), .epoch = slot->epoch};
    if (slot->phase == WF_SLOT_ACTIVE && !slot->closed) {
        weft_status status = self->options.kafka->ops->seek(self->options.kafka, slot->topic, slot->partition, offset);
        if (status != WEFT_OK)
            weft_env_fail(env, WEFT_EKAFKA, "topic %s partition %d: can't go back to offset %lld: %s", slot->topic,
                          slot->partition, (long long)offset, weft_status_text(status));
        slot->next = offset;
        slot->eof = -1;
    }
    weft_env_send(env, self->options.manager, WF_MSG_HELD, &held, sizeof held);
}

static void on_hold(void *state, weft_env *env, const weft_message *message) {
    wf_poller_state *self = state;
    const wf_hold *hold = message->body;
    wf_poller_slot *slot = &self->slots[hold->slot];
    if (slot->epoch != hold->epoch) return;
    slot->held = hold->hold;
    if (slot->phase == WF_SLOT_ACTIVE && slot->given)
        self->options.kafka->ops->hold(self->options.kafka, slot->topic, slot->partition, hold->hold);
    if (hold->back_to >= 0) set_back(self, env, slot, hold->back_to);
}

/* librdkafka says when the brokers are away, and not when they are back: an answer to any question says it, be it that
 * the topic is not there. Without a partition of ours it is asked about one that may not exist. */
static void look_for_broker(wf_poller_state *self) {
    if (self->metrics.is_connected || self->ask_open || self->assign.open || self->stopping) return;
    wf_kafka_partition one = {.topic = self->options.topics[0]};
    for (uint32_t i = 0; i < self->slot_count; i++) {
        if (self->slots[i].phase != WF_SLOT_ACTIVE) continue;
        one = (wf_kafka_partition){.topic = self->slots[i].topic, .partition = self->slots[i].partition};
        break;
    }
    self->ask_open = self->options.kafka->ops->fetch_committed(self->options.kafka, &one, 1) == WEFT_OK;
    self->ask_stale = self->ask_open; /* the answer is for no assignment */
}

static void on_gauges_ask(void *state, weft_env *env, const weft_message *message) {
    wf_poller_state *self = state;
    look_for_broker(self);
    for (uint32_t i = 0; i < self->slot_count; i++) {
        wf_poller_slot *slot = &self->slots[i];
        if (slot->phase != WF_SLOT_ACTIVE) continue;
        int64_t end = self->options.kafka->ops->log_end(self->options.kafka, slot->topic, slot->partition);
        if (end > slot->log_end) slot->log_end = end;
        wf_gauges gauges = {.slot = i, .owner = WF_GAUGES_POLLER};
        gauges.metrics.topic = slot->topic;
        gauges.metrics.partition = slot->partition;
        gauges.metrics.epoch = slot->epoch;
        gauges.metrics.log_end = slot->log_end;
        weft_env_send(env, message->from, WF_MSG_GAUGES, &gauges, sizeof gauges);
    }
    wf_gauges_end end = {
        .ticket = ((const wf_ask *)message->body)->ticket, .owner = WF_GAUGES_POLLER, .metrics = self->metrics};
    end.metrics.held_bytes = wf_record_pool_held_bytes(&self->pool);
    end.metrics.reserved_bytes = wf_record_pool_reserved_bytes(&self->pool);
    end.metrics.librdkafka_records = self->options.kafka->ops->queued(self->options.kafka);
    end.metrics.uncommitted = wf_poller_uncommitted(self);
    if (self->idle_since_ns) end.metrics.idle_ns += weft_env_now_ns(env) - self->idle_since_ns;
    if (self->paused_since_ns) end.metrics.paused_ns += weft_env_now_ns(env) - self->paused_since_ns;
    weft_env_send(env, message->from, WF_MSG_GAUGES_END, &end, sizeof end);
}

/* --- turns */

static bool serve(wf_poller_state *self, weft_env *env) {
    self->env = env;
    bool more = self->options.kafka->ops->serve(self->options.kafka, &wf_poller_sink, self);
    return more;
}

/* Closed but for librdkafka, or out of time. */
static void give_up_late(wf_poller_state *self, weft_env *env) {
    if (self->closed || !self->stopping) return;
    if (weft_env_now_ns(env) < self->stop_deadline_ns + WF_POLLER_LAST_COMMIT_NS) return;
    weft_env_log(env, WEFT_LOG_ERROR,
                 "the group was not left in time: its coordinator finds out by session.timeout.ms");
    self->closed = true;
}

/* Not while partitions are taken back: librdkafka 2.0.2 would leave at once then, with records of them still running
 * here and their last commit to come, and the next owner would begin. */
static void leave_group(wf_poller_state *self, weft_env *env) {
    if (!self->stopping || self->leaving || self->revoke.open) return;
    self->leaving = true;
    weft_status status = self->options.kafka->ops->close_begin(self->options.kafka);
    if (status == WEFT_OK) return;
    weft_env_log(env, WEFT_LOG_ERROR, "librdkafka can't leave the group: %s", weft_status_text(status));
    self->closed = true;
}

static bool on_turn(void *state, weft_env *env) {
    wf_poller_state *self = state;
    if (self->closed) return false;
    uint64_t now_ns = weft_env_now_ns(env);
    bool more = serve(self, env);
    if (self->ask_ns && self->ask_ns <= now_ns) ask_committed(self, env);
    finish_assign(self, env);
    uint64_t work_ns = wf_poller_send_commits(self, env);
    finish_revoke(self, env);
    leave_group(self, env);
    more = wf_poller_fetch(self, env) || more;
    give_up_late(self, env);
    if (self->ask_ns && self->ask_ns < work_ns) work_ns = self->ask_ns;
    uint64_t release_ns = self->revoke_deadline_ns + WF_POLLER_LAST_COMMIT_NS;
    if (self->revoke.open && release_ns < work_ns) work_ns = release_ns;
    if (self->stopping && self->stop_deadline_ns + WF_POLLER_LAST_COMMIT_NS < work_ns)
        work_ns = self->stop_deadline_ns + WF_POLLER_LAST_COMMIT_NS;
    if (work_ns == UINT64_MAX)
        weft_env_disarm(env, WF_POLLER_TIMER_WORK);
    else
        weft_env_arm(env, WF_POLLER_TIMER_WORK, work_ns);
    weft_env_arm(env, WF_POLLER_TIMER_SERVE, now_ns + serve_interval_ns);
    return more;
}

static void on_timer(void *state, weft_env *env, unsigned timer) {
    if (timer == WF_POLLER_TIMER_IDLE) wf_poller_idle_timer(state, env);
}

/* --- life cycle */

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    wf_poller_state *self = state;
    self->options = *(const wf_poller_options *)argument;
    self->credit_records = self->options.queue_max_records;
    self->credit_bytes = (int64_t)self->options.queue_max_bytes;
    self->metrics.is_connected = true; /* until librdkafka says otherwise, which it does soon */
    return wf_record_pool_init(&self->pool, self->options.queue_max_bytes + self->options.in_flight_max_bytes);
}

static void on_start(void *state, weft_env *env) {
    wf_poller_state *self = state;
    int events_fd, records_fd;
    self->options.kafka->ops->descriptors(self->options.kafka, &events_fd, &records_fd);
    weft_env_watch(env, 0, events_fd);
    weft_env_watch(env, 1, records_fd);
    weft_status status =
        self->options.kafka->ops->subscribe(self->options.kafka, self->options.topics, self->options.topic_count);
    if (status != WEFT_OK) weft_env_fail(env, status, "librdkafka refused the subscription");
}

/* What drains already hears of the shorter time, too. */
static void shorten_revoke(wf_poller_state *self, weft_env *env, uint64_t deadline_ns) {
    if (!self->revoke.open || deadline_ns >= self->revoke_deadline_ns) return;
    self->revoke_deadline_ns = deadline_ns;
    for (size_t i = 0; i < self->revoke.count; i++) {
        wf_poller_slot *slot = slot_in(self, &self->revoke, i);
        if (slot->phase == WF_SLOT_REVOKING && !slot->drained) send_revoke(self, env, slot);
    }
}

static void on_stop(void *state, weft_env *env, uint64_t deadline_ns) {
    wf_poller_state *self = state;
    self->stopping = true;
    self->stop_deadline_ns = deadline_ns;
    shorten_revoke(self, env, deadline_ns);
}

static bool is_drained(const void *state) {
    return ((const wf_poller_state *)state)->closed;
}

static void hand_over_names(wf_poller_state *self) {
    wf_topic_names *names = self->options.names;
    if (names) names->names = calloc(self->topic_count ? self->topic_count : 1, sizeof *names->names);
    for (uint32_t i = 0; i < self->topic_count; i++) {
        free(self->topics[i].slots);
        if (!names)
            free(self->topics[i].name);
        else if (names->names)
            names->names[names->count++] = self->topics[i].name;
    }
    free(self->topics);
}

static void deinit(void *state, weft_env *env) {
    (void)env;
    wf_poller_state *self = state;
    self->options.kafka->ops->free(self->options.kafka);
    for (uint32_t i = 0; i < self->slot_count; i++) wf_poller_drop_commits(&self->slots[i]);
    hand_over_names(self);
    rebalance_close(&self->assign);
    rebalance_close(&self->revoke);
    free(self->slots);
    /* A fenced record may be in a handler's hands for ever; without one, all blocks must be home. */
    if (self->fenced_ever)
        wf_record_pool_abandon(&self->pool);
    else
        wf_record_pool_deinit(&self->pool);
}

const weft_actor_class wf_poller = {
    .name = "poller",
    .state_bytes = sizeof(wf_poller_state),
    .init = init,
    .on_start = on_start,
    .on =
        {
            [WF_MSG_CREDIT] = wf_poller_on_credit,
            [WF_MSG_READY] = on_ready,
            [WF_MSG_HOLD] = on_hold,
            [WF_MSG_COMMIT] = wf_poller_on_commit,
            [WF_MSG_DRAINED] = on_drained,
            [WF_MSG_GAUGES_ASK] = on_gauges_ask,
        },
    .on_timer = on_timer,
    .on_turn = on_turn,
    .on_stop = on_stop,
    .is_drained = is_drained,
    .deinit = deinit,
};
