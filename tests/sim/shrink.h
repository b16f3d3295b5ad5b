/* SPDX-License-Identifier: Apache-2.0
 *
 * From a history that is wrong to a smaller one that is wrong in the same way: numbers of the plan go down one by one,
 * each with some other seeds of chance, and whatever fails the same check in no more steps is the next to start from.
 */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "run.h"

typedef struct sim_shrunk {
    sim_failure before;
    sim_failure after;
    sim_plan plan; /* of `after` */
    uint64_t chance;
    uint64_t runs;
} sim_shrunk;

/* At most `runs_max` histories, each in a process of its own. False: the history is not wrong. */
bool sim_shrink(const sim_plan *plan, uint64_t chance, uint64_t runs_max, sim_shrunk *ret_shrunk);

#endif
