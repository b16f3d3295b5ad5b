/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit metadata of the other consumers: what they really wrote (tests/golden), both directions; random maps against
 * writers as naive as can be; bounds; hostile text.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "metadata.h"
#include "metadata_format.h"
#include "require.h"
#include "seeded.h"

TestSuite(metadata_format, .timeout = 120);

enum { RUNS_MAX = 4000, SPAN_MAX = 60000, NAIVE_MAX = 1 << 20 };

typedef struct map {
    int64_t base;
    size_t count;
    wf_offset_run runs[RUNS_MAX];
} map;

static map maps[1];

static const wf_metadata_codec *foreign[] = {&wf_metadata_pyrallel, &wf_metadata_confluent};

/* --- what they really wrote */

static json_t *golden(const char *name) {
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tests/golden/%s", WEFT_SOURCE_DIR, name);
    json_t *root = json_load_file(path, 0, &error);
    REQUIRE(root != NULL, "%s", error.text);
    json_t *vectors = json_incref(json_object_get(root, "vectors"));
    json_decref(root);
    return vectors;
}

static const char *word(const json_t *vector, const char *name) {
    const char *text = json_string_value(json_object_get(vector, name));
    return text ? text : "";
}

static int64_t number(const json_t *vector, const char *name) {
    return json_integer_value(json_object_get(vector, name));
}

/* The completed ranges as runs: they are inclusive, and some are adjacent. */
static size_t runs_of(const json_t *vector, wf_offset_run *runs) {
    const json_t *ranges = json_object_get(vector, "completed_ranges"), *range;
    size_t i, count = 0;
    json_array_foreach(ranges, i, range) {
        int64_t first = json_integer_value(json_array_get(range, 0)),
                last = json_integer_value(json_array_get(range, 1));
        if (count && runs[count - 1].end == first)
            runs[count - 1].end = last + 1;
        else
            runs[count++] = (wf_offset_run){first, last + 1};
    }
    return count;
}

static bool covers(const wf_offset_run *runs, size_t count, int64_t offset) {
    for (size_t i = 0; i < count; i++)
        if (offset >= runs[i].first && offset < runs[i].end) return true;
    return false;
}

/* Offsets that are no records are complete in the map, and in no range: only those may be more. */
static void expect_ranges(const json_t *vector, const wf_offset_run *runs, size_t count) {
    static wf_offset_run expected[RUNS_MAX];
    const char *name = word(vector, "name");
    size_t expected_count = runs_of(vector, expected);
    if (strcmp(name, "transaction-gaps") != 0) {
        REQUIRE_EQ(count, expected_count);
        REQUIRE(count == 0 || memcmp(runs, expected, count * sizeof *runs) == 0, "%s", name);
        return;
    }
    for (int64_t offset = number(vector, "committed_offset"); offset < 399; offset++) {
        bool incomplete = offset == 20 || offset == 100 || offset == 101 || offset == 200;
        REQUIRE(covers(runs, count, offset) == !incomplete, "%s: %" PRId64, name, offset);
        if (covers(expected, expected_count, offset)) REQUIRE(covers(runs, count, offset));
    }
}

static size_t expect_golden_read(const char *file, wf_metadata_format format) {
    json_t *vectors = golden(file), *vector;
    size_t i, read = 0;
    json_array_foreach(vectors, i, vector) {
        const char *text = word(vector, "metadata");
        int64_t base = number(vector, "committed_offset");
        wf_offset_run *runs = NULL;
        size_t count = 0;
        if (base < 0) continue;
        REQUIRE_EQ(wf_metadata_decode_any(base, text, strlen(text), &runs, &count), WEFT_OK);
        if (*text) REQUIRE(wf_metadata_format_of(text, strlen(text)) == format, "%s", text);
        if (*text && format == WF_METADATA_CONFLUENT)
            REQUIRE(strcmp(wf_metadata_confluent.form(text, strlen(text)), word(vector, "encoding")) == 0);
        if (count) REQUIRE(runs[count - 1].end <= number(vector, "log_end_offset"));
        expect_ranges(vector, runs, count);
        free(runs);
        read++;
    }
    json_decref(vectors);
    return read;
}

