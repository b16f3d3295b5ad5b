/* SPDX-License-Identifier: Apache-2.0
 *
 * Commits: one request in flight, everything that came meanwhile in the next one, failures again with back-off.
 */
#include <stdlib.h>

#include "check.h"
#include "histogram.h"
#include "poller.h"

static const uint64_t backoff_first_ns = 100000000;
static const uint64_t backoff_last_ns = 5000000000;

static void drop(wf_commit *commit) {
    free(commit->metadata);
    commit->metadata = NULL;
}

void wf_poller_drop_commits(wf_poller_slot *slot) {
    if (slot->has_commit) drop(&slot->commit);
    if (slot->in_flight) drop(&slot->sent);
    slot->has_commit = slot->in_flight = slot->shrinking = false;
}

static bool has_any(const wf_poller_slot *slot) {
    return slot->has_commit || slot->in_flight || slot->shrinking;
}

void wf_poller_lose_commits(wf_poller_slot *slot) {
    if (has_any(slot) && !slot->log_gone) slot->uncommitted = true;
    wf_poller_drop_commits(slot);
}

void wf_poller_end_commits(weft_env *env, wf_poller_slot *slot) {
    if (slot->lost && slot->uncommitted)
        weft_env_log(env, WEFT_LOG_WARN,
                     "lost before the last commit topic=%s partition=%d offset=%lld: what was done since is done again "
                     "by the next owner",
                     slot->topic, slot->partition, (long long)slot->committed);
    wf_poller_drop_commits(slot);
}

/* What went in an earlier membership was told then, and its next owners have long seen to it. */
void wf_poller_begin_membership(wf_poller_state *self) {
    for (uint32_t i = 0; i < self->slot_count; i++)
        if (self->slots[i].phase == WF_SLOT_FREE) self->slots[i].uncommitted = false;
}

uint32_t wf_poller_uncommitted(const wf_poller_state *self) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        const wf_poller_slot *slot = &self->slots[i];
        count += slot->uncommitted || (self->closed && has_any(slot));
    }
    return count;
}

void wf_poller_on_commit(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    wf_poller_state *self = state;
    wf_commit commit = *(const wf_commit *)message->body;
    wf_poller_slot *slot = &self->slots[commit.slot];
    wf_check_partition(commit.slot, commit.epoch);
    bool current = slot->epoch == commit.epoch && slot->phase != WF_SLOT_FREE;
    if (!current || slot->lost) {
        if (current && !slot->log_gone) slot->uncommitted = true;
        drop(&commit);
        return;
    }
    if (commit.again && (!slot->shrinking || slot->has_commit)) { /* a newer one was sent, or waits */
        slot->shrinking = false;
        drop(&commit);
        return;
    }
    if (commit.again) slot->shrinking = false;
    WF_CHECK(commit.offset >= slot->committed);
    if (slot->has_commit) drop(&slot->commit);
    slot->commit = commit;
    slot->has_commit = self->any_commit = true;
}

static size_t collect(wf_poller_state *self, wf_kafka_partition *list) {
    size_t count = 0;
    self->any_commit = false;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        wf_poller_slot *slot = &self->slots[i];
        if (!slot->has_commit) continue;
        slot->sent = slot->commit;
        slot->has_commit = slot->shrinking = false;
        slot->in_flight = true;
        list[count++] = (wf_kafka_partition){.topic = slot->topic,
                                             .partition = slot->partition,
                                             .offset = slot->sent.offset,
                                             .metadata = slot->sent.metadata,
                                             .metadata_bytes = slot->sent.metadata_bytes};
    }
    return count;
}

/* What was in flight waits again, unless something newer does. */
static void take_back(wf_poller_state *self, wf_poller_slot *slot) {
    slot->in_flight = false;
    if (slot->has_commit) {
        drop(&slot->sent);
    } else {
        slot->commit = slot->sent;
        slot->has_commit = self->any_commit = true;
    }
}

static void back_off(wf_poller_state *self, uint64_t now_ns, weft_commit_failure reason) {
    uint64_t wait_ns = backoff_first_ns << (self->commit_failures_in_row < 6 ? self->commit_failures_in_row : 6);
    self->commit_failures_in_row++;
    self->metrics.commit_failures++;
    self->metrics.commit_failures_by[reason]++;
    self->commit_retry_ns = now_ns + (wait_ns < backoff_last_ns ? wait_ns : backoff_last_ns);
}

uint64_t wf_poller_send_commits(wf_poller_state *self, weft_env *env) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (self->commit_in_flight || self->closed || !self->any_commit) return UINT64_MAX;
    if (self->commit_retry_ns > now_ns) return self->commit_retry_ns;
    wf_kafka_partition *list = calloc(self->slot_count, sizeof *list);
    WF_CHECK(list != NULL);
    size_t count = collect(self, list);
    weft_status status = count ? self->options.kafka->ops->commit(self->options.kafka, list, count) : WEFT_OK;
    free(list);
    if (count == 0) return UINT64_MAX; /* they were dropped meanwhile */
    if (status == WEFT_OK) {
        self->commit_in_flight = true;
        self->commit_sent_ns = now_ns;
        return UINT64_MAX;
    }
    for (uint32_t i = 0; i < self->slot_count; i++)
        if (self->slots[i].in_flight) take_back(self, &self->slots[i]);
    back_off(self, now_ns, WEFT_COMMIT_UNANSWERED);
    return self->commit_retry_ns;
}

