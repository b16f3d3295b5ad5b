/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit metadata of Confluent Parallel Consumer 0.5: base64 (standard alphabet, with padding) of one byte that
 * names the encoding, and its body. Numbers are big-endian and signed.
 *
 *   byte     body
 *   'l' 'o'  bitset: its length n as 2 ('l') or 4 ('o') bytes; bit i is bit i % 8 (lowest first) of byte i / 8, and
 *            says whether offset base + i is complete; a spare byte of zeros
 *   'n' 'e'  run lengths of 2 ('n') or 4 ('e') bytes each, from base on, incomplete and complete in turn; the first
 *            may be 0
 *   'a' 's' 'J' 'p'  a zstd frame of the body of 'l' 'o' 'n' 'e'
 *
 * An empty text: nothing is complete beyond the committed offset, and nothing is known to be incomplete.
 *
 * Invariants:
 * 1. What is written is the smallest of the four bodies without zstd, as Parallel Consumer chooses; when two are equal
 * its choice is not determined, and ours is the bitset.
 * 2. Whatever the text says, reading takes memory for BODY_MAX bytes and the runs that these can hold, no more.
 * 3. Nothing protects a text against damage, so what no writer writes is refused: bits beyond n, a run of 0 between
 * others, bytes that are left over.
 */
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "check.h"
#include "metadata.h"
#include "metadata_format.h"
#include "run_list.h"

enum {
    TEXT_MAX = 4096,    /* Parallel Consumer's own limit; above, it drops the map */
    BODY_MAX = 1 << 17, /* a million bits: it holds the incomplete ones of them in memory, as records */
    SHORT_MAX = INT16_MAX,
};

typedef struct encoding {
    unsigned char magic;
    bool is_bitset;
    bool is_compressed;
    unsigned width; /* of its numbers, in bytes */
    const char *form;
} encoding;

/* Those that are written first, in the order of preference. */
static const encoding encodings[] = {
    {'l', true, false, 2, "BitSet"},
    {'n', false, false, 2, "RunLength"},
    {'o', true, false, 4, "BitSetV2"},
    {'e', false, false, 4, "RunLengthV2"},
    {'a', true, true, 2, "BitSetCompressed"},
    {'J', false, true, 2, "RunLengthCompressed"},
    {'s', true, true, 4, "BitSetV2Compressed"},
    {'p', false, true, 4, "RunLengthV2Compressed"},
};

enum { ENCODINGS = sizeof encodings / sizeof encodings[0], WRITTEN = 4 };

/* --- sizes */

static size_t text_bytes(size_t body_bytes) {
    return (1 + body_bytes + 2) / 3 * 4;
}

static size_t bitset_bytes(unsigned width, uint64_t span) {
    return width + (size_t)((span + 7) / 8) + 1;
}

/* The largest run, complete or not. */
static int64_t longest(int64_t base, const wf_offset_run *runs, size_t count) {
    int64_t most = 0, end = base;
    for (size_t i = 0; i < count; i++) {
        int64_t gap = runs[i].first - end, length = runs[i].end - runs[i].first;
        if (most < gap) most = gap;
        if (most < length) most = length;
        end = runs[i].end;
    }
    return most;
}

/* The encoding to write, and the bytes of its body. False: too wide for any. count > 0. */
static bool choose(int64_t base, const wf_offset_run *runs, size_t count, const encoding **ret_encoding,
                   size_t *ret_bytes) {
    WF_CHECK(base >= 0 && runs[0].first > base);
    int64_t span = runs[count - 1].end - base, most = longest(base, runs, count);
    if (span > INT32_MAX) return false;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < WRITTEN; i++) {
        const encoding *to = &encodings[i];
        if (to->width == 2 && (to->is_bitset ? span : most) > SHORT_MAX) continue;
        size_t bytes = to->is_bitset ? bitset_bytes(to->width, (uint64_t)span) : 2 * count * to->width;
        if (bytes >= best) continue;
        best = bytes;
        *ret_encoding = to;
    }
    *ret_bytes = best;
    return true;
}

static size_t size_of(int64_t base, const wf_offset_run *runs, size_t count) {
    const encoding *chosen;
    size_t body;
    if (count == 0) return 0;
    return choose(base, runs, count, &chosen, &body) ? text_bytes(body) : SIZE_MAX;
}

