/* SPDX-License-Identifier: Apache-2.0 */
#include "truth.h"

#include <stdlib.h>
#include <string.h>

#include "metadata_format.h"

void sim_truth_init(sim_truth *truth, sim_broker *broker, const sim_plan *plan) {
    *truth = (sim_truth){.broker = broker, .plan = plan};
}

void sim_truth_deinit(sim_truth *truth) {
    for (uint32_t i = 0; i < SIM_PARTITIONS_MAX; i++) free(truth->epochs[i].runs);
}

void sim_truth_begin(sim_truth *truth) {
    sim_broker *broker = truth->broker;
    const sim_plan *plan = truth->plan;
    sim_truth_deinit(truth);
    sim_truth_init(truth, broker, plan);
}

/* --- lanes and flights */

static int32_t lane_of(const sim_truth *truth, const sim_entry *entry) {
    const wf_work_manager_options *manager = &truth->plan->manager;
    if (manager->ordering == WF_ORDER_UNORDERED) return SIM_LANE_OPEN;
    if (manager->ordering == WF_ORDER_PARTITION) return 0;
    if (entry->key == SIM_KEY_NULL) return manager->null_key_serial ? 0 : SIM_LANE_OPEN;
    return entry->key + 1;
}

sim_flight *sim_truth_flight(sim_truth *truth, const wf_record *block) {
    for (uint32_t i = 0; i < truth->flight_count; i++)
        if (truth->flights[i].block == block) return &truth->flights[i];
    return NULL;
}

static void end_flight(sim_truth *truth, sim_flight *flight) {
    if (flight->lane != SIM_LANE_OPEN) truth->lane_out[flight->log->index][flight->lane]--;
    if (flight->parked)
        truth->parked--;
    else
        truth->lent--;
    *flight = truth->flights[--truth->flight_count];
}

/* A deferred record past deadline and grace may have been given up by policy: its token is dead, its lane goes on. */
static bool may_be_abandoned(const sim_truth *truth, const sim_flight *flight) {
    const wf_work_manager_options *manager = &truth->plan->manager;
    uint64_t patience_ns = manager->handler_deadline_ns + manager->stuck_grace_ns;
    return flight->parked && manager->handler_deadline_ns && manager->stuck_policy == WF_STUCK_ABANDON &&
           truth->broker->now_ns - flight->sent_ns > patience_ns;
}

static void end_abandoned(sim_truth *truth, sim_flight *flight) {
    sim_seen(SIM_SEEN_PROMISE_ABANDONED);
    end_flight(truth, flight);
}

static void end_abandoned_of(sim_truth *truth, const sim_log *log, int32_t lane) {
    for (uint32_t i = truth->flight_count; i > 0; i--) {
        sim_flight *flight = &truth->flights[i - 1];
        if (flight->log == log && flight->lane == lane && may_be_abandoned(truth, flight)) end_abandoned(truth, flight);
    }
}

static void begin_flight(sim_truth *truth, const wf_record *block) {
    sim_flight *old = sim_truth_flight(truth, block);
    sim_log *log = sim_broker_log(truth->broker, block->topic, block->partition);
    sim_entry *entry = &log->entries[block->offset];
    log->mine[block->offset].lent = true;
    if (old && may_be_abandoned(truth, old)) {
        end_abandoned(truth, old);
        old = NULL;
    }
    SIM_CHECK(!old, "%s/%d %lld is lent twice", log->topic, log->partition, (long long)block->offset);
    SIM_CHECK(truth->flight_count < SIM_FLIGHTS_MAX, "too many records are out");
    sim_flight *flight = &truth->flights[truth->flight_count++];
    *flight = (sim_flight){.block = block,
                           .log = log,
                           .offset = block->offset,
                           .epoch = block->epoch,
                           .lane = lane_of(truth, entry),
                           .slice = truth->slices,
                           .sent_ns = truth->broker->now_ns};
    truth->lent++;
    if (flight->lane == SIM_LANE_OPEN) return;
    uint32_t *out = &truth->lane_out[log->index][flight->lane];
    uint64_t *slice = &truth->lane_slice[log->index][flight->lane];
    if (*out && *slice != truth->slices) {
        int32_t lane = flight->lane;
        end_abandoned_of(truth, log, lane);
        flight = sim_truth_flight(truth, block); /* it may have moved */
    }
    SIM_CHECK(*out == 0 || *slice == truth->slices,
              "lane %d of %s/%d runs at two places: %lld is lent while another is out", flight->lane, log->topic,
              log->partition, (long long)block->offset);
    SIM_CHECK(*out == 0 || !truth->plan->batch, "two records of lane %d in one batch: %s/%d %lld", flight->lane,
              log->topic, log->partition, (long long)block->offset);
    *slice = truth->slices;
    ++*out;
}

