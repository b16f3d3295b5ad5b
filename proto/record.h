/* SPDX-License-Identifier: Apache-2.0
 *
 * A record inside weft: one block of memory with a fixed head and the bytes of key, value and headers behind it.
 *
 * The block is made once, by the poller, when the record comes from Kafka, and goes home to the poller's pool when the
 * record is complete. In between it is the in-flight entry: the dispatch time, the attempt and the state of a record
 * are fields of its own block, so what a revoke purges takes them along.
 *
 * Invariants:
 * 1. A block is in exactly one chain at a time (`next`): a batch on its way, a lane, a slice, or the credit going home.
 * 2. From WORK to DONE the block is lent, with the status SUCCESS: the engine reads all and writes only `status` (of
 *    what did not succeed), `reason`, `pending` and WF_RECORD_SUSPECT.
 * 3. `slot`, `epoch` and `offset` never change while the block is out of the pool.
 */
#ifndef WF_RECORD_H
#define WF_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct weft_record wf_record;

/* What an engine says of a record in DONE. */
typedef enum wf_done_status {
    WF_DONE_SUCCESS = 0,
    WF_DONE_FAILURE,
    WF_DONE_TIMEOUT, /* failed by deadline; the lane stays closed until the handler really ended */
    WF_DONE_PENDING, /* the handler deferred; the record stays in flight */
    WF_DONE_UNRUN,   /* not started: an earlier record of its lane failed or deferred */
} wf_done_status;

/* Where the record is, as the work manager sees it. */
typedef enum wf_record_state {
    WF_RECORD_QUEUED = 0, /* in a lane */
    WF_RECORD_LENT,       /* in a slice at an engine */
    WF_RECORD_PARKED,     /* deferred: waiting for weft_complete() */
    WF_RECORD_DROPPED,    /* its epoch ended while it was out: when it comes back, it only goes home */
} wf_record_state;

typedef enum wf_record_flag {
    WF_RECORD_DEFERRED = 1,  /* DONE said that it was deferred: its credit has gone home already */
    WF_RECORD_TIMED_OUT = 2, /* its deadline has passed while it was out */
    WF_RECORD_ANY_ORDER = 4, /* its lane is open: its failure stops no other record; engines read it */
    WF_RECORD_SUSPECT = 8,   /* it may have ended the worker that held it; the process engine's, while it is lent */
} wf_record_flag;

/* Two cache lines. The first has everything that a worker touches of a record that it does not look at, and that is
 * looked at when the record comes back: between the processor of the work manager and that of a worker one line travels
 * there and back, not two. */
struct weft_record {
    wf_record *next;      /* the chain the block is in */
    void *lane;           /* work manager: the lane; for others only an identity to compare */
    wf_record *slot_prev; /* work manager: unfinished records of the slot in offset order */
    wf_record *slot_next;
    int64_t offset;
    uint32_t slot;
    uint32_t epoch;
    uint32_t block_bytes; /* what the block occupies, head included: the unit of every byte budget */
    uint32_t pending;     /* slot in the pending table plus 1; 0: not deferred */
    uint16_t header_count;
    uint16_t attempt;   /* 1 while it runs first */
    uint8_t status;     /* wf_done_status */
    uint8_t state;      /* wf_record_state */
    uint8_t size_class; /* the pool's */
    uint8_t flags;      /* wf_record_flag, work manager */
    /* --- second line */
    uint64_t key_hash;    /* of the key; 0 for a null key */
    uint64_t received_ns; /* when it came from Kafka, monotonic */
    uint64_t dispatch_ns; /* when it was lent last, monotonic; 0 before */
    int64_t timestamp_ms; /* Kafka's; -1: none */
    const char *topic;    /* interned, lives as long as the consumer */
    char *reason;         /* of the last failure, malloc'ed, NULL mostly; freed by whoever sends the block home */
    int32_t partition;
    int32_t key_bytes;     /* -1: null */
    int32_t value_bytes;   /* -1: null */
    uint32_t header_bytes; /* encoded headers behind the value, see wf_record_header_put() */
};

/* Lists of records are walked with this: each hop would otherwise wait for memory. */
static inline void wf_record_prefetch(const wf_record *record) {
    __builtin_prefetch(record);
}

/* Both lines. */
static inline void wf_record_prefetch_head(const wf_record *record) {
    __builtin_prefetch(record);
    __builtin_prefetch((const char *)record + sizeof *record / 2);
}

static inline char *wf_record_bytes(wf_record *record) {
    return (char *)(record + 1);
}

static inline const char *wf_record_key_bytes(const wf_record *record) {
    return (const char *)(record + 1);
}

static inline size_t wf_record_length(int32_t bytes) {
    return bytes > 0 ? (size_t)bytes : 0;
}

static inline const char *wf_record_value_bytes(const wf_record *record) {
    return wf_record_key_bytes(record) + wf_record_length(record->key_bytes);
}

static inline const char *wf_record_header_bytes(const wf_record *record) {
    return wf_record_value_bytes(record) + wf_record_length(record->value_bytes);
}

/* Bytes that one header takes: u32 name length, i32 value length (-1: null), name, NUL, value. Unaligned, native byte
 * order. */
static inline size_t wf_record_header_size(size_t name_bytes, int32_t value_bytes) {
    return 8 + name_bytes + 1 + wf_record_length(value_bytes);
}

/* Write one header at `at`; returns the byte behind it. The caller reserved wf_record_header_size() bytes. */
char *wf_record_header_put(char *at, const char *name, size_t name_bytes, const void *value, int32_t value_bytes);

/* A chain of records; the body of RECORDS, CREDIT, WORK and DONE builds on it. Not circular; tail->next is NULL. */
typedef struct wf_chain {
    wf_record *head;
    wf_record *tail;
    uint32_t count;
    uint32_t bytes; /* sum of block_bytes */
} wf_chain;

static inline void wf_chain_push(wf_chain *chain, wf_record *record) {
    record->next = NULL;
    if (chain->tail)
        chain->tail->next = record;
    else
        chain->head = record;
    chain->tail = record;
    chain->count++;
    chain->bytes += record->block_bytes;
}

static inline void wf_chain_push_front(wf_chain *chain, wf_record *record) {
    record->next = chain->head;
    chain->head = record;
    if (!chain->tail) chain->tail = record;
    chain->count++;
    chain->bytes += record->block_bytes;
}

static inline wf_record *wf_chain_pop(wf_chain *chain) {
    wf_record *record = chain->head;
    if (!record) return NULL;
    chain->head = record->next;
    if (!chain->head) chain->tail = NULL;
    record->next = NULL;
    chain->count--;
    chain->bytes -= record->block_bytes;
    return record;
}

#endif
