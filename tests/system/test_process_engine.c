/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker processes that live, die, hang and are killed: real processes, the whole consumer, a mock of Kafka.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "heard.h"
#include "produce.h"
#include "require.h"
#include "stage.h"

/* One for all, enough for ten thousand deaths: Criterion loses the memory of a timeout that is not like the others. */
TestSuite(process_engine, .timeout = 600);

enum { PATIENCE_MS = STAGE_PATIENCE_MS };

/* What a worker of each language must stand. */
#define IN_EACH_LANGUAGE(situation)                                                                                    \
    Test(process_engine, situation##__c) {                                                                             \
        situation(STAGE_C);                                                                                            \
    }                                                                                                                  \
    Test(process_engine, situation##__python) {                                                                        \
        situation(STAGE_PYTHON);                                                                                       \
    }

static trail_verdict finish(stage *self, harness *under_test, uint64_t records) {
    trail_verdict verdict;
    char text[2000];
    cr_expect(stage_finish(self, under_test, records, &verdict, text, sizeof text), "%s", text);
    return verdict;
}

static void work__two_workers__each_record_once_in_order(stage_language language) {
    stage self;
    STAGE_OPEN(&self, language, 0);
    stage_fill(&self, 20000, 50);
    const char *settings[] = {"workers", "2", NULL};
    trail_verdict verdict = finish(&self, stage_start(&self, settings), 20000);
    REQUIRE_EQ(verdict.begun, 20000);
    REQUIRE_EQ(verdict.done, 20000);
    stage_close(&self);
}

IN_EACH_LANGUAGE(work__two_workers__each_record_once_in_order)

static void death__by_the_record__it_is_charged_and_runs_again(stage_language language) {
    static const char *const deaths[] = {"kill 2", "segv 1", "abort 1", "exit 1"};
    stage self;
    STAGE_OPEN(&self, language, 0);
    stage_fill(&self, 2000, 20);
    for (int i = 0; i < 4; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        stage_put(&self, key, deaths[i]);
    }
    keyed_plan plan = {
        .topic = self.topic, .partitions = 4, .records = 2000, .keys = 20, .value_bytes = 100, .first = 2000};
    produce_keyed(self.bootstrap, &plan);
    const char *settings[] = {"workers", "2", "retry.backoff.ms", "1", "worker.restart.backoff.ms", "10", NULL};
    trail_verdict verdict = finish(&self, stage_start(&self, settings), 4004);
    /* Those who died in a record died alone: nothing else was begun twice. */
    REQUIRE_EQ(verdict.cut, 5);
    stage_close(&self);
}

IN_EACH_LANGUAGE(death__by_the_record__it_is_charged_and_runs_again)

/* As people write it who know what a shell does. */
Test(process_engine, command__with_exec_of_its_own__runs) {
    stage self;
    char command[sizeof self.command];
    STAGE_OPEN(&self, STAGE_C, 0);
    snprintf(command, sizeof command, "exec env %.500s", self.command);
    memcpy(self.command, command, sizeof command);
    stage_fill(&self, 100, 5);
    const char *settings[] = {"workers", "1", NULL};
    REQUIRE_EQ(finish(&self, stage_start(&self, settings), 100).done, 100);
    stage_close(&self);
}

static int32_t begun_by(const stage *self, size_t *place) {
    while (*place < trail_count(self->file)) {
        trail_entry entry = trail_get(self->file, (*place)++);
        if (entry.kind == TRAIL_BEGIN) return entry.pid;
    }
    return 0;
}

/* Whoever began the latest record is killed, again and again. */
static void death__kill_9_from_outside_forty_times__nothing_lost_order_kept(stage_language language) {
    enum { RECORDS = 20000, KILLS = 40 };
    stage self;
    STAGE_OPEN(&self, language, 30);
    stage_fill(&self, RECORDS, 40);
    const char *settings[] = {"workers", "3", "worker.restart.backoff.ms", "1", "worker.restart.backoff.max.ms",
                              "1",       NULL};
    harness *under_test = stage_start(&self, settings);
    for (uint64_t kills = 0; kills < KILLS; kills++) {
        size_t place = trail_count(self.file);
        REQUIRE(trail_await(self.file, (kills + 1) * RECORDS / (KILLS + 2), PATIENCE_MS));
        int32_t pid = begun_by(&self, &place);
        if (pid) kill(pid, SIGKILL);
    }
    trail_verdict verdict = finish(&self, under_test, RECORDS);
    cr_log_info("begun %llu cut %llu repeated %llu", (unsigned long long)verdict.begun, (unsigned long long)verdict.cut,
                (unsigned long long)verdict.repeated);
    REQUIRE(verdict.cut > 0 && verdict.cut <= KILLS);
    stage_close(&self);
}