static size_t size_bound(int64_t base, uint64_t span, uint64_t runs) {
    (void)base;
    if (span > INT32_MAX) return SIZE_MAX;
    if (runs > span / 2) runs = span / 2;
    if (runs == 0) return 0;
    unsigned width = span <= SHORT_MAX ? 2 : 4; /* no run is longer than the span */
    size_t as_bitset = bitset_bytes(width, span), as_runs = (size_t)runs * 2 * width;
    return text_bytes(as_runs < as_bitset ? as_runs : as_bitset);
}

/* Bytes of body. */
static size_t body_that_fits(size_t max_bytes) {
    if (max_bytes > TEXT_MAX) max_bytes = TEXT_MAX;
    size_t raw = max_bytes / 4 * 3;
    return raw ? raw - 1 : 0;
}

static uint64_t span_that_fits(size_t max_bytes) {
    size_t body = body_that_fits(max_bytes);
    return body > bitset_bytes(4, 0) ? (body - bitset_bytes(4, 0)) * 8 : 0;
}

static uint64_t runs_that_fit(size_t max_bytes) {
    return body_that_fits(max_bytes) / 8;
}

/* --- base64 */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(const unsigned char *raw, size_t bytes, char *text) {
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        unsigned group = (unsigned)raw[i] << 16;
        if (left > 1) group |= (unsigned)raw[i + 1] << 8;
        if (left > 2) group |= raw[i + 2];
        *text++ = alphabet[group >> 18];
        *text++ = alphabet[group >> 12 & 63];
        *text++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *text++ = left > 2 ? alphabet[group & 63] : '=';
    }
}

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* False: not base64 as its writers write it. `raw` has room for bytes / 4 * 3. */
static bool take_base64(const char *text, size_t bytes, unsigned char *raw, size_t *ret_bytes) {
    if (bytes == 0 || bytes % 4) return false;
    size_t padding = (text[bytes - 1] == '=') + (size_t)(text[bytes - 1] == '=' && text[bytes - 2] == '=');
    for (size_t i = 0; i < bytes; i += 4) {
        unsigned group = 0;
        for (size_t j = i; j < i + 4; j++) {
            int value = j < bytes - padding ? sextet(text[j]) : 0;
            if (value < 0) return false;
            group = group << 6 | (unsigned)value;
        }
        raw[i / 4 * 3] = (unsigned char)(group >> 16);
        raw[i / 4 * 3 + 1] = (unsigned char)(group >> 8);
        raw[i / 4 * 3 + 2] = (unsigned char)group;
    }
    *ret_bytes = bytes / 4 * 3 - padding;
    for (size_t i = 0; i < padding; i++)
        if (raw[*ret_bytes + i] != 0) return false;
    return true;
}

/* --- writing */

static unsigned char *put_number(unsigned char *at, unsigned width, int64_t number) {
    for (unsigned i = width; i-- > 0;) *at++ = (unsigned char)(number >> 8 * i);
    return at;
}

static weft_status encode(int64_t base, const wf_offset_run *runs, size_t count, char *text, size_t capacity,
                          size_t *ret_bytes) {
    const encoding *chosen;
    size_t body;
    if (count == 0) {
        *ret_bytes = 0;
        return WEFT_OK;
    }
    if (!choose(base, runs, count, &chosen, &body)) return WEFT_ERANGE;
    if (text_bytes(body) > capacity || text_bytes(body) > TEXT_MAX) return WEFT_ERANGE;

    unsigned char raw[TEXT_MAX] = {chosen->magic}, *at = raw + 1;
    if (chosen->is_bitset) at = put_number(at, chosen->width, runs[count - 1].end - base);
    int64_t end = base;
    for (size_t i = 0; i < count; i++) {
        if (!chosen->is_bitset) {
            at = put_number(at, chosen->width, runs[i].first - end);
            at = put_number(at, chosen->width, runs[i].end - runs[i].first);
            end = runs[i].end;
            continue;
        }
        for (int64_t bit = runs[i].first - base; bit < runs[i].end - base; bit++)
            at[bit / 8] |= (unsigned char)(1 << bit % 8);
    }
    put_base64(raw, 1 + body, text);
    *ret_bytes = text_bytes(body);
    return WEFT_OK;
}

/* --- reading */

typedef struct body {
    const unsigned char *bytes;
    size_t count;
    int64_t base;
    wf_run_list list;
} body;

