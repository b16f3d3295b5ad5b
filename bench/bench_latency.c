/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_latency: what weft adds to a record's way at a low rate, and what an idle member costs.
 *
 * A thread produces at fixed times; each record carries the time at which it should have been sent, so a stall of the
 * producer shows as latency instead of hiding it. Printed: from there to the handler's first instruction (with
 * producer, broker and fetch), from librdkafka's hands to the handler's first instruction (what weft adds), and the CPU
 * time of the process, which includes the producer's. With --rate 0 nothing is produced: an idle member.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "consume.h"
#include "record.h"
#include "stats.h"
#include "weft/config.h"
#include "weft/consumer.h"

enum { WARM_SECONDS = 1, STOP_MS = 5000, PATIENCE_S = 30 };

static const double percents[] = {50, 90, 99, 99.9};

typedef struct latency_run {
    const char *bootstrap;
    const char *topic;
    unsigned rate;
    unsigned seconds;
    unsigned threads;
    uint64_t wanted;
    atomic_uint_fast64_t handled;
    double *added_us; /* by the order of handling */
    double *whole_us;
} latency_run;

static weft_result handle(const weft_record *record, void *context) {
    latency_run *run = context;
    uint64_t now_ns = stats_now_ns(), intended_ns;
    uint64_t index = atomic_fetch_add(&run->handled, 1);

    if (index >= run->wanted) return WEFT_SUCCESS;
    memcpy(&intended_ns, wf_record_value_bytes(record), sizeof intended_ns);
    run->added_us[index] = (double)(now_ns - record->received_ns) / 1e3;
    run->whole_us[index] = (double)(now_ns - intended_ns) / 1e3;
    return WEFT_SUCCESS;
}

static void sleep_until(uint64_t at_ns) {
    struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0) {
    }
}

static void *produce(void *argument) {
    latency_run *run = argument;
    char error[256], value[100] = {0}, key[32];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set(conf, "bootstrap.servers", run->bootstrap, error, sizeof error);
    rd_kafka_conf_set(conf, "linger.ms", "0", error, sizeof error);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client) return "no producer";
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, run->topic, NULL);
    uint64_t start_ns = stats_now_ns(), gap_ns = 1000000000u / run->rate;

    for (uint64_t i = 0; i < run->wanted; i++) {
        uint64_t intended_ns = start_ns + i * gap_ns;
        int key_bytes = snprintf(key, sizeof key, "key-%07u", (unsigned)(i * 7919 % 10000));

        sleep_until(intended_ns);
        memcpy(value, &intended_ns, sizeof intended_ns);
        rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, sizeof value, key, (size_t)key_bytes,
                         NULL);
        rd_kafka_poll(client, 0);
    }
    rd_kafka_flush(client, PATIENCE_S * 1000);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    return NULL;
}

static double cpu_seconds(void) {
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static weft_status start(latency_run *run, weft_config *config, weft_consumer **ret_consumer) {
    char threads[16];

    snprintf(threads, sizeof threads, "%u", run->threads);
    weft_config_set(config, "bootstrap.servers", run->bootstrap);
    weft_config_set(config, "group.id", run->topic);
    weft_config_set(config, "topics", run->topic);
    weft_config_set(config, "threads", threads);
    weft_config_set(config, "log.level", "error");
    weft_status status = weft_consumer_new(config, handle, run, ret_consumer);
    if (status == WEFT_OK) return weft_consumer_start(*ret_consumer);
    char *problems = weft_config_problems(config);
    fprintf(stderr, "%s\n", problems ? problems : weft_status_text(status));
    free(problems);
    return status;
}

static void print_row(const char *what, double *values, size_t count) {
    stats_spread spread = stats_of(values, count);

    printf("%-26s", what);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++)
        printf(" %9.0f", stats_percentile(values, count, percents[i]));
    printf(" %9.0f\n", spread.max);
}

static int report(latency_run *run, double cpu_s) {
    uint64_t handled = atomic_load(&run->handled);

    if (run->rate == 0) {
        printf("idle member: %.2f %% of a processor over %u s\n", 100 * cpu_s / run->seconds, run->seconds);
        return 0;
    }
    if (handled != run->wanted) {
        fprintf(stderr, "%llu of %llu records handled\n", (unsigned long long)handled, (unsigned long long)run->wanted);
        return 1;
    }
    size_t warm = (size_t)run->rate * WARM_SECONDS, count = run->wanted - warm;
    printf("%u records/s for %u s, %u threads; us\n", run->rate, run->seconds, run->threads);
    printf("%-26s %9s %9s %9s %9s %9s\n", "", "p50", "p90", "p99", "p99.9", "max");
    print_row("added by weft", run->added_us + warm, count);
    print_row("intended send to handler", run->whole_us + warm, count);
    printf("CPU %.1f s per million records, the producer's included\n", cpu_s / (double)run->wanted * 1e6);
    return 0;
}

static int measure(latency_run *run) {
    weft_config *config = NULL;
    weft_consumer *consumer = NULL;
    pthread_t producer;

    if (weft_config_new(&config) != WEFT_OK || start(run, config, &consumer) != WEFT_OK) return 1;
    weft_consumer_wait(consumer, 5000); /* join the group; the first fetches */
    double cpu_s = cpu_seconds();
    if (run->rate == 0) {
        weft_consumer_wait(consumer, (int)run->seconds * 1000);
    } else if (pthread_create(&producer, NULL, produce, run) == 0) {
        pthread_join(producer, NULL);
        for (int i = 0; i < PATIENCE_S * 100 && atomic_load(&run->handled) < run->wanted; i++)
            weft_consumer_wait(consumer, 10);
    }
    cpu_s = cpu_seconds() - cpu_s;
    weft_consumer_stop(consumer, STOP_MS);
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    return report(run, cpu_s);
}

static const struct option options[] = {
    {"bootstrap-servers", required_argument, NULL, 'b'},
    {"rate", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 's'},
    {"threads", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static unsigned number(const char *name, const char *text, unsigned min, unsigned max) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text && !*end && value >= min && value <= max) return (unsigned)value;
    fprintf(stderr, "--%s %s: a number from %u to %u\n", name, text, min, max);
    exit(2);
}

int main(int argc, char **argv) {
    latency_run run = {.rate = 2000, .seconds = 10, .threads = 4};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'b') run.bootstrap = optarg;
        if (option == 'r') run.rate = number("rate", optarg, 0, 100000);
        if (option == 's') run.seconds = number("seconds", optarg, 2, 3600);
        if (option == 't') run.threads = number("threads", optarg, 1, 1000);
        if (option == '?') return 2;
    }
    if (!run.bootstrap) {
        fprintf(stderr, "bench_latency --bootstrap-servers HOST:PORT [--rate N] [--seconds N] [--threads N]\n");
        return 2;
    }
    char topic[64];
    snprintf(topic, sizeof topic, "weft-bench-latency-%d", (int)getpid());
    run.topic = topic;
    run.wanted = (uint64_t)run.rate * run.seconds;
    consume_plan plan = {.bootstrap = run.bootstrap, .topic = topic, .partitions = 8};
    if (!consume_topic_fill(&plan)) return 1;
    run.added_us = calloc(run.wanted + 1, sizeof *run.added_us);
    run.whole_us = calloc(run.wanted + 1, sizeof *run.whole_us);
    if (!run.added_us || !run.whole_us) return 1;
    int result = measure(&run);
    free(run.added_us);
    free(run.whole_us);
    return result;
}
