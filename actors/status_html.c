/* SPDX-License-Identifier: Apache-2.0
 *
 * /: the page for somebody who was woken up. What is wrong stands first and is marked, in words too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "status_page.h"
#include "utf8.h"

/* Rows of the largest table; a browser at night must not choke on ten thousand partitions. */
enum { ROWS_MAX = 500, NAMED_MAX = 3 };

/* From this age on a record that blocks its partition is worth a look. */
static const double old_seconds = 60;

/* No closing tags: HTML needs none, and who answers may write a line behind the page (route.c). */
static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\n<title>";
static const char style[] =
    "</title>\n<style>\n"
    ":root{--bg:#fff;--fg:#1c2430;--dim:#5a6675;--line:#dde3ea;--bad:#fdecea;--badline:#c0392b;--ok:#e3f4e7;"
    "--okline:#2e8b4a;--note:#fff6dc;--noteline:#c08a00;--link:#0b57b0}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#dde3ea;--dim:#98a4b3;--line:#2d353e;--bad:#3d1f1c;"
    "--badline:#e5675a;--ok:#16301e;--okline:#4fae6c;--note:#352b10;--noteline:#d9a520;--link:#8bbcff}}\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:1.2em auto;max-width:76em;padding:0 1em;color:var(--fg);"
    "background:var(--bg)}\n"
    "h1{font-size:1.35em;margin:0}h2{font-size:1.05em;margin:1.6em 0 .4em}p{margin:.35em 0}a{color:var(--link)}\n"
    "small,th,.d{color:var(--dim)}\n"
    "ul.v{list-style:none;margin:.8em 0;padding:0}.v li,.stale{margin:.3em 0;padding:.45em .8em;"
    "border-left:.35em solid;border-radius:.25em;overflow-wrap:anywhere}\n"
    ".no,.stale{background:var(--bad);border-color:var(--badline)!important}.ok{background:var(--ok);"
    "border-color:var(--okline)!important}.so{background:var(--note);border-color:var(--noteline)!important}\n"
    ".stale{position:fixed;top:0;left:0;right:0;margin:0;font-weight:700}\n"
    "dl{display:flex;flex-wrap:wrap;gap:.4em 2em;margin:1em 0}dl div{min-width:5em}dt{color:var(--dim);font-size:.85em}"
    "dd{margin:0;font-size:1.25em;font-variant-numeric:tabular-nums}dd small{font-size:.65em}\n"
    "table{border-collapse:collapse;width:100%}div.w{overflow-x:auto}\n"
    "td,th{padding:.25em .6em;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line);"
    "font-variant-numeric:tabular-nums}th{font-weight:600;font-size:.85em}\n"
    "td.t,th.t{text-align:left}td.e{text-align:left;white-space:normal;overflow-wrap:anywhere;padding-left:1.6em}\n"
    "tr.m td{border-bottom:0}tr.bad td{background:var(--bad)}\n"
    "@media(max-width:48em){body{font-size:14px}.x{display:none}td,th{padding:.25em .4em}th{white-space:normal}}\n"
    "@media(max-width:30em){.y{display:none}}\n"
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

/* In groups of three, with narrow spaces. */
static void put_count(wf_buffer *buffer, uint64_t number) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) wf_buffer_puts(buffer, "&#8239;");
        wf_buffer_put(buffer, &digits[i], 1);
    }
}

static void put_count_cell(wf_buffer *buffer, const char *class, uint64_t number) {
    wf_buffer_printf(buffer, "<td class=\"%s\">", class);
    put_count(buffer, number);
    wf_buffer_puts(buffer, "</td>");
}

/* Whole, to be copied. */
static void put_offset_cell(wf_buffer *buffer, const char *class, int64_t number) {
    if (number < 0)
        wf_buffer_printf(buffer, "<td class=\"%s\">-</td>", class);
    else
        wf_buffer_printf(buffer, "<td class=\"%s\">%" PRId64 "</td>", class, number);
}

static void put_duration(wf_buffer *buffer, double seconds) {
    uint64_t whole = (uint64_t)seconds;
    if (whole < 60)
        wf_buffer_printf(buffer, "%.1f s", seconds);
    else if (whole < 3600)
        wf_buffer_printf(buffer, "%" PRIu64 " min %02" PRIu64 " s", whole / 60, whole % 60);
    else
        wf_buffer_printf(buffer, "%" PRIu64 " h %02" PRIu64 " min", whole / 3600, whole % 3600 / 60);
}

