/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepts ASK, SUBSCRIBE (program), GAUGES, GAUGES_END (poller, work manager, tracker, encoder, process engine),
 * QUEUES, COMPLETIONS (work manager), WORKERS (process engine), EVENT_CREDIT (subscribers). Emits GAUGES_ASK, REPORT,
 * SUBSCRIBE (work manager), EVENT_COMPLETIONS, EVENT_SNAPSHOT.
 *
 * Invariants:
 * 1. One collection at a time: a GAUGES_ASK to each owner of numbers, complete when as many GAUGES_END came back.
 * 2. A partition is in a report when the work manager named it in this collection; what the others said of it is added.
 * 3. Numbers of partitions that went away are kept: what is counted by topic never goes back.
 * 4. A subscriber has at most its credit of events on their way; what finds none is dropped and counted, never queued.
 */
#include "exporter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exposition.h"
#include "histogram.h"
#include "messages.h"
#include "pages.h"
#include "system.h"

enum { TIMER_TICK = 0, SUBSCRIBERS_MAX = 16, ASKS_MAX = 16 };

typedef struct subscriber {
    weft_actor_id actor;
    uint32_t credit;
    uint64_t dropped;
    bool completions;
    bool snapshots;
} subscriber;

typedef struct exported {
    weft_partition_metrics metrics;
    uint64_t blocking_since_ns;
    bool seen[WF_GAUGES_OWNERS]; /* in this collection */
} exported;

typedef struct exporter {
    wf_exporter_options options;
    subscriber subscribers[SUBSCRIBERS_MAX];
    uint32_t subscriber_count;
    exported *partitions; /* by slot */
    uint32_t partition_count;
    wf_queue *queues; /* of this collection */
    size_t queue_count;
    wf_worker_seen *workers; /* of this collection */
    size_t worker_count;
    weft_system_metrics system;
    unsigned answers; /* GAUGES_END of this collection */
    bool collecting;
    bool snapshot_due;
    bool left_out_logged;
    uint64_t asked[ASKS_MAX]; /* tickets that this collection answers */
    uint32_t asked_count;
    uint64_t waiting[ASKS_MAX]; /* tickets for the next one */
    uint32_t waiting_count;
} exporter;

/* --- collecting */

/* The last owner is the process engine, where there is one. */
static unsigned owner_count(const exporter *self) {
    return self->options.engine ? WF_GAUGES_OWNERS : WF_GAUGES_ENGINE;
}

static void collect(exporter *self, weft_env *env) {
    if (self->collecting || (self->waiting_count == 0 && !self->snapshot_due)) return;
    self->collecting = true;
    self->answers = 0;
    self->system = (weft_system_metrics){.as_of_ns = weft_env_now_ns(env)};
    memcpy(self->asked, self->waiting, self->waiting_count * sizeof self->waiting[0]);
    self->asked_count = self->waiting_count;
    self->waiting_count = 0;
    self->queue_count = 0;
    self->worker_count = 0;
    for (uint32_t i = 0; i < self->partition_count; i++)
        memset(self->partitions[i].seen, 0, sizeof self->partitions[i].seen);
    const weft_actor_id owners[] = {self->options.poller, self->options.manager, self->options.tracker,
                                    self->options.encoder, self->options.engine};
    wf_ask ask = {0};
    for (size_t i = 0; i < owner_count(self); i++) weft_env_send(env, owners[i], WF_MSG_GAUGES_ASK, &ask, sizeof ask);
}

static void on_ask(void *state, weft_env *env, const weft_message *message) {
    exporter *self = state;
    WF_CHECK(self->waiting_count < ASKS_MAX); /* the program waits for each answer */
    self->waiting[self->waiting_count++] = ((const wf_ask *)message->body)->ticket;
    collect(self, env);
}

