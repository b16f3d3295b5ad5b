/* SPDX-License-Identifier: Apache-2.0
 *
 * A Kafka of one group: logs, committed offsets, membership; and the door that the poller sees it through (door.c). It
 * answers late, fails, expels and takes partitions away as the seed says. It outlives the members (incarnations) that
 * it serves one after the other.
 *
 * What it checks of the poller: one commit in flight at most; commits of a valid member never go back; what a commit
 * calls complete is finished in truth; each rebalance event is answered by the call that belongs to it, with the same
 * partitions.
 */
#ifndef SIM_BROKER_H
#define SIM_BROKER_H

#include "kafka.h"
#include "plan.h"
#include "seen.h"

enum {
    SIM_KEY_NULL = -1,
    SIM_POISON = 255,
    SIM_EVENTS_FD = 1000001, /* numbers that no descriptor has: the world knows when they ring */
    SIM_RECORDS_FD = 1000002,
};

/* One offset of a log, and the truth about it. */
typedef struct sim_entry {
    bool exists;      /* false: a hole */
    bool gone;        /* retention took it */
    bool finished;    /* some member handled it with success, or gave it up by policy */
    bool defers;      /* its handler likes to answer PENDING */
    uint8_t failures; /* so many attempts fail; SIM_POISON: all of this incarnation */
    int32_t key;
    uint32_t value_bytes;
} sim_entry;

/* The same as one member knows it, in the current epoch of the log's slot (truth.c). */
typedef struct sim_mine {
    uint32_t last_attempt; /* as the handler saw it */
    bool came;
    bool done;
    bool lent; /* at least once */
} sim_mine;

typedef struct sim_log {
    const char *topic;
    int32_t partition;
    uint32_t index;
    sim_entry *entries; /* by offset */
    sim_mine *mine;
    int64_t start; /* lowest offset that is still there */
    int64_t end;
    int64_t room;
    int64_t committed; /* -1: nothing */
    char *metadata;    /* of the commit, malloc'ed; NULL: none */
    size_t metadata_bytes;
    /* The group. */
    bool ours; /* commits of our member are taken */
    bool told; /* our member was told that it has the partition, and did not give it back */
    /* The client inside our member. */
    bool fetching;
    bool held;
    bool thrown_back; /* since it was assigned, it was fetched anew from the start: maps and commits begin anew */
    bool eof_told;
    uint32_t version;  /* what was fetched under an older one is void */
    int64_t position;  /* next to fetch */
    int64_t delivered; /* one past what the poller got */
    int64_t watermark; /* the log's end as the last fetch saw it; -1: none yet */
} sim_log;

typedef enum sim_group_state {
    SIM_GROUP_OUT = 0,
    SIM_GROUP_JOINING,   /* gets an assignment at group_due_ns */
    SIM_GROUP_ASSIGNING, /* the assignment waits for assign() */
    SIM_GROUP_STABLE,
    SIM_GROUP_EXPELLED, /* nobody told the member; it finds out at group_due_ns */
    SIM_GROUP_REVOKING, /* waits for unassign() */
    SIM_GROUP_CLOSED,
} sim_group_state;

typedef struct sim_fetched {
    uint32_t log;
    uint32_t version;
    int64_t offset;
    bool eof;
} sim_fetched;

typedef enum sim_event_kind {
    SIM_EVENT_ASSIGN,
    SIM_EVENT_REVOKE,
    SIM_EVENT_COMMITTED,
    SIM_EVENT_COMMIT_RESULT,
    SIM_EVENT_ERROR,
    SIM_EVENT_CLOSED,
} sim_event_kind;

/* A request on its way to the broker (until applied), then its answer on its way back; or an event of the group. */
typedef struct sim_event {
    struct sim_event *next;
    sim_event_kind kind;
    uint64_t due_ns;
    uint32_t generation; /* of the member when it asked */
    bool applied;
    bool lost;
    wf_kafka_error error;
    size_t count;
    wf_kafka_partition list[SIM_PARTITIONS_MAX]; /* metadata malloc'ed */
} sim_event;

/* The broker as one member sees it. With several members there are several, which have the logs and what is committed
 * in common: sim_broker_enter() brings over what another one has changed. */
