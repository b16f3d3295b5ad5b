/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for records: the poller takes a block for each record it copies out of Kafka, and gives it back when the
 * credit comes home.
 *
 * Blocks lie in chunks of 64 KiB, each cut into blocks of one size. A chunk that becomes empty can serve another size,
 * so a workload whose records change their size does not pile up memory, and a record that runs for an hour pins its
 * chunk only, whose other blocks stay in use. Records that are too big for that, and all new ones while twice the
 * budget is reserved, are allocated singly.
 *
 * The pool does not refuse what is over the budget: the credit bounds what is taken. Owned by one actor, no lock.
 *
 * Invariants:
 * 1. held_bytes is the sum of block_bytes of the records that are out; live_count is their number.
 * 2. reserved_bytes is what the pool has from the system; chunks alone never pass twice the budget.
 * 3. Steady state (as many given as taken) asks the system for nothing, except for records that are allocated singly.
 */
#ifndef WF_RECORD_POOL_H
#define WF_RECORD_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "weft/status.h"

enum {
    WF_RECORD_POOL_CLASSES = 26,            /* 192, 256, then four to each doubling, up to 16 KiB */
    WF_RECORD_POOL_BLOCK_BYTES_MAX = 16384, /* head included; bigger records are allocated singly */
    WF_RECORD_POOL_CHUNK_BYTES = 65536,
};

typedef struct wf_record_chunk wf_record_chunk;

typedef struct wf_record_pool {
    uint64_t budget_bytes;
    uint64_t held_bytes;
    uint64_t reserved_bytes;
    uint64_t live_count;
    wf_record_chunk *with_room[WF_RECORD_POOL_CLASSES]; /* chunks with records out and room for more, latest first */
    wf_record_chunk *empty;                             /* chunks of no class */
    uint64_t empty_count;
} wf_record_pool;

/* `budget_bytes`: what the credit allows to be out at once. Reserves nothing yet. Returns: WEFT_OK. */
weft_status wf_record_pool_init(wf_record_pool *pool, uint64_t budget_bytes);

/* A block for a record with `payload_bytes` of key, value and headers. The head is zero but for block_bytes and
 * size_class. NULL: the system has no memory. A few ns. */
wf_record *wf_record_pool_take(wf_record_pool *pool, size_t payload_bytes);

/* The record is over; nobody else may know it any more. Its `reason` is the caller's to free, before. */
void wf_record_pool_give(wf_record_pool *pool, wf_record *record);

/* Memory of the records that are out, and what the pool has from the system for them and for later ones. */
uint64_t wf_record_pool_held_bytes(const wf_record_pool *pool);
uint64_t wf_record_pool_reserved_bytes(const wf_record_pool *pool);

/* All records must be home. */
void wf_record_pool_deinit(wf_record_pool *pool);

/* The same where some stay out for good (their handlers never ended): their memory stays valid for ever. */
void wf_record_pool_abandon(wf_record_pool *pool);

#endif
