/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator: the production actors, one thread, virtual time, everything else by seed.
 *
 *     sim                              the default seeds (fewer under sanitizers: WEFT_TEST_BUILD=asan, tsan)
 *     sim --runs N [--seed FIRST]      N histories
 *     sim --seed S [--steps N] [--trace]
 *
 * The last line is `N passed, M failed`. A failure prints the seed, the step and the command that shows it again.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chance.h"
#include "clock.h"
#include "history.h"
#include "seen.h"

bool sim_tracing;
uint64_t sim_seen_counts[SIM_SEEN_COUNT];

static struct {
    const char *program;
    uint64_t seed;
    uint64_t steps_max;
    uint64_t passed;
    bool reported;
    sim_history history;
} now;

/* Also from signal handlers: only what may be called there, which snprintf into a buffer of ours is in practice. */
static void report(void) {
    char text[512];
    if (now.reported) return;
    now.reported = true;
    int bytes = snprintf(text, sizeof text,
                         "failed: seed=%llu step=%llu\nagain: %s --seed %llu --trace\n%llu passed, 1 failed\n",
                         (unsigned long long)now.seed, (unsigned long long)now.history.steps, now.program,
                         (unsigned long long)now.seed, (unsigned long long)now.passed);
    ssize_t written = write(STDOUT_FILENO, text, (size_t)bytes);
    (void)written;
}

static void on_signal(int number) {
    report();
    signal(number, SIG_DFL);
    raise(number);
}

void sim_trace(const char *format, ...) {
    if (!sim_tracing) return;
    printf("%7llu ", (unsigned long long)now.history.steps);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

_Noreturn void sim_fail(const char *format, ...) {
    fflush(stdout);
    fprintf(stderr, "sim: ");
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    report();
    exit(1);
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

static void run(uint64_t seed) {
    now.seed = seed;
    now.history = (sim_history){0};
    sim_history_run(seed, now.steps_max, &now.history);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) sim_fail("memory is leaked");
    now.passed++;
}

static uint64_t default_runs(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    if (build && strcmp(build, "asan") == 0) return 500;
    if (build && strcmp(build, "tsan") == 0) return 200;
    return 2000;
}

static uint64_t number_of(int count, char **arguments, int i) {
    char *end = NULL;
    uint64_t number = i < count ? strtoull(arguments[i], &end, 10) : 0;
    if (end && end != arguments[i] && *end == '\0') return number;
    fprintf(stderr, "usage: sim [--runs N] [--seed S] [--steps N] [--trace]\n");
    exit(2);
}

static const char *const sights[] = {
#define X(name, text) text,
    SIM_SEEN_TABLE(X)
#undef X
};

/* Many histories must have seen everything. */
static bool judge_sights(uint64_t runs) {
    bool all = true;
    for (int i = 0; i < SIM_SEEN_COUNT; i++) {
        printf("%10llu %s\n", (unsigned long long)sim_seen_counts[i], sights[i]);
        if (sim_seen_counts[i] > 0 || runs < 500) continue;
        printf("no history has seen: %s\n", sights[i]);
        all = false;
    }
    return all;
}

int main(int count, char **arguments) {
    uint64_t runs = 0, seed = 1, handled = 0, steps = 0;
    bool one = false;
    now.program = arguments[0];
    now.steps_max = 300000;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--trace") == 0) {
            sim_tracing = true;
        } else if (strcmp(arguments[i], "--seed") == 0) {
            seed = number_of(count, arguments, ++i);
            one = true;
        } else if (strcmp(arguments[i], "--runs") == 0) {
            runs = number_of(count, arguments, ++i);
        } else if (strcmp(arguments[i], "--steps") == 0) {
            now.steps_max = number_of(count, arguments, ++i);
        } else {
            number_of(0, arguments, 0);
        }
    }
    if (runs == 0) runs = one ? 1 : default_runs();
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    uint64_t began_ns = wf_clock_now_ns();
    for (uint64_t i = 0; i < runs; i++) {
        run(seed + i);
        handled += now.history.handled;
        steps += now.history.steps;
    }
    double seconds = (double)(wf_clock_now_ns() - began_ns) / 1e9;
    bool all = judge_sights(runs);
    printf("%llu histories in %.1f s: %.0f per second, %llu steps, %llu calls of handlers\n", (unsigned long long)runs,
           seconds, (double)runs / seconds, (unsigned long long)steps, (unsigned long long)handled);
    printf("%llu passed, %d failed\n", (unsigned long long)now.passed, !all);
    return all ? 0 : 1;
}
