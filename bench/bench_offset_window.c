/* SPDX-License-Identifier: Apache-2.0
 *
 * The completion window alone: ns per record, fetched and completed one by one, in several orders.
 */
#include <stdio.h>
#include <stdlib.h>

#include "offset_window.h"
#include "stats.h"

enum { RECORDS = 1 << 22, REPETITIONS = 7 };

typedef enum order { ORDER_UP, ORDER_DOWN, ORDER_ODD_FIRST, ORDER_RANDOM } order;

/* `span` records are fetched, then completed in some order, again and again. */
typedef struct order_case {
    const char *name;
    order order;
    uint32_t span;
    uint32_t *sequence; /* the order, made before the clock runs */
} order_case;

static void make_sequence(order_case *scenario) {
    uint32_t span = scenario->span;
    uint64_t state = 12345;
    for (uint32_t i = 0; i < span; i++) {
        if (scenario->order == ORDER_DOWN)
            scenario->sequence[i] = span - 1 - i;
        else if (scenario->order == ORDER_ODD_FIRST)
            scenario->sequence[i] = i < span / 2 ? 2 * i + 1 : 2 * (i - span / 2);
        else
            scenario->sequence[i] = i;
    }
    if (scenario->order != ORDER_RANDOM) return;
    for (uint32_t i = span - 1; i > 0; i--) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t other = (uint32_t)((state >> 33) % (i + 1)), swap = scenario->sequence[i];
        scenario->sequence[i] = scenario->sequence[other];
        scenario->sequence[other] = swap;
    }
}

static double run_scenario(void *argument) {
    const order_case *scenario = argument;
    wf_offset_window window;
    wf_window_init(&window, 0);
    uint64_t completed = 0;
    uint64_t begin_ns = stats_now_ns();
    for (int64_t from = 0; from < RECORDS; from += scenario->span) {
        wf_window_fetched(&window, from, from + scenario->span);
        for (uint32_t i = 0; i < scenario->span; i++)
            completed += wf_window_complete(&window, from + scenario->sequence[i]);
    }
    uint64_t end_ns = stats_now_ns();
    if (completed != RECORDS || window.frontier != RECORDS) abort();
    wf_window_deinit(&window);
    return (double)(end_ns - begin_ns) / RECORDS;
}

static double run_stuck(void *argument) {
    double *release_us = argument;
    wf_offset_window window;
    wf_window_init(&window, 0);
    wf_window_fetched(&window, 0, RECORDS);
    uint64_t begin_ns = stats_now_ns();
    for (int64_t offset = 1; offset < RECORDS; offset++) wf_window_complete(&window, offset);
    uint64_t stuck_ns = stats_now_ns();
    wf_window_complete(&window, 0);
    uint64_t end_ns = stats_now_ns();
    if (window.frontier != RECORDS) abort();
    wf_window_deinit(&window);
    *release_us = (double)(end_ns - stuck_ns) / 1000;
    return (double)(stuck_ns - begin_ns) / RECORDS;
}

static void print_row(const char *name, stats_spread ns) {
    printf("| %-34s | %6.2f | %6.2f | %6.2f |\n", name, ns.min, ns.median, ns.max);
}

int main(void) {
    static order_case scenarios[] = {
        {"runs of 64, in order", ORDER_UP, 64, NULL},
        {"random inside 1 Ki", ORDER_RANDOM, 1 << 10, NULL},
        {"random inside 32 Ki", ORDER_RANDOM, 1 << 15, NULL},
        {"random inside 1 Mi", ORDER_RANDOM, 1 << 20, NULL},
        {"reverse inside 1 Ki", ORDER_DOWN, 1 << 10, NULL},
        {"reverse inside 1 Mi", ORDER_DOWN, 1 << 20, NULL},
        {"every second first, inside 1 Mi", ORDER_ODD_FIRST, 1 << 20, NULL},
    };
    printf("wf_window_complete, ns per record, %d records, %d repetitions\n\n", RECORDS, REPETITIONS);
    printf("| %-34s | %6s | %6s | %6s |\n| --- | ---: | ---: | ---: |\n", "order of completion", "min", "median",
           "max");
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        scenarios[i].sequence = malloc(scenarios[i].span * sizeof *scenarios[i].sequence);
        if (!scenarios[i].sequence) return 1;
        make_sequence(&scenarios[i]);
        print_row(scenarios[i].name, stats_repeat(run_scenario, &scenarios[i], REPETITIONS));
        free(scenarios[i].sequence);
    }
    double release_us;
    print_row("in order behind a stuck one", stats_repeat(run_stuck, &release_us, REPETITIONS));
    printf("\nrelease of the %d behind the stuck one: %.0f us (last repetition)\n", RECORDS - 1, release_us);
    return 0;
}
