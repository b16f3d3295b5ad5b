/* SPDX-License-Identifier: Apache-2.0
 *
 * One history of a seed: some incarnations of the consumer, one after the other on the same broker; the last one in the
 * calm must finish everything.
 */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "plan.h"

typedef struct sim_history {
    uint64_t steps;   /* so far */
    uint64_t handled; /* calls of handlers */
    uint64_t virtual_ns;
} sim_history;

/* `chance`: the seed of all that the plan does not say. */
void sim_history_run(const sim_plan *plan, uint64_t chance, uint64_t steps_max, sim_history *history);

#endif
