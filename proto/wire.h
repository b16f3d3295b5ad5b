/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker protocol: frames between weft and the worker processes of engine = process. docs/worker-protocol.md is the
 * reference for writers of workers; this is the same in C, used by both sides.
 *
 * A frame is one ZeroMQ message part: a header of 16 bytes, `count` entries of fixed size, then bytes of any length.
 * All numbers are little-endian and frames need no alignment. Descriptors come first and bytes after, so that a reader
 * takes all descriptors in one step (what makes a worker in Python fast).
 *
 * Invariants:
 * 1. Nothing in a frame is believed before it was checked against the length of the frame; sums can't overflow.
 * 2. What is not used is zero, and a reader that finds something else there refuses the frame.
 */
#ifndef WF_WIRE_H
#define WF_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "weft/status.h"

enum {
    WF_WIRE_MAGIC = 0x31544657, /* "WFT1" */
    WF_WIRE_VERSION = 1,
    WF_WIRE_TOKEN_BYTES = 32,
    WF_WIRE_NAME_MAX = 64,      /* of a worker */
    WF_WIRE_REASON_MAX = 255,   /* of a failure */
    WF_WIRE_LINE_MAX = 4096,    /* of a log */
    WF_WIRE_LEVEL_MAX = 3,      /* of a log */
    WF_WIRE_RECORDS_MAX = 1024, /* in one WORK */
    WF_WIRE_FRAME_MAX = 524288, /* that a worker may send: a DONE whose records all failed is smaller */
    WF_WIRE_READ_MAX = 4194304, /* what is larger is not read: ZeroMQ closes the connection, and says nothing */
};

typedef enum wf_wire_type {
    WF_WIRE_HELLO = 1, /* worker: I am here */
    WF_WIRE_WELCOME,   /* weft: you get work from now on */
    WF_WIRE_REFUSED,   /* weft: you don't, and why; the connection is over */
    WF_WIRE_TOPIC,     /* weft: the name of a topic, before the first record with its number */
    WF_WIRE_WORK,      /* weft: records */
    WF_WIRE_DONE,      /* worker: what became of records, in the order of WORK */
    WF_WIRE_CANCEL,    /* weft: begin no more records of this task */
    WF_WIRE_PING,      /* weft */
    WF_WIRE_PONG,      /* worker: from the loop that runs handlers */
    WF_WIRE_BYE,       /* weft: finish what you have and end. Worker: I will not take more work */
    WF_WIRE_LOG,       /* worker: a line for weft's log; `count` is the level */
    WF_WIRE_TYPE_END
} wf_wire_type;

typedef struct wf_wire_header {
    uint32_t magic;
    uint8_t version;
    uint8_t type; /* wf_wire_type */
    uint16_t zero;
    uint32_t count; /* entries behind the header */
    uint32_t task;  /* WORK, DONE, CANCEL: which; TOPIC: its number; PING, PONG: which */
} wf_wire_header;

typedef struct wf_wire_hello {
    uint16_t version_low; /* what the worker speaks, inclusive */
    uint16_t version_high;
    uint32_t pid;
    uint32_t flags; /* wf_wire_hello_flag */
    uint32_t name_bytes;
    uint8_t token[WF_WIRE_TOKEN_BYTES];
} wf_wire_hello; /* the name follows */

typedef enum wf_wire_hello_flag { WF_WIRE_HAS_PROGRESS = 1 /* keeps the progress word */ } wf_wire_hello_flag;

typedef struct wf_wire_welcome {
    uint32_t worker; /* the number that weft gave it */
    uint32_t heartbeat_ms;
} wf_wire_welcome;

/* A record in WORK. Key, value and headers follow each other, from `begin` on, counted from the end of the descriptors.
 * A header is u32 bytes of the name, i32 bytes of the value (-1: null), name, NUL, value. */
typedef struct wf_wire_record {
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    uint32_t topic;       /* announced by TOPIC */
    int32_t partition;
    int32_t key_bytes; /* -1: null */
    int32_t value_bytes;
    uint32_t header_bytes;
    uint16_t header_count;
    uint16_t attempt;
    uint32_t begin;
    uint32_t lane; /* records of one lane run in order, and a failure ends it; WF_WIRE_ANY_ORDER: alone */
} wf_wire_record;

