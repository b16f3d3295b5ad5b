/* SPDX-License-Identifier: Apache-2.0
 *
 * Every gauge is what the truth says, at many points of each history; and what is shown of them can be read.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exposition.h"
#include "hash.h"
#include "histogram.h"
#include "world.h"

/* --- a partition */

/* Ranges of unfinished records below the highest finished one; holes are neither. */
static uint64_t gaps_of(const sim_truth *truth, const sim_log *log, int64_t frontier) {
    const sim_epoch *epoch = &truth->epochs[log->index];
    int64_t end = epoch->came_end;
    if (epoch->map_used && epoch->run_count && epoch->runs[epoch->run_count - 1].end > end)
        end = epoch->runs[epoch->run_count - 1].end;
    uint64_t gaps = 0;
    bool open = false;
    for (int64_t at = frontier; at < end; at++) {
        if (sim_truth_is_hole(truth, log, at)) continue;
        bool complete = sim_truth_is_complete(truth, log, at);
        gaps += complete && open;
        open = !complete;
    }
    return gaps;
}

static void must_equal(const sim_log *log, const char *what, int64_t reported, int64_t truth) {
    SIM_CHECK(reported == truth, "gauge %s of %s/%d is %lld, the truth is %lld", what, log->topic, log->partition,
              (long long)reported, (long long)truth);
}

/* Of the record at the frontier: what its log says of it. */
static void audit_blocking(const sim_truth *truth, const sim_log *log, const wf_work_slot *slot,
                           const weft_partition_metrics *metrics) {
    char key[16];
    if (!slot->head) {
        SIM_CHECK(metrics->blocking_timestamp_ms == -1 && metrics->blocking_key_hash == 0 &&
                      metrics->blocking_attempt == 0 && metrics->blocking_worker == -1,
                  "%s/%d: nothing blocks, and something is said of it", log->topic, log->partition);
        return;
    }
    int64_t offset = metrics->blocking_offset;
    int32_t number = log->entries[offset].key;
    int bytes = snprintf(key, sizeof key, "key-%d", number);
    uint64_t hash = number == SIM_KEY_NULL ? 0 : wf_hash_bytes(key, (size_t)bytes, 0);
    must_equal(log, "blocking_key_hash", (int64_t)metrics->blocking_key_hash, (int64_t)hash);
    must_equal(log, "blocking_timestamp_ms", metrics->blocking_timestamp_ms, sim_broker_timestamp_ms(offset));
    for (uint32_t i = 0; i < truth->flight_count; i++) {
        const sim_flight *flight = &truth->flights[i];
        /* With deadlines a deferred record may have been given up, and the truth does not know yet. */
        if (flight->block != slot->head || truth->plan->manager.handler_deadline_ns) continue;
        if (flight->started)
            must_equal(log, "blocking_attempt", metrics->blocking_attempt, log->mine[offset].last_attempt);
        if (flight->parked) must_equal(log, "blocking_worker of a deferred record", metrics->blocking_worker, -1);
    }
    uint32_t attempts = truth->plan->manager.max_attempts;
    SIM_CHECK(metrics->blocking_attempt >= 1 && metrics->blocking_attempt <= attempts, "attempt %u of %u",
              metrics->blocking_attempt, attempts);
}

/* Every finished record was measured, but for those that took over the result of an earlier flight. */
static void audit_times(const sim_log *log, const weft_partition_metrics *metrics) {
    uint64_t latency = wf_histogram_count(&metrics->latency), finished = metrics->succeeded + metrics->failed;
    must_equal(log, "count of wait times", (int64_t)wf_histogram_count(&metrics->wait), (int64_t)latency);
    must_equal(log, "count of end-to-end times", (int64_t)wf_histogram_count(&metrics->end_to_end), (int64_t)latency);
    SIM_CHECK(latency <= finished, "%llu records were measured, %llu were finished", (unsigned long long)latency,
              (unsigned long long)finished);
}

