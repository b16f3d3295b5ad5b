/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls: the program's side of the system of actors.
 */
#include "consumer.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "messages.h"

static const uint64_t ms = 1000000;
static const int64_t metrics_timeout_ms = 5000;
/* What an actor without anything to wait for gets to say that it is drained, even when the deadline has passed. */
static const uint64_t drained_floor_ns = 200000000;

void wf_consumer_set_error(weft_consumer *consumer, const char *format, ...) {
    if (consumer->error[0]) return; /* the first one is the cause */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(consumer->error, sizeof consumer->error, format, arguments);
    va_end(arguments);
}

static weft_status make(const weft_config *config, weft_handler handler, weft_batch_handler batch_handler,
                        void *context, weft_consumer **ret_consumer) {
    if (!config) return WEFT_EINVAL;
    weft_consumer *consumer = calloc(1, sizeof *consumer);
    if (!consumer) return WEFT_ENOMEM;
    consumer->handler = handler;
    consumer->batch_handler = batch_handler;
    consumer->context = context;
    weft_status status = wf_config_resolve(config, &consumer->options);
    /* Processes have their own. */
    bool wants_handler = consumer->options.engine != WF_ENGINE_PROCESS;
    if (status == WEFT_OK && wants_handler != (handler || batch_handler)) status = WEFT_EINVAL;
    consumer->stop_fd = status == WEFT_OK ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    if (status == WEFT_OK && consumer->stop_fd < 0) status = WEFT_ELIMIT;
    if (status != WEFT_OK) {
        wf_options_free(&consumer->options);
        free(consumer);
        return status;
    }
    *ret_consumer = consumer;
    return WEFT_OK;
}

weft_status weft_consumer_new(const weft_config *config, weft_handler handler, void *context,
                              weft_consumer **ret_consumer) {
    return make(config, handler, NULL, context, ret_consumer);
}

weft_status weft_consumer_new_batch(const weft_config *config, weft_batch_handler handler, void *context,
                                    weft_consumer **ret_consumer) {
    return make(config, NULL, handler, context, ret_consumer);
}

/* --- actors of the program */

weft_status weft_consumer_spawn(weft_consumer *consumer, const weft_actor_class *actor_class, const void *argument,
                                weft_actor_id *ret_id) {
    if (!actor_class || !actor_class->name) return WEFT_EINVAL;
    if (consumer->state != WF_CONSUMER_NEW) return WEFT_ESTATE;
    if (consumer->user_count == WF_USER_ACTORS_MAX) return WEFT_ERANGE;
    consumer->users[consumer->user_count++] = (wf_user_actor){.class = actor_class, .argument = argument};
    *ret_id = WF_FIRST_USER_ACTOR + consumer->user_count - 1;
    return WEFT_OK;
}

weft_status weft_consumer_subscribe(weft_consumer *consumer, weft_actor_id actor, bool completions, bool snapshots,
                                    uint32_t credit) {
    if (consumer->state != WF_CONSUMER_NEW) return WEFT_ESTATE;
    if (actor < WF_FIRST_USER_ACTOR || actor >= WF_FIRST_USER_ACTOR + consumer->user_count || credit == 0)
        return WEFT_EINVAL;
    wf_user_actor *user = &consumer->users[actor - WF_FIRST_USER_ACTOR];
    user->subscribed = true;
    user->completions = completions;
    user->snapshots = snapshots;
    user->credit = credit;
    return WEFT_OK;
}

/* Before any loop runs, so that the first completion finds them in front of it. The work manager gets them from here
 * too: what the exporter tells it may come behind the first records, when a thousand threads start between the two. */
static void send_subscriptions(weft_consumer *consumer) {
    for (uint32_t i = 0; i < consumer->user_count; i++) {
        const wf_user_actor *user = &consumer->users[i];
        if (!user->subscribed) continue;
        wf_subscribe subscribe = {.actor = consumer->cast.first_user + i,
                                  .credit = user->credit,
                                  .completions = user->completions,
                                  .snapshots = user->snapshots};
        wf_system_send(consumer->system, consumer->cast.exporter, WF_MSG_SUBSCRIBE, &subscribe, sizeof subscribe);
        if (user->completions)
            wf_system_send(consumer->system, consumer->cast.manager, WF_MSG_SUBSCRIBE, &subscribe, sizeof subscribe);
    }
}

/* --- messages to the program */