IN_EACH_LANGUAGE(death__kill_9_from_outside_forty_times__nothing_lost_order_kept)

static void deadline__a_worker_that_hangs__killed_in_steps_and_the_record_charged(stage_language language) {
    stage self;
    STAGE_OPEN(&self, language, 0);
    stage_put(&self, "k1", "hang 1");
    stage_fill(&self, 1000, 20);
    const char *settings[] = {"workers", "2", "handler.deadline.ms", "100", "worker.grace.ms", "20", "retry.backoff.ms",
                              "1",       NULL};
    trail_verdict verdict = finish(&self, stage_start(&self, settings), 1001);
    REQUIRE_EQ(verdict.cut, 1);
    stage_close(&self);
}

IN_EACH_LANGUAGE(deadline__a_worker_that_hangs__killed_in_steps_and_the_record_charged)

/* Slices are as long as records are quick: of the quiet ones many hundreds at once. In the middle of some that leave
 * traces one hangs, and what stands before it was reported. */
enum { OTHERS = 3, ROUNDS_MIN = 3, ROUNDS_MAX = 40, QUIET = 20000, TRACED = 400, ROUND = QUIET + TRACED + 2 + TRACED };

static void fill_round(const stage *self) {
    test_producer *producer = producer_open(self->bootstrap, NULL);
    for (int i = 0; i < ROUND; i++) {
        int at = i - QUIET;
        const char *value = at < 0 ? "quiet" : at == TRACED ? "slow" : at == TRACED + 1 ? "hang 1" : "v";
        producer_put(producer, &(produced_record){.topic = self->topic,
                                                  .key = "k0",
                                                  .key_bytes = 2,
                                                  .value = value,
                                                  .value_bytes = strlen(value)});
    }
    producer_close(producer);
}

typedef struct pause_at {
    size_t rounds;
    uint32_t held;
} pause_at;

/* What it had reported before is known when its line is. */
static bool hangs(const weft_metrics *metrics, void *context) {
    pause_at *self = context;
    self->held = metrics->worker_count ? (uint32_t)metrics->workers[0].records_held : 0;
    return heard_count("worker says", "hanging") == self->rounds;
}

static void death__in_the_middle_of_slices_of_many_hundreds__exactly_the_unfinished_run_again(stage_language language) {
    stage self;
    STAGE_OPEN(&self, language, 0);
    static const char *const others[] = {"k1", "k2", "k3"}; /* something in each partition */
    for (int i = 0; i < OTHERS; i++) stage_put(&self, others[i], "v");
    setenv("WEFT_TEST_LOG", "info", 1);
    heard_begin();
    const char *settings[] = {"workers",
                              "1",
                              "retry.backoff.ms",
                              "1",
                              "worker.restart.backoff.ms",
                              "1",
                              "worker.restart.backoff.max.ms",
                              "1",
                              NULL};
    harness *under_test = stage_start(&self, settings);
    uint32_t most = 0, round = 0;
    /* How long slices are is for the machine to say: until one was long enough. */
    for (; round < ROUNDS_MIN || (round < ROUNDS_MAX && most <= 256); round++) {
        fill_round(&self);
        pause_at hang = {.rounds = round + 1};
        REQUIRE(harness_await_metrics(under_test, hangs, &hang, PATIENCE_MS, NULL));
        if (hang.held > most) most = hang.held;
        trail_entry last = trail_get(self.file, trail_count(self.file) - 1);
        REQUIRE(last.kind == TRAIL_BEGIN && last.offset == (int64_t)round * ROUND + QUIET + TRACED + 1);
        kill(last.pid, SIGKILL);
    }
    trail_verdict verdict = finish(&self, under_test, round * (2 * TRACED + 2) + OTHERS);
    cr_log_info("%u records were held at most", most);
    REQUIRE(verdict.cut == round && verdict.repeated == 0, "%llu cut, %llu repeated", (unsigned long long)verdict.cut,
            (unsigned long long)verdict.repeated);
    /* All of one key: it was one slice. */
    REQUIRE(most > 256, "%u records were held at most", most);
    heard_end();
    unsetenv("WEFT_TEST_LOG");
    stage_close(&self);
}

