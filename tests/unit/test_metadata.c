/* SPDX-License-Identifier: Apache-2.0
 *
 * The native commit-metadata format: identity, exact and smallest size, bounds, damage and hostile text.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "metadata.h"
#include "seeded.h"

TestSuite(metadata, .timeout = 120);

enum { RUNS_MAX = 50000, TEXT_MAX = WF_METADATA_BYTES_MAX, FRAME_BYTES = 3 + 6 };

typedef struct map {
    int64_t base;
    size_t count;
    wf_offset_run runs[RUNS_MAX];
} map;

static void add_run(map *m, int64_t gap, int64_t length) {
    int64_t from = m->count ? m->runs[m->count - 1].end : m->base;
    m->runs[m->count++] = (wf_offset_run){from + gap, from + gap + length};
}

/* How the gaps and lengths of a random map are drawn. */
typedef enum shape {
    SHAPE_BITS,
    SHAPE_SPARSE,
    SHAPE_LONG_RUNS,
    SHAPE_HEAVY_TAIL,
    SHAPE_POWERS,
    SHAPE_EQUAL,
    SHAPE_COUNT
} shape;

static int64_t draw(seeded *random, shape kind, int64_t scale) {
    switch (kind) {
    case SHAPE_BITS:
        return 1 + __builtin_ctzll(seeded_next(random) | (uint64_t)1 << 40);
    case SHAPE_SPARSE:
        return seeded_between(random, 1, 4);
    case SHAPE_LONG_RUNS:
        return seeded_between(random, 1, scale);
    case SHAPE_HEAVY_TAIL:
        return 1 + (int64_t)(seeded_next(random) >> seeded_between(random, 40, 63));
    case SHAPE_POWERS:
        return seeded_between(random, 0, 1) + ((int64_t)1 << seeded_below(random, 20));
    case SHAPE_EQUAL:
        return scale;
    case SHAPE_COUNT:
        break;
    }
    abort();
}

static void random_map(map *m, seeded *random, size_t count_max, int64_t span_max) {
    static const int64_t bases[] = {0, 1, 4711, (int64_t)1 << 33, INT64_MAX - 4 * WF_METADATA_SPAN_MAX};
    shape gaps = (shape)seeded_below(random, SHAPE_COUNT), lengths = (shape)seeded_below(random, SHAPE_COUNT);
    size_t count = 1 + seeded_below(random, count_max);
    int64_t scale = seeded_between(random, 1, 1 + span_max / (2 * (int64_t)count));
    m->base = bases[seeded_below(random, sizeof bases / sizeof bases[0])];
    m->count = 0;
    while (m->count < count) {
        add_run(m, draw(random, gaps, scale), draw(random, lengths, scale));
        if (m->runs[m->count - 1].end - m->base <= span_max) continue;
        m->count--;
        break;
    }
    if (m->count == 0) add_run(m, 1, 1);
}

static int64_t span_of(const map *m) {
    return m->runs[m->count - 1].end - m->base;
}

static void expect_decodes_to(const map *m, const char *text, size_t bytes, uint64_t seed) {
    wf_offset_run *runs = NULL;
    size_t count = 0;
    cr_assert(eq(int, wf_metadata_decode(m->base, text, bytes, &runs, &count), WEFT_OK), "WEFT_TEST_SEED=%llu",
              (unsigned long long)seed);
    cr_assert(eq(sz, count, m->count), "WEFT_TEST_SEED=%llu", (unsigned long long)seed);
    cr_assert(memcmp(runs, m->runs, count * sizeof runs[0]) == 0, "WEFT_TEST_SEED=%llu: runs differ",
              (unsigned long long)seed);
    free(runs);
}

static weft_status decode_only(int64_t base, const char *text, size_t bytes) {
    wf_offset_run *runs = NULL;
    size_t count = 0;
    weft_status status = wf_metadata_decode(base, text, bytes, &runs, &count);
    if (status != WEFT_OK) cr_assert(runs == NULL && count == 0, "outputs are untouched on failure");
    free(runs);
    return status;
}

/* What the smallest text takes, by trying every code on every value. */
static size_t smallest_by_hand(const map *m) {
    uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
    for (unsigned code = 0; code <= 48; code++) {
        if (code == 32) continue;
        uint64_t bits[2] = {0, 0};
        for (size_t i = 0; i < 2 * m->count; i++) {
            const wf_offset_run *run = &m->runs[i / 2];
            int64_t value = i % 2 ? run->end - run->first : run->first - (i ? run[-1].end : m->base);
            value--;
            if (code < 32) {
                bits[i % 2] += (uint64_t)(value >> code) + 1 + code;
                continue;
            }
            do bits[i % 2] += code - 32 + 1;
            while ((value >>= code - 32) > 0);
        }
        for (int kind = 0; kind < 2; kind++)
            if (bits[kind] < best[kind]) best[kind] = bits[kind];
    }
    size_t runs = 2 + (size_t)((best[0] + best[1] + 5) / 6);
    size_t bitset = (size_t)(span_of(m) - 1 + 5) / 6;
    return FRAME_BYTES + (runs < bitset ? runs : bitset);
}

