/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator: the production actors, one thread, virtual time, everything else by seed.
 *
 *     sim                              the default seeds (fewer under sanitizers: WEFT_TEST_BUILD=asan, tsan), on all
 *                                      processors
 *     sim --runs N [--seed FIRST] [--jobs N]   N histories, spread over so many processes
 *     sim --seed S [--chance C] [--set NAME=VALUE]... [--steps N] [--trace]
 *     sim --seed S ... --shrink [RUNS]   a smaller history with the same failure
 *     sim ... --wrong SIGHT              takes something that histories may see for a failure (seen.h)
 *
 * The last line is `N passed, M failed`. A failure prints the seed, the step and the command that shows it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "run.h"
#include "seen.h"
#include "shrink.h"

enum { JOBS_MAX = 64 };

typedef struct arguments {
    uint64_t runs;
    uint64_t jobs; /* processes that share the histories */
    uint64_t seed;
    uint64_t chance; /* 0: the seed */
    bool one;
    bool shrinks;
    uint64_t shrink_runs;
    size_t set_count;
    struct {
        const sim_plan_field *field;
        uint64_t value;
    } sets[64];
} arguments;

/* What one of them has done, in memory that it shares with the one that started it. */
typedef struct tally {
    uint64_t passed;
    uint64_t handled;
    uint64_t steps;
    uint64_t seen[SIM_SEEN_COUNT];
} tally;

static uint64_t default_runs(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    if (build && strcmp(build, "asan") == 0) return 500;
    if (build && strcmp(build, "tsan") == 0) return 200;
    return 2000;
}

static uint64_t all_processors(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > JOBS_MAX ? JOBS_MAX : (uint64_t)count;
}

_Noreturn static void usage(void) {
    fprintf(stderr, "usage: sim [--runs N] [--seed S] [--jobs N] [--chance C] [--set NAME=VALUE]... [--steps N]"
                    " [--wrong SIGHT] [--trace] [--shrink [RUNS]]\n");
    exit(2);
}

static uint64_t number_of(const char *text) {
    char *end = NULL;
    uint64_t number = text ? strtoull(text, &end, 10) : 0;
    if (!end || end == text || *end != '\0') usage();
    return number;
}

static void add_set(arguments *given, char *text) {
    char *equals = text ? strchr(text, '=') : NULL;
    if (!equals || given->set_count == sizeof given->sets / sizeof given->sets[0]) usage();
    *equals = '\0';
    const sim_plan_field *field = sim_plan_find(text);
    uint64_t value = number_of(equals + 1);
    if (!field || value < field->lowest) {
        fprintf(stderr, "sim: %s=%llu can't be set\n", text, (unsigned long long)value);
        exit(2);
    }
    given->sets[given->set_count].field = field;
    given->sets[given->set_count++].value = value;
}

/* One argument with what belongs to it; returns the last one that was used. */
static char **take_argument(arguments *given, char **at) {
    const char *name = *at;
    if (strcmp(name, "--trace") == 0) {
        sim_tracing = true;
        return at;
    }
    if (strcmp(name, "--shrink") == 0) {
        given->shrinks = true;
        bool counted = at[1] && at[1][0] != '-';
        given->shrink_runs = counted ? number_of(at[1]) : 3000;
        return at + counted;
    }
    char *value = at[1];
    if (strcmp(name, "--seed") == 0)
        given->seed = number_of(value), given->one = true;
    else if (strcmp(name, "--runs") == 0)
        given->runs = number_of(value);
    else if (strcmp(name, "--jobs") == 0)
        given->jobs = number_of(value);
    else if (strcmp(name, "--steps") == 0)
        sim_runner_now.steps_max = number_of(value);
    else if (strcmp(name, "--chance") == 0)
        given->chance = number_of(value);
    else if (strcmp(name, "--set") == 0)
        add_set(given, value);
    else if (strcmp(name, "--wrong") != 0 || !value || (sim_wrong_sight = sim_sight_find(value)) < 0)
        usage();
    return at + 1;
}

/* Many histories must have seen everything. */
static bool judge_sights(const uint64_t seen[SIM_SEEN_COUNT], uint64_t runs) {
    bool all = true;
    for (int i = 0; i < SIM_SEEN_COUNT; i++) {
        printf("%10llu %s\n", (unsigned long long)seen[i], sim_sight_text(i));
        if (seen[i] > 0 || runs < 500) continue;
        printf("no history has seen: %s\n", sim_sight_text(i));
        all = false;
    }
    return all;
}

