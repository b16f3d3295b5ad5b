/* SPDX-License-Identifier: Apache-2.0
 *
 * Bad input on purpose: commit metadata that is foreign, random, damaged or a lie; options that are wrong, all at once;
 * and a log that can't be written.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "heard.h"
#include "metadata.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "seeded.h"
#include "topic.h"
#include "weft/log.h"

TestSuite(bad_input, .timeout = 55);

enum { PATIENCE_MS = 40000, TEXT = 2000, PARTITIONS = 12, RECORDS = 1000 /* in each partition */ };

/* --- commit metadata */

typedef struct metadata_row {
    const char *name;
    char text[5000];
    size_t bytes;
    int64_t offset;
    bool truth; /* a map that may be used: [200, 300) is complete */
} metadata_row;

static void set_text(metadata_row *row, const char *name, const char *text) {
    row->name = name;
    row->bytes = (size_t)snprintf(row->text, sizeof row->text, "%s", text);
}

static void set_map(metadata_row *row, const char *name, int64_t offset, int64_t first, int64_t end) {
    const wf_offset_run run = {first, end};

    row->name = name;
    MUST(wf_metadata_encode(offset, &run, 1, row->text, sizeof row->text, &row->bytes) == WEFT_OK, "no map");
}

static void make_rows(metadata_row *rows, seeded *random) {
    /* Kafka Streams: a version byte and the stream time, in base64. Flink and others: JSON. */
    set_text(&rows[0], "Kafka Streams", "AgAAAYnN1m6A");
    set_text(&rows[1], "JSON", "{\"host\":\"worker-7\",\"pid\":4711}");
    /* Ten characters are enough for it, and no checksum stands in the way. */
    set_text(&rows[2], "two billion offsets, said by Pyrallel-Consumer", "R1-2000000000");
    rows[3].name = "random bytes";
    rows[3].bytes = 4096;
    for (size_t i = 0; i < 4096; i++) rows[3].text[i] = (char)(1 + seeded_below(random, 255));
    rows[4].name = "random printable bytes behind our magic";
    rows[4].bytes = 64;
    for (size_t i = 0; i < 64; i++) rows[4].text[i] = (char)(33 + seeded_below(random, 94));
    memcpy(rows[4].text, "~1", 2);
    set_map(&rows[5], "a map that is cut", 0, 200, 300);
    rows[5].bytes--;
    set_map(&rows[6], "a map with one character changed", 0, 200, 300);
    rows[6].text[4] ^= 1;
    set_map(&rows[7], "the map of another offset", 7, 200, 300);
    set_map(&rows[8], "a map that reaches one record beyond the log", 0, 900, RECORDS + 1);
    set_map(&rows[9], "a map two billion offsets beyond the log", 0, 2000000000, 2000000001);
    set_map(&rows[10], "a map of an offset that the log never had", 500000, 500010, 500020);
    rows[10].offset = 500000;
    set_map(&rows[11], "a map that is true", 0, 200, 300);
    rows[11].truth = true;
}

