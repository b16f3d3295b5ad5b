/* SPDX-License-Identifier: Apache-2.0
 *
 * The production door to Kafka: librdkafka's consumer behind the table of functions in kafka.h.
 *
 * Owns: the client, three queues of it and two eventfds. Records arrive on a queue of our own (every partition queue is
 * forwarded to it right before the assignment), everything else on the consumer queue or, as answers, the reply queue.
 *
 * 1. No call of the sink is made from inside a callback of librdkafka: what they see becomes a note for later.
 * 2. Nothing waits for the network. Pause, assign and subscribe wait for librdkafka's main thread, which never blocks.
 * 3. A partition is resumed only if it was paused here: librdkafka below 2.4 rewinds one that was not paused.
 * 4. No partition is paused when it is unassigned: the pause would outlive the assignment.
 * 5. Once close_begin() was called, the consumer queue lies behind the reply queue and is never polled by itself.
 * 6. Memory that can't be had while serving ends the process, as it does inside librdkafka.
 */
#include "kafka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "kafka_bell.h"
#include "kafka_commit.h"
#include "kafka_list.h"
#include "kafka_judge.h"
#include "kafka_note.h"
#include "kafka_setting.h"
#include "kafka_topic.h"

enum {
    READ_MAX = 512, /* messages per batch call */
    POLLS_MAX = 64, /* events per queue and serve() call: enough for any burst but logs, short for the loop */
    COMMITTED_TIMEOUT_MS = 10000, /* one OffsetFetch incl. the search for the coordinator; the poller asks again */
    CLOSE_WAIT_MS = 50,
    CLOSE_WAITS_MAX = 6000 / CLOSE_WAIT_MS,
};

typedef struct door {
    wf_kafka base;
    rd_kafka_t *rk;
    rd_kafka_queue_t *events;  /* the consumer's: rebalances, errors */
    rd_kafka_queue_t *replies; /* commit results, committed offsets, logs; when closing also what `events` had */
    rd_kafka_queue_t *records;
    int events_fd, records_fd;
    char *group_id;
    wf_kafka_notes notes;
    wf_kafka_topics topics;
    bool unanswered; /* librdkafka waits for assign() or unassign() */
    bool closing, closed, closed_told;
    bool backs_off;  /* fetch.queue.backoff.ms exists: no fetcher stalls, wake() has nothing to do */
    bool one_by_one; /* batches could lose records */
    /* During consume(). */
    const wf_kafka_sink *sink;
    void *context;
    size_t delivered;
    bool stop;
    bool records_wait;                   /* the last read did not empty the queue: its descriptor need not be cleared */
    rd_kafka_message_t *ahead[READ_MAX]; /* read from the library, not handed out yet: [ahead_next, ahead_count) */
    size_t ahead_next, ahead_count;
    rd_kafka_message_t *spent[READ_MAX]; /* handed out */
    size_t spent_count;
    bool withheld; /* something came of a partition that is held */
} door;

static door *door_of(wf_kafka *kafka) {
    return (door *)kafka;
}

/* "NAME: reason", empty for 0. */
static const char *describe(int code, const char *reason, char *text, size_t bytes) {
    rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)code;
    if (code == 0) text[0] = '\0';
    if (code != 0) snprintf(text, bytes, "%s: %s", rd_kafka_err2name(err), reason ? reason : rd_kafka_err2str(err));
    return text;
}

/* Only a fatal error ends the consumer; a lost membership comes as a revocation or as the result of a commit. */
static void note_error(door *self, rd_kafka_resp_err_t err, const char *text, const char *topic, int32_t partition) {
    char full[1024], reason[768];
    bool fatal = err == RD_KAFKA_RESP_ERR__FATAL;
    int cause = fatal ? (int)rd_kafka_fatal_error(self->rk, reason, sizeof reason) : 0;
    describe(cause ? cause : (int)err, cause ? reason : text, full, sizeof full);
    wf_kafka_error kind = err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ? WF_KAFKA_AWAY : WF_KAFKA_RETRY;
    wf_kafka_notes_error(&self->notes, fatal ? WF_KAFKA_FATAL : kind, full, topic, partition);
    wf_bell_ring(self->events_fd);
}

