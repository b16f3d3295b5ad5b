/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor beside weft's own that gets every completion, and judges and times it: what the parent knows of a run, the
 * same whatever the engine is.
 */
#ifndef BENCH_OBSERVER_H
#define BENCH_OBSERVER_H

#include "run.h"
#include "weft/consumer.h"

typedef struct observer {
    bench_run *run; /* its times are filled, its judge is asked */
    _Atomic uint64_t done;
    _Atomic uint64_t first_ns; /* of the first dispatch; 0: none yet */
    _Atomic uint64_t last_ns;  /* when the last completion arrived here */
    _Atomic uint64_t failed;   /* finished by the failure policy */
} observer;

/* Before weft_consumer_start(). */
weft_status observer_attach(observer *self, weft_consumer *consumer);

#endif