static uint64_t share_percent(uint64_t part, uint64_t whole) {
    return whole ? part * 100 / whole : 0;
}

/* --- what is wrong, in words */

/* A record blocks it that is old, or failed before. */
static bool is_bad(const weft_partition_metrics *partition) {
    return partition->blocking_duration_seconds > old_seconds || partition->blocking_attempt > 1;
}

static void put_line(wf_buffer *buffer, const char *class, const char *text) {
    wf_buffer_printf(buffer, "<li class=\"%s\">", class);
    wf_buffer_puts(buffer, text);
    wf_buffer_puts(buffer, "</li>\n");
}

static unsigned put_system_verdict(wf_buffer *buffer, const weft_system_metrics *system) {
    unsigned lines = 0;
    if (!system->is_connected) lines++, put_line(buffer, "no", "No broker can be reached.");
    if (!system->is_member)
        lines++, put_line(buffer, "no",
                          "Not a member of the group: it waits for an assignment, or lost the one it had. The log says "
                          "which.");
    if (system->workers == 0) lines++, put_line(buffer, "no", "There is no worker: nothing runs.");
    uint32_t ready = system->pool.by_state[WEFT_WORKER_READY];
    if (system->workers > 0 && system->pool.is_used && ready < system->pool.wanted) {
        lines++;
        wf_buffer_printf(buffer, "<li class=\"no\">%u of %u wanted worker processes are ready.", ready,
                         system->pool.wanted);
        if (system->pool.by_state[WEFT_WORKER_WAITING])
            wf_buffer_printf(buffer, " %u wait to be started again: they died soon after their start.",
                             system->pool.by_state[WEFT_WORKER_WAITING]);
        wf_buffer_puts(buffer, "</li>\n");
    }
    return lines;
}

static unsigned put_blocked(wf_buffer *buffer, const weft_metrics *metrics) {
    unsigned bad = 0;
    for (size_t i = 0; i < metrics->partition_count; i++) {
        const weft_partition_metrics *partition = &metrics->partitions[i];
        if (!is_bad(partition) || ++bad > NAMED_MAX) continue;
        wf_buffer_puts(buffer, "<li class=\"no\">");
        put_text(buffer, partition->topic);
        wf_buffer_printf(buffer, "/%d: offset %" PRId64 " has been unfinished for ", partition->partition,
                         partition->blocking_offset);
        put_duration(buffer, partition->blocking_duration_seconds);
        wf_buffer_printf(buffer, ", attempt %u.</li>\n", partition->blocking_attempt);
    }
    if (bad > NAMED_MAX)
        wf_buffer_printf(buffer,
                         "<li class=\"no\">%u more partitions are blocked like that; they stand first below.</li>\n",
                         bad - NAMED_MAX);
    return bad;
}

/* Not wrong, but what slows things down. */
static void put_notes(wf_buffer *buffer, const wf_page *page) {
    const weft_metrics *metrics = page->metrics;
    unsigned held = 0, paused = 0;
    if (metrics->system.is_paused)
        put_line(buffer, "so",
                 "Reading waits until records are finished: the queue is full. Handlers are slower than the "
                 "topic.");
    for (size_t i = 0; i < metrics->topic_count; i++) {
        const weft_topic_metrics *topic = &metrics->topics[i];
        uint64_t percent = share_percent(topic->metadata_bytes, page->limits.metadata_max_bytes);
        if (percent < 80) continue;
        wf_buffer_puts(buffer, "<li class=\"so\">");
        put_text(buffer, topic->topic);
        wf_buffer_printf(buffer,
                         ": the map of what is finished has %" PRIu64 " %% of its limit; at 100 %% nothing new "
                         "starts there until the blocking record is finished.</li>\n",
                         percent);
    }
    for (size_t i = 0; i < metrics->partition_count; i++) {
        held += metrics->partitions[i].held;
        paused += metrics->partitions[i].paused;
    }
    if (held)
        wf_buffer_printf(buffer,
                         "<li class=\"so\">%u partitions are held: their maps are full, or too much waits in "
                         "them behind failing records.</li>\n",
                         held);
    if (paused) wf_buffer_printf(buffer, "<li class=\"so\">%u partitions are paused by the program.</li>\n", paused);
}

/* --- the head */