static exported *partition_of(exporter *self, uint32_t slot) {
    if (slot >= self->partition_count) {
        uint32_t count = slot + 1 < 16 ? 16 : 2 * (slot + 1);
        self->partitions = realloc(self->partitions, count * sizeof *self->partitions);
        WF_CHECK(self->partitions != NULL);
        memset(self->partitions + self->partition_count, 0, (count - self->partition_count) * sizeof *self->partitions);
        self->partition_count = count;
    }
    return &self->partitions[slot];
}

static void merge_manager(exported *partition, const wf_gauges *gauges) {
    weft_partition_metrics kept = partition->metrics;
    partition->metrics = gauges->metrics;
    partition->metrics.log_end = kept.log_end;
    partition->metrics.frontier = kept.frontier;
    partition->metrics.committed = kept.committed;
    partition->metrics.gap_count = kept.gap_count;
    partition->metrics.metadata_bytes = kept.metadata_bytes;
    partition->blocking_since_ns = gauges->blocking_since_ns;
}

static void on_gauges(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    exporter *self = state;
    const wf_gauges *gauges = message->body;
    for (size_t i = 0; i < message->body_bytes / sizeof *gauges; i++) {
        exported *partition = partition_of(self, gauges[i].slot);
        const weft_partition_metrics *from = &gauges[i].metrics;
        WF_CHECK(gauges[i].owner < WF_GAUGES_OWNERS);
        partition->seen[gauges[i].owner] = true;
        if (gauges[i].owner == WF_GAUGES_MANAGER) {
            merge_manager(partition, &gauges[i]);
        } else if (gauges[i].owner == WF_GAUGES_POLLER) {
            partition->metrics.log_end = from->log_end;
        } else {
            partition->metrics.frontier = from->frontier;
            partition->metrics.committed = from->committed;
            partition->metrics.gap_count = from->gap_count;
            partition->metrics.metadata_bytes = from->metadata_bytes;
        }
    }
}

static void on_queues(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    exporter *self = state;
    size_t count = message->body_bytes / sizeof *self->queues;
    wf_queue *queues = realloc(self->queues, (self->queue_count + count) * sizeof *queues);
    WF_CHECK(queues != NULL);
    memcpy(queues + self->queue_count, message->body, count * sizeof *queues);
    self->queues = queues;
    self->queue_count += count;
}

static void on_workers(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    exporter *self = state;
    size_t count = message->body_bytes / sizeof *self->workers;
    wf_worker_seen *workers = realloc(self->workers, (self->worker_count + count) * sizeof *workers);
    WF_CHECK(workers != NULL);
    memcpy(workers + self->worker_count, message->body, count * sizeof *workers);
    self->workers = workers;
    self->worker_count += count;
}

static void merge_system(weft_system_metrics *to, const weft_system_metrics *from, uint32_t owner) {
    if (owner == WF_GAUGES_POLLER) {
        to->held_bytes = from->held_bytes;
        to->reserved_bytes = from->reserved_bytes;
        to->librdkafka_records = from->librdkafka_records;
        to->is_member = from->is_member;
        to->is_connected = from->is_connected;
        to->fetched = from->fetched;
        to->commits = from->commits;
        to->commit_failures = from->commit_failures;
        memcpy(to->commit_failures_by, from->commit_failures_by, sizeof to->commit_failures_by);
        to->commit_time = from->commit_time;
        to->drain_time = from->drain_time;
        to->assignments = from->assignments;
        to->lost = from->lost;
        to->uncommitted = from->uncommitted;
        to->fenced = from->fenced;
        to->kafka_errors = from->kafka_errors;
        to->paused_ns = from->paused_ns;
        to->wakes = from->wakes;
        to->idle_ns = from->idle_ns;
        to->is_paused = from->is_paused;
    } else if (owner == WF_GAUGES_MANAGER) {
        to->succeeded = from->succeeded;
        to->failed = from->failed;
        to->retried = from->retried;
        to->begun_ns = from->begun_ns;
        to->finished_ns = from->finished_ns;
        to->total_queued = from->total_queued;
        to->total_in_flight = from->total_in_flight;
        to->total_pending = from->total_pending;
        to->in_flight_bytes = from->in_flight_bytes;
        to->workers = from->workers;
        to->workers_busy = from->workers_busy;
    } else if (owner == WF_GAUGES_ENGINE) {
        to->pool = from->pool;
    }
    to->metadata_refused += from->metadata_refused;
    to->metadata_dropped += from->metadata_dropped;
}

