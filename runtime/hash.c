/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#define XXH_INLINE_ALL /* keys are short: the call would cost as much as the hash */
#include <xxhash.h>

uint64_t wf_hash_bytes(const void *bytes, size_t count, uint64_t seed) {
    uint64_t hash = XXH3_64bits_withSeed(count > 0 ? bytes : "", count, seed);
    return hash != 0 ? hash : UINT64_C(0x9e3779b97f4a7c15);
}
