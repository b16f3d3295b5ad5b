/* SPDX-License-Identifier: Apache-2.0
 *
 * The process engine with real worker processes, for ThreadSanitizer: every actor on a loop of its own, workers that
 * are killed, stopped and replaced under load, while this thread asks for metrics, pauses and resumes. What the workers
 * did is read from their trail at the end: nothing lost, and the order of every key kept.
 *
 *     stress_workers [RECORDS]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weft/consumer.h>

#include "mock.h"
#include "produce.h"
#include "trail.h"

enum { KEYS = 50, PARTITIONS = 4 };

static weft_consumer *start(const char *bootstrap, const char *command) {
    static const char *const options[] = {"topics",
                                          "stress",
                                          "group.id",
                                          "stress",
                                          "engine",
                                          "process",
                                          "workers",
                                          "3",
                                          "placement",
                                          "spread",
                                          "worker.heartbeat.ms",
                                          "500",
                                          "worker.restart.backoff.ms",
                                          "1",
                                          "worker.restart.backoff.max.ms",
                                          "1",
                                          "retry.backoff.ms",
                                          "1",
                                          "max.attempts",
                                          "100",
                                          "commit.interval.ms",
                                          "5",
                                          "log.level",
                                          "error",
                                          "kafka.session.timeout.ms",
                                          "6000",
                                          "kafka.heartbeat.interval.ms",
                                          "200",
                                          "kafka.fetch.wait.max.ms",
                                          "10"};
    weft_config *config;
    weft_consumer *consumer = NULL;
    if (weft_config_new(&config) != WEFT_OK) return NULL;
    weft_config_set(config, "bootstrap.servers", bootstrap);
    weft_config_set(config, "worker.command", command);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i += 2)
        weft_config_set(config, options[i], options[i + 1]);
    if (weft_consumer_new(config, NULL, NULL, &consumer) != WEFT_OK) puts(weft_config_problems(config));
    weft_config_free(&config);
    if (consumer && weft_consumer_start(consumer) != WEFT_OK) puts(weft_consumer_error(consumer));
    return consumer;
}

static void trouble(weft_consumer *consumer, const trail *file, int round) {
    size_t count = trail_count(file);
    if (round % 6 == 5 && count) kill(trail_get(file, count - 1).pid, round % 36 == 5 ? SIGSTOP : SIGKILL);
    if (round % 128 == 100) weft_consumer_restart_workers(consumer, NULL);
    if (round % 64 == 10) weft_consumer_pause(consumer, "stress", round % PARTITIONS);
    if (round % 64 == 12) weft_consumer_resume(consumer, NULL, -1);
}

/* Until every record is done, or nothing has moved for a minute. */
static void drive(weft_consumer *consumer, const trail *file, uint64_t records) {
    uint64_t last = 0;
    for (int idle = 0, round = 0; idle < 6000; round++) {
        weft_metrics *metrics;
        bool done = false;
        if (weft_consumer_metrics(consumer, &metrics) == WEFT_OK) {
            done = metrics->partition_count == PARTITIONS;
            for (size_t i = 0; i < metrics->partition_count; i++)
                done = done && metrics->partitions[i].true_lag == 0 && metrics->partitions[i].succeeded > 0;
            free(metrics);
        }
        uint64_t now = trail_count(file);
        if (done && now >= 2 * records) return;
        trouble(consumer, file, round);
        if (weft_consumer_wait(consumer, 10) != WEFT_ETIMEOUT) return;
        idle = now == last ? idle + 1 : 0;
        last = now;
    }
}

/* The worker is built beside this program. */
static void make_command(const char *path, char *command, size_t bytes) {
    char self[400] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) abort();
    for (int i = 0; i < 2; i++) *strrchr(self, '/') = '\0';
    snprintf(command, bytes, "TRAIL=%s TRAIL_US=200 %s/programs/trail_worker", path, self);
}

int main(int argc, char **argv) {
    uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : 4000;
    char path[64], command[600];
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "stress", PARTITIONS);
    trail *file = trail_create(path);
    make_command(path, command, sizeof command);
    produce_keyed(
        mock_bootstrap(mock),
        &(keyed_plan){
            .topic = "stress", .partitions = PARTITIONS, .records = records, .keys = KEYS, .value_bytes = 40});
    weft_consumer *consumer = start(mock_bootstrap(mock), command);
    if (!consumer) return 1;
    drive(consumer, file, records);
    weft_status stopped = weft_consumer_stop(consumer, 30000);
    weft_consumer_free(&consumer);
    mock_close(mock);
    trail_verdict seen = trail_judge(file, true);
    bool good = seen.records == records && seen.out_of_order == 0 && seen.cut > 0 && stopped == WEFT_OK;
    printf("stress_workers: %llu of %llu records, %llu cut, %llu out of order %s, stop: %s\n",
           (unsigned long long)seen.records, (unsigned long long)records, (unsigned long long)seen.cut,
           (unsigned long long)seen.out_of_order, seen.example, weft_status_text(stopped));
    trail_discard(&file, path);
    puts(good ? "1 passed, 0 failed" : "0 passed, 1 failed");
    return good ? 0 : 1;
}
