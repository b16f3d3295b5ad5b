/* SPDX-License-Identifier: Apache-2.0
 *
 * What the system says of this process.
 */
#ifndef WF_PROCESS_H
#define WF_PROCESS_H

/* NAN where the system does not say. */
typedef struct wf_process_metrics {
    double cpu_seconds; /* user and system, all threads */
    double open_fds;
    double max_fds; /* INFINITY: no limit */
    double virtual_bytes;
    double resident_bytes;
    double start_seconds; /* since 1970 */
} wf_process_metrics;

/* Reads a few files of /proc: some tens of microseconds. */
wf_process_metrics wf_process_read(void);

#endif