Test(metadata_format, golden__what_they_wrote__says_what_they_had_completed) {
    cr_assert(eq(sz, expect_golden_read("confluent.json", WF_METADATA_CONFLUENT), 13));
    cr_assert(eq(sz, expect_golden_read("pyrallel.json", WF_METADATA_PYRALLEL), 9));
}

/* What we write for the same map is the same text, where the writer was free to choose and chose no zstd. */
static size_t expect_golden_written(const char *file, const wf_metadata_codec *codec) {
    json_t *vectors = golden(file), *vector;
    size_t i, same = 0;
    json_array_foreach(vectors, i, vector) {
        const char *text = word(vector, "metadata"), *name = word(vector, "name");
        int64_t base = number(vector, "committed_offset");
        wf_offset_run *runs = NULL;
        size_t count = 0, bytes;
        char again[4096];
        if (base < 0 || strstr(name, "forced") || strstr(word(vector, "encoding"), "Compressed")) continue;
        if (strcmp(text, "O") == 0 || strcmp(name, "nothing-above-base") == 0) continue; /* we say nothing instead */
        REQUIRE_EQ(codec->decode(base, text, strlen(text), &runs, &count), *text ? WEFT_OK : WEFT_ECORRUPT);
        REQUIRE_EQ(codec->encode(base, runs, count, again, sizeof again, &bytes), WEFT_OK);
        REQUIRE(bytes == strlen(text) && memcmp(again, text, bytes) == 0, "%s: %.*s instead of %s", name, (int)bytes,
                again, text);
        REQUIRE_EQ(codec->size(base, runs, count), bytes);
        free(runs);
        same++;
    }
    json_decref(vectors);
    return same;
}

Test(metadata_format, golden__written_again__byte_for_byte) {
    cr_assert(eq(sz, expect_golden_written("confluent.json", &wf_metadata_confluent), 7));
    cr_assert(eq(sz, expect_golden_written("pyrallel.json", &wf_metadata_pyrallel), 8));
}

/* --- naive writers */

/* Every offset from base up to the end of the map: is it complete? */
static unsigned char *flags_of(const map *m, int64_t *ret_span) {
    static unsigned char flags[SPAN_MAX + 1];
    *ret_span = m->count ? m->runs[m->count - 1].end - m->base : 0;
    REQUIRE(*ret_span <= SPAN_MAX);
    memset(flags, 0, sizeof flags);
    for (size_t i = 0; i < m->count; i++)
        memset(flags + (m->runs[i].first - m->base), 1, (size_t)(m->runs[i].end - m->runs[i].first));
    return flags;
}

static size_t naive_pyrallel(const map *m, char *text) {
    static char runs[NAIVE_MAX], bits[NAIVE_MAX];
    int64_t span;
    const unsigned char *flags = flags_of(m, &span);
    int runs_bytes = snprintf(runs, 64, "R"), bits_bytes = snprintf(bits, 64, "B%" PRId64 ":", m->base);
    for (size_t i = 0; i < m->count; i++) {
        const wf_offset_run *run = &m->runs[i];
        runs_bytes += snprintf(runs + runs_bytes, 64, i ? ",%" PRId64 : "%" PRId64, run->first);
        if (run->end - run->first > 1) runs_bytes += snprintf(runs + runs_bytes, 64, "-%" PRId64, run->end - 1);
    }
    for (int64_t at = 0; at < span; at += 8) {
        unsigned byte = 0;
        for (int bit = 0; bit < 8 && at + bit < span; bit++) byte |= (unsigned)flags[at + bit] << bit;
        bits_bytes += snprintf(bits + bits_bytes, 64, "%02x", byte);
    }
    int bytes = runs_bytes <= bits_bytes ? runs_bytes : bits_bytes;
    memcpy(text, runs_bytes <= bits_bytes ? runs : bits, (size_t)bytes);
    return (size_t)bytes;
}

