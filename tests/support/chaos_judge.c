/* SPDX-License-Identifier: Apache-2.0 */
#include "chaos_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

typedef struct execution {
    uint64_t begin_ns;
    uint64_t end_ns; /* of one that did not end: when its process was killed */
    int64_t offset;
    int32_t partition;
    uint32_t member;
    uint32_t key;
    bool ended;
} execution;

typedef struct bench {
    const chaos_case *facts;
    execution *items;
    size_t count;
    chaos_verdict verdict;
} bench;

static void violation(bench *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void violation(bench *self, const char *format, ...) {
    va_list arguments;
    if (self->verdict.violations++ > 0) return;
    va_start(arguments, format);
    vsnprintf(self->verdict.first, sizeof self->verdict.first, format, arguments);
    va_end(arguments);
}

static int order_u64(uint64_t left, uint64_t right) {
    return (left > right) - (left < right);
}

static int order_i64(int64_t left, int64_t right) {
    return (left > right) - (left < right);
}

/* --- executions out of events */

static int by_member_and_record(const void *left, const void *right) {
    const chaos_event *a = left, *b = right;
    if (a->member != b->member) return order_i64(a->member, b->member);
    if (a->partition != b->partition) return order_i64(a->partition, b->partition);
    if (a->offset != b->offset) return order_i64(a->offset, b->offset);
    return order_u64(a->ns, b->ns);
}

static bool same_place(const chaos_event *a, const chaos_event *b) {
    return a->member == b->member && a->partition == b->partition && a->offset == b->offset;
}

static void pair_events(bench *self) {
    chaos_event *events = self->facts->events;
    size_t count = self->facts->event_count;
    qsort(events, count, sizeof *events, by_member_and_record);
    for (size_t i = 0; i < count; i++) {
        const chaos_event *event = &events[i];
        bool known = event->partition >= 0 && event->partition < self->facts->partitions && event->offset >= 0 &&
                     event->offset < self->facts->ends[event->partition];
        if (event->end || !known) {
            violation(self, "member %u: %s partition %d offset %lld", event->member,
                      known ? "the end of what never began:" : "no such record:", event->partition,
                      (long long)event->offset);
            continue;
        }
        const chaos_event *next = i + 1 < count && same_place(event, event + 1) && event[1].end ? event + 1 : NULL;
        const chaos_member *member = &self->facts->members[event->member];
        uint64_t killed_ns = member->killed_ns ? member->killed_ns : member->parent_killed_ns;
        if (!next && killed_ns == 0)
            violation(self, "member %u began partition %d offset %lld, did not end it, and was not killed",
                      event->member, event->partition, (long long)event->offset);
        self->items[self->count++] = (execution){.begin_ns = event->ns,
                                                 .end_ns = next ? next->ns : killed_ns,
                                                 .offset = event->offset,
                                                 .partition = event->partition,
                                                 .member = event->member,
                                                 .key = self->facts->keys[event->partition][event->offset],
                                                 .ended = next != NULL};
        if (next) i++;
    }
}

/* --- reasons */

/* Was its member away, or had not found out yet, at some time of the span? */
static bool was_away(const bench *self, uint32_t member, uint64_t from_ns, uint64_t until_ns) {
    const chaos_member *it = &self->facts->members[member];
    for (size_t i = 0; i < it->away_count; i++)
        if (it->away[i].from_ns <= until_ns && it->away[i].until_ns >= from_ns) return true;
    return false;
}

/* Whose end explains that this execution was for nothing. */
static bool was_cut(const execution *first, const execution *again, uint64_t killed_ns, uint64_t delay_ns) {
    return killed_ns && killed_ns <= again->begin_ns && (!first->ended || first->end_ns + delay_ns >= killed_ns);
}

/* This execution was followed by another one of its record: why? */
static void explain(bench *self, const execution *first, const execution *again) {
    const chaos_member *member = &self->facts->members[first->member];
    uint64_t commit_ns = self->facts->commit_delay_ns, report_ns = self->facts->report_delay_ns;
    if (was_away(self, first->member, first->begin_ns, again->begin_ns) ||
        was_away(self, again->member, again->begin_ns, again->begin_ns)) {
        self->verdict.repeated_by_absence++;
    } else if (was_cut(first, again, member->killed_ns, member->is_worker ? report_ns : commit_ns) ||
               was_cut(first, again, member->parent_killed_ns, commit_ns)) {
        self->verdict.repeated_by_kill++;
    } else {
        violation(self, "partition %d offset %lld: member %u executed it, and member %u again without a reason",
                  first->partition, (long long)first->offset, first->member, again->member);
    }
}

/* --- rules about one record: 1, 4, 5 */

static int by_record(const void *left, const void *right) {
    const execution *a = left, *b = right;
    if (a->partition != b->partition) return order_i64(a->partition, b->partition);
    if (a->offset != b->offset) return order_i64(a->offset, b->offset);
    return order_u64(a->begin_ns, b->begin_ns);
}

static void check_record(bench *self, const execution *items, size_t count, int32_t partition, int64_t offset) {
    bool ended = false;
    for (size_t i = 0; i < count; i++) ended = ended || items[i].ended;
    if (!ended) violation(self, "partition %d offset %lld is lost", partition, (long long)offset);
    for (size_t i = 1; i < count; i++) explain(self, &items[i - 1], &items[i]);
}

static void check_records(bench *self) {
    size_t at = 0;
    qsort(self->items, self->count, sizeof *self->items, by_record);
    for (int32_t p = 0; p < self->facts->partitions; p++)
        for (int64_t offset = 0; offset < self->facts->ends[p]; offset++) {
            size_t first = at;
            while (at < self->count && self->items[at].partition == p && self->items[at].offset == offset) at++;
            check_record(self, self->items + first, at - first, p, offset);
            self->verdict.records++;
        }
}

static void check_commits(bench *self) {
    for (size_t c = 0; c < self->facts->commit_count; c++) {
        const chaos_commit *commit = &self->facts->commits[c];
        for (size_t i = 0; i < self->count; i++) {
            const execution *it = &self->items[i];
            if (it->partition != commit->partition || it->offset >= commit->offset || it->begin_ns <= commit->ns)
                continue;
            if (!was_away(self, it->member, it->begin_ns, it->begin_ns))
                violation(self, "partition %d offset %lld was committed, and member %u executed it after that",
                          it->partition, (long long)it->offset, it->member);
        }
    }
}

/* --- rules about a key: 2, 3 */

static int by_key_and_offset(const void *left, const void *right) {
    const execution *a = left, *b = right;
    if (a->key != b->key) return order_i64(a->key, b->key);
    return by_record(left, right);
}

static int by_key_and_time(const void *left, const void *right) {
    const execution *a = left, *b = right;
    if (a->key != b->key) return order_i64(a->key, b->key);
    return order_u64(a->begin_ns, b->begin_ns);
}

/* A key lives in one partition, so offsets are its order. */
static void check_order(bench *self) {
    uint64_t finished_ns = 0; /* when all earlier records of the key had ended once */
    qsort(self->items, self->count, sizeof *self->items, by_key_and_offset);
    for (size_t i = 0; i < self->count;) {
        const execution *it = &self->items[i];
        if (i == 0 || it->key != it[-1].key) finished_ns = 0;
        uint64_t first_end_ns = UINT64_MAX;
        for (; i < self->count && self->items[i].key == it->key && self->items[i].offset == it->offset; i++) {
            const execution *run = &self->items[i];
            if (run->begin_ns < finished_ns)
                violation(self, "key %u: member %u began partition %d offset %lld before the one before it had ended",
                          run->key, run->member, run->partition, (long long)run->offset);
            if (run->ended && run->end_ns < first_end_ns) first_end_ns = run->end_ns;
        }
        if (first_end_ns != UINT64_MAX && first_end_ns > finished_ns) finished_ns = first_end_ns;
    }
}

static void check_overlap(bench *self) {
    const execution *last = NULL; /* of the key, the one that ends last so far */
    qsort(self->items, self->count, sizeof *self->items, by_key_and_time);
    for (size_t i = 0; i < self->count; i++) {
        const execution *it = &self->items[i];
        if (last && last->key == it->key && it->begin_ns < last->end_ns) {
            if (last->member != it->member && (was_away(self, last->member, last->begin_ns, last->end_ns) ||
                                               was_away(self, it->member, it->begin_ns, it->end_ns)))
                self->verdict.overlaps_by_absence++;
            else
                violation(self, "key %u: offset %lld at member %u overlaps with offset %lld at member %u", it->key,
                          (long long)it->offset, it->member, (long long)last->offset, last->member);
        }
        if (!last || last->key != it->key || it->end_ns > last->end_ns) last = it;
    }
}

chaos_verdict chaos_judge(chaos_case *facts) {
    bench self = {.facts = facts};
    self.items = must_alloc(facts->event_count + 1, sizeof *self.items);
    pair_events(&self);
    self.verdict.executions = self.count;
    check_records(&self);
    check_commits(&self);
    check_order(&self);
    check_overlap(&self);
    free(self.items);
    return self.verdict;
}
