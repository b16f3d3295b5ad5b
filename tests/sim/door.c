/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker as the poller sees it: wf_kafka_ops. What was fetched waits in one queue; a version per partition makes
 * what was fetched before an unassign or a hold void, as in librdkafka.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "check.h"

typedef struct door {
    wf_kafka base;
    sim_broker *broker;
    bool assign_open; /* an assignment was handed out and not answered */
    bool revoke_open;
} door;

static sim_broker *broker_of(wf_kafka *kafka) {
    return ((door *)kafka)->broker;
}

/* --- fetching */

static bool wants(const sim_log *log) {
    return log->fetching && !log->held && (log->position < log->end || !log->eof_told || log->watermark != log->end);
}

bool sim_broker_can_fetch(const sim_broker *broker) {
    if (broker->queue_count > 200) return false;
    for (uint32_t i = 0; i < broker->plan->partitions; i++)
        if (wants(&broker->logs[i])) return true;
    return false;
}

bool sim_broker_has_records(const sim_broker *broker) {
    for (size_t i = 0; i < broker->queue_count; i++) {
        const sim_fetched *fetched = &broker->queue[broker->queue_head + i];
        if (fetched->version == broker->logs[fetched->log].version) return true;
    }
    return false;
}

static void enqueue(sim_broker *broker, const sim_log *log, int64_t offset, bool eof) {
    if (broker->queue_head > 0 && broker->queue_head + broker->queue_count == broker->queue_room) {
        memmove(broker->queue, broker->queue + broker->queue_head, broker->queue_count * sizeof *broker->queue);
        broker->queue_head = 0;
    }
    if (broker->queue_count == broker->queue_room) {
        broker->queue_room = broker->queue_room ? 2 * broker->queue_room : 256;
        broker->queue = realloc(broker->queue, broker->queue_room * sizeof *broker->queue);
        WF_CHECK(broker->queue != NULL);
    }
    if (broker->queue_count == 0) broker->records_ring = true;
    broker->queue[broker->queue_head + broker->queue_count++] =
        (sim_fetched){.log = log->index, .version = log->version, .offset = offset, .eof = eof};
}

void sim_broker_fetch(sim_broker *broker) {
    uint32_t first = (uint32_t)sim_below(broker->chance, broker->plan->partitions);
    sim_log *log = &broker->logs[first];
    for (uint32_t i = 0; !wants(log); i++) log = &broker->logs[(first + i) % broker->plan->partitions];
    broker->fetch_due_ns = broker->now_ns + (broker->calm ? 1000 : sim_below(broker->chance, 1000000));
    uint64_t room = sim_between(broker->chance, 1, 60);
    if (log->position < log->start) log->position = log->start;
    log->watermark = log->end;
    for (; room > 0 && log->position < log->end; log->position++) {
        const sim_entry *entry = &log->entries[log->position];
        log->eof_told = false;
        if (!entry->exists) continue;
        enqueue(broker, log, log->position, false);
        room--;
    }
    if (log->position < log->end || log->eof_told) return;
    log->eof_told = true;
    enqueue(broker, log, log->end, true);
}

static void deliver(sim_broker *broker, const sim_fetched *fetched, const wf_kafka_sink *sink, void *context) {
    static char value[4096];
    sim_log *log = &broker->logs[fetched->log];
    const sim_entry *entry = &log->entries[fetched->offset];
    char key[16];
    int key_bytes = snprintf(key, sizeof key, "key-%d", entry->key);
    wf_kafka_record record = {
        .topic = log->topic,
        .topic_id = log->topic,
        .partition = log->partition,
        .offset = fetched->offset,
        .timestamp_ms = sim_broker_timestamp_ms(fetched->offset),
        .key = entry->key == SIM_KEY_NULL ? NULL : key,
        .key_bytes = entry->key == SIM_KEY_NULL ? 0 : (size_t)key_bytes,
        .value = value,
        .value_bytes = entry->value_bytes,
        .message = entry,
    };
    log->delivered = fetched->offset + 1;
    sink->on_record(context, &record);
}

static size_t consume(wf_kafka *kafka, size_t max_records, const wf_kafka_sink *sink, void *context) {
    sim_broker *broker = broker_of(kafka);
    size_t delivered = 0;
    broker->stop = false;
    broker->records_ring = false;
    while (broker->queue_count > 0 && delivered < max_records && !broker->stop) {
        sim_fetched fetched = broker->queue[broker->queue_head++];
        broker->queue_count--;
        const sim_log *log = &broker->logs[fetched.log];
        if (fetched.version != log->version) continue;
        if (fetched.eof) {
            sink->on_eof(context, log->topic, log->partition, fetched.offset);
        } else {
            deliver(broker, &fetched, sink, context);
            delivered++;
        }
    }
    return delivered;
}

