/* SPDX-License-Identifier: Apache-2.0 */
#include "shrink.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum {
    CHANCES = 6,      /* other seeds that a smaller plan is tried with: chance is spent differently under it */
    LAST_CHANCES = 60 /* for the fewest steps with the last plan */
};

typedef struct shrinking {
    sim_shrunk *best;
    sim_failure *witness; /* shared with the child */
    uint64_t runs_max;
} shrinking;

static void silence(void) {
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    WF_CHECK(nowhere >= 0);
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
}

/* In a process of its own, because a wrong history ends its process. What it left is in *self->witness. */
static void run_apart(shrinking *self, const sim_plan *plan, uint64_t chance) {
    *self->witness = (sim_failure){0};
    self->best->runs++;
    pid_t child = fork();
    WF_CHECK(child >= 0);
    if (child == 0) {
        silence();
        sim_runner_now.witness = self->witness;
        sim_run(plan, chance);
        _exit(0);
    }
    int status;
    WF_CHECK(waitpid(child, &status, 0) == child);
}

/* Is it wrong in the same way, and no longer? */
static bool attempt(shrinking *self, const sim_plan *plan, uint64_t chance) {
    sim_shrunk *best = self->best;
    if (best->runs >= self->runs_max) return false;
    run_apart(self, plan, chance);
    const sim_failure *seen = self->witness;
    if (!seen->failed || seen->check != best->before.check || seen->steps > best->after.steps) return false;
    best->after = *seen;
    best->plan = *plan;
    best->chance = chance;
    return true;
}

static bool attempt_plan(shrinking *self, const sim_plan *plan) {
    if (attempt(self, plan, self->best->chance)) return true;
    for (uint64_t chance = 1; chance <= CHANCES; chance++)
        if (attempt(self, plan, chance)) return true;
    return false;
}

static bool lower(shrinking *self, const sim_plan_field *field) {
    bool lowered = false;
    for (uint64_t value; (value = sim_plan_get(&self->best->plan, field)) > field->lowest; lowered = true) {
        sim_plan plan = self->best->plan;
        sim_plan_set(&plan, field, field->lowest);
        if (attempt_plan(self, &plan)) return true;
        sim_plan_set(&plan, field, field->lowest + (value - field->lowest) / 2);
        if (!attempt_plan(self, &plan)) return lowered;
    }
    return lowered;
}

bool sim_shrink(const sim_plan *plan, uint64_t chance, uint64_t runs_max, sim_shrunk *ret_shrunk) {
    *ret_shrunk = (sim_shrunk){.plan = *plan, .chance = chance};
    shrinking self = {.best = ret_shrunk, .runs_max = runs_max};
    self.witness = mmap(NULL, sizeof *self.witness, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    WF_CHECK(self.witness != MAP_FAILED);
    run_apart(&self, plan, chance);
    bool failed = self.witness->failed;
    ret_shrunk->before = ret_shrunk->after = *self.witness;
    bool lowered = failed;
    while (lowered && ret_shrunk->runs < runs_max) {
        lowered = false;
        for (size_t i = 0; i < sim_plan_field_count; i++) lowered |= lower(&self, &sim_plan_fields[i]);
    }
    sim_plan last = ret_shrunk->plan;
    self.runs_max += LAST_CHANCES;
    for (uint64_t other = 1; failed && other <= LAST_CHANCES; other++) attempt(&self, &last, other);
    munmap(self.witness, sizeof *self.witness);
    return failed;
}
