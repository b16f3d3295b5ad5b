/* SPDX-License-Identifier: Apache-2.0
 *
 * The consumer: reads topics of Kafka as a member of a group, runs a handler on each record with far more parallelism
 * than the topics have partitions, keeps the order of each key, and commits only what is finished.
 *
 *     weft_config *config;
 *     weft_consumer *consumer;
 *     weft_config_new(&config);
 *     weft_config_set(config, "bootstrap.servers", "localhost:9092");
 *     weft_config_set(config, "topics", "orders");
 *     weft_consumer_new(config, handle, NULL, &consumer);
 *     weft_consumer_start(consumer);
 *     weft_consumer_wait(consumer, -1);          // until request_stop() or a failure
 *     weft_consumer_stop(consumer, 30000);       // drains, commits, leaves the group
 *     weft_consumer_free(&consumer);
 *     weft_config_free(&config);
 *
 * Delivery is at least once: a record counts as finished when its handler returned WEFT_SUCCESS, or weft_complete()
 * said so, or the failure policy skipped it; only then may its offset be committed. Finished records beyond an
 * unfinished one are committed as a map in the metadata of the commit, and are not run again after a restart.
 *
 * A consumer runs once: new, start, stop, free. Only start and stop change that state; what does not fit it is
 * WEFT_ESTATE.
 *
 * Thread: one thread at a time calls these functions, except where said. Blocks: only where said.
 */
#ifndef WEFT_CONSUMER_H
#define WEFT_CONSUMER_H

#include "weft/actor.h"
#include "weft/config.h"
#include "weft/metrics.h"
#include "weft/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_consumer weft_consumer;

/* A consumer that will run `handler` with `context` on each record. NULL when engine is process: there the workers have
 * it. The configuration is copied.
 * Returns: WEFT_OK; WEFT_ECONFIG when weft_config_problems() has something to say; WEFT_EINVAL: no handler, or one
 * that would never run; WEFT_ELIMIT: no file descriptor; WEFT_ENOMEM. */
WEFT_EXPORT weft_status weft_consumer_new(const weft_config *config, weft_handler handler, void *context,
                                          weft_consumer **ret_consumer);

/* The same with a handler that takes several records at once. */
WEFT_EXPORT weft_status weft_consumer_new_batch(const weft_config *config, weft_batch_handler handler, void *context,
                                                weft_consumer **ret_consumer);

/* Add an actor of the program's own, on a thread of its own. Before start. The class must live as long as the consumer;
 * `argument` is handed to its init, which runs inside weft_consumer_start() on the caller's thread. The id is valid at
 * once, so that actors can be told of each other.
 * Returns: WEFT_OK; WEFT_EINVAL: no class, or one without a name; WEFT_ESTATE after start; WEFT_ERANGE: more
 * than 16. */
WEFT_EXPORT weft_status weft_consumer_spawn(weft_consumer *consumer, const weft_actor_class *actor_class,
                                            const void *argument, weft_actor_id *ret_id);

/* Let such an actor have events: WEFT_EVENT_COMPLETIONS, WEFT_EVENT_SNAPSHOT (each tick.ms), or both; its class needs a
 * handler for each. At most `credit` events are on their way to it at once; it gives credit back by sending
 * WEFT_EVENT_CREDIT to where the events came from. What finds no credit is dropped and counted in the next snapshot: a
 * slow subscriber slows nobody. Before start.
 * Returns: WEFT_OK; WEFT_EINVAL: not an id of weft_consumer_spawn(), or no credit; WEFT_ESTATE after start. */
WEFT_EXPORT weft_status weft_consumer_subscribe(weft_consumer *consumer, weft_actor_id actor, bool completions,
                                                bool snapshots, uint32_t credit);

/* Start all threads and join the group; returns when every actor runs, not when partitions are assigned. A broker
 * that is away is not an error: weft keeps trying. On failure weft_consumer_error() says why, and nothing is left
 * running.
 * With engine = process the program has to leave the ends of worker processes to weft. Where SIGCHLD is ignored (maybe
 * inherited so), or has SA_NOCLDWAIT, that is taken back when a worker is started, which the log tells: children of the
 * program's own are then its own to wait for. A handler of SIGCHLD stays, and must not wait for any child, waitpid(-1).
 * Returns: WEFT_OK; WEFT_ELIMIT: more threads, sockets or descriptors than this machine allows; WEFT_ECONFIG:
 * worker.directory can't be used, or a key that came through a pipe; WEFT_ESYSTEM: metrics.port is in use, or not
 * allowed, or another consumer has worker.directory at the time; WEFT_ENOMEM; WEFT_ESTATE; what the init of an actor
 * of the program's own returned. */
WEFT_EXPORT weft_status weft_consumer_start(weft_consumer *consumer);

