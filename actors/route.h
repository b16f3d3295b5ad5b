/* SPDX-License-Identifier: Apache-2.0
 *
 * From a request to what is answered: paths, methods, health. Pure: the HTTP door reads requests and writes answers,
 * and decides nothing.
 */
#ifndef WF_ROUTE_H
#define WF_ROUTE_H

#include "page.h"

/* What was asked; foreign texts, NULL where a header was not sent. */
typedef struct wf_request {
    const char *method;
    const char *path; /* without the query; NULL: of no page of this server, but of itself (*) or of another one */
    const char *accept;
    const char *accept_encoding;
    bool has_body;
} wf_request;

/* What is known when it was asked. */
typedef struct wf_sight {
    wf_page *page; /* borrowed; NULL: none yet */
    bool draining;
    uint64_t now_ns;
    uint64_t since_ns; /* when the door was opened */
    uint64_t health_ns;
} wf_sight;

enum { WF_ANSWER_TEXT_BYTES = 256 };

typedef struct wf_answer {
    int status;
    bool bodiless;                   /* HEAD: the head as for GET */
    const char *type;                /* of the content */
    const wf_body *body;             /* of the page; NULL: there is only text */
    bool gzip;                       /* the body is compressed, and there is no text */
    char text[WF_ANSWER_TEXT_BYTES]; /* behind the body, most often empty */
} wf_answer;

wf_answer wf_route(const wf_request *request, const wf_sight *sight);

#endif
