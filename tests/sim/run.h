/* SPDX-License-Identifier: Apache-2.0
 *
 * One history after another in this process, and what is said when one is wrong: seed, step, and the command that shows
 * it again.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "history.h"
#include "plan.h"

/* How a history ended that was wrong. */
typedef struct sim_failure {
    bool failed;
    const char *check; /* which check it was: its format, the same in every run of this binary; NULL: a signal */
    uint64_t steps;
    char text[256];
} sim_failure;

typedef struct sim_runner {
    const char *program;
    uint64_t steps_max;
    uint64_t passed;
    sim_history history;  /* the current or last one */
    sim_plan plan;        /* its plan */
    uint64_t chance;      /* and the seed of everything that the plan does not say */
    sim_failure *witness; /* NULL, or where to note how it failed */
    bool is_share;        /* one of several processes, of which the first one has the last word */
    bool reported;
} sim_runner;

extern sim_runner sim_runner_now;

/* The signals of a crash report like a check. */
void sim_run_init(const char *program);

/* Returns only when the history is right. */
void sim_run(const sim_plan *plan, uint64_t chance);

/* The arguments that repeat a history, into `ret_text`. */
void sim_run_command(const sim_plan *plan, uint64_t chance, char *ret_text, size_t bytes);

#endif
