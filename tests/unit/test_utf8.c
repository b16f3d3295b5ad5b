/* SPDX-License-Identifier: Apache-2.0
 *
 * Foreign bytes on their way into texts of ours.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "require.h"
#include "seeded.h"
#include "utf8.h"

TestSuite(utf8, .timeout = 60);

#define R WF_UTF8_REPLACEMENT

Test(utf8, clean__table) {
    static const struct {
        const char *from, *to;
        size_t room;
    } rows[] = {
        {"", "", 1},
        {"plain", "plain", 6},
        {"plain", "plai", 5},
        {"a\xc3\xa4", "a", 3}, /* no half of a character */
        {"a\xc3\xa4", "a\xc3\xa4", 4},
        {"caf\xe9", "caf" R, 100},
        {"caf\xe9", "caf", 6}, /* nor of a replacement */
        {"\xff\xfe", R R, 100},
        {"\xc0\x80", R R, 100},             /* overlong */
        {"\xed\xa0\x80", R R R, 100},       /* a surrogate */
        {"\xf4\x90\x80\x80", R R R R, 100}, /* above U+10FFFF */
        {"\xf0\x9f\x92", R R R, 100},       /* cut */
        {"\xf0\x9f\x92\xa9", "\xf0\x9f\x92\xa9", 5},
        {"a\nb\tc\x7f\x1b[1m", "a b c  [1m", 100},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[100];
        size_t bytes = wf_utf8_clean(text, rows[i].room, rows[i].from, strlen(rows[i].from));
        REQUIRE(strcmp(text, rows[i].to) == 0 && bytes == strlen(text), "row %zu: \"%s\"", i, text);
    }
}

Test(utf8, clean__a_zero_byte__is_a_control_character) {
    char text[10];
    REQUIRE_EQ(wf_utf8_clean(text, sizeof text, "a\0b", 3), 3);
    REQUIRE(strcmp(text, "a b") == 0);
}

Test(utf8, clean__any_bytes__utf8_on_one_line_within_its_room) {
    seeded random = seeded_start(20261127, 0);
    for (int round = 0; round < 20000; round++) {
        char from[64], text[64];
        size_t bytes = seeded_below(&random, sizeof from + 1), room = 1 + seeded_below(&random, sizeof text);
        for (size_t i = 0; i < bytes; i++) from[i] = (char)seeded_next(&random);
        size_t used = wf_utf8_clean(text, room, from, bytes);
        REQUIRE(used < room && text[used] == '\0', "seed %llu", (unsigned long long)random.seed);
        for (size_t at = 0, length; at < used; at += length) {
            length = wf_utf8_length(text + at, used - at);
            REQUIRE(length > 0 && (unsigned char)text[at] >= 0x20, "seed %llu", (unsigned long long)random.seed);
        }
    }
}
