/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the exporter leaves the page that is in force, and HTTP threads find it: the one place besides messages and
 * deferred records where threads of weft meet. No locks: a reader marks the page that it looks at, and the writer frees
 * a page only when no reader has marked it.
 *
 * Invariants:
 * 1. One thread publishes; any number borrows, WF_PAGES_READERS at once.
 * 2. A page that is borrowed is not freed before it was given back; the writer waits for nobody: what is still
 *    borrowed is looked at again when the next page comes.
 */
#ifndef WF_PAGES_H
#define WF_PAGES_H

#include "page.h"

enum { WF_PAGES_READERS = 64 };

typedef struct wf_pages {
    _Atomic(wf_page *) current; /* NULL: none yet */
    _Atomic(wf_page *) borrowed[WF_PAGES_READERS];
    wf_page *retired[WF_PAGES_READERS + 1]; /* of the writer: no longer in force, borrowed when last looked at */
    _Atomic(bool) draining;                 /* the consumer is being stopped */
    _Atomic(uint64_t) requests[6];          /* answered, by the first digit of the status */
} wf_pages;

/* Put a page in force; takes it over. */
void wf_pages_publish(wf_pages *pages, wf_page *page);

/* Look at the page in force. `reader` is the caller's own number below WF_PAGES_READERS. NULL: there is none yet. */
wf_page *wf_pages_borrow(wf_pages *pages, unsigned reader);
void wf_pages_give_back(wf_pages *pages, unsigned reader);

/* No reader is left. */
void wf_pages_deinit(wf_pages *pages);

#endif