static int64_t number_at(const unsigned char *at, unsigned width) {
    uint32_t value = 0;
    for (unsigned i = 0; i < width; i++) value = value << 8 | at[i];
    return width == 2 ? (int16_t)value : (int32_t)value;
}

/* Offsets base + [first, end) are complete; the base itself is not, whatever is said of it. */
static bool add(body *to, int64_t first, int64_t end) {
    if (first == 0) first = 1;
    return first >= end || wf_run_list_append(&to->list, to->base + first, to->base + end);
}

static bool bit_at(const unsigned char *bits, int64_t bit) {
    return bits[bit / 8] >> bit % 8 & 1;
}

static weft_status read_bitset(body *from, unsigned width) {
    if (from->count < width) return WEFT_ECORRUPT;
    int64_t span = number_at(from->bytes, width);
    const unsigned char *bits = from->bytes + width;
    int64_t room = (int64_t)(from->count - width) * 8;
    if (span < 0 || span > room || span > INT64_MAX - from->base) return WEFT_ECORRUPT;
    for (int64_t at = 0; at < span;) {
        int64_t first = at;
        bool complete = bit_at(bits, at);
        while (at < span && bit_at(bits, at) == complete) at++;
        if (complete && !add(from, first, at)) return WEFT_ENOMEM;
    }
    for (int64_t at = span; at < room; at++)
        if (bit_at(bits, at)) return WEFT_ECORRUPT;
    return WEFT_OK;
}

static weft_status read_runs(body *from, unsigned width) {
    int64_t reached = 0, most = INT64_MAX - from->base;
    if (most > INT32_MAX) most = INT32_MAX;
    if (from->count == 0 || from->count % width) return WEFT_ECORRUPT;
    for (size_t i = 0; i < from->count / width; i++) {
        int64_t length = number_at(from->bytes + i * width, width), first = reached;
        if (length < 0 || (length == 0 && i > 0) || length > most - reached) return WEFT_ECORRUPT;
        reached += length;
        if (i % 2 && !add(from, first, reached)) return WEFT_ENOMEM;
    }
    return WEFT_OK;
}

static const encoding *encoding_of(unsigned char magic) {
    for (size_t i = 0; i < ENCODINGS; i++)
        if (encodings[i].magic == magic) return &encodings[i];
    return NULL;
}

/* In one go, not as a stream: that takes no window, whose size the frame would choose. */
static weft_status unpack(body *packed, unsigned char **ret_bytes) {
    unsigned char *bytes = malloc(BODY_MAX);
    if (!bytes) return WEFT_ENOMEM;
    size_t count = ZSTD_decompress(bytes, BODY_MAX, packed->bytes, packed->count);
    if (ZSTD_isError(count)) {
        free(bytes);
        return WEFT_ECORRUPT;
    }
    packed->bytes = *ret_bytes = bytes;
    packed->count = count;
    return WEFT_OK;
}

static weft_status decode(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs, size_t *ret_count) {
    unsigned char raw[WF_METADATA_BYTES_MAX], *unpacked = NULL;
    body from = {.bytes = raw + 1, .base = base};
    if (base < 0 || bytes > WF_METADATA_BYTES_MAX || !take_base64(text, bytes, raw, &from.count)) return WEFT_ECORRUPT;
    const encoding *read = from.count > 0 ? encoding_of(raw[0]) : NULL;
    if (!read) return WEFT_ECORRUPT;
    from.count--;
    weft_status status = read->is_compressed ? unpack(&from, &unpacked) : WEFT_OK;
    if (status == WEFT_OK) status = read->is_bitset ? read_bitset(&from, read->width) : read_runs(&from, read->width);
    free(unpacked);
    if (status != WEFT_OK) {
        free(from.list.runs);
        return status;
    }
    *ret_runs = from.list.runs;
    *ret_count = from.list.count;
    return WEFT_OK;
}

static const char *form(const char *text, size_t bytes) {
    unsigned char raw[3];
    size_t count;
    if (bytes < 4 || !take_base64(text, 4, raw, &count)) return NULL;
    const encoding *found = encoding_of(raw[0]);
    return found ? found->form : NULL;
}

const wf_metadata_codec wf_metadata_confluent = {
    .name = "confluent",
    .text_max = TEXT_MAX,
    .size = size_of,
    .size_bound = size_bound,
    .span_that_fits = span_that_fits,
    .runs_that_fit = runs_that_fit,
    .encode = encode,
    .decode = decode,
    .form = form,
};
