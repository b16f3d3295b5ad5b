/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker: takes WORK, runs the handler on each record of the slice, answers DONE with the same slice.
 *
 * Invariants:
 * 1. Every slice comes back exactly once, with a status in each record. There is no timing in it.
 * 2. Records of one lane run in order. When one of them fails or defers, the rest of that lane in the slice comes back
 * unrun, unless the lane is open (WF_RECORD_ANY_ORDER).
 * 3. From the moment a record is deferred, the worker reads nothing of it but `next`, `lane` and `pending`, and writes
 * only `status`: it may be completed by another thread before the handler has even returned.
 */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "messages.h"

enum { SLICE_MAX = 256, UNPARK_MAX = 512 };

typedef struct worker {
    wf_worker_options options;
    const wf_record *batch[SLICE_MAX]; /* batch handler: what runs in one call */
    weft_result results[SLICE_MAX];
} worker;

/* The worker whose handler runs on this thread: what weft_record_defer() works on. */
static _Thread_local worker *running;

weft_result weft_record_fail(const weft_record *record, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    wf_record *lent = (wf_record *)(uintptr_t)record; /* const for the user, a form to fill for us */
    free(lent->reason);
    lent->reason = wf_reason_copy(text);
    return WEFT_FAILURE;
}

weft_token weft_record_defer(const weft_record *record) {
    weft_token token = {0};
    wf_record *lent = (wf_record *)(uintptr_t)record;
    if (!running || !running->options.pending || lent->pending) return token;
    lent->pending = wf_pending_defer(running->options.pending, record, &token);
    return token;
}

static wf_done_status failed(wf_record *record, const char *reason) {
    if (!record->reason) record->reason = wf_reason_copy(reason);
    return WF_DONE_FAILURE;
}

/* Turn what a handler returned into a status; a handler may return anything. */
static wf_done_status judge(worker *self, wf_record *record, weft_result result) {
    if (record->pending) {
        if (result == WEFT_PENDING) return WF_DONE_PENDING;
        /* It deferred and then answered itself. If somebody completed the token meanwhile, that answer stands and is on
         * its way. */
        if (!wf_pending_cancel(self->options.pending, record->pending, record)) return WF_DONE_PENDING;
        record->pending = 0;
    }
    switch (result) {
    case WEFT_SUCCESS:
        return WF_DONE_SUCCESS;
    case WEFT_FAILURE:
        return failed(record, "the handler failed without a reason");
    case WEFT_PENDING:
        return failed(record, self->options.pending
                                  ? "the handler returned WEFT_PENDING without weft_record_defer()"
                                  : "the handler returned WEFT_PENDING, which engine = inline has not");
    default:
        return failed(record, "the handler returned a value that is no weft_result");
    }
}

/* SUCCESS is what it was lent with: a head that nobody writes to stays in the cache of the processor that reads it
 * next, the work manager's. */
static void set_status(wf_record *record, wf_done_status status) {
    if (status != WF_DONE_SUCCESS) record->status = (uint8_t)status;
}

static bool closes_lane(const wf_record *record) {
    return record->status != WF_DONE_SUCCESS && !(record->flags & WF_RECORD_ANY_ORDER);
}

static void run_each(worker *self, wf_record *head) {
    const void *closed = NULL;
    for (wf_record *record = head; record; record = record->next) {
        wf_record_prefetch_head(record->next);
        if (record->lane == closed && closed) {
            record->status = WF_DONE_UNRUN;
            continue;
        }
        weft_result result = self->options.handler(record, self->options.context);
        set_status(record, judge(self, record, result));
        if (closes_lane(record)) closed = record->lane;
    }
}

/* The work manager sends at most one record per lane, unless the lane is open. */
static void run_batch(worker *self, wf_record *head, uint32_t count) {
    WF_CHECK(count <= SLICE_MAX);
    uint32_t i = 0;
    for (wf_record *record = head; record; record = record->next) {
        self->results[i] = WEFT_SUCCESS;
        self->batch[i++] = record;
    }
    self->options.batch_handler(self->batch, self->results, count, self->options.context);
    i = 0;
    for (wf_record *record = head; record; record = record->next)
        set_status(record, judge(self, record, self->results[i++]));
}

static void on_work(void *state, weft_env *env, const weft_message *message) {
    worker *self = state;
    WF_CHECK(message->body_bytes == sizeof(wf_slice));
    const wf_slice *slice = message->body;
    running = self;
    if (self->options.handler)
        run_each(self, slice->head);
    else
        run_batch(self, slice->head, slice->count);
    running = NULL;
    weft_env_send(env, self->options.manager, WF_MSG_DONE, slice, sizeof *slice);
}

static weft_status worker_init(void *state, weft_env *env, const void *argument) {
    (void)env;
    worker *self = state;
    self->options = *(const wf_worker_options *)argument;
    WF_CHECK((self->options.handler != NULL) != (self->options.batch_handler != NULL));
    return WEFT_OK;
}

static void worker_start(void *state, weft_env *env) {
    worker *self = state;
    wf_worker_up up = {.actor = weft_env_self(env), .worker = self->options.number};
    weft_env_send(env, self->options.manager, WF_MSG_WORKER_UP, &up, sizeof up);
}

const weft_actor_class wf_worker = {
    .name = "worker",
    .state_bytes = sizeof(worker),
    .init = worker_init,
    .on_start = worker_start,
    .on = {[WF_MSG_WORK] = on_work},
};

/* --- the waker */

typedef struct waker {
    wf_waker_options options;
    wf_pending_done done[UNPARK_MAX];
    wf_unparked unparked[UNPARK_MAX];
} waker;

static weft_status waker_init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((waker *)state)->options = *(const wf_waker_options *)argument;
    return WEFT_OK;
}

static void waker_start(void *state, weft_env *env) {
    weft_env_watch(env, 0, wf_pending_fd(((waker *)state)->options.pending));
}

static bool waker_turn(void *state, weft_env *env) {
    waker *self = state;
    size_t count = wf_pending_take(self->options.pending, self->done, UNPARK_MAX);
    for (size_t i = 0; i < count; i++) {
        const wf_pending_done *done = &self->done[i];
        self->unparked[i] = (wf_unparked){.record = (wf_record *)(uintptr_t)done->record,
                                          .reason = done->reason,
                                          .status = done->result == WEFT_SUCCESS ? WF_DONE_SUCCESS : WF_DONE_FAILURE};
    }
    if (count)
        weft_env_send(env, self->options.manager, WF_MSG_UNPARKED, self->unparked, count * sizeof *self->unparked);
    return count == UNPARK_MAX;
}

const weft_actor_class wf_waker = {
    .name = "waker",
    .state_bytes = sizeof(waker),
    .init = waker_init,
    .on_start = waker_start,
    .on_turn = waker_turn,
};
