/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge watches what handlers do with records and says at the end whether they were handled as weft promises:
 * every one, once, in order within its lane, never two of a lane at the same time.
 *
 * A handler calls judge_start() first and judge_end() last (for PENDING records, whoever completes them does). Several
 * threads may. A lane is what the ordering mode says: a key of a partition, a partition, or nothing. Null keys are in
 * no lane when lanes are keys, because weft does not order them.
 *
 * What is counted:
 *   missing       expected, and never ended with DONE or DROPPED
 *   duplicates    starts of a record that had already ended with DONE or DROPPED
 *   out of order  first starts of a record while an earlier one of its lane was not yet at its end, or after a later
 * one had started overlaps      starts while another record of the lane, or the same one, was running unexpected starts
 * of records that were never expected (counted only where something was expected in that partition) A retry is none of
 * these: it starts again after it ended with FAILED.
 */
#ifndef SUPPORT_JUDGE_H
#define SUPPORT_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct test_judge test_judge;

typedef enum judge_lanes { JUDGE_KEYS, JUDGE_PARTITIONS, JUDGE_UNORDERED } judge_lanes;

typedef enum judge_outcome {
    JUDGE_DONE,    /* the handler succeeded */
    JUDGE_FAILED,  /* it failed and will be tried again */
    JUDGE_DROPPED, /* it failed for the last time: skipped, or in the DLQ */
    JUDGE_DIED,    /* its worker died: it will be run again, with no attempt lost */
} judge_outcome;

typedef struct judge_ticket {
    size_t record; /* the judge's own number of it */
} judge_ticket;

typedef struct judge_verdict {
    uint64_t expected, started, ended; /* records expected; starts, retries included; records that came to their end */
    uint64_t missing, duplicates, out_of_order, overlaps, unexpected;
    uint64_t running; /* started and not ended now */
    char example[5]
                [160]; /* of missing, duplicates, out_of_order, overlaps, unexpected: the first one in words, or "" */
} judge_verdict;

test_judge *judge_new(judge_lanes lanes);
void judge_free(test_judge *judge);

/* The records [first, end) of a partition must be handled. May be called again for more. */
void judge_expect(test_judge *judge, const char *topic, int32_t partition, int64_t first, int64_t end);

judge_ticket judge_start(test_judge *judge, const char *topic, int32_t partition, int64_t offset, const void *key,
                         size_t key_bytes);
void judge_end(test_judge *judge, judge_ticket ticket, judge_outcome outcome);

/* Records that came to their end so far, each counted once. For waiting: poll it, or block in judge_await(). */
uint64_t judge_ended(test_judge *judge);

/* Wait until that many records have ended; false after the time. */
bool judge_await(test_judge *judge, uint64_t ended, uint64_t timeout_ms);

judge_verdict judge_verdict_now(test_judge *judge);

/* Nothing missing, twice, out of order, overlapping, unexpected or still running. Otherwise the text names each with an
 * example. */
bool judge_is_content(test_judge *judge, char *ret_text, size_t text_bytes);

#endif