static void audit_partition(const sim_world *world, const wf_work_slot *slot, const weft_partition_metrics *metrics) {
    const sim_truth *truth = world->truth;
    const sim_log *log = sim_broker_log(world->broker, metrics->topic, metrics->partition);
    const sim_epoch *epoch = &truth->epochs[log->index];
    if (!epoch->live || epoch->epoch != slot->epoch) return;
    int64_t unfinished = 0, in_flight = 0, blocking = -1;
    for (int64_t at = log->end - 1; at >= 0; at--) {
        if (!log->mine[at].came || log->mine[at].done) continue;
        unfinished++;
        blocking = at;
    }
    for (uint32_t i = 0; i < truth->flight_count; i++)
        in_flight += truth->flights[i].log == log && truth->flights[i].epoch == slot->epoch;
    int64_t frontier = epoch->base < 0 ? -1 : sim_truth_frontier(truth, log);
    must_equal(log, "frontier", metrics->frontier, frontier);
    must_equal(log, "epoch", metrics->epoch, epoch->epoch);
    must_equal(log, "committed", metrics->committed, epoch->committed);
    must_equal(log, "gap_count", (int64_t)metrics->gap_count,
               (int64_t)(frontier < 0 ? 0 : gaps_of(truth, log, frontier)));
    must_equal(log, "metadata_bytes", (int64_t)metrics->metadata_bytes, (int64_t)epoch->metadata_bytes);
    must_equal(log, "blocking_offset", metrics->blocking_offset, blocking);
    must_equal(log, "queued and in_flight", (int64_t)(metrics->queued + metrics->in_flight), unfinished);
    if (!world->plan->manager.handler_deadline_ns) {
        must_equal(log, "in_flight", (int64_t)metrics->in_flight, in_flight);
        must_equal(log, "retried", (int64_t)metrics->retried, (int64_t)epoch->retried);
    }
    must_equal(log, "succeeded and failed", (int64_t)(metrics->succeeded + metrics->failed), (int64_t)epoch->completed);
    audit_times(log, metrics);
    must_equal(log, "restored", (int64_t)metrics->restored, (int64_t)epoch->restored);
    if (log->fetching && log->watermark >= 0) must_equal(log, "log_end", metrics->log_end, log->watermark);
    if (metrics->frontier >= 0 && metrics->log_end >= 0)
        must_equal(log, "true_lag", metrics->true_lag, metrics->log_end > frontier ? metrics->log_end - frontier : 0);
    audit_blocking(truth, log, slot, metrics);
    double age = blocking < 0 ? 0 : (double)(world->now_ns - slot->head->received_ns) / 1e9;
    SIM_CHECK(fabs(metrics->blocking_duration_seconds - age) < 1e-6, "a blocking age of %f s, the truth is %f s",
              metrics->blocking_duration_seconds, age);
}

/* --- topics, queues, the whole */

static const weft_partition_metrics *find_reported(const struct weft_metrics *report, const wf_work_slot *slot) {
    for (size_t i = 0; i < report->partition_count; i++) {
        const weft_partition_metrics *metrics = &report->partitions[i];
        if (metrics->partition == slot->partition && strcmp(metrics->topic, slot->topic) == 0) return metrics;
    }
    return NULL;
}

/* Of each topic: what its virtual queues hold is what its partitions have queued. */
static void audit_queues(const struct weft_metrics *report) {
    for (size_t p = 0; p < report->partition_count; p++) {
        const char *topic = report->partitions[p].topic;
        uint64_t by_partition = 0, by_queue = 0;
        for (size_t i = 0; i < report->partition_count; i++)
            if (strcmp(report->partitions[i].topic, topic) == 0) by_partition += report->partitions[i].queued;
        for (size_t i = 0; i < report->queue_count; i++)
            if (strcmp(report->queues[i].topic, topic) == 0) by_queue += report->queues[i].queued;
        SIM_CHECK(by_queue == by_partition, "the virtual queues of %s hold %llu records, its partitions %llu", topic,
                  (unsigned long long)by_queue, (unsigned long long)by_partition);
    }
}

/* A topic is its partitions together. */
static void audit_topics(const struct weft_metrics *report) {
    for (size_t t = 0; t < report->topic_count; t++) {
        const weft_topic_metrics *topic = &report->topics[t];
        weft_topic_metrics sum = {.is_paused = report->system.is_paused};
        weft_histogram wait = {0};
        for (size_t i = 0; i < report->partition_count; i++) {
            const weft_partition_metrics *partition = &report->partitions[i];
            if (strcmp(partition->topic, topic->topic) != 0) continue;
            sum.assigned++;
            sum.in_flight += partition->in_flight;
            sum.queued += partition->queued;
            sum.is_paused = sum.is_paused || partition->paused || partition->held;
            if (partition->metadata_bytes > sum.metadata_bytes) sum.metadata_bytes = partition->metadata_bytes;
            wf_histogram_merge(&wait, &partition->wait);
        }
        SIM_CHECK(topic->assigned == sum.assigned && topic->in_flight == sum.in_flight && topic->queued == sum.queued &&
                      topic->is_paused == sum.is_paused && topic->metadata_bytes == sum.metadata_bytes,
                  "gauges of topic %s are not those of its partitions", topic->topic);
        SIM_CHECK(wf_histogram_count(&topic->wait) >= wf_histogram_count(&wait), "topic %s forgot times", topic->topic);
    }
}

static void must_be(const char *what, uint64_t reported, uint64_t truth) {
    SIM_CHECK(reported == truth, "gauge %s is %llu, the truth is %llu", what, (unsigned long long)reported,
              (unsigned long long)truth);
}

