/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

/* --- lists */

fake_item *fake_item_new(const wf_kafka_partition *partitions, size_t count) {
    fake_item *made = must_alloc(1, sizeof *made);
    made->partitions = must_alloc(count + 1, sizeof *made->partitions);
    made->count = count;
    made->partition = -1;
    for (size_t i = 0; i < count; i++) {
        made->partitions[i] = partitions[i];
        made->partitions[i].metadata = NULL;
        if (!partitions[i].metadata) continue;
        char *copy = must_alloc(partitions[i].metadata_bytes + 1, 1);
        memcpy(copy, partitions[i].metadata, partitions[i].metadata_bytes);
        made->partitions[i].metadata = copy;
    }
    return made;
}

void fake_item_free(fake_item *gone) {
    if (!gone) return;
    for (size_t i = 0; i < gone->count; i++) free((char *)gone->partitions[i].metadata);
    free(gone->partitions);
    free(gone);
}

void fake_forget(fake_item **unanswered) {
    fake_item_free(*unanswered);
    *unanswered = NULL;
}

void fake_push(fake_list *to, fake_item *added) {
    added->next = NULL;
    if (to->last)
        to->last->next = added;
    else
        to->first = added;
    to->last = added;
}

static void unlink_item(fake_list *from, const fake_item *gone) {
    fake_item **at = &from->first;
    fake_item *before = NULL;
    while (*at != gone) {
        before = *at;
        at = &before->next;
    }
    *at = gone->next;
    if (from->last == gone) from->last = before;
}

static fake_item *push_event(fake_kafka *fake, fake_event_kind kind, const wf_kafka_partition *partitions,
                             size_t count) {
    fake_item *event = fake_item_new(partitions, count);
    event->kind = kind;
    fake_push(&fake->events, event);
    return event;
}

/* --- places */

fake_known *fake_place_of(fake_kafka *fake, const char *topic, int32_t partition) {
    fake_partition *log = fake_cluster_partition(fake->cluster, topic, partition);
    if (!log) return NULL;
    for (size_t i = 0; i < fake->known_count; i++)
        if (fake->known[i]->log == log) return fake->known[i];
    fake_known *made = must_alloc(1, sizeof *made);
    *made = (fake_known){
        .log = log, .high = -1, .eof_told = -1, .position = WF_KAFKA_OFFSET_NONE, .app = WF_KAFKA_OFFSET_NONE};
    fake->known = realloc(fake->known, (fake->known_count + 1) * sizeof *fake->known);
    MUST(fake->known, "no memory");
    fake->known[fake->known_count++] = made;
    return made;
}

bool fake_has_assignment(const fake_kafka *fake) {
    for (size_t i = 0; i < fake->known_count; i++)
        if (fake->known[i]->assigned) return true;
    return false;
}

void fake_drop_queued(fake_kafka *fake, fake_known *of) {
    size_t kept = 0;
    for (size_t i = 0; i < fake->queue_count; i++)
        if (fake->queue[i].place != of) fake->queue[kept++] = fake->queue[i];
    fake->queue_count = kept;
    of->position = of->app;
    of->eof_told = -1;
}

static void enqueue(fake_kafka *fake, fake_known *from, const fake_record *record, int64_t eof) {
    if (fake->queue_count == fake->queue_room) {
        fake->queue_room = fake->queue_room ? 2 * fake->queue_room : 64;
        fake->queue = realloc(fake->queue, fake->queue_room * sizeof *fake->queue);
        MUST(fake->queue, "no memory");
    }
    fake->queue[fake->queue_count++] = (fake_queued){from, record, eof};
}

static bool is_outside(const fake_known *at) {
    return at->position < at->log->start || at->position > at->log->end;
}

static bool can_fetch(const fake_known *at) {
    if (!at->assigned || at->held) return false;
    return is_outside(at) || at->position < at->log->end || at->eof_told != at->log->end;
}

static void fetch(fake_kafka *fake, fake_known *at) {
    const fake_partition *log = at->log;
    if (is_outside(at)) at->position = at->app = fake->reset_to_latest ? log->end : log->start;
    at->high = log->end;
    size_t next = fake_partition_find(log, at->position);
    for (size_t taken = 0; taken < fake->fetch_max && next < log->record_count; taken++, next++) {
        enqueue(fake, at, log->records[next], 0);
        at->position = log->records[next]->offset + 1;
    }
    if (next < log->record_count) return;
    at->position = log->end;
    at->eof_told = log->end;
    enqueue(fake, at, NULL, log->end);
}

/* --- the broker */

static void fill_all(fake_item *request, wf_kafka_error error) {
    for (size_t i = 0; i < request->count; i++) request->partitions[i].error = (int)error;
    request->error = error;
}

static bool owns_all(fake_kafka *fake, const fake_item *request) {
    if (fake->expelled) return false;
    for (size_t i = 0; i < request->count; i++)
        if (fake_place_of(fake, request->partitions[i].topic, request->partitions[i].partition)->log->owner != fake)
            return false;
    return true;
}

