/* SPDX-License-Identifier: Apache-2.0
 *
 * A minimal member of a consumer group on the production door: what the poller does, without anything behind it.
 *
 * It answers assignments with committed offsets, counts every record in a ledger that all members of a test share,
 * checks that offsets rise without a gap within one assignment, and on a revocation commits what it has before it lets
 * go. The mock cluster refuses every commit while its group rebalances (a real broker takes them until all members have
 * joined again), so on the mock records are repeated after a rebalance.
 */
#ifndef SUPPORT_DOOR_MEMBER_H
#define SUPPORT_DOOR_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka.h"

enum { MEMBER_PARTITIONS_MAX = 16 };

/* How often each offset was delivered, to whomever. */
typedef struct door_ledger {
    int partitions;
    int64_t records; /* per partition */
    uint8_t *times;  /* partition * records + offset */
} door_ledger;

void ledger_init(door_ledger *ledger, int partitions, int64_t records);
void ledger_deinit(door_ledger *ledger);
uint64_t ledger_seen(const door_ledger *ledger);     /* offsets delivered at least once */
uint64_t ledger_repeated(const door_ledger *ledger); /* deliveries beyond the first */

typedef struct door_member {
    wf_kafka *door;
    door_ledger *ledger; /* NULL: none */
    const char *topic;
    /* Per partition of the one topic. */
    bool owned[MEMBER_PARTITIONS_MAX];
    bool held[MEMBER_PARTITIONS_MAX];
    int64_t next[MEMBER_PARTITIONS_MAX];       /* -1: none delivered in this assignment */
    int64_t started[MEMBER_PARTITIONS_MAX];    /* the committed offset it started at; WF_KAFKA_OFFSET_NONE */
    int64_t eof[MEMBER_PARTITIONS_MAX];        /* -1: none yet */
    char metadata[MEMBER_PARTITIONS_MAX][256]; /* as committed before the assignment */
    size_t metadata_bytes[MEMBER_PARTITIONS_MAX];
    /* What happened. */
    uint64_t records;
    uint64_t gaps;   /* offsets that did not follow the one before */
    uint64_t strays; /* records of partitions that were not ours or were held */
    unsigned assignments;
    unsigned revocations;
    unsigned losses;
    unsigned commits;            /* results */
    wf_kafka_error commit_error; /* the last one's */
    wf_kafka_error partition_error[MEMBER_PARTITIONS_MAX];
    unsigned refusals; /* of the question for committed offsets; it is asked again */
    unsigned errors;
    wf_kafka_error error; /* the last one's */
    char text[512];       /* of the last error, commit's included */
    bool closed;
    /* How it behaves. */
    bool defer_revoke;  /* leave revocations unanswered */
    size_t stop_after;  /* consume_stop() after this many records of one call; 0: never */
    size_t max_records; /* per consume() */
    void (*on_record)(struct door_member *member, const wf_kafka_record *record); /* may be NULL */
    void *user;
    /* Inner workings. */
    bool incremental;
    bool commit_under_way;
    bool revoke_waits; /* for the result of its commit */
    bool incremental_revoke;
    int revoked[MEMBER_PARTITIONS_MAX];
    size_t revoked_count;
    unsigned revoke_tries;            /* commits for the revocation that came back to be retried */
    int given[MEMBER_PARTITIONS_MAX]; /* by the assignment that waits for its committed offsets */
    size_t given_count;
    size_t in_call;
} door_member;

/* Open and subscribe. `settings`: more pairs, NULL at the end, or NULL. Ends the test when the door does not open. */
void member_open(door_member *member, const char *bootstrap, const char *group, const char *topic, door_ledger *ledger,
                 const char *const *settings);
void member_free(door_member *member);

/* One turn of the loop: wait up to `timeout_ms` for the descriptors, serve all events, read once. Returns records read.
 */
size_t member_turn(door_member *member, int timeout_ms);
/* Only the events, nothing read. */
void member_serve(door_member *member, int timeout_ms);

/* Commit what was delivered, with a text as metadata (NULL: none), of every partition that is owned and has something.
 */
bool member_commit(door_member *member, const char *metadata);
void member_hold(door_member *member, int partition, bool hold);
int member_owned(const door_member *member);

/* Leave the group in order: until closed. */
void member_leave(door_member *member);

#endif