/* The four bodies of Confluent's, with their magic; false: not available. */
static bool naive_body(const map *m, unsigned which, unsigned char *raw, size_t *ret_bytes) {
    static const char magics[] = "lone";
    int64_t span;
    const unsigned char *flags = flags_of(m, &span);
    bool is_bitset = which < 2;
    int width = which % 2 ? 4 : 2;
    size_t bytes = 0;
    raw[bytes++] = (unsigned char)magics[which];
    if (is_bitset) {
        if (width == 2 && span > 32767) return false;
        for (int i = width - 1; i >= 0; i--) raw[bytes++] = (unsigned char)(span >> 8 * i);
        size_t start = bytes, body = (size_t)(span + 7) / 8 + 1;
        memset(raw + bytes, 0, body);
        for (int64_t at = 0; at < span; at++) raw[start + (size_t)at / 8] |= (unsigned char)(flags[at] << at % 8);
        *ret_bytes = start + body;
        return true;
    }
    unsigned char state = 0;
    for (int64_t at = 0; at < span; state = !state) {
        int64_t first = at;
        while (at < span && flags[at] == state) at++;
        if (width == 2 && at - first > 32767) return false;
        for (int i = width - 1; i >= 0; i--) raw[bytes++] = (unsigned char)((at - first) >> 8 * i);
    }
    *ret_bytes = bytes;
    return true;
}

static size_t base64(const unsigned char *raw, size_t bytes, char *text) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (size_t bit = 0; bit < bytes * 8; bit += 6) {
        unsigned value = 0;
        for (size_t i = bit; i < bit + 6; i++) value = value << 1 | (i < bytes * 8 ? raw[i / 8] >> (7 - i % 8) & 1 : 0);
        text[at++] = alphabet[value];
    }
    while (at % 4) text[at++] = '=';
    text[at] = '\0';
    return at;
}

/* Length of the smallest; its text, where the order of preference is bitset before runs, short before long. */
static size_t naive_confluent(const map *m, char *text) {
    static unsigned char raw[NAIVE_MAX], best[NAIVE_MAX];
    static const unsigned preference[] = {0, 2, 1, 3};
    size_t best_bytes = SIZE_MAX;
    if (m->count == 0) return 0;
    for (unsigned i = 0; i < 4; i++) {
        size_t bytes;
        if (!naive_body(m, preference[i], raw, &bytes) || bytes >= best_bytes) continue;
        best_bytes = bytes;
        memcpy(best, raw, bytes);
    }
    return base64(best, best_bytes, text);
}

/* --- random maps */

static void random_map(map *m, seeded *random) {
    static const int64_t bases[] = {0, 1, 7, 99, 999, 4711, 99990, (int64_t)1 << 33, INT64_MAX - 4 * SPAN_MAX};
    int64_t span_max = seeded_between(random, 2, seeded_percent(random, 30) ? SPAN_MAX : 3000);
    int64_t gap_max = seeded_between(random, 1, seeded_percent(random, 20) ? span_max : 20);
    int64_t length_max = seeded_between(random, 1, seeded_percent(random, 20) ? span_max : 20);
    size_t count_max = 1 + seeded_below(random, seeded_percent(random, 50) ? 30 : RUNS_MAX);
    m->base = bases[seeded_below(random, sizeof bases / sizeof bases[0])];
    m->count = 0;
    for (int64_t at = m->base; m->count < count_max;) {
        int64_t first = at + seeded_between(random, 1, gap_max), end = first + seeded_between(random, 1, length_max);
        if (end - m->base > span_max) break;
        m->runs[m->count++] = (wf_offset_run){first, end};
        at = end;
    }
}

