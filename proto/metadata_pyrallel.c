/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit metadata of Pyrallel-Consumer 1.0: ASCII without version or checksum.
 *
 *   R first[-last][,first[-last]]...   runs: absolute offsets, both ends complete; "R" alone: nothing is complete
 *   B base:hex                         bitset: offset base + d is bit d % 8 (lowest first) of byte d / 8
 *   O                                  its writer had more to say than fits, and says nothing
 *
 * Invariants:
 * 1. What is written is byte for byte what Pyrallel-Consumer writes for the same offsets: the shorter of runs and
 * bitset, runs when they are equal. Never "O": whoever gives up offsets decides which.
 * 2. Reading is stricter than Python's: decimal digits, runs in rising order, lower-case hex, and a bitset must belong
 * to the committed offset. Offsets up to the committed one are left out, as Pyrallel-Consumer does.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "metadata.h"
#include "metadata_format.h"
#include "run_list.h"

enum {
    TEXT_MAX = 4000, /* Pyrallel-Consumer's own limit; above, it gives up */
    DIGITS_MAX = 19, /* of INT64_MAX */
    RUN_BYTES_MAX = 2 * DIGITS_MAX + 2,
};

static unsigned digits_of(int64_t offset) {
    unsigned digits = 1;
    for (; offset >= 10; offset /= 10) digits++;
    return digits;
}

/* --- sizes */

static size_t runs_size(const wf_offset_run *runs, size_t count) {
    size_t bytes = count ? count : 1; /* 'R' or ',' before each */
    for (size_t i = 0; i < count; i++) {
        bytes += digits_of(runs[i].first);
        if (runs[i].end - runs[i].first > 1) bytes += 1 + digits_of(runs[i].end - 1);
    }
    return bytes;
}

static size_t bitset_size(unsigned base_digits, uint64_t span) {
    return 1 + base_digits + 1 + 2 * (size_t)((span + 7) / 8);
}

static size_t size_of(int64_t base, const wf_offset_run *runs, size_t count) {
    if (count == 0) return 1;
    WF_CHECK(base >= 0 && runs[0].first > base);
    int64_t span = runs[count - 1].end - base;
    if (span > WF_METADATA_SPAN_MAX) return SIZE_MAX;
    size_t as_runs = runs_size(runs, count), as_bitset = bitset_size(digits_of(base), (uint64_t)span);
    return as_bitset < as_runs ? as_bitset : as_runs;
}

/* With the digits of the highest offset for all, the base included: what is left when the base has risen has no more.
 */
static size_t size_bound(int64_t base, uint64_t span, uint64_t runs) {
    if (span > (uint64_t)WF_METADATA_SPAN_MAX) return SIZE_MAX;
    if (runs > span / 2) runs = span / 2;
    if (runs == 0) return 1;
    unsigned digits = span < (uint64_t)(INT64_MAX - base) ? digits_of(base + (int64_t)span) : DIGITS_MAX;
    size_t as_runs = (size_t)runs * (2 * digits + 2), as_bitset = bitset_size(digits, span);
    return as_bitset < as_runs ? as_bitset : as_runs;
}

static uint64_t span_that_fits(size_t max_bytes) {
    size_t least = bitset_size(DIGITS_MAX, 0);
    if (max_bytes > TEXT_MAX) max_bytes = TEXT_MAX;
    return max_bytes > least ? (max_bytes - least) / 2 * 8 : 0;
}

static uint64_t runs_that_fit(size_t max_bytes) {
    if (max_bytes > TEXT_MAX) max_bytes = TEXT_MAX;
    return max_bytes / RUN_BYTES_MAX;
}

/* --- writing */

static char *put_number(char *at, int64_t number) {
    unsigned digits = digits_of(number);
    for (unsigned i = digits; i-- > 0; number /= 10) at[i] = (char)('0' + number % 10);
    return at + digits;
}

static char *put_runs(char *at, const wf_offset_run *runs, size_t count) {
    *at++ = 'R';
    for (size_t i = 0; i < count; i++) {
        if (i > 0) *at++ = ',';
        at = put_number(at, runs[i].first);
        if (runs[i].end - runs[i].first == 1) continue;
        *at++ = '-';
        at = put_number(at, runs[i].end - 1);
    }
    return at;
}

static char *put_bitset(char *at, int64_t base, const wf_offset_run *runs, size_t count) {
    unsigned char bits[TEXT_MAX / 2] = {0};
    for (size_t i = 0; i < count; i++)
        for (int64_t offset = runs[i].first - base; offset < runs[i].end - base; offset++)
            bits[offset / 8] |= (unsigned char)(1 << offset % 8);
    *at++ = 'B';
    at = put_number(at, base);
    *at++ = ':';
    for (int64_t i = 0; i < (runs[count - 1].end - base + 7) / 8; i++) {
        *at++ = "0123456789abcdef"[bits[i] >> 4];
        *at++ = "0123456789abcdef"[bits[i] & 15];
    }
    return at;
}

