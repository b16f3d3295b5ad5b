/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor of one's own beside weft's: it subscribes to completions and snapshots, and says each second what it saw.
 *
 *     watcher BOOTSTRAP TOPIC [SECONDS]
 *
 * The actor runs on a thread of its own. It holds no lock and shares nothing: what it knows came in messages.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <weft/consumer.h>

enum { CREDIT = 100000 }; /* completions that may be on their way to us: half a second's worth of a fast topic */

typedef struct watcher {
    uint64_t succeeded;
    uint64_t failed;
    uint64_t slowest_ns; /* since the last snapshot */
} watcher;

static void give_credit(weft_env *env, weft_actor_id to, size_t events) {
    weft_event_credit credit = {.events = (uint32_t)events};
    weft_env_send(env, to, WEFT_EVENT_CREDIT, &credit, sizeof credit);
}

static void on_completions(void *state, weft_env *env, const weft_message *message) {
    watcher *self = state;
    const weft_event_completion *completion = message->body;
    size_t count = message->body_bytes / sizeof *completion;
    for (size_t i = 0; i < count; i++) {
        if (completion[i].success)
            self->succeeded++;
        else
            self->failed++;
        if (completion[i].latency_ns > self->slowest_ns) self->slowest_ns = completion[i].latency_ns;
    }
    give_credit(env, message->from, count);
}

static void on_snapshot(void *state, weft_env *env, const weft_message *message) {
    watcher *self = state;
    const weft_event_snapshot *snapshot = message->body;
    printf("finished=%llu given_up=%llu slowest_ms=%.3f queued=%llu in_flight=%llu missed=%llu\n",
           (unsigned long long)self->succeeded, (unsigned long long)self->failed, (double)self->slowest_ns / 1e6,
           (unsigned long long)snapshot->system.total_queued, (unsigned long long)snapshot->system.total_in_flight,
           (unsigned long long)snapshot->dropped);
    fflush(stdout);
    self->slowest_ns = 0;
    give_credit(env, message->from, 1);
}

static const weft_actor_class watcher_class = {
    .name = "watcher",
    .state_bytes = sizeof(watcher),
    .on = {[WEFT_EVENT_COMPLETIONS] = on_completions, [WEFT_EVENT_SNAPSHOT] = on_snapshot},
};

static weft_consumer *consumer;

static weft_result handle(const weft_record *record, void *context) {
    (void)record;
    (void)context;
    return WEFT_SUCCESS;
}

static void on_signal(int number) {
    (void)number;
    weft_consumer_request_stop(consumer);
}

static int complain(const char *text) {
    fprintf(stderr, "watcher: %s\n", text);
    return EXIT_FAILURE;
}

/* Below 0: no such number. */
static int64_t read_ms(const char *text) {
    char *end;
    long long seconds = strtoll(text, &end, 10);
    return *text < '0' || *text > '9' || *end || seconds > 1000000000 ? -1 : seconds * 1000;
}

int main(int argc, char **argv) {
    weft_config *config;
    weft_actor_id id;
    int64_t wait_ms = argc == 4 ? read_ms(argv[3]) : -1;
    if (argc < 3 || argc > 4 || (argc == 4 && wait_ms < 0)) return complain("usage: watcher BOOTSTRAP TOPIC [SECONDS]");
    if (weft_config_new(&config) != WEFT_OK) return complain("out of memory");
    weft_config_set(config, "bootstrap.servers", argv[1]);
    weft_config_set(config, "topics", argv[2]);
    weft_config_set(config, "group.id", "watcher");
    if (weft_consumer_new(config, handle, NULL, &consumer) != WEFT_OK) return complain(weft_config_problems(config));
    weft_consumer_spawn(consumer, &watcher_class, NULL, &id);
    weft_consumer_subscribe(consumer, id, true, true, CREDIT);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (weft_consumer_start(consumer) != WEFT_OK) return complain(weft_consumer_error(consumer));
    weft_status reason = weft_consumer_wait(consumer, wait_ms);
    if (reason != WEFT_OK && reason != WEFT_ETIMEOUT) complain(weft_consumer_error(consumer));
    weft_status stopped =
        weft_consumer_stop(consumer, 30000); /* our actor is stopped after weft's, so it sees the last completions */
    weft_consumer_free(&consumer);
    weft_config_free(&config);
    return stopped == WEFT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
