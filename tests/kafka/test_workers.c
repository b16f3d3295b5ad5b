/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker processes on a real broker: killed under load, by a record, while partitions go from one member to another,
 * and while the broker restarts.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "must.h"
#include "own_broker.h"
#include "produce.h"
#include "require.h"
#include "topic.h"
#include "trail.h"

TestSuite(workers, .timeout = 100);

enum { PATIENCE_MS = 60000, PARTITIONS = 6, KEYS = 300 };

typedef struct scene {
    const char *bootstrap;
    char *topic;
    trail *file;
    char path[64];
    char command[600];
    const char *settings[24];
    harness_plan plan;
} scene;

static void open_scene_at(scene *self, const char *bootstrap, const char *name, uint64_t records, unsigned work_us) {
    *self = (scene){.bootstrap = bootstrap, .topic = must_name(name)};
    MUST(self->bootstrap && *self->bootstrap, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    self->file = trail_create(self->path);
    snprintf(self->command, sizeof self->command, "TRAIL=%s TRAIL_US=%u %s/tests/programs/trail_worker", self->path,
             work_us, WEFT_BUILD_DIR);
    topic_create(self->bootstrap, self->topic, PARTITIONS, NULL);
    keyed_plan plan = {
        .topic = self->topic, .partitions = PARTITIONS, .records = records, .keys = KEYS, .value_bytes = 200};
    if (records) produce_keyed(self->bootstrap, &plan);
    const char *settings[] = {"engine",
                              "process",
                              "worker.command",
                              self->command,
                              "workers",
                              "3",
                              "worker.restart.backoff.ms",
                              "1",
                              "worker.restart.backoff.max.ms",
                              "1",
                              "retry.backoff.ms",
                              "1",
                              "max.attempts",
                              "20",
                              NULL};
    memcpy(self->settings, settings, sizeof settings);
    self->plan = (harness_plan){.bootstrap = self->bootstrap,
                                .group = self->topic,
                                .real_broker = true,
                                .topics = self->topic,
                                .settings = self->settings};
}

static void open_scene(scene *self, const char *name, uint64_t records, unsigned work_us) {
    open_scene_at(self, getenv("WEFT_TEST_KAFKA_BOOTSTRAP"), name, records, work_us);
}

static void close_scene(scene *self) {
    trail_discard(&self->file, self->path);
    free(self->topic);
}

/* Whoever wrote the trail's last entry dies. */
static void kill_somebody(const scene *self) {
    size_t count = trail_count(self->file);
    if (count) kill(trail_get(self->file, count - 1).pid, SIGKILL);
}

static void finish(const scene *self, harness *under_test, uint64_t records) {
    char text[2000];
    harness_watch(under_test, self->topic, PARTITIONS);
    REQUIRE(trail_await(self->file, records, PATIENCE_MS));
    REQUIRE(harness_await_metrics(under_test, harness_is_committed, NULL, PATIENCE_MS, NULL));
    REQUIRE_EQ(harness_stop(under_test, 10000), WEFT_OK);
    cr_expect(harness_is_all_committed(under_test, text, sizeof text), "%s", text);
    harness_free(&under_test);
    trail_verdict verdict = trail_judge(self->file, true);
    REQUIRE(verdict.records == records && verdict.out_of_order == 0, "%s", verdict.example);
}

static bool is_alone(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == PARTITIONS && metrics->system.assignments == 1;
}

Test(workers, kills__thirty_under_load__nothing_lost_order_kept_no_rebalance) {
    enum { RECORDS = 30000, KILLS = 30 };
    scene self;
    open_scene(&self, "killed", RECORDS, 20);
    harness *under_test = harness_start(&self.plan);
    for (uint64_t kills = 0; kills < KILLS; kills++) {
        REQUIRE(trail_await(self.file, (kills + 1) * RECORDS / (KILLS + 2), PATIENCE_MS));
        kill_somebody(&self);
    }
    REQUIRE(harness_await_metrics(under_test, is_alone, NULL, PATIENCE_MS, NULL));
    finish(&self, under_test, RECORDS);
    close_scene(&self);
}

Test(workers, deaths_by_the_record__segv_abort_exit__run_again_and_the_last_is_given_up) {
    static const char *const values[] = {"segv 2", "abort 1", "exit 1", "kill 3", "segv 99"};
    scene self;
    open_scene(&self, "deadly", 0, 0);
    test_producer *producer = producer_open(self.bootstrap, NULL);
    for (int round = 0; round < 200; round++)
        for (int32_t i = 0; i < PARTITIONS; i++) {
            const char *value = round == 100 && i < 5 ? values[i] : "nothing";
            char key[8];
            /* The trail can't know that a record was given up: this one has its key alone. */
            int key_bytes = snprintf(key, sizeof key, "%c%d", round == 100 && i == 4 ? 'x' : 'k', i);
            producer_put(producer, &(produced_record){.topic = self.topic,
                                                      .partition = i,
                                                      .key = key,
                                                      .key_bytes = (size_t)key_bytes,
                                                      .value = value,
                                                      .value_bytes = strlen(value)});
        }
    producer_close(producer);
    self.settings[11] = "4"; /* retry.backoff.ms */
    self.settings[13] = "5"; /* max.attempts */
    self.settings[14] = "failure.policy";
    self.settings[15] = "skip";
    finish(&self, harness_start(&self.plan), 1199);
    REQUIRE_EQ(trail_judge(self.file, true).cut, 2 + 1 + 1 + 3 + 5);
    close_scene(&self);
}

static bool has_half(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->partition_count == PARTITIONS / 2;
}

Test(workers, two_members__one_comes_and_goes_with_a_short_drain__while_workers_die) {
    enum { RECORDS = 40000 };
    scene self;
    open_scene(&self, "shared", RECORDS, 300);
    self.settings[14] = "drain.timeout.ms";
    self.settings[15] = "50";
    harness *one = harness_start(&self.plan);
    REQUIRE(trail_await(self.file, RECORDS / 20, PATIENCE_MS));
    harness *other = harness_start(&self.plan);
    for (int i = 1; i <= 5; i++) {
        REQUIRE(trail_await(self.file, (uint64_t)i * RECORDS / 12, PATIENCE_MS));
        kill_somebody(&self);
    }
    REQUIRE(harness_await_metrics(other, has_half, NULL, PATIENCE_MS, NULL));
    weft_status stopped = harness_stop(other, 5000);
    REQUIRE(stopped == WEFT_OK || stopped == WEFT_EABANDONED);
    harness_free(&other);
    finish(&self, one, RECORDS);
    close_scene(&self);
}

/* Workers go on with what was read, and die, while nobody can fetch or commit. */
Test(workers, broker_restarts__under_load_while_workers_die__nothing_lost_order_kept_all_committed) {
    enum { RECORDS = 40000, KILLS = 3 };
    own_broker broker;
    scene self;
    own_broker_start(&broker, NULL);
    open_scene_at(&self, broker.bootstrap, "restarted", RECORDS, 300);
    self.settings[14] = "kafka.reconnect.backoff.max.ms"; /* ten seconds otherwise */
    self.settings[15] = "500";
    harness *under_test = harness_start(&self.plan);
    REQUIRE(trail_await(self.file, RECORDS / 10, PATIENCE_MS));
    own_broker_restart *restart = own_broker_begin_restart(&broker);
    for (int i = 0; i < KILLS; i++) {
        kill_somebody(&self);
        REQUIRE(trail_await(self.file, trail_judge(self.file, false).records + 500, PATIENCE_MS));
    }
    REQUIRE(trail_judge(self.file, false).records < RECORDS, "all was done before the broker was back");
    own_broker_await_restart(&restart);
    finish(&self, under_test, RECORDS);
    close_scene(&self);
    own_broker_stop(&broker);
}