/* Derived gauges: made when the report is made, so that ages are of now. */
static void finish_partition(weft_partition_metrics *metrics, const exported *partition, uint64_t now_ns) {
    *metrics = partition->metrics;
    if (!partition->seen[WF_GAUGES_POLLER]) metrics->log_end = -1;
    if (!partition->seen[WF_GAUGES_TRACKER]) metrics->frontier = -1;
    bool known = metrics->log_end >= 0 && metrics->frontier >= 0;
    metrics->true_lag = known && metrics->log_end > metrics->frontier ? metrics->log_end - metrics->frontier : 0;
    uint64_t since_ns = partition->blocking_since_ns;
    metrics->blocking_duration_seconds = since_ns && now_ns > since_ns ? (double)(now_ns - since_ns) / 1e9 : 0;
}

static size_t name_bytes(const exporter *self) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < self->partition_count; i++)
        if (self->partitions[i].seen[WF_GAUGES_MANAGER]) bytes += strlen(self->partitions[i].metrics.topic) + 1;
    return bytes;
}

/* Copy a name behind the others; returns the copy. */
static const char *put_name(char **at, const char *name) {
    char *copy = *at;
    size_t bytes = strlen(name) + 1;
    memcpy(copy, name, bytes);
    *at += bytes;
    return copy;
}

static void put_queues(const exporter *self, weft_metrics *report) {
    memcpy(report->queues, self->queues, self->queue_count * sizeof *self->queues);
    report->queue_count = self->queue_count;
    /* Whose queues are named has a partition in the report, and its copy of the name. */
    for (size_t i = 0; i < report->queue_count; i++) {
        size_t p = 0;
        if (i > 0 && self->queues[i].topic == self->queues[i - 1].topic) { /* those of a topic come together */
            report->queues[i].topic = report->queues[i - 1].topic;
            continue;
        }
        while (p < report->partition_count && strcmp(report->partitions[p].topic, report->queues[i].topic) != 0) p++;
        WF_CHECK(p < report->partition_count);
        report->queues[i].topic = report->partitions[p].topic;
    }
}

static weft_topic_metrics *topic_in(weft_metrics *report, const char *topic) {
    size_t i = 0;
    while (i < report->topic_count && strcmp(report->topics[i].topic, topic) != 0) i++;
    return i < report->topic_count ? &report->topics[i] : NULL;
}

/* The topics of the partitions in the report; then what their other partitions counted while they were here. */
static void put_topics(const exporter *self, weft_metrics *report) {
    for (size_t i = 0; i < report->partition_count; i++) {
        const weft_partition_metrics *partition = &report->partitions[i];
        weft_topic_metrics *topic = topic_in(report, partition->topic);
        if (!topic) {
            topic = &report->topics[report->topic_count++];
            *topic = (weft_topic_metrics){.topic = partition->topic, .is_paused = report->system.is_paused};
        }
        topic->assigned++;
        topic->is_paused = topic->is_paused || partition->paused || partition->held;
        topic->in_flight += partition->in_flight;
        topic->queued += partition->queued;
        if (partition->metadata_bytes > topic->metadata_bytes) topic->metadata_bytes = partition->metadata_bytes;
    }
    for (uint32_t i = 0; i < self->partition_count; i++) {
        const weft_partition_metrics *partition = &self->partitions[i].metrics;
        weft_topic_metrics *topic = partition->topic ? topic_in(report, partition->topic) : NULL;
        if (!topic) continue;
        wf_histogram_merge(&topic->wait, &partition->wait);
        wf_histogram_merge(&topic->execution, &partition->execution);
        wf_histogram_merge(&topic->end_to_end, &partition->end_to_end);
    }
}

