/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepts ASSIGNED (encoder), FETCHED, UNFETCH, COMPLETED, LATE, HOLE, MAP_REFUSED, DRAINED (work manager), COMMITTED
 * (poller), GAUGES_ASK (exporter). Emits ASSIGNED, PROGRESS (work manager), SNAPSHOT, DRAINED (encoder), GAUGES.
 *
 * Invariants:
 * 1. committed <= frontier, and neither goes back within an epoch.
 * 2. What is of another epoch than the slot's is dropped first thing.
 * 3. A completion was fetched before and comes once; anything else is a bug of ours and ends the process.
 * 4. The last snapshot of an epoch leaves before its DRAINED, and holds every completion that came before it.
 * 5. What an epoch completed outlives it, in case its last commit does not: if the partition comes back, and Kafka
 * still has the very offset that we committed last, nobody else was at it, and what we know of it counts on. A
 * committed map is part of that knowledge only once the log has been seen to reach so far.
 * 6. A committed map that takes more than a MiB as bits is laid out only when the log was seen to reach so far: ten
 * characters can claim a billion offsets.
 */
#include "offset_tracker.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "messages.h"
#include "offset_window.h"

enum {
    TIMER_COMMIT = 0,
    KEPT_WORDS_MAX = 1 << 14, /* of a window that outlives its epoch: a million offsets */
    EAGER_SPAN_MAX = 1 << 23, /* of a map that is laid out before the log was seen */
};

typedef struct tracked {
    const char *topic;
    int32_t partition;
    uint32_t epoch;
    bool active;
    bool started; /* the window has a base: it was committed, or something was fetched */
    bool changed; /* since the last PROGRESS */
    bool dirty;   /* since the last SNAPSHOT */
    bool adopted; /* the window holds more than was committed */
    bool came;    /* something of this epoch: the bounds of the log agree with the window */
    wf_offset_window window;
    wf_offset_run *wide; /* a committed map that waits (invariant 6); malloc'ed, NULL: none */
    uint32_t wide_count;
    uint64_t completed;      /* COMPLETED entries of this epoch */
    int64_t committed;       /* -1: nothing yet */
    uint32_t metadata_bytes; /* of the last commit */
    bool has_kept;
    wf_offset_window kept; /* of the epoch before */
    int64_t kept_committed;
} tracked;

typedef struct tracker {
    wf_offset_tracker_options options;
    tracked *slots;
    uint32_t slot_count;
    wf_progress *progress; /* room for one per slot */
    uint32_t *changed;     /* those that are: with a thousand partitions it costs too much to look for them */
    uint32_t changed_count;
    bool commit_armed;
} tracker;

static tracked *current_slot(tracker *self, uint32_t index, uint32_t epoch) {
    wf_check_partition(index, epoch);
    if (index >= self->slot_count || !self->slots[index].active || self->slots[index].epoch != epoch) return NULL;
    return &self->slots[index];
}

static void note_change(tracker *self, tracked *slot) {
    if (slot->changed) return;
    slot->changed = true;
    WF_CHECK(self->changed_count < self->slot_count);
    self->changed[self->changed_count++] = (uint32_t)(slot - self->slots);
}

static void start_window(tracked *slot, int64_t base) {
    wf_window_init(&slot->window, base);
    slot->started = true;
}

static weft_status reserve(tracker *self, uint32_t index) {
    if (index < self->slot_count) return WEFT_OK;
    uint32_t count = index + 1 < 16 ? 16 : 2 * (index + 1);
    tracked *slots = realloc(self->slots, count * sizeof *slots);
    if (!slots) return WEFT_ENOMEM;
    memset(slots + self->slot_count, 0, (count - self->slot_count) * sizeof *slots);
    self->slots = slots;
    wf_progress *progress = realloc(self->progress, count * sizeof *progress);
    if (!progress) return WEFT_ENOMEM;
    self->progress = progress;
    uint32_t *changed = realloc(self->changed, count * sizeof *changed);
    if (!changed) return WEFT_ENOMEM;
    self->changed = changed;
    self->slot_count = count;
    return WEFT_OK;
}

/* --- what outlives an epoch */

static void forget_kept(tracked *slot) {
    if (slot->has_kept) wf_window_deinit(&slot->kept);
    slot->has_kept = false;
}

/* The log reaches as far as the window says. Returns whether there is now more to commit. */
static bool confirm(tracked *slot) {
    bool more = slot->adopted && !slot->came;
    slot->came = true;
    forget_kept(slot);
    return more;
}

