/* SPDX-License-Identifier: Apache-2.0
 *
 * What the system says of this process.
 */
#ifndef WF_PROCESS_H
#define WF_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

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

/* A user by name or number. False: the system knows none of this name. */
bool wf_user_find(const char *text, uid_t *ret_uid);

#endif