static void work_sent(sim_truth *truth, const wf_slice *slice) {
    const wf_work_manager_options *manager = &truth->plan->manager;
    uint32_t count = 0;
    truth->slices++;
    sim_trace("a slice of %u records", slice->count);
    if (slice->count > 256) sim_seen(SIM_SEEN_LONG_SLICE);
    for (const wf_record *block = slice->head; block; block = block->next, count++) begin_flight(truth, block);
    SIM_CHECK(count == slice->count && count > 0 && count <= manager->slice_max_records,
              "a slice of %u records, said to have %u", count, slice->count);
    SIM_CHECK(truth->lent <= manager->in_flight_max_records, "%u records are out, %u are allowed", truth->lent,
              manager->in_flight_max_records);
    /* A deferred record that was abandoned counts here until it shows up again. */
    bool abandons = manager->handler_deadline_ns && manager->stuck_policy == WF_STUCK_ABANDON;
    SIM_CHECK(truth->parked == 0 || abandons || truth->lent + truth->parked <= manager->pending_max_records,
              "%u records are deferred and %u are out, %u are allowed", truth->parked, truth->lent,
              manager->pending_max_records);
}

void sim_truth_ordered(sim_truth *truth, int pid) {
    for (uint32_t i = 0; i < truth->flight_count; i++)
        if (truth->flights[i].fell_with == pid) truth->flights[i].fell_with = 0;
}

/* An attached worker is not ours to kill: it is given up past its deadline, and may run on. */
static void done_sent(sim_truth *truth, const wf_slice *slice) {
    const sim_plan *plan = truth->plan;
    uint64_t deadline_ns = plan->process_deadline_ns;
    if (!plan->processes || slice->number < sim_plan_spawned(plan)) return;
    for (const wf_record *block = slice->head; block; block = block->next) {
        sim_flight *flight = sim_truth_flight(truth, block);
        if (!flight || block->status != WF_DONE_TIMEOUT) continue;
        flight->late = deadline_ns && truth->broker->now_ns - flight->sent_ns >= deadline_ns;
    }
}

/* What was not reported comes back unrun, whether it ran or not; who is charged has deserved it. */
static void check_process_status(const sim_flight *flight, const wf_record *block) {
    const sim_entry *entry = &flight->log->entries[flight->offset];
    int64_t offset = block->offset;
    SIM_CHECK(block->status != WF_DONE_SUCCESS || entry->finished, "%lld is done, and nobody did it",
              (long long)offset);
    SIM_CHECK(block->status != WF_DONE_PENDING, "%lld is deferred", (long long)offset);
    SIM_CHECK(block->status != WF_DONE_TIMEOUT || flight->late, "%lld is charged with a deadline that did not pass",
              (long long)offset);
    SIM_CHECK(block->status != WF_DONE_FAILURE || flight->may_be_charged, "%lld is charged, and did nothing wrong",
              (long long)offset);
    SIM_CHECK(block->status != WF_DONE_UNRUN || !flight->fell_with, "%lld ran when process %d fell, and is not charged",
              (long long)offset, flight->fell_with);
    SIM_CHECK(block->status != WF_DONE_UNRUN || !flight->reported, "%lld was reported and comes back as if it was not",
              (long long)offset);
    bool charged = block->status == WF_DONE_TIMEOUT || block->status == WF_DONE_FAILURE;
    if (charged) flight->log->mine[offset].last_attempt = block->attempt; /* also where nobody knows whether it ran */
    if (block->status == WF_DONE_TIMEOUT) sim_seen(SIM_SEEN_LATE);
    if (block->status == WF_DONE_UNRUN && flight->started) sim_seen(SIM_SEEN_UNREPORTED);
}

