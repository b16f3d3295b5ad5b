/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of the messages between weft's actors, and lookups made from messages.def.
 *
 * Rules: bodies are plain data, aligned to 8; what refers to a partition carries (slot, epoch), and a receiver drops
 * what is of an older epoch before it does anything else. Order is only kept per sender and receiver.
 */
#ifndef WF_MESSAGES_H
#define WF_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "offset_run.h"
#include "record.h"
#include "weft/metrics.h"

/* A slice on its way to a worker or back. */
typedef struct wf_slice {
    wf_record *head;
    uint32_t count;
    uint32_t worker; /* index in the work manager's table */
    uint32_t number; /* the engine's own number of that worker */
} wf_slice;

/* Credit is counted when a record is finished or deferred; its block goes home when it is finished. */
typedef struct wf_credit {
    wf_record *head;       /* finished blocks, NULL: none */
    uint32_t blocks;       /* how many */
    uint32_t records : 31; /* credit: records */
    uint32_t enough : 1;   /* more may run now than all workers can hold: fetch nothing for the moment */
    uint64_t bytes;        /* credit: block_bytes of those records */
} wf_credit;

typedef struct wf_unparked {
    wf_record *record;
    char *reason;    /* malloc'ed, NULL: none */
    uint32_t status; /* wf_done_status */
    uint32_t reserved;
} wf_unparked;

typedef struct wf_worker_up {
    uint32_t actor;  /* who gets the WORK */
    uint32_t worker; /* the actor's own number for it, echoed in slices */
} wf_worker_up;

typedef struct wf_fetched {
    uint32_t slot;
    uint32_t epoch;
    wf_offset_run run;
} wf_fetched;

typedef struct wf_completed {
    uint32_t slot;
    uint32_t epoch;
    int64_t offset;
} wf_completed;

typedef struct wf_progress {
    uint32_t slot;
    uint32_t epoch;
    int64_t frontier;
    uint64_t runs;      /* completed runs beyond the frontier */
    uint64_t completed; /* COMPLETED entries of this epoch that were counted: what came later may add runs */
} wf_progress;

/* `final`: the partition's last one in this epoch. */
typedef struct wf_snapshot {
    uint32_t slot;
    uint32_t epoch;
    int64_t frontier;
    wf_offset_run *runs; /* malloc'ed, NULL: none */
    uint32_t count;
    bool final;
} wf_snapshot;

typedef struct wf_commit {
    uint32_t slot;
    uint32_t epoch;
    int64_t offset;
    char *metadata; /* malloc'ed, ends with a NUL; NULL: none */
    uint32_t metadata_bytes;
    bool final;
    bool again; /* the broker refused it as too large, and this is the cut one: anything newer goes before it */
} wf_commit;

typedef struct wf_map_limit {
    uint32_t bytes; /* what the metadata of a commit may have */
} wf_map_limit;

typedef enum wf_commit_outcome {
    WF_COMMIT_OK = 0,
    WF_COMMIT_REFUSED, /* the epoch is over */
} wf_commit_outcome;

typedef struct wf_committed {
    uint32_t slot;
    uint32_t epoch;
    int64_t offset;
    uint32_t metadata_bytes;
    uint32_t outcome; /* wf_commit_outcome */
} wf_committed;

typedef struct wf_restore {
    const char *topic; /* interned */
    int32_t partition;
    uint32_t slot;
    uint32_t epoch;
    uint32_t metadata_bytes;
    int64_t base;   /* committed offset, or -1: none, the first fetched record decides */
    char *metadata; /* malloc'ed, NULL: none */
} wf_restore;

typedef struct wf_assigned {
    const char *topic; /* interned */
    int32_t partition;
    uint32_t slot;
    uint32_t epoch;
    uint32_t count;
    int64_t base;
    wf_offset_run *runs; /* malloc'ed, NULL: none */
    bool refused;        /* there was metadata, and it could not be used */
} wf_assigned;

