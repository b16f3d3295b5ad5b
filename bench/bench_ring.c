/* SPDX-License-Identifier: Apache-2.0
 *
 * What a record costs in weft alone: the whole consumer, with a door to Kafka that has every record at once, so that
 * neither librdkafka nor a broker is in the figures. Processor time of the ring's thread and of all threads, in ns per
 * record.
 *
 *   bench_ring [NAME=VALUE ...]      options of weft; in the environment RECORDS, KEYS, VALUE_BYTES, PARTITIONS,
 *                                    REPETITIONS
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <time.h>

#include "kafka.h"
#include "kafka_bell.h"
#include "stats.h"
#include "weft/consumer.h"

enum { PARTITIONS_MAX = 10000, SET_RECORDS = 400, MEMORY_BYTES = 4 << 20 };

static uint64_t records, keys, value_bytes, partitions;
static const char topic[] = "ring";

/* --- a door that is always full */

typedef struct door {
    wf_kafka kafka;
    int events_fd, records_fd;
    wf_kafka_partition partitions[PARTITIONS_MAX];
    bool to_assign, to_tell, to_revoke, to_close;
    bool assigned, stop;
    wf_kafka_partition *results;
    size_t result_count;
    int64_t next[PARTITIONS_MAX];
    uint64_t delivered;
    uint64_t random;
    char *memory;
    size_t at;
} door;

static void descriptors(wf_kafka *kafka, int *ret_events_fd, int *ret_records_fd) {
    *ret_events_fd = ((door *)kafka)->events_fd;
    *ret_records_fd = ((door *)kafka)->records_fd;
}

static bool serve(wf_kafka *kafka, const wf_kafka_sink *sink, void *context) {
    door *self = (door *)kafka;
    if (self->to_assign) {
        self->to_assign = false;
        sink->on_assign(context, self->partitions, partitions, false);
    }
    if (self->to_tell) {
        self->to_tell = false;
        sink->on_committed_offsets(context, WF_KAFKA_OK, NULL, self->partitions, partitions);
    }
    if (self->results) {
        wf_kafka_partition *results = self->results;
        self->results = NULL;
        sink->on_commit_result(context, WF_KAFKA_OK, NULL, results, self->result_count);
        free(results);
    }
    if (self->to_revoke) {
        self->to_revoke = false;
        sink->on_revoke(context, self->partitions, partitions, false, false);
    }
    if (self->to_close) {
        self->to_close = false;
        sink->on_closed(context);
    }
    return false;
}

static uint64_t next_random(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static size_t consume(wf_kafka *kafka, size_t max_records, const wf_kafka_sink *sink, void *context) {
    door *self = (door *)kafka;
    size_t count = 0;
    wf_bell_clear(self->records_fd);
    self->stop = false;
    while (self->assigned && count < max_records && !self->stop && self->delivered < records) {
        size_t partition = self->delivered++ / SET_RECORDS % partitions;
        uint64_t key = next_random(&self->random) % keys;
        if (self->at + value_bytes > MEMORY_BYTES) self->at = 0;
        wf_kafka_record record = {.topic = topic,
                                  .topic_id = topic,
                                  .partition = (int32_t)partition,
                                  .offset = self->next[partition]++,
                                  .timestamp_ms = 1700000000000,
                                  .key = &key,
                                  .key_bytes = sizeof key,
                                  .value = self->memory + self->at,
                                  .value_bytes = value_bytes};
        self->at += value_bytes;
        sink->on_record(context, &record);
        count++;
    }
    return count;
}

static void consume_stop(wf_kafka *kafka) {
    ((door *)kafka)->stop = true;
}

static bool header(const wf_kafka_record *record, size_t index, const char **name, const void **value, size_t *bytes) {
    (void)record, (void)index, (void)name, (void)value, (void)bytes;
    return false;
}

static weft_status subscribe(wf_kafka *kafka, const char *const *topics, size_t count) {
    (void)topics, (void)count;
    ((door *)kafka)->to_assign = true;
    wf_bell_ring(((door *)kafka)->events_fd);
    return WEFT_OK;
}

static weft_status fetch_committed(wf_kafka *kafka, const wf_kafka_partition *list, size_t count) {
    (void)list, (void)count;
    ((door *)kafka)->to_tell = true;
    wf_bell_ring(((door *)kafka)->events_fd);
    return WEFT_OK;
}

static weft_status assign(wf_kafka *kafka, const wf_kafka_partition *list, size_t count, bool incremental) {
    (void)list, (void)count, (void)incremental;
    ((door *)kafka)->assigned = true;
    wf_bell_ring(((door *)kafka)->records_fd);
    return WEFT_OK;
}

static weft_status unassign(wf_kafka *kafka, const wf_kafka_partition *list, size_t count, bool incremental) {
    (void)list, (void)count, (void)incremental;
    ((door *)kafka)->assigned = false;
    ((door *)kafka)->to_close = true;
    wf_bell_ring(((door *)kafka)->events_fd);
    return WEFT_OK;
}

static weft_status commit(wf_kafka *kafka, const wf_kafka_partition *list, size_t count) {
    door *self = (door *)kafka;
    self->results = calloc(count, sizeof *list);
    if (!self->results) abort();
    memcpy(self->results, list, count * sizeof *list);
    for (size_t i = 0; i < count; i++) self->results[i].topic = topic;
    self->result_count = count;
    wf_bell_ring(self->events_fd);
    return WEFT_OK;
}

static weft_status hold(wf_kafka *kafka, const char *name, int32_t partition, bool held) {
    (void)kafka, (void)name, (void)partition, (void)held;
    return WEFT_OK;
}

static weft_status seek(wf_kafka *kafka, const char *name, int32_t partition, int64_t offset) {
    (void)kafka, (void)name, (void)partition, (void)offset;
    return WEFT_OK;
}

static size_t queued(wf_kafka *kafka) {
    return records - ((door *)kafka)->delivered;
}

static int64_t log_end(wf_kafka *kafka, const char *name, int32_t partition) {
    (void)kafka, (void)name, (void)partition;
    return (int64_t)records;
}

static void wake(wf_kafka *kafka) {
    (void)kafka;
}

static weft_status close_begin(wf_kafka *kafka) {
    ((door *)kafka)->to_revoke = true;
    wf_bell_ring(((door *)kafka)->events_fd);
    return WEFT_OK;
}

static void free_door(wf_kafka *kafka) {
    door *self = (door *)kafka;
    wf_bell_close(self->events_fd);
    wf_bell_close(self->records_fd);
    free(self->memory);
    free(self->results);
    free(self);
}

static const char *version(void) {
    return "none";
}

/* In the order of kafka.h. */
static const wf_kafka_ops ops = {descriptors, serve,    consume, consume_stop, header, subscribe, fetch_committed,
                                 assign,      unassign, commit,  hold,         seek,   queued,    log_end,
                                 wake,        close_begin, free_door, version};

weft_status __wrap_wf_kafka_open(const wf_setting *settings, size_t count, wf_kafka **ret_kafka,
                                 char **ret_error);

weft_status __wrap_wf_kafka_open(const wf_setting *settings, size_t count, wf_kafka **ret_kafka,
                                 char **ret_error) {
    (void)settings, (void)count, (void)ret_error;
    door *self = calloc(1, sizeof *self);
    if (!self || !(self->memory = calloc(1, MEMORY_BYTES))) abort();
    self->kafka.ops = &ops;
    self->events_fd = wf_bell_open();
    self->records_fd = wf_bell_open();
    for (uint64_t i = 0; i < partitions; i++)
        self->partitions[i] =
            (wf_kafka_partition){.topic = topic, .partition = (int32_t)i, .offset = WF_KAFKA_OFFSET_NONE};
    *ret_kafka = &self->kafka;
    return WEFT_OK;
}

/* --- a run */

static atomic_ullong handled;

/* Counts in its own line, and tells the others now and then. */
static weft_result count_record(const weft_record *record, void *context) {
    static _Thread_local uint64_t mine;
    (void)record, (void)context;
    if (++mine % 1000 == 0) atomic_fetch_add_explicit(&handled, 1000, memory_order_relaxed);
    return WEFT_SUCCESS;
}

/* Of the thread with this name. */
static uint64_t thread_ns(const char *wanted) {
    DIR *tasks = opendir("/proc/self/task");
    uint64_t ns = 0;
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        char path[320], text[256] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file) continue;
        bool found = fgets(text, sizeof text, file) && strncmp(text, wanted, strlen(wanted)) == 0;
        fclose(file);
        if (!found) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", entry->d_name);
        file = fopen(path, "re");
        if (!file) continue;
        if (fgets(text, sizeof text, file)) ns += strtoull(text, NULL, 10);
        fclose(file);
    }
    if (tasks) closedir(tasks);
    return ns;
}

