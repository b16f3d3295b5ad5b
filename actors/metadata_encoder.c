/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepts RESTORE, TOO_LARGE (poller), SNAPSHOT, DRAINED (offset tracker), GAUGES_ASK (exporter). Emits ASSIGNED
 * (tracker), COMMIT, DRAINED (poller), MAP_LIMIT (work manager).
 *
 * Invariants:
 * 1. Order is kept: a DRAINED leaves behind the COMMITs of the snapshots that came before it.
 * 2. Committed metadata is foreign input: whatever it holds, the partition starts. A map of another format counts like
 * one of ours.
 * 3. A map that does not fit is cut: as many of its lowest runs as fit are committed, which is logged and counted. The
 * work manager's gate keeps this from happening, unless the broker takes less than it was said to.
 */
#include "metadata_encoder.h"

#include <stdlib.h>

#include "check.h"
#include "messages.h"

typedef struct encoder {
    wf_metadata_encoder_options options;
    const wf_metadata_codec *codec;
    uint64_t refused; /* metadata that was no map of ours */
    uint64_t dropped; /* maps that did not fit whole */
} encoder;

/* Somebody moves in, or comes back. */
static void tell_foreign(const encoder *self, weft_env *env, const wf_restore *restore, size_t count) {
    wf_metadata_format format = wf_metadata_format_of(restore->metadata, restore->metadata_bytes);
    if (format == self->options.format) return;
    weft_env_log(
        env, WEFT_LOG_INFO,
        "committed metadata of another format read topic=%s partition=%d offset=%lld format=%s form=%s runs=%zu",
        restore->topic, restore->partition, (long long)restore->base, wf_metadata_codec_of(format)->name,
        wf_metadata_codec_of(format)->form(restore->metadata, restore->metadata_bytes), count);
}

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
            wf_metadata_decode_any(restore->base, restore->metadata, restore->metadata_bytes, &assigned.runs, &count);
        assigned.count = (uint32_t)count;
        assigned.refused = status != WEFT_OK;
        if (assigned.refused) {
            self->refused++;
            weft_env_log(env, WEFT_LOG_WARN,
                         "committed metadata not used topic=%s partition=%d offset=%lld bytes=%u: %s", restore->topic,
                         restore->partition, (long long)restore->base, restore->metadata_bytes,
                         weft_status_text(status));
        } else {
            tell_foreign(self, env, restore, count);
        }
    }
    free(restore->metadata);
    weft_env_send(env, self->options.tracker, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
}

/* How many runs, from the lowest on, fit: a longer map is never smaller. */
static size_t runs_that_fit(const encoder *self, int64_t base, const wf_offset_run *runs, size_t count) {
    size_t fit = 0;
    while (fit < count) {
        size_t middle = fit + (count - fit + 1) / 2;
        if (self->codec->size(base, runs, middle) <= self->options.max_bytes)
            fit = middle;
        else
            count = middle - 1;
    }
    return fit;
}

static void encode(encoder *self, weft_env *env, const wf_offset_run *runs, size_t count, wf_commit *commit) {
    size_t size = self->codec->size(commit->offset, runs, count);
    if (size > self->options.max_bytes && count > 0) {
        size_t all = count;
        count = runs_that_fit(self, commit->offset, runs, count);
        weft_env_log(env, WEFT_LOG_WARN,
                     "map does not fit slot=%u frontier=%lld bytes=%zu limit=%u: committed with %zu of %zu runs",
                     commit->slot, (long long)commit->offset, size, self->options.max_bytes, count, all);
        self->dropped++;
        size = self->codec->size(commit->offset, runs, count);
    }
    if (size == 0 || size > self->options.max_bytes) return; /* an empty map may have a text too */
    commit->metadata = malloc(size + 1);
    WF_CHECK(commit->metadata != NULL);
    size_t written = 0;
    WF_CHECK(self->codec->encode(commit->offset, runs, count, commit->metadata, size, &written) == WEFT_OK);
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
    encode(self, env, snapshot->runs, snapshot->count, &commit);
    free(snapshot->runs);
    weft_env_send(env, self->options.poller, WF_MSG_COMMIT, &commit, sizeof commit);
}

/* Brokers don't tell their limit, they only refuse: half of what was refused is tried next. */
static void learn_limit(encoder *self, weft_env *env, uint32_t refused_bytes) {
    wf_map_limit limit = {.bytes = refused_bytes / 2};
    if (limit.bytes >= self->options.max_bytes) return;
    weft_env_log(env, WEFT_LOG_WARN,
                 "the broker took no metadata of %u bytes: its offset.metadata.max.bytes is lower than the %u that are "
                 "set here; the limit is %u from now on",
                 refused_bytes, self->options.max_bytes, limit.bytes);
    self->options.max_bytes = limit.bytes;
    weft_env_send(env, self->options.manager, WF_MSG_MAP_LIMIT, &limit, sizeof limit);
}

static void on_too_large(void *state, weft_env *env, const weft_message *message) {
    encoder *self = state;
    wf_commit commit = *(const wf_commit *)message->body;
    wf_offset_run *runs = NULL;
    size_t count = 0;
    wf_check_partition(commit.slot, commit.epoch);
    learn_limit(self, env, commit.metadata_bytes);
    WF_CHECK(self->codec->decode(commit.offset, commit.metadata, commit.metadata_bytes, &runs, &count) == WEFT_OK);
    free(commit.metadata);
    commit.metadata = NULL;
    commit.metadata_bytes = 0;
    commit.again = true;
    encode(self, env, runs, count, &commit);
    free(runs);
    weft_env_send(env, self->options.poller, WF_MSG_COMMIT, &commit, sizeof commit);
}

static void on_drained(void *state, weft_env *env, const weft_message *message) {
    encoder *self = state;
    weft_env_send(env, self->options.poller, WF_MSG_DRAINED, message->body, message->body_bytes);
}

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    encoder *self = state;
    self->options = *(const wf_metadata_encoder_options *)argument;
    self->codec = wf_metadata_codec_of(self->options.format);
    if (self->options.max_bytes > self->codec->text_max) self->options.max_bytes = (uint32_t)self->codec->text_max;
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
            [WF_MSG_TOO_LARGE] = on_too_large,
            [WF_MSG_DRAINED] = on_drained,
            [WF_MSG_GAUGES_ASK] = on_gauges_ask,
        },
};
