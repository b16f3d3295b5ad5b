/* SPDX-License-Identifier: Apache-2.0
 *
 * Logs, committed offsets, and requests on their way.
 */
#include "broker.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "metadata.h"
#include "metadata_format.h"

static const char *const topic_names[] = {"orders", "payments"};

void sim_broker_init(sim_broker *broker, const sim_plan *plan, sim_chance *chance) {
    *broker = (sim_broker){.plan = plan, .chance = chance};
    broker->ready_tail = &broker->ready;
    for (uint32_t i = 0; i < plan->partitions; i++) {
        sim_log *log = &broker->logs[i];
        *log = (sim_log){.topic = topic_names[i % 2], .partition = (int32_t)(i / 2), .index = i, .committed = -1};
        log->start = log->end = (int64_t)sim_pick(chance, (const uint64_t[]){0, 0, 7, 1000}, 4);
        log->room = 8192;
        log->entries = calloc((size_t)log->room, sizeof *log->entries);
        log->mine = calloc((size_t)log->room, sizeof *log->mine);
        WF_CHECK(log->entries && log->mine);
        for (int64_t offset = 0; offset < log->start; offset++) log->entries[offset].gone = true;
    }
}

/* Shorten the list of an event. */
static void cut_list(sim_event *event, size_t count) {
    while (event->count > count) free((void *)(uintptr_t)event->list[--event->count].metadata);
}

void sim_event_free(sim_event *event) {
    cut_list(event, 0);
    free(event);
}

void sim_broker_deinit(sim_broker *broker) {
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        free(broker->logs[i].entries);
        free(broker->logs[i].mine);
        free(broker->logs[i].metadata);
    }
    free(broker->queue);
}

void sim_broker_join(sim_broker *broker, sim_broker *first) {
    *broker = (sim_broker){.peer = first, .plan = first->plan, .chance = first->chance};
    broker->ready_tail = &broker->ready;
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        sim_log *log = &broker->logs[i];
        const sim_log *theirs = &first->logs[i];
        *log = (sim_log){.topic = theirs->topic, .partition = theirs->partition, .index = i, .room = theirs->room};
        log->entries = theirs->entries;
        log->mine = calloc((size_t)log->room, sizeof *log->mine);
        WF_CHECK(log->mine != NULL);
    }
    first->peer = broker;
}

void sim_broker_part(sim_broker *broker) {
    for (uint32_t i = 0; i < broker->plan->partitions; i++) free(broker->logs[i].mine);
    free(broker->queue);
    broker->peer->peer = NULL;
}

void sim_broker_enter(sim_broker *broker) {
    const sim_broker *from = broker->peer;
    broker->produced = from->produced;
    broker->now_ns = from->now_ns;
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        sim_log *log = &broker->logs[i];
        const sim_log *theirs = &from->logs[i];
        log->start = theirs->start;
        log->end = theirs->end;
        log->committed = theirs->committed;
        log->metadata = theirs->metadata;
        log->metadata_bytes = theirs->metadata_bytes;
    }
}

bool sim_broker_is_theirs(const sim_broker *broker, const sim_log *log) {
    return broker->peer && broker->peer->logs[log->index].ours;
}

sim_log *sim_broker_log(sim_broker *broker, const char *topic, int32_t partition) {
    for (uint32_t i = 0; i < broker->plan->partitions; i++)
        if (broker->logs[i].partition == partition && strcmp(broker->logs[i].topic, topic) == 0)
            return &broker->logs[i];
    sim_fail("nobody knows partition %d of topic %s", partition, topic);
}

/* --- logs */

static void append_one(sim_broker *broker, sim_log *log) {
    const sim_plan *plan = broker->plan;
    sim_chance *chance = broker->chance;
    SIM_CHECK(log->end < log->room, "the plan has more records than a log has room for");
    sim_entry *entry = &log->entries[log->end++];
    *entry = (sim_entry){.exists = !sim_percent(chance, plan->hole_percent), .key = SIM_KEY_NULL};
    if (!entry->exists) return;
    broker->produced++;
    if (!sim_percent(chance, plan->null_key_percent)) entry->key = (int32_t)sim_below(chance, plan->keys);
    entry->value_bytes = plan->value_bytes_max ? (uint32_t)sim_below(chance, plan->value_bytes_max) : 0;
    entry->defers = sim_percent(chance, plan->pending_percent);
    if (sim_percent(chance, plan->fail_percent))
        entry->failures = (uint8_t)sim_below(chance, plan->manager.max_attempts);
    if (sim_percent(chance, plan->poison_percent)) entry->failures = SIM_POISON;
}

