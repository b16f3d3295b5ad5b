/* SPDX-License-Identifier: Apache-2.0
 *
 * From options to actors on loops: the placement table, and the limits of the machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"
#include "consumer.h"
#include "engine.h"
#include "exporter.h"
#include "log.h"
#include "metadata_encoder.h"
#include "offset_tracker.h"
#include "pages.h"
#include "poller.h"
#include "process_engine.h"
#include "mailbox.h"
#include "wire.h"
#include "work_manager.h"

static const uint64_t ms = 1000000;

enum {
    /* A worker thread has its inbox and an outbox to the work manager, the manager an outbox to it; and one spare while
       it starts or ends. A process has its pipe, pidfd, progress word and connection. */
    FDS_WITH_SOCKET = 65536,
    FDS_PER_WORKER = 4,
    /* The loops of the ring with their pairs, eventfds, librdkafka's sockets for some brokers, and what the program has
       open. */
    FDS_BASE = 192,
    DEFAULT_FETCH_THRESHOLD = 100000, /* librdkafka's queued.min.messages */
};

/* Which loop each actor of the ring lives on: columns are `placement`. Workers, exporter and the program's actors have
 * loops of their own. */
typedef struct placement {
    const char *name;
    const char *loops[2]; /* by option: default, spread */
} placement;

static const placement placements[] = {
    {"poller", {"ring", "poller"}},
    {"manager", {"ring", "manager"}},
    {"tracker", {"ring", "tracker"}},
    {"encoder", {"ring", "encoder"}},
};

/* A slice for a process is copied into one frame: small enough to stay in a cache, large enough for a large record. */
static const uint64_t process_slice_bytes = 1 << 20;
/* A message between processes wakes four threads there and back; with fewer of them one worker does a quarter more
 * than with slices of 256 (handlers that do nothing, 100 bytes). Threads gain nothing beyond that. */
enum { SLICE_RECORDS = 256, PROCESS_SLICE_RECORDS = WF_WIRE_RECORDS_MAX };

static bool has_threads(const weft_consumer *consumer) {
    return consumer->options.engine == WF_ENGINE_ASYNC;
}

static bool has_processes(const weft_consumer *consumer) {
    return consumer->options.engine == WF_ENGINE_PROCESS;
}

/* Without a command there is nothing to start. */
static uint32_t spawned_processes(const wf_options *options) {
    return *options->worker_command ? (uint32_t)options->workers : 0;
}

/* --- limits */

static weft_status check_limits(weft_consumer *consumer) {
    const wf_options *options = &consumer->options;
    uint64_t processes = spawned_processes(options) + (uint64_t)options->worker_attach_max;
    bool have_processes = has_processes(consumer);
    uint64_t runners = have_processes ? processes : has_threads(consumer) ? (uint64_t)options->threads : 0;
    uint64_t wanted = runners * FDS_PER_WORKER + FDS_BASE;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return WEFT_OK;
    consumer->files_before = limit.rlim_cur;
    /* Whoever connects to the workers' socket costs one, and without any ZeroMQ ends the process. */
    uint64_t better = have_processes && wanted < FDS_WITH_SOCKET ? FDS_WITH_SOCKET : wanted;
    if (limit.rlim_cur >= better) return WEFT_OK;
    if (limit.rlim_max >= wanted) {
        limit.rlim_cur = limit.rlim_max < better ? limit.rlim_max : better;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return WEFT_OK;
    }
    uint64_t possible = limit.rlim_max > FDS_BASE ? (limit.rlim_max - FDS_BASE) / FDS_PER_WORKER : 0;
    wf_consumer_set_error(consumer,
                          "%s = %llu needs %llu file descriptors, but this process may have %llu (ulimit -n): at "
                          "most %llu are possible",
                          have_processes ? "workers + worker.attach.max" : "threads", (unsigned long long)runners,
                          (unsigned long long)wanted, (unsigned long long)limit.rlim_max, (unsigned long long)possible);
    return WEFT_ELIMIT;
}

/* --- the Kafka door */

static const char *kafka_setting(const wf_options *options, const char *name) {
    for (size_t i = 0; i < options->kafka_count; i++)
        if (strcmp(options->kafka[i].name, name) == 0) return options->kafka[i].value;
    return NULL;
}

