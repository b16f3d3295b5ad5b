/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_inside.h"
#include "must.h"

static fake_kafka *fake_of(wf_kafka *kafka) {
    return (fake_kafka *)kafka;
}

static void breach(fake_kafka *fake, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void breach(fake_kafka *fake, const char *format, ...) {
    if (fake->breach[0]) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fake->breach, sizeof fake->breach, format, arguments);
    va_end(arguments);
}

/* Every call of the door but header(), consume_stop(), log_end() and queued() begins with it. */
static void check_call(fake_kafka *fake, const char *call) {
    if (fake->in_callback) breach(fake, "%s called from inside a record", call);
    if (fake->freed) breach(fake, "%s called after free", call);
}

/* --- the door: events and records */

static void door_descriptors(wf_kafka *kafka, int *ret_events_fd, int *ret_records_fd) {
    check_call(fake_of(kafka), "descriptors");
    *ret_events_fd = *ret_records_fd = -1;
}

static void tell(const fake_item *event, const wf_kafka_sink *sink, void *context) {
    switch (event->kind) {
    case EVENT_ASSIGN:
        sink->on_assign(context, event->partitions, event->count, event->incremental);
        break;
    case EVENT_REVOKE:
        sink->on_revoke(context, event->partitions, event->count, event->incremental, event->lost);
        break;
    case EVENT_COMMITTED:
        sink->on_committed_offsets(context, event->error, event->text, event->partitions,
                                   event->error ? 0 : event->count);
        break;
    case EVENT_COMMIT:
        sink->on_commit_result(context, event->error, event->text, event->partitions, event->count);
        break;
    case EVENT_ERROR:
        sink->on_error(context, event->error, event->text, event->topic[0] ? event->topic : NULL, event->partition);
        break;
    case EVENT_CLOSED:
        sink->on_closed(context);
        break;
    }
}

static bool door_serve(wf_kafka *kafka, const wf_kafka_sink *sink, void *context) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "serve");
    fake_list now = fake->events;
    fake->events = (fake_list){NULL, NULL};
    while (now.first) {
        fake_item *event = now.first;
        now.first = event->next;
        tell(event, sink, context);
        fake_item_free(event);
    }
    return fake->events.first != NULL;
}

static size_t door_consume(wf_kafka *kafka, size_t max_records, const wf_kafka_sink *sink, void *context) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "consume");
    size_t delivered = 0;
    size_t index = 0;
    fake->stop = false;
    fake->in_callback = true;
    for (; index < fake->queue_count && delivered < max_records && !fake->stop; index++) {
        fake_known *from = fake->queue[index].place;
        const fake_record *record = fake->queue[index].record;
        if (!record) {
            sink->on_eof(context, from->log->topic, from->log->partition, fake->queue[index].eof);
            continue;
        }
        wf_kafka_record told = {.topic = from->log->topic,
                                .topic_id = from->log->topic,
                                .partition = from->log->partition,
                                .offset = record->offset,
                                .timestamp_ms = record->timestamp_ms,
                                .key = record->key,
                                .key_bytes = record->key_bytes,
                                .value = record->value,
                                .value_bytes = record->value_bytes,
                                .message = record};
        delivered++;
        from->app = record->offset + 1;
        sink->on_record(context, &told);
    }
    fake->in_callback = false;
    fake->queue_count -= index;
    if (index > 0) memmove(fake->queue, fake->queue + index, fake->queue_count * sizeof *fake->queue);
    fake->counts.delivered += delivered;
    return delivered;
}

static void door_consume_stop(wf_kafka *kafka) {
    if (!fake_of(kafka)->in_callback) breach(fake_of(kafka), "consume_stop called outside of a record");
    fake_of(kafka)->stop = true;
}

static bool door_header(const wf_kafka_record *record, size_t index, const char **ret_name, const void **ret_value,
                        size_t *ret_bytes) {
    const fake_record *from = record->message;
    if (index >= from->header_count) return false;
    *ret_name = from->headers[index].name;
    *ret_value = from->headers[index].value;
    *ret_bytes = from->headers[index].value_bytes;
    return true;
}

static size_t door_queued(wf_kafka *kafka) {
    return fake_of(kafka)->queue_count;
}

static int64_t door_log_end(wf_kafka *kafka, const char *topic, int32_t partition) {
    const fake_known *known = fake_place_of(fake_of(kafka), topic, partition);
    return known ? known->high : -1;
}

static void door_wake(wf_kafka *kafka) {
    check_call(fake_of(kafka), "wake");
    fake_of(kafka)->counts.wakes++;
}

/* --- the door: assignment and commits */

static weft_status door_subscribe(wf_kafka *kafka, const char *const *topics, size_t count) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "subscribe");
    (void)topics;
    if (count == 0) return WEFT_EINVAL;
    fake->subscribed = true;
    return WEFT_OK;
}

static weft_status send_request(fake_kafka *fake, fake_request kind, const wf_kafka_partition *partitions,
                                size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (fake_place_of(fake, partitions[i].topic, partitions[i].partition)) continue;
        breach(fake, "no partition %s %d", partitions[i].topic, (int)partitions[i].partition);
        return WEFT_EINVAL;
    }
    fake_item *request = fake_item_new(partitions, count);
    for (size_t i = 0; i < count; i++)
        request->partitions[i].topic = fake_place_of(fake, partitions[i].topic, partitions[i].partition)->log->topic;
    request->request = kind;
    fake_push(&fake->requests, request);
    return WEFT_OK;
}

static weft_status door_fetch_committed(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count) {
    check_call(fake_of(kafka), "fetch_committed");
    fake_of(kafka)->counts.fetch_committed++;
    return send_request(fake_of(kafka), FAKE_COMMITTED, partitions, count);
}

