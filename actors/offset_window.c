/* SPDX-License-Identifier: Apache-2.0
 *
 * The completion bitmap of one partition: a ring of 64-bit words, bit (offset mod capacity), 1 = complete.
 *
 * Invariants:
 * 1. Every bit outside of [frontier, highest) is 0; so is the bit of the frontier, between calls. Every hole bit
 * outside of [frontier, hole_end) is 0, and no offset has both.
 * 2. Bits at or above fetched_end come from a restored map and from nothing else.
 * 3. run_count counts the maximal stretches of ones. One completion looks at its two neighbours and changes it by -1, 0
 * or 1.
 */
#include "offset_window.h"

#include <stdlib.h>

#include "check.h"
#include "metadata.h"

/* A ring above this size (64 Ki offsets) is freed when it is empty: a stuck record may have grown it to hundreds of
 * MiB. */
enum { KEEP_WORDS = 1024, FIRST_WORDS = 16 };

static inline uint64_t *word_of(const wf_offset_window *window, int64_t offset) {
    return &window->words[((uint64_t)offset >> 6) & (window->word_count - 1)];
}

static inline uint64_t *hole_word_of(const wf_offset_window *window, int64_t offset) {
    return &window->holes[((uint64_t)offset >> 6) & (window->word_count - 1)];
}

static inline unsigned bit_of(int64_t offset) {
    return (unsigned)((uint64_t)offset & 63);
}

/* Is the offset complete, and beyond the frontier? */
static inline bool is_set(const wf_offset_window *window, int64_t offset) {
    if (offset < window->frontier || offset >= window->highest) return false;
    return *word_of(window, offset) >> bit_of(offset) & 1;
}

static inline bool has_holes(const wf_offset_window *window) {
    return window->hole_end > window->frontier;
}

/* Is the offset in a hole that is not complete? */
static inline bool is_hole(const wf_offset_window *window, int64_t offset) {
    if (offset < window->frontier || offset >= window->hole_end) return false;
    return *hole_word_of(window, offset) >> bit_of(offset) & 1;
}

/* The bits of [from, to) that lie in the word of `from`. */
static inline uint64_t mask_of(int64_t from, int64_t to) {
    uint64_t mask = UINT64_MAX << bit_of(from);
    uint64_t bits = (uint64_t)(to - from) + bit_of(from);
    if (bits < 64) mask &= ((uint64_t)1 << bits) - 1;
    return mask;
}

/* The first offset of the next word, at most `to`. */
static inline int64_t next_word(int64_t from, int64_t to) {
    int64_t left = 64 - (int64_t)bit_of(from);
    return to - from < left ? to : from + left;
}

/* A ring of `word_count` with the words [first, last] of an old one. */
static uint64_t *larger_ring(const uint64_t *old, uint64_t old_count, uint64_t word_count, uint64_t first,
                             uint64_t last) {
    uint64_t *words = calloc(word_count, sizeof *words);
    if (!words || !old) return words;
    for (uint64_t i = first; i <= last; i++) words[i & (word_count - 1)] = old[i & (old_count - 1)];
    return words;
}

/* Make room for bits up to `end` (exclusive). */
static bool reserve(wf_offset_window *window, int64_t end) {
    uint64_t first = (uint64_t)window->frontier >> 6;
    uint64_t needed = ((uint64_t)(end - 1) >> 6) - first + 1;
    if (needed <= window->word_count) return true;

    uint64_t word_count = window->word_count ? window->word_count : FIRST_WORDS;
    while (word_count < needed) word_count *= 2;
    uint64_t last = first + (window->word_count ? window->word_count - 1 : 0);
    uint64_t *words = larger_ring(window->words, window->word_count, word_count, first, last);
    uint64_t *holes = window->holes ? larger_ring(window->holes, window->word_count, word_count, first, last) : NULL;
    if (!words || (window->holes && !holes)) {
        free(words);
        free(holes);
        return false;
    }
    free(window->words);
    free(window->holes);
    window->words = words;
    window->holes = holes;
    window->word_count = word_count;
    return true;
}

static void reserve_or_die(wf_offset_window *window, int64_t end) {
    bool is_reserved = reserve(window, end);
    WF_CHECK(is_reserved && "memory for completed offsets");
}

static void release_if_empty(wf_offset_window *window) {
    if (window->highest > window->frontier || has_holes(window) || window->word_count <= KEEP_WORDS) return;
    free(window->words);
    free(window->holes);
    window->words = window->holes = NULL;
    window->word_count = 0;
}

/* How many runs lie in [from, to] or touch its ends: a run that began before `from` counts if it ends at `from` or
 * later. */
static uint64_t runs_touching(const wf_offset_window *window, int64_t from, int64_t to) {
    int64_t end = to < window->highest ? to + 1 : window->highest;
    uint64_t carry = is_set(window, from - 1);
    uint64_t runs = carry;
    while (from < end) {
        uint64_t word = *word_of(window, from);
        uint64_t before = word << 1 | carry << bit_of(from);
        runs += (uint64_t)__builtin_popcountll(word & ~before & mask_of(from, end));
        carry = word >> 63;
        from = next_word(from, end);
    }
    return runs;
}

