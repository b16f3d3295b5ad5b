/* SPDX-License-Identifier: Apache-2.0
 *
 * /: the page for somebody who was woken up. What is wrong stands first and is marked, in words too.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "status_page.h"
#include "utf8.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>weft</title>\n<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:82em;padding:0 1em;color:#1c2430;"
    "background:#fff}\n"
    "h1{font-size:1.3em;margin:0}h2{font-size:1.05em;margin:1.6em 0 .4em}\n"
    "p{margin:.3em 0}small,th{color:#566}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #dde3ea;font-variant-numeric:tabular-nums}\n"
    "th{font-weight:600;white-space:nowrap}td.t,th.t{text-align:left}\n"
    "td.e{white-space:normal;overflow-wrap:anywhere}\n"
    ".bad{background:#fde7e4}.ok,.no{display:inline-block;padding:.1em .6em;border-radius:.3em;font-weight:600}\n"
    ".ok{background:#dff3e3}.no{background:#fbd5cf}\n"
    "div.w{overflow-x:auto}\n"
    "@media(prefers-color-scheme:dark){body{background:#14181d;color:#dde3ea}small,th{color:#9ab}"
    "td,th{border-color:#303841}.bad{background:#4a221e}.ok{background:#1e4428}.no{background:#6a2a22}a{color:#8bf}}\n"
    "</style></head><body>\n";

static void put_text(wf_buffer *buffer, const char *text) {
    size_t bytes = strlen(text);
    for (size_t i = 0, length; i < bytes; i += length ? length : 1) {
        length = wf_utf8_length(text + i, bytes - i);
        if (length == 0)
            wf_buffer_puts(buffer, WF_UTF8_REPLACEMENT);
        else if (strchr("<>&\"'", text[i]))
            wf_buffer_printf(buffer, "&#%d;", text[i]);
        else
            wf_buffer_put(buffer, text + i, length);
    }
}

static void put_text_cell(wf_buffer *buffer, const char *class, const char *text) {
    wf_buffer_printf(buffer, "<td class=\"%s\">", class);
    put_text(buffer, text);
    wf_buffer_puts(buffer, "</td>");
}

static void put_cell(wf_buffer *buffer, uint64_t number) {
    wf_buffer_printf(buffer, "<td>%" PRIu64 "</td>", number);
}

static void put_offset(wf_buffer *buffer, int64_t number) {
    if (number < 0)
        wf_buffer_puts(buffer, "<td>-</td>");
    else
        wf_buffer_printf(buffer, "<td>%" PRId64 "</td>", number);
}

static void put_badge(wf_buffer *buffer, bool good, const char *yes, const char *no) {
    wf_buffer_printf(buffer, "<span class=\"%s\">%s</span> ", good ? "ok" : "no", good ? yes : no);
}

static void put_head(wf_buffer *buffer, const wf_page *page) {
    const weft_system_metrics *system = &page->metrics->system;
    time_t seconds = (time_t)(page->made_wall_ms / 1000);
    struct tm parts;
    char when[40] = "";
    if (gmtime_r(&seconds, &parts)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &parts);
    wf_buffer_puts(buffer, head);
    wf_buffer_puts(buffer, "<h1>weft: group ");
    put_text(buffer, page->limits.group);
    wf_buffer_puts(buffer, "</h1>\n<p>");
    put_badge(buffer, system->is_connected, "brokers answer", "no broker answers");
    put_badge(buffer, system->is_member, "member of the group", "not a member of the group");
    put_badge(buffer, system->workers > 0, "workers present", "no workers");
    put_badge(buffer, !system->is_paused, "reading", "not reading: queue full");
    wf_buffer_printf(buffer,
                     "</p>\n<p><small>as of %s, refreshed every 5 s &middot; <a href=\"/metrics\">/metrics</a> "
                     "<a href=\"/status\">/status</a> ",
                     when);
    wf_buffer_puts(buffer, "<a href=\"/healthz\">/healthz</a> <a href=\"/readyz\">/readyz</a></small></p>\n");
}

/* Stuck: older than a minute, or failing. */
static bool is_bad(const weft_partition_metrics *partition) {
    return partition->blocking_duration_seconds > 60 || partition->blocking_attempt > 1;
}

