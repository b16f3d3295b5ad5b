/* SPDX-License-Identifier: Apache-2.0
 *
 * Criterion's assertions for plain C expressions: its own macros take only some. Include criterion/criterion.h and
 * criterion/new/assert.h first.
 */
#ifndef WF_TEST_REQUIRE_H
#define WF_TEST_REQUIRE_H

/* Ends the test when the condition is false: REQUIRE(count < 3, "step %d", step). */
#define REQUIRE(condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) cr_fatal("not so: " #condition " " __VA_ARGS__);                                             \
    } while (0)

#define REQUIRE_EQ(actual, expected)                                                                                   \
    do {                                                                                                               \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                                    \
        if (actual_ != expected_) cr_fatal(#actual " is %lld, not " #expected " = %lld", actual_, expected_);          \
    } while (0)

#endif
