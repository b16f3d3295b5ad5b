/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client wants, from the headers of its request. Foreign input: any bytes; never refused, there is always a form
 * to give.
 */
#ifndef WF_NEGOTIATE_H
#define WF_NEGOTIATE_H

#include "page.h"

/* WF_FORM_TEXT or WF_FORM_OPENMETRICS, by an Accept header; NULL: none was sent. What is wanted most wins, of equals
 * the one named first; the text when nothing fits. */
wf_form wf_negotiate_form(const char *accept);

/* May the answer be gzip, by an Accept-Encoding header? NULL: none was sent. */
bool wf_negotiate_gzip(const char *accept_encoding);

#endif