static void expect_reads(const wf_metadata_codec *codec, const map *m, const char *text, size_t bytes, uint64_t round) {
    wf_offset_run *runs = NULL;
    size_t count = 0;
    REQUIRE(codec->decode(m->base, text, bytes, &runs, &count) == WEFT_OK, "%s round %" PRIu64, codec->name, round);
    REQUIRE(count == m->count, "%s round %" PRIu64 ": %zu runs instead of %zu", codec->name, round, count, m->count);
    REQUIRE(count == 0 || memcmp(runs, m->runs, count * sizeof *runs) == 0, "%s round %" PRIu64, codec->name, round);
    free(runs);
}

/* Bounds hold for the map, for what is left when the base has risen, and for every part of it. */
static void expect_bounded(const wf_metadata_codec *codec, const map *m, seeded *random, size_t size) {
    uint64_t span = (uint64_t)(m->count ? m->runs[m->count - 1].end - m->base : 0);
    size_t bound = codec->size_bound(m->base, span, m->count);
    REQUIRE(size <= bound, "%s: %zu bytes, the bound is %zu", codec->name, size, bound);
    REQUIRE(codec->size_bound(m->base, span + seeded_below(random, 5000), m->count + seeded_below(random, 9)) >= bound);
    if (span <= codec->span_that_fits(bound)) REQUIRE(size <= bound);
    for (size_t max = size > 30 ? size - 20 : 10; max < size; max++) {
        REQUIRE(span > codec->span_that_fits(max), "%s: span %" PRIu64 " said to fit %zu", codec->name, span, max);
        REQUIRE(m->count > codec->runs_that_fit(max), "%s: %zu runs said to fit %zu", codec->name, m->count, max);
    }
    if (m->count == 0) return;
    size_t cut = seeded_below(random, m->count);
    REQUIRE(codec->size(m->base, m->runs, cut) <= size, "%s: a part is larger", codec->name);
    size_t left = codec->size(m->runs[cut].first - 1, m->runs + cut, m->count - cut);
    REQUIRE(left <= bound, "%s: what is left has %zu bytes, the bound was %zu", codec->name, left, bound);
}

Test(metadata_format, random_maps__the_text_of_a_naive_writer_and_back) {
    static char expected[NAIVE_MAX], text[4096];
    unsigned fitted[2] = {0};
    for (uint64_t round = 0; round < 6000; round++) {
        seeded random = seeded_start(21, round);
        map *m = maps;
        random_map(m, &random);
        for (size_t f = 0; f < 2; f++) {
            const wf_metadata_codec *codec = foreign[f];
            size_t naive = f ? naive_confluent(m, expected) : naive_pyrallel(m, expected), bytes = 77;
            size_t size = codec->size(m->base, m->runs, m->count);
            REQUIRE(size == naive, "%s WEFT_TEST_SEED=%" PRIu64 " round %" PRIu64 ": %zu bytes, naive %zu", codec->name,
                    random.seed, round, size, naive);
            expect_bounded(codec, m, &random, size);
            weft_status status = codec->encode(m->base, m->runs, m->count, text, sizeof text, &bytes);
            REQUIRE_EQ(status, naive > codec->text_max ? WEFT_ERANGE : WEFT_OK);
            if (status != WEFT_OK) continue;
            REQUIRE(bytes == naive && memcmp(text, expected, bytes) == 0, "%s round %" PRIu64, codec->name, round);
            if (bytes > 0) REQUIRE_EQ(codec->encode(m->base, m->runs, m->count, text, bytes - 1, &bytes), WEFT_ERANGE);
            if (bytes > 0) expect_reads(codec, m, text, bytes, round);
            fitted[f] += m->count > 1;
        }
    }
    cr_assert(gt(u32, fitted[0], 1000));
    cr_assert(gt(u32, fitted[1], 1000));
}

