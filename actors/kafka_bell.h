/* SPDX-License-Identifier: Apache-2.0
 *
 * A non-blocking eventfd: rung by whoever has something, watched by the poller's loop, cleared before it looks.
 */
#ifndef WF_KAFKA_BELL_H
#define WF_KAFKA_BELL_H

/* The descriptor, -1 and errno: the system has none left. */
int wf_bell_open(void);
void wf_bell_ring(int fd);
void wf_bell_clear(int fd);
void wf_bell_close(int fd); /* -1: no effect */

#endif
