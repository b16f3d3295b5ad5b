/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole consumer on the mock cluster with real threads, for ThreadSanitizer: every actor on a loop of its own,
 * handlers that return at once, fail, or defer to other threads, while this thread asks for metrics, pauses and
 * resumes. Each key's sequence is checked with plain variables: if two handlers of a key ever overlapped, that would be
 * a data race, and reported as one.
 *
 *     stress_consumer [RECORDS]
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/consumer.h>

#include "mock.h"
#include "produce.h"

enum { KEYS = 200, PARTITIONS = 4, TOKENS = 4096, COMPLETERS = 3 };

static uint64_t next_of_key[KEYS]; /* not atomic on purpose */
static _Atomic uint64_t finished;
static _Atomic uint64_t wrong;

/* Tokens on their way to the completing threads: a slot is 0 while it is free. */
static _Atomic uint64_t tokens[TOKENS];
static _Atomic bool over;

static void hand_over(weft_token token) {
    for (size_t i = token.id % TOKENS;; i = (i + 1) % TOKENS) {
        uint64_t expected = 0;
        if (atomic_compare_exchange_weak(&tokens[i], &expected, token.id)) return;
    }
}

static void *complete(void *unused) {
    (void)unused;
    while (!atomic_load(&over))
        for (size_t i = 0; i < TOKENS; i++) {
            uint64_t id = atomic_load(&tokens[i]) ? atomic_exchange(&tokens[i], 0) : 0;
            if (id && weft_complete((weft_token){id}, WEFT_SUCCESS, NULL) != WEFT_OK) atomic_fetch_add(&wrong, 1);
        }
    return NULL;
}

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    size_t key_bytes, value_bytes;
    const char *key = weft_record_key(record, &key_bytes);
    const void *value = weft_record_value(record, &value_bytes);
    char text[16] = "";
    memcpy(text, key + 1, key_bytes - 1 < sizeof text ? key_bytes - 1 : sizeof text - 1);
    uint64_t number = strtoull(text, NULL, 10), sequence = value_sequence(value, value_bytes);
    if (number >= KEYS) {
        atomic_fetch_add(&wrong, 1);
        return WEFT_SUCCESS;
    }
    if (sequence % 17 == 5 && weft_record_attempt(record) == 1) return weft_record_fail(record, "the first try fails");
    if (next_of_key[number] != sequence) atomic_fetch_add(&wrong, 1);
    next_of_key[number] = sequence + 1;
    atomic_fetch_add(&finished, 1);
    if (sequence % 5 != 2) return WEFT_SUCCESS;
    weft_token token = weft_record_defer(record);
    if (token.id == 0) atomic_fetch_add(&wrong, 1);
    hand_over(token);
    return WEFT_PENDING;
}

static weft_consumer *start(const char *bootstrap) {
    static const char *const options[] = {"topics",           "stress", "group.id",           "stress",
                                          "threads",          "6",      "placement",          "spread",
                                          "retry.backoff.ms", "1",      "commit.interval.ms", "5",
                                          "log.level",        "warn",   "queue.max.records",  "2000"};
    static const char *const kafka[][2] = {{"kafka.session.timeout.ms", "6000"},
                                           {"kafka.heartbeat.interval.ms", "200"},
                                           {"kafka.fetch.wait.max.ms", "10"}};
    weft_config *config;
    weft_consumer *consumer = NULL;
    if (weft_config_new(&config) != WEFT_OK) return NULL;
    weft_config_set(config, "bootstrap.servers", bootstrap);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i += 2)
        weft_config_set(config, options[i], options[i + 1]);
    for (size_t i = 0; i < sizeof kafka / sizeof kafka[0]; i++) weft_config_set(config, kafka[i][0], kafka[i][1]);
    if (weft_consumer_new(config, handle, NULL, &consumer) != WEFT_OK) puts(weft_config_problems(config));
    weft_config_free(&config);
    if (consumer && weft_consumer_start(consumer) != WEFT_OK) puts(weft_consumer_error(consumer));
    return consumer;
}

/* Until every record is finished, or nothing has moved for a minute. */
static void drive(weft_consumer *consumer, uint64_t records) {
    uint64_t last = 0;
    for (int idle = 0, round = 0; atomic_load(&finished) < records && idle < 6000; round++) {
        weft_metrics *metrics;
        if (weft_consumer_metrics(consumer, &metrics) == WEFT_OK) free(metrics);
        if (round % 64 == 10) weft_consumer_pause(consumer, "stress", round % PARTITIONS);
        if (round % 64 == 12) weft_consumer_resume(consumer, NULL, -1);
        if (weft_consumer_wait(consumer, 10) != WEFT_ETIMEOUT) return;
        idle = atomic_load(&finished) == last ? idle + 1 : 0;
        last = atomic_load(&finished);
    }
}

int main(int argc, char **argv) {
    uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : 15000;
    mock_cluster *mock = mock_open(1);
    mock_topic(mock, "stress", PARTITIONS);
    produce_keyed(
        mock_bootstrap(mock),
        &(keyed_plan){
            .topic = "stress", .partitions = PARTITIONS, .records = records, .keys = KEYS, .value_bytes = 40});
    pthread_t completers[COMPLETERS];
    for (int i = 0; i < COMPLETERS; i++) pthread_create(&completers[i], NULL, complete, NULL);
    weft_consumer *consumer = start(mock_bootstrap(mock));
    if (!consumer) return 1;
    drive(consumer, records);
    weft_status stopped = weft_consumer_stop(consumer, 30000);
    weft_consumer_free(&consumer);
    atomic_store(&over, true);
    for (int i = 0; i < COMPLETERS; i++) pthread_join(completers[i], NULL);
    mock_close(mock);
    bool good = atomic_load(&finished) == records && atomic_load(&wrong) == 0 && stopped == WEFT_OK;
    printf("stress_consumer: %llu of %llu records, %llu wrong, stop: %s\n", (unsigned long long)atomic_load(&finished),
           (unsigned long long)records, (unsigned long long)atomic_load(&wrong), weft_status_text(stopped));
    puts(good ? "1 passed, 0 failed" : "0 passed, 1 failed");
    return good ? 0 : 1;
}
