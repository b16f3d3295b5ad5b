/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager's table of workers: who takes the next slice, how large it is, and how long handlers take. All
 * measured in the parent, from the dispatch of a slice to the arrival of its DONE. Pure data; the time is an argument.
 *
 * Invariants:
 * 1. A worker holds at most WF_SLICES_MAX slices; it works them off in the order in which they were sent.
 * 2. A worker is in the list of its load, or (lost or away) in none.
 */
#ifndef WF_WORKERS_H
#define WF_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "weft/status.h"

/* Two: the next slice is there when a worker ends the one before (1 ms handlers: 50 % of the ceiling with one, 81 %
 * with two). */
enum { WF_SLICES_MAX = 2 };

typedef struct wf_worker_slice {
    wf_record *head;
    uint32_t count;
    uint64_t sent_ns;
} wf_worker_slice;

typedef struct wf_worker_entry {
    struct wf_worker_entry *prev;
    struct wf_worker_entry *next;
    uint32_t index; /* in the table */
    uint32_t actor;
    uint32_t number;                       /* the actor's own */
    uint32_t load;                         /* slices held */
    wf_worker_slice slices[WF_SLICES_MAX]; /* oldest first */
    uint64_t done_ns;                      /* when its last DONE came */
    bool overrun;                          /* the oldest slice is past the handler's deadline, and that was logged */
    bool away;                             /* its process has ended or is leaving; another may come */
    bool lost;                             /* given up: its handler never ended */
} wf_worker_entry;

typedef struct wf_workers {
    wf_worker_entry **entries; /* by index */
    uint32_t count;
    uint32_t room;
    uint32_t live;                               /* neither lost nor away */
    wf_worker_entry *by_load[WF_SLICES_MAX + 1]; /* last used first: warm caches, and idle threads stay asleep */
    uint32_t load_count[WF_SLICES_MAX + 1];
    uint32_t slice_max;
    bool single;       /* one slice per worker: set by who may have to give a worker up with what it holds */
    bool remote;       /* they are other processes */
    double handler_ns; /* moving average per record */
} wf_workers;

void wf_workers_init(wf_workers *workers, uint32_t slice_max);
void wf_workers_deinit(wf_workers *workers);

weft_status wf_workers_add(wf_workers *workers, uint32_t actor, uint32_t number);

/* The worker of this actor and number, NULL: there is none. */
wf_worker_entry *wf_workers_find(const wf_workers *workers, uint32_t actor, uint32_t number);
/* It gets nothing until it is back. What it holds stays its own. */
void wf_workers_set_away(wf_workers *workers, wf_worker_entry *entry, bool away);

/* The worker that gets the next slice, NULL: none has room. */
wf_worker_entry *wf_workers_pick(const wf_workers *workers);

/* Records that a slice for this worker should have, when about `waiting` records wait in ready lanes. At least 1. */
uint32_t wf_workers_slice_size(const wf_workers *workers, const wf_worker_entry *entry, uint64_t waiting);
/* Records that one lane may contribute if it opens the slice: they run one after the other wherever they are. */
uint32_t wf_workers_lane_size(const wf_workers *workers, uint32_t slice_size);

void wf_workers_sent(wf_workers *workers, wf_worker_entry *entry, wf_record *head, uint32_t count, uint64_t now_ns);

/* The oldest slice of the worker came back, `ran` records of it were run. */
void wf_workers_done(wf_workers *workers, wf_worker_entry *entry, uint32_t ran, uint64_t now_ns);

/* Since when the worker has been at its oldest slice; 0: it has none. */
uint64_t wf_workers_busy_since_ns(const wf_worker_entry *entry);

/* Give a worker up: it gets nothing more. */
void wf_workers_lose(wf_workers *workers, wf_worker_entry *entry);

#endif
