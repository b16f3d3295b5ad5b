/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-docgen: prints the pages of docs/ that are made from tables.
 *
 *   build/bin/weft-docgen configuration > docs/configuration.md
 *   build/bin/weft-docgen messages > docs/messages.md
 *   build/bin/weft-docgen metrics > docs/metrics.md
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "exposition.h"
#include "histogram.h"
#include "messages.h"

/* Text inside a table: a bar would end the cell. */
static void print_cell(const char *text) {
    for (; *text; text++) {
        if (*text == '|' || *text == '<') putchar('\\');
        putchar(*text);
    }
}

static void print_choices(const wf_option_info *info) {
    for (size_t i = 0; i < wf_option_choice_count; i++) {
        const wf_option_choice *choice = &wf_option_choices[i];
        if (choice->id != info->id) continue;
        printf("<br>`%s`: ", choice->text);
        print_cell(choice->help);
    }
}

static void print_allowed(const wf_option_info *info) {
    switch (info->type) {
    case WF_OPTION_STRING:
        printf("text");
        return;
    case WF_OPTION_LIST:
        printf("list");
        return;
    case WF_OPTION_INTEGER:
        printf("%" PRId64 " to %" PRId64 "%s%s", info->minimum, info->maximum, *info->unit ? " " : "", info->unit);
        return;
    case WF_OPTION_BOOLEAN:
        printf("`true`, `false`");
        return;
    case WF_OPTION_CHOICE:
        printf("choice");
        return;
    }
}

static void print_option(const wf_option_info *info) {
    printf("| `%s` | ", info->name);
    print_allowed(info);
    if (*info->default_text && !info->secret)
        printf(" | `%s`", info->default_text);
    else
        printf(" |");
    printf(" | %s | ", info->secret ? "yes" : "no");
    print_cell(info->help);
    print_choices(info);
    printf(" |\n");
}

static const char configuration_head[] =
    "# Configuration\n"
    "\n"
    "Made from `runtime/config.def` by `weft-docgen`; a test fails when this page and the table differ.\n"
    "\n"
    "What the program sets wins over the environment, the environment over files, files over the defaults, in whatever "
    "order\n"
    "they are read. Every mistake is reported, all at once, before anything starts; unknown names are mistakes.\n"
    "\n"
    "- **File**: lines `name = value`. Empty lines and lines that begin with `#` or `!` are skipped. A value reaches "
    "to the\n"
    "  end of its line, without the blanks around it; there are no quotes, escapes or continuation lines. At most 1 "
    "MiB.\n"
    "- **Environment**: `WEFT_QUEUE_MAX_RECORDS` is `queue.max.records`, `WEFT_KAFKA_SASL_USERNAME` is\n"
    "  `kafka.sasl.username`. Two underscores are an underscore: `WEFT_KAFKA_LOG__LEVEL` is `kafka.log_level`.\n"
    "  `WEFT_APP_...` is left to programs and `WEFT_TEST_...` to tests; any other unknown `WEFT_...` is a mistake.\n"
    "  `METRICS_ENABLED` and `METRICS_PORT` are names of `metrics.enabled` and `metrics.port`, too.\n"
    "- **Program**: `weft_config_set(config, \"threads\", \"16\")`.\n"
    "\n"
    "What is *secret* is shown as `****` in problems and in the dump, and nowhere else.\n"
    "\n"
    "| option | allowed | default | secret | what it is |\n"
    "| --- | --- | --- | --- | --- |\n";

