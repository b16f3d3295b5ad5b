/* SPDX-License-Identifier: Apache-2.0
 *
 * A text that grows while it is written. Where memory runs out it stays as it is and remembers that: only the end needs
 * to look.
 */
#ifndef WF_BUFFER_H
#define WF_BUFFER_H

#include "page.h"

typedef struct wf_buffer {
    wf_body *body; /* NULL: nothing yet */
    size_t room;
    bool failed;
} wf_buffer;

void wf_buffer_put(wf_buffer *buffer, const char *bytes, size_t count);
void wf_buffer_puts(wf_buffer *buffer, const char *text);
/* At most 255 bytes at once. */
void wf_buffer_printf(wf_buffer *buffer, const char *format, ...) WEFT_PRINTF(2, 3);

/* Shortest form that reads back equal to 15 digits, 17 where 15 lose something; whole numbers without a point; always
 * with '.', whatever the locale. NaN, +Inf, -Inf. */
void wf_buffer_number(wf_buffer *buffer, double number);

/* What was written; NULL: there was no memory. The buffer is empty then. */
wf_body *wf_buffer_body(wf_buffer *buffer);

#endif
