/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_consume's weft modes: a consumer with default options but the ones named here, in a group of its own.
 *
 * A run is a result when the handler ran exactly as often as the topic has records and every partition's frontier is at the end of its log:
 * then each was handled once. Counters are per thread, so that counting costs the handler nothing.
 */
#include "consume.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/consumer.h>

enum { THREADS_MAX = 10001, LATER_MAX = 16384, LOOK_MS = 1 };

typedef struct counter {
    _Alignas(64) _Atomic uint64_t handled; /* written by one thread */
    _Atomic uint64_t first_ns;
} counter;

static counter counters[THREADS_MAX];
static _Atomic uint32_t counter_count;
static _Thread_local counter *mine;

static void count_one(void) {
    if (!mine) {
        mine = &counters[atomic_fetch_add(&counter_count, 1)];
        atomic_store(&mine->first_ns, consume_now_ns());
    }
    atomic_store_explicit(&mine->handled, atomic_load_explicit(&mine->handled, memory_order_relaxed) + 1, memory_order_relaxed);
}

static weft_result handle(const weft_record *record, void *context) {
    const consume_plan *plan = context;
    (void)record;
    if (plan->sleep_us) consume_sleep(plan->sleep_us);
    count_one();
    return WEFT_SUCCESS;
}

/* --- deferred records: a queue of tokens with the time at which each is due; all wait equally long, so it is in order */

typedef struct later {
    uint64_t due_ns;
    weft_token token;
} later;

static struct {
    pthread_mutex_t lock;
    later items[LATER_MAX];
    uint64_t head, tail;
    bool over;
} timer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static weft_result handle_later(const weft_record *record, void *context) {
    const consume_plan *plan = context;
    weft_token token = weft_record_defer(record);
    count_one();
    pthread_mutex_lock(&timer.lock);
    timer.items[timer.tail++ % LATER_MAX] = (later){consume_now_ns() + plan->sleep_us * 1000, token};
    pthread_mutex_unlock(&timer.lock);
    return WEFT_PENDING;
}

static void *complete_when_due(void *unused) {
    (void)unused;
    for (bool over = false; !over;) {
        weft_token due[256];
        size_t count = 0;
        uint64_t now_ns = consume_now_ns();
        pthread_mutex_lock(&timer.lock);
        while (count < 256 && timer.head < timer.tail && timer.items[timer.head % LATER_MAX].due_ns <= now_ns)
            due[count++] = timer.items[timer.head++ % LATER_MAX].token;
        over = timer.over;
        pthread_mutex_unlock(&timer.lock);
        for (size_t i = 0; i < count; i++) weft_complete(due[i], WEFT_SUCCESS, NULL);
        if (count < 256) consume_sleep(100);
    }
    return NULL;
}

/* --- the run */

static uint64_t handled(uint64_t *ret_first_ns) {
    uint64_t sum = 0;
    *ret_first_ns = UINT64_MAX;
    for (uint32_t i = 0; i < atomic_load(&counter_count); i++) {
        sum += atomic_load_explicit(&counters[i].handled, memory_order_relaxed);
        uint64_t first_ns = atomic_load(&counters[i].first_ns);
        if (first_ns && first_ns < *ret_first_ns) *ret_first_ns = first_ns;
    }
    return sum;
}

static void set_number(weft_config *config, const char *name, uint64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    weft_config_set(config, name, text);
}

static bool all_finished(weft_consumer *consumer, const consume_plan *plan, weft_metrics **ret_metrics) {
    if (weft_consumer_metrics(consumer, ret_metrics) != WEFT_OK) return false;
    uint64_t finished = 0;
    for (size_t i = 0; i < (*ret_metrics)->partition_count; i++) finished += (*ret_metrics)->partitions[i].succeeded;
    return finished >= plan->records;
}

