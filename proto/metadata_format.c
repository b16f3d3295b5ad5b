/* SPDX-License-Identifier: Apache-2.0 */
#include "metadata_format.h"

#include "check.h"
#include "metadata.h"

/* Native texts name the largest offset nowhere. */
static size_t native_bound(int64_t base, uint64_t span, uint64_t runs) {
    (void)base;
    return wf_metadata_size_bound(span, runs);
}

static const char *native_form(const char *text, size_t bytes) {
    if (bytes == 0 || text[0] != '~') return NULL;
    if (bytes > 2 && text[1] == '1' && text[2] == 'B') return "bitset";
    if (bytes > 2 && text[1] == '1' && text[2] == 'R') return "runs";
    return "unknown version";
}

const wf_metadata_codec wf_metadata_native = {
    .name = "native",
    .text_max = WF_METADATA_BYTES_MAX,
    .size = wf_metadata_size,
    .size_bound = native_bound,
    .span_that_fits = wf_metadata_span_that_fits,
    .runs_that_fit = wf_metadata_runs_that_fit,
    .encode = wf_metadata_encode,
    .decode = wf_metadata_decode,
    .form = native_form,
};

const wf_metadata_codec *wf_metadata_codec_of(wf_metadata_format format) {
    static const wf_metadata_codec *const codecs[WF_METADATA_FORMATS] = {
        [WF_METADATA_NATIVE] = &wf_metadata_native,
        [WF_METADATA_PYRALLEL] = &wf_metadata_pyrallel,
        [WF_METADATA_CONFLUENT] = &wf_metadata_confluent,
    };
    WF_CHECK((unsigned)format < WF_METADATA_FORMATS);
    return codecs[format];
}

wf_metadata_format wf_metadata_format_of(const char *text, size_t bytes) {
    unsigned format = 0;
    while (format < WF_METADATA_FORMATS && !wf_metadata_codec_of((wf_metadata_format)format)->form(text, bytes))
        format++;
    return (wf_metadata_format)format;
}

weft_status wf_metadata_decode_any(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs,
                                   size_t *ret_count) {
    if (bytes == 0) {
        *ret_runs = NULL;
        *ret_count = 0;
        return WEFT_OK;
    }
    wf_metadata_format format = wf_metadata_format_of(text, bytes);
    if (format == WF_METADATA_FORMATS) return WEFT_ECORRUPT;
    return wf_metadata_codec_of(format)->decode(base, text, bytes, ret_runs, ret_count);
}