Test(metadata, random_maps__encode_then_decode__identity_at_the_announced_smallest_size) {
    static map m;
    static char text[TEXT_MAX + 1];
    unsigned bitsets = 0, rice = 0, groups = 0, nibbles = 0;
    for (uint64_t round = 0; round < 6000; round++) {
        seeded random = seeded_start(99, round);
        static const size_t counts[] = {1, 3, 20, 200, 2000};
        static const int64_t spans[] = {50, 1000, 30000, 1000000, WF_METADATA_SPAN_MAX};
        random_map(&m, &random, counts[seeded_below(&random, 5)], spans[seeded_below(&random, 5)]);

        size_t size = wf_metadata_size(m.base, m.runs, m.count), bytes = 0;
        cr_assert(eq(sz, size, smallest_by_hand(&m)), "WEFT_TEST_SEED=%llu round %llu", (unsigned long long)random.seed,
                  (unsigned long long)round);
        cr_assert(le(sz, size, wf_metadata_size_bound((uint64_t)span_of(&m), m.count)), "round %llu",
                  (unsigned long long)round);
        memset(text, '#', sizeof text);
        if (size > TEXT_MAX) {
            cr_assert(eq(int, wf_metadata_encode(m.base, m.runs, m.count, text, SIZE_MAX, &bytes), WEFT_ERANGE));
            continue;
        }
        cr_assert(eq(int, wf_metadata_encode(m.base, m.runs, m.count, text, size - 1, &bytes), WEFT_ERANGE));
        cr_assert(text[0] == '#' && bytes == 0, "nothing is written where it does not fit");
        cr_assert(eq(int, wf_metadata_encode(m.base, m.runs, m.count, text, size, &bytes), WEFT_OK));
        cr_assert(eq(sz, bytes, size));
        cr_assert(text[size] == '#', "written past the end");
        for (size_t i = 0; i < bytes; i++) cr_assert(text[i] > ' ' && text[i] < 127, "not printable");
        expect_decodes_to(&m, text, bytes, random.seed);

        bitsets += text[2] == 'B';
        rice += text[2] == 'R' && text[3] < 'g' && text[3] != '-' && text[3] != '_' && text[3] >= 'A';
        groups += text[2] == 'R' && (text[3] > 'g' || (text[3] >= '0' && text[3] <= '9'));
        nibbles += text[2] == 'R' && (text[3] == 'j' || text[4] == 'j');
    }
    cr_assert(bitsets > 100 && rice > 100 && groups > 100 && nibbles > 10, "an encoding was hardly tried: %u %u %u %u",
              bitsets, rice, groups, nibbles);
}

Test(metadata, empty_map__is_empty_text) {
    size_t bytes = 7, count = 7;
    wf_offset_run *runs = (wf_offset_run *)&count;
    cr_assert(eq(sz, wf_metadata_size(5, NULL, 0), 0));
    cr_assert(eq(int, wf_metadata_encode(5, NULL, 0, NULL, 0, &bytes), WEFT_OK));
    cr_assert(eq(sz, bytes, 0));
    cr_assert(eq(int, wf_metadata_decode(5, "", 0, &runs, &count), WEFT_OK));
    cr_assert(runs == NULL && count == 0);
    cr_assert(eq(sz, wf_metadata_size_bound(0, 0), 0));
}

Test(metadata, well_known_maps__known_texts) {
    static const struct {
        int64_t base;
        size_t count;
        wf_offset_run runs[3];
        size_t bytes_max;
    } rows[] = {
        {10, 2, {{11, 12}, {13, 16}}, 10},                            /* five bits: one character */
        {5, 1, {{6, 50001}}, 16},                                     /* one stuck, 50,000 behind it */
        {5, 1, {{6, 2000000006}}, 18},                                /* one stuck, two billion behind it */
        {0, 3, {{1, 2}, {1000000, 1000001}, {2000000, 2000001}}, 25}, /* single completions far apart */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = wf_metadata_size(rows[i].base, rows[i].runs, rows[i].count);
        cr_assert(le(sz, size, rows[i].bytes_max), "row %zu", i);
    }
    /* The format is persisted: these bytes must never change. */
    char text[64];
    size_t bytes;
    cr_assert(eq(int, wf_metadata_encode(10, rows[0].runs, 2, text, sizeof text, &bytes), WEFT_OK));
    text[bytes] = 0;
    cr_assert(eq(str, text, "~1Bdnhv0pC"));
    cr_assert(eq(int, wf_metadata_encode(5, rows[1].runs, 1, text, sizeof text, &bytes), WEFT_OK));
    text[bytes] = 0;
    cr_assert(eq(str, text, "~1RAPVphB2ndID"));
}