static void audit_system(const sim_world *world, const weft_system_metrics *system) {
    const wf_work_manager_state *manager = sim_manager(world);
    const wf_poller_state *poller = sim_poller(world);
    const sim_truth *truth = world->truth;
    uint64_t bytes = 0, failures = 0;
    for (uint32_t i = 0; i < truth->flight_count; i++) bytes += truth->flights[i].block->block_bytes;
    for (int i = 0; i < WEFT_COMMIT_FAILURES; i++) failures += system->commit_failures_by[i];
    must_be("total_in_flight", system->total_in_flight, manager->lent_records + manager->parked_records);
    must_be("total_pending", system->total_pending, manager->parked_records);
    must_be("metadata_refused", system->metadata_refused, truth->maps_refused);
    must_be("held_bytes", system->held_bytes, wf_record_pool_held_bytes(&poller->pool));
    must_be("fetched", system->fetched, truth->fetched);
    must_be("fenced", system->fenced, truth->fenced);
    must_be("commit_failures", system->commit_failures, failures);
    if (!world->plan->manager.handler_deadline_ns) must_be("in_flight_bytes", system->in_flight_bytes, bytes);
    must_be("is_paused", system->is_paused, poller->credit_records <= 0 || poller->credit_bytes <= 0);
    SIM_CHECK(system->paused_ns <= world->now_ns && system->idle_ns <= world->now_ns, "longer than the history");
    SIM_CHECK(wf_histogram_count(&system->drain_time) <= system->assignments && system->lost <= system->assignments,
              "more drains or losses than rebalances");
    uint64_t answered = wf_histogram_count(&system->commit_time);
    SIM_CHECK(answered >= system->commits && answered <= system->commits + failures, "%llu commits were answered",
              (unsigned long long)answered);
    bool may_drop = world->plan->broker_metadata_max < world->plan->metadata_max_bytes;
    SIM_CHECK(system->metadata_dropped == 0 || may_drop, "%llu maps did not fit, although dispatch stops before",
              (unsigned long long)system->metadata_dropped);
    SIM_CHECK(truth->lent > 0 || system->workers_busy == 0, "gauge workers_busy is %u", system->workers_busy);
}

/* What is shown of a report: no number below zero, none that is none, and all forms can be made. Takes it over. */
static void audit_page(sim_world *world) {
    wf_page *page = wf_page_new(world->report);
    world->report = NULL;
    WF_CHECK(page != NULL);
    page->limits = (wf_limits){.group = "sim", .ordering = "key", .engine = "async", .max_series = 20000};
    page->build = (wf_build){"1", "2", "3", "4", "5"};
    page->process = (wf_process_metrics){NAN, NAN, NAN, NAN, NAN, NAN};
    wf_exposition_fit(page);
    for (int form = 0; form < WF_FORM_COUNT; form++) SIM_CHECK(wf_page_body(page, (wf_form)form, false), "no page");
    const wf_body *body = wf_page_body(page, WF_FORM_TEXT, false);
    char *text = strndup(body->bytes, body->count), *next;
    for (char *line = text; *line; line = next) {
        next = strchr(line, '\n');
        SIM_CHECK(next, "the page does not end with a line");
        *next++ = '\0';
        const char *value = strrchr(line, ' ');
        SIM_CHECK(*line == '#' || (value && value[1] >= '0' && value[1] <= '9') || strcmp(value, " NaN") == 0,
                  "on the page: %s", line);
    }
    free(text);
    wf_page_free(page);
}

void sim_audit_gauges(sim_world *world) {
    if (!sim_world_settle(world) || world->mail_count > 0) return; /* somebody sleeps on a message */
    if (world->processes && world->actors[SIM_ENGINE].asleep_until_ns > world->now_ns) return; /* or would */
    wf_ask ask = {.ticket = *world->step};
    sim_world_send(world, SIM_PROGRAM, SIM_EXPORTER, WF_MSG_ASK, &ask, sizeof ask);
    SIM_CHECK(sim_world_settle(world) && world->report, "a question for gauges was not answered");
    const wf_work_manager_state *manager = sim_manager(world);
    const weft_system_metrics *system = &world->report->system;
    size_t active = 0;
    uint64_t queued = 0;
    for (uint32_t i = 0; i < manager->slot_count; i++) {
        const wf_work_slot *slot = &manager->slots[i];
        if (slot->phase == WF_WORK_GONE) continue;
        const weft_partition_metrics *metrics = find_reported(world->report, slot);
        SIM_CHECK(metrics, "%s/%d is assigned and not reported", slot->topic, slot->partition);
        queued += metrics->queued;
        active++;
        if (slot->phase == WF_WORK_ACTIVE) audit_partition(world, slot, metrics);
    }
    SIM_CHECK(world->report->partition_count == active, "%zu partitions are reported, %zu are assigned",
              world->report->partition_count, active);
    SIM_CHECK(system->total_queued == queued, "gauge total_queued is %llu", (unsigned long long)system->total_queued);
    audit_system(world, system);
    audit_queues(world->report);
    audit_topics(world->report);
    if (*world->step % 8 == 0) audit_page(world); /* half of the time of all histories would go there */
    free(world->report);
    world->report = NULL;
    sim_seen(SIM_SEEN_GAUGES);
}
