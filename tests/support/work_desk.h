/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager at a desk: the test plays poller, tracker and workers. The desk counts what every test wants
 * counted: credit that went out and came home, blocks that came home, offsets that were fetched and completed (in a
 * real completion window).
 */
#ifndef WF_TEST_WORK_DESK_H
#define WF_TEST_WORK_DESK_H

#include "fake_env.h"
#include "messages.h"
#include "offset_window.h"
#include "work_manager.h"

enum {
    DESK_SLOTS = 6,
    DESK_POLLER = 2,
    DESK_TRACKER = 4,
    DESK_EXPORTER = 5,
    DESK_WAKER = 6,
    DESK_WORKER = 20, /* the first one's actor id */
};

typedef struct desk_slot {
    uint32_t epoch;
    bool assigned;
    bool started;
    wf_offset_window window;
    uint64_t completed; /* entries in this epoch */
    uint32_t drained;   /* DRAINED messages, ever */
    wf_drained last_drained;
} desk_slot;

typedef struct work_desk {
    fake_env fake;
    desk_slot slots[DESK_SLOTS];
    uint64_t given_records;
    uint64_t given_bytes;
    uint64_t home_blocks;
    uint64_t credit_records;
    uint64_t credit_bytes;
    bool enough;      /* as the last CREDIT said */
    bool no_progress; /* keep PROGRESS back */
} work_desk;

/* One worker, key order, five attempts of 100 ms .. 1 s, room for everything. */
wf_work_manager_options desk_options(void);
void desk_start(work_desk *desk, const wf_work_manager_options *options, uint32_t workers);
/* Checks that all credit and all blocks came home, then frees; desk_abort() only frees. */
void desk_end(work_desk *desk);
void desk_abort(work_desk *desk);

/* A new epoch of a slot; `runs` are complete by the committed map. */
void desk_assign(work_desk *desk, uint32_t slot, int64_t base, const wf_offset_run *runs, uint32_t count);
void desk_revoke(work_desk *desk, uint32_t slot, uint64_t deadline_ns, bool lost);

/* A record of the slot's epoch; key 0: a null key. */
wf_record *desk_record(work_desk *desk, uint32_t slot, int64_t offset, uint64_t key);
/* Records arrive. */
void desk_arrive(work_desk *desk, wf_chain *records);
/* One after the other from `first` on, with the given keys. */
void desk_feed(work_desk *desk, uint32_t slot, int64_t first, const uint64_t *keys, size_t count);

/* Read what the manager sent to poller and tracker, answer with PROGRESS. Everything below does it. */
void desk_collect(work_desk *desk);

/* The next slice that the manager sent. False: none. */
bool desk_work(work_desk *desk, wf_slice *ret_slice);
/* The slice comes back, all of it with one status, or with one letter per record: s(uccess) f(ailure) p(ending)
 * u(nrun). */
void desk_done(work_desk *desk, wf_slice slice, wf_done_status status);
void desk_done_each(work_desk *desk, wf_slice slice, const char *statuses);
/* weft_complete() was called for a deferred record. */
void desk_unpark(work_desk *desk, wf_record *record, wf_done_status status);

void desk_advance_ms(work_desk *desk, uint64_t ms);

/* The offsets of a slice as text, "0 1 5": for comparing. The text is valid until the next call. */
const char *desk_offsets(wf_slice slice);

int64_t desk_frontier(const work_desk *desk, uint32_t slot);
bool desk_completed(const work_desk *desk, uint32_t slot, int64_t offset);

#endif
