/* SPDX-License-Identifier: Apache-2.0
 *
 * The core of the offset tracker: which offsets of one partition (in one epoch) are complete. Pure data, no clock, no
 * I/O.
 *
 * Offsets come in through wf_window_fetched() in rising order and are completed in any order. The *frontier* is the
 * lowest offset that is not complete: everything below it may be committed. Offsets that Kafka never delivered between
 * two fetched ones (compaction, transaction markers) are *holes*. A hole never holds up the frontier; beyond it, a hole
 * is complete when the record behind it is. So fetching adds nothing to the map, whatever the log looks like: only a
 * completion does, at most one run, and reaches no further than its own offset.
 *
 * Invariants:
 * 1. frontier <= fetched_end; every offset below the frontier is complete; the frontier itself is not, or equals
 * fetched_end.
 * 2. The frontier never goes back.
 * 3. An offset is completed at most once, and only after it was fetched.
 * 4. Memory is one bit per offset between frontier and the highest completed one, two up to the highest hole once there
 * was one, rounded up to a power of two of words; a large ring is given back when nothing is complete beyond the
 * frontier.
 * 5. Runs lie strictly above the frontier. When the frontier reaches the end of what was fetched and a restored run
 * begins there, it passes that run and fetched_end goes with it: these offsets are complete, and whoever commits the
 * frontier must not lose them. Records of that run still come and are ignored.
 * 6. A hole that is not complete does not begin at the frontier, and no completed offset is directly behind it.
 */
#ifndef WF_OFFSET_WINDOW_H
#define WF_OFFSET_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "offset_run.h"
#include "weft/status.h"

typedef struct wf_offset_window {
    int64_t frontier;    /* lowest incomplete offset */
    int64_t fetched_end; /* one past the highest fetched, skipped or passed (invariant 5) offset; >= frontier */
    int64_t came_end;    /* one past the highest offset that fetched() or skip_to() named; <= fetched_end */
    int64_t highest;     /* one past the highest completed offset; == frontier when nothing is complete beyond it */
    uint64_t run_count;  /* completed runs beyond the frontier, exact at all times */
    uint64_t *words;     /* ring of bits; bit of offset o at (o mod capacity): set = complete */
    uint64_t *holes;     /* a ring as large: set = a hole that is not complete; NULL until there is one */
    int64_t hole_end;    /* one past the highest of these bits, or lower than any */
    uint64_t word_count; /* power of two, or 0 */
} wf_offset_window;

/* Nothing fetched, everything below `base` complete. base >= 0. */
void wf_window_init(wf_offset_window *window, int64_t base);
void wf_window_deinit(wf_offset_window *window);

/* Offsets that are complete before they are fetched (a committed map says so); they are not "fetched" by this. May be
 * called again with others, before the first fetched(). A run that begins at the frontier is passed (invariant 5).
 * Returns: WEFT_OK; WEFT_ENOMEM, also for a map that reaches more than WF_METADATA_SPAN_MAX beyond the frontier: the
 * window stays as it was. */
weft_status wf_window_restore(wf_offset_window *window, const wf_offset_run *runs, size_t count);

/* Take back what restore did (the map lied about the log), as far as it was not fetched or passed: call it before the
 * first fetched(), then that is all of it. */
void wf_window_forget_restored(wf_offset_window *window);

/* Records [first, end) came, first >= came_end. What lies between fetched_end and first is a hole. */
void wf_window_fetched(wf_offset_window *window, int64_t first, int64_t end);

/* Nothing from `from` on was completed since it was fetched, and all of it comes again. from >= frontier. */
void wf_window_unfetch(wf_offset_window *window, int64_t from);

/* The log ends at `end` (EOF) or the consumer jumped there: [fetched_end, end) are holes. No effect if end <=
 * fetched_end. */
void wf_window_skip_to(wf_offset_window *window, int64_t end);

/* One record is finished. False, and no change: it was complete already or never fetched. */
bool wf_window_complete(wf_offset_window *window, int64_t offset);

bool wf_window_is_complete(const wf_offset_window *window, int64_t offset);

/* Ranges of unfinished offsets between the frontier and the highest completed one: the metric consumer_gap_count. Each
 * completed run has exactly one before it, so this is run_count. */
uint64_t wf_window_gap_count(const wf_offset_window *window);

/* Completed runs beyond the frontier, lowest first, at most `capacity`; returns how many were written. */
size_t wf_window_runs(const wf_offset_window *window, wf_offset_run *runs, size_t capacity);

#endif
