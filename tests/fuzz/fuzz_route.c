/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers and paths as anybody could send them, behind HTTP's own parser: lines of method, path, Accept,
 * Accept-Encoding, and a last one whose letters say what is known: b a request with a body, d draining, o an old page,
 * n none.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "exposition.h"
#include "must.h"
#include "negotiate.h"
#include "route.h"

enum { LINES = 5, PARTITIONS = 8 };

static wf_page *make_page(void) {
    weft_metrics *metrics = must_alloc(1, sizeof *metrics + PARTITIONS * sizeof(weft_partition_metrics));
    metrics->partitions = (weft_partition_metrics *)(metrics + 1);
    metrics->partition_count = PARTITIONS;
    for (int i = 0; i < PARTITIONS; i++)
        metrics->partitions[i] = (weft_partition_metrics){.topic = "t", .partition = i, .blocking_offset = -1};
    wf_page *page = wf_page_new(metrics);
    WF_CHECK(page != NULL);
    page->limits = (wf_limits){.group = "g", .ordering = "key", .engine = "async", .max_series = 20000};
    page->build = (wf_build){"1", "2", "3", "4", "5"};
    wf_exposition_fit(page);
    return page;
}

/* The next line, a copy of its own size, so that a step beyond its end is seen. */
static char *take_line(const uint8_t **data, size_t *size) {
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    size_t bytes = end ? (size_t)(end - *data) : *size;
    char *line = must_alloc(bytes + 1, 1);
    if (bytes) memcpy(line, *data, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (line[i] == '\0') line[i] = ' ';
    *data += bytes + (end != NULL);
    *size -= bytes + (end != NULL);
    return line;
}

/* Letters in the other case, and an empty element in front: it means the same. */
static char *said_otherwise(const char *header) {
    char *other = must_alloc(strlen(header) + 4, 1);
    memcpy(other, " ,\t", 3);
    for (size_t i = 0; header[i]; i++) {
        int c = (unsigned char)header[i];
        other[3 + i] = (char)(islower(c) ? toupper(c) : tolower(c));
    }
    return other;
}

static void check_negotiation(const char *accept, const char *encoding) {
    wf_form form = wf_negotiate_form(accept);
    bool gzip = wf_negotiate_gzip(encoding);
    char *other_accept = said_otherwise(accept), *other_encoding = said_otherwise(encoding);
    WF_CHECK(form == WF_FORM_TEXT || form == WF_FORM_OPENMETRICS);
    WF_CHECK(form == WF_FORM_TEXT || strcasestr(accept, "application/openmetrics-text"));
    WF_CHECK(!gzip || strcasestr(encoding, "gzip") || strchr(encoding, '*'));
    WF_CHECK(wf_negotiate_form(other_accept) == form);
    WF_CHECK(wf_negotiate_gzip(other_encoding) == gzip);
    free(other_accept);
    free(other_encoding);
}

static void check_answer(const wf_request *request, const wf_sight *sight) {
    static char not_here[WF_ANSWER_TEXT_BYTES];
    wf_answer answer = wf_route(request, sight);
    bool head = strcmp(request->method, "HEAD") == 0;
    WF_CHECK(answer.status == 200 || answer.status == 404 || answer.status == 405 || answer.status == 413 ||
             answer.status == 503);
    WF_CHECK(answer.type && memchr(answer.text, '\0', sizeof answer.text));
    WF_CHECK(answer.bodiless == head);
    WF_CHECK(answer.status == 200 || answer.body == NULL);
    WF_CHECK(answer.status != 200 || ((head || strcmp(request->method, "GET") == 0) && !request->has_body));
    WF_CHECK(!answer.gzip || (answer.body && answer.text[0] == '\0' && wf_negotiate_gzip(request->accept_encoding)));
    /* Nothing of a request comes back. */
    if (answer.status == 404) {
        if (!not_here[0]) memcpy(not_here, answer.text, sizeof not_here);
        WF_CHECK(strcmp(answer.text, not_here) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static wf_page *page;
    if (!page) page = make_page();
    char *lines[LINES];
    for (int i = 0; i < LINES; i++) lines[i] = take_line(&data, &size);
    const char *known = lines[4];
    wf_request request = {.method = lines[0],
                          .path = lines[1],
                          .accept = lines[2],
                          .accept_encoding = lines[3],
                          .has_body = strchr(known, 'b') != NULL};
    wf_sight sight = {.page = strchr(known, 'n') ? NULL : page,
                      .draining = strchr(known, 'd') != NULL,
                      .now_ns = strchr(known, 'o') ? 100000000000 : 1,
                      .health_ns = 10000000000};
    check_negotiation(request.accept, request.accept_encoding);
    check_answer(&request, &sight);
    for (int i = 0; i < LINES; i++) free(lines[i]);
    return 0;
}