Test(metadata, too_wide__neither_size_nor_text) {
    const wf_offset_run widest[] = {{WF_METADATA_SPAN_MAX - 1, WF_METADATA_SPAN_MAX}};
    const wf_offset_run wider[] = {{WF_METADATA_SPAN_MAX, WF_METADATA_SPAN_MAX + 1}};
    char text[64];
    size_t bytes;
    map m = {.base = 0, .count = 1, .runs = {{widest[0].first, widest[0].end}}};
    cr_assert(eq(int, wf_metadata_encode(0, widest, 1, text, sizeof text, &bytes), WEFT_OK));
    expect_decodes_to(&m, text, bytes, 0);
    cr_assert(eq(int, wf_metadata_encode(0, wider, 1, text, sizeof text, &bytes), WEFT_ERANGE));
    cr_assert(eq(sz, wf_metadata_size(0, wider, 1), SIZE_MAX));
    cr_assert(eq(sz, wf_metadata_size_bound((uint64_t)WF_METADATA_SPAN_MAX + 1, 1), SIZE_MAX));
}

static const size_t limits[] = {64, 65, 100, 255, 512, 1000, 4096, 8192, 20000, 32767};

Test(metadata, bounds__limits_from_64_to_32767__hold_and_are_tight) {
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint64_t span = wf_metadata_span_that_fits(limits[i]), runs = wf_metadata_runs_that_fit(limits[i]);
        cr_assert(eq(u64, span, (limits[i] - FRAME_BYTES) * 6 + 1));
        cr_assert(gt(u64, runs, 0), "limit %zu", limits[i]);
        for (uint64_t r = 1; r <= span; r += 1 + span / 50)
            cr_assert(le(sz, wf_metadata_size_bound(span, r), limits[i]), "limit %zu runs %llu", limits[i],
                      (unsigned long long)r);
        cr_assert(le(sz, wf_metadata_size_bound((uint64_t)WF_METADATA_SPAN_MAX, runs), limits[i]));
        cr_assert(gt(sz, wf_metadata_size_bound((uint64_t)WF_METADATA_SPAN_MAX, runs + 1), limits[i]));
    }
    cr_assert(eq(u64, wf_metadata_span_that_fits(0), 1));
    cr_assert(eq(u64, wf_metadata_runs_that_fit(10), 0));
    cr_assert(eq(u64, wf_metadata_span_that_fits(SIZE_MAX), wf_metadata_span_that_fits(32767)));
}

Test(metadata, bounds__random_maps_inside_them__always_fit) {
    static map m;
    for (uint64_t round = 0; round < 1500; round++) {
        seeded random = seeded_start(5, round);
        size_t limit = limits[seeded_below(&random, sizeof limits / sizeof limits[0])];
        uint64_t span = wf_metadata_span_that_fits(limit), runs = wf_metadata_runs_that_fit(limit);
        random_map(&m, &random, RUNS_MAX, (int64_t)span);
        cr_assert(le(sz, wf_metadata_size(m.base, m.runs, m.count), limit), "WEFT_TEST_SEED=%llu round %llu: span",
                  (unsigned long long)random.seed, (unsigned long long)round);
        random_map(&m, &random, runs, WF_METADATA_SPAN_MAX);
        cr_assert(le(sz, wf_metadata_size(m.base, m.runs, m.count), limit), "WEFT_TEST_SEED=%llu round %llu: runs",
                  (unsigned long long)random.seed, (unsigned long long)round);
    }
}

Test(metadata, bound__span_or_runs_grow__never_falls) {
    for (uint64_t round = 0; round < 20000; round++) {
        seeded random = seeded_start(6, round);
        uint64_t span = seeded_next(&random) >> seeded_between(&random, 33, 62);
        uint64_t runs = seeded_next(&random) >> seeded_between(&random, 40, 62);
        uint64_t more = seeded_below(&random, 3), wider = seeded_below(&random, 3);
        cr_assert(le(sz, wf_metadata_size_bound(span, runs), wf_metadata_size_bound(span + wider, runs + more)),
                  "WEFT_TEST_SEED=%llu span %llu runs %llu", (unsigned long long)random.seed, (unsigned long long)span,
                  (unsigned long long)runs);
    }
}

