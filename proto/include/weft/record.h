/* SPDX-License-Identifier: Apache-2.0
 *
 * What a handler sees of a Kafka record, and what it answers.
 *
 * A weft_record is read-only and belongs to weft. It is valid from the call of the handler until the record is
 * complete: that is the return of the handler, or, for a deferred record, the call of weft_complete(). Whoever needs
 * bytes for longer copies them.
 */
#ifndef WEFT_RECORD_H
#define WEFT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_record weft_record;

/* What a handler answers for a record. */
typedef enum weft_result {
    WEFT_SUCCESS = 0, /* finished; the offset may be committed */
    WEFT_FAILURE = 1, /* failed; it is tried again with back-off, then failure.policy applies */
    WEFT_PENDING = 2, /* weft_record_defer() was called; somebody will call weft_complete() */
} weft_result;

/* One record at a time. With ordering = key, records of a key of a partition run one after the other, each after the
 * one before it was finished; others run at the same time in other threads. Thread: one of `threads`; with
 * engine = inline the one on which weft itself works. */
typedef weft_result (*weft_handler)(const weft_record *record, void *context);

/* Several records at once, at most slice.max.records. In ordered modes no two of them share an ordering key.
 * `results` has `count` entries, all WEFT_SUCCESS when called; the handler overwrites those that are not. */
typedef void (*weft_batch_handler)(const weft_record *const *records, weft_result *results, size_t count,
                                   void *context);

/* Thread of all accessors: any, while the record is valid. They allocate nothing and cannot fail. */
WEFT_EXPORT const char *weft_record_topic(const weft_record *record); /* the same pointer for all records of a topic */
WEFT_EXPORT int32_t weft_record_partition(const weft_record *record);
WEFT_EXPORT int64_t weft_record_offset(const weft_record *record);
WEFT_EXPORT int64_t weft_record_timestamp_ms(const weft_record *record); /* since 1970; -1: the record has none */
WEFT_EXPORT unsigned weft_record_attempt(const weft_record *record);     /* 1 for the first try */

/* Key and value: NULL for a null key or value (then *ret_bytes is 0); an empty one is not NULL and has 0 bytes. No NUL
 * stands behind them. `ret_bytes` may be NULL. */
WEFT_EXPORT const void *weft_record_key(const weft_record *record, size_t *ret_bytes);
WEFT_EXPORT const void *weft_record_value(const weft_record *record, size_t *ret_bytes);

/* Headers, by index in the order in which they were produced. Names end with a NUL; a value may be NULL; names may
 * repeat. False: there is no such index, and nothing was written. Each ret_ pointer may be NULL. */
WEFT_EXPORT size_t weft_record_header_count(const weft_record *record);
WEFT_EXPORT bool weft_record_header(const weft_record *record, size_t index, const char **ret_name,
                                    const void **ret_value, size_t *ret_bytes);

/* Say why the record fails (at most 255 bytes are kept); returns WEFT_FAILURE:
 *     return weft_record_fail(record, "no such user %d", id);
 * Thread: the handler's, inside the handler, before weft_record_defer(). */
WEFT_EXPORT weft_result weft_record_fail(const weft_record *record, const char *format, ...) WEFT_PRINTF(2, 3);

/* A promise to complete one record later. Copyable, comparable, harmless when stale: what it names outlives the
 * consumer. An id of 0 is no promise. */
typedef struct weft_token {
    uint64_t id;
} weft_token;

/* Take the promise for this record; the handler then returns WEFT_PENDING (or puts it into `results`). The thread is
 * free for other records; this one holds one of pending.max.records, and its key waits until it is complete. It may be
 * completed before the handler has returned: don't touch the record once somebody else has the token. An id of 0 where
 * deferring is not possible: with engine = inline, or a second time for the same record.
 * Thread: the handler's, inside the handler. Blocks: never. */
WEFT_EXPORT weft_token weft_record_defer(const weft_record *record);

/* Keep the promise: `result` is WEFT_SUCCESS or WEFT_FAILURE (the record is tried again, as if its handler had failed);
 * `reason` may be NULL (at most 255 bytes are kept). The record must not be touched afterwards.
 * Returns: WEFT_OK; WEFT_ESTALE when the token was completed before, its record was given up, or its consumer is gone
 * (nothing happens); WEFT_EINVAL for another result. Thread: any. Blocks: never. */
WEFT_EXPORT weft_status weft_complete(weft_token token, weft_result result, const char *reason);

#ifdef __cplusplus
}
#endif

#endif