static bool is_same_list(const fake_item *asked, const wf_kafka_partition *partitions, size_t count) {
    if (asked->count != count) return false;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < count && (asked->partitions[k].partition != partitions[i].partition ||
                             strcmp(asked->partitions[k].topic, partitions[i].topic) != 0))
            k++;
        if (k == count) return false;
    }
    return true;
}

static weft_status door_assign(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count, bool incremental) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "assign");
    fake->counts.assigns++;
    if (!fake->given)
        breach(fake, "assign without an assignment");
    else if (!is_same_list(fake->given, partitions, count) || fake->given->incremental != incremental)
        breach(fake, "assign does not answer the assignment that was given");
    fake_forget(&fake->given);
    for (size_t i = 0; i < count; i++) {
        fake_known *at = fake_place_of(fake, partitions[i].topic, partitions[i].partition);
        if (!at) return WEFT_ESTATE;
        if (fake->closing) { /* librdkafka takes it for an unassign then */
            fake_end_ownership(fake, at->log);
            continue;
        }
        if (at->assigned) breach(fake, "%s %d is assigned already", partitions[i].topic, (int)partitions[i].partition);
        at->assigned = true;
        at->held = false;
        at->app = partitions[i].offset;
        at->high = -1;
        fake_drop_queued(fake, at);
    }
    return WEFT_OK;
}

static weft_status door_unassign(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count,
                                 bool incremental) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "unassign");
    fake->counts.unassigns++;
    if (!fake->taken)
        breach(fake, "unassign without a revocation");
    else if (!is_same_list(fake->taken, partitions, count) || fake->taken->incremental != incremental)
        breach(fake, "unassign does not answer the revocation");
    fake_forget(&fake->given); /* one that was not answered before its revocation is answered by this as well */
    fake_forget(&fake->taken);
    for (size_t i = 0; i < fake->known_count; i++) {
        fake_known *at = fake->known[i];
        bool listed = !incremental;
        for (size_t k = 0; k < count; k++)
            listed = listed ||
                     (at->log->partition == partitions[k].partition && !strcmp(at->log->topic, partitions[k].topic));
        if (!listed) continue;
        at->assigned = at->held = false;
        fake_drop_queued(fake, at);
        fake_end_ownership(fake, at->log);
    }
    return WEFT_OK;
}

static weft_status door_commit(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "commit");
    if (fake_kafka_requests(fake, FAKE_COMMIT) > 0) breach(fake, "a second commit while one is in flight");
    for (size_t i = 0; i < count; i++)
        if (partitions[i].offset < 0 || partitions[i].metadata_bytes > 32767) count = 0;
    if (count == 0) {
        breach(fake, "a commit of nothing, of a negative offset or of too much metadata");
        return WEFT_EINVAL;
    }
    fake->counts.commits++;
    return send_request(fake, FAKE_COMMIT, partitions, count);
}

static weft_status door_hold(wf_kafka *kafka, const char *topic, int32_t partition, bool hold) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "hold");
    fake_known *at = fake_place_of(fake, topic, partition);
    if (!at || !at->assigned) return WEFT_ESTALE;
    if (at->held == hold) return WEFT_OK;
    at->held = hold;
    *(hold ? &fake->counts.holds : &fake->counts.releases) += 1;
    if (hold) fake_drop_queued(fake, at);
    return WEFT_OK;
}

static weft_status door_seek(wf_kafka *kafka, const char *topic, int32_t partition, int64_t offset) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "seek");
    fake_known *at = fake_place_of(fake, topic, partition);
    if (!at || !at->assigned) return WEFT_ESTALE;
    fake->counts.seeks++;
    at->app = offset;
    fake_drop_queued(fake, at);
    return WEFT_OK;
}

static bool is_told(const fake_kafka *fake, fake_event_kind kind) {
    for (const fake_item *event = fake->events.first; event; event = event->next)
        if (event->kind == kind) return false;
    return true;
}

static weft_status door_close_begin(wf_kafka *kafka) {
    fake_kafka *fake = fake_of(kafka);
    check_call(fake, "close_begin");
    if (fake->taken && is_told(fake, EVENT_REVOKE))
        breach(fake, "close_begin while a revocation is to be answered: librdkafka leaves at once");
    if (fake->closing) return WEFT_ESTATE;
    fake->closing = true;
    if (!fake->taken && fake_has_assignment(fake)) {
        fake_place *places = must_alloc(fake->known_count, sizeof *places);
        size_t count = 0;
        for (size_t i = 0; i < fake->known_count; i++)
            if (fake->known[i]->assigned)
                places[count++] = (fake_place){fake->known[i]->log->topic, fake->known[i]->log->partition};
        fake_take(fake, places, count, fake->incremental, false);
        free(places);
    }
    return send_request(fake, FAKE_LEAVE, NULL, 0);
}

static void door_free(wf_kafka *kafka) {
    check_call(fake_of(kafka), "free");
    fake_of(kafka)->freed = true;
    for (size_t i = 0; i < fake_of(kafka)->known_count; i++)
        fake_end_ownership(fake_of(kafka), fake_of(kafka)->known[i]->log);
}

const wf_kafka_ops fake_door_ops = {
    .descriptors = door_descriptors,
    .serve = door_serve,
    .consume = door_consume,
    .consume_stop = door_consume_stop,
    .header = door_header,
    .subscribe = door_subscribe,
    .fetch_committed = door_fetch_committed,
    .assign = door_assign,
    .unassign = door_unassign,
    .commit = door_commit,
    .hold = door_hold,
    .seek = door_seek,
    .queued = door_queued,
    .log_end = door_log_end,
    .wake = door_wake,
    .close_begin = door_close_begin,
    .free = door_free,
};