/* A few maps, one for each way to write them. */
static size_t encode_sample(map *m, unsigned sample, char *text) {
    seeded random = seeded_start(3, sample);
    m->base = 123456 + sample;
    m->count = 0;
    switch (sample) {
    case 0:
        add_run(m, 1, 50000);
        break;
    case 1:
        while (m->count < 100) add_run(m, draw(&random, SHAPE_BITS, 1), draw(&random, SHAPE_BITS, 1));
        break;
    case 2:
        while (m->count < 60) add_run(m, seeded_between(&random, 1, 3), seeded_between(&random, 1, 900));
        break;
    default:
        while (m->count < 60) add_run(m, draw(&random, SHAPE_HEAVY_TAIL, 1), draw(&random, SHAPE_POWERS, 1));
        break;
    }
    size_t bytes = 0;
    cr_assert(eq(int, wf_metadata_encode(m->base, m->runs, m->count, text, TEXT_MAX, &bytes), WEFT_OK));
    return bytes;
}

Test(metadata, damage__any_single_character__detected) {
    static map m;
    static char text[TEXT_MAX];
    for (unsigned sample = 0; sample < 4; sample++) {
        size_t bytes = encode_sample(&m, sample, text);
        for (size_t i = 0; i < bytes; i++) {
            char original = text[i];
            for (int c = 0; c < 256; c++) {
                text[i] = (char)c;
                if (text[i] == original) continue;
                cr_assert(eq(int, decode_only(m.base, text, bytes), WEFT_ECORRUPT), "sample %u byte %zu is %d", sample,
                          i, c);
            }
            text[i] = original;
        }
        expect_decodes_to(&m, text, bytes, 3);
    }
}

Test(metadata, damage__cut_extended_or_of_another_offset__detected) {
    static map m;
    static char text[TEXT_MAX];
    for (unsigned sample = 0; sample < 4; sample++) {
        size_t bytes = encode_sample(&m, sample, text);
        for (size_t i = 1; i < bytes; i++)
            cr_assert(eq(int, decode_only(m.base, text, i), WEFT_ECORRUPT), "cut to %zu", i);
        for (int c = 0; c < 256; c++) {
            text[bytes] = (char)c;
            cr_assert(eq(int, decode_only(m.base, text, bytes + 1), WEFT_ECORRUPT), "sample %u with %d behind", sample,
                      c);
        }
        for (int64_t base = m.base - 100; base < m.base + 100; base++)
            cr_assert(eq(int, decode_only(base, text, bytes), base == m.base ? WEFT_OK : WEFT_ECORRUPT));
    }
}

/* Close a text with the checksum that it ought to have: what gets past the checksum must still be a map. */
static size_t seal(int64_t base, char *text, size_t bytes) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)base >> 8 * i);
    uint32_t sum = XXH32(text, bytes, XXH32(head, 8, 0));
    for (int i = 0; i < 6; i++) text[bytes++] = alphabet[(uint64_t)sum >> 6 * i & 63];
    return bytes;
}

