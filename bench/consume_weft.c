/* SPDX-License-Identifier: Apache-2.0
 *
 * The same topic through weft: as a member of a new group, in key order, with commits, as a user would do it.
 *
 * 1. Every engine thread counts for itself, on cache lines of its own; the main thread looks at the counts every 2 ms.
 * 2. Nothing missing and nothing twice: the number of records and the sum of a hash over their positions must both be
 * right.
 */
#include "consume.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weft/consumer.h>

enum { TALLIES_MAX = 4096, STALL_MS = 20000, STOP_MS = 20000 };

/* What one engine thread has done. */
typedef struct thread_tally {
    _Alignas(64) _Atomic uint64_t records;
    _Atomic uint64_t positions; /* sum of hashes */
    uint64_t first_ns;
} thread_tally;

/* A deferred record and when it is due. All wait equally long, so the queue is in order. */
typedef struct deferred {
    weft_token token;
    uint64_t hash;
    uint64_t due_ns;
} deferred;

typedef struct weft_run {
    uint64_t sleep_us;
    thread_tally *tallies;
    _Atomic unsigned tally_count;
    pthread_mutex_t mutex; /* of the queue */
    pthread_cond_t arrived;
    deferred *queue; /* a ring */
    size_t queue_room, queue_head, queue_count;
    bool stopping;
} weft_run;

static _Thread_local thread_tally *own_tally;

static uint64_t hash_position(int32_t partition, int64_t offset) {
    uint64_t hash = ((uint64_t)(uint32_t)partition << 48 ^ (uint64_t)offset) * 0x9e3779b97f4a7c15ull;

    return hash ^ hash >> 31;
}

/* This thread's tally; it begins with the first record that the thread sees. */
static thread_tally *tally_of(weft_run *bench) {
    if (!own_tally) {
        unsigned index = atomic_fetch_add(&bench->tally_count, 1);

        if (index >= TALLIES_MAX) abort();
        own_tally = &bench->tallies[index];
        own_tally->first_ns = consume_now_ns();
    }
    return own_tally;
}

static void note(thread_tally *tally, uint64_t hash) {
    uint64_t positions = atomic_load_explicit(&tally->positions, memory_order_relaxed);
    uint64_t records = atomic_load_explicit(&tally->records, memory_order_relaxed);

    atomic_store_explicit(&tally->positions, positions + hash, memory_order_relaxed);
    atomic_store_explicit(&tally->records, records + 1, memory_order_release);
}

static uint64_t hash_record(const weft_record *record) {
    return hash_position(weft_record_partition(record), weft_record_offset(record));
}

static weft_result handle(const weft_record *record, void *context) {
    weft_run *bench = context;
    thread_tally *tally = tally_of(bench);

    consume_sleep(bench->sleep_us);
    note(tally, hash_record(record));
    return WEFT_SUCCESS;
}

/* --- deferring: one thread completes what is due */

static weft_result handle_later(const weft_record *record, void *context) {
    weft_run *bench = context;
    deferred later = {weft_record_defer(record), hash_record(record), consume_now_ns() + bench->sleep_us * 1000};

    tally_of(bench);
    pthread_mutex_lock(&bench->mutex);
    if (bench->queue_count == bench->queue_room) abort(); /* pending.max.records did not hold */
    bench->queue[(bench->queue_head + bench->queue_count) % bench->queue_room] = later;
    if (bench->queue_count++ == 0) pthread_cond_signal(&bench->arrived);
    pthread_mutex_unlock(&bench->mutex);
    return WEFT_PENDING;
}

static void *complete_due(void *context) {
    weft_run *bench = context;

    for (;;) {
        deferred next = {0};
        uint64_t now_ns;

        pthread_mutex_lock(&bench->mutex);
        while (bench->queue_count == 0 && !bench->stopping) pthread_cond_wait(&bench->arrived, &bench->mutex);
        if (bench->queue_count > 0) {
            next = bench->queue[bench->queue_head];
            bench->queue_head = (bench->queue_head + 1) % bench->queue_room;
            bench->queue_count--;
        }
        pthread_mutex_unlock(&bench->mutex);
        if (next.due_ns == 0) return NULL;
        now_ns = consume_now_ns();
        if (next.due_ns > now_ns) consume_sleep((next.due_ns - now_ns) / 1000 + 1);
        if (weft_complete(next.token, WEFT_SUCCESS, NULL) == WEFT_OK) note(tally_of(bench), next.hash);
    }
}

