/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit metadata is foreign input. The first byte chooses what is done with the rest, the next eight are the base:
 *   0  the rest is decoded as it is
 *   1  it is closed with the right checksum first, or the fuzzer would never get past it
 *   2  it is a list of gaps and lengths, which are encoded
 *   3  it is put into base64, as Confluent's maps are
 *   4  the same, with all but the first byte in a zstd frame
 * What comes out must be a map, and must come back the same when it is written and read again, in every format.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>
#include <zstd.h>

#include "metadata.h"
#include "metadata_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), abort();                     \
    } while (0)

enum { RUNS_MAX = 40000 };

static char text[WF_METADATA_BYTES_MAX + 16], again[WF_METADATA_BYTES_MAX];
static wf_offset_run made[RUNS_MAX];
static unsigned char packed[16384];

static size_t seal(int64_t base, size_t bytes) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)base >> 8 * i);
    uint32_t sum = XXH32(text, bytes, XXH32(head, 8, 0));
    for (int i = 0; i < 6; i++) text[bytes++] = alphabet[(uint64_t)sum >> 6 * i & 63];
    return bytes;
}

static void expect_map(int64_t base, const wf_offset_run *runs, size_t count) {
    MUST(count > 0 && base >= 0 && runs[0].first > base);
    for (size_t i = 0; i < count; i++) {
        MUST(runs[i].end > runs[i].first);
        MUST(i == 0 || runs[i].first > runs[i - 1].end);
    }
    MUST(runs[count - 1].end - base <= WF_METADATA_SPAN_MAX);
}

static size_t base64(const unsigned char *raw, size_t bytes) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (size_t i = 0; i < bytes; i += 3) {
        uint32_t group = (uint32_t)raw[i] << 16;
        if (i + 1 < bytes) group |= (uint32_t)raw[i + 1] << 8;
        if (i + 2 < bytes) group |= raw[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) text[at++] = alphabet[group >> shift & 63];
    }
    for (size_t i = 0; i < (3 - bytes % 3) % 3; i++) text[at - 1 - i] = '=';
    return at;
}

static void expect_survives_in(const wf_metadata_codec *codec, int64_t base, const wf_offset_run *runs, size_t count) {
    size_t bytes, count_again, size = codec->size(base, runs, count);
    wf_offset_run *runs_again;
    weft_status status = codec->encode(base, runs, count, again, sizeof again, &bytes);
    MUST(size <= codec->size_bound(base, (uint64_t)(runs[count - 1].end - base), count));
    MUST((status == WEFT_OK) == (size <= codec->text_max && size <= sizeof again));
    if (status != WEFT_OK) return;
    MUST(bytes == size && codec->form(again, bytes) != NULL);
    MUST(wf_metadata_decode_any(base, again, bytes, &runs_again, &count_again) == WEFT_OK);
    MUST(count_again == count && memcmp(runs, runs_again, count * sizeof *runs) == 0);
    free(runs_again);
}

/* Write, read, compare. `bytes_max`: a text of that length is known. */
static void expect_survives(int64_t base, const wf_offset_run *runs, size_t count, size_t bytes_max) {
    size_t bytes, count_again;
    wf_offset_run *runs_again;
    size_t size = wf_metadata_size(base, runs, count);
    for (unsigned format = 0; format < WF_METADATA_FORMATS; format++)
        expect_survives_in(wf_metadata_codec_of((wf_metadata_format)format), base, runs, count);
    weft_status status = wf_metadata_encode(base, runs, count, again, sizeof again, &bytes);
    if (status != WEFT_OK) {
        MUST(status == WEFT_ERANGE && size > sizeof again && bytes_max > sizeof again);
        return;
    }
    MUST(bytes == size && bytes <= bytes_max);
    MUST(bytes <= wf_metadata_size_bound((uint64_t)(runs[count - 1].end - base), count));
    MUST(wf_metadata_decode(base, again, bytes, &runs_again, &count_again) == WEFT_OK);
    MUST(count_again == count && memcmp(runs, runs_again, count * sizeof *runs) == 0);
    free(runs_again);
}

static void decode_text(int64_t base, size_t bytes) {
    wf_offset_run *runs;
    size_t count;
    weft_status status = wf_metadata_decode_any(base, text, bytes, &runs, &count);
    bool native = wf_metadata_format_of(text, bytes) == WF_METADATA_NATIVE;
    MUST(status == WEFT_OK || status == WEFT_ECORRUPT);
    if (status != WEFT_OK) return;
    if (count > 0) {
        expect_map(base, runs, count);
        expect_survives(base, runs, count, native ? bytes : SIZE_MAX);
    }
    free(runs);
}

/* Two bytes to a number: 11 bits, shifted by the other 5 (below 20). */
static int64_t number_at(const uint8_t *data) {
    return 1 + ((int64_t)(data[0] | (data[1] & 7) << 8) << (data[1] >> 3) % 20);
}

static void encode_made(int64_t base, const uint8_t *data, size_t bytes) {
    size_t count = 0;
    int64_t at = base;
    for (; bytes >= 4 && count < RUNS_MAX; data += 4, bytes -= 4) {
        int64_t first = at + number_at(data);
        int64_t end = first + number_at(data + 2);
        if (end - base > WF_METADATA_SPAN_MAX) break;
        made[count++] = (wf_offset_run){.first = first, .end = end};
        at = end;
    }
    if (count > 0) expect_survives(base, made, count, SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 9 || bytes - 9 > WF_METADATA_BYTES_MAX) return 0;
    int64_t base;
    memcpy(&base, data + 1, 8);
    unsigned mode = data[0] % 5;
    data += 9;
    bytes -= 9;
    memcpy(text, data, bytes);
    if (mode == 0) decode_text(base, bytes);
    if (mode == 1) decode_text(base, seal(base, bytes));
    if (mode == 3 && bytes <= sizeof text / 4 * 3 - 4) decode_text(base, base64(data, bytes));
    if (mode == 4 && bytes > 1 && bytes <= sizeof packed / 2) {
        packed[0] = data[0];
        size_t size = ZSTD_compress(packed + 1, sizeof packed - 1, data + 1, bytes - 1, 1);
        MUST(!ZSTD_isError(size));
        decode_text(base, base64(packed, 1 + size));
    }
    if (mode == 2 && base >= 0 && base <= INT64_MAX - 2 * WF_METADATA_SPAN_MAX) encode_made(base, data, bytes);
    return 0;
}