/* Turn librdkafka's error object into a status, and its text into a note. */
static weft_status take_error(door *self, rd_kafka_error_t *error) {
    if (!error) return WEFT_OK;
    note_error(self, rd_kafka_error_code(error), rd_kafka_error_string(error), NULL, -1);
    rd_kafka_error_destroy(error);
    return WEFT_ESTATE;
}

static void on_library_error(rd_kafka_t *rk, int err, const char *reason, void *opaque) {
    (void)rk;
    note_error(opaque, (rd_kafka_resp_err_t)err, reason, NULL, -1);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque) {
    door *self = opaque;
    bool assign = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    const char *protocol = rd_kafka_rebalance_protocol(rk);
    bool incremental = protocol && strcmp(protocol, "COOPERATIVE") == 0;
    /* Any third code is a failure of the rebalance itself: what was assigned is not ours any more. */
    bool lost = !assign && (err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS || rd_kafka_assignment_lost(rk) != 0);
    size_t count = 0;
    wf_kafka_partition *view = wf_kafka_view_of(list, &count);
    wf_kafka_notes_rebalance(&self->notes, assign, view, count, incremental, lost);
    free(view);
    self->unanswered = true;
}

static const char *name_of(const void *handle) {
    return rd_kafka_topic_name(handle);
}

static void note_message_error(door *self, const rd_kafka_message_t *message) {
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : NULL;
    note_error(self, message->err, rd_kafka_message_errstr(message), topic, message->partition);
}

static void on_message(door *self, const rd_kafka_message_t *message) {
    bool is_record = message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!is_record && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        note_message_error(self, message);
        return;
    }
    wf_kafka_topic *topic = wf_kafka_topic_of(&self->topics, message->rkt, name_of);
    if (!wf_kafka_topic_admits(topic, message->partition, message->offset)) {
        self->withheld = true;
    } else if (!is_record) {
        self->sink->on_eof(self->context, topic->name, message->partition, message->offset);
    } else {
        wf_kafka_record record = {.topic = topic->name,
                                  .topic_id = topic,
                                  .partition = message->partition,
                                  .offset = message->offset,
                                  .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
                                  .key = message->key,
                                  .key_bytes = message->key_len,
                                  .value = message->payload,
                                  .value_bytes = message->len,
                                  .message = message};
        self->delivered++;
        self->sink->on_record(self->context, &record);
    }
}

/* What was read and not handed out must not outlive a change of the position. `topic` NULL: all. */
static void drop_read_ahead(door *self, const char *topic, int32_t partition) {
    size_t kept = 0;
    for (size_t i = self->ahead_next; i < self->ahead_count; i++) {
        rd_kafka_message_t *message = self->ahead[i];
        bool drop = !topic || (message->partition == partition && message->rkt &&
                               strcmp(rd_kafka_topic_name(message->rkt), topic) == 0);
        if (drop) rd_kafka_message_destroy(message);
        if (!drop) self->ahead[kept++] = message;
    }
    self->ahead_next = 0;
    self->ahead_count = kept;
}

static void tell_commit_result(rd_kafka_event_t *event, const wf_kafka_sink *sink, void *context) {
    size_t count = 0;
    int code = 0;
    wf_kafka_partition *view = wf_kafka_view_of(rd_kafka_event_topic_partition_list(event), &count);
    wf_kafka_error worst = wf_kafka_commit_errors((int)rd_kafka_event_error(event), view, count, &code);
    char text[512];
    sink->on_commit_result(context, worst, describe(code, NULL, text, sizeof text), view, count);
    free(view);
}