static void put_fact(wf_buffer *buffer, const char *name, uint64_t number, uint64_t limit) {
    wf_buffer_printf(buffer, "<div><dt>%s</dt><dd>", name);
    put_count(buffer, number);
    if (limit) {
        wf_buffer_puts(buffer, " <small>of ");
        put_count(buffer, limit);
        wf_buffer_puts(buffer, "</small>");
    }
    wf_buffer_puts(buffer, "</dd></div>\n");
}

static void put_facts(wf_buffer *buffer, const wf_page *page) {
    const weft_metrics *metrics = page->metrics;
    uint64_t lag = 0;
    for (size_t i = 0; i < metrics->partition_count; i++) lag += (uint64_t)metrics->partitions[i].true_lag;
    wf_buffer_puts(buffer, "<dl>\n");
    put_fact(buffer, "lag", lag, 0);
    put_fact(buffer, "waiting in lanes", metrics->system.total_queued, page->limits.queue_max_records);
    put_fact(buffer, "at workers", metrics->system.total_in_flight, 0);
    put_fact(buffer, "workers busy", metrics->system.workers_busy, metrics->system.workers);
    put_fact(buffer, "partitions", metrics->partition_count, 0);
    wf_buffer_puts(buffer, "</dl>\n");
}

static void put_head(wf_buffer *buffer, const wf_page *page) {
    time_t seconds = (time_t)(page->made_wall_ms / 1000);
    struct tm parts;
    char when[40] = "";
    if (gmtime_r(&seconds, &parts)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &parts);
    wf_buffer_puts(buffer, head);
    put_text(buffer, page->limits.group);
    wf_buffer_puts(buffer, " - weft");
    wf_buffer_puts(buffer, style);
    wf_buffer_puts(buffer, "<h1>");
    put_text(buffer, page->limits.group);
    wf_buffer_puts(buffer, "</h1>\n");
    wf_buffer_printf(buffer, "<p><small>consumer group, as of %s, refreshed every 5 s &middot; ", when);
    wf_buffer_puts(buffer, "<a href=\"/status\">/status</a> <a href=\"/metrics\">/metrics</a> "
                           "<a href=\"/healthz\">/healthz</a> <a href=\"/readyz\">/readyz</a></small></p>\n");
    wf_buffer_puts(buffer, "<ul class=\"v\">\n");
    unsigned lines = put_system_verdict(buffer, &page->metrics->system);
    lines += put_blocked(buffer, page->metrics);
    if (lines == 0) put_line(buffer, "ok", "Nothing is wrong that can be seen from here.");
    put_notes(buffer, page);
    wf_buffer_puts(buffer, "</ul>\n");
    put_facts(buffer, page);
}

/* --- tables */

static const weft_worker_metrics *holder_of(const weft_metrics *metrics, const weft_partition_metrics *partition) {
    for (size_t i = 0; i < metrics->worker_count; i++)
        if (partition->blocking_worker >= 0 && metrics->workers[i].number == (uint32_t)partition->blocking_worker)
            return &metrics->workers[i];
    return NULL;
}

/* The row below: who is it that blocks, and what was said of it. */
static void put_detail(wf_buffer *buffer, const weft_metrics *metrics, const weft_partition_metrics *partition) {
    const weft_worker_metrics *holder = holder_of(metrics, partition);
    wf_buffer_puts(buffer, is_bad(partition) ? "<tr class=\"bad\">" : "<tr>");
    wf_buffer_puts(buffer, "<td class=\"e\" colspan=\"13\">");
    if (partition->blocking_offset >= 0) {
        wf_buffer_printf(buffer, "<span class=\"d\">key hash</span> %016" PRIx64, partition->blocking_key_hash);
        if (holder) {
            wf_buffer_puts(buffer, " <span class=\"d\">at worker</span> ");
            put_text(buffer, holder->name);
            if (holder->pid) wf_buffer_printf(buffer, " <span class=\"d\">pid</span> %d", (int)holder->pid);
        } else if (partition->blocking_worker >= 0) {
            wf_buffer_printf(buffer, " <span class=\"d\">at worker</span> %d", (int)partition->blocking_worker);
        }
    }
    if (*partition->last_error) {
        wf_buffer_puts(buffer, " <span class=\"d\">last error:</span> ");
        put_text(buffer, partition->last_error);
    }
    wf_buffer_puts(buffer, "</td></tr>\n");
}