/* The window of an epoch that is over, instead of freeing it. */
static void keep_window(tracked *slot) {
    forget_kept(slot);
    if (slot->committed < 0 || slot->window.word_count > KEPT_WORDS_MAX) {
        wf_window_deinit(&slot->window);
        return;
    }
    slot->has_kept = true;
    slot->kept = slot->window;
    slot->kept_committed = slot->committed;
}

/* All that a window calls complete from `base` on: the part below its frontier, if any, and its runs. */
static wf_offset_run *runs_of(const wf_offset_window *window, int64_t base, size_t *ret_count) {
    size_t below = window->frontier > base;
    *ret_count = below + window->run_count;
    wf_offset_run *runs = malloc((*ret_count + 1) * sizeof *runs);
    if (!runs) return NULL;
    if (below) runs[0] = (wf_offset_run){.first = base, .end = window->frontier};
    wf_window_runs(window, runs + below, window->run_count);
    return runs;
}

/* The new epoch begins with what the committed map and the epoch before call complete. */
static void adopt_kept(tracker *self, weft_env *env, tracked *slot, wf_assigned *assigned) {
    size_t count;
    wf_offset_run *runs = runs_of(&slot->kept, assigned->base, &count);
    if (!runs) return;
    bool adopted = wf_window_restore(&slot->window, runs, count) == WEFT_OK;
    free(runs);
    if (!adopted) return;
    runs = runs_of(&slot->window, assigned->base, &count);
    WF_CHECK(runs != NULL);
    free(assigned->runs);
    assigned->runs = runs;
    assigned->count = (uint32_t)count;
    slot->adopted = true;
    note_change(self, slot);
    weft_env_log(env, WEFT_LOG_INFO,
                 "partition came back with its last commit topic=%s partition=%d frontier=%lld runs=%u", slot->topic,
                 slot->partition, (long long)slot->window.frontier, assigned->count);
}

/* --- assignment */

static void forget_wide(tracked *slot) {
    free(slot->wide);
    slot->wide = NULL;
}

static bool put_off(tracked *slot, const wf_assigned *assigned) {
    if (assigned->count == 0 || assigned->runs[assigned->count - 1].end - assigned->base <= EAGER_SPAN_MAX)
        return false;
    slot->wide = malloc(assigned->count * sizeof *slot->wide);
    if (!slot->wide) return false;
    memcpy(slot->wide, assigned->runs, assigned->count * sizeof *slot->wide);
    slot->wide_count = assigned->count;
    return true;
}

/* Something comes, and nobody refused the map. The work manager counts on it already. */
static void lay_out_wide(tracker *self, weft_env *env, tracked *slot) {
    if (!slot->wide) return;
    if (wf_window_restore(&slot->window, slot->wide, slot->wide_count) != WEFT_OK)
        weft_env_fail(env, WEFT_ENOMEM, "no memory for the committed map of partition %d of topic %s: %lld offsets",
                      slot->partition, slot->topic,
                      (long long)(slot->wide[slot->wide_count - 1].end - slot->window.frontier));
    forget_wide(slot);
    note_change(self, slot);
}

static void on_assigned(void *state, weft_env *env, const weft_message *message) {
    tracker *self = state;
    wf_assigned assigned = *(const wf_assigned *)message->body;
    wf_check_partition(assigned.slot, assigned.epoch);
    if (reserve(self, assigned.slot) != WEFT_OK) {
        free(assigned.runs);
        weft_env_fail(env, WEFT_ENOMEM, "no memory for partition %d of topic %s", assigned.partition, assigned.topic);
        return;
    }
    tracked *slot = &self->slots[assigned.slot];
    WF_CHECK(!slot->active && assigned.epoch > slot->epoch);
    *slot = (tracked){.topic = assigned.topic,
                      .partition = assigned.partition,
                      .epoch = assigned.epoch,
                      .active = true,
                      .changed = slot->changed, /* it may stand in the list from the epoch before */
                      .committed = assigned.base,
                      .has_kept = slot->has_kept,
                      .kept = slot->kept,
                      .kept_committed = slot->kept_committed};
    if (assigned.base >= 0) start_window(slot, assigned.base);
    bool wide = put_off(slot, &assigned);
    if (assigned.count && !wide && wf_window_restore(&slot->window, assigned.runs, assigned.count) != WEFT_OK) {
        weft_env_log(env, WEFT_LOG_WARN, "committed map not used: no memory for it topic=%s partition=%d", slot->topic,
                     slot->partition);
        free(assigned.runs);
        assigned.runs = NULL;
        assigned.count = 0;
    }
    if (slot->has_kept && !wide && assigned.base >= 0 && assigned.base == slot->kept_committed)
        adopt_kept(self, env, slot, &assigned);
    if (!slot->adopted) forget_kept(slot);
    weft_env_send(env, self->options.manager, WF_MSG_ASSIGNED, &assigned, sizeof assigned);
}