static void tell_committed_offsets(rd_kafka_event_t *event, const wf_kafka_sink *sink, void *context) {
    const rd_kafka_ListConsumerGroupOffsets_result_t *result = rd_kafka_event_ListConsumerGroupOffsets_result(event);
    rd_kafka_resp_err_t err = rd_kafka_event_error(event);
    const char *reason = rd_kafka_event_error_string(event);
    size_t groups = 0;
    const rd_kafka_group_result_t **group = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &groups);
    const rd_kafka_error_t *error = groups > 0 ? rd_kafka_group_result_error(group[0]) : NULL;
    if (!err && error) {
        err = rd_kafka_error_code(error);
        reason = rd_kafka_error_string(error);
    }
    const rd_kafka_topic_partition_list_t *list = groups > 0 ? rd_kafka_group_result_partitions(group[0]) : NULL;
    size_t count = 0;
    wf_kafka_partition *view = wf_kafka_view_of(list, &count);
    int code = err ? (int)err : wf_kafka_first_error(view, count);
    char text[512];
    describe(code, err ? reason : NULL, text, sizeof text);
    /* librdkafka's own codes are below 0: no broker has said anything. */
    wf_kafka_error kind = code == 0 ? WF_KAFKA_OK : code > 0 ? WF_KAFKA_RETRY : WF_KAFKA_AWAY;
    sink->on_committed_offsets(context, kind, text, view, code ? 0 : count);
    free(view);
}

static void serve_reply(door *self, rd_kafka_event_t *event, const wf_kafka_sink *sink, void *context) {
    const char *facility, *text;
    int level;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        tell_commit_result(event, sink, context);
        break;
    case RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT:
        tell_committed_offsets(event, sink, context);
        break;
    case RD_KAFKA_EVENT_LOG:
        if (rd_kafka_event_log(event, &facility, &text, &level) == 0) sink->on_log(context, level, facility, text);
        break;
    case RD_KAFKA_EVENT_REBALANCE: /* these two while closing */
        on_rebalance(self->rk, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event), self);
        break;
    case RD_KAFKA_EVENT_ERROR:
        note_error(self, rd_kafka_event_error_is_fatal(event) ? RD_KAFKA_RESP_ERR__FATAL : rd_kafka_event_error(event),
                   rd_kafka_event_error_string(event), NULL, -1);
        break;
    default: /* statistics and the like: nobody asked */
        break;
    }
    rd_kafka_event_destroy(event);
}

static void door_descriptors(wf_kafka *kafka, int *ret_events_fd, int *ret_records_fd) {
    *ret_events_fd = door_of(kafka)->events_fd;
    *ret_records_fd = door_of(kafka)->records_fd;
}

static bool door_serve(wf_kafka *kafka, const wf_kafka_sink *sink, void *context) {
    door *self = door_of(kafka);
    wf_bell_clear(self->events_fd);
    for (int polls = 0; !self->closing && polls < POLLS_MAX; polls++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(self->rk, 0);
        if (!message) break; /* the callbacks that were due have run */
        note_message_error(self, message);
        rd_kafka_message_destroy(message);
    }
    for (int polls = 0; polls < POLLS_MAX; polls++) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(self->replies, 0);
        if (!event) break;
        serve_reply(self, event, sink, context);
    }
    wf_kafka_notes_tell(&self->notes, sink, context);
    if (self->closing && !self->closed) self->closed = rd_kafka_consumer_closed(self->rk) != 0;
    if (self->closed && !self->closed_told) {
        self->closed_told = true;
        sink->on_closed(context);
    }
    return rd_kafka_queue_length(self->replies) > 0 || (!self->closing && rd_kafka_queue_length(self->events) > 0);
}

/* --- one partition alone */

