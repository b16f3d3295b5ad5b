/* SPDX-License-Identifier: Apache-2.0
 *
 * The poller: the only actor that talks to Kafka. Owns the consumer, the assignment with its epochs, the memory of
 * records and the credit. poller.c has assignment and life cycle, poller_fetch.c reading and memory, poller_commit.c
 * the commits. This header is shared by the three; others use the class and its options only.
 *
 * Accepts CREDIT, READY, HOLD (work manager), COMMIT, DRAINED (metadata encoder), GAUGES_ASK (exporter).
 * Emits RECORDS, LOG_END, REVOKE (work manager), RESTORE (metadata encoder), COMMITTED (offset tracker), GAUGES.
 *
 * Invariants:
 * 1. All calls of the Kafka door come from here, none blocks, none comes from inside another.
 * 2. Records are read only while there is credit in records and bytes; events are served in every turn, whatever the
 * credit.
 * 3. A slot is one topic-partition for the life of the consumer; its epoch rises with each assignment, and when its log
 * turns out to be another one than before.
 * 4. At most one commit is in flight, later ones coalesce, and none is sent for an epoch that is over.
 * 5. A revoked partition is given back to Kafka after its DRAINED came and its last commit was answered (or its
 * deadline passed).
 */
#ifndef WF_POLLER_H
#define WF_POLLER_H

#include "kafka.h"
#include "messages.h"
#include "record_pool.h"
#include "weft/actor.h"

/* Names of topics that the poller has interned. Records and events name their topic by pointer, so at its end the
 * poller hands the names to the program, which frees them when all loops have ended. */
typedef struct wf_topic_names {
    char **names;
    uint32_t count;
} wf_topic_names;

/* Argument of the class; copied by init. Strings live as long as the actor. */
typedef struct wf_poller_options {
    weft_actor_id manager;
    weft_actor_id tracker;
    weft_actor_id encoder;
    wf_kafka *kafka;       /* the poller's from now on: freed by it */
    wf_topic_names *names; /* filled at the end; NULL: the names are freed with the poller */
    const char *const *topics;
    size_t topic_count;
    bool skip_headers; /* records have none: unpacking them costs librdkafka two allocations each */
    uint32_t queue_max_records;
    uint64_t queue_max_bytes;
    uint64_t in_flight_max_bytes;
    uint64_t drain_timeout_ns;
    uint64_t fetch_threshold; /* records in librdkafka's queue at which its fetchers go to sleep: queued.min.messages */
} wf_poller_options;

extern const weft_actor_class wf_poller;

/* --- shared by poller*.c */

typedef enum wf_slot_phase {
    WF_SLOT_FREE = 0,
    WF_SLOT_ASKING,    /* its committed offset is asked for */
    WF_SLOT_RESTORING, /* RESTORE is on its way round */
    WF_SLOT_ACTIVE,
    WF_SLOT_REVOKING, /* REVOKE is on its way round */
} wf_slot_phase;

/* After the drain budget: how long the last commit may take before the partition is given back without it. */
#define WF_POLLER_LAST_COMMIT_NS UINT64_C(5000000000)

typedef struct wf_poller_slot {
    const char *topic;
    int32_t partition;
    uint32_t epoch;
    wf_slot_phase phase;
    bool revoke_wanted; /* it was taken away while it was being restored */
    bool lost;
    bool closed;  /* a record of this epoch could not be taken: nor are those behind it */
    bool bounded; /* LOG_END was sent in this epoch */
    bool held;
    bool given;     /* assign() named it: librdkafka fetches it */
    bool drained;   /* DRAINED came back */
    bool resetting; /* the log is another one: this epoch ends, and the next one begins at reset_offset */
    int64_t reset_offset;
    int64_t base;    /* where to start; WF_KAFKA_OFFSET_NONE: auto.offset.reset decides */
    int64_t next;    /* one past the last fetched offset, -1: nothing was fetched in this epoch */
    int64_t log_end; /* as last seen, -1: unknown */
    int64_t eof;     /* where Kafka last said that there is no more (an open transaction may lie behind), -1: nowhere */
    int64_t committed; /* last one that Kafka confirmed in this epoch, -1: none */
    /* The commit that waits (has_commit), and the one in flight (sent). Shrinking: the broker refused the last one as
     * too large, and a cut one comes. */
    wf_commit commit;
    bool has_commit;
    wf_commit sent;
    bool in_flight;
    bool shrinking;
    bool log_gone;    /* truncated or made anew: what was done of it needs no commit */
    bool uncommitted; /* what was done since the last commit is done again by the next owner, as far as is known */
} wf_poller_slot;

typedef struct wf_poller_topic {
    char *name;           /* interned: records point to it */
    const void *topic_id; /* the door's pointer for it, NULL: not seen yet */
    uint32_t *slots;      /* by partition: slot plus 1, 0: none */
    int32_t partition_count;
} wf_poller_topic;