static void on_map_refused(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    tracker *self = state;
    const wf_partition *partition = message->body;
    tracked *slot = current_slot(self, partition->slot, partition->epoch);
    if (!slot) return;
    forget_wide(slot);
    wf_window_deinit(&slot->window); /* refused before anything came: all that it holds was restored */
    start_window(slot, slot->committed);
    slot->adopted = false;
    forget_kept(slot);
    note_change(self, slot);
}

/* --- offsets */

static void on_fetched(void *state, weft_env *env, const weft_message *message) {
    tracker *self = state;
    const wf_fetched *fetched = message->body;
    for (size_t i = 0; i < message->body_bytes / sizeof *fetched; i++) {
        tracked *slot = current_slot(self, fetched[i].slot, fetched[i].epoch);
        if (!slot) continue;
        if (!slot->started) start_window(slot, fetched[i].run.first);
        lay_out_wide(self, env, slot);
        int64_t frontier = slot->window.frontier;
        wf_window_fetched(&slot->window, fetched[i].run.first, fetched[i].run.end);
        bool more = confirm(slot);
        if (slot->window.frontier == frontier && !more) continue;
        slot->dirty = true; /* a hole, or records that the committed map called complete */
        note_change(self, slot);
    }
}

/* A flight of the epoch before ended well before the partition came back. */
static void on_late(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    tracker *self = state;
    const wf_completed *late = message->body;
    wf_check_partition(late->slot, late->epoch);
    if (late->slot >= self->slot_count) return;
    tracked *slot = &self->slots[late->slot];
    if (slot->has_kept && !slot->active && slot->epoch == late->epoch) wf_window_complete(&slot->kept, late->offset);
}

static void on_completed(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    tracker *self = state;
    const wf_completed *completed = message->body;
    for (size_t i = 0; i < message->body_bytes / sizeof *completed; i++) {
        tracked *slot = current_slot(self, completed[i].slot, completed[i].epoch);
        if (!slot) continue;
        WF_CHECK(slot->started && wf_window_complete(&slot->window, completed[i].offset));
        slot->completed++;
        slot->dirty = true;
        note_change(self, slot);
    }
}

static void on_unfetch(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    const wf_log_end *unfetch = message->body;
    tracked *slot = current_slot(state, unfetch->slot, unfetch->epoch);
    if (slot) wf_window_unfetch(&slot->window, unfetch->end);
}

static void on_hole(void *state, weft_env *env, const weft_message *message) {
    tracker *self = state;
    const wf_log_end *log_end = message->body;
    tracked *slot = current_slot(self, log_end->slot, log_end->epoch);
    if (!slot) return;
    if (!slot->started) start_window(slot, log_end->end);
    lay_out_wide(self, env, slot);
    int64_t frontier = slot->window.frontier;
    wf_window_skip_to(&slot->window, log_end->end);
    bool more = confirm(slot);
    if (slot->window.frontier == frontier && !more) return;
    slot->dirty = true;
    note_change(self, slot);
}

/* --- commits */

static void take_snapshot(tracker *self, weft_env *env, tracked *slot, bool final) {
    wf_snapshot snapshot = {.slot = (uint32_t)(slot - self->slots),
                            .epoch = slot->epoch,
                            .frontier = slot->window.frontier,
                            .final = final};
    WF_CHECK_IMPLIES(slot->committed >= 0, slot->committed <= snapshot.frontier);
    size_t count = slot->window.run_count;
    if (count) {
        snapshot.runs = malloc(count * sizeof *snapshot.runs);
        WF_CHECK(snapshot.runs != NULL);
        snapshot.count = (uint32_t)wf_window_runs(&slot->window, snapshot.runs, count);
        WF_CHECK(snapshot.count == count);
    }
    slot->dirty = false;
    weft_env_send(env, self->options.encoder, WF_MSG_SNAPSHOT, &snapshot, sizeof snapshot);
}

static void on_timer(void *state, weft_env *env, unsigned timer) {
    (void)timer;
    tracker *self = state;
    self->commit_armed = false;
    for (uint32_t i = 0; i < self->slot_count; i++)
        if (self->slots[i].active && self->slots[i].dirty) take_snapshot(self, env, &self->slots[i], false);
}

