/* SPDX-License-Identifier: Apache-2.0
 *
 * weft's own commit-metadata format. Printable ASCII; numbers are bits, lowest first, six to a character of base64url.
 *
 *   bytes  what
 *   1      '~'          magic; neither base64 (Confluent PC, Kafka Streams) nor Pyrallel ('R', 'B') begins so
 *   1      '1'          version; another version may change all that follows
 *   1      'B' or 'R'   encoding
 *   'B', bitset:
 *   n      bit i = offset base + 1 + i is complete; the last character is not 0 (the map ends there)
 *   'R', runs:
 *   1      code of the gaps
 *   1      code of the run lengths
 *   n      gap, length, gap, length ... each less one (none is 0); the first gap counts from base; at the end there are
 *          fewer than 6 zero bits
 *   both:
 *   6      XXH32 of all before it, 32 bits; its seed is the XXH32 (seed 0) of base as 8 bytes, little-endian
 *
 *   code 0-31        Rice with parameter k = code: (value >> k) zero bits, a one, then the k low bits of the value
 *   code 33-48       groups of g = code - 32 bits, lowest group first, each behind a bit that is 1 in the last group;
 *                    the last is not 0 unless it is the only one (g = 3: nibbles, 5: characters, 7: the usual varint)
 *
 * Invariants:
 * 1. Every value has a one bit, so the zero bits that fill the last character are never taken for a value.
 * 2. A change of one character is always found: XXH32 is a bijection of each of its 4-byte words, and all 32 bits are
 * kept.
 * 3. The encoder takes the smallest of the bitset and all pairs of codes; wf_metadata_size() makes the same plan.
 */
#include "metadata.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "check.h"
#include "run_list.h"