#define WF_WIRE_ANY_ORDER UINT32_MAX

typedef enum wf_wire_status { WF_WIRE_SUCCESS = 0, WF_WIRE_FAILURE = 1, WF_WIRE_UNRUN = 2 } wf_wire_status;

/* An entry of DONE; the reasons of all follow, in order. */
typedef struct wf_wire_done {
    int64_t offset;
    uint8_t status; /* wf_wire_status */
    uint8_t zero[3];
    uint32_t reason_bytes; /* UTF-8, of a failure only */
} wf_wire_done;

/* The progress word, in memory that a spawned worker shares with weft: what it runs. 0: nothing; else the task in the
 * upper half, the number of the record in its WORK plus 1 in the lower. */
static inline uint64_t wf_wire_progress(uint32_t task, uint32_t index) {
    return (uint64_t)task << 32 | (index + 1);
}

/* --- reading */

/* The header of a frame, checked: WEFT_OK, or WEFT_EINVAL and why. */
weft_status wf_wire_open(const void *frame, size_t bytes, wf_wire_header *ret_header, const char **ret_why);

/* Of a frame that a worker sent: does it have what its type has, and nothing else? Entries and names are for those who
 * read them. WEFT_OK, or WEFT_EINVAL and why. */
weft_status wf_wire_check_worker(const wf_wire_header *header, size_t bytes, const char **ret_why);

/* HELLO; the name ends with a NUL, and has printable ASCII only. */
weft_status wf_wire_read_hello(const void *frame, size_t bytes, wf_wire_hello *ret_hello,
                               char ret_name[WF_WIRE_NAME_MAX + 1], const char **ret_why);
weft_status wf_wire_read_welcome(const void *frame, size_t bytes, wf_wire_welcome *ret_welcome, const char **ret_why);

/* Entries of DONE or WORK, one after the other. `why` is NULL, or says what is wrong with the frame. */
typedef struct wf_wire_reader {
    const uint8_t *entries;
    const uint8_t *bytes; /* what stands behind the entries */
    size_t byte_count;
    size_t used; /* of those bytes */
    uint32_t count;
    uint32_t next;
    const char *why;
} wf_wire_reader;

void wf_wire_read_done(wf_wire_reader *reader, const wf_wire_header *header, const void *frame, size_t bytes);
/* False: there are no more, or `why`. The reason is not NUL-terminated. */
bool wf_wire_next_done(wf_wire_reader *reader, wf_wire_done *ret_done, const char **ret_reason);

void wf_wire_read_work(wf_wire_reader *reader, const wf_wire_header *header, const void *frame, size_t bytes);
bool wf_wire_next_record(wf_wire_reader *reader, wf_wire_record *ret_record, const char **ret_bytes);

/* The text behind the header (TOPIC, REFUSED, LOG), without a NUL. */
const char *wf_wire_text(const void *frame, size_t bytes, size_t *ret_bytes);

/* --- writing: each returns the byte behind what it wrote */

enum { WF_WIRE_HEADER_BYTES = 16, WF_WIRE_RECORD_BYTES = 48, WF_WIRE_DONE_BYTES = 16, WF_WIRE_HELLO_BYTES = 48 };

uint8_t *wf_wire_put_header(uint8_t *at, wf_wire_type type, uint32_t count, uint32_t task);
uint8_t *wf_wire_put_hello(uint8_t *at, const wf_wire_hello *hello, const char *name);
uint8_t *wf_wire_put_done(uint8_t *at, const wf_wire_done *done);

/* What a record takes in WORK beside its descriptor, and the whole frame. */
static inline size_t wf_wire_payload_bytes(const wf_record *record) {
    return wf_record_length(record->key_bytes) + wf_record_length(record->value_bytes) + record->header_bytes;
}
static inline size_t wf_wire_work_bytes(uint32_t count, size_t payload_bytes) {
    return WF_WIRE_HEADER_BYTES + (size_t)count * WF_WIRE_RECORD_BYTES + payload_bytes;
}
/* The first `count` records of a chain; the slot of a record is the number of its topic. */
uint8_t *wf_wire_put_work(uint8_t *at, uint32_t task, const wf_record *head, uint32_t count);

#endif