static void note_abandoned(weft_consumer *consumer, const weft_message *message) {
    const wf_abandoned *from = message->body;
    size_t count = message->body_bytes / sizeof *from;
    /* One block, names behind the entries: the topics' owner may be gone when the list is read. */
    size_t name_bytes = 0;
    for (size_t i = 0; i < count; i++) name_bytes += strlen(from[i].topic) + 1;
    weft_abandoned *list = malloc(count * sizeof *list + name_bytes);
    WF_CHECK(list != NULL);
    char *names = (char *)(list + count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(from[i].topic) + 1;
        memcpy(names, from[i].topic, bytes);
        list[i] = (weft_abandoned){.topic = names,
                                   .partition = from[i].partition,
                                   .attempt = from[i].attempt,
                                   .offset = from[i].offset,
                                   .running_ns = from[i].running_ns,
                                   .deferred = from[i].deferred};
        names += bytes;
        wf_log(WEFT_LOG_WARN, "consumer",
               "abandoned topic=%s partition=%d offset=%lld attempt=%u running_ms=%llu deferred=%d", list[i].topic,
               list[i].partition, (long long)list[i].offset, list[i].attempt,
               (unsigned long long)(list[i].running_ns / ms), list[i].deferred);
    }
    free(consumer->abandoned);
    consumer->abandoned = list;
    consumer->abandoned_count = count;
}

static void note_failure(weft_consumer *consumer, const weft_message *message) {
    const wf_system_failure *failure = message->body;
    if (consumer->failure != WEFT_OK) return;
    consumer->failure = (weft_status)failure->status;
    consumer->error[0] = '\0';
    wf_consumer_set_error(consumer, "%s", failure->text);
    wf_log(WEFT_LOG_ERROR, "consumer", "going down: %s", failure->text);
}

/* Take one message; what is waited for comes back by type, the rest is noted. False: the deadline passed, or `fd` is
 * readable. */
static bool take_message(weft_consumer *consumer, uint64_t deadline_ns, int fd, bool *ret_fd_ready,
                         weft_message *ret_message) {
    if (!wf_system_receive(consumer->system, deadline_ns, fd, ret_fd_ready, ret_message)) return false;
    if (ret_message->type == WF_SYSTEM_FAILED)
        note_failure(consumer, ret_message);
    else if (ret_message->type == WF_MSG_ABANDONED)
        note_abandoned(consumer, ret_message);
    return true;
}

/* --- start, wait, stop */

static void log_level_from(const wf_options *options) {
    static const weft_log_level levels[] = {[WF_LOG_LEVEL_ERROR] = WEFT_LOG_ERROR,
                                            [WF_LOG_LEVEL_WARN] = WEFT_LOG_WARN,
                                            [WF_LOG_LEVEL_INFO] = WEFT_LOG_INFO,
                                            [WF_LOG_LEVEL_DEBUG] = WEFT_LOG_DEBUG};
    wf_log_set_level(levels[options->log_level]);
}

static void free_names(weft_consumer *consumer) {
    for (uint32_t i = 0; i < consumer->names.count; i++) free(consumer->names.names[i]);
    free(consumer->names.names);
    consumer->names = (wf_topic_names){0};
}

weft_status weft_consumer_start(weft_consumer *consumer) {
    if (consumer->state != WF_CONSUMER_NEW) return WEFT_ESTATE;
    consumer->error[0] = '\0';
    log_level_from(&consumer->options);
    free_names(consumer); /* of a start that failed */
    weft_status status = wf_consumer_build(consumer);
    if (status != WEFT_OK) return status;
    send_subscriptions(consumer);
    status = wf_system_start(consumer->system);
    if (status != WEFT_OK) {
        wf_consumer_set_error(consumer, "a thread can't be started (threads = %lld): %s",
                              (long long)consumer->options.threads, weft_status_text(status));
        wf_system_free(&consumer->system);
        wf_pending_close(&consumer->pending);
        wf_consumer_close_http(consumer);
        return status;
    }
    consumer->state = WF_CONSUMER_RUNNING;
    return WEFT_OK;
}

uint16_t weft_consumer_metrics_port(const weft_consumer *consumer) {
    return consumer->http ? wf_http_port(consumer->http) : 0;
}

void weft_consumer_request_stop(weft_consumer *consumer) {
    uint64_t one = 1;
    ssize_t written = write(consumer->stop_fd, &one, sizeof one);
    (void)written; /* fails only when it was asked 2^64 times already */
}