/* Why a pause, and when: kafka_topic.h. */
static weft_status pause_partition(door *self, const char *topic, int32_t partition, bool pause) {
    const wf_kafka_partition only = {.topic = topic, .partition = partition};
    rd_kafka_topic_partition_list_t *list = wf_kafka_list_of(&only, 1);
    rd_kafka_resp_err_t err =
        pause ? rd_kafka_pause_partitions(self->rk, list) : rd_kafka_resume_partitions(self->rk, list);
    if (!err) err = list->elems[0].err;
    rd_kafka_topic_partition_list_destroy(list);
    return err ? WEFT_ESTALE : WEFT_OK;
}

static weft_status door_hold(wf_kafka *kafka, const char *topic, int32_t partition, bool hold) {
    door *self = door_of(kafka);
    wf_kafka_place *place = wf_kafka_place_of(&self->topics, topic, partition);
    if (!place->assigned) return WEFT_ESTALE;
    weft_status status = WEFT_OK;
    if (place->held != hold && place->positioned) status = pause_partition(self, topic, partition, hold);
    if (status == WEFT_OK) place->held = hold;
    return status;
}

static weft_status door_seek(wf_kafka *kafka, const char *topic, int32_t partition, int64_t offset) {
    door *self = door_of(kafka);
    wf_kafka_place *place = wf_kafka_place_of(&self->topics, topic, partition);
    if (!place->assigned) return WEFT_ESTALE;
    drop_read_ahead(self, topic, partition);
    const wf_kafka_partition only = {.topic = topic, .partition = partition, .offset = offset};
    rd_kafka_topic_partition_list_t *list = wf_kafka_list_of(&only, 1);
    /* Time-out 0: not waited for; records that were read ahead are void as soon as the call returns. */
    weft_status status = take_error(self, rd_kafka_seek_partitions(self->rk, list, 0));
    rd_kafka_topic_partition_list_destroy(list);
    if (status == WEFT_OK && place->held && !place->positioned) status = pause_partition(self, topic, partition, true);
    place->positioned = true;
    return status;
}

static void park_withheld(door *self) {
    wf_kafka_topic *topic;
    int32_t partition;
    while ((topic = wf_kafka_topics_withheld(&self->topics, &partition)) != NULL) {
        topic->places[partition].withheld = false;
        door_seek(&self->base, topic->name, partition, topic->places[partition].offset);
    }
    self->withheld = false;
}

/* --- records */

static size_t read_queue(door *self, size_t room) {
    if (!self->one_by_one) {
        ssize_t read = rd_kafka_consume_batch_queue(self->records, 0, self->ahead, room);
        return read > 0 ? (size_t)read : 0;
    }
    size_t count = 0;
    while (count < room && (self->ahead[count] = rd_kafka_consume_queue(self->records, 0)) != NULL) count++;
    return count;
}

/* At most `max_records`; false: there was none. *ret_full: the queue may hold more. */
static bool read_ahead(door *self, size_t max_records, bool *ret_full) {
    size_t room = max_records < READ_MAX ? max_records : READ_MAX;
    self->ahead_next = 0;
    self->ahead_count = read_queue(self, room);
    *ret_full = self->ahead_count == room;
    return self->ahead_count > 0;
}

/* Together: each one takes the lock of the heap that the broker's thread allocates from, and a thread that has to wait
 * for it sleeps in the kernel. In a row they hold it up once and not again and again. */
static void free_spent(door *self) {
    for (size_t i = 0; i < self->spent_count; i++) rd_kafka_message_destroy(self->spent[i]);
    self->spent_count = 0;
}

/* The batch call costs a third less than the callback call (weft-bench, raw loops, CPU time), and loses nothing
 * while one thread makes every call and no callback changes an assignment; below 2.1 another thread's pause would. The
 * library's own thread makes one where a cooperative group changes while we keep a partition: then it is not called. */
