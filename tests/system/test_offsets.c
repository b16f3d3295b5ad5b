/* SPDX-License-Identifier: Apache-2.0
 *
 * build/bin/weft-offsets on the mock cluster, which knows no members: golden texts, a group's maps shown, verified,
 * converted and stripped, and the exit status of everything that is wrong.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "metadata_format.h"
#include "mock.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(offsets, .timeout = 55);

enum { OUTPUT = 1 << 20, RECORDS = 1000 };

static char output[OUTPUT];

/* Run it; standard output and standard error are in `output` then. Returns its exit status. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...) {
    char command[8192];
    va_list arguments;
    int used = snprintf(command, sizeof command, "%s/bin/weft-offsets ", WEFT_BUILD_DIR);
    va_start(arguments, format);
    used += vsnprintf(command + used, sizeof command - (size_t)used, format, arguments);
    va_end(arguments);
    MUST((size_t)used < sizeof command - 6, "a long command line");
    snprintf(command + used, sizeof command - (size_t)used, " 2>&1");
    FILE *pipe = popen(command, "r");
    MUST(pipe != NULL, "popen");
    size_t bytes = fread(output, 1, sizeof output - 1, pipe);
    output[bytes] = '\0';
    int status = pclose(pipe);
    MUST(WIFEXITED(status), "%s: ended by signal %d", command, WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void expect_says(const char *part) {
    cr_expect(strstr(output, part) != NULL, "\"%s\" is not in:\n%s", part, output);
}

/* --- pasted texts */

/* What it prints as ranges is what the golden file says; adjacent ranges of that are one. */
static void expect_ranges(const json_t *vector) {
    json_error_t error;
    json_t *root = json_loads(output, 0, &error);
    cr_assert(root != NULL, "%s: %s", error.text, output);
    const json_t *map = json_array_get(json_object_get(root, "partitions"), 0);
    const json_t *shown = json_object_get(map, "complete_ranges"), *range;
    json_int_t total = 0;
    size_t i;
    json_array_foreach(json_object_get(vector, "completed_ranges"), i, range) total +=
        json_integer_value(json_array_get(range, 1)) - json_integer_value(json_array_get(range, 0)) + 1;
    if (strcmp(json_string_value(json_object_get(vector, "name")), "transaction-gaps") != 0) {
        cr_expect(eq(i64, json_integer_value(json_object_get(map, "complete_count")), total));
        cr_expect(le(sz, json_array_size(shown), json_array_size(json_object_get(vector, "completed_ranges"))));
    }
    cr_expect(eq(int, json_is_false(json_object_get(map, "wrong")), 1));
    json_decref(root);
}

static size_t decode_golden(const char *file) {
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/%s", WEFT_SOURCE_DIR, file);
    json_t *root = json_load_file(path, 0, NULL), *vector;
    size_t i, decoded = 0;
    MUST(root != NULL, "%s", path);
    json_array_foreach(json_object_get(root, "vectors"), i, vector) {
        json_int_t base = json_integer_value(json_object_get(vector, "committed_offset"));
        json_int_t end = json_integer_value(json_object_get(vector, "log_end_offset"));
        const char *text = json_string_value(json_object_get(vector, "metadata"));
        if (base < 0 || !*text) continue;
        cr_expect(eq(int, run("decode --base %lld --log-end %lld --json '%s'", base, end, text), 0), "%s", output);
        expect_ranges(vector);
        for (unsigned format = 0; format < WF_METADATA_FORMATS; format++) {
            const char *name = wf_metadata_codec_of((wf_metadata_format)format)->name;
            cr_expect(eq(int, run("decode --base %lld --log-end %lld --to %s '%s'", base, end, name, text), 0), "%s",
                      output);
        }
        decoded++;
    }
    json_decref(root);
    return decoded;
}

Test(offsets, decode__golden_texts__say_what_was_complete) {
    cr_expect(eq(sz, decode_golden("confluent.json"), 11));
    cr_expect(eq(sz, decode_golden("pyrallel.json"), 9));
}