void sim_broker_append(sim_broker *broker, uint32_t count) {
    for (; count > 0 && broker->produced < broker->plan->records; count--)
        append_one(broker, &broker->logs[sim_below(broker->chance, broker->plan->partitions)]);
}

void sim_broker_retain(sim_broker *broker) {
    sim_log *log = &broker->logs[sim_below(broker->chance, broker->plan->partitions)];
    int64_t start = log->start + (int64_t)sim_below(broker->chance, (uint64_t)(log->end - log->start) / 4 + 2);
    if (start > log->end) start = log->end;
    sim_trace("broker: %s/%d now starts at %lld", log->topic, log->partition, (long long)start);
    for (; log->start < start; log->start++) log->entries[log->start].gone = true;
}

void sim_broker_throw_back(sim_broker *broker) {
    sim_log *log = &broker->logs[sim_below(broker->chance, broker->plan->partitions)];
    if (!log->fetching || log->position <= log->start) return;
    log->position = log->start;
    log->thrown_back = true;
    log->eof_told = false;
    sim_trace("broker: %s/%d is thrown back to %lld", log->topic, log->partition, (long long)log->position);
}

static bool has_record(const sim_log *log) {
    for (int64_t at = log->start; at < log->end; at++)
        if (log->entries[at].exists) return true;
    return false;
}

/* Of a log in which there never was a record for us, nothing has to be committed. */
bool sim_broker_is_finished(const sim_broker *broker) {
    if (broker->produced < broker->plan->records) return false;
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        const sim_log *log = &broker->logs[i];
        if (log->committed != log->end && (log->committed >= 0 || has_record(log))) return false;
    }
    return true;
}

/* --- commits */

static wf_offset_run *decode(int64_t offset, const char *metadata, size_t bytes, size_t *ret_count) {
    wf_offset_run *runs = NULL;
    *ret_count = 0;
    if (wf_metadata_decode_any(offset, metadata, bytes, &runs, ret_count) != WEFT_OK) return NULL;
    return runs;
}

bool sim_broker_calls_complete(const sim_log *log, int64_t offset) {
    if (offset < log->committed) return true;
    size_t count;
    wf_offset_run *runs = decode(log->committed, log->metadata, log->metadata_bytes, &count);
    bool complete = false;
    for (size_t i = 0; i < count; i++) complete = complete || (offset >= runs[i].first && offset < runs[i].end);
    if (count && runs[count - 1].end > log->end) complete = false; /* a map that lies is not used at all */
    free(runs);
    return complete;
}

static void must_be_finished(const sim_log *log, int64_t first, int64_t end, int64_t offset, const char *who) {
    SIM_CHECK(end <= log->end, "%s commits %s/%d up to %lld, but the log ends at %lld", who, log->topic, log->partition,
              (long long)end, (long long)log->end);
    for (int64_t at = first; at < end; at++) {
        const sim_entry *entry = &log->entries[at];
        SIM_CHECK(!entry->exists || entry->gone || entry->finished,
                  "%s commits %s/%d at %lld, which calls %lld complete: it is not", who, log->topic, log->partition,
                  (long long)offset, (long long)at);
    }
}

void sim_broker_commit_truth(const sim_log *log, int64_t offset, const char *metadata, size_t metadata_bytes,
                             const char *who) {
    must_be_finished(log, 0, offset, offset, who);
    size_t count;
    wf_offset_run *runs = decode(offset, metadata, metadata_bytes, &count);
    bool says_nothing = metadata_bytes == 0 || (metadata_bytes == 1 && metadata[0] == 'R');
    SIM_CHECK(says_nothing || count > 0, "%s commits %s/%d at %lld with metadata that nobody can read", who, log->topic,
              log->partition, (long long)offset);
    for (size_t i = 0; i < count; i++) must_be_finished(log, runs[i].first, runs[i].end, offset, who);
    free(runs);
}