/* An attempt of a record that counts has failed, and it is not its last. */
static void attempt_ends(sim_truth *truth, const sim_flight *flight, uint32_t status) {
    if (status != WF_DONE_FAILURE && status != WF_DONE_TIMEOUT) return;
    if (flight->block->state == WF_RECORD_DROPPED) return;
    if (flight->log->mine[flight->offset].last_attempt < truth->plan->manager.max_attempts)
        truth->epochs[flight->log->index].retried++;
}

static void done_arrives(sim_truth *truth, const wf_slice *slice) {
    uint32_t count = 0;
    for (const wf_record *block = slice->head; block; block = block->next, count++) {
        sim_flight *flight = sim_truth_flight(truth, block);
        SIM_CHECK(flight && !flight->parked, "DONE of a record that is not out: offset %lld", (long long)block->offset);
        if (truth->plan->processes)
            check_process_status(flight, block);
        else
            SIM_CHECK(flight->started == (block->status != WF_DONE_UNRUN), "%lld comes back with status %u, started=%d",
                      (long long)block->offset, block->status, flight->started);
        if (block->status == WF_DONE_PENDING && !flight->unparked) {
            sim_seen(SIM_SEEN_DEFERRED);
            flight->parked = true;
            truth->lent--;
            truth->parked++;
        } else {
            attempt_ends(truth, flight, block->status == WF_DONE_PENDING ? flight->promised : block->status);
            end_flight(truth, flight);
        }
    }
    SIM_CHECK(count == slice->count, "a slice of %u records came back with %u", slice->count, count);
}

static void unparked_arrives(sim_truth *truth, const wf_unparked *unparked) {
    sim_flight *flight = sim_truth_flight(truth, unparked->record);
    SIM_CHECK(flight && !flight->unparked, "a completion of a record that is not out");
    flight->unparked = true;
    flight->promised = unparked->status;
    if (!flight->parked) {
        sim_seen(SIM_SEEN_EARLY);
        return;
    }
    attempt_ends(truth, flight, unparked->status);
    end_flight(truth, flight);
}

static void goes_home(sim_truth *truth, const wf_record *block) {
    sim_flight *flight = sim_truth_flight(truth, block);
    if (!flight) return;
    SIM_CHECK(may_be_abandoned(truth, flight), "%lld goes home while it is out", (long long)block->offset);
    end_abandoned(truth, flight);
}

/* --- epochs */

static sim_epoch *epoch_of(sim_truth *truth, uint32_t slot, sim_log **ret_log) {
    for (uint32_t i = 0; i < truth->plan->partitions; i++) {
        if (truth->epochs[i].epoch == 0 || truth->epochs[i].slot != slot) continue;
        *ret_log = &truth->broker->logs[i];
        return &truth->epochs[i];
    }
    sim_fail("a message about slot %u, which was never assigned", slot);
}

static void restore(sim_truth *truth, const wf_restore *restore) {
    sim_log *log = sim_broker_log(truth->broker, restore->topic, restore->partition);
    sim_epoch *epoch = &truth->epochs[log->index];
    if (restore->base < 0 && log->committed >= 0 && log->thrown_back) sim_seen(SIM_SEEN_LOG_RESET);
    SIM_CHECK(!epoch->live && restore->epoch > epoch->epoch, "epoch %u of %s/%d begins inside another", restore->epoch,
              log->topic, log->partition);
    free(epoch->runs);
    epoch->runs = NULL;
    epoch->run_count = 0;
    epoch->slot = restore->slot;
    epoch->epoch = restore->epoch;
    epoch->live = epoch->map_used = true;
    epoch->drained = epoch->bounded = epoch->going = epoch->stale = false;
    epoch->known_end = 0;
    epoch->base = epoch->came_end = epoch->committed = restore->base;
    epoch->metadata_bytes = 0;
    if (restore->base >= 0 && wf_metadata_decode_any(restore->base, restore->metadata, restore->metadata_bytes,
                                                     &epoch->runs, &epoch->run_count) != WEFT_OK)
        truth->maps_refused++;
    for (int64_t at = 0; at < log->end; at++) log->mine[at].came = log->mine[at].done = log->mine[at].lent = false;
}