static weft_metrics *make_report(const exporter *self, weft_env *env) {
    size_t count = 0;
    for (uint32_t i = 0; i < self->partition_count; i++) count += self->partitions[i].seen[WF_GAUGES_MANAGER];
    size_t bytes = count * (sizeof(weft_partition_metrics) + sizeof(weft_topic_metrics)) +
                   self->queue_count * sizeof(weft_queue_metrics) + self->worker_count * sizeof(weft_worker_metrics);
    weft_metrics *report = calloc(1, sizeof *report + bytes + name_bytes(self));
    WF_CHECK(report != NULL);
    report->system = self->system;
    report->partitions = (weft_partition_metrics *)(report + 1);
    report->topics = (weft_topic_metrics *)(report->partitions + count); /* as many as partitions, at most */
    report->queues = (weft_queue_metrics *)(report->topics + count);
    report->workers = (weft_worker_metrics *)(report->queues + self->queue_count);
    report->worker_count = self->worker_count;
    if (self->worker_count) memcpy(report->workers, self->workers, self->worker_count * sizeof *self->workers);
    char *names = (char *)(report->workers + self->worker_count);
    for (uint32_t i = 0; i < self->partition_count; i++) {
        if (!self->partitions[i].seen[WF_GAUGES_MANAGER]) continue;
        weft_partition_metrics *metrics = &report->partitions[report->partition_count++];
        finish_partition(metrics, &self->partitions[i], weft_env_now_ns(env));
        metrics->topic = put_name(&names, metrics->topic);
    }
    put_topics(self, report);
    if (self->queue_count) put_queues(self, report);
    return report;
}

/* --- handing out */

static void send_event(weft_env *env, subscriber *to, uint32_t type, const void *body, size_t bytes, uint32_t events) {
    if (to->credit < events) {
        to->dropped += events;
        return;
    }
    to->credit -= events;
    weft_env_send(env, to->actor, type, body, bytes);
}

static void send_snapshots(exporter *self, weft_env *env) {
    for (uint32_t i = 0; i < self->subscriber_count; i++) {
        subscriber *to = &self->subscribers[i];
        if (!to->snapshots) continue;
        weft_event_snapshot event = {.system = self->system, .dropped = to->dropped};
        send_event(env, to, WF_MSG_EVENT_SNAPSHOT, &event, sizeof event, 1);
    }
}

/* The loops of the ring and its neighbours; workers have consumer_exec_seconds, and there may be thousands. */
static void put_loops(const struct wf_system *system, wf_page *page) {
    const char *name;
    uint64_t cpu_ns;
    for (uint32_t loop = 1; system && page->loop_count < WF_PAGE_LOOPS_MAX; loop++) {
        if (!wf_system_loop_cpu(system, loop, &name, &cpu_ns)) return;
        if (strncmp(name, "worker-", 7) == 0) continue;
        wf_loop_time *time = &page->loops[page->loop_count++];
        snprintf(time->name, sizeof time->name, "%s", name);
        time->cpu_ns = cpu_ns;
    }
}

static void publish(exporter *self, weft_env *env) {
    wf_page *page = wf_page_new(make_report(self, env));
    WF_CHECK(page != NULL);
    page->process = wf_process_read();
    put_loops(self->options.system, page);
    page->limits = self->options.limits;
    page->build = self->options.build;
    for (size_t i = 0; i < sizeof page->requests / sizeof page->requests[0]; i++)
        page->requests[i] = atomic_load(&self->options.pages->requests[i]);
    page->made_ns = weft_env_now_ns(env);
    page->made_wall_ms = weft_env_wall_ms(env);
    wf_exposition_fit(page);
    if (page->left_out && !self->left_out_logged)
        weft_env_log(env, WEFT_LOG_WARN, "not all series fit into metrics.max.series=%llu left_out_series=%llu",
                     (unsigned long long)page->limits.max_series, (unsigned long long)page->left_out);
    self->left_out_logged = page->left_out > 0;
    wf_pages_publish(self->options.pages, page);
}