static void store(sim_log *log, int64_t offset, const char *metadata, size_t metadata_bytes) {
    free(log->metadata);
    log->metadata = NULL;
    log->committed = offset;
    log->metadata_bytes = metadata_bytes;
    if (metadata_bytes == 0) return;
    log->metadata = malloc(metadata_bytes);
    WF_CHECK(log->metadata != NULL);
    memcpy(log->metadata, metadata, metadata_bytes);
}

static wf_kafka_error take_commit(sim_broker *broker, uint32_t generation, const wf_kafka_partition *commit) {
    sim_log *log = sim_broker_log(broker, commit->topic, commit->partition);
    if (!log->ours || generation != broker->generation) {
        sim_seen(SIM_SEEN_COMMIT_FENCED);
        return WF_KAFKA_FENCED;
    }
    if (commit->metadata_bytes > broker->plan->broker_metadata_max) {
        sim_seen(SIM_SEEN_COMMIT_TOO_LARGE);
        return WF_KAFKA_TOO_LARGE;
    }
    if (commit->metadata_bytes) sim_seen(SIM_SEEN_MAP_COMMITTED);
    if (broker->peer) sim_seen(SIM_SEEN_TOGETHER);
    SIM_CHECK(commit->offset >= log->committed || log->thrown_back, "a commit goes back: %s/%d from %lld to %lld",
              log->topic, log->partition, (long long)log->committed, (long long)commit->offset);
    sim_broker_commit_truth(log, commit->offset, commit->metadata, commit->metadata_bytes, "the member");
    sim_trace("broker: %s/%d committed %lld metadata_bytes=%zu", log->topic, log->partition, (long long)commit->offset,
              commit->metadata_bytes);
    store(log, commit->offset, commit->metadata, commit->metadata_bytes);
    return WF_KAFKA_OK;
}

/* The request arrives: what becomes of it, and of its answer. */
static void apply_commit(sim_broker *broker, sim_event *event) {
    sim_chance *chance = broker->chance;
    bool trouble = !broker->calm && sim_percent(chance, broker->plan->commit_trouble_percent);
    unsigned kind = trouble ? (unsigned)sim_below(chance, 5) : 0;
    if (trouble) sim_seen(SIM_SEEN_COMMIT_RETRIED);
    if (trouble && kind == 0) { /* lost on the way */
        event->error = WF_KAFKA_RETRY;
        if (sim_percent(chance, 50)) cut_list(event, 0);
        return;
    }
    /* librdkafka takes ILLEGAL_GENERATION for the end of the membership, also when it only overtook a rebalance. */
    if ((trouble && kind == 1) || event->generation != broker->generation) sim_broker_expel(broker);
    for (size_t i = 0; i < event->count; i++) {
        bool fails = trouble && kind == 2 && sim_percent(chance, 50); /* this partition's leader of offsets is busy */
        event->list[i].error = fails ? WF_KAFKA_RETRY : (int)take_commit(broker, event->generation, &event->list[i]);
        if (event->list[i].error) event->error = (wf_kafka_error)event->list[i].error;
    }
    if (trouble && kind == 3) event->error = WF_KAFKA_RETRY; /* taken, but the answer got lost */
    if (trouble && kind == 3)
        for (size_t i = 0; i < event->count; i++) event->list[i].error = WF_KAFKA_OK;
    if (trouble && kind == 4 && event->count > 1) cut_list(event, event->count - 1); /* an answer that leaves one out */
}

static void apply_committed(sim_broker *broker, sim_event *event) {
    if (!broker->calm && sim_percent(broker->chance, broker->plan->commit_trouble_percent)) {
        event->error = WF_KAFKA_RETRY;
        if (sim_percent(broker->chance, 50)) cut_list(event, 0);
        return;
    }
    for (size_t i = 0; i < event->count; i++) {
        wf_kafka_partition *to = &event->list[i];
        const sim_log *log = sim_broker_log(broker, to->topic, to->partition);
        to->offset = log->committed >= 0 ? log->committed : WF_KAFKA_OFFSET_NONE;
        to->metadata_bytes = log->metadata_bytes;
        if (log->metadata_bytes == 0) continue;
        char *metadata = malloc(log->metadata_bytes);
        WF_CHECK(metadata != NULL);
        memcpy(metadata, log->metadata, log->metadata_bytes);
        to->metadata = metadata;
    }
}

