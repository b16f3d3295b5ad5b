/* SPDX-License-Identifier: Apache-2.0
 *
 * Judges what the members of a group did to a topic, from the journals that their handlers wrote, what the topic holds,
 * what was done to the members, and what the group was seen to have committed. It knows nothing of weft but its
 * promises:
 *
 * 1. Nothing is lost: each record has an execution that ended.
 * 2. Key order: no execution of a record begins before each earlier record of its key has ended once.
 * 3. Executions of a key don't overlap.
 * 4. A record is executed again only for a reason: the member was killed after it and before its next commit could be
 * made (a worker process: before it could report), or the group may have expelled the member (it was stopped, or the
 * broker was away).
 * 5. What was committed is not executed again.
 *
 * In the span around a stop or an outage of the broker a member may be expelled and not know it: what it runs then may
 * overlap with its successor's work (3), and what it holds in hand may be behind the commits (5): no library can stop a
 * handler that runs in a process which nobody can reach.
 */
#ifndef SUPPORT_CHAOS_JUDGE_H
#define SUPPORT_CHAOS_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHAOS_SPANS_MAX = 64, CHAOS_TEXT = 240 };

typedef struct chaos_span {
    uint64_t from_ns;
    uint64_t until_ns;
} chaos_span;

/* One process that runs handlers: a member of the group, or a worker of one. */
typedef struct chaos_member {
    uint64_t killed_ns;               /* SIGKILL; 0: it ended by itself */
    bool is_worker;                   /* another process commits for it */
    uint64_t parent_killed_ns;        /* SIGKILL of that one; 0: it ended by itself */
    chaos_span away[CHAOS_SPANS_MAX]; /* it may have been expelled, with what follows until it knows */
    size_t away_count;
} chaos_member;

typedef struct chaos_event {
    uint64_t ns;
    int64_t offset;
    int32_t partition;
    uint32_t member;
    bool end;
} chaos_event;

/* The group had committed this offset at that time. */
typedef struct chaos_commit {
    uint64_t ns;
    int64_t offset;
    int32_t partition;
} chaos_commit;

typedef struct chaos_case {
    int partitions;
    const int64_t *ends;         /* records of partition p: 0 .. ends[p] - 1 */
    const uint32_t *const *keys; /* keys[p][offset] */
    uint32_t key_count;
    const chaos_member *members;
    size_t member_count;
    chaos_event *events; /* in any order; is sorted */
    size_t event_count;
    const chaos_commit *commits;
    size_t commit_count;
    uint64_t commit_delay_ns; /* what ended longer ago than this is committed, unless the broker was away */
    uint64_t report_delay_ns; /* what ended at a worker longer ago than this is known to its parent */
} chaos_case;

typedef struct chaos_verdict {
    uint64_t records;
    uint64_t executions;
    uint64_t repeated_by_kill;
    uint64_t repeated_by_absence;
    uint64_t overlaps_by_absence;
    uint64_t violations;
    char first[CHAOS_TEXT]; /* the first violation, or "" */
} chaos_verdict;

chaos_verdict chaos_judge(chaos_case *facts);

#endif