static const char configuration_tail[] =
    "\n"
    "## Settings of librdkafka\n"
    "\n"
    "A name that begins with `kafka.` goes to librdkafka as it is: `kafka.security.protocol = sasl_ssl`. Refused are\n"
    "those that weft's promises rest on: automatic commits and offset stores, `enable.partition.eof`, callbacks, and "
    "what is\n"
    "an option of weft itself (`group.id`, `bootstrap.servers`, `client.id`, `auto.offset.reset`).\n"
    "\n"
    "Where nothing else is said, three of its values are not librdkafka's own: `socket.nagle.disable` is true,\n"
    "`queued.max.messages.kbytes` 32768 (half; with records of 1 KB a consumer has 85 MB and not 130), and\n"
    "`fetch.queue.backoff.ms`, from librdkafka 2.2 on, 10.\n"
    "\n"
    "Names and values are judged by the librdkafka that runs, together with everything else. For what it finds only\n"
    "in a client (settings that don't fit together, mechanisms, strategies, certificates) one is made for some\n"
    "milliseconds, which knows no broker; of that it tells the first mistake only. What comes through a pipe instead\n"
    "of a file is read, and judged, at the start.\n"
    "\n"
    "They have no row that could say what is secret, so the name does: whatever has `password`, `secret`, `token`,\n"
    "`ssl.key`, `key.pem`, `jaas` or `oauthbearer.config` in its name, or a word that is a slip away from `password`,\n"
    "`passphrase`, `passwd`, `secret`, `token` or `credentials`, is secret. So is what has no row because its name is\n"
    "misspelt. Words of librdkafka that have the value of a secret in them are not repeated.\n"
    "\n"
    "## What is in effect\n"
    "\n"
    "`weft-sidecar --dump` with the other arguments as usual prints every option with its value and where that comes "
    "from, and\n"
    "all mistakes, and starts nothing; its exit status is 2 when there are mistakes. A program gets the same from\n"
    "`weft_config_dump()` and `weft_config_problems()`.\n"
    "\n"
    "## What must fit together\n"
    "\n"
    "- `topics` must be set, and `bootstrap.servers` (or `kafka.test.mock.num.brokers`).\n"
    "- `drain.timeout.ms` + 10,000 < `kafka.max.poll.interval.ms` (300,000 by default): past that interval the group "
    "expels\n"
    "  the member in the middle of its drain.\n"
    "- `retry.backoff.ms` <= `retry.backoff.max.ms`.\n"
    "- `threads` <= `in.flight.max.records` <= `queue.max.records`; a default `in.flight.max.records` is cut to the "
    "queue.\n"
    "- `partition.max.records` <= `queue.max.records`.\n"
    "- `engine = inline` takes no `handler.deadline.ms`; `stuck.policy = abandon` needs one.\n"
    "- `metrics.bind` is an IPv4 address.\n"
    "- `engine = process` needs a `worker.command` for `workers`, or `worker.attach.max`; `stuck.policy` is stop "
    "there.\n"
    "- `ordering = unordered` takes no `null.key = serial`.\n"
    "- `metrics.enabled` needs a `metrics.health.ms` of at least three times `tick.ms`.\n";

static void print_configuration(void) {
    fputs(configuration_head, stdout);
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) print_option(&wf_option_table[i]);
    fputs(configuration_tail, stdout);
}

static const char messages_head[] =
    "# Messages\n"
    "\n"
    "Made from `proto/messages.def` by `weft-docgen`; a test fails when this page and the table differ.\n"
    "\n"
    "Every message between weft's actors. Order is kept per sender and receiver only. What refers to a partition "
    "carries its\n"
    "slot and epoch, and a receiver drops what is of an older epoch before it does anything else. Bodies are the "
    "structs of\n"
    "`proto/messages.h` and `proto/record.h`; `[]` means an array of them. Ids are never reused; programs choose "
    "theirs from\n"
    "48 to 63.\n"
    "\n"
    "Ownership: *value* is copied, nothing to free; *move*: the receiver owns what the body points to; *loan*: the "
    "receiver\n"
    "may use it until it answers; *return* ends a loan.\n"
    "\n"
    "| id | message | body | from | to | ownership | what it says |\n"
    "| ---: | --- | --- | --- | --- | --- | --- |\n";

/* WORK_MANAGER -> work manager */
static void print_words(const char *name) {
    for (; *name; name++) putchar(*name == '_' ? ' ' : *name >= 'A' && *name <= 'Z' ? *name - 'A' + 'a' : *name);
    printf(" | ");
}

static void print_messages(void) {
    fputs(messages_head, stdout);
    for (size_t i = 0; i < wf_message_count; i++) {
        const wf_message_info *info = &wf_messages[i];
        printf("| %" PRIu32 " | %s | `%s`%s | ", info->id, info->name, info->body, info->many ? "[]" : "");
        print_words(info->from);
        print_words(info->to);
        print_words(info->ownership);
        print_cell(info->help);
        printf(" |\n");
    }
}