static void do_commit(fake_kafka *fake, fake_item *request) {
    fill_all(request, owns_all(fake, request) ? WF_KAFKA_OK : WF_KAFKA_FENCED);
    if (request->error) return;
    for (size_t i = 0; i < request->count; i++) {
        wf_kafka_partition *asked = &request->partitions[i];
        fake_partition *log = fake_place_of(fake, asked->topic, asked->partition)->log;
        if (asked->metadata_bytes > fake_cluster_metadata_max(fake->cluster)) {
            asked->error = request->error = WF_KAFKA_TOO_LARGE;
            continue;
        }
        if (asked->offset < log->committed) fake->counts.regressions++;
        fake_partition_commit(log, asked->offset, asked->metadata, asked->metadata_bytes);
    }
}

void fake_kafka_forget(fake_kafka *fake, unsigned times) {
    fake->forgets = times;
}

static void do_committed(fake_kafka *fake, fake_item *request) {
    request->error = WF_KAFKA_OK;
    if (fake->forgets > 0 && request->count > 1) {
        fake->forgets--;
        free((char *)request->partitions[--request->count].metadata);
    }
    for (size_t i = 0; i < request->count; i++) {
        wf_kafka_partition *asked = &request->partitions[i];
        const fake_partition *log = fake_place_of(fake, asked->topic, asked->partition)->log;
        asked->offset = log->committed >= 0 ? log->committed : WF_KAFKA_OFFSET_NONE;
        free((char *)asked->metadata);
        asked->metadata = NULL;
        asked->metadata_bytes = 0;
        if (log->committed < 0 || log->metadata_bytes == 0) continue;
        char *copy = must_alloc(log->metadata_bytes + 1, 1);
        memcpy(copy, log->metadata, log->metadata_bytes);
        asked->metadata = copy;
        asked->metadata_bytes = log->metadata_bytes;
    }
}

static void reach_broker(fake_kafka *fake, fake_item *request) {
    fake_failure *planned = &fake->failures[request->request];
    bool fails = planned->times > 0;
    if (fails) planned->times--;
    if (!fails || planned->done) {
        if (request->request == FAKE_COMMIT) do_commit(fake, request);
        if (request->request == FAKE_COMMITTED) do_committed(fake, request);
    }
    if (fails) fill_all(request, planned->error);
    request->answered = true;
}

static void answer(fake_kafka *fake, fake_item *request) {
    static const fake_event_kind kinds[] = {
        [FAKE_COMMIT] = EVENT_COMMIT, [FAKE_COMMITTED] = EVENT_COMMITTED, [FAKE_LEAVE] = EVENT_CLOSED};
    static const char *const texts[] = {"", "try again", "fenced", "metadata too large", "fatal", "away"};
    unlink_item(&fake->requests, request);
    request->kind = kinds[request->request];
    snprintf(request->text, sizeof request->text, "%s", texts[request->error]);
    fake_push(&fake->events, request);
}

/* Leaving waits until every rebalance was answered. */
static bool can_go_on(const fake_kafka *fake, const fake_item *request) {
    return request->request != FAKE_LEAVE || (!fake_has_assignment(fake) && !fake->given && !fake->taken);
}

size_t fake_kafka_steps(const fake_kafka *fake) {
    if (fake->freed) return 0;
    size_t steps = 0;
    for (const fake_item *request = fake->requests.first; request; request = request->next)
        steps += can_go_on(fake, request);
    for (size_t i = 0; i < fake->known_count; i++) steps += can_fetch(fake->known[i]);
    return steps;
}

void fake_kafka_step(fake_kafka *fake, size_t index) {
    MUST(index < fake_kafka_steps(fake), "there is no step %zu", index);
    for (fake_item *request = fake->requests.first; request; request = request->next) {
        if (!can_go_on(fake, request)) continue;
        if (index-- > 0) continue;
        if (!request->answered)
            reach_broker(fake, request);
        else
            answer(fake, request);
        return;
    }
    for (size_t i = 0; i < fake->known_count; i++) {
        if (!can_fetch(fake->known[i]) || index-- > 0) continue;
        fetch(fake, fake->known[i]);
        return;
    }
}

void fake_kafka_settle(fake_kafka *fake) {
    while (fake_kafka_steps(fake) > 0) fake_kafka_step(fake, 0);
}

/* --- the group */

static void fill_partitions(fake_kafka *fake, const fake_place *places, size_t count, wf_kafka_partition *partitions) {
    for (size_t i = 0; i < count; i++) {
        const fake_known *known = fake_place_of(fake, places[i].topic, places[i].partition);
        MUST(known, "no partition %s %d", places[i].topic, (int)places[i].partition);
        partitions[i] = (wf_kafka_partition){
            .topic = known->log->topic, .partition = known->log->partition, .offset = WF_KAFKA_OFFSET_NONE};
    }
}

static fake_item *rebalance(fake_kafka *fake, fake_event_kind kind, const fake_place *places, size_t count,
                            bool incremental, bool lost) {
    wf_kafka_partition *partitions = must_alloc(count + 1, sizeof *partitions);
    fill_partitions(fake, places, count, partitions);
    fake_item *event = push_event(fake, kind, partitions, count);
    event->incremental = incremental;
    event->lost = lost;
    free(partitions);
    fake_item *twin = fake_item_new(event->partitions, count);
    twin->incremental = incremental;
    return twin;
}

