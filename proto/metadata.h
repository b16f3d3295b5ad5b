/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit-metadata codec: the offsets that are complete beyond the committed one, as printable ASCII of bounded
 * size.
 *
 * A map belongs to its committed offset `base`: `base` itself is not complete, all runs lie above it. Native format,
 * see metadata.c for the byte table: magic, version, encoding, body, checksum (which covers `base` too). The encoder
 * writes the smallest of several encodings; nothing is ever cut off: what does not fit is WEFT_ERANGE.
 */
#ifndef WF_METADATA_H
#define WF_METADATA_H

#include <stddef.h>
#include <stdint.h>

#include "offset_run.h"
#include "weft/status.h"

/* No map reaches further than this beyond its base (units: offsets): a bound for hostile input and for memory. */
#define WF_METADATA_SPAN_MAX ((int64_t)1 << 31)

/* No text is longer: Kafka's strings have 16-bit lengths. */
enum { WF_METADATA_BYTES_MAX = 32767 };

/* Bytes of text that wf_metadata_encode() would write for this map, were there no limit: exact. 0 for an empty map,
 * SIZE_MAX for one wider than WF_METADATA_SPAN_MAX. O(count), a few ns per run. */
size_t wf_metadata_size(int64_t base, const wf_offset_run *runs, size_t count);

/* Upper bound in O(1), some tens of ns: no map with at most `runs` runs that ends at base + `span` or before takes more
 * bytes of text. Never falls when span or runs grow. SIZE_MAX above WF_METADATA_SPAN_MAX. */
size_t wf_metadata_size_bound(uint64_t span, uint64_t runs);

/* The widest span (offsets from base) whose map fits into `max_bytes` of text whatever its pattern (the bitset's
 * reach), and the number of runs that fit whatever their lengths up to WF_METADATA_SPAN_MAX. For the dispatch gate,
 * which asks once and keeps the numbers; a map over both may still fit by wf_metadata_size_bound() or
 * wf_metadata_size(). */
uint64_t wf_metadata_span_that_fits(size_t max_bytes);
uint64_t wf_metadata_runs_that_fit(size_t max_bytes);

/* Write the map as text, without a closing NUL.
 * Returns: WEFT_OK; WEFT_ERANGE when it needs more than `capacity` or WF_METADATA_BYTES_MAX bytes (nothing is written).
 */
weft_status wf_metadata_encode(int64_t base, const wf_offset_run *runs, size_t count, char *text, size_t capacity,
                               size_t *ret_bytes);

/* Read a map back. `text` is foreign input: any bytes. *ret_runs is malloc'ed (NULL when there are none), the caller
 * frees it. Returns: WEFT_OK (empty text is an empty map); WEFT_ECORRUPT for anything that is not a valid map of
 * `base`; WEFT_ENOMEM. */
weft_status wf_metadata_decode(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs,
                               size_t *ret_count);

#endif
