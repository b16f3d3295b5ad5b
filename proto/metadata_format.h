/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit metadata in every format there is: weft's own, and those of the consumers that a group may come from or go
 * back to. What metadata.h says of a map holds for all of them: it belongs to its committed offset `base`, which is not
 * complete, and all runs lie above it.
 *
 * All formats are read, whatever is written; the first character tells them apart ('~'; 'R', 'B', 'O'; base64 of the
 * first byte of a Confluent map begins with none of these).
 */
#ifndef WF_METADATA_FORMAT_H
#define WF_METADATA_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "offset_run.h"
#include "weft/status.h"

typedef enum wf_metadata_format {
    WF_METADATA_NATIVE = 0,
    WF_METADATA_PYRALLEL,
    WF_METADATA_CONFLUENT,
    WF_METADATA_FORMATS,
} wf_metadata_format;

/* What is written in one format. Sizes are in bytes of text. */
typedef struct wf_metadata_codec {
    const char *name;
    size_t text_max; /* no longer text is written: what the consumer that the format belongs to allows itself */
    /* Exact, were there no limit. A map's size never falls when runs are added at its end. SIZE_MAX: too wide. */
    size_t (*size)(int64_t base, const wf_offset_run *runs, size_t count);
    /* Upper bound in O(1) for any map of at most `runs` runs that ends at base + span or before; holds for it, and for
     * what is left of it, when the base has risen. Never falls when span or runs grow. */
    size_t (*size_bound)(int64_t base, uint64_t span, uint64_t runs);
    /* The span that fits whatever the pattern, the number of runs that fits whatever their lengths and offsets. */
    uint64_t (*span_that_fits)(size_t max_bytes);
    uint64_t (*runs_that_fit)(size_t max_bytes);
    /* Returns WEFT_OK, or WEFT_ERANGE when the text would be longer than `capacity` or text_max. No closing NUL. */
    weft_status (*encode)(int64_t base, const wf_offset_run *runs, size_t count, char *text, size_t capacity,
                          size_t *ret_bytes);
    /* `text` is anybody's bytes. As wf_metadata_decode(). */
    weft_status (*decode)(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs, size_t *ret_count);
    /* What the text calls itself, a word such as "runs" or "BitSetCompressed"; NULL: it is not of this format. Looks at
     * the first bytes only. */
    const char *(*form)(const char *text, size_t bytes);
} wf_metadata_codec;

extern const wf_metadata_codec wf_metadata_native, wf_metadata_pyrallel, wf_metadata_confluent;

const wf_metadata_codec *wf_metadata_codec_of(wf_metadata_format format);

/* The format that the text belongs to; WF_METADATA_FORMATS: to none. */
wf_metadata_format wf_metadata_format_of(const char *text, size_t bytes);

/* wf_metadata_decode() for a text of any format; one of none is WEFT_ECORRUPT. */
weft_status wf_metadata_decode_any(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs,
                                   size_t *ret_count);

#endif
