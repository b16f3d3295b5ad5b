/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker processes as they come, fail to come, are replaced, are fenced and go: what is told of them, and what nobody
 * can do to the consumer.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "must.h"
#include "produce.h"
#include "require.h"
#include "scrape.h"
#include "stage.h"

TestSuite(process_life, .timeout = 60);

enum { PATIENCE_MS = STAGE_PATIENCE_MS };

static void finish(stage *self, harness *under_test, uint64_t records, trail_verdict *ret_verdict) {
    char text[2000];
    cr_expect(stage_finish(self, under_test, records, ret_verdict, text, sizeof text), "%s", text);
}

static bool is_gone(int32_t pid) {
    return kill(pid, 0) != 0 && errno == ESRCH;
}

static bool has_begun(const weft_metrics *metrics, void *context) {
    (void)metrics;
    return trail_count(((const stage *)context)->file) > 0;
}

static bool all_are_ready(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->system.pool.by_state[WEFT_WORKER_READY] == metrics->system.pool.wanted;
}

/* --- what is told of a death */

static bool has_given_up(const weft_metrics *metrics, void *context) {
    char *text = context;
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (metrics->partitions[i].failed)
            snprintf(text, WEFT_ERROR_TEXT_BYTES, "%s", metrics->partitions[i].last_error);
    return *text;
}

/* A record that ends its worker: what is said of it afterwards. */
static void reason_of(stage_language language, const char *value, const char *reason) {
    stage self;
    trail_verdict verdict;
    char text[WEFT_ERROR_TEXT_BYTES] = "";
    STAGE_OPEN(&self, language, 0);
    stage_fill(&self, 200, 20);
    stage_put(&self, "x1", value);
    const char *settings[] = {"workers",
                              "1",
                              "max.attempts",
                              "1",
                              "failure.policy",
                              "skip",
                              "worker.memory.max.bytes",
                              language == STAGE_PYTHON ? "600000000" : "0",
                              "handler.deadline.ms",
                              language == STAGE_PYTHON ? "0" : "500",
                              "worker.grace.ms",
                              "20",
                              NULL};
    harness *under_test = stage_start(&self, settings);
    REQUIRE(harness_await_metrics(under_test, has_given_up, text, PATIENCE_MS, NULL));
    REQUIRE(strstr(text, reason), "%s", text);
    finish(&self, under_test, 200, &verdict);
    REQUIRE_EQ(verdict.cut, 1);
    stage_close(&self);
}

Test(process_life, reason__segmentation_fault__signal_and_last_lines_of_stderr) {
    reason_of(STAGE_C, "segv 9", "ended by itself, signal 11: about to fall|falling");
}

/* As a program that was started by one that ignores SIGCHLD, or ignores it itself. */
Test(process_life, reason__with_sigchld_ignored__the_signal_all_the_same) {
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    signal(SIGCHLD, SIG_IGN);
    reason_of(STAGE_C, "segv 9", "ended by itself, signal 11: about to fall|falling");
    REQUIRE(sigaction(SIGCHLD, &action, NULL) == 0);
    reason_of(STAGE_C, "segv 9", "ended by itself, signal 11: about to fall|falling");
}

Test(process_life, reason__exit_in_the_middle__exit_status) {
    reason_of(STAGE_C, "exit 9", "ended by itself, exit status 0");
}

Test(process_life, reason__out_of_memory__signal_and_last_line) {
    reason_of(STAGE_PYTHON, "oom 9", "ended by itself, signal 6: no memory");
}

Test(process_life, reason__past_its_deadline_and_deaf__killed) {
    reason_of(STAGE_C, "deaf 9", "killed: its handler was past handler.deadline.ms, signal 9");
}