static uint64_t process_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void run(int argc, char **argv, double *ret_ring, double *ret_all, double *ret_wall) {
    weft_config *config;
    weft_consumer *consumer;
    if (weft_config_new(&config) != WEFT_OK) abort();
    weft_config_set(config, "bootstrap.servers", "none");
    weft_config_set(config, "topics", topic);
    weft_config_set(config, "group.id", topic);
    weft_config_set(config, "log.level", "error");
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) exit(2);
        char *name = strndup(argv[i], (size_t)(value - argv[i]));
        weft_config_set(config, name, value + 1);
        free(name);
    }
    atomic_store(&handled, 0);
    if (weft_consumer_new(config, count_record, NULL, &consumer) != WEFT_OK) {
        fprintf(stderr, "%s\n", weft_config_problems(config));
        exit(2);
    }
    uint64_t begin_ns = stats_now_ns(), cpu_ns = process_ns();
    if (weft_consumer_start(consumer) != WEFT_OK) {
        fprintf(stderr, "%s\n", weft_consumer_error(consumer));
        exit(1);
    }
    while (atomic_load(&handled) + 10000 < records) weft_consumer_wait(consumer, 1);
    double each = (double)records;
    *ret_ring = (double)thread_ns("ring") / each;
    *ret_all = (double)(process_ns() - cpu_ns) / each;
    *ret_wall = (double)(stats_now_ns() - begin_ns) / each;
    weft_consumer_stop(consumer, 10000);
    weft_consumer_free(&consumer);
    weft_config_free(&config);
}

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
    enum { MOST = 64 };
    double ring[MOST], all[MOST], wall[MOST];
    records = setting("RECORDS", 4000000);
    keys = setting("KEYS", 10000);
    value_bytes = setting("VALUE_BYTES", 100);
    partitions = setting("PARTITIONS", 8);
    if (partitions > PARTITIONS_MAX) partitions = PARTITIONS_MAX;
    size_t count = setting("REPETITIONS", 5);
    if (count > MOST) count = MOST;
    for (size_t i = 0; i < count; i++) run(argc, argv, &ring[i], &all[i], &wall[i]);
    stats_spread spreads[] = {stats_of(ring, count), stats_of(all, count), stats_of(wall, count)};
    static const char *const names[] = {"ring", "all threads", "elapsed"};
    printf("ns per record      min  median     max\n");
    for (int i = 0; i < 3; i++)
        printf("%-14s %7.1f %7.1f %7.1f\n", names[i], spreads[i].min, spreads[i].median, spreads[i].max);
    return 0;
}