/* Not for those of other languages: a worker that can't send while its handler runs can't say that it hangs. */
Test(process_engine, death__in_the_middle_of_slices_of_many_hundreds__exactly_the_unfinished_run_again__in_c) {
    death__in_the_middle_of_slices_of_many_hundreds__exactly_the_unfinished_run_again(STAGE_C);
}

Test(process_engine, death__in_the_middle_of_slices_of_many_hundreds__exactly_the_unfinished_run_again__in_python) {
    death__in_the_middle_of_slices_of_many_hundreds__exactly_the_unfinished_run_again(STAGE_PYTHON);
}

/* Nobody is charged: it was not the record's doing. */
Test(process_engine, silence__workers_stopped_from_outside__killed_and_their_records_run_again) {
    enum { RECORDS = 10000 };
    stage self;
    STAGE_OPEN(&self, STAGE_C, 30);
    stage_fill(&self, RECORDS, 40);
    const char *settings[] = {"workers", "2", "worker.heartbeat.ms", "100", "max.attempts", "1", NULL};
    harness *under_test = stage_start(&self, settings);
    for (uint64_t stops = 0; stops < 3; stops++) {
        size_t place = trail_count(self.file);
        REQUIRE(trail_await(self.file, (stops + 1) * RECORDS / 5, PATIENCE_MS));
        int32_t pid = begun_by(&self, &place);
        if (pid) kill(pid, SIGSTOP);
    }
    trail_verdict verdict = finish(&self, under_test, RECORDS);
    REQUIRE(verdict.cut <= 3);
    stage_close(&self);
}

static void failure__reported_by_the_worker__tried_again(stage_language language) {
    stage self;
    STAGE_OPEN(&self, language, 0);
    stage_put(&self, "k1", "fail 2");
    stage_fill(&self, 1000, 20);
    const char *settings[] = {"workers", "2", "retry.backoff.ms", "1", NULL};
    trail_verdict verdict = finish(&self, stage_start(&self, settings), 1001);
    REQUIRE_EQ(verdict.failed, 2);
    REQUIRE_EQ(verdict.cut, 0);
    stage_close(&self);
}

IN_EACH_LANGUAGE(failure__reported_by_the_worker__tried_again)

/* What kills its worker meets the failure policy like any failure, while the others go on. */
Test(process_engine, poison__kills_its_worker_each_time__given_up_after_max_attempts) {
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_put(&self, "x2", "kill 9"); /* alone in its partition's lane of that key */
    stage_fill(&self, 1000, 20);
    const char *settings[] = {"workers",
                              "2",
                              "max.attempts",
                              "3",
                              "failure.policy",
                              "skip",
                              "retry.backoff.ms",
                              "1",
                              "worker.restart.backoff.ms",
                              "1",
                              NULL};
    trail_verdict verdict = finish(&self, stage_start(&self, settings), 1000);
    REQUIRE_EQ(verdict.cut, 3);
    stage_close(&self);
}

static bool has_begun(const weft_metrics *metrics, void *context) {
    const stage *self = context;
    (void)metrics;
    return trail_count(self->file) > 0;
}

/* What ignores everything is killed, and so its partition is free before anybody else has it. */
Test(process_engine, stop__a_worker_that_hangs__it_is_killed_and_the_stop_ends) {
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    stage_put(&self, "k1", "hang 9");
    const char *settings[] = {"workers", "2", NULL};
    harness *under_test = stage_start(&self, settings);
    REQUIRE(harness_await_metrics(under_test, has_begun, &self, PATIENCE_MS, NULL));
    weft_status status = harness_stop(under_test, 200);
    cr_expect(status == WEFT_OK || status == WEFT_EABANDONED, "%s", weft_status_text(status));
    size_t count = trail_count(self.file);
    for (size_t i = 0; i < count; i++) {
        trail_entry entry = trail_get(self.file, i);
        REQUIRE(kill(entry.pid, 0) != 0, "worker %d still lives", entry.pid);
    }
    harness_free(&under_test);
    stage_close(&self);
}

