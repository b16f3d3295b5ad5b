/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading records: one copy from librdkafka's memory into a block of ours, in batches, as far as credit goes; and
 * keeping librdkafka fetching.
 *
 * librdkafka before 2.2 stops fetching for up to a second when its queue has once been full, and any request to the
 * leaders wakes it. So while records flow we look at its queue every few milliseconds and wake it when it shrinks; and
 * when it is empty although the log is longer.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "hash.h"
#include "poller.h"

enum {
    FULL_MIN = 1000, /* records; a shorter queue is that of a consumer that keeps up */
    BATCH_MAX = 512, /* records per RECORDS message and turn: a few microseconds of work for each actor it passes */
};

static const uint64_t look_interval_ns = 3000000; /* between looks at librdkafka's queue */
static const uint64_t idle_look_ns =
    5000000; /* how long we wait for records that must be there before we wake the fetcher */
static const uint64_t idle_wake_gap_ns =
    20000000; /* and then not more often than this: a wake-up costs a request per leader */

static void flush_batch(wf_poller_state *self, weft_env *env) {
    if (self->batch.count == 0) return;
    self->metrics.fetched += self->batch.count;
    weft_env_send(env, self->options.manager, WF_MSG_RECORDS, &self->batch, sizeof self->batch);
    self->batch = (wf_chain){0};
}

/* --- one record */

static size_t headers_size(const wf_kafka_ops *ops, const wf_kafka_record *from, uint16_t *ret_count) {
    size_t size = 0, bytes;
    const char *name;
    const void *value;
    size_t index = 0;
    for (; index < UINT16_MAX && ops->header(from, index, &name, &value, &bytes); index++)
        size += wf_record_header_size(strlen(name), value ? (int32_t)bytes : -1);
    *ret_count = (uint16_t)index;
    return size;
}

static void copy_headers(const wf_kafka_ops *ops, const wf_kafka_record *from, wf_record *to, char *at) {
    for (size_t index = 0; index < to->header_count; index++) {
        const char *name;
        const void *value;
        size_t bytes;
        if (!ops->header(from, index, &name, &value, &bytes)) WF_UNREACHABLE("headers change while they are copied");
        at = wf_record_header_put(at, name, strlen(name), value, value ? (int32_t)bytes : -1);
    }
}

/* NULL: no memory. */
static wf_record *copy_record(wf_poller_state *self, const wf_kafka_record *from) {
    const wf_kafka_ops *ops = self->options.kafka->ops;
    uint16_t header_count = 0;
    size_t header_bytes = self->options.skip_headers ? 0 : headers_size(ops, from, &header_count);
    wf_record *record = wf_record_pool_take(&self->pool, from->key_bytes + from->value_bytes + header_bytes);
    if (!record) return NULL;
    record->offset = from->offset;
    record->timestamp_ms = from->timestamp_ms;
    record->key_bytes = from->key ? (int32_t)from->key_bytes : -1;
    record->value_bytes = from->value ? (int32_t)from->value_bytes : -1;
    record->header_bytes = (uint32_t)header_bytes;
    record->header_count = header_count;
    record->attempt = 1;
    char *at = wf_record_bytes(record);
    if (from->key_bytes) memcpy(at, from->key, from->key_bytes);
    if (from->value_bytes) memcpy(at + from->key_bytes, from->value, from->value_bytes);
    if (header_count) copy_headers(ops, from, record, at + from->key_bytes + from->value_bytes);
    /* From the source: what was copied a moment ago would be read back before it has left the store buffer. */
    record->key_hash = from->key ? wf_hash_bytes(from->key, from->key_bytes, 0) : 0;
    return record;
}

static void tell_log_end(wf_poller_state *self, weft_env *env, uint32_t index, int64_t end, bool reached) {
    wf_poller_slot *slot = &self->slots[index];
    slot->bounded = true;
    slot->log_end = end;
    wf_log_end message = {.slot = index, .epoch = slot->epoch, .end = end, .reached = reached};
    weft_env_send(env, self->options.manager, WF_MSG_LOG_END, &message, sizeof message);
}