Test(process_life, reason__behind_a_shell__the_signal_all_the_same) {
    stage self;
    trail_verdict verdict;
    char text[WEFT_ERROR_TEXT_BYTES] = "", command[700];
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_fill(&self, 200, 20);
    stage_put(&self, "x1", "segv 9");
    snprintf(command, sizeof command, "%s; exit $?", self.command);
    memcpy(self.command, command, sizeof self.command);
    const char *settings[] = {"workers", "1", "max.attempts", "1", "failure.policy", "skip", NULL};
    harness *under_test = stage_start(&self, settings);
    REQUIRE(harness_await_metrics(under_test, has_given_up, text, PATIENCE_MS, NULL));
    REQUIRE(strstr(text, "exit status 139 as after signal 11: "), "%s", text);
    finish(&self, under_test, 200, &verdict);
    stage_close(&self);
}

/* --- what is seen of those that live */

typedef struct sought {
    uint16_t port;
    const char *path;
    const char *behind; /* the text must come behind this one */
    char text[100];
    char *last; /* answer */
} sought;

static bool is_found(const weft_metrics *metrics, void *context) {
    sought *self = context;
    (void)metrics;
    free(self->last);
    self->last = scrape_get(self->port, self->path);
    const char *behind = self->last ? strstr(self->last, self->behind) : NULL;
    return behind && strstr(behind, self->text);
}

static void find(harness *under_test, sought *self) {
    self->port = weft_consumer_metrics_port(harness_consumer(under_test));
    bool found = harness_await_metrics(under_test, is_found, self, PATIENCE_MS, NULL);
    cr_expect(found, "%s behind %s: %s", self->text, self->behind, self->last);
    free(self->last);
    self->last = NULL;
}