static weft_status open_kafka(weft_consumer *consumer, wf_kafka **ret_kafka) {
    const wf_options *options = &consumer->options;
    enum { OWN = 4 };
    wf_setting *settings = calloc(OWN + options->kafka_count, sizeof *settings);
    if (!settings) return WEFT_ENOMEM;
    settings[0] = (wf_setting){"bootstrap.servers", options->bootstrap_servers};
    settings[1] = (wf_setting){"group.id", options->group_id};
    settings[2] = (wf_setting){"client.id", options->client_id};
    settings[3] = (wf_setting){"auto.offset.reset",
                               wf_option_choice_text(WF_OPTION_ID_auto_offset_reset, options->auto_offset_reset)};
    memcpy(settings + OWN, options->kafka, options->kafka_count * sizeof *settings);
    char *error = NULL;
    weft_status status = wf_kafka_open(settings, OWN + options->kafka_count, ret_kafka, &error);
    if (status != WEFT_OK) wf_consumer_set_error(consumer, "%s", error ? error : weft_status_text(status));
    free(error);
    free(settings);
    return status;
}

/* --- the HTTP door */

void wf_consumer_close_http(weft_consumer *consumer) {
    wf_http_close(consumer->http);
    consumer->http = NULL;
    if (!consumer->pages || consumer->threads_left) return;
    wf_pages_deinit(consumer->pages);
    free(consumer->pages);
    consumer->pages = NULL;
}

/* Before anybody joins a group: a port in use must not cost a rebalance. */
static weft_status open_http(weft_consumer *consumer) {
    const wf_options *options = &consumer->options;
    if (!options->metrics_enabled) return WEFT_OK;
    consumer->pages = calloc(1, sizeof *consumer->pages);
    if (!consumer->pages) return WEFT_ENOMEM;
    wf_http_options http = {.address = options->metrics_bind,
                            .port = (uint16_t)options->metrics_port,
                            .threads = (unsigned)options->metrics_threads,
                            .health_ns = (uint64_t)options->metrics_health_ms * ms,
                            .pages = consumer->pages};
    char error[WF_HTTP_ERROR_BYTES] = "";
    weft_status status = wf_http_open(&http, &consumer->http, error);
    if (status != WEFT_OK) {
        wf_consumer_set_error(consumer, "%s", *error ? error : weft_status_text(status));
        wf_consumer_close_http(consumer);
        return status;
    }
    bool everybody = strncmp(options->metrics_bind, "127.", 4) != 0;
    wf_log(everybody ? WEFT_LOG_WARN : WEFT_LOG_INFO, "consumer", "metrics on http://%s:%u/metrics%s",
           options->metrics_bind, wf_http_port(consumer->http),
           everybody ? ", for whoever reaches that address: there is no password" : "");
    return WEFT_OK;
}

static wf_limits limits_shown(const wf_options *options) {
    return (wf_limits){.group = options->group_id,
                       .ordering = wf_option_choice_text(WF_OPTION_ID_ordering, options->ordering),
                       .engine = wf_option_choice_text(WF_OPTION_ID_engine, options->engine),
                       .queue_max_records = (uint64_t)options->queue_max_records,
                       .queue_max_bytes = (uint64_t)options->queue_max_bytes,
                       .in_flight_max_records = (uint64_t)options->in_flight_max_records,
                       .in_flight_max_bytes = (uint64_t)options->in_flight_max_bytes,
                       .pending_max_records = (uint64_t)options->pending_max_records,
                       .metadata_max_bytes = (uint64_t)options->metadata_max_bytes,
                       .max_series = (uint64_t)options->metrics_max_series};
}

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static wf_build build_shown(weft_consumer *consumer) {
    wf_mailbox_version(consumer->libzmq);
    return (wf_build){.version = WEFT_VERSION,
                      .compiler = COMPILER,
                      .librdkafka = consumer->librdkafka,
                      .libzmq = consumer->libzmq,
                      .civetweb = wf_http_version()};
}

/* --- actors */

static weft_status loop_named(wf_system *system, const char *name, char (*names)[16], uint32_t *count,
                              uint32_t *ret_loop) {
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *ret_loop = i + 1; /* they are the first ones, in order; 0 is the program's */
        return WEFT_OK;
    }
    snprintf(names[(*count)++], 16, "%s", name);
    return wf_system_loop(system, name, ret_loop);
}

