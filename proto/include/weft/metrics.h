/* SPDX-License-Identifier: Apache-2.0
 *
 * The gauges of a consumer: the single source of truth for everything that is shown of it; and the events that a
 * subscribed actor gets.
 */
#ifndef WEFT_METRICS_H
#define WEFT_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Times of records, counted where the work manager sees them. A bucket holds the times up to its bound that are over
 * the bound before it; the last one holds the rest. */
enum { WEFT_HISTOGRAM_BUCKETS = 15 };
typedef struct weft_histogram {
    uint64_t buckets[WEFT_HISTOGRAM_BUCKETS];
    uint64_t sum_ns;
} weft_histogram;

/* The bound of a bucket; UINT64_MAX for the last one. Thread: any. */
WEFT_EXPORT uint64_t weft_histogram_bound_ns(unsigned bucket);

enum { WEFT_ERROR_TEXT_BYTES = 128 };

/* One assigned partition. Offsets are -1 where not known yet. */
typedef struct weft_partition_metrics {
    const char *topic; /* lives as long as the weft_metrics that it is in */
    int32_t partition;
    uint32_t epoch;                   /* how often it was assigned to this consumer */
    int64_t frontier;                 /* lowest unfinished offset: everything below is finished */
    int64_t committed;                /* last committed offset */
    int64_t log_end;                  /* one past the last offset of the log, as of the last fetch */
    int64_t true_lag;                 /* log_end - frontier, in offsets; 0 or more */
    int64_t blocking_offset;          /* the unfinished record at the frontier; -1: none in hand */
    double blocking_duration_seconds; /* age of that record since it came from Kafka */
    uint64_t blocking_key_hash;       /* of that record's key, as weft sorts keys into lanes; 0: no key */
    int64_t blocking_timestamp_ms;    /* Kafka's time of that record, since 1970; -1: none in hand, or it has none */
    uint32_t blocking_attempt;        /* which one it runs, or waits for; 0: none in hand */
    int32_t blocking_worker;          /* that holds it, by its number; -1: none */
    uint64_t gap_count;               /* ranges of unfinished offsets between frontier and the highest finished one */
    uint64_t queued;                  /* records in lanes, retries that wait included */
    uint64_t in_flight;               /* records at the engine, deferred ones included */
    uint64_t metadata_bytes;          /* size of the map in the last commit */
    uint64_t succeeded;               /* records finished by success since the partition was first seen */
    uint64_t failed;                  /* records that the failure policy finished */
    uint64_t retried;                 /* failed attempts that were, or will be, tried again */
    uint64_t restored;                /* records not run because the committed map called them complete */
    bool paused;                      /* by the program */
    bool held;                        /* stopped alone: its map is full, or its backlog is over its share */
    weft_histogram latency;           /* of finished records: from the last dispatch to the completion */
    weft_histogram wait;              /* of the same: from Kafka to that dispatch */
    weft_histogram execution;         /* of attempts: their share of the time that their slice took */
    weft_histogram end_to_end;        /* of finished records: from Kafka's timestamp, where there is one */
    char last_error[WEFT_ERROR_TEXT_BYTES]; /* reason of the last failed attempt, cut short; "": none failed */
} weft_partition_metrics;

/* One topic that has an assigned partition. Times and retries count all its partitions, those that went away too. */
typedef struct weft_topic_metrics {
    const char *topic; /* lives as long as the weft_metrics that it is in */
    uint32_t assigned; /* partitions */
    bool is_paused;    /* reading is held back: enough is queued (then for all topics), or a partition stopped alone */
    uint64_t in_flight;
    uint64_t queued;
    uint64_t metadata_bytes; /* the largest of its partitions */
    weft_histogram wait;
    weft_histogram execution;
    weft_histogram end_to_end;
} weft_topic_metrics;

/* Records that wait in lanes, by virtual partition: the keys of a topic are spread over virtual.partitions groups by
 * hash, so that the depth of many queues is seen in few numbers. */
typedef struct weft_queue_metrics {
    const char *topic; /* lives as long as the weft_metrics that it is in */
    uint32_t virtual_partition;
    uint32_t queued;
} weft_queue_metrics;

/* Where a worker process is in its life. */
typedef enum weft_worker_state {
    WEFT_WORKER_WAITING = 0, /* it ended, and will be started again */
    WEFT_WORKER_STARTING,    /* it runs and has not said hello */
    WEFT_WORKER_READY,
    WEFT_WORKER_LEAVING, /* it finishes what it has */
    WEFT_WORKER_ENDING,  /* it ended or was told to, and what it said last is being read */
    WEFT_WORKER_STATES
} weft_worker_state;

/* Why workers ended. */
typedef enum weft_worker_end {
    WEFT_END_EXIT = 0, /* by itself: exit, signal, crash */
    WEFT_END_GONE,     /* one that attached itself is not connected any more */
    WEFT_END_DEADLINE, /* killed: handler.deadline.ms */
    WEFT_END_SILENT,   /* killed: stopped, or no heartbeat */
    WEFT_END_HOSTILE,  /* killed: it broke the protocol */
    WEFT_END_FENCED,   /* killed: its partition had to go */
    WEFT_END_TOLD,     /* stop, or rolling restart */
    WEFT_ENDS
} weft_worker_end;

/* Worker processes together. */
typedef struct weft_pool_metrics {
    bool is_used;      /* false: the engine has threads, and all of this is 0 */
    bool is_held_back; /* started ones end before they are ready, again and again: one at a time is tried */
    uint32_t wanted;   /* that weft starts and keeps alive */
    uint32_t by_state[WEFT_WORKER_STATES];
    uint64_t ends[WEFT_ENDS]; /* by reason, ever */
    uint64_t starts;          /* processes started, ever */
    uint64_t attached;        /* workers that attached themselves, ever */
    uint64_t records_held;    /* by workers, unfinished */
    uint64_t frames_rejected; /* of workers, and of who was none */
    uint64_t round_trip_ns;   /* of the last heartbeat of an idle worker, there and back; 0: none yet */
} weft_pool_metrics;

