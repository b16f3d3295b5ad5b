/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a fake door, shared by fake_kafka.c (the world's side) and fake_door.c (the actor's side).
 */
#ifndef SUPPORT_FAKE_INSIDE_H
#define SUPPORT_FAKE_INSIDE_H

#include "fake_kafka.h"

/* A partition as this member knows it. */
typedef struct fake_known {
    fake_partition *log;
    bool assigned;
    bool held;
    int64_t position; /* next offset to fetch; WF_KAFKA_OFFSET_NONE: wherever a reset leads */
    int64_t app;      /* next offset to deliver: where reading resumes when what was read ahead is void */
    int64_t high;     /* end of the log as last fetched; -1: never */
    int64_t eof_told; /* the end that was told last; -1: none */
} fake_known;

typedef struct fake_queued {
    fake_known *place;
    const fake_record *record; /* NULL: the end of the log */
    int64_t eof;
} fake_queued;

typedef enum fake_event_kind {
    EVENT_ASSIGN,
    EVENT_REVOKE,
    EVENT_COMMITTED,
    EVENT_COMMIT,
    EVENT_ERROR,
    EVENT_CLOSED
} fake_event_kind;

/* A request on its way, or an event that waits to be told: both carry partitions. */
typedef struct fake_item {
    struct fake_item *next;
    fake_request request;
    bool answered; /* requests: it has been at the broker */
    fake_event_kind kind;
    wf_kafka_partition *partitions; /* topics are the cluster's, metadata is owned */
    size_t count;
    bool incremental;
    bool lost;
    wf_kafka_error error;
    char text[128];
    char topic[128]; /* errors; "": none */
    int32_t partition;
} fake_item;

typedef struct fake_list {
    fake_item *first;
    fake_item *last;
} fake_list;

typedef struct fake_failure {
    wf_kafka_error error;
    bool done;
    unsigned times;
} fake_failure;

struct fake_kafka {
    wf_kafka base;
    fake_cluster *cluster;
    bool reset_to_latest;
    bool expelled;
    fake_known **known;
    size_t known_count;
    fake_queued *queue;
    size_t queue_count;
    size_t queue_room;
    fake_list requests;
    fake_list events;
    fake_failure failures[FAKE_REQUEST_COUNT];
    unsigned forgets; /* answers that leave out a partition */
    size_t fetch_max;
    fake_item *given; /* an assignment that was not answered yet; the event's twin */
    fake_item *taken; /* a revocation likewise */
    bool incremental; /* the last assignment */
    bool subscribed;
    bool closing;
    bool freed;
    bool in_callback;
    bool stop;
    fake_kafka_counts counts;
    char breach[256];
};

fake_item *fake_item_new(const wf_kafka_partition *partitions, size_t count);
void fake_item_free(fake_item *gone);
void fake_push(fake_list *to, fake_item *added);
void fake_forget(fake_item **unanswered);

/* NULL: the cluster has no such partition. */
fake_known *fake_place_of(fake_kafka *fake, const char *topic, int32_t partition);
bool fake_has_assignment(const fake_kafka *fake);
/* What was read ahead is void. */
void fake_drop_queued(fake_kafka *fake, fake_known *of);
void fake_end_ownership(fake_kafka *fake, fake_partition *log);
void fake_take(fake_kafka *fake, const fake_place *places, size_t count, bool incremental, bool lost);

extern const wf_kafka_ops fake_door_ops;

#endif
