/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-docgen: prints the pages of docs/ that are made from tables.
 *
 *   build/bin/weft-docgen configuration > docs/configuration.md
 *   build/bin/weft-docgen messages > docs/messages.md
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
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
    if (*info->default_text)
        printf(" | `%s` | ", info->default_text);
    else
        printf(" | | ");
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
    "- **Program**: `weft_config_set(config, \"threads\", \"16\")`.\n"
    "\n"
    "| option | allowed | default | what it is |\n"
    "| --- | --- | --- | --- |\n";

static const char configuration_tail[] =
    "\n"
    "## Settings of librdkafka\n"
    "\n"
    "A name that begins with `kafka.` goes to librdkafka as it is: `kafka.security.protocol = sasl_ssl`. Refused are\n"
    "those that weft's promises rest on: automatic commits and offset stores, `enable.partition.eof`, callbacks, and "
    "what is\n"
    "an option of weft itself (`group.id`, `bootstrap.servers`, `client.id`, `auto.offset.reset`).\n"
    "\n"
    "Values whose name says password, secret, token or private key are shown as `****` in problems and in the dump.\n"
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
    "- `ordering = unordered` takes no `null.key = serial`.\n";

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

int main(int argc, char **argv) {
    const char *page = argc == 2 ? argv[1] : "";
    if (strcmp(page, "configuration") == 0)
        print_configuration();
    else if (strcmp(page, "messages") == 0)
        print_messages();
    else {
        fprintf(stderr, "usage: weft-docgen configuration|messages\n");
        return 2;
    }
    return ferror(stdout) || fflush(stdout) != 0 ? 1 : 0;
}
