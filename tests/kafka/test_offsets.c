/* SPDX-License-Identifier: Apache-2.0
 *
 * build/bin/weft-offsets on a real broker: a group whose members are there is left alone; one that was stopped is
 * converted, and what was complete is so for the next consumer.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "harness.h"
#include "metadata_format.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(offsets, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000, RECORDS = 2000 };

static char output[1 << 16];

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

static int run(const char *group, const char *arguments) {
    char command[1024];
    int used = snprintf(command, sizeof command, "%s/bin/weft-offsets %s --bootstrap-servers %s --group %s 2>&1",
                        WEFT_BUILD_DIR, arguments, bootstrap(), group);
    MUST((size_t)used < sizeof command, "a long command line");
    FILE *pipe = popen(command, "r");
    MUST(pipe != NULL, "popen");
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    int status = pclose(pipe);
    MUST(WIFEXITED(status), "%s: ended by signal %d", command, WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void expect_says(const char *part) {
    cr_expect(strstr(output, part) != NULL, "\"%s\" is not in:\n%s", part, output);
}

typedef struct held_back {
    judge_ticket ticket;
    weft_token token;
    _Atomic bool held;
    _Atomic uint64_t runs;
    bool release;
} held_back;

static weft_result hold_17(harness *under_test, const weft_record *record, judge_ticket ticket, void *context) {
    held_back *self = context;
    (void)under_test;
    atomic_fetch_add(&self->runs, 1);
    if (self->release || weft_record_offset(record) != 17) return WEFT_SUCCESS;
    self->ticket = ticket;
    self->token = weft_record_defer(record);
    atomic_store(&self->held, true);
    return WEFT_PENDING;
}

static bool is_map_committed(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == 1 && metrics->partitions[0].committed == 17 &&
           metrics->partitions[0].gap_count == 1 && metrics->partitions[0].frontier == 17;
}

static void expect_form(const char *group, const char *topic, wf_metadata_format format) {
    char *text = NULL;
    size_t bytes, count = 0;
    wf_offset_run *runs = NULL;
    cr_expect(eq(i64, group_committed(bootstrap(), group, topic, 0, &text, &bytes), 17));
    cr_assert(text != NULL);
    cr_expect(eq(int, (int)wf_metadata_format_of(text, bytes), (int)format), "%s", text);
    cr_expect(eq(int, wf_metadata_decode_any(17, text, bytes, &runs, &count), WEFT_OK));
    cr_expect(count == 1 && runs[0].first == 18 && runs[0].end == RECORDS);
    free(runs);
    free(text);
}

Test(offsets, convert__refused_while_the_group_has_members__done_when_it_is_stopped) {
    char *topic = must_name("offsets"), *group = must_name("group"), text[TEXT];
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = RECORDS, .keys = RECORDS, .value_bytes = 20};
    held_back held = {0};
    harness *first, *second;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    harness_plan how = {.bootstrap = bootstrap(),
                        .group = group,
                        .topics = topic,
                        .real_broker = true,
                        .work = hold_17,
                        .context = &held};
    first = harness_start(&how);
    harness_expect(first, topic, 1);
    cr_assert(harness_await(first, RECORDS - 1, PATIENCE_MS));
    cr_assert(harness_await_metrics(first, is_map_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, run(group, "convert --to confluent --apply"), 4), "%s", output);
    expect_says("the group has members (Stable)");
    cr_expect(eq(int, run(group, "strip --apply --force"), 1), "%s", output); /* the broker protects them too */
    cr_expect(eq(int, run(group, "verify"), 0), "%s", output);
    expect_says("Stable, 1 members");

    cr_expect(eq(int, harness_stop(first, 300), WEFT_EABANDONED));
    judge_end(harness_judge(first), held.ticket, JUDGE_DIED);
    expect_form(group, topic, WF_METADATA_NATIVE);
    cr_expect(eq(int, run(group, "convert --to confluent"), 0), "%s", output);
    expect_says("dry run: 1 commits would be written");
    expect_form(group, topic, WF_METADATA_NATIVE);
    cr_expect(eq(int, run(group, "convert --to confluent --apply"), 0), "%s", output);
    expect_form(group, topic, WF_METADATA_CONFLUENT);
    cr_expect(eq(int, run(group, "show"), 0), "%s", output);
    expect_says("to run     1 of 1983\n");

    held.release = true;
    atomic_store(&held.runs, 0);
    how.judge = harness_judge(first);
    second = harness_start(&how);
    harness_expect(second, topic, 1);
    cr_expect(harness_await_all(second, PATIENCE_MS));
    cr_expect(harness_await_metrics(second, harness_is_committed, NULL, PATIENCE_MS, NULL));
    cr_expect(eq(int, harness_stop(second, 10000), WEFT_OK));
    cr_expect(harness_is_content(second, text, sizeof text), "%s", text);
    cr_expect(eq(u64, atomic_load(&held.runs), 1));
    harness_free(&second);
    harness_free(&first);
    free(topic);
    free(group);
}

/* Whatever it lists, it lists all of what a group has committed. */
Test(offsets, show__without_a_topic__all_that_the_group_has_committed) {
    char *one = must_name("one"), *two = must_name("two"), *group = must_name("group"), line[400];
    topic_create(bootstrap(), one, 1, NULL);
    topic_create(bootstrap(), two, 2, NULL);
    group_commit(bootstrap(), group, one, 0, 0, "R", 1);
    group_commit(bootstrap(), group, two, 1, 0, "R4-999", 6);
    cr_expect(eq(int, run(group, "show"), 0), "%s", output);
    snprintf(line, sizeof line, "%s[0]  committed 0  log [0, 0)  pyrallel runs, 1 bytes\n", one);
    expect_says(line);
    snprintf(line, sizeof line, "%s[1]  committed 0  log [0, 0)  pyrallel runs, 6 bytes\n", two);
    expect_says(line);
    expect_says("WRONG      the map reaches up to 999, the log only to -1");
    cr_expect(eq(int, run(group, "strip --apply"), 0), "%s", output);
    expect_says("2 commits written\n");
    cr_expect(eq(int, run(group, "verify"), 0), "%s", output);
    free(one);
    free(two);
    free(group);
}