typedef struct sim_broker {
    struct sim_broker *peer; /* the other member's; NULL: there is none */
    const sim_plan *plan;
    sim_chance *chance;
    uint64_t now_ns; /* the world's */
    bool calm;       /* no faults any more */
    sim_log logs[SIM_PARTITIONS_MAX];
    uint32_t produced;
    /* The group. */
    sim_group_state group;
    uint64_t group_due_ns;
    uint32_t generation; /* of the group: each assignment begins one */
    bool closing;
    bool expelled; /* what the member still has is somebody else's */
    /* The door of the current member. */
    sim_event *travelling; /* requests and answers, by nothing */
    sim_event *ready;      /* what serve() hands out, in order */
    sim_event **ready_tail;
    bool commit_open;
    bool events_ring;
    bool records_ring;
    sim_fetched *queue;
    size_t queue_head, queue_count, queue_room;
    uint64_t fetch_due_ns;
    bool stop; /* consume_stop() was called */
} sim_broker;

void sim_broker_init(sim_broker *broker, const sim_plan *plan, sim_chance *chance);
void sim_broker_deinit(sim_broker *broker);

/* A second member's view of the same logs, until sim_broker_part(). */
void sim_broker_join(sim_broker *broker, sim_broker *first);
void sim_broker_part(sim_broker *broker);
/* From now on this one acts, and has acted last was its peer. */
void sim_broker_enter(sim_broker *broker);
/* Commits of another member are taken for this log. */
bool sim_broker_is_theirs(const sim_broker *broker, const sim_log *log);

/* A door for a new member. It is freed by the poller, and the member is gone then: what it had on its way may still
 * arrive. */
wf_kafka *sim_door_new(sim_broker *broker);

/* Of a record; many have the same. */
static inline int64_t sim_broker_timestamp_ms(int64_t offset) {
    return 1700000000000 + offset / 8;
}

sim_log *sim_broker_log(sim_broker *broker, const char *topic, int32_t partition);

/* Produce up to `count` records more, as far as the plan has them. */
void sim_broker_append(sim_broker *broker, uint32_t count);

/* When something is due, UINT64_MAX: never; and let one thing that is due happen. */
uint64_t sim_broker_next_ns(const sim_broker *broker);
void sim_broker_advance(sim_broker *broker);

/* Faults. */
void sim_broker_rebalance(sim_broker *broker);
void sim_broker_expel(sim_broker *broker);
/* In the calm: unless the member has everything, it gets it. */
void sim_broker_complete(sim_broker *broker);
void sim_broker_trouble(sim_broker *broker, wf_kafka_error error);
/* A fetcher finds its offset out of range, and begins again at the start of the log: the member must take that for
 * another log. */
void sim_broker_throw_back(sim_broker *broker);
void sim_broker_retain(sim_broker *broker);
void sim_broker_other_member(sim_broker *broker, sim_log *log);

/* Does the committed offset with its map call this offset complete? */
bool sim_broker_calls_complete(const sim_log *log, int64_t offset);

/* Every record is finished and committed. */
bool sim_broker_is_finished(const sim_broker *broker);

/* --- between broker.c, group.c and door.c */

sim_event *sim_event_new(sim_event_kind kind);
/* Off with it: there after a while, in no order; or ready at once, behind what is ready. */
void sim_event_travel(sim_broker *broker, sim_event *event, uint64_t delay_ns);
void sim_event_ready(sim_broker *broker, sim_event *event);
void sim_event_list(sim_event *event, const wf_kafka_partition *partitions, size_t count);
void sim_event_free(sim_event *event);
uint64_t sim_broker_latency_ns(sim_broker *broker);
void sim_broker_commit_truth(const sim_log *log, int64_t offset, const char *metadata, size_t metadata_bytes,
                             const char *who);
/* The member is gone; its commit may still arrive. */
void sim_broker_drop_requests(sim_broker *broker);
void sim_group_step(sim_broker *broker);
void sim_group_answered(sim_broker *broker, bool assigned, const wf_kafka_partition *list, size_t count);
void sim_group_close(sim_broker *broker);
/* Something that consume() would deliver waits. */
bool sim_broker_has_records(const sim_broker *broker);
bool sim_broker_can_fetch(const sim_broker *broker);
void sim_broker_fetch(sim_broker *broker);

#endif