static void plan(weft_consumer *consumer) {
    weft_actor_id id = wf_system_next_id(consumer->system);
    wf_cast *cast = &consumer->cast;
    cast->poller = id++;
    cast->manager = id++;
    cast->tracker = id++;
    cast->encoder = id++;
    cast->exporter = id++;
    cast->first_user = id;
    WF_CHECK(cast->first_user == WF_FIRST_USER_ACTOR); /* weft_consumer_spawn() has promised it */
    id += consumer->user_count;
    cast->waker = has_threads(consumer) ? id++ : 0;
    cast->first_worker = id;
}

static weft_status spawn(weft_consumer *consumer, uint32_t loop, const weft_actor_class *class, const void *argument,
                         weft_actor_id expected) {
    weft_actor_id id;
    weft_status status = wf_system_spawn(consumer->system, loop, class, argument, &id);
    WF_CHECK_IMPLIES(status == WEFT_OK, id == expected);
    if (status != WEFT_OK)
        wf_consumer_set_error(consumer, "actor %s can't be made: %s", class->name, weft_status_text(status));
    return status;
}

/* The option's numbers are the codec's. */
_Static_assert((int)WF_WRITE_NATIVE == (int)WF_METADATA_NATIVE && (int)WF_WRITE_PYRALLEL == (int)WF_METADATA_PYRALLEL &&
                   (int)WF_WRITE_CONFLUENT == (int)WF_METADATA_CONFLUENT,
               "metadata.format is handed on as it is");

static wf_work_manager_options manager_options(const weft_consumer *consumer) {
    const wf_options *options = &consumer->options;
    const wf_cast *cast = &consumer->cast;
    return (wf_work_manager_options){
        .poller = cast->poller,
        .tracker = cast->tracker,
        .exporter = cast->exporter,
        .pending = consumer->pending,
        .ordering = options->ordering == WF_ORDERING_PARTITION   ? WF_ORDER_PARTITION
                    : options->ordering == WF_ORDERING_UNORDERED ? WF_ORDER_UNORDERED
                                                                 : WF_ORDER_KEY,
        .failure_policy = options->failure_policy,
        .stuck_policy = options->stuck_policy,
        .null_key_serial = options->null_key == WF_NULL_KEY_SERIAL,
        .batch = consumer->batch_handler != NULL,
        .virtual_partitions = (uint32_t)options->virtual_partitions,
        .queue_max_records = (uint32_t)options->queue_max_records,
        .partition_max_records = (uint32_t)options->partition_max_records,
        .in_flight_max_records = (uint32_t)options->in_flight_max_records,
        .in_flight_max_bytes = (uint64_t)options->in_flight_max_bytes,
        .pending_max_records = (uint32_t)options->pending_max_records,
        .slice_max_records = options->slice_max_records ? (uint32_t)options->slice_max_records
                             : has_processes(consumer)  ? PROCESS_SLICE_RECORDS
                                                        : SLICE_RECORDS,
        .max_attempts = (uint32_t)options->max_attempts,
        .retry_backoff_ns = (uint64_t)options->retry_backoff_ms * ms,
        .retry_backoff_max_ns = (uint64_t)options->retry_backoff_max_ms * ms,
        /* Of processes, the engine sees to it: it can end them. */
        .handler_deadline_ns = has_processes(consumer) ? 0 : (uint64_t)options->handler_deadline_ms * ms,
        .fencer = has_processes(consumer) ? cast->first_worker : 0,
        .slice_max_bytes = has_processes(consumer) ? process_slice_bytes : 0,
        .stuck_grace_ns = (uint64_t)options->stuck_grace_ms * ms,
        .map_format = (wf_metadata_format)options->metadata_format,
    };
}

