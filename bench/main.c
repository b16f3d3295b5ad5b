/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench: numbers that anyone can reproduce. docs/benchmarking.md is its manual.
 */
#include <stdio.h>
#include <string.h>

#include "drive.h"
#include "handlers.h"

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*main)(int argc, char **argv);
    } commands[] = {{"run", drive_main}, {"worker", worker_main}, {"compare", compare_main},
                    {"gate", gate_main}, {"plot", plot_main},     {"markdown", markdown_main},
                    {"deaths", deaths_main}, {"death-worker", death_worker_main}};
    if (argc < 2 || strncmp(argv[1], "--", 2) == 0) return drive_main(argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].main(argc - 2, argv + 2);
    fprintf(stderr, "weft-bench: %s: no such command; one of run, compare, gate, plot, markdown, deaths\n", argv[1]);
    return 2;
}
