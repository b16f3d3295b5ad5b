/* SPDX-License-Identifier: Apache-2.0
 *
 * A page: everything that is shown of a consumer at one time. The exporter makes one each tick and hands it over
 * (pages.h); from then on nobody writes to it, but for `bodies`: a form is rendered when somebody asks for it first,
 * and kept for the next (invariant 2).
 *
 * Invariants:
 * 1. What a page points to lives as long as the page; `build` as long as the process.
 * 2. A body is set once, from NULL, and is the same whoever made it: it depends on the page alone.
 */
#ifndef WF_PAGE_H
#define WF_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "process.h"
#include "weft/metrics.h"

typedef enum wf_form {
    WF_FORM_TEXT = 0,    /* Prometheus text 0.0.4 */
    WF_FORM_OPENMETRICS, /* OpenMetrics text 1.0.0 */
    WF_FORM_STATUS,      /* JSON */
    WF_FORM_HTML,
    WF_FORM_COUNT
} wf_form;

/* Versions as they run, plain texts. */
typedef struct wf_build {
    const char *version;
    const char *compiler;
    const char *librdkafka;
    const char *libzmq;
    const char *civetweb;
} wf_build;

/* From the options; the texts live as long as those. */
typedef struct wf_limits {
    const char *group;
    const char *ordering;
    const char *engine;
    uint64_t queue_max_records;
    uint64_t queue_max_bytes;
    uint64_t in_flight_max_records;
    uint64_t in_flight_max_bytes;
    uint64_t pending_max_records;
    uint64_t metadata_max_bytes;
    uint64_t max_series;
} wf_limits;

typedef struct wf_body {
    size_t count;
    char bytes[];
} wf_body;

/* CPU time of a loop. */
typedef struct wf_loop_time {
    char name[16]; /* cut short */
    uint64_t cpu_ns;
} wf_loop_time;

enum { WF_PAGE_LOOPS_MAX = 8 };

typedef struct wf_page {
    weft_metrics *metrics; /* malloc'ed */
    wf_process_metrics process;
    wf_loop_time loops[WF_PAGE_LOOPS_MAX];
    uint32_t loop_count;
    wf_limits limits;
    wf_build build;
    uint64_t requests[6]; /* HTTP answers so far, by the first digit of their status */
    uint64_t made_ns;     /* monotonic */
    int64_t made_wall_ms;
    size_t partitions_shown;                     /* of the metrics' partitions, the first ones */
    size_t topics_shown;                         /* of its topics, the first ones */
    size_t queues_shown;                         /* all of its queues, or none */
    uint64_t left_out;                           /* series */
    _Atomic(wf_body *) bodies[WF_FORM_COUNT][2]; /* as it is, compressed */
} wf_page;

/* Takes the metrics over. The rest of the page is zero and to be filled, limits before wf_exposition_fit(). NULL: no
 * memory, and the metrics are freed. */
wf_page *wf_page_new(weft_metrics *metrics);
void wf_page_free(wf_page *page);

/* The page in a form. Thread: any. NULL: no memory. Compressed is gzip. */
const wf_body *wf_page_body(wf_page *page, wf_form form, bool compressed);

#endif
