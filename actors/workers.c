/* SPDX-License-Identifier: Apache-2.0 */
#include "workers.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* How long a slice should take (units: ns). Short while somebody is idle, so that work spreads; longer when all are
 * busy, so that the price of a wake-up (13-50 us) is shared. Derived in the spike's section on slices; see bench/. */
static const double slice_idle_ns = 200e3;
/* Between processes a message wakes four threads there and back, and what they take is measured as if it were the
 * handler's: slices must be long against it, or they stay short for ever. */
static const double slice_idle_remote_ns = 1e6;
static const double slice_busy_ns = 2e6;
/* Of one key: each of its slices waits a while in line, about 2 ms with handlers of 1 ms and four threads. Half of
 * 8,000 records on one key: 12 % over bare sleeps with 4 ms, 6 % with 10, 3 % with 20. */
static const double lane_slice_ns = 16e6;
/* Beyond this a second slice in a worker's hand gains nothing and is unfair to its records. */
static const double second_slice_handler_ns = 5e6;
static const double wake_ns = 100e3;
/* Before anything was measured: careful. */
static const double handler_guess_ns = 100e3;

void wf_workers_init(wf_workers *workers, uint32_t slice_max) {
    *workers = (wf_workers){.slice_max = slice_max, .handler_ns = handler_guess_ns};
}

void wf_workers_deinit(wf_workers *workers) {
    for (uint32_t i = 0; i < workers->count; i++) free(workers->entries[i]);
    free(workers->entries);
    *workers = (wf_workers){0};
}

static void link_in(wf_workers *workers, wf_worker_entry *entry) {
    wf_worker_entry **list = &workers->by_load[entry->load];
    entry->prev = NULL;
    entry->next = *list;
    if (*list) (*list)->prev = entry;
    *list = entry;
    workers->load_count[entry->load]++;
}

static void link_out(wf_workers *workers, wf_worker_entry *entry) {
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        workers->by_load[entry->load] = entry->next;
    if (entry->next) entry->next->prev = entry->prev;
    workers->load_count[entry->load]--;
}

weft_status wf_workers_add(wf_workers *workers, uint32_t actor, uint32_t number) {
    if (workers->count == workers->room) {
        uint32_t room = workers->room ? 2 * workers->room : 16;
        wf_worker_entry **entries = realloc(workers->entries, room * sizeof *entries);
        if (!entries) return WEFT_ENOMEM;
        workers->entries = entries;
        workers->room = room;
    }
    wf_worker_entry *entry = calloc(1, sizeof *entry);
    if (!entry) return WEFT_ENOMEM;
    entry->actor = actor;
    entry->number = number;
    entry->index = workers->count;
    workers->entries[workers->count++] = entry;
    workers->live++;
    link_in(workers, entry);
    return WEFT_OK;
}

wf_worker_entry *wf_workers_find(const wf_workers *workers, uint32_t actor, uint32_t number) {
    for (uint32_t i = 0; i < workers->count; i++)
        if (workers->entries[i]->actor == actor && workers->entries[i]->number == number) return workers->entries[i];
    return NULL;
}

static bool is_listed(const wf_worker_entry *entry) {
    return !entry->lost && !entry->away;
}

void wf_workers_set_away(wf_workers *workers, wf_worker_entry *entry, bool away) {
    WF_CHECK(entry->away != away && !entry->lost);
    if (away) link_out(workers, entry);
    entry->away = away;
    if (!away) link_in(workers, entry);
    workers->live += away ? UINT32_MAX : 1;
}

wf_worker_entry *wf_workers_pick(const wf_workers *workers) {
    /* A full slice that takes less than it takes to wake a sleeping thread and be woken by it: rather let one thread
     * stay awake. */
    if (!workers->single && workers->by_load[1] && workers->handler_ns * workers->slice_max < wake_ns)
        return workers->by_load[1];
    if (workers->by_load[0]) return workers->by_load[0];
    return !workers->single && workers->handler_ns < second_slice_handler_ns ? workers->by_load[1] : NULL;
}

static uint32_t clamp_size(const wf_workers *workers, double size) {
    if (size >= workers->slice_max) return workers->slice_max;
    return size < 1 ? 1 : (uint32_t)size;
}

uint32_t wf_workers_slice_size(const wf_workers *workers, const wf_worker_entry *entry, uint64_t waiting) {
    uint32_t idle = workers->load_count[0];
    double idle_ns = workers->remote ? slice_idle_remote_ns : slice_idle_ns;
    uint32_t size = clamp_size(workers, (entry->load == 0 ? idle_ns : slice_busy_ns) / workers->handler_ns);
    uint64_t share = idle > 1 ? (waiting + idle - 1) / idle : waiting;
    if (share < size) size = share ? (uint32_t)share : 1;
    return size;
}

uint32_t wf_workers_lane_size(const wf_workers *workers, uint32_t slice_size) {
    uint32_t size = clamp_size(workers, lane_slice_ns / workers->handler_ns);
    return size > slice_size ? size : slice_size;
}

void wf_workers_sent(wf_workers *workers, wf_worker_entry *entry, wf_record *head, uint32_t count, uint64_t now_ns) {
    WF_CHECK(entry->load < WF_SLICES_MAX && is_listed(entry));
    link_out(workers, entry);
    entry->slices[entry->load++] = (wf_worker_slice){.head = head, .count = count, .sent_ns = now_ns};
    link_in(workers, entry);
}

uint64_t wf_workers_busy_since_ns(const wf_worker_entry *entry) {
    if (entry->load == 0) return 0;
    return entry->slices[0].sent_ns > entry->done_ns ? entry->slices[0].sent_ns : entry->done_ns;
}

void wf_workers_done(wf_workers *workers, wf_worker_entry *entry, uint32_t ran, uint64_t now_ns) {
    WF_CHECK(entry->load > 0);
    uint64_t since_ns = wf_workers_busy_since_ns(entry);
    if (ran > 0) {
        double each_ns = (double)(now_ns > since_ns ? now_ns - since_ns : 1) / ran;
        workers->handler_ns += (each_ns - workers->handler_ns) / 8;
        if (workers->handler_ns < 1) workers->handler_ns = 1;
    }
    if (is_listed(entry)) link_out(workers, entry);
    entry->load--;
    memmove(entry->slices, entry->slices + 1, entry->load * sizeof entry->slices[0]);
    entry->done_ns = now_ns;
    entry->overrun = false;
    if (is_listed(entry)) link_in(workers, entry);
}

void wf_workers_lose(wf_workers *workers, wf_worker_entry *entry) {
    WF_CHECK(is_listed(entry));
    link_out(workers, entry);
    entry->lost = true;
    workers->live--;
}