static void consume_stop(wf_kafka *kafka) {
    broker_of(kafka)->stop = true;
}

static bool header(const wf_kafka_record *record, size_t index, const char **ret_name, const void **ret_value,
                   size_t *ret_bytes) {
    const sim_entry *entry = record->message;
    if (index >= (size_t)(entry->key + 1) % 3) return false;
    *ret_name = index ? "trace" : "origin";
    *ret_value = index ? NULL : "sim";
    *ret_bytes = index ? 0 : 3;
    return true;
}

static size_t queued(wf_kafka *kafka) {
    return broker_of(kafka)->queue_count;
}

static int64_t log_end(wf_kafka *kafka, const char *topic, int32_t partition) {
    return sim_broker_log(broker_of(kafka), topic, partition)->watermark;
}

static void wake(wf_kafka *kafka) {
    broker_of(kafka)->fetch_due_ns = broker_of(kafka)->now_ns;
}

/* --- events */

static void descriptors(wf_kafka *kafka, int *ret_events_fd, int *ret_records_fd) {
    (void)kafka;
    *ret_events_fd = SIM_EVENTS_FD;
    *ret_records_fd = SIM_RECORDS_FD;
}

static void hand_out(door *self, const sim_event *event, const wf_kafka_sink *sink, void *context) {
    sim_broker *broker = self->broker;
    const char *text = event->error ? "trouble in the simulator" : "";
    bool cooperative = broker->plan->cooperative;
    switch (event->kind) {
    case SIM_EVENT_ASSIGN:
        self->assign_open = true;
        sink->on_assign(context, event->list, event->count, cooperative);
        break;
    case SIM_EVENT_REVOKE:
        self->revoke_open = true;
        sink->on_revoke(context, event->list, event->count, cooperative, event->lost);
        break;
    case SIM_EVENT_COMMITTED:
        sink->on_committed_offsets(context, event->error, text, event->list, event->count);
        break;
    case SIM_EVENT_COMMIT_RESULT:
        broker->commit_open = false;
        sink->on_commit_result(context, event->error, text, event->list, event->count);
        break;
    case SIM_EVENT_ERROR:
        sink->on_error(context, event->error, text, NULL, -1);
        break;
    case SIM_EVENT_CLOSED:
        sink->on_closed(context);
        break;
    default:
        sim_fail("an event without a name");
    }
}

static bool serve(wf_kafka *kafka, const wf_kafka_sink *sink, void *context) {
    door *self = (door *)kafka;
    sim_broker *broker = self->broker;
    broker->events_ring = false;
    uint64_t most = sim_between(broker->chance, 1, 4);
    for (uint64_t i = 0; i < most && broker->ready; i++) {
        sim_event *event = broker->ready;
        broker->ready = event->next;
        if (!broker->ready) broker->ready_tail = &broker->ready;
        hand_out(self, event, sink, context);
        sim_event_free(event);
    }
    return broker->ready != NULL;
}

/* --- requests */

static bool refuses(sim_broker *broker) {
    return !broker->calm && sim_percent(broker->chance, broker->plan->commit_trouble_percent / 5);
}

static weft_status subscribe(wf_kafka *kafka, const char *const *topics, size_t count) {
    (void)topics;
    sim_broker *broker = broker_of(kafka);
    SIM_CHECK(count > 0 && broker->group == SIM_GROUP_OUT, "subscribe() at a strange time");
    broker->group = SIM_GROUP_JOINING;
    broker->group_due_ns = broker->now_ns + sim_broker_latency_ns(broker);
    return WEFT_OK;
}

static weft_status send(sim_broker *broker, sim_event_kind kind, const wf_kafka_partition *partitions, size_t count) {
    sim_event *event = sim_event_new(kind);
    event->generation = broker->generation;
    sim_event_list(event, partitions, count);
    sim_event_travel(broker, event, sim_broker_latency_ns(broker));
    return WEFT_OK;
}

static weft_status fetch_committed(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count) {
    sim_broker *broker = broker_of(kafka);
    if (refuses(broker)) return WEFT_ESTATE;
    return send(broker, SIM_EVENT_COMMITTED, partitions, count);
}