Test(bad_input, metadata__foreign_random_damaged_or_lying__is_ignored_counted_and_told_once) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {
        .topic = "t", .partitions = PARTITIONS, .records = PARTITIONS * RECORDS, .keys = 24, .value_bytes = 20};
    seeded random = seeded_start(11, 0);
    metadata_row *rows = must_alloc(PARTITIONS, sizeof *rows);
    const char *settings[] = {"log.level", "warn", NULL};
    weft_metrics *metrics;
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", PARTITIONS);
    produce_keyed(mock_bootstrap(mock), &plan);
    make_rows(rows, &random);
    for (int i = 0; i < PARTITIONS; i++)
        group_commit(mock_bootstrap(mock), "g", "t", i, rows[i].offset, rows[i].text, rows[i].bytes);
    heard_begin();
    under_test = harness_start(
        &(harness_plan){.bootstrap = mock_bootstrap(mock), .group = "g", .topics = "t", .settings = settings});
    for (int32_t i = 0; i < PARTITIONS; i++) {
        judge_expect(harness_judge(under_test), "t", i, 0, rows[i].truth ? 200 : RECORDS);
        if (rows[i].truth) judge_expect(harness_judge(under_test), "t", i, 300, RECORDS);
    }
    harness_watch(under_test, "t", PARTITIONS);
    cr_expect(harness_await(under_test, PARTITIONS * RECORDS - 100, PATIENCE_MS));
    cr_assert(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, &metrics));
    cr_expect(eq(u64, metrics->system.metadata_refused, PARTITIONS - 2)); /* the last but one went with its offset */
    free(metrics);
    cr_expect(eq(int, harness_stop(under_test, 10000), WEFT_OK));
    cr_expect(harness_is_content(under_test, text, sizeof text), "seed %" PRIu64 ": %s", random.seed, text);
    for (int i = 0; i < PARTITIONS; i++) {
        char place[32];

        snprintf(place, sizeof place, "topic=t partition=%d ", i);
        size_t told = heard_count("committed metadata not used", place) + heard_count("committed map refused", place) +
                      heard_count("the log was truncated or made anew", place);
        cr_expect(eq(sz, told, !rows[i].truth), "%s", rows[i].name);
    }
    heard_end();
    harness_free(&under_test);
    free(rows);
    mock_close(mock);
}

/* --- options */

static weft_result never(const weft_record *record, void *context) {
    (void)record;
    (void)context;
    MUST(false, "a handler runs");
}

static void expect_part(const char *text, const char *part) {
    cr_expect(strstr(text, part) != NULL, "\"%s\" is not in:\n%s", part, text);
}

Test(bad_input, options__unknown_and_out_of_range__all_told_before_anything_starts) {
    weft_config *config;
    weft_consumer *consumer = NULL;
    char *problems;

    cr_assert(eq(int, weft_config_new(&config), WEFT_OK));
    weft_config_set(config, "topics", "t");
    weft_config_set(config, "bootstrap.servers", "127.0.0.1:1");
    cr_expect(ne(int, weft_config_set(config, "threads", "0"), WEFT_OK));
    weft_config_set(config, "ordering", "sometimes");
    weft_config_set(config, "thread", "7");
    weft_config_set(config, "commit.interval.ms", "soon");
    weft_config_set(config, "max.attempts", "1001");
    weft_config_set(config, "kafka.enable.auto.commit", "true");
    cr_expect(eq(int, weft_consumer_new(config, never, NULL, &consumer), WEFT_ECONFIG));
    cr_expect(consumer == NULL);
    problems = weft_config_problems(config);
    cr_assert(problems != NULL);
    expect_part(problems, "threads");
    expect_part(problems, "\"0\"");
    expect_part(problems, "1 to 10000");
    expect_part(problems, "\"sometimes\"");
    expect_part(problems, "partition");
    expect_part(problems, "no option \"thread\"; did you mean threads?");
    expect_part(problems, "\"soon\"");
    expect_part(problems, "1001");
    expect_part(problems, "1 to 1000");
    expect_part(problems, "kafka.enable.auto.commit");
    free(problems);
    weft_config_free(&config);
}

/* What is wrong with a configuration that has these settings besides what it must have; "" when nothing is. A consumer
 * is made of it all the same, or not. */
static char *problems_of(const char *const *settings) {
    weft_config *config;
    weft_consumer *consumer = NULL;

    MUST(weft_config_new(&config) == WEFT_OK, "no configuration");
    weft_config_set(config, "topics", "t");
    weft_config_set(config, "bootstrap.servers", "127.0.0.1:1");
    for (; *settings; settings += 2) weft_config_set(config, settings[0], settings[1]);
    char *problems = weft_config_problems(config);
    cr_expect(eq(int, weft_config_check(config), problems ? WEFT_ECONFIG : WEFT_OK));
    cr_expect(eq(int, weft_consumer_new(config, never, NULL, &consumer), problems ? WEFT_ECONFIG : WEFT_OK));
    cr_expect(eq(int, consumer == NULL, problems != NULL));
    if (consumer) weft_consumer_free(&consumer);
    weft_config_free(&config);
    return problems ? problems : strdup("");
}