/* Wait until somebody asks for a stop, or the consumer fails, or `timeout_ms` passed (-1: no limit). Blocks. It stops
 * nothing itself: call weft_consumer_stop().
 * Returns: WEFT_OK: weft_consumer_request_stop() was called, now or before; WEFT_ETIMEOUT; WEFT_ESTATE: it does not
 * run; otherwise the reason of the failure (weft_consumer_error() has the text). */
WEFT_EXPORT weft_status weft_consumer_wait(weft_consumer *consumer, int64_t timeout_ms);

/* End weft_consumer_wait(). From new until free. Thread: any; safe in a signal handler. */
WEFT_EXPORT void weft_consumer_request_stop(weft_consumer *consumer);

/* Stop in order: refuse new work, finish what runs, commit, leave the group, end the threads. What runs has
 * `timeout_ms`; the last commit and leaving the group may take up to some six seconds more when the broker does not
 * answer. Blocks.
 * Returns: WEFT_OK: all that was begun is done and committed; WEFT_ESTATE: it does not run; the reason of an earlier
 * failure if there was one; otherwise WEFT_EABANDONED: records were still running at the deadline
 * (weft_consumer_abandoned() lists them), or a thread did not end; otherwise WEFT_EUNCOMMITTED: finished records could
 * not be committed, because the membership was over (and no other has begun since) or no broker answered;
 * weft_consumer_error() says of how many partitions. */
WEFT_EXPORT weft_status weft_consumer_stop(weft_consumer *consumer, int64_t timeout_ms);

/* Stop fetching and starting records of a topic (NULL: all topics), or of one partition of it (-1: all), and go on
 * again. What runs, ends. Works on partitions that this consumer has, or had and may get back; one that comes back
 * is still paused. Returns: WEFT_OK: it was told to do so; WEFT_EINVAL: no topic has such a long name; WEFT_ESTATE. */
WEFT_EXPORT weft_status weft_consumer_pause(weft_consumer *consumer, const char *topic, int32_t partition);
WEFT_EXPORT weft_status weft_consumer_resume(weft_consumer *consumer, const char *topic, int32_t partition);

/* Replace all worker processes that weft started (engine = process) one by one, each when all others are ready: no
 * rebalance, and no record is lost or run twice for it. `config` has what may be new: worker.command,
 * worker.memory.max.bytes and worker.nice; NULL: all as before. Workers that do not start leave the rest as it is.
 * Returns: WEFT_OK: it has begun; WEFT_EINVAL: another engine, or no worker.command; WEFT_ECONFIG: see
 * weft_config_problems(); WEFT_ESTATE: it does not run; WEFT_ENOMEM. */
WEFT_EXPORT weft_status weft_consumer_restart_workers(weft_consumer *consumer, const weft_config *config);

/* All gauges now. Blocks until the actors have answered: microseconds, or as long as an inline handler takes; at most
 * 5 s. *ret_metrics is one piece: free() it. Returns: WEFT_OK; WEFT_ETIMEOUT; WEFT_ESTATE: it does not run. */
WEFT_EXPORT weft_status weft_consumer_metrics(weft_consumer *consumer, weft_metrics **ret_metrics);

/* After stop: all gauges as they were when the group had been left; its partitions are gone, what was counted is there.
 * NULL: not stopped, or they could not be had. Lives until free. */
WEFT_EXPORT const weft_metrics *weft_consumer_final_metrics(const weft_consumer *consumer);

/* The port of the HTTP endpoint (metrics.enabled), which is another than metrics.port when that is 0; 0: none is open.
 * From start until stop. */
WEFT_EXPORT uint16_t weft_consumer_metrics_port(const weft_consumer *consumer);

/* Why start, wait or stop failed, or "": names the thing, the value and what is allowed. The first failure of a run is
 * kept, since it is the cause. Valid until the next call on this consumer. */
WEFT_EXPORT const char *weft_consumer_error(const weft_consumer *consumer);

/* A record that was running, or deferred, when a stop's deadline passed. Its next owner runs it again. */
typedef struct weft_abandoned {
    const char *topic;
    int32_t partition;
    unsigned attempt;
    int64_t offset;
    uint64_t running_ns; /* since it was dispatched */
    bool deferred;
} weft_abandoned;

/* After stop: how many were abandoned, and the list of them, which lives until free. */
WEFT_EXPORT size_t weft_consumer_abandoned(const weft_consumer *consumer, const weft_abandoned **ret_list);

/* Free everything; stops with no patience if it still runs. Sets *consumer to NULL; NULL is fine. After an abandoned
 * stop, what the stuck threads use is left behind on purpose. */
WEFT_EXPORT void weft_consumer_free(weft_consumer **consumer);

#ifdef __cplusplus
}
#endif

#endif
