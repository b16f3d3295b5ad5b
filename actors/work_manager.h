/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager: takes records from the poller, gives slices to workers, and decides what becomes of each record
 * that comes back. work_manager.c has the messages and the dispatch, work_done.c what becomes of records, work_credit.c
 * what goes back to the poller, work_hold.c partitions that stop alone, work_gauges.c what is seen of it from outside.
 * They share this header; others use the class and its options only.
 *
 * Accepts RECORDS, LOG_END, REVOKE (poller), ASSIGNED, PROGRESS (offset tracker), WORKER_UP, DONE, UNPARKED (engine),
 * PAUSE (program), GAUGES_ASK, SUBSCRIBE (exporter). Emits WORK, CREDIT, READY, HOLD, FETCHED, COMPLETED, HOLE,
 * MAP_REFUSED, DRAINED, COMPLETIONS, GAUGES, ABANDONED.
 *
 * Invariants:
 * 1. Every record that came is in exactly one place: in a lane, lent, parked (deferred), or on its way home in `home`.
 * 2. `head` .. `tail` of a slot are its unfinished records of the current epoch in offset order; the head blocks the
 * frontier.
 * 3. What is of an older epoch never reaches the offset tracker; its DONE only frees lane, memory and credit.
 * 4. Per slot and epoch a FETCHED run leaves before a COMPLETED offset of it.
 * 5. Credit goes home once per record: when it is finished, or earlier, when it was deferred; if it then fails and is
 * queued again, the credit is taken back.
 */
#ifndef WF_WORK_MANAGER_H
#define WF_WORK_MANAGER_H

#include "config.h"
#include "lanes.h"
#include "messages.h"
#include "metadata_format.h"
#include "offset_run.h"
#include "weft/actor.h"
#include "workers.h"

struct wf_pending;

/* Argument of the class; copied by init. Times in ns. */
typedef struct wf_work_manager_options {
    weft_actor_id poller;
    weft_actor_id tracker;
    weft_actor_id exporter;
    struct wf_pending *pending; /* to end tokens; NULL: no deferring */
    wf_ordering ordering;
    int failure_policy; /* WF_FAILURE_STOP, ... of config.h */
    int stuck_policy;   /* WF_STUCK_STOP, ... */
    bool null_key_serial;
    bool batch; /* the handler takes batches: one record per lane and slice */
    uint32_t virtual_partitions;
    uint32_t queue_max_records;
    uint32_t partition_max_records; /* 0: a fair share */
    uint32_t in_flight_max_records;
    uint64_t in_flight_max_bytes;
    uint32_t pending_max_records;
    uint64_t slice_max_bytes; /* 0: as many as fit */
    weft_actor_id fencer;     /* the engine whose workers can be ended, 0: threads can't */
    uint32_t slice_max_records;
    uint32_t max_attempts;
    uint64_t retry_backoff_ns;
    uint64_t retry_backoff_max_ns;
    uint64_t handler_deadline_ns; /* 0: none */
    uint64_t stuck_grace_ns;
    wf_metadata_format map_format; /* what maps are written in; with map_bytes it says what the next two are */
    uint64_t map_span;             /* the map of a partition fits as long as it spans no more offsets than this, */
    uint64_t map_runs;             /* or has no more completed runs than this; */
    uint64_t map_bytes;            /* beyond both the codec's bound decides: offset.metadata.max.bytes */
} wf_work_manager_options;

extern const weft_actor_class wf_work_manager;

/* The three numbers of the map for its format and a limit in bytes. The record at the frontier fits under any. */
void wf_work_set_map_limit(wf_work_manager_options *options, size_t max_bytes);

/* --- shared by its files */

typedef enum wf_work_phase { WF_WORK_GONE = 0, WF_WORK_ACTIVE, WF_WORK_DRAINING } wf_work_phase;

/* What is only looked at from outside; apart from the slot, which is in use for each record. */
typedef struct wf_work_sight {
    weft_histogram latency;
    weft_histogram wait;
    weft_histogram execution;
    weft_histogram end_to_end;
    char last_error[WEFT_ERROR_TEXT_BYTES];
} wf_work_sight;

typedef struct wf_work_slot {
    const char *topic;
    int32_t partition;
    uint32_t epoch;
    wf_work_phase phase;
    wf_record *head; /* invariant 2 */
    wf_record *tail;
    uint32_t out; /* lent or parked, of this epoch */
    uint32_t parked;
    bool new_head;           /* it is in new_heads */
    bool paused;             /* by the program */
    bool held;               /* the poller was told to stop fetching it */
    bool over;               /* its stalled records were over its share at the last look */
    bool bounded;            /* the log's end was seen: the restored map was checked */
    wf_offset_run *restored; /* complete by the committed map, ascending; malloc'ed */
    uint32_t restored_count;
    uint32_t restored_next;  /* runs before this one lie below what was fetched */
    bool restored_large;     /* that map may be larger than what is written: the gate can't keep it whole */
    wf_progress progress;    /* the tracker's latest */
    int64_t started_end;     /* one past the highest offset that was lent, or finished otherwise */
    int64_t came_end;        /* one past the highest that came */
    bool refetching;         /* what comes of it is void until HELD */
    uint64_t completed_sent; /* COMPLETED entries of this epoch */
    uint64_t drain_deadline_ns;
    bool fenced;   /* the engine was told to end what still runs of it */
    bool stopping; /* it goes because the consumer leaves */
    uint64_t succeeded;
    uint64_t failed;
    uint64_t retried;
    uint64_t skipped; /* restored: not run */
    wf_work_sight *sight;
} wf_work_slot;

