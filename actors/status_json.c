/* SPDX-License-Identifier: Apache-2.0
 *
 * /status: everything that /metrics has of now, and what is no number.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "status_page.h"
#include "utf8.h"

static json_t *integer(uint64_t number) {
    return json_integer((json_int_t)number);
}

/* An offset: null where it is not known. */
static json_t *offset(int64_t number) {
    return number < 0 ? json_null() : json_integer(number);
}

/* Foreign texts may hold anything; JSON is UTF-8. */
static json_t *text(const char *from) {
    wf_buffer clean = {0};
    size_t bytes = strlen(from);
    for (size_t i = 0, length; i < bytes; i += length ? length : 1) {
        length = wf_utf8_length(from + i, bytes - i);
        if (length)
            wf_buffer_put(&clean, from + i, length);
        else
            wf_buffer_puts(&clean, WF_UTF8_REPLACEMENT);
    }
    wf_body *body = wf_buffer_body(&clean);
    json_t *string = body ? json_stringn(body->bytes, body->count) : NULL;
    free(body);
    return string;
}

/* The process that holds the record; null: none does, or it is a thread. */
static json_t *holder(const weft_metrics *metrics, int32_t number) {
    for (size_t i = 0; i < metrics->worker_count; i++) {
        const weft_worker_metrics *worker = &metrics->workers[i];
        if (number < 0 || worker->number != (uint32_t)number) continue;
        return json_pack("{s:i, s:s, s:i}", "number", (int)worker->number, "name", worker->name, "pid",
                         (int)worker->pid);
    }
    return number < 0 ? json_null() : json_pack("{s:i}", "number", (int)number);
}

static json_t *blocking(const weft_metrics *metrics, const weft_partition_metrics *partition) {
    char hash[24];
    if (partition->blocking_offset < 0) return json_null();
    snprintf(hash, sizeof hash, "%016" PRIx64, partition->blocking_key_hash);
    return json_pack("{s:I, s:f, s:o, s:s, s:i, s:o}", "offset", (json_int_t)partition->blocking_offset, "age_seconds",
                     partition->blocking_duration_seconds, "timestamp_ms", offset(partition->blocking_timestamp_ms),
                     "key_hash", hash, "attempt", (int)partition->blocking_attempt, "worker",
                     holder(metrics, partition->blocking_worker));
}

static json_t *partition_of(const weft_metrics *metrics, const weft_partition_metrics *partition) {
    bool known = partition->log_end >= 0 && partition->frontier >= 0;
    json_t *object = json_object();
    json_object_set_new(object, "topic", text(partition->topic));
    json_object_set_new(object, "partition", json_integer(partition->partition));
    json_object_set_new(object, "epoch", integer(partition->epoch));
    json_object_set_new(object, "frontier", offset(partition->frontier));
    json_object_set_new(object, "committed", offset(partition->committed));
    json_object_set_new(object, "log_end", offset(partition->log_end));
    json_object_set_new(object, "lag", offset(known ? partition->true_lag : -1));
    json_object_set_new(object, "gaps", integer(partition->gap_count));
    json_object_set_new(object, "blocking", blocking(metrics, partition));
    json_object_set_new(object, "queued", integer(partition->queued));
    json_object_set_new(object, "in_flight", integer(partition->in_flight));
    json_object_set_new(object, "succeeded", integer(partition->succeeded));
    json_object_set_new(object, "failed", integer(partition->failed));
    json_object_set_new(object, "retried", integer(partition->retried));
    json_object_set_new(object, "restored", integer(partition->restored));
    json_object_set_new(object, "metadata_bytes", integer(partition->metadata_bytes));
    json_object_set_new(object, "paused", json_boolean(partition->paused));
    json_object_set_new(object, "held", json_boolean(partition->held));
    json_object_set_new(object, "last_error", *partition->last_error ? text(partition->last_error) : json_null());
    return object;
}

static json_t *queues_of(const weft_metrics *metrics, const char *topic) {
    json_t *array = json_array();
    for (size_t i = 0; i < metrics->queue_count; i++)
        if (strcmp(metrics->queues[i].topic, topic) == 0)
            json_array_append_new(array, integer(metrics->queues[i].queued));
    return array;
}

static json_t *topics(const weft_metrics *metrics) {
    json_t *array = json_array();
    for (size_t i = 0; i < metrics->topic_count; i++) {
        const weft_topic_metrics *topic = &metrics->topics[i];
        json_t *object = json_object();
        json_object_set_new(object, "topic", text(topic->topic));
        json_object_set_new(object, "partitions", integer(topic->assigned));
        json_object_set_new(object, "back_pressure", json_boolean(topic->is_paused));
        json_object_set_new(object, "queued", integer(topic->queued));
        json_object_set_new(object, "in_flight", integer(topic->in_flight));
        json_object_set_new(object, "metadata_bytes", integer(topic->metadata_bytes));
        json_object_set_new(object, "virtual_partitions", queues_of(metrics, topic->topic));
        json_array_append_new(array, object);
    }
    return array;
}

