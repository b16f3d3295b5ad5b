/* SPDX-License-Identifier: Apache-2.0 */
#include "exposition.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "histogram.h"
#include "utf8.h"

enum {
#define FAMILY(id, name, type, scope, unit, label, help, advice) FAMILY_##id,
#include "metrics.def"
    FAMILIES
};

const wf_metric_info wf_metrics[] = {
#define FAMILY(id, name, type, scope, unit, label, help, advice)                                                       \
    {name, WF_METRIC_##type, WF_METRIC_##scope, unit, label, help, advice},
#include "metrics.def"
};
const size_t wf_metric_count = FAMILIES;

typedef struct sample_row {
    int family;
    const char *label;
} sample_row;

/* One enumerator per sample and per histogram, in the order of the table. */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
static const sample_row samples[] = {
#define SAMPLE(id, value, expression) {FAMILY_##id, value},
#define TIMES(id, expression) {FAMILY_##id, ""},
#include "metrics.def"
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

/* What a sample is of: those that its scope has not are NULL. */
typedef struct subject {
    const wf_page *page;
    const weft_topic_metrics *topic;
    const weft_partition_metrics *partition;
    const weft_queue_metrics *queue;
    const wf_loop_time *loop;
} subject;

typedef struct reading {
    double number;
    const weft_histogram *times; /* NULL: a number */
} reading;

static double of_pool(const weft_system_metrics *system, uint64_t number) {
    return system->pool.is_used ? (double)number : NAN;
}

/* One function per sample, made of its expression. */
typedef reading (*reader)(const subject *of);
#define UNPACK(of)                                                                                                     \
    const wf_page *page = (of)->page;                                                                                  \
    const weft_system_metrics *system = &page->metrics->system;                                                        \
    const weft_topic_metrics *topic = (of)->topic;                                                                     \
    const weft_partition_metrics *partition = (of)->partition;                                                         \
    const weft_queue_metrics *queue = (of)->queue;                                                                     \
    const wf_loop_time *loop = (of)->loop;                                                                             \
    (void)system, (void)topic, (void)partition, (void)queue, (void)loop
#define SAMPLE(id, value, expression)                                                                                  \
    static reading JOIN(read_##id##_, __LINE__)(const subject *of) {                                                   \
        UNPACK(of);                                                                                                    \
        return (reading){.number = (expression)};                                                                      \
    }
#define TIMES(id, expression)                                                                                          \
    static reading JOIN(read_##id##_, __LINE__)(const subject *of) {                                                   \
        UNPACK(of);                                                                                                    \
        return (reading){.times = (expression)};                                                                       \
    }
#include "metrics.def"
static const reader readers[] = {
#define SAMPLE(id, value, expression) JOIN(read_##id##_, __LINE__),
#define TIMES(id, expression) JOIN(read_##id##_, __LINE__),
#include "metrics.def"
};

/* --- text */

void wf_exposition_label(wf_buffer *buffer, const char *value) {
    size_t bytes = strlen(value);
    wf_buffer_puts(buffer, "\"");
    for (size_t i = 0, length; i < bytes; i += length) {
        length = wf_utf8_length(value + i, bytes - i);
        if (length == 0) {
            wf_buffer_puts(buffer, WF_UTF8_REPLACEMENT);
            length = 1;
        } else if (value[i] == '\n') {
            wf_buffer_puts(buffer, "\\n");
        } else {
            if (value[i] == '"' || value[i] == '\\') wf_buffer_puts(buffer, "\\");
            wf_buffer_put(buffer, value + i, length);
        }
    }
    wf_buffer_puts(buffer, "\"");
}

static void put_help(wf_buffer *buffer, const char *text, bool openmetrics) {
    for (; *text; text++) {
        if (*text == '\\' || (openmetrics && *text == '"')) wf_buffer_puts(buffer, "\\");
        wf_buffer_put(buffer, text, 1);
    }
}

/* Without _total, where OpenMetrics declares a counter. */
static size_t family_bytes(const wf_metric_info *info, bool openmetrics) {
    return strlen(info->name) - (openmetrics && info->type == WF_METRIC_COUNTER ? strlen("_total") : 0);
}

static void declare(wf_buffer *buffer, const wf_metric_info *info, bool openmetrics) {
    static const char *const types[] = {" counter\n", " gauge\n", " histogram\n"};
    size_t bytes = family_bytes(info, openmetrics);
    wf_buffer_puts(buffer, "# HELP ");
    wf_buffer_put(buffer, info->name, bytes);
    wf_buffer_puts(buffer, " ");
    put_help(buffer, info->help, openmetrics);
    wf_buffer_puts(buffer, "\n# TYPE ");
    wf_buffer_put(buffer, info->name, bytes);
    wf_buffer_puts(buffer, types[info->type]);
    if (!openmetrics || !*info->unit) return;
    wf_buffer_puts(buffer, "# UNIT ");
    wf_buffer_put(buffer, info->name, bytes);
    wf_buffer_puts(buffer, " ");
    wf_buffer_puts(buffer, info->unit);
    wf_buffer_puts(buffer, "\n");
}

static void put_label(wf_buffer *buffer, char *separator, const char *name, const char *value) {
    wf_buffer_put(buffer, separator, 1);
    wf_buffer_puts(buffer, name);
    wf_buffer_puts(buffer, "=");
    wf_exposition_label(buffer, value);
    *separator = ',';
}

static void put_number_label(wf_buffer *buffer, char *separator, const char *name, long long value) {
    wf_buffer_put(buffer, separator, 1);
    wf_buffer_printf(buffer, "%s=\"%lld\"", name, value);
    *separator = ',';
}

static void put_build_labels(wf_buffer *buffer, char *separator, const wf_build *build) {
    put_label(buffer, separator, "version", build->version);
    put_label(buffer, separator, "compiler", build->compiler);
    put_label(buffer, separator, "librdkafka", build->librdkafka);
    put_label(buffer, separator, "libzmq", build->libzmq);
    put_label(buffer, separator, "civetweb", build->civetweb);
}

/* Labels and value; `le`: of a bucket, NULL: none. */
static void put_sample(wf_buffer *buffer, const char *name, const char *suffix, const sample_row *row,
                       const subject *of, const char *le, double value) {
    const wf_metric_info *info = &wf_metrics[row->family];
    char separator = '{';
    wf_buffer_puts(buffer, name);
    wf_buffer_puts(buffer, suffix);
    if (of->topic) put_label(buffer, &separator, "topic", of->topic->topic);
    if (of->partition) {
        put_label(buffer, &separator, "topic", of->partition->topic);
        put_number_label(buffer, &separator, "partition", of->partition->partition);
    }
    if (of->queue) {
        put_label(buffer, &separator, "topic", of->queue->topic);
        put_number_label(buffer, &separator, "virtual_partition", of->queue->virtual_partition);
    }
    if (of->loop) put_label(buffer, &separator, "loop", of->loop->name);
    if (info->scope == WF_METRIC_BUILD) put_build_labels(buffer, &separator, &of->page->build);
    if (*info->label) put_label(buffer, &separator, info->label, row->label);
    if (le) put_label(buffer, &separator, "le", le);
    wf_buffer_puts(buffer, separator == '{' ? " " : "} ");
    wf_buffer_number(buffer, value);
    wf_buffer_puts(buffer, "\n");
}

/* The text of a bound never changes: it is part of the name of a series. */
static const char *bound_text(unsigned bucket) {
    static const char *const texts[WEFT_HISTOGRAM_BUCKETS] = {"0.0005", "0.001", "0.0025", "0.005", "0.01",
                                                              "0.025",  "0.05",  "0.1",    "0.25",  "0.5",
                                                              "1.0",    "2.5",   "10.0",   "60.0",  "+Inf"};
    return texts[bucket];
}

static void put_times(wf_buffer *buffer, const sample_row *row, const subject *of, const weft_histogram *times) {
    const char *name = wf_metrics[row->family].name;
    uint64_t count = 0;
    for (unsigned i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        count += times->buckets[i];
        put_sample(buffer, name, "_bucket", row, of, bound_text(i), (double)count);
    }
    put_sample(buffer, name, "_sum", row, of, NULL, (double)times->sum_ns / 1e9);
    put_sample(buffer, name, "_count", row, of, NULL, (double)count);
}

static void put_subject(wf_buffer *buffer, int first, int last, const subject *of) {
    for (int i = first; i < last; i++) {
        reading value = readers[i](of);
        if (value.times)
            put_times(buffer, &samples[i], of, value.times);
        else if (!isnan(value.number))
            put_sample(buffer, wf_metrics[samples[i].family].name, "", &samples[i], of, NULL, value.number);
    }
}

/* --- the page */

static void put_family(wf_buffer *buffer, const wf_page *page, int first, int last) {
    const weft_metrics *metrics = page->metrics;
    subject of = {.page = page};
    switch (wf_metrics[samples[first].family].scope) {
    case WF_METRIC_SYSTEM:
    case WF_METRIC_BUILD:
        put_subject(buffer, first, last, &of);
        break;
    case WF_METRIC_TOPIC:
        for (size_t i = 0; i < page->topics_shown; i++) {
            of.topic = &metrics->topics[i];
            put_subject(buffer, first, last, &of);
        }
        break;
    case WF_METRIC_PARTITION:
        for (size_t i = 0; i < page->partitions_shown; i++) {
            of.partition = &metrics->partitions[i];
            put_subject(buffer, first, last, &of);
        }
        break;
    case WF_METRIC_LOOP:
        for (size_t i = 0; i < page->loop_count; i++) {
            of.loop = &page->loops[i];
            put_subject(buffer, first, last, &of);
        }
        break;
    case WF_METRIC_QUEUE:
        for (size_t i = 0; i < page->queues_shown; i++) {
            of.queue = &metrics->queues[i];
            put_subject(buffer, first, last, &of);
        }
        break;
    }
}

void wf_exposition_render(const wf_page *page, bool openmetrics, wf_buffer *buffer) {
    for (int first = 0, last; first < SAMPLES; first = last) {
        last = first + 1;
        while (last < SAMPLES && samples[last].family == samples[first].family) last++;
        declare(buffer, &wf_metrics[samples[first].family], openmetrics);
        put_family(buffer, page, first, last);
    }
    if (openmetrics) wf_buffer_puts(buffer, "# EOF\n");
}

/* Series of one partition, topic, queue, and of the rest: at most, since unknown numbers are not shown. */
static uint64_t series_of(wf_metric_scope scope) {
    uint64_t count = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const wf_metric_info *info = &wf_metrics[samples[i].family];
        if (info->scope == scope) count += info->type == WF_METRIC_HISTOGRAM ? WEFT_HISTOGRAM_BUCKETS + 2 : 1;
    }
    return count;
}

static size_t fit(size_t count, uint64_t each, uint64_t *room) {
    size_t shown = count < *room / each ? count : (size_t)(*room / each);
    *room -= shown * each;
    return shown;
}

/* Topics first, which are few and sum up; then partitions, for their lag; then the depths of queues. */
void wf_exposition_fit(wf_page *page) {
    const weft_metrics *metrics = page->metrics;
    uint64_t topic = series_of(WF_METRIC_TOPIC), queue = series_of(WF_METRIC_QUEUE);
    uint64_t partition = series_of(WF_METRIC_PARTITION);
    uint64_t always =
        series_of(WF_METRIC_SYSTEM) + series_of(WF_METRIC_BUILD) + series_of(WF_METRIC_LOOP) * page->loop_count;
    uint64_t room = page->limits.max_series > always ? page->limits.max_series - always : 0;
    page->topics_shown = fit(metrics->topic_count, topic, &room);
    page->partitions_shown = fit(metrics->partition_count, partition, &room);
    page->queues_shown = metrics->queue_count * queue <= room ? metrics->queue_count : 0;
    page->left_out = (metrics->topic_count - page->topics_shown) * topic +
                     (metrics->queue_count - page->queues_shown) * queue +
                     (metrics->partition_count - page->partitions_shown) * partition;
}