static void confirm(wf_poller_state *self, wf_poller_slot *slot, wf_commit_outcome outcome) {
    wf_committed committed = {.slot = (uint32_t)(slot - self->slots),
                              .epoch = slot->sent.epoch,
                              .offset = slot->sent.offset,
                              .metadata_bytes = slot->sent.metadata_bytes,
                              .outcome = outcome};
    if (outcome == WF_COMMIT_OK) slot->committed = slot->sent.offset;
    slot->uncommitted = outcome != WF_COMMIT_OK;
    slot->in_flight = false;
    drop(&slot->sent);
    weft_env_send(self->env, self->options.tracker, WF_MSG_COMMITTED, &committed, sizeof committed);
}

/* The broker's limit is lower than ours: the encoder learns it, and sends what fits. */
static void shrink(wf_poller_state *self, wf_poller_slot *slot) {
    slot->in_flight = false;
    slot->shrinking = true;
    weft_env_send(self->env, self->options.encoder, WF_MSG_TOO_LARGE, &slot->sent, sizeof slot->sent);
    slot->sent.metadata = NULL;
}

static void take_result(wf_poller_state *self, wf_poller_slot *slot, wf_kafka_error error, const char *text) {
    switch (error) {
    case WF_KAFKA_OK:
        confirm(self, slot, WF_COMMIT_OK);
        break;
    case WF_KAFKA_TOO_LARGE:
        if (slot->sent.metadata_bytes)
            shrink(self, slot);
        else
            take_back(self, slot);
        break;
    case WF_KAFKA_FENCED: /* the membership is over; librdkafka will say so itself with a lost assignment */
        weft_env_log(self->env, WEFT_LOG_WARN, "commit refused, not tried again topic=%s partition=%d offset=%lld: %s",
                     slot->topic, slot->partition, (long long)slot->sent.offset, text);
        confirm(self, slot, WF_COMMIT_REFUSED);
        break;
    case WF_KAFKA_RETRY:
    case WF_KAFKA_FATAL:
    case WF_KAFKA_AWAY:
        take_back(self, slot);
        break;
    default:
        WF_UNREACHABLE("a commit result that the door has not");
    }
}

static weft_commit_failure failure_of(wf_kafka_error error) {
    if (error == WF_KAFKA_FENCED) return WEFT_COMMIT_FENCED;
    return error == WF_KAFKA_TOO_LARGE ? WEFT_COMMIT_TOO_LARGE : WEFT_COMMIT_UNANSWERED;
}

void wf_poller_on_commit_result(void *context, wf_kafka_error error, const char *text,
                                const wf_kafka_partition *partitions, size_t count) {
    wf_poller_state *self = context;
    self->commit_in_flight = false;
    wf_histogram_add(&self->metrics.commit_time, weft_env_now_ns(self->env) - self->commit_sent_ns);
    wf_kafka_error worst = error;
    for (size_t i = 0; i < count; i++) {
        wf_poller_slot *slot = wf_poller_slot_at(self, partitions[i].topic, partitions[i].partition);
        if (!slot->in_flight) continue; /* its epoch ended meanwhile */
        wf_kafka_error each = partitions[i].error ? (wf_kafka_error)partitions[i].error : error;
        if (each != WF_KAFKA_OK) worst = each;
        take_result(self, slot, each, text ? text : "");
    }
    /* A partition that the answer left out is as good as not committed. */
    for (uint32_t i = 0; i < self->slot_count; i++)
        if (self->slots[i].in_flight) take_back(self, &self->slots[i]);
    if (worst == WF_KAFKA_OK) {
        self->metrics.is_connected = true;
        self->metrics.commits++;
        self->commit_failures_in_row = 0;
        self->commit_retry_ns = 0;
        return;
    }
    if (self->commit_failures_in_row == 0 && worst != WF_KAFKA_FENCED)
        weft_env_log(self->env, WEFT_LOG_WARN, "commit failed, tried again with back-off: %s", text ? text : "");
    back_off(self, weft_env_now_ns(self->env), failure_of(worst));
}

bool wf_poller_is_released(wf_poller_state *self, weft_env *env, wf_poller_slot *slot) {
    if (slot->phase == WF_SLOT_FREE) return true;
    if (slot->phase != WF_SLOT_REVOKING || !slot->drained) return false;
    if (!has_any(slot)) return true;
    if (weft_env_now_ns(env) < self->revoke_deadline_ns + WF_POLLER_LAST_COMMIT_NS) return false;
    slot->uncommitted = true;
    const wf_commit *commit = slot->has_commit ? &slot->commit : &slot->sent;
    weft_env_log(env, WEFT_LOG_ERROR,
                 "not committed in time topic=%s partition=%d offset=%lld: what was done since the last commit is done "
                 "again by the next owner",
                 slot->topic, slot->partition, (long long)commit->offset);
    return true;
}
