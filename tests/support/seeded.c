/* SPDX-License-Identifier: Apache-2.0 */
#include "seeded.h"

#include <stdlib.h>

seeded seeded_start(uint64_t seed, uint64_t stream) {
    const char *text = getenv("WEFT_TEST_SEED");
    if (text && *text) seed = strtoull(text, NULL, 0);
    seeded random = {.seed = seed, .state = seed * 0x9e3779b97f4a7c15u + stream * 0xd1b54a32d192ed03u};
    seeded_next(&random);
    return random;
}

/* A Weyl sequence through two rounds of multiply and shift. */
uint64_t seeded_next(seeded *random) {
    uint64_t x = random->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

uint64_t seeded_below(seeded *random, uint64_t limit) {
    return seeded_next(random) % limit;
}

int64_t seeded_between(seeded *random, int64_t low, int64_t high) {
    return low + (int64_t)seeded_below(random, (uint64_t)(high - low) + 1);
}

bool seeded_percent(seeded *random, unsigned percent) {
    return seeded_below(random, 100) < percent;
}
