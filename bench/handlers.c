/* SPDX-License-Identifier: Apache-2.0 */
#include "handlers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

enum { THREADS_MAX = 10016 };

/* A deferred record and when it is due. All wait equally long, so the queue is in order. */
typedef struct deferred {
    weft_token token;
    int64_t offset;
    int32_t partition;
    uint64_t due_ns;
} deferred;

struct handlers {
    bench_run *run;
    judge_tally *tallies;
    times **added; /* by thread, with --rate */
    _Atomic unsigned threads;
    _Atomic bool released;
    /* mode pending: one thread completes what is due */
    pthread_t completer;
    bool completes;
    pthread_mutex_t mutex; /* of the queue */
    pthread_cond_t arrived;
    deferred *queue; /* a ring */
    size_t queue_room, queue_head, queue_count;
};

static _Thread_local judge_tally *own_tally;
static _Thread_local times *own_added;

/* This thread's; it begins with the first record that the thread sees. */
static judge_tally *tally_of(handlers *self) {
    if (own_tally) return own_tally;
    unsigned index = atomic_fetch_add(&self->threads, 1);
    if (index >= THREADS_MAX) abort();
    if (self->run->options->rate > 0) own_added = self->added[index] = calloc(1, sizeof(times));
    own_tally = &self->tallies[index];
    atomic_store_explicit(&own_tally->first_ns, now_ns(), memory_order_relaxed);
    return own_tally;
}

static record_stamp stamp_of(const weft_record *record) {
    record_stamp stamp = {.key = NULL_KEY};
    size_t bytes;
    const void *value = weft_record_value(record, &bytes);
    if (value && bytes >= sizeof stamp) memcpy(&stamp, value, sizeof stamp);
    return stamp;
}

static judge_tally *begin(handlers *self, const weft_record *record) {
    judge_tally *tally = tally_of(self);
    record_stamp stamp = stamp_of(record);
    judge_begin(self->run->judge, weft_record_partition(record), weft_record_offset(record), &stamp);
    if (own_added && stamp.index >= self->run->warm_records) times_add(own_added, now_ns() - record->received_ns);
    if (self->run->options->fault.values[0] == FAULT_HANG && stamp.index == self->run->data->records / 2)
        while (!atomic_load(&self->released)) sleep_until_ns(now_ns() + 1000000);
    return tally;
}

static weft_result handle(const weft_record *record, void *context) {
    handlers *self = context;
    judge_tally *tally = begin(self, record);
    size_t bytes;
    const void *value = weft_record_value(record, &bytes);
    work_do(&self->run->cell->work, value, bytes);
    judge_tally_add(tally, weft_record_partition(record), weft_record_offset(record));
    return WEFT_SUCCESS;
}

/* --- deferring */

static weft_result handle_later(const weft_record *record, void *context) {
    handlers *self = context;
    begin(self, record);
    deferred later = {.offset = weft_record_offset(record),
                      .partition = weft_record_partition(record),
                      .token = weft_record_defer(record),
                      .due_ns = now_ns() + self->run->cell->work.ns};
    pthread_mutex_lock(&self->mutex);
    if (self->queue_count == self->queue_room) abort(); /* pending.max.records did not hold */
    self->queue[(self->queue_head + self->queue_count) % self->queue_room] = later;
    if (self->queue_count++ == 0) pthread_cond_signal(&self->arrived);
    pthread_mutex_unlock(&self->mutex);
    return WEFT_PENDING;
}

static void *complete_due(void *context) {
    handlers *self = context;
    for (;;) {
        deferred next = {0};
        pthread_mutex_lock(&self->mutex);
        while (self->queue_count == 0 && !atomic_load(&self->released)) pthread_cond_wait(&self->arrived, &self->mutex);
        if (self->queue_count > 0) {
            next = self->queue[self->queue_head];
            self->queue_head = (self->queue_head + 1) % self->queue_room;
            self->queue_count--;
        }
        pthread_mutex_unlock(&self->mutex);
        if (next.due_ns == 0) return NULL;
        if (next.due_ns > now_ns()) sleep_until_ns(next.due_ns);
        if (weft_complete(next.token, WEFT_SUCCESS, NULL) == WEFT_OK)
            judge_tally_add(tally_of(self), next.partition, next.offset);
    }
}

/* --- life */

handlers *handlers_make(bench_run *run) {
    handlers *self = calloc(1, sizeof *self);
    if (self) {
        self->run = run;
        self->tallies = aligned_alloc(64, THREADS_MAX * sizeof *self->tallies);
        self->added = calloc(THREADS_MAX, sizeof *self->added);
        self->queue_room = run->cell->slots + 1u;
        self->queue = calloc(self->queue_room, sizeof *self->queue);
        pthread_mutex_init(&self->mutex, NULL);
        pthread_cond_init(&self->arrived, NULL);
    }
    if (!self || !self->tallies || !self->added || !self->queue) {
        run_fail(run, "no memory for handlers");
        return NULL;
    }
    /* calloc'ed memory would do, but not on cache lines of its own; untouched pages cost nothing. */
    memset(self->tallies, 0, THREADS_MAX * sizeof *self->tallies);
    if (run->cell->mode == MODE_PENDING)
        self->completes = pthread_create(&self->completer, NULL, complete_due, self) == 0;
    return self;
}

weft_handler handlers_function(const handlers *self) {
    return self->run->cell->mode == MODE_PENDING ? handle_later : handle;
}

void handlers_release(handlers *self) {
    atomic_store(&self->released, true);
    pthread_mutex_lock(&self->mutex);
    pthread_cond_signal(&self->arrived);
    pthread_mutex_unlock(&self->mutex);
    if (self->completes) pthread_join(self->completer, NULL);
    self->completes = false;
}

void handlers_free(handlers *self) {
    if (!self) return;
    handlers_release(self);
    for (unsigned i = 0; i < THREADS_MAX; i++) free(self->added[i]);
    free(self->added);
    free(self->tallies);
    free(self->queue);
    free(self);
}

uint64_t handlers_done(const handlers *self) {
    uint64_t done = 0;
    for (unsigned i = 0; i < atomic_load(&self->threads); i++)
        done += atomic_load_explicit(&self->tallies[i].records, memory_order_acquire);
    return done;
}

uint64_t handlers_first_ns(const handlers *self) {
    uint64_t first_ns = 0;
    for (unsigned i = 0; i < atomic_load(&self->threads); i++) {
        uint64_t at_ns = atomic_load_explicit(&self->tallies[i].first_ns, memory_order_relaxed);
        if (at_ns && (!first_ns || at_ns < first_ns)) first_ns = at_ns;
    }
    return first_ns;
}

bool handlers_verdict(handlers *self, char *ret_text, size_t text_bytes) {
    unsigned threads = atomic_load(&self->threads);
    for (unsigned i = 0; i < threads; i++)
        if (self->added[i]) times_merge(&self->run->added, self->added[i]);
    return judge_verdict(self->run->judge, self->tallies, threads, ret_text, text_bytes);
}