static size_t count_lines(const char *text) {
    size_t lines = 0;
    for (; *text; text++) lines += *text == '\n';
    return lines;
}

/* Mistakes in options, in names of settings, in their values, and in what can't be together: one round tells all. */
Test(bad_input, options_and_kafka_settings__of_every_kind__all_told_at_once) {
    static const char *const settings[] = {"threads",
                                           "0",
                                           "thred",
                                           "7",
                                           "kafka.enable.auto.commit",
                                           "true",
                                           "retry.backoff.ms",
                                           "40000",
                                           "kafka.no.such.setting",
                                           "7",
                                           "kafka.fetch.min.bytes",
                                           "-5",
                                           "kafka.socket.keepalive.enable",
                                           "perhaps\nnot",
                                           "kafka.session.timeout.ms",
                                           "400000",
                                           NULL};
    static const char *const lines[] = {
        "code: threads = \"0\": must be a whole number from 1 to 10000\n",
        "code: no option \"thred\"; did you mean threads?\n",
        "code: kafka.enable.auto.commit = \"true\": weft commits what is finished, and nothing else\n",
        "default: retry.backoff.max.ms = \"30000\": must not be less than retry.backoff.ms, which is 40000\n",
        "code: kafka.no.such.setting = \"7\": No such configuration property: \"no.such.setting\"\n",
        "code: kafka.fetch.min.bytes = \"-5\": Configuration property \"fetch.min.bytes\" value -5 is outside allowed "
        "range 1..100000000\n",
        "code: kafka.socket.keepalive.enable = \"perhaps\\nnot\": ",
        "settings that begin with kafka.: `max.poll.interval.ms`must be >= `session.timeout.ms`\n"};
    char *problems = problems_of(settings);

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) expect_part(problems, lines[i]);
    cr_expect(eq(sz, count_lines(problems), sizeof lines / sizeof lines[0]), "%s", problems);
    free(problems);
}

/* What librdkafka finds out only when a client is made of them. */
Test(bad_input, kafka_settings__that_only_a_client_refuses__told_by_the_check) {
    static const struct {
        const char *settings[9], *part;
    } rows[] = {
        {{"kafka.session.timeout.ms", "6000", NULL}, NULL},
        {{"kafka.partition.assignment.strategy", "sticky-tape", NULL}, "sticky-tape"},
        {{"kafka.fetch.max.bytes", "1000", NULL}, "`message.max.bytes`"},
        {{"kafka.security.protocol", "sasl_plaintext", "kafka.sasl.mechanisms", "SCRAM-SHA256", NULL}, "SCRAM-SHA256"},
        {{"kafka.security.protocol", "sasl_plaintext", "kafka.sasl.mechanisms", "PLAIN", NULL}, "sasl.username"},
        {{"kafka.security.protocol", "sasl_plaintext", "kafka.sasl.mechanisms", "PLAIN", "kafka.sasl.username", "u",
          "kafka.sasl.password", "p", NULL},
         NULL},
        {{"kafka.security.protocol", "ssl", "kafka.ssl.ca.location", "/no/such/file", NULL}, "ssl.ca.location"},
        {{"kafka.max.poll.interval.ms", "5m", NULL}, "must be a whole number from 1 to 86400000 ms"},
        {{"kafka.session.timeout.ms", "6s", NULL}, "must be a whole number; librdkafka would read this as 6\n"},
        {{"kafka.socket.timeout.ms", " 60000", "kafka.fetch.wait.max.ms", "0x10", NULL}, NULL},
        {{"kafka.fetch.min.bites", "1", NULL}, "\"fetch.min.bites\"; did you mean fetch.min.bytes?\n"},
        {{"kafka.auto.offset.rest", "latest", NULL}, "; did you mean auto.offset.reset?\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *problems = problems_of(rows[i].settings);

        if (rows[i].part) expect_part(problems, rows[i].part);
        cr_expect(eq(sz, count_lines(problems), rows[i].part != NULL), "row %zu: %s", i, problems);
        free(problems);
    }
}

static size_t count_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    size_t count = 0;

    MUST(tasks, "no /proc");
    while (readdir(tasks)) count++;
    closedir(tasks);
    return count;
}