static void note_jump(wf_poller_state *self, wf_poller_slot *slot, int64_t offset) {
    /* Holes inside the log are normal. At the start of an epoch, a jump past the committed offset means that records
     * are gone. */
    if (slot->next >= 0 || slot->base < 0 || offset <= slot->base) return;
    weft_env_log(self->env, WEFT_LOG_WARN,
                 "committed offset is not in the log any more topic=%s partition=%d committed=%lld first=%lld",
                 slot->topic, slot->partition, (long long)slot->base, (long long)offset);
}

/* No record below this can come, unless the log is another one than before: without our asking, Kafka only goes
 * forward. */
static int64_t known_end(const wf_poller_slot *slot) {
    return slot->next >= 0 ? slot->next : slot->base;
}

void wf_poller_on_record(void *context, const wf_kafka_record *from) {
    wf_poller_state *self = context;
    uint32_t index = wf_poller_slot_of_record(self, from);
    wf_poller_slot *slot = index == UINT32_MAX ? NULL : &self->slots[index];
    if (!slot || slot->phase != WF_SLOT_ACTIVE || slot->closed)
        return; /* revoked while it was on its way to us: its new owner gets it */
    wf_check_partition(index, slot->epoch);
    if (from->offset < known_end(slot)) {
        wf_poller_reset_log(self, slot, from->offset);
        return;
    }
    if (!slot->bounded) {
        int64_t end = self->options.kafka->ops->log_end(self->options.kafka, slot->topic, slot->partition);
        tell_log_end(self, self->env, index, end > from->offset ? end : from->offset + 1, false);
    }
    note_jump(self, slot, from->offset);
    wf_record *record = copy_record(self, from);
    if (!record) {
        weft_env_fail(self->env, WEFT_ENOMEM, "no memory for a record of %zu bytes: topic %s partition %d offset %lld",
                      from->key_bytes + from->value_bytes, slot->topic, slot->partition, (long long)from->offset);
        slot->closed = true; /* what follows in this epoch must not overtake it */
        self->options.kafka->ops->consume_stop(self->options.kafka);
        return;
    }
    slot->next = from->offset + 1;
    record->slot = index;
    record->epoch = slot->epoch;
    record->topic = slot->topic;
    record->partition = slot->partition;
    record->received_ns = weft_env_now_ns(self->env);
    wf_chain_push(&self->batch, record);
    self->credit_records--;
    self->credit_bytes -= record->block_bytes;
    if (self->credit_bytes <= 0) self->options.kafka->ops->consume_stop(self->options.kafka);
}

void wf_poller_on_eof(void *context, const char *topic, int32_t partition, int64_t offset) {
    wf_poller_state *self = context;
    uint32_t index = wf_poller_slot_of(self, topic, partition);
    wf_poller_slot *slot = &self->slots[index];
    if (slot->phase != WF_SLOT_ACTIVE) return;
    if (slot->next < 0 && offset < slot->base) {
        wf_poller_reset_log(self, slot, offset);
        return;
    }
    flush_batch(self, self->env); /* the records below the end first */
    if (slot->next < offset) slot->next = offset;
    slot->eof = offset;
    tell_log_end(self, self->env, index, offset, true);
}

/* --- keeping librdkafka fetching */

static bool has_lag(wf_poller_state *self) {
    const wf_kafka_ops *ops = self->options.kafka->ops;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        wf_poller_slot *slot = &self->slots[i];
        if (slot->phase != WF_SLOT_ACTIVE || slot->held) continue;
        int64_t end = ops->log_end(self->options.kafka, slot->topic, slot->partition);
        if (end > slot->log_end) slot->log_end = end;
        if (slot->next >= 0 && slot->log_end > slot->next && slot->next != slot->eof) return true;
    }
    return false;
}

static void wake(wf_poller_state *self, uint64_t now_ns) {
    self->options.kafka->ops->wake(self->options.kafka);
    self->metrics.wakes++;
    self->fetched_at_wake = self->metrics.fetched;
    self->queued_most = 0;
    self->woken_ns = now_ns;
}

