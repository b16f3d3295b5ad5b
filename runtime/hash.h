/* SPDX-License-Identifier: Apache-2.0
 *
 * The hash of record keys and of names. Not a defence against chosen keys: whoever compares by hash compares the bytes
 * too.
 */
#ifndef WF_HASH_H
#define WF_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Never 0, so that 0 can stand for "no key". `bytes` may be NULL when `count` is 0. The same on every machine and in
 * every version of weft. Thread: any. */
uint64_t wf_hash_bytes(const void *bytes, size_t count, uint64_t seed);

#endif
