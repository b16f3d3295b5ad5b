/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OWN_METRICS_H
#define OWN_METRICS_H

#include <stdint.h>

/* Scrape /metrics of this process and print some lines of it, as soon as it has counted so many records (or after five
 * seconds). Nothing when the port is 0. */
void print_own_metrics(uint16_t port, uint64_t records);

#endif
