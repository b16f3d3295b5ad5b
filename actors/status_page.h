/* SPDX-License-Identifier: Apache-2.0
 *
 * A page for people and their scripts: as JSON, and as one HTML page without scripts that refreshes itself. Neither
 * holds keys or values of records; a key is its hash.
 */
#ifndef WF_STATUS_PAGE_H
#define WF_STATUS_PAGE_H

#include "buffer.h"
#include "page.h"

/* Constant texts. */
const char *wf_status_worker_state(weft_worker_state state);

void wf_status_render_json(const wf_page *page, wf_buffer *buffer);
void wf_status_render_html(const wf_page *page, wf_buffer *buffer);

#endif
