/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_note.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { SYSLOG_WARNING = 4 }; /* levels of the log count as syslog does */

void *wf_kafka_allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    WF_CHECK(memory != NULL);
    return memory;
}

static char *copy_text(const char *text) {
    if (!text) return NULL;
    char *copy = strdup(text);
    WF_CHECK(copy != NULL);
    return copy;
}

static wf_kafka_note *add(wf_kafka_notes *notes, wf_kafka_note_kind kind) {
    wf_kafka_note *note = wf_kafka_allocate(1, sizeof *note);
    note->kind = kind;
    if (notes->last) notes->last->next = note;
    if (!notes->first) notes->first = note;
    notes->last = note;
    return note;
}

void wf_kafka_notes_rebalance(wf_kafka_notes *notes, bool assign, const wf_kafka_partition *partitions, size_t count,
                              bool incremental, bool lost) {
    wf_kafka_note *note = add(notes, assign ? WF_KAFKA_NOTE_ASSIGN : WF_KAFKA_NOTE_REVOKE);
    note->incremental = incremental;
    note->lost = lost;
    note->partitions = wf_kafka_allocate(count, sizeof *note->partitions);
    note->count = count;
    for (size_t i = 0; i < count; i++) {
        note->partitions[i] = partitions[i];
        note->partitions[i].topic = copy_text(partitions[i].topic);
        note->partitions[i].metadata = NULL; /* a rebalance carries none */
        note->partitions[i].metadata_bytes = 0;
    }
}

void wf_kafka_notes_nothing_committed(wf_kafka_notes *notes) {
    add(notes, WF_KAFKA_NOTE_COMMITTED);
}

void wf_kafka_notes_error(wf_kafka_notes *notes, wf_kafka_error error, const char *text, const char *topic,
                          int32_t partition) {
    wf_kafka_note *note = add(notes, WF_KAFKA_NOTE_ERROR);
    note->error = error;
    note->text = copy_text(text);
    note->topic = copy_text(topic);
    note->partition = topic ? partition : -1;
}

void wf_kafka_notes_warning(wf_kafka_notes *notes, const char *text) {
    add(notes, WF_KAFKA_NOTE_WARNING)->text = copy_text(text);
}

static void tell(const wf_kafka_note *note, const wf_kafka_sink *sink, void *context) {
    switch (note->kind) {
    case WF_KAFKA_NOTE_ASSIGN:
        sink->on_assign(context, note->partitions, note->count, note->incremental);
        break;
    case WF_KAFKA_NOTE_REVOKE:
        sink->on_revoke(context, note->partitions, note->count, note->incremental, note->lost);
        break;
    case WF_KAFKA_NOTE_COMMITTED:
        sink->on_committed_offsets(context, WF_KAFKA_OK, "", note->partitions, 0);
        break;
    case WF_KAFKA_NOTE_ERROR:
        sink->on_error(context, note->error, note->text, note->topic, note->partition);
        break;
    case WF_KAFKA_NOTE_WARNING:
        sink->on_log(context, SYSLOG_WARNING, "WEFT", note->text);
        break;
    }
}

static void free_note(wf_kafka_note *note) {
    for (size_t i = 0; i < note->count; i++) free((char *)note->partitions[i].topic);
    free(note->partitions);
    free(note->text);
    free(note->topic);
    free(note);
}

static void tell_all(wf_kafka_notes *notes, const wf_kafka_sink *sink, void *context) {
    while (notes->first) {
        wf_kafka_note *note = notes->first;
        notes->first = note->next;
        if (sink) tell(note, sink, context);
        free_note(note);
    }
    notes->last = NULL;
}

void wf_kafka_notes_tell(wf_kafka_notes *notes, const wf_kafka_sink *sink, void *context) {
    wf_kafka_notes now = *notes;
    *notes = (wf_kafka_notes){NULL, NULL};
    tell_all(&now, sink, context);
}

void wf_kafka_notes_deinit(wf_kafka_notes *notes) {
    tell_all(notes, NULL, NULL);
}