static size_t door_consume(wf_kafka *kafka, size_t max_records, const wf_kafka_sink *sink, void *context) {
    door *self = door_of(kafka);
    if (max_records == 0) return 0;
    if (!self->records_wait) wf_bell_clear(self->records_fd);
    self->sink = sink;
    self->context = context;
    self->delivered = 0;
    self->stop = false;
    bool more = true; /* a short batch means an empty queue; a full one of ends and errors means nothing of the kind */
    while (self->delivered < max_records && !self->stop) {
        if (self->ahead_next == self->ahead_count && !(more && read_ahead(self, max_records, &more))) break;
        rd_kafka_message_t *message = self->ahead[self->ahead_next++];
        on_message(self, message);
        self->spent[self->spent_count++] = message;
        if (self->spent_count == READ_MAX) free_spent(self);
    }
    free_spent(self);
    self->records_wait = more || self->ahead_next < self->ahead_count;
    self->sink = NULL;
    if (self->withheld) park_withheld(self);
    wf_kafka_notes_tell(&self->notes, sink, context);
    return self->delivered;
}

static void door_consume_stop(wf_kafka *kafka) {
    door_of(kafka)->stop = true;
}

static bool door_header(const wf_kafka_record *record, size_t index, const char **ret_name, const void **ret_value,
                        size_t *ret_bytes) {
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(record->message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
    return rd_kafka_header_get_all(headers, index, ret_name, ret_value, ret_bytes) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static size_t door_queued(wf_kafka *kafka) {
    return rd_kafka_queue_length(door_of(kafka)->records);
}

static int64_t door_log_end(wf_kafka *kafka, const char *topic, int32_t partition) {
    int64_t low, high;
    if (rd_kafka_get_watermark_offsets(door_of(kafka)->rk, topic, partition, &low, &high)) return -1;
    return high >= 0 ? high : -1;
}

/* Below 2.2 a fetcher that found its queue full sleeps up to a second, and any request to the leader wakes its thread.
 * The call sends one per leader and returns at once: the time-out of 0 drops the answers. */
static void door_wake(wf_kafka *kafka) {
    door *self = door_of(kafka);
    if (self->backs_off || self->closing) return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (const wf_kafka_topic *topic = self->topics.first; topic; topic = topic->next)
        for (size_t i = 0; i < topic->place_count; i++)
            if (topic->places[i].assigned)
                rd_kafka_topic_partition_list_add(list, topic->name, (int32_t)i)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_offsets_for_times(self->rk, list, 0);
    rd_kafka_topic_partition_list_destroy(list);
}

/* --- assignment */

static weft_status door_subscribe(wf_kafka *kafka, const char *const *topics, size_t count) {
    door *self = door_of(kafka);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(self->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (err) note_error(self, err, rd_kafka_err2str(err), NULL, -1);
    return !err ? WEFT_OK : err == RD_KAFKA_RESP_ERR__INVALID_ARG ? WEFT_EINVAL : WEFT_ESTATE;
}

static weft_status door_fetch_committed(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count) {
    door *self = door_of(kafka);
    if (count == 0) { /* librdkafka calls an empty list an error */
        wf_kafka_notes_nothing_committed(&self->notes);
        wf_bell_ring(self->events_fd);
        return WEFT_OK;
    }
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(self->rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_AdminOptions_set_request_timeout(options, COMMITTED_TIMEOUT_MS, NULL, 0);
    /* Offsets that a transaction has not yet decided are an error that passes, not an old value. */
    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_require_stable_offsets(options, 1));
    rd_kafka_topic_partition_list_t *list = wf_kafka_list_of(partitions, count);
    rd_kafka_ListConsumerGroupOffsets_t *ask = rd_kafka_ListConsumerGroupOffsets_new(self->group_id, list);
    rd_kafka_ListConsumerGroupOffsets(self->rk, &ask, 1, options, self->replies);
    rd_kafka_ListConsumerGroupOffsets_destroy(ask);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_AdminOptions_destroy(options);
    return WEFT_OK;
}

static void forward_to_records(door *self, const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_queue_t *queue =
            rd_kafka_queue_get_partition(self->rk, list->elems[i].topic, list->elems[i].partition);
        if (!queue) continue;
        rd_kafka_queue_forward(queue, self->records);
        rd_kafka_queue_destroy(queue);
    }
}

/* Takes `list` over. Eager: what is unassigned is everything. */
static weft_status change_assignment(door *self, rd_kafka_topic_partition_list_t *list, bool add, bool incremental) {
    rd_kafka_error_t *error = NULL;
    if (incremental) {
        error = add ? rd_kafka_incremental_assign(self->rk, list) : rd_kafka_incremental_unassign(self->rk, list);
    } else {
        rd_kafka_resp_err_t err = rd_kafka_assign(self->rk, add ? list : NULL);
        if (err) error = rd_kafka_error_new(err, "%s", rd_kafka_err2str(err));
    }
    rd_kafka_topic_partition_list_destroy(list);
    self->unanswered = false;
    return take_error(self, error);
}

static weft_status door_assign(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count, bool incremental) {
    door *self = door_of(kafka);
    rd_kafka_topic_partition_list_t *list = wf_kafka_list_of(partitions, count);
    forward_to_records(self, list);
    weft_status status = change_assignment(self, list, true, incremental);
    if (status == WEFT_OK) wf_kafka_topics_assign(&self->topics, partitions, count, incremental);
    return status;
}

static weft_status door_unassign(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count,
                                 bool incremental) {
    door *self = door_of(kafka);
    for (size_t i = 0; i < count; i++) door_hold(kafka, partitions[i].topic, partitions[i].partition, false);
    for (size_t i = 0; i < count; i++)
        drop_read_ahead(self, incremental ? partitions[i].topic : NULL, partitions[i].partition);
    wf_kafka_topics_unassign(&self->topics, partitions, count, incremental);
    return change_assignment(self, wf_kafka_list_of(partitions, count), false, incremental);
}

static weft_status door_commit(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count) {
    door *self = door_of(kafka);
    if (!wf_kafka_can_commit(partitions, count)) return WEFT_EINVAL;
    rd_kafka_topic_partition_list_t *list = wf_kafka_list_of(partitions, count);
    rd_kafka_resp_err_t err = rd_kafka_commit_queue(self->rk, list, self->replies, NULL, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    return err ? WEFT_ESTATE : WEFT_OK;
}

/* --- the end */

static weft_status door_close_begin(wf_kafka *kafka) {
    door *self = door_of(kafka);
    if (self->closing) return WEFT_ESTATE;
    self->closing = true;
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(self->rk, self->replies);
    /* After a fatal error there is no leaving: what is left of the membership ends with the session. */
    if (error) self->closed = true;
    weft_status status = take_error(self, error);
    wf_bell_ring(self->events_fd);
    return status == WEFT_OK ? WEFT_OK : WEFT_EKAFKA;
}

static void free_queue(rd_kafka_queue_t *queue) {
    rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
    rd_kafka_queue_destroy(queue);
}

/* A close that has begun must come to its end: librdkafka never ends if it is destroyed while its LeaveGroup request is
 * on the way. That request gives up after 5 s; where even more is stuck, the client is left to itself. */
static bool finish_close(door *self) {
    if (self->unanswered && !self->closed) rd_kafka_assign(self->rk, NULL);
    for (int waits = 0; self->closing && !self->closed && waits < CLOSE_WAITS_MAX; waits++) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(self->replies, CLOSE_WAIT_MS);
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) rd_kafka_assign(self->rk, NULL);
        if (event) rd_kafka_event_destroy(event);
        self->closed = rd_kafka_consumer_closed(self->rk) != 0;
    }
    return self->closed || !self->closing;
}

static void free_client(door *self) {
    bool finished = finish_close(self);
    free_queue(self->records); /* and what is on it: queued records keep librdkafka from ending */
    free_queue(self->events);
    free_queue(self->replies);
    if (finished) rd_kafka_destroy_flags(self->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void door_free(wf_kafka *kafka) {
    door *self = door_of(kafka);
    drop_read_ahead(self, NULL, 0);
    if (self->rk) free_client(self);
    wf_kafka_notes_deinit(&self->notes);
    wf_kafka_topics_deinit(&self->topics);
    wf_bell_close(self->events_fd);
    wf_bell_close(self->records_fd);
    free(self->group_id);
    free(self);
}

/* In the order of kafka.h. */
static const wf_kafka_ops door_ops = {
    door_descriptors,     door_serve,   door_consume,  door_consume_stop, door_header, door_subscribe,
    door_fetch_committed, door_assign,  door_unassign, door_commit,       door_hold,   door_seek,
    door_queued,          door_log_end, door_wake,     door_close_begin,  door_free,   rd_kafka_version_str};

/* --- open */

/* The client takes `conf` over when it succeeds. */
static weft_status open_client(door *self, rd_kafka_conf_t *conf, const wf_setting *settings, size_t count,
                               char **ret_error) {
    char reason[512];
    rd_kafka_conf_set_opaque(conf, self);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_library_error);
    self->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    if (!self->rk) {
        rd_kafka_conf_destroy(conf);
        wf_kafka_settings_hide(settings, count, reason, sizeof reason);
        return wf_kafka_refuse(WEFT_ECONFIG, reason, ret_error);
    }
    rd_kafka_poll_set_consumer(self->rk);
    self->events = rd_kafka_queue_get_consumer(self->rk);
    self->replies = rd_kafka_queue_new(self->rk);
    self->records = rd_kafka_queue_new(self->rk);
    rd_kafka_set_log_queue(self->rk, self->replies);
    const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(self->events, self->events_fd, &one, sizeof one);
    rd_kafka_queue_io_event_enable(self->replies, self->events_fd, &one, sizeof one);
    rd_kafka_queue_io_event_enable(self->records, self->records_fd, &one, sizeof one);
    /* Only a queue that goes from empty to filled rings: what came before must be looked for once. */
    wf_bell_ring(self->events_fd);
    wf_bell_ring(self->records_fd);
    return WEFT_OK;
}

weft_status wf_kafka_open(const wf_setting *settings, size_t count, wf_kafka **ret_kafka, char **ret_error) {
    char *error = NULL;
    rd_kafka_conf_t *conf = NULL;
    door *self = wf_kafka_allocate(1, sizeof *self);
    self->base.ops = &door_ops;
    self->events_fd = self->records_fd = -1;
    weft_status status = wf_kafka_settings_check(settings, count, &error);
    conf = rd_kafka_conf_new();
    self->backs_off = wf_kafka_settings_defaults(wf_kafka_conf_set, conf);
    self->one_by_one = !wf_kafka_settings_allow_batches(settings, count, rd_kafka_version());
    weft_status applied = wf_kafka_settings_apply(settings, count, wf_kafka_conf_set, conf, &error);
    if (status == WEFT_OK) status = applied;
    if (status != WEFT_OK) goto fail;
    self->events_fd = wf_bell_open();
    self->records_fd = wf_bell_open();
    if (self->events_fd < 0 || self->records_fd < 0) status = wf_kafka_refuse(WEFT_ESYSTEM, strerror(errno), &error);
    if (status != WEFT_OK) goto fail;
    self->group_id = strdup(wf_kafka_setting_value(settings, count, "group.id"));
    status = open_client(self, conf, settings, count, &error);
    conf = NULL;
    if (status != WEFT_OK) goto fail;
    const char *warning = wf_kafka_settings_warning(settings, count, rd_kafka_version());
    if (warning) wf_kafka_notes_warning(&self->notes, warning);
    *ret_kafka = &self->base;
    return WEFT_OK;
fail:
    if (conf) rd_kafka_conf_destroy(conf);
    door_free(&self->base);
    *ret_error = error;
    return status;
}
