/* SPDX-License-Identifier: Apache-2.0
 *
 * Filling topics, on the mock and on a real broker.
 *
 * produce_keyed() makes the records that most tests want: key "k<i>", value "<sequence> xxx...", where the sequence
 * counts from 0 per key, so that a handler can check order by itself. A key always goes to partition i % partitions.
 */
#ifndef SUPPORT_PRODUCE_H
#define SUPPORT_PRODUCE_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_producer test_producer;

typedef struct produced_header {
    const char *name;
    const void *value; /* NULL: null */
    size_t value_bytes;
} produced_header;

typedef struct produced_record {
    const char *topic;
    int32_t partition; /* -1: by key */
    const void *key;   /* NULL: null key */
    size_t key_bytes;
    const void *value; /* NULL: null value */
    size_t value_bytes;
    int64_t timestamp_ms; /* 0: now */
    const produced_header *headers;
    size_t header_count;
} produced_record;

/* `settings`: pairs of librdkafka settings, NULL at the end, or NULL. With "transactional.id" the transaction calls may
 * be used. */
test_producer *producer_open(const char *bootstrap, const char *const *settings);
void producer_close(test_producer *producer); /* waits for what is on its way */

void producer_put(test_producer *producer, const produced_record *record);
void producer_flush(
    test_producer *producer); /* returns when every record is in the log; a failed delivery ends the test */

void producer_begin(test_producer *producer);
void producer_commit(test_producer *producer);
void producer_abort(test_producer *producer);

typedef struct keyed_plan {
    const char *topic;
    int partitions;
    uint64_t records;
    uint64_t keys;      /* 0: null keys, record i to partition i % partitions */
    size_t value_bytes; /* at least as long as the sequence number */
    uint64_t first;     /* continue a plan: number of the first record, 0 at the beginning */
} keyed_plan;

/* Record i has key i % keys and sequence i / keys. Compressed with lz4. Returns when all are in the log. */
void produce_keyed(const char *bootstrap, const keyed_plan *plan);

/* The sequence number at the beginning of a value; UINT64_MAX when there is none. */
uint64_t value_sequence(const void *value, size_t bytes);

#endif
