/* SPDX-License-Identifier: Apache-2.0
 *
 * Deferred records: promises of handlers that returned WEFT_PENDING, kept by weft_complete() from any thread.
 *
 * This is the one place where something other than ZeroMQ crosses threads: a table of slots with atomic states, a
 * lock-free list of those that were completed, and an eventfd that wakes the engine's loop.
 *
 * Invariants:
 * 1. A slot's state word holds its generation; every move is a compare-and-swap on the word, so of two completions of a
 * token, or a completion and a cancellation, exactly one wins.
 * 2. A token is a table, a slot and a generation. Tables are never freed, only used again by a later consumer, and no
 * generation is used twice: a stale token is harmless for ever.
 * 3. Each completed slot is on the completed list exactly once, and is freed by the one who takes the list.
 */
#ifndef WF_PENDING_H
#define WF_PENDING_H

#include <stdint.h>

#include "record.h"
#include "weft/record.h"

typedef struct wf_pending wf_pending;

/* A table with room for `capacity` records (up to 2^24). Thread: before start. WEFT_ELIMIT: no eventfd, or 64 consumers
 * at once. */
weft_status wf_pending_open(uint32_t capacity, wf_pending **ret_table);
/* All open tokens become stale; the table waits for the next consumer. Thread: any, when no handler runs. */
void wf_pending_close(wf_pending **table);

/* Readable when the completed list may have something. */
int wf_pending_fd(const wf_pending *table);

/* A slot for this record; its number plus 1, or 0: the table is full. Thread: an engine's. */
uint32_t wf_pending_defer(wf_pending *table, const wf_record *record, weft_token *ret_token);

/* Take back the promise that was made for `record` (NULL: for any). True: nobody will complete it any more, the slot is
 * free. False: it was completed already, and the slot may have another record's promise. Thread: any. */
bool wf_pending_cancel(wf_pending *table, uint32_t slot_plus_1, const wf_record *record);

typedef struct wf_pending_done {
    const wf_record *record;
    char *reason; /* malloc'ed, NULL: none; the taker owns it */
    weft_result result;
} wf_pending_done;

/* Take what was completed, oldest first; returns how many were written. Thread: the engine's loop. */
size_t wf_pending_take(wf_pending *table, wf_pending_done *done, size_t capacity);

enum { WF_REASON_MAX = 255 };

/* A copy of at most WF_REASON_MAX bytes of a reason, or NULL. */
char *wf_reason_copy(const char *reason);

#endif