static bool measure(weft_consumer *consumer, const consume_plan *plan, consume_result *ret_result) {
    uint64_t first_ns, last_ns = 0, count = 0;
    weft_metrics *metrics = NULL;
    while ((count = handled(&first_ns)) < plan->records) {
        weft_status status = weft_consumer_wait(consumer, LOOK_MS);
        if (status == WEFT_ETIMEOUT) continue;
        fprintf(stderr, "weft: %s %s\n", weft_status_text(status), weft_consumer_error(consumer));
        return false;
    }
    while (!all_finished(consumer, plan, &metrics)) {
        free(metrics);
        metrics = NULL;
        if (weft_consumer_wait(consumer, LOOK_MS) != WEFT_ETIMEOUT) return false;
    }
    last_ns = consume_now_ns();
    bool valid = handled(&first_ns) == plan->records;
    for (size_t i = 0; i < metrics->partition_count; i++)
        valid = valid && metrics->partitions[i].frontier == metrics->partitions[i].log_end && metrics->partitions[i].failed == 0;
    if (!valid) fprintf(stderr, "weft: %" PRIu64 " records handled, %" PRIu64 " in the topic\n", handled(&first_ns), plan->records);
    *ret_result = (consume_result){.records = plan->records, .seconds = (double)(last_ns - first_ns) / 1e9};
    snprintf(ret_result->note, sizeof ret_result->note, "poller idle %.1f %%, %" PRIu64 " wake-ups",
             100.0 * (double)metrics->system.idle_ns / (double)(last_ns - first_ns), metrics->system.wakes);
    free(metrics);
    return valid;
}

static bool run(const consume_plan *plan, const char *engine, weft_handler handler, consume_result *ret_result) {
    weft_config *config;
    weft_consumer *consumer;
    char group[64];
    snprintf(group, sizeof group, "bench-%ld-%" PRIu64, (long)getpid(), consume_now_ns());
    if (weft_config_new(&config) != WEFT_OK) return false;
    weft_config_set(config, "bootstrap.servers", plan->bootstrap);
    weft_config_set(config, "topics", plan->topic);
    weft_config_set(config, "group.id", group);
    weft_config_set(config, "engine", engine);
    weft_config_set(config, "log.level", "warn");
    if (strcmp(engine, "async") == 0) set_number(config, "threads", handler == handle_later ? 2 : plan->threads);
    if (handler == handle_later) set_number(config, "pending.max.records", plan->threads);
    if (weft_consumer_new(config, handler, (void *)(uintptr_t)plan, &consumer) != WEFT_OK) {
        char *problems = weft_config_problems(config);
        fprintf(stderr, "weft: %s\n", problems ? problems : "out of memory");
        free(problems);
        weft_config_free(&config);
        return false;
    }
    weft_config_free(&config);
    bool valid = weft_consumer_start(consumer) == WEFT_OK && measure(consumer, plan, ret_result);
    weft_status stopped = weft_consumer_stop(consumer, 10000);
    if (stopped != WEFT_OK) fprintf(stderr, "weft: %s %s\n", weft_status_text(stopped), weft_consumer_error(consumer));
    weft_consumer_free(&consumer);
    return valid && stopped == WEFT_OK;
}

bool consume_weft_async(const consume_plan *plan, consume_result *ret_result) {
    return run(plan, "async", handle, ret_result);
}

bool consume_weft_inline(const consume_plan *plan, consume_result *ret_result) {
    return run(plan, "inline", handle, ret_result);
}

bool consume_weft_pending(const consume_plan *plan, consume_result *ret_result) {
    pthread_t completer;
    if (plan->threads >= LATER_MAX || pthread_create(&completer, NULL, complete_when_due, NULL) != 0) return false;
    bool valid = run(plan, "async", handle_later, ret_result);
    pthread_mutex_lock(&timer.lock);
    timer.over = true;
    pthread_mutex_unlock(&timer.lock);
    pthread_join(completer, NULL);
    return valid;
}