static void on_committed(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    tracker *self = state;
    const wf_committed *committed = message->body;
    tracked *slot = current_slot(self, committed->slot, committed->epoch);
    if (!slot || committed->outcome != WF_COMMIT_OK) return;
    WF_CHECK(committed->offset >= slot->committed && committed->offset <= slot->window.frontier);
    slot->committed = committed->offset;
    slot->metadata_bytes = committed->metadata_bytes;
}

static void on_drained(void *state, weft_env *env, const weft_message *message) {
    tracker *self = state;
    wf_drained drained = *(const wf_drained *)message->body;
    tracked *slot = current_slot(self, drained.slot, drained.epoch);
    WF_CHECK(slot != NULL);
    drained.uncommitted = drained.lost && slot->started && slot->dirty;
    if (!drained.lost && slot->started && slot->dirty) take_snapshot(self, env, slot, true);
    forget_wide(slot);
    if (slot->started && slot->came)
        keep_window(slot);
    else if (slot->started)
        wf_window_deinit(&slot->window);
    slot->active = false;
    weft_env_send(env, self->options.encoder, WF_MSG_DRAINED, &drained, sizeof drained);
}

/* --- sight */

static void on_gauges_ask(void *state, weft_env *env, const weft_message *message) {
    tracker *self = state;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        const tracked *slot = &self->slots[i];
        if (!slot->active) continue;
        wf_gauges gauges = {.slot = i, .owner = WF_GAUGES_TRACKER};
        gauges.metrics.topic = slot->topic;
        gauges.metrics.partition = slot->partition;
        gauges.metrics.epoch = slot->epoch;
        gauges.metrics.frontier = slot->started ? slot->window.frontier : -1;
        gauges.metrics.committed = slot->committed;
        gauges.metrics.gap_count = slot->started ? wf_window_gap_count(&slot->window) : 0;
        gauges.metrics.metadata_bytes = slot->metadata_bytes;
        weft_env_send(env, message->from, WF_MSG_GAUGES, &gauges, sizeof gauges);
    }
    wf_gauges_end end = {.ticket = ((const wf_ask *)message->body)->ticket, .owner = WF_GAUGES_TRACKER};
    weft_env_send(env, message->from, WF_MSG_GAUGES_END, &end, sizeof end);
}

static bool on_turn(void *state, weft_env *env) {
    tracker *self = state;
    uint32_t count = 0;
    bool dirty = false;
    for (uint32_t i = 0; i < self->changed_count; i++) {
        tracked *slot = &self->slots[self->changed[i]];
        slot->changed = false;
        if (!slot->active) continue;
        dirty = dirty || slot->dirty;
        self->progress[count++] = (wf_progress){.slot = self->changed[i],
                                                .epoch = slot->epoch,
                                                .frontier = slot->window.frontier,
                                                .runs = slot->window.run_count,
                                                .completed = slot->completed};
    }
    self->changed_count = 0;
    if (count)
        weft_env_send(env, self->options.manager, WF_MSG_PROGRESS, self->progress, count * sizeof *self->progress);
    if (dirty && !self->commit_armed) {
        self->commit_armed = true;
        weft_env_arm(env, TIMER_COMMIT, weft_env_now_ns(env) + self->options.commit_interval_ns);
    }
    return false;
}

/* --- life cycle */

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((tracker *)state)->options = *(const wf_offset_tracker_options *)argument;
    return WEFT_OK;
}

static void deinit(void *state, weft_env *env) {
    (void)env;
    tracker *self = state;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        if (self->slots[i].active && self->slots[i].started) wf_window_deinit(&self->slots[i].window);
        forget_wide(&self->slots[i]);
        forget_kept(&self->slots[i]);
    }
    free(self->slots);
    free(self->progress);
    free(self->changed);
}

const weft_actor_class wf_offset_tracker = {
    .name = "offset_tracker",
    .state_bytes = sizeof(tracker),
    .init = init,
    .on =
        {
            [WF_MSG_ASSIGNED] = on_assigned,
            [WF_MSG_MAP_REFUSED] = on_map_refused,
            [WF_MSG_FETCHED] = on_fetched,
            [WF_MSG_COMPLETED] = on_completed,
            [WF_MSG_LATE] = on_late,
            [WF_MSG_UNFETCH] = on_unfetch,
            [WF_MSG_HOLE] = on_hole,
            [WF_MSG_COMMITTED] = on_committed,
            [WF_MSG_DRAINED] = on_drained,
            [WF_MSG_GAUGES_ASK] = on_gauges_ask,
        },
    .on_timer = on_timer,
    .on_turn = on_turn,
    .deinit = deinit,
};