static void plan_of(const arguments *given, uint64_t seed, sim_plan *ret_plan) {
    sim_plan_make(ret_plan, seed);
    for (size_t i = 0; i < given->set_count; i++) sim_plan_set(ret_plan, given->sets[i].field, given->sets[i].value);
}

static int shrink(const arguments *given) {
    char again[1024];
    sim_plan plan;
    sim_shrunk shrunk;
    plan_of(given, given->seed, &plan);
    if (!sim_shrink(&plan, given->chance ? given->chance : given->seed, given->shrink_runs, &shrunk)) {
        printf("this history is not wrong\n");
        return 2;
    }
    sim_run_command(&shrunk.plan, shrunk.chance, again, sizeof again);
    printf("before: %llu steps, %u records: %s\n", (unsigned long long)shrunk.before.steps, plan.records,
           shrunk.before.text);
    printf("after %llu runs: %llu steps, %u records: %s\n", (unsigned long long)shrunk.runs,
           (unsigned long long)shrunk.after.steps, shrunk.plan.records, shrunk.after.text);
    printf("again: %s %s --trace\n", sim_runner_now.program, again);
    return 1;
}

/* Every so many-th history, from this one on. */
static void run_share(const arguments *given, uint64_t first, tally *mine) {
    for (uint64_t i = first; i < given->runs; i += given->jobs) {
        sim_plan plan;
        plan_of(given, given->seed + i, &plan);
        sim_run(&plan, given->chance ? given->chance : given->seed + i);
        mine->handled += sim_runner_now.history.handled;
        mine->steps += sim_runner_now.history.steps;
        mine->passed++;
    }
    memcpy(mine->seen, sim_seen_counts, sizeof mine->seen);
}

/* Returns how many of the shares ended at a history that is wrong; alone, it would not return from that. */
static int run_shares(const arguments *given, tally *tallies) {
    int failed = 0, status;
    if (given->jobs == 1) {
        run_share(given, 0, tallies);
        return 0;
    }
    fflush(stdout);
    sim_runner_now.is_share = true;
    for (uint64_t i = 0; i < given->jobs; i++) {
        pid_t child = fork();
        WF_CHECK(child >= 0);
        if (child == 0) {
            run_share(given, i, &tallies[i]);
            exit(0);
        }
    }
    while (wait(&status) > 0) failed += status != 0;
    return failed;
}

static int run_many(const arguments *given) {
    size_t bytes = given->jobs * sizeof(tally);
    tally *tallies = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), sum = {0};
    WF_CHECK(tallies != MAP_FAILED);
    uint64_t began_ns = wf_clock_now_ns();
    int failed = run_shares(given, tallies);
    double seconds = (double)(wf_clock_now_ns() - began_ns) / 1e9;
    for (uint64_t i = 0; i < given->jobs; i++) {
        sum.passed += tallies[i].passed;
        sum.handled += tallies[i].handled;
        sum.steps += tallies[i].steps;
        for (int k = 0; k < SIM_SEEN_COUNT; k++) sum.seen[k] += tallies[i].seen[k];
    }
    munmap(tallies, bytes);
    /* A plan that was changed need not see everything. */
    if (!failed && !judge_sights(sum.seen, given->set_count ? 0 : given->runs)) failed = 1;
    printf("%llu histories in %.1f s: %.0f per second, %llu steps, %llu calls of handlers\n",
           (unsigned long long)sum.passed, seconds, (double)sum.passed / seconds, (unsigned long long)sum.steps,
           (unsigned long long)sum.handled);
    printf("%llu passed, %d failed\n", (unsigned long long)sum.passed, failed);
    return failed ? 1 : 0;
}

int main(int count, char **values) {
    arguments given = {.seed = 1};
    sim_run_init(values[0]);
    for (char **at = values + 1; *at; at++) at = take_argument(&given, at);
    if (given.jobs == 0) given.jobs = count == 1 ? all_processors() : 1;
    if (given.jobs > JOBS_MAX) usage();
    if (given.runs == 0) given.runs = given.one ? 1 : default_runs();
    return given.shrinks ? shrink(&given) : run_many(&given);
}