typedef struct wf_partition {
    uint32_t slot;
    uint32_t epoch;
} wf_partition;

typedef struct wf_log_end {
    uint32_t slot;
    uint32_t epoch;
    int64_t end;  /* one past the last offset of the log */
    bool reached; /* everything below it was delivered: holes up to it are complete */
} wf_log_end;

typedef struct wf_revoke {
    uint32_t slot;
    uint32_t epoch;
    uint64_t deadline_ns; /* monotonic; what runs longer is fenced */
    bool lost;            /* nothing can be committed any more */
    bool stopping;        /* the consumer leaves: what is fenced now is abandoned */
} wf_revoke;

typedef struct wf_drained {
    uint32_t slot;
    uint32_t epoch;
    uint32_t unfinished; /* records that were in flight at the deadline */
    bool lost;
    bool uncommitted; /* lost, and more was done than any snapshot has; the tracker says so */
} wf_drained;

typedef struct wf_hold {
    uint32_t slot;
    uint32_t epoch;
    bool hold;
    int64_t back_to; /* with hold: fetching goes on here when the partition does; -1: where it is */
} wf_hold;

typedef struct wf_pause {
    char topic[256];   /* Kafka allows 249 characters; "": all */
    int32_t partition; /* -1: all of the topic */
    bool pause;
} wf_pause;

typedef struct wf_ask {
    uint64_t ticket; /* echoed in the answer */
} wf_ask;

/* Numbers of a partition; each owner fills what it knows, the rest keeps its value in the exporter. */
typedef enum wf_gauges_owner {
    WF_GAUGES_POLLER = 0,
    WF_GAUGES_MANAGER,
    WF_GAUGES_TRACKER,
    WF_GAUGES_ENCODER,
    WF_GAUGES_ENGINE, /* only where there are processes */
    WF_GAUGES_OWNERS
} wf_gauges_owner;

typedef struct wf_gauges {
    uint32_t slot;
    uint32_t owner;             /* wf_gauges_owner */
    uint64_t blocking_since_ns; /* received_ns of the blocking record; 0: none */
    weft_partition_metrics metrics;
} wf_gauges;

typedef weft_queue_metrics wf_queue;

typedef weft_worker_metrics wf_worker_seen;

typedef struct wf_gauges_end {
    uint64_t ticket;
    uint32_t owner;
    uint32_t reserved;
    weft_system_metrics metrics;
} wf_gauges_end;

typedef struct wf_report {
    uint64_t ticket;
    struct weft_metrics *metrics; /* malloc'ed in one piece */
} wf_report;

/* Worker processes from now on. */
typedef struct wf_roll {
    char *command; /* malloc'ed; NULL: as before */
    uint64_t memory_max_bytes;
    int32_t niceness;
    uint32_t reserved;
} wf_roll;

typedef struct wf_subscribe {
    uint32_t actor;
    uint32_t credit; /* events on their way at most */
    bool completions;
    bool snapshots;
} wf_subscribe;

typedef struct wf_abandoned {
    const char *topic;
    int32_t partition;
    uint32_t attempt;
    int64_t offset;
    uint64_t running_ns; /* since dispatch */
    bool deferred;
} wf_abandoned;

typedef enum wf_message_type {
#define MSG(id, NAME, body, shape, from, to, ownership, help) WF_MSG_##NAME = id,
#include "messages.def"
#undef MSG
} wf_message_type;

typedef struct wf_message_info {
    uint32_t id;
    const char *name;
    const char *body;
    size_t body_bytes; /* of one element */
    bool many;         /* an array of bodies */
    const char *from;
    const char *to;
    const char *ownership;
    const char *help;
} wf_message_info;

extern const wf_message_info wf_messages[];
extern const size_t wf_message_count;

/* Name of a message type; "user message" or "unknown" where it is not in the table. */
const char *wf_message_name(uint32_t type);

/* The row of a type; NULL: none. */
const wf_message_info *wf_message_find(uint32_t type);

#endif