static weft_status commit(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count) {
    sim_broker *broker = broker_of(kafka);
    SIM_CHECK(count > 0, "a commit of nothing");
    SIM_CHECK(!broker->commit_open, "two commits in flight");
    if (refuses(broker)) return WEFT_ESTATE;
    broker->commit_open = true;
    return send(broker, SIM_EVENT_COMMIT_RESULT, partitions, count);
}

static weft_status assign(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count, bool incremental) {
    door *self = (door *)kafka;
    sim_broker *broker = self->broker;
    SIM_CHECK(self->assign_open && !self->revoke_open, "assign() without an assignment");
    SIM_CHECK(incremental == broker->plan->cooperative, "assign() of the other kind");
    self->assign_open = false;
    for (size_t i = 0; i < count; i++) {
        sim_log *log = sim_broker_log(broker, partitions[i].topic, partitions[i].partition);
        SIM_CHECK(!log->fetching, "assign() of a partition that is being fetched: %s/%d", log->topic, log->partition);
        log->fetching = true;
        log->held = log->eof_told = false;
        log->version++;
        log->watermark = -1;
        bool valid = partitions[i].offset >= log->start && partitions[i].offset <= log->end;
        log->position = log->delivered = valid ? partitions[i].offset : log->start;
    }
    sim_group_answered(broker, true, partitions, count);
    return WEFT_OK;
}

static weft_status unassign(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count, bool incremental) {
    door *self = (door *)kafka;
    sim_broker *broker = self->broker;
    SIM_CHECK(self->revoke_open, "unassign() without a revocation");
    SIM_CHECK(incremental == broker->plan->cooperative, "unassign() of the other kind");
    self->revoke_open = self->assign_open = false;
    for (size_t i = 0; i < count; i++) {
        sim_log *log = sim_broker_log(broker, partitions[i].topic, partitions[i].partition);
        log->fetching = false;
        log->version++;
    }
    sim_group_answered(broker, false, partitions, count);
    return WEFT_OK;
}

static weft_status hold(wf_kafka *kafka, const char *topic, int32_t partition, bool wanted) {
    sim_log *log = sim_broker_log(broker_of(kafka), topic, partition);
    if (!log->fetching) return WEFT_ESTALE;
    if (log->held == wanted) return WEFT_OK;
    log->held = wanted;
    log->version++; /* what was read ahead is thrown away */
    log->position = log->delivered;
    log->eof_told = false;
    return WEFT_OK;
}

static weft_status seek(wf_kafka *kafka, const char *topic, int32_t partition, int64_t offset) {
    sim_log *log = sim_broker_log(broker_of(kafka), topic, partition);
    if (!log->fetching) return WEFT_ESTALE;
    log->version++;
    log->eof_told = false;
    log->position = log->delivered = offset;
    return WEFT_OK;
}

static weft_status close_begin(wf_kafka *kafka) {
    SIM_CHECK(!((door *)kafka)->revoke_open, "close_begin() in the middle of a revocation");
    sim_group_close(broker_of(kafka));
    return WEFT_OK;
}

/* --- life */

/* The member is gone, in order or not: what it had on its way to the broker may still arrive, nothing comes back. */
static void door_free(wf_kafka *kafka) {
    door *self = (door *)kafka;
    sim_broker *broker = self->broker;
    sim_broker_drop_requests(broker);
    broker->events_ring = broker->records_ring = broker->commit_open = false;
    broker->closing = broker->expelled = false;
    broker->queue_head = broker->queue_count = 0;
    broker->group = SIM_GROUP_OUT;
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        sim_log *log = &broker->logs[i];
        log->ours = log->told = log->fetching = log->held = false;
    }
    free(self);
}

static const wf_kafka_ops door_ops = {
    .descriptors = descriptors,
    .serve = serve,
    .consume = consume,
    .consume_stop = consume_stop,
    .header = header,
    .subscribe = subscribe,
    .fetch_committed = fetch_committed,
    .assign = assign,
    .unassign = unassign,
    .commit = commit,
    .hold = hold,
    .seek = seek,
    .queued = queued,
    .log_end = log_end,
    .wake = wake,
    .close_begin = close_begin,
    .free = door_free,
};

wf_kafka *sim_door_new(sim_broker *broker) {
    door *self = calloc(1, sizeof *self);
    WF_CHECK(self != NULL);
    self->base.ops = &door_ops;
    self->broker = broker;
    return &self->base;
}
