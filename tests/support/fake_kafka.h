/* SPDX-License-Identifier: Apache-2.0
 *
 * A fake door to Kafka (actors/kafka.h) for tests of actors and for the simulator: one member of a group on a
 * fake_cluster. Deterministic: no threads, no clock, no descriptors; nothing happens but by a call.
 *
 * Two things make an event visible to the actor's next serve(): the test says it outright (fake_kafka_give(), _take(),
 * _lose(), _error()), or the world lets a step happen that the actor's own calls made possible. A *step* is one of
 *   - a request on its way (commit, committed offsets, leaving) gets to the broker, which does it or refuses it;
 *   - the answer to such a request comes back;
 *   - one fetch of one partition that is assigned, not held and has something (a record, or an end of log not told
 * yet). The world chooses among fake_kafka_steps() by index, so it decides what is late, what is lost and in which
 * order answers come. fake_kafka_settle() lets everything happen in order.
 *
 * What the real door does and the fake does too: records flow until unassign(); hold() and seek() void what was read
 * ahead; a position outside of the log goes to its start (auto.offset.reset=earliest) or end; commits of a member that
 * the broker does not take for the owner are FENCED as a whole; too long metadata is refused for its partition alone;
 * close_begin() revokes what is assigned. A breach of the door's contract by the actor is kept as a text:
 * fake_kafka_breach().
 */
#ifndef SUPPORT_FAKE_KAFKA_H
#define SUPPORT_FAKE_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_cluster.h"
#include "kafka.h"

typedef struct fake_kafka fake_kafka;

/* The door belongs to the actor, whose ops->free() ends what the actor sees; the fake itself lives until
 * fake_kafka_free(). */
fake_kafka *fake_kafka_new(fake_cluster *cluster, bool reset_to_latest);
void fake_kafka_free(fake_kafka *fake);
wf_kafka *fake_kafka_door(fake_kafka *fake);

typedef struct fake_place {
    const char *topic;
    int32_t partition;
} fake_place;

/* --- the group */

/* The group gives partitions to this member: on_assign. From now on the broker takes its commits for them. */
void fake_kafka_give(fake_kafka *fake, const fake_place *places, size_t count, bool incremental);
/* It takes them back in order: on_revoke; the member stays the owner until its unassign(). Eager: everything it has. */
void fake_kafka_take(fake_kafka *fake, const fake_place *places, size_t count, bool incremental);
/* The same, lost: the broker does not take its commits any more from this moment on. */
void fake_kafka_lose(fake_kafka *fake, const fake_place *places, size_t count, bool incremental);
/* The member was expelled and has not heard of it: no event, only its commits are fenced. */
void fake_kafka_expel(fake_kafka *fake);
void fake_kafka_error(fake_kafka *fake, wf_kafka_error error, const char *text, const char *topic, int32_t partition);

/* --- steps */

size_t fake_kafka_steps(const fake_kafka *fake);
void fake_kafka_step(fake_kafka *fake, size_t index);
/* All steps, in order, until there is none; serve() and consume() are still the actor's. */
void fake_kafka_settle(fake_kafka *fake);
/* How many records one fetch step brings; 100 at first. */
void fake_kafka_set_fetch(fake_kafka *fake, size_t records);
/* Something waits for serve(), for consume(). */
bool fake_kafka_has_event(const fake_kafka *fake);
bool fake_kafka_has_record(const fake_kafka *fake);

typedef enum fake_request {
    FAKE_COMMIT,
    FAKE_COMMITTED,
    FAKE_LEAVE,
    FAKE_REQUEST_COUNT,
} fake_request;

/* The next `times` requests of this kind are answered with this error. `done`: the broker does it all the same. */
void fake_kafka_fail(fake_kafka *fake, fake_request kind, wf_kafka_error error, bool done, unsigned times);
/* The next `times` answers with committed offsets leave out their last partition. */
void fake_kafka_forget(fake_kafka *fake, unsigned times);
/* Requests of this kind on their way, at the broker or coming back. */
size_t fake_kafka_requests(const fake_kafka *fake, fake_request kind);

/* --- what the actor did */

typedef struct fake_kafka_counts {
    uint64_t commits; /* calls */
    uint64_t fetch_committed;
    uint64_t assigns;
    uint64_t unassigns;
    uint64_t holds;
    uint64_t releases;
    uint64_t seeks;
    uint64_t wakes;
    uint64_t delivered;   /* records */
    uint64_t regressions; /* commits of an offset below the one stored, by the partition's owner of then */
} fake_kafka_counts;
const fake_kafka_counts *fake_kafka_seen(const fake_kafka *fake);

bool fake_kafka_is_assigned(const fake_kafka *fake, const char *topic, int32_t partition); /* assign() was called */
bool fake_kafka_is_held(const fake_kafka *fake, const char *topic, int32_t partition);
bool fake_kafka_is_closing(const fake_kafka *fake);
bool fake_kafka_is_freed(const fake_kafka *fake);

/* NULL: none. The first one stays. */
const char *fake_kafka_breach(const fake_kafka *fake);

#endif