/* While records flow: a queue that shrinks below what starts a fetch belongs to a fetcher that sleeps. Large records
 * fill it by their bytes, so what it held at most counts as full too. */
static void look_at_queue(wf_poller_state *self, uint64_t now_ns) {
    if (now_ns - self->looked_ns < look_interval_ns) return;
    self->looked_ns = now_ns;
    uint64_t queued = self->options.kafka->ops->queued(self->options.kafka), full = self->options.fetch_threshold;
    if (self->queued_most < queued) self->queued_most = queued;
    if (self->queued_most >= FULL_MIN && self->queued_most < full) full = self->queued_most;
    bool shrinks = queued <= self->queued_then;
    self->queued_then = queued;
    if (shrinks && queued < full / 10 * 7 && self->metrics.fetched - self->fetched_at_wake > full / 4)
        wake(self, now_ns);
}

static void end_idle(wf_poller_state *self, weft_env *env) {
    if (self->idle_since_ns == 0) return;
    self->metrics.idle_ns += weft_env_now_ns(env) - self->idle_since_ns;
    self->idle_since_ns = 0;
    weft_env_disarm(env, WF_POLLER_TIMER_IDLE);
}

static void begin_idle(wf_poller_state *self, weft_env *env) {
    if (self->idle_since_ns || !has_lag(self)) return;
    self->idle_since_ns = weft_env_now_ns(env);
    weft_env_arm(env, WF_POLLER_TIMER_IDLE, self->idle_since_ns + idle_look_ns);
}

void wf_poller_idle_timer(wf_poller_state *self, weft_env *env) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (self->idle_since_ns == 0) return;
    if (!has_lag(self)) {
        end_idle(self, env);
        return;
    }
    if (now_ns - self->woken_ns >= idle_wake_gap_ns) wake(self, now_ns);
    weft_env_arm(env, WF_POLLER_TIMER_IDLE, now_ns + idle_look_ns);
}

/* --- a turn of reading */

/* The clock of back-pressure runs while nothing may be fetched. */
static void note_pause(wf_poller_state *self, uint64_t now_ns) {
    self->metrics.is_paused = self->enough || self->credit_records <= 0 || self->credit_bytes <= 0;
    if (self->metrics.is_paused == (self->paused_since_ns > 0)) return;
    if (self->paused_since_ns) self->metrics.paused_ns += now_ns - self->paused_since_ns;
    self->paused_since_ns = self->metrics.is_paused ? now_ns : 0;
}

bool wf_poller_fetch(wf_poller_state *self, weft_env *env) {
    note_pause(self, weft_env_now_ns(env));
    if (self->metrics.is_paused) {
        end_idle(self, env);
        return false;
    }
    size_t max = self->credit_records < BATCH_MAX ? (size_t)self->credit_records : BATCH_MAX;
    self->env = env;
    size_t count = self->options.kafka->ops->consume(self->options.kafka, max, &wf_poller_sink, self);
    self->env = NULL;
    flush_batch(self, env);
    note_pause(self, weft_env_now_ns(env)); /* the next turn may be far away */
    if (count == 0) {
        begin_idle(self, env);
        return false;
    }
    self->metrics.is_connected = true;
    end_idle(self, env);
    look_at_queue(self, weft_env_now_ns(env));
    return count >= max;
}

void wf_poller_on_credit(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_poller_state *self = state;
    const wf_credit *credit = message->body;
    self->credit_records += credit->records;
    self->credit_bytes += (int64_t)credit->bytes;
    self->enough = credit->enough;
    WF_CHECK(self->credit_records <= self->options.queue_max_records);
    WF_CHECK(self->credit_bytes <= (int64_t)self->options.queue_max_bytes);
    wf_record *next;
    for (wf_record *record = credit->head; record; record = next) {
        next = record->next;
        wf_record_prefetch(next);
        wf_record_pool_give(&self->pool, record);
    }
}
