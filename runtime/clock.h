/* SPDX-License-Identifier: Apache-2.0
 *
 * The only door to the clock. Actors don't use it: they ask their env, so that the simulator can answer.
 */
#ifndef WF_CLOCK_H
#define WF_CLOCK_H

#include <stdint.h>

/* Monotonic time. Thread: any. */
uint64_t wf_clock_now_ns(void);

/* Wall-clock time since 1970, for display and for comparison with the timestamps of records. Thread: any. */
int64_t wf_clock_wall_ms(void);

/* The clock of the calling thread's CPU time, for wf_clock_cpu_ns(); never 0. */
int64_t wf_clock_of_thread(void);

/* CPU time so far by such a clock. 0: the thread has ended. Thread: any. */
uint64_t wf_clock_cpu_ns(int64_t clock);

#endif