/* The tracker may know more than the committed map: what it adds was finished by somebody. */
static void assigned_sent(sim_truth *truth, const wf_assigned *assigned) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, assigned->slot, &log);
    size_t map = 0;
    bool more = false;
    for (uint32_t i = 0; i < assigned->count; i++)
        for (int64_t at = assigned->runs[i].first; at < assigned->runs[i].end; at++) {
            while (map < epoch->run_count && epoch->runs[map].end <= at) map++;
            if (map < epoch->run_count && epoch->runs[map].first <= at) continue;
            more = true;
            SIM_CHECK(at < log->end && (!log->entries[at].exists || log->entries[at].gone || log->entries[at].finished),
                      "%s/%d %lld is called complete at an assignment, and nobody has finished it", log->topic,
                      log->partition, (long long)at);
        }
    if (!more) return;
    free(epoch->runs);
    epoch->runs = malloc(assigned->count * sizeof *epoch->runs);
    SIM_CHECK(epoch->runs, "no memory");
    memcpy(epoch->runs, assigned->runs, assigned->count * sizeof *epoch->runs);
    epoch->run_count = assigned->count;
    sim_seen(SIM_SEEN_KEPT);
}

static bool is_restored(const sim_epoch *epoch, int64_t offset) {
    for (size_t i = 0; i < epoch->run_count && epoch->map_used; i++)
        if (offset >= epoch->runs[i].first && offset < epoch->runs[i].end) return true;
    return false;
}

static void record_came(sim_truth *truth, const wf_record *block) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, block->slot, &log);
    SIM_CHECK(epoch->live && block->epoch == epoch->epoch, "%s/%d %lld comes in an epoch that is over", log->topic,
              log->partition, (long long)block->offset);
    SIM_CHECK(epoch->stale || block->offset >= epoch->came_end, "%s/%d %lld comes again", log->topic, log->partition,
              (long long)block->offset);
    if (epoch->going || epoch->stale) return;
    if (epoch->base < 0) epoch->base = block->offset;
    epoch->came_end = block->offset + 1;
    log->mine[block->offset].came = true;
    if (!is_restored(epoch, block->offset)) return;
    epoch->restored += !log->mine[block->offset].done;
    log->mine[block->offset].done = true;
    sim_seen(SIM_SEEN_RESTORED);
}

static void log_end_sent(sim_truth *truth, const wf_log_end *log_end) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, log_end->slot, &log);
    if (!epoch->bounded && epoch->run_count && epoch->runs[epoch->run_count - 1].end > log_end->end)
        epoch->map_used = false;
    epoch->bounded = true;
    if (!log_end->reached || epoch->stale) return;
    if (epoch->base < 0) epoch->base = epoch->came_end = log_end->end;
    if (epoch->came_end < log_end->end) epoch->came_end = log_end->end;
}

static void unfetch_sent(sim_truth *truth, const wf_log_end *unfetch) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, unfetch->slot, &log);
    SIM_CHECK(epoch->live && epoch->epoch == unfetch->epoch && unfetch->end < epoch->came_end,
              "UNFETCH of what never came");
    for (int64_t at = unfetch->end; at < log->end; at++) {
        SIM_CHECK(!log->mine[at].done || is_restored(epoch, at), "%s/%d %lld is given back, and was completed",
                  log->topic, log->partition, (long long)at);
        log->mine[at].came = false;
    }
    if (epoch->known_end < epoch->came_end) epoch->known_end = epoch->came_end;
    epoch->came_end = unfetch->end;
    epoch->stale = true;
    sim_seen(SIM_SEEN_GIVEN_BACK);
}