/* A record that hangs blocks its partition: the page says who has it. */
Test(process_life, seen__a_record_that_hangs__its_worker_and_pid_are_on_the_page) {
    stage self;
    sought look = {.path = "/status", .behind = "\"blocking\": {"};
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_fill(&self, 400, 20);
    const char *settings[] = {"workers", "2", "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "20", NULL};
    harness *under_test = stage_start(&self, settings);
    REQUIRE(trail_await(self.file, 400, PATIENCE_MS));
    stage_put(&self, "x1", "hang 9"); /* it may run before this returns */
    while (trail_count(self.file) == 400)
        REQUIRE(harness_await_metrics(under_test, has_begun, &self, PATIENCE_MS, NULL));
    int32_t pid = trail_get(self.file, trail_count(self.file) - 1).pid;
    snprintf(look.text, sizeof look.text, "\"pid\": %d", pid);
    find(under_test, &look);
    kill(pid, SIGKILL);
    look.path = "/metrics";
    look.behind = "consumer_worker_ends_total";
    snprintf(look.text, sizeof look.text, "reason=\"exit\"} 1");
    find(under_test, &look);
    snprintf(look.text, sizeof look.text, "consumer_worker_records_held 1");
    look.behind = "";
    find(under_test, &look);
    snprintf(look.text, sizeof look.text, "consumer_worker_processes{state=\"ready\"} 2");
    find(under_test, &look);
    harness_stop(under_test, 100);
    harness_free(&under_test);
    stage_close(&self);
}

/* --- those that don't come up */

static bool is_held_back(const weft_metrics *metrics, void *context) {
    uint64_t *starts = context;
    *starts = metrics->system.pool.starts;
    return metrics->system.pool.is_held_back && metrics->partition_count > 0;
}

static void must_answer(uint16_t port, const char *path, const char *text) {
    for (int i = 0; i < PATIENCE_MS; i++) {
        char *answer = scrape_get(port, path);
        bool right = answer && strstr(answer, text);
        if (i == PATIENCE_MS - 1) cr_expect(right, "%s: %s", path, answer);
        free(answer);
        if (right) return;
    }
}

Test(process_life, crash_loop__at_the_start__held_back_not_ready_still_a_member__then_a_right_command) {
    stage self;
    trail_verdict verdict;
    uint64_t starts;
    char right[600];
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_fill(&self, 1000, 20);
    memcpy(right, self.command, sizeof right);
    snprintf(self.command, sizeof self.command, "echo no such thing >&2; exit 3");
    const char *settings[] = {"workers",
                              "3",
                              "worker.restart.backoff.ms",
                              "1",
                              "worker.restart.backoff.max.ms",
                              "50",
                              "metrics.enabled",
                              "true",
                              "metrics.port",
                              "0",
                              "tick.ms",
                              "20",
                              NULL};
    harness *under_test = stage_start(&self, settings);
    uint16_t port = weft_consumer_metrics_port(harness_consumer(under_test));
    REQUIRE(harness_await_metrics(under_test, is_held_back, &starts, PATIENCE_MS, NULL));
    must_answer(port, "/readyz", "no workers: those that are started end before they are ready");
    must_answer(port, "/status", "\"worker_starts_held_back\": true");
    weft_config *config;
    REQUIRE(weft_config_new(&config) == WEFT_OK);
    weft_config_set(config, "bootstrap.servers", self.bootstrap);
    weft_config_set(config, "topics", self.topic);
    weft_config_set(config, "group.id", harness_group(under_test));
    weft_config_set(config, "engine", "process");
    weft_config_set(config, "worker.command", right);
    REQUIRE_EQ(weft_consumer_restart_workers(harness_consumer(under_test), config), WEFT_OK);
    weft_config_free(&config);
    weft_metrics *metrics;
    REQUIRE(harness_await_metrics(under_test, all_are_ready, NULL, PATIENCE_MS, &metrics));
    REQUIRE(!metrics->system.pool.is_held_back);
    REQUIRE_EQ(metrics->system.assignments, 1); /* one membership, from the beginning on */
    free(metrics);
    must_answer(port, "/readyz", "ready: 3 workers");
    finish(&self, under_test, 1000, &verdict);
    REQUIRE_EQ(verdict.begun, 1000);
    stage_close(&self);
}

/* Without descriptors nothing can be started; what is there goes on, and the others come when there are some. */
Test(process_life, descriptors__none_left__start_fails_and_is_tried_again) {
    enum { TAKEN = 200 };
    stage self;
    trail_verdict verdict;
    struct rlimit before, none;
    int last;
    /* All that is opened from now on has a higher number, and goes on when no higher one may be opened. */
    for (last = 0; last < TAKEN;) last = dup(STDIN_FILENO);
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_put(&self, "k0", "kill 1");
    const char *settings[] = {"workers", "1", "worker.restart.backoff.ms", "5", "worker.restart.backoff.max.ms",
                              "5",       NULL};
    harness *under_test = stage_start(&self, settings);
    REQUIRE(trail_await(self.file, 1, PATIENCE_MS)); /* it died once, and came back */
    REQUIRE(harness_await_metrics(under_test, all_are_ready, NULL, PATIENCE_MS, NULL));
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = TAKEN;
    setrlimit(RLIMIT_NOFILE, &none);
    kill(trail_get(self.file, trail_count(self.file) - 1).pid, SIGKILL);
    uint64_t starts;
    bool held_back = harness_await_metrics(under_test, is_held_back, &starts, PATIENCE_MS, NULL);
    setrlimit(RLIMIT_NOFILE, &before);
    REQUIRE(held_back);
    REQUIRE_EQ(starts, 2);
    stage_fill(&self, 500, 20);
    finish(&self, under_test, 501, &verdict);
    stage_close(&self);
}

/* Far more than a frame may hold is ready at once, and one record alone is larger than that. */
Test(process_life, large__16_kib_each_and_one_of_600_kib__each_runs_once) {
    enum { RECORDS = 1000, BYTES = 600 * 1024 };
    stage self;
    trail_verdict verdict;
    STAGE_OPEN(&self, STAGE_C, 0);
    keyed_plan plan = {.topic = self.topic, .partitions = 4, .records = RECORDS, .keys = 100, .value_bytes = 16384};
    produce_keyed(self.bootstrap, &plan);
    test_producer *producer = producer_open(self.bootstrap, NULL);
    char *value = calloc(1, BYTES);
    MUST(value, "no memory");
    producer_put(producer,
                 &(produced_record){
                     .topic = self.topic,
                     .partition = 1,
                     .key = "k1",
                     .key_bytes = 2,
                     .value = value,
                     .value_bytes = BYTES});
    producer_close(producer);
    free(value);
    const char *settings[] = {"workers", "1", NULL};
    finish(&self, stage_start(&self, settings), RECORDS + 1, &verdict);
    REQUIRE_EQ(verdict.begun, RECORDS + 1);
    stage_close(&self);
}

/* --- those that do what they want */

Test(process_life, stderr__flooded_without_end__the_work_goes_on) {
    stage self;
    trail_verdict verdict;
    char command[700];
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_fill(&self, 5000, 20);
    snprintf(command, sizeof command, "yes flood >&2 & exec env %s", self.command);
    memcpy(self.command, command, sizeof self.command);
    const char *settings[] = {"workers", "1", "log.level", "error", NULL};
    finish(&self, stage_start(&self, settings), 5000, &verdict);
    REQUIRE_EQ(verdict.begun, 5000);
    stage_close(&self);
}

/* Nobody says HELLO, nobody hears a word. */
Test(process_life, stop__workers_that_ignore_everything__ends_all_the_same) {
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    snprintf(self.command, sizeof self.command, "trap '' TERM INT HUP; while true; do sleep 100; done");
    const char *settings[] = {"workers", "2", NULL};
    harness *under_test = stage_start(&self, settings);
    REQUIRE(harness_await_metrics(under_test, harness_is_assigned, NULL, PATIENCE_MS, NULL));
    REQUIRE_EQ(harness_stop(under_test, 1000), WEFT_OK);
    harness_free(&under_test);
    stage_close(&self);
}

Test(process_life, stop__workers_that_are_stopped__are_killed_and_it_ends) {
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    const char *settings[] = {"workers", "2", "worker.heartbeat.ms", "60000", NULL};
    harness *under_test = stage_start(&self, settings);
    weft_metrics *metrics;
    REQUIRE(harness_await_metrics(under_test, all_are_ready, NULL, PATIENCE_MS, &metrics));
    for (size_t i = 0; i < metrics->worker_count; i++) kill(metrics->workers[i].pid, SIGSTOP);
    REQUIRE_EQ(harness_stop(under_test, 1000), WEFT_OK);
    for (size_t i = 0; i < metrics->worker_count; i++) REQUIRE(is_gone(metrics->workers[i].pid));
    free(metrics);
    harness_free(&under_test);
    stage_close(&self);
}

/* --- a partition that goes while a worker is at its records */

Test(process_life, revoke__a_worker_at_a_record_of_it__is_dead_before_the_new_owner_begins) {
    stage self;
    trail_verdict verdict;
    STAGE_OPEN(&self, STAGE_C, 0);
    for (int i = 0; i < 4; i++) { /* one in each partition: whichever goes, a worker is at it */
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        stage_put(&self, key, "deaf 1");
    }
    const char *settings[] = {
        "engine",           "process", "worker.command", self.command, "workers", "4", "commit.interval.ms", "20",
        "drain.timeout.ms", "100",     "max.attempts",   "9",          NULL};
    harness_plan plan = stage_plan(&self, settings);
    char *group = must_name("handed-over");
    plan.group = group;
    harness *one = harness_start(&plan);
    for (int i = 0; i < PATIENCE_MS && trail_count(self.file) < 4; i++)
        REQUIRE(harness_await_metrics(one, has_begun, &self, PATIENCE_MS, NULL));
    int32_t old[4];
    for (int i = 0; i < 4; i++) old[i] = trail_get(self.file, (size_t)i).pid;
    harness *other = harness_start(&plan);
    /* All were revoked, because anybody who joins makes all give back; nobody is charged: they hang again, killed at
     * each turn, until the stop. */
    for (size_t count = 4; trail_count(self.file) == count;)
        REQUIRE(harness_await_metrics(other, has_begun, &self, PATIENCE_MS, NULL));
    trail_entry next = trail_get(self.file, 4);
    REQUIRE_EQ(next.attempt, 1);
    for (int i = 0; i < 4; i++) REQUIRE(is_gone(old[i]), "worker %d still runs", old[i]);
    harness_stop(one, 100);
    harness_stop(other, 100);
    verdict = trail_judge(self.file, true);
    REQUIRE(verdict.out_of_order == 0, "%s", verdict.example);
    harness_free(&one);
    harness_free(&other);
    free(group);
    stage_close(&self);
}

/* From now on this process gets no descriptors of processes, as on an old kernel or in a sandbox. */
static void refuse_pidfds(void) {
    struct sock_filter steps[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = sizeof steps / sizeof steps[0], .filter = steps};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
         "no filter");
}