void fake_kafka_give(fake_kafka *fake, const fake_place *places, size_t count, bool incremental) {
    MUST(!fake->given && !fake->taken, "the last rebalance was not answered");
    MUST(fake->subscribed, "the member has not subscribed");
    fake->given = rebalance(fake, EVENT_ASSIGN, places, count, incremental, false);
    fake->expelled = false;
    fake->incremental = incremental;
    for (size_t i = 0; i < count; i++) fake_place_of(fake, places[i].topic, places[i].partition)->log->owner = fake;
}

void fake_take(fake_kafka *fake, const fake_place *places, size_t count, bool incremental, bool lost) {
    MUST(!fake->taken, "the last revocation was not answered");
    fake->taken = rebalance(fake, EVENT_REVOKE, places, count, incremental, lost);
}

void fake_kafka_take(fake_kafka *fake, const fake_place *places, size_t count, bool incremental) {
    fake_take(fake, places, count, incremental, false);
}

void fake_end_ownership(fake_kafka *fake, fake_partition *log) {
    if (log->owner == fake) log->owner = NULL;
}

void fake_kafka_lose(fake_kafka *fake, const fake_place *places, size_t count, bool incremental) {
    fake_take(fake, places, count, incremental, true);
    for (size_t i = 0; i < count; i++)
        fake_end_ownership(fake, fake_place_of(fake, places[i].topic, places[i].partition)->log);
}

void fake_kafka_expel(fake_kafka *fake) {
    fake->expelled = true;
    for (size_t i = 0; i < fake->known_count; i++) fake_end_ownership(fake, fake->known[i]->log);
}

void fake_kafka_error(fake_kafka *fake, wf_kafka_error error, const char *text, const char *topic, int32_t partition) {
    fake_item *event = push_event(fake, EVENT_ERROR, NULL, 0);
    event->error = error;
    snprintf(event->text, sizeof event->text, "%s", text);
    snprintf(event->topic, sizeof event->topic, "%s", topic ? topic : "");
    event->partition = topic ? partition : -1;
}

/* --- the fake itself */

fake_kafka *fake_kafka_new(fake_cluster *cluster, bool reset_to_latest) {
    fake_kafka *fake = must_alloc(1, sizeof *fake);
    fake->base.ops = &fake_door_ops;
    fake->cluster = cluster;
    fake->reset_to_latest = reset_to_latest;
    fake->fetch_max = 100;
    return fake;
}

static void list_free(fake_list *of) {
    while (of->first) {
        fake_item *gone = of->first;
        of->first = gone->next;
        fake_item_free(gone);
    }
}

void fake_kafka_free(fake_kafka *fake) {
    for (size_t i = 0; i < fake->known_count; i++) {
        fake_end_ownership(fake, fake->known[i]->log);
        free(fake->known[i]);
    }
    free(fake->known);
    free(fake->queue);
    list_free(&fake->requests);
    list_free(&fake->events);
    fake_forget(&fake->given);
    fake_forget(&fake->taken);
    free(fake);
}

wf_kafka *fake_kafka_door(fake_kafka *fake) {
    return &fake->base;
}

void fake_kafka_set_fetch(fake_kafka *fake, size_t records) {
    fake->fetch_max = records;
}

bool fake_kafka_has_event(const fake_kafka *fake) {
    return fake->events.first != NULL;
}

bool fake_kafka_has_record(const fake_kafka *fake) {
    return fake->queue_count > 0;
}

void fake_kafka_fail(fake_kafka *fake, fake_request kind, wf_kafka_error error, bool done, unsigned times) {
    fake->failures[kind] = (fake_failure){error, done, times};
}

size_t fake_kafka_requests(const fake_kafka *fake, fake_request kind) {
    size_t count = 0;
    for (const fake_item *request = fake->requests.first; request; request = request->next)
        count += request->request == kind;
    return count;
}

const fake_kafka_counts *fake_kafka_seen(const fake_kafka *fake) {
    return &fake->counts;
}

static const fake_known *known_place(const fake_kafka *fake, const char *topic, int32_t partition) {
    for (size_t i = 0; i < fake->known_count; i++)
        if (fake->known[i]->log->partition == partition && strcmp(fake->known[i]->log->topic, topic) == 0)
            return fake->known[i];
    return NULL;
}

bool fake_kafka_is_assigned(const fake_kafka *fake, const char *topic, int32_t partition) {
    const fake_known *at = known_place(fake, topic, partition);
    return at && at->assigned;
}

bool fake_kafka_is_held(const fake_kafka *fake, const char *topic, int32_t partition) {
    const fake_known *at = known_place(fake, topic, partition);
    return at && at->held;
}

bool fake_kafka_is_closing(const fake_kafka *fake) {
    return fake->closing;
}

bool fake_kafka_is_freed(const fake_kafka *fake) {
    return fake->freed;
}

const char *fake_kafka_breach(const fake_kafka *fake) {
    return fake->breach[0] ? fake->breach : NULL;
}