/* The poller owns the door from the moment it exists. */
static weft_status spawn_poller(weft_consumer *consumer, uint32_t loop) {
    const wf_options *options = &consumer->options;
    const char *threshold = kafka_setting(options, "queued.min.messages");
    wf_poller_options argument = {
        .manager = consumer->cast.manager,
        .tracker = consumer->cast.tracker,
        .encoder = consumer->cast.encoder,
        .names = &consumer->names,
        .topics = (const char *const *)options->topics,
        .topic_count = options->topics_count,
        .skip_headers = !options->record_headers,
        .queue_max_records = (uint32_t)options->queue_max_records,
        .queue_max_bytes = (uint64_t)options->queue_max_bytes,
        .in_flight_max_bytes = (uint64_t)options->in_flight_max_bytes,
        .drain_timeout_ns = (uint64_t)options->drain_timeout_ms * ms,
        .fetch_threshold = threshold ? strtoull(threshold, NULL, 10) : DEFAULT_FETCH_THRESHOLD,
    };
    weft_status status = open_kafka(consumer, &argument.kafka);
    if (status != WEFT_OK) return status;
    consumer->librdkafka = argument.kafka->ops->version();
    status = spawn(consumer, loop, &wf_poller, &argument, consumer->cast.poller);
    if (status != WEFT_OK) argument.kafka->ops->free(argument.kafka);
    return status;
}

static weft_status spawn_ring(weft_consumer *consumer, uint32_t *ret_manager_loop) {
    const wf_options *options = &consumer->options;
    const wf_cast *cast = &consumer->cast;
    int column = options->placement == WF_PLACEMENT_SPREAD ? 1 : 0;
    char names[4][16];
    uint32_t count = 0, loops[4];
    weft_status status = WEFT_OK;
    for (int i = 0; i < 4 && status == WEFT_OK; i++)
        status = loop_named(consumer->system, placements[i].loops[column], names, &count, &loops[i]);
    if (status == WEFT_OK) status = spawn_poller(consumer, loops[0]);
    wf_work_manager_options manager = manager_options(consumer);
    wf_work_set_map_limit(&manager, (size_t)options->metadata_max_bytes);
    if (status == WEFT_OK) status = spawn(consumer, loops[1], &wf_work_manager, &manager, cast->manager);
    wf_offset_tracker_options tracker = {.manager = cast->manager,
                                         .encoder = cast->encoder,
                                         .commit_interval_ns = (uint64_t)options->commit_interval_ms * ms};
    if (status == WEFT_OK) status = spawn(consumer, loops[2], &wf_offset_tracker, &tracker, cast->tracker);
    wf_metadata_encoder_options encoder = {.tracker = cast->tracker,
                                           .poller = cast->poller,
                                           .manager = cast->manager,
                                           .max_bytes = (uint32_t)options->metadata_max_bytes,
                                           .format = (wf_metadata_format)options->metadata_format};
    if (status == WEFT_OK) status = spawn(consumer, loops[3], &wf_metadata_encoder, &encoder, cast->encoder);
    *ret_manager_loop = loops[1];
    return status;
}

static weft_status spawn_sight(weft_consumer *consumer, uint32_t manager_loop) {
    const wf_cast *cast = &consumer->cast;
    uint32_t loop;
    weft_status status = wf_system_loop(consumer->system, "exporter", &loop);
    wf_exporter_options exporter = {.poller = cast->poller,
                                    .manager = cast->manager,
                                    .tracker = cast->tracker,
                                    .encoder = cast->encoder,
                                    .engine = has_processes(consumer) ? cast->first_worker : 0,
                                    .tick_ns = (uint64_t)consumer->options.tick_ms * ms,
                                    .system = consumer->system,
                                    .pages = consumer->pages,
                                    .limits = limits_shown(&consumer->options),
                                    .build = build_shown(consumer)};
    if (status == WEFT_OK) status = spawn(consumer, loop, &wf_exporter, &exporter, cast->exporter);
    for (uint32_t i = 0; i < consumer->user_count && status == WEFT_OK; i++) {
        const wf_user_actor *user = &consumer->users[i];
        status = wf_system_loop(consumer->system, user->class->name, &loop);
        if (status == WEFT_OK) status = spawn(consumer, loop, user->class, user->argument, cast->first_user + i);
    }
    wf_waker_options waker = {.manager = cast->manager, .pending = consumer->pending};
    if (status == WEFT_OK && cast->waker) status = spawn(consumer, manager_loop, &wf_waker, &waker, cast->waker);
    return status;
}