static const char metrics_head[] =
    "# Metrics\n"
    "\n"
    "Made from `proto/metrics.def` by `weft-docgen`; a test fails when this page and the table differ.\n"
    "\n"
    "With `metrics.enabled = true` (or `METRICS_ENABLED=true` in the environment) a consumer answers HTTP on\n"
    "`127.0.0.1:9095` (`metrics.bind`, `metrics.port`, `METRICS_PORT`):\n"
    "\n"
    "| path | what |\n"
    "| --- | --- |\n"
    "| `/metrics` | all of this page, as Prometheus text 0.0.4 or OpenMetrics 1.0.0, whichever `Accept` prefers; gzip "
    "if `Accept-Encoding` allows |\n"
    "| `/healthz` | 200 while all actors answer; 503 when one has not for `metrics.health.ms` |\n"
    "| `/readyz` | 200 while the consumer is a member of its group with its assignment (which may be empty), brokers "
    "answer and there are workers; 503 with the reason otherwise, and while it is being stopped |\n"
    "| `/status` | the same numbers and more as JSON: per partition the blocking record with age, key hash and "
    "attempt, "
    "and the last error |\n"
    "| `/` | the same for people, as one HTML page that refreshes itself |\n"
    "\n"
    "GET and HEAD only; `http://HOST:PORT/metrics` as the target is fine where the port is this one, anything else "
    "gets 421. There is no encryption and no password: behind anything but loopback put a proxy in front.\n"
    "Labels never hold keys, offsets or error texts; `/status` and `/` show the reasons that handlers gave for "
    "failures.\n"
    "\n"
    "The numbers are those of the last `tick.ms`, and come from the same structures that `weft_consumer_metrics()` "
    "gives to\n"
    "the program (`weft/metrics.h`). Series of a partition that was taken away disappear; when it comes back they go "
    "on "
    "where\n"
    "they were. What is counted by topic keeps what its former partitions counted. At most `metrics.max.series` series "
    "are\n"
    "shown: where they are not enough, the depths of queues are left out, then partitions, the latest first, then "
    "topics;\n"
    "`consumer_metrics_series_left_out` says how many series.\n"
    "\n"
    "`promtool check metrics` does not like two of the names, `consumer_gap_count` and `consumer_in_flight_count`: "
    "they "
    "end in\n"
    "`_count`. They are kept for the dashboards that have them.\n"
    "\n";

static const char *labels_of(wf_metric_scope scope) {
    switch (scope) {
    case WF_METRIC_SYSTEM:
        return "";
    case WF_METRIC_TOPIC:
        return "`topic`";
    case WF_METRIC_PARTITION:
        return "`topic` `partition`";
    case WF_METRIC_QUEUE:
        return "`topic` `virtual_partition`";
    case WF_METRIC_LOOP:
        return "`loop`";
    case WF_METRIC_BUILD:
        return "the versions";
    }
    return "";
}

static void print_metrics(void) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    fputs(metrics_head, stdout);
    printf("Buckets of histograms, in seconds: ");
    for (unsigned i = 0; i < WEFT_HISTOGRAM_BUCKETS - 1; i++) printf("%g, ", (double)weft_histogram_bound_ns(i) / 1e9);
    printf("+Inf.\n\n| metric | type | labels | what it is | when it rises |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < wf_metric_count; i++) {
        const wf_metric_info *info = &wf_metrics[i];
        printf("| `%s` | %s | %s", info->name, types[info->type], labels_of(info->scope));
        if (*info->label) printf("%s`%s`", info->scope == WF_METRIC_SYSTEM ? "" : " ", info->label);
        printf(" | ");
        print_cell(info->help);
        printf(" | ");
        print_cell(info->advice);
        printf(" |\n");
    }
}

int main(int argc, char **argv) {
    const char *page = argc == 2 ? argv[1] : "";
    if (strcmp(page, "configuration") == 0)
        print_configuration();
    else if (strcmp(page, "messages") == 0)
        print_messages();
    else if (strcmp(page, "metrics") == 0)
        print_metrics();
    else {
        fprintf(stderr, "usage: weft-docgen configuration|messages|metrics\n");
        return 2;
    }
    return ferror(stdout) || fflush(stdout) != 0 ? 1 : 0;
}