static void set_range(wf_offset_window *window, int64_t from, int64_t to) {
    while (from < to) {
        *word_of(window, from) |= mask_of(from, to);
        from = next_word(from, to);
    }
}

static void clear_range(wf_offset_window *window, int64_t from, int64_t to) {
    while (from < to) {
        *word_of(window, from) &= ~mask_of(from, to);
        from = next_word(from, to);
    }
}

static void set_holes(wf_offset_window *window, int64_t from, int64_t to) {
    if (window->hole_end < to) window->hole_end = to;
    while (from < to) {
        *hole_word_of(window, from) |= mask_of(from, to);
        from = next_word(from, to);
    }
}

static void clear_holes(wf_offset_window *window, int64_t from, int64_t to) {
    while (from < to) {
        *hole_word_of(window, from) &= ~mask_of(from, to);
        from = next_word(from, to);
    }
}

/* Where the hole begins that ends at `offset`; `offset` itself when none does. */
static int64_t hole_start(const wf_offset_window *window, int64_t offset) {
    while (is_hole(window, offset - 1)) {
        uint64_t zeros = ~(*hole_word_of(window, offset - 1) << (63 - bit_of(offset - 1)));
        offset -= zeros ? __builtin_clzll(zeros) : 64;
    }
    return offset;
}

/* Pass the completed offsets from `from` on, and clear their bits. */
static int64_t pass_completed(wf_offset_window *window, int64_t from) {
    while (from < window->highest) {
        uint64_t *word = word_of(window, from);
        unsigned bit = bit_of(from);
        uint64_t zeros = ~(*word >> bit);
        unsigned ones = zeros ? (unsigned)__builtin_ctzll(zeros) : 64;
        if (ones == 0) break;
        *word &= ~mask_of(from, from + ones);
        from += ones;
    }
    return from;
}

/* The same for a hole. */
static int64_t pass_hole(wf_offset_window *window, int64_t from) {
    while (from < window->hole_end) {
        uint64_t *word = hole_word_of(window, from);
        uint64_t zeros = ~(*word >> bit_of(from));
        unsigned ones = zeros ? (unsigned)__builtin_ctzll(zeros) : 64;
        if (ones == 0) break;
        *word &= ~mask_of(from, from + ones);
        from += ones;
    }
    return from;
}

/* Everything below `from` is complete: move the frontier there and on over what follows, completed or hole. A run that
 * begins at `from` is no longer in run_count. */
static void move_frontier(wf_offset_window *window, int64_t from) {
    from = pass_hole(window, pass_completed(window, from)); /* nothing completed is behind a hole */
    window->frontier = from;
    if (window->highest < from) window->highest = from;
    if (window->fetched_end < from) window->fetched_end = from;
    release_if_empty(window);
}

/* [from, to) is complete; from >= frontier, to > from. */
static bool complete_range(wf_offset_window *window, int64_t from, int64_t to) {
    if (from > window->frontier && !reserve(window, to)) return false;
    uint64_t merged = runs_touching(window, from, to);
    if (from == window->frontier) {
        clear_range(window, from, to < window->highest ? to : window->highest);
        window->run_count -= merged;
        move_frontier(window, to);
    } else {
        set_range(window, from, to);
        window->run_count += 1 - merged;
        if (window->highest < to) window->highest = to;
    }
    return true;
}

/* A hole that nothing complete is beyond: it waits for the record behind it, or for the frontier. */
static void keep_hole(wf_offset_window *window, int64_t from, int64_t to) {
    reserve_or_die(window, to);
    if (!window->holes) {
        window->holes = calloc(window->word_count, sizeof *window->holes);
        WF_CHECK(window->holes && "memory for holes");
    }
    set_holes(window, from, to);
}

/* Up to the highest completed offset (of a restored map) the hole joins a run that it touches: that makes the map no
 * longer and reaches no further. */
static void note_hole(wf_offset_window *window, int64_t end) {
    int64_t from = window->fetched_end;
    if (end <= from) return;
    int64_t split = end < window->highest ? end : window->highest;
    if (from == window->frontier)
        split = end;
    else if (split > from && runs_touching(window, from, split) == 0)
        split = from;
    if (split > from) {
        int64_t first = hole_start(window, from);
        clear_holes(window, first, from);
        bool is_complete = complete_range(window, first, split);
        WF_CHECK(is_complete && "memory for completed offsets");
    }
    if (split < end) keep_hole(window, split > from ? split : from, end);
    if (window->fetched_end < end) window->fetched_end = end;
}

void wf_window_init(wf_offset_window *window, int64_t base) {
    WF_CHECK(base >= 0);
    *window =
        (wf_offset_window){.frontier = base, .fetched_end = base, .came_end = base, .highest = base, .hole_end = base};
}