weft_status weft_consumer_wait(weft_consumer *consumer, int64_t timeout_ms) {
    if (consumer->state != WF_CONSUMER_RUNNING) return WEFT_ESTATE;
    uint64_t deadline_ns = timeout_ms < 0 ? UINT64_MAX : wf_clock_now_ns() + (uint64_t)timeout_ms * ms;
    weft_message message;
    while (consumer->failure == WEFT_OK && !consumer->stop_asked) {
        bool asked = false;
        if (take_message(consumer, deadline_ns, consumer->stop_fd, &asked, &message)) continue;
        if (asked)
            consumer->stop_asked = true;
        else
            return WEFT_ETIMEOUT;
    }
    return consumer->failure;
}

static bool wait_drained(weft_consumer *consumer, weft_actor_id id, uint64_t deadline_ns) {
    bool ready;
    weft_message message;
    while (take_message(consumer, deadline_ns, -1, &ready, &message))
        if (message.type == WF_SYSTEM_DRAINED && message.from == id) return true;
    return false;
}

/* In the order in which data flows: when the poller is drained, everything is finished, fenced or committed. */
static void stop_actors(weft_consumer *consumer, uint64_t deadline_ns) {
    const wf_cast *cast = &consumer->cast;
    weft_actor_id order[8 + WF_USER_ACTORS_MAX];
    size_t count = 0;
    order[count++] = cast->poller;
    order[count++] = cast->manager;
    size_t engine = count;
    if (consumer->options.engine == WF_ENGINE_PROCESS) order[count++] = cast->first_worker;
    order[count++] = cast->tracker;
    order[count++] = cast->encoder;
    order[count++] = cast->exporter;
    for (uint32_t i = 0; i < consumer->user_count; i++) order[count++] = cast->first_user + i;
    /* The poller's own deadline is ours; it adds what the last commit and leaving the group may take. */
    static const uint64_t poller_extra_ns = 6000000000;
    /* Worker processes are told goodbye, and killed if they don't end (process_engine.c says when). */
    static const uint64_t processes_end_ns = 3000000000;
    for (size_t i = 0; i < count; i++) {
        wf_system_stop_actor(consumer->system, order[i], deadline_ns);
        uint64_t patience_ns = wf_clock_now_ns() + drained_floor_ns;
        uint64_t until_ns = deadline_ns + (i == 0 ? poller_extra_ns : 0);
        if (i == engine && order[i] == cast->first_worker) patience_ns += processes_end_ns;
        if (until_ns < patience_ns) until_ns = patience_ns;
        bool drained = wait_drained(consumer, order[i], until_ns);
        if (!drained) wf_log(WEFT_LOG_WARN, "consumer", "actor %u was not drained in time", order[i]);
        /* Nothing is finished after this, and everybody can still be asked. */
        if (drained && order[i] == cast->poller) weft_consumer_metrics(consumer, &consumer->final_metrics);
    }
}

static bool was_uncommitted(weft_consumer *consumer) {
    uint32_t count = consumer->final_metrics ? consumer->final_metrics->system.uncommitted : 0;
    if (count)
        wf_consumer_set_error(consumer,
                              "finished records of %u partitions could not be committed, because the membership was "
                              "over or no broker answered: their next owner runs them again (the log names them)",
                              count);
    return count > 0;
}

weft_status weft_consumer_stop(weft_consumer *consumer, int64_t timeout_ms) {
    if (consumer->state != WF_CONSUMER_RUNNING) return WEFT_ESTATE;
    uint64_t deadline_ns = wf_clock_now_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * ms;
    if (consumer->pages) atomic_store(&consumer->pages->draining, true);
    stop_actors(consumer, deadline_ns);
    consumer->threads_left = wf_system_end(consumer->system, deadline_ns);
    consumer->state = WF_CONSUMER_STOPPED;
    if (consumer->threads_left == 0) wf_pending_close(&consumer->pending);
    wf_system_free(&consumer->system);
    wf_consumer_close_http(consumer);
    if (consumer->failure != WEFT_OK) return consumer->failure;
    if (consumer->abandoned_count == 0 && was_uncommitted(consumer)) return WEFT_EUNCOMMITTED;
    return consumer->abandoned_count || consumer->threads_left ? WEFT_EABANDONED : WEFT_OK;
}

/* --- control and sight */

