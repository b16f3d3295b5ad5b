/* SPDX-License-Identifier: Apache-2.0
 *
 * weft-bench as a child of a test: what it says and writes goes into files of its own.
 */
#ifndef SUPPORT_BENCH_PROGRAM_H
#define SUPPORT_BENCH_PROGRAM_H

#include <sys/types.h>

typedef struct bench_program {
    pid_t pid;
    const char *program; /* path */
    char folder[64], output[96], json[96];
} bench_program;

/* `build`: WEFT_BUILD_DIR. */
void bench_open(bench_program *self, const char *build);
void bench_close(bench_program *self);

/* `arguments` in one line, separated by blanks; %J stands for the file of results, %B in a word for a blank. */
void bench_start(bench_program *self, const char *arguments);
int bench_finish(bench_program *self); /* its exit status; below 0: minus its signal */
int bench_run(bench_program *self, const char *arguments);

/* What is in a file; valid until the next call. */
const char *bench_text(const char *path);

#endif