static void put_partition(wf_buffer *buffer, const weft_partition_metrics *partition) {
    bool known = partition->log_end >= 0 && partition->frontier >= 0;
    wf_buffer_puts(buffer, is_bad(partition) ? "<tr class=\"bad\">" : "<tr>");
    put_text_cell(buffer, "t", partition->topic);
    wf_buffer_printf(buffer, "<td>%d</td>", partition->partition);
    put_offset(buffer, partition->frontier);
    put_offset(buffer, partition->log_end);
    put_offset(buffer, known ? partition->true_lag : -1);
    put_cell(buffer, partition->gap_count);
    put_offset(buffer, partition->blocking_offset);
    if (partition->blocking_offset < 0)
        wf_buffer_puts(buffer, "<td>-</td><td>-</td><td>-</td>");
    else
        wf_buffer_printf(buffer, "<td>%.1f s</td><td>%u</td><td>%016" PRIx64 "</td>",
                         partition->blocking_duration_seconds, partition->blocking_attempt,
                         partition->blocking_key_hash);
    put_cell(buffer, partition->queued);
    put_cell(buffer, partition->in_flight);
    put_cell(buffer, partition->succeeded);
    put_cell(buffer, partition->failed);
    put_cell(buffer, partition->retried);
    put_text_cell(buffer, "t", partition->paused ? "paused" : partition->held ? "held" : "");
    put_text_cell(buffer, "t e", partition->last_error);
    wf_buffer_puts(buffer, "</tr>\n");
}

static void put_partitions(wf_buffer *buffer, const weft_metrics *metrics) {
    wf_buffer_puts(buffer,
                   "<h2>Partitions</h2>\n<div class=\"w\"><table><tr><th class=\"t\">topic</th><th>partition</th>"
                   "<th>frontier</th><th>log end</th><th>lag</th><th>gaps</th><th>blocking</th><th>its age</th>"
                   "<th>attempt</th><th>key hash</th><th>queued</th><th>in flight</th><th>succeeded</th>"
                   "<th>failed</th><th>retried</th><th class=\"t\"></th><th class=\"t\">last error</th></tr>\n");
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (is_bad(&metrics->partitions[i])) put_partition(buffer, &metrics->partitions[i]);
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (!is_bad(&metrics->partitions[i])) put_partition(buffer, &metrics->partitions[i]);
    wf_buffer_puts(buffer, "</table></div>\n");
    if (metrics->partition_count == 0) wf_buffer_puts(buffer, "<p>None is assigned.</p>\n");
}

static void put_row(wf_buffer *buffer, const char *name, uint64_t value, uint64_t limit) {
    wf_buffer_printf(buffer, "<tr><td class=\"t\">%s</td><td>%" PRIu64 "</td>", name, value);
    if (limit)
        wf_buffer_printf(buffer, "<td>%" PRIu64 "</td></tr>\n", limit);
    else
        wf_buffer_puts(buffer, "<td></td></tr>\n");
}

static void put_system(wf_buffer *buffer, const wf_page *page) {
    const weft_system_metrics *system = &page->metrics->system;
    const wf_limits *limits = &page->limits;
    wf_buffer_puts(buffer, "<h2>Queues, workers, memory</h2>\n<div class=\"w\"><table><tr><th class=\"t\"></th>"
                           "<th>now</th><th>limit</th></tr>\n");
    put_row(buffer, "records in lanes", system->total_queued, limits->queue_max_records);
    put_row(buffer, "records at the engine", system->total_in_flight, limits->in_flight_max_records);
    put_row(buffer, "of those deferred", system->total_pending, limits->pending_max_records);
    put_row(buffer, "workers with work", system->workers_busy, system->workers);
    put_row(buffer, "bytes of records in hand", system->held_bytes, limits->queue_max_bytes);
    put_row(buffer, "bytes that the pool has", system->reserved_bytes, 0);
    put_row(buffer, "records in librdkafka", system->librdkafka_records, 0);
    put_row(buffer, "records read", system->fetched, 0);
    put_row(buffer, "commits", system->commits, 0);
    put_row(buffer, "commits that failed", system->commit_failures, 0);
    put_row(buffer, "rebalances", system->assignments, 0);
    wf_buffer_puts(buffer, "</table></div>\n<p><small>engine ");
    put_text(buffer, limits->engine);
    wf_buffer_puts(buffer, ", ordering ");
    put_text(buffer, limits->ordering);
    wf_buffer_printf(buffer, " &middot; weft %s, librdkafka %s, ", page->build.version, page->build.librdkafka);
    wf_buffer_printf(buffer, "libzmq %s, CivetWeb %s, ", page->build.libzmq, page->build.civetweb);
    put_text(buffer, page->build.compiler);
    wf_buffer_puts(buffer, "</small></p>\n</body></html>\n");
}

void wf_status_render_html(const wf_page *page, wf_buffer *buffer) {
    put_head(buffer, page);
    put_partitions(buffer, page->metrics);
    put_system(buffer, page);
}