static weft_status pause_or_resume(weft_consumer *consumer, const char *topic, int32_t partition, bool pause) {
    if (consumer->state != WF_CONSUMER_RUNNING) return WEFT_ESTATE;
    wf_pause message = {.partition = partition, .pause = pause};
    if (topic && strlen(topic) >= sizeof message.topic) return WEFT_EINVAL;
    if (topic) memcpy(message.topic, topic, strlen(topic) + 1);
    wf_system_send(consumer->system, consumer->cast.manager, WF_MSG_PAUSE, &message, sizeof message);
    return WEFT_OK;
}

weft_status weft_consumer_pause(weft_consumer *consumer, const char *topic, int32_t partition) {
    return pause_or_resume(consumer, topic, partition, true);
}

weft_status weft_consumer_resume(weft_consumer *consumer, const char *topic, int32_t partition) {
    return pause_or_resume(consumer, topic, partition, false);
}

weft_status weft_consumer_restart_workers(weft_consumer *consumer, const weft_config *config) {
    if (consumer->state != WF_CONSUMER_RUNNING) return WEFT_ESTATE;
    if (consumer->options.engine != WF_ENGINE_PROCESS) return WEFT_EINVAL;
    wf_roll roll = {0};
    if (config) {
        wf_options options;
        weft_status status = wf_config_resolve(config, &options);
        if (status != WEFT_OK) return status;
        bool given = *options.worker_command != '\0';
        roll = (wf_roll){.command = given ? strdup(options.worker_command) : NULL,
                         .memory_max_bytes = (uint64_t)options.worker_memory_max_bytes,
                         .niceness = (int32_t)options.worker_nice};
        wf_options_free(&options);
        if (!roll.command) return given ? WEFT_ENOMEM : WEFT_EINVAL;
    }
    wf_system_send(consumer->system, consumer->cast.first_worker, WF_MSG_ROLL, &roll, sizeof roll);
    return WEFT_OK;
}

weft_status weft_consumer_metrics(weft_consumer *consumer, weft_metrics **ret_metrics) {
    if (consumer->state != WF_CONSUMER_RUNNING) return WEFT_ESTATE;
    wf_ask ask = {.ticket = ++consumer->ticket};
    wf_system_send(consumer->system, consumer->cast.exporter, WF_MSG_ASK, &ask, sizeof ask);
    uint64_t deadline_ns = wf_clock_now_ns() + (uint64_t)metrics_timeout_ms * ms;
    weft_message message;
    bool ready;
    while (take_message(consumer, deadline_ns, -1, &ready, &message)) {
        if (message.type != WF_MSG_REPORT) continue;
        const wf_report *report = message.body;
        if (report->ticket == ask.ticket) {
            *ret_metrics = report->metrics;
            return WEFT_OK;
        }
        free(report->metrics); /* the answer to a question that was given up */
    }
    return WEFT_ETIMEOUT;
}

const weft_metrics *weft_consumer_final_metrics(const weft_consumer *consumer) {
    return consumer->final_metrics;
}

const char *weft_consumer_error(const weft_consumer *consumer) {
    return consumer->error;
}

size_t weft_consumer_abandoned(const weft_consumer *consumer, const weft_abandoned **ret_list) {
    *ret_list = consumer->abandoned;
    return consumer->abandoned_count;
}

/* Consumers whose records or threads were abandoned: a handler may go on with what they own, so they are kept for ever.
 */
static _Atomic(weft_consumer *) left_behind;

static void leave_behind(weft_consumer *consumer) {
    consumer->left_before = atomic_load(&left_behind);
    while (!atomic_compare_exchange_weak(&left_behind, &consumer->left_before, consumer)) {
    }
}

void weft_consumer_free(weft_consumer **consumer_pointer) {
    weft_consumer *consumer = *consumer_pointer;
    if (!consumer) return;
    *consumer_pointer = NULL;
    if (consumer->state == WF_CONSUMER_RUNNING) weft_consumer_stop(consumer, 0);
    close(consumer->stop_fd);
    bool processes = consumer->options.engine == WF_ENGINE_PROCESS; /* theirs is not this memory */
    if (consumer->threads_left || (consumer->abandoned_count && !processes)) {
        leave_behind(consumer);
        return;
    }
    free(consumer->abandoned);
    free(consumer->final_metrics);
    wf_options_free(&consumer->options);
    free_names(consumer);
    free(consumer);
}
