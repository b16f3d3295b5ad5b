/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#include <criterion/criterion.h>
#include <stdint.h>

#include "clock.h"

TestSuite(hash, .timeout = 10);
TestSuite(clock, .timeout = 10);

/* The published hash of nothing. It pins the algorithm: a key must not change lanes between versions. */
Test(hash, bytes__nothing__known_values) {
    cr_assert_eq(wf_hash_bytes("", 0, 0), UINT64_C(0x2d06800538d394c2));
    cr_assert_eq(wf_hash_bytes(NULL, 0, 0), UINT64_C(0x2d06800538d394c2));
}

Test(hash, bytes__any_length__depends_on_every_byte_and_the_seed) {
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7 + 3);

    for (size_t count = 1; count <= sizeof bytes; count++) {
        uint64_t hash = wf_hash_bytes(bytes, count, 1);
        cr_assert_neq(hash, 0);
        cr_assert_eq(hash, wf_hash_bytes(bytes, count, 1));
        cr_assert_neq(hash, wf_hash_bytes(bytes, count, 2), "seed ignored at %zu bytes", count);
        cr_assert_neq(hash, wf_hash_bytes(bytes, count - 1, 1), "length ignored at %zu bytes", count);
        bytes[count / 2] ^= 1;
        cr_assert_neq(hash, wf_hash_bytes(bytes, count, 1), "byte %zu of %zu ignored", count / 2, count);
        bytes[count / 2] ^= 1;
    }
}

Test(clock, now__many_reads__never_goes_back) {
    uint64_t last = wf_clock_now_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = wf_clock_now_ns();
        cr_assert_geq(now, last);
        last = now;
    }
}

Test(clock, wall__now__after_this_was_written) {
    cr_assert_gt(wf_clock_wall_ms(), INT64_C(1700000000000));
}
