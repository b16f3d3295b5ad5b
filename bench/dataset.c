/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dataset_walk {
    bench_topic topic;
    uint64_t next, random;
    uint32_t *sequences; /* by key: the next one; NULL: keys do not repeat */
    double *cumulated;   /* zipf: of the weights, by key */
};

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Key k has a weight of 1/(k+1): the exponent that web requests and words are found to have. */
static bool cumulate(dataset_walk *walk) {
    double sum = 0;
    walk->cumulated = calloc(walk->topic.keys, sizeof *walk->cumulated);
    if (!walk->cumulated) return false;
    for (uint64_t i = 0; i < walk->topic.keys; i++) walk->cumulated[i] = sum += 1 / (double)(i + 1);
    return true;
}

static uint64_t zipf_key(const dataset_walk *walk, uint64_t random) {
    uint64_t low = 0, high = walk->topic.keys - 1;
    double wanted = (double)(random >> 11) / 0x1p53 * walk->cumulated[high];
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (walk->cumulated[middle] > wanted)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

dataset_walk *dataset_walk_begin(const bench_topic *topic) {
    dataset_walk *walk = calloc(1, sizeof *walk);
    if (!walk) return NULL;
    walk->topic = *topic;
    walk->random = 0x9e3779b97f4a7c15u;
    bool repeats = topic->spread != KEYS_DISTINCT && topic->spread != KEYS_NULL;
    if (repeats) walk->sequences = calloc(topic->keys, sizeof *walk->sequences);
    bool fine = (!repeats || walk->sequences) && (topic->spread != KEYS_ZIPF || cumulate(walk));
    if (!fine) dataset_walk_end(walk);
    return fine ? walk : NULL;
}

void dataset_walk_end(dataset_walk *walk) {
    free(walk->sequences);
    free(walk->cumulated);
    free(walk);
}

record_stamp dataset_walk_next(dataset_walk *walk, int32_t *ret_partition) {
    record_stamp stamp = {.index = walk->next++};
    uint64_t key = stamp.index;
    bool is_hot;
    switch (walk->topic.spread) {
    case KEYS_UNIFORM:
        key = next_random(&walk->random) % walk->topic.keys;
        break;
    case KEYS_HOT:
        is_hot = next_random(&walk->random) % 100 < walk->topic.hot_percent;
        key = is_hot ? 0 : next_random(&walk->random) % walk->topic.keys;
        break;
    case KEYS_ZIPF:
        key = zipf_key(walk, next_random(&walk->random));
        break;
    case KEYS_DISTINCT:
    case KEYS_NULL:
        break;
    }
    *ret_partition = (int32_t)(key % (uint64_t)walk->topic.partitions);
    stamp.key = walk->topic.spread == KEYS_NULL ? NULL_KEY : (uint32_t)key;
    if (walk->sequences) stamp.sequence = walk->sequences[key]++;
    return stamp;
}

/* Twice through: the first time says how many there are in each partition. */
static bool fill(dataset *self, const bench_topic *topic, bool with_stamps) {
    uint64_t next[PARTITIONS_MAX] = {0};
    for (int round = 0; round < (with_stamps ? 2 : 1); round++) {
        dataset_walk *walk = dataset_walk_begin(topic);
        if (!walk) return false;
        for (uint64_t i = 0; i < topic->records; i++) {
            int32_t partition;
            record_stamp stamp = dataset_walk_next(walk, &partition);
            if (round == 1) self->stamps[next[partition]] = stamp;
            next[partition]++;
        }
        dataset_walk_end(walk);
        for (int i = 0; round == 0 && i < self->partitions; i++) {
            self->first[i + 1] = self->first[i] + next[i];
            next[i] = self->first[i];
        }
    }
    return true;
}

dataset *dataset_make(const bench_topic *topic, bool with_stamps) {
    dataset *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->records = topic->records;
    self->keys = topic->keys;
    self->partitions = topic->partitions;
    self->bytes = sizeof *self;
    if (with_stamps) {
        self->stamps = calloc(topic->records, sizeof *self->stamps);
        self->bytes += topic->records * sizeof *self->stamps;
    }
    if ((with_stamps && !self->stamps) || !fill(self, topic, with_stamps)) {
        dataset_free(self);
        return NULL;
    }
    return self;
}

void dataset_free(dataset *self) {
    if (!self) return;
    free(self->stamps);
    free(self);
}