/* A growing array of message bodies, sent once per turn. */
typedef struct wf_work_outbox {
    void *items;
    uint32_t count;
    uint32_t room;
} wf_work_outbox;

typedef struct wf_work_manager_state {
    wf_work_manager_options options;
    wf_lanes lanes;
    wf_workers workers;
    const char **topics; /* by their group in the lanes; interned */
    uint32_t topic_count;
    wf_work_slot *slots;
    uint32_t slot_count;
    uint64_t maps_refused; /* committed maps that reached beyond the log */
    uint64_t begun_ns;     /* when the first record was lent, */
    int64_t wall_ahead_ns; /* of the monotonic clock; 0: not looked yet */
    uint64_t finished_ns;  /* when the last one was finished; 0: none was */
    uint32_t active_count;   /* slots that are not GONE */
    uint32_t draining_count; /* of those */
    wf_work_outbox new_heads; /* uint32_t: slots whose blocking record is another one since the last dispatch */
    uint32_t lent_records;
    uint32_t parked_records;
    uint64_t out_bytes;         /* of lent and parked ones */
    uint32_t retries_out;       /* lent records that run again */
    wf_record *fenced;          /* out, of an epoch that is over; linked by slot_next/slot_prev */
    wf_work_outbox killed;      /* wf_abandoned: what ran when its workers were fenced at the stop */
    wf_work_outbox fetched;     /* wf_fetched */
    wf_work_outbox completed;   /* wf_completed */
    wf_work_outbox completions; /* weft_event_completion */
    wf_work_outbox early;       /* wf_unparked that came before their DONE */
    wf_chain home;              /* finished blocks */
    bool enough;                /* as the poller knows it */
    uint64_t credit_bytes;
    uint32_t credit_records;
    bool defers;           /* the handler has deferred a record: pending.max.records bounds what is lent, too */
    uint64_t owed_bytes;   /* credit that went home for records which were deferred, failed, and are queued again: */
    uint32_t owed_records; /* paid with the next that is due */
    bool want_completions;
    bool hold_timer; /* armed */
    bool deadline_timer;
    bool failed;               /* the consumer is going down: nothing new starts */
    uint64_t policy_logged_ns; /* the last line about a record that was given up */
    uint64_t policy_silent;    /* and how many went without one */
} wf_work_manager_state;

static inline uint32_t wf_work_slot_index(const wf_work_manager_state *self, const wf_work_slot *slot) {
    return (uint32_t)(slot - self->slots);
}

/* FETCHED and COMPLETED, as far as there are any. */
void wf_work_flush_offsets(wf_work_manager_state *self, weft_env *env);

/* work_hold.c: tell the poller; the same with a word, if it is news; look at all partitions, true: look again. */
void wf_work_send_hold(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, bool hold);
void wf_work_set_hold(wf_work_manager_state *self, weft_env *env, wf_work_slot *slot, bool hold);
bool wf_work_look_at_holds(wf_work_manager_state *self, weft_env *env);
/* Is there a partition that may have to stop alone? */
bool wf_work_any_over(const wf_work_manager_state *self);

/* The answer to GAUGES_ASK (work_gauges.c). */
void wf_work_on_gauges_ask(void *state, weft_env *env, const weft_message *message);
void *wf_work_append(wf_work_outbox *outbox, size_t item_bytes);
/* One message with all items, if there are any; the outbox is empty then. */
void wf_work_send_all(weft_env *env, weft_actor_id to, uint32_t type, wf_work_outbox *outbox, size_t item_bytes);
void wf_work_unlink(wf_work_slot *slot, wf_record *record);
/* Its blocking record is another one. */
void wf_work_note_head(wf_work_manager_state *self, wf_work_slot *slot);

/* work_credit.c: finished, or purged; its credit with it, unless that went when it was deferred. */
void wf_work_go_home(wf_work_manager_state *self, wf_record *record);
void wf_work_return_credit(wf_work_manager_state *self, const wf_record *record);
void wf_work_take_credit_back(wf_work_manager_state *self, wf_record *record);
void wf_work_flush_home(wf_work_manager_state *self, weft_env *env);

/* Fence what is out of a slot: it goes home when it comes back, and counts for nothing. */
void wf_work_fence(wf_work_manager_state *self, wf_work_slot *slot);
/* Finish a record that is in no lane's queue and not out any more. */
void wf_work_finish(wf_work_manager_state *self, weft_env *env, wf_record *record, bool success);

/* work_gauges.c */
void wf_work_observe_finished(wf_work_manager_state *self, weft_env *env, wf_work_sight *sight,
                              const wf_record *record);
void wf_work_observe_failure(wf_work_slot *slot, const wf_record *record);

void wf_work_on_done(void *state, weft_env *env, const weft_message *message);
void wf_work_on_unparked(void *state, weft_env *env, const weft_message *message);
/* Look at handlers past their deadline; returns when to look again, UINT64_MAX: never. */
uint64_t wf_work_check_deadlines(wf_work_manager_state *self, weft_env *env);

#endif