/* Numbers of two bytes reach to 32767. */
Test(metadata_format, confluent__at_the_end_of_two_bytes__goes_over_to_four) {
    static const struct {
        int64_t gap, length;
        const char *form;
    } rows[] = {{32767, 1, "RunLength"}, {32768, 1, "RunLengthV2"}, {1, 32767, "RunLength"}, {1, 32768, "RunLengthV2"}};
    char text[64];
    size_t bytes;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        map *m = maps;
        *m = (map){.base = 9, .count = 1, .runs = {{9 + rows[i].gap, 9 + rows[i].gap + rows[i].length}}};
        REQUIRE_EQ(wf_metadata_confluent.encode(m->base, m->runs, 1, text, sizeof text, &bytes), WEFT_OK);
        cr_assert(eq(str, (char *)wf_metadata_confluent.form(text, bytes), (char *)rows[i].form));
        expect_reads(&wf_metadata_confluent, m, text, bytes, i);
    }
}

/* All eight encodings of Confluent's are read, also those that its writer would not have chosen. */
Test(metadata_format, random_maps__every_encoding_with_and_without_zstd__read) {
    static unsigned char raw[NAIVE_MAX], packed[NAIVE_MAX];
    static char text[NAIVE_MAX];
    unsigned read = 0;
    for (uint64_t round = 0; round < 3000; round++) {
        seeded random = seeded_start(22, round);
        map *m = maps;
        random_map(m, &random);
        for (unsigned which = 0; which < 4; which++) {
            size_t bytes;
            if (m->count == 0 || !naive_body(m, which, raw, &bytes)) continue;
            size_t length = base64(raw, bytes, text);
            if (length <= WF_METADATA_BYTES_MAX) expect_reads(&wf_metadata_confluent, m, text, length, round), read++;
            packed[0] = (unsigned char)"asJp"[which];
            size_t size = ZSTD_compress(packed + 1, sizeof packed - 1, raw + 1, bytes - 1, 1 + (int)(round % 9));
            REQUIRE(!ZSTD_isError(size));
            length = base64(packed, 1 + size, text);
            if (length <= WF_METADATA_BYTES_MAX) expect_reads(&wf_metadata_confluent, m, text, length, round), read++;
        }
    }
    cr_assert(gt(u32, read, 10000));
}

/* --- what else may stand there */

static weft_status decode_only(int64_t base, const char *text, size_t bytes) {
    wf_offset_run *runs = NULL;
    size_t count = 0;
    weft_status status = wf_metadata_decode_any(base, text, bytes, &runs, &count);
    if (status != WEFT_OK) cr_assert(runs == NULL && count == 0, "outputs are untouched on failure");
    for (size_t i = 0; i < count; i++) {
        cr_assert(runs[i].first > (i ? runs[i - 1].end : base) && runs[i].end > runs[i].first, "%s", text);
        cr_assert(runs[i].end - base <= WF_METADATA_SPAN_MAX, "%s", text);
    }
    free(runs);
    return status;
}

typedef struct hostile {
    const char *text;
    int64_t base;
    weft_status status;
    const char *why;
} hostile;

static void expect_each(const hostile *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        cr_assert(eq(int, decode_only(rows[i].base, rows[i].text, strlen(rows[i].text)), rows[i].status), "%s: %s",
                  rows[i].text, rows[i].why);
}