static weft_status spawn_process_engine(weft_consumer *consumer, uint32_t loop) {
    const wf_options *options = &consumer->options;
    char error[WF_ERROR_BYTES] = "";
    wf_process_engine_options argument = {
        .manager = consumer->cast.manager,
        .spawned = spawned_processes(options),
        .attached_max = (uint32_t)options->worker_attach_max,
        .command = options->worker_command,
        .users = options->worker_users,
        .user_count = options->worker_users_count,
        .directory = options->worker_directory,
        .heartbeat_ns = (uint64_t)options->worker_heartbeat_ms * ms,
        .deadline_ns = (uint64_t)options->handler_deadline_ms * ms,
        .grace_ns = (uint64_t)options->worker_grace_ms * ms,
        .leave_ns = (uint64_t)options->drain_timeout_ms * ms,
        .backoff_ns = (uint64_t)options->worker_restart_backoff_ms * ms,
        .backoff_max_ns = (uint64_t)options->worker_restart_backoff_max_ms * ms,
        .memory_max_bytes = (uint64_t)options->worker_memory_max_bytes,
        .niceness = (int)options->worker_nice,
        .files_max = consumer->files_before,
        .error = error,
        .error_bytes = sizeof error,
    };
    weft_actor_id id;
    weft_status status = wf_system_spawn(consumer->system, loop, &wf_process_engine, &argument, &id);
    WF_CHECK_IMPLIES(status == WEFT_OK, id == consumer->cast.first_worker);
    if (status != WEFT_OK) wf_consumer_set_error(consumer, "%s", *error ? error : weft_status_text(status));
    return status;
}

static weft_status spawn_workers(weft_consumer *consumer, uint32_t manager_loop) {
    if (has_processes(consumer)) return spawn_process_engine(consumer, manager_loop);
    wf_worker_options worker = {.manager = consumer->cast.manager,
                                .handler = consumer->handler,
                                .batch_handler = consumer->batch_handler,
                                .context = consumer->context,
                                .pending = consumer->pending};
    if (!has_threads(consumer)) return spawn(consumer, manager_loop, &wf_worker, &worker, consumer->cast.first_worker);
    for (uint32_t i = 0; i < (uint32_t)consumer->options.threads; i++) {
        char name[24];
        snprintf(name, sizeof name, "worker-%u", i);
        uint32_t loop;
        weft_status status = wf_system_loop(consumer->system, name, &loop);
        worker.number = i;
        if (status == WEFT_OK) status = spawn(consumer, loop, &wf_worker, &worker, consumer->cast.first_worker + i);
        if (status != WEFT_OK) {
            wf_consumer_set_error(consumer, "thread %u of threads = %lld can't be made: %s", i + 1,
                                  (long long)consumer->options.threads, weft_status_text(status));
            return status;
        }
    }
    return WEFT_OK;
}

weft_status wf_consumer_build(weft_consumer *consumer) {
    weft_status status = check_limits(consumer);
    if (status != WEFT_OK) return status;
    status = open_http(consumer);
    if (status != WEFT_OK) return status;
    uint32_t workers = has_threads(consumer) ? (uint32_t)consumer->options.threads : 1;
    uint32_t loops = 5 + consumer->user_count + workers;
    status = wf_system_new(loops, 6 + consumer->user_count + workers, &consumer->system);
    if (status != WEFT_OK) {
        wf_consumer_set_error(consumer, "%u threads need more ZeroMQ sockets than are possible", workers);
        goto fail;
    }
    if (has_threads(consumer)) {
        status = wf_pending_open((uint32_t)consumer->options.pending_max_records +
                                     (uint32_t)consumer->options.in_flight_max_records,
                                 &consumer->pending);
        if (status != WEFT_OK) {
            wf_consumer_set_error(consumer, "no table for pending.max.records = %lld: %s",
                                  (long long)consumer->options.pending_max_records, weft_status_text(status));
            goto fail;
        }
    }
    plan(consumer);
    uint32_t manager_loop = 0;
    status = spawn_ring(consumer, &manager_loop);
    if (status == WEFT_OK) status = spawn_sight(consumer, manager_loop);
    if (status == WEFT_OK) status = spawn_workers(consumer, manager_loop);
    if (status == WEFT_OK) return WEFT_OK;
fail:
    wf_system_free(&consumer->system);
    wf_pending_close(&consumer->pending);
    wf_consumer_close_http(consumer);
    return status;
}
