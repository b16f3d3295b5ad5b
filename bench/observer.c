/* SPDX-License-Identifier: Apache-2.0 */
#include "observer.h"

typedef struct observer_state {
    observer *shared;
} observer_state;

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((observer_state *)state)->shared = (observer *)argument;
    return WEFT_OK;
}

/* The earliest dispatch that the first completions tell of. */
static void note_first(observer *self, const weft_event_completion *completion, size_t count, uint64_t at_ns) {
    uint64_t longest_ns = 0;
    for (size_t i = 0; i < count; i++)
        if (completion[i].latency_ns > longest_ns) longest_ns = completion[i].latency_ns;
    atomic_store(&self->first_ns, at_ns - longest_ns);
}

static void note_one(bench_run *run, observer *self, const weft_event_completion *completion, uint64_t at_ns) {
    times_add(&run->latency, completion->latency_ns);
    times_add(&run->wait, completion->wait_ns);
    judge_complete(run->judge, completion->partition, completion->offset);
    if (!completion->success) atomic_fetch_add(&self->failed, 1);
    if (run->options->rate > 0 && dataset_has(run->data, completion->partition, completion->offset)) {
        uint64_t position = dataset_position(run->data, completion->partition, completion->offset);
        run_note_end_to_end(run, run->data->stamps[position].index, at_ns);
    }
}

static void on_completions(void *state, weft_env *env, const weft_message *message) {
    observer *self = ((observer_state *)state)->shared;
    const weft_event_completion *completion = message->body;
    size_t count = message->body_bytes / sizeof *completion;
    uint64_t at_ns = weft_env_now_ns(env);
    if (atomic_load_explicit(&self->first_ns, memory_order_relaxed) == 0) note_first(self, completion, count, at_ns);
    for (size_t i = 0; i < count; i++) note_one(self->run, self, &completion[i], at_ns);
    atomic_store(&self->last_ns, at_ns);
    atomic_fetch_add(&self->done, count);
}

static const weft_actor_class observer_class = {
    .name = "observer",
    .state_bytes = sizeof(observer_state),
    .init = init,
    .on = {[WEFT_EVENT_COMPLETIONS] = on_completions},
};

weft_status observer_attach(observer *self, weft_consumer *consumer) {
    weft_actor_id id;
    /* Credit for all there is: nothing is dropped, and none has to be given back. */
    uint64_t credit = self->run->data->records + 1024;
    weft_status status = weft_consumer_spawn(consumer, &observer_class, self, &id);
    if (status == WEFT_OK)
        status =
            weft_consumer_subscribe(consumer, id, true, false, credit < UINT32_MAX ? (uint32_t)credit : UINT32_MAX);
    return status;
}
