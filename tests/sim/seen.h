/* SPDX-License-Identifier: Apache-2.0
 *
 * What the histories went through. A run of many seeds that never saw one of these things tests less than it says, and
 * fails.
 */
#ifndef SIM_SEEN_H
#define SIM_SEEN_H

#include <stdint.h>

#include "chance.h"

#define SIM_SEEN_TABLE(X)                                                                                              \
    X(RESTORED, "records not run because of the committed map")                                                        \
    X(MAP_COMMITTED, "commits with a map")                                                                             \
    X(MAP_REFUSED, "maps that reach beyond the log")                                                                   \
    X(GIVEN_BACK, "backlogs of a held partition that went back to Kafka")                                              \
    X(KEPT, "partitions that came back with more than their last commit")                                              \
    X(ADOPTED, "records finished by a flight of an older epoch")                                                       \
    X(FENCED, "partitions that went with records in flight")                                                           \
    X(LOST, "partitions lost without a commit")                                                                        \
    X(LOG_RESET, "logs begun anew")                                                                                    \
    X(HOLE, "ends of logs reached")                                                                                    \
    X(HELD, "partitions stopped alone")                                                                                \
    X(GATE, "audits with lanes that wait for the map to shrink")                                                       \
    X(RETRIED, "attempts after the first")                                                                             \
    X(GIVEN_UP, "records given up by policy")                                                                          \
    X(AGAIN, "runs of a record that had succeeded before, here or at another member")                                  \
    X(DEFERRED, "deferred records")                                                                                    \
    X(EARLY, "promises kept before their slice was back")                                                              \
    X(PROMISE_ABANDONED, "promises given up at their deadline")                                                        \
    X(STALE_TOKEN, "stale tokens refused")                                                                             \
    X(COMMIT_FENCED, "commits of a membership that was over")                                                          \
    X(TOGETHER, "commits of a member beside another one")                                                              \
    X(ZOMBIE, "calls of handlers for a partition that another member has")                                             \
    X(COMMIT_RETRIED, "commits that failed for the moment")                                                            \
    X(COMMIT_TOO_LARGE, "commits with a map that the broker refused")                                                  \
    X(STOP_ABANDONED, "stops that left records behind")                                                                \
    X(STOP_IN_ORDER, "stops in order")                                                                                 \
    X(DIED, "incarnations that died")                                                                                  \
    X(FAILED, "incarnations that stopped because of a record, a deadline or Kafka")                                    \
    X(GAUGES, "reports compared with the truth")                                                                       \
    X(FELL, "worker processes that fell while they ran a record")                                                      \
    X(HANGS, "worker processes that hung")                                                                             \
    X(LATE, "records charged with their deadline")                                                                     \
    X(STOPPED, "worker processes that were stopped")                                                                   \
    X(RUDE, "worker processes that broke the protocol")                                                                \
    X(CLOSED, "worker processes that closed their connection and lived on")                                            \
    X(WORDS_LOST, "worker processes whose last words were lost")                                                       \
    X(UNREPORTED, "records that ran and were not reported by a worker process")                                        \
    X(PROCESS_FENCED, "worker processes killed because of a partition that had to go")                                 \
    X(HELD_BACK, "starts of worker processes held back")                                                               \
    X(ROLLED, "worker processes that were replaced")                                                                   \
    X(LONG_SLICE, "slices of more than 256 records")                                                                   \
    X(ATTACHED, "workers that attached themselves")                                                                    \
    X(NO_PLACE, "workers that found no place, or came with another token")                                             \
    X(LEFT, "attached workers that left by themselves")                                                                \
    X(RAN_ON, "attached workers that were given up and ran on")                                                        \
    X(NOBODY, "steps of an engine without any worker")

typedef enum sim_sight {
#define X(name, text) SIM_SEEN_##name,
    SIM_SEEN_TABLE(X)
#undef X
        SIM_SEEN_COUNT
} sim_sight;

extern uint64_t sim_seen_counts[SIM_SEEN_COUNT];

/* A sight that is taken for a failure (--wrong NAME), -1: none. So a history that shows it can be found and shrunk, and
 * shrinking itself tested. */
extern int sim_wrong_sight;

const char *sim_sight_text(int sight);
int sim_sight_find(const char *name); /* -1: there is none of that name */

static inline void sim_seen(sim_sight what) {
    sim_seen_counts[what]++;
    if ((int)what == sim_wrong_sight) sim_fail("seen, and wrong on purpose: %s", sim_sight_text((int)what));
}

#endif
