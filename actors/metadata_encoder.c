/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepts RESTORE (poller), SNAPSHOT, DRAINED (offset tracker), GAUGES_ASK (exporter). Emits ASSIGNED (tracker),
 * COMMIT, DRAINED (poller).
 *
 * Invariants:
 * 1. Order is kept: a DRAINED leaves behind the COMMITs of the snapshots that came before it.
 * 2. Committed metadata is foreign input: whatever it holds, the partition starts.
 * 3. A map that does not fit is never cut: the offset is committed without it, which is logged and counted. The work
 * manager's gate keeps this from happening.
 */
#include "metadata_encoder.h"

#include <stdlib.h>

#include "check.h"
#include "messages.h"
#include "metadata.h"

typedef struct encoder {
    wf_metadata_encoder_options options;
    uint64_t refused; /* metadata that was no map of ours */
    uint64_t dropped; /* maps that did not fit */
} encoder;

static void on_restore(void *state, weft_env *env, const weft_message *message) {
    encoder *self = state;
    const wf_restore *restore = message->body;
    wf_assigned assigned = {.topic = restore->topic,
                            .partition = restore->partition,
                            .slot = restore->slot,
                            .epoch = restore->epoch,
                            .base = restore->base};
    if (restore->base >= 0 && restore->metadata_bytes) {
        size_t count = 0;
        weft_status status =
            wf_metadata_decode(restore->base, restore->metadata, restore->metadata_bytes, &assigned.runs, &count);
        assigned.count = (uint32_t)count;
        assigned.refused = status != WEFT_OK;
        if (assigned.refused) {
            self->refused++;
            weft_env_log(env, WEFT_LOG_WARN,
                         "committed metadata not used topic=%s partition=%d offset=%lld bytes=%u: %s", restore->topic,
                         restore->partition, (long long)restore->base, restore->metadata_bytes,
                         weft_status_text(status));
        }
    }
    free(restore->metadata);
    weft_env_send(env, self->options.tracker, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
}

static void encode(encoder *self, weft_env *env, const wf_snapshot *snapshot, wf_commit *commit) {
    if (snapshot->count == 0) return;
    size_t size = wf_metadata_size(snapshot->frontier, snapshot->runs, snapshot->count);
    if (size > self->options.max_bytes) {
        self->dropped++;
        weft_env_log(env, WEFT_LOG_ERROR,
                     "map does not fit slot=%u frontier=%lld runs=%u bytes=%zu limit=%u: committed without it",
                     snapshot->slot, (long long)snapshot->frontier, snapshot->count, size, self->options.max_bytes);
        return;
    }
    commit->metadata = malloc(size + 1);
    WF_CHECK(commit->metadata != NULL);
    size_t written = 0;
    WF_CHECK(wf_metadata_encode(snapshot->frontier, snapshot->runs, snapshot->count, commit->metadata, size,
                                &written) == WEFT_OK);
    WF_CHECK(written == size);
    commit->metadata[size] = '\0';
    commit->metadata_bytes = (uint32_t)size;
}

static void on_snapshot(void *state, weft_env *env, const weft_message *message) {
    encoder *self = state;
    const wf_snapshot *snapshot = message->body;
    wf_check_partition(snapshot->slot, snapshot->epoch);
    wf_commit commit = {
        .slot = snapshot->slot, .epoch = snapshot->epoch, .offset = snapshot->frontier, .final = snapshot->final};
    encode(self, env, snapshot, &commit);
    free(snapshot->runs);
    weft_env_send(env, self->options.poller, WF_MSG_COMMIT, &commit, sizeof commit);
}

static void on_drained(void *state, weft_env *env, const weft_message *message) {
    encoder *self = state;
    weft_env_send(env, self->options.poller, WF_MSG_DRAINED, message->body, message->body_bytes);
}

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((encoder *)state)->options = *(const wf_metadata_encoder_options *)argument;
    return WEFT_OK;
}

static void on_gauges_ask(void *state, weft_env *env, const weft_message *message) {
    encoder *self = state;
    wf_gauges_end end = {.ticket = ((const wf_ask *)message->body)->ticket, .owner = WF_GAUGES_ENCODER};
    end.metrics.metadata_refused = self->refused;
    end.metrics.metadata_dropped = self->dropped;
    weft_env_send(env, message->from, WF_MSG_GAUGES_END, &end, sizeof end);
}

const weft_actor_class wf_metadata_encoder = {
    .name = "metadata_encoder",
    .state_bytes = sizeof(encoder),
    .init = init,
    .on =
        {
            [WF_MSG_RESTORE] = on_restore,
            [WF_MSG_SNAPSHOT] = on_snapshot,
            [WF_MSG_DRAINED] = on_drained,
            [WF_MSG_GAUGES_ASK] = on_gauges_ask,
        },
};
