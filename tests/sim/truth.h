/* SPDX-License-Identifier: Apache-2.0
 *
 * What is true, kept by brute force beside the actors: it sees the messages that they send and get, and what the
 * handlers do.
 *
 * What it checks at every message and every call of a handler:
 * 1. An ordered lane has records out in one place at a time, from WORK until DONE (deferred ones: until they were
 * completed too), across epochs. Within it a record starts only when all before it are finished.
 * 2. Every slice comes back as it went; a record that is out is not sent home, and nothing is out twice.
 * 3. What the committed map calls complete does not run again.
 * 4. COMPLETED is said once per epoch, of records that succeeded or that the policy gave up.
 * 5. No limit on records in flight is exceeded.
 */
#ifndef SIM_TRUTH_H
#define SIM_TRUTH_H

#include "broker.h"
#include "messages.h"

enum { SIM_LANE_OPEN = -1, SIM_LANES = 256, SIM_FLIGHTS_MAX = 4096 };

/* A record that is out. */
typedef struct sim_flight {
    const wf_record *block;
    sim_log *log;
    int64_t offset;
    uint32_t epoch;
    int32_t lane;
    uint64_t slice;
    uint64_t sent_ns;
    bool parked;   /* its DONE said that it is deferred */
    bool unparked; /* its completion arrived */
    bool started;
    /* With worker processes. */
    bool may_be_charged; /* its process fell while it may have run it */
    bool reported;       /* its DONE has arrived */
    bool late;           /* it ran longer than its deadline */
    int fell_with;       /* the process that fell by itself while it ran it: it must be charged */
    uint32_t promised;   /* status of its completion */
} sim_flight;

/* The epoch of a partition as the ring knows it. */
typedef struct sim_epoch {
    uint32_t slot;
    uint32_t epoch;
    bool live;  /* from RESTORE to DRAINED */
    bool going; /* REVOKE was sent: what is sent behind it is not taken any more */
    bool bounded;
    bool map_used;
    int64_t base; /* -1: nothing came yet and nothing was committed */
    int64_t came_end;
    int64_t known_end;   /* came_end at its highest: where it was set back, holes below are known */
    bool stale;          /* between UNFETCH and HELD: what comes is void */
    wf_offset_run *runs; /* the restored map */
    size_t run_count;
    int64_t committed; /* last offset that the poller told the tracker; -1: none */
    uint64_t metadata_bytes;
    uint64_t completed; /* since the incarnation began */
    uint64_t restored;
    uint64_t
        retried;  /* failed attempts that are not the last ones, of records that count; since the incarnation began */
    bool drained; /* the work manager has said so */
} sim_epoch;

typedef struct sim_truth {
    sim_broker *broker;
    const sim_plan *plan;
    sim_flight flights[SIM_FLIGHTS_MAX];
    uint32_t flight_count;
    uint32_t lent;
    uint32_t parked;
    uint64_t slices;
    uint64_t handled;      /* calls of handlers */
    uint64_t fetched;      /* records that the poller sent */
    uint64_t fenced;       /* records that were out when their partition had to go */
    uint64_t maps_refused; /* nobody could read them, or they reach beyond the log */
    uint32_t lane_out[SIM_PARTITIONS_MAX][SIM_LANES];
    uint64_t lane_slice[SIM_PARTITIONS_MAX][SIM_LANES];
    sim_epoch epochs[SIM_PARTITIONS_MAX]; /* by log */
} sim_truth;

void sim_truth_init(sim_truth *truth, sim_broker *broker, const sim_plan *plan);
/* A new incarnation: nothing is out. */
void sim_truth_begin(sim_truth *truth);
void sim_truth_deinit(sim_truth *truth);

/* A message was sent; is about to be handled. */
void sim_truth_sent(sim_truth *truth, uint32_t type, const void *body, size_t bytes);
void sim_truth_arrives(sim_truth *truth, uint32_t type, const void *body, size_t bytes);

/* A process is killed by us for a reason of our own: nobody need be charged any more. */
void sim_truth_ordered(sim_truth *truth, int pid);

/* A handler begins with this record. */
sim_flight *sim_truth_started(sim_truth *truth, const wf_record *record);

sim_flight *sim_truth_flight(sim_truth *truth, const wf_record *block);

/* Is this offset complete in the eyes of the tracker, once every message has arrived? */
bool sim_truth_is_complete(const sim_truth *truth, const sim_log *log, int64_t offset);
/* Nothing came there although more came behind it, and no map called it complete. */
bool sim_truth_is_hole(const sim_truth *truth, const sim_log *log, int64_t offset);
int64_t sim_truth_frontier(const sim_truth *truth, const sim_log *log);

#endif