enum {
    HEAD_BYTES = 3,
    CODES_BYTES = 2,
    CHECKSUM_BYTES = 6,
    RICE_MAX = 31,
    GROUP_BASE = 32, /* code of groups of 0 bits, which is not used */
    GROUP_MAX = 16,
    VALUE_BITS = 32, /* no value below WF_METADATA_SPAN_MAX is longer */
    WORDS_MAX = WF_METADATA_BYTES_MAX * 6 / 64 + 2,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Planning */

/* The values of one kind, gaps or lengths, by what the codes' costs depend on. */
typedef struct tally {
    uint64_t sum;
    uint64_t by_bits[VALUE_BITS + 1]; /* how many values have that bit length */
} tally;

typedef struct text_plan {
    size_t bytes; /* of the whole text */
    bool is_bitset;
    unsigned gap_code;
    unsigned length_code;
} text_plan;

static inline uint64_t gap_value(int64_t base, const wf_offset_run *runs, size_t i) {
    return (uint64_t)(runs[i].first - (i ? runs[i - 1].end : base)) - 1;
}

static inline uint64_t length_value(const wf_offset_run *runs, size_t i) {
    return (uint64_t)(runs[i].end - runs[i].first) - 1;
}

static inline unsigned bit_length(uint64_t value) {
    return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}

static uint64_t group_bits(const tally *values, unsigned group) {
    uint64_t groups = values->by_bits[0];
    for (unsigned bits = 1; bits <= VALUE_BITS; bits++) groups += values->by_bits[bits] * ((bits + group - 1) / group);
    return groups * (group + 1);
}

static uint64_t rice_gap_bits(int64_t base, const wf_offset_run *runs, size_t count, unsigned k) {
    uint64_t bits = count * (uint64_t)(k + 1);
    for (size_t i = 0; i < count; i++) bits += gap_value(base, runs, i) >> k;
    return bits;
}

static uint64_t rice_length_bits(int64_t base, const wf_offset_run *runs, size_t count, unsigned k) {
    (void)base;
    uint64_t bits = count * (uint64_t)(k + 1);
    for (size_t i = 0; i < count; i++) bits += length_value(runs, i) >> k;
    return bits;
}

typedef uint64_t rice_bits(int64_t base, const wf_offset_run *runs, size_t count, unsigned k);

/* The cheapest code for one kind of values. The cost of Rice is convex in k (from k to k + 1 it changes by
 * count - sum ceil((v >> k) / 2), which never falls), so walking downhill from the mean finds the minimum. */
static unsigned best_code(const tally *values, rice_bits *cost, int64_t base, const wf_offset_run *runs, size_t count,
                          uint64_t *ret_bits) {
    unsigned k = bit_length(values->sum / count);
    if (k > 0) k--;
    uint64_t best = cost(base, runs, count, k);
    bool went_down = false;
    while (k > 0) {
        uint64_t bits = cost(base, runs, count, k - 1);
        if (bits >= best) break;
        best = bits;
        k--;
        went_down = true;
    }
    while (!went_down && k < RICE_MAX) {
        uint64_t bits = cost(base, runs, count, k + 1);
        if (bits >= best) break;
        best = bits;
        k++;
    }
    unsigned code = k;
    for (unsigned group = 1; group <= GROUP_MAX; group++) {
        uint64_t bits = group_bits(values, group);
        if (bits >= best) continue;
        best = bits;
        code = GROUP_BASE + group;
    }
    *ret_bits = best;
    return code;
}

static size_t chars_for(uint64_t bits) {
    return (size_t)((bits + 5) / 6);
}

/* False: too wide. count > 0. */
static bool make_plan(int64_t base, const wf_offset_run *runs, size_t count, text_plan *ret_plan) {
    int64_t end = runs[count - 1].end;
    WF_CHECK(base >= 0 && runs[0].first > base);
    if (end - base > WF_METADATA_SPAN_MAX) return false;

    tally gaps = {0}, lengths = {0};
    for (size_t i = 0; i < count; i++) {
        WF_CHECK(runs[i].first < runs[i].end && runs[i].end <= end);
        WF_CHECK_IMPLIES(i > 0, runs[i].first > runs[i - 1].end);
        uint64_t gap = gap_value(base, runs, i), length = length_value(runs, i);
        gaps.sum += gap;
        gaps.by_bits[bit_length(gap)]++;
        lengths.sum += length;
        lengths.by_bits[bit_length(length)]++;
    }
    uint64_t gap_bits, length_bits;
    text_plan plan = {0};
    plan.gap_code = best_code(&gaps, rice_gap_bits, base, runs, count, &gap_bits);
    plan.length_code = best_code(&lengths, rice_length_bits, base, runs, count, &length_bits);
    size_t run_chars = CODES_BYTES + chars_for(gap_bits + length_bits);
    size_t set_chars = chars_for((uint64_t)(end - base) - 1);
    plan.is_bitset = set_chars <= run_chars;
    plan.bytes = HEAD_BYTES + CHECKSUM_BYTES + (plan.is_bitset ? set_chars : run_chars);
    *ret_plan = plan;
    return true;
}

size_t wf_metadata_size(int64_t base, const wf_offset_run *runs, size_t count) {
    text_plan plan;
    if (count == 0) return 0;
    return make_plan(base, runs, count, &plan) ? plan.bytes : SIZE_MAX;
}

/* Bounds */

/* All values with one Rice code: 2 * runs values, which add up to span - 2 * runs at most, so 2 * runs * (k + 1) bits
 * and (span - 2 * runs) >> k zeros between them. Neither this nor the bitset falls when span or runs grow. */
size_t wf_metadata_size_bound(uint64_t span, uint64_t runs) {
    if (span > (uint64_t)WF_METADATA_SPAN_MAX) return SIZE_MAX;
    if (runs > span / 2) runs = span / 2;
    if (runs == 0) return 0;
    size_t chars = chars_for(span - 1);
    for (unsigned k = 0; k <= RICE_MAX; k++) {
        size_t run_chars = CODES_BYTES + chars_for(2 * runs * (k + 1) + ((span - 2 * runs) >> k));
        if (run_chars < chars) chars = run_chars;
    }
    return HEAD_BYTES + CHECKSUM_BYTES + chars;
}

static size_t body_chars(size_t max_bytes) {
    if (max_bytes > WF_METADATA_BYTES_MAX) max_bytes = WF_METADATA_BYTES_MAX;
    return max_bytes > HEAD_BYTES + CHECKSUM_BYTES ? max_bytes - HEAD_BYTES - CHECKSUM_BYTES : 0;
}

uint64_t wf_metadata_span_that_fits(size_t max_bytes) {
    return body_chars(max_bytes) * 6 + 1; /* base itself has no bit */
}

uint64_t wf_metadata_runs_that_fit(size_t max_bytes) {
    size_t bytes = body_chars(max_bytes) + HEAD_BYTES + CHECKSUM_BYTES;
    uint64_t fits = 0, too_many = WF_METADATA_BYTES_MAX * 3; /* a run takes two bits at least */
    while (too_many - fits > 1) {
        uint64_t runs = fits + (too_many - fits) / 2;
        if (wf_metadata_size_bound((uint64_t)WF_METADATA_SPAN_MAX, runs) <= bytes)
            fits = runs;
        else
            too_many = runs;
    }
    return fits;
}

/* Writing */

typedef struct bit_writer {
    char *at;
    uint64_t bits;
    unsigned count; /* of `bits`, below 6 between calls */
} bit_writer;

/* bit_count <= 32, and no bit of `bits` is set beyond it. */
static void put_bits(bit_writer *writer, uint64_t bits, unsigned bit_count) {
    writer->bits |= bits << writer->count;
    writer->count += bit_count;
    while (writer->count >= 6) {
        *writer->at++ = alphabet[writer->bits & 63];
        writer->bits >>= 6;
        writer->count -= 6;
    }
}

static void put_same(bit_writer *writer, bool bit, uint64_t bit_count) {
    for (; bit_count > 32; bit_count -= 32) put_bits(writer, bit ? UINT32_MAX : 0, 32);
    put_bits(writer, bit ? ((uint64_t)1 << bit_count) - 1 : 0, (unsigned)bit_count);
}

static void put_value(bit_writer *writer, unsigned code, uint64_t value) {
    if (code <= RICE_MAX) {
        put_same(writer, false, value >> code);
        put_bits(writer, 1 | (value & (((uint64_t)1 << code) - 1)) << 1, code + 1);
        return;
    }
    unsigned group = code - GROUP_BASE;
    uint64_t mask = ((uint64_t)1 << group) - 1;
    for (; value > mask; value >>= group) put_bits(writer, (value & mask) << 1, group + 1);
    put_bits(writer, value << 1 | 1, group + 1);
}

static void end_bits(bit_writer *writer) {
    if (writer->count > 0) put_bits(writer, 0, 6 - writer->count);
}

static uint32_t checksum(int64_t base, const char *text, size_t bytes) {
    unsigned char head[8];
    for (unsigned i = 0; i < sizeof head; i++) head[i] = (unsigned char)((uint64_t)base >> 8 * i);
    return XXH32(text, bytes, XXH32(head, sizeof head, 0));
}

weft_status wf_metadata_encode(int64_t base, const wf_offset_run *runs, size_t count, char *text, size_t capacity,
                               size_t *ret_bytes) {
    if (count == 0) {
        *ret_bytes = 0;
        return WEFT_OK;
    }
    text_plan plan;
    if (!make_plan(base, runs, count, &plan)) return WEFT_ERANGE;
    if (plan.bytes > capacity || plan.bytes > WF_METADATA_BYTES_MAX) return WEFT_ERANGE;

    bit_writer writer = {.at = text};
    *writer.at++ = '~';
    *writer.at++ = '1';
    *writer.at++ = plan.is_bitset ? 'B' : 'R';
    if (!plan.is_bitset) {
        put_bits(&writer, plan.gap_code, 6);
        put_bits(&writer, plan.length_code, 6);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t gap = gap_value(base, runs, i), length = length_value(runs, i);
        if (plan.is_bitset) {
            put_same(&writer, false, i ? gap + 1 : gap);
            put_same(&writer, true, length + 1);
        } else {
            put_value(&writer, plan.gap_code, gap);
            put_value(&writer, plan.length_code, length);
        }
    }
    end_bits(&writer);
    put_bits(&writer, checksum(base, text, (size_t)(writer.at - text)), 32);
    end_bits(&writer);
    WF_CHECK((size_t)(writer.at - text) == plan.bytes);
    *ret_bytes = plan.bytes;
    return WEFT_OK;
}

/* Reading */

typedef struct bit_reader {
    uint64_t words[WORDS_MAX]; /* zeros behind bit_count */
    size_t bit_count;
    size_t at;
} bit_reader;

/* -1: not in the alphabet. */
static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool load(bit_reader *reader, const char *text, size_t bytes) {
    memset(reader->words, 0, (bytes * 6 / 64 + 2) * sizeof reader->words[0]);
    for (size_t i = 0; i < bytes; i++) {
        int value = sextet(text[i]);
        if (value < 0) return false;
        size_t bit = i * 6;
        reader->words[bit / 64] |= (uint64_t)value << bit % 64;
        if (bit % 64 > 58) reader->words[bit / 64 + 1] |= (uint64_t)value >> (64 - bit % 64);
    }
    reader->bit_count = bytes * 6;
    reader->at = 0;
    return true;
}

/* The next bit from `at` on that is `value`; bit_count: none. */
static size_t find_bit(const bit_reader *reader, size_t at, bool value) {
    while (at < reader->bit_count) {
        uint64_t word = value ? reader->words[at / 64] : ~reader->words[at / 64];
        word >>= at % 64;
        if (word) {
            at += (size_t)__builtin_ctzll(word);
            return at < reader->bit_count ? at : reader->bit_count;
        }
        at = (at / 64 + 1) * 64;
    }
    return reader->bit_count;
}

/* bit_count <= 32. Where so many are not left: 0, and `at` is past the end from then on. */
static uint64_t get_bits(bit_reader *reader, unsigned bit_count) {
    if (reader->at + bit_count > reader->bit_count) {
        reader->at = reader->bit_count + 1;
        return 0;
    }
    size_t word = reader->at / 64;
    unsigned shift = reader->at % 64;
    uint64_t bits = reader->words[word] >> shift;
    if (shift > 32) bits |= reader->words[word + 1] << (64 - shift);
    reader->at += bit_count;
    return bits & (((uint64_t)1 << bit_count) - 1);
}

static bool get_value(bit_reader *reader, unsigned code, uint64_t *ret_value) {
    if (code <= RICE_MAX) {
        size_t one = find_bit(reader, reader->at, true);
        uint64_t high = one - reader->at;
        reader->at = one + 1;
        *ret_value = high << code | get_bits(reader, code);
        return one < reader->bit_count && reader->at <= reader->bit_count;
    }
    unsigned group = code - GROUP_BASE;
    uint64_t value = 0;
    for (unsigned shift = 0; shift < VALUE_BITS; shift += group) {
        uint64_t bits = get_bits(reader, group + 1);
        if (reader->at > reader->bit_count) return false;
        value |= bits >> 1 << shift;
        if (!(bits & 1)) continue;
        *ret_value = value;
        return shift == 0 || bits > 1;
    }
    return false;
}

static weft_status read_bitset(bit_reader *reader, int64_t base, uint64_t span_max, wf_run_list *list) {
    size_t at = 0;
    for (;;) {
        size_t first = find_bit(reader, at, true);
        if (first == reader->bit_count) break;
        at = find_bit(reader, first, false);
        if (at + 1 > span_max) return WEFT_ECORRUPT;
        if (!wf_run_list_append(list, base + 1 + (int64_t)first, base + 1 + (int64_t)at)) return WEFT_ENOMEM;
    }
    return list->count > 0 && reader->bit_count - at < 6 ? WEFT_OK : WEFT_ECORRUPT;
}

static bool is_code(unsigned code) {
    return code <= RICE_MAX || (code > GROUP_BASE && code <= GROUP_BASE + GROUP_MAX);
}

static weft_status read_runs(bit_reader *reader, int64_t base, uint64_t span_max, wf_run_list *list) {
    unsigned gap_code = (unsigned)get_bits(reader, 6);
    unsigned length_code = (unsigned)get_bits(reader, 6);
    if (!is_code(gap_code) || !is_code(length_code)) return WEFT_ECORRUPT;
    uint64_t reach = 0; /* of the map so far, beyond base; a value is below 2^50, so nothing overflows */
    while (find_bit(reader, reader->at, true) < reader->bit_count) {
        uint64_t gap, length;
        if (!get_value(reader, gap_code, &gap) || !get_value(reader, length_code, &length)) return WEFT_ECORRUPT;
        uint64_t first = reach + gap + 1;
        reach = first + length + 1;
        if (reach > span_max) return WEFT_ECORRUPT;
        if (!wf_run_list_append(list, base + (int64_t)first, base + (int64_t)reach)) return WEFT_ENOMEM;
    }
    return list->count > 0 && reader->bit_count - reader->at < 6 ? WEFT_OK : WEFT_ECORRUPT;
}

static bool checksum_matches(int64_t base, const char *text, size_t bytes) {
    char expected[CHECKSUM_BYTES];
    bit_writer writer = {.at = expected};
    put_bits(&writer, checksum(base, text, bytes - CHECKSUM_BYTES), 32);
    end_bits(&writer);
    return memcmp(expected, text + bytes - CHECKSUM_BYTES, CHECKSUM_BYTES) == 0;
}

weft_status wf_metadata_decode(int64_t base, const char *text, size_t bytes, wf_offset_run **ret_runs,
                               size_t *ret_count) {
    if (bytes == 0) {
        *ret_runs = NULL;
        *ret_count = 0;
        return WEFT_OK;
    }
    if (base < 0 || bytes <= HEAD_BYTES + CHECKSUM_BYTES || bytes > WF_METADATA_BYTES_MAX) return WEFT_ECORRUPT;
    if (text[0] != '~' || text[1] != '1' || (text[2] != 'B' && text[2] != 'R')) return WEFT_ECORRUPT;
    if (!checksum_matches(base, text, bytes)) return WEFT_ECORRUPT;

    bit_reader reader;
    if (!load(&reader, text + HEAD_BYTES, bytes - HEAD_BYTES - CHECKSUM_BYTES)) return WEFT_ECORRUPT;
    uint64_t span_max = (uint64_t)(INT64_MAX - base);
    if (span_max > (uint64_t)WF_METADATA_SPAN_MAX) span_max = (uint64_t)WF_METADATA_SPAN_MAX;
    wf_run_list list = {0}; /* the text's length bounds it: three runs to a character at most */
    weft_status status =
        text[2] == 'B' ? read_bitset(&reader, base, span_max, &list) : read_runs(&reader, base, span_max, &list);
    if (status != WEFT_OK) {
        free(list.runs);
        return status;
    }
    *ret_runs = list.runs;
    *ret_count = list.count;
    return WEFT_OK;
}
