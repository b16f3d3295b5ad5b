/* SPDX-License-Identifier: Apache-2.0
 *
 * How soon what a killed worker process ran is run again:
 *
 *     weft-bench deaths [--deaths N] [--workers N] [--worker-us N] [--keys N]
 *
 * Again and again a worker is sent SIGKILL while its handler runs. The time is from just before the signal to the
 * first instruction of the handler that gets the same record next: the end is seen, what was reported is read, the
 * record is charged and waits for its back-off (retry.backoff.ms, 1 here), and another worker, or the one that is
 * started in its place, takes it. With one key, the default, no other record stands in line before it. Both ends of the
 * time are read by the processes in which they are. The broker is the embedded one: no byte of Kafka's is on this way.
 *
 * 1. A death counts only if the worker died inside of a handler, whose record is then known; others are repeated.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <weft/consumer.h>
#include <weft/worker.h>

#include "drive.h"
#include "embedded.h"
#include "stats.h"

enum {
    PARTITIONS = 4,
    RECORDS = 80000,
    PLACES = PARTITIONS * RECORDS, /* all may be in one partition */
    KEYS_MAX = 10000,
    SLOTS = 16384,
    DEATHS_MAX = 5000,
    WORKERS_MAX = 64,
    PATIENCE_MS = 30000
};

static const uint64_t ms = 1000000;
static const char topic[] = "deaths";

/* A worker process, in the order in which they came. */
typedef struct death_slot {
    _Atomic(int32_t) pid; /* 0: nobody */
    _Atomic(int32_t) at;  /* number of the record that it runs, plus 1; 0: none */
    _Atomic(uint64_t) ns; /* since when */
} death_slot;

/* In a file that all processes share. */
typedef struct death_board {
    _Atomic(uint32_t) slot_count;
    death_slot slots[SLOTS];
    _Atomic(uint64_t) begun_ns[PLACES]; /* when the handler got it last */
} death_board;

static death_board *map_board(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(death_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (page == MAP_FAILED) fprintf(stderr, "weft-bench: %s: %s\n", path, strerror(errno));
    return page == MAP_FAILED ? NULL : page;
}

static void pause_us(uint64_t us) {
    nanosleep(&(struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000}, NULL);
}

/* --- the worker */

typedef struct death_worker {
    death_board *board;
    death_slot *slot;
    uint64_t work_us;
} death_worker;

static weft_result handle(const weft_record *record, void *context) {
    uint64_t now_ns = stats_now_ns();
    const death_worker *self = context;
    int64_t number = weft_record_offset(record) * PARTITIONS + weft_record_partition(record);
    if (number >= PLACES) return weft_record_fail(record, "no place for this record");
    atomic_store(&self->board->begun_ns[number], now_ns);
    atomic_store(&self->slot->ns, now_ns);
    atomic_store(&self->slot->at, (int32_t)number + 1);
    pause_us(self->work_us);
    atomic_store(&self->slot->at, 0);
    return WEFT_SUCCESS;
}

/* weft-bench death-worker FILE MICROSECONDS: started by weft. */
int death_worker_main(int argc, char **argv) {
    if (argc != 2) {
        fputs("weft-bench death-worker: it is started by weft-bench\n", stderr);
        return 2;
    }
    death_worker self = {.board = map_board(argv[0]), .work_us = strtoull(argv[1], NULL, 10)};
    if (!self.board) return 2;
    uint32_t slot = atomic_fetch_add(&self.board->slot_count, 1);
    if (slot >= SLOTS) return 2;
    self.slot = &self.board->slots[slot];
    atomic_store(&self.slot->pid, (int32_t)getpid());
    return weft_worker_run(handle, &self);
}

/* --- the killer */

typedef struct killer {
    uint64_t deaths, workers, work_us, keys;
    char path[64];
    death_board *board;
    uint64_t random;
    double times_ms[DEATHS_MAX];
    uint64_t between; /* deaths outside of a handler */
} killer;

static uint64_t next_random(killer *self) {
    self->random = self->random * 6364136223846793005u + 1442695040888963407u;
    return self->random >> 33;
}

/* Somebody who runs a record; all workers must be there. NULL: not now. */
static death_slot *pick(killer *self) {
    death_slot *live[WORKERS_MAX];
    uint64_t count = 0, busy = 0;
    uint32_t slots = atomic_load(&self->board->slot_count);
    for (uint32_t i = slots; i-- > 0 && count < self->workers;) {
        death_slot *slot = &self->board->slots[i];
        int32_t pid = atomic_load(&slot->pid);
        if (pid == 0) continue;
        count++;
        if (atomic_load(&slot->at)) live[busy++] = slot;
    }
    return count == self->workers && busy ? live[next_random(self) % busy] : NULL;
}

static bool is_late(uint64_t since_ns, const char *what) {
    if (stats_now_ns() - since_ns < PATIENCE_MS * ms) return false;
    fprintf(stderr, "weft-bench: %s, for %d s\n", what, PATIENCE_MS / 1000);
    return true;
}

/* 1: it counted; 0: it did not; -1: nothing goes on. */
static int kill_one(killer *self, double *ret_ms) {
    uint64_t since_ns = stats_now_ns();
    death_slot *slot;
    pause_us(1000 + next_random(self) % 5000); /* at any moment of whatever goes on */
    while (!(slot = pick(self))) {
        if (is_late(since_ns, "no worker runs anything")) return -1;
        pause_us(50);
    }
    pid_t pid = atomic_load(&slot->pid);
    uint64_t from_ns = stats_now_ns();
    kill(pid, SIGKILL);
    while (kill(pid, 0) == 0) {
        if (is_late(from_ns, "a killed worker is not buried")) return -1;
        pause_us(50);
    }
    atomic_store(&slot->pid, 0);
    int32_t number = atomic_load(&slot->at) - 1;
    if (number < 0) return 0;
    uint64_t again_ns, died_at_ns = atomic_load(&slot->ns);
    while ((again_ns = atomic_load(&self->board->begun_ns[number])) == died_at_ns) {
        if (is_late(from_ns, "the record of a killed worker does not run again")) return -1;
        pause_us(50);
    }
    *ret_ms = (double)(again_ns - from_ns) / 1e6;
    return 1;
}

static bool kill_all(killer *self) {
    for (uint64_t i = 0; i < self->deaths;) {
        int counted = kill_one(self, &self->times_ms[i]);
        if (counted < 0) return false;
        if (counted == 0) self->between++;
        i += (uint64_t)counted;
    }
    return true;
}

static void print(killer *self) {
    size_t count = (size_t)self->deaths;
    stats_spread spread = stats_of(self->times_ms, count);
    printf("%zu deaths, workers %" PRIu64 ", keys %" PRIu64 ", %" PRIu64 " us a record: it ran again after "
           "p50 %.2f p90 %.2f p99 %.2f max %.2f ms\n",
           count, self->workers, self->keys, self->work_us, spread.median, stats_percentile(self->times_ms, count, 90),
           stats_percentile(self->times_ms, count, 99), spread.max);
}

/* --- the consumer */

static weft_status start(const killer *self, const char *bootstrap, weft_consumer **ret_consumer) {
    char program[400], command[600], workers[24];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    snprintf(command, sizeof command, "'%s' death-worker %s %" PRIu64, program, self->path, self->work_us);
    snprintf(workers, sizeof workers, "%" PRIu64, self->workers);
    const char *settings[][2] = {{"bootstrap.servers", bootstrap},
                                 {"topics", topic},
                                 {"group.id", topic},
                                 {"engine", "process"},
                                 {"worker.command", command},
                                 {"workers", workers},
                                 {"worker.restart.backoff.ms", "1"},
                                 {"worker.restart.backoff.max.ms", "1"},
                                 {"retry.backoff.ms", "1"},
                                 {"max.attempts", "1000"},
                                 {"log.level", "error"}};
    weft_config *config;
    weft_status status = weft_config_new(&config);
    if (status != WEFT_OK) return status;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        weft_config_set(config, settings[i][0], settings[i][1]);
    status = weft_consumer_new(config, NULL, NULL, ret_consumer);
    weft_config_free(&config);
    return status == WEFT_OK ? weft_consumer_start(*ret_consumer) : status;
}

static bool measure(killer *self) {
    weft_consumer *consumer = NULL;
    embedded_broker *broker = embedded_broker_start(topic, PARTITIONS);
    bool fine = broker && fill_topic(embedded_broker_address(broker), topic, RECORDS, self->keys);
    weft_status status = fine ? start(self, embedded_broker_address(broker), &consumer) : WEFT_EKAFKA;
    if (fine && status != WEFT_OK) fprintf(stderr, "weft-bench: %s\n", weft_status_text(status));
    fine = status == WEFT_OK && kill_all(self);
    if (status == WEFT_OK) weft_consumer_stop(consumer, 10000);
    if (consumer) weft_consumer_free(&consumer);
    if (broker) embedded_broker_stop(broker);
    return fine;
}

/* --- command line */

static bool take_number(const char *text, uint64_t most, uint64_t *ret_value) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || value < 1 || value > most) return false;
    *ret_value = value;
    return true;
}

