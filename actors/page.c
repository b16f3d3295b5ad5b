/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <stdlib.h>
#include <zlib.h>

#include "buffer.h"
#include "exposition.h"
#include "status_page.h"

enum { GZIP_LEVEL = 1, GZIP_WINDOW = 15 + 16 /* zlib's sign for gzip */, GZIP_MEMORY = 8 };

wf_page *wf_page_new(weft_metrics *metrics) {
    wf_page *page = calloc(1, sizeof *page);
    if (!page) {
        free(metrics);
        return NULL;
    }
    page->metrics = metrics;
    return page;
}

void wf_page_free(wf_page *page) {
    if (!page) return;
    for (int form = 0; form < WF_FORM_COUNT; form++)
        for (int i = 0; i < 2; i++) free(atomic_load(&page->bodies[form][i]));
    free(page->metrics);
    free(page);
}

static wf_body *compress_body(const wf_body *plain) {
    z_stream stream = {0};
    if (deflateInit2(&stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    size_t room = deflateBound(&stream, (uLong)plain->count);
    wf_body *packed = malloc(sizeof *packed + room);
    int result = Z_MEM_ERROR;
    if (packed && plain->count <= UINT32_MAX && room <= UINT32_MAX) {
        stream.next_in = (z_const Bytef *)plain->bytes;
        stream.avail_in = (uInt)plain->count;
        stream.next_out = (Bytef *)packed->bytes;
        stream.avail_out = (uInt)room;
        result = deflate(&stream, Z_FINISH);
        packed->count = stream.total_out;
    }
    deflateEnd(&stream);
    if (result == Z_STREAM_END) return packed;
    free(packed);
    return NULL;
}

static wf_body *make_body(wf_page *page, wf_form form, bool compressed) {
    if (compressed) {
        const wf_body *plain = wf_page_body(page, form, false);
        return plain ? compress_body(plain) : NULL;
    }
    wf_buffer buffer = {0};
    switch (form) {
    case WF_FORM_TEXT:
    case WF_FORM_OPENMETRICS:
        wf_exposition_render(page, form == WF_FORM_OPENMETRICS, &buffer);
        break;
    case WF_FORM_STATUS:
        wf_status_render_json(page, &buffer);
        break;
    case WF_FORM_HTML:
        wf_status_render_html(page, &buffer);
        break;
    case WF_FORM_COUNT:
        break;
    }
    return wf_buffer_body(&buffer);
}

const wf_body *wf_page_body(wf_page *page, wf_form form, bool compressed) {
    _Atomic(wf_body *) *place = &page->bodies[form][compressed];
    wf_body *body = atomic_load(place);
    if (body) return body;
    wf_body *made = make_body(page, form, compressed);
    /* Two may have made it at once: both are the same, and one is kept. */
    if (made && !atomic_compare_exchange_strong(place, &body, made)) {
        free(made);
        return body;
    }
    return made;
}
