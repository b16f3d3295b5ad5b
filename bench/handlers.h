/* SPDX-License-Identifier: Apache-2.0
 *
 * What runs inside of engines: the handlers of the async engine, with one tally per thread, and the worker process.
 *
 * 1. A record is judged where it begins. Its work is work.h's, the same in every mode.
 */
#ifndef BENCH_HANDLERS_H
#define BENCH_HANDLERS_H

#include "run.h"
#include "weft/consumer.h"

typedef struct handlers handlers;

/* NULL: failed, see run->error. */
handlers *handlers_make(bench_run *run);
weft_handler handlers_function(const handlers *self); /* its context is `self` */
void handlers_free(handlers *self);

uint64_t handlers_done(const handlers *self);
uint64_t handlers_first_ns(const handlers *self); /* 0: none began */

/* End what hangs or waits on purpose, so that a stop can end. */
void handlers_release(handlers *self);

/* After stop: times into the run, and the judge's verdict by tallies. */
bool handlers_verdict(handlers *self, char *ret_text, size_t text_bytes);

/* The line that starts a worker of this run. False: see run->error. */
bool worker_command(bench_run *run, char *ret_line, size_t bytes);

/* weft-bench worker ...: the whole process. */
int worker_main(int argc, char **argv);

#endif