/* --- a run */

static bool set(weft_config *config, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool set(weft_config *config, const char *name, const char *format, ...) {
    char value[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    return weft_config_set(config, name, value) == WEFT_OK;
}

/* Settings of the command line, "name=value", come last and win. */
static void configure(weft_config *config, const consume_plan *plan, const char *engine) {
    set(config, "bootstrap.servers", "%s", plan->bootstrap);
    set(config, "topics", "%s", plan->topic);
    set(config, "group.id", "weft-bench-%ld-%" PRIu64, (long)getpid(), consume_now_ns());
    set(config, "engine", "%s", engine);
    set(config, "threads", "%u", plan->threads);
    set(config, "pending.max.records", "%u", plan->pending);
    set(config, "log.level", "error");
    for (size_t i = 0; i < plan->setting_count; i++) {
        const char *setting = plan->settings[i], *value = strchr(setting, '=');
        char name[128];

        snprintf(name, sizeof name, "%.*s", (int)(value - setting), setting);
        set(config, name, "%s", value + 1);
    }
}

static uint64_t records_of(const weft_run *bench) {
    unsigned count = atomic_load(&bench->tally_count);
    uint64_t records = 0;

    for (unsigned i = 0; i < count && i < TALLIES_MAX; i++) {
        records += atomic_load_explicit(&bench->tallies[i].records, memory_order_acquire);
    }
    return records;
}

/* Wait until all records were handled, or nothing happens any more. Returns when the last look saw them. */
static uint64_t await_records(const weft_run *bench, uint64_t wanted, weft_consumer *consumer) {
    uint64_t seen = 0, progress_ns = consume_now_ns();

    for (;;) {
        uint64_t records = records_of(bench), now_ns = consume_now_ns();

        if (records != seen) progress_ns = now_ns;
        seen = records;
        if (seen >= wanted || now_ns - progress_ns > STALL_MS * 1000000ull) return now_ns;
        if (weft_consumer_wait(consumer, 2) != WEFT_ETIMEOUT) return now_ns;
    }
}

/* The share of the run's time in which the poller had credit and a longer log, and no records. */
static void note_idle(weft_consumer *consumer, double seconds, consume_result *ret_result) {
    weft_metrics *metrics;
    size_t used = strlen(ret_result->note);

    if (weft_consumer_metrics(consumer, &metrics) != WEFT_OK) return;
    snprintf(ret_result->note + used, sizeof ret_result->note - used, "%spoller idle %.1f %%", used ? ", " : "",
             (double)metrics->system.idle_ns / 1e7 / seconds);
    free(metrics);
}

static uint64_t first_of(const weft_run *bench) {
    uint64_t first_ns = UINT64_MAX;

    for (unsigned i = 0; i < atomic_load(&bench->tally_count); i++)
        if (bench->tallies[i].first_ns < first_ns) first_ns = bench->tallies[i].first_ns;
    return first_ns;
}

static bool verify(const weft_run *bench, const consume_plan *plan, uint64_t wanted, const int64_t *first,
                   const int64_t *end) {
    unsigned count = atomic_load(&bench->tally_count);
    uint64_t positions = 0, expected = 0, records = records_of(bench);

    for (unsigned i = 0; i < count; i++) positions += atomic_load(&bench->tallies[i].positions);
    for (int32_t i = 0; i < plan->partitions; i++) {
        for (int64_t offset = first[i]; offset < end[i]; offset++) expected += hash_position(i, offset);
    }
    if (records == wanted && positions == expected) return true;
    fprintf(stderr, "weft: %" PRIu64 " of %" PRIu64 " records handled%s\n", records, wanted,
            records == wanted ? ", but not each once" : "");
    return false;
}

static bool run(weft_run *bench, const consume_plan *plan, const char *engine, weft_handler handler,
                consume_result *ret_result) {
    int64_t first[CONSUME_PARTITIONS_MAX], end[CONSUME_PARTITIONS_MAX];
    weft_config *config = NULL;
    weft_consumer *consumer = NULL;
    uint64_t wanted = 0, last_ns = 0;
    bool fine = consume_topic_ends(plan, first, end) && weft_config_new(&config) == WEFT_OK;

    for (int32_t i = 0; fine && i < plan->partitions; i++) wanted += (uint64_t)(end[i] - first[i]);
    if (fine) configure(config, plan, engine);
    if (fine && weft_consumer_new(config, handler, bench, &consumer) != WEFT_OK) {
        char *problems = weft_config_problems(config);

        fprintf(stderr, "weft: %s\n", problems ? problems : "no consumer");
        free(problems);
        fine = false;
    }
    fine = fine && weft_consumer_start(consumer) == WEFT_OK;
    if (fine) last_ns = await_records(bench, wanted, consumer);
    ret_result->records = wanted;
    ret_result->seconds = (double)(last_ns - first_of(bench)) / 1e9;
    if (fine) note_idle(consumer, ret_result->seconds, ret_result);
    if (fine) fine = weft_consumer_stop(consumer, STOP_MS) == WEFT_OK;
    if (consumer && !fine) fprintf(stderr, "weft: %s\n", weft_consumer_error(consumer));
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    fine = fine && verify(bench, plan, wanted, first, end);
    return fine;
}

static bool run_engine(const consume_plan *plan, const char *engine, bool defers, consume_result *ret_result) {
    weft_run *bench = calloc(1, sizeof *bench);
    pthread_t completer;
    bool fine = bench != NULL;

    if (!fine) return false;
    bench->sleep_us = plan->sleep_us;
    bench->tallies = aligned_alloc(64, TALLIES_MAX * sizeof *bench->tallies);
    bench->queue_room = plan->pending + 1u;
    bench->queue = calloc(bench->queue_room, sizeof *bench->queue);
    fine = bench->tallies && bench->queue;
    if (fine) memset(bench->tallies, 0, TALLIES_MAX * sizeof *bench->tallies);
    pthread_mutex_init(&bench->mutex, NULL);
    pthread_cond_init(&bench->arrived, NULL);
    if (fine && defers) fine = pthread_create(&completer, NULL, complete_due, bench) == 0;
    if (fine) {
        fine = run(bench, plan, engine, defers ? handle_later : handle, ret_result);
        if (defers) {
            pthread_mutex_lock(&bench->mutex);
            bench->stopping = true;
            pthread_cond_signal(&bench->arrived);
            pthread_mutex_unlock(&bench->mutex);
            pthread_join(completer, NULL);
        }
    }
    free(bench->queue);
    free(bench->tallies);
    free(bench);
    return fine;
}

bool consume_weft_async(const consume_plan *plan, consume_result *ret_result) {
    return run_engine(plan, "async", false, ret_result);
}

/* What a handler that looks at no header would ask for. */
bool consume_weft_plain(const consume_plan *plan, consume_result *ret_result) {
    consume_plan plain = *plan;

    if (plain.setting_count == CONSUME_SETTINGS_MAX) return false;
    plain.settings[plain.setting_count++] = "record.headers=false";
    return run_engine(&plain, "async", false, ret_result);
}

bool consume_weft_inline(const consume_plan *plan, consume_result *ret_result) {
    return run_engine(plan, "inline", false, ret_result);
}

bool consume_weft_pending(const consume_plan *plan, consume_result *ret_result) {
    if (plan->sleep_us > 0) {
        snprintf(ret_result->note, sizeof ret_result->note, "ceiling %.1f k/s",
                 (double)plan->pending * 1e3 / (double)plan->sleep_us);
    }
    return run_engine(plan, "async", true, ret_result);
}