static bool parse(int argc, char **argv, killer *self) {
    static const struct option options[] = {{"deaths", required_argument, NULL, 'd'},
                                            {"workers", required_argument, NULL, 'w'},
                                            {"worker-us", required_argument, NULL, 'u'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {NULL, 0, NULL, 0}};
    int option;
    bool fine = true;
    while (fine && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'd') fine = take_number(optarg, DEATHS_MAX, &self->deaths);
        if (option == 'w') fine = take_number(optarg, WORKERS_MAX, &self->workers);
        if (option == 'u') fine = take_number(optarg, 1000000, &self->work_us);
        if (option == 'k') fine = take_number(optarg, KEYS_MAX, &self->keys);
        fine = fine && option != '?';
    }
    if (fine && optind == argc) return true;
    fprintf(stderr, "weft-bench deaths [--deaths 1-%d] [--workers 1-%d] [--worker-us 1-1000000] [--keys 1-%d]\n",
            DEATHS_MAX, WORKERS_MAX, KEYS_MAX);
    return false;
}

int deaths_main(int argc, char **argv) {
    killer *self = calloc(1, sizeof *self);
    if (!self) return 1;
    *self = (killer){.deaths = 200, .workers = 2, .work_us = 1000, .keys = 1, .random = 1};
    snprintf(self->path, sizeof self->path, "/tmp/weft-deaths.XXXXXX");
    if (!parse(argc + 1, argv - 1, self)) { /* getopt wants a name in front */
        free(self);
        return 2;
    }
    int fd = mkstemp(self->path);
    bool fine = fd >= 0 && ftruncate(fd, sizeof(death_board)) == 0 && (self->board = map_board(self->path)) != NULL;
    if (fd >= 0) close(fd);
    fine = fine && measure(self);
    if (fine) print(self);
    if (self->board) munmap(self->board, sizeof(death_board));
    unlink(self->path);
    free(self);
    return fine ? 0 : 1;
}
