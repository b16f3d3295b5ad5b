/* SPDX-License-Identifier: Apache-2.0
 *
 * What a callback of the Kafka library saw, kept until its call has returned: first in, first out. Pure data.
 *
 * 1. A note owns copies of everything it tells; the sink may free, close or call the door while it listens.
 * 2. Memory that can't be had ends the process, as it does inside librdkafka.
 */
#ifndef WF_KAFKA_NOTE_H
#define WF_KAFKA_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka.h"

typedef enum wf_kafka_note_kind {
    WF_KAFKA_NOTE_ASSIGN,
    WF_KAFKA_NOTE_REVOKE,
    WF_KAFKA_NOTE_COMMITTED, /* the answer to a question about no partitions at all */
    WF_KAFKA_NOTE_ERROR,
    WF_KAFKA_NOTE_WARNING,
} wf_kafka_note_kind;

typedef struct wf_kafka_note {
    struct wf_kafka_note *next;
    wf_kafka_note_kind kind;
    bool incremental; /* rebalances, these four */
    bool lost;
    wf_kafka_partition *partitions;
    size_t count;
    wf_kafka_error error; /* errors, and the three below */
    char *text;           /* errors and warnings */
    char *topic;          /* NULL: none */
    int32_t partition;
} wf_kafka_note;

typedef struct wf_kafka_notes {
    wf_kafka_note *first;
    wf_kafka_note *last;
} wf_kafka_notes;

/* Zeroed; never NULL. For all of the door. */
void *wf_kafka_allocate(size_t count, size_t size);

/* Partitions may be NULL when count is 0; everything is copied. */
void wf_kafka_notes_rebalance(wf_kafka_notes *notes, bool assign, const wf_kafka_partition *partitions, size_t count,
                              bool incremental, bool lost);
void wf_kafka_notes_nothing_committed(wf_kafka_notes *notes);
void wf_kafka_notes_error(wf_kafka_notes *notes, wf_kafka_error error, const char *text, const char *topic,
                          int32_t partition);
void wf_kafka_notes_warning(wf_kafka_notes *notes, const char *text); /* told as a line of the log */

/* Tell those that are there now, in order; notes that come while telling stay for the next call. */
void wf_kafka_notes_tell(wf_kafka_notes *notes, const wf_kafka_sink *sink, void *context);
void wf_kafka_notes_deinit(wf_kafka_notes *notes);

#endif