void wf_window_deinit(wf_offset_window *window) {
    free(window->words);
    free(window->holes);
    *window = (wf_offset_window){0};
}

weft_status wf_window_restore(wf_offset_window *window, const wf_offset_run *runs, size_t count) {
    if (count == 0) return WEFT_OK;
    int64_t end = runs[count - 1].end;
    if (end - window->frontier > WF_METADATA_SPAN_MAX || !reserve(window, end)) return WEFT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        WF_CHECK(runs[i].first >= window->came_end && runs[i].first < runs[i].end && runs[i].end <= end);
        WF_CHECK_IMPLIES(i > 0, runs[i].first > runs[i - 1].end);
        int64_t first = runs[i].first < window->frontier ? window->frontier : runs[i].first;
        if (first < runs[i].end) complete_range(window, first, runs[i].end);
    }
    return WEFT_OK;
}

void wf_window_forget_restored(wf_offset_window *window) {
    int64_t end = window->fetched_end;
    if (window->highest <= end) return;
    /* A run that reaches over fetched_end is cut, not removed. */
    window->run_count -= runs_touching(window, end, window->highest) - is_set(window, end - 1);
    clear_range(window, end, window->highest);
    while (end > window->frontier && !(*word_of(window, end - 1) >> bit_of(end - 1) & 1)) end--;
    window->highest = end;
    release_if_empty(window);
}

void wf_window_fetched(wf_offset_window *window, int64_t first, int64_t end) {
    WF_CHECK(first >= window->came_end && end >= first);
    window->came_end = end;
    note_hole(window, first);
    if (window->fetched_end < end) window->fetched_end = end;
}

void wf_window_unfetch(wf_offset_window *window, int64_t from) {
    WF_CHECK(from >= window->frontier && from <= window->came_end);
    if (window->hole_end > from) {
        clear_holes(window, from, window->hole_end);
        window->hole_end = from;
    }
    window->came_end = window->fetched_end = from;
}

void wf_window_skip_to(wf_offset_window *window, int64_t end) {
    if (window->came_end < end) window->came_end = end;
    note_hole(window, end);
}

/* The frontier's own record: its bit is never set, the window just moves on. */
static void complete_frontier(wf_offset_window *window) {
    int64_t next = window->frontier + 1;
    bool is_next_set = is_set(window, next);
    if (is_next_set || is_hole(window, next)) {
        window->run_count -= is_next_set;
        move_frontier(window, next);
        return;
    }
    window->frontier = next;
    if (window->highest < next) window->highest = next;
}

/* A record with the hole before it. */
static bool complete_with_hole(wf_offset_window *window, int64_t offset) {
    if (is_set(window, offset) || is_hole(window, offset)) return false;
    int64_t from = hole_start(window, offset);
    clear_holes(window, from, offset);
    bool is_complete = complete_range(window, from, offset + 1);
    WF_CHECK(is_complete && "memory for completed offsets");
    return true;
}

bool wf_window_complete(wf_offset_window *window, int64_t offset) {
    if (offset < window->frontier || offset >= window->fetched_end) return false;
    if (offset == window->frontier) {
        complete_frontier(window);
        return true;
    }
    if (has_holes(window)) return complete_with_hole(window, offset);
    if (offset >= window->highest) {
        reserve_or_die(window, offset + 1);
        window->highest = offset + 1;
    }
    uint64_t *word = word_of(window, offset);
    uint64_t bits = *word;
    unsigned bit = bit_of(offset);
    if (bits >> bit & 1) return false;
    *word = bits | (uint64_t)1 << bit;
    /* The neighbours are in the same word mostly; what is outside of the window is 0 there. */
    uint64_t left = bit > 0 ? bits >> (bit - 1) & 1 : is_set(window, offset - 1);
    uint64_t right = bit < 63 ? bits >> (bit + 1) & 1 : is_set(window, offset + 1);
    window->run_count += 1 - left - right;
    return true;
}

bool wf_window_is_complete(const wf_offset_window *window, int64_t offset) {
    return offset < window->frontier || is_set(window, offset);
}

uint64_t wf_window_gap_count(const wf_offset_window *window) {
    return window->run_count;
}

/* The lowest offset in [from, highest) whose bit is `value`; highest if there is none. */
static int64_t find_bit(const wf_offset_window *window, int64_t from, bool value) {
    while (from < window->highest) {
        uint64_t word = *word_of(window, from);
        if (!value) word = ~word;
        word &= mask_of(from, window->highest);
        if (word) return (from & ~(int64_t)63) + __builtin_ctzll(word);
        from = next_word(from, window->highest);
    }
    return window->highest;
}

size_t wf_window_runs(const wf_offset_window *window, wf_offset_run *runs, size_t capacity) {
    size_t count = 0;
    int64_t from = window->frontier;
    while (count < capacity) {
        int64_t first = find_bit(window, from, true);
        if (first >= window->highest) break;
        from = find_bit(window, first, false);
        runs[count++] = (wf_offset_run){.first = first, .end = from};
    }
    return count;
}