/* An assignment or a revocation that librdkafka waits for. */
typedef struct wf_rebalance {
    wf_kafka_partition *partitions; /* topic strings are interned */
    size_t count;
    bool incremental;
    bool open;
} wf_rebalance;

typedef struct wf_poller_state {
    wf_poller_options options;
    wf_record_pool pool;
    wf_poller_topic *topics;
    uint32_t topic_count;
    wf_poller_slot *slots;
    uint32_t slot_count;
    uint32_t slot_room;
    wf_rebalance assign;
    wf_rebalance revoke;
    uint64_t revoke_deadline_ns;
    uint64_t revoke_since_ns;
    uint64_t ask_ns; /* when to ask for committed offsets again, 0: no need */
    bool ask_open;   /* a question is on its way: answers don't say whose they are, so there is one at a time */
    bool ask_stale;  /* and it was asked for an assignment that is over: others may have committed since */
    /* Credit. */
    int64_t credit_records;
    int64_t credit_bytes; /* may go below 0 by one record */
    bool enough;          /* says the work manager: nothing is fetched */
    bool any_commit;      /* may wait in a slot */
    /* Reading. */
    wf_chain batch;
    weft_env *env;             /* during consume() and serve() */
    const void *last_topic_id; /* the slot of the record before: records come in runs */
    int32_t last_partition;
    uint32_t last_slot;
    uint64_t looked_ns; /* the last look at librdkafka's queue */
    uint64_t queued_then;
    uint64_t queued_most; /* since the last wake */
    uint64_t fetched_at_wake;
    uint64_t woken_ns;
    uint64_t idle_since_ns;   /* without records while there is credit and lag; 0: not idle */
    uint64_t paused_since_ns; /* without credit; 0: there is some */
    /* Commits. */
    bool commit_in_flight;
    uint64_t commit_sent_ns;
    uint64_t commit_retry_ns; /* 0: no back-off */
    uint32_t commit_failures_in_row;
    /* Sight. */
    weft_system_metrics metrics;
    uint64_t error_logged_ns;
    uint64_t errors_silent;
    /* Life. */
    bool fenced_ever; /* a record was out when its epoch ended */
    bool stopping;
    bool leaving; /* close_begin() was called */
    bool closed;
    uint64_t stop_deadline_ns;
} wf_poller_state;

enum { WF_POLLER_TIMER_SERVE = 0, WF_POLLER_TIMER_WORK = 1, WF_POLLER_TIMER_IDLE = 2 };

/* The slot of a topic-partition, made on first sight. */
uint32_t wf_poller_slot_of(wf_poller_state *self, const char *topic, int32_t partition);
/* Valid until the next new slot. */
wf_poller_slot *wf_poller_slot_at(wf_poller_state *self, const char *topic, int32_t partition);
/* The same for a record, by the door's topic id first; UINT32_MAX: never assigned. */
uint32_t wf_poller_slot_of_record(wf_poller_state *self, const wf_kafka_record *record);

/* The log is not the one that we knew (truncated, or made anew): what is known of it is void, and everything begins
 * anew at `offset`. */
void wf_poller_reset_log(wf_poller_state *self, wf_poller_slot *slot, int64_t offset);

/* Read what credit allows, send it; true: there is more to read at once. */
bool wf_poller_fetch(wf_poller_state *self, weft_env *env);
/* All that the door may tell, whichever of its calls it is in: reading brings errors of partitions too. */
extern const wf_kafka_sink wf_poller_sink;
/* Its functions of reading. */
void wf_poller_on_record(void *context, const wf_kafka_record *record);
void wf_poller_on_eof(void *context, const char *topic, int32_t partition, int64_t offset);
void wf_poller_on_credit(void *state, weft_env *env, const weft_message *message);
void wf_poller_idle_timer(wf_poller_state *self, weft_env *env);

void wf_poller_on_commit(void *state, weft_env *env, const weft_message *message);
/* Send what waits, if nothing is in flight; returns when to try again, UINT64_MAX: no need. */
uint64_t wf_poller_send_commits(wf_poller_state *self, weft_env *env);
/* Is nothing owed for this partition any more? Past the deadline the last commit is given up, with a word. */
bool wf_poller_is_released(wf_poller_state *self, weft_env *env, wf_poller_slot *slot);
void wf_poller_on_commit_result(void *context, wf_kafka_error error, const char *text,
                                const wf_kafka_partition *partitions, size_t count);
/* Forget the commits of a slot whose epoch ends. */
void wf_poller_drop_commits(wf_poller_slot *slot);
/* The same when the membership is over: what they would have told is noted as not committed. */
void wf_poller_lose_commits(wf_poller_slot *slot);
/* The same when the partition is given back, with a word when it was lost before its last commit. */
void wf_poller_end_commits(weft_env *env, wf_poller_slot *slot);
void wf_poller_begin_membership(wf_poller_state *self);
/* How many partitions have something done that is not committed, and that we shall not commit. */
uint32_t wf_poller_uncommitted(const wf_poller_state *self);

#endif