/* The client that is made for it leaves no thread, starts no program, says nothing, and does not read what can be read
 * once. */
Test(bad_input, kafka_settings__judged__without_a_trace) {
    char touched[64], command[96], pipe_path[64], said[64];
    int pipe_ends[2], said_ends[2];

    snprintf(touched, sizeof touched, "/tmp/weft-touched.%d", (int)getpid());
    snprintf(command, sizeof command, "touch %s", touched);
    MUST(pipe(pipe_ends) == 0 && pipe(said_ends) == 0 && write(pipe_ends[1], "key", 3) == 3, "no pipes");
    snprintf(pipe_path, sizeof pipe_path, "/proc/self/fd/%d", pipe_ends[0]);
    const char *const kinit[] = {"kafka.security.protocol",  "sasl_plaintext", "kafka.sasl.mechanisms", "GSSAPI",
                                 "kafka.sasl.kerberos.kinit.cmd", command,          "kafka.debug",           "all",
                                 "kafka.test.mock.num.brokers",   "1",              NULL};
    const char *const key[] = {"kafka.security.protocol", "ssl", "kafka.ssl.key.location", pipe_path, NULL};
    int saved = dup(STDERR_FILENO);
    size_t threads = count_threads();
    dup2(said_ends[1], STDERR_FILENO);
    char *of_kinit = problems_of(kinit), *of_key = problems_of(key);
    dup2(saved, STDERR_FILENO);
    cr_expect(eq(str, of_kinit, ""));
    cr_expect(eq(str, of_key, ""));
    cr_expect(eq(sz, count_threads(), threads));
    cr_expect(access(touched, F_OK) != 0);
    cr_expect(eq(i64, read(pipe_ends[0], said, sizeof said), 3));
    fcntl(said_ends[0], F_SETFL, O_NONBLOCK);
    cr_expect(lt(i64, read(said_ends[0], said, sizeof said), 0));
    free(of_kinit);
    free(of_key);
    close(saved);
    for (int i = 0; i < 2; i++) {
        close(pipe_ends[i]);
        close(said_ends[i]);
    }
}

/* --- the log */

Test(bad_input, log_to_a_full_device__work_goes_on_and_lost_lines_are_counted) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 2000, .keys = 24, .value_bytes = 20};
    const char *settings[] = {"log.level", "debug", NULL};
    harness *under_test;
    char text[TEXT];

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);
    int saved = dup(STDERR_FILENO), full = open("/dev/full", O_WRONLY);
    MUST(saved >= 0 && full >= 0 && dup2(full, STDERR_FILENO) >= 0, "no /dev/full");
    under_test = harness_start(&(harness_plan){.bootstrap = mock_bootstrap(mock), .topics = "t", .settings = settings});
    harness_expect(under_test, "t", 2);
    bool all = harness_await_all(under_test, PATIENCE_MS);
    weft_status stopped = harness_stop(under_test, 10000);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(full);
    cr_expect(all);
    cr_expect(eq(int, stopped, WEFT_OK));
    cr_expect(gt(u64, weft_log_lost(), 5));
    cr_expect(harness_is_content(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    mock_close(mock);
}