static void put_numbers(json_t *object, const weft_system_metrics *system) {
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"rebalances", system->assignments},
        {"memberships_lost", system->lost},
        {"fetched", system->fetched},
        {"commits", system->commits},
        {"commit_failures", system->commit_failures},
        {"kafka_errors", system->kafka_errors},
        {"queued", system->total_queued},
        {"in_flight", system->total_in_flight},
        {"pending", system->total_pending},
        {"fenced", system->fenced},
        {"librdkafka_queued", system->librdkafka_records},
        {"maps_refused", system->metadata_refused},
        {"maps_cut", system->metadata_dropped},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(object, numbers[i].name, integer(numbers[i].number));
}

static json_t *consumer(const wf_page *page) {
    const weft_system_metrics *system = &page->metrics->system;
    json_t *object = json_object();
    json_object_set_new(object, "group", text(page->limits.group));
    json_object_set_new(object, "member", json_boolean(system->is_member));
    json_object_set_new(object, "broker_connected", json_boolean(system->is_connected));
    json_object_set_new(object, "back_pressure", json_boolean(system->is_paused));
    put_numbers(object, system);
    json_object_set_new(object, "idle_seconds", json_real((double)system->idle_ns / 1e9));
    json_object_set_new(object, "back_pressure_seconds", json_real((double)system->paused_ns / 1e9));
    return object;
}

static json_t *limits(const wf_limits *limits) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "queue.max.records", (json_int_t)limits->queue_max_records, "queue.max.bytes",
        (json_int_t)limits->queue_max_bytes, "in.flight.max.records", (json_int_t)limits->in_flight_max_records,
        "in.flight.max.bytes", (json_int_t)limits->in_flight_max_bytes, "pending.max.records",
        (json_int_t)limits->pending_max_records, "offset.metadata.max.bytes", (json_int_t)limits->metadata_max_bytes);
}

const char *wf_status_worker_state(weft_worker_state state) {
    static const char *const states[] = {"waiting", "starting", "ready", "leaving", "ending"};
    WF_CHECK(state < WEFT_WORKER_STATES);
    return states[state];
}

static json_t *processes(const weft_metrics *metrics) {
    json_t *array = json_array();
    for (size_t i = 0; i < metrics->worker_count; i++) {
        const weft_worker_metrics *worker = &metrics->workers[i];
        json_array_append_new(
            array, json_pack("{s:i, s:s, s:s, s:b, s:i, s:i, s:i, s:f}", "number", (int)worker->number, "name",
                             worker->name, "state", wf_status_worker_state(worker->state), "started_here",
                             worker->is_spawned, "pid", (int)worker->pid, "records_held", (int)worker->records_held,
                             "starts", (int)worker->starts, "age_seconds", worker->age_seconds));
    }
    return array;
}

void wf_status_render_json(const wf_page *page, wf_buffer *buffer) {
    const weft_metrics *metrics = page->metrics;
    json_t *root = json_object();
    json_object_set_new(root, "as_of_ms", json_integer(page->made_wall_ms));
    json_object_set_new(root, "consumer", consumer(page));
    json_object_set_new(root, "engine",
                        json_pack("{s:s, s:s, s:i, s:i}", "name", page->limits.engine, "ordering",
                                  page->limits.ordering, "workers", (int)metrics->system.workers, "workers_busy",
                                  (int)metrics->system.workers_busy));
    if (metrics->system.pool.is_used) {
        json_object_set_new(root, "workers_wanted", json_integer(metrics->system.pool.wanted));
        json_object_set_new(root, "worker_starts_held_back", json_boolean(metrics->system.pool.is_held_back));
        json_object_set_new(root, "workers", processes(metrics));
    }
    json_object_set_new(root, "limits", limits(&page->limits));
    json_t *loops = json_object();
    for (uint32_t i = 0; i < page->loop_count; i++)
        json_object_set_new(loops, page->loops[i].name, json_real((double)page->loops[i].cpu_ns / 1e9));
    json_object_set_new(root, "loop_cpu_seconds", loops);
    json_object_set_new(
        root, "memory",
        json_pack("{s:I, s:I, s:I, s:o}", "held_bytes", (json_int_t)metrics->system.held_bytes, "in_flight_bytes",
                  (json_int_t)metrics->system.in_flight_bytes, "reserved_bytes",
                  (json_int_t)metrics->system.reserved_bytes, "resident_bytes",
                  offset(page->process.resident_bytes >= 0 ? (int64_t)page->process.resident_bytes : -1)));
    json_object_set_new(root, "versions",
                        json_pack("{s:s, s:s, s:s, s:s, s:s}", "weft", page->build.version, "compiler",
                                  page->build.compiler, "librdkafka", page->build.librdkafka, "libzmq",
                                  page->build.libzmq, "civetweb", page->build.civetweb));
    json_object_set_new(root, "topics", topics(metrics));
    json_t *partitions = json_array();
    for (size_t i = 0; i < metrics->partition_count; i++)
        json_array_append_new(partitions, partition_of(metrics, &metrics->partitions[i]));
    json_object_set_new(root, "partitions", partitions);
    char *dumped = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!dumped)
        buffer->failed = true;
    else
        wf_buffer_puts(buffer, dumped);
    wf_buffer_puts(buffer, "\n");
    free(dumped);
}