static void completed_sent(sim_truth *truth, const wf_completed *completed) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, completed->slot, &log);
    sim_entry *entry = &log->entries[completed->offset];
    sim_mine *mine = &log->mine[completed->offset];
    SIM_CHECK(epoch->live && epoch->epoch == completed->epoch, "COMPLETED of an epoch that is over");
    SIM_CHECK(mine->came && !mine->done, "COMPLETED of %s/%d %lld, which came=%d done=%d", log->topic, log->partition,
              (long long)completed->offset, mine->came, mine->done);
    mine->done = true;
    epoch->completed++;
    if (!mine->lent) sim_seen(SIM_SEEN_ADOPTED);
    if (entry->finished) return;
    SIM_CHECK(truth->plan->manager.failure_policy == WF_FAILURE_SKIP &&
                  mine->last_attempt >= truth->plan->manager.max_attempts,
              "COMPLETED of %s/%d %lld, which never succeeded (attempt %u of %u)", log->topic, log->partition,
              (long long)completed->offset, mine->last_attempt, truth->plan->manager.max_attempts);
    entry->finished = true;
    sim_seen(SIM_SEEN_GIVEN_UP);
}

static void committed_sent(sim_truth *truth, const wf_committed *committed) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, committed->slot, &log);
    if (committed->outcome != WF_COMMIT_OK || epoch->epoch != committed->epoch) return;
    SIM_CHECK(committed->offset >= epoch->committed, "the poller says that a commit went back");
    epoch->committed = committed->offset;
    epoch->metadata_bytes = committed->metadata_bytes;
}

static void revoke_sent(sim_truth *truth, const wf_revoke *revoke) {
    sim_log *log;
    epoch_of(truth, revoke->slot, &log)->going = true;
}

/* The first of three who say so is the work manager: what is out then is fenced. */
static void manager_drained(sim_truth *truth, const wf_drained *drained) {
    sim_log *log;
    sim_epoch *epoch = epoch_of(truth, drained->slot, &log);
    if (epoch->drained) return;
    epoch->drained = true;
    uint32_t out = 0;
    for (uint32_t i = 0; i < truth->flight_count; i++)
        out += truth->flights[i].log == log && truth->flights[i].epoch == drained->epoch;
    SIM_CHECK(truth->plan->manager.handler_deadline_ns || out == drained->unfinished,
              "%s/%d is drained with %u records out, %u are", log->topic, log->partition, drained->unfinished, out);
    truth->fenced += drained->unfinished;
}

static void drained_sent(sim_truth *truth, const wf_drained *drained) {
    sim_log *log;
    if (drained->unfinished) sim_seen(SIM_SEEN_FENCED);
    if (drained->lost) sim_seen(SIM_SEEN_LOST);
    epoch_of(truth, drained->slot, &log)->live = false;
}

bool sim_truth_is_complete(const sim_truth *truth, const sim_log *log, int64_t offset) {
    const sim_epoch *epoch = &truth->epochs[log->index];
    if (offset < epoch->base || is_restored(epoch, offset)) return true;
    return offset < epoch->came_end && (!log->mine[offset].came || log->mine[offset].done);
}

bool sim_truth_is_hole(const sim_truth *truth, const sim_log *log, int64_t offset) {
    const sim_epoch *epoch = &truth->epochs[log->index];
    if (offset < epoch->base || is_restored(epoch, offset)) return false;
    if (offset >= epoch->came_end) return offset < epoch->known_end && !log->entries[offset].exists;
    return !log->mine[offset].came;
}

int64_t sim_truth_frontier(const sim_truth *truth, const sim_log *log) {
    int64_t frontier = truth->epochs[log->index].base;
    while (sim_truth_is_complete(truth, log, frontier)) frontier++;
    return frontier;
}

/* --- what the world tells */