/* --- the other member of the group: it takes what is not ours, handles some, and commits */

static void do_their_work(sim_broker *broker, sim_log *log, int64_t from) {
    unsigned percent = (unsigned)sim_below(broker->chance, 100);
    bool blocked[256] = {false};
    for (int64_t at = from; at < log->end; at++) {
        sim_entry *entry = &log->entries[at];
        if (!entry->exists || entry->finished || entry->gone) continue;
        /* In the strictest order there is: a lane is any of all keys. */
        bool *lane = &blocked[broker->plan->manager.ordering == WF_ORDER_KEY && entry->key >= 0 ? entry->key : 255];
        if (*lane || !sim_percent(broker->chance, percent))
            *lane = true;
        else
            entry->finished = true;
    }
}

static wf_offset_run *their_map(const sim_log *log, int64_t offset, size_t *ret_count) {
    wf_offset_run *runs = calloc((size_t)(log->end - offset) / 2 + 2, sizeof *runs);
    WF_CHECK(runs != NULL);
    *ret_count = 0;
    for (int64_t at = offset + 1; at < log->end; at++) {
        if (!log->entries[at].exists || !log->entries[at].finished) continue;
        if (*ret_count && runs[*ret_count - 1].end == at)
            runs[*ret_count - 1].end++;
        else
            runs[(*ret_count)++] = (wf_offset_run){at, at + 1};
    }
    return runs;
}

void sim_broker_other_member(sim_broker *broker, sim_log *log) {
    int64_t offset = log->committed > log->start ? log->committed : log->start;
    do_their_work(broker, log, offset);
    while (offset < log->end &&
           (!log->entries[offset].exists || log->entries[offset].finished || log->entries[offset].gone))
        offset++;
    size_t count, bytes = 0;
    char text[WF_METADATA_BYTES_MAX];
    wf_offset_run *runs = their_map(log, offset, &count);
    unsigned kind = (unsigned)sim_below(broker->chance, 10);
    if (kind == 0) { /* something else that keeps notes there */
        bytes = sim_below(broker->chance, 60);
        for (size_t i = 0; i < bytes; i++) text[i] = (char)sim_between(broker->chance, 33, 126);
        if (bytes > 0 && wf_metadata_format_of(text, bytes) == WF_METADATA_PYRALLEL) text[0] = '!'; /* no checksum */
    } else if (kind == 1) { /* a map of a longer log */
        runs[count++] = (wf_offset_run){log->end + 100000, log->end + 100010};
    }
    const wf_metadata_codec *codec = wf_metadata_codec_of((wf_metadata_format)(offset % WF_METADATA_FORMATS));
    const wf_metadata_codec *ours = wf_metadata_codec_of(broker->plan->manager.map_format);
    bool fits = ours->size(offset, runs, count) <= broker->plan->metadata_max_bytes; /* or we would have to cut it */
    if (fits && kind > 0 && kind < 9 &&
        codec->encode(offset, runs, count, text, broker->plan->metadata_max_bytes, &bytes) != WEFT_OK)
        bytes = 0;
    free(runs);
    sim_trace("broker: the other member commits %s/%d at %lld runs=%zu kind=%u", log->topic, log->partition,
              (long long)offset, count, kind);
    store(log, offset, text, bytes);
}

/* --- requests, answers and events on their way */

uint64_t sim_broker_latency_ns(sim_broker *broker) {
    return broker->calm ? 1000 : sim_below(broker->chance, broker->plan->broker_ns_max) + 1;
}

sim_event *sim_event_new(sim_event_kind kind) {
    sim_event *event = calloc(1, sizeof *event);
    WF_CHECK(event != NULL);
    event->kind = kind;
    return event;
}

void sim_event_travel(sim_broker *broker, sim_event *event, uint64_t delay_ns) {
    event->due_ns = broker->now_ns + delay_ns;
    event->next = broker->travelling;
    broker->travelling = event;
}