/* A batch can't say which record it was at: those that may have been it run alone, until it is found. */
Test(process_engine, death__in_a_batch__the_records_run_one_by_one_and_the_culprit_is_charged) {
    stage self;
    STAGE_OPEN(&self, STAGE_PYTHON_BATCH, 0);
    stage_fill(&self, 500, 20);
    stage_put(&self, "k1", "kill 1");
    const char *settings[] = {"workers", "1", "retry.backoff.ms", "1", "worker.restart.backoff.ms", "1", NULL};
    trail_verdict verdict = finish(&self, stage_start(&self, settings), 501);
    REQUIRE(verdict.cut >= 2);
    stage_close(&self);
}

static bool all_ready_but_one(const weft_metrics *metrics, void *context) {
    uint32_t *least = context;
    uint32_t ready = metrics->system.pool.by_state[WEFT_WORKER_READY];
    if (metrics->system.pool.starts > 3 && ready < *least) *least = ready;
    return metrics->system.pool.starts >= 6 && ready == 3;
}

Test(process_engine, rolling_restart__under_load__no_record_twice_and_never_two_away) {
    stage self;
    STAGE_OPEN(&self, STAGE_C, 200);
    stage_fill(&self, 20000, 60);
    const char *settings[] = {"workers", "3", NULL};
    harness *under_test = stage_start(&self, settings);
    uint32_t least = 3;
    REQUIRE(trail_await(self.file, 1000, PATIENCE_MS));
    REQUIRE_EQ(weft_consumer_restart_workers(harness_consumer(under_test), NULL), WEFT_OK);
    REQUIRE(harness_await_metrics(under_test, all_ready_but_one, &least, PATIENCE_MS, NULL));
    REQUIRE(least >= 2, "%u were ready", least);
    trail_verdict verdict = finish(&self, under_test, 20000);
    REQUIRE_EQ(verdict.begun, 20000);
    stage_close(&self);
}

static uint32_t open_descriptors(void) {
    uint32_t count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static bool is_quiet(const weft_metrics *metrics, void *context) {
    const uint32_t *workers = context;
    return metrics->system.pool.by_state[WEFT_WORKER_READY] == *workers && harness_is_committed(metrics, NULL);
}

/* Each record kills its worker once. WEFT_TEST_DEATHS: another number of them. */
Test(process_engine, deaths__a_thousand__all_records_done_and_nothing_left_behind) {
    const char *wanted = getenv("WEFT_TEST_DEATHS");
    uint32_t deaths = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : 1000, workers = 4;
    stage self;
    STAGE_OPEN(&self, STAGE_C, 0);
    const char *settings[] = {"workers",
                              "4",
                              "retry.backoff.ms",
                              "1",
                              "worker.restart.backoff.ms",
                              "1",
                              "worker.restart.backoff.max.ms",
                              "1",
                              "max.attempts",
                              "3",
                              NULL};
    harness *under_test = stage_start(&self, settings);
    stage_fill(&self, 100, 10);
    REQUIRE(trail_await(self.file, 100, PATIENCE_MS));
    REQUIRE(harness_await_metrics(under_test, is_quiet, &workers, PATIENCE_MS, NULL));
    uint32_t before = open_descriptors();
    test_producer *producer = producer_open(self.bootstrap, NULL);
    for (uint32_t i = 0; i < deaths; i++) {
        char key[16];
        int key_bytes = snprintf(key, sizeof key, "k%u", i % 40);
        producer_put(producer, &(produced_record){.topic = self.topic,
                                                  .partition = (int32_t)(i % 4),
                                                  .key = key,
                                                  .key_bytes = (size_t)key_bytes,
                                                  .value = "kill 1",
                                                  .value_bytes = 6});
    }
    producer_close(producer);
    REQUIRE(trail_await(self.file, 100 + deaths, 500000));
    weft_metrics *metrics;
    REQUIRE(harness_await_metrics(under_test, is_quiet, &workers, PATIENCE_MS, &metrics));
    cr_expect(metrics->system.pool.ends[WEFT_END_EXIT] >= deaths, "%llu ends",
              (unsigned long long)metrics->system.pool.ends[WEFT_END_EXIT]);
    free(metrics);
    cr_expect(open_descriptors() <= before + 4, "%u descriptors, %u before", open_descriptors(), before);
    trail_verdict verdict = finish(&self, under_test, 100 + deaths);
    REQUIRE_EQ(verdict.cut, deaths);
    REQUIRE(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "a zombie");
    stage_close(&self);
}
