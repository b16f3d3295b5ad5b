/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLE_BYTES = 200 };

typedef struct violation {
    _Atomic uint64_t count;
    char example[EXAMPLE_BYTES]; /* whoever counted the first one wrote it */
} violation;

struct judge {
    const dataset *data;
    run_order order;
    _Atomic uint32_t *next_of_key; /* sequence that has to begin next; NULL: keys keep no order, or come once */
    uint32_t *done_of_key;         /* the same, of completions */
    _Atomic int64_t next_of_partition[PARTITIONS_MAX];
    int64_t done_of_partition[PARTITIONS_MAX];
    unsigned char *bits; /* by position: complete */
    uint64_t completed;
    violation out_of_order, twice, unknown;
    uint64_t bytes;
};

judge *judge_make(const dataset *data, run_order order, bool with_bits) {
    judge *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    bool keyed = order == ORDER_KEY && data->keys < data->records;
    self->data = data;
    self->order = order;
    self->bytes =
        sizeof *self + (keyed ? data->keys * (with_bits ? 8 : 4) : 0) + (with_bits ? data->records / 8 + 1 : 0);
    if (keyed) self->next_of_key = calloc(data->keys, sizeof *self->next_of_key);
    if (keyed && with_bits) self->done_of_key = calloc(data->keys, sizeof *self->done_of_key);
    if (with_bits) self->bits = calloc(data->records / 8 + 1, 1);
    if ((keyed && !self->next_of_key) || (keyed && with_bits && !self->done_of_key) || (with_bits && !self->bits)) {
        judge_discard(self);
        return NULL;
    }
    return self;
}

void judge_discard(judge *self) {
    if (!self) return;
    free(self->next_of_key);
    free(self->done_of_key);
    free(self->bits);
    free(self);
}

uint64_t judge_bytes(const judge *self) {
    return self->bytes;
}

static void violate(violation *self, int32_t partition, int64_t offset, const char *what, int64_t found,
                    int64_t expected) {
    if (atomic_fetch_add(&self->count, 1) > 0) return;
    snprintf(self->example, sizeof self->example, "partition %d offset %lld %s %lld, not %lld", (int)partition,
             (long long)offset, what, (long long)found, (long long)expected);
}

void judge_begin(judge *self, int32_t partition, int64_t offset, const record_stamp *stamp) {
    if (!dataset_has(self->data, partition, offset)) {
        violate(&self->unknown, partition, offset, "of a log of", offset, (int64_t)self->data->records);
    } else if (self->order == ORDER_PARTITION) {
        int64_t expected = atomic_load_explicit(&self->next_of_partition[partition], memory_order_relaxed);
        if (offset != expected) violate(&self->out_of_order, partition, offset, "begins as offset", offset, expected);
        atomic_store_explicit(&self->next_of_partition[partition], offset + 1, memory_order_relaxed);
    } else if (self->next_of_key && stamp->key < self->data->keys) {
        uint32_t expected = atomic_load_explicit(&self->next_of_key[stamp->key], memory_order_relaxed);
        if (stamp->sequence != expected)
            violate(&self->out_of_order, partition, offset, "begins as number", stamp->sequence, expected);
        atomic_store_explicit(&self->next_of_key[stamp->key], stamp->sequence + 1, memory_order_relaxed);
    } else if (self->next_of_key && stamp->key != NULL_KEY) {
        violate(&self->unknown, partition, offset, "has key", stamp->key, (int64_t)self->data->keys);
    }
}

void judge_complete(judge *self, int32_t partition, int64_t offset) {
    if (!dataset_has(self->data, partition, offset)) {
        violate(&self->unknown, partition, offset, "of a log of", offset, (int64_t)self->data->records);
        return;
    }
    uint64_t position = dataset_position(self->data, partition, offset);
    unsigned char *byte = &self->bits[position / 8], bit = (unsigned char)(1u << position % 8);
    if (*byte & bit) {
        violate(&self->twice, partition, offset, "completes as number", 2, 1);
        return;
    }
    *byte |= bit;
    self->completed++;
    if (self->order == ORDER_PARTITION) {
        if (offset != self->done_of_partition[partition])
            violate(&self->out_of_order, partition, offset, "completes as offset", offset,
                    self->done_of_partition[partition]);
        self->done_of_partition[partition] = offset + 1;
    } else if (self->done_of_key && self->data->stamps[position].key != NULL_KEY) {
        const record_stamp *stamp = &self->data->stamps[position];
        if (stamp->sequence != self->done_of_key[stamp->key])
            violate(&self->out_of_order, partition, offset, "completes as number", stamp->sequence,
                    self->done_of_key[stamp->key]);
        self->done_of_key[stamp->key] = stamp->sequence + 1;
    }
}

/* --- the verdict */

static void say(char *text, size_t bytes, const char *what, uint64_t count, const char *example) {
    size_t used = strlen(text);
    snprintf(text + used, bytes - used, "%s%llu %s (%s)", used ? "; " : "", (unsigned long long)count, what, example);
}

static void say_missing(const judge *self, char *text, size_t bytes) {
    char example[EXAMPLE_BYTES] = "";
    for (int32_t i = 0; i < self->data->partitions && !*example; i++)
        for (uint64_t at = self->data->first[i]; at < self->data->first[i + 1] && !*example; at++)
            if (!(self->bits[at / 8] & 1u << at % 8))
                snprintf(example, sizeof example, "the first: partition %d offset %llu", (int)i,
                         (unsigned long long)(at - self->data->first[i]));
    say(text, bytes, "records missing", self->data->records - self->completed, example);
}

static void judge_tallies(const judge *self, const judge_tally *tallies, size_t count, char *text, size_t bytes) {
    uint64_t records = 0, positions = 0, expected = 0;
    for (size_t i = 0; i < count; i++) {
        records += atomic_load(&tallies[i].records);
        positions += atomic_load(&tallies[i].positions);
    }
    for (int32_t i = 0; i < self->data->partitions; i++)
        for (int64_t at = 0; dataset_has(self->data, i, at); at++) expected += judge_hash(i, at);
    /* Where bits miss records too, that was said. */
    if (records < (self->bits ? self->completed : self->data->records))
        say(text, bytes, "records missing", self->data->records - records, "by the count of handlers");
    else if (records > self->data->records)
        say(text, bytes, "records too many", records - self->data->records, "by the count of handlers");
    else if (records == self->data->records && positions != expected)
        say(text, bytes, "records, but not each once", records, "by the sum of where they are");
}

bool judge_verdict(const judge *self, const judge_tally *tallies, size_t tally_count, char *ret_text,
                   size_t text_bytes) {
    const struct {
        const violation *violation;
        const char *what;
    } found[] = {{&self->out_of_order, "records out of order"},
                 {&self->twice, "records complete twice"},
                 {&self->unknown, "records that nobody produced"}};
    *ret_text = '\0';
    if (self->bits && self->completed < self->data->records) say_missing(self, ret_text, text_bytes);
    if (tallies) judge_tallies(self, tallies, tally_count, ret_text, text_bytes);
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        uint64_t count = atomic_load(&found[i].violation->count);
        if (count) say(ret_text, text_bytes, found[i].what, count, found[i].violation->example);
    }
    return *ret_text == '\0';
}