/* One worker process. */
typedef struct weft_worker_metrics {
    uint32_t number;
    weft_worker_state state;
    bool is_spawned; /* by weft; false: it attached itself */
    int32_t pid;     /* 0: none now */
    uint32_t records_held;
    uint32_t starts;
    double age_seconds; /* since it was started or attached */
    char name[24];      /* cut short */
} weft_worker_metrics;

/* Why commits failed. */
typedef enum weft_commit_failure {
    WEFT_COMMIT_UNANSWERED = 0, /* no broker, or one that is busy with something else: tried again */
    WEFT_COMMIT_TOO_LARGE,      /* the map is larger than the broker takes: tried again with a part of it */
    WEFT_COMMIT_FENCED,         /* the membership is over: the new owner runs again what was not committed */
    WEFT_COMMIT_FAILURES
} weft_commit_failure;

/* The whole consumer. */
typedef struct weft_system_metrics {
    uint64_t as_of_ns;           /* monotonic time of the numbers */
    uint64_t total_queued;       /* records in lanes */
    uint64_t total_in_flight;    /* records at the engine, deferred ones included */
    uint64_t total_pending;      /* of those, deferred */
    uint64_t in_flight_bytes;    /* memory of the records at the engine */
    uint64_t held_bytes;         /* memory of all records in hand */
    uint64_t reserved_bytes;     /* what the record pool has from the system, for those and later ones */
    uint64_t librdkafka_records; /* read by librdkafka and waiting in its queue */
    uint64_t fetched;            /* records read from Kafka */
    uint64_t succeeded;          /* of all partitions, those that went away too: finished by success */
    uint64_t failed;             /* finished by the failure policy */
    uint64_t retried;            /* failed attempts that were, or will be, tried again */
    uint64_t begun_ns;           /* monotonic time at which the first record was given to a worker; 0: none was */
    uint64_t finished_ns;        /* and at which the last one was finished; 0: none was */
    uint64_t commits;            /* successful commit requests */
    uint64_t commit_failures;    /* all of them, and by reason: */
    uint64_t commit_failures_by[WEFT_COMMIT_FAILURES];
    weft_histogram commit_time; /* of answered commit requests, from their sending */
    weft_histogram drain_time;  /* of partitions that were taken away, until they were given back */
    uint64_t assignments;       /* rebalances that gave or took partitions */
    uint64_t lost;              /* times that partitions were lost without warning: they had another owner already */
    uint32_t uncommitted;       /* partitions with something done that was not committed, for the membership is over or
                                   nobody answered; forgotten at the next assignment */
    uint64_t fenced;       /* records that were still out when their partition had to go; their results don't count */
    uint64_t kafka_errors; /* that librdkafka told */
    uint64_t paused_ns;    /* time in which nothing was read because enough was queued */
    uint64_t wakes;        /* times a stalled fetch was woken */
    uint64_t idle_ns;      /* time without records while there was credit and lag */
    uint64_t metadata_refused; /* committed maps: damaged, of no known format or beyond the log, so not used */
    uint64_t metadata_dropped; /* maps of which only the first part fitted: the rest may run again after a restart */
    uint32_t workers;          /* workers that take slices */
    uint32_t workers_busy;
    weft_pool_metrics pool; /* engine = process */
    bool is_paused;         /* back-pressure: nothing is read because enough is queued */
    bool is_member;         /* of the group: it got its partitions, none perhaps, and did not lose them since */
    bool is_connected;      /* false: librdkafka said that no broker can be reached, and none has answered since */
} weft_system_metrics;

/* All gauges at one time; one malloc'ed piece, topic names included: free() it. */
typedef struct weft_metrics {
    weft_system_metrics system;
    size_t partition_count;
    weft_partition_metrics *partitions; /* the assigned ones, in the order in which they were first seen */
    size_t topic_count;
    weft_topic_metrics *topics;
    size_t queue_count;
    weft_queue_metrics *queues; /* all virtual partitions of each topic that has an assigned partition */
    size_t worker_count;
    weft_worker_metrics *workers; /* engine = process: those that weft starts, and those that are attached */
} weft_metrics;

/* Bodies of the messages that a subscribed actor gets (weft_consumer_subscribe). WEFT_EVENT_COMPLETIONS has an array of
 * weft_event_completion, as many as fit into body_bytes, and costs one credit for each. WEFT_EVENT_SNAPSHOT has one
 * weft_event_snapshot and costs one. */
typedef struct weft_event_completion {
    const char *topic; /* valid during the handler */
    int32_t partition;
    uint32_t attempts;
    int64_t offset;
    uint64_t latency_ns; /* from the last dispatch to the arrival of the completion, as the work manager saw it */
    uint64_t wait_ns;    /* from Kafka to the last dispatch */
    bool success;        /* false: finished by the failure policy */
} weft_event_completion;

typedef struct weft_event_snapshot {
    weft_system_metrics system;
    uint64_t dropped; /* events that this subscriber missed for want of credit, ever */
} weft_event_snapshot;

/* The actor's answer, to message->from: so many events were handled, so many more may come. */
typedef struct weft_event_credit {
    uint32_t events;
} weft_event_credit;

/* Their message types (docs/messages.md). */
enum { WEFT_EVENT_COMPLETIONS = 38, WEFT_EVENT_SNAPSHOT = 39, WEFT_EVENT_CREDIT = 40 };

#ifdef __cplusplus
}
#endif

#endif