static void on_gauges_end(void *state, weft_env *env, const weft_message *message) {
    exporter *self = state;
    const wf_gauges_end *end = message->body;
    merge_system(&self->system, &end->metrics, end->owner);
    if (++self->answers < owner_count(self)) return;
    self->collecting = false;
    for (uint32_t i = 0; i < self->asked_count; i++) {
        wf_report report = {.ticket = self->asked[i], .metrics = make_report(self, env)};
        weft_env_send(env, 1, WF_MSG_REPORT, &report, sizeof report);
    }
    self->asked_count = 0;
    if (self->snapshot_due && self->options.pages) publish(self, env);
    if (self->snapshot_due) send_snapshots(self, env);
    self->snapshot_due = false;
    collect(self, env);
}

/* A burst may be larger than all the credit of a subscriber: it gets what the credit covers. */
static void on_completions(void *state, weft_env *env, const weft_message *message) {
    exporter *self = state;
    uint32_t events = (uint32_t)(message->body_bytes / sizeof(weft_event_completion));
    for (uint32_t i = 0; i < self->subscriber_count; i++) {
        subscriber *to = &self->subscribers[i];
        if (!to->completions) continue;
        uint32_t covered = events < to->credit ? events : to->credit;
        if (covered)
            send_event(env, to, WF_MSG_EVENT_COMPLETIONS, message->body, covered * sizeof(weft_event_completion),
                       covered);
        to->dropped += events - covered;
    }
}

static void on_event_credit(void *state, weft_env *env, const weft_message *message) {
    (void)env;
    exporter *self = state;
    for (uint32_t i = 0; i < self->subscriber_count; i++)
        if (self->subscribers[i].actor == message->from)
            self->subscribers[i].credit += ((const weft_event_credit *)message->body)->events;
}

static void on_subscribe(void *state, weft_env *env, const weft_message *message) {
    exporter *self = state;
    const wf_subscribe *subscribe = message->body;
    WF_CHECK(self->subscriber_count < SUBSCRIBERS_MAX);
    self->subscribers[self->subscriber_count++] = (subscriber){.actor = subscribe->actor,
                                                               .credit = subscribe->credit,
                                                               .completions = subscribe->completions,
                                                               .snapshots = subscribe->snapshots};
    if (subscribe->completions)
        weft_env_send(env, self->options.manager, WF_MSG_SUBSCRIBE, subscribe, sizeof *subscribe);
    /* Ticks only when somebody looks. */
    if (subscribe->snapshots) weft_env_arm(env, TIMER_TICK, weft_env_now_ns(env) + self->options.tick_ns);
}

static void on_timer(void *state, weft_env *env, unsigned timer) {
    (void)timer;
    exporter *self = state;
    self->snapshot_due = true;
    collect(self, env);
    weft_env_arm(env, TIMER_TICK, weft_env_now_ns(env) + self->options.tick_ns);
}

static void on_start(void *state, weft_env *env) {
    if (((const exporter *)state)->options.pages) on_timer(state, env, TIMER_TICK);
}

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((exporter *)state)->options = *(const wf_exporter_options *)argument;
    return WEFT_OK;
}

static void deinit(void *state, weft_env *env) {
    (void)env;
    exporter *self = state;
    free(self->partitions);
    free(self->queues);
    free(self->workers);
}

const weft_actor_class wf_exporter = {
    .name = "exporter",
    .state_bytes = sizeof(exporter),
    .init = init,
    .on_start = on_start,
    .on =
        {
            [WF_MSG_ASK] = on_ask,
            [WF_MSG_SUBSCRIBE] = on_subscribe,
            [WF_MSG_GAUGES] = on_gauges,
            [WF_MSG_QUEUES] = on_queues,
            [WF_MSG_WORKERS] = on_workers,
            [WF_MSG_GAUGES_END] = on_gauges_end,
            [WF_MSG_COMPLETIONS] = on_completions,
            [WF_MSG_EVENT_CREDIT] = on_event_credit,
        },
    .on_timer = on_timer,
    .deinit = deinit,
};
