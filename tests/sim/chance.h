/* SPDX-License-Identifier: Apache-2.0
 *
 * Random choices of the simulator, all from one seed; and the one way in which a history fails.
 */
#ifndef SIM_CHANCE_H
#define SIM_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "env.h"

typedef struct sim_chance {
    uint64_t state;
} sim_chance;

/* Uniform in [0, limit), limit > 0. */
static inline uint64_t sim_below(sim_chance *chance, uint64_t limit) {
    return wf_random_next(&chance->state) % limit;
}

/* Uniform in [low, high]. */
static inline uint64_t sim_between(sim_chance *chance, uint64_t low, uint64_t high) {
    return low + sim_below(chance, high - low + 1);
}

static inline bool sim_percent(sim_chance *chance, unsigned percent) {
    return sim_below(chance, 100) < percent;
}

/* One of `count` numbers. */
static inline uint64_t sim_pick(sim_chance *chance, const uint64_t *numbers, unsigned count) {
    return numbers[sim_below(chance, count)];
}

/* The history is wrong: say why, say how to see it again, end the program. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What must hold; the rest of the arguments is the text of the failure. */
#define SIM_CHECK(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition)) sim_fail(__VA_ARGS__);                                                                       \
    } while (0)

/* A line of --trace. */
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool sim_tracing;

#endif