Test(metadata_format, hostile_pyrallel_text__is_a_map_or_refused) {
    static const hostile rows[] = {
        {"", 5, WEFT_OK, "nothing"},
        {"hello", 5, WEFT_ECORRUPT, "of nobody"},
        {"R", 5, WEFT_OK, "no run"},
        {"R7", 5, WEFT_OK, "one offset"},
        {"R7", -1, WEFT_ECORRUPT, "no such base"},
        {"R1-9", 5, WEFT_OK, "begins before the base"},
        {"R1-3", 5, WEFT_OK, "ends before the base"},
        {"R7-8,9", 5, WEFT_OK, "adjacent runs"},
        {"R7,", 5, WEFT_ECORRUPT, "a comma without a run"},
        {"R,7", 5, WEFT_ECORRUPT, "a comma before the runs"},
        {"R7,,9", 5, WEFT_ECORRUPT, "two commas"},
        {"R7-8-9", 5, WEFT_ECORRUPT, "a range of three"},
        {"R9-8", 5, WEFT_ECORRUPT, "a range that goes back"},
        {"R9,7", 5, WEFT_ECORRUPT, "runs that go back"},
        {"R7-9,9", 5, WEFT_ECORRUPT, "runs that overlap"},
        {"R-7", 5, WEFT_ECORRUPT, "below zero"},
        {"R+7", 5, WEFT_ECORRUPT, "a sign"},
        {"R 7", 5, WEFT_ECORRUPT, "a blank"},
        {"R7\n", 5, WEFT_ECORRUPT, "a line end"},
        {"R1-999999999999", 0, WEFT_ECORRUPT, "a billion offsets, a thousand times"},
        {"R1-2147483647", 0, WEFT_OK, "as wide as a map may be: for the log's end to refuse"},
        {"R1-2147483648", 0, WEFT_ECORRUPT, "one wider"},
        {"R9223372036854775806", INT64_MAX - 9, WEFT_OK, "the last offset that can have an end"},
        {"R9223372036854775807", INT64_MAX - 9, WEFT_ECORRUPT, "one more"},
        {"R9223372036854775808", 0, WEFT_ECORRUPT, "no 64 bits"},
        {"R99999999999999999999999999", 0, WEFT_ECORRUPT, "far beyond 64 bits"},
        {"B5:", 5, WEFT_OK, "no bit"},
        {"B5:00", 5, WEFT_OK, "bits that are not set"},
        {"B5:ff", 5, WEFT_OK, "the base itself too"},
        {"B5:02", 6, WEFT_ECORRUPT, "of another commit"},
        {"B5", 5, WEFT_ECORRUPT, "no colon"},
        {"B:02", 5, WEFT_ECORRUPT, "no base"},
        {"B5:0", 5, WEFT_ECORRUPT, "half a byte"},
        {"B5:0G", 5, WEFT_ECORRUPT, "not hexadecimal"},
        {"B5:0A", 5, WEFT_ECORRUPT, "upper case"},
        {"R5", INT64_MAX, WEFT_OK, "below the last offset"},
        {"R1-9223372036854775806", INT64_MAX, WEFT_OK, "up to the last offset"},
        {"B9223372036854775807:02", INT64_MAX, WEFT_ECORRUPT, "beyond the last offset"},
        {"B9223372036854775800:42", INT64_MAX - 7, WEFT_OK, "the last that can have an end; a spare bit follows"},
        {"B9223372036854775800:80", INT64_MAX - 7, WEFT_ECORRUPT, "one more"},
        {"B", 5, WEFT_ECORRUPT, "nothing else"},
        {"O", 5, WEFT_OK, "given up"},
        {"Oh", 5, WEFT_ECORRUPT, "begins like it"},
    };
    expect_each(rows, sizeof rows / sizeof rows[0]);
}