Test(metadata, hostile_text_with_a_right_checksum__is_a_map_or_refused) {
    static const struct {
        const char *text;
        int64_t base;
        weft_status status;
        const char *why;
    } rows[] = {
        {"~1BB", 0, WEFT_OK, "one bit"},
        {"~1B", 0, WEFT_ECORRUPT, "no body"},
        {"~1BA", 0, WEFT_ECORRUPT, "no bit"},
        {"~1BBA", 0, WEFT_ECORRUPT, "a character of zeros behind the last bit"},
        {"~1BAAAAAAAAAAAAAAAAB", 0, WEFT_OK, "bit 96"},
        {"~1BB", -1, WEFT_ECORRUPT, "no such base"},
        {"~1BB", INT64_MAX - 2, WEFT_OK, "the last offset there is"},
        {"~1BC", INT64_MAX - 2, WEFT_ECORRUPT, "an offset past the last there is"},
        {"~1B=", 0, WEFT_ECORRUPT, "not in the alphabet"},
        {"~1B+", 0, WEFT_ECORRUPT, "of the other base64 alphabet"},
        {"~1B B", 0, WEFT_ECORRUPT, "a space"},
        {"~2BB", 0, WEFT_ECORRUPT, "a version to come"},
        {"~1XB", 0, WEFT_ECORRUPT, "no such encoding"},
        {"!1BB", 0, WEFT_ECORRUPT, "no such magic"},
        {"~1R", 0, WEFT_ECORRUPT, "no codes"},
        {"~1RA", 0, WEFT_ECORRUPT, "one code"},
        {"~1RAA", 0, WEFT_ECORRUPT, "no run"},
        {"~1RAAD", 0, WEFT_OK, "gap 1, length 1"},
        {"~1RAgD", 0, WEFT_ECORRUPT, "groups of no bits"},
        {"~1RAwDAA", 0, WEFT_OK, "groups of 16 bits"},
        {"~1RAxDAAA", 0, WEFT_ECORRUPT, "groups of 17 bits"},
        {"~1RA_DAAAAA", 0, WEFT_ECORRUPT, "code 63"},
        {"~1RAAB", 0, WEFT_ECORRUPT, "a gap without a length"},
        {"~1RAADA", 0, WEFT_ECORRUPT, "six zeros and more behind the last run"},
        {"~1RAAAAAAAAAAD", 0, WEFT_OK, "gap 49"},
        {"~1RBBN", 0, WEFT_OK, "Rice 1: gap 1, length 2"},
        {"~1RBBh", 0, WEFT_ECORRUPT, "Rice 1: the low bit of the length is past the end"},
        {"~1RffAAAAC", 0, WEFT_ECORRUPT, "Rice 31: a gap of 2^35"},
        {"~1RfABAAAAA", 0, WEFT_ECORRUPT, "Rice 31: no length"},
        {"~1RhhP", 0, WEFT_OK, "groups of 1: value 1, value 1"},
        {"~1RhhW", 0, WEFT_ECORRUPT, "groups of 1: value 1 written in two groups"},
        {"~1RwwAAAAAAAAAAAAAAAAAAAAB", 0, WEFT_ECORRUPT, "groups of 16 without an end"},
        {"~1Rll__________", 0, WEFT_OK, "groups of 5: 31, 31, ..."},
        {"~1Rll-------_-_", 0, WEFT_ECORRUPT, "groups of 5: more than 32 bits in a value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64];
        size_t bytes = strlen(rows[i].text);
        memcpy(text, rows[i].text, bytes);
        bytes = seal(rows[i].base, text, bytes);
        cr_assert(eq(int, decode_only(rows[i].base, text, bytes), rows[i].status), "%s: %s", rows[i].text, rows[i].why);
    }
}

static void expect_valid(int64_t base, const wf_offset_run *runs, size_t count, const char *where) {
    cr_assert(count > 0 && runs[0].first > base, "%s", where);
    for (size_t i = 0; i < count; i++) {
        cr_assert(runs[i].end > runs[i].first, "%s", where);
        if (i > 0) cr_assert(runs[i].first > runs[i - 1].end, "%s", where);
    }
    cr_assert(le(i64, runs[count - 1].end - base, WF_METADATA_SPAN_MAX), "%s", where);
}

Test(metadata, random_text_with_a_right_checksum__what_is_read_is_a_map_and_survives) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static char text[TEXT_MAX + 1], again[TEXT_MAX];
    unsigned accepted = 0;
    for (uint64_t round = 0; round < 60000; round++) {
        seeded random = seeded_start(8, round);
        int64_t base = seeded_percent(&random, 5) ? INT64_MAX - (int64_t)seeded_below(&random, 1000) : 1000;
        size_t body = seeded_below(&random, seeded_percent(&random, 5) ? 3000 : 40);
        unsigned zeros = (unsigned)seeded_below(&random, 100);
        memcpy(text, seeded_percent(&random, 30) ? "~1B" : "~1R", 3);
        for (size_t i = 0; i < body; i++)
            text[3 + i] = i > 1 && seeded_percent(&random, zeros) ? 'A' : alphabet[seeded_below(&random, 64)];
        size_t bytes = seal(base, text, 3 + body), count, rewritten;
        wf_offset_run *runs;
        char where[64];
        snprintf(where, sizeof where, "WEFT_TEST_SEED=%llu round %llu", (unsigned long long)random.seed,
                 (unsigned long long)round);
        weft_status status = wf_metadata_decode(base, text, bytes, &runs, &count);
        cr_assert(status == WEFT_OK || status == WEFT_ECORRUPT, "%s", where);
        if (status != WEFT_OK) continue;
        accepted++;
        expect_valid(base, runs, count, where);
        cr_assert(eq(int, wf_metadata_encode(base, runs, count, again, sizeof again, &rewritten), WEFT_OK), "%s",
                  where);
        cr_assert(le(sz, rewritten, bytes), "%s: somebody else wrote it shorter", where);
        free(runs);
    }
    cr_assert(gt(uint, accepted, 5000));
}
