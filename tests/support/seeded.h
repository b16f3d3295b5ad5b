/* SPDX-License-Identifier: Apache-2.0
 *
 * Reproducible random numbers for property tests. The seed is fixed, or taken from the environment variable
 * WEFT_TEST_SEED; whoever fails prints it.
 */
#ifndef WF_TEST_SEEDED_H
#define WF_TEST_SEEDED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct seeded {
    uint64_t seed; /* for the failure text */
    uint64_t state;
} seeded;

/* `stream` tells the cases of one test apart; WEFT_TEST_SEED replaces `seed`. */
seeded seeded_start(uint64_t seed, uint64_t stream);
uint64_t seeded_next(seeded *random);

/* Uniform in [0, limit), limit > 0; the bias of the modulo does not matter here. */
uint64_t seeded_below(seeded *random, uint64_t limit);

/* Uniform in [low, high]. */
int64_t seeded_between(seeded *random, int64_t low, int64_t high);

bool seeded_percent(seeded *random, unsigned percent);

#endif