static weft_status encode(int64_t base, const wf_offset_run *runs, size_t count, char *text, size_t capacity,
                          size_t *ret_bytes) {
    size_t bytes = size_of(base, runs, count);
    if (bytes > capacity || bytes > TEXT_MAX) return WEFT_ERANGE;
    bool is_bitset = bytes < runs_size(runs, count);
    char *end = is_bitset ? put_bitset(text, base, runs, count) : put_runs(text, runs, count);
    WF_CHECK((size_t)(end - text) == bytes);
    *ret_bytes = bytes;
    return WEFT_OK;
}

/* --- reading */

typedef struct reader {
    const char *at;
    const char *end;
    int64_t base;
    wf_run_list list;
} reader;

static bool take(reader *from, char wanted) {
    if (from->at == from->end || *from->at != wanted) return false;
    from->at++;
    return true;
}

static bool take_number(reader *from, int64_t *ret_number) {
    const char *start = from->at;
    int64_t number = 0;
    for (; from->at < from->end && *from->at >= '0' && *from->at <= '9'; from->at++) {
        int digit = *from->at - '0';
        if (number > (INT64_MAX - digit) / 10) return false;
        number = 10 * number + digit;
    }
    *ret_number = number;
    return from->at > start;
}

/* [first, end) is complete: what lies above the base of it. */
static weft_status add(reader *to, int64_t first, int64_t end) {
    if (end - 1 <= to->base) return WEFT_OK; /* base + 1 may be no number */
    if (first <= to->base) first = to->base + 1;
    if (end - to->base > WF_METADATA_SPAN_MAX) return WEFT_ECORRUPT;
    return wf_run_list_append(&to->list, first, end) ? WEFT_OK : WEFT_ENOMEM;
}

static weft_status read_runs(reader *from) {
    int64_t reached = 0;
    if (from->at == from->end) return WEFT_OK;
    do {
        int64_t first, last;
        if (!take_number(from, &first)) return WEFT_ECORRUPT;
        last = first;
        if (take(from, '-') && !take_number(from, &last)) return WEFT_ECORRUPT;
        if (first < reached || last < first || last == INT64_MAX) return WEFT_ECORRUPT;
        reached = last + 1;
        weft_status status = add(from, first, reached);
        if (status != WEFT_OK) return status;
    } while (take(from, ','));
    return from->at == from->end ? WEFT_OK : WEFT_ECORRUPT;
}

static int nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static weft_status read_bitset(reader *from) {
    int64_t base;
    if (!take_number(from, &base) || base != from->base || !take(from, ':')) return WEFT_ECORRUPT;
    size_t bytes = (size_t)(from->end - from->at);
    if (bytes % 2) return WEFT_ECORRUPT;
    for (size_t i = 0; i < bytes; i += 2) {
        int high = nibble(from->at[i]), low = nibble(from->at[i + 1]);
        if (high < 0 || low < 0) return WEFT_ECORRUPT;
        for (int bit = 0; bit < 8; bit++) {
            int64_t distance = (int64_t)i * 4 + bit;
            if (!((high << 4 | low) >> bit & 1)) continue;
            /* Only a bit that is set has an offset: spare ones may lie beyond all that there are. */
            if (distance >= INT64_MAX - base) return WEFT_ECORRUPT;
            weft_status status = add(from, base + distance, base + distance + 1);
            if (status != WEFT_OK) return status;
        }
    }
    return WEFT_OK;
}

static weft_status decode(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs, size_t *ret_count) {
    if (base < 0 || bytes == 0 || bytes > WF_METADATA_BYTES_MAX) return WEFT_ECORRUPT;
    reader from = {.at = text + 1, .end = text + bytes, .base = base};
    weft_status status = WEFT_ECORRUPT;
    if (text[0] == 'R') status = read_runs(&from);
    if (text[0] == 'B') status = read_bitset(&from);
    if (text[0] == 'O' && bytes == 1) status = WEFT_OK;
    if (status != WEFT_OK) {
        free(from.list.runs);
        return status;
    }
    *ret_runs = from.list.runs;
    *ret_count = from.list.count;
    return WEFT_OK;
}

static const char *form(const char *text, size_t bytes) {
    if (bytes == 0) return NULL;
    return text[0] == 'R' ? "runs" : text[0] == 'B' ? "bitset" : text[0] == 'O' ? "overflow" : NULL;
}

const wf_metadata_codec wf_metadata_pyrallel = {
    .name = "pyrallel",
    .text_max = TEXT_MAX,
    .size = size_of,
    .size_bound = size_bound,
    .span_that_fits = span_that_fits,
    .runs_that_fit = runs_that_fit,
    .encode = encode,
    .decode = decode,
    .form = form,
};
