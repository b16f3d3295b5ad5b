/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor: as many threads as the engine has, which do the work of all records and nothing else. There is no Kafka in
 * it; what weft reaches of it is what weft leaves of the machine.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "run.h"

typedef struct floor_thread {
    pthread_t thread;
    const bench_run *run;
    uint64_t records;
    _Alignas(64) _Atomic uint64_t done;
    times latency;
} floor_thread;

static void *work(void *context) {
    floor_thread *self = context;
    char value[VALUE_BYTES_MIN] = {0};
    for (uint64_t i = 0; i < self->records && !run_is_interrupted(); i++) {
        uint64_t begin_ns = now_ns();
        work_do(&self->run->cell->work, value, sizeof value);
        times_add(&self->latency, now_ns() - begin_ns);
        atomic_fetch_add_explicit(&self->done, 1, memory_order_release);
    }
    return NULL;
}

static uint64_t done_of(floor_thread *threads, unsigned count) {
    uint64_t done = 0;
    for (unsigned i = 0; i < count; i++) done += atomic_load_explicit(&threads[i].done, memory_order_acquire);
    return done;
}

/* Evenly; where order by key makes one thread do all of the hot key, that one does those, and the others the rest. */
static uint64_t share_of(const bench_run *self, unsigned thread, unsigned threads) {
    uint64_t records = self->data->records, rest = records, hot = 0;
    if (self->cell->order == ORDER_KEY && threads > 1) hot = records * self->topic->hot_percent / 100;
    if (hot <= records / threads) return records / threads + (thread < records % threads);
    if (thread == 0) return hot;
    rest -= hot;
    return rest / (threads - 1) + (thread - 1 < rest % (threads - 1));
}

void run_floor(bench_run *self) {
    unsigned count = self->cell->slots, started = 0;
    floor_thread *threads = aligned_alloc(64, count * sizeof *threads);
    if (!threads) {
        run_fail(self, "no memory for %u threads", count);
        return;
    }
    for (unsigned i = 0; i < count; i++) threads[i] = (floor_thread){.run = self, .records = share_of(self, i, count)};
    run_first(self, now_ns());
    for (; started < count; started++)
        if (pthread_create(&threads[started].thread, NULL, work, &threads[started]) != 0) break;
    if (started < count) run_fail(self, "only %u of %u threads could be started", started, count);
    uint64_t done;
    while ((done = done_of(threads, started)) < self->data->records && run_watch(self, done)) {
        if (run_wants_progress(self)) run_progress(self, (int64_t)(self->data->records - done), -1);
        sleep_until_ns(now_ns() + 2000000);
    }
    run_watch(self, done);
    if (!*self->error) run_last(self, now_ns());
    /* A failed run can't wait for handlers: the process ends, and they with it. */
    for (unsigned i = 0; i < started && !*self->error; i++) {
        pthread_join(threads[i].thread, NULL);
        times_merge(&self->latency, &threads[i].latency);
    }
    if (!*self->error) free(threads);
}