void sim_truth_sent(sim_truth *truth, uint32_t type, const void *body, size_t bytes) {
    switch (type) {
    case WF_MSG_RESTORE:
        restore(truth, body);
        break;
    case WF_MSG_ASSIGNED:
        assigned_sent(truth, body);
        break;
    case WF_MSG_RECORDS:
        for (const wf_record *block = ((const wf_chain *)body)->head; block; block = block->next)
            record_came(truth, block), truth->fetched++;
        break;
    case WF_MSG_DRAINED:
        manager_drained(truth, body);
        break;
    case WF_MSG_REVOKE:
        revoke_sent(truth, body);
        break;
    case WF_MSG_LOG_END:
        log_end_sent(truth, body);
        break;
    case WF_MSG_WORK:
        work_sent(truth, body);
        break;
    case WF_MSG_DONE:
        done_sent(truth, body);
        break;
    case WF_MSG_HELD: {
        sim_log *log;
        sim_epoch *epoch = epoch_of(truth, ((const wf_partition *)body)->slot, &log);
        if (epoch->epoch == ((const wf_partition *)body)->epoch) epoch->stale = false;
        break;
    }
    case WF_MSG_UNFETCH:
        unfetch_sent(truth, body);
        break;
    case WF_MSG_COMPLETED:
        for (size_t i = 0; i < bytes / sizeof(wf_completed); i++) completed_sent(truth, (const wf_completed *)body + i);
        break;
    case WF_MSG_CREDIT:
        for (const wf_record *block = ((const wf_credit *)body)->head; block; block = block->next)
            goes_home(truth, block);
        break;
    case WF_MSG_COMMITTED:
        committed_sent(truth, body);
        break;
    case WF_MSG_MAP_REFUSED:
        truth->maps_refused++;
        sim_seen(SIM_SEEN_MAP_REFUSED);
        break;
    case WF_MSG_HOLE:
        sim_seen(SIM_SEEN_HOLE);
        break;
    case WF_MSG_HOLD:
        if (((const wf_hold *)body)->hold) sim_seen(SIM_SEEN_HELD);
        break;
    default:
        break;
    }
}

void sim_truth_arrives(sim_truth *truth, uint32_t type, const void *body, size_t bytes) {
    if (type == WF_MSG_DONE) done_arrives(truth, body);
    if (type == WF_MSG_UNPARKED)
        for (size_t i = 0; i < bytes / sizeof(wf_unparked); i++) unparked_arrives(truth, (const wf_unparked *)body + i);
    if (type == WF_MSG_DRAINED) drained_sent(truth, body);
}

sim_flight *sim_truth_started(sim_truth *truth, const wf_record *record) {
    sim_flight *flight = sim_truth_flight(truth, record);
    SIM_CHECK(flight && !flight->started && !flight->parked, "a handler gets a record that is not lent");
    flight->started = true;
    truth->handled++;
    sim_log *log = flight->log;
    sim_entry *entry = &log->entries[flight->offset];
    log->mine[flight->offset].last_attempt = record->attempt;
    if (record->attempt > 1) sim_seen(SIM_SEEN_RETRIED);
    if (entry->finished) sim_seen(SIM_SEEN_AGAIN);
    if (!log->ours && sim_broker_is_theirs(truth->broker, log)) sim_seen(SIM_SEEN_ZOMBIE);
    bool current = log->ours && record->state != WF_RECORD_DROPPED && !log->thrown_back;
    SIM_CHECK(!current || !sim_broker_calls_complete(log, flight->offset),
              "%s/%d %lld runs again, but the commit at %lld calls it complete", log->topic, log->partition,
              (long long)flight->offset, (long long)log->committed);
    if (flight->lane == SIM_LANE_OPEN) return flight;
    for (int64_t at = log->start; at < flight->offset; at++) {
        const sim_entry *before = &log->entries[at];
        if (!before->exists || before->finished || lane_of(truth, before) != flight->lane) continue;
        sim_fail("%s/%d %lld starts before %lld of the same lane is finished", log->topic, log->partition,
                 (long long)flight->offset, (long long)at);
    }
    return flight;
}
