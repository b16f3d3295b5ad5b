/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program under a service manager tells it: systemd's notification protocol, a datagram of NAME=value lines to
 * $NOTIFY_SOCKET. Without that variable nothing happens.
 *
 *     service_open();                       // first thing in main
 *     weft_consumer_start(consumer);
 *     service_ready();
 *     while (weft_consumer_wait(consumer, 200) == WEFT_ETIMEOUT) service_alive(consumer);
 *     service_stopping(30000);
 *     weft_consumer_stop(consumer, 30000);
 *
 * Invariants:
 * 1. The watchdog is fed only by an answer of every actor, asked for then: a loop that hangs starves it.
 * 2. Children know nothing of the socket: the variables are taken out of the environment.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdint.h>
#include <weft/consumer.h>

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Before there are threads. */
void service_open(void);

void service_ready(void);
void service_reloading(void); /* until the next service_ready() */

/* Call it often: feeds the watchdog when half of its time is over. Waits for the answers of the actors, 5 s at most. */
void service_alive(weft_consumer *consumer);

/* The stop may take so long and some seconds: neither the watchdog nor the stop's own limit ends it before. */
void service_stopping(int64_t timeout_ms);

#endif