Test(offsets, decode__shows_ranges_a_bar_and_the_same_in_another_format) {
    cr_expect(eq(int, run("decode --base 10 --log-end 20 --to pyrallel bAAGOgA="), 0));
    expect_says("committed 10  log [0, 20)  confluent BitSet, 8 bytes\n");
    expect_says("4 offsets complete in 2 runs, up to 15\n");
    expect_says("to run     6 of 10\n");
    expect_says("complete   11, 13-15\n");
    expect_says("[.#.###....] 1 to a column");
    expect_says("as pyrallel, 6 bytes:\nB10:3a\n");
}

Test(offsets, decode__what_is_wrong__is_said_with_status_3) {
    static const struct {
        const char *arguments, *says;
        int status;
    } rows[] = {
        {"--base 10 --log-end 15 bAAGOgA=", "the map reaches up to 15, the log only to 14", 3},
        {"--base 10 --log-end 5 bAAGOgA=", "the committed offset lies beyond the log", 3},
        {"--base 10 bAAGOgB=", "the map is damaged", 3},
        {"--base 0 R1-999999999999", "wider than any map", 3},
        {"--base 0 --log-end 1000 R1-1999999999", "the map reaches up to 1999999999, the log only to 999", 3},
        {"--base 0 '{\"host\":1}'", "of no format that is known", 3},
        {"--base 0 --to native O", "its writer had more to say than fits", 0},
        {"--base 0 ''", "no map", 0},
        {"bAAGOgA=", "--base is missing", 2},
        {"--base 10", "TEXT is missing", 2},
        {"--base -1 R", "--base: an offset", 2},
        {"--base 1x R", "--base: an offset", 2},
        {"--base 1 --to zip R", "--to: native, pyrallel or confluent", 2},
        {"--base 1 R R", "more arguments", 2},
        {"--base 1 --what R", "unknown option", 2},
        {"--base 10 --json --to native bAAGOgA=", "--json or --to, not both", 2},
        {"--base 10 --apply bAAGOgA=", "--apply and --force are for", 2},
        {"--base 10 --log-end 20 --topic t --partition 0 bAAGOgA=", "--log-end, or --topic and --partition", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect(eq(int, run("decode %s", rows[i].arguments), rows[i].status), "%s: %s", rows[i].arguments, output);
        expect_says(rows[i].says);
    }
}

Test(offsets, command_line__mistakes__are_named_with_status_2) {
    static const struct {
        const char *arguments, *says;
    } rows[] = {
        {"", "no command"},
        {"list", "no such command: list"},
        {"show", "--bootstrap-servers is missing"},
        {"convert --bootstrap-servers h:1", "--to is missing"},
        {"strip --bootstrap-servers h:1 --to native", "--to is for convert and decode"},
        {"show --bootstrap-servers h:1 --apply", "--apply and --force are for"},
        {"show --bootstrap-servers h:1 --base 1", "--base and --log-end are for decode"},
        {"verify --bootstrap-servers h:1 --all", "--all is for show and decode"},
        {"strip --bootstrap-servers h:1 --json", "--json is for show, verify and decode"},
        {"show --bootstrap-servers h:1 --set group.idd=x", "group.idd"},
        {"show --config /nowhere/at/all", "/nowhere/at/all"},
        {"show --set bootstrap.servers", "option=value"},
        {"show --bootstrap-servers h:1 --topic a,b", "--topic: the name of one topic"},
        {"show --bootstrap-servers h:1 --topic '^a'", "--topic: the name of one topic"},
        {"show --bootstrap-servers h:1 --topic 'a b' --topic t", "a b is not a topic name"},
        {"show --bootstrap-servers h:1 --topic t --topic 'a b'", "a b is not a topic name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect(eq(int, run("%s", rows[i].arguments), 2), "%s: %s", rows[i].arguments, output);
        expect_says(rows[i].says);
    }
    cr_expect(eq(int, run("--help"), 0));
    expect_says("exit status:");
}

/* Half of a report must not look like a report. */
Test(offsets, output__that_cannot_be_written__status_1) {
    cr_expect(eq(int, run("decode --base 10 --json bAAGOgA= 2>&1 >/dev/full #"), 1), "%s", output);
    expect_says("weft-offsets: standard output can't be written");
}

/* What comes through a pipe nobody looks at before. */
Test(offsets, key__in_a_pipe_and_none__is_told_and_nothing_is_left) {
    cr_expect(eq(int, run("show --bootstrap-servers h:1 --set kafka.security.protocol=ssl "
                          "--set kafka.ssl.key.location=/dev/stdin <<X 2>&1\nno key\nX\n#"),
                 1),
              "%s", output);
    expect_says("weft-offsets: group weft: ssl.key.location failed");
    cr_expect(strstr(output, "LeakSanitizer") == NULL, "%s", output);
}

Test(offsets, broker_away__status_1) {
    cr_expect(eq(int, run("show --bootstrap-servers 127.0.0.1:1 --group g --topic t"), 1));
    expect_says("weft-offsets: group g: ");
}

/* --- a group */

enum { PARTITIONS = 7 };

static mock_cluster *open_group(void) {
    static const struct {
        int64_t offset;
        const char *metadata;
    } rows[PARTITIONS] = {
        {10, "bAAGOgA="},                                    /* confluent: 11, 13-15 */
        {10, "R11,13-15"},                                   /* pyrallel, the same */
        {500, ""},                                           /* no map */
        {10, "R11,13-1500"},                                 /* beyond the log */
        {10, "{\"host\":\"a\"}"},                            /* of nobody */
        {3, "YSi1L/0AWL0AAIgAxf6///8f/P/3//////8fAAEABjgC"}, /* confluent, zstd */
        {-1, NULL},                                          /* nothing committed */
    };
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = PARTITIONS, .records = PARTITIONS * RECORDS, .value_bytes = 20};
    mock_topic(mock, "t", PARTITIONS);
    produce_keyed(mock_bootstrap(mock), &plan);
    for (int i = 0; i < PARTITIONS; i++)
        if (rows[i].metadata)
            group_commit(mock_bootstrap(mock), "g", "t", i, rows[i].offset, rows[i].metadata, strlen(rows[i].metadata));
    return mock;
}

static void expect_commit(const mock_cluster *mock, int partition, int64_t offset, const char *metadata) {
    char *text = NULL;
    size_t bytes;
    cr_expect(eq(i64, group_committed(mock_bootstrap(mock), "g", "t", partition, &text, &bytes), offset));
    cr_expect(eq(str, text ? text : (char *)"", (char *)metadata), "partition %d", partition);
    free(text);
}

static int on_group(const mock_cluster *mock, const char *arguments) {
    return run("%s --bootstrap-servers %s --group g --topic t", arguments, mock_bootstrap(mock));
}

Test(offsets, show_and_verify__a_group__every_map_and_what_is_wrong) {
    mock_cluster *mock = open_group();
    cr_expect(eq(int, on_group(mock, "show"), 0));
    expect_says("t[0]  committed 10  log [0, 1000)  confluent BitSet, 8 bytes\n");
    expect_says("t[1]  committed 10  log [0, 1000)  pyrallel runs, 9 bytes\n");
    expect_says("t[2]  committed 500  log [0, 1000)  no map\n  to run     500 of 500\n");
    expect_says("WRONG      the map reaches up to 1500, the log only to 999");
    expect_says("  to run     990 of 990\n  complete   11, 13-1500\n");
    expect_says("t[6]  log [0, 1000)  nothing committed\n");
    cr_expect(eq(int, on_group(mock, "verify"), 3));
    expect_says("t[0]  ok  confluent BitSet, 8 bytes\n");
    expect_says("t[3]  WRONG  pyrallel runs, 11 bytes: the map reaches");
    expect_says("t[4]  WRONG  unknown format, 12 bytes: ");
    expect_says("t[5]  ok  confluent BitSetCompressed, 44 bytes\n");
    cr_expect(eq(int, on_group(mock, "show --json"), 0));
    json_t *root = json_loads(output, 0, NULL);
    cr_assert(root != NULL, "%s", output);
    cr_expect(eq(sz, json_array_size(json_object_get(root, "partitions")), PARTITIONS));
    json_decref(root);
    mock_close(mock);
}

Test(offsets, show__a_topic_named_twice__is_shown_once) {
    mock_cluster *mock = open_group();
    cr_expect(eq(int, on_group(mock, "show --topic t"), 0), "%s", output);
    const char *first = strstr(output, "t[0]");
    cr_assert(first != NULL, "%s", output);
    cr_expect(strstr(first + 1, "t[0]") == NULL, "%s", output);
    mock_close(mock);
}

Test(offsets, decode__with_a_topic__compared_with_its_log) {
    mock_cluster *mock = open_group();
    const char *how = "--base 10 --topic t --partition 3 --bootstrap-servers";
    cr_expect(eq(int, run("decode %s %s R11,13-999", how, mock_bootstrap(mock)), 0), "%s", output);
    expect_says("t[3]  committed 10  log [0, 1000)  pyrallel runs, 10 bytes\n");
    expect_says("  to run     2 of 990\n");
    cr_expect(eq(int, run("decode %s %s R11,13-1000", how, mock_bootstrap(mock)), 3));
    expect_says("the map reaches up to 1000, the log only to 999");
    cr_expect(
        eq(int, run("decode --base 10 --topic t --partition 70 --bootstrap-servers %s R", mock_bootstrap(mock)), 1));
    expect_says("weft-offsets: t[70]: the log's ends are not known");
    cr_expect(eq(int, run("decode --base 10 --topic t R"), 2));
    expect_says("--topic and --partition belong together");
    cr_expect(eq(int, run("decode --base 10 --topic t --partition 1 R"), 2));
    expect_says("--bootstrap-servers is missing");
    mock_close(mock);
}

Test(offsets, convert__dry_run_first__then_written_and_what_is_wrong_left) {
    mock_cluster *mock = open_group();
    cr_expect(eq(int, on_group(mock, "convert --to pyrallel --apply"), 4)); /* the mock can't say who is a member */
    expect_says("nothing is written");
    cr_expect(eq(int, on_group(mock, "convert --to pyrallel --force"), 3));
    expect_says("t[0]  committed 10  confluent BitSet, 8 bytes -> pyrallel bitset, 6 bytes\n");
    expect_says("t[3]  left as it is: the map reaches up to 1500");
    expect_says("dry run: 2 commits would be written");
    expect_commit(mock, 0, 10, "bAAGOgA=");
    cr_expect(eq(int, on_group(mock, "convert --to pyrallel --force --apply"), 3), "%s", output);
    expect_says("2 commits written\n");
    expect_commit(mock, 0, 10, "B10:3a");
    expect_commit(mock, 1, 10, "R11,13-15");
    expect_commit(mock, 2, 500, "");
    expect_commit(mock, 3, 10, "R11,13-1500");
    expect_commit(mock, 4, 10, "{\"host\":\"a\"}");
    expect_commit(mock, 5, 3, "R4-16,18-39,45-149,151-199");
    cr_expect(eq(int, on_group(mock, "convert --to confluent --force --apply"), 3));
    expect_says("3 commits written\n");
    expect_commit(mock, 1, 10, "bAAGOgA=");
    mock_close(mock);
}

Test(offsets, convert__map_that_does_not_fit__left_as_it_is) {
    mock_cluster *mock = open_group();
    wf_offset_run runs[160];
    char text[100];
    size_t bytes;
    for (int i = 0; i < 160; i++) runs[i] = (wf_offset_run){4 + 2 * i, 5 + 2 * i};
    MUST(wf_metadata_confluent.encode(3, runs, 160, text, sizeof text, &bytes) == WEFT_OK, "no map");
    group_commit(mock_bootstrap(mock), "g", "t", 5, 3, text, bytes);
    cr_expect(eq(int, on_group(mock, "convert --to pyrallel --force --set offset.metadata.max.bytes=64"), 3));
    expect_says("t[5]  left as it is: its map does not fit into that format\n");
    expect_says("dry run: 1 commits would be written");
    cr_expect(eq(int, on_group(mock, "convert --to pyrallel --force"), 3));
    expect_says("t[5]  committed 3  confluent BitSet, 60 bytes -> pyrallel bitset, 83 bytes\n");
    mock_close(mock);
}

Test(offsets, strip__takes_the_maps_away_and_leaves_the_offsets) {
    mock_cluster *mock = open_group();
    cr_expect(eq(int, on_group(mock, "strip --force"), 0));
    expect_says("dry run: 5 commits would be written");
    expect_commit(mock, 0, 10, "bAAGOgA=");
    cr_expect(eq(int, on_group(mock, "strip --force --apply"), 0), "%s", output);
    expect_says("5 commits written\n");
    for (int i = 0; i < 6; i++) expect_commit(mock, i, i == 2 ? 500 : i == 5 ? 3 : 10, "");
    expect_commit(mock, 6, -1, "");
    mock_close(mock);
}

/* weft-offsets with its output on a pipe; its messages are in a file of that name. */
static pid_t start_on(int output_fd, const char *messages, const mock_cluster *mock, const char *topic) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    int fd = open(messages, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(output_fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(WEFT_BUILD_DIR "/bin/weft-offsets", "weft-offsets", "strip", "--force", "--apply", "--bootstrap-servers",
          mock_bootstrap(mock), "--group", "g", "--topic", topic, NULL);
    abort();
}

/* The last member's last commit may come while the tool looks at maps: to write what it has read would take it back.
 * What it says of so many partitions does not fit into the pipe, so it waits for us before it writes. */
Test(offsets, strip__somebody_commits_after_the_maps_were_read__nothing_is_written) {
    enum { MANY = 40, PIPE_BYTES = 4096 };
    char topic[241], messages[] = "/tmp/weft-offsets-XXXXXX", text[1000] = "";
    int fds[2], status, fd = mkstemp(messages);
    mock_cluster *mock = mock_open(1);
    memset(topic, 't', 240);
    topic[240] = '\0';
    mock_topic(mock, topic, MANY);
    keyed_plan plan = {.topic = topic, .partitions = MANY, .records = MANY * 20, .value_bytes = 20};
    produce_keyed(mock_bootstrap(mock), &plan);
    for (int i = 0; i < MANY; i++) group_commit(mock_bootstrap(mock), "g", topic, i, 3, "R5-6", 4);
    MUST(fd >= 0 && pipe2(fds, O_CLOEXEC) == 0 && fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) == PIPE_BYTES, "no pipe");
    pid_t pid = start_on(fds[1], messages, mock, topic);
    close(fds[1]);
    cr_assert(eq(int, poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, 40000), 1));
    group_commit(mock_bootstrap(mock), "g", topic, 0, 17, "", 0);
    while (read(fds[0], output, sizeof output) > 0) {
    }
    cr_assert(eq(int, waitpid(pid, &status, 0), pid));
    MUST(read(fd, text, sizeof text - 1) >= 0, "no messages");
    cr_assert(eq(int, WIFEXITED(status), 1));
    cr_expect(eq(int, WEXITSTATUS(status), 4), "%s", text);
    cr_expect(strstr(text, "somebody has committed since the maps were read: nothing is written") != NULL, "%s", text);
    cr_expect(eq(i64, group_committed(mock_bootstrap(mock), "g", topic, 0, NULL, NULL), 17));
    close(fds[0]);
    close(fd);
    unlink(messages);
    mock_close(mock);
}