Test(metadata_format, hostile_confluent_text__is_a_map_or_refused) {
    static const hostile rows[] = {
        {"bAAGOgA=", 10, WEFT_OK, "a short bitset"},
        {"bAAGOgA", 10, WEFT_ECORRUPT, "padding cut off"},
        {"bAAGOgB=", 10, WEFT_ECORRUPT, "bits behind the last byte"},
        {"bAAGOgAA", 10, WEFT_OK, "one more spare byte"},
        {"bAAG Og=", 10, WEFT_ECORRUPT, "a blank"},
        {"bAAG=gA=", 10, WEFT_ECORRUPT, "padding inside"},
        {"====", 10, WEFT_ECORRUPT, "only padding"},
        {"bA==", 10, WEFT_ECORRUPT, "no length"},
        {"bAAG", 10, WEFT_ECORRUPT, "no bits"},
        {"bAAGegA=", 10, WEFT_ECORRUPT, "a bit beyond the length"},
        {"bP//OgA=", 10, WEFT_ECORRUPT, "a length below zero"},
        {"bH//OgA=", 10, WEFT_ECORRUPT, "longer than its bits"},
        {"bwAAAAY6AA==", 10, WEFT_OK, "a long bitset"},
        {"b3////86AA==", 10, WEFT_ECORRUPT, "two billion bits that are not there"},
        {"bgAA", 50, WEFT_OK, "nothing succeeded"},
        {"bg==", 50, WEFT_ECORRUPT, "no run"},
        {"bgAAAAU=", 50, WEFT_OK, "the base complete"},
        {"bgABAAAAAgAB", 50, WEFT_ECORRUPT, "a run of nothing in the middle"},
        {"bgAB//8=", 50, WEFT_ECORRUPT, "a run below zero"},
        {"bgABAA==", 50, WEFT_ECORRUPT, "half a number"},
        {"ZQAAAAEAAMNL", 5, WEFT_OK, "long runs"},
        {"ZQAAAAE7msoA", 0, WEFT_OK, "a billion offsets: for the log's end to refuse"},
        {"ZQAAAAF/////", 0, WEFT_ECORRUPT, "wider than a map may be"},
        {"ZQAAAAEAAMNL", INT64_MAX - 5, WEFT_ECORRUPT, "beyond the last offset"},
        {"YQ==", 5, WEFT_ECORRUPT, "an empty frame"},
        {"YSi1L/0AWL0AAIgAxf6///8f/P/3//////8fAAEABjgC", 3, WEFT_OK, "a frame"},
        {"YSi1L/0AWL0AAIgAxf6///8f/P/3//////8fAAEABjgD", 3, WEFT_ECORRUPT, "a damaged frame"},
        {"YSi1L/0AWL0AAIgAxf6///8f/P/3//////8fAAEA", 3, WEFT_ECORRUPT, "half a frame"},
        {"TAEBAQ==", 5, WEFT_ECORRUPT, "a byte for each offset: never written"},
        {"7gEBAQ==", 5, WEFT_ECORRUPT, "the same, compressed"},
        {"AQAAAAA=", 5, WEFT_ECORRUPT, "Kafka Streams"},
        {"AgAAAAA=", 5, WEFT_ECORRUPT, "Kafka Streams"},
        {"bAAGOgA=", -1, WEFT_ECORRUPT, "no such base"},
    };
    expect_each(rows, sizeof rows / sizeof rows[0]);
}

/* A hundred characters that unpack to as much as they like. */
Test(metadata_format, frame_that_unpacks_to_more_than_any_map__refused) {
    static unsigned char packed[1 << 16];
    static char text[1 << 17];
    static const size_t sizes[] = {1 << 17, (1 << 17) + 1, 1 << 20, 1 << 28};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *body = calloc(sizes[i], 1);
        packed[0] = 's';
        body[1] = 0x0f; /* a million bits, all zero */
        size_t size = ZSTD_compress(packed + 1, sizeof packed - 1, body, sizes[i], 3);
        free(body);
        REQUIRE(!ZSTD_isError(size));
        size_t bytes = base64(packed, 1 + size, text);
        if (bytes > WF_METADATA_BYTES_MAX) continue;
        cr_assert(eq(int, decode_only(0, text, bytes), i == 0 ? WEFT_OK : WEFT_ECORRUPT), "%zu bytes", sizes[i]);
    }
}

Test(metadata_format, any_change_of_a_text__is_a_map_or_refused) {
    static const char characters[] = "\x01 +,-/09:=ABORZaflnz~\xff";
    json_t *vectors[] = {golden("confluent.json"), golden("pyrallel.json")}, *vector;
    char text[4096];
    for (size_t v = 0; v < 2; v++) {
        size_t i;
        json_array_foreach(vectors[v], i, vector) {
            size_t bytes = strlen(word(vector, "metadata"));
            for (size_t at = 0; at < bytes; at++) {
                for (size_t c = 0; c < sizeof characters; c++) {
                    memcpy(text, word(vector, "metadata"), bytes);
                    text[at] = characters[c];
                    decode_only(number(vector, "committed_offset"), text, bytes);
                }
                decode_only(number(vector, "committed_offset"), text, at);
            }
        }
        json_decref(vectors[v]);
    }
}
