/* SPDX-License-Identifier: Apache-2.0
 *
 * A plain HTTP client for what a consumer shows on loopback. Waits 20 s at most.
 */
#ifndef SUPPORT_SCRAPE_H
#define SUPPORT_SCRAPE_H

#include <stdint.h>

int scrape_connect(uint16_t port); /* -1: nobody listens */

/* The whole answer, head and all, to be freed; NULL: no connection. */
char *scrape_request(uint16_t port, const char *request);
char *scrape_get(uint16_t port, const char *path);

/* Behind the head; NULL: there is none. */
const char *scrape_body(const char *answer);

#endif