/* A process that was born and can't be watched is ended again. Its number is free then, and may be anybody's: the guard
 * must not kill that one when weft ends. */
Test(process_life, start__a_child_that_cannot_be_watched__is_ended_and_the_guard_forgets_it) {
    static const char *const no_more[] = {NULL};
    char text[64] = "", wanted[64];
    int pair[2];
    unsigned number;
    wf_child child;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
    refuse_pidfds();
    wf_child_options options = {
        .command = "exec sleep 1000", .environment = no_more, .shared_fd = -1, .guard_fd = pair[0]};
    REQUIRE_EQ(wf_child_start(&options, &child), WEFT_ESYSTEM);
    REQUIRE_EQ(errno, ENOSYS);
    close(pair[0]);
    for (ssize_t used = 0, got; (got = read(pair[1], text + used, sizeof text - 1 - (size_t)used)) > 0;) used += got;
    REQUIRE(sscanf(text, "+ %u", &number) == 1, "%s", text);
    snprintf(wanted, sizeof wanted, "+ %u\n- %u\n", number, number);
    REQUIRE(strcmp(text, wanted) == 0, "the guard is told: %s", text);
    REQUIRE(is_gone((int32_t)number));
    close(pair[1]);
}

/* What a command line says on standard error, whole. */
static void said_by(const char *command, char *ret_text, size_t bytes) {
    static const char *const no_more[] = {NULL};
    wf_child_options options = {.command = command, .environment = no_more, .shared_fd = -1, .guard_fd = -1};
    wf_child child;
    size_t used = 0;
    MUST(wf_child_start(&options, &child) == WEFT_OK, "%s", command);
    fcntl(child.stderr_fd, F_SETFL, 0);
    for (ssize_t got; (got = read(child.stderr_fd, ret_text + used, bytes - 1 - used)) > 0;) used += (size_t)got;
    ret_text[used] = '\0';
    wf_child_bury(&child);
    close(child.stderr_fd);
    close(child.exit_fd);
}

/* Only one simple command takes the shell's place; a list of which the first half did so would end after it. */
Test(process_life, start__command_lines_with_quotes_and_lists__run_whole) {
    static const struct {
        const char *command, *said;
    } lines[] = {
        {"echo one >&2", "one\n"},
        {"NAME='a; b' printenv NAME >&2", "a; b\n"},
        {"echo one >&2; echo two >&2", "one\ntwo\n"},
        {"echo \"it's\" >&2; echo two >&2", "it's\ntwo\n"},
        {"echo it\\'s >&2 && echo two >&2", "it's\ntwo\n"},
        {"echo 'a\\' >&2; echo two >&2", "a\\\ntwo\n"},
        {"echo \"\\\"'\" >&2; echo two >&2", "\"'\ntwo\n"},
        {"echo \"$(echo 'a'; echo b)\" >&2", "a\nb\n"},
        {"command echo one >&2", "one\n"},
        {"eval 'echo one >&2'", "one\n"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[256];
        said_by(lines[i].command, text, sizeof text);
        cr_expect_str_eq(text, lines[i].said, "%s says %s", lines[i].command, text);
    }
}
