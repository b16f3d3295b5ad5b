/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-worker-check: passes the workers of this project, and finds every mistake of a worker that makes one on purpose.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "require.h"

TestSuite(worker_check, .timeout = 200);

enum { OUTPUT_BYTES = 16384 };

#define CHECK WEFT_BUILD_DIR "/bin/weft-worker-check "
#define PYTHON "env PYTHONPATH=" WEFT_SOURCE_DIR "/examples/workers/python /usr/bin/python3 "

/* What it printed; returns its exit status. */
static int run(const char *command, char output[OUTPUT_BYTES]) {
    char bounded[600];
    snprintf(bounded, sizeof bounded, "timeout 110 %s", command); /* so that nothing outlives this test */
    FILE *pipe = popen(bounded, "r");
    REQUIRE(pipe != NULL, "%s", command);
    size_t bytes = fread(output, 1, OUTPUT_BYTES - 1, pipe);
    output[bytes] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void must_pass(const char *command) {
    char output[OUTPUT_BYTES];
    int status = run(command, output);
    REQUIRE(status == 0 && strstr(output, " passed, 0 failed"), "status %d\n%s", status, output);
}

Test(worker_check, worker_in_c__passes) {
    must_pass(CHECK "--patience 30 -- " WEFT_BUILD_DIR "/bin/conformance 2>&1");
}

Test(worker_check, worker_in_python__passes) {
    must_pass(CHECK "--patience 30 -- " PYTHON WEFT_SOURCE_DIR "/examples/workers/python/conformance.py 2>&1");
}

Test(worker_check, worker_in_python__with_batches__passes) {
    must_pass(CHECK "--patience 30 --skip cancel_running -- " PYTHON WEFT_SOURCE_DIR
                    "/examples/workers/python/conformance.py batch 2>&1");
}

Test(worker_check, worker_in_python__golden_frames_and_random_tasks) {
    must_pass(PYTHON WEFT_SOURCE_DIR "/tests/programs/python_frames.py " WEFT_SOURCE_DIR
                                     "/tests/golden/worker_frames.json 2>&1");
}

/* The model for other languages, which has no more than the page asks for. */
Test(worker_check, worker_in_a_hundred_lines__passes_what_it_claims) {
    must_pass(CHECK "--patience 30 --skip log --skip cancel_running --skip word -- /usr/bin/python3 " WEFT_SOURCE_DIR
                    "/examples/workers/small/worker.py 2>&1");
}

/* Otherwise its mistakes might be found for another reason. */
Test(worker_check, worker_without_a_mistake__passes) {
    must_pass(CHECK "--patience 30 -- " WEFT_BUILD_DIR "/tests/programs/broken_worker none 2>&1");
}

typedef struct row {
    const char *mistake;
    const char *check; /* that finds it */
    int rule;
} row;

static const row rows[] = {
    {"speaks_before_welcome", "hello", 2},
    {"two_hellos", "hello", 2},
    {"wrong_token", "hello", 2},
    {"wrong_token", "attached", 2},
    {"wrong_name", "hello", 2},
    {"wrong_pid", "hello", 2},
    {"other_versions", "hello", 2},
    {"word_without_memory", "no_word", 15},
    {"stays_when_refused", "refused", 3},
    {"quiet_when_refused", "refused", 3},
    {"quiet_when_refused", "refused_later", 3},
    {"null_is_empty", "nulls", 4},
    {"empty_is_null", "nulls", 4},
    {"null_is_empty", "headers", 4},
    {"loses_headers", "headers", 4},
    {"loses_attempt", "fields", 4},
    {"keeps_old_topic", "topics", 4},
    {"last_task_first", "two_tasks", 5},
    {"records_backwards", "fields", 7},
    {"reports_twice", "records_1024", 7},
    {"forgets_one", "records_1024", 7},
    {"wrong_task", "two_tasks", 5},
    {"reports_at_the_end", "reports", 8},
    {"runs_after_failure", "closed_lane", 6},
    {"closes_any_order", "any_order", 6},
    {"closes_for_ever", "closed_lane", 6},
    {"hides_failure", "failure", 6},
    {"loses_reason", "failure", 6},
    {"long_reason", "long_reason", 7},
    {"cut_reason", "long_reason", 6},
    {"foreign_reason", "foreign_reason", 6},
    {"no_pong", "pings", 8},
    {"pong_late", "ping_at_work", 9},
    {"pong_of_another", "pings", 9},
    {"pong_unasked", "pings", 9},
    {"pong_with_bytes", "pings", 1},
    {"no_log", "log", 8},
    {"long_log", "log", 16},
    {"deaf_to_cancel", "cancel_running", 10},
    {"deaf_to_cancel", "cancel_waiting", 10},
    {"cancels_all", "cancel_waiting", 10},
    {"cancels_later", "cancel_late", 10},
    {"stays_after_bye", "bye_idle", 11},
    {"runs_from_bye", "bye_at_work", 11},
    {"bad_status_after_bye", "bye_idle", 11},
    {"no_goodbye", "no_socket", 2},
    {"stays_in_silence", "silence", 13},
    {"stays_in_silence", "weft_gone", 13},
    {"stays_in_silence", "weft_gone_at_work", 13},
    {"ignores_nonsense", "garbage", 14},
    {"ignores_nonsense", "other_version", 14},
    {"ignores_nonsense", "unknown_type", 14},
    {"ignores_nonsense", "work_cut", 14},
    {"ignores_nonsense", "work_short", 14},
    {"ignores_nonsense", "topic_unknown", 14},
    {"word_off_by_one", "word", 15},
    {"word_stays", "word", 15},
    {"sends_work", "pings", 1},
    {"sends_garbage", "pings", 1},
};

/* By its check and its rule? */
static bool is_found(const row *one, int patience_s, char output[OUTPUT_BYTES]) {
    char command[400], expected[64], rule[64];
    snprintf(command, sizeof command, CHECK "--patience %d --only %s -- %s/tests/programs/broken_worker %s 2>&1",
             patience_s, one->check, WEFT_BUILD_DIR, one->mistake);
    snprintf(expected, sizeof expected, "FAIL %s: ", one->check);
    snprintf(rule, sizeof rule, "(rule %d of ", one->rule);
    return run(command, output) == 1 && strstr(output, expected) && strstr(output, rule);
}

/* Every third row. With little patience, which is enough unless the machine is very busy. */
static void find_mistakes(size_t first) {
    unsigned missed = 0;
    for (size_t i = first; i < sizeof rows / sizeof rows[0]; i += 3) {
        char output[OUTPUT_BYTES];
        if (is_found(&rows[i], 2, output) || is_found(&rows[i], 20, output)) continue;
        missed++;
        cr_log_error("%s, by %s of rule %d\n%s", rows[i].mistake, rows[i].check, rows[i].rule, output);
    }
    REQUIRE_EQ(missed, 0);
}

Test(worker_check, worker_with_one_mistake__each_is_found_by_its_check_and_rule__1) {
    find_mistakes(0);
}

Test(worker_check, worker_with_one_mistake__each_is_found_by_its_check_and_rule__2) {
    find_mistakes(1);
}

Test(worker_check, worker_with_one_mistake__each_is_found_by_its_check_and_rule__3) {
    find_mistakes(2);
}

Test(worker_check, command_line__what_is_wrong_is_told) {
    static const char *const wrong[][2] = {
        {"", "which command is the worker?"},
        {"--only nosuch -- true", "there is no check nosuch"},
        {"--patience 0 -- true", "from 1 to 3600 seconds, not 0"},
        {"--patience x -- true", "from 1 to 3600 seconds, not x"},
        {"--strange -- true", "strange"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char command[400], output[OUTPUT_BYTES];
        snprintf(command, sizeof command, CHECK "%s 2>&1", wrong[i][0]);
        REQUIRE_EQ(run(command, output), 2);
        REQUIRE(strstr(output, wrong[i][1]), "%s", output);
    }
}

/* A command that is no worker at all fails each check in its own words, and nothing hangs. */
Test(worker_check, command_that_is_no_worker__every_check_fails) {
    char output[OUTPUT_BYTES];
    REQUIRE_EQ(
        run(CHECK "--patience 1 --only hello --only fields --only bye_idle --only silence -- false 2>&1", output), 1);
    REQUIRE(strstr(output, "0 passed, 4 failed"), "%s", output);
    REQUIRE(strstr(output, "the worker ended with status 1"), "%s", output);
    REQUIRE_EQ(run(CHECK "--patience 1 --only hello -- /nowhere/worker 2>&1", output), 1);
    REQUIRE(strstr(output, "the worker ended with status 127"), "%s", output);
    REQUIRE_EQ(run(CHECK "--patience 1 --only hello -- sleep 100 2>&1", output), 1);
    REQUIRE(strstr(output, "expected HELLO, it did not come in 1000 ms"), "%s", output);
}
