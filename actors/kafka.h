/* SPDX-License-Identifier: Apache-2.0
 *
 * The one door to Kafka: what the poller needs of a consumer, as a table of functions, so that a fake can stand in.
 *
 * Asynchronous throughout: no call blocks; results arrive as events in serve(). The production door is kafka.c over
 * librdkafka, the simulator's is in tests/. One thread makes every call.
 *
 * Rebalance callbacks of librdkafka only note what happened; serve() hands the note out as an event after librdkafka's
 * call has returned, and the poller answers when it is ready with assign() or unassign(). Until then librdkafka waits.
 */
#ifndef WF_KAFKA_H
#define WF_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "weft/status.h"

typedef struct wf_kafka wf_kafka;

/* One partition in lists that go in and out. Strings belong to whoever made the list, valid during the call. */
typedef struct wf_kafka_partition {
    const char *topic;
    int32_t partition;
    int64_t offset;       /* in: where to start, or what to commit; WF_KAFKA_OFFSET_STORED: by auto.offset.reset */
    const char *metadata; /* committed metadata, printable ASCII, NULL: none; may be NUL-free foreign bytes when read */
    size_t metadata_bytes;
    int error; /* in events: 0, or librdkafka's code for this partition */
} wf_kafka_partition;

enum { WF_KAFKA_OFFSET_NONE = -1001 }; /* nothing committed: auto.offset.reset decides */

/* What went wrong, as far as the poller must know. */
typedef enum wf_kafka_error {
    WF_KAFKA_OK = 0,
    WF_KAFKA_RETRY,     /* try the same again after a back-off */
    WF_KAFKA_FENCED,    /* the membership is over: no commit of this epoch will ever succeed; treat as lost */
    WF_KAFKA_TOO_LARGE, /* the broker takes no metadata of this size for this partition */
    WF_KAFKA_FATAL,     /* this consumer can't go on */
    WF_KAFKA_AWAY,      /* as RETRY, and no broker can be reached, or none has answered; not in on_commit_result() */
} wf_kafka_error;

/* A record as it lies in the library's memory, valid during on_record() only. */
typedef struct wf_kafka_record {
    const char *topic;    /* valid during the call; compare `topic_id` first */
    const void *topic_id; /* same pointer = same topic, as long as the door is open */
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    const void *key;      /* NULL: null key */
    size_t key_bytes;
    const void *value; /* NULL: null value */
    size_t value_bytes;
    const void *message; /* for wf_kafka_ops.headers() */
} wf_kafka_record;

/* What serve() and consume() tell the poller; `context` is the argument of those calls. */
typedef struct wf_kafka_sink {
    /* Partitions are given to us: fetch committed offsets, then assign(). `incremental`: they are added to what we
     * have. */
    void (*on_assign)(void *context, const wf_kafka_partition *partitions, size_t count, bool incremental);
    /* Partitions are taken: drain, commit, then unassign() the same list. `lost`: they are somebody else's already. */
    void (*on_revoke)(void *context, const wf_kafka_partition *partitions, size_t count, bool incremental, bool lost);
    /* Answer to fetch_committed(): offset WF_KAFKA_OFFSET_NONE where nothing is committed. RETRY, and AWAY
     * when no broker has answered: ask again later. */
    void (*on_committed_offsets)(void *context, wf_kafka_error error, const char *text,
                                 const wf_kafka_partition *partitions, size_t count);
    /* Answer to commit(): one for the whole call, and per partition in partitions[i].error as wf_kafka_error. */
    void (*on_commit_result)(void *context, wf_kafka_error error, const char *text,
                             const wf_kafka_partition *partitions, size_t count);
    /* Something about the cluster: broker down, authentication refused, topic unknown. FATAL ends the consumer.
     * `partition` is -1 where none is meant. */
    void (*on_error)(void *context, wf_kafka_error error, const char *text, const char *topic, int32_t partition);
    /* One record, from consume(). */
    void (*on_record)(void *context, const wf_kafka_record *record);
    /* The end of a partition's log: no record below `offset` is outstanding. From consume(). */
    void (*on_eof)(void *context, const char *topic, int32_t partition, int64_t offset);
    /* close_begin() has come to its end: nothing more will be delivered. */
    void (*on_closed)(void *context);
    /* A line of the library's own log. */
    void (*on_log)(void *context, int level, const char *facility, const char *text);
} wf_kafka_sink;

typedef struct wf_kafka_ops {
    /* Two descriptors (events, records), readable when there may be something; non-blocking eventfds. -1: none. */
    void (*descriptors)(wf_kafka *kafka, int *ret_events_fd, int *ret_records_fd);
    /* Serve every event that waits (bounded); returns true when there may be more. */
    bool (*serve)(wf_kafka *kafka, const wf_kafka_sink *sink, void *context);
    /* Deliver at most about `max_records` (stops early when the sink's on_record calls consume_stop()); returns how
     * many were delivered. */
    size_t (*consume)(wf_kafka *kafka, size_t max_records, const wf_kafka_sink *sink, void *context);
    /* From inside on_record(): no more after this one. */
    void (*consume_stop)(wf_kafka *kafka);
    /* Headers of a record, from inside on_record(): false when index is past the last. name ends with a NUL. value
     * NULL: null. */
    bool (*header)(const wf_kafka_record *record, size_t index, const char **ret_name, const void **ret_value,
                   size_t *ret_bytes);

    weft_status (*subscribe)(wf_kafka *kafka, const char *const *topics, size_t count);
    /* Answers by on_committed_offsets(). */
    weft_status (*fetch_committed)(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count);
    /* Complete an assignment event: start at the given offsets. Partitions whose `start` is held back are paused by
     * hold() right after. */
    weft_status (*assign)(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count, bool incremental);
    weft_status (*unassign)(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count, bool incremental);
    /* Answers by on_commit_result(); at most one at a time. */
    weft_status (*commit)(wf_kafka *kafka, const wf_kafka_partition *partitions, size_t count);
    /* Stop (start) fetching one partition. Between consume() calls only. */
    weft_status (*hold)(wf_kafka *kafka, const char *topic, int32_t partition, bool hold);
    weft_status (*seek)(wf_kafka *kafka, const char *topic, int32_t partition, int64_t offset);
    /* Records that wait in the library, read without blocking. */
    size_t (*queued)(wf_kafka *kafka);
    /* One past the last offset of the log as the last fetch saw it; -1: not known yet. */
    int64_t (*log_end)(wf_kafka *kafka, const char *topic, int32_t partition);
    /* Ask the leaders something trivial: wakes a stalled fetcher (librdkafka 2.0.2). Cheap, but not per record. */
    void (*wake)(wf_kafka *kafka);
    /* Begin to leave the group; revocations come as events; on_closed() ends it. */
    weft_status (*close_begin)(wf_kafka *kafka);
    /* Free everything. After on_closed() it is quick; without it the group is not left. */
    void (*free)(wf_kafka *kafka);
    /* Of the library that runs. */
    const char *(*version)(void);
} wf_kafka_ops;

struct wf_kafka {
    const wf_kafka_ops *ops; /* first member of every implementation */
};

/* The production door. The settings are what the configuration passes through as kafka.*, and bootstrap.servers,
 * group.id, ... On failure *ret_error is a text (malloc'ed) that names setting, value and reason. Thread: before
 * start. */
weft_status wf_kafka_open(const wf_setting *settings, size_t count, wf_kafka **ret_kafka, char **ret_error);

#endif