static void put_partition(wf_buffer *buffer, const weft_metrics *metrics, const weft_partition_metrics *partition) {
    bool known = partition->log_end >= 0 && partition->frontier >= 0;
    bool detailed = is_bad(partition) || *partition->last_error;
    wf_buffer_printf(buffer, "<tr class=\"%s %s\"><td class=\"t\">", is_bad(partition) ? "bad" : "",
                     detailed ? "m" : "");
    put_text(buffer, partition->topic);
    wf_buffer_printf(buffer, "/%d</td>", partition->partition);
    if (known)
        put_count_cell(buffer, "", (uint64_t)partition->true_lag);
    else
        put_offset_cell(buffer, "", -1);
    put_offset_cell(buffer, "", partition->blocking_offset);
    if (partition->blocking_offset < 0) {
        wf_buffer_puts(buffer, "<td>-</td><td>-</td>");
    } else {
        wf_buffer_puts(buffer, "<td>");
        put_duration(buffer, partition->blocking_duration_seconds);
        wf_buffer_printf(buffer, "</td><td>%u</td>", partition->blocking_attempt);
    }
    put_count_cell(buffer, "x", partition->gap_count);
    put_count_cell(buffer, "y", partition->queued);
    put_count_cell(buffer, "y", partition->in_flight);
    put_offset_cell(buffer, "x", partition->frontier);
    put_offset_cell(buffer, "x", partition->log_end);
    put_count_cell(buffer, "x", partition->succeeded);
    put_count_cell(buffer, "x", partition->failed);
    wf_buffer_printf(buffer, "<td class=\"t\">%s</td></tr>\n",
                     partition->paused ? "paused"
                     : partition->held ? "held"
                                       : "");
    if (detailed) put_detail(buffer, metrics, partition);
}

static void put_partitions(wf_buffer *buffer, const weft_metrics *metrics) {
    size_t rows = 0;
    wf_buffer_puts(
        buffer,
        "<h2>Partitions</h2>\n<div class=\"w\"><table><tr><th class=\"t\">partition</th><th>lag</th>"
        "<th>blocking offset</th><th>its age</th><th>attempt</th><th class=\"x\">gaps</th><th class=\"y\">waiting</th>"
        "<th class=\"y\">running</th><th class=\"x\">frontier</th><th class=\"x\">log end</th><th class=\"x\">done</th>"
        "<th class=\"x\">given up</th><th class=\"t\"></th></tr>\n");
    for (int bad = 1; bad >= 0; bad--)
        for (size_t i = 0; i < metrics->partition_count && rows < ROWS_MAX; i++)
            if (is_bad(&metrics->partitions[i]) == bad) rows++, put_partition(buffer, metrics, &metrics->partitions[i]);
    wf_buffer_puts(buffer, "</table></div>\n");
    if (metrics->partition_count == 0) wf_buffer_puts(buffer, "<p>None is assigned.</p>\n");
    if (rows < metrics->partition_count)
        wf_buffer_printf(buffer, "<p>And %zu more: <a href=\"/status\">/status</a> has all.</p>\n",
                         metrics->partition_count - rows);
}

static void put_topic(wf_buffer *buffer, const wf_page *page, const weft_topic_metrics *topic) {
    const weft_metrics *metrics = page->metrics;
    uint64_t lag = 0, deepest = 0;
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (strcmp(metrics->partitions[i].topic, topic->topic) == 0) lag += (uint64_t)metrics->partitions[i].true_lag;
    for (size_t i = 0; i < metrics->queue_count; i++)
        if (strcmp(metrics->queues[i].topic, topic->topic) == 0 && metrics->queues[i].queued > deepest)
            deepest = metrics->queues[i].queued;
    wf_buffer_puts(buffer, "<tr>");
    put_text_cell(buffer, "t", topic->topic);
    put_count_cell(buffer, "", topic->assigned);
    put_count_cell(buffer, "", lag);
    put_count_cell(buffer, "", topic->queued);
    wf_buffer_printf(buffer, "<td>%" PRIu64 " %%</td>", share_percent(deepest, topic->queued));
    put_count_cell(buffer, "", topic->in_flight);
    wf_buffer_printf(buffer, "<td>%" PRIu64 " %%</td><td class=\"t\">%s</td></tr>\n",
                     share_percent(topic->metadata_bytes, page->limits.metadata_max_bytes),
                     topic->is_paused ? "reading held back" : "");
}

static void put_topics(wf_buffer *buffer, const wf_page *page) {
    wf_buffer_puts(buffer, "<h2>Topics</h2>\n<div class=\"w\"><table><tr><th class=\"t\">topic</th><th>partitions</th>"
                           "<th>lag</th><th>waiting</th><th>of it in one queue</th><th>running</th>"
                           "<th>map of its limit</th><th class=\"t\"></th></tr>\n");
    for (size_t i = 0; i < page->metrics->topic_count && i < ROWS_MAX; i++)
        put_topic(buffer, page, &page->metrics->topics[i]);
    wf_buffer_puts(buffer, "</table></div>\n");
}

