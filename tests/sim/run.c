/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chance.h"
#include "seen.h"

bool sim_tracing;
int sim_wrong_sight = -1;
uint64_t sim_seen_counts[SIM_SEEN_COUNT];
sim_runner sim_runner_now;

static const char *const sights[] = {
#define X(name, text) text,
    SIM_SEEN_TABLE(X)
#undef X
};

static const char *const sight_names[] = {
#define X(name, text) #name,
    SIM_SEEN_TABLE(X)
#undef X
};

const char *sim_sight_text(int sight) {
    return sights[sight];
}

int sim_sight_find(const char *name) {
    for (int i = 0; i < SIM_SEEN_COUNT; i++)
        if (strcmp(sight_names[i], name) == 0) return i;
    return -1;
}

void sim_run_command(const sim_plan *plan, uint64_t chance, char *ret_text, size_t bytes) {
    sim_plan whole;
    sim_plan_make(&whole, plan->seed);
    int used = snprintf(ret_text, bytes, "--seed %llu", (unsigned long long)plan->seed);
    if (chance != plan->seed)
        used += snprintf(ret_text + used, bytes - (size_t)used, " --chance %llu", (unsigned long long)chance);
    for (size_t i = 0; i < sim_plan_field_count && (size_t)used < bytes; i++) {
        const sim_plan_field *field = &sim_plan_fields[i];
        uint64_t value = sim_plan_get(plan, field);
        if (value == sim_plan_get(&whole, field)) continue;
        used +=
            snprintf(ret_text + used, bytes - (size_t)used, " --set %s=%llu", field->name, (unsigned long long)value);
    }
    if (sim_wrong_sight >= 0 && (size_t)used < bytes)
        snprintf(ret_text + used, bytes - (size_t)used, " --wrong %s", sight_names[sim_wrong_sight]);
}

static void testify(const char *check, const char *text) {
    sim_failure *witness = sim_runner_now.witness;
    if (!witness || witness->failed) return;
    *witness = (sim_failure){.failed = true, .check = check, .steps = sim_runner_now.history.steps};
    snprintf(witness->text, sizeof witness->text, "%s", text);
}

/* Also from signal handlers: only what may be called there, which snprintf into a buffer of ours is in practice. */
static void report(void) {
    sim_runner *now = &sim_runner_now;
    char text[4096], again[1024];
    if (now->reported) return;
    now->reported = true;
    int bytes;
    if (now->plan.seed == 0) { /* a program that makes its only history by itself */
        bytes = snprintf(text, sizeof text, "failed: step=%llu\nagain: %s\n0 passed, 1 failed\n",
                         (unsigned long long)now->history.steps, now->program);
    } else {
        sim_run_command(&now->plan, now->chance, again, sizeof again);
        bytes = snprintf(text, sizeof text,
                         "failed: seed=%llu step=%llu\nagain: %s %s --trace\nsmaller: %s %s --shrink\n",
                         (unsigned long long)now->plan.seed, (unsigned long long)now->history.steps, now->program,
                         again, now->program, again);
        if (!now->is_share && (size_t)bytes < sizeof text)
            bytes += snprintf(text + bytes, sizeof text - (size_t)bytes, "%llu passed, 1 failed\n",
                              (unsigned long long)now->passed);
    }
    ssize_t written = write(STDOUT_FILENO, text, (size_t)bytes);
    (void)written;
}

static void on_signal(int number) {
    testify(NULL, number == SIGABRT ? "aborted" : "crashed");
    report();
    signal(number, SIG_DFL);
    raise(number);
}

void sim_trace(const char *format, ...) {
    if (!sim_tracing) return;
    printf("%7llu ", (unsigned long long)sim_runner_now.history.steps);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

_Noreturn void sim_fail(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "sim: %s\n", text);
    testify(format, text);
    report();
    fflush(stdout);
    _exit(1); /* in the middle of things: what is allocated is no leak */
}

/* Sanitizers that find something abort, so that the seed is printed; and leaks belong to a seed, too. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

const char *__asan_default_options(void) {
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void) {
    return "abort_on_error=1:print_stacktrace=1";
}

const char *__tsan_default_options(void) {
    return "halt_on_error=1:abort_on_error=1";
}

void sim_run_init(const char *program) {
    sim_runner_now = (sim_runner){.program = program, .steps_max = 2000000};
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
}

void sim_run(const sim_plan *plan, uint64_t chance) {
    sim_runner *now = &sim_runner_now;
    now->plan = *plan;
    now->chance = chance;
    now->history = (sim_history){0};
    sim_history_run(plan, chance, now->steps_max, &now->history);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) sim_fail("memory is leaked");
    now->passed++;
}
