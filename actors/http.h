/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP door: CivetWeb's threads answer requests from the page in force, and touch nothing else of weft. No
 * encryption (the library of Debian 12 crashes on it) and no password: it listens on loopback unless told otherwise.
 *
 * Invariants:
 * 1. A request costs one of `threads` slots until it is answered, and at most the request time-out; requests beyond
 * wait in the kernel.
 * 2. Nothing of a request comes back in the answer.
 */
#ifndef WF_HTTP_H
#define WF_HTTP_H

#include "pages.h"
#include "weft/status.h"

typedef struct wf_http wf_http;

typedef struct wf_http_options {
    const char *address; /* IPv4 */
    uint16_t port;       /* 0: any */
    unsigned threads;    /* at most WF_PAGES_READERS */
    uint64_t health_ns;
    wf_pages *pages; /* must outlive the door */
} wf_http_options;

enum { WF_HTTP_ERROR_BYTES = 256 };

/* Listen and answer. On failure `error` names address and port, and why. Returns: WEFT_OK; WEFT_ESYSTEM; WEFT_ENOMEM.
 */
weft_status wf_http_open(const wf_http_options *options, wf_http **ret_http, char error[WF_HTTP_ERROR_BYTES]);

/* The port that it listens on. */
uint16_t wf_http_port(const wf_http *http);

/* Answer no more; waits for requests that are being answered, and at least for CivetWeb's own second. NULL is fine. */
void wf_http_close(wf_http *http);

/* The version of CivetWeb that runs. */
const char *wf_http_version(void);

#endif