void sim_event_ready(sim_broker *broker, sim_event *event) {
    event->next = NULL;
    if (!broker->ready) broker->events_ring = true; /* librdkafka rings when a queue gets its first entry */
    *broker->ready_tail = event;
    broker->ready_tail = &event->next;
}

void sim_event_list(sim_event *event, const wf_kafka_partition *partitions, size_t count) {
    SIM_CHECK(count <= SIM_PARTITIONS_MAX, "a list of %zu partitions", count);
    event->count = count;
    for (size_t i = 0; i < count; i++) {
        event->list[i] = partitions[i];
        if (partitions[i].metadata_bytes == 0) event->list[i].metadata = NULL;
        if (partitions[i].metadata_bytes == 0) continue;
        char *metadata = malloc(partitions[i].metadata_bytes);
        WF_CHECK(metadata != NULL);
        memcpy(metadata, partitions[i].metadata, partitions[i].metadata_bytes);
        event->list[i].metadata = metadata;
    }
}

void sim_broker_trouble(sim_broker *broker, wf_kafka_error error) {
    sim_event *event = sim_event_new(SIM_EVENT_ERROR);
    event->error = error;
    sim_event_ready(broker, event);
}

static void arrive(sim_broker *broker, sim_event **at) {
    sim_event *event = *at;
    if (!event->applied && event->kind == SIM_EVENT_COMMIT_RESULT) apply_commit(broker, event);
    if (!event->applied && event->kind == SIM_EVENT_COMMITTED) apply_committed(broker, event);
    bool is_answer = event->kind == SIM_EVENT_COMMIT_RESULT || event->kind == SIM_EVENT_COMMITTED;
    if (is_answer && !event->applied) { /* now the way back */
        event->applied = true;
        event->due_ns = broker->now_ns + sim_broker_latency_ns(broker);
        return;
    }
    *at = event->next;
    sim_event_ready(broker, event);
}

void sim_broker_drop_requests(sim_broker *broker) {
    while (broker->travelling) {
        sim_event *event = broker->travelling;
        broker->travelling = event->next;
        if (event->kind == SIM_EVENT_COMMIT_RESULT && !event->applied && sim_percent(broker->chance, 50))
            apply_commit(broker, event);
        sim_event_free(event);
    }
    while (broker->ready) {
        sim_event *event = broker->ready;
        broker->ready = event->next;
        sim_event_free(event);
    }
    broker->ready_tail = &broker->ready;
}

static bool group_is_due(const sim_broker *broker) {
    return broker->group == SIM_GROUP_JOINING || broker->group == SIM_GROUP_EXPELLED;
}

uint64_t sim_broker_next_ns(const sim_broker *broker) {
    uint64_t next_ns = group_is_due(broker) ? broker->group_due_ns : UINT64_MAX;
    for (const sim_event *event = broker->travelling; event; event = event->next)
        if (event->due_ns < next_ns) next_ns = event->due_ns;
    if (sim_broker_can_fetch(broker) && broker->fetch_due_ns < next_ns) next_ns = broker->fetch_due_ns;
    if (broker->events_ring || broker->records_ring) next_ns = 0;
    return next_ns;
}

void sim_broker_advance(sim_broker *broker) {
    unsigned due = 0;
    for (const sim_event *event = broker->travelling; event; event = event->next)
        due += event->due_ns <= broker->now_ns;
    bool group = group_is_due(broker) && broker->group_due_ns <= broker->now_ns;
    bool fetch = sim_broker_can_fetch(broker) && broker->fetch_due_ns <= broker->now_ns;
    unsigned count = due + group + fetch;
    if (count == 0) return;
    unsigned chosen = (unsigned)sim_below(broker->chance, count);
    if (group && chosen == due) {
        sim_group_step(broker);
    } else if (chosen >= due) {
        sim_broker_fetch(broker);
    } else {
        sim_event **at = &broker->travelling;
        for (;; at = &(*at)->next)
            if ((*at)->due_ns <= broker->now_ns && chosen-- == 0) break;
        arrive(broker, at);
    }
}
