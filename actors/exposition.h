/* SPDX-License-Identifier: Apache-2.0
 *
 * The exposition: a page as Prometheus text 0.0.4 or OpenMetrics text 1.0.0, all from proto/metrics.def. Pure: bytes
 * depend on the page alone.
 *
 * Invariants:
 * 1. A family is declared once, before its samples, and they stand together; no two samples have the same name and
 *    labels.
 * 2. The count of a histogram is the sum of its buckets.
 */
#ifndef WF_EXPOSITION_H
#define WF_EXPOSITION_H

#include "buffer.h"
#include "page.h"

typedef enum wf_metric_type { WF_METRIC_COUNTER = 0, WF_METRIC_GAUGE, WF_METRIC_HISTOGRAM } wf_metric_type;

typedef enum wf_metric_scope {
    WF_METRIC_SYSTEM = 0,
    WF_METRIC_TOPIC,
    WF_METRIC_PARTITION,
    WF_METRIC_QUEUE,
    WF_METRIC_BUILD,
    WF_METRIC_LOOP,
} wf_metric_scope;

typedef struct wf_metric_info {
    const char *name;
    wf_metric_type type;
    wf_metric_scope scope;
    const char *unit;
    const char *label;
    const char *help;
    const char *advice;
} wf_metric_info;

extern const wf_metric_info wf_metrics[];
extern const size_t wf_metric_count;

/* Decide which partitions are on the page, so that it has at most limits.max_series series: sets partitions_shown and
 * left_out. */
void wf_exposition_fit(wf_page *page);

void wf_exposition_render(const wf_page *page, bool openmetrics, wf_buffer *buffer);

/* The value of a label in quotes: escaped, and what is not UTF-8 replaced. */
void wf_exposition_label(wf_buffer *buffer, const char *value);

#endif