static void put_workers(wf_buffer *buffer, const weft_metrics *metrics) {
    if (!metrics->system.pool.is_used) return;
    wf_buffer_puts(buffer,
                   "<h2>Worker processes</h2>\n<div class=\"w\"><table><tr><th>number</th><th class=\"t\">name"
                   "</th><th class=\"t\">state</th><th>pid</th><th>records</th><th>starts</th><th>age</th></tr>\n");
    for (size_t i = 0; i < metrics->worker_count && i < ROWS_MAX; i++) {
        const weft_worker_metrics *worker = &metrics->workers[i];
        wf_buffer_printf(buffer, "<tr class=\"%s\"><td>%u</td>", worker->state == WEFT_WORKER_WAITING ? "bad" : "",
                         worker->number);
        put_text_cell(buffer, "t", worker->name);
        put_text_cell(buffer, "t", wf_status_worker_state(worker->state));
        put_offset_cell(buffer, "", worker->pid ? worker->pid : -1);
        put_count_cell(buffer, "", worker->records_held);
        put_count_cell(buffer, "", worker->starts);
        wf_buffer_puts(buffer, "<td>");
        put_duration(buffer, worker->age_seconds);
        wf_buffer_puts(buffer, "</td></tr>\n");
    }
    wf_buffer_puts(buffer, "</table></div>\n");
}

static void put_row(wf_buffer *buffer, const char *name, uint64_t value, uint64_t limit) {
    wf_buffer_printf(buffer, "<tr><td class=\"t\">%s</td>", name);
    put_count_cell(buffer, "", value);
    if (limit)
        put_count_cell(buffer, "", limit);
    else
        wf_buffer_puts(buffer, "<td></td>");
    wf_buffer_puts(buffer, "</tr>\n");
}

static void put_system(wf_buffer *buffer, const wf_page *page) {
    const weft_system_metrics *system = &page->metrics->system;
    const wf_limits *limits = &page->limits;
    wf_buffer_puts(buffer, "<h2>Queues, commits, memory</h2>\n<div class=\"w\"><table><tr><th class=\"t\"></th>"
                           "<th>now</th><th>limit</th></tr>\n");
    put_row(buffer, "records in lanes", system->total_queued, limits->queue_max_records);
    put_row(buffer, "records at the engine", system->total_in_flight, limits->in_flight_max_records);
    put_row(buffer, "of those deferred", system->total_pending, limits->pending_max_records);
    put_row(buffer, "bytes at the engine", system->in_flight_bytes, limits->in_flight_max_bytes);
    put_row(buffer, "bytes of records in hand", system->held_bytes, limits->queue_max_bytes);
    put_row(buffer, "bytes that the pool has", system->reserved_bytes, 0);
    if (page->process.resident_bytes > 0)
        put_row(buffer, "bytes of this process", (uint64_t)page->process.resident_bytes, 0);
    put_row(buffer, "records in librdkafka", system->librdkafka_records, 0);
    put_row(buffer, "records read", system->fetched, 0);
    put_row(buffer, "commits", system->commits, 0);
    put_row(buffer, "commits that failed", system->commit_failures, 0);
    put_row(buffer, "rebalances", system->assignments, 0);
    put_row(buffer, "memberships lost", system->lost, 0);
    put_row(buffer, "errors of Kafka", system->kafka_errors, 0);
    wf_buffer_puts(buffer, "</table></div>\n<p><small>engine ");
    put_text(buffer, limits->engine);
    wf_buffer_puts(buffer, ", ordering ");
    put_text(buffer, limits->ordering);
    wf_buffer_printf(buffer, " &middot; weft %s, librdkafka %s, ", page->build.version, page->build.librdkafka);
    wf_buffer_printf(buffer, "libzmq %s, CivetWeb %s, ", page->build.libzmq, page->build.civetweb);
    put_text(buffer, page->build.compiler);
    wf_buffer_puts(buffer, "</small></p>\n");
}

void wf_status_render_html(const wf_page *page, wf_buffer *buffer) {
    put_head(buffer, page);
    put_partitions(buffer, page->metrics);
    put_topics(buffer, page);
    put_workers(buffer, page->metrics);
    put_system(buffer, page);
}
